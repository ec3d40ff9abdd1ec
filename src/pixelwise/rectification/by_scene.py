"""Gains of each scene, compared with a reference."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from pixelwise.bands import Floats
from pixelwise.errors import InputError
from pixelwise.grid import Block
from pixelwise.rectification.comparing import LEAST_PIXELS, Comparison, Controls
from pixelwise.rectification.crew import Crew
from pixelwise.rectification.lines import Lines
from pixelwise.rectification.options import RectifyOptions
from pixelwise.rectification.rows import rows_of, say_refused
from pixelwise.rectification.sample import Sample
from pixelwise.rectification.scenes import Reference, Scene, common
from pixelwise.stacks.gains import Gain
from pixelwise.words import NAMED, first_of

__all__ = ["rows_by_scene"]

log = logging.getLogger(__name__)


def rows_by_scene(
    crew: Crew,
    scenes: Sequence[Scene],
    sample: Sample,
    controls: Controls | None,
    options: RectifyOptions,
    folder: Path | None,
) -> list[Gain]:
    """Return the rows of each scene compared with the reference."""
    own, words = _reference(scenes, options)
    reference = _find_reference(crew, own, sample)
    known = int(np.count_nonzero(common(reference)))
    if known < LEAST_PIXELS and controls is None:
        whole = len(sample) < options.sample  # a smaller sample is the whole area
        remedy = "a larger area (--region, --where, --bounds)" if whole else "a larger --sample"
        raise InputError(
            f"the reference ({words}) has values at {known} of {'all' if whole else 'the'} {len(sample)} "
            f"{'pixels of the area' if whole else 'sampled pixels'}, fewer than {LEAST_PIXELS}: take {remedy} or "
            "another --reference"
        )
    work = Comparison(crew.stack, tuple(scenes), sample, reference, options.method, controls, crew.handles)
    lines = _compare(crew, work, alone=own if len(own) == 1 else ())
    say_refused(scenes, lines)
    method = options.words(len(sample))
    return [
        row
        for scene, found in zip(scenes, lines, strict=True)
        for row in rows_of(scene, found, options.method, folder, words, method)
    ]


def _find_reference(crew: Crew, scenes: Sequence[Scene], sample: Sample) -> Floats:
    """Return (band, pixel) the middle of some scenes."""
    bands = len(scenes[0].image.bands)
    reference = np.full((bands, len(sample)), np.nan)
    done = {} if crew.journal is None else crew.journal.parts
    for index, values in done.items():
        reference[:, sample.starts[index] : sample.starts[index + 1]] = values
    crew.meter.begin(0, 2, len(sample.blocks))
    crew.meter.add(len(done))
    work = Reference(crew.stack, tuple(scenes), sample, crew.handles)
    todo = [block for index, block in enumerate(sample.blocks) if index not in done]
    places = {block: index for index, block in enumerate(sample.blocks)}
    largest = int(np.diff(sample.starts).max())
    for part in crew.results(work, todo, bands * largest, "rectify"):
        index = places[part.block]
        reference[:, sample.starts[index] : sample.starts[index + 1]] = part.values
        if crew.journal is not None:
            crew.journal.add_part(index, part.values)
        crew.meter.add()
    return reference


def _compare(crew: Crew, work: Comparison, alone: Sequence[Scene]) -> list[Lines | str]:
    """Return the lines of each scene, or why it has none; those `alone` in the reference are it."""
    scenes, reference = work.scenes, work.reference
    found: dict[int, Lines | str] = {} if crew.journal is None else dict(crew.journal.lines)
    for index, scene in enumerate(scenes):
        if scene in alone:
            found[index] = Lines.identity(reference[:, common(reference)])
    crew.meter.begin(1, 2, len(scenes))
    crew.meter.add(len(found))
    todo = [Block(index, 0, 1, 1) for index in range(len(scenes)) if index not in found]
    lost = 0
    for one in crew.results(work, todo, 8 * reference.size, "rectify"):
        lines = one.why if one.lines is None else one.lines
        found[one.block.row] = lines
        lost += one.lost
        if crew.journal is not None:
            crew.journal.add_lines(one.block.row, lines)
        crew.meter.add()
    if lost:
        log.warning("%d windows of files could not be read; their pixels are left out of the comparison", lost)
    return [found[index] for index in range(len(scenes))]


def _reference(scenes: Sequence[Scene], options: RectifyOptions) -> tuple[tuple[Scene, ...], str]:
    """Return the scenes of which the reference is the middle, and what tables call it."""
    wanted = options.reference
    season = "" if options.season is None else f", {options.season}"
    if wanted == "median":
        return tuple(scenes), f"median of {len(scenes)} scenes{season}"
    place = Path(wanted).absolute()
    named = [
        scene
        for scene in scenes
        for pieces in scene.image.bands
        for piece in pieces
        if str(piece.path) == wanted or (isinstance(piece.path, Path) and piece.path.absolute() == place)
    ]
    dated = [scene for scene in scenes if scene.layer.iso_date.startswith(wanted)] if _is_date(wanted) else []
    if len({scene.layer.iso_date for scene in dated}) > 1:
        listed = first_of(list(dict.fromkeys(scene.layer.iso_date for scene in dated)), NAMED)
        raise InputError(f"reference {wanted}: several scenes have such a date ({listed}): give one of them in full")
    found = tuple(dict.fromkeys(named)) or tuple(dated)
    if not found:
        where = f" within --season {options.season}" if season else ""
        raise InputError(
            f"reference {wanted}: is neither a file nor a date of the {len(scenes)} scenes{where}, nor the word median"
        )
    return found, found[0].name if named else found[0].layer.iso_date


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text if len(text) != 7 else f"{text}-01")
    except ValueError:
        return len(text) == 4 and text.isdigit()
    return True

"""`rectify_stack`: find the gains that make the scenes of a stack comparable."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.dates.periods import Season
from pixelwise.errors import InputError, ParameterError
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.notebook import notebook_bar
from pixelwise.jobs.plan import check_blocks
from pixelwise.jobs.provenance import describe_stack, header_digest, plain, versions
from pixelwise.maps.saving import check_output, save_text
from pixelwise.opening.gain_checks import warnings_of_gains
from pixelwise.rasters.stamps import FileStamp
from pixelwise.rectification.by_scene import rows_by_scene
from pixelwise.rectification.by_sensor import rows_by_sensor
from pixelwise.rectification.comparing import LEAST_PIXELS, Controls
from pixelwise.rectification.controls import ControlPolygons
from pixelwise.rectification.crew import Crew, Meter, journal_beside
from pixelwise.rectification.lines import Lines
from pixelwise.rectification.options import RectifyOptions
from pixelwise.rectification.sample import Sample, sample_of, sample_within
from pixelwise.rectification.scenes import Scene, scenes_of
from pixelwise.rectification.sensors import PairLines
from pixelwise.regular_files import is_file
from pixelwise.stacks.gains import Gains
from pixelwise.stacks.raster import RasterStack

__all__ = ["rectify_stack"]

log = logging.getLogger(__name__)

#: Days from the first scene of the year to the last one. Scenes that are farther apart differ by phenology, not by
#: radiometry alone, and are refused; within a season that the user names, there is a warning beyond the second number,
#: for three calendar months are up to 92 days, and the usual choice.
MOST_DAYS, MOST_IN_SEASON = 90, 100


def rectify_stack(
    stack: RasterStack,
    options: RectifyOptions,
    execution: Execution,
    output: Path | None,
    named: Sequence[str | Path] = (),
) -> Gains:
    """Find a gain and an offset for each band of each scene of a stack.

    Parameters
    ----------
    stack
        The scenes; its bands are those of its formula, which is not computed.
    options, execution
        How gains are found, and by whom.
    output
        The table to write, beside which a journal is kept; paths in it are relative to its folder. None for none.
    named
        What the user named as input, lists and tables of files too: no output replaces it.

    Raises
    ------
    InputError
        When the scenes cannot be compared.
    OutputError
        When the table exists or cannot be written, or another job of its name is unfinished.
    """
    if stack.gains is not None:
        # A table is applied to scenes as they are, and never to what another one made of them.
        raise ParameterError(
            f"gains {stack.spec.gains}: rectify compares scenes as they are in their files; leave the option out"
        )
    if output is not None:
        files = [path for path in (*stack.paths, *stack.area.paths) if isinstance(path, Path)]
        texts = [str(one).removeprefix("@") for one in (*named, stack.spec.times or "", options.controls or "")]
        others = [text for text in texts if text and is_file(Path(text))]
        check_output(output, overwrite=execution.overwrite, suffixes=(".csv",), inputs=(*files, *others))
    stack.check_unchanged()
    check_blocks([stack.layout], execution.memory_bytes)
    scenes = _in_season(stack, options.season)
    if options.method == "regression" and not stack.area:
        raise ParameterError(
            "method regression treats every pixel as unchanged: say where that is true (--region, --where)"
        )
    if options.per == "scene":
        _check_phenology(scenes, options.season)
    names = scenes[0].image.names
    if len(set(names)) < len(names):
        raise InputError(
            f"{scenes[0].image.pieces[0].path}: two of its bands have one name ({', '.join(names)}), so a table could "
            "not tell them apart; give them different descriptions"
        )
    sample, controls = _sample(stack, options)
    progress = notebook_bar() if execution.progress is None else execution.progress
    folder = None if output is None else output.parent
    kind = PairLines if options.per == "sensor" else Lines
    with journal_beside(output, _key(stack, scenes, options, folder), kind, execution) as journal:
        crew = Crew(stack, execution, journal, Meter(progress))
        if options.per == "sensor":
            rows = rows_by_sensor(crew, scenes, sample, options, folder)
        else:
            rows = rows_by_scene(crew, scenes, sample, controls, options, folder)
        stack.check_unchanged()
        gains = Gains(tuple(rows))
        if output is not None:
            save_text(gains.as_csv(), output, overwrite=execution.overwrite)
    for text in warnings_of_gains(gains):
        log.warning(text)
    return gains


def _sample(stack: RasterStack, options: RectifyOptions) -> tuple[Sample, Controls | None]:
    """Return the pixels that are compared; for polygons of control sets all of theirs, and which set each is of."""
    if options.controls is None:
        sample = sample_of(stack, options.sample, options.seed)
        if len(sample) < LEAST_PIXELS:  # then it has all pixels
            raise InputError(
                f"the area has {len(sample)} pixels, but {LEAST_PIXELS} are needed (1.8 km2 at 30 m): take a larger "
                "one (--region, --where, --bounds), or larger scenes"
            )
        return sample, None
    polygons = ControlPolygons.load(options.controls, stack.grid)
    layout = stack.layout
    blocks, masks = [], []
    for block in polygons.blocks(stack.grid, layout.block_height, layout.block_width):
        bright, dark = polygons.masks(block)
        inside = stack.area.inside(block)
        used = bright | dark if inside is None else (bright | dark) & inside
        if used.any():
            blocks.append(block)
            masks.append(used)
    if not blocks:
        raise InputError(f"controls {options.controls}: no pixel of the polygons is requested")
    sample = sample_within(blocks, masks, options.sample)
    sets = [
        [sample.pixels_of(index, sample.thinned(mask)) for mask in polygons.masks(block)]
        for index, block in enumerate(sample.blocks)
    ]
    bright, dark = (np.concatenate(parts) for parts in zip(*sets, strict=True))
    return sample, (bright, dark)


def _in_season(stack: RasterStack, text: str | None) -> tuple[Scene, ...]:
    """Return the scenes within the season, all if there is none."""
    layers = stack.layers
    if text is not None:
        season = Season.parse(text)
        yearly = [layer for layer in layers if layer.precision == "year"]
        if yearly:
            raise InputError(
                f"{yearly[0].pieces[0].path}: has only a year, so whether it is within --season {text} is unknown; "
                "give dates with --times, or leave --season out"
            )
        months, days = (np.array([getattr(layer.date, part) for layer in layers]) for part in ("month", "day"))
        inside = season.contains(months, days)
        layers = tuple(layer for layer, counts in zip(layers, inside, strict=True) if counts)
        log.info("%d of %d dates are within %s", len(layers), len(stack.layers), text)
    scenes = scenes_of(layers)
    if len(scenes) < 2:
        raise InputError(f"{len(scenes)} scene{'s' * (len(scenes) != 1)} within --season {text}: expected at least two")
    return scenes


def _check_phenology(scenes: Sequence[Scene], season: str | None) -> None:
    """Refuse scenes of several seasons, unless the user says which days belong together."""
    if any(scene.layer.precision == "year" for scene in scenes):
        return
    days = np.unique([scene.layer.date.timetuple().tm_yday for scene in scenes])
    gaps = np.diff([*days, days[0] + 365])
    spread = 365 - int(gaps.max())
    if season is None and spread > MOST_DAYS:
        raise InputError(
            f"the scenes are spread over {spread} days of the year, so they differ by season, not by radiometry alone: "
            "say which days are compared with --season MM-DD..MM-DD"
        )
    if spread > MOST_IN_SEASON:
        log.warning(
            "the scenes within %s are spread over %d days of the year: gains of scenes that far apart remove part of "
            "the season, too; rectify shorter seasons by themselves",
            season,
            spread,
        )


def _key(stack: RasterStack, scenes: Sequence[Scene], options: RectifyOptions, folder: Path | None) -> dict[str, Any]:
    """Return what two runs must agree on to give the same table."""
    described = describe_stack(stack, folder)
    kept = ("spec", "files", "behind", "layers_used", "area", "calendar")
    return {
        "options": {name: plain(value) for name, value in vars(options).items()},
        "controls": None if options.controls is None else asdict(FileStamp.of(options.controls)),
        "scenes": len(scenes),
        **{name: described[name] for name in kept if name in described},
        "headers": header_digest(stack),
        "versions": versions(),
    }

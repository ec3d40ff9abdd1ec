"""`rectify_stack`: find the gains that make the scenes of a stack comparable."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np

from pixelwise.bands import Floats
from pixelwise.choices import PerScene, Rectification
from pixelwise.dates.periods import Season
from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import Block
from pixelwise.jobs.engine import Engine
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.executors import engine_of, open_engine, usable_cores
from pixelwise.jobs.job import DoneT_co, Work
from pixelwise.jobs.notebook import notebook_bar
from pixelwise.jobs.plan import PROCESS_BYTES, Load, check_blocks, size_text
from pixelwise.jobs.provenance import describe_stack, header_digest, plain, versions
from pixelwise.jobs.results import files_of, results_of
from pixelwise.maps.outputs import relative
from pixelwise.rasters.handles import CACHE_BYTES
from pixelwise.rasters.stamps import FileStamp
from pixelwise.rectification.comparing import LEAST_PIXELS, Comparison, Controls
from pixelwise.rectification.controls import ControlPolygons
from pixelwise.rectification.flags import flags_of
from pixelwise.rectification.lines import Lines
from pixelwise.rectification.progress import Progress
from pixelwise.rectification.sample import Sample, sample_of, sample_within
from pixelwise.rectification.scenes import HELD_BYTES, Medians, Scene, common, scenes_of
from pixelwise.stacks.gains import Gain, Gains
from pixelwise.stacks.raster import RasterStack
from pixelwise.words import NAMED, first_of, not_a_choice, shown

__all__ = ["RectifyOptions", "rectify_stack"]

log = logging.getLogger(__name__)

#: Scenes that are farther apart within the year differ by phenology, not by radiometry alone.
MOST_DAYS = 90
#: Memory that the open files of one thread may hold.
HANDLES_BYTES = 64 << 20
#: A sample of more pixels than a scene has is all of them; this bounds the memory that it takes.
MOST_SAMPLED = 5_000_000


@dataclass(frozen=True)
class RectifyOptions:
    """How gains are found; see `rectify`.

    Attributes
    ----------
    method
        How the lines are found.
    per
        Whether each scene has its own.
    reference
        ``median``, a file of one of the scenes, or a date of one.
    sample
        Pixels at which scenes are compared.
    controls
        Polygons of bright and dark control sets.
    seed
        Of the sample.
    season
        Days of each year that are compared, ``06-01..08-31``; None for all.

    Raises
    ------
    ParameterError
        When a value is impossible, or two contradict each other.
    """

    method: Rectification = "irmad"
    per: PerScene = "scene"
    reference: str = "median"
    sample: int = 50_000
    controls: Path | None = None
    seed: int = 0
    season: str | None = None

    def __post_init__(self) -> None:
        for name, choice in (("method", Rectification), ("per", PerScene)):
            if getattr(self, name) not in get_args(choice):
                raise not_a_choice(name, getattr(self, name), get_args(choice))
        for name, least, most in (("sample", LEAST_PIXELS, MOST_SAMPLED), ("seed", 0, 2**63 - 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise ParameterError(
                    f"{name} {shown(value)} is invalid: expected a whole number from {least} to {most}"
                )
        if self.season is not None:
            Season.parse(self.season)
        if self.controls is not None and self.method != "controls":
            raise ParameterError(f"controls {self.controls} is for method controls, not {self.method}")
        if self.per == "sensor" and self.reference != "median":
            raise ParameterError(
                f"reference {self.reference} is for per=scene: with per=sensor, the newest sensor is the reference"
            )
        if self.per == "sensor" and self.method == "controls":
            raise ParameterError("method controls is for per=scene: with per=sensor, pairs of scenes are compared")

    def words(self, sampled: int) -> str:
        """Describe the method for the rows of a table."""
        return f"{self.method}, {sampled} pixels, seed {self.seed}"


def rectify_stack(stack: RasterStack, options: RectifyOptions, execution: Execution, output: Path | None) -> Gains:
    """Find a gain and an offset for each band of each scene of a stack.

    Parameters
    ----------
    stack
        The scenes; its bands are those of its formula, which is not computed.
    options, execution
        How gains are found, and by whom.
    output
        The table that will be written, beside which a journal is kept; paths in it are relative to its folder.

    Raises
    ------
    InputError
        When the scenes cannot be compared.
    OutputError
        When another job is unfinished.
    """
    if stack.gains is not None:
        # A table is applied to scenes as they are, and never to what another one made of them.
        raise ParameterError(f"gains {stack.spec.gains}: are found for scenes as they are in their files: leave it out")
    stack.check_unchanged()
    check_blocks([stack.layout], execution.memory_bytes)
    scenes = _in_season(stack, options.season)
    if options.method == "regression" and not stack.area:
        raise ParameterError(
            "method regression takes every pixel as unchanged: say where that is so, with region or where"
        )
    if options.per == "scene":
        _check_phenology(scenes, options.season)
    names = scenes[0].image.names
    if len(names) == 1 and options.method == "irmad":
        log.warning(
            "one band (%s): without others, change cannot be told from gain, and each row is flagged one_band", names[0]
        )
    sample, controls = _sample(stack, options)
    progress = notebook_bar() if execution.progress is None else execution.progress
    folder = None if output is None else output.parent
    with _journal(output, _key(stack, scenes, options, folder), execution) as journal:
        crew = _Crew(stack, execution, journal, _Meter(progress, sample, scenes))
        rows = _rows_by_scene(crew, scenes, sample, controls, options, folder)
    stack.check_unchanged()
    return Gains(tuple(rows))


def _sample(stack: RasterStack, options: RectifyOptions) -> tuple[Sample, Controls | None]:
    """Return the pixels that are compared; for polygons of control sets all of theirs, and which set each is of."""
    if options.controls is None:
        return sample_of(stack, options.sample, options.seed), None
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
        raise InputError(f"{len(scenes)} scenes within --season {text}: expected at least two")
    return scenes


def _check_phenology(scenes: Sequence[Scene], season: str | None) -> None:
    """Refuse scenes of several seasons, unless the user says which days belong together."""
    if season is not None or any(scene.layer.precision == "year" for scene in scenes):
        return
    days = np.unique([scene.layer.date.timetuple().tm_yday for scene in scenes])
    gaps = np.diff([*days, days[0] + 365])
    spread = 365 - int(gaps.max())
    if spread > MOST_DAYS:
        raise InputError(
            f"the scenes are from {spread} days of the year, so they differ by season, not by radiometry alone: say "
            "which days are compared with --season MM-DD..MM-DD"
        )


def _reference(scenes: Sequence[Scene], options: RectifyOptions) -> tuple[tuple[Scene, ...], str]:
    """Return the scenes of which the reference is the median, and what tables call it."""
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


@contextmanager
def _journal(output: Path | None, key: dict[str, Any], execution: Execution) -> Iterator[Progress | None]:
    """Yield the journal of a table; None for a table in memory."""
    if output is None:
        yield None
        return
    journal = Progress(output, key, after=execution.limits.journal_seconds, restart=execution.restart)
    finished = False
    try:
        yield journal
        finished = True
    finally:
        journal.close(finished=finished)


class _Meter:
    """Tells how much is done: the reference is as much work as all scenes."""

    def __init__(self, report: Any, sample: Sample, scenes: Sequence[Scene]) -> None:
        self._report = report
        self._blocks, self._scenes = len(sample.blocks), len(scenes)
        self._done = [0, 0]

    def add(self, blocks: int = 0, scenes: int = 0) -> None:
        self._done = [self._done[0] + blocks, self._done[1] + scenes]
        if self._report:
            both = self._done[0] * self._scenes + self._done[1] * self._blocks
            self._report(both, 2 * self._blocks * self._scenes)


@dataclass(frozen=True)
class _Crew:
    """Who computes one rectification, and where what is done is kept."""

    stack: RasterStack
    execution: Execution
    journal: Progress | None
    meter: _Meter

    def results(self, work: Work[DoneT_co], blocks: Sequence[Block], values: int, name: str) -> Iterator[DoneT_co]:
        """Yield the results of some blocks, in any order; `values` is how many numbers a worker holds of each."""
        if not blocks:
            return
        execution = self.execution
        with open_engine(self._engine()) as engine:
            workers = engine.workers
            each = 2 * HELD_BYTES + 8 * values + self.stack.block_bytes + work.handles * self.stack.open_file_bytes
            memory = workers.processes * (PROCESS_BYTES + CACHE_BYTES) + workers.together * each
            if workers.memory is not None and memory > workers.memory:
                raise ParameterError(
                    f"memory {size_text(workers.memory)} is too little: {workers.jobs} worker(s) need about "
                    f"{size_text(memory)}; allow more, or use fewer --jobs"
                )
            engine.check(files_of((self.stack,)))
            load = Load(workers=workers, limit=2 * workers.jobs, memory=memory, result_bytes=8 * values)
            checked = time.monotonic()
            for result in results_of(work, blocks, len(blocks), load, engine, name, execution.limits.task_seconds):
                if time.monotonic() - checked > execution.limits.check_seconds:
                    self.stack.check_unchanged()
                    checked = time.monotonic()
                yield result

    def _engine(self) -> Engine:
        execution = self.execution
        executor = execution.executor or ("threads" if self.stack.releases_gil else "processes")
        jobs = usable_cores() if execution.jobs is None else execution.jobs
        return engine_of(executor, jobs, memory=execution.memory_bytes, address=execution.address)

    @property
    def handles(self) -> int:
        """How many datasets one thread keeps open."""
        return max(HANDLES_BYTES // max(self.stack.open_file_bytes, 1), 1)


def _rows_by_scene(
    crew: _Crew,
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
        raise InputError(
            f"the reference ({words}) has values at {known} of {len(sample)} sampled pixels, fewer than {LEAST_PIXELS}"
            ": take a larger --sample or another --reference"
        )
    work = Comparison(crew.stack, tuple(scenes), sample, reference, options.method, controls, crew.handles)
    lines = _compare(crew, work, alone=own if len(own) == 1 else ())
    _say_refused(scenes, lines)
    method = options.words(len(sample))
    return [
        row
        for scene, found in zip(scenes, lines, strict=True)
        for row in _rows_of(scene, found, options.method, folder, words, method)
    ]


def _find_reference(crew: _Crew, scenes: Sequence[Scene], sample: Sample) -> Floats:
    """Return (band, pixel) medians of some scenes."""
    bands = len(scenes[0].image.bands)
    reference = np.full((bands, len(sample)), np.nan)
    done = {} if crew.journal is None else crew.journal.parts
    for index, values in done.items():
        reference[:, sample.starts[index] : sample.starts[index + 1]] = values
    crew.meter.add(blocks=len(done))
    work = Medians(crew.stack, tuple(scenes), sample, crew.handles)
    todo = [block for index, block in enumerate(sample.blocks) if index not in done]
    places = {block: index for index, block in enumerate(sample.blocks)}
    largest = int(np.diff(sample.starts).max())
    for part in crew.results(work, todo, bands * largest, "rectify"):
        index = places[part.block]
        reference[:, sample.starts[index] : sample.starts[index + 1]] = part.values
        if crew.journal is not None:
            crew.journal.add_part(index, part.values)
        crew.meter.add(blocks=1)
    return reference


def _compare(crew: _Crew, work: Comparison, alone: Sequence[Scene]) -> list[Lines | str]:
    """Return the lines of each scene, or why it has none; those `alone` in the reference are it."""
    scenes, reference = work.scenes, work.reference
    found: dict[int, Lines | str] = {} if crew.journal is None else dict(crew.journal.scenes)
    for index, scene in enumerate(scenes):
        if scene in alone:
            found[index] = Lines.identity(reference[:, common(reference)])
    crew.meter.add(scenes=len(found))
    todo = [Block(index, 0, 1, 1) for index in range(len(scenes)) if index not in found]
    lost = 0
    for one in crew.results(work, todo, 8 * reference.size, "rectify"):
        lines = one.why if one.lines is None else one.lines
        found[one.block.row] = lines
        lost += one.lost
        if crew.journal is not None:
            crew.journal.add_scene(one.block.row, lines)
        crew.meter.add(scenes=1)
    if lost:
        log.warning("%d windows of files could not be read; their pixels are left out of the comparison", lost)
    return [found[index] for index in range(len(scenes))]


def _say_refused(scenes: Sequence[Scene], lines: Sequence[Lines | str]) -> None:
    """Warn of scenes without gains; refuse if there are no others."""
    refused = [(scene.name, why) for scene, why in zip(scenes, lines, strict=True) if isinstance(why, str)]
    if len(refused) == len(scenes):
        raise InputError(
            f"no scene can be rectified: {refused[0][0]}: {refused[0][1]}; are the scenes large, clear and overlapping "
            "enough? A larger --sample looks at more pixels"
        )
    if refused:
        listed = first_of([f"{name}: {why}" for name, why in refused], 2)
        log.warning("%d of %d scenes get no gains (flag refused): %s", len(refused), len(scenes), listed)


def _rows_of(
    scene: Scene, lines: Lines | str, method: Rectification, folder: Path | None, reference: str, words: str
) -> Iterator[Gain]:
    """Yield a row for each file of each band of a scene."""
    for index, (band, pieces) in enumerate(zip(scene.image.names, scene.image.bands, strict=True)):
        for path in dict.fromkeys(piece.path for piece in pieces):
            row = Gain(
                path=relative(path if not isinstance(path, Path) else path.absolute(), folder),
                date=scene.layer.iso_date,
                sensor=scene.image.sensor,
                band=band,
                gain=math.nan,
                offset=math.nan,
                flags=("refused",),
                reference=reference,
                method=words,
            )
            yield row if isinstance(lines, str) else _with_line(row, lines, index, method)


def _with_line(row: Gain, lines: Lines, band: int, method: Rectification) -> Gain:
    numbers: dict[str, Any] = {name: float(getattr(lines, name)[band]) for name in LINE}
    numbers.update({name: getattr(lines, name) for name in ("n", "mean_weight", "iterations")})
    return replace(row, **numbers, flags=flags_of(lines, band, method))


#: What of `Lines` a row of the table repeats for its band.
LINE = ("gain", "offset", "gain_se", "offset_se", "rmse_before", "rmse_after", "level")

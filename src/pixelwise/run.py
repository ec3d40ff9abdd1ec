"""`apply`: the only place where all parts meet."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise import methods
from pixelwise.bands import STATUS_BAND, Band, Floats, rescale
from pixelwise.dates.completeness import Completeness
from pixelwise.errors import ParameterError, ResourceError
from pixelwise.grid import Block
from pixelwise.jobs.answer import Answer, Layered, check_kinds, check_per
from pixelwise.jobs.copying import Layers
from pixelwise.jobs.engine import map_unordered
from pixelwise.jobs.executors import mender, open_executor, shares_memory, usable_cores
from pixelwise.jobs.job import Job, Result, task_of
from pixelwise.jobs.plan import Demand, Plan, check_blocks, free_memory, make_plan, parse_size
from pixelwise.jobs.provenance import UnknowableError, describe, describe_losses, doubts_of, identify, relative
from pixelwise.kernels.jit import compiling
from pixelwise.maps.geotiff import GeoTiffSink, LayerFile
from pixelwise.maps.journal import Journal, journal_of
from pixelwise.maps.map import Map, Timings
from pixelwise.maps.memory import MemorySink
from pixelwise.maps.records import DoneBlock
from pixelwise.maps.sink import Sink
from pixelwise.maps.tiles import Compression
from pixelwise.method import BoundMethod, Method, build, rounded_whole_numbers, say_rounded
from pixelwise.methods.functions.loading import load_function
from pixelwise.methods.functions.pixel import SMALL_JOB, BoundPixelFunction, UserFunction, as_method
from pixelwise.opening.checkup import clear_counts, scenes_of, warnings_of, warnings_of_all
from pixelwise.opening.pairing import pair
from pixelwise.rasters.windows import reading
from pixelwise.stacks.base import FileStack, Stack, layout_of
from pixelwise.stacks.composite import CompositeStack, FunctionReducer
from pixelwise.words import shown

__all__ = ["Progress", "apply", "plan_job", "resolve_method", "write_layers"]

log = logging.getLogger(__name__)

#: No machine has more cores; and each worker takes memory, also where it has nothing to do.
MOST_JOBS = 4096

#: Called with pixels done and pixels in all.
Progress = Callable[[int, int], None]


def apply(
    stack: Stack,
    method: str | Method | Callable[..., Any],
    output: str | Path | None = None,
    *,
    inputs: Mapping[str, Stack] | None = None,
    bands: Sequence[str] | None = None,
    min_valid: float = 0.0,
    min_span: float = 0.0,
    write: Mapping[str, str | Path] | None = None,
    per: str = "year",
    dtype: str = "float32",
    executor: str | Executor | None = None,
    jobs: int | None = None,
    memory: int | str | None = None,
    compress: Compression | None = None,
    overwrite: bool = False,
    restart: bool = False,
    trust_function: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
) -> Map:
    """Apply a method to every pixel's series.

    Parameters
    ----------
    stack
        The response: what `open_stack` returns, or any object with ``grid``, ``axis`` and ``read(block)``.
    method
        A method's name (``"ols"``), a method (``methods.ols(min_obs=5)``), ``"file.py:function"``, or a
        function: decorated by `per_pixel` or `per_block`, or plain, which is taken per pixel.
    output
        A GeoTIFF; ``trend_{band}.tif`` writes one file per band. None keeps the map in memory.
    inputs
        Further stacks by name, for methods that take some. Their layers are paired with the response's by the calendar:
        of the same year, month, ..., whichever its step counts in, or of the same day. What has no partner is left out
        and warned of. They cover the response's pixels on the same lattice.
    bands
        Names of the wanted bands (``status`` is always there); for a function without declared bands, the
        names of what it returns.
    min_valid, min_span
        A pixel with less than this share of the layers valid, or whose valid layers span less than this share of the
        time from the first to the last layer, gets status 2 and no answer but ``n``, whatever the method; 0 to 1. It is
        the response's own series that counts, after `select`, composites and pairing.
    write
        Stacks to write beside the map in the same pass over the input, as ``{"residuals": "left.tif"}``: one band for
        each layer, named by its date, so that `open_stack` reads them back. ``fitted`` is the method's curve at the
        dates of the layers, without gaps; ``residuals`` are values less the curve; ``anomalies`` are values less the
        season, where the method fits one, and less the mean of what that leaves: a trend stays in them. All are missing
        where a pixel has no answer. The files are complete together with the map, or none of them is.
    per
        ``year`` or ``decade``: the unit of time of all bands of the map that are a change per year.
    dtype
        ``float32`` or ``float64``: the type of the map; computing is in float64.
    executor
        ``threads``, ``processes``, ``inline``, or any `concurrent.futures.Executor`. By default threads
        where the method releases the GIL, else processes.
    jobs
        Workers, or blocks in flight of an executor handed over; all usable cores by default.
    memory
        What all local processes may use together: ``"4GiB"``. Not counted is what a function of your own
        allocates.
    compress
        Of the GeoTIFF: ``zstd`` (the default where GDAL has it), ``deflate``, ``lzw`` or ``none``.
    overwrite
        Whether a finished map may be replaced.
    restart
        Whether what a stopped run of this output left is dropped; else the same job resumes where it stopped.
    trust_function
        Your word that a function of your own is the same in each run of the job, where that cannot be told: it reads
        files, or finds names as it runs (``eval``, ``globals``). Else a stopped job of such a function starts anew.
    strict
        Whether a failing function stops the job; else its pixels get status 5.
    progress
        Called with pixels done and pixels in all, after each block.

    Returns
    -------
    Map

    Raises
    ------
    InputError
        When files cannot be read or change meanwhile, or further stacks do not fit in place or time.
    ParameterError
        When a method, band, parameter, executor or amount of memory is unknown or impossible.
    OutputError
        When the output exists, is an input, cannot be written, is written by another run, or was begun by
        another job.
    FunctionError
        When a function returns the wrong number of values, or fails and `strict` is set.
    ResourceError
        When memory, disk, open files or workers run out; the same call again resumes.

    Notes
    -----
    A job that takes more than a few seconds keeps its finished blocks in a journal beside the output. Started
    again after it was stopped, however that was, it resumes there and gives the same map.
    """
    began = time.perf_counter()
    _check_dtype(dtype)
    needs = Completeness(min_valid, min_span)
    for given in (stack, *(inputs or {}).values()):
        if not isinstance(given, Stack):
            raise ParameterError(f"a stack is wanted, not {type(given).__name__}: open files with open_stack(...)")
    if write and output is None:
        raise ParameterError(f"write={', '.join(write)} without output: the stacks are written together with the map")
    pairing = pair(stack, inputs or {})
    stack, inputs, stacks = pairing.stack, pairing.inputs, pairing.stacks
    for text in pairing.warnings:
        log.warning(text)
    _check_unchanged(stacks)
    check_memory(stacks, memory)
    named, wanted = resolve_method(method, bands)
    layered = _layered(stack, named, write or {})
    beside = [
        LayerFile(kind, Path((write or {})[kind]), _with_units(layered.bands, layout_of(stack).unit))
        for kind in layered.kinds
    ]
    sink = _sink(output, stacks, named.files, beside, overwrite=overwrite, compress=compress)
    bound, chosen, executor = _bind(stack, named, wanted, inputs, strict=strict, executor=executor)
    check_per(bound, per)
    clear = _clear_of({"": stack, **inputs})
    found = [*warnings_of_all(pairing, chosen, quick=True, clear=clear), *warnings_of_function(chosen, dtype)]
    for text in found:
        log.warning(text)
    folder = None if output is None else Path(output).parent
    provenance = describe(stack, inputs, chosen, bound, dtype=dtype, folder=folder, clear=clear)
    provenance |= needs.as_dict()
    if per != "year":
        provenance["per"] = per
    if beside:
        provenance["write"] = {file.kind: relative(file.path, folder) for file in beside}
    if inputs:
        provenance["pairing"] = pairing.describe()
    if warnings := [*pairing.warnings, *found, *_said_before(stacks)]:
        provenance["warnings"] = warnings
    described = _with_units((*rescale(bound.bands, per)[0], STATUS_BAND), layout_of(stack).unit)
    if needs or beside or per != "year":
        count = len(bound.bands)
        if layered.method is not None:
            names = [band.name for band in bound.bands]
            further = [name for name in chosen.fitted_from if name not in names]
            bound = chosen.bind(stack.axis, [*names, *further], {name: s.axis for name, s in inputs.items()})
        bound = Answer(bound, count, needs.bind(stack.axis) if needs else None, layered if beside else None, per)
    told = {band for band, _ in chosen.whole} if isinstance(chosen, UserFunction) else set()
    task = _Task(stacks, chosen, bound, described, dtype, sink, provenance, folder, frozenset(told))
    return task.carry_out(
        executor,
        jobs=jobs,
        memory=memory,
        restart=restart,
        trust_function=trust_function,
        progress=progress,
        began=began,
    )


def _said_before(stacks: Sequence[Stack]) -> Iterator[str]:
    """Yield what was logged when the stacks were opened and made, and belongs in the tags of a map all the same."""
    for stack in stacks:
        if isinstance(stack, FileStack):
            yield from scenes_of(stack).remarks
        if isinstance(stack, CompositeStack):
            yield from stack.left_out


def _clear_of(stacks: Mapping[str, Stack]) -> dict[str, list[float]]:
    """Return the clear scenes of each period of those stacks whose composites depend on them."""
    counted = {name: clear_counts(stack) for name, stack in stacks.items()}
    return {name: counts for name, counts in counted.items() if counts is not None}


def _layered(stack: Stack, method: Method, write: Mapping[str, str | Path]) -> Layered:
    """Return the stacks that are to be written beside a map."""
    kinds = check_kinds(method, list(write))
    if isinstance(stack, FileStack):
        names = stack.names
    else:
        names = tuple(map(str, stack.axis.calendar_years if stack.axis.precision == "year" else stack.axis.dates))
    return Layered(kinds, names, method if method.fitted_from else None, stack.axis)


def write_layers(
    stack: FileStack,
    output: str | Path,
    *,
    dtype: str = "float32",
    executor: str | Executor | None = None,
    jobs: int | None = None,
    memory: int | str | None = None,
    compress: Compression | None = None,
    overwrite: bool = False,
    restart: bool = False,
    trust_function: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write the layers of a stack as the bands of one GeoTIFF, which `open_stack` reads back by their names: dates.

    Parameters
    ----------
    stack
        Such as `RasterStack.composite` returns.
    output
        A GeoTIFF.
    dtype, executor, jobs, memory, compress, overwrite, restart, trust_function, progress
        As in `apply`.

    Returns
    -------
    Path
        That of the file.

    Raises
    ------
    InputError, ParameterError, OutputError, ResourceError
        As `apply` does.
    """
    began = time.perf_counter()
    _check_dtype(dtype)
    stack.check_unchanged()
    check_memory((stack,), memory)
    sink = _sink(output, (stack,), (), (), overwrite=overwrite, compress=compress)
    method = Layers(stack.names)
    bound = method.bind(stack.axis, None, {})
    folder = Path(output).parent
    clear = _clear_of({"": stack})
    provenance = describe(stack, {}, method, bound, dtype=dtype, folder=folder, clear=clear)
    provenance["bands"] = list(stack.names)
    warnings = warnings_of(stack, method, quick=True, clear=clear.get(""))
    for text in warnings:
        log.warning(text)
    if warnings := [*warnings, *_said_before((stack,))]:
        provenance["warnings"] = warnings
    named = _with_units(bound.bands, layout_of(stack).unit)
    task = _Task((stack,), method, bound, named, dtype, sink, provenance, folder)
    chosen = executor or executor_for(bound, (stack,))
    check_travels(method, (stack,), chosen)
    return task.carry_out(
        chosen, jobs=jobs, memory=memory, restart=restart, trust_function=trust_function, progress=progress, began=began
    ).paths[0]


@dataclass(frozen=True)
class _Task:
    """All that decides about a job but where it is computed.

    Attributes
    ----------
    named
        The bands that are written.
    folder
        Where the output goes; None for memory.
    told
        Bands of which it was said already that whole numbers are rounded.
    """

    stacks: tuple[Stack, ...]
    method: Method
    bound: BoundMethod
    named: tuple[Band, ...]
    dtype: str
    sink: Sink
    provenance: dict[str, Any]
    folder: Path | None
    told: frozenset[str] = frozenset()

    def carry_out(
        self,
        executor: str | Executor,
        *,
        jobs: int | None,
        memory: int | str | None,
        restart: bool,
        trust_function: bool,
        progress: Progress | None,
        began: float,
    ) -> Map:
        """Compute all blocks that are not done yet, and finish the output."""
        sink = self.sink
        doubts = "" if self.folder is None else doubts_of(self.method, self.stacks)
        refused = "" if trust_function else doubts
        with _journal(self.sink, self.provenance, self.method, self.stacks, refused, restart=restart) as journal:
            if isinstance(sink, GeoTiffSink) and journal is not None and journal.committed is not None:
                log.info("the map was complete; it only gets its name")
                return sink.end(self.named, self.stacks[0].grid, journal.committed)
            begun = journal.layout if journal else None
            plan = plan_job(
                self.stacks,
                self.bound,
                dtype=self.dtype,
                jobs=jobs,
                memory=memory,
                executor=executor,
                in_memory=self.folder is None,
                tile=begun.tile if begun else None,
            )
            layout = sink.begin(
                plan.grid, (plan.tile_height, plan.tile_width), self.named, self.dtype, self.provenance, begun
            )
            warnings = list(self.provenance.get("warnings", ()))
            if begun is not None and doubts:
                warnings.append(f"resumed on trust: {doubts}")
                log.warning(warnings[-1])
            if journal is not None:
                journal.begin(layout)
            job = Job(self.stacks, self.bound, self.dtype, sink.encode, plan.team, plan.handles)
            timings, tally = _run(job, plan, sink, executor, progress, journal, self.told, self.method.name)
            timings = replace(timings, total=time.perf_counter() - began)
            described = {**self.provenance, "timings": timings.as_dict()}
            if tally.lost:
                described["lost"] = describe_losses(tally.lost, self.folder)
            if warnings := [*warnings, *tally.warnings]:
                described["warnings"] = warnings
            finished = sink.finish(described, timings, journal.commit if journal else lambda seals: None)
            return replace(finished, timings=replace(timings, total=time.perf_counter() - began))


def _check_dtype(dtype: str) -> None:
    if dtype not in ("float32", "float64"):
        raise ParameterError(f"dtype {dtype!r} is not float32 or float64")


@contextmanager
def _journal(
    sink: Sink, described: Mapping[str, Any], method: Method, stacks: Sequence[Stack], refused: str, *, restart: bool
) -> Iterator[Journal | None]:
    """Give the journal of a sink, None of one in memory; at the end close both, and keep what is worth it."""
    if not isinstance(sink, GeoTiffSink):
        yield None
        return
    key = {}
    try:
        key = {**identify(described, method, stacks), "compress": sink.compress}
    except UnknowableError as error:
        refused = str(error)
    journal = Journal(sink.path, key, stacks[0].grid, after=SHORT_SECONDS, refused=refused, restart=restart)
    finished = False
    try:
        yield journal
        finished = True
    finally:
        kept = journal.worth_keeping and not finished
        if kept and isinstance(method, UserFunction):
            method.leave()
        if kept:
            log.warning("%s keeps what is done; run the same job again to resume", journal.path)
        try:
            sink.abort(keep=kept)
        finally:
            journal.close(finished=finished)


def _run(
    job: Job,
    plan: Plan,
    sink: Sink,
    executor: str | Executor,
    progress: Progress | None,
    journal: Journal | None,
    told: frozenset[str],
    name: str,
) -> tuple[Timings, _Tally]:
    """Compute all blocks that are not done yet and hand them to the sink."""
    pixels, began = plan.grid.block.pixels, time.perf_counter()
    tally, blocks, done = _Tally(told=set(told)), plan.blocks(), 0
    if journal is not None:
        _restore(journal, sink, tally)
        blocks, done = journal.remaining(blocks), journal.pixels
    if done:
        log.info("resuming: %d %% of the pixels were done by an earlier run", 100 * done // pixels)
    with reading(job.stacks), open_executor(executor, plan.jobs // plan.team) as pool:
        _compile(job, name)
        task, forget = task_of(job, in_process=shares_memory(pool))
        try:
            checked = time.monotonic()
            for result in map_unordered(pool, task, blocks, plan.limit, mender(pool)):
                if time.monotonic() - checked > CHECK_SECONDS:
                    _check_unchanged(job.stacks)
                    checked = time.monotonic()
                before = time.perf_counter()
                losses = tally.add(result)
                placed = sink.write(result.block, result.encoded)
                if journal is not None:
                    lost = tuple((path, band, count) for (path, band), count in losses.items())
                    journal.add(DoneBlock(result.block, placed, result.answered, lost, result.rounded))
                tally.write += time.perf_counter() - before
                done += result.block.pixels
                if progress is not None:
                    progress(done, pixels)
        except MemoryError as error:
            raise ResourceError(
                "memory ran out; run the same command again with fewer --jobs or a smaller --memory to resume"
            ) from error
        finally:
            forget()
    _check_unchanged(job.stacks)
    tally.tell()
    decoded = pixels * sum(layout_of(s).stored for s in job.stacks)
    wait = time.perf_counter() - began - tally.write
    return Timings(tally.read, tally.kernel, tally.encode, tally.write, wait, pixels=pixels, bytes_read=decoded), tally


#: Pixels that could not be read, by path and band.
Losses = Counter[tuple[str, int]]


@dataclass
class _Tally:
    """What came of the blocks so far.

    Attributes
    ----------
    read, kernel, encode, write
        Seconds, as in `Timings`.
    answered
        Whether any pixel has values.
    lost
        What could not be read.
    failed
        Whether a user's function failed anywhere.
    told
        Bands of which it was said that whole numbers are rounded.
    warnings
        What was said, for the map's tags.
    """

    read: float = 0.0
    kernel: float = 0.0
    encode: float = 0.0
    write: float = 0.0
    answered: bool = False
    lost: Losses = field(default_factory=Counter)
    failed: bool = False
    told: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)

    def add(self, result: Result) -> Losses:
        """Add one block; return what it lost. What happens for the first time is told."""
        self.read += result.read
        self.kernel += result.kernel
        self.encode += result.encode
        self.answered = self.answered or result.answered
        if result.failure is not None and not self.failed:
            self.failed = True
            log.warning("the function failed at some pixels (status 5); the first:\n%s", result.failure)
        self.warn_of_rounding(result.rounded)
        losses: Losses = Counter()
        told = {path for path, _ in self.lost}
        for loss in result.lost:
            path = str(loss.path)
            if path not in told:
                told.add(path)
                log.warning("%s; counts as missing, as do others of this file", loss.reason)
            losses[path, loss.band] += loss.block.pixels
        self.lost.update(losses)
        return losses

    def warn_of_rounding(self, rounded: Iterable[Sequence[Any]]) -> None:
        """Warn once of each band of whole numbers that the map's type does not hold."""
        new = [(band, value) for band, value in rounded if band not in self.told]
        self.told.update(band for band, _ in new)
        # A stack of many layers is not as many lines.
        said = [say_rounded(band, value) for band, value in new[:MOST_BANDS]]
        if len(new) > MOST_BANDS:
            said.append(f"{len(new) - MOST_BANDS} more bands: float32 does not hold their whole numbers either")
        for text in said:
            log.warning(text)
        self.warnings += said

    def tell(self) -> None:
        """Tell what matters of all blocks together."""
        if not self.answered:
            log.warning("no pixel has an answer: the map holds nothing but status")
        if self.lost:
            log.warning(
                "%d pixels of dates could not be read, in %d file(s), and count as missing: status 8 where it matters",
                self.lost.total(),
                len({path for path, _ in self.lost}),
            )


def _restore(journal: Journal, sink: Sink, tally: _Tally) -> None:
    """Take over what an earlier run did, as far as it is whole."""
    damaged = 0
    for done in journal.records():
        if sink.restore(done):
            journal.confirm(done.block)
            tally.answered = tally.answered or done.answered
            tally.warn_of_rounding(done.rounded)
            tally.lost.update({(path, band): count for path, band, count in done.lost})
        else:
            damaged += 1
    if damaged:
        log.warning("%d damaged block(s) of the map that was begun are computed again", damaged)


def _check_unchanged(stacks: Sequence[Stack]) -> None:
    """Stop a job whose files changed under it: half of the map would be of other numbers."""
    for stack in stacks:
        if isinstance(stack, FileStack):
            stack.check_unchanged()


def _with_units(bands: Sequence[Band], unit: str) -> tuple[Band, ...]:
    """Put the input's unit into those of the bands: ``{value}/year`` of metres is ``m/year``."""
    plain = unit or "1"
    return tuple(
        replace(band, unit="" if band.unit == "{value}" and not unit else band.unit.replace("{value}", plain))
        for band in bands
    )


def _compile(job: Job, name: str) -> None:
    """Compile kernels of a method in this thread, before workers would all compile at once."""
    size: tuple[int, ...] = (1 + 2 * job.bound.halo,) * 2 if job.bound.halo else (1,)
    itemsize = [np.float32 if layout_of(stack).itemsize == 4 else np.float64 for stack in job.stacks]
    inputs = tuple(np.full((len(s.axis), *size), np.nan, t) for s, t in zip(job.stacks, itemsize, strict=True))
    with compiling(name, begins=False):
        job.bound(inputs, job.dtype)


def _bind(
    stack: Stack,
    chosen: Method,
    wanted: Sequence[str] | None,
    inputs: Mapping[str, Stack],
    *,
    strict: bool,
    executor: str | Executor | None,
) -> tuple[BoundMethod, Method, str | Executor]:
    """Rehearse and bind a method; choose the executor that suits it."""
    if isinstance(chosen, UserFunction):
        chosen = replace(chosen, strict=strict)
    chosen.check_axis(stack.axis)
    chosen = chosen.rehearse(stack.axis, lambda: sample_pixels(stack), stack.grid.block.pixels)
    with compiling(chosen.name):
        bound = chosen.bind(stack.axis, wanted, {name: s.axis for name, s in inputs.items()})
    stacks = (stack, *inputs.values())
    executor = executor or executor_for(bound, stacks)
    check_travels(chosen, stacks, executor)
    return bound, chosen, executor


def warnings_of_function(method: Method, dtype: str = "float32") -> list[str]:
    """Return what the rehearsal of a user's function showed that is worth a look; nothing of other methods."""
    return method.warnings(dtype) if isinstance(method, UserFunction) else []


def warnings_of_values(method: Method, stack: Stack) -> list[str]:
    """Return whether values that a summary repeats are whole numbers that float32 does not hold, by a sample.

    A plan says so by this; a job sees it in its blocks.
    """
    if method.name != "summary" or layout_of(stack).itemsize == 4:
        return []
    found = rounded_whole_numbers(sample_pixels(stack), "float32")
    return [say_rounded(method.name, value) for _, value in found[:1]]


def check_travels(method: Method, stacks: Sequence[Stack], executor: str | Executor) -> None:
    """Refuse users' functions that an executor cannot send to its workers.

    Raises
    ------
    FunctionError
    """
    if executor in ("threads", "inline") or (isinstance(executor, Executor) and shares_memory(executor)):
        return
    reducers = [stack.reducer for stack in stacks if isinstance(stack, CompositeStack)]
    for function in (method, *(reducer.method for reducer in reducers if isinstance(reducer, FunctionReducer))):
        if isinstance(function, UserFunction):
            function.check_travels()


def executor_for(bound: BoundMethod, stacks: Sequence[Stack]) -> str:
    """Return the executor that suits a job: threads where they run all of it in parallel, else processes.

    Threads also where plain Python is likely to take no longer than processes take to start, which depends on the size
    of the job alone: the next run of the same job has to find the same executor.
    """
    values = stacks[0].grid.block.pixels * len(stacks[0].axis)
    small = isinstance(bound, BoundPixelFunction) and values <= SMALL_JOB
    parallel = (bound.releases_gil or small) and all(s.releases_gil for s in stacks if isinstance(s, FileStack))
    return "threads" if parallel else "processes"


def resolve_method(
    method: str | Method | Callable[..., Any],
    bands: Sequence[str] | None = None,
    parameters: Mapping[str, str] | None = None,
    jit: bool | None = None,
) -> tuple[Method, Sequence[str] | None]:
    """Return the method that a user names, and the bands to select from it.

    Parameters
    ----------
    method
        As in `apply`.
    bands
        Names to select; for a function that declares none, names for what it returns.
    parameters
        Texts by name, as the command line has them.
    jit
        Whether a function of the user's own must or must not be compiled.

    Raises
    ------
    ParameterError
        When something is unknown.
    """
    if isinstance(method, str) and ".py:" not in method:
        if method.endswith(".py"):
            raise ParameterError(f"{method}: which function of it? {method}:FUNCTION is wanted")
        if jit is not None:
            raise ParameterError(f"{method} is compiled already: jit is for functions of your own")
        return build(methods.get(method), parameters or {}), bands
    thing = load_function(method) if isinstance(method, str) else method
    chosen = as_method(thing, bands, parameters, jit)
    # Names given to a function that declares none are all its bands, not a choice among them: `n` stays.
    unnamed = as_method(thing, None, parameters, jit)
    return chosen, None if isinstance(unnamed, UserFunction) and unnamed.names is None else bands


def check_memory(stacks: Sequence[Stack], memory: int | str | None) -> None:
    """Refuse stacks of which not even one block fits, before anything is read; see `check_blocks`."""
    check_blocks([layout_of(stack) for stack in stacks], None if memory is None else parse_size(memory))


def plan_job(
    stacks: Sequence[Stack],
    bound: BoundMethod,
    *,
    dtype: str = "float32",
    jobs: int | None = None,
    memory: int | str | None = None,
    executor: str | Executor | None = None,
    in_memory: bool = False,
    tile: tuple[int, int] | None = None,
) -> Plan:
    """Cut a job into blocks; see `make_plan`."""
    layouts = list(map(layout_of, stacks))
    if jobs is None:
        # Each worker decodes a block; as many as fit, so that files of few huge ones can still be read.
        room = free_memory() // 2 // max(1, *(layout.decoded for layout in layouts))
        jobs = min(usable_cores(), max(room, 1)) if memory is None else usable_cores()
    if not isinstance(jobs, int) or not 1 <= jobs <= MOST_JOBS:
        most = f"and at most {MOST_JOBS}"
        raise ParameterError(f"jobs {shown(jobs)} is impossible: at least one worker is needed, {most}")
    demands = [Demand(len(stack.axis), layout) for stack, layout in zip(stacks, layouts, strict=True)]
    executor = executor or executor_for(bound, stacks)
    # A team's threads live beside the worker that they help, and divide files among them.
    teamwork = executor == "threads" and not bound.halo and all(isinstance(stack, FileStack) for stack in stacks)
    return make_plan(
        stacks[0].grid,
        demands,
        bands=len(bound.bands) + 1,
        halo=bound.halo,
        jobs=jobs,
        processes=1 + jobs if executor == "processes" else 1,
        memory=None if memory is None else parse_size(memory),
        output_itemsize=np.dtype(dtype).itemsize,
        in_memory=in_memory,
        teamwork=teamwork,
        tile=tile,
    )


def _sink(
    output: str | Path | None,
    stacks: Sequence[Stack],
    tables: Sequence[Path],
    beside: Sequence[LayerFile],
    *,
    overwrite: bool,
    compress: Compression | None,
) -> Sink:
    if output is None:
        return MemorySink()
    files = [p for stack in stacks if isinstance(stack, FileStack) for p in (*stack.paths, *stack.area.paths)]
    sink = GeoTiffSink(output, beside, inputs=[*files, *tables], overwrite=overwrite, compress=compress)
    # Early; only a run that resumes may find the map there that it has to end with. A name may be too long to ask for.
    if not os.path.exists(journal_of(Path(output))):  # noqa: PTH110
        sink.check()
    return sink


#: Bands whose whole numbers are rounded that a block names.
MOST_BANDS = 5

#: How often files are looked at for changes.
CHECK_SECONDS = 5.0

#: Jobs that take less keep no journal.
SHORT_SECONDS = 5.0

#: Windows read for a rehearsal: few and small, anywhere in the image.
SAMPLE_WINDOWS, SAMPLE_EDGE = 8, 16


def sample_pixels(stack: Stack, seed: int = 0) -> Floats:
    """Return (time, pixel) float64 of some pixels with observations, from seeded random windows."""
    grid, random = stack.grid, np.random.default_rng(seed)
    height, width = min(SAMPLE_EDGE, grid.height), min(SAMPLE_EDGE, grid.width)
    windows = [
        Block(
            int(random.integers(grid.height - height + 1)),
            int(random.integers(grid.width - width + 1)),
            height,
            width,
        )
        for _ in range(SAMPLE_WINDOWS)
    ]
    with reading((stack,)):
        found = [_observed(stack, window, windows[:i]) for i, window in enumerate(windows)]
        if not any(part.shape[1] for part in found):
            # Observations may be rare: look everywhere until there are some.
            for block in grid.blocks(256, 256):
                found = [_observed(stack, block)]
                if found[0].shape[1]:
                    break
    return np.concatenate(found, axis=1)


def _observed(stack: Stack, block: Block, without: Sequence[Block] = ()) -> Floats:
    """Return (time, pixel) of those pixels of a block that have a value and lie in none of some other blocks."""
    new = np.ones((block.height, block.width), dtype=bool)
    for other in without:
        shared = other.intersection(block)
        if shared is not None:
            new[shared.shift(-block.row, -block.col).slices] = False
    if not new.any():
        return np.empty((len(stack.axis), 0))
    pixels = stack.read(block)[:, new].astype(np.float64)
    return pixels[:, ~np.isnan(pixels).all(axis=0)]

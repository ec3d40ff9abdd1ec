"""`apply`: the only place where all parts meet."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixelwise.bands import STATUS_BAND, rescale, with_units
from pixelwise.dates.completeness import Completeness
from pixelwise.errors import ParameterError
from pixelwise.jobs.answer import LayerOutputs, PostProcessed, check_kinds, check_per
from pixelwise.jobs.copying import Copy
from pixelwise.jobs.provenance import describe, relative
from pixelwise.jobs.task import Progress, Task, check_memory, check_travels, check_unchanged, executor_for
from pixelwise.kernels.jit import compiling
from pixelwise.maps.geotiff import GeoTiffSink
from pixelwise.maps.journal import journal_of
from pixelwise.maps.map import Map
from pixelwise.maps.memory import MemorySink
from pixelwise.maps.outputs import LayerFile
from pixelwise.maps.sink import Sink
from pixelwise.maps.tiles import Compression
from pixelwise.method import BoundMethod, Method, rounded_whole_numbers, say_rounded
from pixelwise.methods.functions.base import UserFunction
from pixelwise.methods.lookup import resolve_method
from pixelwise.opening.checkup import warnings_of, warnings_of_all
from pixelwise.opening.pairing import pair
from pixelwise.opening.scene_counts import clear_counts, scenes_of
from pixelwise.stacks.base import FileStack, Stack, layout_of
from pixelwise.stacks.composite import CompositeStack
from pixelwise.stacks.sampling import sample_pixels

__all__ = ["apply", "warnings_of_function", "warnings_of_values", "write_layers"]

log = logging.getLogger(__name__)


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
    check_unchanged(stacks)
    check_memory(stacks, memory)
    named, wanted = resolve_method(method, bands)
    layered = _layered(stack, named, write or {})
    beside = [
        LayerFile(kind, Path((write or {})[kind]), with_units(layered.bands, layout_of(stack).unit))
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
    described = with_units((*rescale(bound.bands, per)[0], STATUS_BAND), layout_of(stack).unit)
    if needs or beside or per != "year":
        count = len(bound.bands)
        if layered.method is not None:
            names = [band.name for band in bound.bands]
            further = [name for name in chosen.fitted_from if name not in names]
            bound = chosen.bind(stack.axis, [*names, *further], {name: s.axis for name, s in inputs.items()})
        bound = PostProcessed(bound, count, needs.bind(stack.axis) if needs else None, layered if beside else None, per)
    told = {band for band, _ in chosen.whole} if isinstance(chosen, UserFunction) else set()
    task = Task(stacks, chosen, bound, described, dtype, sink, provenance, folder, frozenset(told))
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


def _layered(stack: Stack, method: Method, write: Mapping[str, str | Path]) -> LayerOutputs:
    """Return the stacks that are to be written beside a map."""
    kinds = check_kinds(method, list(write))
    if isinstance(stack, FileStack):
        names = stack.names
    else:
        names = tuple(map(str, stack.axis.calendar_years if stack.axis.precision == "year" else stack.axis.dates))
    return LayerOutputs(kinds, names, method if method.fitted_from else None, stack.axis)


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
    method = Copy(stack.names)
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
    named = with_units(bound.bands, layout_of(stack).unit)
    task = Task((stack,), method, bound, named, dtype, sink, provenance, folder)
    chosen = executor or executor_for(bound, (stack,))
    check_travels(method, (stack,), chosen)
    return task.carry_out(
        chosen, jobs=jobs, memory=memory, restart=restart, trust_function=trust_function, progress=progress, began=began
    ).paths[0]


def _check_dtype(dtype: str) -> None:
    if dtype not in ("float32", "float64"):
        raise ParameterError(f"dtype {dtype!r} is not float32 or float64")


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

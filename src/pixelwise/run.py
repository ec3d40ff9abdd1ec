"""`run_job`, the only place where all parts meet."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pixelwise.bands import STATUS_BAND, Band, Floats, with_units
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import OutputError, ParameterError
from pixelwise.jobs.answer import LayerOutputs, PostProcessed, check_kinds
from pixelwise.jobs.climatology import FROM_CLIMATOLOGY, Climatology
from pixelwise.jobs.copying import Copy
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.joining import compute_part, join_parts, part_file, refuse_unfinished
from pixelwise.jobs.output_spec import OutputSpec
from pixelwise.jobs.parts import Part, folder_of
from pixelwise.jobs.provenance import describe
from pixelwise.jobs.significance import adjusted_in_memory
from pixelwise.jobs.task import Task, check_memory, check_travels, check_unchanged, executor_for
from pixelwise.maps.false_discovery import CAUTION, pvalues_of
from pixelwise.maps.files import FileSink
from pixelwise.maps.journal import journal_of
from pixelwise.maps.map import Map
from pixelwise.maps.memory import MemorySink
from pixelwise.maps.outputs import FileFormat, LayerFile, check_name, identity_of
from pixelwise.maps.publish import SUFFIXES
from pixelwise.maps.sink import Sink
from pixelwise.method import Method, rounded_whole_numbers, say_rounded
from pixelwise.methods.functions.base import UserFunction
from pixelwise.opening.checks import warnings_of, warnings_of_all
from pixelwise.opening.pairing import Pairing, pair
from pixelwise.opening.scene_counts import clear_counts, scenes_of
from pixelwise.pictures.agreement import disagreements, untested_sign
from pixelwise.stacks.base import FileStack, Stack, layout_of
from pixelwise.stacks.composite import CompositeStack
from pixelwise.stacks.sampling import sample_pixels

__all__ = [
    "BoundJob",
    "bind_job",
    "check_outputs",
    "check_written",
    "layers_beside",
    "run_job",
    "run_layers",
    "warnings_of_function",
    "warnings_of_values",
]

log = logging.getLogger(__name__)


def run_job(
    stack: Stack,
    method: Method,
    output: str | Path | None,
    inputs: Mapping[str, Stack],
    spec: OutputSpec,
    execution: Execution,
) -> Map:
    """Apply a method to a stack, as `apply` describes, with its options as values."""
    began = time.perf_counter()
    for given in (stack, *inputs.values()):
        if not isinstance(given, Stack):
            raise ParameterError(f"expected a stack, not {type(given).__name__}: open files with open_stack(...)")
    check_written(spec, output)
    if execution.part is not None and output is None:
        raise ParameterError(f"part {execution.part} needs an output: parts are joined from files")
    pairing = pair(stack, inputs)
    stacks = pairing.stacks
    check_unchanged(stacks)
    check_memory(stacks, execution)
    layered, unit = layers_beside(pairing.stack, method, spec), layout_of(pairing.stack).unit
    if layered.climatology is not None:
        spec = replace(spec, base=layered.climatology.base)
    own = {kind: with_units(layered.bands_of(kind), unit) for kind in spec.write}
    beside = [LayerFile(kind, path, own[kind], pairing.stack.axis) for kind, path in spec.write.items()]
    _check_places(stack, [path for path in (output, *spec.write.values()) if path is not None])
    sink = _sink(output, stacks, execution, method.files, beside)
    folder = None if output is None else Path(output).parent
    bound = bind_job(pairing, method, spec, execution, layered, lambda: sample_pixels(pairing.stack), folder)
    task = bound.task(sink, spec, folder)
    if output is None:
        made = task.carry_out(execution, began)
        made = made if spec.fdr is None else adjusted_in_memory(made, spec.fdr)
    elif execution.part is None and spec.fdr is None:
        if (left := folder_of(Path(output))).is_dir():
            log.warning(
                "%s beside it belongs to another job, in parts or with --fdr; remove it if you will not resume it",
                left,
            )
        made = task.carry_out(execution, began)
    else:
        made = _in_parts(task, Path(output), pairing, own, spec, execution, began)
    if execution.part is None:
        for text in disagreements(made):
            log.warning(text)
    return made


def _in_parts(
    task: Task,
    output: Path,
    pairing: Pairing[Stack],
    own: Mapping[str, tuple[Band, ...]],
    spec: OutputSpec,
    execution: Execution,
    began: float,
) -> Map:
    """Compute the part of a map that was asked for, or all of it as its only part.

    Only the whole map tells which pixels are significant: with `fdr`, it is made of its parts.
    """
    part = execution.part or Part(1, 1)
    kinds = {kind: part_file(output, part, kind) for kind in spec.write}
    beside = [LayerFile(kind, path, own[kind], pairing.stack.axis) for kind, path in kinds.items()]
    # A part whose layers are gone is computed again; only maps are replaced.
    plain = replace(execution, zarr_format=3, driver="GTiff", overwrite=True)
    make = partial(_sink, stacks=pairing.stacks, execution=plain, beside=beside)
    if spec.fdr is not None and (places := pairing.stack.grid.places) is not None:
        raise ParameterError(
            f"fdr: needs evenly spaced pixels here, but {places.reason}; make the map without it, and adjust that "
            "(pixelwise fdr)"
        )
    if execution.part is not None:
        return compute_part(task, output, execution, make, began)
    refuse_unfinished(task, output, execution)
    computed = compute_part(task, output, replace(execution, part=part), make, began)
    return join_parts(output, replace(execution, restart=False), computed.timings, began)


def check_outputs(output: Path, write: Mapping[str, Path], source: Sequence[str], *, overwrite: bool) -> None:
    """Refuse outputs that cannot be written, before the headers of many files are read.

    Parameters
    ----------
    output, write
        The map, and what is written beside it, by kind.
    source
        The input as it was given. An output that is part of it is refused later, for that reason.
    overwrite
        Whether existing files may be replaced.

    Raises
    ------
    OutputError
    """
    given = {identity_of(Path(text)) for text in source}
    for kind, path in {"a map is": output, **{f"{kind} are": path for kind, path in write.items()}}.items():
        check_name(path, kind)
        sink, own = FileSink(path, overwrite=overwrite), identity_of(path)
        if given.isdisjoint((own, *own.parents)) and not os.path.exists(journal_of(output)):  # noqa: PTH110
            sink.check()


def check_written(spec: OutputSpec, output: str | Path | None) -> None:
    """Refuse stacks that would be written beside a map in memory.

    Raises
    ------
    ParameterError
    """
    if spec.write and output is None:
        raise ParameterError(f"write={', '.join(spec.write)} needs an output: the layers are written beside the map")


@dataclass(frozen=True)
class BoundJob:
    """A method that is checked against the dates of its stacks and bound to them.

    Attributes
    ----------
    stacks
        The response, then the covariates, paired.
    method
        As rehearsed.
    answer
        The bound method, with what is done to its results.
    bands
        All bands of the map, ``status`` last, with their units.
    provenance
        What the map says about its making, warnings included.
    """

    stacks: tuple[Any, ...]
    method: Method
    answer: PostProcessed
    bands: tuple[Band, ...]
    provenance: dict[str, Any]

    def task(self, sink: Sink, spec: OutputSpec, folder: Path | None) -> Task:
        """Return the job that hands its blocks to a sink."""
        method = self.method
        reported = frozenset(band for band, _ in method.whole) if isinstance(method, UserFunction) else frozenset()
        return Task(
            self.stacks, method, self.answer.simplest, self.bands, spec.dtype, sink, self.provenance, folder, reported
        )


def bind_job(
    pairing: Pairing[Any],
    method: Method,
    spec: OutputSpec,
    execution: Execution,
    layered: LayerOutputs,
    sample: Callable[[], Floats],
    folder: Path | None,
) -> BoundJob:
    """Check a method against the dates, try a user's function, bind it, and warn of what a user should know.

    Parameters
    ----------
    pairing
        The response and its covariates.
    method, spec, execution
        As in `run_job`.
    layered
        Stacks that are written beside the map.
    sample
        Returns (time, pixel) on which a user's function is tried.
    folder
        Folder of the map; None for memory.
    """
    stack, inputs, stacks = pairing.stack, pairing.inputs, pairing.stacks
    for text in pairing.warnings:
        log.warning(text)
    method = _rehearsed(method, stack, sample, strict=execution.strict)
    answer = PostProcessed.of(method, stack.axis, {name: other.axis for name, other in inputs.items()}, spec, layered)
    check_travels(method, stacks, executor_for(answer, stacks, execution))
    clear = _clear_of({"": stack, **inputs})
    found = [*warnings_of_all(pairing, method, quick=True, clear=clear), *warnings_of_function(method, spec.dtype)]
    if spec.fdr is not None:
        pvalues_of(answer.written)  # told now, not after the job
    if text := untested_sign(method.name, [band.name for band in answer.written]):
        found.append(text)
    found += [*layered.cautions(), *([] if spec.fdr is None else [CAUTION])]
    for text in found:
        log.warning(text)
    bands = with_units((*answer.written, STATUS_BAND), layout_of(stack).unit)
    provenance = describe(stack, inputs, method, bands, spec, folder=folder, clear=clear)
    if inputs:
        provenance["pairing"] = pairing.describe()
    if warnings := [*pairing.warnings, *found, *_said_before(stacks)]:
        provenance["warnings"] = warnings
    return BoundJob(stacks, method, answer, bands, provenance)


def _said_before(stacks: Sequence[Stack]) -> Iterator[str]:
    """Yield messages that were logged when the stacks were opened or made; they belong in the tags of a map as well."""
    for stack in stacks:
        if isinstance(stack, FileStack):
            yield from scenes_of(stack).remarks
        else:
            yield from getattr(stack, "remarks", ())
        if isinstance(stack, CompositeStack):
            yield from stack.left_out


def _clear_of(stacks: Mapping[str, Stack]) -> dict[str, list[float]]:
    """Return the clear scenes of each period of those stacks whose composites depend on them."""
    counted = {name: clear_counts(stack) for name, stack in stacks.items()}
    return {name: counts for name, counts in counted.items() if counts is not None}


def layers_beside(stack: Stack, method: Method, spec: OutputSpec) -> LayerOutputs:
    """Return the stacks to be written beside a map.

    Raises
    ------
    ParameterError
        When they make no sense for the method, or the base period is not of these dates.
    """
    check_kinds(method, spec.write)
    if isinstance(stack, FileStack):
        names = stack.names
    else:
        names = tuple(map(str, stack.axis.calendar_years if stack.axis.precision == "year" else stack.axis.dates))
    climatology = Climatology.of(stack.axis, spec.base) if set(FROM_CLIMATOLOGY) & set(spec.write) else None
    return LayerOutputs(tuple(spec.write), names, method if method.fitted_from else None, stack.axis, climatology)


def run_layers(
    stack: FileStack,
    output: str | Path,
    spec: OutputSpec,
    execution: Execution,
    said: Mapping[str, Any] | None = None,
    warned: Sequence[str] = (),
) -> Path:
    """Write the layers of a stack, as `write_layers` describes, with its options as values.

    Parameters
    ----------
    stack, output, spec, execution
        As there.
    said, warned
        What the file records besides how the layers were made, and warnings that were given already.
    """
    began = time.perf_counter()
    stack.check_unchanged()
    check_memory((stack,), execution)
    _check_places(stack, [output])
    sink = _sink(output, (stack,), execution, axis=stack.axis)
    method = Copy(stack.names)
    bound = method.bind(stack.axis, None, {})
    folder = Path(output).parent
    clear = _clear_of({"": stack})
    bands = with_units(bound.bands, layout_of(stack).unit)
    provenance = describe(stack, {}, method, bands, spec, folder=folder, clear=clear)
    warnings = warnings_of(stack, method, quick=True, clear=clear.get(""))
    for text in warnings:
        log.warning(text)
    if warnings := [*warnings, *_said_before((stack,)), *warned]:
        provenance["warnings"] = warnings
    provenance |= said or {}
    check_travels(method, (stack,), executor_for(bound, (stack,), execution))
    # Only files whose periods can be compared with those of a later run are appended to.
    digested = "digests" in provenance["input"].get("composite", {})
    task = Task((stack,), method, bound, bands, spec.dtype, sink, provenance, folder, digested=digested)
    return task.carry_out(execution, began).paths[0]


def _rehearsed(method: Method, stack: Stack, sample: Callable[[], Floats], *, strict: bool) -> Method:
    """Check that a method suits the dates, try a user's function on a few pixels, and return the method."""
    if isinstance(method, UserFunction):
        method = replace(method, strict=strict)
    method.check_axis(stack.axis)
    return method.rehearse(stack.axis, sample, stack.grid.block.pixels)


def warnings_of_function(method: Method, dtype: str = "float32") -> list[str]:
    """Return warnings from the rehearsal of a user's function; none for other methods."""
    return method.warnings(dtype) if isinstance(method, UserFunction) else []


def warnings_of_values(method: Method, stack: Stack) -> list[str]:
    """Return a warning if a sample of a summary's values contains whole numbers that float32 cannot represent.

    A plan uses this; a job notices it in its blocks.
    """
    if method.name != "summary" or layout_of(stack).itemsize == 4:
        return []
    found = rounded_whole_numbers(sample_pixels(stack), "float32")
    return [say_rounded(method.name, value) for _, value in found[:1]]


def _check_places(stack: Stack, outputs: Sequence[str | Path]) -> None:
    """Refuse GeoTIFFs of pixels that no transform places."""
    places = stack.grid.places
    for path in map(Path, outputs) if places is not None else ():
        if places is not None and path.suffix.lower() in SUFFIXES:
            raise OutputError(
                f"{path}: a GeoTIFF has evenly spaced pixels, but {places.reason}; write {path.stem}.zarr or "
                f"{path.stem}.nc, which keep the coordinates"
            )


def _sink(
    output: str | Path | None,
    stacks: Sequence[Stack],
    execution: Execution,
    tables: Sequence[Path] = (),
    beside: Sequence[LayerFile] = (),
    axis: TimeAxis | None = None,
) -> Sink:
    if output is None:
        return MemorySink()
    used = [p for stack in stacks if isinstance(stack, FileStack) for p in (*stack.paths, *stack.area.paths)]
    gains = [scenes_of(stack).gains for stack in stacks if isinstance(stack, FileStack)]
    files = [path for path in used if isinstance(path, Path)]
    form = FileFormat(execution.compress, execution.zarr_format, execution.driver)
    sink = FileSink(
        output,
        beside,
        inputs=[*files, *tables, *(one.table for one in gains if one and one.table)],
        overwrite=execution.overwrite,
        form=form,
        axis=axis,
    )
    # Check early, but not if a run resumes, which may find its map there already. The name may be too long to check.
    if not os.path.exists(journal_of(Path(output))):  # noqa: PTH110
        sink.check()
    return sink

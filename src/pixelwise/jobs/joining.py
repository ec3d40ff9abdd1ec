"""Maps in parts: one part computed as a job of its own, and all of them joined to the map."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band
from pixelwise.choices import MapType, Written
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import InputError, OutputError, ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.jobs.copying import CopiedMap, axis_of_bands
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.parts import Part, PartRecord, array_expression, folder_of, make_up, share_of
from pixelwise.jobs.provenance import MOST_LOSSES, doubts_of
from pixelwise.jobs.significance import with_significance
from pixelwise.jobs.task import Task
from pixelwise.maps.false_discovery import ADDED, FalseDiscovery, pvalues_of, with_added
from pixelwise.maps.files import FileSink
from pixelwise.maps.journal import Journal, differences
from pixelwise.maps.map import Map, Timings, open_map, read_block
from pixelwise.maps.outputs import FileFormat, LayerFile, check_name
from pixelwise.maps.sink import Sink
from pixelwise.pictures.agreement import disagreements
from pixelwise.rasters.headers import read_header
from pixelwise.stacks.base import FileStack, Layout, layout_of

__all__ = ["compute_part", "join_parts", "part_file"]

log = logging.getLogger(__name__)

#: What the tags of two parts of a map, and of the map, may differ in.
OF_EACH = ("timings", "lost", "warnings", "cpu", "part", "files")
#: What two parts say alike about themselves.
OF_ALL = ("count", "size", "form", "axis")


def part_file(output: Path, part: Part, kind: str = "") -> Path:
    """Return the file of a part, or of the layers that are written beside it."""
    path = folder_of(output) / f"{part.stem}.tif"
    return _beside(path, kind) if kind else path


def _beside(path: Path, kind: str) -> Path:
    """Return the file of the layers that are written beside a part."""
    return path.with_suffix(f".{kind}.tif")


def compute_part(task: Task, output: Path, execution: Execution, sink: Callable[[Path], Sink], began: float) -> Map:
    """Compute one part of a map into a file of its own, in the folder of its parts; nothing if that is there already.

    Parameters
    ----------
    task
        The job of the whole map.
    output
        The name of the map.
    execution
        How to compute it, and which part.
    sink
        Returns what writes the part to a file.
    began
        When the clock started.

    Raises
    ------
    ParameterError
        When there are fewer rectangles than parts, or functions cannot be compared between machines.
    OutputError
        When the folder holds parts of another job.
    """
    part = execution.part
    assert part is not None  # noqa: S101 - the caller's reason to call this
    stacks = task.stacks
    alone = part.count == 1
    files = all(isinstance(stack, FileStack) for stack in stacks)
    if not files and not alone:
        raise ParameterError(f"part {part}: parts need a stack of files")
    grid = stacks[0].grid
    if grid.places is not None:
        raise ParameterError(f"part {part}: parts need evenly spaced pixels, but {grid.places.reason}")
    doubts = "" if execution.trust_function else doubts_of(task.method, stacks)
    if doubts and not alone:
        raise ParameterError(f"part {part}: {doubts}")
    # A part of which nobody can say whether it is of the same job is computed again.
    known = files and not doubts
    kinds = task.provenance.get("write", {})
    for kind, path in kinds.items():
        # `join` writes it by the tags of parts, which must not lead elsewhere.
        if Path(path).name != path:
            cause = "--fdr" if alone else "parts"
            raise OutputError(f"{path}: with {cause}, {kind} are written beside the map: choose a name in its folder")
    if isinstance(task.sink, FileSink) and not execution.overwrite:
        task.sink.check_anew(grid, _written(task), task.dtype)
    block = share_of(grid, layout_of(stacks[0]), part)
    size, axis = (grid.height, grid.width), stacks[0].axis if kinds else None
    record = PartRecord(part, block, size, execution.compress, execution.zarr_format, execution.driver, axis)
    provenance = {**task.provenance, "part": record.as_json()}
    folder, target = folder_of(output), part_file(output, part)
    folder.mkdir(exist_ok=True)
    again = alone and (execution.restart or not known)
    finished = [path for path in _files_in(folder) if not (again and path == target)]
    _check_others([target] if target in finished else finished[:1], provenance)
    if target in finished and all(part_file(output, part, kind).exists() for kind in kinds):
        log.info("every pixel is computed already" if alone else "part %s is done already", *([] if alone else [part]))
        return open_map(target)
    cropped = stacks if alone else tuple(stack.crop(block) for stack in stacks if isinstance(stack, FileStack))
    own = replace(task, stacks=cropped, provenance=provenance, sink=sink(target))
    try:
        return own.carry_out(replace(execution, overwrite=False, part=None if alone else part), began)
    except BaseException:
        with suppress(OSError):  # not empty: something is kept
            folder.rmdir()
        raise


def _files_in(folder: Path) -> list[Path]:
    """Return the files of finished parts, but not those of layers beside them."""
    return sorted(path for path in folder.glob("part-*-of-*.tif") if path.name.count(".") == 1)


def _check_others(paths: Sequence[Path], provenance: Mapping[str, Any]) -> None:
    """Refuse a folder that holds parts of another job."""
    for path in paths:
        found = open_map(path).provenance
        if differing := _unlike(found, provenance):
            before, now = found.get("fdr"), provenance.get("fdr")
            # Not a reason to advise removing finished work.
            if (before is None) != (now is None) and not _unlike({**found, "fdr": None}, {**provenance, "fdr": None}):
                raise OutputError(
                    f"{path}: was made without --fdr; leave it out, join the parts, then run `pixelwise fdr`"
                    if before is None
                    else f"{path}: was made with --fdr; give it for all parts, with the same value"
                )
            raise OutputError(
                f"{path}: belongs to another job: {differing}; remove {path.parent}, or choose another output"
            )


def _common(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the tags of all parts, and of their map, have in common."""
    return {name: value for name, value in provenance.items() if name not in OF_EACH}


def _unlike(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Say in what two parts were not computed alike; nothing if they belong together."""
    sides: list[dict[str, Any]] = []
    for provenance in (found, wanted):
        part = provenance.get("part")
        if not isinstance(part, dict):
            return "it is not a part of a map"
        sides.append({**_common(provenance), "part": {name: part.get(name) for name in OF_ALL}})
    return differences(sides[0], sides[1])


@dataclass(frozen=True)
class _Joined:
    """The bands of all parts, as layers of a stack.

    Attributes
    ----------
    grid
        The grid of the whole map.
    parts
        The pixels of each part, and its files: those of layers, then that of the map.
    count, beside
        Number of bands in all files of a part, and how many of these are not in that of the map.
    layout
        How the parts are stored.
    """

    grid: Grid
    parts: tuple[tuple[Block, tuple[Path, ...]], ...]
    count: int
    beside: int
    layout: Layout

    @property
    def axis(self) -> TimeAxis:
        """One date for each band, as a stack has layers."""
        return axis_of_bands(self.count)

    def read(self, block: Block) -> NDArray[Any]:
        """Return (band, y, x) of a block, from all parts that it touches."""
        out = np.empty((self.count, block.height, block.width), dtype=f"f{self.layout.itemsize}")
        for own, files in self.parts:
            shared = own.intersection(block)
            if shared is None:
                continue
            rows, cols = shared.shift(-block.row, -block.col).slices
            first = 0
            for path in files:
                pixels = read_block(path, shared.shift(-own.row, -own.col))
                out[first : first + len(pixels), rows, cols] = pixels
                first += len(pixels)
        return out

    def layer(self, block: Block, place: int) -> NDArray[Any]:
        """Return (y, x) of one band of the map, from all parts that a block touches; layers come first."""
        out = np.empty((block.height, block.width), dtype=f"f{self.layout.itemsize}")
        for own, files in self.parts:
            if (shared := own.intersection(block)) is not None:
                inside, target = shared.shift(-own.row, -own.col), shared.shift(-block.row, -block.col)
                out[target.slices] = read_block(files[-1], inside, 1 + place - self.beside)
        return out


def refuse_unfinished(task: Task, output: Path, execution: Execution) -> None:
    """Refuse to begin a job in parts where another without parts was stopped, unless that is to be discarded.

    Raises
    ------
    OutputError
        When there is one, or another run is in progress.
    """
    why, grid = "with --fdr it starts again", task.stacks[0].grid
    assert isinstance(task.sink, FileSink)  # noqa: S101 - the output is a file
    check = partial(task.sink.check_anew, grid, _written(task), task.dtype)
    Journal(output, {}, grid, refused=why, restart=execution.restart, before_restart=check).close(finished=False)


def _written(task: Task) -> tuple[Band, ...]:
    """Return the bands of the whole map: with those that only all of its parts give."""
    return with_added(task.named, pvalues_of(task.named)) if "fdr" in task.provenance else task.named


def join_parts(output: Path, execution: Execution, spent: Timings | None = None, began: float | None = None) -> Map:
    """Join the parts of a map, which then are removed.

    Parameters
    ----------
    output
        The name of the map, as it was given with each part.
    execution
        Workers, memory, and whether a finished map may be replaced.
    spent
        The time that the parts took, if they were computed just now.
    began
        When the clock started; None for now.

    Raises
    ------
    InputError
        When parts are missing, are not of one job, or cannot be read.
    OutputError
        When the map exists or cannot be written.
    """
    began = time.perf_counter() if began is None else began
    check_name(output, "a map is")
    folder = folder_of(output)
    maps = {path: open_map(path) for path in _files_in(folder)}
    if not maps:
        raise InputError(f"{folder}: holds no finished part; compute parts of {output} with --part I/N")
    # What was computed just now may be newer than a map of the same name that says the same of itself.
    if spent is None and (joined := _joined_before(output, maps)) is not None:
        log.info("the map was already complete; what remains of its parts is removed")
        _remove(folder, list(maps))
        return joined
    records = {path: _record_of(path, one) for path, one in maps.items()}
    _check_together(maps, records, output)
    task, execution = _task(maps, records, output, execution)
    request = _request_of(maps)
    with nullcontext(task) if request is None else with_significance(task, request) as whole:
        joined = whole.carry_out(execution, began)
    _remove(folder, list(maps))
    for text in disagreements(joined) if spent is None else ():
        log.warning(text)
    return joined if spent is None else replace(joined, timings=joined.timings.after(spent))


def _request_of(maps: Mapping[Path, Map]) -> FalseDiscovery | None:
    """Return the false discovery rate that all parts ask for, which only the whole map can tell; None for none."""
    path, part = next(iter(maps.items()))
    try:
        return FalseDiscovery.from_provenance(part.provenance)
    except ParameterError as error:
        raise InputError(f"{path}: its tags are damaged ({error}); remove it, and compute it again") from None


def _task(
    maps: Mapping[Path, Map], records: Mapping[Path, PartRecord], output: Path, execution: Execution
) -> tuple[Task, Execution]:
    """Return the job that joins parts, and how it is executed."""
    path, record = next((path, record) for path, record in records.items() if record.block.row == record.block.col == 0)
    corner, provenance = maps[path], _merged(list(maps.values()))
    kinds = {kind: output.parent / name for kind, name in provenance.get("write", {}).items()}
    beside = [
        LayerFile(kind, file, open_map(_beside(path, kind)).bands, record.axis)
        for kind, file in kinds.items()
        if record.axis is not None
    ]
    files = {path: (*(_beside(path, kind) for kind in kinds), path) for path in maps}
    layers = tuple(band for file in beside for band in file.bands)
    stored = read_header(path)
    stack = _Joined(
        Grid(corner.grid.crs, corner.grid.transform, *record.size),
        tuple((records[path].block, files[path]) for path in maps),
        len(layers) + len(corner.bands),
        len(layers),
        Layout(stored.block_height, stored.block_width, itemsize=4 if provenance["dtype"] == "float32" else 8),
    )
    used = [file for own in files.values() for file in own]
    form = FileFormat(record.compress, record.zarr_format, record.driver)
    sink = FileSink(output, beside, inputs=used, overwrite=execution.overwrite, form=form)
    sink.check()
    method = CopiedMap((*layers, *corner.bands))
    bound = method.bind(stack.axis, None, {})
    task = Task((stack,), method, bound, corner.bands, provenance["dtype"], sink, provenance, output.parent)
    # Nothing is kept of a join that is stopped, and nobody needs to be told: its parts are still there.
    limits = replace(execution.limits, journal_seconds=math.inf)
    return task, replace(execution, executor="threads", address="", compress=record.compress, limits=limits)


def _joined_before(output: Path, maps: Mapping[Path, Map]) -> Map | None:
    """Return the map if parts of it are left because `join` was stopped while it removed them; else None."""
    try:
        found = open_map(output)
    except InputError:
        return None
    whole = dict(found.provenance)
    if (request := _request_of(maps)) is not None:
        # What is known of the whole map only.
        whole["bands"] = [name for name in whole.get("bands", ()) if name not in ADDED]
        said = whole.get("fdr", {})
        whole["fdr"] = {name: said.get(name) for name in request.describe()}
    same = all(_common(one.provenance) == _common(whole) for one in maps.values())
    return found if same else None


def _remove(folder: Path, parts: Sequence[Path]) -> None:
    """Remove parts, with the layers beside them, and their folder; say what is kept."""
    try:
        for path in parts:
            for kind in get_args(Written):
                _beside(path, kind).unlink(missing_ok=True)
            path.unlink()
        folder.rmdir()
    except OSError as error:
        log.warning("%s is kept (%s); the map is complete, and nothing in it is needed", folder, error.strerror)


def _record_of(path: Path, part: Map) -> PartRecord:
    """Return what a part says about itself, and check what else of its tags is needed.

    Raises
    ------
    InputError
        When no job has written this.
    """
    said = part.provenance
    try:
        record = PartRecord.from_json(said.get("part"))
        if (part.grid.height, part.grid.width) != (record.block.height, record.block.width):
            raise ValueError(f"{record.block} in a file of {part.grid.size}")
        if said.get("dtype") not in get_args(MapType):
            raise ValueError(f"dtype {said.get('dtype')!r}")
        for kind, name in said.get("write", {}).items():
            if kind not in get_args(Written) or not isinstance(name, str) or Path(name).name != name:
                raise ValueError(f"write {kind!r}: {name!r}")
        if not all(isinstance(text, str) for text in said.get("warnings", ())):
            raise ValueError("warnings")
        for file, band, count in said.get("lost", {"worst": ()})["worst"]:
            if not (isinstance(file, str) and isinstance(band, int) and isinstance(count, int)):
                raise ValueError(f"lost {file!r}")
        if "lost" in said and not all(isinstance(said["lost"][name], int) for name in ("pixels", "files")):
            raise ValueError("lost")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: its tags are damaged ({error}); remove it, and compute it again") from None
    return record


def _check_together(maps: Mapping[Path, Map], records: Mapping[Path, PartRecord], output: Path) -> None:
    """Refuse parts that are not of one job, or do not make up the whole map.

    Raises
    ------
    InputError
        Which part it is, or which ones are missing.
    """
    first, *others = maps
    for path in others:
        if differing := _unlike(maps[path].provenance, maps[first].provenance):
            raise InputError(f"{path}: does not belong to the same job as {first.name}: {differing}")
    count = records[first].part.count
    if missing := set(range(1, count + 1)) - {record.part.index for record in records.values()}:
        raise InputError(
            f"{output}: {len(missing)} of {count} parts are missing: {array_expression(missing)}; compute them with "
            f"--part I/{count}"
        )
    if not make_up([record.block for record in records.values()], records[first].size):
        raise InputError(f"{folder_of(output)}: its parts do not make up a map; remove it, and compute them again")


def _merged(maps: Sequence[Map]) -> dict[str, Any]:
    """Return the provenance of the whole map: what parts share, and what happened in any of them."""
    merged = {name: value for name, value in maps[0].provenance.items() if name not in ("part", "timings", "lost")}
    warnings = dict.fromkeys(text for one in maps for text in one.provenance.get("warnings", ()))
    if warnings:
        merged["warnings"] = list(warnings)
    lost = [one.provenance["lost"] for one in maps if "lost" in one.provenance]
    if lost:
        worst: dict[tuple[str, int], int] = {}
        for one in lost:
            for path, band, pixels in one["worst"]:
                worst[path, band] = worst.get((path, band), 0) + pixels
        ordered = sorted(worst.items(), key=lambda item: (-item[1], item[0]))
        merged["lost"] = {
            "pixels": sum(one["pixels"] for one in lost),
            # A part names its largest losses only.
            "files": max(len({path for path, _ in worst}), *(one["files"] for one in lost)),
            "worst": [[path, band, pixels] for (path, band), pixels in ordered[:MOST_LOSSES]],
        }
    return merged

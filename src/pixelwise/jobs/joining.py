"""Maps in parts: one part computed as a job of its own, and all of them joined to the map."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Band
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import InputError, OutputError, ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.parts import Part, array_expression, folder_of, make_up, part_of, share_of
from pixelwise.jobs.provenance import doubts_of
from pixelwise.jobs.task import Task
from pixelwise.maps.files import FileSink
from pixelwise.maps.journal import differences
from pixelwise.maps.map import Map, open_map, read_block
from pixelwise.maps.outputs import FileFormat, LayerFile, check_name
from pixelwise.maps.sink import Sink
from pixelwise.method import Method
from pixelwise.rasters.headers import read_header
from pixelwise.stacks.base import FileStack, Layout, layout_of

__all__ = ["compute_part", "join_parts", "part_file"]

log = logging.getLogger(__name__)

#: The options of the map's form, which `join` needs.
FORM = ("compress", "zarr_format", "driver")
#: What the tags of two parts of a map may differ in.
OF_EACH = ("timings", "lost", "warnings", "cpu", "part")


def part_file(output: Path, part: Part, kind: str = "") -> Path:
    """Return the file of a part, or of the layers that are written beside it."""
    return folder_of(output) / f"{part.stem}{'.' if kind else ''}{kind}.tif"


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
    if not all(isinstance(stack, FileStack) for stack in stacks):
        raise ParameterError(f"part {part}: parts are computed of stacks of files")
    grid = stacks[0].grid
    if grid.places is not None:
        raise ParameterError(f"part {part}: parts need evenly spaced pixels, but {grid.places.reason}")
    doubts = "" if execution.trust_function else doubts_of(task.method, stacks)
    if doubts:
        raise ParameterError(f"part {part}: {doubts}")
    for kind, path in task.provenance.get("write", {}).items():
        # `join` writes it by the tags of parts, which must not lead elsewhere.
        if Path(path).name != path:
            raise OutputError(f"{path}: with parts, {kind} are written beside the map: choose a name in its folder")
    block = share_of(grid, layout_of(stacks[0]), part)
    said = {
        "index": part.index,
        "count": part.count,
        "block": [block.row, block.col, block.height, block.width],
        "size": [grid.height, grid.width],
        "form": {name: getattr(execution, name) for name in FORM},
    }
    if task.provenance.get("write"):
        said["axis"] = _describe_axis(stacks[0].axis)
    provenance = {**task.provenance, "part": said}
    folder, target = folder_of(output), part_file(output, part)
    folder.mkdir(exist_ok=True)
    _check_others([target] if target.exists() else _files_in(folder)[:1], provenance)
    if target.exists():
        log.info("part %s is done already", part)
        return open_map(target)
    cropped = tuple(stack.crop(block) for stack in stacks if isinstance(stack, FileStack))
    own = replace(task, stacks=cropped, provenance=provenance, sink=sink(target))
    return own.carry_out(replace(execution, overwrite=False), began)


def _files_in(folder: Path) -> list[Path]:
    """Return the files of finished parts, but not those of layers beside them."""
    return sorted(path for path in folder.glob("part-*-of-*.tif") if path.name.count(".") == 1)


def _check_others(paths: Sequence[Path], provenance: Mapping[str, Any]) -> None:
    """Refuse a folder that holds parts of another job."""
    for path in paths:
        if differing := _unlike(open_map(path).provenance, provenance):
            raise OutputError(
                f"{path}: is a part of another job: {differing}; remove {path.parent}, or choose another output"
            )


def _unlike(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Say in what two parts were not computed alike; nothing if they belong together."""
    sides: list[dict[str, Any]] = []
    for provenance in (found, wanted):
        part = provenance.get("part")
        if not isinstance(part, dict):
            return "it is no part of a map"
        common = {name: value for name, value in provenance.items() if name not in OF_EACH}
        sides.append({**common, "part": {name: part.get(name) for name in ("count", "size", "form", "axis")}})
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
    count
        Number of bands in all files of a part.
    layout
        How the parts are stored.
    """

    grid: Grid
    parts: tuple[tuple[Block, tuple[Path, ...]], ...]
    count: int
    layout: Layout

    @property
    def axis(self) -> TimeAxis:
        """One date for each band, as a stack has layers."""
        return TimeAxis(np.arange(self.count).astype("datetime64[D]"), np.arange(self.count) / 365.25, "day")

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


@dataclass(frozen=True)
class _Join(Method):
    """Bands as they are, of which the last is the status."""

    given: tuple[Band, ...]
    name: ClassVar[str] = "join"

    @property
    def bands(self) -> tuple[Band, ...]:
        """All bands but the status."""
        return self.given

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> _BoundJoin:
        """Return a bound method that passes blocks on."""
        return _BoundJoin(self.bands)


@dataclass(frozen=True)
class _BoundJoin:
    bands: tuple[Band, ...]
    halo: int = 0
    releases_gil: bool = True

    def __call__(
        self, inputs: tuple[NDArray[Any], ...], dtype: str = "float64"
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return all bands but the last, and that as status."""
        return inputs[0][:-1], np.nan_to_num(inputs[0][-1]).astype(np.uint8)


def join_parts(output: Path, execution: Execution) -> Map:
    """Join the parts of a map, which then are removed.

    Parameters
    ----------
    output
        The name of the map, as it was given with each part.
    execution
        Workers, memory, and whether a finished map may be replaced.

    Raises
    ------
    InputError
        When parts are missing, are not of one job, or cannot be read.
    OutputError
        When the map exists or cannot be written.
    """
    began = time.perf_counter()
    check_name(output, "a map is")
    folder = folder_of(output)
    maps = {path: open_map(path) for path in _files_in(folder)}
    if not maps:
        raise InputError(f"{folder}: holds no finished part; compute parts of {output} with --part I/N")
    first = next(iter(maps.values()))
    blocks = _blocks_of(maps, output)
    said, provenance = first.provenance["part"], _merged(list(maps.values()))
    corner = next(found for path, found in maps.items() if (blocks[path].row, blocks[path].col) == (0, 0))
    height, width = _size_of(first)
    grid = Grid(corner.grid.crs, corner.grid.transform, height, width)
    kinds = {kind: output.parent / Path(path).name for kind, path in provenance.get("write", {}).items()}
    axis = _axis_of(said, corner.paths[0]) if kinds else None
    beside = [
        LayerFile(kind, path, _layers_of(corner.paths[0].with_suffix(f".{kind}.tif")), axis)
        for kind, path in kinds.items()
        if axis is not None
    ]
    files = {path: (*(path.with_suffix(f".{kind}.tif") for kind in kinds), path) for path in maps}
    layers = tuple(band for file in beside for band in file.bands)
    stored = read_header(corner.paths[0])
    stack = _Joined(
        grid,
        tuple((blocks[path], files[path]) for path in maps),
        len(layers) + len(first.bands),
        Layout(stored.block_height, stored.block_width, itemsize=4 if provenance["dtype"] == "float32" else 8),
    )
    checked = replace(execution, executor="threads", **{name: said["form"][name] for name in FORM})
    form = FileFormat(checked.compress, checked.zarr_format, checked.driver)
    used = [path for own in files.values() for path in own]
    sink = FileSink(output, beside, inputs=used, overwrite=execution.overwrite, form=form)
    sink.check()
    method = _Join((*layers, *first.bands[:-1]))
    bound = method.bind(stack.axis, None, {})
    task = Task((stack,), method, bound, first.bands, provenance["dtype"], sink, provenance, output.parent)
    joined = task.carry_out(checked, began)
    for path in used:
        path.unlink()
    try:
        folder.rmdir()
    except OSError:
        log.warning("%s is kept: it holds something else than parts", folder)
    return joined


def _blocks_of(maps: Mapping[Path, Map], output: Path) -> dict[Path, Block]:
    """Return the pixels of each part in the whole map.

    Raises
    ------
    InputError
        When they do not make up the whole map.
    """
    first, *others = maps
    for path in others:
        if differing := _unlike(maps[path].provenance, maps[first].provenance):
            raise InputError(f"{path}: is not of the same job as {first.name}: {differing}")
    found: dict[int, Path] = {}
    blocks: dict[Path, Block] = {}
    count = 0
    for path, one in maps.items():
        said = part_of(one.provenance)
        if said is None:
            raise InputError(f"{path}: is no part of a map")
        part, blocks[path] = said
        count, found[part.index] = part.count, path
    if missing := set(range(1, count + 1)) - set(found):
        expression = array_expression(missing)
        raise InputError(
            f"{output}: {len(missing)} of {count} parts are missing: {expression}; compute them with --part I/{count}"
        )
    alike = all((maps[path].grid.height, maps[path].grid.width) == (b.height, b.width) for path, b in blocks.items())
    if not (alike and make_up(list(blocks.values()), _size_of(maps[first]))):
        raise InputError(f"{folder_of(output)}: its parts do not make up a map; remove it, and compute them again")
    return blocks


def _size_of(part: Map) -> tuple[int, int]:
    """Return rows and columns of the whole map, as one of its parts says."""
    size = part.provenance["part"].get("size")
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(edge, int) and edge > 0 for edge in size)):
        raise InputError(f"{part.paths[0]}: its tags are damaged; remove it, and compute it again")
    return size[0], size[1]


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
            "files": len({path for path, _ in worst}),
            "worst": [[path, band, pixels] for (path, band), pixels in ordered],
        }
    return merged


def _layers_of(path: Path) -> tuple[Band, ...]:
    """Return the layers in a file beside a part."""
    return tuple(Band(band.description, unit=band.unit) for band in read_header(path).bands)


def _describe_axis(axis: TimeAxis) -> dict[str, Any]:
    """Return the dates of layers, ready for JSON."""
    return {
        "dates": np.datetime_as_string(axis.dates).tolist(),
        "years": axis.years.tolist(),
        "precision": axis.precision,
        "calendar": axis.calendar,
    }


def _axis_of(said: Mapping[str, Any], path: Path) -> TimeAxis:
    """Return the dates of layers that a part describes.

    Raises
    ------
    InputError
        When there are no such dates.
    """
    try:
        axis = said["axis"]
        dates = np.array(axis["dates"], dtype="datetime64[s]")
        return TimeAxis(dates, np.array(axis["years"], dtype=np.float64), axis["precision"], axis["calendar"])
    except (KeyError, TypeError, ValueError, ParameterError) as error:
        raise InputError(f"{path}: its tags are damaged ({error}); remove it, and compute it again") from None

"""Copies of maps: written anew in any format, with paths that are right where they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.bands import STATUS_BAND
from pixelwise.choices import Compression, TiffDriver, ZarrFormat
from pixelwise.errors import ParameterError
from pixelwise.grid import Block
from pixelwise.maps.files import FileSink
from pixelwise.maps.map import Map
from pixelwise.maps.outputs import FileFormat, relative
from pixelwise.maps.records import Layout
from pixelwise.maps.tiles import TILE
from pixelwise.rasters.urls import is_url

__all__ = ["moved", "save_map"]

#: Edge of the blocks that are copied, of which each is one file of a Zarr store.
EDGE = 4 * TILE


def save_map(
    map_: Map,
    path: str | Path,
    *,
    compress: Compression | None = None,
    zarr_format: ZarrFormat = 3,
    driver: TiffDriver = "GTiff",
    overwrite: bool = False,
) -> Map:
    """Write a map in the format of a file's name, block by block; see `Map.save`."""
    target = Path(path)
    if map_.bands[-1].name != STATUS_BAND.name:
        raise ParameterError(f"the last band of a map is {STATUS_BAND.name}, but this one's is {map_.bands[-1].name}")
    sink = FileSink(target, inputs=map_.paths, overwrite=overwrite, form=FileFormat(compress, zarr_format, driver))
    numbers = [band.name for band in map_.bands if not band.integer]
    kind = map_.read(numbers[0], Block(0, 0, 1, 1)).dtype.name if numbers else "float32"
    own = {name: value for name, value in map_.provenance.items() if name != "files"}
    # Of a map in memory, paths are absolute.
    provenance = moved(own, map_.paths[0].parent if map_.paths else Path("/"), target.parent)
    edges = tuple(min(EDGE, -(-size // 16) * 16) for size in (map_.grid.height, map_.grid.width))
    tile = tuple(min(TILE, edge) for edge in edges)
    layout = Layout((tile[0], tile[1]), shard=(edges[0], edges[1]))
    try:
        sink.begin(map_.grid, layout, map_.bands, kind, provenance, resumed=False)
        encode = sink.encode
        for block in map_.grid.blocks(*edges):
            layers = [map_.read(band.name, block) for band in map_.bands]
            values = np.empty((len(layers) - 1, block.height, block.width), dtype=kind)
            for row, layer in zip(values, layers[:-1], strict=True):
                row[:] = layer
            sink.write(block, encode(block, values, layers[-1].astype(np.uint8, copy=False)))
        return sink.finish(provenance, map_.timings, lambda seals: None)
    finally:
        sink.abort(keep=False)


def moved(provenance: Mapping[str, Any], before: Path, after: Path) -> dict[str, Any]:
    """Return the provenance of a map for a copy of it in another folder, to which its paths are then relative.

    Parameters
    ----------
    provenance
        What the tags of the map say, which may be anything: what no job has written stays as it is.
    before, after
        The folder of the map, and that of its copy.
    """

    def path(name: Any) -> Any:
        return name if not isinstance(name, str) or is_url(name) else relative(before / name, after)

    def file(one: Any) -> Any:
        return {**one, "path": path(one.get("path"))} if isinstance(one, Mapping) else one

    def piece(one: Any) -> Any:
        return [path(one[0]), *one[1:]] if isinstance(one, list) and one else one

    def each(made: Callable[[Any], Any], found: Any) -> Any:
        return list(map(made, found)) if isinstance(found, list) else found

    def layer(one: Any) -> Any:
        if not isinstance(one, Mapping):
            return one
        return {**one, **{name: each(piece, one[name]) for name in ("pieces", "masks") if name in one}}

    def stack(one: Any) -> Any:
        if not isinstance(one, Mapping):
            return one
        kinds = {"files": file, "behind": file, "alpha_read": path, "layers_used": layer}
        found = {**one, **{name: each(made, one[name]) for name, made in kinds.items() if name in one}}
        for part, name in (("region", "source"), ("where", "raster")):
            area = found.get("area")
            said = area.get(part) if isinstance(area, Mapping) else None
            # A region may be bounds in the words of its user.
            if isinstance(said, Mapping) and isinstance(said.get(name), str) and os.path.lexists(before / said[name]):
                found["area"] = {**found["area"], part: {**said, name: path(said[name])}}
        composite = found.get("composite")
        if isinstance(composite, Mapping) and "by" in composite:
            found["composite"] = {**composite, "by": stack(composite["by"])}
        return found

    found = dict(provenance)
    if os.path.realpath(before) == os.path.realpath(after):
        return found
    if "input" in found:
        found["input"] = stack(found["input"])
    if isinstance(further := found.get("further_inputs"), Mapping):
        found["further_inputs"] = {name: stack(one) for name, one in further.items()}
    if "method_files" in found:
        found["method_files"] = each(file, found["method_files"])
    if isinstance(lost := found.get("lost"), Mapping) and "worst" in lost:
        found["lost"] = {**lost, "worst": each(piece, lost["worst"])}
    if isinstance(write := found.get("write"), Mapping):
        found["write"] = {kind: path(name) for kind, name in write.items()}
    return found

"""Maps as NetCDF: one variable per band, compressed, described by the CF conventions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.errors import InputError, OutputError, ParameterError
from pixelwise.grid import Block, Grid
from pixelwise.maps.cf import Variable, variables_of
from pixelwise.maps.converted import Conversion
from pixelwise.maps.map import open_quietly
from pixelwise.maps.netcdf_reader import import_netcdf, read_netcdf
from pixelwise.maps.outputs import Content
from pixelwise.maps.tag import attributes_of
from pixelwise.maps.tiles import TILE
from pixelwise.rasters.datasets import local_only
from pixelwise.rasters.handles import CACHE_BYTES
from pixelwise.rasters.netcdf_lock import NETCDF

__all__ = ["NetCdf"]

#: Layers of a chunk of a stack: with a tile of 256 x 256 of them in float32 it takes 4 MB, the cache of HDF5.
CHUNK_LAYERS = 16
#: Tiles that are copied at once.
TILES_AT_ONCE = 16


class NetCdf(Conversion):
    """Copies a GeoTIFF into a NetCDF-4 file; see `Conversion`.

    Parameters
    ----------
    compress
        ``deflate`` or ``none``.
    """

    def __init__(self, compress: str) -> None:
        import_netcdf()  # an installation without it is told now, not after the job
        self._compress = compress

    def make(self, source: Path, target: Path, content: Content, provenance: Mapping[str, Any]) -> None:
        """Write the file, some tiles of a band at a time."""
        grid = content.grid
        target.unlink(missing_ok=True)
        with (
            NETCDF,
            # The environment may allow the cache 5 % of the machine's memory.
            local_only(GDAL_CACHEMAX=CACHE_BYTES),
            open_quietly(source) as dataset,
            import_netcdf().Dataset(target, "x", format="NETCDF4") as made,
        ):
            made.setncatts(attributes_of({**provenance, **content.tags}))
            made.createDimension("y", grid.height)
            made.createDimension("x", grid.width)
            if content.axis is not None:
                made.createDimension("time", len(content.axis))
                made.createDimension("bnds", 2)
            for variable in variables_of(content):
                if variable.values is not None:
                    plain = made.createVariable(
                        variable.name, variable.values.dtype, variable.dimensions, fill_value=False
                    )
                    plain.setncatts(variable.attributes)
                    plain[...] = variable.values
                    continue
                target_variable = self._create(made, variable, content)
                for layers, block in _pieces(variable, grid):
                    first = variable.place + 1
                    numbers = range(first + layers.start, first + layers.stop)
                    pixels = dataset.read(list(numbers), window=_window(block))
                    place = block.slices if len(variable.dimensions) == 2 else (layers, *block.slices)
                    target_variable[place] = pixels.reshape(pixels.shape[-len(place) :])

    def _create(self, made: Any, variable: Variable, content: Content) -> Any:
        """Create the variable of bands, without values."""
        dtype = variable.bands[0].dtype(content.dtype)
        grid = content.grid
        chunk = [min(TILE, grid.height), min(TILE, grid.width)]
        if len(variable.dimensions) > 2:
            chunk.insert(0, min(CHUNK_LAYERS, len(variable.bands)))
        squeezed: dict[str, Any] = {}
        if self._compress != "none":
            squeezed = {"compression": "zlib", "complevel": 1, "shuffle": True}
        # A count or a status is never missing: without a fill value, readers keep it an integer.
        fill = False if np.dtype(dtype).kind in "iu" else np.nan
        created = made.createVariable(
            variable.name, dtype, variable.dimensions, chunksizes=chunk, fill_value=fill, endian="little", **squeezed
        )
        created.set_auto_maskandscale(False)
        # Chunks are written whole. By default each variable may keep 16 MB of them until the file is closed.
        created.set_var_chunk_cache(size=2 * math.prod(chunk) * np.dtype(dtype).itemsize)
        created.setncatts(variable.attributes)
        return created

    def check(self, path: Path, content: Content) -> None:
        """Open the file as any reader would; OutputError if bands, grid or provenance are lost."""
        try:
            found, text, bands = read_netcdf(path)
        except InputError as error:
            raise OutputError(f"{content.path}: cannot be completed ({error})") from None
        if text is None or [band.name for band in bands] != [band.name for band in content.bands]:
            raise OutputError(f"{content.path}: lost its bands or attributes while it was written")
        if differing := content.grid.differences(found):
            raise OutputError(f"{content.path}: a NetCDF file cannot hold its grid ({differing[0]})")


def _pieces(variable: Variable, grid: Grid) -> Iterator[tuple[slice, Block]]:
    """Yield which layers and pixels are copied together: whole chunks."""
    for first in range(0, len(variable.bands), CHUNK_LAYERS):
        layers = slice(first, min(first + CHUNK_LAYERS, len(variable.bands)))
        wide = TILE * (TILES_AT_ONCE if layers.stop - layers.start == 1 else 1)
        for block in grid.blocks(TILE, wide):
            yield layers, block


def _window(block: Block) -> Any:
    from rasterio.windows import Window

    return Window(block.col, block.row, block.width, block.height)


def compression(given: str | None, path: Path) -> str:
    """Return the compression of a NetCDF file.

    Raises
    ------
    ParameterError
        When not every reader knows it.
    """
    if given in (None, "deflate", "none"):
        return given or "deflate"
    raise ParameterError(f"{path}: compress {given}: not every NetCDF reader supports it; expected deflate or none")

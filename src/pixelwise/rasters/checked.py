"""Open files whose DEFLATE streams are checked before GDAL reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from pixelwise.grid import Block
from pixelwise.rasters.inflate import DamagedBlockError
from pixelwise.rasters.remote_datasets import RemoteDataset
from pixelwise.rasters.streams import SPLIT_ROWS, Opener, Streams, find_streams, opener_of
from pixelwise.rasters.tiff import TiffFile

__all__ = ["CheckedTiff", "MaskedTiff", "alpha_of", "streams_of"]


@dataclass(frozen=True, eq=False)
class MaskedTiff:
    """An open file of DEFLATE blocks; GDAL reads only its masks."""

    tiff: TiffFile
    dataset: Any
    streams: Streams

    @property
    def block_shapes(self) -> list[tuple[int, int]]:
        """Rows and columns of each band's blocks."""
        return self.tiff.block_shapes

    def read(self, bands: tuple[int, ...], block: Block, out: NDArray[Any], *, masked: bool) -> NDArray[Any] | None:
        """Read a window of several bands into `out`; return their masks if `masked`."""
        window = Window(block.col, block.row, block.width, block.height)
        if not self.tiff.read(bands, block, out):
            # Let GDAL report a window that lies outside the file.
            self.dataset.read(list(bands), window=window, out=out)
        if not masked:
            return None
        alpha = alpha_of(self.dataset, bands[0])
        if alpha is not None:
            # Alpha is stored in DEFLATE blocks too, and GDAL returns numbers for some damaged ones.
            values = np.empty((1, block.height, block.width), dtype=out.dtype)
            self.tiff.read((alpha,), block, values)
            return np.repeat(np.where(values == 0, np.uint8(0), np.uint8(255)), len(bands), axis=0)
        self.streams.check(bands, block, pixels=False, masks=True)
        masks: NDArray[Any] = self.dataset.read_masks(list(bands), window=window)
        return masks

    def warm_up(self) -> None:
        """Compile what `read` needs."""
        self.tiff.warm_up()

    def close(self) -> None:
        """Close the TIFF and the dataset."""
        self.tiff.close()
        self.dataset.close()


@dataclass(frozen=True, eq=False)
class CheckedTiff:
    """An open file that GDAL reads, some of whose blocks are DEFLATE streams that must be checked first."""

    dataset: Any
    streams: Streams

    @property
    def block_shapes(self) -> list[tuple[int, int]]:
        """Rows and columns of each band's blocks."""
        shapes: list[tuple[int, int]] = self.dataset.block_shapes
        return shapes

    def read(self, bands: tuple[int, ...], block: Block, out: NDArray[Any], *, masked: bool) -> NDArray[Any] | None:
        """Read a window of several bands into `out`; return their masks if `masked`."""
        window = Window(block.col, block.row, block.width, block.height)
        alpha = alpha_of(self.dataset, bands[0]) if masked else None
        wanted = bands if alpha is None else (*bands, alpha)
        self.streams.check(wanted, block, pixels=True, masks=masked)
        self.dataset.read(list(bands), window=window, out=out)
        masks: NDArray[Any] | None = self.dataset.read_masks(list(bands), window=window) if masked else None
        return masks

    def close(self) -> None:
        """Close the file."""
        self.dataset.close()


def alpha_of(dataset: Any, band: int) -> int | None:
    """Return the alpha band that masks a band of a dataset; None where something else masks it."""
    if MaskFlags.alpha not in dataset.mask_flag_enums[band - 1]:
        return None
    return int(dataset.colorinterp.index(ColorInterp.alpha)) + 1


def streams_of(dataset: Any) -> Streams:
    """Find the DEFLATE streams that GDAL reads from an open file other than a VRT.

    Raises
    ------
    DamagedBlockError
        When the file is too unusual to find them.
    """
    opener: Opener
    if isinstance(dataset, RemoteDataset):
        name, opener = dataset.file.url.name, dataset.opened
    else:
        name, opener = Path(dataset.name).name, opener_of(Path(dataset.name))
    sidecars = [Path(one) for one in dataset.files if one != dataset.name and one.lower().endswith(".msk")]
    try:
        tall = dataset.block_shapes[0][0] == 1 and dataset.height > SPLIT_ROWS
        return find_streams(name, opener, sidecars, split=tall)
    except DamagedBlockError:
        masked = any(MaskFlags.per_dataset in flags for flags in dataset.mask_flag_enums)
        if masked or "DEFLATE" in dataset.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION", ""):
            raise
        return Streams(())

"""DEFLATE blocks of GeoTIFFs, decoded by Python's zlib and NumPy alone, for `verify` to compare with.

Independent of `pixelwise.kernels.tiff`, and of GDAL, which returns numbers for some damaged blocks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.rasters.inflate import DROPPED, MOST_INFLATED, DamagedBlockError, inflate_slowly
from pixelwise.rasters.remote import RemoteFile
from pixelwise.rasters.tiff import TiffFile, open_remote_tiff, open_tiff

__all__ = ["PlainBlocks", "open_plainly"]

#: How much decoded data is kept: pixels that follow each other are often in one block.
KEPT_BYTES = 32 << 20


class PlainBlocks:
    """The blocks of one open file, each decoded whole."""

    def __init__(self, tiff: TiffFile) -> None:
        self._tiff = tiff
        self._kept: dict[int, NDArray[Any]] = {}

    def __enter__(self) -> PlainBlocks:
        return self

    def __exit__(self, *error: object) -> None:
        self._tiff.close()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a block."""
        return self._tiff.block_height, self._tiff.block_width

    def pixel(self, band: int, row: int, column: int) -> np.generic | None:
        """Return the stored value of a pixel of a band, numbered from 1; None where its block is absent.

        Raises
        ------
        DamagedBlockError
            When its block is damaged.
        """
        height, width = self.shape
        across, down = -(-self._tiff.width // width), -(-self._tiff.height // height)
        number = row // height * across + column // width
        if self._tiff.planar:
            number += (band - 1) * across * down
        if self._tiff.counts[number] == 0:
            return None
        if number not in self._kept:
            block = self._decoded(number, min(height, self._tiff.height - row // height * height))
            if sum(known.nbytes for known in self._kept.values()) + block.nbytes > KEPT_BYTES:
                self._kept.clear()
            self._kept[number] = block
        value: np.generic = self._kept[number][row % height, column % width, 0 if self._tiff.planar else band - 1]
        return value

    def _decoded(self, number: int, rows: int) -> NDArray[Any]:
        """Return (row, column, sample) of a block."""
        file = self._tiff
        kind, samples = file.fills.dtype, 1 if file.planar else file.samples
        line = file.block_width * samples * file.itemsize
        size = (file.block_height if file.tiled else rows) * line
        full = file.block_height * line
        begin, count = int(file.offsets[number]), min(int(file.counts[number]), MOST_INFLATED * full + DROPPED)
        if begin <= 0 or count < 0 or begin + count > file.size:
            raise DamagedBlockError("a block is outside the file")
        data = np.empty(count, np.uint8)
        if not file.source.read_ranges([(begin, begin + count)], data):
            raise DamagedBlockError("the file ends within a block")
        held = np.frombuffer(inflate_slowly(data, size, full), np.uint8)
        if file.predictor == 3:
            # Differences between bytes; a row starts with the highest bytes.
            octets = held.reshape(-1, file.block_width * file.itemsize, samples).cumsum(axis=1, dtype=np.uint8)
            planes = octets.reshape(-1, file.itemsize, file.block_width * samples)
            values = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(kind.newbyteorder(">")).astype(kind)
        else:
            values = held.view(kind.newbyteorder(">") if file.swapped else kind).astype(kind, copy=False)
        values = values.reshape(-1, file.block_width, samples)
        if file.predictor == 2:
            whole = f"u{file.itemsize}"
            values = values.view(whole).cumsum(axis=1, dtype=whole).view(kind)
        return values


def open_plainly(path: Path | RemoteFile, height: int, width: int, dtype: str) -> PlainBlocks | None:
    """Open a GeoTIFF of DEFLATE blocks; None where the file is not one whose blocks are decoded here."""
    if isinstance(path, RemoteFile):
        tiff = open_remote_tiff(RemoteFile(path.url, path.stamp), height, width, dtype)
    else:
        tiff = open_tiff(path, height, width, dtype)
    if tiff is None:
        return None
    if tiff.inflate is None:
        tiff.close()
        return None
    return PlainBlocks(tiff)

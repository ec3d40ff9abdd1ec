"""Maps in formats that cannot be written in pieces: made at the end, of a GeoTIFF that the journal knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pixelwise.choices import Compression
from pixelwise.errors import OutputError, PixelwiseError
from pixelwise.grid import Block
from pixelwise.maps.disk import refusal, sync
from pixelwise.maps.geotiff import GeoTiffOutput
from pixelwise.maps.outputs import Content
from pixelwise.maps.publish import PendingFile
from pixelwise.maps.records import Layout, PlacedTiles
from pixelwise.maps.stores import HiddenFolder, PendingInFolder
from pixelwise.maps.tiles import EncodedTiles, TileEncoder
from pixelwise.rasters.datasets import GDAL_ERRORS
from pixelwise.words import one_line

__all__ = ["BLOCKS", "Conversion", "ConvertedOutput"]

#: The GeoTIFF in the hidden folder.
BLOCKS = "blocks.tif"


class Conversion:
    """How a finished GeoTIFF becomes something else."""

    def make(self, source: Path, target: Path, content: Content, provenance: Mapping[str, Any]) -> None:
        """Write `target`, which may exist, from a complete GeoTIFF, in bounded memory; OSError where that fails."""
        raise NotImplementedError

    def check(self, path: Path, content: Content) -> None:
        """Open what was made as any reader would; OutputError if it is not as it must be."""
        raise NotImplementedError


class ConvertedOutput:
    """Collects blocks in a GeoTIFF in a hidden folder, and converts it when it is complete; see `Output`.

    What is written twice is the answer, which is small beside the input; in return a stopped job goes on whatever the
    format.

    Parameters
    ----------
    content
        What the output is to hold.
    compress
        Compression of the GeoTIFF.
    conversion
        What it becomes.
    """

    def __init__(self, content: Content, compress: Compression, conversion: Conversion) -> None:
        self.content = content
        self.names = PendingInFolder.of(content.path)
        self._folder = HiddenFolder(self.names.folder, content.path)
        self._blocks = GeoTiffOutput(content, compress, PendingFile(content.path, self.names.folder / BLOCKS))
        self._conversion = conversion

    def begin(self, layout: Layout, provenance: Mapping[str, Any], reserve: int | None) -> int:
        """Open and lock the hidden folder and the GeoTIFF in it; return the bytes reserved for its head."""
        self._folder.open(self.content.map_, resumed=reserve is not None)
        return self._blocks.begin(layout, provenance, reserve)

    @property
    def encoder(self) -> TileEncoder:
        """The encoder that workers apply to a block; available after `begin`."""
        return self._blocks.encoder

    def write(self, block: Block, encoded: EncodedTiles) -> PlacedTiles:
        """Append the tiles of one block."""
        return self._blocks.write(block, encoded)

    def place(self, block: Block, tiles: PlacedTiles) -> None:
        """Note where the tiles of a block are."""
        self._blocks.place(block, tiles)

    def unsynced(self) -> Iterable[Path]:
        """Return the GeoTIFF, which is flushed to disk as a whole."""
        return self._blocks.unsynced()

    def holds(self, block: Block, tiles: PlacedTiles) -> bool:
        """Whether the tiles that an earlier run appended are intact."""
        return self._blocks.holds(block, tiles)

    def complete(self, provenance: Mapping[str, Any]) -> None:
        """Complete the GeoTIFF, convert it, flush the result to disk, and check it.

        Raises
        ------
        OutputError
            When it cannot be written, or does not read back as written.
        """
        self._blocks.complete(provenance)
        path = self.names.temporary
        try:
            self._conversion.make(self._blocks.names.temporary, path, self.content, provenance)
            sync(path)
        except PixelwiseError:
            raise
        except OSError as error:
            raise refusal(f"{self.content.path}: cannot be completed", error) from None
        # netCDF4 says "HDF error" where the disk is full.
        except (*GDAL_ERRORS, RuntimeError) as error:
            raise OutputError(f"{self.content.path}: cannot be completed ({one_line(error)})") from None
        self.check_again()

    def check_again(self) -> None:
        """Check the converted file.

        Raises
        ------
        OutputError
            When it cannot be read.
        """
        self._conversion.check(self.names.temporary, self.content)

    @property
    def in_place(self) -> bool:
        """Whether the hidden folder still has its name."""
        return self._folder.in_place

    def close(self, *, keep: bool) -> None:
        """Unlock the hidden folder, and remove it unless another run is to resume from it."""
        self._blocks.close(keep=True)
        self._folder.close(keep=keep)

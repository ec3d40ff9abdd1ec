"""The content of a journal's lines, as frozen types that check themselves: a journal is a file and may say anything."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.grid import Block
from pixelwise.rasters.tags import TILE_UNIT

__all__ = ["DoneBlock", "Layout", "PlacedTiles", "Seal", "canonical"]

#: No file has more bytes, and sums of this many stay within 64 bits.
MOST_BYTES = 1 << 56


def canonical(value: Any) -> bytes:
    """Write JSON in the canonical form of which checksums are computed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Layout:
    """The layout of half-written files.

    Attributes
    ----------
    tile
        Rows and columns of tiles within a file.
    shard
        Rows and columns that are in files of their own; None if there are no such files.
    reserve
        Bytes before the first tile, for each output; 0 where tiles are files.

    Raises
    ------
    ValueError
        When no file can have this layout.
    """

    tile: tuple[int, int]
    reserve: tuple[int, ...] = ()
    shard: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if len(self.tile) != 2 or not all(_whole(edge) and edge > 0 and edge % TILE_UNIT == 0 for edge in self.tile):
            raise ValueError(f"tiles of {self.tile}")
        if not all(_whole(size) and 0 <= size < MOST_BYTES for size in self.reserve):
            raise ValueError(f"reserve of {self.reserve}")
        if self.shard is not None and not (len(self.shard) == 2 and all(_whole(e) and e > 0 for e in self.shard)):
            raise ValueError(f"shards of {self.shard}")

    @classmethod
    def from_json(cls, found: Any) -> Layout:
        """Return what `as_json` made."""
        names = {"tile", "reserve"}
        sharded = isinstance(found, dict) and "shard" in found
        _expect(found, names | {"shard"} if sharded else names)
        shard = tuple(_list(found["shard"], 2)) if sharded else None
        return cls(tuple(_list(found["tile"])), tuple(_list(found["reserve"])), shard)

    def as_json(self) -> dict[str, Any]:
        """Return it as `from_json` reads it."""
        found = {"tile": list(self.tile), "reserve": list(self.reserve)}
        return found if self.shard is None else {**found, "shard": list(self.shard)}

    @property
    def cell(self) -> tuple[int, int]:
        """Rows and columns of which every block of the job consists, if another plan resumes it."""
        return self.shard or self.tile


@dataclass(frozen=True, eq=False)
class PlacedTiles:
    """The tiles of one block in one output: in a file, one after another, or each in a file of its own.

    Attributes
    ----------
    begin
        Where the first tile begins.
    checksum
        CRC-32 of all their bytes.
    counts
        (band, tile row, tile column) bytes of each tile.

    Raises
    ------
    ValueError
        When tiles cannot be there.
    """

    begin: int
    checksum: int
    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not (_whole(self.begin) and 0 <= self.begin < MOST_BYTES):
            raise ValueError(f"tiles at {self.begin}")
        if not (_whole(self.checksum) and 0 <= self.checksum < 1 << 32):
            raise ValueError(f"checksum {self.checksum}")
        if self.counts.ndim != 3 or self.counts.dtype.kind != "i" or not self.counts.size or self.counts.min() < 1:
            raise ValueError("tiles without bytes")
        if self.counts.max() > MOST_BYTES // self.counts.size:
            raise ValueError("tiles of more bytes than a file has")

    @property
    def size(self) -> int:
        """Total bytes."""
        return int(self.counts.sum())


@dataclass(frozen=True, eq=False)
class DoneBlock:
    """A finished block: where its tiles are, and what else the job must know about it.

    Attributes
    ----------
    block
        The pixels.
    files
        Its tiles in each file.
    answered
        Whether any of its pixels has values.
    lost
        Pixels that could not be read: path, band and number of pixels.
    rounded
        Bands with integers that the map's type cannot hold, and one such integer.
    sums
        What it adds to the digest of each band; empty if the job records none.

    Raises
    ------
    ValueError
        When no block can be like this.
    """

    block: Block
    files: tuple[PlacedTiles, ...] = ()
    answered: bool = False
    lost: tuple[tuple[str, int, int], ...] = ()
    rounded: tuple[tuple[str, float], ...] = ()
    sums: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.answered, bool):
            raise ValueError(f"answered is {self.answered!r}")
        for path, band, count in self.lost:
            if not (isinstance(path, str) and _whole(band) and _whole(count) and band >= 0 and 0 < count < MOST_BYTES):
                raise ValueError(f"lost {path!r}, {band!r}, {count!r}")
        for name, value in self.rounded:
            if not (isinstance(name, str) and isinstance(value, (int, float)) and math.isfinite(value)):
                raise ValueError(f"rounded {name!r}, {value!r}")
        if not all(_whole(one) and 0 <= one < 1 << 64 for one in self.sums):
            raise ValueError(f"sums {self.sums!r}")

    @classmethod
    def from_json(cls, found: Any, job: int) -> DoneBlock:
        """Return what `as_json` made of a block of the same job; else, or if it was changed, the checksums differ."""
        names = {"block", "files", "answered", "lost", "rounded"}
        _expect(found, names | {"sums"} if isinstance(found, dict) and "sums" in found else names)
        numbers = _list(found["block"])
        if len(numbers) != 4 or not all(_whole(number) and 0 <= number < 1 << 31 for number in numbers):
            raise ValueError(f"block {numbers}")
        entries = [_list(entry, 3) for entry in _list(found["files"])]
        places = [[begin, counts] for begin, _, counts in entries]
        mask = _mask({**found, "files": places}, job)
        files = []
        for begin, checksum, counts in entries:
            if not _whole(checksum):
                raise ValueError(f"checksum {checksum!r}")
            try:
                sizes = np.array(counts)
            except OverflowError:
                raise ValueError("tiles of more bytes than a file has") from None
            files.append(PlacedTiles(begin, checksum ^ mask, sizes))
        lost = tuple((path, band, count) for path, band, count in (_list(one, 3) for one in _list(found["lost"])))
        rounded = tuple((name, value) for name, value in (_list(one, 2) for one in _list(found["rounded"])))
        sums = tuple(_list(found.get("sums", [])))
        return cls(Block(*numbers), tuple(files), found["answered"], lost, rounded, sums)

    def as_json(self, job: int) -> dict[str, Any]:
        """Return it as `from_json` reads it.

        The checksums of the tiles are combined with one of everything else and of the job, so that intact tiles cannot
        pass for another block, in other sizes or in another job.
        """
        found: dict[str, Any] = {
            "block": [self.block.row, self.block.col, self.block.height, self.block.width],
            "answered": self.answered,
            "lost": [list(one) for one in self.lost],
            "rounded": [list(one) for one in self.rounded],
        }
        if self.sums:
            found["sums"] = list(self.sums)
        places = [[tiles.begin, tiles.counts.tolist()] for tiles in self.files]
        mask = _mask({**found, "files": places}, job)
        files = [
            [begin, tiles.checksum ^ mask, counts] for (begin, counts), tiles in zip(places, self.files, strict=True)
        ]
        return {**found, "files": files}


@dataclass(frozen=True)
class Seal:
    """What distinguishes a complete file from others.

    Attributes
    ----------
    size
        Its size in bytes.
    checksum
        CRC-32 of its beginning.
    """

    size: int
    checksum: int

    def __post_init__(self) -> None:
        if not (_whole(self.size) and 0 < self.size < MOST_BYTES):
            raise ValueError(f"a file of {self.size} bytes")
        if not (_whole(self.checksum) and 0 <= self.checksum < 1 << 32):
            raise ValueError(f"checksum {self.checksum}")

    @classmethod
    def from_json(cls, found: Any, job: int) -> Seal:
        """Return what `as_json` made; for another job the checksum differs."""
        size, checksum = _list(found, 2)
        if not _whole(checksum):
            raise ValueError(f"checksum {checksum!r}")
        return cls(size, checksum ^ _mask({"size": size}, job))

    def as_json(self, job: int) -> list[int]:
        """Return it as `from_json` reads it."""
        return [self.size, self.checksum ^ _mask({"size": self.size}, job)]


def _mask(content: Mapping[str, Any], job: int) -> int:
    return zlib.crc32(canonical(content), job)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _list(value: Any, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or (length is not None and len(value) != length):
        raise ValueError("expected a list" if length is None else f"expected a list of {length}")
    return value


def _expect(value: Any, names: set[str]) -> None:
    if not isinstance(value, dict) or set(value) != names:
        raise ValueError(f"expected {', '.join(sorted(names))}")

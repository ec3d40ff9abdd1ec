"""TIFF directories: which tags a file has, and where their numbers are."""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AS_STORED",
    "BITS",
    "COMPRESSION",
    "DEFLATE",
    "FIELD_TYPES",
    "FILL_ORDER",
    "HEIGHT",
    "KINDS",
    "LZW",
    "MASK",
    "ODD_TYPES",
    "OVERVIEW",
    "PHOTOMETRIC",
    "PLANAR",
    "PREDICTOR",
    "SAMPLES",
    "SAMPLE_FORMAT",
    "STRIP_COUNTS",
    "STRIP_HEIGHT",
    "STRIP_OFFSETS",
    "STRUCTURE",
    "SUBFILE",
    "TILE_COUNTS",
    "TILE_HEIGHT",
    "TILE_OFFSETS",
    "TILE_UNIT",
    "TILE_WIDTH",
    "WIDTH",
    "Field",
    "directories",
    "file_size",
    "find_tags",
    "is_tiff",
    "order_of",
    "read_numbers",
    "read_tags",
]

#: Tags of TIFF 6.0 that are read: first those that describe the raster, then those that locate its blocks.
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266

SAMPLES, STRIP_HEIGHT, PLANAR, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, SAMPLE_FORMAT = 277, 278, 284, 317, 322, 323, 339

SUBFILE = 254

STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS = 273, 279, 324, 325

STRUCTURE = (
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES, STRIP_HEIGHT, PLANAR, PREDICTOR, TILE_WIDTH,
    TILE_HEIGHT, SAMPLE_FORMAT,
)  # fmt: skip

#: The edges of tiles are multiples of this.
TILE_UNIT = 16

#: Field types that writers use for these tags; libtiff accepts more, and files with those are left to it.
FIELD_TYPES = {3: "u2", 4: "u4", 16: "u8"}

#: Further types that libtiff accepts.
ODD_TYPES = {1: "u1", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 17: "i8", 18: "u8"}

KINDS = {1: "uint", 2: "int", 3: "float"}

LZW, DEFLATE = 5, (8, 32946)

#: Min-is-white, min-is-black, RGB, palette: for these GDAL returns numbers as stored.
AS_STORED = (0, 1, 2, 3)

#: No raster program writes a file with more directory entries, or more directories, than this.
MOST_TAGS = 1000

#: Bits of the tag that gives the kind of a directory: an overview, a mask.
OVERVIEW, MASK = 1, 4


@dataclass(frozen=True, slots=True)
class Field:
    """The type, number and position of a tag's numbers in a file."""

    dtype: np.dtype[Any]
    count: int
    position: int


def find_tags(file: BinaryIO, wanted: Collection[int], *, kinds: Mapping[int, str] = FIELD_TYPES) -> dict[int, Field]:
    """Find some tags in the first directory of a TIFF or BigTIFF: integers, or the given `kinds`.

    Raises
    ------
    ValueError, struct.error
        When it is not such a file, ends early, or has a tag twice or of an unusual type.
    OSError
        When it cannot be read.
    """
    return next(directories(file, wanted, kinds))


def directories(file: BinaryIO, wanted: Collection[int], kinds: Mapping[int, str]) -> Iterator[dict[int, Field]]:
    """Yield some tags of each directory; see `find_tags`."""
    size = file_size(file)
    file.seek(0)
    head = file.read(16)
    if not is_tiff(head):
        raise ValueError("no TIFF")
    order = order_of(head)
    big = head[2:4] in (b"\x2b\0", b"\0\x2b")
    # Formats of the number of entries, of the count in an entry, and of an offset.
    count_format, word = (f"{order}Q", "Q") if big else (f"{order}H", "I")
    (directory,) = struct.unpack_from(f"{order}{word}", head, 8 if big else 4)
    entry = struct.Struct(f"{order}HH{word}{struct.calcsize(order + word)}s")
    seen: set[int] = set()
    while True:
        _seek(file, directory, size)
        seen.add(directory)
        (entries,) = struct.unpack(count_format, file.read(struct.calcsize(count_format)))
        if entries > MOST_TAGS or len(seen) > MOST_TAGS:
            raise ValueError("no directory")
        tags: dict[int, Field] = {}
        for index, (tag, kind, count, inside) in enumerate(entry.iter_unpack(file.read(entries * entry.size))):
            if tag not in wanted:
                continue
            if kind not in kinds or tag in tags:
                raise ValueError(f"tag {tag} is unusual")
            dtype = np.dtype(kinds[kind]).newbyteorder(order)
            position = directory + struct.calcsize(count_format) + (index + 1) * entry.size - len(inside)
            if count * dtype.itemsize > len(inside):
                (position,) = struct.unpack(f"{order}{word}", inside)
            tags[tag] = Field(dtype, count, position)
        yield tags
        file.seek(directory + struct.calcsize(count_format) + entries * entry.size)
        (directory,) = struct.unpack(f"{order}{word}", file.read(struct.calcsize(order + word)))
        # libtiff stops too where directories form a loop.
        if directory == 0 or directory in seen:
            return


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a TIFF or BigTIFF."""
    return head[:4] in (b"II\x2a\0", b"II\x2b\0", b"MM\0\x2a", b"MM\0\x2b")


def order_of(head: bytes) -> Literal["<", ">"]:
    """Return the byte order of a file in `struct`'s notation."""
    return "<" if head[:2] == b"II" else ">"


def read_tags(file: BinaryIO, wanted: Collection[int]) -> dict[int, NDArray[np.int64]]:
    """Read the numbers of some tags of the first directory; see `find_tags`."""
    return read_numbers(file, find_tags(file, wanted))


def read_numbers(file: BinaryIO, fields: Mapping[int, Field]) -> dict[int, NDArray[np.int64]]:
    """Read the numbers of fields that were found."""
    size, found = file_size(file), {}
    for tag, field in fields.items():
        length = field.count * field.dtype.itemsize
        _seek(file, field.position, size - length)
        found[tag] = np.frombuffer(file.read(length), field.dtype, field.count).astype(np.int64)
    return found


def file_size(file: BinaryIO) -> int:
    """Return the size of an open file in bytes."""
    # `seek` would return 0 for rasterio's files in memory.
    file.seek(0, os.SEEK_END)
    return file.tell()


def _seek(file: BinaryIO, place: int, last: int) -> None:
    if place > last:
        raise ValueError("a tag is beyond the end of the file")
    file.seek(place)

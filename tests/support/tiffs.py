"""TIFF files put together by hand, in both orders of bytes: what no library writes."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any


def directory(order: str, begin: int, tags: dict[int, list[int | float | str]], following: int) -> bytes:
    """Return a directory of a TIFF at a place of the file, and behind it what its tags hold."""
    head, body = [struct.pack(f"{order}H", len(tags))], b""
    behind = begin + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        kind, letter = (12, "d") if tag in (33550, 33922) else (3, "H") if tag in (258, 339, 34735) else (4, "I")
        packed = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(packed) <= 4:
            inside = packed.ljust(4, b"\0")
        else:
            inside = struct.pack(f"{order}I", behind + len(body))
            body += packed + b"\0" * (len(packed) % 2)
        head.append(struct.pack(f"{order}HHI", tag, kind, len(values)) + inside)
    return b"".join(head) + struct.pack(f"{order}I", following) + body


def write_tiff(
    path: Path,
    order: str,
    pixels: list[bytes],
    tags: dict[int, list[Any]],
    mask: list[bytes] | None = None,
    mask_tags: dict[int, list[Any]] | None = None,
) -> None:
    """Write a TIFF of some streams, and of a mask's, at UTM 17 N."""
    parts, begin = [], 8
    streams = [*pixels, *(mask or [])]
    places = []
    for stream in streams:
        places.append(begin)
        parts.append(stream + b"\0" * (len(stream) % 2))
        begin += len(parts[-1])
    own = {
        **tags, 33550: [30.0, 30.0, 0.0], 33922: [0.0, 0.0, 0.0, 5e5, 34e5, 0.0],
        34735: [1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32617],
    }  # fmt: skip
    tiled = 322 in tags
    own = {
        324 if tiled else 273: places[: len(pixels)],
        325 if tiled else 279: [len(stream) for stream in pixels],
    } | own
    first = directory(order, begin, own, 0)
    if mask is None:
        parts.append(first)
    else:
        second = begin + len(first)
        of_mask = {**(mask_tags or {}), 273: places[len(pixels) :], 279: [len(stream) for stream in mask]}
        parts += [directory(order, begin, own, second), directory(order, second, of_mask, 0)]
    magic = b"II\x2a\0" if order == "<" else b"MM\0\x2a"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(magic + struct.pack(f"{order}I", begin) + b"".join(parts))

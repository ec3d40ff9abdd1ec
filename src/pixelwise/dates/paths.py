"""Which parts of a path can hold a date."""

from __future__ import annotations

import glob
import re
from itertools import takewhile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from pixelwise.dates.rules import MONTH

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["base", "below_common_parent", "pattern_of", "shard_of", "without_suffixes"]

# .tif, .nc4, .tar.gz; not .y2001, and not .Q1, .D1, .dk1, .P1, .Jan of 2001.Jan.tif
_EXTENSIONS: Final = re.compile(
    rf"(?:\.(?!(?:Q|D|dk|dek|P|pt|pen)\d\b)(?!{MONTH.replace('?P<month_name>', '?:')}\b)[A-Za-z]{{1,8}}\d?)+$",
    re.IGNORECASE,
)

_SHARD: Final = re.compile(r"^(.*)-(\d{10})-(\d{10})$", re.DOTALL)


def shard_of(name: str) -> tuple[str, int, int] | None:
    """Split the name of a file that Earth Engine exported in pieces.

    Parameters
    ----------
    name
        A file name or path, such as ``ndvi_2001-0000000000-0000023296.tif``.

    Returns
    -------
    tuple or None
        The path without the suffix and extension, and the row and column offset of the piece in pixels;
        None for any other name.
    """
    match = _SHARD.match(_EXTENSIONS.sub("", name))
    return (match[1], int(match[2]), int(match[3])) if match else None


def without_suffixes(path: str) -> str:
    """Return the path without extensions and shard suffix, which hold no dates."""
    shard = shard_of(path)
    return shard[0] if shard else _EXTENSIONS.sub("", path)


def base(path: str) -> str:
    """Return the last part of a path."""
    return path.rpartition("/")[2]


def below_common_parent(paths: Sequence[str]) -> list[str]:
    """Return the paths relative to the folder that contains them all."""
    parts = [PurePosixPath(path).parts for path in paths]
    levels = zip(*(part[:-1] for part in parts), strict=False)
    common = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    return ["/".join(part[common:]) for part in parts]


def pattern_of(paths: Sequence[str]) -> str | None:
    """Return the narrowest glob, with at most one star in each part, for paths; None if their depths differ.

    Digits beside a star are part of it, since they differ in other names.
    """
    rows = [PurePosixPath(path).parts for path in paths]
    if len({len(row) for row in rows}) != 1:
        return None
    return str(PurePosixPath(*(_pattern_of_part(list(dict.fromkeys(part))) for part in zip(*rows, strict=True))))


def _pattern_of_part(names: Sequence[str]) -> str:
    if len(names) == 1:
        return glob.escape(names[0])
    first = _common_start(names).rstrip("0123456789")
    last = _common_start([name[::-1] for name in names])[::-1].lstrip("0123456789")
    last = last[max(len(first) + len(last) - min(map(len, names)), 0) :]
    return f"{glob.escape(first)}*{glob.escape(last)}"


def _common_start(names: Sequence[str]) -> str:
    """Return what all names begin with."""
    return "".join(column[0] for column in takewhile(lambda column: len(set(column)) == 1, zip(*names, strict=False)))

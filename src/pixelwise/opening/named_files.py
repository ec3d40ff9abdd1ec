"""Read the headers of the files that a user names, without those that pixelwise wrote beside its input."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from pixelwise.errors import InputError, Problems
from pixelwise.opening.observation import Entry
from pixelwise.opening.sources import shortened_by_kind
from pixelwise.rasters.datasets import local_only
from pixelwise.rasters.headers import Header, fetch_heads, read_header
from pixelwise.rasters.urls import Location, Url

__all__ = ["read_headers", "second_download", "without_own"]

log = logging.getLogger(__name__)


@local_only()
def read_headers(paths: Iterable[Location], problems: Problems) -> dict[Location, Header]:
    """Read the headers of files; those that cannot be read become problems."""
    headers: dict[Location, Header] = {}
    refused: list[tuple[Location, str]] = []
    named = list(dict.fromkeys(paths))
    # Servers are asked for many heads at once, and GDAL then reads them one after the other.
    heads = fetch_heads([path for path in named if isinstance(path, Url)])
    for path in named:
        try:
            headers[path] = read_header(path, heads[path].result() if isinstance(path, Url) else None)
        except InputError as error:
            refused.extend((path, text) for text in error.problems)
    problems.add(*shortened_by_kind(refused))
    return headers


class Written(Protocol):
    """What is known of a file that pixelwise may have written."""

    @property
    def written(self) -> bool:
        """Whether pixelwise wrote it."""

    @property
    def is_map(self) -> bool:
        """Whether it is a map."""


W = TypeVar("W", bound=Written)


def without_own(entries: Sequence[Entry], headers: dict[Location, W], remarks: list[str]) -> list[Entry]:
    """Leave out files that pixelwise wrote beside its input (maps, composites, residuals), also from `headers`.

    A folder or a glob includes them by accident, which is reported. They are named on purpose if all files are such
    files, if all are maps, or if a table gives them dates.
    """
    known = [(path, date) for path, date in entries if path in headers]
    for own in ("written", "is_map"):
        chosen = [path for path, date in known if date is None and getattr(headers[path], own)]
        if chosen and len(chosen) < len(known):
            break
    else:
        return list(entries)
    for path in chosen:
        headers.pop(path, None)
    shown = ", ".join(map(str, chosen[:3])) + (", ..." if len(chosen) > 3 else "")
    remarks.append(
        f"{shown} left out: pixelwise wrote {'it' if len(chosen) == 1 else 'them'}, as a map or as derived "
        "layers (to read such a file as a layer, give its date in a CSV of path,date)"
    )
    log.warning(remarks[-1])
    return [entry for entry in entries if entry[0] in headers]


#: What browsers and file managers add to the name of a file that is there already.
_AGAIN = re.compile(r"[ _]?\(\d{1,3}\)|(?: -|_)? ?copy(?: \(?\d{1,3}\)?)?", re.IGNORECASE)


def second_download(paths: Sequence[Location]) -> str:
    """Say which of some files of one date has the name of another with `(1)` added; empty if none has."""
    stems = {path.stem for path in paths}
    for path in paths:
        for found in _AGAIN.finditer(path.stem):
            if path.stem[: found.start()] + path.stem[found.end() :] in stems:
                return (
                    f"{path.name} differs from the other name by {found[0].strip()!r}: if it was downloaded or copied "
                    "twice, remove it; else "
                )
    return ""

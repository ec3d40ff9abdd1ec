"""Inputs that are listed by name, as a shell writes them for an unquoted pattern: later files are not among them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pixelwise.dates.paths import pattern_of
from pixelwise.rasters.headers import RASTER_SUFFIXES
from pixelwise.rasters.urls import is_url
from pixelwise.regular_files import is_file

__all__ = ["Listed", "listed_in", "warning_of_listed", "warning_of_others"]

#: Share of what a pattern matches that must be listed, for the pattern to be what the user meant.
MOSTLY = 0.9
#: So many of the other files are named in a warning.
NAMED_OTHERS = 3


@dataclass(frozen=True)
class Listed:
    """Files that are listed by name.

    Attributes
    ----------
    count
        How many.
    pattern
        The simplest pattern that matches them and hardly any others; None if there is none.
    others
        Files that are named like them, but not listed.
    """

    count: int
    pattern: str | None
    others: tuple[str, ...]


def listed_in(source: Sequence[str]) -> Listed | None:
    """Return which files of an input are listed by name; None if it is given in another way.

    Parameters
    ----------
    source
        The input, as given to a command.
    """
    names = list(dict.fromkeys(_named(text) for text in source if _is_file(text)))
    if len(names) < 2 or len(names) < len(set(source)) or (narrow := pattern_of(names)) is None:
        return None
    suffixes = {PurePosixPath(name).suffix for name in names}
    wide = str(PurePosixPath(narrow).parent / f"*{suffixes.pop()}") if len(suffixes) == 1 else narrow
    found = {pattern: _matches(pattern) for pattern in dict.fromkeys((wide, narrow))}
    chosen = next((pattern for pattern, matches in found.items() if matches == set(names)), None)
    if chosen is None and MOSTLY * len(found[narrow]) <= len(names):
        chosen = narrow
    alike = re.compile("|".join(_shapes(names)))
    others = sorted(name for name in found[narrow] - set(names) if alike.fullmatch(name))
    return Listed(len(names), chosen, tuple(others))


def warning_of_listed(source: Sequence[str]) -> str | None:
    """Say of a recipe that it will not have later files, if its input is what a pattern matches now."""
    listed = listed_in(source)
    if listed is None or listed.pattern is None:
        return None
    folder, name = os.path.split(listed.pattern)
    whole = f"give the folder {folder}, or " if name.startswith("*") and folder and not glob.has_magic(folder) else ""
    return (
        f"{listed.count} files are listed by name, so later files will not be read; {whole}"
        f"quote the pattern: '{listed.pattern}'"
    )


def warning_of_others(recipe: str, source: Sequence[str]) -> str | None:
    """Say which files are named like those that a recipe lists, but are not in it."""
    listed = listed_in(source)
    if listed is None or not listed.others:
        return None
    count = len(listed.others)
    named = ", ".join(listed.others[:NAMED_OTHERS]) + (", ..." if count > NAMED_OTHERS else "")
    files = "1 file is" if count == 1 else f"{count} files are"
    remedy = f"; to read them, give a pattern as its input: '{listed.pattern}'" if listed.pattern else ""
    return f"{recipe}: {files} named like its inputs, but not listed in it: {named}{remedy}"


def _is_file(text: str) -> bool:
    """Whether a word names one raster, not a table, list, folder or pattern."""
    return not is_url(text) and Path(text).suffix.lower() in RASTER_SUFFIXES and is_file(Path(text))


def _named(text: str) -> str:
    return Path(os.path.normpath(text)).as_posix()


def _matches(pattern: str) -> set[str]:
    return {_named(name) for name in glob.iglob(pattern) if _is_file(name)}  # noqa: PTH207


def _shapes(names: Sequence[str]) -> set[str]:
    """Return regular expressions for names like some: the same but for numbers, of the same length, that vary."""
    alike: dict[str, list[list[str]]] = {}
    for name in names:
        alike.setdefault(re.sub(r"\d", "0", name), []).append(re.split(r"(\d+)", name))
    return {
        "".join(
            re.escape(column[0]) if len(set(column)) == 1 else rf"\d{{{len(column[0])}}}"
            for column in zip(*rows, strict=True)
        )
        for rows in alike.values()
    }

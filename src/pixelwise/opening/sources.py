"""Find the files that a user names: by paths, folders, globs, lists, tables or mappings."""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from pixelwise.dates.axis import Moment
from pixelwise.dates.tables import BandDates, parse_date, read_table
from pixelwise.errors import InputError, ParameterError, Problems
from pixelwise.opening.stac import STAC_SUFFIXES, Found, named_in, stac_files, text_of
from pixelwise.rasters.arrays import ARRAY_SUFFIXES, array_driver
from pixelwise.rasters.headers import RASTER_SUFFIXES
from pixelwise.rasters.urls import Location, Url, is_url, location_of, permitted, without_secrets
from pixelwise.regular_files import check_regular, is_file, open_regular
from pixelwise.words import shortened

__all__ = ["Source", "resolve", "shortened_by_kind"]

#: How rasters are named: a file, folder, glob, ``@list.txt`` or CSV; several of these; or paths with their dates.
Source = str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Mapping[Any, Any]

#: Commands that unpack what a server packed, by the suffix. `{files}` stands for a file, or a pattern that the shell
#: expands; `{pattern}` for the same as one word: unzip takes other words for members of the first archive. By
#: default, it unpacks into the current folder; without -n, it asks about each file that exists already.
UNPACK = {
    ".gz": "gunzip {files}",
    ".bz2": "bunzip2 {files}",
    ".xz": "unxz {files}",
    ".zst": "unzstd {files}",
    ".zip": "unzip -n {pattern} -d {folder}",
}
#: Suffixes that ENVI's rasters may have beside their header, NAME.hdr or NAME.dat.hdr.
ENVI_SUFFIXES = ("", ".dat", ".raw", ".bin", ".envi")

#: Separators of the folders in a path.
SEPARATORS = os.sep + (os.altsep or "")

#: Largest number of matches of a glob: links in circles multiply them with each ``*``; no archive has so many files.
MOST_MATCHES = 1_000_000


def shortened_by_kind(problems: Iterable[tuple[object, str]]) -> list[str]:
    """Return the first problems of each kind, and the number of others: damaged files are not lost among missing ones.

    Parameters
    ----------
    problems
        The name in each, and its text: texts that differ only in the name, or in numbers, are of one kind.
    """
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for name, text in problems:
        kinds[re.sub(r"\d+", "", text.replace(str(name), ""))].append(text)
    return [line for alike in kinds.values() for line in shortened(alike)]


def resolve(source: Source, allowed: Sequence[str] = (), asset: str | None = None) -> list[Found]:
    """Return the files that a source names, with the dates that it gives them.

    Parameters
    ----------
    source
        The source.
    allowed
        Schemes of servers from which files, lists and tables may be read.
    asset
        Which asset of STAC items is meant.

    Raises
    ------
    InputError
        When nothing matches, naming what was looked for.
    """
    found: list[Found] = []
    refused: list[tuple[object, str]] = []
    if isinstance(source, Mapping):
        for path, date in source.items():
            try:
                found.append((location_of(os.fspath(path), allowed), _moment(date)))
            except ParameterError as error:
                refused.append((path, f"{without_secrets(str(path))}: {error}"))
            except InputError as error:
                refused.extend((path, text) for text in error.problems)
        items = []
    else:
        items = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    for item in items:
        try:
            found.extend(_resolve_one(os.fspath(item), allowed, asset))
        except InputError as error:
            refused.extend((item, text) for text in error.problems)
        except OSError as error:  # a name that is too long, a folder that may not be listed
            refused.append((item, f"{item}: {error.strerror}"))
    problems = Problems()
    problems.add(*shortened_by_kind(refused))
    problems.add(
        *shortened([*dict.fromkeys(filter(None, (_packed(path) for path, _ in found if isinstance(path, Path))))])
    )
    if not found and not problems:
        problems.add("no file is given")
    problems.add(*_queries_apart(path for path, _ in found))
    problems.raise_if_any()
    return found


def _queries_apart(paths: Iterable[Location]) -> Iterator[str]:
    """Say which URLs differ only in their query, as it is no part of a file's name."""
    queries: dict[Url, str] = {}
    for path in paths:
        if isinstance(path, Url) and queries.setdefault(path, path.query) != path.query:
            yield f"{path}: is named twice with different queries, which are no part of a file's name; name it once"


def _resolve_one(text: str, allowed: Sequence[str], asset: str | None) -> list[Found]:
    if text.startswith("/vsi"):
        raise InputError(f"{text}: only local files are read; download it first")
    if text.startswith("@"):
        return _read_list(location_of(text[1:], allowed), allowed)
    if is_url(text):
        url = permitted(text, allowed)
        if url.suffix.lower() in STAC_SUFFIXES:
            return stac_files(url, allowed, asset)
        return _read_csv(url, allowed) if url.suffix.lower() == ".csv" else [(url, None)]
    path = Path(text)
    with suppress(FileNotFoundError, NotADirectoryError, ValueError):
        path.lstat()  # refuses a name that is too long: is_dir does so only before Python 3.14
    if path.is_dir():
        return [(path, None)] if array_driver(path) else [(file, None) for file in _rasters_in(path)]
    if path.suffix.lower() == ".csv" and is_file(path):
        return _read_csv(path, allowed)
    if path.suffix.lower() in STAC_SUFFIXES and is_file(path):
        return stac_files(path, allowed, asset)
    if is_file(path):
        return [(path, None)]
    if any(character in text for character in "*?["):
        if files := _matching(text):
            return [(file, None) for file in files]
        raise InputError(f"no file matches {text!r}" + ("" if path.is_absolute() else f" in {Path.cwd()}"))
    if os.path.lexists(path):
        check_regular(path)
    raise InputError(f"{text}: no such file or folder")


def _matching(pattern: str) -> list[Path]:
    """Return the files that a glob matches, sorted.

    The same as ``glob.glob(pattern, recursive=True)``, but ``**`` enters each folder once: glob enters it by every path
    that leads to it through links, of which three links to their own folder make 3**40.

    Raises
    ------
    InputError
        When it matches too many.
    """
    if pattern.endswith(tuple(SEPARATORS)):  # matches only folders
        return []
    first, rest = os.path.splitdrive(pattern)
    parts = re.findall("[^{0}]+[{0}]*|[{0}]+".format(re.escape(SEPARATORS)), rest)
    if parts[-1] == "**":
        parts.append("*")
    found = [first]
    for part in parts:
        if part.rstrip(SEPARATORS) == "**":
            found = _folders_below(found)
            continue
        names = (os.path.join(folder, name) for folder in found for name in glob.iglob(part, root_dir=folder))  # noqa: PTH118, PTH207
        found = list(islice(names, MOST_MATCHES + 1))
        if len(found) > MOST_MATCHES:
            raise InputError(f"{pattern!r} matches more than {MOST_MATCHES} files or folders; use a narrower pattern")
    return sorted({path for path in map(Path, found) if not path.is_dir() or array_driver(path)})


def _folders_below(starts: Iterable[str]) -> list[str]:
    """Return folders and all visible folders below them, each once: under its own name rather than a link's."""
    found: list[str] = []
    entered: set[tuple[int, int]] = set()
    folders, links = deque(sorted(starts)), deque[str]()
    while folders or links:
        folder = folders.popleft() if folders else links.popleft()
        try:
            status = os.stat(folder or os.curdir)  # noqa: PTH116 - Path does not distinguish "" from "."
            if (status.st_dev, status.st_ino) in entered:
                continue
            with os.scandir(folder or os.curdir) as entries:
                below = sorted((entry.name, entry.is_symlink()) for entry in entries if _is_visible_folder(entry))
        except OSError:  # may not be listed, is not a folder, or is gone
            continue
        entered.add((status.st_dev, status.st_ino))
        found.append(folder)
        for name, is_link in below:
            (links if is_link else folders).append(os.path.join(folder, name))  # noqa: PTH118
    return found


def _is_visible_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.name.startswith(".") and entry.is_dir()
    except OSError:  # a link to itself
        return False


def _packed(path: Path) -> str | None:
    """Say how to unpack a raster; None if it is not packed."""
    inner = path.with_suffix("").suffix.lower()
    # A packed Zarr store has its files at the top.
    if path.suffix.lower() not in UNPACK or inner not in (RASTER_SUFFIXES | ARRAY_SUFFIXES) - {".zarr"}:
        return None
    file = shlex.quote(str(path))
    command = UNPACK[path.suffix.lower()].format(files=file, pattern=file, folder=shlex.quote(str(path.parent)))
    return f"{path}: is packed ({path.suffix}); unpack it first: {command}"


def _is_envi(path: Path) -> bool:
    """Whether a file is an ENVI raster according to its header, as its name does not show it."""
    if path.suffix.lower() not in ENVI_SUFFIXES:
        return False
    for header in (path.with_name(f"{path.name}.hdr"), path.with_suffix(".hdr")):
        try:
            with open_regular(header) as file:
                return file.read(4) == b"ENVI"
        except (InputError, OSError):
            continue
    return False


def _rasters_in(folder: Path) -> list[Path]:
    # Hidden files are leftovers of programs (._name.tif of macOS, unfinished outputs).
    present = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    files = [p for p in present if (p.suffix.lower() in RASTER_SUFFIXES or _is_envi(p)) and not p.is_dir()]
    # Dates that exist only in packed files would be silently missing.
    packed = [p for p in present if _packed(p) is not None and p.with_suffix("") not in files]
    if packed:
        kind, place = "".join(packed[0].suffixes[-2:]), shlex.quote(str(folder))
        command = UNPACK[packed[0].suffix.lower()].format(
            files=f"{place}/*{kind}", pattern=shlex.quote(f"{folder}/*{kind}"), folder=place
        )
        count = "1 raster is" if len(packed) == 1 else f"{len(packed)} rasters are"
        raise InputError(
            f"{folder}: {count} packed ({packed[0].name}); unpack with {command}, "
            f"or list the files to read with a quoted glob"
        )
    # As other files, those of arrays are ignored beside rasters.
    files = files or [p for p in present if array_driver(p)]
    if files:
        return files
    pattern = f"{glob.escape(str(folder))}/**/*"
    deeper = sorted({p.suffix for p in _matching(pattern) if p.suffix.lower() in RASTER_SUFFIXES})
    if deeper:
        raise InputError(f"{folder}: only its sub-folders hold rasters; name them with a glob: '{pattern}{deeper[0]}'")
    raise InputError(f"{folder}: no raster in this folder (looked for {' '.join(sorted(RASTER_SUFFIXES))})")


def _read_list(path: Location, allowed: Sequence[str]) -> list[Found]:
    lines = text_of(path).splitlines()
    names = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not names:
        raise InputError(f"{path}: lists no files")
    return [(named_in(path, name, allowed), None) for name in names]


def _read_csv(path: Location, allowed: Sequence[str]) -> list[Found]:
    table = read_table(str(path), text_of(path)) if isinstance(path, Url) else read_table(path)
    if isinstance(table, BandDates):
        raise InputError(f"{path}: has a column of bands; give the files as input, and this table with --times")
    if not isinstance(table, dict):
        raise InputError(f"{path}: has only one column; expected a CSV with path,date")
    return [(named_in(path, name, allowed), moment) for name, moment in table.items()]


def _moment(date: Any) -> Moment:
    if isinstance(date, Moment):
        return date
    return parse_date(date.isoformat() if hasattr(date, "isoformat") else str(date))

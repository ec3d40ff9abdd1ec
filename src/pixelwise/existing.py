"""An output that exists already: what it says about its making, and what of it a job may not differ in.

Nothing of it is trusted beyond being compared, and nothing that it names is ever run or opened.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.errors import InputError, ParameterError
from pixelwise.jobs.provenance import plain
from pixelwise.maps.map import Map, files_of_pattern
from pixelwise.words import NAMED, first_of, shown

__all__ = [
    "AGAIN",
    "SAME",
    "ExistingFile",
    "check_files",
    "check_same_options",
    "existing",
    "files_of",
    "list_of",
    "mapping",
    "say_changes",
    "texts",
]

log = logging.getLogger(__name__)

#: Options that only choose which layers and pixels there are; these are compared themselves.
CHOOSING = frozenset({"start", "end", "extent", "bounds"})
#: Options that may be paths, relative to where the command was run: only their names are compared. What is in the files
#: is compared by their stamps, digests and dates.
PATHS = frozenset({"times", "align", "mask", "region", "where", "product", "gains"})
AGAIN = "or make all of it again with --overwrite"
SAME = f"give the same, {AGAIN}"


@dataclass(frozen=True)
class ExistingFile:
    """What an existing output says about its making: nothing of it is trusted beyond being compared."""

    path: Path
    map_: Map

    @property
    def grid(self) -> Any:
        """Where its pixels are."""
        return self.map_.grid

    @property
    def input(self) -> Mapping[str, Any]:
        """What it says about its input."""
        return mapping(self.map_.provenance.get("input"))

    @property
    def composite(self) -> Mapping[str, Any]:
        """What it says about its composites."""
        return mapping(self.input.get("composite"))

    @property
    def warnings(self) -> list[str]:
        """What was warned of when it was made."""
        return list(texts(self.map_.provenance.get("warnings")))

    @property
    def files(self) -> dict[str, Any]:
        """Its files and what was behind them, with their stamps."""
        return files_of(self.input)


def files_of(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stamps of all files of a stack, by the names by which a map calls them."""
    entries = [one for name in ("files", "behind") for one in list_of(described.get(name)) if isinstance(one, dict)]
    stamps = [{**one} for one in entries if isinstance(one.get("path"), str)]
    return {one.pop("path"): one for one in stamps}


def check_same_options(held: ExistingFile, name: str, was: Mapping[str, Any], is_: Mapping[str, Any]) -> None:
    """Refuse an output for which a stack was read with other options, naming the first."""
    of_which = f"{name}: " if name else ""
    for one, other in _different_options(mapping(was.get("spec")), is_["spec"]):
        raise ParameterError(f"{held.path}: {of_which}was made {one}, now {other}; {SAME}")
    if mapping(was.get("area")) != is_.get("area", {}):
        then, now = _area(was), _area(is_)
        if then == now:
            source = mapping(mapping(is_.get("area")).get("where")).get("raster")
            raise ParameterError(
                f"{held.path}: {of_which}was made for {then}, and {source} has changed since; compute all of it again "
                "with --overwrite"
            )
        raise ParameterError(f"{held.path}: {of_which}was made for {then}, now for {now}; {SAME}")


def _different_options(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield what each option that differs was, and what it is."""
    for name in sorted({*then, *now} - CHOOSING):
        was, is_ = (_comparable(name, one.get(name)) for one in (then, now))
        if was != is_:
            option = f"--{name.replace('_', '-')}"
            yield [f"without {option}" if value is None else f"with {option} {shown(value)}" for value in (was, is_)]


def _comparable(name: str, value: Any) -> Any:
    value = plain(value)
    return Path(value).name if name in PATHS and isinstance(value, str) else value


def _area(described: Mapping[str, Any]) -> str:
    """Say which pixels were requested."""
    region, where = (mapping(mapping(described.get("area")).get(name)) for name in ("region", "where"))
    words = [f"region {shown(region.get('source'))} (sha256 {shown(region.get('sha256'))})"] if region else []
    words += [f"where {shown(where.get('raster'))} is {shown(where.get('values'))}"] if where else []
    return " and ".join(words) or "all pixels"


def check_files(held: ExistingFile, was: Mapping[str, Any], is_: Mapping[str, Any], folder: Path) -> None:
    """Refuse an output that was made from files which are not among the inputs."""
    spec, own = mapping(was.get("spec")), files_of(is_)
    chosen = any(spec.get(name) != is_["spec"].get(name) for name in ("start", "end"))
    gone = [name for name in files_of({"files": was.get("files")}) if name not in own]
    if gone := [name for name in gone if not chosen or not (folder / name).exists()]:
        few = "1 file that is" if len(gone) == 1 else f"{len(gone)} files that are"
        raise InputError(
            f"{held.path}: was made from {few} not among the inputs: {first_of(gone, NAMED)}; give all files, old and "
            f"new, {AGAIN}"
        )


def say_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Log which files are new, and which have changed."""
    new = [name for name in now if name not in then]
    changed = [name for name, stamp in now.items() if name in then and then[name] != stamp]
    for one, several, names in (("is new", "are new", new), ("has changed", "have changed", changed)):
        if names:
            words = f"1 file {one}" if len(names) == 1 else f"{len(names)} files {several}"
            log.info("%s: %s", words, first_of(names, NAMED))


def existing(output: Path) -> Path | None:
    """Return an output if it exists, or its first file if there is one per band."""
    if "{band}" in output.name:
        return next(iter(files_of_pattern(output)), None)
    return output if os.path.lexists(output) else None  # a dangling link exists


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a table of a tag, which may hold anything; an empty one instead of anything else."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """Return a list of a tag; an empty one instead of anything else."""
    return value if isinstance(value, list) else []


def texts(value: Any) -> Iterator[str]:
    """Yield the strings in a list of a tag."""
    return (one for one in list_of(value) if isinstance(one, str))

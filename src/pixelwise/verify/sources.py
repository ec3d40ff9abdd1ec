"""Find the files that a map was made from, and decide whether they may be opened."""

from __future__ import annotations

import hashlib
import logging
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pixelwise.errors import InputError
from pixelwise.opening.sources import Source, resolve
from pixelwise.rasters.arrays import is_zarr
from pixelwise.rasters.remote import stamp_of
from pixelwise.rasters.sidecars import NAMERS
from pixelwise.rasters.stamps import FileStamp, Stamp
from pixelwise.rasters.urls import Location, Url, is_url
from pixelwise.rasters.vrt import is_vrt, sources_of
from pixelwise.regular_files import check_regular, is_file, read_bytes
from pixelwise.verify.arrays import check_store
from pixelwise.verify.making import Making

__all__ = ["NAMED", "check_unchanged", "places_of", "table_of_gains"]

log = logging.getLogger(__name__)

#: Number of paths named in one error.
NAMED = 5


def places_of(
    making: Making,
    folder: Path,
    source: Source | None,
    path: Path,
    allowed: Sequence[str] = (),
    command: Sequence[str] = (),
) -> dict[str, Location]:
    """Return where the files of a map are, by the names used in the map.

    Parameters
    ----------
    making
        What the map says.
    folder, path
        The folder of the map, and the map.
    source
        The files that the user named.
    allowed
        Schemes of servers from which files may be read.
    command
        What to type before the names of files; ``pixelwise verify`` and the map by default.

    Raises
    ------
    InputError
        When some are outside its folder and the user did not name them.
    """
    command = command or ["pixelwise", "verify", str(path)]
    files = [] if source is None else [file for file, _ in resolve(source, allowed, making.spec.asset)]
    named = {file.resolve() for file in files if isinstance(file, Path)}
    urls = {str(file): file for file in files if isinstance(file, Url)}
    tree = folder.resolve()

    def opens(place: Path) -> bool:
        # Links are followed: what counts is which file is opened.
        return not place.as_posix().startswith("/vsi") and (place.resolve().is_relative_to(tree) or _in(named, place))

    places: dict[str, Location] = {}
    outside: dict[str, Location] = {}
    for name in making.files:
        if is_url(name):
            # A map may name any server: it is asked only for files that the user named and allowed.
            (places if name in urls else outside)[name] = urls.get(name) or Url.parse(name)
            continue
        # As when it was written: relative to the real path of the folder, and lexically from there on.
        place = Path(os.path.normpath(tree / name))
        remote = name.startswith("/vsi")
        try:
            opened = not remote and opens(place) and (not Path(name).is_absolute() or _in(named, place))
        except (OSError, RuntimeError) as error:  # a name that is too long, or a loop of links
            raise InputError(f"{path}: its file {name} cannot be looked up ({error})") from None
        if remote:
            raise InputError(f"{path}: its file {name} is not local and is not opened; download it first")
        (places if opened else outside)[name] = place
    if outside:
        raise InputError(*_outside(path, outside, command))
    listed: dict[Path, list[str]] = {}
    for place in [place for place in places.values() if isinstance(place, Path)]:
        if place.is_dir() and not _in(named, place):
            check_store(place, path)
        elif is_file(place) and not _in(named, place):
            _check_sources(place, opens, path, listed, command)
    return places


def table_of_gains(making: Making, folder: Path, given: str | Path | None, path: Path, instead: str) -> Path | None:
    """Return where the table of gains of a map is; None if it has none.

    Parameters
    ----------
    making
        What the map says.
    folder, path
        The folder of the map, and the map.
    given
        The table that the user named; it is looked for in the folder of the map without it.
    instead
        What to type to name it.

    Raises
    ------
    InputError
        When it is not there, is outside the folder and was not named, or is not the one that the map was made with.
    """
    if making.gains is None or making.gains.preset:
        if given is not None:
            raise InputError(f"{path}: was not made with a table of gains: leave {given} out")
        return None
    tree, recorded = folder.resolve(), making.gains
    place = Path(os.path.normpath(tree / recorded.path)) if given is None else Path(given)
    try:
        inside = place.resolve().is_relative_to(tree) and not Path(recorded.path).is_absolute()
    except (OSError, RuntimeError) as error:  # a name that is too long, or a loop of links
        raise InputError(f"{path}: its table of gains {recorded.path} cannot be looked up ({error})") from None
    if given is None and not inside:
        raise InputError(
            f"{path}: its table of gains {recorded.path} is outside its folder and is opened only if you name it: "
            f"{instead}"
        )
    if given is None and not is_file(place):
        raise InputError(f"{path}: its table of gains {place} is no longer there; if it was moved, name it: {instead}")
    digest = hashlib.sha256(read_bytes(place, "gains")).hexdigest()
    if digest != recorded.sha256:
        raise InputError(
            f"{path}: was made with other gains than {place} has now: the sha256 of the table was {recorded.sha256}, "
            f"and is {digest}; restore the table, or name that of the map: {instead}"
        )
    return place


def _in(named: set[Path], place: Path) -> bool:
    return place.resolve() in named


def _outside(path: Path, outside: Mapping[str, Location], command: Sequence[str]) -> Iterator[str]:
    for name in list(outside)[:NAMED]:
        yield f"{path}: its file {name} is outside its folder and is opened only if you name it"
    if len(outside) > NAMED:
        yield f"... and {len(outside) - NAMED} more files like these"
    schemes = sorted({place.scheme for place in outside.values() if isinstance(place, Url)})
    if schemes:
        many = len(outside) > NAMED
        given = ["@list.txt"] if many else [str(place) for place in outside.values()]
        line = shlex.join([*command, *given, "--allow-scheme", ",".join(schemes)])
        yield f"if these are the files that you mean{', list them' if many else ''}: {line}"
        return
    folders = list(dict.fromkeys(str(place.parent) for place in outside.values()))
    named = [str(place) for place in outside.values()] if len(outside) <= NAMED else folders[:NAMED]
    yield f"if these are the files that you mean: {shlex.join([*command, *named])}"


def _check_sources(
    file: Path, opens: Callable[[Path], bool], path: Path, listed: dict[Path, list[str]], command: Sequence[str]
) -> None:
    """Apply the same rule to whatever GDAL opens for a file that the user did not name: files beside it, VRT sources.

    `listed` caches the names that lead out of each folder.
    """
    pending, seen = [file], set()
    while pending:
        vrt = pending.pop()
        if vrt.resolve() in seen:
            continue
        if vrt.parent not in listed:
            listed[vrt.parent] = _leading_out(vrt.parent, opens)
        for name in listed[vrt.parent]:
            if _is_beside(name, vrt):
                raise InputError(
                    f"{path}: {name} beside its file {vrt} is a link to a file outside the map's folder; "
                    f"if you mean it: {shlex.join([*command, str(file)])}"
                )
        if not is_vrt(vrt):
            continue
        seen.add(vrt.resolve())
        for name, place in sources_of(vrt).items():
            if "://" in name or not opens(place.absolute()):
                raise InputError(
                    f"{path}: its file {vrt} names {name}, which is outside its folder; if you mean it: "
                    f"{shlex.join([*command, str(vrt)])}"
                )
            pending.append(place)


def _leading_out(folder: Path, opens: Callable[[Path], bool]) -> list[str]:
    """Return the names in a folder that lead to files that may not be opened; none if it cannot be listed."""

    def leads_out(place: Path) -> bool:
        try:
            return not opens(place)
        except (OSError, RuntimeError):  # a loop of links
            return True

    try:
        with os.scandir(folder) as entries:
            # A file that is not a link is in the folder itself.
            outside = leads_out(folder.absolute())
            return [e.name for e in entries if (outside or e.is_symlink()) and leads_out(folder.absolute() / e.name)]
    except OSError:
        return []


def _is_beside(name: str, file: Path) -> bool:
    """Whether GDAL may open a file of this name in a file's folder along with it: a sidecar, data of a header."""
    lower, stem = file.name.lower(), file.stem.lower()
    # Texts of some formats may name any file in their folder.
    begins = "" if file.suffix.lower() in NAMERS else (lower, f"{stem}.", f"{stem}_")
    return name != file.name and name.lower().startswith(begins)


def check_unchanged(files: Mapping[str, Stamp], places: Mapping[str, Location]) -> None:
    """Compare sizes with those recorded by the job, also of files behind VRTs and headers, and of sidecars.

    A copy has another time, and a viewer may write statistics into metadata: both are reported, and the numbers decide.
    """
    problems: list[str] = []
    later: list[Location] = []
    for name, place in places.items():
        then = files[name]
        now: Stamp
        try:
            if isinstance(place, Url):
                now = stamp_of(place)
            else:
                now = FileStamp.of(place) if is_zarr(place) else FileStamp.from_status(check_regular(place))
        except InputError as error:
            problems.append(str(error))
            continue
        if now.size != then.size and not place.name.lower().endswith(".aux.xml"):
            problems.append(f"{place}: changed since the map was made: {then.size} bytes then, now {now.size}")
        elif now != then:
            later.append(place)
    if problems:
        raise InputError(*problems)
    if later:
        log.warning(
            "%d input file(s) have a different modification time from when the map was made, as copies have: %s",
            len(later),
            ", ".join(str(place) for place in later[:NAMED]),
        )

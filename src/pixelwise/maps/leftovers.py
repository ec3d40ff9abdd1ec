"""Remove what stopped jobs left in a folder: found by name, identified by content, and not in use by any job."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from pixelwise.errors import OutputError
from pixelwise.maps.classified import is_classified
from pixelwise.maps.converted import BLOCKS
from pixelwise.maps.disk import NotOursError, close, has_name, is_blank, lock, open_ours
from pixelwise.maps.journal import JOURNAL_SUFFIX, is_journal, journal_of
from pixelwise.maps.map import is_map
from pixelwise.maps.outputs import FORMATS
from pixelwise.maps.publish import HALF_WRITTEN, PARTIAL, is_hardly_begun, is_ours, is_own_sidecar, marked
from pixelwise.maps.stores import (
    HALF_WRITTEN_FOLDER,
    MARK_FILE,
    NETCDF,
    WORKSHOP,
    files_in,
    irregular_folder,
    is_our_store,
    remove_tree,
    why_not_our_folder,
)

__all__ = ["Leftover", "remove_leftovers"]

#: Maps, and the tables of rectify.
_OUTPUT = "|".join(map(re.escape, (*FORMATS, ".csv")))
#: `.trend.tif.journal`, `.gains.csv.journal`
JOURNAL = re.compile(rf"\..+(?i:{_OUTPUT}){re.escape(JOURNAL_SUFFIX)}", re.DOTALL)
#: `.classes.partial-0a1b2c3d.tif`, of `classify`
CLASSES = re.compile(r"\..+\.partial-[0-9a-f]{8}(?i:\.tiff?)", re.DOTALL)
FOREIGN = "it is not a pixelwise file"
BLANK = "nothing in it shows that pixelwise made it"


@dataclass(frozen=True)
class Leftover:
    """A file, or a folder, with a name of the kind that jobs give to theirs.

    Attributes
    ----------
    path, size
        The file or folder, and its size in bytes.
    kept
        Why it was not removed; empty if it was.
    failed
        Whether the system refused to remove it.
    """

    path: Path
    size: int
    kept: str = ""
    failed: bool = False


class _KeptError(Exception):
    """Why a file is not removed."""


class _RunningError(_KeptError):
    """A running job uses the file."""

    def __init__(self) -> None:
        super().__init__("a running job uses it")


def remove_leftovers(folder: Path) -> Iterator[Leftover]:
    """Remove journals, half-written maps and classes that stopped jobs left in a folder; yield each, removed or not.

    Jobs lock the files that they have open. Locked files stay, and so do files that belong to a locked journal; while
    files are checked and removed here they are locked too, so that a job that starts meanwhile waits.

    Parameters
    ----------
    folder
        The folder; its subfolders are not searched.

    Raises
    ------
    OutputError
        When the folder cannot be listed.
    """
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise OutputError(f"{folder}: cannot be listed ({error.strerror})") from None
    journals = [folder / name for name in names if JOURNAL.fullmatch(name)]
    others = [(folder / name, found) for name in names if (found := HALF_WRITTEN.fullmatch(name))]
    patterns = (HALF_WRITTEN_FOLDER, WORKSHOP)
    folders = [(folder / name, found) for name in names for own in patterns if (found := own.fullmatch(name))]
    # A job whose half-written file does not name its map may be any job that runs here.
    running = any(_is_running(journal) for journal in journals)
    groups: dict[Path | None, list[tuple[Path, re.Match[str]]]] = {journal: [] for journal in journals}
    for path, found in others:
        groups.setdefault(_journal_of(path, *_names(path, found)), []).append((path, found))
    for path, found in folders:
        partial, final = _names(path, found)
        groups.setdefault(_journal_of(path, partial / MARK_FILE, final), []).append((path, found))
    for journal, files in groups.items():
        with contextlib.ExitStack() as held:
            kept, file = "", None
            try:
                if journal is None and running:
                    raise _RunningError
                if journal is not None and os.path.lexists(journal):
                    file = held.enter_context(_locked(journal))
            except _RunningError as reason:
                kept = str(reason)
            except (_KeptError, FileNotFoundError):
                pass  # whatever else has the journal's name, no job of this user resumes from it
            except OSError as error:
                kept = f"its journal {journal} cannot be opened ({error.strerror})"
            known = journal is not None and (_is_journal(file) or any(_is_partial(*one) for one in files))
            # Files set aside come first: half-written files tell whether they are needed.
            for path, found in sorted(files, key=lambda one: (not one[1]["replaced"], not _is_sidecar(one[1]))):
                remove = _remove if found.re is HALF_WRITTEN else _remove_folder
                yield from remove(path, found, kept, known)
            if journal in journals:
                yield from _remove(journal, None, "", known, file)
    yield from _classes(folder / name for name in names if CLASSES.fullmatch(name))


def _classes(paths: Iterable[Path]) -> Iterator[Leftover]:
    """Remove what `classify` left, which belongs to no journal."""
    for path in paths:
        yield from _attempt(path, "", partial(_size, path), partial(_remove_classes, path))


def _size(path: Path) -> int:
    return path.lstat().st_size


def _remove_classes(path: Path) -> None:
    with _locked(path) as held:
        if not is_classified(path):
            raise _KeptError(FOREIGN)
        if os.name == "nt":  # open files cannot be removed there
            close(held)
        path.unlink()


def _remove(
    path: Path, found: re.Match[str] | None, kept: str, known: bool, file: BinaryIO | None = None
) -> Iterator[Leftover]:
    """Remove one file, already locked or not, unless there is a reason against it; yield nothing if it vanished."""

    def remove() -> None:
        with contextlib.nullcontext(file) if file is not None else _locked(path) as held:
            _check(path, found, held, known)
            if os.name == "nt":  # open files cannot be removed there
                close(held)
            path.unlink()

    yield from _attempt(path, kept, lambda: path.lstat().st_size, remove)


def _is_sidecar(found: re.Match[str]) -> bool:
    return bool(found.groupdict().get("sidecar"))


def _remove_folder(path: Path, found: re.Match[str], kept: str, known: bool) -> Iterator[Leftover]:
    """Remove a folder with the name of a half-written or replaced store, unless there is a reason against it."""

    def size() -> int:
        return sum(file.lstat().st_size for file in files_in(path)[0]) if not irregular_folder(path) else 0

    def remove() -> None:
        with contextlib.ExitStack() as held:
            if os.path.lexists(path / MARK_FILE):
                held.enter_context(_locked(path / MARK_FILE))
            _check_folder(path, found, known)
            remove_tree(path)

    yield from _attempt(path, kept, size, remove)


def _attempt(path: Path, kept: str, measure: Callable[[], int], remove: Callable[[], None]) -> Iterator[Leftover]:
    """Remove a leftover that is not to be kept, and yield what became of it; nothing if it vanished meanwhile."""
    size = 0
    try:
        size = measure()
        try:
            if kept:
                raise _KeptError(kept)
            remove()
        except _KeptError as reason:
            yield Leftover(path, size, str(reason))
        else:
            yield Leftover(path, size)
    except FileNotFoundError:
        return
    except OSError as error:
        yield Leftover(path, size, f"it cannot be removed ({error.strerror})", failed=True)


def _check_folder(path: Path, found: re.Match[str], known: bool) -> None:
    """Raise _KeptError unless a folder, whose mark is locked, is a leftover that nobody needs."""
    if why_not_our_folder(path):
        raise _KeptError(FOREIGN)
    _, final = _names(path, found)
    if found["replaced"]:
        if not os.path.lexists(final):
            raise _KeptError(f"it is the old {final.name}, which an interrupted job was replacing: rename it to that")
    elif is_our_store(path):
        raise _KeptError("it is a complete map: rename it, or remove it yourself")
    elif _is_complete(path / BLOCKS):
        raise _KeptError("it holds a complete map: run the job again, or remove it yourself")
    if not any(path.iterdir()):
        _check_blank(blank=True, known=known)


def _check(path: Path, found: re.Match[str] | None, file: BinaryIO, known: bool) -> None:
    """Raise _KeptError unless an open and locked file is a leftover that nobody needs.

    A power failure leaves empty files and zeros. An unidentified file is ours only beside an identified one (`known`).
    """
    if found is None:
        if not is_journal(file):
            _check_blank(is_blank(file), known)
        return
    partial, final = _names(path, found)
    netcdf = found["suffix"].lower() == NETCDF and is_map(path)
    if not found["sidecar"] and not netcdf and not is_ours(file):
        _check_blank(not found["replaced"] and is_hardly_begun(file), known)
    if not found["replaced"] and _is_complete(partial):
        raise _KeptError(
            f"it {'belongs to' if found['sidecar'] else 'is'} a complete map: rename it, or remove it yourself"
        )
    if found["sidecar"] and not found["replaced"]:
        if not is_own_sidecar(path, whole=True):
            _check_blank(is_own_sidecar(path), known or _is_map(partial))
        if _is_running(partial):
            raise _RunningError
    if found["replaced"]:
        # The old map may have both names: then it is the one locked here.
        if _is_running(partial) or (not has_name(file, final) and _is_running(final)):
            raise _RunningError
        old = final.with_name(final.name + (found["sidecar"] or ""))
        waiting = not found["sidecar"] or os.path.lexists(partial)
        if waiting and not os.path.lexists(old):
            raise _KeptError(f"it is the old {old.name}, which an interrupted job was replacing: rename it to that")
        if found["sidecar"] and not _is_map(final):
            raise _KeptError(FOREIGN)


def _check_blank(blank: bool, known: bool) -> None:
    if not blank:
        raise _KeptError(FOREIGN)
    if not known:
        raise _KeptError(BLANK)


def _names(path: Path, found: re.Match[str]) -> tuple[Path, Path]:
    """Return the half-written file that a name belongs to, and the file that it was to become."""
    final = path.with_name(found["stem"] + found["suffix"])
    if found.re is WORKSHOP:
        return path, final
    return path.with_name(f".{found['stem']}{PARTIAL}{found['suffix']}"), final


def _journal_of(path: Path, begun: Path, final: Path) -> Path | None:
    """Return the journal that a file belongs to: named in what was `begun`, or like it, or None."""
    with contextlib.suppress(_KeptError, OSError), _opened(begun) as file:
        map_ = marked(file)
        if map_ is not None and Path(map_).suffix.lower() in FORMATS:
            journal = journal_of(path.parent / map_)
            # The same spelling for everything that belongs together, and for what the folder lists.
            same = os.path.realpath(journal.parent) == os.path.realpath(path.parent)
            return path.with_name(journal.name) if same else journal
    journal = journal_of(final)
    return journal if os.path.lexists(journal) else None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file of this user; _KeptError says what it is instead."""
    try:
        file = open_ours(path, linked=True)  # a second name of it stays, whatever happens to this one
    except NotOursError as reason:
        raise _KeptError(f"it {reason}") from None
    try:
        yield file
    finally:
        close(file)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """Open and lock a file; _KeptError if a job holds it."""
    with _opened(path) as file:
        try:
            lock(file)
        except BlockingIOError:
            raise _RunningError from None
        except OSError as error:
            raise _KeptError(f"it cannot be locked ({error.strerror})") from None
        if not has_name(file, path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        yield file


def _is_running(path: Path) -> bool:
    try:
        with _locked(path):
            return False
    except _RunningError:
        return True
    except (_KeptError, OSError):
        return False


def _is_journal(file: BinaryIO | None) -> bool:
    with contextlib.suppress(OSError):
        return file is not None and is_journal(file)
    return False


def _is_partial(path: Path, found: re.Match[str]) -> bool:
    if found.re is not HALF_WRITTEN:
        return not irregular_folder(path) and os.path.lexists(path / MARK_FILE)
    return not found["sidecar"] and not found["replaced"] and _is_map(path)


def _is_complete(path: Path) -> bool:
    """Whether a file is a map from its first byte: that is written last, when the rest is on disk."""
    with contextlib.suppress(_KeptError, OSError), _opened(path) as file:
        return marked(file) is None and is_ours(file)
    return False


def _is_map(path: Path) -> bool:
    try:
        with _opened(path) as file:
            return is_ours(file)
    except (_KeptError, OSError):
        return False

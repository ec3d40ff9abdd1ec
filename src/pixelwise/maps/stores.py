"""Folders that a job writes: hidden and locked until they are complete, known by what is in them, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pixelwise.errors import InputError, OutputError
from pixelwise.maps.disk import close, open_locked, refusal, why_not_ours, write
from pixelwise.maps.publish import (
    PARTIAL,
    REPLACED,
    PendingFile,
    check_length,
    is_hardly_begun,
    mark,
    marked,
    restore,
    still_hidden,
)
from pixelwise.maps.records import Seal
from pixelwise.rasters.headers import TAG
from pixelwise.regular_files import kind_of, open_regular, read_bytes

__all__ = [
    "HALF_WRITTEN_FOLDER",
    "MARK_FILE",
    "NETCDF",
    "STORE",
    "WORKSHOP",
    "HiddenFolder",
    "PendingInFolder",
    "PendingStore",
    "attributes_in",
    "check_store_target",
    "files_in",
    "irregular_folder",
    "is_our_folder",
    "is_our_store",
    "remove_tree",
    "root_of",
    "why_not_our_folder",
]

#: The end of the name of a Zarr store, and of a NetCDF file.
STORE, NETCDF = ".zarr", ".nc"
#: The file in a hidden folder that says what it is: locked while a job runs, removed when the folder is complete.
MARK_FILE = ".pixelwise"
#: `.trend.partial.zarr`, `.trend.partial.replaced.zarr`
HALF_WRITTEN_FOLDER = re.compile(
    rf"\.(?P<stem>.+){re.escape(PARTIAL)}(?P<replaced>{re.escape(REPLACED)})?(?P<suffix>(?i:{re.escape(STORE)}))",
    re.DOTALL,
)
#: `.trend.nc.partial`, in which a file is made of another one.
WORKSHOP = re.compile(rf"\.(?P<stem>.+)(?P<suffix>(?i:\.nc|\.tiff?)){re.escape(PARTIAL)}(?P<replaced>(?!))?", re.DOTALL)
#: What describes a whole store, in Zarr 3 and 2; written last.
ROOTS = ("zarr.json", ".zmetadata")
#: A description names every array, and every file of the input.
LARGEST_ROOT = 96 << 20


def root_of(store: Path) -> Path | None:
    """Return the file that describes a whole store; None if there is none."""
    for name in ROOTS:
        if os.path.lexists(store / name):
            return store / name
    return None


def attributes_in(store: Path) -> dict[str, Any] | None:
    """Return the attributes of a store's group; None if it is no store with consolidated metadata.

    Raises
    ------
    InputError
        When its description cannot be read.
    """
    root = root_of(store)
    if root is None:
        return None
    try:
        found = json.loads(read_bytes(root, most=LARGEST_ROOT))
        attributes = found["attributes"] if root.name == ROOTS[0] else found["metadata"][".zattrs"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return attributes if isinstance(attributes, dict) else None


def is_our_store(store: Path) -> bool:
    """Whether a folder is a store that pixelwise completed."""
    try:
        if stat.S_ISDIR(store.lstat().st_mode):
            return TAG in (attributes_in(store) or {})
    except (OSError, InputError):
        pass
    return False


def is_our_folder(folder: Path) -> bool:
    """Whether what is in a folder shows that a job of ours made it: a mark, a complete store, or nothing at all."""
    try:
        with open_regular(folder / MARK_FILE) as file:
            return marked(file) is not None or is_hardly_begun(file)
    except (InputError, OSError):
        pass
    with contextlib.suppress(OSError):
        return is_our_store(folder) or not any(folder.iterdir())
    return False


def remove_tree(folder: Path) -> None:
    """Remove a folder of ours; what shows that it is ours goes last, so that a kill in between leaves a known folder.

    Raises
    ------
    OSError
        When anything cannot be removed.
    """
    known = {str(folder / name) for name in (*ROOTS, MARK_FILE)}
    for path, folders, files in os.walk(folder, topdown=False):
        for name in files:
            if (whole := os.path.join(path, name)) not in known:  # noqa: PTH118 - a hundred thousand of them
                os.unlink(whole)  # noqa: PTH108
        for name in folders:
            inner = Path(path, name)
            inner.unlink() if inner.is_symlink() else inner.rmdir()
    for name in (*ROOTS, MARK_FILE):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        folder.rmdir()


def irregular_folder(path: Path) -> str:
    """Name what has a path if it is not a folder: "a link", "a file", ...; "" also where nothing exists.

    Raises
    ------
    OSError
        When its status cannot be read.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return ""
    return "" if stat.S_ISDIR(mode) else kind_of(mode) or "a file"


def why_not_our_folder(folder: Path) -> str:
    """Return why a folder with one of our hidden names cannot have been made by this user's job; "" if it can."""
    status = folder.lstat()
    if kind := irregular_folder(folder):
        return f"is {kind}"
    # The same rules as for files, except that this is a folder and has several links.
    as_file = os.stat_result((stat.S_IFREG | 0o600, *status[1:3], 1, *status[4:]))
    if reason := why_not_ours(as_file, folder.parent):
        return reason
    return "" if is_our_folder(folder) else "is not a half-written pixelwise map"


def check_store_target(path: Path) -> bool:
    """Refuse an output that is anything but a folder; return whether it exists.

    Raises
    ------
    OutputError
        When it is a file or a link, or its status cannot be read.
    """
    try:
        kind = irregular_folder(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
    if kind:
        raise OutputError(f"{path}: is {kind}, but a Zarr store is a folder; choose another output")
    return os.path.lexists(path)


class HiddenFolder:
    """A folder beside the output, under a hidden name, and locked: what a job writes is in it until it is complete.

    Parameters
    ----------
    path
        Its name.
    final
        The output that it belongs to, named in errors.
    """

    def __init__(self, path: Path, final: Path) -> None:
        self.path, self.final = path, final
        self._file: BinaryIO | None = None

    def open(self, map_: Path, *, resumed: bool) -> None:
        """Create or take over the folder, lock it, and mark it as belonging to a map.

        Unless an earlier run is `resumed`, whatever is in it goes.

        Raises
        ------
        OutputError
            When it is not ours, cannot be written, or is written by another run.
        """
        try:
            with contextlib.suppress(FileExistsError):
                self.path.mkdir()
            if reason := why_not_our_folder(self.path):
                raise OutputError(
                    f"{self.final}: {self.path.name} beside it {reason}; remove it, or choose another output"
                )
            file = open_locked(self.path / MARK_FILE, self.final)
        except OSError as error:
            raise refusal(f"{self.final}: {self.path.name} beside it cannot be written", error) from None
        self._file = file
        try:
            # What describes the whole is written when it is complete.
            for name in ROOTS:
                (self.path / name).unlink(missing_ok=True)
            if not resumed:
                self.empty()
            file.seek(0)
            write(file, mark(map_, self.final))
            file.truncate()
        except OSError as error:
            raise refusal(f"{self.final}: cannot be created", error) from None

    def empty(self) -> None:
        """Remove what is in the folder, except its mark; OSError where that fails."""
        for inner in self.path.iterdir():
            if inner.is_dir() and not inner.is_symlink():
                remove_tree(inner)
            elif inner.name != MARK_FILE:
                inner.unlink()

    @property
    def in_place(self) -> bool:
        """Whether the folder of this name is the one that was opened."""
        if self._file is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), (self.path / MARK_FILE).lstat())
        except OSError:
            return False

    def close(self, *, keep: bool) -> None:
        """Unlock the folder, and remove it, if it still has this name, unless another run is to resume."""
        if self._file is None:
            return
        try:
            if not keep and self.in_place:
                with contextlib.suppress(OSError):
                    remove_tree(self.path)
        finally:
            close(self._file)
            self._file = None


@dataclass(frozen=True)
class PendingInFolder(PendingFile):
    """A file that is made in a hidden folder beside its final name, together with what it is made of."""

    @classmethod
    def of(cls, final: Path) -> PendingInFolder:
        """Return the names of a file."""
        folder = final.with_name(f".{final.name}{PARTIAL}")
        check_length(final, folder)
        return cls(final, folder / final.name)

    @property
    def folder(self) -> Path:
        """The hidden folder."""
        return self.temporary.parent

    def tidy(self) -> None:
        """Remove what was replaced, and the hidden folder."""
        super().tidy()
        _remove_if_ours(self.folder)


@dataclass(frozen=True)
class PendingStore:
    """A store under its temporary name: in the final folder, but hidden; see `Pending`.

    Raises
    ------
    OutputError
        When the names needed beside the final one are too long.
    """

    final: Path

    def __post_init__(self) -> None:
        check_length(self.final, self.aside)

    @property
    def temporary(self) -> Path:
        """Its name until it is complete."""
        return self.final.with_name(f".{self.final.stem}{PARTIAL}{self.final.suffix}")

    @property
    def aside(self) -> Path:
        """Where a store is kept while it is replaced: a folder takes two renames."""
        return self.final.with_name(f".{self.final.stem}{PARTIAL}{REPLACED}{self.final.suffix}")

    def seal(self) -> Seal:
        """Return what distinguishes the complete store from others: size and checksum of its description."""
        return _seal(self.temporary)

    def is_waiting(self, seal: Seal) -> bool:
        """Whether a store sealed by an earlier run still lacks its final name.

        Raises
        ------
        OutputError
            When it has neither name.
        """
        return still_hidden(self.temporary, self.final, lambda path: not irregular_folder(path) and _seal(path) == seal)

    def check_beside(self, *, overwrite: bool) -> None:
        """Refuse anything of others under our hidden name.

        Raises
        ------
        OutputError
            When there is any.
        """
        if not os.path.lexists(self.aside):
            return
        if reason := why_not_our_folder(self.aside):
            raise OutputError(
                f"{self.final}: {self.aside.name} beside it {reason}; remove it, or choose another output"
            )

    def recover(self) -> None:
        """Give a store its name back if a job was killed between the two renames that replace it.

        Raises
        ------
        OutputError
            When what was set aside is not ours, or cannot be renamed.
        """
        if os.path.lexists(self.aside) and not os.path.lexists(self.final):
            self.check_beside(overwrite=True)
            restore(self.aside, self.final)

    def check_free(self, *, overwrite: bool) -> None:
        """Refuse a final name that has been taken since the job began.

        Raises
        ------
        OutputError
            When it has been.
        """
        if kind := irregular_folder(self.final):
            raise OutputError(f"{self.final}: is now {kind}; remove it, and run the same command again to resume")
        exists = os.path.lexists(self.final)
        if exists and not overwrite:
            raise OutputError(f"{self.final}: now exists; --overwrite replaces it with the map, which is complete")
        if exists and not is_our_store(self.final):
            raise OutputError(f"{self.final}: is now another folder; remove it, and run the same command again")

    def replace(self, back: list[tuple[Path, Path]], *, alone: bool) -> None:
        """Give the store its name, and record at each step how to undo it."""
        if os.path.lexists(self.final):
            if os.path.lexists(self.aside):
                # Of an earlier run that was killed after it had given the store its name.
                remove_tree(self.aside)
            self.final.replace(self.aside)
            back.append((self.aside, self.final))
        (self.temporary / MARK_FILE).unlink(missing_ok=True)
        self.temporary.replace(self.final)
        back.append((self.final, self.temporary))

    def tidy(self) -> None:
        """Remove the store that was replaced."""
        _remove_if_ours(self.aside)


def _remove_if_ours(folder: Path) -> None:
    """Remove a folder that is not needed any more; a failure must not hide that everything is complete."""
    with contextlib.suppress(OSError):
        if os.path.lexists(folder) and not why_not_our_folder(folder):
            remove_tree(folder)


def _seal(store: Path) -> Seal:
    root = root_of(store)
    if root is None:
        raise InputError(f"{store}: is not a Zarr store")
    with open_regular(root) as file:
        content = file.read()
    return Seal(len(content), zlib.crc32(content))


def files_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return all files in a folder, and all folders, the innermost first and the folder itself last."""
    files: list[Path] = []
    folders: list[Path] = []
    for path, _, names in os.walk(folder, topdown=False):
        files += [Path(path, name) for name in names]
        folders.append(Path(path))
    return files, folders

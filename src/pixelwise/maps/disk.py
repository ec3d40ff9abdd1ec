"""Files written step by step: locked, appended to, and flushed to disk in the background."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from pixelwise.errors import RESOURCES, OutputError, PixelwiseError, ResourceError
from pixelwise.regular_files import LINK, NO_FOLLOW, SAFELY, IrregularError, irregular, kind_of, open_checked

__all__ = [
    "BackgroundSync",
    "NotOursError",
    "append",
    "check_folder",
    "check_target",
    "close",
    "create",
    "drop",
    "has_name",
    "is_blank",
    "lock",
    "open_locked",
    "open_ours",
    "refusal",
    "remove",
    "sync",
    "why_not_ours",
    "write",
]

log = logging.getLogger(__name__)


def refusal(what: str, error: OSError) -> PixelwiseError:
    """Return the error for an output that the system refused to write.

    Parameters
    ----------
    what
        Which output it is and what failed, without the reason, which is added.
    error
        The system's error.
    """
    if error.errno in RESOURCES:
        return ResourceError(f"{what} ({error.strerror}); free some space, and run the same command again to resume")
    return OutputError(f"{what} ({error.strerror})")


#: `pixelwise clean` locks leftovers while it checks them: a job that starts then waits this many seconds.
LOCK_SECONDS, LOCK_PAUSE = 2.0, 0.02

#: How many bytes of a file are checked for anything but zeros.
BLANK_BYTES = 64 << 10


def check_folder(path: Path) -> None:
    """Refuse a file whose folder is missing or cannot be written.

    Raises
    ------
    OutputError
        When either is the case.
    """
    folder = path.parent
    try:
        exists = folder.is_dir()
    except OSError as error:  # the name is too long
        raise OutputError(f"{path}: the folder {folder}: {error.strerror}") from None
    if not exists:
        raise OutputError(f"{path}: the folder {folder} does not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: the folder {folder} is not writable")


def check_target(path: Path) -> bool:
    """Refuse an output that is anything but a file; return whether it exists.

    Raises
    ------
    OutputError
        When it is a link, which would be replaced or followed, changing a file that the user did not name; when it is a
        folder, FIFO, device or socket; or when its status cannot be read.
    """
    try:
        kind = irregular(path)
        if kind == LINK:
            raise OutputError(f"{path}: is a link to {path.readlink()}; name that file instead, or remove the link")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
    if kind:
        raise OutputError(f"{path}: is {kind}; choose another output")
    return os.path.lexists(path)


class NotOursError(Exception):
    """Why a file with one of our hidden names cannot come from a job of this user."""


def why_not_ours(status: os.stat_result, folder: Path, *, linked: bool = False) -> str:
    """Return why a file with one of our hidden names cannot have been made by this user's job; "" if it can.

    In a folder that others can write to, such a file may be a trap: a second name of somebody else's file, which only
    the old map may have (`linked`), or tiles computed by somebody else.
    """
    if kind := kind_of(status.st_mode):
        return f"is {kind}"
    if status.st_nlink > 1 and not linked:
        return "is one of several names of a file (a hard link)"
    # On some network disks all files belong to one user: then new files do too.
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid() and status.st_uid != _owner_of_new_files(folder):
        return f"belongs to another user (uid {status.st_uid})"
    return ""


def _owner_of_new_files(folder: Path) -> int:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_uid
    except OSError:
        return os.geteuid()


def create(path: Path) -> BinaryIO:
    """Create a file and open it for reading and writing, unbuffered.

    Raises
    ------
    OSError
        When it cannot be created, or the name exists, even as a dangling link.
    """
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFELY | NO_FOLLOW, 0o666), "r+b", buffering=0)


def open_ours(path: Path, *, linked: bool = False) -> BinaryIO:
    """Open a file made by this user's job for reading and writing, unbuffered.

    Raises
    ------
    NotOursError
        When it cannot have been; see `why_not_ours`.
    OSError
        When it cannot be opened.
    """
    try:
        file = open_checked(path, own=True)
    except IrregularError as error:
        raise NotOursError(str(error)) from None
    try:
        reason = why_not_ours(os.fstat(file.fileno()), path.parent, linked=linked)
        if reason:
            raise NotOursError(reason)
    except BaseException:
        close(file)
        raise
    return file


def _open_or_make(path: Path, output: Path) -> BinaryIO:
    """Open a file made by this user's job, or create it; FileNotFoundError if it vanishes in between."""
    with contextlib.suppress(FileExistsError):
        return create(path)
    try:
        return open_ours(path)
    except NotOursError as error:
        remedy = (
            ", which is not followed; remove it"
            if str(error) == f"is {LINK}"
            else "; remove it, or choose another output"
        )
        raise OutputError(f"{output}: {path.name} beside it {error}{remedy}") from None


def open_locked(path: Path, output: Path) -> BinaryIO:
    """Open a file for reading and writing, creating it if needed, and lock it for this file object alone.

    The system releases the lock when this process ends, however it ends. An existing file must be a regular file of
    this user without other names.

    Parameters
    ----------
    path
        The file.
    output
        The output that it belongs to, named in errors.

    Raises
    ------
    OutputError
        When it cannot be written or locked, or another run holds the lock.
    """
    patience = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            file = _open_or_make(path, output)
        except FileNotFoundError:
            if path.parent.is_dir():  # the run that held the lock has just removed the file
                continue
            raise OutputError(f"{output}: the folder {path.parent} does not exist") from None
        except OSError as error:
            raise refusal(f"{output}: {path.name} beside it cannot be written", error) from None
        try:
            lock(file)
        except BlockingIOError:
            close(file)
            if time.monotonic() < patience:
                time.sleep(LOCK_PAUSE)
                continue
            reason = f"another run is writing it (it holds {path.name}); wait, or choose another output"
            raise OutputError(f"{output}: {reason}") from None
        except OSError as error:
            close(file)
            reason = f"{path.name} beside it cannot be locked ({error.strerror}); write to a local disk"
            raise OutputError(f"{output}: {reason}") from None
        # Meanwhile, the run that held the lock may have ended and removed the file just opened.
        if has_name(file, path):
            return file
        close(file)


def lock(file: BinaryIO) -> None:
    """Lock a file for this file object alone.

    Raises
    ------
    BlockingIOError
        When another process or file object has locked it.
    OSError
        When it cannot be locked.
    """
    try:
        if os.name == "nt":
            import msvcrt

            # Far beyond the data: Windows lets nobody read locked bytes.
            file.seek(1 << 62)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            file.seek(0)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            raise BlockingIOError(errno.EAGAIN, error.strerror) from None
        raise


def write(file: BinaryIO, data: bytes) -> None:
    """Write all of `data` to an unbuffered file, which may accept it in parts; OSError on failure."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def append(file: BinaryIO, data: bytes, end: int) -> int:
    """Write `data` after the first `end` bytes of an unbuffered file, all or nothing; return where it ends.

    Raises
    ------
    OSError
        When the disk is full or fails; the file is then cut back to `end`.
    """
    file.seek(end)
    try:
        write(file, data)
    except BaseException:
        with contextlib.suppress(OSError):
            file.truncate(end)
        raise
    return end + len(data)


def sync(path: Path) -> None:
    """Flush a file or folder to disk; folders cannot be synced on Windows."""
    if os.name == "nt" and path.is_dir():
        return
    # Windows syncs only files opened for writing; folders can be opened only for reading, and may be links.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | SAFELY | NO_FOLLOW)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems (CIFS, FUSE) cannot sync folders.
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def close(file: BinaryIO) -> None:
    """Close a file whose important data is synced: an error no longer matters, and must not hide an earlier one."""
    with contextlib.suppress(OSError):
        file.close()


def remove(path: Path) -> None:
    """Remove a file that is no longer needed; a failure is logged, but does not hide an earlier error."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if os.name != "nt":  # there another run may have it open
            log.warning("%s cannot be removed (%s)", path, error.strerror)


def has_name(file: BinaryIO, path: Path) -> bool:
    """Whether a name still refers to an open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except OSError:
        return False


def is_blank(file: BinaryIO) -> bool:
    """Whether a file is empty or begins with zeros, as after a power failure, so that its origin is unknown.

    Moves the file position. OSError if it cannot be read.
    """
    file.seek(0)
    return not file.read(BLANK_BYTES).strip(b"\0")


def drop(file: BinaryIO, path: Path) -> None:
    """Close a locked file and remove it, unless its name refers to another file by now.

    It is removed while still locked, because the next run creates its own.
    """
    own = has_name(file, path)
    if os.name == "nt":  # open files cannot be removed there; another run may hold the file by now
        close(file)
    if own:
        remove(path)
    close(file)


class BackgroundSync:
    """Flushes files to disk in a thread of its own.

    Parameters
    ----------
    name
        The name to give in errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="pixelwise-sync")
        self._running: list[Future[None]] = []

    @property
    def idle(self) -> bool:
        """Whether everything started has finished."""
        return all(future.done() for future in self._running)

    def start(self, paths: Iterable[Path]) -> None:
        """Start flushing some files once earlier ones have finished.

        Raises
        ------
        OutputError
            When one of the earlier files could not be flushed to disk.
        """
        self.wait()
        self._running = [self._pool.submit(sync, path) for path in paths]

    def wait(self) -> None:
        """Wait for the files being flushed; the system reports an error only once, so every result must be checked.

        Raises
        ------
        OutputError
            When a file could not be flushed to disk.
        """
        running, self._running = self._running, []
        try:
            for future in running:
                future.result()
        except OSError as error:
            raise refusal(f"{self._name}: cannot be flushed to disk", error) from None

    def close(self) -> None:
        """Wait without checking for errors, and end the thread."""
        self._pool.shutdown(cancel_futures=True)

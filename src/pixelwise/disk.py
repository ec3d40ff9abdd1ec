"""Files that are written bit by bit: locked, appended to, and brought to disk beside other work."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from pixelwise.errors import OutputError, PixelwiseError, ResourceError
from pixelwise.regular import KINDS

__all__ = [
    "BackgroundSync",
    "append",
    "check_encodable",
    "check_folder",
    "close",
    "create",
    "drop",
    "has_name",
    "irregular",
    "lock",
    "open_locked",
    "open_safely",
    "refusal",
    "remove",
    "sync",
    "why_not_ours",
    "write",
]

log = logging.getLogger("pixelwise")

#: What runs out: room, quota, open files, memory.
RESOURCES = (
    errno.ENOSPC,
    getattr(errno, "EDQUOT", errno.ENOSPC),
    errno.EFBIG,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
)


def refusal(what: str, error: OSError) -> PixelwiseError:
    """Return the error for an output that the system refuses to write.

    Parameters
    ----------
    what
        Which output, and what cannot be done with it: without the reason, which is added.
    error
        What the system said.
    """
    if error.errno in RESOURCES:
        return ResourceError(f"{what} ({error.strerror}); make room, and run the same command again to resume")
    return OutputError(f"{what} ({error.strerror})")


#: `pixelwise clean` locks what a stopped job left while it looks at it: a job that starts then waits so long.
LOCK_TRIES, LOCK_SECONDS = 10, 0.02

#: Opening follows no link and waits for nobody; what was opened is looked at before it is used.
SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
BINARY = getattr(os, "O_BINARY", 0)


def check_encodable(path: Path) -> None:
    """Refuse a path that GDAL cannot be told.

    Raises
    ------
    OutputError
        When it is not UTF-8, or holds a NUL.
    """
    try:
        text = str(path).encode()
    except UnicodeEncodeError:
        raise OutputError(f"{path}: the path is not UTF-8, and GDAL takes no other; choose another output") from None
    if b"\0" in text:
        raise OutputError(f"{path}: the path holds a NUL character; choose another output")


def check_folder(path: Path) -> None:
    """Refuse a file whose folder is missing or cannot be written.

    Raises
    ------
    OutputError
        As said.
    """
    folder = path.parent
    try:
        exists = folder.is_dir()
    except OSError as error:  # a name of it is too long
        raise OutputError(f"{path}: the folder {folder}: {error.strerror}") from None
    if not exists:
        raise OutputError(f"{path}: the folder {folder} does not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: the folder {folder} is not writable")


def irregular(path: Path) -> str:
    """Say what stands under a name instead of a regular file: "a link", "a FIFO", ...; "" also where nothing does.

    Raises
    ------
    OSError
        When it cannot be looked at: its name is too long, say.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return ""
    return _kind(mode)


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return ""
    return "a link" if stat.S_ISLNK(mode) else KINDS.get(stat.S_IFMT(mode), "no regular file")


def why_not_ours(status: os.stat_result, folder: Path, *, linked: bool = False) -> str:
    """Say why a file that has one of our hidden names cannot have been made by this user's job; "" if it can.

    In a folder that others write to, whatever has that name may be a trap: a second name of somebody's file, which only
    the old map may have (`linked`), or tiles that somebody else computed.
    """
    if kind := _kind(status.st_mode):
        return f"is {kind}"
    if status.st_nlink > 1 and not linked:
        return "is one of several names of a file (a hard link)"
    # Where all files belong to one user, as on some network disks, so do those that are made now.
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
    """Make a new file and open it for reading and writing, unbuffered.

    Raises
    ------
    OSError
        When it cannot be made, or anything of that name exists: also a link that leads nowhere.
    """
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFELY | BINARY, 0o666), "r+b", buffering=0)


def open_safely(path: Path) -> BinaryIO:
    """Open a file for reading and writing, unbuffered; links are not followed, and nothing is waited for.

    What it is must be looked at before, since devices must not even be opened, and once it is open.
    """
    return os.fdopen(os.open(path, os.O_RDWR | SAFELY | BINARY), "r+b", buffering=0)


def _open_ours(path: Path, output: Path) -> BinaryIO:
    """Open a file that this user's job made, or make it; FileNotFoundError where it vanishes meanwhile."""
    with contextlib.suppress(FileExistsError):
        return create(path)
    # Not every system can refuse links while opening.
    reason = f"is {kind}" if (kind := irregular(path)) else ""
    if not reason:
        file = open_safely(path)
        try:
            reason = why_not_ours(os.fstat(file.fileno()), path.parent)
        except BaseException:
            close(file)
            raise
        if not reason:
            return file
        close(file)
    reason += ", which is not followed; remove it" if reason == "is a link" else "; remove it, or choose another output"
    raise OutputError(f"{output}: {path.name} beside it {reason}")


def open_locked(path: Path, output: Path) -> BinaryIO:
    """Open a file for reading and writing, made where it is missing, and lock it for this open file alone.

    The system unlocks it when this process ends, however it ends. One that exists must be a regular file of this user,
    with no other name.

    Parameters
    ----------
    path
        The file.
    output
        What it is written for, which errors name.

    Raises
    ------
    OutputError
        When it cannot be written or locked, or another run holds it.
    """
    tries = 0
    while True:
        try:
            file = _open_ours(path, output)
        except FileNotFoundError:
            if path.parent.is_dir():  # the run that held it has just removed it
                continue
            raise OutputError(f"{output}: the folder {path.parent} does not exist") from None
        except OSError as error:
            raise refusal(f"{output}: {path.name} beside it cannot be written", error) from None
        try:
            lock(file)
        except OSError as error:
            close(file)
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                reason = f"{path.name} beside it cannot be locked ({error.strerror}); write to a local disk"
            elif tries < LOCK_TRIES:
                tries += 1
                time.sleep(LOCK_SECONDS)
                continue
            else:
                reason = f"another run is writing it (it holds {path.name}); wait, or choose another output"
            raise OutputError(f"{output}: {reason}") from None
        # The run that held it may have ended, and removed what was just opened, in between.
        if has_name(file, path):
            return file
        close(file)


def lock(file: BinaryIO) -> None:
    """Lock a file for this open file alone, or raise OSError where somebody else has."""
    if os.name == "nt":
        import msvcrt

        # Far behind the data: Windows lets nobody read what is locked.
        file.seek(1 << 62)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        file.seek(0)
        return
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def write(file: BinaryIO, data: bytes) -> None:
    """Write all of `data` to an unbuffered file, which may take it in parts; OSError where it cannot."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def append(file: BinaryIO, data: bytes, end: int) -> int:
    """Write `data` behind the first `end` bytes of an unbuffered file, all or nothing; return where it ends.

    Raises
    ------
    OSError
        When the disk is full or fails; then the file ends there.
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
    """Bring a file or folder to disk; folders cannot be synced on Windows."""
    if os.name == "nt" and path.is_dir():
        return
    # Windows syncs only what may be written; folders open for reading only, and may be links.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | SAFELY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems (CIFS, FUSE) have no such thing for folders.
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def close(file: BinaryIO) -> None:
    """Close a file of which all that counts was synced: an error now says nothing, and must hide none before."""
    with contextlib.suppress(OSError):
        file.close()


def remove(path: Path) -> None:
    """Remove what nobody needs any more; where that fails, it is said, but hides no error that came before."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if os.name != "nt":  # there another run may have it open
            log.warning("%s cannot be removed (%s)", path, error.strerror)


def has_name(file: BinaryIO, path: Path) -> bool:
    """Whether a name is still that of an open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except OSError:
        return False


def drop(file: BinaryIO, path: Path) -> None:
    """Close a locked file and remove it, unless its name is another file's by now.

    It is removed while it is locked, as the next run makes its own.
    """
    own = has_name(file, path)
    if os.name == "nt":  # open files cannot be removed there; another run may hold them by now
        close(file)
    if own:
        remove(path)
    close(file)


class BackgroundSync:
    """Brings files to disk in a thread of its own.

    Parameters
    ----------
    name
        What an error names.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="pixelwise-sync")
        self._running: list[Future[None]] = []

    @property
    def idle(self) -> bool:
        """Whether all that was begun has ended."""
        return all(future.done() for future in self._running)

    def start(self, paths: Iterable[Path]) -> None:
        """Begin with some files, once those before have ended.

        Raises
        ------
        OutputError
            When one of those before could not be brought to disk.
        """
        self.wait()
        self._running = [self._pool.submit(sync, path) for path in paths]

    def wait(self) -> None:
        """Wait for what was begun; the system tells an error once, so each must be looked at.

        Raises
        ------
        OutputError
            When it could not be brought to disk.
        """
        running, self._running = self._running, []
        try:
            for future in running:
                future.result()
        except OSError as error:
            raise refusal(f"{self._name}: cannot be brought to disk", error) from None

    def close(self) -> None:
        """Wait without looking, and end the thread."""
        self._pool.shutdown(cancel_futures=True)

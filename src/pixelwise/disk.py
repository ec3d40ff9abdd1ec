"""Files that are written bit by bit: locked, appended to, and brought to disk beside other work."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from pixelwise.errors import OutputError, PixelwiseError, ResourceError

__all__ = ["BackgroundSync", "append", "close", "drop", "lock", "open_locked", "refusal", "remove", "sync", "write"]

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
        return ResourceError(f"{what} ({error.strerror}); make room and start the same command again: it goes on")
    return OutputError(f"{what} ({error.strerror})")


def open_locked(path: Path, output: Path) -> BinaryIO:
    """Open a file for reading and writing, made where it is missing, and lock it for this open file alone.

    The system unlocks it when this process ends, however it ends.

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
    while True:
        try:
            # A link of that name would lead to somebody's file; not every system can refuse it while opening.
            if path.is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            file = os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise OutputError(
                    f"{output}: {path.name} beside it is a link, which is not followed; remove it"
                ) from None
            raise refusal(f"{output}: {path.name} beside it cannot be written", error) from None
        try:
            lock(file)
        except OSError as error:
            close(file)
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                reason = f"{path.name} beside it cannot be locked ({error.strerror}); write to a local disk"
            else:
                reason = f"another run is writing it (it holds {path.name}); wait, or choose another output"
            raise OutputError(f"{output}: {reason}") from None
        # The run that held it may have ended, and removed what was just opened, in between.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.lstat()):
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
    # Windows syncs only what may be written; folders open for reading only.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
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


def drop(file: BinaryIO, *paths: Path) -> None:
    """Close a locked file, and remove it and what belongs to it: while it is locked, as the next run makes its own."""
    if os.name == "nt":  # open files cannot be removed there; another run may hold them by now
        close(file)
    for path in paths:
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

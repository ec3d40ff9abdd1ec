"""Bringing what was written to disk, beside other work."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from pixelwise.errors import OutputError

__all__ = ["BackgroundSync", "sync"]


def sync(path: Path) -> None:
    """Bring a file or folder to disk; folders cannot be synced on Windows."""
    if os.name == "nt" and path.is_dir():
        return
    # Windows syncs only what may be written; folders open for reading only.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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

    def start(self, *paths: Path) -> None:
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
            raise OutputError(f"{self._name}: cannot be brought to disk ({error.strerror})") from None

    def close(self) -> None:
        """Wait without looking, and end the thread."""
        self._pool.shutdown(cancel_futures=True)

"""Numbers that are needed for a while, and are too many for memory."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ResourceError
from pixelwise.maps.disk import refusal, write

__all__ = ["Numbers"]

#: Bytes that stay in memory: a map of 1000 x 1000 pixels needs no file.
IN_MEMORY = 8 << 20


class Numbers:
    """A row of numbers of one type in a file without a name, which the system removes however the process ends.

    Any thread may read and write it.

    Parameters
    ----------
    count
        How many numbers there are; none is defined before it is written.
    dtype
        Their type.
    folder
        Where the file is; None for the system's folder of temporary files.

    Raises
    ------
    OutputError, ResourceError
        When the file cannot be created; `read` and `write` raise the same when the disk is full or fails.
    """

    def __init__(self, count: int, dtype: np.dtype[Any], folder: Path | None) -> None:
        self.count = count
        self.dtype = dtype
        size = count * dtype.itemsize
        self._lock = Lock()
        self._what = f"{folder or tempfile.gettempdir()}: a temporary file of {size / 1e9:.1f} GB"
        self._file: BinaryIO
        if size <= IN_MEMORY:
            self._file = io.BytesIO()
            return
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise refusal(f"{self._what} cannot be created", error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        self.close()

    def read(self, start: int, count: int) -> NDArray[Any]:
        """Return `count` numbers from the one with index `start` on."""
        found = np.empty(count, dtype=self.dtype)
        self.read_into(start, found)
        return found

    def read_into(self, start: int, found: NDArray[Any]) -> None:
        """Fill an array with the numbers from the one with index `start` on."""
        rest = found.view(np.uint8).data
        with self._lock:
            self._file.seek(start * self.dtype.itemsize)
            while rest:
                try:
                    size = self._file.readinto(rest)  # type: ignore[attr-defined]
                except OSError as error:
                    raise refusal(f"{self._what} cannot be read", error) from None
                if not size:
                    raise ResourceError(f"{self._what} was truncated while it was in use; run the same command again")
                rest = rest[size:]

    def write(self, start: int, values: NDArray[Any]) -> None:
        """Write numbers, the first at index `start`."""
        data = np.ascontiguousarray(values, dtype=self.dtype).reshape(-1).view(np.uint8).data
        with self._lock:
            try:
                self._file.seek(start * self.dtype.itemsize)
                write(self._file, data)  # type: ignore[arg-type]
            except OSError as error:
                raise refusal(f"{self._what} cannot be written", error) from None

    def close(self) -> None:
        """Give the memory or the disk back."""
        self._file.close()

"""Memory to decode blocks of files in, which each thread reuses: touching fresh pages is expensive."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

__all__ = ["buffers", "release_buffers"]


class _Buffers:
    """Memory that a thread reuses for each window."""

    def __init__(self) -> None:
        from pixelwise.kernels.tiff import lzw_strings

        self.strings = lzw_strings()
        self._data = np.empty(0, dtype=np.uint8)
        self._decoded = np.empty(0, dtype=np.uint8)
        self._rows = np.empty((2, 0), dtype=np.uint8)

    def data(self, size: int) -> NDArray[np.uint8]:
        """Return memory for at least this many bytes of a file."""
        if self._data.size < size:
            self._data = np.empty(size, dtype=np.uint8)
        return self._data

    def decoded(self, size: int) -> NDArray[np.uint8]:
        """Return memory for a decoded block of this many bytes, behind the literals."""
        from pixelwise.kernels.tiff import LITERALS, SLACK

        if self._decoded.size < LITERALS + size + SLACK:
            self._decoded = np.empty(-(-(LITERALS + size + SLACK) // 8) * 8, dtype=np.uint8)
            self._decoded[:LITERALS] = np.arange(LITERALS)
        return self._decoded

    def rows(self, size: int) -> NDArray[np.uint8]:
        """Return memory for two rows of exactly this many bytes."""
        if self._rows.shape[1] != size:
            self._rows = np.empty((2, size), dtype=np.uint8)
        return self._rows


_THREAD = threading.local()


def buffers() -> _Buffers:
    """Return the buffers of this thread."""
    try:
        found: _Buffers = _THREAD.buffers
    except AttributeError:
        found = _THREAD.buffers = _Buffers()
    return found


def release_buffers() -> None:
    """Release this thread's buffers."""
    _THREAD.__dict__.clear()

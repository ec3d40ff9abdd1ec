"""Where the bytes of a file come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["ByteSource", "LocalBytes"]


class ByteSource(Protocol):
    """Where the bytes of a file come from: a local file or a server; for one thread at a time."""

    @property
    def gap(self) -> int:
        """Bytes between two ranges that are read with them, rather than the ranges apart."""

    def read_ranges(self, ranges: Sequence[tuple[int, int]], out: NDArray[np.uint8]) -> bool:
        """Read ranges into memory, one after the other; return whether the file has all of them."""

    def close(self) -> None:
        """Close it."""


@dataclass(frozen=True, eq=False)
class LocalBytes:
    """A local file, open and unbuffered: every read is one system call for whole blocks."""

    file: BinaryIO
    gap: int = 0

    def read_ranges(self, ranges: Sequence[tuple[int, int]], out: NDArray[np.uint8]) -> bool:
        """Read ranges into memory, one after the other; return whether the file has all of them."""
        place = 0
        for begin, end in ranges:
            self.file.seek(begin)
            size = end - begin
            if self.file.readinto(out[place : place + size].data) != size:  # type: ignore[attr-defined]
                return False
            place += size
        return True

    def close(self) -> None:
        """Close the file."""
        self.file.close()

"""Size and modification time of files, to check later whether they are still the same."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

__all__ = ["FileStamp"]


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What a file's size and modification time were at one moment.

    Attributes
    ----------
    size
        Bytes.
    mtime_ns
        When it was modified, in nanoseconds since 1970.
    """

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the stamp of a file as it is now, links followed.

        Raises
        ------
        OSError
            When it cannot be looked at.
        """
        return cls.from_status(path.stat())

    @classmethod
    def from_status(cls, status: os.stat_result) -> Self:
        """Return the stamp of a file that was looked at already."""
        return cls(status.st_size, status.st_mtime_ns)

    def difference(self, now: FileStamp) -> str:
        """Say how a file that had this stamp has changed; an empty text where it has not."""
        if now.size != self.size:
            return f"{self.size} bytes then, now {now.size}"
        if now.mtime_ns != self.mtime_ns:
            was, is_ = (datetime.fromtimestamp(stamp.mtime_ns / 1e9, UTC) for stamp in (self, now))
            return f"modified {was:%Y-%m-%d %H:%M:%S}, now {is_:%Y-%m-%d %H:%M:%S} UTC"
        return ""

"""Size and modification time of files, to check later whether they are still the same; of files on servers, ETags."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

__all__ = ["FileStamp", "RemoteStamp", "Stamp"]


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
        """Return the stamp of a file as it is now, links followed; of a folder, that of all files in it together.

        Raises
        ------
        OSError
            When it cannot be looked at.
        """
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            return cls.from_status(status)
        size, latest, below = 0, 0, [os.fspath(path)]
        while below:
            with os.scandir(below.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        below.append(entry.path)
                    elif not entry.is_dir():  # a link to a folder may lead back here
                        status = entry.stat()
                        size, latest = size + status.st_size, max(latest, status.st_mtime_ns)
        return cls(size, latest)

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


@dataclass(frozen=True, slots=True)
class RemoteStamp:
    """What a server said of a file when its header was read.

    Attributes
    ----------
    size
        Bytes.
    etag
        What names this version of the file; empty where the server has no such names.
    modified
        When it was modified, in ISO 8601.
    """

    size: int
    etag: str
    modified: str

    def difference(self, now: RemoteStamp) -> str:
        """Say how a file that had this stamp has changed; an empty text where it has not."""
        if now.size != self.size:
            return f"{self.size} bytes then, now {now.size}"
        if self.etag or now.etag:
            return "" if now.etag == self.etag else f"ETag {self.etag or 'none'} then, now {now.etag or 'none'}"
        return "" if now.modified == self.modified else f"modified {self.modified}, now {now.modified}"


#: What distinguishes versions of a file.
Stamp = FileStamp | RemoteStamp

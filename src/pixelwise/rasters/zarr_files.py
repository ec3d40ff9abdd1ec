"""Zarr stores on disk of which only regular files are read: a store of a stranger may hold a FIFO, and wait forever.

Imports zarr, so that it is imported only where a store is read.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import zarr

from pixelwise.regular_files import kind_of

__all__ = ["RegularFiles"]


class RegularFiles(zarr.storage.LocalStore):  # type: ignore[misc]
    """A folder as a store, read only; what is not a regular file is an error. Links are followed.

    Parameters
    ----------
    root
        The folder: a path, not a URL, so that nothing of the network is opened.
    """

    def __init__(self, root: Path | str, *, read_only: bool = True) -> None:
        super().__init__(Path(root), read_only=read_only)

    async def get(self, key: str, *args: Any, **options: Any) -> Any:
        """Return what a key holds, None if it is not there; OSError if that is not a regular file."""
        try:
            mode = (self.root / key).stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(mode):
            raise OSError(f"{key} is {kind_of(mode)}; expected a file")
        return await super().get(key, *args, **options)

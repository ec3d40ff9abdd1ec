"""Zarr stores on disk of which only regular files are read: a store of a stranger may hold a FIFO, and wait forever.

Imports zarr, so that it is imported only where a store is read.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import zarr

from pixelwise.regular_files import kind_of

__all__ = ["RegularFiles"]

#: Names of files with metadata, which name codecs.
METADATA = (".zarray", ".zmetadata", "zarr.json")


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
        found = await super().get(key, *args, **options)
        if found is not None and key.rpartition("/")[2] in METADATA:
            _refuse_pickles(key, found.to_bytes())
        return found


def _refuse_pickles(key: str, metadata: bytes) -> None:
    """Refuse metadata that name the codec pickle: what it decodes is code, which numcodecs runs."""
    if b"pickle" not in metadata:
        return
    level: list[Any] = [json.loads(metadata)]
    while level:
        one = level.pop()
        if isinstance(one, dict):
            names = (one.get("id"), one.get("name"))
            if any(isinstance(name, str) and name.rpartition(".")[2] == "pickle" for name in names):
                raise OSError(f"{key} names the codec pickle, which would run code of the store")
            level += one.values()
        elif isinstance(one, list):
            level += one

"""Zarr stores on servers, and on disk: of those only regular files are read, as a stranger's may hold a FIFO, and wait.

Imports zarr, so that it is imported only where a store is read.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import zarr

from pixelwise.rasters.remote import object_store, reason_of
from pixelwise.rasters.urls import Url
from pixelwise.regular_files import kind_of

__all__ = ["RegularFiles", "RemoteStore"]

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


class RemoteStore(zarr.storage.ObjectStore):  # type: ignore[misc]
    """A store on a server, read only, by the same requests as any file there.

    Parameters
    ----------
    url
        The folder that it is in.
    """

    def __init__(self, url: Url, *, read_only: bool = True) -> None:
        self._url = url
        super().__init__(object_store(url.scheme, url.host, folder=url.path), read_only=read_only)

    async def get(self, key: str, *args: Any, **options: Any) -> Any:
        """Return what a key holds, None if it is not there; OSError if the server does not say."""
        try:
            found = await super().get(key, *args, **options)
        except Exception as error:  # obstore's, whose texts hold answers of the server
            raise OSError(reason_of(self._url / key, error)) from None
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

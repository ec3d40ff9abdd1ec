"""Files on servers as GDAL opens them: through bytes that are fetched here, never by GDAL's own network drivers.

So GDAL's wall (`datasets.local_only`) stays shut, and one way of asking servers has the credentials, the retries and
the check that a file is still the same.
"""

from __future__ import annotations

import io
import warnings
import weakref
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, BinaryIO, cast

from rasterio._filepath import FilePathBase
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader

from pixelwise.errors import InputError
from pixelwise.rasters.datasets import GDAL_ERRORS, WARNINGS, allowed_drivers, check_texts, local_only
from pixelwise.rasters.remote import RemoteFile
from pixelwise.rasters.stamps import RemoteStamp
from pixelwise.rasters.streams import BlockTable
from pixelwise.rasters.urls import Url
from pixelwise.words import one_line

__all__ = ["RemoteDataset", "open_remote"]

#: Formats of one file that names no others.
DRIVERS = ("GTiff", "JP2OpenJPEG", "PNG", "JPEG")


class _View(io.RawIOBase):
    """A file as GDAL reads it: an error ends its bytes, and is kept to be raised where Python called GDAL."""

    #: rasterio asks this for another view of the file whenever GDAL opens it.
    path, mode = "", "rb"

    def __init__(self, file: RemoteFile) -> None:
        super().__init__()
        self._file, self._position = file, 0

    @property
    def fs(self) -> _View:
        """What opens another view."""
        return self

    def open(self, *_: Any) -> _View:
        """Return another view of the file."""
        return _View(self._file)

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def seekable(self) -> bool:
        """Whether its position can be set."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set the position."""
        self._position = offset + (0, self._position, self._file.stamp.size)[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return bytes from the position on; none after an error."""
        try:
            self._file.seek(self._position)
            found = self._file.read(size)
        except (InputError, OSError) as error:
            self._file.failures.append(error)
            return b""
        self._position += len(found)
        return found


class _Name(FilePathBase):  # type: ignore[misc]
    """The name by which GDAL opens a view; rasterio sets attributes of it."""


class RemoteDataset(DatasetReader):  # type: ignore[misc]
    """A dataset of GDAL over a file on a server; errors of the server are raised as they are."""

    def __init__(self, file: RemoteFile, drivers: list[str]) -> None:
        self.file = file
        name = _Name(_View(file))
        # A thread that ends drops its datasets, and rasterio keeps what it opened by name.
        self._forget = weakref.finalize(self, name.close)
        super().__init__(name.name, driver=drivers, sharing=False)

    @cached_property
    def blocks(self) -> BlockTable:
        """Where its blocks are, to fetch them before GDAL reads them one after the other."""
        return BlockTable.of(cast(BinaryIO, self.file))

    def opened(self) -> AbstractContextManager[BinaryIO]:
        """Lend the bytes of the file: what was fetched of them is not fetched again."""
        return nullcontext(cast(BinaryIO, self.file))

    def read(self, *args: Any, **options: Any) -> Any:
        """Read as from any dataset."""
        return self._checked(super().read, *args, **options)

    def read_masks(self, *args: Any, **options: Any) -> Any:
        """Read masks as from any dataset."""
        return self._checked(super().read_masks, *args, **options)

    def _checked(self, function: Any, *args: Any, **options: Any) -> Any:
        try:
            found = function(*args, **options)
        except GDAL_ERRORS:
            self.file.raise_failure()
            raise
        self.file.raise_failure()
        return found

    def close(self) -> None:
        """Close the dataset, and forget its bytes."""
        super().close()
        self._forget()
        self.file.close()


def open_remote(url: Url, stamp: RemoteStamp, drivers: list[str] | None = None) -> RemoteDataset:
    """Open a file on a server with GDAL.

    Parameters
    ----------
    url
        The file.
    stamp
        What the server said of it.
    drivers
        GDAL's names of drivers; all that read one file alone by default.

    Raises
    ------
    InputError
        When it cannot be read, or is not a raster of one file.
    """
    wanted = drivers or [driver for driver in DRIVERS if driver in allowed_drivers()]
    file = RemoteFile(url, stamp)
    try:
        with local_only():
            return _opened(file, wanted)
    except GDAL_ERRORS as error:
        reason = one_line(error).replace(str(url), "")
        raise InputError(
            f"{url}: not a raster that can be read from a server ({reason}); expected GeoTIFF or JPEG 2000"
        ) from None
    except OSError as error:
        raise InputError(f"{url}: cannot be read ({one_line(error)}); try again later") from None


def _opened(file: RemoteFile, drivers: list[str]) -> RemoteDataset:
    try:
        # rasterio warns where there is no georeferencing, which is checked here.
        with WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = RemoteDataset(file, drivers)
    except GDAL_ERRORS:
        file.raise_failure()
        raise
    try:
        file.raise_failure()
        if dataset.get_tag_item("OVERVIEW_FILE", "OVERVIEWS") is not None:
            raise InputError(f"{file.url}: names a file of its overviews, which is not opened")
        check_texts(dataset, file.url)
    except BaseException:
        dataset.close()
        raise
    return dataset

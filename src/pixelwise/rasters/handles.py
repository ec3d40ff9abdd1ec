"""Open files: each is opened once per thread, their number is bounded, and all are closed when a job ends."""

from __future__ import annotations

import errno
import math
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from pixelwise.errors import InputError, ResourceError
from pixelwise.rasters.arrays import open_window_source
from pixelwise.rasters.buffers import release_buffers
from pixelwise.rasters.checked import CheckedTiff, MaskedTiff, streams_of
from pixelwise.rasters.datasets import GDAL_ERRORS, WARNINGS, TextGrid, files_behind, local_only, open_again
from pixelwise.rasters.inflate import DamagedBlockError
from pixelwise.rasters.pieces import ArrayPlace, Loss, Piece, Warp
from pixelwise.rasters.remote import FETCHED, RemoteFile
from pixelwise.rasters.remote_datasets import open_remote
from pixelwise.rasters.stamps import FileStamp, RemoteStamp, Stamp
from pixelwise.rasters.streams import Streams, further_block, has_filled_strip, opener_of
from pixelwise.rasters.tiff import TiffFile, open_remote_tiff, open_tiff
from pixelwise.rasters.urls import Location, Url, local_path
from pixelwise.words import one_line

__all__ = [
    "ALL_OPEN_FILES",
    "CACHE_BYTES",
    "HANDLES",
    "OpenFiles",
    "fetch_directory",
    "file_limit",
    "is_head_known",
    "largest_behind",
    "reading",
    "reading_in_worker",
    "take_losses",
    "warm_up",
]


def take_losses() -> tuple[Loss, ...]:
    """Return, and forget, what this thread has failed to read since the last call."""
    losses = tuple(HANDLES.lost)
    HANDLES.lost.clear()
    return losses


#: What is opened: a file, warped or not, or an array of a file.
Key = tuple[Location, Warp | ArrayPlace | None]


class OpenFiles(OrderedDict[Key, tuple[Any, int]]):
    """Open files and when each was last used, for one thread at a time: GDAL allows no two per dataset."""

    __hash__ = object.__hash__  # type: ignore[assignment]
    #: Counts the blocks read.
    turn = 0
    #: The most files open at once, even if the process may open more.
    most = 65536

    def __init__(self) -> None:
        super().__init__()
        #: Files that only GDAL can read, even when they are reopened.
        self.by_gdal: set[Key] = set()
        #: Files of DEFLATE blocks whose masks GDAL reads.
        self.with_masks: set[Key] = set()
        #: Files with a window that could not be read even when retried.
        self.broken: set[Key] = set()

    @classmethod
    def of_at_most(cls, most: int) -> OpenFiles:
        """Return an empty collection that holds at most `most` open datasets."""
        open_files = cls()
        open_files.most = most
        return open_files

    def source(self, piece: Piece, *, gdal: bool = False) -> Any:
        """Return the open file of a piece; with `gdal`, one that GDAL reads.

        The process's limit is divided among all collections in use.
        """
        ALL_OPEN_FILES.add(self)
        share = max(min(file_limit() // max(len(ALL_OPEN_FILES), 1), self.most), 1)
        known = self.pop(piece.key, None)
        if gdal:
            deflate = known is not None and isinstance(known[0], TiffFile) and known[0].inflate is not None
            (self.with_masks if deflate else self.by_gdal).add(piece.key)
            if known is not None:
                known[0].close()
                known = None
        while len(self) >= share:
            self._close_one()
        if known is None:
            to_open = replace(piece, masked=True) if piece.key in self.with_masks else piece
            source = self.open(to_open, gdal=piece.key in self.by_gdal)
        else:
            source = known[0]
        self[piece.key] = source, self.turn
        return source

    def open(self, piece: Piece, *, gdal: bool) -> Any:
        """Open a file; if the process has too many files open, close some of these first.

        Raises
        ------
        InputError, ResourceError
            When it cannot be opened.
        """
        while True:
            try:
                return _open(piece, gdal=gdal)
            except GDAL_ERRORS as error:
                if not _handles_ran_out(piece.path):
                    reason = one_line(str(error).replace(f"{piece.path}: ", ""))
                    raise InputError(f"{piece.path}: cannot be opened ({reason})") from None
                if not len(self):
                    raise ResourceError(
                        f"{piece.path}: cannot be opened: this process may open no more files; raise the limit "
                        "(ulimit -n), and run the same command again to resume"
                    ) from None
                self._close_one()

    def _close_one(self) -> None:
        """Close the file that will be needed last.

        Every block needs the same files in the same order, so the one used last is needed last; closing the one used
        first would reopen every file for every block. Files not used lately belong to other parts of a mosaic.
        """
        _, turn = next(iter(self.values()))
        self.popitem(last=turn >= self.turn - 1)[1][0].close()

    def close(self) -> None:
        """Close all datasets."""
        while self:
            self.popitem()[1][0].close()
        self.by_gdal.clear()
        self.with_masks.clear()
        self.broken.clear()
        # The limit came from a job that ran in this thread.
        self.most = type(self).most
        ALL_OPEN_FILES.discard(self)


def _handles_ran_out(path: Location) -> bool:
    """Whether no file at all can be opened now; GDAL does not say why an attempt failed."""
    if isinstance(path, Url):
        return False
    try:
        path.open("rb").close()
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    return False


def _open(piece: Piece, *, gdal: bool = False) -> Any:
    """Open a file, to decode its blocks here where possible, else with GDAL or, if it is an array, through xarray."""
    if piece.array is not None:
        return open_window_source(piece.path, piece.driver, piece.array, piece.size.height, piece.size.width)
    if isinstance(piece.path, Url):
        return _open_remote(piece, gdal=gdal)
    tiff = None
    if piece.driver == "GTiff" and piece.warp is None and not gdal:
        tiff = open_tiff(piece.path, piece.size.height, piece.size.width, piece.dtype)
    if tiff is not None:
        if piece.masked and tiff.inflate is None:
            tiff.close()
        else:
            _learn_fills(tiff, piece)
            if not piece.masked:
                return tiff
            with local_only():
                dataset = _open_with_gdal(piece)
                return MaskedTiff(tiff, dataset, _streams_of(dataset, piece))
    if piece.driver == "VRT" or piece.warp is not None:
        _check_strips(piece.path)
    with local_only():
        dataset = _open_with_gdal(piece)
        if piece.warp is not None:
            return _warped(dataset, piece, piece.warp)
        if piece.driver == "VRT":
            return dataset
        streams = _streams_of(dataset, piece)
        return CheckedTiff(dataset, streams) if streams.parts else dataset


def _open_remote(piece: Piece, *, gdal: bool) -> Any:
    """Open a file on a server; see `_open`."""
    url, stamp = _remote(piece)
    size = piece.size
    tiff = None
    if piece.driver == "GTiff" and piece.warp is None and not gdal:
        try:
            tiff = open_remote_tiff(RemoteFile(url, stamp), size.height, size.width, piece.dtype)
        except OSError as error:
            raise InputError(f"{url}: cannot be opened ({one_line(error)}); try again later") from None
    if tiff is not None and not (piece.masked and tiff.inflate is None):
        _learn_fills(tiff, piece)
        if not piece.masked:
            return tiff
        dataset = open_remote(url, stamp, [piece.driver])
        return MaskedTiff(tiff, dataset, _streams_of(dataset, piece))
    if piece.warp is not None and has_filled_strip(partial(_lent, RemoteFile(url, stamp))):
        raise InputError(f"{url}: its last strip holds more data than the raster, which GDAL reads wrongly; rewrite it")
    dataset = open_remote(url, stamp, [piece.driver])
    if piece.warp is not None:
        return _warped(dataset, piece, piece.warp)
    streams = _streams_of(dataset, piece)
    return CheckedTiff(dataset, streams) if streams.parts else dataset


def is_head_known(piece: Piece) -> bool:
    """Whether the head of a file on a server is kept in this process."""
    return RemoteFile(*_remote(piece)).known


def fetch_directory(piece: Piece) -> None:
    """Read where the blocks of a GeoTIFF on a server are, so that it is known when the file is opened.

    Raises
    ------
    InputError, OSError
        When it cannot be read; opening it tells as well.
    """
    open_remote_tiff(RemoteFile(*_remote(piece)), piece.size.height, piece.size.width, piece.dtype)


def _remote(piece: Piece) -> tuple[Url, RemoteStamp]:
    """Return the URL of a piece, and what the server said of the file."""
    assert isinstance(piece.path, Url)  # noqa: S101 - the caller looked
    assert piece.stamp is not None  # noqa: S101 - each piece is made of a header
    return piece.path, piece.stamp


def _lent(file: RemoteFile) -> AbstractContextManager[BinaryIO]:
    return nullcontext(cast(BinaryIO, file))


def _streams_of(dataset: Any, piece: Piece) -> Streams:
    try:
        return streams_of(dataset)
    except DamagedBlockError as error:
        dataset.close()
        raise InputError(
            f"{piece.path}: holds DEFLATE blocks that GDAL may read wrongly ({error}); write the file again"
        ) from None


def _check_strips(name: Path) -> None:
    """Refuse files that GDAL would read wrongly through a VRT or when warping.

    Raises
    ------
    InputError
    """
    behind = (path for named in files_behind(name) for path in (named, named.with_name(f"{named.name}.msk")))
    for path in behind:
        try:
            stamp = FileStamp.of(path)
        except OSError:  # GDAL reports it
            continue
        if _is_filled(path, stamp):
            raise InputError(
                f"{path}: its last strip holds more data than the raster; GDAL, which reads warped files and sources "
                "of VRTs, reads that wrongly; rewrite the files unchanged: "
                "pixelwise.write_layers(pixelwise.open_stack(FILES), OUTPUT)"
            )


@lru_cache(maxsize=65536)
def _is_filled(path: Path, stamp: FileStamp) -> bool:
    """Whether a file has such a strip; its stamp distinguishes versions of the file."""
    return has_filled_strip(opener_of(path))


def largest_behind(path: Location, stamp: Stamp | None = None) -> int:
    """Return the bytes of the largest block decoded for a file, apart from the blocks that its bands report.

    Parameters
    ----------
    path, stamp
        The file; if it is on a server, what that said of it.
    """
    if isinstance(path, Url):
        assert isinstance(stamp, RemoteStamp)  # noqa: S101 - each header of such a file has one
        return further_block(partial(_lent, RemoteFile(path, stamp)), behind=False)
    files = [file for name in files_behind(path) for file in (name, name.with_name(f"{name.name}.msk"))]
    return max(further_block(opener_of(file), behind=file != path) for file in files)


def _learn_fills(tiff: TiffFile, piece: Piece) -> None:
    """Ask GDAL for the value of absent blocks in a DEFLATE file, whose other blocks must not be left to GDAL."""
    if tiff.inflate is None or tiff.counts.all():
        return
    remote = isinstance(piece.path, Url)
    with local_only(), open_remote(*_remote(piece)) if remote else _open_with_gdal(piece) as dataset:
        for band in dataset.indexes:
            place = tiff.find_absent(band)
            if place is not None:
                row, column = place
                tiff.fills[band - 1] = dataset.read(band, window=Window(column, row, 1, 1))[0, 0]


def _warped(dataset: Any, piece: Piece, warp: Warp) -> Any:
    """Warp a dataset to another grid, with a resampling kernel whose size does not depend on the window."""
    nodata = [value for value in piece.nodata if not np.isnan(value)] or list(piece.nodata)
    if isinstance(dataset, TextGrid):
        dataset.read_lines(dataset.height)
    return WarpedVRT(
        dataset,
        src_crs=warp.source_crs or dataset.crs,
        crs=warp.crs,
        transform=Affine(*warp.transform),
        height=warp.height,
        width=warp.width,
        resampling=Resampling[warp.resampling],
        tolerance=WARP_TOLERANCE,
        add_alpha=piece.warped_with_alpha,
        src_nodata=None if piece.warped_with_alpha else nodata[0],
        XSCALE=repr(1 / warp.scale[0]),
        YSCALE=repr(1 / warp.scale[1]),
    )


def _open_with_gdal(piece: Piece) -> Any:
    if piece.georeferenced:
        return _again(piece)
    # catch_warnings is not thread-safe, so files that would warn are opened one at a time; other files skip this.
    with WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return _again(piece)


def _again(piece: Piece) -> Any:
    return open_again(local_path(piece.path, "a raster"), piece.driver)


class _Handles(threading.local):
    """The open datasets of one thread, and how long they stay open."""

    def __init__(self) -> None:
        self.open_files = OpenFiles()
        self.lost: list[Loss] = []
        self._scratch: dict[str, NDArray[Any]] = {}
        self.job = ""
        self.depth = 0

    @contextmanager
    def kept(self, *, after: bool) -> Iterator[None]:
        """Keep datasets open in this context; unless `after`, close them when the outermost context ends.

        A file may be replaced between two jobs, or between two reads outside a job.
        """
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1
            if not (after or self.depth):
                self.open_files.close()
                self._scratch.clear()
                release_buffers()

    def forget_scratch(self) -> None:
        """Release the scratch memory."""
        self._scratch.clear()

    def scratch(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return scratch memory of this thread, by the name of its purpose: touching fresh pages is expensive."""
        size = math.prod(shape)
        known = self._scratch.get(name)
        if known is None or known.size < size or known.dtype != dtype:
            known = self._scratch[name] = np.empty(size, dtype=dtype)
        return known[:size].reshape(shape)


#: The collections in use, in all threads: together they must stay within the limit of the process.
ALL_OPEN_FILES: weakref.WeakSet[OpenFiles] = weakref.WeakSet()

HANDLES = _Handles()

#: Largest error of a transformed coordinate, in pixels of the file. rasterio 1.4 opens no warped file with 0.
WARP_TOLERANCE = 1e-9

#: GDAL's block cache while reading. Each block is read once, so 16 MiB is enough and fastest: the default of
#: 5 % of RAM is 2-3x slower in a first run and 1 GB fatter (measured on 21 files of 3000 x 3000 pixels).
CACHE_BYTES = 16 << 20


@cache
def file_limit() -> int:
    """Raise the soft limit on open files to the hard one; return it less a reserve for files that are not rasters."""
    return max(_raised_limit() - 100, 8)


def _raised_limit() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 512
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (ValueError, OSError):
            pass  # macOS refuses more than kern.maxfilesperproc
    return 65536 if soft == resource.RLIM_INFINITY else soft


def warm_up(stacks: Sequence[Any]) -> None:
    """Open one file of each stack and compile what reading needs, where a stack offers that.

    Using GDAL's drivers or a kernel for the first time from several threads at once is what causes deadlocks and races.
    """
    for stack in stacks:
        own = getattr(stack, "warm_up", None)
        if own is not None:
            own()


@contextmanager
def reading(stacks: Sequence[Any] = ()) -> Iterator[None]:
    """Read files in this context: with a small GDAL cache, closing this thread's datasets at the end.

    What was asked of servers and not read is forgotten then.

    `stacks` are warmed up in this thread, before workers start.
    """
    with local_only(GDAL_CACHEMAX=CACHE_BYTES), HANDLES.kept(after=False):
        warm_up(stacks)
        try:
            yield
        finally:
            FETCHED.clear()


@contextmanager
def reading_in_worker(job: str, handles: int) -> Iterator[None]:
    """Read one block in any thread or process; datasets stay open until a block of another job arrives.

    A worker of an external pool outlives the job, and a file may be replaced before the next one. At most `handles`
    files are open at once.
    """
    if HANDLES.job != job:
        HANDLES.open_files.close()
        HANDLES.forget_scratch()
        HANDLES.job = job
    HANDLES.open_files.most = handles
    HANDLES.open_files.turn += 1
    with local_only(GDAL_CACHEMAX=CACHE_BYTES), HANDLES.kept(after=True):
        try:
            yield
        except BaseException:
            # The error keeps its frames, and they keep this thread's files open for as long as the error is held.
            HANDLES.open_files.close()
            raise

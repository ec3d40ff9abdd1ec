"""Open files: opened once per thread, in a bounded number, closed when a job ends."""

from __future__ import annotations

import errno
import math
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from pixelwise.errors import InputError, ResourceError
from pixelwise.rasters.checked import CheckedTiff, MaskedTiff, streams_of
from pixelwise.rasters.datasets import GDAL_ERRORS, TextGrid, files_behind, local_only, open_again
from pixelwise.rasters.inflate import DamagedBlockError
from pixelwise.rasters.pieces import Loss, Piece, Warp
from pixelwise.rasters.streams import Streams, further_block, has_filled_strip
from pixelwise.rasters.tiff import TiffFile, open_tiff, release_buffers
from pixelwise.words import one_line

__all__ = [
    "ALL_OPEN_FILES",
    "CACHE_BYTES",
    "HANDLES",
    "OpenFiles",
    "file_limit",
    "largest_behind",
    "reading",
    "reading_in_worker",
    "take_losses",
]


def take_losses() -> tuple[Loss, ...]:
    """Return what this thread could not read since it was asked last, and forget it."""
    losses = tuple(HANDLES.lost)
    HANDLES.lost.clear()
    return losses


class OpenFiles(OrderedDict[tuple[Path, Warp | None], tuple[Any, int]]):
    """Open files and when each was last used, of one thread at a time: GDAL allows no two per dataset."""

    __hash__ = object.__hash__  # type: ignore[assignment]
    #: Counts the blocks that are read.
    turn = 0
    #: More are never open, whatever the process may open.
    most = 65536

    def __init__(self) -> None:
        super().__init__()
        #: Files that only GDAL can read, even when they are opened again.
        self.by_gdal: set[tuple[Path, Warp | None]] = set()
        #: Files of DEFLATE blocks of which GDAL reads masks.
        self.with_masks: set[tuple[Path, Warp | None]] = set()
        #: Files of which a window could not be read, also when it was tried again.
        self.broken: set[tuple[Path, Warp | None]] = set()

    @classmethod
    def of_at_most(cls, most: int) -> OpenFiles:
        """Return an empty table of at most so many datasets."""
        open_files = cls()
        open_files.most = most
        return open_files

    def source(self, piece: Piece, *, gdal: bool = False) -> Any:
        """Return the open file of a piece, with `gdal` one that GDAL reads.

        The process's limit is divided among all tables in use.
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
        """Open a file; where the process may open no more, because others in it have some too, close some first.

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
        """Close what will not be needed soon.

        Every block needs the same files in the same order, so the one used last is needed last; closing the one
        used first would reopen all of them for every block. Other files are those of a mosaic's other parts.
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
        # That of a job that ran in this thread.
        self.most = type(self).most
        ALL_OPEN_FILES.discard(self)


def _handles_ran_out(path: Path) -> bool:
    """Whether no file can be opened now; GDAL does not say why it could not."""
    try:
        path.open("rb").close()
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    return False


def _open(piece: Piece, *, gdal: bool = False) -> Any:
    """Open a file to decode its blocks here where that is possible, else with GDAL."""
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
        _check_strips(piece)
    with local_only():
        dataset = _open_with_gdal(piece)
        if piece.warp is not None:
            return _warped(dataset, piece, piece.warp)
        if piece.driver == "VRT":
            return dataset
        streams = _streams_of(dataset, piece)
        return CheckedTiff(dataset, streams) if streams.parts else dataset


def _streams_of(dataset: Any, piece: Piece) -> Streams:
    try:
        return streams_of(dataset)
    except DamagedBlockError as error:
        dataset.close()
        raise InputError(
            f"{piece.path}: holds DEFLATE blocks that GDAL may read wrongly ({error}); write the file again"
        ) from None


def _check_strips(piece: Piece) -> None:
    """Refuse what GDAL would read wrongly, behind a VRT or to warp it.

    Raises
    ------
    InputError
    """
    behind = (path for named in files_behind(piece.path) for path in (named, named.with_name(f"{named.name}.msk")))
    for path in behind:
        try:
            facts = path.stat()
        except OSError:  # GDAL says so
            continue
        if _is_filled(path, facts.st_size, facts.st_mtime_ns):
            raise InputError(
                f"{path}: its last strip holds more than the raster, which GDAL, by which warped files and sources of "
                "VRTs are read, reads wrongly; write the files again as they are: "
                "pixelwise.write_layers(pixelwise.open_stack(FILES), OUTPUT)"
            )


@lru_cache(maxsize=65536)
def _is_filled(path: Path, size: int, mtime_ns: int) -> bool:
    """Whether a file has such a strip; its size and time tell one version of it from the next."""
    return has_filled_strip(path)


def largest_behind(path: Path) -> int:
    """Return bytes of the largest block that is decoded for a file besides those that its bands show."""
    files = [file for name in files_behind(path) for file in (name, name.with_name(f"{name.name}.msk"))]
    return max(further_block(file, behind=file != path) for file in files)


def _learn_fills(tiff: TiffFile, piece: Piece) -> None:
    """Ask GDAL what absent blocks of a DEFLATE file hold, of which others must not be left to it."""
    if tiff.inflate is None or tiff.counts.all():
        return
    with local_only(), _open_with_gdal(piece) as dataset:
        for band in dataset.indexes:
            place = tiff.find_absent(band)
            if place is not None:
                row, column = place
                tiff.fills[band - 1] = dataset.read(band, window=Window(column, row, 1, 1))[0, 0]


def _warped(dataset: Any, piece: Piece, warp: Warp) -> Any:
    """Put a dataset on another lattice, with a size of the resampling kernel that no window changes."""
    nodata = [value for value in piece.nodata if not np.isnan(value)] or list(piece.nodata)
    if isinstance(dataset, TextGrid):
        dataset.read_lines(dataset.height)
    return WarpedVRT(
        dataset,
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
        return open_again(piece.path, piece.driver)
    # catch_warnings is not thread-safe: only files that would warn take this way, one at a time.
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return open_again(piece.path, piece.driver)


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
        """Keep datasets open in this context; unless `after`, close them where the outermost one ends.

        A file may be replaced between two jobs, or between two reads of somebody who reads without a job.
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
        """Give back the memory that was lent."""
        self._scratch.clear()

    def scratch(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Lend memory of this thread, by the name of its use: fresh pages cost more than they hold."""
        size = math.prod(shape)
        known = self._scratch.get(name)
        if known is None or known.size < size or known.dtype != dtype:
            known = self._scratch[name] = np.empty(size, dtype=dtype)
        return known[:size].reshape(shape)


#: The tables in use: they share what the process may open, whoever made their threads.
ALL_OPEN_FILES: weakref.WeakSet[OpenFiles] = weakref.WeakSet()


HANDLES = _Handles()


_WARNINGS = threading.Lock()


#: Pixels of the file by which a transformed coordinate may be off. rasterio 1.4 opens no warped file with 0.
WARP_TOLERANCE = 1e-9


#: GDAL's block cache while reading. Each block is read once, so 16 MiB is enough and fastest: the default of
#: 5 % of RAM is 2-3x slower in a first run and 1 GB fatter (measured on 21 files of 3000 x 3000 pixels).
CACHE_BYTES = 16 << 20


@cache
def file_limit() -> int:
    """Raise the soft limit of open files to the hard one; return it less a reserve for all that is no raster."""
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


@contextmanager
def reading(stacks: Sequence[Any] = ()) -> Iterator[None]:
    """Read files in this context: a small GDAL cache, this thread's datasets closed at its end.

    `stacks` are made ready in this thread, before workers start: the first use of GDAL's drivers and of a
    kernel from several threads at once is where deadlocks and races come from.
    """
    with local_only(GDAL_CACHEMAX=CACHE_BYTES), HANDLES.kept(after=False):
        for stack in stacks:
            warm_up = getattr(stack, "warm_up", None)
            if warm_up is not None:
                warm_up()
        yield


@contextmanager
def reading_in_worker(job: str, handles: int) -> Iterator[None]:
    """Read one block in any thread or process; datasets stay open until a block of another job comes.

    A worker of somebody else's pool outlives the job, and a file may be replaced before the next one. At most
    `handles` are open at once.
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
            # The error keeps its frames, and they this thread's files: for as long as somebody looks at the error.
            HANDLES.open_files.close()
            raise

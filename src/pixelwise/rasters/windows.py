"""Windows of files: opened once per thread, read again where that fails, their losses remembered."""

from __future__ import annotations

import errno
import math
import threading
import time
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from pixelwise.errors import InputError, ResourceError
from pixelwise.grid import Block
from pixelwise.rasters.datasets import GDAL_ERRORS, TextGrid, files_behind, local_only, open_again
from pixelwise.rasters.nodata import nodata_bounds
from pixelwise.rasters.tiff import (
    SPLIT_ROWS,
    DamagedBlockError,
    Streams,
    TiffFile,
    find_streams,
    further_block,
    has_filled_strip,
    open_tiff,
    release_buffers,
)
from pixelwise.words import one_line

__all__ = [
    "CACHE_BYTES",
    "HANDLES",
    "RETRY_SECONDS",
    "TABLES",
    "WARP_TILE",
    "Loss",
    "MaskedTiff",
    "Piece",
    "Table",
    "Warp",
    "WindowError",
    "alpha_of",
    "cuts_blocks",
    "file_limit",
    "largest_behind",
    "read_patiently",
    "read_what_is_whole",
    "read_window",
    "reading",
    "reading_in_worker",
    "streams_of",
    "take_losses",
]


Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Warp:
    """How GDAL puts a file on another lattice when it is opened.

    Attributes
    ----------
    crs, transform, height, width
        Where to; the CRS as WKT.
    resampling
        GDAL's name of the rule.
    scale
        Pixels of the file per pixel of the result, along x and y.
    anchor
        Row and column of the piece in what is warped, which begins where a tile begins.
    """

    crs: str
    transform: tuple[float, ...]
    height: int
    width: int
    resampling: str
    scale: tuple[float, float]
    anchor: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Piece:
    """One band of one file, placed on the stack's grid.

    Attributes
    ----------
    path, driver, band
        What to open and read.
    block
        Its place on the grid; may reach beyond it.
    dtype, nodata, scale, offset, masked
        How values are stored; `nodata` are stored values that are missing.
    georeferenced
        Whether the file has a CRS or a transform.
    valid
        Smallest and largest value that is not missing.
    warp
        None for a file on the stack's lattice.
    zoom
        Rows and columns of the grid that one pixel of the file covers.
    """

    path: Path
    driver: str
    band: int
    block: Block
    dtype: str
    nodata: tuple[float, ...]
    scale: float
    offset: float
    masked: bool
    georeferenced: bool
    valid: tuple[float, float] = (-np.inf, np.inf)
    warp: Warp | None = None
    zoom: int = 1

    def __post_init__(self) -> None:
        # Pieces are compared to find those that are stored alike, and of two NaNs only the same object is equal.
        nodata = tuple(math.nan if math.isnan(value) else value for value in self.nodata)
        object.__setattr__(self, "nodata", nodata)

    @property
    def size(self) -> Block:
        """All pixels of the file."""
        return Block(0, 0, self.block.height // self.zoom, self.block.width // self.zoom)

    @property
    def key(self) -> tuple[Path, Warp | None]:
        """What is opened for it."""
        return self.path, self.warp

    @property
    def warped_with_alpha(self) -> bool:
        """Whether only an alpha band can say what lies outside the file, once it is warped."""
        return self.masked or not self.nodata

    @property
    def scaled(self) -> bool:
        """Whether stored numbers are not yet values."""
        return self.scale != 1.0 or self.offset != 0.0

    def shift(self, rows: int, cols: int) -> Piece:
        """Return the piece on a grid whose origin lies elsewhere."""
        return replace(self, block=self.block.shift(rows, cols))

    @property
    def nodata_bounds(self) -> NDArray[Any]:
        """(value, 2) smallest and largest stored number of each that is missing, in the band's own type."""
        return nodata_bounds(self.nodata, self.dtype)


@dataclass(frozen=True, slots=True)
class Loss:
    """A block of a file that could not be read, and so counts as missing.

    Attributes
    ----------
    path, band
        Of the file.
    block
        Its place on the stack's grid, as far as it was wanted.
    reason
        What the library met.
    """

    path: Path
    band: int
    block: Block
    reason: str


class WindowError(InputError):
    """A window that cannot be read, of a file that can be opened."""


def read_patiently(
    piece: Piece, bands: tuple[int, ...], block: Block, out: NDArray[Any], table: Table
) -> NDArray[np.uint8] | None:
    """Read a window of several bands, again after a while where that fails: disks of networks have moments."""
    return _patiently(piece, table, lambda: read_window(piece, bands, block, out, table))


def _patiently(piece: Piece, table: Table, attempt: Callable[[], Result]) -> Result:
    """Return what an attempt gives, which may need some."""
    for pause in (*RETRY_SECONDS, None):
        try:
            return attempt()
        except InputError:
            # What failed again and again is broken; nobody waits for its next window.
            if pause is None or piece.key in table.broken:
                table.broken.add(piece.key)
                raise
            time.sleep(pause)
    raise AssertionError


def read_what_is_whole(
    piece: Piece, bands: tuple[int, ...], block: Block, out: NDArray[Any], table: Table
) -> NDArray[np.uint8]:
    """Read a window by the file's own blocks, so that what is lost does not depend on the window; return masks."""
    masks = np.full(out.shape, 255, dtype=np.uint8)
    # The piece tells the file's size; whoever reads it how it is cut.
    file = piece.size
    shapes = _block_shapes(piece, table)
    alike = len({shapes[band - 1] for band in bands}) == 1
    for first, group in [(0, bands)] if alike else [(index, (band,)) for index, band in enumerate(bands)]:
        parts = (
            _blocks_around(block, shapes[group[0] - 1], file)
            if piece.warp is None
            else _tiles_around(block, piece.warp)
        )
        for part in parts:
            shared = part.intersection(block)
            if shared is None:
                raise AssertionError
            inside = shared.shift(-part.row, -part.col).slices
            target = shared.shift(-block.row, -block.col).slices
            for index, (band, values, valid, reason) in enumerate(
                _each_band(piece, group, part, out.dtype, table), first
            ):
                if reason:
                    out[(index, *target)], masks[(index, *target)] = 0, 0
                    placed = shared.scaled(piece.zoom).shift(piece.block.row, piece.block.col)
                    HANDLES.lost.append(Loss(piece.path, band, placed, reason))
                    continue
                out[(index, *target)] = values[inside]
                if valid is not None:
                    masks[(index, *target)] = valid[inside]
    return masks


def _each_band(
    piece: Piece, bands: tuple[int, ...], part: Block, dtype: np.dtype[Any], table: Table
) -> Iterator[tuple[int, NDArray[Any], NDArray[np.uint8] | None, str]]:
    """Read a block of a file; yield each band, its values and mask, and why it could not be read, if so."""
    whole = np.empty((len(bands), part.height, part.width), dtype=dtype)
    try:
        found = read_patiently(piece, bands, part, whole, table)
    except WindowError as error:
        if len(bands) == 1:
            yield bands[0], whole[0], None, str(error)
        else:
            for band in bands:
                yield from _each_band(piece, (band,), part, dtype, table)
        return
    for index, band in enumerate(bands):
        yield band, whole[index], None if found is None else found[index], ""


def cuts_blocks(piece: Piece, bands: tuple[int, ...], window: Block, table: Table) -> bool:
    """Whether a window has a part of a block of the file only."""

    def cuts(start: int, length: int, block: int, size: int) -> bool:
        return start % block != 0 or ((start + length) % block != 0 and start + length != size)

    shapes, size = _block_shapes(piece, table), piece.size
    return any(
        cuts(window.row, window.height, height, size.height) or cuts(window.col, window.width, width, size.width)
        for height, width in {shapes[band - 1] for band in bands}
    )


def _block_shapes(piece: Piece, table: Table) -> Sequence[tuple[int, int]]:
    """Return rows and columns of each band's blocks."""
    shapes: Sequence[tuple[int, int]] = _patiently(piece, table, lambda: table.source(piece).block_shapes)
    return shapes


def _blocks_around(window: Block, shape: tuple[int, int], file: Block) -> Iterator[Block]:
    """Yield those blocks of a file that a window touches."""
    height, width = shape
    for row in range(window.row // height * height, window.row + window.height, height):
        for col in range(window.col // width * width, window.col + window.width, width):
            yield Block(row, col, min(height, file.height - row), min(width, file.width - col))


def _tiles_around(window: Block, warp: Warp) -> Iterator[Block]:
    """Yield those tiles of a warped file that a window touches, as far as they lie in the piece."""
    down, right = warp.anchor
    piece = Block(0, 0, warp.height - down, warp.width - right)
    for tile in _blocks_around(window.shift(down, right), WARP_TILE, Block(0, 0, warp.height, warp.width)):
        part = tile.shift(-down, -right).intersection(piece)
        if part is not None:
            yield part


def take_losses() -> tuple[Loss, ...]:
    """Return what this thread could not read since it was asked last, and forget it."""
    losses = tuple(HANDLES.lost)
    HANDLES.lost.clear()
    return losses


def read_window(
    piece: Piece, bands: tuple[int, ...], block: Block, out: NDArray[Any], table: Table
) -> NDArray[np.uint8] | None:
    """Read a window of several bands into `out` (band, y, x); return masks where the file has some."""
    try:
        source = table.source(piece)
        if isinstance(source, TiffFile):
            # Bands of one file may have a mask or not.
            if not piece.masked and source.read(bands, block, out):
                return None
            source = table.source(piece, gdal=True)
        if isinstance(source, MaskedTiff | CheckedTiff):
            return source.read(bands, block, out, masked=piece.masked)
        if piece.warp is not None:
            return _read_warped(source, piece, piece.warp, bands, block, out)
        window = Window(block.col, block.row, block.width, block.height)
        source.read(list(bands), window=window, out=out)
        return source.read_masks(list(bands), window=window) if piece.masked else None
    except (*GDAL_ERRORS, DamagedBlockError) as error:
        table.pop(piece.key)[0].close()
        # Nothing is wrong with the file. GDAL's own errors have no public names in rasterio.
        if type(error.__cause__).__name__ == "CPLE_OutOfMemoryError":
            raise MemoryError(f"{piece.path}: {error.__cause__}") from None
        where = f"rows {block.row}..{block.row + block.height - 1}, columns {block.col}..{block.col + block.width - 1}"
        # The chained CPLE error says what GDAL met; rasterio's own text is "see context".
        reason = one_line(error.__cause__ or error)
        which = f"band {bands[0]}" if len(bands) == 1 else f"bands {', '.join(map(str, bands))}"
        raise WindowError(
            f"{piece.path}: {which} cannot be read at {where} ({reason}); is the file truncated?"
        ) from None


@dataclass(frozen=True, eq=False)
class MaskedTiff:
    """An open file of DEFLATE blocks, of which GDAL reads the masks only."""

    tiff: TiffFile
    dataset: Any
    streams: Streams

    @property
    def block_shapes(self) -> list[tuple[int, int]]:
        """Rows and columns of each band's blocks."""
        return self.tiff.block_shapes

    def read(self, bands: tuple[int, ...], block: Block, out: NDArray[Any], *, masked: bool) -> NDArray[Any] | None:
        """Read a window of several bands into `out`; return masks where they are `masked`."""
        window = Window(block.col, block.row, block.width, block.height)
        if not self.tiff.read(bands, block, out):
            # What GDAL says of a window that is not in the file.
            self.dataset.read(list(bands), window=window, out=out)
        if not masked:
            return None
        alpha = alpha_of(self.dataset, bands[0])
        if alpha is not None:
            # From blocks of the same kind, of which GDAL gives numbers for some that are damaged.
            values = np.empty((1, block.height, block.width), dtype=out.dtype)
            self.tiff.read((alpha,), block, values)
            return np.repeat(np.where(values == 0, np.uint8(0), np.uint8(255)), len(bands), axis=0)
        self.streams.check(bands, block, pixels=False, masks=True)
        masks: NDArray[Any] = self.dataset.read_masks(list(bands), window=window)
        return masks

    def warm_up(self) -> None:
        """Compile what `read` needs."""
        self.tiff.warm_up()

    def close(self) -> None:
        """Close both."""
        self.tiff.close()
        self.dataset.close()


@dataclass(frozen=True, eq=False)
class CheckedTiff:
    """An open file that GDAL reads, of which some blocks are DEFLATE streams that must be looked at before."""

    dataset: Any
    streams: Streams

    @property
    def block_shapes(self) -> list[tuple[int, int]]:
        """Rows and columns of each band's blocks."""
        shapes: list[tuple[int, int]] = self.dataset.block_shapes
        return shapes

    def read(self, bands: tuple[int, ...], block: Block, out: NDArray[Any], *, masked: bool) -> NDArray[Any] | None:
        """Read a window of several bands into `out`; return masks where they are `masked`."""
        window = Window(block.col, block.row, block.width, block.height)
        alpha = alpha_of(self.dataset, bands[0]) if masked else None
        wanted = bands if alpha is None else (*bands, alpha)
        self.streams.check(wanted, block, pixels=True, masks=masked)
        self.dataset.read(list(bands), window=window, out=out)
        masks: NDArray[Any] | None = self.dataset.read_masks(list(bands), window=window) if masked else None
        return masks

    def close(self) -> None:
        """Close the file."""
        self.dataset.close()


def alpha_of(dataset: Any, band: int) -> int | None:
    """Return the band of alpha that masks another band of a dataset, None where something else does."""
    if MaskFlags.alpha not in dataset.mask_flag_enums[band - 1]:
        return None
    return int(dataset.colorinterp.index(ColorInterp.alpha)) + 1


def streams_of(dataset: Any) -> Streams:
    """Find the DEFLATE streams that GDAL reads of an open file that is no VRT.

    Raises
    ------
    DamagedBlockError
        When the file is too unusual to say.
    """
    path = Path(dataset.name)
    sidecars = [Path(name) for name in dataset.files if name != dataset.name and name.lower().endswith(".msk")]
    try:
        tall = dataset.block_shapes[0][0] == 1 and dataset.height > SPLIT_ROWS
        return find_streams(path, sidecars, split=tall)
    except DamagedBlockError:
        masked = any(MaskFlags.per_dataset in flags for flags in dataset.mask_flag_enums)
        if masked or "DEFLATE" in dataset.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION", ""):
            raise
        return Streams(())


class Table(OrderedDict[tuple[Path, Warp | None], tuple[Any, int]]):
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
    def of_at_most(cls, most: int) -> Table:
        """Return an empty table of at most so many datasets."""
        table = cls()
        table.most = most
        return table

    def source(self, piece: Piece, *, gdal: bool = False) -> Any:
        """Return the open file of a piece, with `gdal` one that GDAL reads.

        The process's limit is divided among all tables in use.
        """
        TABLES.add(self)
        share = max(min(file_limit() // max(len(TABLES), 1), self.most), 1)
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
            opened = replace(piece, masked=True) if piece.key in self.with_masks else piece
            source = self.opened(opened, gdal=piece.key in self.by_gdal)
        else:
            source = known[0]
        self[piece.key] = source, self.turn
        return source

    def opened(self, piece: Piece, *, gdal: bool) -> Any:
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
        TABLES.discard(self)


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


def _read_warped(
    source: Any, piece: Piece, warp: Warp, bands: tuple[int, ...], block: Block, out: NDArray[Any]
) -> NDArray[np.uint8] | None:
    """Read a window of a warped file into `out`; return masks where an alpha band has them.

    Always by the same tiles: GDAL interpolates coordinates within what it warps at once, and no bit may depend on
    the window.
    """
    wanted = [*bands, source.count] if piece.warped_with_alpha else list(bands)
    masks = np.empty(out.shape, dtype=np.uint8) if piece.warped_with_alpha else None
    inside_warp = block.shift(*warp.anchor)
    for part in _blocks_around(inside_warp, WARP_TILE, Block(0, 0, warp.height, warp.width)):
        shared = part.intersection(inside_warp)
        if shared is None:
            raise AssertionError
        found = source.read(wanted, window=Window(part.col, part.row, part.width, part.height))
        inside = shared.shift(-part.row, -part.col).slices
        target = shared.shift(-inside_warp.row, -inside_warp.col).slices
        out[(slice(None), *target)] = found[(slice(0, len(bands)), *inside)]
        if masks is not None:
            masks[(slice(None), *target)] = found[(-1, *inside)]
    return masks


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
        self.open = Table()
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
                self.open.close()
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
TABLES: weakref.WeakSet[Table] = weakref.WeakSet()
HANDLES = _Handles()
_WARNINGS = threading.Lock()

#: Pixels of the file by which a transformed coordinate may be off. rasterio 1.4 opens no warped file with 0.
WARP_TOLERANCE = 1e-9

#: Rows and columns that are warped at once: GDAL's own blocks, which other windows would cut and warp again.
WARP_TILE = (128, 512)

#: How long is waited before a window is read again.
RETRY_SECONDS = (0.2, 1.0)

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
        HANDLES.open.close()
        HANDLES.forget_scratch()
        HANDLES.job = job
    HANDLES.open.most = handles
    HANDLES.open.turn += 1
    with local_only(GDAL_CACHEMAX=CACHE_BYTES), HANDLES.kept(after=True):
        try:
            yield
        except BaseException:
            # The error keeps its frames, and they this thread's files: for as long as somebody looks at the error.
            HANDLES.open.close()
            raise

"""Windows of files: read from files opened once per thread, retried on failure, with a record of what was lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from pixelwise.errors import InputError
from pixelwise.grid import Block
from pixelwise.rasters.arrays import ArrayFile
from pixelwise.rasters.checked import CheckedTiff, MaskedTiff
from pixelwise.rasters.datasets import GDAL_ERRORS
from pixelwise.rasters.handles import HANDLES, OpenFiles, fetch_directory, is_head_known
from pixelwise.rasters.inflate import DamagedBlockError
from pixelwise.rasters.pieces import WARP_TILE, Loss, Piece, Warp, WindowError
from pixelwise.rasters.remote import FETCHED, Asked, FailedRequestError, RemoteFile, in_parallel
from pixelwise.rasters.remote_datasets import RemoteDataset
from pixelwise.rasters.tiff import TiffFile
from pixelwise.rasters.urls import Url
from pixelwise.words import first_of, one_line

__all__ = [
    "AHEAD_BYTES",
    "BLOCKS_AHEAD_BYTES",
    "RETRY_SECONDS",
    "Ahead",
    "Wanted",
    "cuts_blocks",
    "read_intact_blocks",
    "read_window",
    "read_with_retries",
]

Result = TypeVar("Result")
#: A window of some bands of a piece.
Wanted = tuple[Piece, tuple[int, ...], Block]
#: Bytes of files on servers that one thread asks for before they are read.
AHEAD_BYTES = 32 << 20
#: And that a process asks for before a worker begins with a block.
BLOCKS_AHEAD_BYTES = 64 << 20


def read_with_retries(
    piece: Piece, bands: tuple[int, ...], block: Block, out: NDArray[Any], open_files: OpenFiles
) -> NDArray[np.uint8] | None:
    """Read a window of several bands; retry after a pause on failure, as network disks have brief outages."""
    return _with_retries(piece, open_files, lambda: read_window(piece, bands, block, out, open_files))


def _with_retries(piece: Piece, open_files: OpenFiles, attempt: Callable[[], Result]) -> Result:
    """Return the result of an attempt, made again if it fails."""
    for pause in (*RETRY_SECONDS, None):
        try:
            return attempt()
        except InputError:
            # A file that failed every time is broken; do not wait for its other windows.
            if pause is None or piece.key in open_files.broken:
                open_files.broken.add(piece.key)
                raise
            time.sleep(pause)
    raise AssertionError


def read_intact_blocks(
    piece: Piece, bands: tuple[int, ...], block: Block, out: NDArray[Any], open_files: OpenFiles
) -> NDArray[np.uint8]:
    """Read a window by the file's own blocks, so that what is lost does not depend on the window; return masks."""
    masks = np.full(out.shape, 255, dtype=np.uint8)
    # The piece knows the size of the file, the open file its blocks.
    file = piece.size
    shapes = _block_shapes(piece, open_files)
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
                _each_band(piece, group, part, out.dtype, open_files), first
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
    piece: Piece, bands: tuple[int, ...], part: Block, dtype: np.dtype[Any], open_files: OpenFiles
) -> Iterator[tuple[int, NDArray[Any], NDArray[np.uint8] | None, str]]:
    """Read a block of a file; yield each band, its values and mask, and the reason where it could not be read."""
    whole = np.empty((len(bands), part.height, part.width), dtype=dtype)
    try:
        found = read_with_retries(piece, bands, part, whole, open_files)
    except WindowError as error:
        if len(bands) == 1:
            yield bands[0], whole[0], None, str(error)
        else:
            for band in bands:
                yield from _each_band(piece, (band,), part, dtype, open_files)
        return
    for index, band in enumerate(bands):
        yield band, whole[index], None if found is None else found[index], ""


def cuts_blocks(piece: Piece, bands: tuple[int, ...], window: Block, open_files: OpenFiles) -> bool:
    """Whether a window contains only part of some block of the file."""

    def cuts(start: int, length: int, block: int, size: int) -> bool:
        return start % block != 0 or ((start + length) % block != 0 and start + length != size)

    shapes, size = _block_shapes(piece, open_files), piece.size
    return any(
        cuts(window.row, window.height, height, size.height) or cuts(window.col, window.width, width, size.width)
        for height, width in {shapes[band - 1] for band in bands}
    )


def _block_shapes(piece: Piece, open_files: OpenFiles) -> Sequence[tuple[int, int]]:
    """Return rows and columns of each band's blocks."""
    shapes: Sequence[tuple[int, int]] = _with_retries(piece, open_files, lambda: open_files.source(piece).block_shapes)
    return shapes


def _blocks_around(window: Block, shape: tuple[int, int], file: Block) -> Iterator[Block]:
    """Yield the blocks of a file that a window touches."""
    height, width = shape
    for row in range(window.row // height * height, window.row + window.height, height):
        for col in range(window.col // width * width, window.col + window.width, width):
            yield Block(row, col, min(height, file.height - row), min(width, file.width - col))


def _tiles_around(window: Block, warp: Warp) -> Iterator[Block]:
    """Yield the tiles of a warped file that a window touches, clipped to the piece."""
    down, right = warp.anchor
    piece = Block(0, 0, warp.height - down, warp.width - right)
    for tile in _blocks_around(window.shift(down, right), WARP_TILE, Block(0, 0, warp.height, warp.width)):
        part = tile.shift(-down, -right).intersection(piece)
        if part is not None:
            yield part


def read_window(
    piece: Piece, bands: tuple[int, ...], block: Block, out: NDArray[Any], open_files: OpenFiles
) -> NDArray[np.uint8] | None:
    """Read a window of several bands into `out` (band, y, x); return masks if the file has any."""
    try:
        source = open_files.source(piece)
        if isinstance(source, ArrayFile):
            source.read(bands, block, out)
            return None
        if isinstance(source, TiffFile):
            # Some bands of a file may have a mask, and others none.
            if not piece.masked and source.read(bands, block, out):
                return None
            source = open_files.source(piece, gdal=True)
        if isinstance(source, MaskedTiff | CheckedTiff):
            return source.read(bands, block, out, masked=piece.masked)
        if piece.warp is not None:
            return _read_warped(source, piece, piece.warp, bands, block, out)
        window = Window(block.col, block.row, block.width, block.height)
        source.read(list(bands), window=window, out=out)
        return source.read_masks(list(bands), window=window) if piece.masked else None
    except (*GDAL_ERRORS, DamagedBlockError, FailedRequestError) as error:
        open_files.pop(piece.key)[0].close()
        # The file is fine. GDAL's own errors have no public names in rasterio.
        if type(error.__cause__).__name__ == "CPLE_OutOfMemoryError":
            raise MemoryError(f"{piece.path}: {error.__cause__}") from None
        where = f"rows {block.row}..{block.row + block.height - 1}, columns {block.col}..{block.col + block.width - 1}"
        # The chained CPLE error is GDAL's; rasterio's own text is "see context".
        reason = one_line(error.__cause__ or error)
        which = f"band {bands[0]}" if len(bands) == 1 else f"bands {first_of([*map(str, bands)], 20)}"
        if piece.array is not None:
            steps = f"time step {bands[0]}" if len(bands) == 1 else f"time steps {bands[0]} to {bands[-1]}"
            which = f"{piece.array.variable}, {steps}," if piece.array.time else piece.array.variable
        remedy = "try again later" if isinstance(piece.path, Url) else "is the file truncated?"
        raise WindowError(f"{piece.path}: {which} cannot be read at {where} ({reason}); {remedy}") from None


def _read_warped(
    source: Any, piece: Piece, warp: Warp, bands: tuple[int, ...], block: Block, out: NDArray[Any]
) -> NDArray[np.uint8] | None:
    """Read a window of a warped file into `out`; return masks if an alpha band has them.

    The tiles are always the same: GDAL interpolates coordinates across what it warps at once, and no bit may depend on
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


#: Seconds to wait before a window is read again.
RETRY_SECONDS = (0.2, 1.0)


class Ahead:
    """Asks servers for the bytes of windows before they are read: for those of many files at once.

    Parameters
    ----------
    steps
        What is read, in its order: in each step one or several windows, each of some bands of a piece.
    open_files
        The files through which they are read.
    """

    def __init__(self, steps: Sequence[Sequence[Wanted]], open_files: OpenFiles) -> None:
        self._steps, self._open_files = steps, open_files
        self._asked: list[list[Asked]] = []
        self._sizes: list[int] = []
        pieces = {piece.key: piece for step in steps for piece, _, _ in step if piece.key not in open_files}
        unknown = [piece for piece in pieces.values() if not is_head_known(piece)]
        # Each worker process reads the directories again, of all files at once.
        for future in in_parallel(fetch_directory, unknown):
            future.exception()

    def before(self, step: int) -> None:
        """Ask for the windows of a step that is read now, and of those behind it that fit into `AHEAD_BYTES`."""
        if step:
            self._drop(step - 1)
        while len(self._asked) < len(self._steps):
            if len(self._asked) > step and sum(self._sizes[step:]) > AHEAD_BYTES:
                return
            self._ask_next()

    def all(self) -> bool:
        """Ask for everything, unless this process has asked for much already; return whether it has not."""
        while len(self._asked) < len(self._steps):
            if FETCHED.size > BLOCKS_AHEAD_BYTES:
                return False
            step = self._steps[len(self._asked)]
            self._ask_next()
            FETCHED.announced[_name_of(step)] = self._asked[-1]
        return True

    def close(self) -> None:
        """Forget what was not read: of a layer that masks reject everywhere, say."""
        for step in range(len(self._asked)):
            self._drop(step)

    def _drop(self, step: int) -> None:
        for url, stamp, ranges in self._asked[step]:
            FETCHED.drop(url, stamp, ranges)
        self._asked[step] = []

    def _ask_next(self) -> None:
        """Ask for the next step, if that was not announced."""
        step = self._steps[len(self._asked)]
        asked = FETCHED.announced.pop(_name_of(step), None)
        if asked is None:
            asked = [one for wanted in step for one in self._ranges(wanted)]
            for url, stamp, ranges in asked:
                FETCHED.ask(url, stamp, ranges)
        self._asked.append(asked)
        self._sizes.append(sum(end - begin for _, _, ranges in asked for begin, end in ranges))

    def _ranges(self, wanted: Wanted) -> Iterator[Asked]:
        """Yield what is read of a file for one window."""
        piece, bands, window = wanted
        source = _with_retries(piece, self._open_files, lambda: self._open_files.source(piece))
        tiff = source.tiff if isinstance(source, MaskedTiff) else source
        if isinstance(tiff, TiffFile) and isinstance(tiff.source, RemoteFile):
            yield tiff.source.url, tiff.source.stamp, tiff.ranges(bands, window)
        dataset = source.dataset if isinstance(source, MaskedTiff | CheckedTiff) else source
        if isinstance(dataset, RemoteDataset):
            file, only_masks = dataset.file, isinstance(source, MaskedTiff)
            yield file.url, file.stamp, dataset.blocks.ranges(bands, window, file.gap, only_masks=only_masks)


def _name_of(step: Sequence[Wanted]) -> Hashable:
    """Return what distinguishes a step from others."""
    return tuple((piece.path, piece.stamp, bands, window) for piece, bands, window in step)

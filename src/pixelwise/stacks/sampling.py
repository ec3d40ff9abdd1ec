"""Samples of pixels, by which a stack is assessed before a job."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixelwise.bands import Floats
from pixelwise.grid import Block
from pixelwise.rasters.handles import reading
from pixelwise.rasters.pieces import WindowError
from pixelwise.stacks.base import FileStack, Stack

__all__ = [
    "FEW_VALID",
    "MOST_WINDOWS",
    "QUICK_LAYERS",
    "SAMPLE_PIXELS",
    "SAMPLE_WINDOWS",
    "read_sample",
    "read_windows",
    "sample_blocks",
    "sample_pixels",
    "thinned",
]

#: For checks: edge of a window, pixels in total, number of windows, and layers of a quick look.
SAMPLE_EDGE = 128
SAMPLE_PIXELS = 4096
SAMPLE_WINDOWS = 3
QUICK_LAYERS = 12
#: Windows are added, so many at most, while a sample holds few values, or one value makes up most of it: they may be in
#: the sea, and say little of the land.
MOST_WINDOWS = 12
FEW_VALID, MOST_EQUAL = 0.1, 0.5

#: Windows read for a rehearsal: few and small, anywhere in the image.
REHEARSAL_WINDOWS, REHEARSAL_EDGE = 8, 16


def sample_blocks(stack: FileStack, windows: int) -> list[Block]:
    """Return a window at the centre, then seeded random ones."""
    random = np.random.default_rng(0)
    places = [(0.5, 0.5), *((random.random(), random.random()) for _ in range(windows - 1))]
    blocks: list[Block] = []
    for block in (_window(stack, *place) for place in places):
        # No pixel is counted twice.
        if not any(block.intersection(other) for other in blocks):
            blocks.append(block)
    return blocks


def read_sample(stack: FileStack, windows: int = SAMPLE_WINDOWS) -> Floats:
    """Return (time, pixel) float64 from a window at the centre and seeded random ones."""
    return thinned(read_windows(stack, windows))


def read_windows(stack: FileStack, windows: int, *, lenient: bool = False) -> Floats:
    """Return (time, pixel) of every pixel of some windows, in the stack's type.

    Up to `MOST_WINDOWS` are read while they hold few valid values, or mostly the same one. If `lenient`, only the first
    must be readable: the job that follows finds any damage itself, and reports where.
    """
    parts: list[Floats] = []
    with reading((stack,)):
        for number, block in enumerate(sample_blocks(stack, max(windows, MOST_WINDOWS))):
            if number >= windows and number % windows == 0 and not _says_little(np.concatenate(parts, axis=1)):
                break
            try:
                parts.append(stack.read(block).reshape(len(stack), -1))
            except WindowError:
                if not (lenient and parts):
                    raise
    return np.concatenate(parts, axis=1)


def _says_little(pixels: Floats) -> bool:
    """Whether few of some pixels have a value, or most of the values are equal."""
    values = thinned(pixels)
    valid = values[~np.isnan(values)]
    # What makes up more than half of all values is their median.
    return valid.size < FEW_VALID * values.size or bool((valid == np.median(valid)).mean() > MOST_EQUAL)


def thinned(pixels: Floats) -> Floats:
    """Return evenly spaced pixels, in float64."""
    step = max(1, pixels.shape[1] // SAMPLE_PIXELS)
    return pixels[:, ::step].astype(np.float64)


def _window(stack: FileStack, down: float, right: float) -> Block:
    """Return a window within one block of the files, at a fraction of the height and width."""
    grid, layout = stack.grid, stack.layout
    if layout.block_width >= grid.width:
        # Strips are decoded at full width, however little is requested.
        height, width = min(SAMPLE_PIXELS // grid.width + 1, grid.height), grid.width
    else:
        height, width = min(SAMPLE_EDGE, layout.block_height), min(SAMPLE_EDGE, layout.block_width)
    row = int(down * grid.height) // layout.block_height * layout.block_height
    if layout.block_height >= grid.height:
        # All windows are in one block, which is best decoded once, and the first rows of a globe are polar night.
        row = (grid.height - height) // 2
    col = int(right * grid.width) // layout.block_width * layout.block_width
    inside = Block(row, col, height, width).intersection(grid.block)
    return inside or Block(0, 0, height, width)


def sample_pixels(stack: Stack, seed: int = 0) -> Floats:
    """Return (time, pixel) float64 of some pixels with observations, from seeded random windows."""
    grid, random = stack.grid, np.random.default_rng(seed)
    height, width = min(REHEARSAL_EDGE, grid.height), min(REHEARSAL_EDGE, grid.width)
    windows = [
        Block(
            int(random.integers(grid.height - height + 1)),
            int(random.integers(grid.width - width + 1)),
            height,
            width,
        )
        for _ in range(REHEARSAL_WINDOWS)
    ]
    with reading((stack,)):
        found = [_observed(stack, window, windows[:i]) for i, window in enumerate(windows)]
        if not any(part.shape[1] for part in found):
            # Observations may be rare: look everywhere until there are some.
            for block in grid.blocks(256, 256):
                found = [_observed(stack, block)]
                if found[0].shape[1]:
                    break
    return np.concatenate(found, axis=1)


def _observed(stack: Stack, block: Block, without: Sequence[Block] = ()) -> Floats:
    """Return (time, pixel) of the pixels of a block that have a value and lie in none of the blocks `without`."""
    new = np.ones((block.height, block.width), dtype=bool)
    for other in without:
        shared = other.intersection(block)
        if shared is not None:
            new[shared.shift(-block.row, -block.col).slices] = False
    if not new.any():
        return np.empty((len(stack.axis), 0))
    pixels = stack.read(block)[:, new].astype(np.float64)
    return pixels[:, ~np.isnan(pixels).all(axis=0)]

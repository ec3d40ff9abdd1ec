"""Samples of pixels, by which a stack is known before a job."""

from __future__ import annotations

import numpy as np

from pixelwise.bands import Floats
from pixelwise.grid import Block
from pixelwise.rasters.handles import reading
from pixelwise.rasters.pieces import WindowError
from pixelwise.stacks.raster import RasterStack

__all__ = []


SAMPLE_EDGE = 128


SAMPLE_PIXELS = 4096


SAMPLE_WINDOWS = 3


QUICK_LAYERS = 12


def sample_blocks(stack: RasterStack, windows: int) -> list[Block]:
    """Return a window at the centre and further seeded ones."""
    random = np.random.default_rng(0)
    places = [(0.5, 0.5), *((random.random(), random.random()) for _ in range(windows - 1))]
    blocks: list[Block] = []
    for block in (_window(stack, *place) for place in places):
        # No pixel is counted twice.
        if not any(block.intersection(other) for other in blocks):
            blocks.append(block)
    return blocks


def read_sample(stack: RasterStack, windows: int = SAMPLE_WINDOWS) -> Floats:
    """Return (time, pixel) float64 from a window at the centre and further seeded ones."""
    return thinned(read_windows(stack, windows))


def read_windows(stack: RasterStack, windows: int, *, lenient: bool = False) -> Floats:
    """Return (time, pixel) of every pixel of some windows, in the stack's type.

    Where `lenient`, only the first must be readable: a job that follows meets damage by itself, and says where.
    """
    parts: list[Floats] = []
    with reading((stack,)):
        for block in sample_blocks(stack, windows):
            try:
                parts.append(stack.read(block).reshape(len(stack), -1))
            except WindowError:
                if not (lenient and parts):
                    raise
    return np.concatenate(parts, axis=1)


def thinned(pixels: Floats) -> Floats:
    step = max(1, pixels.shape[1] // SAMPLE_PIXELS)
    return pixels[:, ::step].astype(np.float64)


def _window(stack: RasterStack, down: float, right: float) -> Block:
    """Return a window within one block of the files, at some share of the height and width."""
    grid, layout = stack.grid, stack.layout
    if layout.block_width >= grid.width:
        # Strips are decoded in full width, whatever is asked of them.
        height, width = min(SAMPLE_PIXELS // grid.width + 1, grid.height), grid.width
    else:
        height, width = min(SAMPLE_EDGE, layout.block_height), min(SAMPLE_EDGE, layout.block_width)
    row = int(down * grid.height) // layout.block_height * layout.block_height
    col = int(right * grid.width) // layout.block_width * layout.block_width
    inside = Block(row, col, height, width).intersection(grid.block)
    return inside or Block(0, 0, height, width)

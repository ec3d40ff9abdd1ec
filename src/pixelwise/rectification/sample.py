"""Which pixels scenes are compared at: the same in all of them, spread over the grid, in whole blocks of the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import InputError
from pixelwise.grid import Block
from pixelwise.stacks.raster import RasterStack

__all__ = ["Sample", "sample_of", "sample_within"]

#: So many blocks, if there are, for pixels of one block resemble each other; the jackknife needs 16 groups of them.
LEAST_BLOCKS = 64
#: Blocks of files may be single rows, and as many as that: more are not considered one by one.
MOST_CANDIDATES = 200_000


@dataclass(frozen=True, eq=False)
class Sample:
    """Pixels on a sublattice of some blocks.

    Attributes
    ----------
    blocks
        The blocks, along a curve through the grid, so that neighbours in the sample are neighbours on the ground.
    step
        Of each block, every so many rows and columns are used, from its first ones on.
    inside
        For each block (row, column) of its used pixels that may be used; None for all.
    """

    blocks: tuple[Block, ...]
    step: tuple[int, int]
    inside: tuple[NDArray[np.bool_] | None, ...]

    def thinned(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the used pixels of (..., y, x) of a block."""
        return values[..., :: self.step[0], :: self.step[1]]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(block + 1,) where the pixels of each block begin in the sample, and where the last ones end."""
        sizes = [_size(block, self.step, inside) for block, inside in zip(self.blocks, self.inside, strict=True)]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def pixels_of(self, index: int, values: NDArray[Any]) -> NDArray[Any]:
        """Return (..., pixel) of the thinned (..., row, column) of a block."""
        inside = self.inside[index]
        flat = values.reshape(*values.shape[:-2], -1)
        return flat if inside is None else flat[..., inside.reshape(-1)]


def sample_of(stack: RasterStack, pixels: int, seed: int) -> Sample:
    """Choose blocks of a stack's files at random, and every so many pixels of each, until there are enough.

    Parameters
    ----------
    stack
        The scenes; only the requested area is used.
    pixels
        How many at least, if the area has as many; some have no value in a scene.
    seed
        The same seed gives the same pixels.

    Raises
    ------
    InputError
        When no pixel is requested.
    """
    grid, layout = stack.grid, stack.layout
    height, width = _unit(layout.block_height, grid.height), _unit(layout.block_width, grid.width)
    random = np.random.default_rng(seed)
    rows, columns = -(-grid.height // height), -(-grid.width // width)
    # Of a grid of many rows, each a block, some are enough.
    total = rows * columns
    order = random.permutation(total) if total <= MOST_CANDIDATES else random.integers(0, total, MOST_CANDIDATES)
    chosen: list[Block] = []
    masks: list[NDArray[np.bool_] | None] = []
    found = 0
    for number in dict.fromkeys(order.tolist()):
        row, column = divmod(number, columns)
        block = Block(row * height, column * width, height, width).intersection(grid.block)
        if block is None or not stack.area.touches(block):
            continue
        mask = stack.area.inside(block)
        count = block.pixels if mask is None else int(np.count_nonzero(mask))
        if not count:
            continue
        chosen.append(block)
        masks.append(mask)
        found += count
        if found >= pixels and len(chosen) >= LEAST_BLOCKS:
            break
    if not chosen:
        raise InputError("no pixel is requested: the region or the raster of --where leaves none")
    return sample_within(chosen, masks, pixels)


def sample_within(blocks: Sequence[Block], masks: Sequence[NDArray[np.bool_] | None], pixels: int) -> Sample:
    """Return a sample of some blocks.

    Parameters
    ----------
    blocks
        Blocks of the stack's files.
    masks
        For each (y, x) of the pixels that may be used; None for all.
    pixels
        How many at least, if there are so many; every so many are used.
    """
    height, width = max(block.height for block in blocks), max(block.width for block in blocks)
    along = sorted(range(len(blocks)), key=lambda index: _along_curve(blocks[index], height, width))
    blocks, inside = tuple(blocks[index] for index in along), [masks[index] for index in along]
    step = _step(blocks, inside, pixels)
    thinned = tuple(None if mask is None else mask[:: step[0], :: step[1]] for mask in inside)
    return Sample(blocks, step, thinned)


def _unit(source: int, size: int) -> int:
    return min(max(source, 1), size)


def _step(blocks: Sequence[Block], inside: Sequence[NDArray[np.bool_] | None], pixels: int) -> tuple[int, int]:
    """Return the largest steps, as equal as rows and columns allow, that leave enough pixels."""
    tallest, widest = max(block.height for block in blocks), max(block.width for block in blocks)
    step = (1, 1)
    while True:
        grows_down = step[0] < tallest and (step[0] <= step[1] or step[1] == widest)
        if not grows_down and step[1] == widest:
            return step
        larger = (step[0] + 1, step[1]) if grows_down else (step[0], step[1] + 1)
        thinned = [None if mask is None else mask[:: larger[0], :: larger[1]] for mask in inside]
        if sum(_size(block, larger, mask) for block, mask in zip(blocks, thinned, strict=True)) < pixels:
            return step
        step = larger


def _size(block: Block, step: tuple[int, int], inside: NDArray[np.bool_] | None) -> int:
    if inside is not None:
        return int(np.count_nonzero(inside))
    return -(-block.height // step[0]) * -(-block.width // step[1])


def _along_curve(block: Block, height: int, width: int) -> int:
    """Return the place of a block on Morton's curve: the bits of its row and column in turn."""
    row, column, place = block.row // height, block.col // width, 0
    for bit in range(32):
        place |= ((column >> bit) & 1) << (2 * bit) | ((row >> bit) & 1) << (2 * bit + 1)
    return place

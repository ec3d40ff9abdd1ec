"""Which pixels have their centre inside polygons: row by row, as rectangles of pixels.

The answer for a pixel depends only on the edges and its position, so it is the same in any block.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["rectangles_inside"]

#: Crossings of edges and rows held at once.
CROSSINGS = 4_000_000

#: Pixel coordinates are rounded to this part of a pixel: an edge through centres must not depend on rounding errors.
SNAP = 2.0**-20


def rectangles_inside(
    edges: NDArray[np.float64], owners: NDArray[np.int64], height: int, width: int
) -> NDArray[np.int32]:
    """Return the pixels of a grid whose centres lie inside at least one polygon.

    A centre on an edge belongs to the polygon to its right or below it: polygons that share an edge share no pixel and
    leave none out.

    Parameters
    ----------
    edges
        (edge, 4): column and row of both ends; the upper left corner of a pixel has whole numbers.
    owners
        (edge,): the owner of each. Edges of one owner form closed rings; inside means an odd number of crossings.
    height, width
        Size of the grid.

    Returns
    -------
    NDArray
        (4, rectangle): top, bottom, left, right, half-open; disjoint, by ascending top and left.
    """
    edges = np.round(edges / SNAP) * SNAP
    upward = edges[:, 1] > edges[:, 3]
    # An edge has the same crossings in either direction.
    edges = np.where(upward[:, None], edges[:, [2, 3, 0, 1]], edges)
    first = np.clip(np.ceil(edges[:, 1] - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(edges[:, 3] - 0.5), 0, height).astype(np.int64)
    crossing = last > first
    edges, owners, first, last = edges[crossing], owners[crossing], first[crossing], last[crossing]
    runs = [
        _runs(edges[part], owners[part], np.maximum(first[part], top), np.minimum(last[part], bottom), width)
        for top, bottom in _bands(first, last, height)
        for part in [(first < bottom) & (last > top)]
    ]
    return _merged(np.concatenate([np.empty((3, 0), np.int64), *runs], axis=1))


def _bands(first: NDArray[np.int64], last: NDArray[np.int64], height: int) -> list[tuple[int, int]]:
    """Divide rows into parts of at most `CROSSINGS` crossings each, or one row."""
    change = np.zeros(height + 1, np.int64)
    np.add.at(change, first, 1)
    np.add.at(change, last, -1)
    before = np.concatenate([[0], np.cumsum(np.cumsum(change[:-1]))])
    cuts = [0]
    while cuts[-1] < height:
        end = int(np.searchsorted(before, before[cuts[-1]] + CROSSINGS, side="right")) - 1
        cuts.append(min(max(end, cuts[-1] + 1), height))
    return list(pairwise(cuts))


def _runs(
    edges: NDArray[np.float64],
    owners: NDArray[np.int64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    width: int,
) -> NDArray[np.int64]:
    """Return (3, run): row, first column and the one after the last, of pixels inside any polygon."""
    counts = last - first
    edge = np.repeat(np.arange(len(edges)), counts)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    x0, y0, x1, y1 = edges.T
    x = x0[edge] + (rows + 0.5 - y0[edge]) * ((x1 - x0) / (y1 - y0))[edge]
    cols = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    order = np.lexsort((cols, rows, owners[edge]))
    rows, cols = rows[order], cols[order]
    # The crossings of a polygon with a row alternate: in, out, in, out.
    step = np.ones(len(rows), np.int64)
    step[1::2] = -1
    # Where one polygon ends and the next begins, the run continues.
    order = np.lexsort((-step, cols, rows))
    rows, cols, step = rows[order], cols[order], step[order]
    depth = np.cumsum(step)
    begin, end = (depth == 1) & (step == 1), depth == 0
    found = np.stack([rows[begin], cols[begin], cols[end]])
    return found[:, found[1] < found[2]]


def _merged(runs: NDArray[np.int64]) -> NDArray[np.int32]:
    """Merge equal runs in consecutive rows into rectangles."""
    rows, lefts, rights = runs[:, np.lexsort((runs[0], runs[2], runs[1]))]
    new = np.ones(len(rows), bool)
    new[1:] = (np.diff(lefts) != 0) | (np.diff(rights) != 0) | (np.diff(rows) != 1)
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], len(rows))[: len(starts)] - 1
    found = np.stack([rows[starts], rows[ends] + 1, lefts[starts], rights[starts]]).astype(np.int32)
    return np.ascontiguousarray(found[:, np.lexsort((found[2], found[0]))])

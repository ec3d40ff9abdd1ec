"""How many blocks a task has: so many that it lasts seconds, as each costs its scheduler milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from pixelwise.grid import Block

__all__ = ["WAITING_BYTES", "Pace"]

#: Seconds that a task costs Dask's scheduler: so that it keeps up with more workers, their tasks last longer.
TASK_COST = 5e-3
#: Bytes of finished blocks, before compression, that one task may bring back.
TASK_BYTES = 64 << 20
#: Bytes of finished blocks that all tasks in flight together may bring.
WAITING_BYTES = 1 << 30
#: How much the last task counts beside those before it.
WEIGHT = 0.5


class Pace:
    """Cuts blocks into runs, each the blocks of one task, by how long blocks took so far.

    Parameters
    ----------
    task_seconds
        How long a task should last; 0 for one block a task.
    block_bytes
        Bytes of a finished block.
    """

    def __init__(self, task_seconds: float, block_bytes: int) -> None:
        self._task_seconds = task_seconds
        self._block_bytes = max(block_bytes, 1)
        self._block_seconds = 0.0

    def note(self, blocks: int, seconds: float) -> None:
        """Learn how long the blocks of a task took together."""
        if not blocks:
            return
        new = seconds / blocks
        self._block_seconds = WEIGHT * new + (1 - WEIGHT) * self._block_seconds if self._block_seconds else new

    def runs(self, blocks: Iterable[Block], count: int, width: Callable[[], int]) -> Iterator[tuple[Block, ...]]:
        """Yield blocks in runs, in order; towards the end in smaller ones, so that all workers finish together.

        Parameters
        ----------
        blocks, count
            The blocks, and how many there are at most.
        width
            Returns how many tasks are in flight.
        """
        todo, left = iter(blocks), count
        while run := tuple(islice(todo, self._length(left, width()))):
            left -= len(run)
            yield run

    def _length(self, left: int, width: int) -> int:
        if not self._task_seconds or not self._block_seconds:
            return 1  # the first tasks tell how long a block takes
        lasting = int(max(self._task_seconds, width * TASK_COST) / self._block_seconds)
        fitting = min(TASK_BYTES, WAITING_BYTES // width) // self._block_bytes
        return max(min(lasting, fitting, left // (2 * width)), 1)

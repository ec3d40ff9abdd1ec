"""How many blocks a task has."""

from __future__ import annotations

from pixelwise.grid import Block
from pixelwise.jobs.pace import Pace

BLOCKS = [Block(0, 16 * index, 16, 16) for index in range(10_000)]


def lengths(seconds: float, width: int, *, task_seconds: float = 2.0, block_bytes: int = 1000) -> list[int]:
    """Return the lengths of all runs, if each block takes so long."""
    pace, found = Pace(task_seconds, block_bytes), []
    for run in pace.runs(BLOCKS, len(BLOCKS), lambda: width):
        found.append(len(run))
        pace.note(len(run), seconds * len(run))
    assert sum(found) == len(BLOCKS)
    return found


def test_the_first_task_tells_how_long_a_block_takes() -> None:
    assert lengths(0.01, 4)[:3] == [1, 200, 200]
    assert set(lengths(5.0, 4)) == {1}


def test_tasks_become_shorter_towards_the_end() -> None:
    found = lengths(0.001, 4)
    assert found[1] == 10_000 // 8 - 1
    assert found[-8:] == [1] * 8
    assert sorted(found[1:], reverse=True) == found[1:]


def test_with_more_workers_tasks_last_longer() -> None:
    """A scheduler starts a few hundred tasks a second, whatever the number of workers."""
    assert lengths(1.0, 8)[1] == 2
    assert lengths(1.0, 800)[1] == 4


def test_results_of_a_task_fit_into_memory() -> None:
    assert max(lengths(0.001, 4, block_bytes=16 << 20)) == 4
    # Of all tasks in flight together, too.
    assert max(lengths(0.001, 256, block_bytes=1 << 20)) == 4


def test_in_this_process_tasks_are_blocks() -> None:
    assert set(lengths(0.001, 4, task_seconds=0)) == {1}


def test_order_and_content_stay() -> None:
    pace = Pace(1.0, 1)
    pace.note(1, 0.1)
    assert [block for run in pace.runs(BLOCKS, len(BLOCKS), lambda: 3) for block in run] == BLOCKS

"""The bounded window, and the executors it works on."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from pixelwise.errors import ParameterError
from pixelwise.jobs.engine import map_unordered
from pixelwise.jobs.executors import InlineExecutor, open_executor, shares_memory, usable_cores


class CountingExecutor(Executor):
    """Runs at once, and remembers how many results were taken when each task was submitted."""

    def __init__(self) -> None:
        self.outstanding: list[int] = []
        self.taken = 0
        self.submitted = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted += 1
        self.outstanding.append(self.submitted - self.taken)
        return InlineExecutor().submit(fn, *args, **kwargs)


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_no_more_than_the_limit_is_in_flight(limit: int) -> None:
    executor = CountingExecutor()
    for _ in map_unordered(executor, lambda x: x, range(50), limit):
        executor.taken += 1
    assert executor.submitted == 50
    # One more than the limit: the result that is about to be yielded.
    assert max(executor.outstanding) <= limit + 1


def test_results_do_not_outlive_their_turn() -> None:
    class Big:
        """Something whose life can be watched."""

    alive: weakref.WeakSet[Big] = weakref.WeakSet()

    def task(_: int) -> Big:
        alive.add(big := Big())
        return big

    most = 0
    for result in map_unordered(InlineExecutor(), task, range(40), 5):
        most = max(most, len(alive))
        del result
    assert most <= 6


@pytest.mark.parametrize("name", ["inline", "threads", "processes"])
def test_all_results_arrive(name: str) -> None:
    with open_executor(name, 2) as executor:
        assert sorted(map_unordered(executor, abs, range(-20, 0), 4)) == list(range(1, 21))


def test_items_are_taken_lazily() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    results = map_unordered(InlineExecutor(), abs, items(), 3)
    next(results)
    assert len(taken) <= 4
    results.close()  # type: ignore[attr-defined]


def test_an_error_cancels_what_has_not_begun() -> None:
    release, begun = threading.Event(), []

    def task(i: int) -> int:
        begun.append(i)
        if i == 0:
            raise RuntimeError("task 0")
        release.wait(5)
        return i

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(RuntimeError, match="task 0"):
            list(map_unordered(pool, task, range(50), 10))
        release.set()
    assert len(begun) <= 3


def test_unknown_executors_are_refused() -> None:
    with pytest.raises(ParameterError, match="did you mean 'processes'"), open_executor("process", 2):
        pass


def test_a_forking_pool_is_refused_a_forkserver_is_not() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=get_context("fork")) as forking,
        pytest.raises(ParameterError, match="forks its workers"),
        open_executor(forking, 1),
    ):
        pass
    with ProcessPoolExecutor(1, mp_context=get_context("forkserver")) as pool, open_executor(pool, 1) as opened:
        assert opened is pool


def test_an_executor_handed_over_stays_open() -> None:
    with ThreadPoolExecutor(1) as pool:
        with open_executor(pool, 1):
            pass
        assert pool.submit(abs, -1).result() == 1


def test_who_shares_memory() -> None:
    with ThreadPoolExecutor(1) as threads, open_executor("processes", 1) as processes:
        assert shares_memory(threads)
        assert shares_memory(InlineExecutor())
        assert not shares_memory(processes)


def test_usable_cores() -> None:
    assert usable_cores() >= 1

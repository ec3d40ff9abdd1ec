"""The bounded window, and the executors it works on."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import pytest

from pixelwise.errors import ParameterError
from pixelwise.jobs.engine import map_unordered
from pixelwise.jobs.executors import (
    Foreign,
    InlineExecutor,
    InProcess,
    engine_of,
    open_engine,
    shares_memory,
    usable_cores,
)
from pixelwise.jobs.plan import Workers
from pixelwise.jobs.worker import SharedJob


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
    for _ in map_unordered(partial(executor.submit, lambda x: x), range(50), limit):
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
    for result in map_unordered(partial(InlineExecutor().submit, task), range(40), 5):
        most = max(most, len(alive))
        del result
    assert most <= 6


def test_the_limit_follows_the_workers() -> None:
    executor, limits = CountingExecutor(), iter([2, 2, 7, *[7] * 60])
    for _ in map_unordered(partial(executor.submit, abs), range(50), lambda: next(limits)):
        executor.taken += 1
    assert max(executor.outstanding[:2]) == 2
    assert max(executor.outstanding) in (7, 8)
    assert executor.submitted == 50


def test_items_are_taken_lazily() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    results = map_unordered(partial(InlineExecutor().submit, abs), items(), 3)
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
            list(map_unordered(partial(pool.submit, task), range(50), 10))
        release.set()
    assert len(begun) <= 3


def test_unknown_executors_are_refused() -> None:
    with pytest.raises(ParameterError, match="did you mean 'processes'"):
        engine_of("process", 2)


def test_a_forking_pool_is_refused_a_forkserver_is_not() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=get_context("fork")) as forking,
        pytest.raises(ParameterError, match="forks its workers"),
    ):
        engine_of(forking, 1)
    with ProcessPoolExecutor(1, mp_context=get_context("forkserver")) as pool:
        assert isinstance(engine_of(pool, 1), Foreign)


def test_an_executor_handed_over_stays_open() -> None:
    with ThreadPoolExecutor(1) as pool:
        with open_engine(engine_of(pool, 1)) as engine:
            engine.start(SharedJob("token", "ols"), 1)
        assert pool.submit(abs, -1).result() == 1


def test_who_shares_memory() -> None:
    with ThreadPoolExecutor(1) as threads, ProcessPoolExecutor(1, mp_context=get_context("forkserver")) as processes:
        for executor in (threads, InlineExecutor(), "threads", "inline"):
            assert shares_memory(executor)
            assert isinstance(engine_of(executor, 1), InProcess)
        assert not shares_memory(processes)
        assert not shares_memory("processes")


def test_whose_memory_is_planned() -> None:
    """Of all processes of this machine together; of one worker elsewhere, whatever their number."""
    with ProcessPoolExecutor(1, mp_context=get_context("forkserver")) as pool:
        found = {engine_of(executor, 4).workers for executor in ("threads", "processes", pool, CountingExecutor())}
    assert found == {
        Workers(1, 4), Workers(4, 1, beside=True), Workers(4, 1, beside=True), Workers(4, 1, local=False),
    }  # fmt: skip


def test_usable_cores() -> None:
    assert usable_cores() >= 1

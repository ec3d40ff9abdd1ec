"""What runs out, or is taken away: workers, memory, open files, room, patience. Each ends clearly, and goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from datetime import datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from click.testing import CliRunner

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.dates.axis import TimeAxis
from pixelwise.grid import Block, Grid
from pixelwise.jobs.engine import map_unordered
from pixelwise.jobs.executors import InlineExecutor
from pixelwise.rasters.handles import HANDLES
from support.limits import set_limits
from support.stopping import hidden

resource = pytest.importorskip("resource")


KEPT = [".trend.partial.tif", ".trend.tif.journal"]


def assert_goes_on(stack: pw.RasterStack, method: Any, output: Path, **options: Any) -> None:
    """Run the same job, undisturbed, and compare with one that never was disturbed."""
    wanted = pw.apply(stack, method, **options)
    done = pw.apply(stack, method, output, **options)
    for name in wanted.names:
        assert done[name].tobytes() == wanted[name].tobytes(), name
    assert not hidden(output.parent)


# --- workers -------------------------------------------------------------------------------------------------


def mortal(marker: Path, deaths: int) -> Callable[..., Any]:
    """Return a function that kills its worker, so many times, at a pixel in the middle."""

    def last(values: Any, times: Any) -> float:
        # 0.4 occurs in every block.
        if np.isclose(values[0], 0.4) and os.getpid() != parent and len(list(marker.iterdir())) < deaths:
            (marker / str(time.monotonic_ns())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return float(values[-1])

    parent = os.getpid()
    return pw.per_pixel(last, bands=["last"], jit=False)


def test_the_blocks_of_a_killed_worker_are_done_again(
    stack: pw.RasterStack, tmp_path: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "deaths").mkdir()
    calls: list[int] = []
    found = pw.apply(
        stack,
        mortal(tmp_path / "deaths", 2),
        out / "trend.tif",
        executor="processes",
        jobs=2,
        progress=lambda done, total: calls.append(done),
    )
    # Both may die before the first is noticed.
    told = caplog.text.count("a worker process died (killed, or out of memory?); its blocks are computed again")
    assert told in (1, 2)
    assert calls == sorted(set(calls))
    wanted = pw.apply(stack, pw.per_pixel(lambda y, t: float(y[-1]), bands=["last"]))
    assert found["last"].tobytes() == wanted["last"].tobytes()
    assert not hidden(out)


@pytest.mark.long
def test_workers_that_end_again_and_again_stop_the_job(stack: pw.RasterStack, tmp_path: Path, out: Path) -> None:
    (tmp_path / "deaths").mkdir()
    deadly = mortal(tmp_path / "deaths", 10**6)
    with pytest.raises(pw.ResourceError, match=r"^worker processes keep dying .* to resume$"):
        pw.apply(stack, deadly, out / "trend.tif", executor="processes", jobs=1)
    assert len(list((tmp_path / "deaths").iterdir())) == 4
    assert hidden(out) in ([], KEPT)


class Dying:
    """A stack whose reader is killed at every other block, once."""

    def __init__(self, markers: Path) -> None:
        self.markers = markers
        self.grid = Grid(None, Affine(30, 0, 0, 0, -30, 0), 16, 20 * 256)
        self.axis = TimeAxis.from_dates([datetime(year, 1, 1) for year in (2001, 2002, 2003)], ["year"] * 3)

    def read(self, block: Block) -> Any:
        marker = self.markers / str(block.col)
        if block.col // 256 % 2 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return np.arange(3.0)[:, None, None] + np.full((3, block.height, block.width), block.col, dtype=float)


@pytest.mark.long
def test_a_task_that_is_done_forgives_the_deaths_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines that kill a worker now and then end no job: only deaths in a row count."""
    set_limits(monkeypatch, block_bytes=1, window_bytes=1, task_seconds=0)
    found = pw.apply(Dying(tmp_path), "ols", executor="processes", jobs=1)
    assert caplog.text.count("a worker process died") > 4
    assert (found["slope"] == 1).all()


@pytest.fixture(autouse=True)
def deaths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEATHS", str(tmp_path))


class Breaking(InlineExecutor):
    """Breaks when it is handed a task, or under one, at given numbers of submissions."""

    def __init__(self, refuse: set[int], fail: set[int]) -> None:
        self.refuse, self.fail, self.count = refuse, fail, 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.count += 1
        if self.count in self.refuse:
            raise BrokenExecutor("refused")
        if self.count in self.fail:
            future: Future[Any] = Future()
            future.set_exception(BrokenExecutor("failed"))
            return future
        return super().submit(fn, *args, **kwargs)


@pytest.mark.parametrize("limit", [1, 3, 20])
@pytest.mark.parametrize("number", [1, 2, 5, 10, 13])
@pytest.mark.parametrize("way", ["refuse", "fail"])
def test_no_item_is_lost_or_done_twice(limit: int, number: int, way: str) -> None:
    executor = Breaking(**{"refuse": set(), "fail": set(), way: {number}})  # type: ignore[arg-type]
    mended: list[Exception] = []
    assert sorted(
        map_unordered(partial(executor.submit, abs), range(10), limit, (BrokenExecutor,), mended.append)
    ) == list(range(10))
    # The last items may all be submitted before that number is reached.
    assert len(mended) == (number <= 10)
    breaking = Breaking(**{"refuse": set(), "fail": set(), way: {5}})  # type: ignore[arg-type]
    with pytest.raises(BrokenExecutor, match=way):
        list(map_unordered(partial(breaking.submit, abs), range(10), limit))


def test_a_broken_pool_handed_over_stops_the_job(stack: pw.RasterStack, tmp_path: Path, out: Path) -> None:
    (tmp_path / "deaths").mkdir()
    deadly = mortal(tmp_path / "deaths", 1)
    words = r"^the executor broke \(.*\); start the job again with another one to resume$"
    broke = pytest.raises(pw.ResourceError, match=words)
    with ProcessPoolExecutor(1, mp_context=get_context("forkserver")) as pool, broke:
        pw.apply(stack, deadly, out / "trend.tif", executor=pool)
    assert hidden(out) in ([], KEPT)
    assert_goes_on(stack, deadly, out / "trend.tif", executor="inline")


# --- memory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
@pytest.mark.parametrize("decorate", [pw.per_pixel, pw.per_block])
def test_memory_that_runs_out_is_no_failure_of_a_pixel(
    stack: pw.RasterStack, out: Path, executor: str, decorate: Any
) -> None:
    def hungry(values: Any, times: Any) -> Any:
        if np.isclose(values, 0.4).any():
            raise MemoryError
        return values[-1] if decorate is pw.per_pixel else values[-1:]

    function = decorate(hungry, bands=["last"], **({"jit": False} if decorate is pw.per_pixel else {}))
    words = r"^memory ran out; run the same command again with fewer --jobs or a smaller --memory to resume$"
    with pytest.raises(pw.ResourceError, match=words):
        pw.apply(stack, function, out / "trend.tif", executor=executor, jobs=2)
    assert hidden(out) in ([], KEPT)


# --- open files ----------------------------------------------------------------------------------------------


@pytest.fixture
def few_handles() -> Iterator[Callable[[int], list[Any]]]:
    """Lower the limit of open files, and use them up but for some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[Any] = []

    def hold(left: int) -> list[Any]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            for _ in range(left):
                os.close(held.pop())
        return held

    yield hold
    for descriptor in held:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_handles_left(stack: pw.RasterStack, few_handles: Callable[[int], list[Any]]) -> None:
    block = stack.grid.block
    expected = stack.read(block)
    held = few_handles(0)
    with pytest.raises(
        pw.ResourceError, match=r"ndvi_2000\.tif: cannot be opened: this process may open no more files;"
    ):
        stack.read(block)
    # Two are enough for five files: one is open, and one for a look why another cannot be opened.
    for _ in range(2):
        os.close(held.pop())
    np.testing.assert_array_equal(stack.read(block), expected)
    assert not HANDLES.open_files


def test_an_output_that_cannot_be_opened(
    stack: pw.RasterStack, out: Path, few_handles: Callable[[int], list[Any]]
) -> None:
    few_handles(2)
    with pytest.raises(pw.PixelwiseError) as raised:
        pw.apply(stack, "ols", out / "trend.tif", executor="inline")
    assert isinstance(raised.value, pw.ResourceError), raised.value


# --- room ----------------------------------------------------------------------------------------------------

FULL = """
import resource, signal, sys
from pixelwise.jobs import limits
from pixelwise.cli import main
limits.LIMITS = limits.Limits(window_bytes=4096, journal_seconds=0.0)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
main(sys.argv[2:])
"""


def test_a_file_that_may_not_grow(stack: pw.RasterStack, out: Path) -> None:
    """As with a quota: status 75, the reason in one line, and the same command resumes."""
    command = ["apply", "ols", str(stack.paths[0].parent), "-o", str(out / "trend.tif"), "--quiet"]
    stopped = subprocess.run([sys.executable, "-c", FULL, "200000", *command], capture_output=True, text=True)
    assert stopped.returncode == 75
    assert stopped.stderr.splitlines()[-1] == (
        f"error: {out / 'trend.tif'}: cannot be written (File too large); free some space, and run the same command "
        "again to resume"
    )
    assert hidden(out) == KEPT
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0
    assert "resuming: " in done.stderr
    whole = pw.apply(stack, "ols")
    assert pw.open_map(out / "trend.tif")["slope"].tobytes() == whole["slope"].tobytes()
    assert not hidden(out)


# --- patience ------------------------------------------------------------------------------------------------

SLOW = """
import os, time
from pathlib import Path

def slow(values, times):
    (Path(os.environ["DEATHS"]) / "begun").touch()
    time.sleep(float(os.environ["SECONDS"]))
    return 1.0
"""

RUN = """
import sys
from pixelwise.jobs import limits
from pixelwise.cli import main
limits.LIMITS = limits.Limits(window_bytes=4096)
main(sys.argv[1:])
"""


def started(stack: pw.RasterStack, tmp_path: Path, out: Path, executor: str, seconds: float) -> subprocess.Popen[str]:
    """Start a job whose every pixel takes some time, and wait until it computes."""
    (tmp_path / "slow.py").write_text(SLOW)
    command = [
        sys.executable, "-c", RUN, "apply", f"{tmp_path / 'slow.py'}:slow", str(stack.paths[0].parent), "-o",
        str(out / "trend.tif"), "--bands", "one", "--no-jit", "--executor", executor, "--jobs", "2",
    ]  # fmt: skip
    (tmp_path / "begun").unlink(missing_ok=True)
    environment = {**os.environ, "SECONDS": "0"}
    # The rehearsal shall not take long; the function reads this when it is called.
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**environment, "SECONDS": str(seconds)})
    while not (out / ".trend.tif.journal").exists() or not (tmp_path / "begun").exists():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.05)
    (tmp_path / "begun").unlink()
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(
    ("signals", "executor", "seconds", "status", "words"),
    [
        # A block takes a second with threads; processes are not waited for.
        ([signal.SIGINT], "threads", 0.001, 130, "interrupted"),
        ([signal.SIGINT], "processes", 0.5, 130, "interrupted"),
        pytest.param([signal.SIGINT, signal.SIGINT], "threads", 0.5, 130, "interrupted", marks=pytest.mark.long),
        pytest.param([signal.SIGTERM], "processes", 0.5, 143, "terminated", marks=pytest.mark.long),
        ([signal.SIGTERM, signal.SIGTERM], "threads", 0.5, 143, "terminated"),
    ],
)
def test_who_is_told_to_leave_leaves(
    stack: pw.RasterStack,
    tmp_path: Path,
    out: Path,
    signals: list[int],
    executor: str,
    seconds: float,
    status: int,
    words: str,
) -> None:
    # With half a second per pixel a block takes ten minutes: whoever waits for it runs into the time limit.
    with started(stack, tmp_path, out, executor, seconds) as process:
        for number in signals:
            process.send_signal(number)
            time.sleep(0.3)
        try:
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == status, told
    assert told.splitlines()[-1] == words, told
    assert "Traceback" not in told
    assert hidden(out) in ([], KEPT)

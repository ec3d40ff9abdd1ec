"""Hundreds of jobs in one process, and what of each is left: memory, threads, open files, processes, hidden files.

A notebook or a service applies methods for days. ``make soak`` runs rounds of 30 jobs of every kind, failing ones
among them; it ends with status 1 when anything but memory is more after the last round than after the first, or
when memory grows faster than allocators do by themselves. `test_soak.py` does a part of one round.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import pixelwise as pw
from pixelwise.jobs import worker as worker_module
from support.limits import limited
from support.rasters import random_series, write_raster
from support.stopping import Stop, stopped_after

#: Bytes per job. Checkpoints of a program that keeps nothing vary by 0.3 MB (one standard deviation), so that a line
#: through 11 of them, 30 jobs apart, rises or falls by 1 kB per job; this is five times as much. A function that numba
#: compiled for each job anew cost 4 MB, 270 kB per job of this mixture.
MOST_GROWTH = 5_000

JOBS = 300
#: Jobs before memory is measured, for what is made once: compiled kernels, GDAL's drivers, arenas of threads. The last
#: such step was seen after some 250 jobs: 2 MB, and then nothing until the 750th.
EARLIER_JOBS = 300


# ------------------------------------------------------------------------------------------------- the jobs


def spread(values: Any, times: Any) -> float:
    """What users write: numba can compile it."""
    return values.max() - values.min() + 0.0 * times[0]


def fails(values: Any) -> float:
    """What users write too."""
    raise ValueError(f"no {len(values)}")


@dataclass(frozen=True)
class Scene:
    """Where jobs find and leave files."""

    stack: Path
    broken: Path
    function: Path
    output: Path

    @classmethod
    def write(cls, root: Path) -> Scene:
        """Write 6 small dates, and the same with one file that ends early."""
        values = np.nan_to_num(random_series((6, 96, 80), seed=1), nan=-1.0)
        scene = cls(root / "stack", root / "broken", root / "mine.py", root / "output")
        scene.output.mkdir()
        for year, layer in enumerate(values, 2000):
            for folder in (scene.stack, scene.broken):
                write_raster(folder / f"ndvi_{year}.tif", layer, nodata=-1, tiled=True, blockxsize=16, blockysize=16)
        cut = scene.broken / "ndvi_2003.tif"
        cut.write_bytes(cut.read_bytes()[:-9000])
        scene.function.write_text("import numpy as np\ndef spread(values):\n    return np.ptp(values)\n")
        return scene

    def open(self) -> pw.RasterStack:
        return pw.open_stack(self.stack)


@contextlib.contextmanager
def refused(error: type[BaseException]) -> Iterator[None]:
    """Expect an error, and forget it as a user's ``except`` does."""
    try:
        yield
    except error:
        return
    raise AssertionError(f"no {error.__name__}")


def many_blocks() -> Any:
    """Cut even the smallest scene, so that there is something to stop in the middle of."""
    return limited(window_bytes=1)


def journalled() -> Any:
    """Let each job keep a journal, as a long one does."""
    return limited(journal_seconds=0.0)


def in_memory(scene: Scene) -> None:
    assert pw.apply(scene.open(), "ols", executor="threads", jobs=2).status.size == 96 * 80


def inline(scene: Scene) -> None:
    pw.apply(scene.open(), "ols", executor="inline", bands=["slope", "pvalue"])


def geotiff(scene: Scene) -> None:
    written = pw.apply(scene.open(), "ols", scene.output / "trend.tif", jobs=3, overwrite=True)
    assert written["slope"].shape == (96, 80)


def per_band(scene: Scene) -> None:
    pw.apply(scene.open(), "ols", scene.output / "trend_{band}.tif", jobs=2, overwrite=True, dtype="float64")
    assert len(pw.open_map(scene.output / "trend_{band}.tif")) == 8


def team(scene: Scene) -> None:
    with limited(block_bytes=1):
        pw.apply(scene.open(), "ols", jobs=3)


def team_stopped(scene: Scene) -> None:
    with limited(block_bytes=1), refused(Stop):
        pw.apply(scene.open(), "ols", jobs=3, progress=stopped_after(1))


def handed_over(scene: Scene) -> None:
    with ThreadPoolExecutor(2) as pool:
        pw.apply(scene.open(), "ols", executor=pool)
        pw.apply(scene.open(), pw.methods.ols(min_obs=5), executor=pool)


def two_at_once(scene: Scene) -> None:
    stack = scene.open()
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(pw.apply, stack, "ols", jobs=2) for _ in range(3)]:
            done.result()


def python_function(scene: Scene) -> None:
    pw.apply(scene.open(), pw.per_pixel(spread, jit=False), executor="inline")


def closure(scene: Scene) -> None:
    weights = np.arange(50_000.0)  # is seen where it is kept
    pw.apply(scene.open(), pw.per_pixel(lambda y: y[0] * weights[1], jit=False), executor="threads", jobs=2)


def failing_function(scene: Scene) -> None:
    assert (pw.apply(scene.open(), pw.per_pixel(fails, bands=["x"], jit=False), executor="inline").status == 5).any()


def strict_function(scene: Scene) -> None:
    with refused(pw.FunctionError):
        pw.apply(
            scene.open(),
            pw.per_pixel(fails, bands=["x"], jit=False),
            scene.output / "x.tif",
            strict=True,
            executor="threads",
            jobs=2,
        )


def stopped(scene: Scene) -> None:
    with journalled(), refused(Stop):
        pw.apply(scene.open(), "ols", scene.output / "goes_on.tif", jobs=3, progress=stopped_after(2))


def goes_on(scene: Scene) -> None:
    output = scene.output / "goes_on.tif"
    with journalled(), refused(KeyboardInterrupt):
        pw.apply(scene.open(), "ols", output, executor="inline", jobs=3, progress=stopped_after(2, KeyboardInterrupt))
    with journalled():
        pw.apply(scene.open(), "ols", output, jobs=2)
    output.unlink()


def stopped_early(scene: Scene) -> None:
    with refused(Stop):
        pw.apply(scene.open(), "ols", scene.output / "y_{band}.tif", jobs=3, progress=stopped_after(1))


def stopped_in_memory(scene: Scene) -> None:
    with refused(KeyboardInterrupt):
        pw.apply(scene.open(), "ols", jobs=2, progress=stopped_after(1, KeyboardInterrupt))


def wrong_band(scene: Scene) -> None:
    with refused(pw.ParameterError):
        pw.apply(scene.open(), "ols", scene.output / "y.tif", bands=["slop"])


def wrong_executor(scene: Scene) -> None:
    with refused(pw.ParameterError):
        pw.apply(scene.open(), "ols", scene.output / "y.tif", executor="treads")


def too_little_memory(scene: Scene) -> None:
    with refused(pw.ParameterError):
        pw.apply(scene.open(), "ols", scene.output / "y.tif", memory="10MB")


def existing_output(scene: Scene) -> None:
    with refused(pw.OutputError):
        pw.apply(scene.open(), "ols", scene.output / "trend.tif")


def no_files(scene: Scene) -> None:
    with refused(pw.InputError):
        pw.open_stack(scene.stack / "ndvi_2050.tif")


def vanished_file(scene: Scene) -> None:
    stack, path = scene.open(), scene.stack / "ndvi_2002.tif"
    away = path.with_suffix(".away")

    def progress(done: int, total: int) -> None:
        if not away.exists():
            path.rename(away)

    try:
        with limited(check_seconds=0.0), refused(pw.InputError):
            pw.apply(stack, "ols", scene.output / "y.tif", jobs=3, progress=progress)
    finally:
        away.rename(path)


def truncated_file(scene: Scene) -> None:
    with refused(pw.InputError):
        pw.apply(pw.open_stack(scene.broken), "ols", scene.output / "y.tif", jobs=3)


def compiled_function(scene: Scene) -> None:
    pw.apply(scene.open(), pw.per_pixel(spread, jit=True), jobs=2)


def function_of_a_file(scene: Scene) -> None:
    pw.apply(scene.open(), f"{scene.function}:spread", scene.output / "spread.tif", jobs=2, overwrite=True)


def processes(scene: Scene) -> None:
    pw.apply(scene.open(), "ols", scene.output / "trend.tif", executor="processes", jobs=2, overwrite=True)


def processes_stopped(scene: Scene) -> None:
    with refused(Stop):
        pw.apply(scene.open(), "ols", executor="processes", jobs=2, progress=stopped_after(1))


Kind = Callable[[Scene], None]

#: They take a few hundredths of a second each.
QUICK: tuple[Kind, ...] = (
    in_memory,
    inline,
    geotiff,
    per_band,
    team,
    team_stopped,
    handed_over,
    two_at_once,
    python_function,
    closure,
    failing_function,
    strict_function,
    stopped,
    goes_on,
    stopped_early,
    stopped_in_memory,
    wrong_band,
    wrong_executor,
    too_little_memory,
    existing_output,
    no_files,
    vanished_file,
    truncated_file,
)
#: They compile or start processes.
SLOW: tuple[Kind, ...] = (compiled_function, function_of_a_file, processes, processes_stopped)
#: Thirty jobs: each kind at least once, in an order in which kinds meet others.
ROUND: tuple[Kind, ...] = (*QUICK, *SLOW, geotiff, in_memory, per_band)


# ---------------------------------------------------------------------------------------------- what is left


@dataclass(frozen=True)
class Left:
    """What a process holds between two jobs."""

    memory: int
    threads: int
    system_threads: int
    handles: int
    children: int
    hidden: int
    workspaces: int

    @classmethod
    def now(cls, scene: Scene) -> Left:
        return cls(
            memory=memory_bytes(),
            threads=threading.active_count(),
            system_threads=count_in("/proc/self/task"),
            handles=count_in("/dev/fd"),
            children=len(children()),
            hidden=sum(path.name.startswith(".") for path in scene.output.iterdir()),
            workspaces=len(worker_module._OWN) + len(worker_module._ARRIVED),
        )

    @classmethod
    def settled(cls, scene: Scene) -> Left:
        """Return what is left after Python collected cycles, and the system the processes that have ended."""
        gc.collect()
        give_memory_back()
        left = cls.now(scene)
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            time.sleep(0.1)
            later = cls.now(scene)
            if astuple(later)[1:] == astuple(left)[1:]:
                break
            left = later
        return left

    def more_than(self, other: Left) -> list[str]:
        """Say what is more than in another, memory aside."""
        before = vars(other)
        return [
            f"{name}: {now} instead of {before[name]}"
            for name, now in vars(self).items()
            if name != "memory" and now > before[name]
        ]


def memory_bytes() -> int:
    """Return this process's own memory; where Linux does not tell, the most that it ever had.

    Pages of libraries do not count: whose they are depends on which other programs use them now.
    """
    try:
        text = Path("/proc/self/smaps_rollup").read_text()
    except OSError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most << 10
    return next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Anonymous:"))


def give_memory_back() -> None:
    """Let glibc return what it keeps for later, which varies by 10 MB between checkpoints."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def count_in(folder: str) -> int:
    """Count entries; 0 where the system has no such folder."""
    try:
        return len(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return 0


def children() -> set[int]:
    """Return the processes that this one started, dead ones that nobody waited for among them."""
    with subprocess.Popen(["ps", "-A", "-o", "pid=,ppid="], stdout=subprocess.PIPE, text=True) as ps:
        assert ps.stdout is not None
        pairs = [tuple(map(int, line.split())) for line in ps.stdout]
    return {pid for pid, parent in pairs if parent == os.getpid()} - {ps.pid}


def growth(checkpoints: Sequence[tuple[int, Left]]) -> float:
    """Return bytes per job: the slope of a line through the checkpoints."""
    jobs = [float(number) for number, _ in checkpoints]
    return float(np.polyfit(jobs, [float(left.memory) for _, left in checkpoints], 1)[0])


# --------------------------------------------------------------------------------------------------- the soak


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the jobs and print a table; return 1 when something is left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--only", default="", help="name of a kind of job: to find what leaks")
    options = parser.parse_args(arguments)
    kinds = [kind for kind in ROUND if not options.only or kind.__name__ in options.only.split(",")]
    warnings.simplefilter("error")
    logging.getLogger("pixelwise").setLevel(logging.ERROR)
    began = time.monotonic()
    with many_blocks(), tempfile.TemporaryDirectory() as root:
        scene = Scene.write(Path(root))
        checkpoints: list[tuple[int, Left]] = []
        print(" jobs      s     MB  threads  of system  handles  children  hidden  workspaces")
        for number in range(1, EARLIER_JOBS + len(ROUND) + options.jobs + 1):
            kinds[(number - 1) % len(kinds)](scene)
            if number % len(ROUND) == 0:
                left = Left.settled(scene)
                checkpoints.append((number, left))
                print(
                    f"{number:5} {time.monotonic() - began:6.1f} {left.memory / 1e6:6.1f} {left.threads:8} "
                    f"{left.system_threads:10} {left.handles:8} {left.children:9} {left.hidden:7} {left.workspaces:11}",
                    flush=True,
                )
    rising = growth([(number, left) for number, left in checkpoints if number > EARLIER_JOBS])
    print(f"memory grows by {rising / 1000:.1f} kB per job, of {MOST_GROWTH / 1000:.0f} kB that noise may be")
    problems = checkpoints[-1][1].more_than(checkpoints[0][1])
    if rising > MOST_GROWTH:
        problems.append(f"memory: {rising:.0f} bytes per job")
    for problem in problems:
        print(f"LEFT {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

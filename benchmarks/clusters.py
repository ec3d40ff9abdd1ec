"""What engines cost: processor time of a job beside two threads, and what each task of Dask takes from its parent.

    python benchmarks/clusters.py [--size 3000] [--dates 100] [--rounds 3] [--tasks 20000]
                                     [--outputs 6000]

Jobs: `ols` from LZW tiles of 256 into a GeoTIFF, by the command line, on threads, on processes, on a scheduler and two
workers that run already, whose processor time counts as well. Tasks: blocks of 16 x 16 pixels, one in each task, of a
job that weighs a megabyte.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import measure
import numpy as np
from affine import Affine
from stacks import LAYOUTS, write_stack

import pixelwise as pw
from pixelwise.dates.axis import TimeAxis
from pixelwise.grid import Block, Grid
from pixelwise.jobs import limits
from pixelwise.stacks.base import Layout

JOBS = 2
#: Bytes of random numbers that a job carries along.
BALLAST = 1_000_000


@contextmanager
def started(module: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a module of Python until the context ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """Start a scheduler and two workers of one thread; yield the scheduler's file and all process IDs."""
    import distributed

    file = folder / "scheduler.json"
    with ExitStack() as running:
        where = ["--scheduler-file", str(file), "--no-dashboard"]
        processes = [running.enter_context(started("distributed.cli.dask_scheduler", "--port", "0", *where))]
        while not file.exists():
            time.sleep(0.1)
        for _ in range(JOBS):
            own = ["--nthreads", "1", "--no-nanny", *where]
            processes.append(running.enter_context(started("distributed.cli.dask_worker", *own)))
        with distributed.Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(JOBS)
        yield str(file), [process.pid for process in processes]


def processor_seconds(pid: int) -> float:
    """Return what a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Return the bytes that a process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def run(command: list[str], others: list[int]) -> float:
    """Run a command and return the processor seconds of it, its children, and some other processes."""
    before = sum(map(processor_seconds, others))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return usage.ru_utime + usage.ru_stime + sum(map(processor_seconds, others)) - before


def measure_jobs(size: int, dates: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return the processor time of a job on each engine, beside that on threads in the same round."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_stack(folder / "stack", LAYOUTS["tile256-lzw"], size, dates)
        with cluster(folder) as (address, pids):
            ways: dict[str, list[str]] = {
                "threads": ["--executor", "threads"],
                "processes": ["--executor", "processes"],
                "dask, workers that run": ["--executor", "dask", "--address", address],
            }
            times: dict[str, list[float]] = {way: [] for way in ways}
            for turn in range(rounds + 1):
                for way, options in ways.items():
                    command = [
                        sys.executable, "-m", "pixelwise", "apply", "ols", *map(str, files), "-o",
                        str(folder / "trend.tif"), "--overwrite", "--quiet", "--jobs", str(JOBS), *options,
                    ]  # fmt: skip
                    spent = run(command, pids if "--address" in options else [])
                    if turn:
                        times[way].append(spent)
    return measure.compare(times, "threads")


class Ballast:
    """A stack of tiny blocks that weighs a megabyte."""

    def __init__(self, blocks: int) -> None:
        self.grid = Grid(None, Affine(30, 0, 0, 0, -30, 0), 160, 16 * (blocks // 10))
        self.axis = TimeAxis.from_dates([datetime(year, 1, 1) for year in range(2001, 2006)], ["year"] * 5)
        self.layout = Layout(16, 16)
        self.ballast = np.random.default_rng(0).bytes(BALLAST)

    def read(self, block: Block) -> Any:
        """Return a slope of one."""
        return np.arange(5.0)[:, None, None] + np.zeros((5, block.height, block.width))


def measure_tasks(tasks: int, *, task_seconds: float) -> dict[str, float]:
    """Return what so many blocks cost the parent and the scheduler."""
    import distributed

    limits.LIMITS = replace(limits.LIMITS, block_bytes=1, window_bytes=1, task_seconds=task_seconds)
    with (
        tempfile.TemporaryDirectory() as name,
        cluster(Path(name)) as (address, pids),
        distributed.Client(scheduler_file=address) as client,
    ):
        pw.apply(Ballast(100), "ols", executor=client)
        before = resident(os.getpid()), resident(pids[0]), processor_seconds(os.getpid()), time.perf_counter()
        most = 0

        def look(done: int, total: int) -> None:
            nonlocal most
            if done % 256_000 == 0:
                most = max(most, resident(os.getpid()))

        found = pw.apply(Ballast(tasks), "ols", executor=client, bands=["slope"], progress=look)
        if not (found["slope"] == 1).all():
            raise SystemExit("wrong slopes")
        kept = sum(array.nbytes for array in found.arrays.values())
        after = max(most, resident(os.getpid())), resident(pids[0]), processor_seconds(os.getpid())
        return {
            "blocks": tasks,
            "seconds": time.perf_counter() - before[3],
            "parent_mb": (after[0] - before[0] - kept) / 1e6,
            "scheduler_mb": (after[1] - before[1]) / 1e6,
            "parent_ms": 1e3 * (after[2] - before[2]) / tasks,
        }


class Noise:
    """A stack of noise, which costs nearly nothing to read and cannot be compressed."""

    def __init__(self, size: int) -> None:
        self.grid = Grid(None, Affine(30, 0, 0, 0, -30, 0), size, size)
        self.axis = TimeAxis.from_dates([datetime(year, 1, 1) for year in range(2001, 2005)], ["year"] * 4)
        self.layout = Layout(256, 256, itemsize=4)

    def read(self, block: Block) -> Any:
        """Return the same noise for all blocks."""
        return np.random.default_rng(0).random((4, block.height, block.width), dtype=np.float32)


def measure_outputs(size: int) -> dict[str, dict[str, float]]:
    """Return what the parent does for a map whose blocks come from a cluster: as GeoTIFF, and as Zarr."""
    import distributed

    found = {}
    with (
        tempfile.TemporaryDirectory() as name,
        cluster(Path(name)) as (address, _),
        distributed.Client(scheduler_file=address) as client,
    ):
        pw.apply(Noise(512), "ols", Path(name, "first.zarr"), executor=client)
        for output in ("trend.tif", "trend.zarr"):
            path = Path(name, output)
            before, began = processor_seconds(os.getpid()), time.perf_counter()
            pw.apply(Noise(size), "ols", path, executor=client)
            spent = processor_seconds(os.getpid()) - before
            files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
            written = sum(file.stat().st_size for file in files) / 1e6
            found[output] = {
                "mb": written,
                "parent_seconds": spent,
                "seconds": time.perf_counter() - began,
                "mb_per_parent_second": written / spent,
                "mpx_per_parent_second": size * size / 1e6 / spent,
            }
    return found


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=3000)
    parser.add_argument("--dates", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--outputs", type=int, default=6000, help="edge of the map, in pixels; 0 for none")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    if options.rounds:
        found["jobs"] = measure_jobs(options.size, options.dates, options.rounds)
    if options.outputs:
        found["outputs"] = measure_outputs(options.outputs)
    if options.tasks:
        found["tasks"] = measure_tasks(options.tasks, task_seconds=0)
        found["blocks"] = measure_tasks(5 * options.tasks, task_seconds=limits.Limits().task_seconds)
    for name, case in found.items():
        print(name, case)
    measure.save("clusters", found)


if __name__ == "__main__":
    main()

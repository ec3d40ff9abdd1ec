"""A real Dask scheduler and its workers as processes, as a user would start them, some of them unfit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 60.0


@dataclass
class Scheduler:
    """A scheduler that runs, and the workers started for it."""

    file: Path
    process: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(
        self, *options: str, before: Sequence[str] = (), environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a worker in another folder than the test's, and wait until the scheduler knows it.

        `before` are words of a command that runs it, and `environment` is added to that of the tests.
        """
        known = len(self.known())
        command = [
            *before, sys.executable, *(["-S"] if environment else []), "-m", "distributed.cli.dask_worker",
            "--scheduler-file", str(self.file), "--nthreads", "1", "--no-nanny", "--no-dashboard", *options,
        ]  # fmt: skip
        own = {**os.environ, **(environment or {})}
        log = (self.file.parent / f"worker-{len(self.workers)}.log").open("wb")
        with log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.file.parent, env=own)
        self.workers.append(process)
        wait_for(lambda: len(self.known()) > known, process)
        return process

    def known(self) -> dict[str, Any]:
        """Return what the scheduler knows of its workers."""
        from distributed import Client

        with Client(scheduler_file=str(self.file), set_as_default=False) as client:
            return dict(client.scheduler_info()["workers"])

    def end_workers(self) -> None:
        """Kill all workers, and wait until the scheduler has noticed."""
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.workers.clear()
        wait_for(lambda: not self.known(), self.process)

    def end(self) -> None:
        """Kill everything."""
        for process in (*self.workers, self.process):
            process.kill()
            process.wait()


def wait_for(condition: Any, process: subprocess.Popen[Any] | None = None) -> None:
    """Wait until something holds, while a process runs."""
    until = time.monotonic() + SECONDS
    while not condition():
        assert process is None or process.poll() is None, process.args
        assert time.monotonic() < until
        time.sleep(0.05)


@contextmanager
def scheduler(folder: Path) -> Iterator[Scheduler]:
    """Start a scheduler, and end it with its workers."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "scheduler.json"
    command = [
        sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
        "--scheduler-file", str(file), "--no-dashboard",
    ]  # fmt: skip
    with (folder / "scheduler.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    found = Scheduler(file, process)
    try:
        wait_for(lambda: file.exists() and file.stat().st_size, process)
        yield found
    finally:
        found.end()


def other_packages(folder: Path, **versions: str | None) -> dict[str, str]:
    """Return the environment of a Python with the packages of this one, but for some.

    Parameters
    ----------
    folder
        Where links to the packages are made: a new folder.
    **versions
        Another version that a package says it has; None for a package that is missing.
    """
    import numpy as np

    folder.mkdir()
    source = Path(__file__).parents[2] / "src"
    for path in (*Path(np.__file__).parents[1].iterdir(), *source.iterdir()):
        name = path.name.partition("-")[0]
        if name not in versions or (versions[name] is not None and path.suffix != ".dist-info"):
            (folder / path.name).symlink_to(path)
    for name, version in versions.items():
        if version is not None:
            (folder / f"{name}-{version}.dist-info").mkdir()
            metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            (folder / f"{name}-{version}.dist-info" / "METADATA").write_text(metadata)
    return {"PYTHONPATH": str(folder)}

"""Dask: a real scheduler with workers that die, that come later, and that lack something."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pixelwise as pw
from pixelwise.jobs import cluster
from support.clusters import Scheduler, other_packages, scheduler, wait_for
from support.command_line import run
from support.limits import set_limits
from support.stopping import hidden

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scheduler]:
    with scheduler(tmp_path_factory.mktemp("dask")) as found:
        yield found


@pytest.fixture(autouse=True)
def no_workers_are_left(dask: Scheduler) -> Iterator[None]:
    yield
    if dask.workers:
        dask.end_workers()


@pytest.fixture
def client(dask: Scheduler) -> Iterator[Any]:
    with distributed.Client(scheduler_file=str(dask.file), set_as_default=False) as client:
        yield client


def assert_same(found: pw.Map, wanted: pw.Map) -> None:
    assert found.names == wanted.names
    for name in wanted.names:
        assert found[name].tobytes() == wanted[name].tobytes(), name


WAITING = '''
import os, time
from pathlib import Path

FOLDER = Path({folder!r})

def last(y):
    """Wait to be killed, once for each file that arms it."""
    armed = sorted(FOLDER.glob("armed*"))
    if armed and os.getpid() != {parent}:
        try:
            armed[0].unlink()
        except FileNotFoundError:
            return float(y[-1])
        (FOLDER / f"waiting-{{os.getpid()}}").touch()
        time.sleep(300)
    return float(y[-1])
'''


@pytest.fixture
def deadly(tmp_path: Path) -> Path:
    """Write a function that waits to be killed; `armed` files say how often."""
    path = tmp_path / "mine.py"
    path.write_text(WAITING.format(folder=str(tmp_path), parent=os.getpid()))
    return path


def kill_who_waits(folder: Path) -> int:
    """Kill the worker that waits for it, and return its process ID."""
    wait_for(lambda: list(folder.glob("waiting-*")))
    marker = next(folder.glob("waiting-*"))
    pid = int(marker.name.partition("-")[2])
    marker.unlink()
    os.kill(pid, signal.SIGKILL)
    return pid


def test_same_bytes_from_a_client_a_cluster_and_an_address(
    stack: pw.RasterStack, dask: Scheduler, client: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = pw.apply(stack, "ols", executor="inline")
    dask.start_worker()
    dask.start_worker("--nthreads", "3")
    set_limits(monkeypatch, window_bytes=1024, block_bytes=20_000)
    monkeypatch.chdir(stack.paths[0].parent)  # the workers are elsewhere
    near = pw.open_stack("*.tif")
    assert_same(pw.apply(near, "ols", executor=client), wanted)
    assert_same(pw.apply(near, pw.per_pixel(lambda y: y[0]), bands=["first"], executor=client),
                pw.apply(near, pw.per_pixel(lambda y: y[0]), bands=["first"], executor="inline"))  # fmt: skip
    assert_same(pw.apply(near, "ols", out / "trend.tif", executor=client), wanted)
    assert_same(pw.apply(near, "ols", out / "trend.zarr", executor=client), wanted)
    assert "of each worker" in run("plan", ".", "--executor", "dask", "--address", dask.file).stdout
    command = [sys.executable, "-m", "pixelwise", "apply", "ols", ".", "-o", str(out / "b.tif"), "--executor", "dask"]
    found = subprocess.run([*command, "--address", str(dask.file)], capture_output=True, text=True, check=True)
    assert found.stderr.count("\n") < 6, found.stderr
    assert_same(pw.open_map(out / "b.tif"), wanted)
    # Nothing of the jobs is left with the scheduler, or with its workers.
    arrived = client.run(lambda: len(sys.modules["pixelwise.jobs.worker"]._ARRIVED))
    assert set(arrived.values()) == {0}
    wait_for(lambda: not client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))


@pytest.mark.long
def test_workers_of_our_own(stack: pw.RasterStack) -> None:
    assert_same(pw.apply(stack, "ols", executor="dask", jobs=2), pw.apply(stack, "ols", executor="inline"))
    with distributed.LocalCluster(n_workers=1, dashboard_address=":0") as local:
        assert_same(pw.apply(stack, "ols", executor=local), pw.apply(stack, "ols", executor="inline"))


def test_a_client_that_is_closed_is_refused(stack: pw.RasterStack, dask: Scheduler) -> None:
    client = distributed.Client(scheduler_file=str(dask.file), set_as_default=False)
    future = client.submit(abs, -1)
    client.close()
    with pytest.raises(pw.ParameterError, match=r"^executor: this client is closed; pass one that is connected$"):
        pw.apply(stack, "ols", executor=client)
    with pytest.raises(pw.ParameterError, match="executor"):
        pw.apply(stack, "ols", executor=future)


@pytest.mark.parametrize("limited", [True, False])
def test_all_workers_are_counted(client: Any, monkeypatch: pytest.MonkeyPatch, limited: bool) -> None:
    """Versions of 2025 name five of them by default; those of 2024 take no number."""
    every = {f"tcp://{n}": {"nthreads": 2, "memory_limit": 4 << 30} for n in range(8)}

    def recent(n_workers: int = 5) -> Any:
        return {"workers": dict(list(every.items())[: n_workers if n_workers >= 0 else None])}

    def old(**options: Any) -> Any:
        assert not options
        return {"workers": every}

    monkeypatch.setattr(client, "scheduler_info", recent if limited else old)
    engine = cluster.Cluster(client, "", 1, None)
    assert engine.workers.count == 8
    assert engine.width(1) == 32


def test_an_executor_of_dask_hides_its_client(stack: pw.RasterStack, client: Any) -> None:
    with pytest.raises(pw.ParameterError, match=r"^executor=client.get_executor\(\) hides the client: pass the client"):
        pw.apply(stack, "ols", executor=client.get_executor())


def test_blocks_of_dead_workers_are_done_again(
    stack: pw.RasterStack, dask: Scheduler, client: Any, deadly: Path, tmp_path: Path, out: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """One dies, then all; a new one comes, and the job ends as if nothing had happened."""
    wanted = pw.apply(stack, f"{deadly}:last", executor="inline")
    for _ in range(2):
        dask.start_worker()
    for number in range(2):
        (tmp_path / f"armed{number}").touch()
    set_limits(monkeypatch, window_bytes=1024, block_bytes=20_000, task_seconds=0.1)
    monkeypatch.setattr("pixelwise.jobs.engine.IDLE_SECONDS", 0.2)
    found: list[pw.Map] = []
    job = threading.Thread(
        target=lambda: found.append(pw.apply(stack, f"{deadly}:last", out / "last.tif", executor=client))
    )
    job.start()
    first = kill_who_waits(tmp_path)
    assert kill_who_waits(tmp_path) != first
    wait_for(lambda: "has no worker left; waiting for another one" in caplog.text)
    dask.start_worker()
    job.join(60)
    assert_same(found[0], wanted)
    assert not hidden(out)


def test_a_scheduler_that_dies_ends_the_job_in_one_line_to_resume(
    stack: pw.RasterStack, deadly: Path, tmp_path: Path, out: Path
) -> None:
    wanted = pw.apply(stack, f"{deadly}:last", executor="inline")
    command = [
        sys.executable, "-m", "pixelwise", "apply", f"{deadly}:last", str(stack.paths[0].parent), "-o",
        str(out / "last.tif"), "--quiet", "--no-jit",
    ]  # fmt: skip
    with scheduler(tmp_path / "another") as other:
        other.start_worker()
        address = ["--executor", "dask", "--address", str(other.file)]
        # Not in the command itself, which tries the function first.
        (tmp_path / "mine.py").write_text(
            deadly.read_text()
            .replace("os.getpid() != ", "'worker' in sys.argv[0] and 1 != ")
            .replace("import os", "import sys, os")
        )
        (tmp_path / "armed").touch()
        process = subprocess.Popen([*command, *address], stderr=subprocess.PIPE, text=True)
        wait_for(lambda: list(tmp_path.glob("waiting-*")), process)
        other.process.kill()
        began = time.monotonic()
        _, told = process.communicate(timeout=60)
        assert time.monotonic() - began < 30
    assert process.returncode == 75, told
    lines = [line for line in told.splitlines() if "error" in line.lower()]
    assert len(lines) == 1, told
    assert "was lost; to resume, run the same command again with a running scheduler" in lines[0]
    assert "Traceback" not in told
    subprocess.run(command, check=True, capture_output=True)
    assert_same(pw.open_map(out / "last.tif"), wanted)


def test_no_scheduler_and_no_worker(
    stack: pw.RasterStack, dask: Scheduler, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    monkeypatch.setattr(cluster, "WORKER_SECONDS", 0.5)
    words = ("apply", "ols", stack.paths[0].parent, "-o", tmp_path / "a.tif")
    silent = socket.create_server(("127.0.0.1", 0))  # accepts, and says nothing
    for address, status, told in (
        ("tcp://127.0.0.1:1", 75, "address tcp://127.0.0.1:1: no Dask scheduler answers there"),
        *(
            (odd, 1, f"address {odd}: expected that of a Dask scheduler, tcp://HOST:PORT, or its file")
            for odd in (
                "localhost",
                "tcp://127.0.0.1",
                "foo://x:1",
                "http://127.0.0.1:8786",
                stack.paths[0],
            )
        ),
        ("/gone.json", 75, "address /gone.json: no Dask scheduler answers there (the file does not exist)"),
        (f"tcp://127.0.0.1:{silent.getsockname()[1]}", 75, "address tcp://127.0.0.1:"),
        (dask.file, 75, f"the Dask scheduler {dask.file} has no worker: start some"),
    ):
        found = run(*words, "--executor", "dask", "--address", address)
        assert found.exit_code == status
        assert found.stderr.splitlines()[1].startswith(f"error: {told}"), found.stderr
        assert found.stderr.count("\n") == 2
    with pytest.raises(pw.ResourceError, match="has no worker"):
        pw.apply(stack, "ols", executor=client)
    silent.close()
    assert "expected executor dask, not threads" in run(*words, "--address", "tcp://127.0.0.1:1").stderr


# Dask itself has a say about NumPy, as a table of 20 lines.
@pytest.mark.filterwarnings("ignore::distributed.versions.VersionMismatchWarning")
@pytest.mark.parametrize(
    ("lacks", "words"),
    [
        ({"pixelwise": None}, "has no pixelwise: install .* there, as here"),
        ({"pixelwise": "9.9"}, r"has pixelwise 9.9 \(here .*\): install the same there"),
        ({"numpy": "1.2.3", "numba": "0.1"}, r"has numpy 1.2.3 \(here .*\), numba 0.1 \(here .*\): install the same"),
        ({"numba": None}, r"has numba missing \(here .*\): install the same"),
    ],
)
def test_a_worker_without_the_same_packages_is_named(
    stack: pw.RasterStack, dask: Scheduler, client: Any, tmp_path: Path, lacks: dict[str, str | None], words: str
) -> None:
    dask.start_worker(environment=other_packages(tmp_path / "packages", **lacks))
    with pytest.raises(pw.ParameterError, match=rf"^the worker tcp://127.0.0.1:\d+ on \S+ {words}"):
        pw.apply(stack, "ols", executor=client)


def begin(function: Callable[[], Any]) -> tuple[threading.Thread, list[BaseException]]:
    """Call a function in a thread; return that, and a list to which its error will be added."""
    caught: list[BaseException] = []

    def call() -> None:
        try:
            function()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    return thread, caught


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::distributed.versions.VersionMismatchWarning")
@pytest.mark.parametrize("lacks", [{"pixelwise": None}, {"numba": "0.1"}, {}])
def test_an_unfit_worker_that_comes_later_is_named(
    stack: pw.RasterStack, dask: Scheduler, client: Any, deadly: Path, tmp_path: Path, lacks: dict[str, str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    dask.start_worker()
    (tmp_path / "armed").touch()
    set_limits(monkeypatch, window_bytes=1024, block_bytes=20_000, task_seconds=0)
    job, caught = begin(lambda: pw.apply(stack, f"{deadly}:last", executor=client))
    wait_for(lambda: list(tmp_path.glob("waiting-*")))
    if lacks:
        dask.start_worker(environment=other_packages(tmp_path / "packages", **lacks))
    else:
        dask.start_worker("--memory-limit", "200MiB")
    job.join(60)
    assert isinstance(caught[0], pw.ParameterError)
    assert ("install the same there" if lacks else "which came later, has 200 MiB for 1 thread(s)") in str(caught[0])


@pytest.mark.long
def test_a_worker_that_comes_later_and_sees_other_files_is_named(
    stack: pw.RasterStack, dask: Scheduler, client: Any, deadly: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.name == "nt" or os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("hiding files from a process needs unshare, and root")
    dask.start_worker()
    (tmp_path / "armed").touch()
    set_limits(monkeypatch, window_bytes=1024, block_bytes=20_000, task_seconds=0)
    job, caught = begin(lambda: pw.apply(stack, f"{deadly}:last", executor=client))
    wait_for(lambda: list(tmp_path.glob("waiting-*")))
    folder = stack.paths[0].parent
    shutil.copytree(folder, tmp_path / "copy")
    for path in (tmp_path / "copy").iterdir():
        os.utime(path, (1e9, 1e9))
    mount = f'mount --bind {tmp_path / "copy"} {folder}; exec "$@"'
    dask.start_worker(before=["unshare", "-m", "sh", "-c", mount, "sh"])
    job.join(60)
    assert isinstance(caught[0], pw.InputError)
    assert "here, 2001-09-09 01:46:40 there (UTC) (5 files in all)" in str(caught[0])


def test_a_worker_that_does_not_see_the_files_is_named(
    stack: pw.RasterStack, dask: Scheduler, client: Any, tmp_path: Path
) -> None:
    if os.name == "nt" or os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("hiding files from a process needs unshare, and root")
    folder = stack.paths[0].parent
    empty = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none {folder}; exec "$@"', "sh"]
    dask.start_worker(before=empty)
    words = rf"the worker \S+ on \S+ does not see {stack.paths[0]}: No such file or directory \(5 files in all\); put"
    with pytest.raises(pw.InputError, match=words):
        pw.apply(stack, "ols", executor=client)
    dask.end_workers()
    shutil.copytree(folder, tmp_path / "copy")  # with other times
    for path in (tmp_path / "copy").iterdir():
        os.utime(path, (1e9, 1e9))
    dask.start_worker(before=[*empty[:4], f'mount --bind {tmp_path / "copy"} {folder}; exec "$@"', "sh"])
    with pytest.raises(pw.InputError, match=r"does not see \S+: modified .* here, .* there \(UTC\) \(5 files"):
        pw.apply(stack, "ols", executor=client)


def test_what_breaks_is_one_line(dask: Scheduler, client: Any) -> None:
    dask.start_worker()
    engine = cluster.Cluster(client, "", 1, None)
    worker = client.run_on_scheduler(lambda dask_scheduler: next(iter(dask_scheduler.workers.values())).clean())
    with pytest.raises(
        pw.ResourceError, match=r"^worker after worker died under one task, tcp://\S+ last: out of memor"
    ):
        engine.recover(distributed.scheduler.KilledWorker("key", worker, 3))
    with pytest.raises(pw.ResourceError, match=r"^the Dask cluster tcp://\S+ failed \(no way\)"):
        engine.recover(RuntimeError("no way"))


def test_workers_of_our_own_have_time_to_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine, known = cluster.Cluster(None, "", 1, None), dict[str, Any]()
    engine._client = SimpleNamespace(status="running", scheduler_info=lambda n_workers: {"workers": known})
    engine.wait()
    assert "no worker left" not in caplog.text
    monkeypatch.setattr(cluster, "START_SECONDS", 0)
    engine.wait()
    engine.wait()
    assert caplog.text.count("has no worker left; waiting for another one") == 1


def test_a_worker_that_is_too_small_is_named(stack: pw.RasterStack, dask: Scheduler, client: Any) -> None:
    dask.start_worker("--memory-limit", "200MiB")
    with pytest.raises(pw.ParameterError, match="a worker may use 120 MiB, which is too little"):
        pw.apply(stack, "ols", executor=client)
    with pytest.raises(
        pw.ParameterError, match=r"^memory 1.0 GiB is the limit for each worker, but the worker tcp\S+ has 200 M"
    ):
        pw.apply(stack, "ols", executor=client, memory="1GiB")

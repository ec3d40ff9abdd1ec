"""What happens in a worker: a job arrives once, under a name, and its blocks are computed; failures are values."""

from __future__ import annotations

import pickle
import socket
import threading
import traceback
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from pixelwise.errors import InputError, ParameterError, PixelwiseError
from pixelwise.grid import Block
from pixelwise.jobs.job import Work, Workspace
from pixelwise.jobs.probe import look_at
from pixelwise.jobs.provenance import versions
from pixelwise.kernels.jit import compiling, compiling_turn
from pixelwise.methods.functions.travel import dumps
from pixelwise.rasters.handles import reading_in_worker, warm_up
from pixelwise.rasters.stamps import FileStamp

__all__ = [
    "Failure",
    "Outcome",
    "SharedJob",
    "check_seen",
    "compile_kernels",
    "compute_bytes",
    "compute_elsewhere",
    "compute_here",
    "compute_taken",
    "different_versions",
    "forget",
    "keep",
    "marks_of",
    "shared",
    "take",
]


#: Times of files may differ by this much: FAT and some network disks keep whole seconds.
CLOCK_SECONDS = 2.0


@dataclass(frozen=True)
class SharedJob:
    """A job that workers know by a name.

    Attributes
    ----------
    token
        Its name; each run of a job has its own.
    name
        The method's name, for messages.
    payload
        The pickled job; nothing if tasks run in this process.
    versions
        The versions that made it, and without which bits may differ.
    files
        Size and modification time in ns of its local files, by absolute path.
    """

    token: str
    name: str
    payload: bytes = b""
    versions: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """An error as a value: some cannot be pickled, others lose their type or cause on the way.

    Attributes
    ----------
    kind, text
        The class of the error, and its message.
    host
        The machine on which it happened.
    pickled
        The error itself, if it survives the way.
    traceback
        Where it happened.
    """

    kind: str
    text: str
    host: str
    pickled: bytes
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Return an error as a value."""
        lines = "".join(traceback.format_exception(error))
        return cls(type(error).__name__, str(error), socket.gethostname(), _pickled(error), lines)

    def error(self) -> Exception:
        """Return the error to raise."""
        found = None
        with suppress(Exception):  # a class that only the worker has
            found = pickle.loads(self.pickled) if self.pickled else None  # noqa: S301 - of a worker, which runs our code
        if not isinstance(found, Exception):
            found = RuntimeError(f"{self.kind}: {self.text}")
        if isinstance(found, PixelwiseError) and self.host != socket.gethostname():
            lines = found.problems if isinstance(found, InputError) else (str(found),)
            found = type(found)(*(f"{line} (on {self.host})" for line in lines))
        found.add_note(f"on {self.host}:\n{self.traceback}")
        return found


def _pickled(error: BaseException) -> bytes:
    """Return a pickled error; nothing if it does not come back as it was."""
    try:
        data = pickle.dumps(error)
        same = str(pickle.loads(data)) == str(error)  # noqa: S301 - pickled on the line above
    except Exception:  # of any kind: pickling runs methods of the error
        return b""
    return data if same else b""


@dataclass(frozen=True)
class Outcome:
    """What a task gives: its finished blocks, and why it stopped if it did.

    Attributes
    ----------
    compiled
        What was compiled for it, and on which machine.
    """

    results: tuple[Any, ...]
    failure: Failure | None = None
    compiled: tuple[str, ...] = ()


#: Workspaces of the jobs that this process runs itself, by token.
_OWN: dict[str, Workspace] = {}
#: Workspaces of jobs that arrived pickled, by token: the last few.
_ARRIVED: OrderedDict[str, Workspace] = OrderedDict()
_KEPT = 2
_ARRIVING = threading.Lock()


def shared(job: Work[Any], name: str, *, in_process: bool, files: Mapping[Path, FileStamp] | None = None) -> SharedJob:
    """Give a job a name under which workers know it; `files` are what they must see as it is here.

    It is pickled once, to bytes, and each worker unpickles it once; if tasks run in this process, nothing is pickled.
    Open files and pixels are never sent.
    """
    if in_process:
        return SharedJob(uuid.uuid4().hex, name)
    return SharedJob(uuid.uuid4().hex, name, dumps(job), versions(), marks_of(files or {}))


@contextmanager
def keep(job: Work[Any], token: str) -> Iterator[None]:
    """Keep a job for tasks that run in this process."""
    _OWN[token] = Workspace(job, token)
    try:
        yield
    finally:
        _OWN.pop(token).close()


def compute_here(token: str, blocks: tuple[Block, ...]) -> Outcome:
    """Compute blocks of a job that this process keeps; errors are raised."""
    workspace = _OWN.get(token)
    if workspace is None:
        raise RuntimeError("a task was started after its job was over")
    return Outcome(tuple(_compute(workspace, block) for block in blocks))


def compute_elsewhere(job: SharedJob, blocks: tuple[Block, ...]) -> Outcome:
    """Compute blocks of a job that was pickled; errors are values. Without blocks, only prepare for it."""
    results: list[Any] = []
    compiled: tuple[str, ...] = ()
    try:
        workspace, compiled = _arrived(job)
        for block in blocks:
            results.append(_compute(workspace, block))  # noqa: PERF401 - those before an error are kept
    except Exception as error:
        return Outcome(tuple(results), Failure.of(error), compiled)
    return Outcome(tuple(results), None, compiled)


#: The job of a worker process, which came with its start.
_TAKEN: list[SharedJob] = []


def take(job: SharedJob) -> None:
    """Keep the job for which this process was started, or for which a pool prepares it."""
    _TAKEN[:] = [job]


def compute_taken(blocks: tuple[Block, ...]) -> Outcome:
    """Compute blocks of the job that this process took."""
    return compute_elsewhere(_TAKEN[0], blocks)


def compute_bytes(job: bytes, blocks: bytes) -> Outcome:
    """Compute blocks of a job, both as the plain bytes that a worker can hold before it is known to have pixelwise."""
    numbers = np.frombuffer(blocks, dtype=np.int64).reshape(-1, 4).tolist()
    return compute_elsewhere(SharedJob(*pickle.loads(job)), tuple(Block(*four) for four in numbers))  # noqa: S301 - ours


def _compute(workspace: Workspace, block: Block) -> Any:
    with reading_in_worker(workspace.token, workspace.job.handles):
        return workspace.job.compute(block, workspace)


def _arrived(job: SharedJob) -> tuple[Workspace, tuple[str, ...]]:
    """Return the workspace of a job, unpickled if it is new here, and what was compiled for it."""
    with _ARRIVING:
        if job.token in _ARRIVED:
            _ARRIVED.move_to_end(job.token)
            return _ARRIVED[job.token], ()
        host = socket.gethostname()
        if differing := different_versions(job.versions, versions()):
            raise ParameterError(f"the worker on {host} has {differing}; install the same there")
        check_seen(f"the worker on {host}", job.files, look_at(job.files))
        while len(_ARRIVED) >= _KEPT:
            _ARRIVED.popitem(last=False)[1].close()
        try:
            workspace = Workspace(cloudpickle.loads(job.payload), job.token)
        except ImportError as error:
            raise ParameterError(
                f"the worker on {host} cannot take the job ({error}): install the same packages there as here"
            ) from None
        with reading_in_worker(job.token, workspace.job.handles):
            compiled = compile_kernels(workspace.job, job.name)
        _ARRIVED[job.token] = workspace
    return workspace, tuple(f"{label} on {host}" for label in compiled)


def marks_of(files: Mapping[Path, FileStamp]) -> dict[str, tuple[int, int]]:
    """Return what `check_seen` compares of files; folders, which are Zarr stores, have nothing that tells."""
    known = {path.absolute(): stamp for path, stamp in files.items() if not path.is_dir()}
    return {str(path): (stamp.size, stamp.mtime_ns) for path, stamp in known.items()}


def forget(token: str) -> None:
    """Drop a job that is over, with its memory."""
    with _ARRIVING:
        workspace = _ARRIVED.pop(token, None)
    if workspace is not None:
        workspace.close()


def check_seen(where: str, files: Mapping[str, tuple[int, int]], seen: Mapping[str, tuple[int, int] | str]) -> None:
    """Refuse a worker that does not see the same files as the process that began the job.

    Parameters
    ----------
    where
        The worker.
    files
        Size and modification time in ns of each file.
    seen
        What the worker sees of each, or why it sees nothing.

    Raises
    ------
    InputError
    """
    wrong = []
    for path, stamp in files.items():
        found = seen[path]
        if isinstance(found, str):
            wrong.append(f"{path}: {found}")
        elif differing := _difference(stamp, found):
            wrong.append(f"{path}: {differing}")
    if wrong:
        more = f" ({len(wrong)} files in all)" if len(wrong) > 1 else ""
        raise InputError(
            f"{where} does not see {wrong[0]}{more}; put the files on a disk that all workers share, or on each at the "
            "same path with its time (cp -p)"
        )


def _difference(here: tuple[int, int], there: tuple[int, int]) -> str:
    """Say how a file differs at a worker; nothing if it is the same."""
    if here[0] != there[0]:
        return f"{here[0]} bytes here, {there[0]} there"
    if abs(here[1] - there[1]) <= CLOCK_SECONDS * 1e9:
        return ""
    own, other = (datetime.fromtimestamp(stamp[1] / 1e9, UTC) for stamp in (here, there))
    return f"modified {own:%Y-%m-%d %H:%M:%S} here, {other:%Y-%m-%d %H:%M:%S} there (UTC)"


def different_versions(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """Say in which versions two installations differ; nothing if bits are the same."""
    return ", ".join(
        f"{name} {theirs.get(name) or 'missing'} (here {version})"
        for name, version in ours.items()
        if theirs.get(name) != version
    )


def compile_kernels(job: Work[Any], name: str) -> tuple[str, ...]:
    """Warm up the stacks and compile the kernels of a job in this thread, while others on this machine wait.

    Returns
    -------
    tuple
        What had to be compiled.
    """
    with compiling_turn(job.kernels(name)), compiling(name, begins=False) as compiled:
        warm_up(job.stacks)
        job.try_out()
    return tuple(compiled)

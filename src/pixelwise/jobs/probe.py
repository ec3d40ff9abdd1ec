"""What is sent to a worker that may lack pixelwise: functions that need the standard library only, sent as their text.

`pixelwise.jobs.cluster` runs this module's text in a namespace of its own and sends what it finds there.
"""

import importlib.metadata
import os
import platform
import socket
from collections.abc import Iterable


def installed(names: list[str]) -> dict[str, str]:
    """Return the versions of packages, and of Python; an empty text for those that are missing."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
    return found


def look_at(paths: Iterable[str]) -> dict[str, tuple[int, int] | str]:
    """Return (size, time in ns) of each file, or why it is not seen."""
    seen: dict[str, tuple[int, int] | str] = {}
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116
            seen[path] = status.st_size, status.st_mtime_ns
        except OSError as error:
            seen[path] = error.strerror or str(error)
    return seen


def look(names: list[str], paths: list[str]) -> dict[str, object]:
    """Return the host of a worker, its versions, and what it sees of files."""
    return {"host": socket.gethostname(), "versions": installed(names), "files": look_at(paths)}


def same(task: object) -> object:
    """Return what came: a task that gives it to others, and that can be done again."""
    return task


def run(job: bytes, blocks: bytes) -> object:
    """Compute blocks of a job, both as bytes; return a text if this worker lacks what that takes."""
    try:
        from pixelwise.jobs.worker import compute_bytes
    except ImportError as error:
        version = installed(["pixelwise"])["pixelwise"]
        lacks = f"has pixelwise {version}, of which {error}" if version else "has no pixelwise"
        return f"the worker on {socket.gethostname()} {lacks}; install the same there as here"
    return compute_bytes(job, blocks)

"""How much memory a job may use on this machine: of the machine itself, its container, or a queue's job."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["allowed_memory", "free_memory", "physical_memory"]

#: Where Linux mounts the limits of groups of processes.
GROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")


def free_memory() -> int:
    """Return the bytes that are available and allowed; all that is allowed if that is unknown."""
    found = re.search(rb"(?m)^MemAvailable:\s*(\d+) kB", _read(PROC / "meminfo"))
    return min(allowed_memory(), int(found[1]) << 10) if found else allowed_memory()


def allowed_memory() -> int:
    """Return the bytes that this process may use: the machine's, or fewer in a container or a job of Slurm."""
    return min([physical_memory(), *_limits_of_groups(), *_limits_of_slurm()])


def physical_memory() -> int:
    """Return the bytes of memory of this machine; 4 GiB if unknown."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 4 << 30


def _limits_of_groups() -> Iterator[int]:
    """Yield the limits of the control groups of this process; those of all parents hold as well."""
    # A container sees its own group as the root, whatever its path is outside.
    version1, version2 = PurePosixPath("/"), PurePosixPath("/")
    for line in _read(PROC / "self/cgroup").decode(errors="replace").splitlines():
        found = re.fullmatch(r"\d+:(.*?):(/.*)", line)
        if found and not found[1]:
            version2 = PurePosixPath(found[2])
        elif found and "memory" in found[1].split(","):
            version1 = PurePosixPath(found[2])
    for root, group, name in (
        (GROUPS, version2, "memory.max"), (GROUPS / "memory", version1, "memory.limit_in_bytes"),
    ):  # fmt: skip
        for parent in dict.fromkeys((group, *group.parents, PurePosixPath("/"))):
            # `max`, or a number beyond any memory, is no limit.
            limit = re.fullmatch(rb"(\d+)\s*", _read(root / str(parent).lstrip("/") / name))
            if limit and int(limit[1]):
                yield int(limit[1])


def _limits_of_slurm() -> Iterator[int]:
    """Yield what Slurm grants its job on this node, in MiB; 0 is the whole node."""
    node, cpu, cpus = (os.environ.get(f"SLURM_{name}", "") for name in ("MEM_PER_NODE", "MEM_PER_CPU", "CPUS_ON_NODE"))
    if node.isdecimal() and int(node):
        yield int(node) << 20
    elif cpu.isdecimal() and cpus.isdecimal() and int(cpu) * int(cpus):
        yield int(cpu) * int(cpus) << 20


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""

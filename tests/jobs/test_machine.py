"""How much memory a job may use: of the machine, of its container, of a queue's job."""

from pathlib import Path

import pytest

from pixelwise.jobs import machine

MIB = 1 << 20


@pytest.fixture(autouse=True)
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Put the files of the kernel into a folder, and no limit into them; the machine has 1 GiB."""
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "physical_memory", lambda: 1024 * MIB)
    for name in ("MEM_PER_NODE", "MEM_PER_CPU", "CPUS_ON_NODE"):
        monkeypatch.delenv(f"SLURM_{name}", raising=False)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_free_memory(tmp_path: Path) -> None:
    assert machine.free_memory() == 1024 * MIB
    write(tmp_path / "proc/meminfo", "MemTotal: 9 kB\nMemAvailable:   2000 kB\n")
    assert machine.free_memory() == 2000 << 10
    write(tmp_path / "cgroup/memory.max", "max\n")
    assert machine.free_memory() == 2000 << 10
    write(tmp_path / "cgroup/memory.max", "1000000\n")
    assert machine.free_memory() == 1_000_000


def test_the_limit_of_a_group_or_a_parent_of_it(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/slurm/job_7/step_0/user\n")
    write(tmp_path / "cgroup/slurm/job_7/step_0/user/memory.max", "max\n")
    assert machine.allowed_memory() == 1024 * MIB
    write(tmp_path / "cgroup/slurm/job_7/memory.max", f"{300 * MIB}\n")
    write(tmp_path / "cgroup/slurm/job_8/memory.max", "1\n")
    assert machine.allowed_memory() == 300 * MIB


def test_the_limit_of_a_group_of_version_1(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "11:cpu,cpuacct:/\n9:memory:/docker/ab:c\n0::/\n")
    write(tmp_path / "cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert machine.allowed_memory() == 1024 * MIB
    write(tmp_path / "cgroup/memory/docker/ab:c/memory.limit_in_bytes", f"{400 * MIB}\n")
    assert machine.allowed_memory() == 400 * MIB


def test_the_limit_of_a_job_of_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "0")
    assert machine.allowed_memory() == 1024 * MIB
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "500")
    assert machine.allowed_memory() == 500 * MIB
    monkeypatch.delenv("SLURM_MEM_PER_NODE")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    assert machine.allowed_memory() == 1024 * MIB
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "3")
    assert machine.allowed_memory() == 300 * MIB

"""A SLURM of one machine for tests: its own key of munge, its own ports and folders, and nothing left afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

__all__ = ["CPUS", "PARTITION", "missing", "slurm"]

PROGRAMS = ("setpriv", "munged", "munge", "slurmctld", "slurmd", "sinfo", "sbatch", "srun", "squeue", "scancel")
#: Where Debian has the daemons; the PATH of users need not have it.
PLACES = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
PARTITION = "tests"
#: What the node has, by its own account. Four at least: jobs must run beside each other on a small machine too.
CPUS = max(os.cpu_count() or 1, 4)
#: Seconds until SLURM must be ready, and until processes that were asked to end are killed.
START_SECONDS, STOP_SECONDS = 30, 5

CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
ReturnToService=2
KillWait=1
MailProg=/bin/true
SlurmdParameters=config_overrides
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={mebibytes} State=UNKNOWN
PartitionName={partition} Nodes=node Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Return why SLURM cannot be started here; nothing if it can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=PLACES) is None]
    if absent:
        return f"SLURM is not installed: {', '.join(absent)}"
    return "" if os.geteuid() == 0 else "only root can start a SLURM of its own"


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Start SLURM in a folder, wait until its node is idle, and yield the environment for `sbatch` and the others.

    At the end, jobs are cancelled and all its processes are gone, those of jobs included. The folder keeps the logs.
    If this process is killed, the daemons end with it, but jobs that run go on.

    The path of the folder must be short: that of a Unix socket has at most 107 bytes.
    """
    folder = folder.resolve()
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key, configuration, munge = folder / "munge.key", folder / "slurm.conf", folder / "munge"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    # Programs of SLURM that run in a job of another one belong to that job.
    foreign = ("SLURM_", "SBATCH_", "SALLOC_", "SQUEUE_", "SINFO_", "SCANCEL_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment |= {"PATH": PLACES, "SLURM_CONF": str(configuration)}
    controller_port, node_port = free_ports()
    configuration.write_text(
        CONFIGURATION.format(
            host=socket.gethostname().partition(".")[0],
            controller_port=controller_port,
            node_port=node_port,
            folder=folder,
            cpus=CPUS,
            mebibytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
            partition=PARTITION,
        )
    )
    files = {"key-file": key, "socket": munge, "pid-file": folder / "munge.pid", "seed-file": folder / "munge.seed"}
    options = [f"--{name}={path}" for name, path in files.items()]
    sinfo = ["sinfo", "--noheader", "--format=%T"]
    with ExitStack() as stack:
        # What ends last is named first.
        stack.callback(end_all, configuration)
        munged = start(["munged", "--foreground", "--force", *options], folder, environment, stack)
        wait_for(lambda: says(["munge", "-n", "-S", str(munge)], environment) is not None, folder, munged)
        slurmctld = start(["slurmctld", "-D"], folder, environment, stack)
        slurmd = start(["slurmd", "-D"], folder, environment, stack)
        # Programs of SLURM that find nobody sleep for a second before they try again.
        wait_for(lambda: listens(controller_port), folder, munged, slurmctld, slurmd)
        wait_for(lambda: says(sinfo, environment) == "idle\n", folder, munged, slurmctld, slurmd)
        stack.callback(cancel_all, environment)
        yield environment


def free_ports() -> tuple[int, int]:
    """Return two ports where nobody listens."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("", 0))
        other.bind(("", 0))
        return one.getsockname()[1], other.getsockname()[1]


def start(
    command: list[str], folder: Path, environment: Mapping[str, str], stack: ExitStack
) -> subprocess.Popen[bytes]:
    """Start a daemon that says all to a log of its name, and ends with the stack, or when this process is killed."""
    bound = ["setpriv", "--pdeathsig", "TERM", *command]
    log = stack.enter_context((folder / f"{command[0]}.log").open("wb"))
    process = subprocess.Popen(
        bound, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True
    )
    stack.callback(end, process)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a daemon to end, and kill it if it does not."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(true: Callable[[], bool], folder: Path, *daemons: subprocess.Popen[bytes]) -> None:
    """Wait until something is true; if a daemon ends or it takes too long, raise an error with all logs."""
    last = time.monotonic() + START_SECONDS
    while not true():
        if time.monotonic() > last or any(daemon.poll() is not None for daemon in daemons):
            logs = [f"{path.name}:\n{path.read_text(errors='replace')}" for path in sorted(folder.glob("*.log"))]
            raise RuntimeError("\n".join(["SLURM does not start", *logs]))
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Say whether somebody listens on a port of this machine."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def says(command: list[str], environment: Mapping[str, str]) -> str | None:
    """Return what a command writes; None if it fails, or takes too long."""
    try:
        run = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=STOP_SECONDS
        )
    except subprocess.TimeoutExpired:
        return None
    return run.stdout if run.returncode == 0 else None


def cancel_all(environment: Mapping[str, str]) -> None:
    """Cancel all jobs, and wait until their processes have ended, or not much longer."""
    if says(["scancel", f"--partition={PARTITION}"], environment) is None:
        return
    # Jobs whose processes are not all gone yet are among them.
    squeue = ["squeue", "--noheader", "--format=%i"]
    last = time.monotonic() + STOP_SECONDS
    while says(squeue, environment) and time.monotonic() < last:
        time.sleep(0.05)


def end_all(configuration: Path) -> None:
    """Kill what still runs with the configuration in its environment: steps, and what jobs started."""
    mark = f"SLURM_CONF={configuration}".encode()
    last = time.monotonic() + STOP_SECONDS
    while time.monotonic() < last:
        found = [pid for pid in others() if mark in environment_of(pid)]
        if not found:
            return
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)
    raise RuntimeError(f"processes of SLURM do not end: {found}")


def others() -> list[int]:
    """Return the processes of the machine but this one."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return [pid for pid in pids if pid != os.getpid()]


def environment_of(pid: int) -> list[bytes]:
    """Return the environment a process was started with; nothing if it has ended, or waits for its parent."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []

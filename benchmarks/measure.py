"""How the benchmarks measure: tasks that take turns, peak memory, and where results are kept.

The machine is shared and noisy, so no time stands alone: tasks take turns in one process after a warm-up, and a ratio
is that of two runs of the same round.
"""

from __future__ import annotations

import json
import os
import platform
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

#: Results of all benchmarks, by benchmark and case; `report.py` makes the document of them.
RESULTS = Path(__file__).with_name("results.json")


def seconds(task: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Time one call."""
    began = clock()
    task()
    return clock() - began


def alternate(
    tasks: Mapping[str, Callable[[], object]],
    rounds: int,
    between: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Run all tasks in turn, once to warm up and then `rounds` times; `between` runs after each, untimed.

    The order changes from round to round: what ran before leaves memory and caches in another state, worth 5 %.
    """
    times: dict[str, list[float]] = {name: [] for name in tasks}
    shuffle = random.Random(0).shuffle
    for turn in range(rounds + 1):
        names = list(tasks)
        shuffle(names)
        for name in names:
            spent = seconds(tasks[name], clock)
            between()
            if turn:
                times[name].append(spent)
    return times


def compare(times: Mapping[str, Sequence[float]], reference: str) -> dict[str, dict[str, float]]:
    """Return median seconds of each task, and the ratio to the reference of the same round: median and spread."""
    result = {}
    for name, spent in times.items():
        ratios = sorted(a / b for a, b in zip(spent, times[reference], strict=True))
        result[name] = {
            "seconds": median(spent),
            "ratio": median(ratios),
            "ratio_min": ratios[0],
            "ratio_max": ratios[-1],
            "rounds": len(spent),
        }
    return result


def peak_memory(arguments: Sequence[str], interval: float = 0.02) -> tuple[float, float]:
    """Run Python with some arguments; return seconds, and the largest sum of PSS over its processes in MB.

    PSS divides memory that processes share among them, so that nothing is counted twice.
    """
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, start_new_session=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(pss(pid) for pid in family(process.pid)))
        time.sleep(interval)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed")
    return time.perf_counter() - began, peak / 1e6


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for parent in found:
        try:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        except OSError:
            continue
        found += [int(child) for child in children]
    return found


def pss(pid: int) -> int:
    """Return the proportional set size of a process in bytes; 0 where it has ended."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 0


def save(benchmark: str, cases: Mapping[str, Any]) -> None:
    """Add results to those kept, with the machine: cases of the same name are replaced."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept.setdefault(benchmark, {}).update(cases)
    kept.setdefault("machines", {})[benchmark] = machine()
    RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


def write_parts(page: Path, parts: Mapping[str, str]) -> None:
    """Put each part between the marks ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` of a page; keep the rest."""
    text = page.read_text()
    for name, part in parts.items():
        pattern = re.compile(f"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{page.name}: has no place for {name}")
        text = pattern.sub(lambda found, part=part: f"{found[1]}{part}\n{found[2]}", text)
    page.write_text(text)


def machine() -> dict[str, Any]:
    """Say what it was measured on."""
    import numba
    import numpy as np
    import rasterio

    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else ""
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_GiB": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "rasterio": rasterio.__version__,
        "gdal": rasterio.__gdal_version__,
    }


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """Return aligned columns for the terminal."""
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)

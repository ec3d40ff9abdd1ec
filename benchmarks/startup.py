"""How long a process takes before `ols` computes: the first call with kernels to compile, and with kernels kept.

Each is a fresh process; numba's own import (0.2 s) is not part of the call, and stands beside it.

    python benchmarks/startup.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from statistics import median

import measure

CALL = """
import time
import numpy as np
from pixelwise.methods import ols
from pixelwise.dates.axis import TimeAxis
began = time.perf_counter()
import numba
imported = time.perf_counter()
bound = ols().bind(TimeAxis.from_times(np.arange(1995, 2016)), None, {})
bound((np.ones((21, 256), np.float32),), "float32")
print(imported - began, time.perf_counter() - imported)
"""


def first_call(folder: str) -> tuple[float, float]:
    """Return seconds of importing numba, and of the first call, with kernels kept in a folder."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
    done = subprocess.run([sys.executable, "-c", CALL], env=environment, capture_output=True, text=True, check=True)
    imported, called = done.stdout.split()
    return float(imported), float(called)


def show_help() -> None:
    """Run the command line without work."""
    subprocess.run([sys.executable, "-m", "pixelwise", "--help"], capture_output=True, check=True)


def main() -> None:
    """Alternate cold and warm processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {"import numba": [], "cold first call": [], "warm first call": []}
    commands: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            times["cold first call"].append(first_call(folder)[1])
            imported, called = first_call(folder)
        times["import numba"].append(imported)
        times["warm first call"].append(called)
        commands.append(measure.seconds(show_help))
    times["pixelwise --help"] = commands
    results = {name: {"seconds": median(spent), "min": min(spent), "max": max(spent)} for name, spent in times.items()}
    measure.save("startup", results)
    rows = [(name, f"{r['seconds']:.2f}", f"{r['min']:.2f}..{r['max']:.2f}") for name, r in results.items()]
    print(measure.table(rows, ("", "median s", "spread")))


if __name__ == "__main__":
    main()

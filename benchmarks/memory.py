"""Peak memory of whole jobs, by size of the raster, number of dates and layout; what the plan said; and its promise.

Each job is a process of its own, its PSS (with that of its children) sampled every 20 ms.

    python benchmarks/memory.py [--cases NAME,NAME] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import measure
from stacks import LAYOUTS, write_stack

import pixelwise as pw
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.plan import parse_size
from pixelwise.jobs.task import plan_job

BANDS = ("slope", "intercept", "rvalue", "pvalue", "stderr")


@dataclass(frozen=True)
class Case:
    """One job."""

    layout: str
    size: int
    dates: int
    jobs: int = 2
    memory: str | None = None
    executor: str = "threads"
    in_memory: bool = False
    output: str = "map.tif"
    driver: str = "GTiff"

    @property
    def name(self) -> str:
        """Say it in words."""
        words = [f"{self.layout}, {self.size}² x {self.dates}"]
        words += [f"--memory {self.memory}"] if self.memory else []
        words += [f"{self.jobs} {self.executor}"] if (self.jobs, self.executor) != (2, "threads") else []
        words += ["kept in memory"] if self.in_memory else []
        form = (
            self.driver if self.driver != "GTiff" else {".zarr": "Zarr", ".nc": "NetCDF"}.get(Path(self.output).suffix)
        )
        words += [f"as {form}"] if form else []
        return ", ".join(words)


CASES = (
    Case("tile256-deflate-p2", 1000, 21),
    Case("tile256-deflate-p2", 3000, 21),
    Case("tile256-deflate-p2", 12000, 21),
    Case("tile256-lzw", 3000, 21),
    Case("strips-deflate", 3000, 21),
    Case("tile512-zstd", 3000, 21),
    Case("bands-pixel", 3000, 21),
    Case("tile256-deflate-p2", 3000, 21, in_memory=True),
    Case("tile256-deflate-p2", 3000, 21, executor="processes"),
    Case("tile256-lzw", 1000, 100),
    Case("tile256-lzw", 1000, 1000),
    Case("tile256-lzw", 1000, 1000, memory="1GiB"),
    Case("tile512-zstd", 1024, 1000),
    Case("tile512-zstd", 1024, 1000, memory="2GiB"),
    Case("tile512-zstd", 1024, 1000, memory="1GiB"),
    Case("tile256-deflate-p2", 3000, 21, jobs=8, memory="1GiB"),
    Case("tile256-deflate-p2", 3000, 21, executor="processes", memory="1GiB"),
    Case("tile256-deflate-p2", 12000, 21, memory="1GiB", output="map.zarr"),
    Case("tile256-deflate-p2", 12000, 21, memory="1GiB", output="map.nc"),
    Case("tile256-deflate-p2", 12000, 21, memory="1GiB", driver="COG"),
)

JOB = """
import sys
import pixelwise as pw
source, output, jobs, executor, memory, driver = sys.argv[1:]
stack = pw.open_stack(source)
pw.apply(
    stack, "ols", output or None, bands={bands!r}, jobs=int(jobs), executor=executor, memory=memory or None,
    driver=driver,
)
"""


def run(case: Case, folder: Path) -> dict[str, object]:
    """Measure one job."""
    paths = write_stack(folder, LAYOUTS[case.layout], case.size, case.dates)
    stack = pw.open_stack(paths)
    bound = pw.methods.ols().bind(stack.axis, BANDS, {})
    execution = Execution(case.executor, case.jobs, case.memory)
    plan = plan_job((stack,), bound, execution, in_memory=case.in_memory)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        output = "" if case.in_memory else str(Path(name) / case.output)
        job = JOB.format(bands=BANDS)
        arguments = [str(paths[0].parent), output, str(case.jobs), case.executor, case.memory or "", case.driver]
        spent, peak = measure.peak_memory(["-c", job, *arguments])
    limit = None if case.memory is None else parse_size(case.memory) / 1e6
    return {
        "seconds": spent,
        "peak_MB": peak,
        "planned_MB": plan.memory / 1e6,
        "limit_MB": limit,
        "block": f"{plan.block_width} x {plan.block_height}",
        "team": plan.team,
        "redecode": plan.redecode,
    }


def main() -> None:
    """Measure the cases asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pixelwise-benchmarks")
    options = parser.parse_args()
    logging.getLogger("pixelwise").setLevel(logging.ERROR)
    rows = []
    for case in CASES:
        if options.only not in case.name:
            continue
        result = run(case, options.folder)
        measure.save("memory", {case.name: result})
        limit = "" if result["limit_MB"] is None else f"{result['limit_MB']:.0f}"
        rows.append(
            (
                case.name, f"{result['peak_MB']:.0f}", f"{result['planned_MB']:.0f}", limit, result["block"],
                result["team"], f"{result['redecode']:.2f}", f"{result['seconds']:.1f}",
            )
        )  # fmt: skip
        print(*rows[-1], sep="  ", flush=True)
    header = ("job", "peak MB", "planned", "limit", "block", "team", "re-decode", "s")
    print(measure.table(rows, header))


if __name__ == "__main__":
    main()

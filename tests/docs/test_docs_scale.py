"""The commands, scripts and Python of docs/scale.md run as they stand, with the engines that are installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from affine import Affine
from click.testing import CliRunner

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.grid import Grid
from pixelwise.jobs.limits import Limits
from pixelwise.jobs.plan import Demand, OutputDemand, Workers, make_plan
from pixelwise.stacks.base import Layout
from support.pages import run_sessions, samples
from support.places import ROOT
from support.rasters import random_series, write_raster

PAGE = ROOT / "docs" / "scale.md"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder with files as the page has them, as the current one."""
    folder = tmp_path_factory.mktemp("scale")
    for year, layer in enumerate(random_series((12, 150, 130), seed=1), 2000):
        write_raster(folder / "ndvi" / f"ndvi_{year}.tif", layer, tiled=True, blockxsize=32, blockysize=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def wanted(home: Path) -> pw.Map:
    return pw.apply(pw.open_stack(str(home / "ndvi" / "*.tif")), "trend", executor="inline")


def assert_same(path: Path, wanted: pw.Map) -> None:
    found = pw.open_map(path)
    for name in wanted.names:
        assert found[name].tobytes() == wanted[name].tobytes(), name


@pytest.fixture(scope="module")
def tiles(home: Path) -> Path:
    """Two tiles side by side, each with its scenes and the recipes of its layers and its map."""
    for number, tile in enumerate(("T1", "T2")):
        place = Affine(30, 0, 500000 + 900 * number, 0, -30, 3400000)
        for year, layer in enumerate(random_series((12, 20, 30), seed=2 + number), 2000):
            write_raster(home / tile / "scenes" / f"ndvi_{year}-07-01.tif", layer, transform=place)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(home / tile)
            for words in (
                ["composite", "scenes", "-o", "annual.tif", "--write-recipe", "annual.toml"],
                ["run", "annual.toml"],
                ["apply", "trend", "annual.tif", "-o", "trend.tif", "--write-recipe", "trend.toml"],
            ):
                result = CliRunner().invoke(main, words)
                assert result.exit_code == 0, result.output
    (home / "tiles.txt").write_text("T1\nT2\n")
    return home


def test_commands_print_what_the_page_shows(home: Path, wanted: pw.Map, tiles: Path) -> None:
    pytest.importorskip("distributed")
    assert run_sessions(PAGE) == 7
    assert pw.open_map(tiles / "zone.tif").grid.width == 60
    assert_same(home / "trend.tif", wanted)
    assert_same(home / "trend_dask.tif", wanted)


def scripts() -> list[str]:
    return [text for text in samples(PAGE, "bash") if text.startswith("#!")]


@pytest.mark.parametrize(
    ("number", "queue"),
    [
        (0, {"SLURM_ARRAY_TASK_ID": "{}", "SLURM_CPUS_PER_TASK": "2"}),
        pytest.param(1, {"PBS_ARRAY_INDEX": "{}"}, marks=pytest.mark.long),
    ],
)
def test_scripts_of_queues_run_in_a_shell_loop(home: Path, wanted: pw.Map, number: int, queue: dict[str, str]) -> None:
    script = scripts()[number]
    (home / "array.sh").write_text(script)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for index in (3, 1, 4, 2):
        variables = {name: value.format(index) for name, value in queue.items()}
        environment = {**os.environ, "PATH": path, "PBS_O_WORKDIR": str(home), **variables}
        subprocess.run(["bash", "array.sh"], cwd=home, env=environment, check=True, capture_output=True)
    subprocess.run([Path(sys.executable).parent / "pixelwise", "join", "array.tif"], check=True, capture_output=True)
    assert_same(home / "array.tif", wanted)
    (home / "array.tif").unlink()


def test_the_script_of_many_tiles_runs_twice(tiles: Path) -> None:
    (tiles / "tiles.sh").write_text(next(text for text in scripts() if "tiles.txt" in text))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for _ in range(2):
        environment = {**os.environ, "PATH": path, "SLURM_ARRAY_TASK_ID": "2", "SLURM_CPUS_PER_TASK": "2"}
        subprocess.run(["bash", "tiles.sh"], cwd=tiles, env=environment, check=True, capture_output=True)
    assert pw.open_map(tiles / "T2" / "trend.tif").provenance["method"] == "trend"


def run_python(sample: str, name: str = "__main__", **namespace: Any) -> None:
    exec(compile(sample, str(PAGE), "exec"), {"__name__": name, **namespace})


def test_a_client_in_python(home: Path, wanted: pw.Map) -> None:
    distributed = pytest.importorskip("distributed")
    sample = next(text for text in samples(PAGE, "python") if "LocalCluster" in text)
    assert distributed
    # 8787, the port of its dashboard, may be taken.
    run_python(sample.replace("threads_per_worker=1", "threads_per_worker=1, dashboard_address=':0'"))
    assert_same(home / "trend_client.tif", wanted)


def test_a_client_of_a_queue(home: Path, wanted: pw.Map, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its side of the sample, with workers of this machine in the place of those of a queue."""
    distributed = pytest.importorskip("distributed")
    asked: dict[str, Any] = {}

    class Queue(distributed.LocalCluster):  # type: ignore[misc,name-defined]
        def __init__(self, **options: Any) -> None:
            asked.update(options)
            super().__init__(n_workers=0, threads_per_worker=1, dashboard_address=":0")

        def scale(self, n: int = 0, jobs: int | None = None) -> Any:
            return super().scale(n if jobs is None else 2)

    module = types.ModuleType("dask_jobqueue")
    module.SLURMCluster = Queue  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dask_jobqueue", module)
    sample = next(text for text in samples(PAGE, "python") if "SLURMCluster" in text)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(sample, str(PAGE), "exec"), namespace)
    namespace["cluster"].close()
    assert asked["queue"] == "normal"
    assert_same(home / "trend_queue.zarr", wanted)


@pytest.mark.long
def test_workers_of_a_real_queue(home: Path, wanted: pw.Map, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from support import slurm

    if why := slurm.missing():
        pytest.skip(why)
    monkeypatch.setenv("DASK_CONFIG", str(tmp_path))  # importing it writes a file
    jobqueue = pytest.importorskip("dask_jobqueue")
    distributed = pytest.importorskip("distributed")
    with slurm.slurm(tmp_path / "slurm") as environment:
        monkeypatch.setenv("SLURM_CONF", environment["SLURM_CONF"])
        with jobqueue.SLURMCluster(
            interface="lo", cores=1, memory="2GiB", queue=slurm.PARTITION, python=sys.executable, walltime="00:10:00",
            log_directory=str(tmp_path), local_directory=str(tmp_path), scheduler_options={"dashboard_address": ":0"},
        ) as cluster:  # fmt: skip
            cluster.scale(jobs=2)
            with distributed.Client(cluster) as client:
                client.wait_for_workers(1, timeout=60)
                pw.apply(pw.open_stack("ndvi/*.tif"), "trend", "slurm.tif", executor=client)
    assert_same(home / "slurm.tif", wanted)


@pytest.mark.long
def test_ray(home: Path, wanted: pw.Map, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    ray = pytest.importorskip("ray")
    shim, use = (text for text in samples(PAGE, "python") if "ray" in text and "Client" not in text)
    namespace: dict[str, Any] = {"__name__": "__main__", "pw": pw, "stack": pw.open_stack("ndvi/*.tif")}
    exec(compile(shim, str(PAGE), "exec"), namespace)
    try:
        exec(
            use.replace("ray.init()", "ray.init(num_cpus=2, include_dashboard=False)").replace("trend.tif", "ray.tif"),
            namespace,
        )
    finally:
        ray.shutdown()
    assert_same(home / "ray.tif", wanted)


def test_the_plan_of_a_continent_is_that_of_the_planner() -> None:
    text = PAGE.read_text()
    rows = {row.split("|")[1].strip(): row.split("|")[2:4] for row in text.splitlines() if row.startswith("| ")}
    for column, (size, layers) in enumerate(((100_000, 1000), (30_000, 600))):
        layout = Layout(
            256, 256, itemsize=4, sources=layers, block_bytes=256 * 256 * 4, open_file_bytes=400_000,
            scratch_bytes_per_pixel=4, stored_bytes_per_pixel=4 * layers,
        )  # fmt: skip
        grid = Grid(None, Affine(30, 0, 0, 0, -30, 0), size, size)
        workers = Workers(400, 1, 4 << 30, local=False)
        made = make_plan(grid, [Demand(layers, layout)], OutputDemand(6), workers, Limits())
        assert made.redecode == 1
        blocks = int(re.match(r"([\d ]+) of", rows["blocks (one tile, all dates)"][column].strip())[1].replace(" ", ""))  # type: ignore[index]
        assert blocks == round(len(made), -2)
        said = float(rows["memory of a worker of one thread"][column].split()[0])
        assert said == round(made.memory / 1e9, 1)

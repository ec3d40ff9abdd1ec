"""`apply`: executors, blocks, inputs, halos, outputs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar

import cloudpickle
import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pixelwise as pw
from pixelwise import run
from pixelwise.jobs import task as task_module
from pixelwise.jobs import worker as worker_module
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.job import Job, Workspace
from pixelwise.jobs.task import plan_job
from pixelwise.jobs.worker import compute_here, keep, shared
from pixelwise.maps.memory import as_they_are
from pixelwise.maps.tag import decode_provenance
from pixelwise.method import select_bands
from pixelwise.methods.lookup import as_method
from pixelwise.stacks.sampling import sample_pixels
from support.dates import DAY
from support.halo import BoundBoxMean, BoxMean, box_mean
from support.limits import set_limits
from support.rasters import PROFILE, random_series, write_raster

HEIGHT, WIDTH, TIMES = 70, 90, 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack with gaps and ties, in tiles, so that blocks have something to cut."""
    root = tmp_path_factory.mktemp("stack")
    values = random_series((TIMES, HEIGHT, WIDTH), seed=3)
    values[:, :5, :7] = np.nan
    values[:, 10, 10] = 0.5
    for year, layer in enumerate(np.nan_to_num(values, nan=-9999), 2000):
        write_raster(
            root / f"ndvi_{year}.tif", layer, nodata=-9999, tiled=True, blockxsize=16, blockysize=32, compress="deflate"
        )
    return root


@pytest.fixture(scope="module")
def expected(folder: Path) -> pw.Map:
    """The answer of one thread and one process."""
    return pw.apply(pw.open_stack(folder), "ols", executor="inline")


def assert_same_bytes(result: pw.Map, expected: pw.Map) -> None:
    assert result.names == expected.names
    for name in expected:
        assert result[name].tobytes() == expected[name].tobytes(), name


# ------------------------------------------------------------------------------------------- executors


@contextmanager
def forkserver_executor() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, mp_context=get_context("forkserver")) as pool:
        yield pool


@contextmanager
def thread_executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


@pytest.mark.parametrize(
    ("executor", "jobs"), [("inline", 1), ("threads", 1), ("threads", 2), ("threads", 5), ("processes", 2)]
)
def test_every_executor_gives_the_same_bytes(folder: Path, expected: pw.Map, executor: str, jobs: int) -> None:
    assert_same_bytes(pw.apply(pw.open_stack(folder), "ols", executor=executor, jobs=jobs), expected)


@pytest.mark.parametrize("open_pool", [forkserver_executor, thread_executor])
def test_an_executor_handed_over_gives_the_same_bytes(folder: Path, expected: pw.Map, open_pool: Any) -> None:
    with open_pool() as pool:
        assert_same_bytes(pw.apply(pw.open_stack(folder), "ols", executor=pool), expected)
        # It stays open, and serves a second job with other parameters.
        again = pw.apply(pw.open_stack(folder), pw.methods.ols(min_obs=8), executor=pool)
    assert (again.status[10:] == 2).any()


def test_a_written_map_has_the_same_bytes(folder: Path, expected: pw.Map, tmp_path: Path) -> None:
    for jobs in (1, 2):
        written = pw.apply(pw.open_stack(folder), "ols", tmp_path / "trend.tif", jobs=jobs, overwrite=True)
        assert_same_bytes(written, expected)


def test_a_forking_pool_is_refused(folder: Path) -> None:
    pool = ProcessPoolExecutor(1, mp_context=get_context("fork"))
    with pool, pytest.raises(pw.ParameterError, match="forkserver"):
        pw.apply(pw.open_stack(folder), "ols", executor=pool)


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_lambdas_and_closures_work_in_every_executor(folder: Path, executor: str) -> None:
    shift = 2.0
    function = pw.per_pixel(lambda y, t: y.mean() + shift, bands=["mean"], jit=False)
    result = pw.apply(pw.open_stack(folder), function, executor=executor, jobs=2)
    values = pw.open_stack(folder).read(pw.Block(0, 0, HEIGHT, WIDTH))
    mask = ~np.isnan(values).all(axis=0)
    wanted = np.nanmean(values[:, mask].astype(np.float64), axis=0) + shift
    np.testing.assert_allclose(result["mean"][mask], wanted, rtol=1e-6)
    assert np.isnan(result["mean"][~mask]).all()
    assert (result.status[~mask] == 1).all()


@pytest.mark.parametrize(("short", "elsewhere"), [(1, 1), (0, 0)])
def test_plain_python_goes_to_processes_unless_the_job_is_small(
    folder: Path, monkeypatch: pytest.MonkeyPatch, short: int, elsewhere: int
) -> None:
    # The pid is another one where another process computed.
    parent = os.getpid()
    stack = pw.open_stack(folder)
    monkeypatch.setattr(task_module, "SMALL_JOB", HEIGHT * WIDTH * len(stack) - short)
    function = pw.per_pixel(lambda y, t: float(os.getpid() != parent), bands=["elsewhere"], jit=False)
    result = pw.apply(stack, function, jobs=1)
    assert (result["elsewhere"][result.status == 0] == elsewhere).all()


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_time_does_not_decide_whether_a_function_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, pause: float
) -> None:
    lock, rehearsed = threading.Lock(), threading.Event()

    def locked(values: Any) -> float:
        with lock:
            if not rehearsed.is_set():
                time.sleep(pause)
            return float(values[0])

    stack = pw.open_stack(folder)
    function = pw.per_pixel(locked, bands=["first"], jit=False)
    method = as_method(function).rehearse(stack.axis, lambda: run.sample_pixels(stack), stack.grid.block.pixels)
    bound = method.bind(stack.axis, None, {})
    rehearsed.set()
    assert run.executor_for(bound, (stack,), Execution()) == "threads"
    assert (pw.apply(stack, function).status != 5).all()
    monkeypatch.setattr(task_module, "SMALL_JOB", stack.grid.block.pixels * len(stack) - 1)
    with pytest.raises(pw.FunctionError, match="it uses lock "):
        pw.apply(stack, function)


# ---------------------------------------------------------------------------------------------- blocks


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(height=st.integers(1, HEIGHT), width=st.integers(1, WIDTH))
def test_any_block_size_gives_the_same_bytes(folder: Path, expected: pw.Map, height: int, width: int) -> None:
    stack = pw.open_stack(folder)
    job = Job((stack,), pw.methods.ols().bind(stack.axis, None, {}), "float32", as_they_are)
    height, width = max(height, 8), max(width, 8)
    assembled = np.empty((len(expected) - 1, HEIGHT, WIDTH), dtype=np.float32)
    for block in stack.grid.blocks(height, width):
        assembled[:, *block.slices] = job.compute(block).encoded[0]
    for name, layer in zip(expected.names, assembled, strict=False):
        wanted = expected[name].astype(np.float32)
        assert layer.tobytes() == wanted.tobytes(), name


def test_neighbours_do_not_matter(folder: Path, expected: pw.Map) -> None:
    """Permuted pixels give permuted answers, to the bit."""
    stack = pw.open_stack(folder)
    bound = pw.methods.ols().bind(stack.axis, None, {})
    pixels = stack.read(stack.grid.block).reshape(len(stack), -1)
    order = np.random.default_rng(5).permutation(pixels.shape[1])
    straight, status = bound((pixels,))
    permuted, permuted_status = bound((np.ascontiguousarray(pixels[:, order]),))
    assert straight[:, order].tobytes() == permuted.tobytes()
    assert status[order].tobytes() == permuted_status.tobytes()


def test_memory_and_jobs_change_blocks_but_no_bits(folder: Path, expected: pw.Map) -> None:
    for jobs, memory in ((1, "315MB"), (3, "310MiB"), (2, None)):
        assert_same_bytes(pw.apply(pw.open_stack(folder), "ols", jobs=jobs, memory=memory), expected)


@pytest.mark.parametrize("jobs", [2, 3, 5])
def test_a_team_gives_the_same_bytes(
    folder: Path, expected: pw.Map, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    # A source block of all dates that is larger than this is filled by all threads together.
    set_limits(monkeypatch, block_bytes=1)
    stack = pw.open_stack(folder)
    bound = pw.methods.ols().bind(stack.axis, None, {})
    assert plan_job((stack,), bound, Execution(jobs=jobs)).team == jobs
    assert_same_bytes(pw.apply(stack, "ols", jobs=jobs), expected)


def write_kind(folder: Path, kind: str) -> None:
    """Write six years in one of the ways that are read differently."""
    values = random_series((6, 40, 50), seed=4, gaps=0.2)
    if kind == "bands":
        write_raster(folder / "ndvi.tif", values, descriptions=[str(2000 + k) for k in range(6)])
        return
    for year, layer in enumerate(values, 2000):
        name = folder / f"ndvi_{year}.tif"
        if kind == "int16":
            write_raster(name, np.nan_to_num(layer * 1000, nan=-9999).astype(np.int16), nodata=-9999)
        elif kind == "masked":
            write_raster(name, np.nan_to_num(layer), mask=~np.isnan(layer), nodata=None)
        elif kind == "shards":
            for row, col in ((0, 0), (0, 30), (25, 0), (25, 30)):
                part = layer[row : row + 25, col : col + 30]
                place = PROFILE["transform"] @ Affine.translation(col, row)
                write_raster(folder / f"ndvi_{year}-{row:010d}-{col:010d}.tif", part, transform=place)
        else:
            write_raster(folder / f"a_ndvi_{year}.tif", layer)
            write_raster(folder / f"b_ndvi_{year}.tif", layer + 1)


@pytest.mark.parametrize("kind", ["int16", "masked", "shards", "equal dates", "bands"])
def test_a_team_reads_what_one_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    write_kind(tmp_path, kind)
    stack = pw.open_stack(tmp_path, same_date="mean" if kind == "equal dates" else None)
    assert len(stack) == 6
    alone = pw.apply(stack, "ols", jobs=1)
    assert (alone["n"] > 2).any()
    set_limits(monkeypatch, block_bytes=1)
    assert_same_bytes(pw.apply(stack, "ols", jobs=3), alone)


@pytest.mark.long
def test_a_thousand_files_on_a_limit_of_512(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    values = random_series((20, 8, 9), gaps=0.1)
    for index, layer in enumerate(values):
        write_raster(tmp_path / f"source_{index}.tif", layer)
    (tmp_path / "stack").mkdir()
    for day in range(1000):
        date = (np.datetime64("2000-01-01") + day * DAY).item()
        os.link(tmp_path / f"source_{day % 20}.tif", tmp_path / "stack" / f"ndvi_{date:%Y-%m-%d}.tif")
    code = (
        "import resource, sys, numpy as np, pixelwise as pw\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))\n"
        "stack = pw.open_stack(sys.argv[1])\n"
        "for jobs in (1, 2):\n"
        "    result = pw.apply(stack, 'ols', jobs=jobs, bands=['n', 'slope'])\n"
        "    assert len(stack) == 1000\n"
        "    print(int(result['n'].sum()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, tmp_path / "stack"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(50 * int((~np.isnan(values)).sum()))] * 2


@dataclass(frozen=True)
class BoundFirst:
    """Returns a view of what it was lent."""

    bands: tuple[pw.Band, ...] = (pw.Band("first"),)
    halo: int = 0
    releases_gil: bool = True

    def __call__(self, inputs: tuple[Any, ...], dtype: str = "float64") -> tuple[Any, Any]:
        return inputs[0][:1], np.zeros(inputs[0].shape[1], np.uint8)


def test_a_view_of_the_input_is_copied_before_the_memory_is_used_again(folder: Path) -> None:
    stack = pw.open_stack(folder)
    job = Job((stack,), BoundFirst(), "float32", as_they_are)
    workspace = Workspace(job)
    results = [job.compute(block, workspace) for block in stack.grid.blocks(16, 32)]
    first = stack.read(stack.grid.block)[0]
    for result in results:
        np.testing.assert_array_equal(result.encoded[0][0], first[result.block.slices])


def test_file_order_does_not_matter(folder: Path, expected: pw.Map) -> None:
    paths = sorted(folder.glob("*.tif"))
    np.random.default_rng(1).shuffle(paths)  # type: ignore[arg-type]
    assert_same_bytes(pw.apply(pw.open_stack(paths), "ols"), expected)


# ------------------------------------------------------------------------------- two inputs, and a halo


@dataclass(frozen=True)
class BoundSlopeOnOther:
    bands: tuple[pw.Band, ...]
    halo: int = 0
    releases_gil: bool = True

    def __call__(self, inputs: tuple[Any, ...], dtype: str = "float64") -> tuple[Any, Any]:
        response, other = (array.astype(np.float64) for array in inputs)
        both = ~np.isnan(response) & ~np.isnan(other)
        product = np.where(both, response * other, 0).sum(axis=0)
        count = both.sum(axis=0)
        status = np.where(count == 0, pw.Status.NO_OBSERVATION, pw.Status.OK).astype(np.uint8)
        return np.stack([np.where(count > 0, product, np.nan), count]), status


@dataclass(frozen=True)
class SumOfProducts(pw.Method):
    """A test-only method of two stacks."""

    name: ClassVar[str] = "sum_of_products"

    @property
    def bands(self) -> tuple[pw.Band, ...]:
        return (pw.Band("product"), pw.Band("n", integer=True))

    def bind(self, axis: pw.TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, pw.TimeAxis]) -> Any:
        assert list(inputs) == ["rain"]
        assert np.array_equal(inputs["rain"].years, axis.years)
        return BoundSlopeOnOther(select_bands(self, bands))


def test_a_method_of_two_stacks(folder: Path, tmp_path: Path) -> None:
    rain = random_series((TIMES, HEIGHT, WIDTH), seed=9)
    for year, layer in enumerate(rain, 2000):
        write_raster(tmp_path / f"rain_{year}.tif", layer)
    stack, other = pw.open_stack(folder), pw.open_stack(tmp_path)
    result = pw.apply(stack, SumOfProducts(), inputs={"rain": other}, executor="processes", jobs=2)
    values = stack.read(stack.grid.block).astype(np.float64)
    both = ~np.isnan(values) & ~np.isnan(rain)
    wanted = np.where(both, values * rain, 0).sum(axis=0)
    np.testing.assert_allclose(result["product"][both.any(axis=0)], wanted[both.any(axis=0)], rtol=1e-6)
    np.testing.assert_array_equal(result["n"], both.sum(axis=0))
    assert result["n"].dtype == np.int32
    assert [file["path"] for file in result.provenance["further_inputs"]["rain"]["files"]]


def test_further_inputs_must_be_on_the_grid(folder: Path, tmp_path: Path) -> None:
    for year in (2000, 2001):
        write_raster(tmp_path / f"rain_{year}.tif", np.zeros((4, 5), np.float32))
    with pytest.raises(pw.InputError, match=r"'rain'.*size 5 x 4 instead of 90 x 70"):
        pw.apply(pw.open_stack(folder), SumOfProducts(), inputs={"rain": pw.open_stack(tmp_path)})


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (16, 16), (9, 31), (1, WIDTH), (HEIGHT, 1)])
def test_a_halo_gives_the_whole_image_answer_at_block_borders(folder: Path, size: tuple[int, int]) -> None:
    stack = pw.open_stack(folder)
    job = Job((stack,), BoxMean().bind(stack.axis, None, {}), "float64", as_they_are)
    result = np.empty((HEIGHT, WIDTH))
    for block in stack.grid.blocks(*size):
        result[block.slices] = job.compute(block).encoded[0][0]
    wanted = box_mean(stack.read(stack.grid.block).astype(np.float64))
    np.testing.assert_array_equal(result, wanted)


def test_a_halo_through_apply(folder: Path) -> None:
    stack = pw.open_stack(folder)
    wanted = box_mean(stack.read(stack.grid.block).astype(np.float64))
    for executor in ("threads", "processes"):
        result = pw.apply(stack, BoxMean(), dtype="float64", executor=executor, jobs=2)
        np.testing.assert_array_equal(result["mean"], wanted)


def test_a_halo_finds_its_pixels_beyond_a_cropped_grid(folder: Path) -> None:
    stack = pw.open_stack(folder)
    block = pw.Block(20, 30, 25, 40)
    wanted = box_mean(stack.read(stack.grid.block).astype(np.float64))[block.slices]
    left, top = stack.grid.transform @ (block.col, block.row)
    right, bottom = stack.grid.transform @ (block.col + block.width, block.row + block.height)
    result = pw.apply(stack.select(bounds=(left, bottom, right, top)), BoxMean(), dtype="float64")
    np.testing.assert_array_equal(result["mean"], wanted)


def test_a_halo_method_does_not_take_bare_series() -> None:
    with pytest.raises(pw.ParameterError, match="neighbouring pixels"):
        BoxMean()(np.zeros((3, 4)), [2000, 2001, 2002])


# ------------------------------------------------------------------------------------- derived stacks


@dataclass(frozen=True)
class Anomalies:
    """A toy derived stack: the engine knows it only by grid, axis and read(block)."""

    source: Any

    @property
    def grid(self) -> pw.Grid:
        grid: pw.Grid = self.source.grid
        return grid

    @property
    def axis(self) -> pw.TimeAxis:
        axis: pw.TimeAxis = self.source.axis
        return axis

    def read(self, block: pw.Block) -> Any:
        return self.source.read(block).astype(np.float64) * 10


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_the_engine_knows_a_stack_by_grid_axis_and_read(
    folder: Path, expected: pw.Map, executor: str, tmp_path: Path
) -> None:
    derived = Anomalies(pw.open_stack(folder))
    assert isinstance(derived, pw.Stack)
    result = pw.apply(derived, "ols", tmp_path / "trend.tif", executor=executor, jobs=2)
    np.testing.assert_allclose(result["slope"], expected["slope"] * 10, rtol=2e-6, atol=1e-7)
    assert result.provenance["input"] == {"layers": 9, "first": "2000-01-01", "last": "2008-01-01", "kind": "Anomalies"}


# ------------------------------------------------------------------------------------------- own functions


def test_a_failing_function_marks_its_pixels_and_tells(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    def picky(values: Any, times: Any) -> Any:
        if len(values) == TIMES:
            raise ValueError("complete series are not wanted")
        return values[0]

    result = pw.apply(pw.open_stack(folder), pw.per_pixel(picky, bands=["first"]), executor="processes", jobs=2)
    complete = result["n"] == TIMES
    assert complete.any()
    np.testing.assert_array_equal(result.status == 5, complete)
    assert np.isnan(result["first"][complete]).all()
    told = [record.message for record in caplog.records if "complete series are not wanted" in record.message]
    assert len(told) == 1
    assert 'raise ValueError("complete series are not wanted")' in told[0]


def test_strict_stops_at_the_first_failure(folder: Path, tmp_path: Path) -> None:
    def fails(values: Any, times: Any) -> Any:
        raise ValueError("never")

    with pytest.raises(pw.FunctionError, match="never"):
        pw.apply(pw.open_stack(folder), pw.per_pixel(fails, bands=["x"]), tmp_path / "x.tif", strict=True)
    assert list(tmp_path.iterdir()) == []


def test_a_function_that_exits_fails_at_that_pixel(folder: Path) -> None:
    def leave(values: Any, times: Any) -> Any:
        raise SystemExit(0)

    result = pw.apply(pw.open_stack(folder), pw.per_pixel(leave, bands=["x"], jit=False), executor="inline")
    assert (result.status[result["n"] > 0] == 5).all()


def test_a_killed_worker_ends_in_one_clear_line(folder: Path, tmp_path: Path) -> None:
    import os
    import signal

    parent = os.getpid()

    def deadly(values: Any) -> float:
        # In this process it is only tried.
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0.0

    function = pw.per_pixel(deadly, bands=["x"], jit=False)
    with pytest.raises(pw.ResourceError, match="worker processes keep dying"):
        pw.apply(pw.open_stack(folder), function, tmp_path / "x.tif", executor="processes", jobs=2)
    assert list(tmp_path.iterdir()) == []


def test_names_given_to_a_plain_function_are_all_its_bands(folder: Path) -> None:
    result = pw.apply(pw.open_stack(folder), lambda y, t: (y.min(), y.max()), bands=["low", "high"])
    assert result.names == ("low", "high", "n", "status")
    result = pw.apply(pw.open_stack(folder), lambda y, t: (y.min(), y.max()))
    assert result.names == ("value_1", "value_2", "n", "status")
    assert "decision" in result.provenance["parameters"]


def test_a_rehearsal_finds_the_few_observed_pixels(make_stack: Any) -> None:
    values = np.full((3, 300, 300), np.nan, np.float32)
    values[:, 299, 299] = 1.5
    stack = pw.open_stack(make_stack(values))
    np.testing.assert_array_equal(sample_pixels(stack), [[1.5]] * 3)


@pytest.mark.parametrize("shape", [(6, 6), (20, 20), (1, 40)])
def test_a_rehearsal_takes_each_pixel_once(make_stack: Any, shape: tuple[int, int]) -> None:
    """Windows of a small image overlap: "each of the 256 pixels" was said of an image of 36."""
    count = shape[0] * shape[1]
    values = np.arange(count, dtype=np.float32).reshape(1, *shape) + np.arange(3, dtype=np.float32)[:, None, None]
    found = sample_pixels(pw.open_stack(make_stack(values)))
    assert len(set(found[0].tolist())) == found.shape[1] <= count
    assert found.shape[1] > count / 2
    np.testing.assert_array_equal(found[1], found[0] + 1)


def test_the_pixels_on_which_a_function_failed_are_counted(make_stack: Any) -> None:
    def fails(values: Any) -> float:
        raise ValueError("no")

    stack = pw.open_stack(make_stack(np.ones((3, 6, 6), np.float32)))
    for function in (fails, pw.per_block(fails)):
        with pytest.raises(pw.FunctionError, match="failed on each of the 36 pixels that it was tried on"):
            pw.apply(stack, function)


# ---------------------------------------------------------------------------------- outputs and provenance


def test_the_map_is_georeferenced_as_its_input(tmp_path: Path) -> None:
    crs = 'LOCAL_CS["a plan of the site",UNIT["metre",1]]'
    transform = Affine(0.5, 0.1, 10, 0.2, -0.5, 20)
    for name, profile in {
        "plain": {"crs": "EPSG:3035"},
        "local": {"crs": crs, "transform": transform},
        "none": {"crs": None, "transform": None},
    }.items():
        for year in (2000, 2001, 2002):
            write_raster(tmp_path / name / f"a_{year}.tif", random_series((5, 6), seed=year), **profile)
        result = pw.apply(pw.open_stack(tmp_path / name), "ols", tmp_path / f"{name}.tif")
        with rasterio.open(tmp_path / name / "a_2000.tif") as source, rasterio.open(tmp_path / f"{name}.tif") as map_:
            assert map_.crs == source.crs
            assert map_.transform == source.transform
            assert map_.shape == source.shape
        assert not result.grid.differences(pw.open_stack(tmp_path / name).grid)


test_the_map_is_georeferenced_as_its_input = pytest.mark.filterwarnings(
    "ignore::rasterio.errors.NotGeoreferencedWarning"
)(test_the_map_is_georeferenced_as_its_input)


def test_a_map_file_says_what_it_is(folder: Path, tmp_path: Path) -> None:
    stack = pw.open_stack(folder, start="2001")
    pw.apply(stack, pw.methods.ols(min_obs=4), tmp_path / "trend.tif", bands=["slope", "pvalue", "n"])
    with rasterio.open(tmp_path / "trend.tif") as dataset:
        assert dataset.descriptions == ("slope", "pvalue", "n", "status")
        assert dataset.units == ("1/year", None, None, None) or dataset.units == ("1/year", "", "", "")
        assert dataset.profile["tiled"]
        assert dataset.compression.value == "ZSTD"
        assert np.isnan(dataset.nodata)
        assert dataset.dtypes[0] == "float32"
        provenance = decode_provenance(dataset.tags()["PIXELWISE"])
    assert provenance["method"] == "ols"
    assert provenance["parameters"] == {"min_obs": 4, "confidence_level": 0.95, "origin": 0.0}
    assert provenance["input"]["spec"] == {"start": "2001"}
    assert provenance["input"]["layers"] == 8
    first = provenance["input"]["files"][0]
    assert not Path(first["path"]).is_absolute()
    assert (tmp_path / first["path"]).resolve() == (folder / "ndvi_2001.tif").resolve()
    assert first["size"] == (folder / "ndvi_2001.tif").stat().st_size
    assert provenance["versions"]["pixelwise"] == pw.__version__


def test_one_file_per_band_with_its_own_type(folder: Path, expected: pw.Map, tmp_path: Path) -> None:
    written = pw.apply(pw.open_stack(folder), "ols", tmp_path / "trend_{band}.tif")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"trend_{name}.tif" for name in expected)
    assert_same_bytes(written, expected)
    for name, dtype, nodata in (("slope", "float32", True), ("status", "uint8", False), ("n", "int32", False)):
        with rasterio.open(tmp_path / f"trend_{name}.tif") as dataset:
            assert dataset.dtypes == (dtype,)
            assert (dataset.nodata is not None) == nodata
    assert_same_bytes(pw.open_map(tmp_path / "trend_{band}.tif"), expected)
    assert_same_bytes(pw.open_map(tmp_path / "trend_pvalue.tif"), expected)


def test_two_jobs_at_once_on_one_output(folder: Path, expected: pw.Map, tmp_path: Path) -> None:
    stack, output = pw.open_stack(folder), tmp_path / "trend.tif"
    pw.apply(stack, "ols", output)
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(pw.apply, stack, "ols", output, overwrite=True) for _ in range(4)]
    refused = [str(error) for error in (job.exception() for job in jobs) if error is not None]
    assert len(refused) < 4
    assert all("another run is writing it" in text for text in refused)
    assert_same_bytes(pw.open_map(output), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["trend.tif"]


def test_a_crs_that_geotiff_cannot_hold_goes_beside_it(folder: Path, tmp_path: Path) -> None:
    pole = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +datum=WGS84 +no_defs"
    wkt = rasterio.crs.CRS.from_string(pole).to_wkt()
    for index, path in enumerate(sorted(folder.glob("*.tif"))[:3]):
        (tmp_path / f"tas_{2000 + index}.vrt").write_text(
            f"""<VRTDataset rasterXSize="90" rasterYSize="70"><SRS>{wkt.replace('"', "&quot;")}</SRS>
            <GeoTransform>-28.4, 0.44, 0, 21.8, 0, -0.44</GeoTransform><VRTRasterBand dataType="Float32" band="1">
            <SimpleSource><SourceFilename>{path}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>
            </VRTRasterBand></VRTDataset>"""
        )
    stack = pw.open_stack(tmp_path)
    pw.apply(stack, "ols", tmp_path / "trend.tif")
    with rasterio.open(tmp_path / "trend.tif") as dataset:
        assert dataset.crs == stack.grid.crs
        assert "ob_tran" in dataset.crs.to_proj4() or "Rotated" in dataset.crs.to_wkt()
    pw.apply(stack, "ols", tmp_path / "trend.tif", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir() if "trend" in p.name) == ["trend.tif", "trend.tif.aux.xml"]


def test_provenance_is_that_of_the_files_that_were_opened(folder: Path, tmp_path: Path) -> None:
    stack = pw.open_stack(folder)
    files = pw.apply(stack, "ols", tmp_path / "trend.tif").provenance["input"]["files"]
    stats = [path.stat() for path in stack.paths]
    assert [(f["size"], f["mtime_ns"]) for f in files] == [(s.st_size, s.st_mtime_ns) for s in stats]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_job_without_any_answer_says_so(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = pw.apply(pw.open_stack(folder, valid_range=(50, 60)), "ols")
    assert (result.status == 1).all()
    assert "no pixel has a result: the map holds nothing but status" in caplog.messages


def test_what_is_no_map_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    other = write_raster(tmp_path / "precious.tif", np.zeros((3, 3), np.float32))
    before = other.read_bytes()
    with pytest.raises(pw.OutputError, match="is not a pixelwise map"):
        pw.apply(pw.open_stack(folder), "ols", other, overwrite=True)
    assert other.read_bytes() == before


def test_files_and_arrays_are_no_stacks(folder: Path) -> None:
    with pytest.raises(pw.ParameterError, match=r"expected a stack, not str: open files with open_stack"):
        pw.apply(str(folder), "ols")  # type: ignore[arg-type]


def test_progress_reaches_all_pixels(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    pw.apply(pw.open_stack(folder), "ols", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (HEIGHT * WIDTH, HEIGHT * WIDTH)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_an_interrupted_job_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pw.apply(pw.open_stack(folder), "ols", tmp_path / "trend.tif", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_overwrite_keeps_the_old_map(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "trend.tif"
    pw.apply(pw.open_stack(folder), "ols", output)
    before = output.read_bytes()

    def fail(done: int, total: int) -> None:
        raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        pw.apply(pw.open_stack(folder), "ols", output, overwrite=True, progress=fail)
    assert output.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["trend.tif"]


def test_gdal_settings_are_restored(folder: Path) -> None:
    from rasterio._env import get_gdal_config

    before = get_gdal_config("GDAL_CACHEMAX")
    pw.apply(pw.open_stack(folder), "ols", jobs=2)
    assert get_gdal_config("GDAL_CACHEMAX") == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int16"}, "one of float32, float64"),
        ({"executor": "treads"}, "did you mean 'threads'"),
        ({"jobs": -1}, "expected a number from 1"),
        ({"memory": "10MB"}, "memory 9.5 MiB is too little"),
        ({"memory": "much"}, "is not a size"),
        ({"bands": ["slop"]}, "did you mean 'slope'"),
        ({"bands": "slope,n"}, r"expected a list of names, as in bands=\['slope', 'n'\]"),
        ({"bands": ["slope", "slope"]}, "twice"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_written(
    folder: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(pw.ParameterError, match=message):
        pw.apply(pw.open_stack(folder), "ols", tmp_path / "trend.tif", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_method_that_returns_another_shape_is_told_so(folder: Path) -> None:
    @dataclass(frozen=True)
    class Wrong(BoundBoxMean):
        halo: int = 0

        def __call__(self, inputs: tuple[Any, ...], dtype: str = "float64") -> tuple[Any, Any]:
            return np.zeros((2, 3)), np.zeros(3, np.uint8)

    stack = pw.open_stack(folder)
    with pytest.raises(pw.PixelwiseError, match=r"\(2, 3\).*instead of \(1, 6300\)"):
        Job((stack,), Wrong((pw.Band("x"),)), "float32", as_they_are).compute(stack.grid.block)


def test_a_job_pickles_without_open_files(folder: Path) -> None:
    stack = pw.open_stack(folder)
    stack.read(pw.Block(0, 0, 5, 5))
    job = Job((stack,), pw.methods.ols().bind(stack.axis, None, {}), "float32", as_they_are)
    copy = cloudpickle.loads(cloudpickle.dumps(job))
    block = pw.Block(3, 4, 20, 30)
    assert copy.compute(block).encoded[0].tobytes() == job.compute(block).encoded[0].tobytes()
    assert replace(job, dtype="float64").compute(block).encoded[0].dtype == np.float64


def test_a_job_that_cannot_be_pickled_leaves_nothing(folder: Path) -> None:
    lock = threading.Lock()

    def held(values: Any) -> float:
        with lock:
            return float(values.max())

    stack = pw.open_stack(folder)
    for _ in range(2):
        with pytest.raises(pw.FunctionError, match=r"^held: it uses lock \(_thread.lock\), which cannot be sent"):
            pw.apply(stack, pw.per_pixel(held, jit=False), executor="processes")
    assert not worker_module._OWN
    # A composite of such a function is read in processes too.
    with pytest.raises(pw.FunctionError, match="held: it uses lock"):
        pw.apply(stack.composite(pw.per_pixel(held, jit=False), every="year"), "ols", executor="processes")
    # What the error advises works.
    for executor in ("threads", "inline"):
        assert pw.apply(stack, pw.per_pixel(held, jit=False), executor=executor).status.any()


def test_what_does_not_travel_is_named(tmp_path: Path) -> None:
    """Wherever it hides: in the module, an object, a helper, a default, a container."""
    stream = threading.Lock()

    class Logger:
        def __init__(self) -> None:
            self.stream = stream

        def __call__(self, values: Any) -> float:
            return float(values[0])

    def helper(value: float) -> float:
        with stream:
            return value

    settings = {"log": stream}
    (tmp_path / "mine.py").write_text(
        "import threading\nGLOBAL_LOCK = threading.Lock()\n"
        "def locked(values):\n    with GLOBAL_LOCK:\n        return values[0]\n"
    )

    def bound(values: Any, *, log: Any = stream) -> float:
        return float(values[0])

    for function, name in [
        (Logger(), "self.stream"),
        (lambda values: helper(values[0]), "stream"),
        (lambda values: settings["log"], "settings['log']"),
        (bound, "log"),
        (partial(lambda q, values: values[0], stream), "argument 1"),
        (f"{tmp_path}/mine.py:locked", "GLOBAL_LOCK"),
    ]:
        with pytest.raises(pw.FunctionError) as caught:
            as_method(function).check_travels()  # type: ignore[attr-defined]
        assert f": it uses {name} (" in str(caught.value), str(caught.value)
        assert "\n" not in str(caught.value)
    as_method(lambda values: values[0]).check_travels()  # type: ignore[attr-defined]


def test_a_late_task_of_one_job_does_not_disturb_another(folder: Path) -> None:
    stack = pw.open_stack(folder)
    job = Job((stack,), pw.methods.ols().bind(stack.axis, None, {}), "float32", as_they_are)
    known = [shared(job, "ols", in_process=True) for _ in range(3)]
    with keep(job, known[0].token):
        pass
    with pytest.raises(RuntimeError, match="a task was started after its job was over"):
        compute_here(known[0].token, (stack.grid.block,))
    for one in known[1:]:
        with keep(job, one.token):
            assert compute_here(one.token, (stack.grid.block,)).results[0].answered
    assert not worker_module._OWN

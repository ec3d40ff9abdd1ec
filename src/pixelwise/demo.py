"""The whole job on a generated scene, timed against the loop that it replaces."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from pixelwise.errors import OutputError
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.executors import usable_cores
from pixelwise.jobs.output_spec import OutputSpec
from pixelwise.maps.map import Map
from pixelwise.methods import ols
from pixelwise.opening.survey import open_stack
from pixelwise.regular_files import check_encodable
from pixelwise.run import run_job
from pixelwise.stacks.raster import RasterStack
from pixelwise.surroundings import safe_children

__all__ = ["Comparison", "compare", "write_scene"]

#: Size and years of the classic example.
HEIGHT, WIDTH = 853, 856
YEARS = range(1995, 2016)
NODATA = -9999.0
SEED = 1995
#: Rows of the scene on which the plain loop is timed; the whole scene would take minutes.
SAMPLE_ROWS = 16


def write_scene(folder: Path) -> list[Path]:
    """Write one NDVI GeoTIFF per year: greening and browning patches, noise, clouds, a lake without data.

    Parameters
    ----------
    folder
        Created if it does not exist; existing files of the same names are replaced.

    Returns
    -------
    list of Path
        The files in order of years.

    Raises
    ------
    OutputError
        When the folder or a file cannot be written.
    """
    check_encodable(folder, output=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be created ({error.strerror})") from None
    random = np.random.default_rng(SEED)
    # Both from 0 to 1.
    rows, cols = np.mgrid[0:HEIGHT, 0:WIDTH] / np.array([HEIGHT, WIDTH])[:, None, None]
    mean = 0.45 + 0.2 * np.sin(6.6 * cols) * np.cos(7.8 * rows)
    slope = 0.006 * np.sin(9.5 * rows + 4.3 * cols) * np.cos(5.4 * cols)
    lake = (rows - 0.7) ** 2 / 0.105**2 + (cols - 0.35) ** 2 / 0.16**2 < 1
    profile = {
        "driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 1, "dtype": "float32", "nodata": NODATA,
        "crs": "EPSG:32617", "transform": Affine(30, 0, 500000, 0, -30, 3400000), "compress": "deflate",
        "predictor": 3, "zlevel": 1, "tiled": True, "blockxsize": 256, "blockysize": 256,
    }  # fmt: skip
    paths = []
    for year in YEARS:
        ndvi = mean + slope * (year - YEARS[0]) + random.normal(0, 0.04, mean.shape)
        clouds = np.zeros(mean.shape, dtype=bool)
        for _ in range(12):
            row, col, radius = random.random(), random.random(), random.uniform(0.02, 0.07)
            clouds |= (rows - row) ** 2 + (cols - col) ** 2 < radius**2
        values = np.where(clouds | lake, NODATA, np.clip(ndvi, -1, 1).round(4)).astype(np.float32)
        path = folder / f"ndvi_{year}.tif"
        try:  # GDAL would follow a link, and change a file through its other names
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: cannot be replaced ({error.strerror})") from None
        with rasterio.open(path, "w", **profile) as dataset:
            dataset.write(values, 1)
        paths.append(path)
    return paths


@dataclass(frozen=True)
class Comparison:
    """The results of the demo.

    Attributes
    ----------
    map
        The map of the whole scene.
    pixelwise
        Seconds of the job: the median of a few runs after a first one that compiled the kernels.
    first
        Seconds of that first run.
    loop, loop_processes
        Seconds that the plain loop would need for the scene, scaled from a sample of rows; NaN without scipy.
    processes
        Number of processes of the second loop.
    sampled
        Number of pixels on which the loops were timed: 0 without scipy.
    largest_difference
        Largest difference in slope over the sampled pixels, relative to the larger of the two slopes.
    """

    map: Map
    pixelwise: float
    first: float
    loop: float
    loop_processes: float
    processes: int
    sampled: int
    largest_difference: float


def compare(folder: Path, output: Path, *, rows: int = SAMPLE_ROWS, runs: int = 3) -> Comparison:
    """Run the job on a scene, and on a sample of it the loop that the job replaces.

    Parameters
    ----------
    folder
        The folder that `write_scene` wrote to.
    output
        The map; an existing one is replaced.
    rows, runs
        Rows on which the loops are timed, and runs of the job.
    """
    stack = open_stack(folder)
    seconds = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        map_ = run_job(open_stack(folder), ols(), output, {}, OutputSpec(), Execution(overwrite=True))
        seconds.append(time.perf_counter() - began)
    processes, first, median = usable_cores(), seconds[0], statistics.median(seconds[1:])
    if find_spec("scipy") is None:
        return Comparison(map_, median, first, math.nan, math.nan, processes, 0, math.nan)
    series, columns = sample_series(stack, rows)
    began = time.perf_counter()
    slopes = np.array([linregress_slope(stack.axis.years, column) for column in series.T])
    loop = time.perf_counter() - began
    with loop_pool(processes) as fit_all:
        began = time.perf_counter()
        fit_all(stack.axis.years, series)
        loop_processes = time.perf_counter() - began
    scale = stack.grid.height / rows
    both = np.abs(slopes - map_["slope"][columns].ravel())
    relative = both / np.maximum(np.abs(slopes), 1e-12)
    return Comparison(
        map=map_,
        pixelwise=median,
        first=first,
        loop=loop * scale,
        loop_processes=loop_processes * scale,
        processes=processes,
        sampled=series.shape[1],
        largest_difference=float(np.nanmax(relative)),
    )


def sample_series(stack: RasterStack, rows: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return (time, pixel) of rows spread evenly over the scene, and the numbers of these rows."""
    chosen = np.linspace(0, stack.grid.height - 1, rows).astype(np.intp)
    pixels = stack.read(stack.grid.block)[:, chosen].astype(np.float64)
    return pixels.reshape(len(stack), -1), chosen


def linregress_slope(years: NDArray[np.float64], series: NDArray[np.float64]) -> float:
    """Fit one pixel as the classic script does, leaving out its gaps."""
    from scipy.stats import linregress

    valid = ~np.isnan(series)
    if valid.sum() < 3:
        return float("nan")
    return float(linregress(years[valid], series[valid]).slope)


def fit_columns(years: NDArray[np.float64], series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit one process's share of the pixels."""
    return np.array([linregress_slope(years, column) for column in series.T])


@contextmanager
def loop_pool(
    processes: int,
) -> Iterator[Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]]:
    """Yield the classic script's parallel loop, with its processes started and SciPy imported beforehand."""
    with safe_children(), ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        warm = np.arange(4.0)
        list(pool.map(fit_columns, [warm] * processes, [warm[:, None]] * processes))

        def fit_all(years: NDArray[np.float64], series: NDArray[np.float64]) -> NDArray[np.float64]:
            parts = np.array_split(series, processes, axis=1)
            return np.concatenate(list(pool.map(fit_columns, [years] * processes, parts)))

        yield fit_all

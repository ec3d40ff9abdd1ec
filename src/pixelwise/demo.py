"""A generated scene whose truth is known, and the whole job on it, timed against the loop that it replaces."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
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
from rasterio.features import rasterize
from rasterio.warp import transform as transform_points

from pixelwise.errors import OutputError
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.executors import usable_cores
from pixelwise.jobs.output_spec import OutputSpec
from pixelwise.maps.map import Map
from pixelwise.methods import ols, trend
from pixelwise.opening.survey import open_stack
from pixelwise.regular_files import check_encodable
from pixelwise.run import run_job
from pixelwise.stacks.raster import RasterStack
from pixelwise.surroundings import safe_children

__all__ = ["Comparison", "compare", "map_trend", "write_scene"]

#: Size and years of the classic example.
HEIGHT, WIDTH = 853, 856
YEARS = range(1995, 2016)
NODATA = -9999.0
CRS, PIXEL, CORNER = "EPSG:32617", 30.0, (500000.0, 3400000.0)
SEED = 1995
#: Rows of the scene on which the plain loop is timed; the whole scene would take minutes.
SAMPLE_ROWS = 16

#: Places are given as (x, y) from the top left of the scene, 0 to 1.
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class District:
    """A part of the scene, and what happens there.

    Attributes
    ----------
    name, truth
        Attributes of its polygon.
    corners
        Of the polygon, before its edges are bent.
    level
        Mean NDVI of the first year.
    trend
        Change of NDVI per year.
    per_mm
        Change of NDVI per mm of rain.
    """

    name: str
    truth: str
    corners: Points
    level: float
    trend: float = 0.0
    per_mm: float = 0.0


# Corners of several districts.
_NORTH, _WEST, _SHORE, _EAST = (0.40, 0.0), (0.0, 0.44), (0.0, 0.72), (1.0, 0.34)
_NW, _NE, _SW, _SE = (0.36, 0.40), (0.64, 0.38), (0.36, 0.68), (0.66, 0.70)
DISTRICTS = (
    District(
        "Pine Hills", "NDVI rises by 0.005 a year; two blocks were felled in 2006",
        ((0.0, 0.0), _NORTH, _NW, _WEST), 0.60, trend=0.005,
    ),
    District("Mount Grey", "no trend; clouds hide two years of three", (_NORTH, (1.0, 0.0), _EAST, _NE, _NW), 0.50),
    District("Old Forest", "no trend", (_NW, _NE, _SE, _SW), 0.74),
    District("Lakeside", "no trend; no data on the lake", (_WEST, _NW, _SW, _SHORE), 0.50),
    District(
        "Sheep Valley", "overgrazed: NDVI falls by 0.006 a year",
        (_SHORE, _SW, (0.50, 1.0), (0.0, 1.0)), 0.48, trend=-0.006,
    ),
    District(
        "Dry Plain", "no trend of its own: NDVI follows the declining rain",
        (_NE, _EAST, (1.0, 0.72), _SE), 0.40, per_mm=0.0005,
    ),
    District(
        "Round Fields", "no trend between the fields; each field was irrigated from some year on",
        (_SW, _SE, (1.0, 0.72), (1.0, 1.0), (0.50, 1.0)), 0.36,
    ),
)  # fmt: skip
#: Blocks of forest that were felled, and what that did to NDVI.
FELLED: tuple[Points, ...] = (
    ((0.09, 0.16), (0.16, 0.13), (0.19, 0.20), (0.12, 0.23)),
    ((0.22, 0.26), (0.29, 0.25), (0.30, 0.32), (0.23, 0.33)),
)
FELLED_IN, FELLING = 2006, -0.4
#: What irrigation does to NDVI.
IRRIGATION = 0.35
SUMMIT = (0.74, 0.15)
#: Rain of each year in mm, on average.
RAIN = (545, 640, 505, 610, 470, 590, 620, 430, 575, 520, 395, 560, 480, 410, 525, 450, 330, 470, 385, 440, 350)
#: Standard deviation of the noise, and its correlation from one year to the next.
NOISE, MEMORY = 0.028, 0.2
#: A pixel of each kind.
PLACES = {
    "growing forest": (0.2459, 0.0522),
    "felled block": (0.14, 0.18),
    "mountain": (0.68, 0.22),
    "old forest": (0.5029, 0.5012),
    "lake": (0.17, 0.56),
    "overgrazed valley": (0.2167, 0.8224),
    "dry plain": (0.816, 0.4508),
    "irrigated field": (0.715, 0.83),
}


def write_scene(folder: Path) -> list[Path]:
    """Write a scene: a GeoTIFF of NDVI and one of rain for each year, its districts, and a list of places.

    Parameters
    ----------
    folder
        Created if it does not exist; existing files of the same names are replaced. It gets ``ndvi/ndvi_YEAR.tif``,
        ``rain/rain_YEAR.tif`` in mm, ``districts.geojson`` and ``places.csv``.

    Returns
    -------
    list of Path
        The files of NDVI in order of years.

    Raises
    ------
    OutputError
        When the folder or a file cannot be written.
    """
    check_encodable(folder, output=True)
    for each in (folder, folder / "ndvi", folder / "rain"):
        try:
            each.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{each}: cannot be created ({error.strerror})") from None
    paths = []
    for year, ndvi, rain in _layers(np.random.default_rng(SEED)):
        paths.append(folder / "ndvi" / f"ndvi_{year}.tif")
        _write_raster(paths[-1], ndvi.round(4), "float32", 3)
        _write_raster(folder / "rain" / f"rain_{year}.tif", rain.round(), "int16", 2)
    _write_text(folder / "districts.geojson", _districts())
    _write_text(folder / "places.csv", _places())
    return paths


def _layers(random: np.random.Generator) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.float64]]]:
    """Yield the year, NDVI and rain of each layer."""
    smooth = _smooth_fields(random)
    y, x = (np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5) / np.array([HEIGHT, WIDTH])[:, None, None]
    district = _burn([_edge(one.corners) for one in DISTRICTS]).astype(np.intp) - 1
    level, slope, per_mm = (
        np.array([getattr(one, name) for one in DISTRICTS])[district] for name in ("level", "trend", "per_mm")
    )
    height = np.exp(-((x - SUMMIT[0]) ** 2 + (y - SUMMIT[1]) ** 2) / 0.025)
    level = level + 0.04 * smooth(5) + 0.03 * smooth(20) + 0.02 * smooth(90) - 0.3 * height * (district == 1)
    felled = _burn([_edge(block) for block in FELLED]) > 0
    lake = _burn([_edge([(0.17 + 0.1 * np.cos(a), 0.56 + 0.075 * np.sin(a)) for a in np.linspace(0, 6.2, 40)])]) > 0
    watered = np.where(district == 6, _watered_since(x, y), np.inf)
    usual_rain = 40 * smooth(4)
    noise = random.normal(0, NOISE, level.shape)
    for year, mean in zip(YEARS, RAIN, strict=True):
        noise = MEMORY * noise + np.sqrt(1 - MEMORY**2) * random.normal(0, NOISE, level.shape)
        rain = mean + usual_rain + 25 * smooth(6)
        ndvi = level + slope * (year - YEARS[0]) + per_mm * (rain - RAIN[0]) + 0.006 * smooth(8) + noise
        ndvi += FELLING * (felled & (year >= FELLED_IN)) + IRRIGATION * (year >= watered)
        # The higher, the more often in clouds.
        hidden = (district == 1) & (smooth(30) + 0.5 * smooth(120) > 0.1 - 1.2 * height)
        for _ in range(12):
            row, column, radius = random.random(), random.random(), random.uniform(0.02, 0.07)
            hidden |= (y - row) ** 2 + (x - column) ** 2 < radius**2
        yield year, np.where(hidden | lake, NODATA, np.clip(ndvi, -1, 1)), rain


def _smooth_fields(random: np.random.Generator) -> Callable[[int], NDArray[np.float64]]:
    """Return a function that makes fields of variance about 1 which change over the K-th part of the scene."""

    def weights(size: int, number: int) -> NDArray[np.float64]:  # cosine-shaped, with squares that add up to 1
        distance = np.abs(np.linspace(0, number - 1, size)[:, None] - np.arange(number))
        share = 0.5 + 0.5 * np.cos(np.pi * np.minimum(distance, 1))
        share /= np.sqrt((share**2).sum(axis=1, keepdims=True))
        return share

    def field(number: int) -> NDArray[np.float64]:
        values: NDArray[np.float64] = random.normal(size=(number, number))
        made: NDArray[np.float64] = weights(HEIGHT, number) @ values @ weights(WIDTH, number).T
        return made

    return field


def _watered_since(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the first year in which each round field is irrigated; infinite between the fields."""
    column, row = np.round((x - 0.46) / 0.085), np.round((y - 0.745) / 0.085)
    within = (x - 0.46 - 0.085 * column) ** 2 + (y - 0.745 - 0.085 * row) ** 2 < 0.036**2
    return np.where(within, 1997 + (7 * column + 5 * row) % 15, np.inf)


def _edge(corners: Points) -> list[tuple[float, float]]:
    """Return the edge of a polygon in units of the CRS, bent so that it looks natural; neighbours share theirs."""
    edge = []
    for one, other in zip(corners, [*corners[1:], corners[0]], strict=True):
        for share in np.linspace(0, 1, 16, endpoint=False):
            x, y = one[0] + share * (other[0] - one[0]), one[1] + share * (other[1] - one[1])
            edge.append(_position(x + 0.02 * np.sin(np.pi * x) * np.sin(19 * y + 1),
                                  y + 0.02 * np.sin(np.pi * y) * np.sin(16 * x)))  # fmt: skip
    return [*edge, edge[0]]


def _position(x: float, y: float) -> tuple[float, float]:
    return CORNER[0] + x * WIDTH * PIXEL, CORNER[1] - y * HEIGHT * PIXEL


def _burn(edges: Sequence[Sequence[tuple[float, float]]]) -> NDArray[np.uint8]:
    """Return the number of the polygon, from 1, at the centre of each pixel; 0 outside."""
    shapes = [({"type": "Polygon", "coordinates": [edge]}, number) for number, edge in enumerate(edges, 1)]
    burnt: NDArray[np.uint8] = rasterize(shapes, (HEIGHT, WIDTH), transform=_transform(), dtype="uint8")
    return burnt


def _transform() -> Affine:
    return Affine(PIXEL, 0, CORNER[0], 0, -PIXEL, CORNER[1])


def _districts() -> str:
    """Return the districts as GeoJSON, which is in degrees."""
    features = []
    for one in DISTRICTS:
        longitudes, latitudes = transform_points(CRS, "EPSG:4326", *zip(*_edge(one.corners), strict=True))
        ring = [[round(x, 7), round(y, 7)] for x, y in zip(longitudes, latitudes, strict=True)]
        shape = {"type": "Polygon", "coordinates": [ring]}
        attributes = {"name": one.name, "truth": one.truth}
        features.append({"type": "Feature", "properties": attributes, "geometry": shape})
    return json.dumps({"type": "FeatureCollection", "features": features})


def _places() -> str:
    """Return the places as a table of points at the centres of pixels."""
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(["name", "x", "y"])
    for name, (x, y) in PLACES.items():
        centre = _position((int(x * WIDTH) + 0.5) / WIDTH, (int(y * HEIGHT) + 0.5) / HEIGHT)
        table.writerow([name, *(round(one, 3) for one in centre)])
    return lines.getvalue()


def _write_raster(path: Path, values: NDArray[np.float64], dtype: str, predictor: int) -> None:
    profile = {
        "driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 1, "dtype": dtype, "nodata": NODATA,
        "crs": CRS, "transform": _transform(), "compress": "deflate",
        "predictor": predictor, "zlevel": 1, "tiled": True, "blockxsize": 256, "blockysize": 256,
    }  # fmt: skip
    _make_room(path)
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values.astype(dtype), 1)


def _write_text(path: Path, text: str) -> None:
    _make_room(path)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)


def _make_room(path: Path) -> None:
    """Remove the name: a file that is opened for writing would be changed through a link, or its other names."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be replaced ({error.strerror})") from None


@dataclass(frozen=True)
class Comparison:
    """Times of one task, the slope of `ols` at every pixel, done in several ways.

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


def map_trend(folder: Path, output: Path) -> tuple[Map, float]:
    """Run the job for a report, `trend`, on the layers of a folder; return the map and how many seconds it took."""
    began = time.perf_counter()
    map_ = run_job(open_stack(folder), trend(), output, {}, OutputSpec(), Execution(overwrite=True))
    return map_, time.perf_counter() - began


def compare(folder: Path, output: Path, *, rows: int = SAMPLE_ROWS, runs: int = 3) -> Comparison:
    """Run `ols` on a scene, and on a sample of it the loop that this job replaces: both compute the same slopes.

    Parameters
    ----------
    folder
        The folder of the layers.
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

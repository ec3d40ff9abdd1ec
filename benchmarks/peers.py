"""The whole job against what users would take instead, side by side in one run.

pixelwise opens a stack, fits `ols` and writes five bands as ZSTD GeoTIFF; each peer does what it can of that. Peers
that finish soon take turns with pixelwise after a warm-up; slow ones run once, right after a run of pixelwise, on a
sample of the pixels or until a limit of time. A ratio is the peer's seconds over those of the run of pixelwise next to
it.

Time starts when modules of Python and R are loaded; the start of other programs is included. pixelwise also brings its
output safely to disk, which no peer does. Slopes of each peer are compared with those of pixelwise; a peer that is not
installed is skipped.

    python benchmarks/peers.py [--peers NAME,NAME] [--size 3000] [--rounds 3] [--limit 120] [--no-save]
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import measure
import numpy as np
import rasterio
from measure import seconds
from numpy.typing import NDArray
from rasterio.windows import Window
from stacks import LAYOUTS, NODATA, write_stack

import pixelwise as pw
from pixelwise.jobs.executors import usable_cores

LAYOUT, DATES = "tile256-deflate-p2", 21
BANDS = ("slope", "intercept", "rvalue", "pvalue", "stderr")
DAYS_PER_YEAR = 365.25
#: What is written as GeoTIFF is written alike: as pixelwise does by default.
GTIFF = {
    "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "zstd", "zstd_level": 1, "interleave": "band",
}  # fmt: skip
#: The same in GDAL's own words.
GDAL_OPTIONS = ("TILED=YES", "BLOCKXSIZE=256", "BLOCKYSIZE=256", "COMPRESS=ZSTD", "ZSTD_LEVEL=1", "INTERLEAVE=BAND")
#: Pixels fitted by SciPy in one process and in several; edge of the part that R's function per cell is run on.
SAMPLE, SAMPLE_PARALLEL, CROP = 20_000, 60_000, 500
#: Rows that NumPy and dask take at a time: one row of tiles.
ROWS = 256
#: Slopes are compared in the upper left corner, which has gaps.
CORNER = 256
#: A peer that needs longer runs once.
SLOW = 20.0


class SkippedError(Exception):
    """The peer is not installed."""


class OverLimitError(Exception):
    """The peer was stopped."""


@dataclass(frozen=True)
class Job:
    """What is to be fitted, and where to write."""

    paths: list[Path]
    folder: Path
    limit: float

    @cached_property
    def stack(self) -> pw.RasterStack:
        """The stack as pixelwise sees it."""
        return pw.open_stack(self.paths)

    @property
    def years(self) -> NDArray[np.float64]:
        """Decimal years: 1970 + days / 365.25."""
        return np.array(self.stack.axis.years)

    @property
    def size(self) -> int:
        """Rows, and columns: scenes are square."""
        return self.stack.grid.height

    @cached_property
    def slope(self) -> NDArray[np.float64]:
        """What pixelwise finds, per year."""
        return np.asarray(pw.apply(self.stack, "ols", bands=["slope"], dtype="float64")["slope"])

    @cached_property
    def slope_per_step(self) -> NDArray[np.float64]:
        """Slope in the corner where dates count 0, 1, 2: some peers know no dates."""
        values = read_window(self.paths, Window(0, 0, min(CORNER, self.size), min(CORNER, self.size)))
        return masked_sums(values, np.arange(len(self.paths), dtype=float), axis=0)[0]

    def output(self, name: str) -> Path:
        """Return where to write; emptied after each run."""
        folder = self.folder / "output"
        folder.mkdir(exist_ok=True)
        return folder / name

    def clear(self) -> None:
        """Delete outputs, so that no run overwrites."""
        shutil.rmtree(self.folder / "output", ignore_errors=True)


@dataclass(frozen=True)
class Outcome:
    """Seconds of a run, and slopes at the pixels of a mask or indices, to be compared with pixelwise."""

    seconds: float
    slope: NDArray[np.floating]
    where: Any = np.s_[:CORNER, :CORNER]
    per_step: bool = False


@dataclass(frozen=True)
class Peer:
    """Another way to do the job; `once` where its seconds are scaled from a sample."""

    name: str
    run: Callable[[Job], Outcome]
    note: str
    bands: Sequence[str] = BANDS
    once: bool = False


def run_pixelwise(job: Job, bands: Sequence[str]) -> None:
    """Do the whole job: open, fit, write."""
    pw.apply(pw.open_stack(job.paths), "ols", job.output("pixelwise.tif"), bands=list(bands))


# SciPy, pixel by pixel.


def read_pixels(paths: list[Path]) -> NDArray[np.float32]:
    """Stack whole files as (pixels, dates), NaN where nodata: what most scripts begin with."""
    layers = []
    for path in paths:
        with rasterio.open(path) as dataset:
            layers.append(dataset.read(1))
    table = np.stack(layers, axis=-1).reshape(-1, len(paths))
    table[table == NODATA] = np.nan
    return table


def fit_pixel(values: NDArray[np.float32], years: NDArray[np.float64]) -> tuple[float, ...]:
    """Fit one pixel with `scipy.stats.linregress`, missing dates dropped."""
    from scipy.stats import linregress

    valid = ~np.isnan(values)
    if valid.sum() < 3:
        return (np.nan,) * len(BANDS)
    fit = linregress(years[valid], values[valid])
    return fit.slope, fit.intercept, fit.rvalue, fit.pvalue, fit.stderr


def fit_pixels(table: NDArray[np.float32], years: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit pixel by pixel."""
    return np.array([fit_pixel(values, years) for values in table])


def sampled(job: Job, count: int, fit: Callable[[NDArray[np.float32]], NDArray[np.float64]]) -> Outcome:
    """Read everything, fit a sample, and scale the time of the fits to all pixels."""
    began = time.perf_counter()
    table = read_pixels(job.paths)
    reading = time.perf_counter() - began
    count = min(count, len(table))
    sample = np.sort(np.random.default_rng(0).choice(len(table), count, replace=False))
    values = table[sample]
    began = time.perf_counter()
    fits = fit(values)
    fitting = time.perf_counter() - began
    return Outcome(reading + fitting * len(table) / count, fits[:, 0], np.unravel_index(sample, (job.size,) * 2))


def scipy_loop(job: Job) -> Outcome:
    """Call `scipy.stats.linregress` per pixel."""
    fit_pixels(np.zeros((1, len(job.paths)), np.float32), job.years)  # loads SciPy
    return sampled(job, SAMPLE, lambda table: fit_pixels(table, job.years))


def scipy_processes(job: Job) -> Outcome:
    """Call `scipy.stats.linregress` per pixel, chunks of pixels in a pool of processes."""
    cores = usable_cores()
    with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as pool:
        # Starting must not be scaled with the sample: one slow task for each process brings all of them up.
        list(pool.map(start_process, [3.0] * cores))

        def fit(table: NDArray[np.float32]) -> NDArray[np.float64]:
            chunks = np.array_split(table, max(1, len(table) // 1000))
            return np.concatenate(list(pool.map(partial(fit_pixels, years=job.years), chunks)))

        return sampled(job, SAMPLE_PARALLEL, fit)


def start_process(pause: float) -> None:
    """Load SciPy, and keep this process busy until the others have started."""
    import scipy.stats  # noqa: F401

    time.sleep(pause)


# NumPy, and dask with it.


def masked_sums(values: NDArray[np.floating], x: NDArray[np.float64], axis: int) -> list[NDArray[np.float64]]:
    """Return slope, intercept, r, p and the slope's error in closed form from sums over the dates that are there.

    `x` is centred: sums of squared years would lose too many digits.
    """
    from scipy.special import stdtr

    centre = x.mean()
    x = np.expand_dims(x - centre, tuple(k for k in range(values.ndim) if k != axis % values.ndim))
    valid = ~np.isnan(values)
    y = np.where(valid, values, 0).astype(np.float64)
    n = valid.sum(axis).astype(np.float64)
    sx, sy = np.where(valid, x, 0).sum(axis), y.sum(axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        n[n < 3] = np.nan
        xx = np.where(valid, x * x, 0).sum(axis) - sx * sx / n
        xy = (x * y).sum(axis) - sx * sy / n
        yy = (y * y).sum(axis) - sy * sy / n
        slope = xy / xx
        rest = np.maximum(yy - slope * xy, 0)
        stderr = np.sqrt(rest / (n - 2) / xx)
        p = 2 * stdtr(n - 2, -np.abs(slope / stderr))
        return [slope, (sy - slope * sx) / n - slope * centre, xy / np.sqrt(xx * yy), p, stderr]


def read_window(paths: list[Path], window: Window) -> NDArray[np.float32]:
    """Read a window of all files as (dates, rows, columns), NaN where nodata."""
    values = np.empty((len(paths), window.height, window.width), np.float32)
    for layer, path in zip(values, paths, strict=True):
        with rasterio.open(path) as dataset:
            dataset.read(1, window=window, out=layer)
    values[values == NODATA] = np.nan
    return values


def numpy_blocks(job: Job) -> Outcome:
    """Read blocks of rows, fit them with masked sums, write them."""
    output = job.output("numpy.tif")

    def task() -> None:
        with rasterio.open(job.paths[0]) as first:
            profile = {**first.profile, **GTIFF, "count": len(BANDS), "nodata": np.nan}
        with rasterio.open(output, "w", **profile) as target:
            for row in range(0, job.size, ROWS):
                window = Window(0, row, job.size, min(ROWS, job.size - row))
                fits = masked_sums(read_window(job.paths, window), job.years, axis=0)
                target.write(np.stack(fits).astype(np.float32), window=window)

    return Outcome(seconds(task), corner(output))


def corner(path: Path, band: int = 1) -> NDArray[np.float64]:
    """Read the upper left corner of a map, NaN where nodata."""
    with rasterio.open(path) as dataset:
        size = min(CORNER, dataset.height)
        return dataset.read(band, window=Window(0, 0, size, size), masked=True).astype(np.float64).filled(np.nan)


def open_xarray(paths: list[Path], years: NDArray[np.float64]) -> Any:
    """Open files with rioxarray as one dask array, one chunk over time.

    ``lock=False``: else only one thread at a time would read.
    """
    import rioxarray
    import xarray

    chunks = {"band": 1, "y": ROWS, "x": -1}
    layers = [rioxarray.open_rasterio(path, chunks=chunks, lock=False, masked=True).squeeze("band") for path in paths]
    time_axis = xarray.Variable("time", years)
    return xarray.concat(layers, dim=time_axis, join="exact").drop_vars("band").chunk(time=-1)


def write_xarray(bands: Any, path: Path) -> None:
    """Write bands as GeoTIFF, chunk by chunk."""
    bands.astype("float32").rio.to_raster(path, driver="GTiff", lock=threading.Lock(), **GTIFF)


def require(*modules: str) -> None:
    """Skip a peer whose packages are missing; also loads them before the clock starts."""
    for name in modules:
        try:
            __import__(name)
        except ImportError as error:
            raise SkippedError(f"Python package {name} is not installed") from error


def program(name: str) -> str:
    """Return a program's path, or skip the peer."""
    found = shutil.which(name)
    if found is None:
        raise SkippedError(f"program {name} is not installed")
    return found


def dask_ufunc(job: Job) -> Outcome:
    """Apply the masked sums with xarray's `apply_ufunc` on dask's threads."""
    require("rioxarray", "dask.array", "scipy.special")
    import xarray

    years, output = job.years, job.output("dask.tif")

    def fit(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.stack(masked_sums(values, years, axis=-1), axis=-1).astype(np.float32)

    def task() -> None:
        fits = xarray.apply_ufunc(
            fit, open_xarray(job.paths, years), dask="parallelized", output_dtypes=[np.float32],
            input_core_dims=[["time"]], output_core_dims=[["band"]],
            dask_gufunc_kwargs={"output_sizes": {"band": len(BANDS)}},
        )  # fmt: skip
        write_xarray(fits.transpose("band", "y", "x"), output)

    return Outcome(seconds(task), corner(output))


def xarray_polyfit(job: Job) -> Outcome:
    """Run `polyfit` in a process of its own, as only a process can be stopped."""
    require("rioxarray", "dask.array")
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    output = job.output("polyfit.tif")
    process = context.Process(target=polyfit_child, args=(job.paths, job.years, output, sender))
    process.start()
    sender.close()  # so that the end of the process ends the wait
    try:
        receiver.recv()  # modules are loaded
        if not receiver.poll(job.limit):
            raise OverLimitError
        spent = receiver.recv()
    finally:
        process.kill()
        process.join()
    return Outcome(spent, corner(output))


def polyfit_child(paths: list[Path], years: NDArray[np.float64], output: Path, sender: Connection) -> None:
    """Fit with xarray's `polyfit`, and send the seconds."""
    require("rioxarray", "dask.array")
    sender.send("ready")

    def task() -> None:
        fits = open_xarray(paths, years).polyfit("time", 1).polyfit_coefficients
        write_xarray(fits.transpose("degree", "y", "x"), output)

    sender.send(seconds(task))


# Programs.


def execute(arguments: Sequence[str], **options: Any) -> str:
    """Run a program and return what it prints; its errors are shown where it fails."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise SystemExit(f"{Path(arguments[0]).name} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


def write_netcdf(job: Job, *, compressed: bool) -> Path:
    """Write the pixels once: classic (64-bit offsets), as fast as any for cdo, or compressed as the GeoTIFFs are."""
    import netCDF4

    path = job.folder / f"stack-{'compressed' if compressed else 'classic'}.nc"
    if path.exists():
        return path
    format_ = "NETCDF4" if compressed else "NETCDF3_64BIT_OFFSET"
    storage = (
        {"compression": "zlib", "shuffle": True, "chunksizes": (1, *[min(256, job.size)] * 2)} if compressed else {}
    )
    with netCDF4.Dataset(path, "w", format=format_) as dataset:
        for name, length in (("time", None), ("y", job.size), ("x", job.size)):
            dataset.createDimension(name, length)
        times = dataset.createVariable("time", "f8", ("time",))
        times.units, times.calendar = "days since 1970-01-01", "standard"
        pixels = dataset.createVariable("ndvi", "f4", ("time", "y", "x"), fill_value=NODATA, **storage)
        pixels.set_auto_maskandscale(False)
        for k, file in enumerate(job.paths):
            with rasterio.open(file) as source:
                times[k], pixels[k] = days(job)[k], source.read(1)
    return path


def days(job: Job) -> NDArray[np.int64]:
    """Return days since 1970."""
    return job.stack.axis.dates.astype("datetime64[D]").astype(np.int64)


def cdo_trend(job: Job, *, compressed: bool = False) -> Outcome:
    """Run `cdo trend` on NetCDF, with the true distances between dates."""
    cdo = program("cdo")
    require("netCDF4")
    import netCDF4

    source, intercept, slope = (
        write_netcdf(job, compressed=compressed),
        job.output("intercept.nc"),
        job.output("slope.nc"),
    )
    command = [cdo, "-s", "-b", "F32", "trend,equal=false", *(str(path) for path in (source, intercept, slope))]
    spent = seconds(lambda: execute(command))
    with netCDF4.Dataset(slope) as dataset:
        found = np.ma.filled(dataset["ndvi"][0, :CORNER, :CORNER].astype(np.float64), np.nan)
    # cdo's unit of time is the distance between the first two dates.
    return Outcome(spent, found * DAYS_PER_YEAR / (days(job)[1] - days(job)[0]))


def grass_session(job: Job) -> dict[str, str]:
    """Make a location with links to the files once, and return the environment that GRASS programs want."""
    grass = program("grass")
    home = Path(execute([grass, "--config", "path"]).strip())
    session = job.folder / "grassrc"
    environment = {
        **os.environ, "GISBASE": str(home), "GISRC": str(session), "LD_LIBRARY_PATH": str(home / "lib"),
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}", "GRASS_OVERWRITE": "1",
    }  # fmt: skip
    if not session.exists():
        execute([grass, "-c", str(job.paths[0]), "-e", str(job.folder / "location")])
        session.write_text(f"GISDBASE: {job.folder}\nLOCATION_NAME: location\nMAPSET: PERMANENT\n")
        for name, path in zip(grass_names(job), job.paths, strict=True):
            execute(["r.external", f"input={path}", f"output={name}"], env=environment)
    return environment


def grass_names(job: Job) -> list[str]:
    """Return names of the layers in GRASS."""
    return [f"layer{k}" for k in range(len(job.paths))]


def grass_series(job: Job) -> Outcome:
    """Run `r.series` on links to the files, and write its maps as GeoTIFF."""
    environment = grass_session(job)
    methods = ("slope", "offset", "detcoeff")
    outputs = {method: job.output(f"{method}.tif") for method in methods}
    series = [
        "r.series", "--quiet", f"input={','.join(grass_names(job))}", f"output={','.join(methods)}",
        f"method={','.join(methods)}", f"nprocs={usable_cores()}",
    ]  # fmt: skip

    def task() -> None:
        execute(series, env=environment)
        for method, path in outputs.items():
            options = [f"input={method}", f"output={path}", "type=Float32", f"createopt={','.join(GDAL_OPTIONS)}"]
            execute(["r.out.gdal", "--quiet", "-c", "-f", *options], env=environment)

    spent = seconds(task)
    return Outcome(spent, corner(outputs["slope"]), per_step=True)


#: Arguments: file with the paths, file with the years, output, edge of the part to take. Prints the seconds.
TERRA_APP = """
suppressMessages(suppressWarnings(library(terra)))
arguments <- commandArgs(trailingOnly = TRUE)
paths <- readLines(arguments[1]); x <- as.numeric(readLines(arguments[2])); edge <- as.integer(arguments[4])
fit <- function(y) {
  valid <- !is.na(y); n <- sum(valid)
  if (n < 3) return(rep(NA_real_, 5))
  x <- x[valid]; y <- y[valid]; mx <- mean(x); my <- mean(y)
  xx <- sum((x - mx)^2); xy <- sum((x - mx) * (y - my)); yy <- sum((y - my)^2)
  slope <- xy / xx; stderr <- sqrt(max(yy - slope * xy, 0) / (n - 2) / xx)
  c(slope, my - slope * mx, xy / sqrt(xx * yy), 2 * pt(-abs(slope / stderr), n - 2), stderr)
}
spent <- system.time({
  stack <- rast(paths); e <- as.vector(ext(stack)); r <- res(stack)
  part <- crop(stack, ext(e[1], e[1] + edge * r[1], e[4] - edge * r[2], e[4]))
  app(part, fit, cores = 1, filename = arguments[3], wopt = list(gdal = OPTIONS))
})
cat(spent[["elapsed"]])
"""

#: Arguments as above, without the edge.
TERRA_REGRESS = """
suppressMessages(suppressWarnings(library(terra)))
if (!("regress" %in% getNamespaceExports("terra"))) { cat("missing"); quit() }
arguments <- commandArgs(trailingOnly = TRUE)
paths <- readLines(arguments[1]); x <- as.numeric(readLines(arguments[2]))
spent <- system.time(
  regress(rast(paths), x, na.rm = TRUE, filename = arguments[3], wopt = list(gdal = OPTIONS))
)
cat(spent[["elapsed"]])
"""


def run_terra(job: Job, script: str, output: Path, *arguments: str) -> str:
    """Run a script of R with terra, and return what it prints."""
    rscript = program("Rscript")
    found = execute([rscript, "-e", 'cat(nzchar(system.file(package = "terra")))']).strip()
    if found != "TRUE":
        raise SkippedError("R package terra is not installed")
    options = "c(" + ", ".join(f'"{option}"' for option in GDAL_OPTIONS) + ")"
    code, paths, years = (job.folder / name for name in ("terra.R", "paths.txt", "years.txt"))
    code.write_text(script.replace("OPTIONS", options))
    paths.write_text("".join(f"{path}\n" for path in job.paths))
    years.write_text("".join(f"{year!r}\n" for year in job.years.tolist()))
    return execute([rscript, str(code), str(paths), str(years), str(output), *arguments]).strip()


def terra_app(job: Job) -> Outcome:
    """Run terra's `app` with a function of R per cell on part of the scene, and scale the time to all of it."""
    output, edge = job.output("app.tif"), min(CROP, job.size)
    spent = float(run_terra(job, TERRA_APP, output, str(edge)))
    return Outcome(spent * (job.size / edge) ** 2, corner(output))


def terra_regress(job: Job) -> Outcome:
    """Run terra's `regress`, where terra has it."""
    output = job.output("regress.tif")
    printed = run_terra(job, TERRA_REGRESS, output)
    if printed == "missing":
        raise SkippedError("this version of terra has no regress()")
    return Outcome(float(printed), corner(output, 2))


def rios_applier(job: Job) -> Outcome:
    """Apply the masked sums with RIOS, which hands over blocks."""
    require("rios", "rios.applier")
    from rios import applier

    inputs, outputs = applier.FilenameAssociations(), applier.FilenameAssociations()
    others, controls = applier.OtherInputs(), applier.ApplierControls()
    output = job.output("rios.tif")
    inputs.layers, outputs.fits, others.years = [str(path) for path in job.paths], str(output), job.years
    controls.setOutputDriverName("GTiff")
    controls.setCreationOptions(list(GDAL_OPTIONS))
    controls.setCalcStats(False)
    spent = seconds(lambda: applier.apply(rios_block, inputs, outputs, others, controls=controls))
    return Outcome(spent, corner(output))


def rios_block(info: Any, inputs: Any, outputs: Any, others: Any) -> None:
    """Fit one block."""
    values = np.concatenate(inputs.layers).astype(np.float32)
    values[values == NODATA] = np.nan
    outputs.fits = np.stack(masked_sums(values, others.years, axis=0)).astype(np.float32)


PEERS = (
    Peer("scipy loop, 1 process", scipy_loop, "fits scaled from 20 000 pixels; writing not counted", once=True),
    Peer(
        "scipy loop, N processes", scipy_processes,
        "fits scaled from 60 000 pixels, one process per core; start of the processes and writing not counted",
        once=True,
    ),
    Peer("NumPy masked sums", numpy_blocks, "one thread; p by scipy.special.stdtr"),
    Peer("dask apply_ufunc", dask_ufunc, "the same sums on dask's threads"),
    Peer("xarray polyfit", xarray_polyfit, "slope and intercept only"),
    Peer(
        "cdo trend", cdo_trend,
        "slope and intercept only, as pixelwise here; reads and writes uncompressed classic NetCDF, "
        "converting to it not counted",
        bands=("slope", "intercept"),
    ),
    Peer(
        "cdo trend, compressed", partial(cdo_trend, compressed=True),
        "the same from NetCDF-4 with DEFLATE, shuffled, in chunks of 256 x 256, as the GeoTIFFs are",
        bands=("slope", "intercept"),
    ),
    Peer(
        "GRASS r.series", grass_series,
        "slope, offset, detcoeff only; counts steps instead of dates, so slopes are compared per step; "
        "linking not counted",
    ),
    Peer("terra app", terra_app, "function in R per cell, one core; scaled from 500 x 500 pixels", once=True),
    Peer("terra regress", terra_regress, "slope and intercept only"),
    Peer("RIOS", rios_applier, "the same sums, one thread"),
)  # fmt: skip


def difference(job: Job, outcome: Outcome) -> float:
    """Return how far a peer's slopes are from those of pixelwise at most, where both have one."""
    expected = job.slope_per_step if outcome.per_step else job.slope[outcome.where]
    both = np.isfinite(expected) & np.isfinite(outcome.slope)
    if both.mean() < 0.99:
        raise SystemExit("a peer and pixelwise have slopes at different pixels")
    return float(np.abs(expected - outcome.slope)[both].max())


def pairs(peer: Peer, job: Job, rounds: int) -> Iterator[tuple[float, Outcome]]:
    """Run pixelwise and a peer in turn; the first pair warms up, unless the peer is slow and runs just once."""

    def pair() -> tuple[float, Outcome]:
        reference = seconds(lambda: run_pixelwise(job, peer.bands))
        job.clear()
        try:
            return reference, peer.run(job)
        except OverLimitError:
            # Its seconds are unknown: no slopes either.
            return reference, Outcome(np.inf, np.empty(0))
        finally:
            job.clear()

    first = pair()
    if peer.once or first[1].seconds > SLOW:
        yield first
    else:
        yield from (pair() for _ in range(rounds))


def measure_peer(peer: Peer, job: Job, rounds: int) -> dict[str, Any]:
    """Return seconds and ratios of a peer; least ones where it was stopped."""
    done = list(pairs(peer, job, rounds))
    reference = [seconds for seconds, _ in done]
    shared = {"pixelwise_seconds": float(np.median(reference)), "bands": list(peer.bands), "note": peer.note}
    if any(np.isinf(outcome.seconds) for _, outcome in done):
        return {**shared, "seconds_min": job.limit, "ratio_min": job.limit / reference[0], "rounds": 1}
    times = {"pixelwise": reference, peer.name: [outcome.seconds for _, outcome in done]}
    compared = measure.compare(times, "pixelwise")[peer.name]
    return {**shared, **compared, "slope_difference": difference(job, done[-1][1])}


def row(name: str, case: dict[str, Any]) -> tuple[str, ...]:
    """Return a line of the table."""
    reference = f"{case['pixelwise_seconds']:.2f}"
    if "seconds" not in case:
        return name, f"> {case['seconds_min']:.0f}", reference, f"> {case['ratio_min']:.0f}", "-", "-", case["note"]
    spread = f"{case['ratio_min']:.1f}..{case['ratio_max']:.1f}" if case["rounds"] > 1 else "once"
    return (
        name, f"{case['seconds']:.2f}", reference, f"{case['ratio']:.1f}", spread,
        f"{case['slope_difference']:.0e}", case["note"],
    )  # fmt: skip


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="names, or parts of names, divided by commas; all by default")
    parser.add_argument("--size", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=120, help="seconds after which polyfit is stopped")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pixelwise-benchmarks")
    parser.add_argument("--no-save", action="store_true", help="keep the results that are there")
    return parser.parse_args()


def main() -> None:
    """Measure pixelwise against each peer and print a table."""
    options = arguments()
    logging.getLogger("pixelwise").setLevel(logging.ERROR)
    paths = write_stack(options.folder, LAYOUTS[LAYOUT], options.size, DATES)
    wanted = [p for p in PEERS if not options.peers or any(part in p.name for part in options.peers.split(","))]
    cases = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        job = Job(paths, Path(folder), options.limit)
        run_pixelwise(job, BANDS)  # loads the kernel, or compiles it
        job.clear()
        for peer in wanted:
            try:
                case = measure_peer(peer, job, options.rounds)
            except SkippedError as reason:
                print(f"skipped: {peer.name}: {reason}", flush=True)
                continue
            cases[peer.name] = {**case, "size": options.size, "dates": DATES, "layout": LAYOUT}
            print("done:", *row(peer.name, case)[:6], flush=True)
    header = ("peer", "seconds", "pixelwise", "ratio", "spread", "slope differs", "note")
    print("\n" + measure.table([row(name, case) for name, case in cases.items()], header))
    if not options.no_save:
        measure.save("peers", cases)


if __name__ == "__main__":
    main()

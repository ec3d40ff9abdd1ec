"""The whole job from Zarr and NetCDF beside GeoTIFF, and reading beside zarr-python's and netCDF4's own decoding.

The same pixels, 3000 x 3000 x 21 float32, in each format. In turn in one process after a warm-up: the library's own
decoding on two threads (rasterio, zarr-python, netCDF4 under its lock), pixelwise reading only, and the whole `ols` job
with five bands written as ZSTD. Ratios are those of the same round: reading to the library, jobs to GeoTIFF DEFLATE.

    python benchmarks/arrays.py [--formats NAME,NAME] [--size 3000] [--dates 21] [--rounds 5] [--cdo]
"""

from __future__ import annotations

import argparse
import logging
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import numpy as np
import xarray as xr
import zarr
from pipeline import BANDS, DecodeOnly, decode
from stacks import NODATA, TRANSFORM, Layout, make_layer, tiled, write_stack

import pixelwise as pw

REFERENCE = "tif-deflate"


@dataclass(frozen=True)
class Format:
    """How the pixels are stored: rasters by a layout, or an array in chunks of (time, y, x)."""

    name: str
    layout: Layout | None = None
    chunks: tuple[int, int, int] | None = None
    shards: tuple[int, int, int] | None = None
    netcdf: bool = False


FORMATS = {
    one.name: one
    for one in (
        Format("tif-deflate", Layout("tile256-deflate-p2", creation=tiled(256, compress="deflate", predictor=2))),
        Format("tif-zstd", Layout("tile256-zstd", creation=tiled(256, compress="zstd"))),
        Format("zarr-21", chunks=(21, 256, 256)),
        Format("zarr-1", chunks=(1, 256, 256)),
        Format("zarr-sharded", chunks=(21, 256, 256), shards=(21, 1024, 1024)),
        Format("netcdf-1", chunks=(1, 256, 256), netcdf=True),
        Format("netcdf-21", chunks=(21, 256, 256), netcdf=True),
    )
}


def write(folder: Path, form: Format, size: int, dates: int) -> list[Path]:
    """Write the pixels in a format, once."""
    if form.layout is not None:
        return write_stack(folder, form.layout, size, dates)
    path = folder / f"{form.name}-{size}-{dates}{'.nc' if form.netcdf else '.zarr'}"
    if path.exists():
        return [path]
    rows = np.arange(size) + 0.5
    times = np.array([f"{1940 + k // 12}-{k % 12 + 1:02d}-01" for k in range(dates)], dtype="datetime64[ns]")
    values = np.stack([make_layer(size, k) for k in range(dates)])
    array = xr.DataArray(
        values, dims=("time", "y", "x"), name="ndvi", attrs={"grid_mapping": "spatial_ref"},
        coords={"time": times, "y": TRANSFORM.f + TRANSFORM.e * rows, "x": TRANSFORM.c + TRANSFORM.a * rows},
    )  # fmt: skip
    crs = pw.open_stack(write_stack(folder, FORMATS[REFERENCE].layout, size, dates)).grid.crs
    array.coords["spatial_ref"] = xr.DataArray(0, attrs={"crs_wkt": crs.to_wkt()})
    partial = path.with_name(f"partial-{path.name}")
    shutil.rmtree(partial, ignore_errors=True)
    chunks = tuple(min(a, b) for a, b in zip(form.chunks, values.shape, strict=True))
    if form.netcdf:
        encoding = {"zlib": True, "complevel": 4, "shuffle": True, "chunksizes": chunks, "_FillValue": NODATA}
        array.to_dataset().to_netcdf(partial, engine="netcdf4", encoding={"ndvi": encoding})
    else:
        encoding = {"chunks": chunks, "_FillValue": NODATA} | ({"shards": form.shards} if form.shards else {})
        array.to_dataset().to_zarr(partial, encoding={"ndvi": encoding}, consolidated=False)
    partial.rename(path)
    return [path]


def own_decoding(form: Format, paths: list[Path], size: int) -> Callable[[], object]:
    """Return what decodes every pixel with the format's own library, on two threads."""
    if form.layout is not None:
        return lambda: decode(paths, 2)
    edges = [(row, col) for row in range(0, size, 256) for col in range(0, size, 1024)]
    if form.netcdf:
        import netCDF4

        lock = threading.Lock()

        def read_all() -> None:
            with netCDF4.Dataset(paths[0]) as dataset, ThreadPoolExecutor(2) as pool:
                variable = dataset["ndvi"]
                variable.set_auto_maskandscale(False)

                def read(edge: tuple[int, int]) -> None:
                    with lock:
                        variable[:, edge[0] : edge[0] + 256, edge[1] : edge[1] + 1024]

                list(pool.map(read, edges))

        return read_all

    def read_zarr() -> None:
        array = zarr.open_array(str(paths[0] / "ndvi"), mode="r")
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda edge: array[:, edge[0] : edge[0] + 256, edge[1] : edge[1] + 1024], edges))

    return read_zarr


def both_clocks(task: Callable[[], object], spent: list[float]) -> Callable[[], object]:
    """Return a task that also notes the CPU time it takes."""

    def timed() -> None:
        before = time.process_time()
        task()
        spent.append(time.process_time() - before)

    return timed


def measure_formats(files: Mapping[str, list[Path]], size: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Measure all tasks in turn."""
    cpu: dict[str, list[float]] = {}
    tasks: dict[str, Callable[[], object]] = {}
    with tempfile.TemporaryDirectory(dir=next(iter(files.values()))[0].parent.parent) as folder:
        output = Path(folder) / "map.tif"
        for name, paths in files.items():
            stack = pw.open_stack(paths if len(paths) > 1 else paths[0])
            for kind, task in (
                ("own decoding", own_decoding(FORMATS[name], paths, size)),
                ("reading", lambda stack=stack: pw.apply(stack, DecodeOnly(), jobs=2)),
                ("job", lambda stack=stack: pw.apply(stack, "ols", output, bands=BANDS, jobs=2)),
            ):
                key = f"{name} {kind}"
                tasks[key] = both_clocks(task, cpu.setdefault(key, []))
        wall = measure.alternate(tasks, rounds, between=lambda: output.unlink(missing_ok=True))
    cpu = {name: spent[1:] for name, spent in cpu.items()}
    results = {}
    for name in files:
        reading = {"wall": wall, "CPU": cpu}
        results[name] = {
            clock: {
                "reading": measure.compare(times, f"{name} own decoding")[f"{name} reading"],
                "own": measure.compare(times, f"{REFERENCE} own decoding")[f"{name} own decoding"],
                "job": measure.compare(times, f"{REFERENCE} job")[f"{name} job"],
            }
            for clock, times in reading.items()
        }
    return results


def measure_cdo(zarr_path: Path, netcdf: Path, rounds: int) -> dict[str, Any]:
    """Measure the whole job from Zarr, as a process of its own, beside `cdo trend` from compressed NetCDF."""
    with tempfile.TemporaryDirectory(dir=netcdf.parent) as folder:
        output = Path(folder) / "map.tif"
        tasks = {
            "cdo": lambda: subprocess.run(
                ["cdo", "-s", "-O", "trend", netcdf, f"{folder}/a.nc", f"{folder}/b.nc"], check=True
            ),
            "pixelwise": lambda: subprocess.run(
                [sys.executable, "-m", "pixelwise", "apply", "ols", zarr_path, "-o", output, "--overwrite"],
                check=True,
                capture_output=True,
            ),
        }
        return measure.compare(measure.alternate(tasks, rounds), "pixelwise")


def main() -> None:
    """Measure the formats asked for, save the results and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--size", type=int, default=3000)
    parser.add_argument("--dates", type=int, default=21)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cdo", action="store_true", help="also beside cdo trend, if it is installed")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pixelwise-benchmarks")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("pixelwise").setLevel(logging.ERROR)
    names = list(dict.fromkeys((REFERENCE, *options.formats.split(","))))
    files = {name: write(options.folder, FORMATS[name], options.size, options.dates) for name in names}
    results = measure_formats(files, options.size, options.rounds)
    case = f"{options.size}² x {options.dates}"
    measure.save("arrays", {case: results})
    rows = [
        (name, clock, *(f"{kinds[k]['ratio']:.2f} ({kinds[k]['ratio_min']:.2f}..{kinds[k]['ratio_max']:.2f})"
                        for k in ("own", "reading", "job")))
        for name, clocks in results.items() for clock, kinds in clocks.items()
    ]  # fmt: skip
    print(measure.table(rows, ("format", "clock", "own / rasterio", "reading / own", "job / GeoTIFF")))
    if options.cdo and shutil.which("cdo") is None:
        print("cdo: skipped, it is not installed")
    elif options.cdo:
        beside = measure_cdo(files["zarr-21"][0], files["netcdf-1"][0], min(options.rounds, 3))
        measure.save("arrays", {f"{case}, cdo": beside})
        print(f"cdo trend / pixelwise: {beside['cdo']['ratio']:.2f}")


if __name__ == "__main__":
    main()

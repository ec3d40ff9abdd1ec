"""The stacks of the shared data that have independent answers, and how each is opened."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

import pixelwise as pw
from pixelwise.stacks.raster import RasterStack
from support.rasters import write_raster

Shared = Callable[[str], Path]


def as_they_are(source: Path, folder: Path) -> Path:
    return source


def dated_by_table(source: Path, folder: Path) -> Path:
    """Give the yearly files of Alaska the dates that R was given: 1 January, not a plain year."""
    table = folder / "dates.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "date"])
        writer.writerows([path, f"{path.stem[-4:]}-01-01"] for path in sorted(source.glob("*.tif")))
    return table


def without_clouds(source: Path, folder: Path) -> Path:
    """Write each NDVI image without its clouds, named by its day; one day has two images."""
    for number, path in enumerate(sorted(source.glob("*_NDVI.tif"))):
        with rasterio.open(path) as ndvi, rasterio.open(path.with_name(path.name.replace("NDVI", "CLM"))) as clouds:
            values = np.where(clouds.read(1) == 1, np.float32("nan"), ndvi.read(1))
            day = datetime.strptime(path.name[3:18], "%Y%m%dT%H%M%S").strftime("%Y%m%d")
            write_raster(
                folder / "clear" / f"{day}_{'ab'[number % 2]}.tif",
                values,
                crs=ndvi.crs,
                transform=ndvi.transform,
                nodata=np.nan,
            )
    return folder / "clear"


@dataclass(frozen=True)
class Case:
    """How to open one stack of the reference answers: where it is, what to do before, and with which options."""

    source: str
    prepare: Callable[[Path, Path], Path] = as_they_are
    times: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def open(self, shared: Shared, folder: Path) -> RasterStack:
        times = {} if self.times is None else {"times": shared(self.times)}
        return pw.open_stack(self.prepare(shared(self.source), folder), **times, **self.options)


CASES = {
    "remoteparts_ak_ndvi": Case("remoteparts_ak_ndvi/geotiff", dated_by_table),
    "tura_landsat": Case("tura_landsat/geotiff"),
    "gimms_bale": Case("gimms_bale/geotiff"),
    "pacificSST": Case("remote_sst_gpcp/multiband/pacificSST_198201_201012.tif"),
    "stfit_landsat106": Case("stfit_landsat/landsat106_stack_990dates.tif"),
    "rts_mod13a3": Case("rts_mod13a3/ndvi/ndvi.grd"),
    "skmap_ndvi_gappy": Case("skmap_landsat_seasonal/ndvi/gappy"),
    "bfast_modisraster": Case("bfast_series/modisraster.tif"),
    "dtwsat_mt_ndvi": Case("dtwsat_mod13q1_mt/original/ndvi.tif", times="dtwsat_mod13q1_mt/original/timeline"),
    "eolearn_s2_ndvi": Case("eolearn_s2_ndvi/geotiff", without_clouds, options={"same_date": "keep"}),
}

LEFT_OUT = {
    "ersst_v5": "NetCDF: none of the project's drivers",
    "nrt_s2_romania_20m_ndvi": "NetCDF: none of the project's drivers",
    "sits_cbers4_b15_masked": "its files are not among the shared data",
}

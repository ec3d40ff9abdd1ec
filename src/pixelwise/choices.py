"""The words that options accept, each list once: read by the Python interface and by the command line."""

from __future__ import annotations

from typing import Literal

__all__ = [
    "BandKind",
    "ClassKind",
    "Compression",
    "Correction",
    "Every",
    "ExecutorName",
    "Extent",
    "Figure",
    "FlaggedGains",
    "MapType",
    "OnReadError",
    "Palette",
    "Per",
    "PerScene",
    "Period",
    "Rectification",
    "Reduction",
    "Resampling",
    "SameDate",
    "Scheme",
    "TiffDriver",
    "Written",
    "ZarrFormat",
]

#: What months, weeks, dekads and other spans stand for.
Period = Literal["start", "middle", "end"]
SameDate = Literal["keep", "first", "mosaic", "mean", "max"]
#: How names of files on servers begin.
Scheme = Literal["https", "http", "s3", "gs", "az"]
#: Extents that follow from the files; others are bounds or a raster.
Extent = Literal["union", "intersection", "first"]
#: As GDAL calls them.
Resampling = Literal["nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average", "mode", "max", "min", "med"]
#: Composites besides percentiles and functions. The median of an even number of values is the mean of the middle two;
#: ``medoid`` is the observation nearest to the median, the earliest of equals; ``count`` is the number of valid
#: observations; ``date_of_max`` the day of the first largest value, 1 for 1 January of the year in which the period
#: begins.
Reduction = Literal["max", "min", "mean", "sum", "median", "medoid", "count", "date_of_max"]
#: Calendar periods of composites.
Every = Literal["year", "season", "month", "dekad"]
OnReadError = Literal["stop", "missing"]
ExecutorName = Literal["threads", "processes", "inline", "dask", "mpi"]
#: The type of a map's values.
MapType = Literal["float32", "float64"]
Compression = Literal["zstd", "deflate", "lzw", "none"]
#: Version 3 puts many chunks into one file (shards); of version 2, which GDAL 3.10 reads too, each chunk is a file.
ZarrFormat = Literal[2, 3]
#: How p-values are adjusted for their number: Benjamini & Hochberg; Benjamini & Yekutieli, whatever their dependence.
Correction = Literal["bh", "by"]
#: What makes a map whose name ends in .tif, as GDAL calls it: a plain GeoTIFF, or a cloud-optimized one.
TiffDriver = Literal["GTiff", "COG"]
#: Stacks that are written beside a map, with a value for each layer of the input.
Written = Literal["fitted", "residuals", "deseasonalised", "anomalies", "standardized"]
#: Units of time of changes.
Per = Literal["year", "decade"]
#: What the numbers of a band are: ``change`` increases or decreases with time; ``signed`` is any other number whose
#: sign is a direction (a coefficient, a score, a residual); ``level`` has the unit of the input, or none, and is only
#: small or large; ``test`` is a p-value or q-value; ``share`` lies between 0 and 1; ``correlation`` between -1 and 1;
#: ``time`` is a decimal year; ``code`` has a meaning for each number.
BandKind = Literal["change", "signed", "level", "test", "share", "count", "day of year", "time", "code", "correlation"]
#: How values are divided into classes: by direction and significance, at one level or at those of 90, 95 and 99 %; at
#: quantiles; at equal distances; at natural breaks (Fisher, Jenks); or not at all, by a colour bar. ``quantile``,
#: ``equal`` and ``fisher`` take a number, as in ``quantile:7``.
ClassKind = Literal["trend", "confidence", "quintile", "quantile", "equal", "fisher", "continuous"]
#: How the gains of a scene are found: by iteratively reweighted multivariate alteration detection, by bright and dark
#: control sets, or by regression over pixels that are known to be invariant.
Rectification = Literal["irmad", "controls", "regression"]
#: Whether each scene has gains of its own, or all scenes of a sensor share theirs.
PerScene = Literal["scene", "sensor"]
#: What becomes of scenes whose gains have a flag other than ``few``.
FlaggedGains = Literal["drop", "keep"]
#: One picture of one or more bands, or several panels about one band.
Figure = Literal["map", "paper"]
#: Colours that people with colour blindness tell apart. ``greening`` (brown to teal) and ``warming`` (blue to red) have
#: two directions from zero, ``viridis`` and ``cividis`` have one.
Palette = Literal["greening", "warming", "viridis", "cividis"]

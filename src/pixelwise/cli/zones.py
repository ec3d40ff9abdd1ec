"""``pixelwise zones``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pixelwise.cli.completing import files
from pixelwise.cli.options import BandNames
from pixelwise.cli.plot import class_options
from pixelwise.cli.report import debug_option, emit, progress_bar

__all__ = ["zones"]

#: What stands for the map's own inputs.
OWN_INPUTS = "the map's own"


@click.command()
@click.argument("map_path", metavar="MAP", type=click.Path(path_type=Path))
@click.argument("polygons", metavar="ZONES", shell_complete=files)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Table to write: .csv, or .gpkg with the polygons.",
)
@click.option(
    "--bands",
    type=BandNames(),
    metavar="A[,B]",
    help="Bands to summarize; classes are those of the first.  [default: all but status]",
)
@class_options(drawn=False)
@click.option(
    "--series",
    is_flag=False,
    flag_value=OWN_INPUTS,
    metavar="[INPUT]",
    help="Add the trend of the mean series of each zone, by the map's method. Without INPUT, the map's own files are "
    "read if they are in its folder; others must be named: a folder, a quoted glob or @list.txt.",
)
@click.option("--series-csv", type=click.Path(path_type=Path), metavar="FILE", help="Also write the mean series.")
@click.option("--method", metavar="FILE.PY:FUNCTION", help="Your function that made the map, for --series.")
@click.option("--overwrite", is_flag=True, help="Replace existing tables.")
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
@debug_option
def zones(
    *,
    map_path: Path,
    polygons: str,
    output: Path,
    series: str | None,
    series_csv: Path | None,
    method: str | None,
    overwrite: bool,
    quiet: bool,
    **options: Any,
) -> None:
    r"""Summarize MAP by polygons, or by classes of a raster.

    For each zone: its area, the area of each class (significant increase, ...), and the mean, median and standard
    deviation of each band. The weight of a pixel is the fraction that a polygon covers, times its true area. ZONES
    is a GeoPackage, GeoJSON, Shapefile or FlatGeobuf file (FILE:LAYER if it has several layers) in any CRS, or a raster
    of whole numbers with the pixels of MAP.

    \b
      pixelwise zones trend.tif districts.gpkg -o districts.csv
      pixelwise zones trend.tif parks.geojson -o parks.gpkg --bands slope,n
      pixelwise zones trend.tif landcover.tif -o landcover.csv
      pixelwise zones trend.tif districts.gpkg -o districts.csv --series-csv means.csv --series
    """
    from pixelwise.maps.foreign import open_any
    from pixelwise.maps.saving import check_output
    from pixelwise.rasters.polygons import is_vector
    from pixelwise.zonal.summary import summarize
    from pixelwise.zonal.table import SUFFIXES, check_table, inputs_of_zones

    if is_vector(str(map_path)):
        raise click.UsageError(f"MAP comes before ZONES: pixelwise zones {polygons} {map_path} -o {output}")
    if series is None and (series_csv is not None or method is not None):
        raise click.UsageError(f"--{'method' if series_csv is None else 'series-csv'} needs --series")
    check_table(output, overwrite=overwrite, shapes=is_vector(polygons))
    if series_csv is not None:
        check_output(series_csv, overwrite=overwrite, suffixes=(".csv",), outputs=(output,))
    map_, origin = open_any(map_path), None
    for target in filter(None, (output, series_csv)):
        check_output(target, overwrite=overwrite, suffixes=SUFFIXES, inputs=inputs_of_zones(polygons, map_))
    if series is not None:
        from pixelwise.series import origin_of

        command = ("pixelwise", "zones", str(map_path), polygons, "-o", str(output), "--series")
        source = None if series == OWN_INPUTS else series
        origin = origin_of(map_, map_path, source, method=method, command=command)
    with progress_bar(quiet) as progress:
        table = summarize(map_, polygons, origin=origin, progress=progress, **options)
    emit(str(table.save(output, overwrite=overwrite)), lines=False)
    if series_csv is not None and table.series is not None:
        emit(str(table.series.save(series_csv, overwrite=overwrite)), lines=False)

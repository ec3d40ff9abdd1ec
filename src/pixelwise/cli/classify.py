"""``pixelwise classify``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pixelwise.cli.plot import class_options
from pixelwise.cli.report import debug_option, emit

__all__ = ["classify"]


@click.command()
@click.argument("map_path", metavar="MAP", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="GeoTIFF of classes to write.")
@click.option("--band", help="Band to classify.  [default: the first]")
@class_options(drawn=False)
@click.option("--table", metavar="FILE", type=click.Path(path_type=Path), help="Table of areas to write, .csv.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@debug_option
def classify(*, map_path: Path, output: Path, **options: Any) -> None:
    r"""Write a band of MAP in classes, and print their areas.

    \b
      pixelwise classify trend.tif -o classes.tif --table areas.csv
      pixelwise classify trend.tif -o classes.tif --classes confidence
      pixelwise classify trend.tif -o n.tif --band n --classes 10,20,30

    The file is a GeoTIFF of bytes, with a colour table and the names of the classes. QGIS shows it in the colours of
    `pixelwise plot`, which the style beside it (classes.qml) defines. Areas are on the ellipsoid, whatever the CRS.
    """
    from pixelwise.maps.classified import classify, table_of
    from pixelwise.maps.foreign import open_any

    tally = classify(open_any(map_path), output, **options)
    emit(aligned(table_of(tally)))
    emit(str(output))


def aligned(table: str) -> str:
    """Return the lines of a CSV table with their columns aligned."""
    import csv
    import io

    rows = list(csv.reader(io.StringIO(table)))
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = (
            cell.ljust(width) if place == 1 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)

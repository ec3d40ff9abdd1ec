"""``pixelwise plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from pixelwise.choices import ClassKind
from pixelwise.cli.report import debug_option, emit

__all__ = ["plot"]


@click.command()
@click.argument("map_path", metavar="MAP", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Picture to write: .png, .pdf, .svg or .jpg."
)
@click.option("--band", help="Band to draw.  [default: the first]")
@click.option(
    "--classes",
    type=click.Choice(get_args(ClassKind)),
    help="Direction and significance (trend), or five classes of equal size (quintile); the band status has its own "
    "classes.  [default: trend, if the band has a p-value]",
)
@click.option(
    "--significant",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="P-values below this are significant.",
)
@click.option("--title", help="Title of the picture, instead of method, band and time range.")
@click.option("--overwrite", is_flag=True, help="Replace an existing picture.")
@debug_option
def plot(*, map_path: Path, output: Path, overwrite: bool, **options: Any) -> None:
    r"""Draw a band of MAP, which `pixelwise apply` wrote.

    \b
      pixelwise plot trend.tif -o trend.png
      pixelwise plot trend.tif -o slope.pdf --classes quintile --title "Greening since 1982"
      pixelwise plot 'trend_{band}.tif' -o stderr.png --band stderr
      pixelwise plot trend.tif -o status.png --band status

    Pixels without a p-value are "not tested", except constant series, which are "no change".
    """
    from pixelwise.maps.map import open_map
    from pixelwise.maps.saving import check_output, save
    from pixelwise.pictures.picture import import_matplotlib, plot_map

    import_matplotlib()
    target = check_output(output, overwrite=overwrite)
    save(plot_map(open_map(map_path), **options), target, overwrite=overwrite)
    emit(str(target))

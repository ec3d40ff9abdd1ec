"""``pixelwise report``."""

from __future__ import annotations

from pathlib import Path

import click

from pixelwise.cli.report import debug_option, emit

__all__ = ["report"]


@click.command()
@click.argument("map_path", metavar="MAP", type=click.Path(path_type=Path))
@click.argument("source", metavar="[INPUT]...", nargs=-1)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Page to write, .html.")
@click.option("--overwrite", is_flag=True, help="Replace an existing page.")
@debug_option
def report(*, map_path: Path, source: tuple[str, ...], output: Path, overwrite: bool) -> None:
    r"""Write MAP as one page for a browser: picture, areas, histograms, series of some pixels, method, provenance.

    The page needs no network and no other file. It holds the series of a sample of pixels if the map's inputs are
    beside it or are named as INPUT.

    \b
      pixelwise report trend.tif -o report.html
      pixelwise report trend.tif ndvi/*.tif -o report.html
    """
    from pixelwise.maps.foreign import open_any
    from pixelwise.maps.saving import check_output, save_text
    from pixelwise.report.page import page_of

    target = check_output(output, overwrite=overwrite, suffixes=(".html", ".htm"))
    map_ = open_any(map_path)
    save_text(page_of(map_), target, overwrite=overwrite)
    emit(str(target))

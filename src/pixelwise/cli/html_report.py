"""``pixelwise report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pixelwise.cli.completing import files
from pixelwise.cli.report import debug_option, emit

if TYPE_CHECKING:
    from pixelwise.maps.map import Map
    from pixelwise.report.samples import Sample

__all__ = ["html_report"]

PAGES = (".html", ".htm")


@click.command("report")
@click.argument("map_path", metavar="MAP", type=click.Path(path_type=Path))
@click.argument("source", metavar="[INPUT]...", nargs=-1, shell_complete=files)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Page to write, .html.")
@click.option("--method", metavar="FILE.PY:FUNCTION", help="Your function that made the map, for its curves.")
@click.option("--overwrite", is_flag=True, help="Replace an existing page.")
@debug_option
def html_report(*, map_path: Path, source: tuple[str, ...], output: Path, method: str | None, overwrite: bool) -> None:
    r"""Write MAP as one page for a browser.

    The page contains the picture, areas, histograms, series of some pixels, the method, and how the map was made. It
    needs no network and no other file. It has series if the inputs are in the folder of the map, or are named as INPUT;
    otherwise it says why it has none.

    \b
      pixelwise report trend.tif -o report.html
      pixelwise report trend.tif ndvi/*.tif -o report.html
    """
    from pixelwise.maps.foreign import open_any
    from pixelwise.maps.saving import check_output, inputs_of, save_text
    from pixelwise.pictures.picture import import_matplotlib
    from pixelwise.report.page import page_of

    import_matplotlib()
    check_output(output, overwrite=overwrite, suffixes=PAGES)
    map_ = open_any(map_path)
    target = check_output(output, overwrite=overwrite, suffixes=PAGES, inputs=[*inputs_of(map_), *source])
    command = ("pixelwise", "report", str(map_path), "-o", str(output))
    samples, why_none = _samples(map_, map_path, list(source), method, command)
    save_text(page_of(map_, samples, no_samples=why_none), target, overwrite=overwrite)
    emit(str(target))


def _samples(
    map_: Map, path: Path, source: list[str], method: str | None, command: tuple[str, ...]
) -> tuple[list[Sample], str]:
    """Return the series of some pixels, or why there are none, in lines; inputs that the user names must be right."""
    from pixelwise.errors import InputError, ParameterError
    from pixelwise.report.samples import sample_of, sample_pixels
    from pixelwise.series import fits_of_map

    if not map_.provenance:
        if source or method:
            raise InputError(f"{path}: pixelwise did not make this map, so no inputs belong to it: leave INPUT out")
        return [], "There are no series: pixelwise did not make this map."
    if map_.provenance.get("further_inputs"):
        why = "its method compares the inputs with covariates, and a page has no series of both"
        if source or method:
            raise InputError(f"{path}: {why}: leave INPUT and --method out")
        return [], f"There are no series: {why}. `pixelwise series` shows them, with --with NAME=FILES."
    try:
        pixels = sample_pixels(map_)
        places = [(row, col) for row, col, _ in pixels]
        fits = fits_of_map(map_, path, places, source or None, method=method, command=command)
    except (InputError, ParameterError) as error:
        if source or method:
            raise
        return [], f"There are no series, as the inputs of the map were not opened:\n{error}"
    return [sample_of(fit, label) for fit, (_, _, label) in zip(fits, pixels, strict=True)], ""

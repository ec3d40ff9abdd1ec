"""``pixelwise plot``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from pixelwise.choices import Figure, Palette
from pixelwise.cli.report import debug_option, emit
from pixelwise.words import shown

__all__ = ["class_options", "plot"]

LEVEL = click.FloatRange(0, 1, min_open=True, max_open=True)

log = logging.getLogger(__name__)


def class_options(*, drawn: bool = True) -> Callable[[Any], Any]:
    """Return a decorator that adds the options that choose classes; what is drawn also has a palette or colour bar."""
    bar = "continuous (a colour bar), " if drawn else ""
    options = [
        click.option(
            "--classes",
            metavar="CLASSES",
            help="trend (direction and significance), confidence (the same at 90, 95 and 99 %), quintile, quantile:K, "
            f"equal:K, fisher:K (natural breaks), {bar}or limits such as 0,0.1,0.5.  [default: by the kind of band]",
        ),
        click.option(
            "--significant",
            type=LEVEL,
            help="Level of significance: p-values below it, or q-values up to it, are significant.  [default: 0.05, or "
            "the Q of fdr]",
        ),
        click.option(
            "--pvalue",
            metavar="BAND",
            help="Band of the p-values, if there are several.  [default: q-values if there are any]",
        ),
        click.option(
            "--palette",
            type=click.Choice(get_args(Palette)),
            help="greening (brown to teal) and warming (blue to red) have two directions, viridis and cividis have "
            "one.  [default: warming for temperatures, greening for other changes, viridis for levels]",
        ),
    ]

    def add(function: Any) -> Any:
        for option in reversed(options if drawn else options[:-1]):
            function = option(function)
        return function

    return add


@click.command()
@click.argument("map_path", metavar="MAP", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Picture to write: .png, .pdf, .svg or .jpg."
)
@click.option("--band", multiple=True, help="Band to draw; several are drawn side by side.  [default: the first]")
@class_options()
@click.option(
    "--overlay", metavar="FILE", type=click.Path(path_type=Path), help="Polygons whose outlines are drawn over the map."
)
@click.option("--title", help="Title of the picture, instead of quantity, band and period; the line below it stays.")
@click.option(
    "--figure",
    "layout",
    type=click.Choice(get_args(Figure)),
    default="map",
    show_default=True,
    help="One picture of the bands, or a figure for a paper: values, classes, number of observations, and a histogram, "
    "with its caption in a text file beside it.",
)
@click.option("--width", metavar="LENGTH", help="Width of the figure, such as 170mm, 17cm or 6.7in.")
@click.option(
    "--dpi", type=click.IntRange(50, 1200), default=200, show_default=True, help="Dots per inch of .png and .jpg."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing picture.")
@debug_option
def plot(
    *, map_path: Path, output: Path, overwrite: bool, band: tuple[str, ...], layout: str, dpi: int, **options: Any
) -> None:
    r"""Draw bands of MAP, or of any other GeoTIFF.

    \b
      pixelwise plot trend.tif -o trend.png
      pixelwise plot trend.tif -o slope.pdf --classes quantile:7 --title "Greening since 1982"
      pixelwise plot trend.tif -o both.png --band slope --band n --overlay districts.gpkg
      pixelwise plot trend.tif -o figure1.pdf --figure paper --width 170mm
      pixelwise plot trend.tif -o status.png --band status

    Shares in the legend are shares of area on the ellipsoid. Pixels without a p-value are "not tested"; constant
    series, where there is nothing to test, are a class of their own.
    """
    from pixelwise.maps.foreign import open_any
    from pixelwise.maps.saving import check_output, inputs_of, save
    from pixelwise.pictures.agreement import disagreements
    from pixelwise.pictures.picture import import_matplotlib, plot_map

    import_matplotlib()
    check_output(output, overwrite=overwrite)
    options["width"] = inches_of(options["width"])
    map_ = open_any(map_path)
    if not band or map_.bands[0].name in band:
        for caution in disagreements(map_):
            log.warning("%s", caution)
    inputs = [*inputs_of(map_), *filter(None, (options["overlay"],))]
    target = check_output(output, overwrite=overwrite, inputs=inputs)
    if layout == "paper":
        from pixelwise.maps.saving import save_text
        from pixelwise.pictures.paper import plot_paper
        from pixelwise.report.paragraph import paragraph_for

        if band[1:]:
            raise click.UsageError("--figure paper draws one --band")
        beside = check_output(target.with_suffix(".txt"), overwrite=True, suffixes=(".txt",), inputs=inputs)
        figure, caption = plot_paper(map_, band[0] if band else None, **options)
        if sentences := paragraph_for(map_, band[0] if band else None):
            caption += f"\nFor the text:\n{sentences}\n"
        # A journal wants the same figure in two formats: their captions are the same.
        if not _holds(beside, caption):
            check_output(beside, overwrite=overwrite, suffixes=(".txt",))
            save_text(caption, beside, overwrite=overwrite)
        save(figure, target, overwrite=overwrite, dpi=dpi)
        emit(str(target))
        emit(str(beside))
        return
    save(plot_map(map_, band or None, **options), target, overwrite=overwrite, dpi=dpi)
    emit(str(target))


def _holds(path: Path, text: str) -> bool:
    """Say whether a file has this text already."""
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False


def inches_of(text: str | None) -> float | None:
    """Return a length such as 170mm in inches; None if there is none."""
    if text is None:
        return None
    for unit, inches in (("mm", 1 / 25.4), ("cm", 1 / 2.54), ("in", 1.0)):
        number = text.strip().removesuffix(unit)
        if number != text.strip():
            try:
                length = float(number) * inches
            except ValueError:
                break
            if 1 <= length <= 60:
                return length
            raise click.BadParameter(
                f"{shown(text)} is not between 1 and 60 inches, 25 and 1500 mm", param_hint="--width"
            )
    raise click.BadParameter(f"{shown(text)} is not a length such as 170mm, 17cm or 6.7in", param_hint="--width")

"""``pixelwise rectify``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from pixelwise.choices import PerScene, Rectification
from pixelwise.cli.options import BandNames, input_options, job_options
from pixelwise.cli.report import debug_option, emit, progress_bar

if TYPE_CHECKING:
    from pixelwise.stacks.gains import Gains
    from pixelwise.stacks.raster import RasterStack
    from pixelwise.stacks.spec import InputSpec

__all__ = ["rectify"]


@click.command()
@partial(input_options, seasonal=True)
@click.option("--bands", type=BandNames(), metavar="NAME[,NAME]", help="Bands to compare.  [default: all of a product]")
@click.option(
    "--per",
    type=click.Choice(get_args(PerScene)),
    default="scene",
    show_default=True,
    help="Gains for each scene; or for each sensor, from pairs of scenes at most 8 days apart, chained to the newest.",
)
@click.option(
    "--reference",
    metavar="median|FILE|DATE",
    default="median",
    show_default=True,
    help="What scenes are compared with: the median of all at each pixel, or one of them.",
)
@click.option(
    "--method",
    type=click.Choice(get_args(Rectification)),
    default="irmad",
    show_default=True,
    help="Find the pixels that did not change (IR-MAD); use bright and dark control sets (Hall et al. 1991); or treat "
    "all pixels of --region or --where as unchanged.",
)
@click.option(
    "--controls",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Polygons of control sets for --method controls, with a column set that says bright or dark, or in two layers "
    "of these names.  [default: the extremes of each scene]",
)
@click.option(
    "--sample",
    type=click.IntRange(2000, 5_000_000),
    default=50_000,
    show_default=True,
    help="Pixels at which scenes are compared.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random sample.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Table to write (.csv); a picture of it (.png) is written beside it.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing table and picture.")
@click.option("--restart", is_flag=True, help="Discard the progress of an interrupted run.")
@job_options
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
@debug_option
def rectify(
    *,
    source: list[str],
    spec: InputSpec,
    bands: list[str] | None,
    output: Path,
    **options: Any,
) -> None:
    r"""Find the gains that make scenes comparable.

    INPUT is a folder, files, a quoted glob, @list.txt (a path per line), or a CSV with path,date: scenes of one date
    each, as they were taken.

    Sensors drift and are replaced, and the atmosphere differs from scene to scene; a trend of unrectified scenes
    includes all of that. `rectify` compares each scene with a reference at the same sample of pixels, and finds those
    that did not change. The line through them gives a gain and an offset for each band. It writes only a table and its
    picture: --gains applies the table wherever a stack is read. See "Make sensors comparable" in the
    documentation.

    \b
      pixelwise rectify scenes/*.TIF --product landsat-c2-l2 --season 06-01..08-31 -o gains.csv
      pixelwise apply trend scenes/*.TIF --product landsat-c2-l2 --value ndvi --gains gains.csv \
        --composite median --season 06-01..08-31 -o trend.tif
    """
    from pixelwise.jobs.execution import Execution
    from pixelwise.rectification.diagnostics import summary_lines
    from pixelwise.rectification.door import open_scenes
    from pixelwise.rectification.options import RectifyOptions
    from pixelwise.rectification.rectify import rectify_stack

    names = ("method", "per", "reference", "sample", "controls", "seed", "season")
    chosen = RectifyOptions(**{name: options.pop(name) for name in names})
    quiet = options.pop("quiet")
    picture = _picture_beside(output, overwrite=options["overwrite"])
    stack = open_scenes(source, spec, bands, chosen.reference)
    emit(str(stack), error=True)
    with progress_bar(quiet) as progress:
        gains = rectify_stack(stack, chosen, Execution(progress=progress, **options), output, source)
    for line in summary_lines(gains):
        emit(line, error=True, lines=False)
    emit(str(output), lines=False)
    if picture is not None:
        _draw(gains, picture, stack, overwrite=options["overwrite"])
        emit(str(picture), lines=False)


def _picture_beside(table: Path, *, overwrite: bool) -> Path | None:
    """Return the picture that can be written beside a table; None, and say so, if drawing is not installed."""
    from pixelwise.errors import ParameterError
    from pixelwise.maps.saving import check_output
    from pixelwise.pictures.picture import import_matplotlib

    check_output(table, overwrite=overwrite, suffixes=(".csv",))
    try:
        import_matplotlib()
    except ParameterError as error:
        emit(f"warning: no picture of the gains: {error}", error=True)
        return None
    return check_output(table.with_suffix(".png"), overwrite=overwrite)


def _draw(gains: Gains, picture: Path, stack: RasterStack, *, overwrite: bool) -> None:
    from pixelwise.maps.saving import check_output, save
    from pixelwise.rectification.diagnostics import plot_gains

    files = [path for path in stack.paths if isinstance(path, Path)]
    check_output(picture, overwrite=overwrite, inputs=files)
    save(plot_gains(gains), picture, overwrite=overwrite)

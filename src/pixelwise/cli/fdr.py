"""``pixelwise fdr``."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from pixelwise.choices import Correction
from pixelwise.cli.report import debug_option, emit, progress_bar

__all__ = ["fdr"]


@click.command()
@click.argument("map_path", metavar="MAP", type=click.Path(path_type=Path))
@click.option("-q", "q", type=float, required=True, help="Largest share of chance findings: 0.1 is usual for maps.")
@click.option(
    "--method",
    type=click.Choice(get_args(Correction)),
    default="bh",
    show_default=True,
    help="Benjamini & Hochberg, for tests that are independent or positively correlated, as those of neighbouring "
    "pixels are; or Benjamini & Yekutieli, for any dependence, which finds fewer.",
)
@click.option("--pvalue", metavar="BAND", help="Band of p-values.  [default: that of the first band]")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="New map to write: .tif, .zarr or .nc."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing map once the new one is complete.")
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
@debug_option
def fdr(
    *, map_path: Path, q: float, method: Correction, pvalue: str | None, output: Path, overwrite: bool, quiet: bool
) -> None:
    r"""Adjust the p-values of MAP for the number of tests.

    Of 1 000 000 pixels without any trend, 50 000 have a p-value below 0.05. The new map has all bands of MAP, and two
    more: qvalue, the smallest false discovery rate at which a pixel is significant, and significant (1 at the rate -q,
    0 not, 2 not tested). `apply --fdr` makes the same map at once.

    \b
      pixelwise fdr trend.tif -q 0.1 -o trend_fdr.tif
      pixelwise fdr trend.zarr -q 0.05 --method by --pvalue pvalue_mk -o strict.zarr
    """
    from pixelwise.jobs.execution import Execution
    from pixelwise.jobs.significance import adjust_map
    from pixelwise.maps.false_discovery import FalseDiscovery
    from pixelwise.maps.foreign import open_any

    request = FalseDiscovery(q, method)
    map_ = open_any(map_path)
    with progress_bar(quiet) as progress:
        made = adjust_map(map_, request, output, Execution(overwrite=overwrite, progress=progress), pvalue)
    for path in made.paths:
        emit(str(path), lines=False)

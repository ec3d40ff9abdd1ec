"""``pixelwise verify``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from pixelwise._version import __version__
from pixelwise.choices import Scheme
from pixelwise.cli.completing import files
from pixelwise.cli.options import BandNames
from pixelwise.cli.report import debug_option, emit, progress_bar

if TYPE_CHECKING:
    from pixelwise.verify.compare import Difference, Verification

__all__ = ["verify"]

#: Number of differences that are printed.
SHOWN = 20


@click.command()
@click.argument("map_path", metavar="MAP", type=click.Path(path_type=Path))
@click.argument("source", metavar="[INPUT]...", nargs=-1, shell_complete=files)
@click.option(
    "--gains", metavar="FILE", help="Table of gains of the map, if it is outside the map's folder or was moved."
)
@click.option("--method", metavar="FILE.PY:FUNCTION", help="Your function that made the map.")
@click.option(
    "--pixels", type=click.IntRange(min=1), default=1000, show_default=True, help="Number of pixels to compare."
)
@click.option("--all", "everything", is_flag=True, help="Compare all pixels; this may take long.")
@click.option(
    "--allow-scheme",
    type=BandNames(),
    metavar="S[,S]",
    help=f"Allow INPUT on servers, with these schemes: {', '.join(get_args(Scheme))}.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random sample.")
@debug_option
def verify(
    *,
    map_path: Path,
    source: tuple[str, ...],
    gains: str | None,
    method: str | None,
    pixels: int,
    everything: bool,
    allow_scheme: list[str] | None,
    seed: int,
) -> None:
    r"""Recompute pixels of MAP from its inputs and compare them.

    Pixels are read and computed in a different, slower way. If one differs, its coordinates are printed and the exit
    status is 1. What a map says about its making is never trusted: input files outside its folder are only opened if
    you name them as INPUT (or with --gains), and a function of your own only runs if you name it with --method.

    \b
      pixelwise verify trend.tif
      pixelwise verify trend.tif /data/ndvi/*.tif --all
      pixelwise verify spread.tif --method my_module.py:spread
    """
    from pixelwise.verify.compare import verify as compare

    with progress_bar(quiet=False) as progress:
        result = compare(
            map_path,
            list(source) or None,
            allow_scheme=allow_scheme or (),
            gains=gains,
            method=method,
            pixels=pixels,
            everything=everything,
            seed=seed,
            progress=progress,
        )
    emit(f"{map_path}: {summary(result)}", lines=False)
    for difference in result.differences[:SHOWN]:
        emit(line(difference), lines=False)
    if result.differing > SHOWN:
        emit(f"and {result.differing - SHOWN} more")
    if result.differing and result.made_by not in ("", __version__):
        emit(
            f"the map was made by pixelwise {result.made_by}, this is {__version__}: CHANGELOG.md lists what changed "
            "in between; make the map again to get the numbers of this version"
        )
    if result.differing:
        sys.exit(1)


def summary(result: Verification) -> str:
    """Return in one line what was compared, how, and the outcome."""
    found = "no difference"
    if result.differing:
        found = "1 number differs" if result.differing == 1 else f"{result.differing} numbers differ"
    within = f"within {result.tolerance:.2g}" if result.tolerance else "bit for bit"
    compared = f"{result.pixels} of {result.total} pixels computed again from {result.files} files"
    return f"{found}: {compared} by {result.by}, {within}"


def line(difference: Difference) -> str:
    """Return in one line where a number differs, and by how much."""
    d = difference
    place = f"row {d.row}, column {d.col} (x {d.x:.10g}, y {d.y:.10g})"
    return f"{place}: {d.band} {d.value:.9g}, recomputed {d.recomputed:.9g}"

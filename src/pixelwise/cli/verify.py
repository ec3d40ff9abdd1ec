"""``pixelwise verify``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pixelwise._version import __version__
from pixelwise.cli.report import debug_option, emit, progress_bar

if TYPE_CHECKING:
    from pixelwise.verify.compare import Difference, Verification

__all__ = ["verify"]

#: So many differences are printed.
SHOWN = 20


@click.command()
@click.argument("map_path", metavar="MAP", type=click.Path(path_type=Path))
@click.argument("source", metavar="[INPUT]...", nargs=-1)
@click.option("--method", metavar="FILE.PY:FUNCTION", help="The function of your own that made the map, again.")
@click.option("--pixels", type=click.IntRange(min=1), default=1000, show_default=True, help="How many to compare.")
@click.option("--all", "everything", is_flag=True, help="Compare all pixels: this may take long.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random sample.")
@debug_option
def verify(
    *, map_path: Path, source: tuple[str, ...], method: str | None, pixels: int, everything: bool, seed: int
) -> None:
    r"""Compute pixels of MAP again from its inputs.

    They are read and computed by another, slow way and compared; where one differs, its coordinates are printed and
    the exit status is 1. What a map says of its making is never an order: input files outside its folder are
    opened only when you name them as INPUT, and a function of your own runs only when you name it with --method.

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
            f"the map was made by pixelwise {result.made_by}, this is {__version__}: what changed between them is in "
            "CHANGELOG.md; to get today's numbers, make the map again"
        )
    if result.differing:
        sys.exit(1)


def summary(result: Verification) -> str:
    """Say in one line what was compared, how, and what came of it."""
    found = "no difference"
    if result.differing:
        found = "1 number differs" if result.differing == 1 else f"{result.differing} numbers differ"
    within = f"within {result.tolerance:.2g}" if result.tolerance else "bit for bit"
    compared = f"{result.pixels} of {result.total} pixels computed again from {result.files} files"
    return f"{found}: {compared} by {result.by}, {within}"


def line(difference: Difference) -> str:
    """Say where a number differs, and how."""
    d = difference
    place = f"row {d.row}, column {d.col} (x {d.x:.10g}, y {d.y:.10g})"
    return f"{place}: {d.band} {d.value:.9g}, recomputed {d.recomputed:.9g}"

"""``pixelwise info``."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pixelwise.cli.report import debug_option, emit

if TYPE_CHECKING:
    from pixelwise.pictures.tally import Tally

__all__ = ["info"]

#: Columns of the longest line of text.
WIDTH = 110


@click.command()
@click.argument("map_path", metavar="MAP", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option
def info(*, map_path: Path, as_json: bool) -> None:
    r"""Show what MAP is, and how it was made.

    Also counts the pixels of each status, and of each class of its first band.

    \b
      pixelwise info trend.tif
      pixelwise info trend.tif --json | jq .status

    Areas are square kilometres on the ellipsoid; shares are shares of the region: all pixels that were requested.
    """
    from pixelwise.maps.foreign import open_any
    from pixelwise.maps.info import info_of

    found = info_of(open_any(map_path))
    if as_json:
        emit(json.dumps(found.as_dict(), indent=2))
        return
    width = max(map(len, found.facts))
    for name, text in found.facts.items():
        lines = textwrap.wrap(text, WIDTH - width, break_on_hyphens=False) or [""]
        emit(f"{name.ljust(width)}  {lines[0]}")
        for line in lines[1:]:
            emit(f"{' ' * width}  {line}")
    emit("\nbands")
    names = max(len(band["name"]) for band in found.bands)
    kinds, units = (max(len(band[part]) for band in found.bands) for part in ("kind", "unit"))
    for band in found.bands:
        about = textwrap.shorten(band["description"], WIDTH - names - kinds - units - 6, placeholder=" ...")
        line = f"{band['name'].ljust(names)}  {band['kind'].ljust(kinds)}  {band['unit'].ljust(units)}  {about}"
        emit(f"  {line}".rstrip())
    for title, tally in (("status", found.status), (f"classes of {found.classes.scheme.band.name}", found.classes)):
        if tally is not None:
            emit(f"\n{title}")
            for line in lines_of(tally):
                emit(f"  {line}")
    if found.disagreements:
        emit("\np-values and slopes that disagree")
    for text in found.disagreements:
        emit(f"  {text}", lines=False)
    if found.warnings:
        emit("\nwarnings when it was made")
        for text in found.warnings:
            emit(f"  {text}", lines=False)


def lines_of(tally: Tally) -> list[str]:
    """Return a line for each class that has pixels: share of the region, square kilometres, label."""
    from pixelwise.pictures.numbers import THIN, percent, square_kilometres

    rows = [
        (tally.shares_of_region[code], None if tally.km2 is None else tally.km2[code], pixels, one.label)
        for code, (one, pixels) in enumerate(zip(tally.scheme.classes, tally.pixels.tolist(), strict=True))
        if pixels
    ][::-1]
    if tally.missing_pixels:
        rows.append((tally.missing, tally.missing_km2, tally.missing_pixels, "missing"))
    amounts = [
        f"{pixels} pixels" if tally.km2 is None or km2 is None else square_kilometres(float(km2)).replace(THIN, " ")
        for _, km2, pixels, _ in rows
    ]
    shares = [percent(float(share)) for share, *_ in rows]
    wide, wider = max(map(len, shares), default=0), max(map(len, amounts), default=0)
    return [
        f"{share.rjust(wide)}  {amount.rjust(wider)}  {label}"
        for share, amount, (*_, label) in zip(shares, amounts, rows, strict=True)
    ]

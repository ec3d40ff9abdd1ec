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

    Areas are square kilometres on the ellipsoid. The region is all pixels that were requested; "of tested" is the share
    of the area with a test, which classify and zones give as well.
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
    # One date of many says nothing of a stack of layers.
    layers = found.provenance.get("method") == "layers"
    classes = (f"classes of {found.classes.scheme.band.name}", None if layers else found.classes)
    for title, tally in (("status", found.status), classes):
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
    """Return a heading, and a line for each class that has pixels: its shares, square kilometres, label.

    Classes of a test have their share of what is tested first: the number to quote, as `classify` and `zones` have it.
    """
    from pixelwise.pictures.numbers import THIN, percent, square_kilometres

    of_tested, of_region = tally.shares_of_tested, tally.shares_of_region
    counted = tally.km2 is None
    rows = [["of tested", "of region", "pixels" if counted else "area", ""]]
    for code in reversed(range(len(tally.pixels))):
        if pixels := int(tally.pixels[code]):
            tested = percent(float(of_tested[code])) if tally.tested[code] else ""
            much = f"{pixels}" if tally.km2 is None else square_kilometres(float(tally.km2[code]))
            rows.append([tested, percent(float(of_region[code])), much, tally.scheme.classes[code].label])
    if tally.missing_pixels:
        much = f"{tally.missing_pixels}" if counted else square_kilometres(tally.missing_km2)
        rows.append(["", percent(tally.missing), much, "missing"])
    columns = [[cell.replace(THIN, " ") for cell in column] for column in zip(*rows, strict=True)]
    columns = columns if tally.tested.any() else columns[1:]
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(cells[:-1], widths, strict=False))
        + f"  {cells[-1]}".rstrip()
        for cells in zip(*columns, strict=True)
    ]

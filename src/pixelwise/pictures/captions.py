"""Titles, legends and captions of maps, in people's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pixelwise.bands import STATUS_BAND, YEARS, Band
from pixelwise.pictures.quantities import quantity
from pixelwise.pictures.scheme import ContinuousScheme
from pixelwise.pictures.source import Source
from pixelwise.pictures.tally import Tally
from pixelwise.words import escaped

__all__ = ["description_of", "heading", "heading_of_several", "layers_of", "legend_title", "period", "unit_in_words"]

#: With whose names descriptions begin.
PEOPLE = ("Pearson", "Kendall", "Durbin", "Mann", "Spearman", "Theil")

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip

#: Changes per unit of time, at the end of a unit.
PER_TIME = re.compile(rf"/({'|'.join(YEARS)})$")


def heading(source: Source, band: Band) -> tuple[str, str]:
    """Return the title of a picture, and the line below it: method, band, what it is, and how many layers there are."""
    method = source.provenance.get("method")
    what, when = quantity(source), period(source.provenance)
    if "written" in source.provenance:
        when = band.name  # a layer of many
    described = description_of(source, band)
    title = f"{what}: {described}" if what and band.kind != "change" else f"{what} {described}".strip()
    title = title[:1].upper() + title[1:] + (f", {when}" if when else "")
    # The legend explains the codes.
    text = "" if band.name == STATUS_BAND.name else band.description
    # Of a file of anyone's, its name is all that is known of a band.
    named = f"{method}, band {band.name}" if isinstance(method, str) else f"band {band.name}" if text else ""
    below = f"{named}: {text}" if text and text.lower() != described.lower() else named
    return escaped(title), escaped("; ".join(part for part in (below, layers_of(source.provenance)) if part))


def heading_of_several(source: Source) -> tuple[str, str]:
    """Return the title of a picture of several bands, and the line below it."""
    method = source.provenance.get("method")
    parts = (quantity(source), period(source.provenance))
    below = (method if isinstance(method, str) else "", layers_of(source.provenance))
    return escaped(", ".join(filter(None, parts))), escaped("; ".join(filter(None, below)))


def description_of(source: Source, band: Band) -> str:
    """Return what a band is in a few words, to follow the name of the quantity."""
    if band.name == STATUS_BAND.name:
        return "why each pixel has the values it has"
    if band.kind == "code":
        return band.name.replace("_", " ")
    found = PER_TIME.search(band.unit)
    if band.kind == "change" and found and not band.name.startswith(("low_", "high_")):
        return f"change per {found[1]}"
    words = re.split(r" \(|[;:] ", band.description)[0].rstrip(".") or band.name
    # Neither abbreviations nor people: "RMSE of ...", "Kendall's ...".
    keeps = words[:2].isupper() or words.startswith(PEOPLE) or not band.description
    return words if keeps else words[:1].lower() + words[1:]


def period(provenance: Mapping[str, Any]) -> str:
    """Describe the time that the input covers, as precisely as its dates are known: ``1982 to 2013``."""
    source = provenance.get("input")
    if not isinstance(source, Mapping) or "first" not in source or "last" not in source:
        return ""
    first, last = str(source["first"]), str(source["last"])
    used, composite = source.get("layers_used") or (), source.get("composite")
    periods = composite.get("periods") if isinstance(composite, Mapping) else None
    if isinstance(periods, list) and periods:
        first, last = str(periods[0]), str(periods[-1])  # 1985, 1985-07
    elif used and all(isinstance(layer, Mapping) and layer.get("precision") == "year" for layer in used):
        first, last = first[:4], last[:4]  # without -01-01
    elif used and all(isinstance(layer, Mapping) and layer.get("precision") == "month" for layer in used):
        first, last = _month(first), _month(last)
    return f"{first} to {last}" if first != last else first


def _month(date: str) -> str:
    """Return January 1982 for 1982-01-01; anything else as it is."""
    found = re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])-\d\d", date)
    return f"{MONTHS[int(found[2]) - 1]} {found[1]}" if found else date


def layers_of(provenance: Mapping[str, Any]) -> str:
    """Say how many layers the input has."""
    source = provenance.get("input")
    return f"{source['layers']} layers" if isinstance(source, Mapping) and "layers" in source else ""


def legend_title(band: Band, tally: Tally, step: tuple[int, int]) -> str:
    """Return the title of a legend: the band, its unit, and what shares are shares of.

    Parameters
    ----------
    band
        The band.
    tally
        Its classes.
    step
        Rows and columns of the map for each that was read.
    """
    # Classes of tests and codes are not ranges of values, so a unit would be meaningless.
    ranges = isinstance(tally.scheme, ContinuousScheme) or any(one.limits for one in tally.scheme.classes)
    named = band.unit and band.unit != band.name and ranges and band.kind != "day of year"
    first = f"{band.name} ({unit_in_words(band.unit)})" if named else band.name
    if isinstance(tally.scheme, ContinuousScheme):
        return escaped(first)
    kind = "the area" if tally.km2 is not None else "the pixels"
    whole = "" if band.name == STATUS_BAND.name or not tally.missing_pixels else " with values"
    lines = [escaped(first), f"share of {kind}{whole}"]
    if step != (1, 1):
        lines.append(f"estimated from every {_nth(step[0])} row and {_nth(step[1])} column")
    return "\n".join(lines)


def unit_in_words(unit: str) -> str:
    """Return a unit for titles: 1/decade is per decade."""
    return f"per {unit[2:]}" if unit.startswith("1/") else unit


def _nth(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"

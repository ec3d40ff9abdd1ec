"""Titles, legends and captions of maps, in people's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pixelwise.bands import STATUS_BAND, YEARS, Band
from pixelwise.pictures.drawing import escaped
from pixelwise.pictures.scheme import ContinuousScheme
from pixelwise.pictures.source import Source
from pixelwise.pictures.tally import Tally

__all__ = ["description_of", "heading", "heading_of_several", "layers_of", "legend_title", "period", "quantity"]

#: What names of files say of their numbers; products and indices that many people know by these letters.
QUANTITIES = re.compile(
    r"(?<![a-z])(ndvi|evi2?|savi|ndwi|ndmi|ndsi|nbr2?|lai|fpar|fapar|gpp|npp|lst|sst|albedo|lswi|kndvi|vod|precip|rain|"
    r"chirps|temperature)(?![a-z])",
    re.IGNORECASE,
)
NAMES = {"precip": "precipitation", "rain": "rain", "chirps": "CHIRPS precipitation", "temperature": "temperature",
         "albedo": "albedo"}  # fmt: skip

#: Changes per unit of time, at the end of a unit.
PER_TIME = re.compile(rf"/({'|'.join(YEARS)})$")


def heading(source: Source, band: Band) -> tuple[str, str]:
    """Return the title of a picture, and the line below it: method, band, what it is, and how many layers there are."""
    method = source.provenance.get("method")
    what, when = quantity(source), period(source.provenance)
    described = description_of(source, band)
    title = f"{what}: {described}" if what and band.kind != "change" else f"{what} {described}".strip()
    title = title[:1].upper() + title[1:] + (f", {when}" if when else "")
    # The legend explains the codes.
    text = "" if band.name == STATUS_BAND.name else band.description
    named = f"{method}, band {band.name}" if isinstance(method, str) else f"band {band.name}"
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
    if band.kind == "change" and (found := PER_TIME.search(band.unit)):
        return f"change per {found[1]}"
    words = re.split(r" \(|[;:] |, ", band.description)[0].rstrip(".") or band.name
    # Not the abbreviations: "RMSE of ...".
    return words if words[:2].isupper() or not band.description else words[:1].lower() + words[1:]


def quantity(source: Source) -> str:
    """Return what the input's numbers are, as its variable or the names of its files say; empty if they do not."""
    given = source.provenance.get("input")
    if not isinstance(given, Mapping):
        return ""
    spec = given.get("spec")
    variable = spec.get("variable") if isinstance(spec, Mapping) else None
    if isinstance(variable, str) and variable:
        found = QUANTITIES.fullmatch(variable)
        return (NAMES.get(variable.lower()) or variable.upper()) if found else variable
    files = given.get("files")
    paths = [file.get("path") for file in files[:1] if isinstance(file, Mapping)] if isinstance(files, list) else []
    for path in paths:
        if isinstance(path, str) and (found := QUANTITIES.search(path.rpartition("/")[2])):
            return NAMES.get(found[1].lower()) or found[1].upper()
    return ""


def period(provenance: Mapping[str, Any]) -> str:
    """Describe the time that the input covers, as precisely as its dates are known: ``1982 to 2013``."""
    source = provenance.get("input")
    if not isinstance(source, Mapping) or "first" not in source or "last" not in source:
        return ""
    first, last = str(source["first"]), str(source["last"])
    used, composite = source.get("layers_used") or (), source.get("composite")
    yearly = isinstance(composite, Mapping) and composite.get("every") == "year"
    if yearly or (used and all(isinstance(layer, Mapping) and layer.get("precision") == "year" for layer in used)):
        first, last = first[:4], last[:4]  # without -01-01
    return f"{first} to {last}" if first != last else first


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
    first = f"{band.name} ({band.unit})" if named else band.name
    if isinstance(tally.scheme, ContinuousScheme):
        return escaped(first)
    kind = "the area" if tally.km2 is not None else "the pixels"
    whole = "" if band.name == STATUS_BAND.name or not tally.missing_pixels else " with values"
    lines = [escaped(first), f"share of {kind}{whole}"]
    if step != (1, 1):
        lines.append(f"estimated from every {_nth(step[0])} row and {_nth(step[1])} column")
    if tally.scheme.note:
        lines.append(tally.scheme.note)
    return "\n".join(lines)


def _nth(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"

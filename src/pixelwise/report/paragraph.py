"""Sentences for a paper: what was analysed, how, and how much changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pixelwise.bands import Band
from pixelwise.maps.classified import scheme_for
from pixelwise.maps.info import headline_of
from pixelwise.maps.map import Map
from pixelwise.methods import METHODS
from pixelwise.methods.description import describe
from pixelwise.pictures.agreement import disagreements
from pixelwise.pictures.captions import layers_of, period
from pixelwise.pictures.numbers import THIN, percent, square_kilometres
from pixelwise.pictures.quantities import quantity
from pixelwise.pictures.scheme import TestScheme
from pixelwise.pictures.tally import Tally, tally_of
from pixelwise.report.adjusted import AdjustedTally, adjusted_tally
from pixelwise.words import escaped

#: How gains were found, by the first word of what their tables say, with what to cite.
WAYS: Mapping[str, str] = {
    "irmad": "IR-MAD: Nielsen 2007; Canty and Nielsen 2008; weighted reduced major axes",
    "controls": "bright and dark control sets: Hall et al. 1991",
    "regression": "ground taken as unchanged: Schott et al. 1988; reduced major axes",
}

#: What tests make of autocorrelation: of methods, and of the corrections of `mann_kendall`.
ALLOWING = {
    "trend": "it allows for lag-1 autocorrelation",
    "harmonic": "it allows for lag-1 autocorrelation",
    "seasonal_kendall": "it allows for correlated seasons, but not for autocorrelation between years",
    "hamed_rao": "it is corrected for autocorrelation by the method of Hamed and Rao (1998)",
    "yue_wang": "it is corrected for autocorrelation by the method of Yue and Wang (2004)",
    "prewhiten": "it is corrected for autocorrelation by prewhitening",
}
#: Of the main test of any other method.
INDEPENDENT = "it does not allow for autocorrelation"

__all__ = ["REFERENCE", "citations", "described_method", "paragraph_for", "paragraph_of"]

#: A line of references that begins one: authors, and the year in parentheses.
REFERENCE = re.compile(r"^([^()\n]+) \((\d{4})\)\. ", re.MULTILINE)


def paragraph_for(map_: Map, name: str | None = None) -> str:
    """Return the sentences of `paragraph_of` about a band, its classes counted; those of the first band by default."""
    band = headline_of(map_) if name is None else map_.band(name)
    if not isinstance(map_.provenance.get("method"), str):
        return ""
    tested = band.pvalue in map_
    tally = tally_of(map_, scheme_for(map_, band.name, pvalue=band.pvalue if tested else None))
    return paragraph_of(map_, band, tally, adjusted_tally(map_, band))


def paragraph_of(map_: Map, band: Band, tally: Tally, adjusted: AdjustedTally | None) -> str:
    """Return the sentences that a paper needs: data, method, result.

    Parameters
    ----------
    map_
        The map.
    band
        The band whose result is described.
    tally
        Its classes by p-values.
    adjusted
        The same after adjusting for the number of tests.

    Returns
    -------
    str
        Empty for a map whose making is unknown.
    """
    provenance, grid = map_.provenance, map_.grid
    method = provenance.get("method")
    if not isinstance(method, str):
        return ""
    what = quantity(map_) or _formula(provenance) or "the variable"
    text = (
        f"The series of {what}{_in_parentheses(_data(provenance))} of each pixel of a grid "
        f"of {grid.width} by {grid.height} pixels (width by height; {grid.crs_name}) was analysed with "
        f"{_tool(method, provenance)}."
    )
    if not isinstance(tally.scheme, TestScheme):
        return text
    text += _test(map_, band)
    level = f"p < {tally.scheme.levels[0]:g}"
    whole = "the tested area" if tally.km2 is not None else "the tested pixels"
    number = f"{int(tally.pixels[tally.tested].sum()):,}".replace(",", THIN)
    text += f" {number} pixels were tested."
    if band.kind == "change":
        text += f" Of {whole}, {_found(tally, band, whole)} ({level})."
    else:
        text += f" In {_found(tally, band, whole)} ({level})."
    if adjusted is not None:
        rate = f"{adjusted.request.q:g} (procedure of {adjusted.reference})"
        text += f" At a false discovery rate of {rate}, {_found(adjusted.tally, band, whole, again=True)}."
    if band == map_.bands[0]:
        text += "".join(f" {caution[:1].upper()}{caution[1:]}." for caution in disagreements(map_))
    return text


def _test(map_: Map, band: Band) -> str:
    """Say whose p-values they are, and what they make of autocorrelation; nothing of a user's function."""
    provenance = map_.provenance
    if described_method(provenance) is None or band.pvalue not in map_:
        return ""
    parameters = provenance.get("parameters")
    correction = parameters.get("correction") if isinstance(parameters, Mapping) else None
    kind = correction if isinstance(correction, str) and correction != "none" else str(provenance.get("method"))
    what = map_.band(band.pvalue).description
    return f" The test gives the {what[:1].lower()}{what[1:]}; {ALLOWING.get(kind, INDEPENDENT)}."


def _formula(provenance: Mapping[str, Any]) -> str:
    """Return the formula of bands that was analysed; empty without one."""
    given = provenance.get("input")
    spec = given.get("spec") if isinstance(given, Mapping) else None
    value = spec.get("value") if isinstance(spec, Mapping) else None
    return escaped(value) if isinstance(value, str) else ""


def _in_parentheses(parts: str) -> str:
    return f" ({parts})" if parts else ""


def _data(provenance: Mapping[str, Any]) -> str:
    """Say which time was covered by how many layers, and what was left out or combined."""
    times = ", ".join(filter(None, (period(provenance), layers_of(provenance))))
    return "; ".join(filter(None, (times, *_preparation(provenance))))


def _preparation(provenance: Mapping[str, Any]) -> list[str]:
    """Say in a few words which composites, masks and parts of the grid were used."""
    given = provenance.get("input")
    given = given if isinstance(given, Mapping) else {}
    parts = {name: given.get(name) for name in ("spec", "area", "composite")}
    spec, area, composite = (part if isinstance(part, Mapping) else {} for part in parts.values())
    found = []
    if isinstance(how := composite.get("how"), str):
        every, season = spec.get("every", "year"), spec.get("season")
        found.append(f"composites ({how}) of each {season if isinstance(season, str) else every}")
    masks = [spec.get(name) for name in ("product", "mask", "mask_preset")]
    named = [_base(text) for text in masks if isinstance(text, str) and text]
    by_values = any(spec.get(name) for name in ("mask_keep", "mask_drop", "mask_bits", "mask_field"))
    if (named or by_values) and spec.get("mask") != "none":
        found.append("masked by " + (", ".join(dict.fromkeys(named)) if named else "quality"))
    if isinstance(spec.get("gains"), str):
        found += _gains(spec["gains"], given.get("gains"))
    region, where = (area.get(name) for name in ("region", "where"))
    if isinstance(region, Mapping):
        found.append(f"within {_base(str(region.get('source')))}")
    if isinstance(where, Mapping):
        found.append(f"where {_base(str(where.get('raster')))} is {where.get('values')}")
    return found


def _gains(name: str, applied: object) -> list[str]:
    """Say how scenes were made comparable, by what a table of gains says of itself, and how many were left out."""
    applied = applied if isinstance(applied, Mapping) else {}
    scenes, left_out = (n if isinstance(n := applied.get(key), int) else 0 for key in ("scenes", "left_out"))
    what = f"{scenes} scene{'s were' if scenes != 1 else ' was'}" if scenes else "scenes were"
    said = {key: escaped(text) for key in ("method", "reference") if isinstance(text := applied.get(key), str) and text}
    kind, _, more = said.get("method", "").partition(", ")
    how = f"{what} made comparable by relative radiometric normalization"
    if kind in WAYS:
        sampled = re.match(r"(\d+) pixels", more)
        parts = [
            WAYS[kind] + (", between sensors" if more.endswith(", per sensor") else ""),
            f"reference: {said['reference']}" if "reference" in said else "",
            f"{int(sampled[1]):_} pixels".replace("_", " ") if sampled else "",
        ]
    else:
        parts = [f"gains {_base(name)}", *(f"{key}: {text}" for key, text in said.items())]
    found = [how + _in_parentheses("; ".join(filter(None, parts)))]
    if left_out:
        found.append(f"{left_out} scene{'s' * (left_out != 1)} with unreliable gains {_were(left_out)} left out")
    return found


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _base(path: str) -> str:
    """Return the last part of a path without wildcards; a paper does not say in which folder files were."""
    parts = [part for part in path.split("/") if part and not set(part) & set("*?[")]
    return parts[-1] if parts else path


def _tool(method: str, provenance: Mapping[str, Any]) -> str:
    """Name the method, the version of pixelwise, and what to cite."""
    versions = provenance.get("versions")
    version = versions.get("pixelwise") if isinstance(versions, Mapping) else None
    program = f"pixelwise {version}" if isinstance(version, str) else "pixelwise"
    known = described_method(provenance)
    if known is None:
        return f"the function “{method}”, run by {program}"
    cited = "; ".join(citations(known["sections"].get("References", "")))
    return f"the method “{method}” of {program}{_in_parentheses(cited)}"


def described_method(provenance: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the description of a map's method; None for a user's function, which may have the name of a method."""
    parameters = provenance.get("parameters")
    if isinstance(parameters, Mapping) and "function" in parameters:
        return None
    name = provenance.get("method")
    return next((describe(factory) for factory in METHODS if factory.__name__ == name), None)


def citations(references: str) -> list[str]:
    """Return authors and year of each reference: ``Santer et al. 2000``.

    Parameters
    ----------
    references
        The section of a docstring: ``Surname, A. B., Surname, C. & Surname, D. (2000). Title ...``.
    """
    found = []
    for authors, year in REFERENCE.findall(references):
        names = [one.partition(",")[0] for one in re.split(r"(?<=\.), | & ", authors)]
        many = len(names) > 2 or " et al." in authors
        found.append(f"{names[0]}{' et al.' if many else f' and {names[1]}' if len(names) == 2 else ''} {year}")
    return found


def _found(tally: Tally, band: Band, whole: str, *, again: bool = False) -> str:
    """Say what share of the tested area is significant, by direction; `again` if the sentence before names the area."""
    tested = [code for code, one in enumerate(tally.scheme.classes) if one.tested]
    # From the strictest negative class to the strictest positive one.
    down, up = (
        percent(float(tally.shares_of_tested[code]))
        + ("" if tally.km2 is None else f" ({square_kilometres(float(tally.km2[code]))})")
        for code in (tested[0], tested[-1])
    )
    if band.kind == "change":
        return f"{up} increased and {down} decreased significantly"
    if again:
        return f"it was significantly positive in {up} and significantly negative in {down}"
    return f"{up} of {whole}, {band.name} was significantly positive, and in {down} significantly negative"

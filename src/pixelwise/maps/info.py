"""What a map is, how it was made, and how much of it has which status and class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pixelwise.bands import STATUS_BAND, Band
from pixelwise.crs import linear_unit
from pixelwise.maps.classified import scheme_for
from pixelwise.maps.map import Map
from pixelwise.pictures.agreement import disagreements
from pixelwise.pictures.captions import layers_of, period
from pixelwise.pictures.quantities import quantity
from pixelwise.pictures.tally import Tally, tally_of

__all__ = ["MapInfo", "facts_of", "headline_of", "info_of", "shortened", "status_of", "warnings_of"]

#: Seconds: 30 years.
LONGEST_JOB = 1e9
#: Lists of a map's input with an item for each file or layer.
LONG_LISTS = ("files", "layers_used", "behind")


@dataclass(frozen=True, eq=False)
class MapInfo:
    """What `pixelwise info` says of a map.

    Attributes
    ----------
    facts
        Text by name: what it is, and how it was made.
    provenance
        The whole record of its making.
    bands
        Name, kind, unit and description of each band.
    warnings
        What was warned of when it was made.
    status
        How much has which status; None without that band.
    classes
        How much of the first band is in which class.
    disagreements
        Where the p-values of that band contradict it.
    """

    facts: Mapping[str, str]
    provenance: Mapping[str, Any]
    bands: tuple[Mapping[str, str], ...]
    warnings: tuple[str, ...]
    status: Tally | None
    classes: Tally
    disagreements: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it ready for JSON; areas are in square kilometres, ``share`` is that of the region: all asked for."""
        return {
            **self.facts,
            "provenance": self.provenance,
            "bands": [dict(band) for band in self.bands],
            "warnings": list(self.warnings),
            "status": None if self.status is None else _rows(self.status),
            "disagreements": list(self.disagreements),
            "classes": {"band": self.classes.scheme.band.name, "rows": _rows(self.classes)},
        }


def _rows(tally: Tally) -> list[dict[str, Any]]:
    """Return the classes from the highest to the lowest, then what is missing."""
    shares, of_tested = tally.shares_of_region.tolist(), tally.shares_of_tested.tolist()
    rows: list[dict[str, Any]] = []
    for code in reversed(range(len(tally.pixels))):
        km2 = None if tally.km2 is None else float(tally.km2[code])
        label = tally.scheme.classes[code].label
        row = {"class": label, "pixels": int(tally.pixels[code]), "km2": km2, "share": shares[code]}
        rows.append(row | {"share_of_tested": of_tested[code]} if tally.tested[code] else row)
    if tally.missing_pixels:
        km2 = None if tally.km2 is None else tally.missing_km2
        rows.append({"class": "missing", "pixels": tally.missing_pixels, "km2": km2, "share": tally.missing})
    return rows


def info_of(map_: Map) -> MapInfo:
    """Read what there is to say of a map; counts are exact, so all of two or three bands is read.

    Raises
    ------
    InputError
        When it cannot be read.
    ParameterError
        When pyproj is missing, by which pixels have an area.
    """
    classes = tally_of(map_, scheme_for(map_, headline_of(map_).name))
    bands = tuple(
        {"name": band.name, "kind": band.kind, "unit": band.unit, "description": band.description}
        for band in map_.bands
    )
    warnings, status = warnings_of(map_), status_of(map_)
    facts, record = facts_of(map_), dict(map_.provenance)
    return MapInfo(facts, record, bands, warnings, status, classes, tuple(disagreements(map_)))


def headline_of(map_: Map) -> Band:
    """Return the first band that is not the status."""
    return next((band for band in map_.bands if band.name != STATUS_BAND.name), map_.bands[0])


def status_of(map_: Map) -> Tally | None:
    """Count what each status covers; None without that band."""
    return tally_of(map_, scheme_for(map_, STATUS_BAND.name)) if STATUS_BAND.name in map_ else None


def warnings_of(map_: Map) -> tuple[str, ...]:
    """Return what was warned of when a map was made."""
    said = map_.provenance.get("warnings")
    return tuple(text for text in said if isinstance(text, str)) if isinstance(said, list) else ()


def shortened(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return provenance without lists that have an item for each file."""
    found = dict(provenance)
    if isinstance(given := found.get("input"), dict):
        found["input"] = {name: value for name, value in given.items() if name not in LONG_LISTS}
    return found


def facts_of(map_: Map) -> dict[str, str]:
    """Return what a map's header says, in words; nothing else is read."""
    provenance, grid = map_.provenance, map_.grid
    bounds = ", ".join(f"{edge:.10g}" for edge in grid.bounds)
    across, down = abs(grid.transform.a), abs(grid.transform.e)
    size = f"{across:.10g}" if across == down else f"{across:.10g} x {down:.10g}"
    one = across == down == 1
    found = {
        "file": ", ".join(str(path) for path in map_.paths[:3]) or "in memory",
        "size": grid.size,
        "pixel": ""
        if grid.places is not None or grid.transform.b or grid.transform.d
        else f"{size} {_unit(map_, one=one)}".rstrip(),
        "crs": grid.crs_name,
        "bounds": "" if grid.places is not None else bounds,
        "method": _text(provenance.get("method")),
        "parameters": _listed(provenance.get("parameters")),
        "quantity": quantity(map_),
        "period": ", ".join(filter(None, (period(provenance), layers_of(provenance)))),
        "input": _input(provenance),
        "covariates": ", ".join(provenance["further_inputs"]) if _is(provenance, "further_inputs") else "",
        "gains": _gains(provenance),
        "options": _options(provenance),
        "false discovery rate": _false_discovery(provenance),
        "made by": _made_by(provenance),
        "time": _time(provenance),
    }
    return {name: text for name, text in found.items() if text}


def _is(provenance: Mapping[str, Any], name: str) -> bool:
    return isinstance(provenance.get(name), dict)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _listed(values: Any) -> str:
    """Write simple parameters as ``name=value``; the source text of a function is not one."""
    if not isinstance(values, dict):
        return ""
    simple = {name: value for name, value in values.items() if isinstance(value, (str, int, float, bool, list))}
    return ", ".join(f"{name}={value}" for name, value in simple.items() if name != "source" and value != [])


def _unit(map_: Map, *, one: bool) -> str:
    """Return the unit of coordinates; `one` if the number before it is 1."""
    crs = map_.grid.crs
    if crs is None:
        return "unit" if one else "units"
    if crs.is_geographic:
        return "degree" if one else "degrees"
    return linear_unit(crs)


def _input(provenance: Mapping[str, Any]) -> str:
    """Say which files it was made of: how many, and the first and the last."""
    given = provenance.get("input")
    files = given.get("files") if isinstance(given, dict) else None
    paths = [file["path"] for file in files or [] if isinstance(file, dict) and isinstance(file.get("path"), str)]
    if not paths:
        return ""
    return paths[0] if len(paths) == 1 else f"{len(paths)} files, {paths[0]} to {paths[-1]}"


def _gains(provenance: Mapping[str, Any]) -> str:
    """Say what made the scenes comparable, and how many were left out for doubts about it."""
    given = provenance.get("input")
    gains = given.get("gains") if isinstance(given, dict) else None
    if not isinstance(gains, dict):
        return ""
    parts = [_text(gains.get("path")) or _text(gains.get("preset"))]
    words = {"scenes": "scenes", "kept": "of them flagged", "left_out": "more flagged and left out"}
    counts = {name: gains[name] for name in (*words, "unchanged") if isinstance(gains.get(name), int) and gains[name]}
    texts = {name: f"{number} {words[name]}" for name, number in counts.items() if name in words}
    if "scenes" in counts and "unchanged" in counts:
        texts["scenes"] = f"{counts['scenes'] - counts['unchanged']} of {texts['scenes']}"
    parts += texts.values()
    digest = _text(gains.get("sha256"))
    return ", ".join(filter(None, (*parts, digest and f"sha256 {digest}")))


def _options(provenance: Mapping[str, Any]) -> str:
    """List the options that differ from their defaults."""
    given = provenance.get("input")
    if not isinstance(given, dict):
        return ""
    spec = given.get("spec")
    parts = [_listed(spec)] if isinstance(spec, dict) else []
    if isinstance(area := given.get("area"), dict):
        parts.append(f"area: {_listed(area)}")
    usual = {"min_valid": 0.0, "min_span": 0.0, "per": "year", "dtype": "float32"}
    parts += [f"{name}={provenance[name]}" for name in usual if provenance.get(name, usual[name]) != usual[name]]
    return "; ".join(part for part in parts if part)


def _false_discovery(provenance: Mapping[str, Any]) -> str:
    said = provenance.get("fdr")
    if not isinstance(said, dict):
        return ""
    return _listed({name: said[name] for name in ("method", "q", "tests", "threshold", "rejected") if name in said})


def _made_by(provenance: Mapping[str, Any]) -> str:
    versions = provenance.get("versions")
    if not isinstance(versions, dict):
        return ""
    ordered = sorted(versions.items(), key=lambda item: item[0] != "pixelwise")
    return ", ".join(f"{name} {version}" for name, version in ordered)


def _time(provenance: Mapping[str, Any]) -> str:
    timings = provenance.get("timings")
    total = timings.get("total") if isinstance(timings, dict) else None
    # A tag may say anything.
    return f"{total:.1f} s" if isinstance(total, (int, float)) and 0 <= total < LONGEST_JOB else ""

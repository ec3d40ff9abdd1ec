"""Coordinate reference systems: their names, which are the same, and points from one to another."""

from __future__ import annotations

import functools
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.session import DummySession
from rasterio.warp import transform as transform_points

from pixelwise.errors import InputError, ParameterError
from pixelwise.words import one_line, shown

__all__ = ["crs_name", "crs_named", "crs_remedy", "linear_unit", "meant_code", "points_in", "same_crs"]

#: What names a CRS; anything else might be the name of a file or an address, which GDAL would open.
DEFINITIONS = re.compile(r"[A-Za-z]{2}[A-Za-z0-9]*:[A-Za-z0-9_.]+|\+proj=[^\0/]+|[A-Z_]{6,}\[.+\]", re.DOTALL)
#: What rasterio calls metres, and a CRS without a unit.
SHORT_UNITS = {"metre": "m", "meter": "m", "unknown": ""}
#: What PROJ and GDAL call a CRS that has no name.
UNNAMED = ("", "unknown", "unnamed", "undefined")
#: No definition is longer.
LONGEST_DEFINITION = 20_000

#: PROJ's units that are not given as mappings, in SI units.
UNITS = {"metre": 1.0, "degree": math.pi / 180, "unity": 1.0}
#: The parameters that give an ellipsoid or a sphere its size and shape.
FIGURES = ("semi_major_axis", "semi_minor_axis", "inverse_flattening", "radius")
STANDARD_PARALLELS = ("latitude of 1st standard parallel", "latitude of 2nd standard parallel")
#: GeoTIFF returns GRS 80 as 298.257222101004; WGS 84, another datum, differs in the ninth digit.
CRS_DIGITS = 11


def points_in(
    target: CRS, source: CRS, xs: Sequence[float], ys: Sequence[float]
) -> tuple[Sequence[float], Sequence[float]]:
    """Transform points from one CRS to another.

    Raises
    ------
    InputError
        When PROJ cannot transform one of them.
    """
    failed = f"{crs_name(source)} cannot be transformed to {crs_name(target)} there"
    try:
        found: tuple[Sequence[float], Sequence[float]] = transform_points(source, target, xs, ys)
    # Some of GDAL's own errors, which rasterio passes on, have no public base class.
    except Exception as error:
        raise InputError(f"{failed} ({one_line(error)})") from None
    if not np.isfinite(found).all():
        raise InputError(failed)
    return found


def crs_name(crs: CRS | None) -> str:
    """Return a short name of a coordinate reference system: its code, its own name, else its PROJ string."""
    if crs is None:
        return "no CRS"
    text: str = crs.to_string()
    if len(text) <= 40:
        return text
    name = text.split('"')[1] if '"' in text else ""
    if name.lower() not in UNNAMED:
        return name
    # MODIS tiles, and the spheres of climate models.
    without: str = crs.to_proj4().removesuffix("=True").removesuffix(" +no_defs")
    return without or "a CRS without a name"


def linear_unit(crs: CRS) -> str:
    """Return the short name of the unit of a projected CRS: ``m``; empty if it has none."""
    unit = str(crs.linear_units)
    return SHORT_UNITS.get(unit, unit)


def crs_named(text: str, option: str) -> CRS:
    """Return the CRS that a text names: ``EPSG:32633``, a PROJ string or WKT.

    Raises
    ------
    ParameterError
        When it names none, or one that is not on a map; `option` is where it was given.
    """
    if (meant := meant_code(text)) is not None:
        raise ParameterError(f"{option} {shown(text)} is no CRS; did you mean {meant}?")
    if len(text) > LONGEST_DEFINITION or DEFINITIONS.fullmatch(text) is None:
        raise ParameterError(
            f"{option} {shown(text)} is no CRS: expected a code such as EPSG:32633, a PROJ string or WKT"
        )
    try:
        # Outside an environment, GDAL prints what PROJ says.
        with rasterio.Env(session=DummySession()):
            crs = CRS.from_user_input(text)
    except CRSError as error:
        reason = one_line(error) if set(text) & set("+[") else "PROJ has no such code"
        raise ParameterError(f"{option} {shown(text)} is no known CRS: {reason}") from None
    if not (crs.is_geographic or crs.is_projected):
        raise ParameterError(f"{option} {shown(text)} is neither geographic nor projected: rasters cannot have it")
    return crs


def meant_code(text: str) -> str | None:
    """Return the code that is meant by a bare number or WGS84; None for anything else."""
    if re.fullmatch(r"[1-9][0-9]{3,5}", text):
        return f"EPSG:{text}"
    return "EPSG:4326" if re.fullmatch(r"WGS[ _-]?84", text, re.IGNORECASE) else None


def crs_remedy(path: object, like: object, *, option: bool = False) -> str:
    """Say how to give a file without CRS that of another file, or a known one: with a rasterio command.

    Parameters
    ----------
    path, like
        The file, and the other file or the CRS.
    option
        Whether it may also be given by ``--crs``.
    """
    known = ["--crs", like.to_string()] if isinstance(like, CRS) else ["--like", str(like), "--crs", "like"]
    name = crs_name(like) if isinstance(like, CRS) else f"that of {like}"
    code = isinstance(like, CRS) and name == like.to_string()
    given = "" if not option else f"give --crs {name}, or " if code else "give it with --crs, or "
    return f"if its CRS is {name}, {given}write it into the file: {shlex.join(['rio', 'edit-info', *known, str(path)])}"


def same_crs(a: CRS | None, b: CRS | None) -> bool:
    """Whether two coordinate reference systems are the same after normalisation."""
    if a is b:
        return True
    if a is None or b is None:
        return False
    if a == b:
        return True
    code = a.to_epsg()
    if code is not None and code == b.to_epsg():
        return True
    system = _system(a.to_wkt())
    return system is not None and system == _system(b.to_wkt())


@functools.cache
def _system(wkt: str) -> tuple[Any, ...] | None:
    """Return the parts of a CRS that decide where a coordinate lies; None where they cannot be determined.

    IGNF:ETRS89LAEA and EPSG:3035 differ in names, identifiers, and the order of their axes, which does not matter for a
    raster: GDAL's transforms give the easting first whatever the authority's order.
    """
    try:
        found: dict[str, Any] = CRS.from_wkt(wkt).to_dict(projjson=True)
        return _described_crs(found)
    except (CRSError, KeyError, TypeError, ValueError):
        return None


def _described_crs(crs: Mapping[str, Any]) -> tuple[Any, ...] | None:
    if crs["type"] == "BoundCRS":
        shift = _parameters(crs["transformation"]["parameters"])
        source = _described_crs(crs["source_crs"])
        # A null shift to WGS 84 is how older files describe ETRS89 and the like.
        return source if source is None or all(value == "0" for _, value in shift) else (source, shift)
    if crs["type"] not in ("ProjectedCRS", "GeographicCRS"):
        return None
    base = crs.get("base_crs", crs)
    datum = base.get("datum_ensemble") or base["datum"]
    # The ensemble of all realisations, and the datum before ensembles existed, share one number (EPSG 6258, 6326).
    name = datum["name"].lower().removesuffix(" ensemble")
    ellipsoid = datum["ellipsoid"]
    figure = [_number(ellipsoid[key]) if key in ellipsoid else None for key in FIGURES]
    meridian = _number(datum.get("prime_meridian", {"longitude": 0.0})["longitude"])
    axes = sorted((axis["direction"], _number({"value": 1, **axis})) for axis in crs["coordinate_system"]["axis"])
    conversion = crs.get("conversion", {"method": {"name": ""}, "parameters": []})
    method = conversion["method"]["name"].lower()
    parameters = _parameters(conversion.get("parameters", []))
    return (crs["type"], name, *figure, meridian, *axes, method, parameters)


def _parameters(given: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Return named numbers in SI units, in a canonical order; two standard parallels may be swapped."""
    found = [(parameter["name"].lower(), _number(parameter)) for parameter in given]
    parallels = sorted(value for name, value in found if name in STANDARD_PARALLELS)
    others = [(name, value) for name, value in found if name not in STANDARD_PARALLELS]
    return (*sorted(others), *(("standard parallel", value) for value in parallels))


def _number(given: Any) -> str:
    """Return a PROJ number in SI units, to as many digits as files of different origin share."""
    if not isinstance(given, Mapping):
        return f"{given:.{CRS_DIGITS}g}"
    unit = given.get("unit", "unity")
    factor = unit["conversion_factor"] if isinstance(unit, Mapping) else UNITS[unit]
    return f"{given['value'] * factor:.{CRS_DIGITS}g}"

"""Where the pixels of an array are and what they mean, as CF, GDAL and GeoZarr write it down: read, and written.

Nothing here knows NetCDF, Zarr or xarray: whoever has an array hands over names, numbers and attributes. pyproj is
needed for what CF says in words and numbers (``grid_mapping_name``), not for WKT.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError

from pixelwise.bands import STATUS_BAND, STATUS_WORDS, Band, Floats
from pixelwise.crs import crs_name, same_crs
from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import CORNER_TOLERANCE, Grid
from pixelwise.words import one_line, shown

__all__ = [
    "SPATIAL_REF",
    "Coordinate",
    "band_attributes",
    "coordinates_of",
    "crs_of",
    "dimensions_of",
    "geozarr_of",
    "grid_of",
    "is_latitude",
    "is_longitude",
    "mapping_of",
    "plane_of",
    "unit_of",
]

#: The name of the variable with the CRS that GDAL, rioxarray and odc-geo write and look for.
SPATIAL_REF = "spatial_ref"

#: Spellings of the units by which CF (4.1, 4.2) recognizes latitudes and longitudes.
NORTH = frozenset({"degrees_north", "degree_north", "degree_n", "degrees_n", "degreen", "degreesn"})
EAST = frozenset({"degrees_east", "degree_east", "degree_e", "degrees_e", "degreee", "degreese"})

#: Metres in a unit of projection coordinates.
METRES: Mapping[str, float] = {
    **dict.fromkeys(("m", "metre", "metres", "meter", "meters"), 1.0),
    **dict.fromkeys(("km", "kilometre", "kilometres", "kilometer", "kilometers"), 1000.0),
}

#: Names of dimensions that are treated as rows and columns if no attribute says which they are.
PLANES = (("y", "x"), ("lat", "lon"), ("latitude", "longitude"), ("northing", "easting"))

#: How Zarr's conventions are registered in an array or a group (github.com/zarr-conventions, proj and spatial, v1).
ZARR_CONVENTIONS = [
    {
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/geo-proj/refs/tags/v1/schema.json",
        "spec_url": "https://github.com/zarr-conventions/geo-proj/blob/v1/README.md",
        "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "name": "proj:",
        "description": "Coordinate reference system information for geospatial data",
    },
    {
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v1/schema.json",
        "spec_url": "https://github.com/zarr-conventions/spatial/blob/v1/README.md",
        "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "name": "spatial:",
        "description": "Spatial coordinate information",
    },
]


class UnevenError(InputError):
    """Rows or columns that only ascend or only descend, but not in equal steps."""


#: Attributes of coordinates that say what they mean. Others say how they were stored: fill values, bounds.
MEANING = ("standard_name", "long_name", "units", "axis")


@dataclass(frozen=True, eq=False)
class Coordinate:
    """What an array says about the places of its rows, or of its columns.

    Attributes
    ----------
    name
        Name of the dimension, for messages.
    size
        Number of rows or columns.
    values
        (size,) centres of pixels; None if the dimension has no coordinates.
    attributes
        Attributes of the coordinates: ``units``, ``standard_name``, ``axis``.
    bounds
        (size, 2) edges of pixels, if known.
    """

    name: str
    size: int
    values: NDArray[Any] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    bounds: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        if self.values is None:
            return
        if self.values.ndim != 1:
            raise InputError(
                f"its coordinate {self.name!r} is {self.values.ndim}-dimensional (a curvilinear grid): expected one "
                "value for each row or column; bring it to a regular grid first"
            )
        if self.values.dtype.kind not in "fiu":
            raise InputError(f"its coordinate {self.name!r} holds {self.values.dtype} values; expected numbers")
        if len(self.values) != self.size:
            raise InputError(f"its coordinate {self.name!r} has {len(self.values)} values for {self.size} pixels")
        if not np.isfinite(self.values).all():
            raise InputError(f"its coordinate {self.name!r} has missing values")

    @property
    def kind(self) -> str:
        """What messages call it."""
        words = "latitudes" if is_latitude(self.attributes) else "coordinates"
        return f"{'longitudes' if is_longitude(self.attributes) else words} {self.name!r}"


def grid_of(
    y: Coordinate,
    x: Coordinate,
    mapping: Mapping[str, Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Grid:
    """Return the grid of an array.

    Parameters
    ----------
    y, x
        Its rows and its columns, ascending or descending; the grid keeps their order.
    mapping
        Attributes of its grid mapping (CF), which is also where GDAL writes ``spatial_ref`` and ``GeoTransform``.
    attributes
        Attributes of the array and its group, for GeoZarr (``proj:code``, ``spatial:transform``) and for rasterio's
        way (``crs``, ``transform``).

    Raises
    ------
    InputError
        When pixels are not evenly spaced, their size is unknown, or the CRS cannot be read; without the name of the
        array, which the caller puts before it.

    Notes
    -----
    Coordinates decide: a transform survives the selection of pixels unchanged, and is then wrong. Where it agrees with
    them, its numbers are taken, which are not rounded. Where both are half a pixel apart, coordinates are those of
    upper left corners, as stackstac gives them.
    """
    mapping, attributes = mapping or {}, attributes or {}
    crs = crs_of(mapping, attributes, y.attributes, x.attributes)
    given = _transform_of(mapping, attributes)
    if y.values is None and x.values is None and given is not None:
        return Grid(crs, given, y.size, x.size)
    for axis in (y, x):
        if axis.values is None:
            raise InputError(
                f"its dimension {axis.name!r} has no coordinates, and no GeoTransform says where its pixels are"
            )
    if given is not None and (given.b or given.d):
        raise InputError(
            f"its transform {tuple(given)[:6]} is rotated, but it has one coordinate for each row and column"
        )
    scale = _scale_of(mapping, crs, y)
    if scale != _scale_of(mapping, crs, x):
        raise InputError(
            f"its coordinates have different units: {_units(y.attributes)!r} for {y.name!r} and "
            f"{_units(x.attributes)!r} for {x.name!r}"
        )
    top, down = _edge_and_step(y, None if given is None else given.e / scale)
    left, right = _edge_and_step(x, None if given is None else given.a / scale)
    found = Affine(right * scale, 0.0, left * scale, 0.0, down * scale, top * scale)
    grid = Grid(crs, found, y.size, x.size)
    if given is None:
        return grid
    written = Grid(crs, given, y.size, x.size)
    if all(abs(offset % 1 - 0.5) < CORNER_TOLERANCE for offset in written.offset(grid)):
        grid = Grid(crs, found @ Affine.translation(0.5, 0.5), y.size, x.size)
    return grid if grid.differences(written) else written


def _edge_and_step(axis: Coordinate, given: float | None) -> tuple[float, float]:
    """Return where the first pixel of an axis begins, and the signed size of its pixels."""
    values = axis.values
    assert values is not None  # noqa: S101 - grid_of has looked
    first, last = _decimal(values[0]), _decimal(values[-1])
    if axis.size == 1:
        step = _single_step(axis, given)
        return first - step / 2, step
    step = (last - first) / (axis.size - 1)
    wide = values.astype(np.float64)
    steps = np.diff(wide)
    # Distances of neighbours are rounded twice, to the type in which the coordinates are stored.
    rounding = float(np.spacing(np.abs(values).max())) if values.dtype.kind == "f" else 0.0
    allowed = max(CORNER_TOLERANCE * abs(step), min(rounding, 0.25 * abs(step)))
    if step == 0 or np.abs(wide - (first + step * np.arange(axis.size))).max() > allowed:
        back = np.flatnonzero(steps * (np.sign(steps).sum() or 1.0) <= 0)
        if back.size:
            at = int(back[0])
            raise InputError(
                f"its {axis.kind} go from {wide[at]:.10g} to {wide[at + 1]:.10g} at number {at + 1}; expected evenly "
                "spaced ones that only ascend or only descend"
            )
        sizes = np.abs(steps)
        gaussian = " (a Gaussian grid?)" if is_latitude(axis.attributes) else ""
        raise UnevenError(
            f"its {axis.kind} are not evenly spaced{gaussian}: steps from {sizes.min():.6g} to {sizes.max():.6g}"
        )
    return first - step / 2, step


def _single_step(axis: Coordinate, given: float | None) -> float:
    if axis.bounds is not None and axis.bounds.shape == (1, 2):
        step = _decimal(axis.bounds[0, 1]) - _decimal(axis.bounds[0, 0])
        if step and math.isfinite(step):
            return step
    if given:
        return given
    raise InputError(
        f"it has one value of {axis.name!r} only, so the size of its pixels is unknown: expected bounds or a "
        "GeoTransform"
    )


def _decimal(value: Any) -> float:
    """Return the number that was probably meant: 0.1, not 0.10000000149, for float32."""
    return float(str(value)) if value.dtype == np.float32 else float(value)


def _scale_of(mapping: Mapping[str, Any], crs: CRS | None, axis: Coordinate) -> float:
    """Return the factor from coordinates to units of the CRS."""
    units = _units(axis.attributes)
    if crs is None or not crs.is_projected:
        return 1.0
    if units in NORTH | EAST:
        raise InputError(f"its coordinate {axis.name!r} is in degrees, but its CRS, {crs_name(crs)}, is projected")
    if mapping.get("grid_mapping_name") == "geostationary" and units in ("rad", "radian", "radians"):
        # Scanning angles: CF (appendix F) multiplies by the height of the satellite.
        return float(_number(mapping["perspective_point_height"]))
    metres = METRES.get(units)
    return 1.0 if metres is None else metres / float(crs.linear_units_factor[1])


def _transform_of(mapping: Mapping[str, Any], attributes: Mapping[str, Any]) -> Affine | None:
    """Return the transform that is written beside coordinates, if any."""
    if mapping.get("GeoTransform") is not None:
        return Affine.from_gdal(*_six(mapping["GeoTransform"]))
    affine = attributes.get("spatial:transform_type", "affine") == "affine"
    if affine and attributes.get("spatial:transform") is not None:
        found = Affine(*_six(attributes["spatial:transform"]))
        # Cells of a node registration are centred on the coordinates.
        node = attributes.get("spatial:registration") == "node"
        return found @ Affine.translation(-0.5, -0.5) if node else found
    return None if attributes.get("transform") is None else Affine(*_six(attributes["transform"]))


def _six(given: Any) -> tuple[float, ...]:
    """Return the numbers of a transform, of which matrices have three more."""
    try:
        numbers = tuple(map(float, given.split() if isinstance(given, str) else given))
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) not in (6, 9):
        raise InputError(f"its transform {shown(given)} does not consist of six numbers")
    return numbers[:6]


def crs_of(
    mapping: Mapping[str, Any],
    attributes: Mapping[str, Any],
    y: Mapping[str, Any],
    x: Mapping[str, Any],
) -> CRS | None:
    """Return the CRS of an array; None if it has none.

    Parameters
    ----------
    mapping, attributes
        As in `grid_of`.
    y, x
        Attributes of the coordinates: latitudes and longitudes without any CRS are those of WGS 84.

    Raises
    ------
    InputError
        When it cannot be read.
    """
    written = (
        mapping.get("crs_wkt"), mapping.get("spatial_ref"), attributes.get("proj:wkt2"), attributes.get("proj:code"),
        attributes.get("proj:projjson"), attributes.get("crs"),
    )  # fmt: skip
    for text in written:
        if text is not None and text != "":
            return _read_crs(text)
    if mapping.get("grid_mapping_name"):
        return _from_cf(mapping, x)
    return CRS.from_epsg(4326) if is_latitude(y) and is_longitude(x) else None


def _read_crs(text: Any) -> CRS:
    try:
        if isinstance(text, Mapping):
            return CRS.from_user_input(json.dumps(text))
        return CRS.from_user_input(text.item() if isinstance(text, np.generic) else text)
    except (CRSError, TypeError, ValueError) as error:
        raise InputError(f"its CRS {shown(text, 60)} cannot be read ({one_line(error)})") from None


def _from_cf(mapping: Mapping[str, Any], x: Mapping[str, Any]) -> CRS:
    """Return the CRS that CF's parameters describe."""
    pyproj = _pyproj()
    plain = {key: _number(value) for key, value in mapping.items()}
    for name in ("false_easting", "false_northing"):
        if name in plain:
            # In units of the coordinates (CF, appendix F), but the CRS is made in metres.
            plain[name] *= METRES.get(_units(x), 1.0)
    try:
        return CRS.from_wkt(pyproj.CRS.from_cf(plain).to_wkt())
    except (pyproj.exceptions.CRSError, CRSError, KeyError, TypeError, ValueError) as error:
        name = shown(mapping["grid_mapping_name"])
        raise InputError(f"its grid mapping {name} cannot be read ({one_line(error)})") from None


def _pyproj() -> ModuleType:
    try:
        import pyproj
    except ImportError as error:  # pragma: no cover - the tests' environment has it
        raise ParameterError('CF\'s grid mappings need pyproj: pip install "pixelwise[xarray]"') from error
    return pyproj  # type: ignore[no-any-return]


def _number(value: Any) -> Any:
    """Return what an attribute holds as plain Python: NetCDF has arrays of one number."""
    if isinstance(value, np.ndarray):
        return value.item() if value.size == 1 else value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def _units(attributes: Mapping[str, Any]) -> str:
    return str(attributes.get("units", "")).strip().lower()


def is_latitude(attributes: Mapping[str, Any]) -> bool:
    """Whether a coordinate's attributes say that it is a latitude, as CF recognizes one."""
    return _units(attributes) in NORTH or attributes.get("standard_name") == "latitude"


def is_longitude(attributes: Mapping[str, Any]) -> bool:
    """Whether a coordinate's attributes say that it is a longitude, as CF recognizes one."""
    return _units(attributes) in EAST or attributes.get("standard_name") == "longitude"


def plane_of(dimensions: Mapping[str, Mapping[str, Any]]) -> tuple[str, str] | None:
    """Return the names of the dimensions of rows and of columns; None if they cannot be recognized.

    Parameters
    ----------
    dimensions
        Attributes of the coordinates of each dimension, empty where it has none.
    """
    rows = [name for name, attrs in dimensions.items() if _is_axis(attrs, "Y", "projection_y_coordinate")]
    columns = [name for name, attrs in dimensions.items() if _is_axis(attrs, "X", "projection_x_coordinate")]
    if len(rows) == 1 and len(columns) == 1 and rows != columns:
        return rows[0], columns[0]
    lower = {name.lower(): name for name in dimensions}
    return next(((lower[y], lower[x]) for y, x in PLANES if y in lower and x in lower), None)


def _is_axis(attributes: Mapping[str, Any], axis: str, standard_name: str) -> bool:
    on_earth = is_latitude(attributes) if axis == "Y" else is_longitude(attributes)
    return on_earth or attributes.get("axis") == axis or attributes.get("standard_name") == standard_name


def coordinates_of(grid: Grid) -> dict[str, tuple[Floats, dict[str, str]]]:
    """Return the coordinates ``y`` and ``x`` of a grid: centres of pixels, and attributes as in CF.

    Empty for a rotated grid, which has no coordinates of single rows and columns. If each pixel has its own, they are
    (y, x) and called ``lat`` and ``lon``: CF expects that no coordinate of two dimensions has the name of one.
    """
    if grid.places is not None:
        places, names = grid.places, ("y", "x") if grid.places.y.ndim == 1 else ("lat", "lon")
        said = [{name: str(own[name]) for name in MEANING if name in own} for own in places.attributes]
        return {names[0]: (places.y, said[0]), names[1]: (places.x, said[1])}
    transform = grid.transform
    if transform.b or transform.d:
        return {}
    rows, columns = np.arange(grid.height) + 0.5, np.arange(grid.width) + 0.5
    values = {"y": transform.f + transform.e * rows, "x": transform.c + transform.a * columns}
    return {name: (values[name], {"axis": name.upper(), **_attributes_of(grid.crs, name)}) for name in values}


def dimensions_of(name: str, values: Floats) -> tuple[str, ...]:
    """Return the dimensions of one of `coordinates_of`."""
    return (name,) if values.ndim == 1 else ("y", "x")


def _attributes_of(crs: CRS | None, name: str) -> dict[str, str]:
    if crs is None:
        return {"long_name": f"{name} coordinate"}
    if not crs.is_projected:
        word, units = ("latitude", "degrees_north") if name == "y" else ("longitude", "degrees_east")
        return {"standard_name": word, "long_name": word, "units": units}
    unit, metres = crs.linear_units_factor
    return {
        "standard_name": f"projection_{name}_coordinate",
        "long_name": f"{name} coordinate of projection",
        "units": "m" if metres == 1 else "km" if metres == 1000 else str(unit).replace(" ", "_"),
    }


def mapping_of(grid: Grid) -> dict[str, Any]:
    """Return the attributes of the variable `SPATIAL_REF` of a grid: WKT, CF's parameters, GDAL's transform.

    CF's parameters are left out if pyproj is not installed, or knows no name in CF for the projection: WKT says all.
    """
    found: dict[str, Any] = {}
    if grid.crs is not None:
        # CF expects WKT 2; GDAL and rioxarray write WKT 1 where it says all.
        wkt = grid.crs.to_wkt(version="WKT2_2019")
        found |= {**_cf_parameters(wkt), "crs_wkt": wkt, SPATIAL_REF: grid.crs.to_wkt()}
    if grid.places is None:
        found["GeoTransform"] = " ".join(map(repr, map(float, grid.transform.to_gdal())))
    return found


def _cf_parameters(wkt: str) -> dict[str, Any]:
    try:
        pyproj = _pyproj()
    except ParameterError:  # pragma: no cover - the tests' environment has it
        return {}
    try:
        known: dict[str, Any] = pyproj.CRS.from_wkt(wkt).to_cf()
    # pyproj raises KeyError for projections that CF has no name for.
    except (pyproj.exceptions.CRSError, KeyError):
        return {}
    return {key: value for key, value in known.items() if value not in (None, "unknown", "undefined")}


def geozarr_of(grid: Grid, dimensions: Sequence[str] = ("y", "x")) -> dict[str, Any]:
    """Return the attributes by which GeoZarr places the arrays of a group: the conventions ``proj:`` and ``spatial:``.

    Parameters
    ----------
    grid
        Where their pixels are.
    dimensions
        Names of the dimensions of rows and columns.
    """
    used = ZARR_CONVENTIONS if grid.crs is not None else ZARR_CONVENTIONS[1:]
    found: dict[str, Any] = {"zarr_conventions": [dict(one) for one in used]}
    if grid.crs is not None:
        code = grid.crs.to_epsg()
        # `to_epsg` also accepts what is only similar.
        if code is not None and same_crs(grid.crs, CRS.from_epsg(code)):
            found["proj:code"] = f"EPSG:{code}"
        found["proj:wkt2"] = grid.crs.to_wkt(version="WKT2_2019")
    found["spatial:dimensions"] = list(dimensions)
    found["spatial:shape"] = [grid.height, grid.width]
    if grid.places is None:
        found["spatial:transform"] = [float(number) for number in tuple(grid.transform)[:6]]
        found["spatial:bbox"] = [float(number) for number in grid.bounds]
    return found


def band_attributes(band: Band) -> dict[str, Any]:
    """Return the attributes of a map's band as in CF: ``long_name`` and ``units``; for ``status``, what codes mean."""
    found: dict[str, Any] = {"long_name": band.description} if band.description else {}
    if band.name == STATUS_BAND.name:
        codes = np.array(list(STATUS_WORDS), dtype=band.dtype())
        # Words are separated by blanks, so that those of one meaning are not.
        meanings = " ".join(words.replace(" ", "_") for words in STATUS_WORDS.values())
        return {**found, "flag_values": codes, "flag_meanings": meanings}
    units = unit_of(band.unit) or ("1" if band.integer else "")
    return {**found, "units": units} if units else found


def unit_of(unit: str) -> str:
    """Return the unit of a band as CF (UDUNITS) writes it: ``K/year^2`` is ``K year-2``.

    UDUNITS has no decade: ``K/decade`` is ``K (10 year)-1``.
    """
    for word, written in (("year", "year"), ("decade", "(10 year)")):
        base, slash, rest = unit.rpartition(f"/{word}")
        if slash and (not rest or rest[0] == "^"):
            return f"{base} {written}-{rest[1:] or 1}".removeprefix("1 ")
    return unit

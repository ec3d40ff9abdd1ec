"""Polygons of local vector files, as edges.

Users of this module need no geometry library: the inside of a polygon is what its edges enclose.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError

from pixelwise.errors import InputError, ParameterError
from pixelwise.grid import LARGEST_COORDINATE, Bounds
from pixelwise.rasters.datasets import OPTIONS, check_sidecars, local_only
from pixelwise.rasters.geopackages import layers_with_shapes
from pixelwise.rasters.urls import without_secrets
from pixelwise.rasters.vrt import SYSTEM, grids_elsewhere
from pixelwise.regular_files import check_regular, is_file, open_regular, read_text
from pixelwise.words import one_line

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "FORMATS",
    "Features",
    "Polygons",
    "is_vector",
    "layers_of",
    "local_file",
    "polygon_of_bounds",
    "polygons_of",
    "read_features",
    "read_polygons",
]

log = logging.getLogger(__name__)

#: How files of the formats that GDAL opens begin, by suffix. GDAL may not choose a driver by looking into the file:
#: some drivers follow what they find there to the network. GeoJSON is read without GDAL.
MAGIC = {".gpkg": b"SQLite format 3\x00", ".shp": b"\x00\x00\x27\x0a", ".fgb": b"fgb"}
#: Identifiers of a GeoPackage; other SQLite files are opened by another driver.
GEOPACKAGE_IDS = (b"GPKG", b"GP10", b"GP11")
FORMATS = "GeoJSON, GeoPackage, Shapefile, FlatGeobuf"

#: How much of a file is checked before GDAL opens it.
HEADER = 64 << 10

GEOJSON_SUFFIXES = (".geojson", ".json")
#: Bytes: Python needs ten times as much memory. The boundaries of a country with all its islands take a few hundred MB.
LONGEST_GEOJSON = 1 << 30
GEOJSON_TYPES = ("FeatureCollection", "Feature", "GeometryCollection", "Polygon", "MultiPolygon")

#: What stands for a missing geometry.
NOTHING = {"type": "GeometryCollection", "geometries": []}

#: What GDAL reads where a GeoPackage says that it has no CRS: its specification has the numbers 0 and -1 for that.
UNDEFINED = re.compile(r'[A-Z_]+\["Undefined ')

#: GEOS's type number of polygons.
POLYGON = 3


@dataclass(frozen=True, eq=False)
class Features:
    """Shapes of a layer, and what is written beside each.

    Attributes
    ----------
    name
        The file and its layer.
    path
        The file.
    crs
        None where the file has none.
    shapes
        (feature,) geometries of shapely, as they are in the file, without heights; some may be missing or empty.
    attributes
        (feature,) values by name: numbers, texts, booleans or dates.
    """

    name: str
    path: Path
    crs: CRS | None
    shapes: Any
    attributes: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Polygons:
    """Edges of polygons: a point is inside a polygon if an odd number of its edges separate the point from infinity.

    Attributes
    ----------
    name
        The file and its layer, or the bounds.
    path
        None for bounds.
    crs
        None where the file has none.
    edges
        (edge, 4): x and y of both ends, in units of the CRS.
    owners
        (edge,): the polygon each edge belongs to, counted from 0.
    """

    name: str
    path: Path | None
    crs: CRS | None
    edges: NDArray[np.float64]
    owners: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of polygons."""
        return len(np.unique(self.owners))

    @property
    def bounds(self) -> Bounds:
        """Left, bottom, right, top in units of the CRS."""
        (left, bottom), (right, top) = self.edges[:, :2].min(axis=0), self.edges[:, :2].max(axis=0)
        return float(left), float(bottom), float(right), float(top)

    @property
    def digest(self) -> str:
        """SHA-256 of CRS and coordinates."""
        crs = "" if self.crs is None else self.crs.to_string()
        parts = (crs.encode(), self.edges.astype("<f8").tobytes(), self.owners.astype("<i8").tobytes())
        return hashlib.sha256(b"\x00".join(parts)).hexdigest()


def polygon_of_bounds(bounds: Sequence[float], crs: CRS | None) -> Polygons:
    """Return left, bottom, right, top as a polygon.

    Raises
    ------
    ParameterError
        When they are not four numbers, or empty.
    """
    try:
        left, bottom, right, top = (float(value) for value in bounds)
    except (TypeError, ValueError):
        raise ParameterError(f"region {bounds!r} is not four numbers: left, bottom, right, top") from None
    most = LARGEST_COORDINATE
    # Comparisons with NaN are false.
    if not (-most <= left < right <= most and -most <= bottom < top <= most):
        raise ParameterError(f"region {(left, bottom, right, top)} is empty: expected left, bottom, right, top")
    ring = np.array([(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)])
    edges = np.hstack([ring[:-1], ring[1:]])
    name = ",".join(f"{value:.15g}" for value in (left, bottom, right, top))
    return Polygons(name, None, crs, edges, np.zeros(4, np.int64))


def local_file(text: str | Path, what: str) -> Path:
    """Return the path of a file.

    Raises
    ------
    InputError
        When it is not on this machine, or not a file; `what` is the option that names it.
    """
    if "://" in str(text) or str(text).startswith("/vsi"):
        raise InputError(f"{what} {without_secrets(str(text))}: only local files are read; download it first")
    path = Path(text)
    check_regular(path, what)
    return path


def is_vector(source: str) -> bool:
    """Whether the name of a file is one of a vector format, or has a layer."""
    known = (*GEOJSON_SUFFIXES, *MAGIC)
    head, _, layer = source.rpartition(":")
    return Path(source).suffix.lower() in known or (bool(layer) and Path(head).suffix.lower() in known)


def read_polygons(source: str | Path, what: str = "region") -> Polygons:
    """Read all polygons of a vector file: ``FILE``, or ``FILE:LAYER`` if it has several layers.

    Raises
    ------
    InputError
        When it is not in a known vector format, has several layers and none is named, or has no polygons.
    ParameterError
        When the packages that read it are missing.
    """
    return polygons_of(read_features(source, what, attributes=False), what)


def polygons_of(features: Features, what: str) -> Polygons:
    """Return the polygons among shapes; `what` is the option that names them.

    Raises
    ------
    InputError
        When there are none.
    """
    edges, owners = _edges_of(features.path, features.shapes, what)
    return Polygons(features.name, features.path, features.crs, edges, owners)


def layers_of(source: str | Path, what: str) -> list[str]:
    """Return the layers of shapes in a GeoPackage; none of a file in another format, or where a layer is named.

    Raises
    ------
    InputError
        When it is not a file that can be read.
    """
    path, layer = _split(source, what)
    return layers_with_shapes(path, what) if layer is None and path.suffix.lower() == ".gpkg" else []


def read_features(source: str | Path, what: str, *, attributes: bool = True) -> Features:
    """Read all shapes of a vector file: ``FILE``, or ``FILE:LAYER`` if it has several layers.

    Parameters
    ----------
    source
        The file.
    what
        What the file is for, named in messages.
    attributes
        Whether to read attributes.

    Raises
    ------
    InputError
        When it is not in a known vector format, or has several layers and none is named.
    ParameterError
        When the packages that read it are missing.
    """
    path, layer = _split(source, what)
    if path.suffix.lower() in GEOJSON_SUFFIXES:
        if layer is not None:
            raise InputError(f"{what} {path}: is GeoJSON, which has no layer {layer!r}")
        shapes, crs, found = _read_geojson(path, what, attributes=attributes)
    else:
        shapes, crs, found = _read_with_gdal(path, layer, what, attributes=attributes)
    return Features(str(path) if layer is None else f"{path}:{layer}", path, crs, shapes, found)


def _split(source: str | Path, what: str) -> tuple[Path, str | None]:
    """Return path and layer."""
    text = str(source)
    head, colon, layer = text.rpartition(":")
    if colon and layer and not is_file(Path(text)) and is_file(Path(head)):
        return local_file(head, what), layer
    return local_file(text, what), None


@contextmanager
def _extra() -> Iterator[None]:
    """Say how to install a package that only polygons need if importing it fails in this context."""
    try:
        yield
    except ImportError as error:
        raise ParameterError(f"polygons of a file need {error.name}: pip install 'pixelwise[region]'") from None


def _read_geojson(path: Path, what: str, *, attributes: bool) -> tuple[Any, CRS, dict[str, NDArray[Any]]]:
    with _extra():
        import shapely
    size = check_regular(path, what).st_size
    if size > LONGEST_GEOJSON:
        raise InputError(
            f"{what} {path}: is {size / 1e6:.0f} MB; the limit for GeoJSON is {LONGEST_GEOJSON / 1e6:.0f} MB; convert "
            f"it: {shlex.join(['ogr2ogr', f'{path.stem}.gpkg', str(path)])}"
        )
    try:
        content = json.loads(read_text(path, what, most=LONGEST_GEOJSON))
    except RecursionError:
        raise InputError(f"{what} {path}: not GeoJSON (brackets are nested too deeply to be read)") from None
    except ValueError as error:
        raise InputError(f"{what} {path}: not GeoJSON ({error})") from None
    kind = content.get("type") if isinstance(content, dict) else None
    if kind not in GEOJSON_TYPES:
        raise InputError(f"{what} {path}: not GeoJSON of polygons (its type is {kind!r})")
    features = content.get("features", []) if kind == "FeatureCollection" else [content]
    try:
        shapes = [feature["geometry"] if feature["type"] == "Feature" else feature for feature in features]
        # Features without a geometry are legal, but GEOS does not accept them.
        found = {"type": "GeometryCollection", "geometries": [NOTHING if shape is None else shape for shape in shapes]}
        geometries = shapely.force_2d(shapely.get_parts(shapely.from_geojson(json.dumps(found))))
        described = [feature.get("properties") or {} for feature in features] if attributes else []
        names = dict.fromkeys(name for one in described for name in one)
        columns: dict[str, NDArray[Any]] = {name: _column([one.get(name) for one in described]) for name in names}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{what} {path}: not GeoJSON (a feature lacks {error})") from None
    except shapely.GEOSException as error:
        raise InputError(f"{what} {path}: not GeoJSON ({one_line(error)})") from None
    # WGS 84 by RFC 7946; files from older GDAL versions may name another CRS.
    named = content.get("crs")
    try:
        crs = _system(path, named["properties"]["name"] if named else "OGC:CRS84", what)
    except (CRSError, KeyError, TypeError):
        raise InputError(f"{what} {path}: its crs is {named!r}, which is not a coordinate reference system") from None
    return geometries, crs, columns


def _column(values: list[Any]) -> NDArray[Any]:
    """Return the values of a GeoJSON property as an array of one type; what is neither number nor text, as JSON."""
    known = [value for value in values if value is not None]
    kinds = {type(value) for value in known}
    if kinds == {bool} and len(known) == len(values):
        return np.array(values)
    if kinds == {int} and len(known) == len(values) and all(abs(value) < 2**63 for value in known):
        return np.array(values, np.int64)
    if kinds and kinds <= {int, float}:
        return np.array([np.nan if value is None else float(value) for value in values])
    texts = [value if isinstance(value, str | None) else json.dumps(value, ensure_ascii=False) for value in values]
    return np.array([*texts, None], object)[:-1]


def _system(path: Path, text: str, what: str) -> CRS:
    """Return the coordinate system that a text in a file describes; PROJ would take other text for a file or a URL."""
    if not SYSTEM.match(text):
        raise CRSError(f"{text!r} is not a coordinate system by code or WKT")
    elsewhere = grids_elsewhere(text)
    if elsewhere:
        raise InputError(f"{what} {path}: its CRS names the grid {elsewhere!r}, which is not opened")
    with local_only():
        return CRS.from_user_input(text)


def _read_with_gdal(
    path: Path, layer: str | None, what: str, *, attributes: bool
) -> tuple[Any, CRS | None, dict[str, NDArray[Any]]]:
    suffix = path.suffix.lower()
    with open_regular(path, what) as file:
        begin = file.read(HEADER)
    known = suffix in MAGIC and begin.startswith(MAGIC[suffix])
    if not known or (suffix == ".gpkg" and begin[68:72] not in GEOPACKAGE_IDS):
        raise InputError(
            f"{what} {path}: not a vector file that is read ({FORMATS}); convert it: ogr2ogr {path.stem}.gpkg {path}"
        )
    check_sidecars(path)
    layers = layers_with_shapes(path, what) if suffix == ".gpkg" else None
    # GDAL reads a row of unlisted tables to find out what they are, even if they are queries.
    options = {} if layers is None else {"LIST_ALL_TABLES": "NO"}
    # In files that begin with a header, the coordinate system is there in plain text.
    elsewhere = grids_elsewhere(begin.decode("latin-1")) if suffix == ".fgb" else ""
    if elsewhere:
        raise InputError(f"{what} {path}: its CRS names the grid {elsewhere!r}, which is not opened")
    with _extra():
        import pyogrio
        import shapely
    # An absolute path is never taken for a URI.
    name = str(path.resolve())
    try:
        with _alone(pyogrio), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            if layers is None:
                # Tables without geometry are not map layers.
                layers = [str(found) for found, kind in pyogrio.list_layers(name) if kind is not None]
            chosen = _layer_of(path, layers, layer, what)
            meta, _, wkb, values = pyogrio.raw.read(
                name, layer=chosen, columns=None if attributes else [], force_2d=True, **options
            )
        geometries = shapely.from_wkb(wkb)
        said_none = not meta["crs"] or UNDEFINED.match(meta["crs"])
        crs = None if said_none else _system(path, meta["crs"], what)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.GeometryError) as error:
        raise InputError(f"{what} {path}: cannot be read ({one_line(error)})") from None
    except shapely.GEOSException as error:
        raise InputError(f"{what} {path}: its shapes cannot be read ({one_line(error)})") from None
    except CRSError as error:
        raise InputError(f"{what} {path}: its CRS cannot be read ({one_line(error)})") from None
    for text in dict.fromkeys(one_line(warning.message) for warning in said):
        log.warning("%s %s: %s", what, path, text)
    return geometries, crs, dict(zip(map(str, meta["fields"]), values, strict=True))


@contextmanager
def _alone(pyogrio: ModuleType) -> Iterator[None]:
    """Let pyogrio's GDAL, a different one from rasterio's, open only local files in this context."""
    before = {name: pyogrio.get_gdal_config_option(name) for name in OPTIONS}
    pyogrio.set_gdal_config_options(dict(OPTIONS))
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options(before)


def _layer_of(path: Path, layers: Sequence[str], wanted: str | None, what: str) -> str:
    if not layers:
        raise InputError(f"{what} {path}: has no layer of shapes")
    if wanted is None and len(layers) > 1:
        raise InputError(f"{what} {path}: has {len(layers)} layers ({', '.join(layers)}); name one: {path}:{layers[0]}")
    if wanted is not None and wanted not in layers:
        raise InputError(f"{what} {path}: has no layer {wanted!r} (it has: {', '.join(layers)})")
    return layers[0] if wanted is None else wanted


def _edges_of(path: Path, geometries: Any, what: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the edges of all polygons, made valid, and the polygon that each belongs to."""
    with _extra():
        import shapely
    parts = _parts(geometries)
    polygons = parts[shapely.get_type_id(parts) == POLYGON]
    if not len(polygons):
        kinds = sorted({part.geom_type for part in parts})
        raise InputError(f"{what} {path}: expected polygons, but it holds {', '.join(kinds) or 'nothing'}")
    if len(polygons) < len(parts):
        log.warning("%s %s: %d points or lines beside the polygons are ignored", what, path, len(parts) - len(polygons))
    rough = shapely.get_coordinates(polygons)
    if not (np.abs(rough) <= LARGEST_COORDINATE).all():
        raise InputError(
            f"{what} {path}: a polygon has coordinates that are not numbers, or beyond {LARGEST_COORDINATE:g}"
        )
    valid = shapely.is_valid(polygons)
    if not valid.all():
        log.warning(
            "%s %s: %d of %d polygons cross themselves and were made valid", what, path, (~valid).sum(), len(valid)
        )
        mended = _parts(shapely.make_valid(polygons[~valid], method="structure", keep_collapsed=False))
        polygons = np.concatenate([polygons[valid], mended[shapely.get_type_id(mended) == POLYGON]])
        if not len(polygons):
            raise InputError(f"{what} {path}: its polygons have no area")
    rings, ring_owners = shapely.get_rings(polygons, return_index=True)
    points, of_ring = shapely.get_coordinates(rings, return_index=True)
    follows = of_ring[1:] == of_ring[:-1]
    edges = np.hstack([points[:-1], points[1:]])[follows]
    return edges, ring_owners[of_ring[1:][follows]].astype(np.int64)


def _parts(geometries: Any) -> Any:
    """Return the non-empty parts of collections, nested ones included."""
    with _extra():
        import shapely
    parts = np.atleast_1d(geometries)
    while True:
        parts = parts[~(shapely.is_missing(parts) | shapely.is_empty(parts))]
        if (shapely.get_type_id(parts) <= POLYGON).all():
            return parts
        parts = shapely.get_parts(parts)

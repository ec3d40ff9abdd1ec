"""Maps as `xarray.Dataset`; needs the extra ``xarray``."""

from __future__ import annotations

from typing import Any

from pixelwise.bands import STATUS_BAND, Band
from pixelwise.errors import ParameterError
from pixelwise.maps.cf import kind_attributes
from pixelwise.maps.map import Map
from pixelwise.maps.tag import attributes_of
from pixelwise.rasters.conventions import SPATIAL_REF, band_attributes, coordinates_of, dimensions_of, mapping_of

try:
    import xarray
except ImportError as error:  # pragma: no cover - the tests' environment has it
    raise ParameterError('this needs xarray: pip install "pixelwise[xarray]"') from error

__all__ = ["dataset_of"]


def dataset_of(map_: Map) -> xarray.Dataset:
    """Return a map as a dataset with the attributes of the CF conventions.

    It has a (y, x) variable for each band, coordinates of pixel centres, the variable ``spatial_ref`` with CRS and
    transform, and the provenance of the map in its attributes. A rotated grid gets no coordinates ``y`` and ``x``, as
    it has no one-dimensional ones.

    Raises
    ------
    ParameterError
        When a band has the name of a coordinate.
    """
    coordinates: dict[str, Any] = {
        name: (dimensions_of(name, found[0]), *found) for name, found in coordinates_of(map_.grid).items()
    }
    coordinates[SPATIAL_REF] = ((), 0, mapping_of(map_.grid))
    taken = [name for name in map_.names if name in {*coordinates, "y", "x"}]
    if taken:
        raise ParameterError(
            f"band {taken[0]!r} has the name of a coordinate of the dataset: read it as an array (map[{taken[0]!r}]), "
            "or rename it where the map is made"
        )
    variables = {
        band.name: (("y", "x"), map_[band.name], {**_attributes(map_, band), "grid_mapping": SPATIAL_REF})
        for band in map_.bands
    }
    return xarray.Dataset(variables, coordinates, attributes_of(map_.provenance))


def _attributes(map_: Map, band: Band) -> dict[str, Any]:
    """Return the attributes of a band, with what its numbers are and which variables say how sure they are."""
    beside = [name for name in (band.pvalue, STATUS_BAND.name) if name in map_ and name != band.name]
    # CF calls variables about the quality of another its ancillary variables.
    others = {"ancillary_variables": " ".join(beside)} if band.pvalue in beside else {}
    return {**band_attributes(band), **kind_attributes(band), **others}

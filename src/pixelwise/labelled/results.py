"""What comes out for a labelled array: a `xarray.Dataset` with its dimensions and coordinates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray

from pixelwise.bands import Band
from pixelwise.errors import ParameterError
from pixelwise.labelled.arrays import Labelled
from pixelwise.maps.tag import attributes_of
from pixelwise.rasters.conventions import band_attributes

__all__ = ["check_names", "dataset_of_bands"]

#: Attributes that say where pixels are: each variable keeps those of the array (rioxarray, stackstac, GeoZarr).
PLACE = ("grid_mapping", "crs", "transform", "res", "resolution")
PLACE_PREFIXES = ("proj:", "spatial:")
#: Attributes that describe the values of the array, which its results do not share.
OF_VALUES = frozenset({
    "units", "long_name", "standard_name", "cell_methods", "valid_range", "valid_min", "valid_max", "actual_range",
    "scale_factor", "add_offset", "_FillValue", "missing_value", "nodata", "flag_values", "flag_meanings", "flag_masks",
    "ancillary_variables", "dtype", "description", "positive", "AREA_OR_POINT",
})  # fmt: skip


def dataset_of_bands(
    labelled: Labelled, bands: Sequence[Band], arrays: Mapping[str, Any], provenance: Mapping[str, Any]
) -> xarray.Dataset:
    """Return named variables for the bands of a map.

    Parameters
    ----------
    labelled
        The array that they were computed from.
    bands
        All bands, ``status`` last.
    arrays
        An array for each band, with the dimensions `Labelled.pixel_dims`.
    provenance
        What the map says about its making.

    Raises
    ------
    ParameterError
        When a band has the name of a coordinate.
    """
    array = labelled.array
    coordinates = _coordinates(labelled)
    check_names(labelled, (band.name for band in bands))
    said = {name: value for name, value in array.attrs.items() if _is_plain(value)}
    place = {name: value for name, value in said.items() if name in PLACE or str(name).startswith(PLACE_PREFIXES)}
    variables = {}
    for band in bands:
        found = xarray.DataArray(arrays[band.name], coordinates, labelled.pixel_dims)
        variables[band.name] = found.transpose(*labelled.order)
        variables[band.name].attrs = {**place, **band_attributes(band)}
        if "grid_mapping" in array.encoding:
            variables[band.name].encoding["grid_mapping"] = array.encoding["grid_mapping"]
    kept = {name: value for name, value in said.items() if name not in {*place, *OF_VALUES}}
    attributes = {**kept, **attributes_of(provenance)}
    if provenance.get("warnings"):
        attributes["warnings"] = "\n".join(provenance["warnings"])
    return xarray.Dataset(variables, coordinates, attributes)


def check_names(labelled: Labelled, bands: Iterable[str]) -> None:
    """Refuse bands that have the name of a coordinate or dimension of the array.

    Raises
    ------
    ParameterError
    """
    kept = {*_coordinates(labelled), *labelled.pixel_dims}
    taken = [name for name in bands if name in kept]
    if taken:
        raise ParameterError(
            f"{labelled.name} has a coordinate {taken[0]!r}, which is also the name of a band: rename it "
            f"(array.rename({{{taken[0]!r}: ...}})), or select other bands"
        )


def _coordinates(labelled: Labelled) -> Any:
    """Return the coordinates that do not depend on time, with their indexes, which may be of several levels."""
    array = labelled.array
    of_time = [name for name, one in array.coords.items() if labelled.dim in one.dims]
    return array.drop_vars(of_time).isel({labelled.dim: 0}, drop=True).coords


def _is_plain(value: Any) -> bool:
    """Whether a file can hold an attribute; stackstac's `spec` is an object."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, (str, int, float, np.number, np.ndarray))

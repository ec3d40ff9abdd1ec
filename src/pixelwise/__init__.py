"""Per-pixel analysis of raster time series.

>>> import pixelwise as pw
>>> stack = pw.open_stack("ndvi/*.tif")  # doctest: +SKIP
>>> trend = pw.apply(stack, "ols", "trend.tif")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pixelwise._version import __version__

if TYPE_CHECKING:
    from pixelwise import methods
    from pixelwise.api import apply, fdr, join, write_layers, zones
    from pixelwise.bands import Band, Status
    from pixelwise.dates.axis import TimeAxis
    from pixelwise.errors import FunctionError, InputError, OutputError, ParameterError, PixelwiseError, ResourceError
    from pixelwise.grid import Block, Grid
    from pixelwise.maps.map import Map, open_map
    from pixelwise.method import BoundMethod, Method
    from pixelwise.methods.functions.marks import per_block, per_pixel
    from pixelwise.opening.survey import open_stack
    from pixelwise.rectification.diagnostics import plot_gains
    from pixelwise.rectification.door import rectify
    from pixelwise.stacks.composite import CompositeStack
    from pixelwise.stacks.fits import Fit
    from pixelwise.stacks.gains import Gains
    from pixelwise.stacks.raster import RasterStack, Stack
    from pixelwise.stacks.series import Series
    from pixelwise.stacks.spec import InputSpec
    from pixelwise.zonal.table import ZoneTable

__all__ = [
    "Band",
    "Block",
    "BoundMethod",
    "CompositeStack",
    "Fit",
    "FunctionError",
    "Gains",
    "Grid",
    "InputError",
    "InputSpec",
    "Map",
    "Method",
    "OutputError",
    "ParameterError",
    "PixelwiseError",
    "RasterStack",
    "ResourceError",
    "Series",
    "Stack",
    "Status",
    "TimeAxis",
    "ZoneTable",
    "__version__",
    "apply",
    "fdr",
    "join",
    "methods",
    "open_map",
    "open_stack",
    "per_block",
    "per_pixel",
    "plot_gains",
    "rectify",
    "write_layers",
    "zones",
]

# GDAL and numba take half a second to import: names are looked up when they are first used, so that
# `pixelwise --help` starts in a quarter of one.
_HOMES = {
    "api": ("apply", "fdr", "join", "write_layers", "zones"),
    "bands": ("Band", "Status"),
    "dates.axis": ("TimeAxis",),
    "errors": ("FunctionError", "InputError", "OutputError", "ParameterError", "PixelwiseError", "ResourceError"),
    "grid": ("Block", "Grid"),
    "maps.map": ("Map", "open_map"),
    "method": ("BoundMethod", "Method"),
    "methods.functions.marks": ("per_block", "per_pixel"),
    "opening.survey": ("open_stack",),
    "rectification.diagnostics": ("plot_gains",),
    "rectification.door": ("rectify",),
    "stacks.composite": ("CompositeStack",),
    "stacks.fits": ("Fit",),
    "stacks.gains": ("Gains",),
    "stacks.raster": ("RasterStack", "Stack"),
    "stacks.series": ("Series",),
    "stacks.spec": ("InputSpec",),
    "zonal.table": ("ZoneTable",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(f"pixelwise.{_HOME_OF[name]}"), name)
    if name == "methods":
        return importlib.import_module("pixelwise.methods")
    raise AttributeError(f"module 'pixelwise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

"""The accessor ``pixelwise`` of `xarray.DataArray`: importing this module registers it, as ``import rioxarray`` does.

>>> import pixelwise.xarray  # doctest: +SKIP
>>> trend = ndvi.pixelwise.apply("trend")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pixelwise.dates.completeness import Completeness
from pixelwise.errors import ParameterError
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.output_spec import OutputSpec
from pixelwise.labelled.door import apply_to_array
from pixelwise.maps.false_discovery import FalseDiscovery
from pixelwise.method import Method
from pixelwise.methods.lookup import resolve_method

try:
    import xarray
except ImportError as error:  # pragma: no cover - the tests' environment has it
    raise ParameterError('this needs xarray: pip install "pixelwise[xarray]"') from error

__all__ = ["PixelwiseAccessor"]


@xarray.register_dataarray_accessor("pixelwise")
class PixelwiseAccessor:
    """Methods of pixelwise on an array with a time axis."""

    def __init__(self, array: xarray.DataArray) -> None:
        self._array = array

    def apply(
        self,
        method: str | Method | Callable[..., Any],
        dim: str = "time",
        *,
        inputs: Mapping[str, xarray.DataArray] | None = None,
        bands: Sequence[str] | None = None,
        min_valid: float = 0.0,
        min_span: float = 0.0,
        per: str = "year",
        dtype: str = "float32",
        fdr: float | str | None = None,
        jobs: int | None = None,
        strict: bool = False,
    ) -> xarray.Dataset:
        """Apply a method to the series of every pixel.

        Parameters
        ----------
        method
            As in `pixelwise.apply`: a method's name (``"trend"``), a method, or a function of your own.
        dim
            The dimension of time. Its coordinate holds dates (datetime64, or those of cftime in any calendar) or years
            as numbers, ascending. All other dimensions, in any order, are dimensions of the result.
        inputs
            Covariates by name, for methods that take them: arrays with the same pixels, or without some of the
            dimensions (a climate index has only that of time). They are paired with the response by their dates, as
            stacks are.
        bands, min_valid, min_span, per, dtype, fdr, strict
            As in `pixelwise.apply`; `fdr` needs an array in memory.
        jobs
            Number of threads for an array in memory; by default all usable cores. A lazy array is computed by dask,
            with the workers that dask has.

        Returns
        -------
        xarray.Dataset
            A variable for each band, and ``n`` and ``status`` as integers, with coordinates and CRS of the array, units
            such as ``K year-1``, and the provenance in the attribute ``PIXELWISE``. Computed at once for an array in
            memory; lazy for one on dask, chunk by chunk, for which time must be in one chunk.

        Raises
        ------
        InputError
            When times are not ascending dates, the numbers are packed, or covariates do not match.
        ParameterError
            When a dimension, method, band or parameter is unknown or impossible, or time is cut into chunks.
        FunctionError
            When a function returns the wrong number of values, or fails and `strict` is set.

        Notes
        -----
        NaN and infinite values are missing; so is the number that an attribute of an integer array calls missing
        (``_FillValue``, ``missing_value``, ``nodata``). If it occurs in an array of floats, it may be a value or
        not, so it is refused; so are packed numbers (``scale_factor``).

        A function of your own is tried first. For a lazy array, no data are computed for that: it is tried on random
        numbers between 0 and 1, which decide whether it runs compiled, and how many bands it has unless they are named.
        """
        request = None if fdr is None else FalseDiscovery.of(fdr)
        chosen, wanted = resolve_method(method, bands)
        spec = OutputSpec(wanted, Completeness(min_valid, min_span), {}, per, dtype, fdr=request)
        return apply_to_array(self._array, chosen, None, inputs or {}, spec, Execution(jobs=jobs, strict=strict), dim)

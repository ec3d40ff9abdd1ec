"""Apply a method to a labelled array: in memory or to a file through the engine, lazily on dask."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from pixelwise.bands import STATUS_BAND, Floats
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import FunctionError, ParameterError
from pixelwise.jobs.answer import LayerOutputs
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.executors import shares_memory
from pixelwise.jobs.output_spec import OutputSpec
from pixelwise.maps.false_discovery import ADDED
from pixelwise.maps.map import Map
from pixelwise.method import Method
from pixelwise.opening.pairing import pair
from pixelwise.run import bind_job, check_written, run_job

if TYPE_CHECKING:
    import xarray

__all__ = ["apply_to_array", "is_labelled"]

log = logging.getLogger(__name__)

#: Series on which a function of the user's own is tried where data must not be computed.
SAMPLE_SERIES = 256


def is_labelled(thing: object) -> TypeGuard[xarray.DataArray | xarray.Dataset]:
    """Whether an object is one of xarray's; without importing xarray, which whoever has one has done."""
    xarray = sys.modules.get("xarray")
    return xarray is not None and isinstance(thing, (xarray.DataArray, xarray.Dataset))


def apply_to_array(
    array: Any,
    method: Method,
    output: str | Path | None,
    inputs: Mapping[str, Any],
    spec: OutputSpec,
    execution: Execution,
    dim: str = "time",
) -> xarray.Dataset | Map:
    """Apply a method to the series of an array.

    Parameters
    ----------
    array
        The response.
    method, output, inputs, spec, execution
        As in `run_job`; covariates are arrays too.
    dim
        The dimension of time.

    Returns
    -------
    xarray.Dataset or Map
        A map if it is written to a file; else a dataset, lazy if any of the arrays is.

    Raises
    ------
    PixelwiseError
        As `apply` does, and when arrays have no such dimension, no dates, or no grid where one is needed.
    """
    from pixelwise.labelled.arrays import Labelled, aligned
    from pixelwise.labelled.results import check_names, dataset_of_bands

    labelled = Labelled.of(array, dim, halo=method.halo)
    grid = None
    if output is not None:
        given = labelled.array
        labelled, grid = labelled.georeferenced()
        inputs = {name: _as_ordered(other, given, labelled.array) for name, other in inputs.items()}
    else:
        check_names(labelled, _bands_of(method, spec))
    others = aligned(inputs, labelled)
    for text in (text for one in (labelled, *(one for one, _ in others.values())) for text in one.remarks):
        log.warning(text)
    lazy = labelled.chunked or any(one.chunked for one, _ in others.values())
    gap = 0 if lazy else method.halo
    stack = labelled.stack(gap=gap, grid=grid)
    shape = labelled.array.shape[1:]
    stacks = {
        name: one.stack(_broadcast(values, (len(values), *shape)), gap=gap, grid=grid)
        for name, (one, values) in others.items()
    }
    if output is not None or not lazy:
        map_ = run_job(stack, method, output, stacks, spec, _in_this_process(execution))
        if output is not None:
            return map_
        rows = stack.values.shape[-2]
        arrays = {
            name: map_.arrays[name].reshape(-1, rows + gap, stack.values.shape[-1])[:, :rows].reshape(shape)
            for name in map_.names
        }
        return dataset_of_bands(labelled, map_.bands, arrays, map_.provenance)
    from pixelwise.labelled.lazy import bands_of_chunks, check_chunks

    check_written(spec, output)
    if spec.fdr is not None:
        raise ParameterError(
            f"fdr: all pixels must be known, but {labelled.name} is lazy: compute it (array.compute().pixelwise.apply("
            f'"{method.name}", fdr=...)), or write a map (pixelwise.apply(array, "{method.name}", "out.zarr", fdr=...))'
        )
    _refuse_workers(execution)
    for name, one in {labelled.name: stack, **{f"input {name!r}": one for name, one in stacks.items()}}.items():
        check_chunks(one.values, name, dim)
    pairing = pair(stack, stacks)
    nothing = LayerOutputs((), (), None, stack.axis)
    sample = _sample(pairing.stack.axis)
    bound = bind_job(pairing, method, spec, replace(execution, executor="threads"), nothing, lambda: sample, None)
    found = bands_of_chunks(bound, spec.dtype, len(shape))
    return dataset_of_bands(labelled, bound.bands, found, bound.provenance)


def _bands_of(method: Method, spec: OutputSpec) -> tuple[str, ...]:
    """Return the bands that a method gives, as far as that is known before it has been tried."""
    added = (*(ADDED if spec.fdr is not None else ()), STATUS_BAND.name)
    if spec.bands is not None:
        return (*spec.bands, *added)
    try:
        return (*(band.name for band in method.bands if not band.optional), *added)
    except FunctionError:
        return added


def _broadcast(values: Any, shape: tuple[int, ...]) -> Any:
    """Return values with the given shape, of which dimensions may have length 1; nothing is copied."""
    if values.shape == shape:
        return values
    if isinstance(values, np.ndarray):
        return np.broadcast_to(values, shape)
    import dask.array

    return dask.array.broadcast_to(values, shape)


def _as_ordered(other: Any, given: xarray.DataArray, response: xarray.DataArray) -> Any:
    """Return a covariate with rows and columns in the order of the response.

    Parameters
    ----------
    other
        The covariate. Along dimensions without coordinates, its pixels are those of the response as it was given.
    given, response
        The response as it was given, and from north to south and west to east.
    """
    for dim in response.dims[1:] if is_labelled(other) else ():
        if dim not in other.dims or dim not in response.coords:
            continue
        before = other if dim in other.coords else given
        if _descends(before, dim) != _descends(response, dim):
            other = other.isel({dim: slice(None, None, -1)})
    return other


def _descends(array: Any, dim: Any) -> bool:
    """Whether the coordinate of a dimension ends lower than it begins."""
    values = array[dim].values
    return len(values) > 1 and bool(values[0] > values[-1])


def _in_this_process(execution: Execution) -> Execution:
    """Return how to compute an array that is in the memory of this process, where other processes do not see it.

    Raises
    ------
    ParameterError
        When others are asked for.
    """
    executor = execution.executor
    if executor is None:
        return replace(execution, executor="threads")
    if shares_memory(executor):
        return execution
    raise ParameterError(
        "an array in memory is computed by threads: write it to Zarr or GeoTIFF, and open that with open_stack, for "
        "processes"
    )


def _refuse_workers(execution: Execution) -> None:
    given = [
        name for name in ("executor", "jobs", "memory", "progress", "part") if getattr(execution, name) is not None
    ]
    if given:
        raise ParameterError(f"{given[0]}: a lazy array is computed by dask, with the workers that dask has")


def _sample(axis: TimeAxis) -> Floats:
    """Return (time, series) of seeded random numbers between 0 and 1, half of the series with gaps.

    A user's function is tried on them where the data are not computed yet.
    """
    random = np.random.default_rng(0)
    values = random.random((len(axis), SAMPLE_SERIES))
    gaps = random.random(values.shape) < 0.2
    gaps[:, ::2] = False
    return np.where(gaps, np.nan, values)

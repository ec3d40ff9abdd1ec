"""`apply`, `write_layers` and `zones`: options as keywords, for stacks of files and for arrays of xarray."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

from pixelwise.appending import append_layers
from pixelwise.choices import Compression, Correction, TiffDriver, ZarrFormat
from pixelwise.dates.completeness import Completeness
from pixelwise.errors import ParameterError
from pixelwise.jobs.climatology import BasePeriod
from pixelwise.jobs.execution import Execution, Progress
from pixelwise.jobs.joining import join_parts
from pixelwise.jobs.output_spec import OutputSpec
from pixelwise.jobs.parts import Part
from pixelwise.jobs.significance import adjust_map
from pixelwise.labelled.door import apply_to_array, is_labelled
from pixelwise.maps.false_discovery import FalseDiscovery
from pixelwise.maps.foreign import open_any
from pixelwise.maps.map import Map
from pixelwise.method import Method
from pixelwise.methods.lookup import resolve_method
from pixelwise.opening.sources import Source
from pixelwise.run import run_job, run_layers
from pixelwise.series import origin_of
from pixelwise.stacks.base import FileStack, Stack
from pixelwise.zonal.summary import summarize
from pixelwise.zonal.table import ZoneTable

if TYPE_CHECKING:
    import xarray

__all__ = ["apply", "fdr", "join", "write_layers", "zones"]


class Options(TypedDict, total=False):
    """The options that `apply` takes for stacks and arrays alike, for type checkers."""

    bands: Sequence[str] | None
    min_valid: float
    min_span: float
    write: Mapping[str, str | Path] | None
    base: str | Sequence[int] | None
    per: str
    dtype: str
    fdr: float | str | None
    executor: Any
    jobs: int | None
    memory: int | str | None
    compress: Compression | None
    zarr_format: ZarrFormat
    driver: TiffDriver
    overwrite: bool
    restart: bool
    trust_function: bool
    strict: bool
    progress: Progress | Literal[False] | None
    part: tuple[int, int] | str | None


@overload
def apply(
    stack: Stack,
    method: str | Method | Callable[..., Any],
    output: str | Path | None = None,
    *,
    inputs: Mapping[str, Stack] | None = None,
    **options: Unpack[Options],
) -> Map: ...


@overload
def apply(
    stack: xarray.DataArray,
    method: str | Method | Callable[..., Any],
    output: None = None,
    *,
    dim: str = "time",
    inputs: Mapping[str, xarray.DataArray] | None = None,
    **options: Unpack[Options],
) -> xarray.Dataset: ...


@overload
def apply(
    stack: xarray.DataArray,
    method: str | Method | Callable[..., Any],
    output: str | Path,
    *,
    dim: str = "time",
    inputs: Mapping[str, xarray.DataArray] | None = None,
    **options: Unpack[Options],
) -> Map: ...


def apply(
    stack: Stack | xarray.DataArray,
    method: str | Method | Callable[..., Any],
    output: str | Path | None = None,
    *,
    dim: str = "time",
    inputs: Mapping[str, Stack | xarray.DataArray] | None = None,
    bands: Sequence[str] | None = None,
    min_valid: float = 0.0,
    min_span: float = 0.0,
    write: Mapping[str, str | Path] | None = None,
    base: str | Sequence[int] | None = None,
    per: str = "year",
    dtype: str = "float32",
    fdr: float | str | None = None,
    executor: Any = None,
    jobs: int | None = None,
    memory: int | str | None = None,
    compress: Compression | None = None,
    zarr_format: ZarrFormat = 3,
    driver: TiffDriver = "GTiff",
    overwrite: bool = False,
    restart: bool = False,
    trust_function: bool = False,
    strict: bool = False,
    progress: Progress | Literal[False] | None = None,
    part: tuple[int, int] | str | None = None,
) -> Map | xarray.Dataset:
    """Apply a method to every pixel's series.

    Parameters
    ----------
    stack
        The response: what `open_stack` returns, or any object with ``grid``, ``axis`` and ``read(block)``; or an array
        of xarray.
    method
        A method's name (``"ols"``), a method (``methods.ols(min_obs=5)``), ``"file.py:function"``, or a
        function: decorated by `per_pixel` or `per_block`, or plain, which is called per pixel.
    output
        A GeoTIFF; a Zarr store or a NetCDF file if its name ends in ``.zarr`` or ``.nc``. ``trend_{band}.tif`` writes
        one file per band. None keeps the map in memory.
    dim
        The dimension of time of an array; stacks have none to choose.
    inputs
        Covariates by name, for methods that take them. Their layers are paired with those of the response by calendar
        year, month, ..., whichever unit its step has, or by day. Layers without a partner are left out, with a warning.
        Covariates must cover the response's pixels, and their pixels must be aligned.
    bands
        Names of the bands to compute (``status`` is always included); for a function without declared bands, names for
        the values that it returns.
    min_valid, min_span
        Shares from 0 to 1: a pixel with a smaller share of valid layers, or whose valid layers span a smaller share of
        the time from the first to the last layer, gets status 2 and no result but ``n``, whatever the method. The
        series of the response counts, after `select`, composites and pairing.
    write
        Layers to write beside the map in the same pass over the input, as ``{"residuals": "left.tif"}``: one band for
        each layer, named by its date, so that `open_stack` reads them back. ``fitted`` is the method's curve at the
        dates of the layers, without gaps; ``residuals`` are values minus the curve. ``anomalies`` are values minus the
        mean of their slot of the year (month, half-month, dekad, ... as the dates have it) in the base period, and
        ``standardized`` are anomalies divided by the standard deviation of their slot in the base period, with any
        method. ``deseasonalised`` are values minus the season that the method fits, and minus the mean of the rest. The
        last three still contain a trend. All are missing where a pixel has no result. Either all files are completed,
        together with the map, or none is.
    base
        First and last year of the base period of ``anomalies`` and ``standardized``: ``"1991..2020"`` or
        ``(1991, 2020)``; by default all years of the layers. Where a pixel has no value of the base period in a slot,
        its anomalies are missing, and standardized ones where it has fewer than two values or only equal ones.
    per
        ``year`` or ``decade``: the unit of time of all bands of the map that are a change per year.
    dtype
        ``float32`` or ``float64``: the type of the map; computations use float64.
    fdr
        The false discovery rate at which pixels are significant: ``0.1``, or ``"by:0.1"``. Adds the bands ``qvalue``
        and ``significant``, as `fdr` does to a finished map. They depend on all pixels: a map in a file is first
        written to the folder ``OUTPUT.parts``, and the final map is made from that; to a map in parts, `join` adds
        them.
    executor
        ``threads``, ``processes``, ``inline``; ``dask`` for workers of Dask on this machine, or a client or cluster of
        Dask; ``mpi`` for the ranks of `mpi4py.futures`; or any `concurrent.futures.Executor`. By default threads if
        the method releases the GIL, else processes.
    jobs
        Number of workers, or of blocks in flight if an executor is given; by default all usable cores. A cluster uses
        the workers that it has.
    memory
        Memory limit, ``"4GiB"``: for all processes together if they are of this machine, or for each worker of Dask,
        MPI and executors whose workers may be elsewhere. What a function of your own allocates is not counted.
    compress
        Compression of the output: ``zstd`` (the default if GDAL has it), ``deflate`` (the default of NetCDF), ``lzw``
        (GeoTIFF only) or ``none``.
    zarr_format
        Version of the format of Zarr stores: 3 has few files (shards), 2 one for each chunk, which GDAL 3.10 reads too.
    driver
        ``COG`` makes a cloud-optimized GeoTIFF, with overviews: means of numbers, and nearest whole numbers.
    overwrite
        Whether a finished map may be replaced.
    restart
        Whether to discard the progress of an interrupted run of this job; else it resumes.
    trust_function
        Whether to assume that a function of your own is the same in each run of the job, even if pixelwise cannot check
        it because it reads files or looks up names at run time (``eval``, ``globals``). Without it, an interrupted job
        of such a function starts from scratch.
    strict
        Whether a failing function stops the job; else its pixels get status 5.
    progress
        Called with the numbers of pixels done and in total, after each block. By default, notebooks show a bar after a
        second; False shows none.
    part
        ``(3, 10)``, or ``"3/10"``, computes only the third of ten parts of the map, into the folder ``OUTPUT.parts``,
        and returns that part; `join` makes the map from all parts. Parts are rectangles that depend on the files and
        these numbers alone.

    Returns
    -------
    Map or xarray.Dataset
        For an array without `output`, a dataset as from its accessor (`pixelwise.xarray`), lazy if the array is.
        Otherwise a map. A lazy array that is written is computed block by block by the engine, whatever its chunks; its
        rows and columns need coordinates.

    Raises
    ------
    InputError
        When files cannot be read or change meanwhile, or covariates do not match in place or time.
    ParameterError
        When a method, band, parameter, executor or amount of memory is unknown or impossible.
    OutputError
        When the output exists, is an input, cannot be written, is being written by another run, or belongs to another
        job.
    FunctionError
        When a function returns the wrong number of values, or fails and `strict` is set.
    ResourceError
        When memory, disk, open files or workers run out; the same call resumes.

    Notes
    -----
    A job that takes more than a few seconds records its finished blocks in a journal beside the output. However it was
    interrupted, the same call resumes there and gives the same map.
    """
    request = None if fdr is None else FalseDiscovery.of(fdr)
    chosen, wanted = resolve_method(method, bands)
    files = {kind: Path(path) for kind, path in (write or {}).items()}
    period = None if base is None else BasePeriod.of(base)
    spec = OutputSpec(wanted, Completeness(min_valid, min_span), files, per, dtype, base=period, fdr=request)
    execution = Execution(
        executor, jobs, memory, compress, zarr_format, driver, overwrite=overwrite, restart=restart,
        trust_function=trust_function, strict=strict, progress=progress, part=None if part is None else Part.of(part),
    )  # fmt: skip
    if is_labelled(stack):
        return apply_to_array(stack, chosen, output, inputs or {}, spec, execution, dim)
    return run_job(stack, chosen, output, inputs or {}, spec, execution)


def join(
    output: str | Path,
    *,
    overwrite: bool = False,
    restart: bool = False,
    jobs: int | None = None,
    memory: int | str | None = None,
    progress: Progress | Literal[False] | None = None,
) -> Map:
    """Make a map from the parts that `apply(..., part=(I, N))` computed; the parts are then removed.

    Parameters
    ----------
    output
        The output given for all parts.
    overwrite
        Whether a finished map may be replaced.
    restart
        Whether to discard the progress of an interrupted job without parts under the same name.
    jobs
        Number of threads; by default all usable cores.
    memory, progress
        As in `apply`.

    Raises
    ------
    InputError
        When parts are missing (listed as ``3,17-19``), belong to different jobs, or cannot be read.
    OutputError, ResourceError
        As `apply` does.
    """
    execution = Execution(overwrite=overwrite, restart=restart, jobs=jobs, memory=memory, progress=progress)
    return join_parts(Path(output), execution)


def fdr(
    map_: Map | str | Path,
    q: float,
    *,
    method: Correction = "bh",
    pvalue: str | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Map:
    """Find which pixels of a map are significant, adjusted for the number of tests.

    Parameters
    ----------
    map_
        A map or its file, or any GeoTIFF with p-values; it is not changed.
    q
        The false discovery rate: the share of the significant pixels that may be significant by chance, on average; 0.1
        is usual for maps.
    method
        ``bh`` (Benjamini & Hochberg) is valid for tests that are independent or positively correlated, as those of
        neighbouring pixels are; ``by`` (Benjamini & Yekutieli) for any dependence, but it finds fewer.
    pvalue
        The band of p-values; by default those of the first band, or the only ones.
    output
        The new map; None for memory.
    overwrite, progress
        As in `apply`.

    Returns
    -------
    Map
        All bands of the map; ``qvalue``, the smallest rate at which a pixel is significant; and ``significant``: 0 no,
        1 yes, 2 not tested. Tests are the pixels of status 0 with a p-value. ``provenance["fdr"]`` has their number,
        the largest significant p-value (``threshold``) and how many pixels are significant (``rejected``).

    Raises
    ------
    InputError
        When the map cannot be read, or its p-values do not lie between 0 and 1.
    ParameterError
        When `q` does not lie between 0 and 1, or the map has no such p-values, or q-values already.
    OutputError, ResourceError
        As `apply` does.
    """
    execution = Execution(overwrite=overwrite, progress=progress)
    given = map_ if isinstance(map_, Map) else open_any(map_)
    return adjust_map(given, FalseDiscovery(q, method), None if output is None else Path(output), execution, pvalue)


def write_layers(
    stack: FileStack,
    output: str | Path,
    *,
    dtype: str = "float32",
    executor: Any = None,
    jobs: int | None = None,
    memory: int | str | None = None,
    compress: Compression | None = None,
    zarr_format: ZarrFormat = 3,
    append: bool = False,
    overwrite: bool = False,
    restart: bool = False,
    trust_function: bool = False,
    progress: Progress | Literal[False] | None = None,
) -> Path:
    """Write the layers of a stack to one file, by date, so that `open_stack` reads them back.

    Parameters
    ----------
    stack
        What `RasterStack.composite` returns, for example.
    output
        A GeoTIFF; or a Zarr store or a NetCDF file, with an array of (time, y, x), if its name ends in ``.zarr`` or
        ``.nc``.
    append
        If the output exists, compute only periods that are new or whose files have changed, and keep the others; the
        result is the same to the bit. For composites only.
    dtype, executor, jobs, memory, compress, zarr_format, overwrite, restart, trust_function, progress
        As in `apply`.

    Returns
    -------
    Path
        The path of the file.

    Raises
    ------
    InputError, ParameterError, OutputError, ResourceError
        As `apply` does.
    """
    execution = Execution(
        executor, jobs, memory, compress, zarr_format, overwrite=overwrite, restart=restart,
        trust_function=trust_function, progress=progress,
    )  # fmt: skip
    if append and overwrite:
        raise ParameterError("append keeps what is still the same, overwrite nothing: choose one of them")
    return (append_layers if append else run_layers)(stack, output, OutputSpec(dtype=dtype), execution)


def zones(
    map_: Map | str | Path,
    zones: str | Path,
    *,
    bands: Sequence[str] | None = None,
    classes: str | Sequence[float] | None = None,
    significant: float | None = None,
    pvalue: str | None = None,
    series: Source | bool = False,
    method: str | Method | Callable[..., Any] | None = None,
    progress: Progress | None = None,
) -> ZoneTable:
    """Summarize a map by zones.

    The weight of a pixel is the fraction of it that a polygon covers, times its area on the ellipsoid; in a raster of
    classes, its whole area. If the map has no coordinate reference system, or none on the Earth, the weight is the
    fraction alone, and columns are named ``pixels`` instead of ``km2``.

    Parameters
    ----------
    map_
        What `apply` or `open_map` returned, or the path of a map.
    zones
        Polygons: a GeoJSON, GeoPackage, Shapefile or FlatGeobuf file in any CRS, ``FILE:LAYER`` if it has several
        layers. Or a raster of integers, whose pixels are those of the map: one zone for each number.
    bands
        Bands to summarize; all but codes by default. Columns of classes are about the first.
    classes, significant, pvalue
        Classes of the first band, as for `Map.plot`; by default those of its test, if it has one.
    series
        True for the mean series of each zone as well, from the files that the map was made of, as far as they are in
        its folder; or all inputs of the map, as for `open_stack`, if they are elsewhere.
    method
        Your function that made the map, for `series`: ``file.py:function`` or the function itself.
    progress
        Called with the numbers of zones done and in total.

    Returns
    -------
    ZoneTable
        A row for each zone. Of a polygon, all attributes are kept, under the name ``zones_NAME`` if a column below has
        theirs; of a raster, the number is in ``class``.

        - ``zone_km2``: area of the zone on the map, in square kilometres, also where pixels were left out (`region`).
        - ``covered``: share of the zone that the map covers, in units of its coordinates; NaN for a raster that extends
          beyond the map, because only the part on the map is read. A warning names zones that are not wholly covered;
          of those outside the map, all that follows is NaN.
        - ``valid_km2``: area where the first band has a value.
        - ``tested_km2``, ``tested_pixels``: area, and number of pixels (at an edge: fractions of pixels), where its
          significance is known. Only if it has a test.
        - ``CLASS_km2``: area of each class.
        - ``CLASS_share``: the same as a share of the tested area, or, for classes without a test, of all classes.
        - ``BAND_mean``, ``BAND_sd``: mean and standard deviation, weighted by area, of pixels with a value.
        - ``BAND_median``: the value that half of the area is below; where values divide it into equal halves, the mean
          of the two in the middle.

        Days of the year are circular: their mean and standard deviation are those of directions (Mardia & Jupp 2000),
        and they have no median. Whole numbers such as ``n`` leave out pixels without any observation.

        With `series`, the table's ``series`` are the means of each layer, weighted by area, and the columns
        ``series_BAND`` are the results of the map's method for them: the trend of the mean, which is not the mean of
        the trends if pixels have gaps; ``series_status``, and ``series_share``, the median share of the zone with
        values.

    Raises
    ------
    InputError
        When the zones cannot be read, have no CRS, hold anything but polygons or integers, have pixels that are not
        aligned with the map's, or all lie outside the map.
    ParameterError
        When a band or a class is unknown, `method` is given without `series`, or packages are missing:
        ``pip install "pixelwise[zones]"``.

    Notes
    -----
    Fractions are computed by exactextract in units of the map's CRS, as float32. A polygon is summed block by block;
    memory does not grow with its size, nor with that of the map.
    """
    opened = map_ if isinstance(map_, Map) else open_any(map_)
    origin = None
    if series is not False:
        where = opened.paths[0] if opened.paths else "the map"
        origin = origin_of(opened, where, None if series is True else series, method=method)
    elif method is not None:
        raise ParameterError("method is for series=True: it is the function that made the map")
    return summarize(
        opened,
        zones,
        bands=bands,
        classes=classes,
        significant=significant,
        pvalue=pvalue,
        origin=origin,
        progress=progress,
    )

"""``pixelwise apply``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from pixelwise.choices import Per, TiffDriver
from pixelwise.cli.completing import methods
from pixelwise.cli.job_files import WRITE_JOB_OPTION, write_job
from pixelwise.cli.options import (
    PARAMETER_OPTION,
    BandNames,
    all_input_options,
    job_options,
    layer_options,
    output_options,
)
from pixelwise.cli.report import debug_option, emit, progress_bar

if TYPE_CHECKING:
    from pixelwise.jobs.output_spec import OutputSpec
    from pixelwise.stacks.spec import InputSpec

__all__ = ["apply"]


@click.command()
@click.argument("method", shell_complete=methods)
@all_input_options
@output_options("GeoTIFF (.tif), Zarr (.zarr) or NetCDF (.nc) to write; 'trend_{band}.tif' writes one file per band.")
@click.option(
    "--driver",
    type=click.Choice(get_args(TiffDriver), case_sensitive=False),
    default="GTiff",
    show_default=True,
    help="COG makes a cloud-optimized GeoTIFF, with overviews.",
)
@PARAMETER_OPTION
@click.option(
    "--bands",
    type=BandNames(),
    metavar="A[,B]",
    help="Bands to write (status is always included), or names for the values that a function returns.",
)
@click.option(
    "--jit/--no-jit",
    "jit",
    default=None,
    help="Require or forbid compiling a function of your own.  [default: compile if results are the same]",
)
@layer_options
@click.option(
    "--per",
    type=click.Choice(get_args(Per)),
    default="year",
    show_default=True,
    help="Unit of time for all bands that are a change per year.",
)
@job_options
@click.option(
    "--part",
    metavar="I/N",
    help="Compute only the I-th of N parts of the map, into OUTPUT.parts; `pixelwise join OUTPUT` joins them.",
)
@WRITE_JOB_OPTION
@click.option("--strict", is_flag=True, help="Stop if a function fails, instead of giving its pixel status 5.")
@click.option("--timings", is_flag=True, help="Print how long each step took.")
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
@debug_option
def apply(
    *,
    method: str,
    source: list[str],
    spec: InputSpec,
    covariates: dict[str, str],
    written: OutputSpec,
    output: Path,
    parameters: tuple[tuple[str, str], ...],
    bands: list[str] | None,
    per: str,
    dtype: str,
    jit: bool | None,
    timings: bool,
    quiet: bool,
    part: str | None,
    write_recipe: str | None,
    **options: Any,
) -> None:
    r"""Apply METHOD to the series of every pixel and write a map.

    METHOD is a name (see `pixelwise methods`) or file.py:function. INPUT is a folder, files, a quoted glob,
    @list.txt (a path per line), or a CSV with path,date. Files are rasters with one date each, or with one band per
    date; NetCDF; HDF5; or Zarr stores.

    \b
      pixelwise apply trend ndvi/*.tif -o trend.tif
      pixelwise apply trend ndvi/*.tif -o trend.tif --per decade --fdr 0.1
      pixelwise apply ols ndvi/*.tif -o 'line_{band}.tif' --bands slope,pvalue
      pixelwise apply trend ocean.nc --variable sst --select depth=0 -o trend.tif
      pixelwise apply harmonic ndvi/ -o season.tif --write fitted fitted.tif --write residuals left.tif
      pixelwise apply summary ndvi/ -o mean.tif --write anomalies anomalies.tif --base 1991..2020
      pixelwise apply regress ndvi/ --with rain='chirps/*.tif' -p covariates=rain,time -o out.tif
      pixelwise apply my_module.py:spread ndvi/ -o spread.tif --bands range,last -p q=0.9
    """
    from pixelwise.cli.planned_scenes import words_of_alignment
    from pixelwise.jobs.execution import Execution
    from pixelwise.jobs.parts import Part
    from pixelwise.methods.lookup import resolve_method
    from pixelwise.opening.pairing import open_covariate
    from pixelwise.opening.survey import open_layers
    from pixelwise.run import check_outputs, run_job

    resolved, wanted = resolve_method(method, bands, dict(parameters), jit)
    if write_recipe is not None:
        asked = replace(written, bands=bands, per=per, dtype=dtype)
        write_job(write_recipe, source, spec, asked, output, options, method, parameters, covariates)
        return
    check_outputs(output, written.write, source, overwrite=options["overwrite"])
    stack = open_layers(source, spec)
    emit(str(stack), error=True)
    if text := words_of_alignment(stack):
        emit(text, error=True, lines=False)
    inputs = {name: open_covariate(text, spec) for name, text in covariates.items()}
    for name, other in inputs.items():
        emit(f"with {name}: {other}", error=True)
    with progress_bar(quiet) as progress:
        written = replace(written, bands=wanted, per=per, dtype=dtype)
        execution = Execution(progress=progress, part=None if part is None else Part.parse(part), **options)
        map_ = run_job(stack, resolved, output, inputs, written, execution)
    emit(summary(map_.status, map_.timings.total), error=True)
    if timings:
        emit(str(map_.timings), error=True)
    for path in (*map_.paths, *(written.write.values() if part is None else ())):
        emit(str(path), lines=False)


def summary(status: Any, seconds: float) -> str:
    """Return how many pixels have which status, in words."""
    import numpy as np

    from pixelwise.bands import Status

    counts = np.bincount(status.ravel(), minlength=10)
    words = [f"{count} {Status(code).name.lower().replace('_', ' ')}" for code, count in enumerate(counts) if count]
    return f"{status.size} pixels in {seconds:.2f} s: {', '.join(words)}"

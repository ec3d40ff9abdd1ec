"""``pixelwise composite``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixelwise.cli.job_files import WRITE_JOB_OPTION, write_job
from pixelwise.cli.options import job_options, output_options, scene_options
from pixelwise.cli.report import debug_option, emit, progress_bar

if TYPE_CHECKING:
    from pixelwise.stacks.spec import InputSpec

__all__ = ["composite"]


@click.command()
@scene_options
@output_options("GeoTIFF (.tif) to write, with a band for each period, or Zarr (.zarr) or NetCDF (.nc).")
@job_options
@click.option(
    "--append",
    is_flag=True,
    help="If OUTPUT exists, compute only periods that are new or whose files changed, and keep the others.",
)
@WRITE_JOB_OPTION
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
@debug_option
def composite(
    *,
    source: list[str],
    spec: InputSpec,
    output: Path,
    dtype: str,
    append: bool,
    write_recipe: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    r"""Combine scenes into one layer per period.

    A period is a year, season, month or dekad (--every). Bands are named by their dates, so all commands can read the
    file. `apply` with the same options uses the same layers without an intermediate file. --composite defaults to max.

    \b
      pixelwise composite 'scenes/**/*.TIF' --product landsat-c2-l2 --value ndvi --season 05-01..09-30 -o annual.tif
      pixelwise apply trend annual.tif -o trend.tif
    """
    from pixelwise.appending import append_layers
    from pixelwise.jobs.execution import Execution
    from pixelwise.jobs.output_spec import OutputSpec
    from pixelwise.opening.survey import open_layers
    from pixelwise.run import check_outputs, run_layers

    if append and options["overwrite"]:
        raise click.UsageError("--append keeps what is still the same, --overwrite nothing: choose one of them")
    if write_recipe is not None:
        write_job(write_recipe, source, spec, OutputSpec(dtype=dtype), output, options)
        return
    check_outputs(output, {}, source, overwrite=options["overwrite"] or append)
    stack = open_layers(source, spec)
    emit(str(stack), error=True)
    with progress_bar(quiet) as progress:
        write = append_layers if append else run_layers
        path = write(stack, output, OutputSpec(dtype=dtype), Execution(progress=progress, **options))
        emit(str(path), lines=False)

"""``pixelwise join``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pixelwise.cli.report import debug_option, emit, progress_bar

__all__ = ["join"]


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace an existing map once the new one is complete.")
@click.option(
    "--restart", is_flag=True, help="Discard the progress of an interrupted job without parts under this name."
)
@click.option("--jobs", type=click.IntRange(min=1), help="Number of threads.  [default: usable cores]")
@click.option("--memory", metavar="SIZE", help="Memory limit, such as 4GiB.")
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
@debug_option
def join(*, output: Path, quiet: bool, **options: Any) -> None:
    r"""Make a map from its parts.

    OUTPUT is the name given to `apply --part I/N`; the parts are in OUTPUT.parts, which is removed when the map is
    complete. Missing parts are listed in the notation of job arrays (3,17-19).

    \b
      pixelwise apply trend ndvi/*.tif -o trend.tif --part 1/10
      ... and so on, anywhere, in any order
      pixelwise join trend.tif
    """
    from pixelwise.cli.apply import summary
    from pixelwise.jobs.execution import Execution
    from pixelwise.jobs.joining import join_parts

    with progress_bar(quiet) as progress:
        map_ = join_parts(output, Execution(progress=progress, **options))
    emit(summary(map_.status, map_.timings.total), error=True)
    for path in map_.paths:
        emit(str(path), lines=False)

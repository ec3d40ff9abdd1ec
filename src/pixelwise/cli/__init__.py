"""The command line: parses, calls, prints."""

from __future__ import annotations

import click

from pixelwise._version import __version__
from pixelwise.cli.apply import apply
from pixelwise.cli.clean import clean
from pixelwise.cli.compile import compile_kernels
from pixelwise.cli.composite import composite
from pixelwise.cli.demo import demo
from pixelwise.cli.methods import methods
from pixelwise.cli.plan import plan
from pixelwise.cli.plot import plot
from pixelwise.cli.report import Commands
from pixelwise.cli.verify import verify

__all__ = ["main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pixelwise")
def main() -> None:
    r"""Per-pixel analysis of raster time series.

    One raster per date in, a georeferenced map out: the slope of a regression line with its significance for
    every pixel, or any function of your own.

    \b
      pixelwise demo                                  see it work on a generated scene
      pixelwise plan ndvi/*.tif                       dates, grid, gaps, memory: headers only
      pixelwise apply ols ndvi/*.tif -o trend.tif     the main job
      pixelwise composite scenes/ -o annual.tif       one layer per year of many scenes
      pixelwise plot trend.tif -o trend.png           a picture of it
      pixelwise verify trend.tif                      some pixels again, by another way
      pixelwise compile                               all kernels at once, for containers and clusters

    Exit status: 0 done; 1 something is wrong with data, output or options, or verify found a difference; 2 wrong
    usage; 70 a bug in pixelwise, reported on one line (--debug shows the traceback); 75 memory, disk, open files
    or workers ran out: run the same command again to resume; 130 Ctrl-C; 141 nobody reads the output any more; 143
    SIGTERM.
    """


for command in (plan, apply, composite, methods, plot, demo, clean, verify, compile_kernels):
    main.add_command(command)

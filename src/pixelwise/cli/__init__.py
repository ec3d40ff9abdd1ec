"""The command line: parse, call, print."""

from __future__ import annotations

import click

from pixelwise._version import __version__
from pixelwise.cli.apply import apply
from pixelwise.cli.classify import classify
from pixelwise.cli.clean import clean
from pixelwise.cli.compile import compile_kernels
from pixelwise.cli.composite import composite
from pixelwise.cli.demo import demo
from pixelwise.cli.fdr import fdr
from pixelwise.cli.html_report import html_report
from pixelwise.cli.info import info
from pixelwise.cli.join import join
from pixelwise.cli.methods import methods
from pixelwise.cli.plan import plan
from pixelwise.cli.plot import plot
from pixelwise.cli.rectify import rectify
from pixelwise.cli.report import Commands
from pixelwise.cli.run import run
from pixelwise.cli.series import series
from pixelwise.cli.verify import verify
from pixelwise.cli.zones import zones

__all__ = ["main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pixelwise")
def main() -> None:
    r"""Per-pixel analysis of raster time series.

    Reads one raster per date and writes a georeferenced map with, for every pixel, the trend and its significance, or
    the result of any function of your own.

    \b
      pixelwise demo                                  see it work on a generated scene
      pixelwise plan ndvi/*.tif                       check dates, grid, gaps and memory first
      pixelwise apply trend ndvi/*.tif -o trend.tif   compute a map
      pixelwise join trend.tif                        join the parts of a map (apply --part)
      pixelwise composite scenes/ -o annual.tif       combine many scenes into one layer per year
      pixelwise run job.toml                          run the job that a file describes, or update its output
      pixelwise rectify scenes/ -o gains.csv          find gains that make scenes comparable
      pixelwise fdr trend.tif -q .1 -o trend_q.tif    adjust p-values for the number of tests
      pixelwise plot trend.tif -o trend.png           draw a map
      pixelwise info trend.tif                        show what a map is, how it was made, and what it covers
      pixelwise classify trend.tif -o classes.tif     divide a map into classes, and print their areas
      pixelwise zones trend.tif parks.gpkg -o t.csv   summarize a map by polygons or classes
      pixelwise series --map trend.tif --pixel 3,4    show the observations behind a pixel
      pixelwise report trend.tif -o report.html       put all of this on one page
      pixelwise verify trend.tif                      recompute some pixels in another way
      pixelwise compile                               compile everything now, for containers and clusters

    Exit status: 0 success; 1 problem with data, output or options, or verify found a difference; 2 wrong usage; 70 bug
    in pixelwise, reported on one line (--debug shows the traceback); 75 out of memory, disk, open files or workers: run
    the same command again to resume; 130 Ctrl-C; 141 output closed by its reader; 143 SIGTERM.
    """


COMMANDS = (
    plan, apply, join, composite, run, rectify, methods, fdr, plot, classify, zones, series, info, html_report, demo,
    clean, verify, compile_kernels,
)  # fmt: skip
for command in COMMANDS:
    main.add_command(command)

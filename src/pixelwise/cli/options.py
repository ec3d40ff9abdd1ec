"""Options that several commands share, each defined once."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from pixelwise.choices import (
    Compression,
    Every,
    ExecutorName,
    FlaggedGains,
    MapType,
    OnReadError,
    Reduction,
    Scheme,
    Written,
    ZarrFormat,
)
from pixelwise.cli.completing import composites, files, gains
from pixelwise.cli.file_options import FILE_OPTIONS, PIXEL_OPTIONS
from pixelwise.cli.hints import check_words, missing_input
from pixelwise.cli.kinds import BandNames, Numbers, Parameter
from pixelwise.cli.replacing import REPLACING_OPTIONS

if TYPE_CHECKING:
    from pixelwise.stacks.spec import InputSpec

__all__ = [
    "PARAMETER_OPTION",
    "BandNames",
    "Numbers",
    "Parameter",
    "all_input_options",
    "input_options",
    "job_options",
    "layer_options",
    "output_options",
    "say_others",
    "scene_options",
]

log = logging.getLogger(__name__)


SOURCE = click.argument("source", nargs=-1, metavar="INPUT...", shell_complete=files)

RECIPE_OPTION = click.option(
    "--recipe",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Take input and options from a file written by plan --write-recipe; options given here take precedence. A "
    "function that the recipe names for --composite only runs if --composite names it here as well.",
)

GAINS_OPTIONS = (
    click.option(
        "--gains",
        shell_complete=gains,
        metavar="FILE|PRESET",
        help="Make scenes comparable: gain * value + offset, by file and band, before any formula. A table written by "
        "pixelwise rectify, or a published preset (roy2016).",
    ),
    click.option(
        "--gains-flagged",
        type=click.Choice(get_args(FlaggedGains)),
        help="What to do with scenes whose gains have a flag other than few: leave them out, or use them.  "
        "[default: drop]",
    ),
)

DATE_OPTIONS = (
    click.option("--start", metavar="DATE", help="First date to use: 1990, 2020-06, 2020-06-15."),
    click.option("--end", metavar="DATE", help="Last date to use; a year or month means its last day."),
    click.option("--months", type=Numbers(int), metavar="M[,M]", help="Months to use, 1 to 12."),
    click.option(
        "--bounds",
        type=Numbers(count=4),
        metavar="L,B,R,T",
        help="Left, bottom, right, top in units of the CRS: only pixels that touch this box are read.",
    ),
)

PERIOD_OPTIONS = (
    click.option(
        "--composite",
        shell_complete=composites,
        metavar="HOW",
        help=f"Reduce the layers of each period to one: {', '.join(get_args(Reduction))}, p1 to p99, or "
        "file.py:function.",
    ),
    click.option(
        "--every",
        type=click.Choice(get_args(Every)),
        help="Period of --composite; seasons are DJF, MAM, JJA, SON.  [default: year]",
    ),
)

OF_COMPOSITE = click.option(
    "--composite-parameter",
    "composite_parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a parameter of the function that --composite names; may be repeated.",
)

#: Of a command without a method, whose parameters `-p` sets elsewhere.
ONLY_PARAMETER = click.option(
    "-p",
    "--parameter",
    "--composite-parameter",
    "composite_parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a parameter of the function that --composite names; may be repeated.",
)

SEASON_OPTION = click.option(
    "--season",
    metavar="MM-DD..MM-DD",
    help="Days of each year to use; may cross New Year: 11-01..04-30 belongs to the year in which it ends.",
)

COUNT_OPTIONS = (
    click.option(
        "--min-count",
        type=click.IntRange(min=1),
        help="Minimum number of observations per pixel and period.  [default: 1]",
    ),
    click.option(
        "--equal-count",
        type=click.IntRange(min=1),
        metavar="K",
        help="Use K random observations per pixel and period, so that years with more scenes do not look greener.",
    ),
)

READING_OPTIONS = (
    click.option(
        "--on-read-error",
        type=click.Choice(get_args(OnReadError)),
        help="If a block of a file cannot be read, even after retries: stop, or treat it as missing (status 8).  "
        "[default: stop]",
    ),
    click.option("--asset", metavar="NAME", help="Asset of STAC items to read, if they have several rasters."),
    click.option(
        "--allow-scheme",
        type=BandNames(),
        metavar="S[,S]",
        help=f"Allow files on servers, with these schemes: {', '.join(get_args(Scheme))}. Credentials come from "
        "the environment. Names inside VRTs and in the records of maps are never read from servers.",
    ),
)

INPUT_OPTIONS = (
    SOURCE,
    RECIPE_OPTION,
    *FILE_OPTIONS,
    click.option(
        "--value", metavar="INDEX|FORMULA", help="Value to compute from the bands: ndvi, 'nir / red', b4 - b3."
    ),
    *PIXEL_OPTIONS,
    *GAINS_OPTIONS,
    *DATE_OPTIONS,
    *PERIOD_OPTIONS,
    OF_COMPOSITE,
    SEASON_OPTION,
    *COUNT_OPTIONS,
    *READING_OPTIONS,
)

#: Of a command that compares the bands of scenes, and takes a season, but neither makes composites nor applies gains.
BAND_OPTIONS = (
    SOURCE,
    click.option(
        "--recipe",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="Take input and options from a file written by plan --write-recipe; options given here take precedence. "
        "Its season is used; its composites and gains are ignored.",
    ),
    *FILE_OPTIONS,
    click.option(
        "--value",
        metavar="INDEX|FORMULA",
        help="Compare the bands of this formula (ndvi: red and nir), instead of naming them with --bands.",
    ),
    *PIXEL_OPTIONS,
    *DATE_OPTIONS,
    SEASON_OPTION,
    *READING_OPTIONS,
)

NEEDS_OPTIONS = (
    click.option(
        "--min-valid",
        type=float,
        metavar="SHARE",
        help="Pixels with fewer valid layers than this share (0.5: half) get status 2 and no result.",
    ),
    click.option(
        "--min-span",
        type=float,
        metavar="SHARE",
        help="The same for pixels whose valid layers span less than this share of the whole time.",
    ),
)

COVARIATE_OPTION = click.option(
    "--with",
    "covariates",
    type=Parameter(),
    metavar="NAME=INPUT",
    multiple=True,
    help="A covariate for methods that take them, under this name: files, or a recipe; may be repeated. Layers are "
    "paired by calendar year, month, ...",
)

PARAMETER_OPTION = click.option(
    "-p",
    "--parameter",
    "parameters",
    type=Parameter(),
    multiple=True,
    help="Set a parameter of the method; may be repeated.",
)

JOB_OPTIONS = (
    click.option("--jobs", type=click.IntRange(min=1), help="Number of workers.  [default: usable cores]"),
    click.option(
        "--memory",
        metavar="SIZE",
        help="Memory limit, such as 4GiB: of all processes together, or of each worker with --executor dask or mpi.",
    ),
    click.option(
        "--executor",
        type=click.Choice(get_args(ExecutorName)),
        help="How to run workers.  [default: threads; processes for plain Python functions in larger jobs]",
    ),
    click.option(
        "--address",
        metavar="tcp://HOST:PORT|FILE",
        default="",
        help="Address of a Dask scheduler, or the file that it wrote.  [default: workers on this machine]",
    ),
)


LAYER_OPTIONS = (
    click.option(
        "--write",
        type=(click.Choice(get_args(Written)), click.Path(path_type=Path)),
        metavar="KIND FILE",
        multiple=True,
        help="Also write a stack with one band per date: fitted (the curve), residuals (values minus the curve), "
        "anomalies (values minus the mean of their month, half-month, dekad, ... in the base period), standardized "
        "(anomalies divided by the standard deviation of the same values), or deseasonalised (values minus the season "
        "that the method fits, and minus the mean of the rest). May be repeated.",
    ),
    click.option(
        "--base",
        metavar="FIRST..LAST",
        help="Base period of anomalies and standardized: 1991..2020.  [default: all years of the layers]",
    ),
    click.option(
        "--fdr",
        metavar="Q",
        help="Also write which pixels are significant at this false discovery rate, such as 0.1 (by:0.1 for Benjamini "
        "& Yekutieli): bands qvalue and significant.",
    ),
)


def output_options(help_: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add ``--output``, its type, compression and format, ``--overwrite``, ``--restart``, ``--trust-function``."""
    options = (
        click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help=help_),
        click.option(
            "--dtype",
            type=click.Choice(get_args(MapType)),
            default="float32",
            show_default=True,
            help="Data type of the output.",
        ),
        click.option(
            "--compress",
            type=click.Choice(get_args(Compression)),
            help="Compression of the output; Zarr has no lzw, NetCDF only deflate.  [default: zstd; NetCDF: deflate]",
        ),
        click.option(
            "--zarr-format",
            type=click.IntRange(*get_args(ZarrFormat)),
            default=3,
            show_default=True,
            help="Version of the format of Zarr outputs; GDAL 3.10 (QGIS) reads only 2, which has many more files.",
        ),
        *REPLACING_OPTIONS,
    )
    return functools.partial(_decorate, options=options)


def _decorate(command: Callable[..., Any], options: tuple[Any, ...]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command


def layer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--write``, ``--base`` and ``--fdr``; the command gets ``written``: these and `all_input_options`."""

    @functools.wraps(command)
    def with_output(
        *, write: tuple[tuple[str, Path], ...], base: str | None, fdr: str | None, needs: Any, **options: Any
    ) -> Any:
        from pixelwise.jobs.climatology import BasePeriod
        from pixelwise.jobs.output_spec import OutputSpec
        from pixelwise.maps.false_discovery import FalseDiscovery

        if len(dict(write)) < len(write):
            raise click.UsageError("--write names the same layers twice")
        period = None if base is None else BasePeriod.of(base)
        rate = None if fdr is None else FalseDiscovery.of(fdr)
        written = OutputSpec(needs=needs, write=dict(write), base=period, fdr=rate)
        return command(written=written, **options)

    return _decorate(with_output, LAYER_OPTIONS)


def job_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--jobs``, ``--memory``, ``--executor``, ``--address``."""
    return _decorate(command, JOB_OPTIONS)


def input_options(
    command: Callable[..., Any],
    composite: str | None = None,
    *,
    covariates: bool = False,
    seasonal: bool = False,
    instead: str = "",
) -> Callable[..., Any]:
    """Add INPUT... and the input options; the command gets ``source`` and ``spec``.

    `composite` is the default of ``--composite``. With `covariates` there are also ``--with``, ``--min-valid`` and
    ``--min-span``, and the command gets ``covariates``, texts by name, and ``needs``. If `seasonal`, it gets ``season``
    apart, there are no options for composites and gains, and those of a recipe do not count. INPUT may be left out if
    the option `instead` is given.
    """

    @functools.wraps(command)
    def with_spec(*, source: tuple[str, ...], recipe: str | None, **options: Any) -> Any:
        from pixelwise.dates.completeness import Completeness
        from pixelwise.stacks.spec import InputSpec

        spec, needs = InputSpec(), Completeness()
        stacks: dict[str, str] = {}
        if recipe is not None:
            from pixelwise.opening.recipe import check_no_code, read_recipe, to_run

            known, spec, stacks, needs = read_recipe(recipe)
            if seasonal:
                options["season"] = options["season"] or spec.season
                spec = _of_scenes(recipe, spec, named=bool(options["bands"]))
            elif options["composite"] is None and spec.composite is not None:
                check_no_code(recipe, spec, to_run(spec.composite))
            if not source:
                say_others(recipe, known)
            source = source or known
        if not source and not (instead and options.get(instead)):
            raise click.UsageError(missing_input(options.get("method")))
        check_words(click.get_current_context().info_name or "", options.get("method"), source, _bands_in(options))
        names = InputSpec.__dataclass_fields__
        given = {name: options.pop(name) for name in list(options) if name in names}
        if seasonal:
            options["season"] = given.pop("season")
        else:
            if given["composite"] not in (None, spec.composite):
                spec = spec.replace(composite_parameters=())  # a recipe has those of another function
            given["composite"] = given["composite"] or spec.composite or composite
        spec = spec.replace(**{name: value for name, value in given.items() if value not in (None, (), [])})
        if covariates:
            options["covariates"] = {**stacks, **_by_name(options["covariates"])}
            shares = {name: options.pop(name) for name in Completeness.__dataclass_fields__}
            options["needs"] = replace(needs, **{name: share for name, share in shares.items() if share is not None})
        return command(source=list(source), spec=spec, **options)

    more = (COVARIATE_OPTION, *NEEDS_OPTIONS) if covariates else ()
    options: tuple[Any, ...] = BAND_OPTIONS if seasonal else INPUT_OPTIONS
    if composite is not None:
        options = tuple(ONLY_PARAMETER if option is OF_COMPOSITE else option for option in options)
    return _decorate(with_spec, (*options, *more))


def _bands_in(options: Mapping[str, Any]) -> list[str] | None:
    """Return the bands that a command is to write."""
    bands = options.get("bands")
    return bands if isinstance(bands, list) else None


def say_others(recipe: str, source: Sequence[str]) -> None:
    """Warn of files that are named like the inputs of a recipe, but are not in it."""
    from pixelwise.opening.listed import warning_of_others

    if (warning := warning_of_others(recipe, source)) is not None:
        log.warning(warning)


def _of_scenes(recipe: str, spec: InputSpec, *, named: bool) -> InputSpec:
    """Return what a recipe says of scenes as they are, without its bands if others are named."""
    if spec.gains is not None:
        log.info("%s: its gains %s are ignored: rectify compares unrectified scenes", recipe, spec.gains)
    bare = {
        "composite": None,
        "every": "year",
        "season": None,
        "min_count": 1,
        "equal_count": None,
        "composite_parameters": (),
    }
    others = {"value": None, "band": None} if named else {}
    return spec.replace(**bare, **others, gains=None, gains_flagged="drop")


def _by_name(given: Sequence[tuple[str, str]]) -> dict[str, str]:
    names = [name for name, _ in given]
    for name in names:
        if names.count(name) > 1:
            raise click.UsageError(
                f"--with {name}=... is given twice; use a glob, a folder or @list.txt for several files"
            )
    return dict(given)


def all_input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add INPUT..., the input options, ``--with`` for covariates, and what a pixel needs for a result."""
    return input_options(command, covariates=True)


def scene_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add INPUT... and the input options of a command that always makes composites."""
    return input_options(command, composite="max")

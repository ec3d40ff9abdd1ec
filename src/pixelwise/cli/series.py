"""``pixelwise series``."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from pixelwise.choices import Per
from pixelwise.cli.completing import methods
from pixelwise.cli.options import PARAMETER_OPTION, Numbers, input_options
from pixelwise.cli.report import debug_option, emit
from pixelwise.errors import ParameterError

if TYPE_CHECKING:
    from pixelwise.dates.completeness import Completeness
    from pixelwise.rasters.points import Point
    from pixelwise.stacks.base import FileStack
    from pixelwise.stacks.fits import Fit
    from pixelwise.stacks.series import Series
    from pixelwise.stacks.spec import InputSpec

__all__ = ["series"]

HINT = "-o FILE.png draws this; --csv or --json prints every observation"


@click.command()
@functools.partial(input_options, covariates=True, instead="map_path")
@click.option(
    "--at", type=Numbers(count=2), metavar="X,Y", multiple=True, help="A point in the pixel; may be repeated."
)
@click.option(
    "--at-crs",
    metavar="CRS",
    help="CRS of the points, such as EPSG:4326 (longitude first).  [default: that of the inputs]",
)
@click.option(
    "--pixel",
    type=Numbers(int, count=2),
    metavar="ROW,COL",
    multiple=True,
    help="Row and column of the pixel, from 0 at the top left; may be repeated.",
)
@click.option(
    "--points",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.csv",
    help="A table of points: columns x and y in --at-crs, or lon and lat (EPSG:4326 unless --at-crs is given); "
    "and name, if they have names.",
)
@click.option(
    "--map",
    "map_path",
    type=click.Path(path_type=Path),
    metavar="MAP",
    help="Take inputs, options and method from a map that apply made, and show its numbers. Inputs outside its folder "
    "must be named, and options that name files given again.",
)
@click.option(
    "--method",
    shell_complete=methods,
    metavar="NAME|FILE.PY:FUNCTION",
    help="Method to apply; with --map, the function that made it.",
)
@PARAMETER_OPTION
@click.option("--per", type=click.Choice(get_args(Per)), help="Unit of time of changes.  [default: year]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Picture to write: .png, .pdf, .svg or .jpg. Up to 12 pixels share one; 'plot_{name}.png' makes one for each.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print one line per pixel and date, as CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--overwrite", is_flag=True, help="Replace an existing picture.")
@debug_option
def series(*, output: Path | None, as_csv: bool, as_json: bool, overwrite: bool, **asked: Any) -> None:
    r"""Show the series of single pixels, and their fits.

    INPUT and its options are those of `apply`. With --map alone, they are those of the map.

    \b
      pixelwise series ndvi/*.tif --at 39.71,7.04 --at-crs EPSG:4326 --method trend -o pixel.png
      pixelwise series --map trend.tif --pixel 85,322
      pixelwise series --map trend.tif --points plots.csv -o plots.pdf
      pixelwise series --map trend.tif --points plots.csv --csv > plots_series.csv

    The picture shows observations, when and why values are missing, the curve that the method fits, and its limits.
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json are mutually exclusive")
    question = _Asked(**asked)
    targets = _targets(output, len(question.places) or len(question.pixel), overwrite=overwrite)
    found, inputs = question.of_inputs() if question.map_path is None else question.of_map(question.map_path)
    written = _draw(found, targets, inputs, overwrite=overwrite)
    if as_json:
        emit(json.dumps({"pixels": [described(*one) for one in found]}, indent=2, allow_nan=False))
    elif as_csv:
        emit(_table(found).rstrip("\n"))
    else:
        for one in found:
            _show(*one)
        if not written:
            emit(HINT, error=True)
    for path in written:
        emit(str(path), error=as_json or as_csv, lines=False)


@dataclass(frozen=True)
class _Asked:
    """Which pixels are asked for, and of what; the attributes are the options of the command.

    Raises
    ------
    click.UsageError
        When options exclude each other.
    """

    source: list[str]
    spec: InputSpec
    covariates: Mapping[str, str]
    needs: Completeness
    at: Sequence[tuple[float, float]]
    at_crs: str | None
    pixel: Sequence[tuple[int, int]]
    points: Path | None
    map_path: Path | None
    method: str | None
    parameters: Sequence[tuple[str, str]]
    per: str | None

    def __post_init__(self) -> None:
        if bool(self.at) + bool(self.pixel) + (self.points is not None) != 1:
            raise click.UsageError("expected one of --at X,Y, --pixel ROW,COL and --points FILE.csv")
        if self.at_crs is not None and self.pixel:
            raise click.UsageError("--at-crs is for points: a pixel has a row and a column")
        of_method = "-p, --per, --with, --min-valid and --min-span"
        if self.parameters or self.per or self.covariates or self.needs:
            if self.map_path is not None:
                raise click.UsageError(f"{of_method} cannot be given with --map: they are those of the map")
            if self.method is None:
                raise click.UsageError(f"{of_method} need --method")

    @cached_property
    def places(self) -> tuple[Point, ...]:
        """The points; none if pixels are given."""
        from pixelwise.rasters.points import Point, read_points

        if self.points is not None:
            return read_points(self.points, self.at_crs)
        return tuple(Point(x, y, self.at_crs) for x, y in self.at)

    def of_map(self, path: Path) -> tuple[list[tuple[Series, Fit | None]], list[Path]]:
        """Return the series behind a map, with its numbers; and the files that are read."""
        from pixelwise.maps.map import open_map
        from pixelwise.maps.saving import inputs_of
        from pixelwise.series import origin_of

        options: dict[str, Any] = self.spec.as_dict()
        if self.spec.allow_scheme:
            options["allow_scheme"] = self.spec.allow_scheme
        map_ = open_map(path)
        origin = origin_of(map_, path, self.source or None, options=options, method=self.method)
        fits = origin.fits_at(self.places) if self.places else origin.fits(self.pixel)
        return [(fit.series, fit) for fit in fits], [*inputs_of(map_), *_files(origin.stack)]

    def of_inputs(self) -> tuple[list[tuple[Series, Fit | None]], list[Path]]:
        """Return the series of the inputs, with what the method says of them if there is one; and their files."""
        from pixelwise.methods.lookup import resolve_method
        from pixelwise.opening.pairing import open_covariate, pair
        from pixelwise.opening.survey import open_layers
        from pixelwise.rasters.points import pixel_at
        from pixelwise.stacks.series import Series, read_series

        method = None if self.method is None else resolve_method(self.method, None, dict(self.parameters))[0]
        stack = open_layers(self.source, self.spec)
        emit(str(stack), error=True)
        pairing = pair(stack, {name: open_covariate(text, self.spec) for name, text in self.covariates.items()})
        for text in pairing.warnings:
            emit(f"warning: {text}", error=True)
        pixels = [pixel_at(pairing.stack.grid, point) for point in self.places] or list(self.pixel)
        names, halo = [point.name for point in self.places], 0 if method is None else method.halo
        own = read_series(pairing.stack, pixels, names, halo=halo)
        files = [file for one in (stack, *pairing.inputs.values()) for file in _files(one)]
        if method is None:
            return [(one, None) for one in own], files
        others = {name: read_series(other, pixels) for name, other in pairing.inputs.items()}
        needs, per = self.needs, self.per or "year"
        fit = functools.partial(Series.fit, method=method, per=per, min_valid=needs.min_valid, min_span=needs.min_span)
        fits = [fit(one, inputs={name: other[i] for name, other in others.items()}) for i, one in enumerate(own)]
        return list(zip(own, fits, strict=True)), files


def _files(stack: FileStack) -> list[Path]:
    """Return the files of a stack, and those behind them."""
    return [place for place in {*stack.paths, *stack.stamps} if isinstance(place, Path)]


# Pictures


def _targets(output: Path | None, count: int, *, overwrite: bool) -> list[Path] | None:
    """Return the pictures to write, checked as far as their names are known; None to write none."""
    from pixelwise.maps.saving import check_output
    from pixelwise.pictures.chart import MOST_CHARTS

    if output is None:
        return None
    if "{name}" in output.name:
        return [output]
    if count > MOST_CHARTS:
        raise ParameterError(
            f"{count} pixels do not fit into one picture (at most {MOST_CHARTS}): -o "
            f"'{output.stem}_{{name}}{output.suffix}' makes one for each"
        )
    return [check_output(output, overwrite=overwrite)]


def _draw(
    found: Sequence[tuple[Series, Fit | None]],
    targets: Sequence[Path] | None,
    inputs: Sequence[Path],
    *,
    overwrite: bool,
) -> list[Path]:
    """Write the pictures, and return their names."""
    from pixelwise.maps.saving import check_output, save
    from pixelwise.pictures.chart import draw_charts
    from pixelwise.pictures.picture import import_matplotlib
    from pixelwise.stacks.fits import chart_of

    if targets is None:
        return []
    import_matplotlib()
    charts = [chart_of(*one) for one in found]
    (target,) = targets
    if "{name}" not in target.name:
        check_output(target, overwrite=overwrite, inputs=inputs)
        save(draw_charts(charts), target, overwrite=overwrite)
        return [target]
    names = [_file_name(one.name or f"{one.row}_{one.col}") for one, _ in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ParameterError(f"two points are called {twice!r}: a picture for each needs names that differ")
    paths = [target.with_name(target.name.replace("{name}", name)) for name in names]
    for place, path in enumerate(paths):
        check_output(path, overwrite=overwrite, inputs=inputs, outputs=paths[:place])
    for path, chart in zip(paths, charts, strict=True):
        save(draw_charts([chart]), path, overwrite=overwrite)
    return paths


def _file_name(name: str) -> str:
    """Return a name of a point as a part of a file's name."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)[:100]


# Numbers


def _show(one: Series, fit: Fit | None) -> None:
    """Print a series in a line, and the numbers of a method as a table; what a pixel does not have is left out."""
    from pixelwise.bands import STATUS_WORDS
    from pixelwise.stacks.fits import number_words, unit_words

    emit(str(one), lines=False)
    if fit is None:
        return
    emit(f"  {fit.words}", lines=False)
    if fit.note:
        emit(f"  {fit.note}", lines=False)
    rows = []
    for band in fit.bands:
        value = fit.numbers[band.name]
        if value is not None:
            number = str(value) if band.integer else number_words(value)
            rows.append((band.name, f"{number}{unit_words(band.unit)}", band.description))
    rows.append(("status", str(int(fit.status)), STATUS_WORDS[fit.status]))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, number, about in rows:
        emit(f"    {name:{widths[0]}}  {number:{widths[1]}}  {about}".rstrip(), lines=False)


def _rows(one: Series, fit: Fit | None) -> Iterator[dict[str, Any]]:
    """Yield one row for each date, with the curve and its limits where there are any."""
    import numpy as np

    kind = one.values.dtype.type
    curve = None if fit is None else fit.fitted
    low, high = (None, None) if fit is None else fit.limits
    for i, date in enumerate(one.labels):
        missing = bool(np.isnan(one.values[i]))
        # The shortest text that gives the same number in the type of the files.
        yield {
            "date": date,
            "year": float(one.years[i]),
            "value": None if missing else float(str(kind(one.values[i]))),
            "missing": one.gaps[i],
            "fitted": None if curve is None else float(curve[i]),
            "low": None if low is None else float(low[i]),
            "high": None if high is None else float(high[i]),
        }


def _table(found: Sequence[tuple[Series, Fit | None]]) -> str:
    """Return one line for each pixel and date."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ("date", "year", "value", "missing", "fitted", "low", "high")
    writer.writerow(("name", "row", "column", "x", "y", *columns))
    for one, fit in found:
        for row in _rows(one, fit):
            cells = ("" if row[column] is None else row[column] for column in columns)
            writer.writerow((one.name, one.row, one.col, one.x, one.y, *cells))
    return text.getvalue()


def described(one: Series, fit: Fit | None) -> dict[str, Any]:
    """Return a series and its fit, ready for JSON."""
    from pixelwise.bands import STATUS_WORDS
    from pixelwise.jobs.provenance import plain  # infinity as text: JSON has none

    found: dict[str, Any] = {
        "name": one.name,
        "row": one.row,
        "column": one.col,
        "x": one.x,
        "y": one.y,
        "crs": one.grid.crs_name,
        "quantity": one.quantity,
        "unit": one.unit,
        "inside": one.inside,
        "observations": list(_rows(one, fit)),
        "fit": None,
    }
    if fit is not None:
        found["fit"] = {
            "method": fit.method.name,
            "parameters": plain(fit.method.parameters),
            "words": fit.words,
            "status": int(fit.status),
            "status_words": STATUS_WORDS[fit.status],
            "confidence_level": fit.confidence,
            "limits": fit.limits_name,
            "bands": [
                {"name": b.name, "value": plain(fit.numbers[b.name]), "unit": b.unit, "description": b.description}
                for b in fit.bands
            ],
        }
    return found

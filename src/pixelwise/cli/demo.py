"""``pixelwise demo``."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pixelwise.cli.report import debug_option, emit

if TYPE_CHECKING:
    from pixelwise.demo import Comparison
    from pixelwise.maps.map import Map

__all__ = ["demo"]

#: What to do next, and the package that it needs.
NEXT = (
    ("matplotlib", "series --map {trend.tif} --points {places.csv} -o {places.png}"),
    ("exactextract", "zones {trend.tif} {districts.geojson} -o {districts.csv} --bands slope"),
    ("bokeh", "report {trend.tif} -o {report.html}"),
    ("", "info {trend.tif}"),
    ("", "series --map {trend.tif} --points {places.csv}"),
    ("", "verify {trend.tif}"),
)


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("pixelwise-demo"),
    show_default=True,
    help="Folder to write to.",
)
@click.option("--data-only", is_flag=True, help="Only write the scene.")
@debug_option
def demo(folder: Path, *, data_only: bool) -> None:
    """Run a complete job on a generated scene.

    Writes a scene of 856 x 853 pixels (width x height) and 21 years with gaps, the map trend.tif and the picture
    trend.png of method trend. Compares the time of method ols with that of a plain loop over scipy.stats.linregress,
    which computes the same slopes. The truth is known: districts.geojson says what happens where.
    """
    from pixelwise import demo as scene

    emit(f"writing 21 years of NDVI and rain to {folder} ...", error=True)
    scene.write_scene(folder)
    if data_only:
        emit(f"{folder / 'ndvi'}  NDVI, a GeoTIFF for each year from 1995 to 2015")
        emit(f"{folder / 'rain'}  rain in mm, likewise")
        emit(f"{folder / 'districts.geojson'}  seven districts, and what happens in each of them")
        emit(f"{folder / 'places.csv'}  a pixel of each kind")
        emit(f"\nnext\n  pixelwise plan {shlex.quote(str(folder / 'ndvi'))}")
        return
    emit("computing `ols`, and timing the plain loop on a sample of pixels ...", error=True)
    comparison = scene.compare(folder / "ndvi", folder / "ols.tif")
    emit("computing `trend` ...", error=True)
    map_, seconds = scene.map_trend(folder / "ndvi", folder / "trend.tif")
    say_times(comparison, len(scene.YEARS))
    emit(f"map      {folder / 'trend.tif'}, by `trend` in {seconds:.2f} s: {', '.join(map_.names)}")
    draw(map_, folder / "trend.png")
    emit("\nnext")
    for command in next_commands(folder):
        emit(f"  {command}")


def say_times(result: Comparison, years: int) -> None:
    """Print how long each way took to compute the same slopes."""
    pixels = result.map.grid.height * result.map.grid.width
    sampled = f"timed on {result.sampled} pixels, scaled"
    rows = [
        ("scipy.stats.linregress in a loop", result.loop, sampled),
        (f"the same in {result.processes} processes", result.loop_processes, sampled),
        ("pixelwise apply ols", result.pixelwise, f"median; the first run took {result.first:.2f} s"),
    ]
    if not result.sampled:
        emit(f"\npixelwise apply ols: {result.pixelwise:.2f} s for {pixels} pixels x {years} years ({rows[-1][2]})")
        emit("scipy is not installed: nothing was compared with scipy.stats.linregress\n")
        return
    emit(f"\nthe same slopes of {pixels} pixels x {years} years, computed in three ways")
    for name, seconds, note in rows:
        emit(f"  {name:34} {seconds:8.2f} s {result.loop / seconds:7.0f} x   ({note})")
    emit(f"largest relative difference of slope on the sample: {result.largest_difference:.1e} (the map is float32)\n")


def draw(map_: Map, path: Path) -> None:
    """Draw the map, and say what the picture shows; say why not where matplotlib is missing."""
    from pixelwise.errors import ParameterError
    from pixelwise.maps.saving import save
    from pixelwise.pictures.picture import import_matplotlib, plot_map

    try:
        import_matplotlib()
        save(plot_map(map_), path)
    except ParameterError as error:
        emit(f"no picture: {error}", error=True)
    else:
        emit(f"picture  {path}: green where NDVI rises, brown where it falls, dark if p < 0.05, grey without result")


def next_commands(folder: Path) -> list[str]:
    """Return three commands that work with the packages that are installed."""
    commands = [command for package, command in NEXT if not package or find_spec(package) is not None]
    return [f"pixelwise {_filled(command, folder)}" for command in commands[:3]]


def _filled(command: str, folder: Path) -> str:
    return re.sub(r"\{(.*?)\}", lambda name: shlex.quote(str(folder / name[1])), command)

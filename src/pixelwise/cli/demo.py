"""``pixelwise demo``."""

from __future__ import annotations

from pathlib import Path

import click

from pixelwise.cli.report import debug_option, emit

__all__ = ["demo"]


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("pixelwise-demo"),
    show_default=True,
    help="Folder to write to.",
)
@debug_option
def demo(folder: Path) -> None:
    """Run a complete job on a generated scene.

    Writes a scene of 853 x 856 pixels and 21 years with gaps, the map trend.tif and the picture trend.png, and compares
    the time with that of a plain loop over scipy.stats.linregress.
    """
    from pixelwise import demo as scene
    from pixelwise.errors import ParameterError

    emit(f"writing 21 GeoTIFFs to {folder / 'ndvi'} ...", error=True)
    paths = scene.write_scene(folder / "ndvi")
    emit("fitting, and timing the plain loop on a sample ...", error=True)
    result = scene.compare(folder / "ndvi", folder / "trend.tif")
    grid = result.map.grid
    pixels = grid.height * grid.width
    rows = [
        ("scipy.stats.linregress in a loop", result.loop, f"timed on {result.sampled} pixels, scaled"),
        (
            f"the same in {result.processes} processes",
            result.loop_processes,
            f"timed on {result.sampled} pixels, scaled",
        ),
        ("pixelwise apply ols", result.pixelwise, f"median; the first run took {result.first:.2f} s"),
    ]
    emit(f"\n{pixels} pixels x {len(paths)} years")
    if not result.sampled:
        emit(f"  pixelwise apply ols {result.pixelwise:8.2f} s   ({rows[-1][2]})")
        emit("scipy is not installed: nothing was compared with scipy.stats.linregress\n")
    for name, seconds, note in rows if result.sampled else []:
        emit(f"  {name:34} {seconds:8.2f} s {result.loop / seconds:7.0f} x   ({note})")
    if result.sampled:
        difference = f"{result.largest_difference:.1e} (the map is float32)"
        emit(f"largest relative difference of slope on the sample: {difference}\n")
    emit(f"map      {folder / 'trend.tif'}  ({', '.join(result.map.names)})")
    try:
        from pixelwise.maps.saving import save
        from pixelwise.pictures.picture import import_matplotlib, plot_map

        import_matplotlib()
        save(plot_map(result.map), folder / "trend.png")
    except ParameterError as error:
        emit(f"no picture: {error}", error=True)
    else:
        emit(f"picture  {folder / 'trend.png'}")

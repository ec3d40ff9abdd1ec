"""Where things are on a picture: axes, north, scale bar, overlay, and nothing cut off."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from pyproj import Geod, Transformer

import pixelwise as pw
from pixelwise.pictures import drawing
from pixelwise.pictures.palettes import MISSING_COLOR, shades
from pixelwise.pictures.picture import plot_map
from pixelwise.pictures.thinned import MOST_PIXELS, MOST_SAMPLES
from support.drawn import (
    COUNT,
    NAN,
    PVALUE,
    SLOPE,
    areas,
    headings,
    image_of,
    key_title,
    make_map,
    painted,
    row,
    shares,
    trend_map,
)

LONG = pw.Band("slope", "words " * 60, "1/year", kind="change", pvalue="pvalue")


def named_map() -> pw.Map:
    """Return a map whose names are long."""
    provenance = {"method": "a_module_with_a_long_name.py:a_function_with_a_long_name_too" * 3}
    return make_map((LONG, PVALUE), np.ones((30, 40)), np.ones((30, 40)), provenance=provenance,
                    transform=Affine(1e-4, 0, 123456.7, 0, -1e-4, 7654321.1))  # fmt: skip


GRIDS = {
    "square": trend_map(50, 50),
    "wide": trend_map(10, 60),
    "tall": trend_map(60, 10),
    "strip": trend_map(3, 400),
    "one row": trend_map(1, 300),
    "one column": trend_map(300, 1),
    "pixel": trend_map(1, 1),
    "global": trend_map(45, 90, crs="EPSG:4326", transform=Affine(4, 0, -180, 0, -4, 90)),
    "polar": trend_map(20, 90, crs="EPSG:4326", transform=Affine(1, 0, 0, 0, -1, 90)),
    "antimeridian": trend_map(30, 40, crs="EPSG:4326", transform=Affine(0.5, 0, 170, 0, -0.5, 67.5)),
    "rotated": trend_map(transform=Affine(30, 5, 500000, 5, -30, 3400000)),
    "feet": trend_map(crs="EPSG:2263"),
    "sinusoidal": trend_map(crs="+proj=sinu +R=6371007.181 +units=m", transform=Affine(463, 0, -5.5e6, 0, -463, 3.3e6)),
    "nowhere": trend_map(crs=None, transform=Affine.identity()),
    "local": trend_map(crs=None),
    "long names": named_map(),
    "all missing": make_map((SLOPE, PVALUE), np.full((5, 5), NAN), np.full((5, 5), NAN)),
}


def boxes_of(figure: Any) -> list[Any]:
    renderer = figure.canvas.get_renderer()
    maps = [axes for axes in figure.axes if axes.images]
    bars = [axes for axes in figure.axes if not axes.images]
    legends = [legend for legend in figure.legends if legend.get_texts()]
    return [
        *(axes.get_tightbbox(renderer) for axes in (*maps, *bars)),
        *(item.get_window_extent(renderer) for item in (*legends, *figure.texts)),
    ]


def assert_tidy(figure: Any) -> None:
    """Check that nothing is cut off or overlaps."""
    figure.canvas.draw()
    boxes, whole = boxes_of(figure), figure.bbox
    for i, box in enumerate(boxes):
        assert box.x0 >= -0.5, i
        assert box.y0 >= -0.5, i
        assert box.x1 <= whole.x1 + 0.5, i
        assert box.y1 <= whole.y1 + 0.5, i
        assert not any(box.overlaps(other) for other in boxes[i + 1 :]), i
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            drawn = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            ticks_ = [label.get_window_extent() for label in drawn if label.get_text()]
            assert not any(a.overlaps(b) for i, a in enumerate(ticks_) for b in ticks_[i + 1 :])


@pytest.mark.parametrize("classes", ["trend", "quintile", "continuous"])
@pytest.mark.parametrize("name", GRIDS)
def test_nothing_is_cut_off_or_overlaps(name: str, classes: str) -> None:
    figure = plot_map(GRIDS[name], classes=classes)
    assert_tidy(figure)
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        assert any(label.get_text() for label in axis.get_ticklabels())


@pytest.mark.parametrize("name", ["square", "wide", "tall", "global", "long names"])
def test_several_bands_are_drawn_side_by_side(name: str) -> None:
    figure = plot_map(GRIDS[name], ["slope", "pvalue", "slope"])
    assert_tidy(figure)
    first, second, third = (axes.get_position() for axes in figure.axes)
    assert first.x1 < second.x0
    assert third.y1 < first.y0
    assert len({round(box.width, 4) for box in (first, second, third)}) == 1


def ticks(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_axes_of_a_projected_grid_name_the_crs() -> None:
    axes = plot_map(trend_map()).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Easting (m, EPSG:32617)", "Northing (m)")
    assert (axes.get_xlim(), axes.get_ylim()) == ((500000, 501200), (3399100, 3400000))
    assert axes.get_aspect() == 1
    assert ticks(axes.xaxis) == ["500000", "500250", "500500", "500750", "501000"]
    assert all(text.isdigit() for text in ticks(axes.yaxis))


def test_axes_of_a_geographic_grid_across_the_antimeridian() -> None:
    axes = plot_map(GRIDS["antimeridian"]).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("longitude (EPSG:4326)", "latitude")
    assert axes.get_aspect() == pytest.approx(2)  # 1 / cos 60°
    assert ticks(axes.xaxis) == ["170°E", "180°", "170°W"]
    assert ticks(axes.yaxis)[-1] == "65°N"


def test_axes_without_coordinates_count_pixels() -> None:
    for name in ("rotated", "nowhere"):
        axes = plot_map(GRIDS[name]).axes[0]
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("column (pixels)", "row (pixels)")
        assert (axes.get_xlim(), axes.get_ylim()) == ((0, 40), (30, 0))
    axes = plot_map(GRIDS["local"]).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")


@pytest.mark.parametrize(
    ("transform", "first_row_on_top", "first_column_left"),
    [
        (Affine(30, 0, 0, 0, -30, 0), True, True),
        (Affine(30, 0, 0, 0, 30, 0), False, True),
        (Affine(-30, 0, 0, 0, -30, 0), True, False),
        (Affine(30, 5, 0, 5, -30, 0), True, True),
    ],
)
def test_north_is_up(transform: Affine, first_row_on_top: bool, first_column_left: bool) -> None:
    values = np.full((20, 20), -1.0)
    values[:10, :10] = 1.0
    figure = plot_map(make_map((SLOPE,), values, transform=transform, crs=None))
    image = painted(figure)
    x0, y0, x1, y1 = figure.axes[0].get_window_extent().extents
    quarter = {
        (top, left): tuple(
            image[
                int(image.shape[0] - (y0 + (y1 - y0) * (0.75 if top else 0.25))),
                int(x0 + (x1 - x0) * (0.25 if left else 0.75)),
            ]
        )
        for top in (True, False)
        for left in (True, False)
    }
    teal = tuple(bytes.fromhex(shades("greening", 1, 1)[0][1:]))
    assert [place for place, color in quarter.items() if color == teal] == [(first_row_on_top, first_column_left)]


# --- scale bar ----------------------------------------------------------------------------------------------------


def scale_bar(figure: Any) -> tuple[float, float] | None:
    """Return kilometres that the bar is said to be, and its share of the width of the map."""
    axes = figure.axes[0]
    if not axes.texts:
        return None
    (text,), (line,) = axes.texts, axes.lines
    number, unit = text.get_text().split(" ")[:2]
    ends = line.get_xdata()
    return float(number) / (1000 if unit == "m" else 1), float(ends[1] - ends[0])


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32617", Affine(30, 0, 500000, 0, -30, 3400000)),
        ("EPSG:4326", Affine(0.05, 0, 20, 0, -0.05, 62)),
        ("EPSG:3857", Affine(500, 0, 1500000, 0, -500, 9000000)),
        ("EPSG:2263", Affine(90, 0, 900000, 0, -90, 200000)),
        ("+proj=sinu +R=6371007.181 +units=m", Affine(463.3, 0, -5559752, 0, -463.3, 3335851)),
        ("EPSG:32617", Affine(0.1, 0, 500000, 0, -0.1, 3400000)),
    ],
)
def test_the_scale_bar_is_as_long_as_it_says(crs: str, transform: Affine) -> None:
    map_ = make_map((SLOPE, PVALUE), np.ones((60, 80)), np.ones((60, 80)), crs=crs, transform=transform)
    found = scale_bar(plot_map(map_))
    assert found is not None
    system = pw.Grid(map_.grid.crs, transform, 60, 80).crs
    to_degrees = Transformer.from_crs(system.to_wkt(), "EPSG:4326", always_xy=True)
    y = transform.f + 30 * transform.e
    (west, south), (east, north) = (to_degrees.transform(x, y) for x in (transform.c, transform.c + 80 * transform.a))
    _, _, metres = Geod(ellps="WGS84").inv(west, south, east, north)
    km, share = found
    # The sphere of the same area, and a parallel instead of a geodesic: nobody sees half a per cent.
    assert km / share == pytest.approx(metres / 1000, rel=0.005)
    assert 0.1 < share <= 0.2500001
    assert f"{km:.0e}"[0] in "125"


def test_where_no_single_scale_is_right_there_is_no_bar() -> None:
    for name in ("global", "polar", "nowhere", "local", "one row", "one column"):
        assert scale_bar(plot_map(GRIDS[name])) is None


def test_a_scale_bar_of_a_map_in_degrees_says_where_it_is_right() -> None:
    options: dict[str, Any] = {"crs": "EPSG:4326"}
    for rows, label in ((20, "500 km at 61°N"), (3, "500 km")):
        map_ = make_map(
            (SLOPE,), np.ones((rows, 37)), transform=Affine(1, 0, -178, 0, -1, 71 - 10 + rows / 2), **options
        )
        assert plot_map(map_).axes[0].texts[0].get_text() == label


def test_the_name_of_a_scale_bar_stays_on_a_small_map() -> None:
    transform = Affine(1, 0, -178, 0, -1, 71)
    for left in (True, False):
        values = np.ones((20, 37))
        values[15:, :9] = NAN if left else 1
        values[15:, -9:] = 1 if left else NAN
        axes = plot_map(make_map((SLOPE,), values, crs="EPSG:4326", transform=transform), width=4).axes[0]
        text, frame = axes.texts[0].get_window_extent(), axes.get_window_extent()
        assert frame.x0 <= text.x0 <= text.x1 <= frame.x1


def test_the_scale_bar_lies_where_there_are_no_values() -> None:
    for top, left in ((True, True), (True, False), (False, True), (False, False)):
        values = np.ones((40, 40))
        values[slice(0, 12) if top else slice(28, 40), slice(0, 12) if left else slice(28, 40)] = NAN
        line = plot_map(make_map((SLOPE,), values)).axes[0].lines[0]
        assert (line.get_ydata()[0] > 0.5, line.get_xdata()[0] < 0.5) == (top, left)


# --- overlay ------------------------------------------------------------------------------------------------------


def write_square(path: Path, west: float, south: float, east: float, north: float) -> Path:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    shape = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [shape]}))
    return path


def test_outlines_of_polygons_lie_where_they_belong(tmp_path: Path) -> None:
    map_ = trend_map(30, 40, crs="EPSG:4326", transform=Affine(0.1, 0, 10, 0, -0.1, 50))
    figure = plot_map(map_, overlay=write_square(tmp_path / "square.geojson", 11, 48, 12.5, 49))
    lines = figure.axes[0].collections[-1].get_segments()
    xs, ys = np.concatenate(lines).T
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == pytest.approx((11, 12.5, 48, 49), abs=1e-6)
    assert len(figure.axes[0].collections) == 2  # dark on white
    projected = plot_map(trend_map(), overlay=write_square(tmp_path / "utm.geojson", -80.998, 30.727, -80.992, 30.731))
    xs, ys = np.concatenate(projected.axes[0].collections[-1].get_segments()).T
    expected = Transformer.from_crs("EPSG:4326", "EPSG:32617", always_xy=True).transform(
        [-80.998, -80.992], [30.727, 30.731]
    )
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == pytest.approx(
        (*expected[0], *expected[1]), abs=2
    )  # metres: meridians are no grid lines


def test_polygons_elsewhere_are_refused(tmp_path: Path) -> None:
    away = write_square(tmp_path / "away.geojson", 100, 10, 101, 11)
    with pytest.raises(pw.InputError, match="overlay"):
        plot_map(trend_map(), overlay=away)
    with pytest.raises(pw.PixelwiseError, match=r"none\.gpkg"):
        plot_map(trend_map(), overlay=tmp_path / "none.gpkg")


# --- large maps ---------------------------------------------------------------------------------------------------


def test_a_wide_image_is_thinned_but_counted_in_full() -> None:
    values = np.zeros((5, 4001), np.float32)
    values[:, 1] = NAN  # a column that the picture leaves out
    values[:, 2001:] = 1
    figure = plot_map(make_map((SLOPE,), values, transform=Affine(1, 0, 0, 0, -1, 0), crs=None))
    image = figure.axes[0].images[0]
    assert image.get_array().shape == (5, MOST_SAMPLES, 3)
    assert image.get_extent() == [0, 4001, -5, 0]
    assert shares(figure) == {"1": 50, "0": 50, "missing": 0.05}
    assert "estimated" not in key_title(figure)


def test_large_maps_are_read_thinly_and_the_legend_says_so(tmp_path: Path) -> None:
    # Half of it rises, in the north, where pixels are smaller; three quarters of the rest are not tested.
    height, width = 4000, 4400
    assert height * width > MOST_PIXELS
    slope = np.ones((height, width), np.float32)
    slope[height // 2 :] = -1
    pvalue = np.full((height, width), 0.01, np.float32)
    pvalue[height // 2 :, width // 4 :] = NAN
    map_ = make_map((SLOPE, PVALUE), slope, pvalue, crs="EPSG:4326", transform=Affine(0.01, 0, 10, 0, -0.01, 70))
    figure = plot_map(map_)
    assert key_title(figure).splitlines() == [
        "slope",
        "share of the area",
        "estimated from every 3rd row and 3rd column",
    ]
    image = image_of(figure)
    assert (len(image), len(image[0])) == (MOST_SAMPLES, MOST_SAMPLES)
    sines = np.sin(np.radians([70, 50, 30]))  # the sphere is near enough
    north, south = sines[0] - sines[1], sines[1] - sines[2]
    found = shares(figure)
    assert found["significant increase, p < 0.05"] == pytest.approx(100 * north / (north + south), abs=0.5)
    assert found["not tested"] == pytest.approx(75 * south / (north + south), abs=0.5)
    whole = 6371.007**2 * np.radians(44) * (north + south)
    assert sum(areas(figure).values()) == pytest.approx(whole, rel=0.005)
    assert figure.axes[0].get_xlim() == (10, pytest.approx(54))


# --- figures ------------------------------------------------------------------------------------------------------


def test_a_picture_has_the_width_that_is_asked_for() -> None:
    for name in ("square", "wide", "tall"):
        figure = plot_map(GRIDS[name], width=9.5)
        assert figure.get_figwidth() == 9.5
        assert_tidy(figure)
    figure = plot_map(GRIDS["square"], ["slope", "pvalue"], width=12)
    assert figure.get_figwidth() == 12
    assert_tidy(figure)


def test_map_plot_draws_the_band_asked_for() -> None:
    assert key_title(plot_map(trend_map())).startswith("slope\n")
    assert key_title(trend_map().plot("pvalue")).startswith("pvalue\n")


def test_missing_pixels_have_a_colour_of_their_own() -> None:
    assert image_of(plot_map(make_map((SLOPE,), row(NAN, 1, -1))))[0][0] == MISSING_COLOR


def test_a_figure_is_unknown_to_pyplot() -> None:
    code = (
        "import sys, numpy as np, pixelwise.cli.plot, pixelwise.cli.classify, pixelwise.pictures.picture\n"
        "import pixelwise.pictures.paper, pixelwise.maps.classified, pixelwise.maps.foreign\n"
        "loaded = [name for name in sys.modules if name.startswith(('matplotlib', 'pyproj', 'mapclassify'))]\n"
        "assert not loaded, loaded\n"
        "import pixelwise as pw\n"
        "grid = pw.Grid(None, __import__('affine').Affine.identity(), 2, 2)\n"
        "pw.Map(grid, (pw.Band('a'),), arrays={'a': np.eye(2)}).plot()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_a_notebook_shows_a_figure() -> None:
    assert plot_map(trend_map())._repr_png_().startswith(b"\x89PNG")


def test_figures_are_drawn_alike_in_threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda _: painted(plot_map(GRIDS["square"])), range(4)))
    assert all(np.array_equal(drawn[0], other) for other in drawn[1:])


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(pw.ParameterError, match=r'drawing needs matplotlib: pip install "pixelwise\[plot\]"'):
        plot_map(trend_map())


def test_without_mapclassify_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mapclassify", None)
    with pytest.raises(pw.ParameterError, match=r'classes fisher need mapclassify: pip install "pixelwise\[plot\]"'):
        plot_map(trend_map(), classes="fisher:3")


def test_a_curvilinear_map_has_shares_of_pixels() -> None:
    grid = trend_map().grid
    assert drawing.Place.of(grid).ratio == pytest.approx(40 / 30)
    assert headings(plot_map(make_map((COUNT,), np.ones((3, 3), np.int32), crs=None))) == [
        "Number of observations", "band n",
    ]  # fmt: skip

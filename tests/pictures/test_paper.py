"""The figure for a paper: width, fonts, panels, caption."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from pyproj import Geod
from rasterio.crs import CRS

import pixelwise as pw
from pixelwise.maps.saving import save
from pixelwise.pictures.paper import histogram_of, plot_paper
from pixelwise.pictures.picture import plot_map
from support.drawn import COUNT, NAN, PVALUE, SLOPE, entries, headings, make_map, row, trend_map


def whole_map() -> pw.Map:
    random = np.random.default_rng(3)
    slope = random.normal(0.02, 0.01, (30, 40))
    slope[:3] = NAN
    n = random.integers(15, 20, (30, 40)).astype(np.int32)
    provenance = {
        "method": "ols", "versions": {"pixelwise": "9.9"},
        "input": {"layers": 5, "first": "2001-01-01", "last": "2005-01-01", "layers_used": [{"precision": "year"}],
                  "files": [{"path": "ndvi_2001.tif"}]},
    }  # fmt: skip
    return make_map((SLOPE, PVALUE, COUNT), slope, random.random((30, 40)), n, provenance=provenance)


def test_four_panels_with_letters() -> None:
    figure, caption = plot_paper(whole_map())
    assert headings(figure) == []
    letters = [axes.get_title(loc="left") for axes in figure.axes]
    assert [letter for letter in letters if letter.startswith("(")] == ["(a)", "(b)", "(c)", "(d)"]
    lines = caption.splitlines()
    assert lines[0] == (
        "NDVI change per year, 2001 to 2005. (a) change per year; (b) classes, with their shares of the area with "
        "values; (c) number of observations; (d) share of the area by value (the bars at the ends include "
        "all values beyond)."
    )
    assert lines[1] == "Method ols, band slope: Change per year of the fitted line; 5 layers."
    assert lines[3:] == [
        "Grey: no value (10.0 % of the area).",
        "Coordinates: EPSG:32617.",
        "Computed with pixelwise 9.9.",
    ]


def test_the_caption_repeats_the_legend() -> None:
    figure, caption = plot_paper(whole_map(), significant=0.1)
    said = next(line for line in caption.splitlines() if line.startswith("Of the area with values: "))
    classes = [entry for entry in entries(figure, 1) if not entry.startswith("missing")]
    for entry in classes:
        label, _, amount = entry.rpartition(" (")
        share, _, area = amount.rstrip(")").partition(", ")
        assert (f"{label}: {share} ({area})" in said) == (share != "0 %")


def test_bars_are_the_shares_of_the_area() -> None:
    # Rows at the equator, at 60 and at 80 degrees north: half and a sixth of the area of the first.
    transform = Affine(10, 0, 0, 0, -40, 100)
    grid = pw.Grid(CRS.from_epsg(4326), transform, 3, 2)
    values = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, NAN]])
    found = histogram_of(make_map((SLOPE,), values, crs="EPSG:4326", transform=transform), "slope")
    geod, km2 = Geod(ellps="WGS84"), []
    for row_ in range(3):
        left, top = grid.transform @ (0, row_)
        # Along parallels, in small steps.
        east = np.linspace(left, left + 10, 2000)
        lon = np.concatenate([east, east[::-1]])
        lat = np.repeat([min(top, 90), top - 40], 2000)
        km2.append(abs(geod.polygon_area_perimeter(lon, lat)[0]) / 1e6)
    whole = 2 * km2[0] + 2 * km2[1] + km2[2]
    middle = int(np.searchsorted(found.edges, 2.0, side="right")) - 1
    assert found.shares[[0, middle, -1]] == pytest.approx(
        [2 * km2[0] / whole, 2 * km2[1] / whole, km2[2] / whole], rel=1e-4
    )
    assert found.whole == "area"
    figure, _ = plot_paper(make_map((SLOPE,), values, crs="EPSG:4326", transform=transform))
    assert figure.axes[-1].get_ylabel() == "share of area (%)"
    figure, caption = plot_paper(make_map((SLOPE,), values, crs=None))
    assert figure.axes[-1].get_ylabel() == "share of pixels (%)"
    assert "share of the pixels by value" in caption


def test_bars_are_the_shares_of_pixels() -> None:
    values = whole_map()["slope"]
    found = histogram_of(whole_map(), "slope")
    assert found.shares.sum() == pytest.approx(1)
    known = values[np.isfinite(values)]
    expected, _ = np.histogram(known, found.edges)
    assert np.allclose(found.shares[1:-1], expected[1:-1] / known.size)
    assert found.shares[0] == pytest.approx((known < found.edges[1]).mean())
    assert len(found.colors) == len(found.shares)
    outside = make_map((SLOPE,), row(1, 2, 50), status=[[0, 0, 9]])
    assert histogram_of(outside, "slope").edges[-1] <= 2
    assert histogram_of(make_map((SLOPE,), row(NAN)), "slope").shares.sum() == 0
    assert histogram_of(make_map((SLOPE,), row(2, 2)), "slope").shares.sum() == 1


@pytest.mark.parametrize("width", [84, 170])
def test_the_width_is_exact(tmp_path: Path, width: int) -> None:
    figure, _ = plot_paper(whole_map(), width=width / 25.4)
    save(figure, tmp_path / "a.pdf")
    found = re.search(rb"/MediaBox \[ ?0 0 ([0-9.]+) ", (tmp_path / "a.pdf").read_bytes())
    assert found is not None
    assert float(found[1]) / 72 * 25.4 == pytest.approx(width, abs=0.01)
    save(figure, tmp_path / "a.svg")
    found = re.search(rb'width="([0-9.]+)pt"', (tmp_path / "a.svg").read_bytes())
    assert found is not None
    assert float(found[1]) / 72 * 25.4 == pytest.approx(width, abs=0.01)


def test_the_default_is_two_columns_of_a_journal() -> None:
    assert plot_paper(whole_map())[0].get_figwidth() == pytest.approx(170 / 25.4)


def test_fonts_are_embedded_as_outlines_that_journals_take(tmp_path: Path) -> None:
    save(plot_paper(whole_map())[0], tmp_path / "a.pdf")
    content = (tmp_path / "a.pdf").read_bytes()
    parts = [content]
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL):
        try:
            parts.append(zlib.decompressobj().decompress(stream))
        except zlib.error:
            continue
    text = b"\n".join(parts)
    assert b"/FontFile2" in text
    assert b"/Subtype /Type3" not in text
    assert b"/CIDFontType2" in text or b"/TrueType" in text


LONG = [pytest.param(width, marks=pytest.mark.long) for width in (100, 120, 140)]


@pytest.mark.parametrize("width", [None, 85, *LONG])
def test_nothing_overlaps_or_is_cut_off(width: float | None) -> None:
    inches = None if width is None else width / 25.4
    maps = (whole_map(), trend_map(10, 60), trend_map(60, 10))
    figures = [*(plot_paper(map_, width=inches)[0] for map_ in maps), *(plot_map(map_, width=inches) for map_ in maps)]
    for figure in figures:
        assert width is None or figure.get_figwidth() == pytest.approx(inches)
        figure.canvas.draw()
        boxes = [axes.get_tightbbox() for axes in figure.axes]
        legends = [legend.get_window_extent() for legend in figure.legends if legend.get_texts()]
        for i, box in enumerate([*boxes, *legends]):
            assert box.x0 >= -1, i
            assert box.x1 <= figure.bbox.x1 + 1, i
            assert box.y0 >= -1, i
            assert box.y1 <= figure.bbox.y1 + 1, i
        assert not any(a.overlaps(b) for i, a in enumerate(legends) for b in legends[i + 1 :])


def test_a_figure_that_cannot_be_so_narrow_is_refused() -> None:
    with pytest.raises(pw.ParameterError, match=r"width 30 mm is too narrow for the maps and their legends: the least"):
        plot_paper(whole_map(), width=30 / 25.4)


def test_a_constant_number_of_observations_is_said_not_drawn() -> None:
    values = np.linspace(-1, 1, 12).reshape(3, 4)
    n = np.full((3, 4), 32, np.int32)
    n[0, 0] = 0
    figure, caption = plot_paper(make_map((SLOPE, COUNT), values, n))
    assert "(c) share of the" in caption
    assert "number of observations" not in caption
    assert "All pixels with observations have 32 of them." in caption.splitlines()
    letters = [axes.get_title(loc="left") for axes in figure.axes]
    assert "(d)" not in letters


def test_a_figure_taller_than_a_page_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    height = round(25.4 * plot_paper(trend_map(60, 10), width=85 / 25.4)[0].get_figheight())
    assert height > 240
    [said] = caplog.messages
    assert said.startswith(
        f"the figure is 85 mm wide and {height} mm high, but pages of journals have at most 240 mm: "
    )
    assert "choose a larger width, such as 170 mm" in said
    caplog.clear()
    plot_paper(whole_map())
    assert not caplog.messages


def test_codes_have_classes_only() -> None:
    map_ = make_map((SLOPE,), row(1, 2), status=[[0, 1]])
    figure, caption = plot_paper(map_, "status")
    assert len(figure.axes) == 1
    assert "(a) classes" in caption


def test_a_title_and_the_options_of_maps() -> None:
    figure, _ = plot_paper(whole_map(), classes="equal:4", palette="warming", title="Mine")
    assert headings(figure) == ["Mine"]
    assert len(entries(figure, 1)) == 5
    with pytest.raises(pw.ParameterError, match="unknown band 'x'"):
        plot_paper(whole_map(), "x")


def test_captions_take_names_literally() -> None:
    odd = pw.Band("a\x1b[31m", "<b>\n$x$")
    _, caption = plot_paper(make_map((odd,), row(1, 2), provenance={"versions": {"pixelwise": "\x07"}}))
    assert all(line.isprintable() for line in caption.splitlines())


def test_a_map_without_crs() -> None:
    _, caption = plot_paper(make_map((SLOPE,), row(1, NAN), crs=None))
    assert "the pixels with values" in caption
    assert "None" not in caption

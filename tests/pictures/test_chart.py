"""Charts of series: what the figure shows, read from the figure."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

import pixelwise as pw
from pixelwise.pictures.chart import MOST_CHARTS, Chart, Curve, draw_charts

YEARS = np.arange(2000.0, 2012)
VALUES = np.array([1, 2, np.nan, 3, 2, 4, np.nan, np.nan, 5, 4, 6, 5.0])
LINE = Curve(YEARS, 1 + 0.4 * (YEARS - 2000), YEARS * 0 - 1, YEARS * 0 + 7, "95 % confidence band of the line", "ols")


def chart(**changes: Any) -> Chart:
    usual: dict[str, Any] = {
        "title": "Pixel row 1, column 2 (x 3, y 4, EPSG:4326)",
        "subtitle": "slope 0.4 per year, p = 0.01, n = 9",
        "label": "ndvi",
        "years": YEARS,
        "values": VALUES,
        "gaps": {"masked": YEARS[[2, 6]], "no data": YEARS[[7]]},
        "index": np.arange(12),
    }
    return Chart(**{**usual, **changes})


def legend(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_what_is_drawn() -> None:
    figure = draw_charts([chart(curve=LINE)])
    figure.canvas.draw()
    (axes,) = figure.axes
    joined, points, line, masked, no_data = axes.lines[:5]
    np.testing.assert_array_equal(joined.get_ydata(), VALUES)  # NaN breaks the line
    np.testing.assert_array_equal(points.get_xdata(), YEARS[~np.isnan(VALUES)])
    np.testing.assert_array_equal(line.get_ydata(), LINE.values)
    assert masked.get_xdata().tolist() == [2002, 2006]
    assert no_data.get_xdata().tolist() == [2007]
    # Shapes differ, so that a grey print tells them apart.
    assert (masked.get_marker(), no_data.get_marker(), masked.get_markerfacecolor()) == ("o", "|", "white")
    assert [isinstance(one, PolyCollection) for one in axes.collections] == [True]
    assert legend(figure) == [
        "observation", "95 % confidence band of the line", "fitted: ols", "missing: masked", "missing: no data",
    ]  # fmt: skip
    assert texts(axes) == [
        "slope 0.4 per year, p\xa0=\xa00.01, n\xa0=\xa09",
        "Pixel row 1, column 2 (x 3, y 4, EPSG:4326)",
    ]
    assert axes.get_ylabel() == "ndvi"
    assert axes.get_xlabel() == "year"
    assert [label.get_text() for label in axes.get_xticklabels()][1:-1] == [f"{year}" for year in range(2000, 2012, 2)]
    assert figure._repr_png_()[:4] == b"\x89PNG"


def test_marks_of_missing_values_are_below_all_values() -> None:
    figure = draw_charts([chart()])
    figure.canvas.draw()
    (axes,) = figure.axes
    marks = axes.lines[2]
    _, on_screen = axes.get_xaxis_transform().transform((0, marks.get_ydata()[0]))
    assert axes.transData.inverted().transform((0, on_screen))[1] < np.nanmin(VALUES) - 0.05


def test_layers_that_do_not_exist_break_the_line_too() -> None:
    index = np.array([0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13])
    (axes,) = draw_charts([chart(values=np.arange(12.0), gaps={}, index=index, years=2000.0 + index)]).axes
    drawn = axes.lines[0].get_ydata()
    assert np.flatnonzero(np.isnan(drawn)).tolist() == [8]
    (axes,) = draw_charts([chart(values=np.arange(12.0), gaps={}, index=None)]).axes
    assert not np.isnan(axes.lines[0].get_ydata()).any()


@pytest.mark.parametrize(
    ("values", "gaps"), [(np.full(12, np.nan), {"no data": YEARS}), (np.where(YEARS == 2004, 0.3, np.nan), {}),
                         (np.full(12, 5.0), {}), (np.zeros(12), {})]
)  # fmt: skip
def test_series_without_a_scale(values: Any, gaps: Any) -> None:
    figure = draw_charts([chart(values=values, gaps=gaps)])
    figure.canvas.draw()
    (axes,) = figure.axes
    assert ("no observation" in texts(axes)) == bool(np.isnan(values).all())
    low, high = axes.get_ylim()
    assert low < high
    assert np.isnan(values).all() or low < np.nanmin(values) <= np.nanmax(values) < high


def test_wide_limits_do_not_flatten_the_observations() -> None:
    wide = Curve(YEARS, LINE.values, LINE.values - 1000, LINE.values + 1000, "limits", "trend")
    (axes,) = draw_charts([chart(curve=wide)]).axes
    low, high = axes.get_ylim()
    assert high - low < 3 * (np.nanmax(VALUES) - np.nanmin(VALUES))


def test_short_series_are_labelled_by_months() -> None:
    years = 2015.5 + np.arange(12) / 12
    figure = draw_charts([chart(years=years, gaps={})])
    figure.canvas.draw()
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["Jul 2015", "Sep 2015", "Nov 2015", "Jan 2016", "Mar 2016", "May 2016"]


def test_small_multiples_share_a_legend_and_keep_their_titles_apart() -> None:
    figure = draw_charts(
        [chart(title=f"plot {i}: pixel row 1, column 2 (x 500000, y 3400000, EPSG:32617)") for i in range(5)]
    )
    figure.canvas.draw()
    assert len(figure.axes) == 5
    assert legend(figure) == ["observation", "missing: masked", "missing: no data"]
    assert texts(figure.axes[3])[1] == "plot 3: pixel row 1, column 2\n(x 500000, y 3400000, EPSG:32617)"
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    for count in (0, MOST_CHARTS + 1):
        with pytest.raises(pw.ParameterError, match=f"{count} charts do not fit into one figure: expected 1 to 12"):
            draw_charts([chart()] * count)


def test_names_from_files_are_taken_literally() -> None:
    figure = draw_charts([chart(title="$x_1$\x1b: pixel", label="$\\alpha$", curve=Curve(*[YEARS] * 4, "", "a$b$"))])
    figure.canvas.draw()
    assert texts(figure.axes[0])[1] == "$x_1$\\x1b: pixel"
    for text in (*figure.axes[0].texts, figure.axes[0].yaxis.label, *figure.legends[0].get_texts()):
        assert not text.get_parse_math()


def test_drawing_leaves_pyplot_alone() -> None:
    code = (
        "import sys, numpy as np\n"
        "from pixelwise.pictures.chart import Chart, draw_charts\n"
        "draw_charts([Chart('a', 'b', 'c', np.arange(3.0), np.arange(3.0))])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""The figures of a report that answer to a mouse: drawn by Bokeh, which travels within the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pixelwise.errors import ParameterError
from pixelwise.pictures.drawing import Histogram, Panel, Place
from pixelwise.pictures.palettes import MISSING_COLOR, OUTSIDE_COLOR
from pixelwise.pictures.scheme import MISSING, OUTSIDE
from pixelwise.pictures.thinned import spread
from pixelwise.report.samples import Sample

__all__ = ["INSTALL", "components_of", "histogram_figure", "import_bokeh", "map_figure", "resources", "series_figure"]

#: What to do where a package is missing.
INSTALL = 'pip install "pixelwise[report]"'

#: Pixels of a page.
MAP_WIDTH, CHART_WIDTH, CHART_HEIGHT = 560, 720, 300
#: Pixels of the picture along each side: a megabyte, or 1.4 in base 64.
MOST_PIXELS = 1000

#: As `pictures.drawing` writes them; twelve digits are those that steps of 0.1 still have.
DEGREES = """
const value = Number((letters === "EW" ? ((tick + 180) % 360 + 360) % 360 - 180 : tick).toPrecision(12));
const letter = value === 0 || Math.abs(value) === 180 ? "" : letters[value < 0 ? 1 : 0];
return Math.abs(value) + "°" + letter;
"""

OBSERVED, FITTED = "#3b4a54", "#d55e00"


def import_bokeh() -> Any:
    """Return Bokeh.

    Raises
    ------
    ParameterError
        When it is not installed.
    """
    try:
        import bokeh
    except ImportError as error:
        raise ParameterError(f"a report needs bokeh: {INSTALL}") from error
    return bokeh


def resources() -> str:
    """Return Bokeh itself as scripts: a page without a network has no other."""
    from bokeh.resources import Resources

    return Resources(mode="inline", components=["bokeh"]).render_js()


def components_of(figures: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the script that draws the figures, and the element of each, by name."""
    from bokeh.embed import components

    script, elements = components(dict(figures))
    return script, elements


def map_figure(panel: Panel, samples: Sequence[Sample]) -> Any:
    """Return the map in its classes, with the pixels whose series can be looked at."""
    from bokeh.models import ColumnDataSource, LinearColorMapper, Range1d
    from bokeh.models.annotations import BoxAnnotation
    from bokeh.plotting import figure

    place = Place.of(panel.grid)
    left, right, bottom, top = place.limits
    height = int(min(max(MAP_WIDTH / max(place.ratio, 1e-9), 160), 820))
    plot = figure(
        width=MAP_WIDTH, height=height, name="map", x_range=Range1d(start=left, end=right),
        y_range=Range1d(start=bottom, end=top),
        tools="pan,wheel_zoom,box_zoom,reset,tap", active_scroll="wheel_zoom", x_axis_label=place.labels[0],
        y_axis_label=place.labels[1], output_backend="canvas", toolbar_location="above",
    )  # fmt: skip
    plot.xaxis.formatter, plot.yaxis.formatter = (_formatter(place, letters) for letters in ("EW", "NS"))
    classes = panel.tally.scheme.classes
    palette = [*(one.color for one in classes), MISSING_COLOR, OUTSIDE_COLOR]
    mapper = LinearColorMapper(palette=palette, low=-0.5, high=len(palette) - 0.5, name="colors")
    rows, cols = (spread(size, MOST_PIXELS) for size in panel.codes.shape)
    codes = panel.codes[np.ix_(rows, cols)].copy()
    codes[codes == OUTSIDE] = len(classes) + 1
    codes[codes == MISSING] = len(classes)
    # Bokeh's images begin at the bottom left of their extent.
    x0, x1, y0, y1 = place.extent
    image = codes[::-1] if y1 > y0 else codes
    image = image if x1 > x0 else image[:, ::-1]
    # Seen where a class is hidden: white is the colour of what is outside, and nearly that of no change.
    plot.add_layout(
        BoxAnnotation(
            left=min(x0, x1), right=max(x0, x1), bottom=min(y0, y1), top=max(y0, y1), level="image", fill_alpha=1,
            fill_color="white", line_color=None, hatch_pattern="/", hatch_color="#555555", hatch_scale=7,
            hatch_weight=1,
        )
    )  # fmt: skip
    # Bokeh's annotations know neither bytes nor the arguments of the glyph.
    plot.image(  # type: ignore[call-arg]
        image=[np.ascontiguousarray(image)],  # type: ignore[list-item]
        x=min(x0, x1),
        y=min(y0, y1),
        dw=abs(x1 - x0),
        dh=abs(y1 - y0),
        color_mapper=mapper,
    )
    where = [(one.col + 0.5, one.row + 0.5) if place.counted else (one.x, one.y) for one in samples]
    source = ColumnDataSource({"x": [x for x, _ in where], "y": [y for _, y in where]}, name="places")
    plot.scatter(
        "x", "y", source=source, size=9, fill_color="white", line_color="black", line_width=1.5, nonselection_alpha=0.9,
        selection_fill_color="#d55e00", marker="circle",
    )  # fmt: skip
    return plot


def _formatter(place: Place, hemispheres: str) -> Any:
    """Return how coordinates are written: in full, and degrees as in pictures, 190 as 170°W."""
    from bokeh.models import BasicTickFormatter, CustomJSTickFormatter

    if not place.geographic:
        return BasicTickFormatter(use_scientific=False)
    return CustomJSTickFormatter(args={"letters": hemispheres}, code=DEGREES)


def histogram_figure(histogram: Histogram, title: str, expected: float | None = None) -> Any:
    """Return a histogram; `expected` is the share of each bar if nothing were there to be found."""
    from bokeh.models import BasicTicker, BasicTickFormatter
    from bokeh.models.annotations import Span
    from bokeh.plotting import figure

    plot = figure(
        width=CHART_WIDTH // 2, height=240, title=title, tools="", toolbar_location=None,
        x_axis_label=histogram.name, y_axis_label=f"share of {histogram.whole} (%)",
    )  # fmt: skip
    # Long numbers such as -0.00025 overlap if there are more.
    plot.xaxis.ticker = BasicTicker(desired_num_ticks=4)
    plot.xaxis.formatter = BasicTickFormatter(power_limit_low=-5)
    plot.quad(
        left=histogram.edges[:-1], right=histogram.edges[1:], bottom=0, top=100 * histogram.shares,
        fill_color=list(histogram.colors) or "#888888", line_color="#444444", line_width=0.4,
    )  # fmt: skip
    if histogram.edges[0] < 0 < histogram.edges[-1]:
        plot.add_layout(Span(location=0, dimension="height", line_color="#222222", line_width=1))
    if expected is not None:
        plot.add_layout(
            Span(location=100 * expected, dimension="width", line_color="#222222", line_dash="dashed", line_width=1)
        )
    return plot


def series_figure(samples: Sequence[Sample], label: str) -> Any:
    """Return the chart of the first sample; the page puts the others into the same sources."""
    from bokeh.models import ColumnDataSource
    from bokeh.plotting import figure

    first = samples[0].as_dict()
    plot = figure(
        width=CHART_WIDTH, height=CHART_HEIGHT, name="series", tools="pan,wheel_zoom,box_zoom,reset",
        x_axis_label="year", y_axis_label=label,
    )  # fmt: skip
    band = ColumnDataSource(first["band"], name="band")
    curve = ColumnDataSource(first["curve"], name="curve")
    observed = ColumnDataSource(first["observed"], name="observed")
    plot.varea("x", "low", "high", source=band, fill_color=FITTED, fill_alpha=0.2)
    plot.line("x", "y", source=observed, line_color=OBSERVED, line_alpha=0.35)
    plot.scatter("x", "y", source=observed, size=5, color=OBSERVED)
    plot.line("x", "y", source=curve, line_color=FITTED, line_width=2.5)
    return plot

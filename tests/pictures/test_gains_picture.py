"""Pictures of gains: what the figure shows, read from the figure."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb

from pixelwise.errors import ParameterError
from pixelwise.pictures.gains import SENSORS, GainPanel, Slope, draw_gains
from support.drawn import painted

YEARS = np.array([2000.5, 2001.5, 2010.5, 2012.5, 2020.5])
UP, DOWN = r"$\uparrow$", r"$\downarrow$"
GAIN = np.array([0.95, 1.02, 1.1, 3.0, 1.0])


def panel(band: str = "red", **changes: Any) -> GainPanel:
    usual: dict[str, Any] = {
        "years": YEARS,
        "gain": GAIN,
        "gain_se": np.array([0.01, 0.02, np.nan, 0.5, 0.01]),
        "offset": np.array([0.01, -0.02, 0, -0.5, 0.002]),
        "offset_se": np.full(5, 0.001),
        "sensors": ("LT05", "LT05", "LE07", "LE07", "LC08"),
        "flagged": np.array([False, False, False, True, False]),
    }
    return GainPanel(band, **{**usual, **changes})


def legend(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def drawn(axes: Any, marker: str) -> list[tuple[float, float]]:
    """Return the points with a marker."""
    lines = [line for line in axes.lines if line.get_marker() == marker]
    return [(float(x), float(y)) for line in lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def test_what_is_drawn() -> None:
    figure = draw_gains([panel(), panel("nir")], "Gains of 5 scenes", "gain times value")
    figure.canvas.draw()
    gain, offset = figure.axes[:2]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["gain", "offset, in units of the values", "", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == ["red", "", "nir", ""]
    # Each sensor has its own shape, which a grey print keeps.
    assert drawn(gain, "o") == [(2000.5, 0.95), (2001.5, 1.02)]
    assert drawn(gain, "^")[0] == (2010.5, 1.1)
    assert drawn(gain, "s") == [(2020.5, 1.0)]
    assert drawn(offset, "s") == [(2020.5, 0.002)]
    bars = [segment for one in gain.collections if isinstance(one, LineCollection) for segment in one.get_segments()]
    np.testing.assert_allclose(
        sorted(bar.tolist() for bar in bars),
        [[[2000.5, 0.94], [2000.5, 0.96]], [[2001.5, 1.0], [2001.5, 1.04]], [[2020.5, 0.99], [2020.5, 1.01]]],
    )  # none of an unknown error
    assert [line.get_ydata()[0] for axes in (gain, offset) for line in axes.lines[:1]] == [1, 0]  # no change
    assert legend(figure) == [
        "sensor LT05", "sensor LE07", "sensor LC08", "flagged, beyond the axis",
    ]  # fmt: skip
    assert figure.legends[0].get_title().get_text() == "gain times value"
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "year", "year"]
    assert figure._repr_png_()[:4] == b"\x89PNG"


def test_a_flagged_scene_far_away_is_at_the_edge() -> None:
    gain, offset = draw_gains([panel()], "", "").axes
    assert gain.get_ylim()[1] < 1.2
    assert drawn(gain, UP) == [(2012.5, 0.94)]  # in parts of the axes
    assert drawn(offset, DOWN) == [(2012.5, 0.06)]
    assert not {UP, DOWN} & {marker for marker, _ in SENSORS}
    assert drawn(gain, "x") == drawn(offset, "x") == []
    near = draw_gains([panel(gain=np.array([0.95, 1.02, 1.1, 1.05, 1.0]))], "", "").axes[0]
    assert drawn(near, "x") == [(2012.5, 1.05)]


def test_all_flagged() -> None:
    figure = draw_gains([panel(flagged=np.ones(5, bool), offset=np.zeros(5))], "", "")
    gain, offset = figure.axes
    assert len(drawn(gain, "x")) == 4
    assert drawn(gain, UP) == [(2012.5, 0.94)]
    assert len(drawn(offset, "x")) == 5
    assert legend(figure) == ["flagged", "flagged, beyond the axis"]


def test_trends() -> None:
    slope = Slope((0.9, 1.1), "-2.1 % per decade, p = 0.003")
    figure = draw_gains([panel(gain_slope=slope)], "", "")
    gain, offset = figure.axes
    line = gain.lines[-1]
    np.testing.assert_allclose(line.get_xdata(), [2000.5, 2020.5])
    assert list(line.get_ydata()) == [0.9, 1.1]
    assert [text.get_text() for text in gain.texts] == ["\N{MINUS SIGN}2.1 % per decade, p = 0.003"]
    assert not offset.texts
    # Nothing is written over the headings of the first row.
    figure.canvas.draw()
    label, heading = gain.texts[0].get_window_extent(), gain._left_title.get_window_extent()
    assert label.y1 < heading.y0
    assert legend(figure)[-1] == "trend over time, if significant"


def test_standard_errors_are_seen_but_do_not_flatten_the_points() -> None:
    wide = draw_gains([panel(gain_se=np.full(5, 0.01))], "", "").axes[0].get_ylim()
    assert wide[0] < 0.94
    assert wide[1] > 1.11
    huge = draw_gains([panel(gain_se=np.array([0.01, 50, 0.01, 0.01, 0.01]))], "", "").axes[0].get_ylim()
    assert huge[1] - huge[0] < 0.5
    alike = draw_gains([panel(gain_se=np.full(5, 0.5))], "", "").axes[0].get_ylim()
    assert alike[0] < 0.45
    assert alike[1] > 1.6


def test_one_scene_of_no_sensor() -> None:
    one = GainPanel("1", *(np.array([value]) for value in (2000.5, 1.0, np.nan, 0.0, np.nan)), sensors=("",),
                    flagged=np.array([False]))  # fmt: skip
    figure = draw_gains([one], "One scene", "")
    assert legend(figure) == ["scene"]
    assert painted(figure).shape[2] == 3


def test_names_of_files_are_no_formulas() -> None:
    figure = draw_gains([panel("$\\frac{1}{0}$\n", sensors=("$x$",) * 5)], "$title$", "$caption$")
    painted(figure)
    assert figure.axes[0].get_ylabel() == "$\\frac{1}{0}$\\n"
    assert legend(figure)[0] == "sensor $x$"


def test_neighbouring_sensors_differ_in_lightness() -> None:
    assert len({marker for marker, _ in SENSORS}) == len(SENSORS)
    grey = [float(np.dot(to_rgb(color), (0.299, 0.587, 0.114))) for _, color in SENSORS]
    assert min(abs(a - b) for a, b in pairwise(grey)) > 0.15


def test_nothing_to_draw() -> None:
    with pytest.raises(ParameterError, match="no gains to draw"):
        draw_gains([], "", "")


def test_thousands_of_points_take_seconds() -> None:
    random = np.random.default_rng(0)
    years = np.sort(random.uniform(1985, 2023, 1000))
    sensors = tuple(random.choice(["LT05", "LE07", "LC08", "LC09"], 1000).tolist())
    panels = [
        panel(band, years=years, gain=random.normal(1, 0.05, 1000), gain_se=np.full(1000, 0.004),
              offset=random.normal(0, 0.01, 1000), offset_se=np.full(1000, 0.001), sensors=sensors,
              flagged=random.random(1000) < 0.1)
        for band in ("blue", "green", "red", "nir", "swir1", "swir2")
    ]  # fmt: skip
    begin = time.process_time()
    painted(draw_gains(panels, "", ""))
    assert time.process_time() - begin < 15  # 3 s when nothing else runs

"""`plot`: classes by hand, what the picture shows, files, the command."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from rasterio.crs import CRS

import pixelwise as pw
from pixelwise.bands import Status
from pixelwise.choices import ClassKind
from pixelwise.cli import main
from pixelwise.maps.saving import save
from pixelwise.methods import METHODS
from pixelwise.pictures import classes as classes_module
from pixelwise.pictures import drawing
from pixelwise.pictures import picture as plotting
from pixelwise.pictures.classes import (
    MISSING,
    MISSING_COLOR,
    NEGATIVE_SHADES,
    NEUTRAL_COLOR,
    NOT_TESTED_COLOR,
    POSITIVE_SHADES,
    STATUS_COLORS,
    UNKNOWN_COLOR,
    Classes,
    classify_quintiles,
    classify_status,
    classify_trend,
)
from pixelwise.pictures.picture import plot_map

NAN = np.nan
MINUS = "\N{MINUS SIGN}"
UTM = Affine(30, 0, 500000, 0, -30, 3400000)


def row(*values: float) -> Any:
    return np.array([values], np.float64)


# ------------------------------------------------------------------------------------------- quintiles


def test_quintiles_of_eleven_values_around_zero() -> None:
    classes = classify_quintiles(row(NAN, 5, 4, 3, 2, 1, 0, -1, -2, -3, -4, -5))
    # Sorted values 0, 2, 4, ... are the limits; a limit belongs to the class above it.
    assert classes.limits == ((-5, -3), (-3, -1), (-1, 1), (1, 3), (3, 5))
    assert classes.codes.tolist() == [[MISSING, 4, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0]]
    assert classes.codes.dtype == np.uint8
    assert classes.shares == (2 / 11, 2 / 11, 2 / 11, 2 / 11, 3 / 11)
    assert classes.labels[0] == f"{MINUS}5 to {MINUS}3"
    assert classes.labels[2:] == (f"{MINUS}1 to 1", "1 to 3", "3 to 5")
    assert classes.colors == (*NEGATIVE_SHADES[2][::-1], NEUTRAL_COLOR, *POSITIVE_SHADES[2])
    assert classes.missing == 1 / 12


def test_a_value_that_fills_a_quintile_is_a_class_of_its_own() -> None:
    classes = classify_quintiles(row(0, 0, 0, 0, 0, 0, 1, 2, 3, 4))
    # Positions 0, 1.8, 3.6, 5.4, 7.2, 9 of the sorted values: 0, 0, 0, 0.4, 2.2, 4. Nothing lies between 0 and 0.4.
    assert classes.codes.tolist() == [[0, 0, 0, 0, 0, 0, 1, 1, 2, 2]]
    assert np.allclose(classes.limits, ((0, 0), (0.4, 2.2), (2.2, 4)))
    assert classes.labels == ("0.00", "0.40 to 2.20", "2.20 to 4.00")
    assert classes.shares == (0.6, 0.2, 0.2)
    assert classes.colors == (NEUTRAL_COLOR, *POSITIVE_SHADES[2])


def test_a_tie_in_the_middle_leaves_its_neighbours_their_sign() -> None:
    classes = classify_quintiles(row(-3, -2, -1, 0, 0, 0, 0, 0, 1, 2, 3))
    # Positions 0, 2, 4, 6, 8, 10: -3, -1, 0, 0, 1, 3.
    assert classes.limits == ((-3, -1), (-1, 0), (0, 0), (1, 3))
    assert classes.codes.tolist() == [[0, 0, 1, 2, 2, 2, 2, 2, 3, 3, 3]]
    assert classes.colors == (*NEGATIVE_SHADES[2][::-1], NEUTRAL_COLOR, *POSITIVE_SHADES[1])


@pytest.mark.parametrize(
    ("value", "label", "color"),
    [(0.0, "0", NEUTRAL_COLOR), (-2.5, f"{MINUS}2.5", NEGATIVE_SHADES[1][0]), (1234.5, "1234", POSITIVE_SHADES[1][0])],
)
def test_a_constant_band_is_one_class(value: float, label: str, color: str) -> None:
    classes = classify_quintiles(row(value, value, NAN, value))
    assert classes.codes.tolist() == [[0, 0, MISSING, 0]]
    assert (classes.limits, classes.shares) == (((value, value),), (1.0,))
    assert (classes.labels, classes.colors) == ((label,), (color,))


@pytest.mark.parametrize("sign", [1, -1])
def test_values_of_one_sign_get_shades_of_one_hue(sign: int) -> None:
    classes = classify_quintiles(sign * np.arange(1, 26, dtype=np.float32).reshape(5, 5))
    assert classes.colors == (POSITIVE_SHADES[5] if sign > 0 else NEGATIVE_SHADES[5][::-1])
    assert classes.shares == (0.2,) * 5


@pytest.mark.parametrize("values", [row(NAN, NAN), row(NAN, np.inf), np.full((3, 2), NAN, np.float32)])
def test_without_valid_values_there_are_no_classes(values: Any) -> None:
    classes = classify_quintiles(values)
    assert (classes.codes == MISSING).all()
    assert (classes.labels, classes.colors, classes.shares, classes.limits) == ((), (), (), ())
    assert classes.missing == 1


def test_whole_numbers_are_told_exactly() -> None:
    classes = classify_quintiles(np.array([[18, 19, 20, 21, 22, 23, 24, 25, 26, 27]], np.int32))
    assert classes.labels == ("18 to 19", "20 to 21", "22 to 23", "24 to 25", "26 to 27")
    assert classify_quintiles(np.array([[3, 3, 4]], np.uint8)).labels == ("3", "4")


@settings(max_examples=200, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 12)),
        elements=st.one_of(
            st.sampled_from([NAN, 0.0, -0.0, 1.0, -1.0]),
            st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False),
        ),
    )
)
def test_classes_of_any_values(values: Any) -> None:
    before = values.copy()
    classes = classify_quintiles(values)
    assert np.array_equal(values, before, equal_nan=True)
    assert np.array_equal(classes.codes == MISSING, np.isnan(values))
    assert len(set(classes.labels)) == len(classes.labels) <= 5
    assert sum(classes.shares) == pytest.approx(1 if np.isfinite(values).any() else 0)
    assert min(classes.shares, default=1) > 0
    assert classes.limits == tuple(sorted(classes.limits))
    for code, ((low, high), color) in enumerate(zip(classes.limits, classes.colors, strict=True)):
        members = values[classes.codes == code]
        assert low <= members.min() <= members.max() <= high
        if color == NEUTRAL_COLOR:
            assert low < 0 < high or low == high == 0
        else:
            hue, sign = (NEGATIVE_SHADES, -1) if high <= 0 else (POSITIVE_SHADES, 1)
            assert any(color in shades for shades in hue.values())
            assert (sign * members >= 0).all()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 7, 11, 36, 1000])
def test_limits_are_the_quantiles_of_numpy(size: int) -> None:
    values = np.random.default_rng(size).normal(size=size)
    expected = np.quantile(values, np.arange(6) / 5)
    assert np.allclose(classes_module._quintile_limits(values.copy()), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        ((-0.0312, -0.0005, 0.0021), ["-0.0312", "-0.0005", "0.0021"]),
        ((0.1, 0.2, 0.3), ["0.10", "0.20", "0.30"]),
        ((-1000.0, 2000.0), ["-1000", "2000"]),
        ((1e-9, 2e-9), ["1.0e-09", "2.0e-09"]),
        ((1e9, 1e9 + 7.5), ["1.00000000e+09", "1.00000001e+09"]),
        ((5.0, 5.000001, 5.000002), ["5.000000", "5.000001", "5.000002"]),
    ],
)
def test_limits_have_the_digits_that_tell_them_apart(numbers: tuple[float, ...], texts: list[str]) -> None:
    written = classes_module._distinct_numbers(numbers)
    assert [written[number] for number in numbers] == [text.replace("-", MINUS) for text in texts]


# ------------------------------------------------------------------------------------------- trends


def test_trend_classes() -> None:
    slope = row(-1, -1, 1, 1, NAN, -2, 3)
    pvalue = row(0.01, 0.05, 0.049, 0.5, 0.01, 1e-9, 0.0)
    classes = classify_trend(slope, pvalue)
    # 0.05 is not below 0.05.
    assert classes.codes.tolist() == [[0, 1, 3, 2, MISSING, 0, 3]]
    assert classes.labels == (
        "significant decrease, p < 0.05",
        "decrease, not significant",
        "increase, not significant",
        "significant increase, p < 0.05",
    )
    assert classes.shares == (2 / 6, 1 / 6, 1 / 6, 2 / 6)
    assert classes.colors == (*NEGATIVE_SHADES[2][::-1], *POSITIVE_SHADES[2])
    assert classes.limits == ()
    assert classes.missing == 1 / 7


def test_what_has_no_p_is_not_tested_and_in_no_other_class() -> None:
    classes = classify_trend(row(1, -1, 0, 2, -3, 0, NAN), row(NAN, NAN, NAN, 0.01, 0.5, 0.5, NAN))
    labels = [classes.labels[code] if code != MISSING else "" for code in classes.codes[0]]
    assert labels == [
        *["not tested"] * 3,
        "significant increase, p < 0.05",
        "decrease, not significant",
        "no change",
        "",
    ]
    assert dict(zip(classes.labels, classes.shares, strict=True)) == {
        "not tested": 3 / 6,
        "significant decrease, p < 0.05": 0,
        "decrease, not significant": 1 / 6,
        "no change": 1 / 6,
        "increase, not significant": 0,
        "significant increase, p < 0.05": 1 / 6,
    }
    assert classes.colors[0] == NOT_TESTED_COLOR
    others = {*sum(NEGATIVE_SHADES.values(), ()), *sum(POSITIVE_SHADES.values(), ()), NEUTRAL_COLOR, MISSING_COLOR}
    assert NOT_TESTED_COLOR not in others


def test_the_status_tells_constant_and_undefined_from_missing() -> None:
    slope = row(0, 0, NAN, NAN, NAN, 1, 2, 1)
    pvalue = row(NAN, NAN, NAN, NAN, NAN, NAN, NAN, 0.001)
    # Constant, twice undefined, too few, no observation, truncated, twice ok.
    status = np.array([[3, 6, 6, 2, 1, 7, 0, 0]], np.uint8)
    classes = classify_trend(slope, pvalue, status=status)
    labels = [classes.labels[code] if code != MISSING else "" for code in classes.codes[0]]
    assert labels == [
        "no change",
        *["not tested"] * 2,
        *[""] * 2,
        *["not tested"] * 2,
        "significant increase, p < 0.05",
    ]
    assert classes.missing == 2 / 8


def test_slopes_of_zero_are_no_change_whatever_their_p() -> None:
    classes = classify_trend(row(0, -0.0, 1, -1), row(0.9, 0.001, 0.09, 0.09), significant=0.1)
    assert classes.labels == (
        "significant decrease, p < 0.1",
        "decrease, not significant",
        "no change",
        "increase, not significant",
        "significant increase, p < 0.1",
    )
    assert classes.codes.tolist() == [[2, 2, 4, 0]]
    assert classes.colors[2] == NEUTRAL_COLOR
    assert sum(classes.shares) == 1


def test_what_is_no_change_with_time_is_positive_or_negative() -> None:
    classes = classify_trend(row(0.9, -0.9, 0.1, -0.1, 0), row(0.01, 0.01, 0.5, 0.5, 0.5), change=False)
    assert classes.labels == (
        "significantly negative, p < 0.05",
        "negative, not significant",
        "zero",
        "positive, not significant",
        "significantly positive, p < 0.05",
    )
    assert classes.codes.tolist() == [[4, 0, 3, 1, 2]]


def test_trend_classes_without_valid_pixels() -> None:
    classes = classify_trend(row(NAN), row(NAN))
    assert classes.codes.tolist() == [[MISSING]]
    assert classes.shares == (0, 0, 0, 0)
    assert "not tested" not in classes.labels


def test_status_classes_have_words() -> None:
    classes = classify_status(np.array([[0, 0, 6], [1, 0, 9]], np.uint8))
    assert classes.labels == ("9 outside the area", "6 test undefined", "1 no observation", "0 ok")
    assert classes.codes.tolist() == [[3, 3, 1], [2, 3, 0]]
    assert classes.shares == (1 / 6, 1 / 6, 1 / 6, 3 / 6)
    assert (classes.missing, classes.limits) == (0, ())
    assert classes.colors[1] == NOT_TESTED_COLOR  # as in a trend's picture
    # A map of a later version may know further codes, 255 among them.
    later = classify_status(np.array([[0, 77, 255]], np.uint8))
    assert later.labels == ("255 unknown", "77 unknown", "0 ok")
    assert later.colors[:2] == (UNKNOWN_COLOR,) * 2
    assert later.codes.tolist() == [[2, 1, 0]]


def test_every_status_has_words_and_a_colour_of_its_own() -> None:
    labels = classify_status(np.array([list(Status)], np.uint8)).labels
    assert [label.split(" ", 1)[0] for label in labels] == [str(int(code)) for code in sorted(Status, reverse=True)]
    assert not any("unknown" in label for label in labels)
    assert len(set(STATUS_COLORS.values())) == len(STATUS_COLORS) == len(Status)


@pytest.mark.parametrize("significant", [0, 1, -0.1, 5, NAN])
def test_a_level_of_significance_lies_between_0_and_1(significant: float) -> None:
    with pytest.raises(pw.ParameterError, match="is not a significance level"):
        classify_trend(row(1), row(1), significant)


# ------------------------------------------------------------------------------------------- pictures


def make_map(
    bands: Mapping[str, Any],
    *,
    crs: str | None = "EPSG:32617",
    transform: Affine = UTM,
    provenance: Mapping[str, Any] | None = None,
    unit: str = "1/year",
    description: str = "Change per year of the fitted line",
) -> pw.Map:
    arrays_ = {name: np.asarray(values) for name, values in bands.items()}
    height, width = next(iter(arrays_.values())).shape
    grid = pw.Grid(None if crs is None else CRS.from_user_input(crs), transform, height, width)
    described = tuple(pw.Band(name, "" if i else description, "" if i else unit) for i, name in enumerate(arrays_))
    return pw.Map(grid, described, provenance or {}, arrays=arrays_)


def trend_map(height: int = 30, width: int = 40, **options: Any) -> pw.Map:
    random = np.random.default_rng(0)
    slope = random.normal(0, 0.01, (height, width)).astype(np.float32)
    slope[: height // 4, : width // 4] = NAN
    return make_map({"slope": slope, "pvalue": random.random((height, width))}, **options)


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.texts]


def entries(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def pixels(figure: Any) -> Any:
    """Return (y, x, rgb) of the figure as drawn."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(Image.open(file).convert("RGB"))


def test_legend_of_a_trend() -> None:
    figure = plot_map(trend_map(), significant=0.1)
    written = entries(figure)
    assert [entry.rpartition(" (")[0] for entry in written[:4]] == [
        "significant increase, p < 0.1",
        "increase, not significant",
        "decrease, not significant",
        "significant decrease, p < 0.1",
    ]
    assert written[4:] == ["missing (5.8 % of all pixels)"]  # 7 x 10 of 30 x 40
    assert sum(float(entry.split("(")[-1].split(" %")[0]) for entry in written[:4]) == pytest.approx(100, abs=0.2)
    assert figure.legends[0].get_title().get_text() == "slope\n(share of valid pixels)"


def test_what_was_not_tested_is_listed_between_the_lowest_class_and_the_missing() -> None:
    map_ = make_map({"slope": row(1, 1, -1, NAN), "pvalue": row(0.01, NAN, 0.5, NAN)})
    figure = plot_map(map_)
    assert entries(figure) == [
        "significant increase, p < 0.05 (33.3 %)",
        "increase, not significant (0 %)",
        "decrease, not significant (33.3 %)",
        "significant decrease, p < 0.05 (0 %)",
        "not tested (33.3 %)",
        "missing (25.0 % of all pixels)",
    ]
    purple = tuple(bytes.fromhex(NOT_TESTED_COLOR[1:]))
    assert tuple(figure.axes[0].images[0].get_array()[0, 1]) == purple


def test_the_band_status_has_a_legend_of_words() -> None:
    map_ = make_map({"slope": row(1, NAN, 2), "pvalue": row(0.1, NAN, NAN), "status": np.array([[0, 1, 6]], np.uint8)})
    figure = plot_map(map_, "status")
    assert entries(figure) == ["0 ok (33.3 %)", "1 no observation (33.3 %)", "6 test undefined (33.3 %)"]
    assert figure.legends[0].get_title().get_text() == "status\n(share of all pixels)"
    assert texts(figure) == ["status", "Why each pixel has the values it has"]
    for classes in get_args(ClassKind):
        with pytest.raises(pw.ParameterError, match=f"codes, which have no {classes} classes: leave classes out"):
            plot_map(map_, "status", classes=classes)


@pytest.mark.parametrize(
    ("name", "unit", "high"),
    [
        ("slope", "1/year", "significant increase"),
        ("time", "m/decade", "significant increase"),
        ("slope", "", "significant increase"),
        ("sens_trend", "", "significant increase"),
        ("rvalue", "", "significantly positive"),
        ("spearman", "", "significantly positive"),
        ("soi", "mm", "significantly positive"),
    ],
)
def test_only_changes_with_time_increase(name: str, unit: str, high: str) -> None:
    map_ = make_map({name: row(1, -1), "pvalue": row(0.01, 0.5)}, unit=unit)
    assert entries(plot_map(map_))[0] == f"{high}, p < 0.05 (50.0 %)"


def test_legend_of_quintiles_has_limits_unit_and_shares() -> None:
    map_ = make_map({"slope": row(-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5)})
    figure = plot_map(map_)
    assert entries(figure) == [
        "3 to 5 (27.3 %)",
        "1 to 3 (18.2 %)",
        f"{MINUS}1 to 1 (18.2 %)",
        f"{MINUS}3 to {MINUS}1 (18.2 %)",
        f"{MINUS}5 to {MINUS}3 (18.2 %)",
    ]
    assert figure.legends[0].get_title().get_text() == "slope (1/year)\n(share of valid pixels)"
    colors = [handle.get_facecolor() for handle in figure.legends[0].legend_handles]
    assert len(set(colors)) == 5


def test_map_plot_draws_the_band_asked_for() -> None:
    assert plot_map(trend_map()).legends[0].get_title().get_text().startswith("slope\n")
    figure = trend_map().plot("pvalue")
    assert figure.legends[0].get_title().get_text().startswith("pvalue\n")
    assert len(entries(figure)) == 5  # quintiles: there is no p-value of a p-value


def test_a_figure_is_unknown_to_pyplot() -> None:
    code = (
        "import sys, numpy as np, pixelwise.cli.plot, pixelwise.pictures.picture\n"
        "assert not any(name.startswith('matplotlib') for name in sys.modules)\n"
        "import pixelwise as pw\n"
        "grid = pw.Grid(None, __import__('affine').Affine.identity(), 2, 2)\n"
        "pw.Map(grid, (pw.Band('a'),), arrays={'a': np.eye(2)}).plot()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


GRIDS = {
    "square": trend_map(50, 50),
    "wide": trend_map(10, 60),
    "tall": trend_map(60, 10),
    "strip": trend_map(3, 400),
    "pixel": trend_map(1, 1),
    "global": trend_map(45, 90, crs="EPSG:4326", transform=Affine(4, 0, -180, 0, -4, 90)),
    "polar": trend_map(20, 90, crs="EPSG:4326", transform=Affine(1, 0, 0, 0, -1, 90)),
    "rotated": trend_map(transform=Affine(30, 5, 500000, 5, -30, 3400000)),
    "feet": trend_map(crs="EPSG:2263"),
    "nowhere": trend_map(crs=None, transform=Affine.identity()),
    "local": trend_map(crs=None),
    "long names": trend_map(
        transform=Affine(1e-4, 0, 123456.7, 0, -1e-4, 7654321.1),
        provenance={"method": "a_module_with_a_long_name.py:a_function_with_a_long_name_too" * 3},
        description="words " * 60,
    ),
    "all missing": make_map({"slope": np.full((5, 5), NAN), "pvalue": np.full((5, 5), NAN)}),
}


@pytest.mark.parametrize("classes", ["trend", "quintile"])
@pytest.mark.parametrize("name", GRIDS)
def test_nothing_is_cut_off_or_overlaps(name: str, classes: Any) -> None:
    figure = plot_map(GRIDS[name], classes=classes)
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    axes, legend = figure.axes[0], figure.legends[0]
    boxes = [axes.get_tightbbox(renderer), *(item.get_window_extent(renderer) for item in (legend, *figure.texts))]
    whole = figure.bbox
    for i, box in enumerate(boxes):
        assert box.x0 >= 0, i
        assert box.y0 >= 0, i
        assert box.x1 <= whole.x1, i
        assert box.y1 <= whole.y1, i
        assert not any(box.overlaps(other) for other in boxes[i + 1 :]), i
    for axis in (axes.xaxis, axes.yaxis):
        labels = [label.get_window_extent(renderer) for label in axis.get_ticklabels() if label.get_text()]
        assert labels
        assert not any(a.overlaps(b) for i, a in enumerate(labels) for b in labels[i + 1 :])


def ticks(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_axes_of_a_projected_grid() -> None:
    axes = plot_map(trend_map()).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Easting (m)", "Northing (m)")
    assert (axes.get_xlim(), axes.get_ylim()) == ((500000, 501200), (3399100, 3400000))
    assert axes.get_aspect() == 1
    assert ticks(axes.xaxis) == ["500000", "500250", "500500", "500750", "501000"]
    assert all(text.isdigit() for text in ticks(axes.yaxis))


def test_axes_of_a_geographic_grid() -> None:
    transform = Affine(0.5, 0, 170, 0, -0.5, 67.5)
    axes = plot_map(trend_map(30, 40, crs="EPSG:4326", transform=transform)).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("longitude", "latitude")
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
    figure = plot_map(make_map({"slope": values}, transform=transform))
    image = pixels(figure)
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
    teal = tuple(bytes.fromhex(POSITIVE_SHADES[1][0][1:]))
    assert [place for place, color in quarter.items() if color == teal] == [(first_row_on_top, first_column_left)]


def test_missing_pixels_have_a_colour_of_their_own() -> None:
    figure = plot_map(make_map({"slope": row(NAN, 1, -1)}))
    grey = tuple(bytes.fromhex(MISSING_COLOR[1:]))
    assert tuple(figure.axes[0].images[0].get_array()[0, 0]) == grey
    shades = {*sum(NEGATIVE_SHADES.values(), ()), *sum(POSITIVE_SHADES.values(), ()), NEUTRAL_COLOR}
    assert MISSING_COLOR not in shades


def test_large_maps_are_thinned_but_counted_in_full() -> None:
    values = np.zeros((5, 4001), np.float32)
    values[:, 1] = NAN  # a column that thinning leaves out
    values[:, 2001:] = 1
    figure = plot_map(make_map({"slope": values}, transform=Affine(1, 0, 0, 0, -1, 0)))
    image = figure.axes[0].images[0]
    assert image.get_array().shape == (5, drawing.LARGEST_IMAGE, 3)
    assert image.get_extent() == [0, 4001, -5, 0]
    assert entries(figure) == ["1 (50.0 %)", "0 (50.0 %)", "missing (< 0.1 % of all pixels)"]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (1, "100 %"), (0.2, "20.0 %"), (0.0004, "< 0.1 %"), (0.9999, "> 99.9 %"), (0.0005, "0.1 %")],
)
def test_shares_are_never_rounded_to_nothing_or_all(share: float, text: str) -> None:
    assert drawing._percent(share) == text


# ------------------------------------------------------------------------------------------- titles

YEARS = {"layers": 2, "first": "1995-01-01", "last": "2015-01-01", "layers_used": [{"precision": "year"}] * 2}


@pytest.mark.parametrize(
    ("provenance", "expected"),
    [
        ({}, ["slope", "What it is"]),
        ({"method": "ols", "input": YEARS}, ["ols: slope", "What it is; 1995 to 2015, 2 layers"]),
        (
            {"method": "ols", "input": {**YEARS, "layers_used": [{"precision": "day"}]}},
            ["ols: slope", "What it is; 1995-01-01 to 2015-01-01, 2 layers"],
        ),
        ({"method": ["odd"], "input": {"first": "1"}}, ["slope", "What it is"]),
    ],
)
def test_titles_say_method_band_and_time(provenance: Mapping[str, Any], expected: list[str]) -> None:
    assert texts(plot_map(trend_map(provenance=provenance, description="What it is"))) == expected


def test_a_title_of_ones_own() -> None:
    assert texts(plot_map(trend_map(), title="Greening\n1982 to 2013")) == ["Greening\n1982 to 2013"]
    assert texts(plot_map(trend_map(), title="")) == []


def test_names_from_files_are_taken_literally() -> None:
    name = "$\\frac{$ _x^\x1b[31m\n"
    map_ = make_map({name: row(1, 2)}, unit="$m^2$", provenance={"method": "$x$"})
    figure = plot_map(map_, title=None)
    pixels(figure)  # mathtext would refuse \frac{
    assert texts(figure)[0] == "$x$: $\\frac{$ _x^\\x1b[31m\\n"
    title = figure.legends[0].get_title()
    assert title.get_text().startswith("$\\frac{$ _x^\\x1b[31m\\n ($m^2$)\n")
    assert not title.get_parse_math()


# ------------------------------------------------------------------------------------------- choices


def test_every_registered_method_says_its_headline() -> None:
    for factory in METHODS:
        headline = factory().bands[0].name
        map_ = make_map({"pvalue": row(0.5), headline: row(1)}, provenance={"method": factory.__name__})
        assert plotting._headline(map_) == headline


@pytest.mark.parametrize(
    ("bands", "band", "message"),
    [
        (["slope"], None, "trend classes need a band pvalue, which this map lacks"),
        (["slope", "pvalue"], "pvalue", "the p-value belongs to slope, not to pvalue: draw band slope, or"),
        (["intercept", "pvalue"], None, "the p-value belongs to slope, which this map lacks"),
    ],
)
def test_trend_classes_are_refused_where_they_mean_nothing(bands: list[str], band: str | None, message: str) -> None:
    map_ = make_map({name: row(0.5, 1) for name in bands}, provenance={"method": "ols"})
    with pytest.raises(pw.ParameterError, match=message) as error:
        plot_map(map_, band, classes="trend")
    assert "\n" not in str(error.value)
    assert "choose the classes quintile" in str(error.value)
    assert "0.50" in entries(plot_map(map_, band))[-1]  # by default quintiles


def test_coefficients_have_their_own_p_value() -> None:
    bands = {"rain": row(1, 1), "rain_pvalue": row(0.5, 0.5), "time": row(-1, -1), "time_pvalue": row(0.01, NAN)}
    whole = {**bands, "r2": row(0.5, 0.6), "pvalue": row(0.001, 0.001)}
    map_ = make_map(whole, provenance={"method": "regress"}, unit="")
    assert entries(plot_map(map_))[1] == "positive, not significant (100 %)"  # the whole model is significant
    assert entries(plot_map(map_, "time"))[-2:] == ["significantly negative, p < 0.05 (50.0 %)", "not tested (50.0 %)"]
    with pytest.raises(pw.ParameterError, match="band r2 has no p-value: draw band rain or time, or choose the"):
        plot_map(map_, "r2", classes="trend")
    assert len(entries(plot_map(map_, "r2"))) == 2
    alone = make_map({"time": row(1, 2), "pvalue": row(0.1, 0.1)}, provenance={"method": "regress"})
    with pytest.raises(pw.ParameterError, match=r"no coefficient of this map has its p-value \(NAME_pvalue\): write"):
        plot_map(alone, classes="trend")
    assert len(entries(plot_map(alone))) == 2


def test_selected_bands_keep_their_headline() -> None:
    map_ = make_map({"pvalue": row(0.01, 0.5), "slope": row(1, -1)}, provenance={"method": "ols"})
    assert entries(plot_map(map_, "slope"))[0] == "significant increase, p < 0.05 (50.0 %)"


def test_mistakes_in_python() -> None:
    with pytest.raises(pw.ParameterError, match="did you mean 'slope'"):
        plot_map(trend_map(), "slop")
    with pytest.raises(pw.ParameterError, match="classes='quintiles' is not one of trend, quintile; did you mean"):
        plot_map(trend_map(), classes="quintiles")  # type: ignore[arg-type]


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(pw.ParameterError, match=r'drawing needs matplotlib: pip install "pixelwise\[plot\]"'):
        plot_map(trend_map())
    assert isinstance(classify_quintiles(row(1)), Classes)


def test_figures_are_drawn_alike_in_threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda _: pixels(plot_map(GRIDS["square"])), range(4)))
    assert all(np.array_equal(drawn[0], other) for other in drawn[1:])


# ------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("suffix", "magic"),
    [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml"), (".jpg", b"\xff\xd8"), (".JPEG", b"\xff\xd8")],
)
def test_save_writes_each_format_and_nothing_else(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / f"trend{suffix}"
    save(plot_map(trend_map()), path)
    assert path.read_bytes().startswith(magic)
    assert list(tmp_path.iterdir()) == [path]


def test_a_png_has_the_size_of_its_figure(tmp_path: Path) -> None:
    figure = plot_map(trend_map())
    save(figure, str(tmp_path / "trend.png"))
    with Image.open(tmp_path / "trend.png") as image:
        image.load()
        assert image.size == tuple(int(inches * drawing.DPI) for inches in figure.get_size_inches())
        assert image.width > 1000


def test_a_failing_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Any, data: bytes) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    class Drawn:
        def savefig(self, file: Any, **_: Any) -> None:
            file.write(b"drawn")

    path = tmp_path / "trend.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(plotting, "write", full)
    with pytest.raises(pw.OutputError, match=r"trend\.png: cannot be written \(No space left on device\)"):
        save(Drawn(), path)  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# ------------------------------------------------------------------------------------------- command


@pytest.fixture
def trend(tmp_path: Path) -> Path:
    """The map of a small stack."""
    values = np.random.default_rng(5).normal(0.5, 0.1, (6, 12, 16)).astype(np.float32)
    values[:, 0, 0] = -9999
    values[:, 1, 1] = 0.5
    (tmp_path / "ndvi").mkdir()
    for year, layer in enumerate(values, 2001):
        options = {"driver": "GTiff", "count": 1, "height": 12, "width": 16, "dtype": "float32", "nodata": -9999}
        with rasterio.open(
            tmp_path / "ndvi" / f"ndvi_{year}.tif", "w", crs="EPSG:32617", transform=UTM, **options
        ) as dataset:
            dataset.write(layer, 1)
    pw.apply(pw.open_stack(tmp_path / "ndvi"), "ols", tmp_path / "trend.tif", executor="inline")
    return tmp_path / "trend.tif"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["plot", *map(str, arguments)])


def test_the_command_writes_a_picture_and_prints_its_path(trend: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = []
    monkeypatch.setattr(
        plotting, "plot_map", lambda *args, **options: figures.append(plot_map(*args, **options)) or figures[-1]
    )
    output = trend.with_name("trend.png")
    result = run(trend, "-o", output)
    assert (result.exit_code, result.output) == (0, f"{output}\n")
    assert texts(figures[0]) == ["ols: slope", "Change per year of the fitted line; 2001 to 2006, 6 layers"]
    assert "no change (0.5 %)" in entries(figures[0])  # the constant pixel, 1 of 191
    assert "missing (0.5 % of all pixels)" in entries(figures[0])
    assert "not tested" not in "".join(entries(figures[0]))
    result = run(trend, "-o", output, "--overwrite", "--band", "stderr", "--title", "T")
    assert result.exit_code == 0
    assert texts(figures[1]) == ["T"]
    assert figures[1].legends[0].get_title().get_text() == "stderr (1/year)\n(share of valid pixels)"
    result = run(trend, "-o", trend.with_name("strict.svg"), "--classes", "trend", "--significant", "0.01")
    assert result.exit_code == 0
    assert "significant increase, p < 0.01" in "".join(entries(figures[2]))
    result = run(trend, "-o", trend.with_name("status.png"), "--band", "status")
    assert result.exit_code == 0
    expected = ["0 ok (99.0 %)", "1 no observation (0.5 %)", "3 constant series (0.5 %)"]
    assert entries(figures[3]) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "there.png"], "there.png: already exists; --overwrite replaces it"),
        (["-o", "no/trend.png"], "no/trend.png: the folder no does not exist"),
        (["-o", "trend.bmp"], "trend.bmp: a picture's name must end in one of .png, .pdf, .svg, .jpg, .jpeg"),
        (["-o", "trend"], "trend: a picture's name must end in one of"),
        (["-o", "folder.png", "--overwrite"], "folder.png: is a folder"),
        (["-o", "new.png", "--band", "pvalu"], "unknown band 'pvalu'; did you mean 'pvalue'? (known: slope,"),
        (["-o", "new.png", "--band", "n", "--classes", "trend"], "the p-value belongs to slope, not to n: draw"),
    ],
)
def test_mistakes_on_the_command_line(
    trend: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(trend.parent)
    Path("there.png").write_bytes(b"old")
    Path("folder.png").mkdir()
    before = sorted(Path().iterdir())
    result = run(trend, *options)
    assert result.exit_code == 1
    assert result.output.startswith(f"error: {message}")
    assert result.output.count("\n") == 1
    assert sorted(Path().iterdir()) == before
    assert Path("there.png").read_bytes() == b"old"


def test_what_is_no_map(trend: Path) -> None:
    output = trend.with_name("new.png")
    for path, message in (
        (trend.parent / "ndvi" / "ndvi_2001.tif", "not a pixelwise map"),
        (trend.parent / "none.tif", "No such file or directory"),
    ):
        result = run(path, "-o", output)
        assert result.exit_code == 1
        assert result.output.startswith(f"error: {path}: {message}")
        assert not output.exists()


def test_a_map_without_p_values(trend: Path) -> None:
    short = trend.with_name("short.tif")
    pw.apply(pw.open_stack(trend.parent / "ndvi"), "ols", short, bands=["slope"], executor="inline")
    assert run(short, "-o", short.with_suffix(".png")).exit_code == 0
    result = run(short, "-o", short.with_suffix(".pdf"), "--classes", "trend")
    assert result.exit_code == 1
    assert result.output == (
        "error: trend classes need a band pvalue, which this map lacks: write it with the map, "
        "or choose the classes quintile\n"
    )


def test_wrong_usage_exits_with_2(trend: Path) -> None:
    assert run(trend).exit_code == 2
    assert run(trend, "-o", "x.png", "--classes", "stripes").exit_code == 2
    assert run(trend, "-o", "x.png", "--significant", "1.5").exit_code == 2


def test_debug_shows_the_traceback(trend: Path) -> None:
    result = run(trend, "-o", "x.bmp", "--debug")
    assert result.exit_code == 1
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.splitlines()[-1].startswith("pixelwise.errors.OutputError: x.bmp: ")

"""Classes of each kind of band, as the legend and the pixels of the picture show them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from affine import Affine

import pixelwise as pw
from pixelwise.bands import Status
from pixelwise.choices import BandKind, ClassKind
from pixelwise.pictures.choosing import scheme_of
from pixelwise.pictures.picture import plot_map
from support.dates import DAY
from support.drawn import (
    COUNT,
    MINUS,
    NAN,
    PVALUE,
    QVALUE,
    RVALUE,
    SIGNIFICANT,
    SLOPE,
    areas,
    entries,
    headings,
    image_of,
    key_colors,
    key_title,
    labels,
    make_map,
    names_of_pixels,
    row,
    shares,
)

CONSTANT = "no change (constant series)"
UP, UP_WEAK = "significant increase, p < 0.05", "increase, not significant"
DOWN, DOWN_WEAK = "significant decrease, p < 0.05", "decrease, not significant"

# --- changes with a test ------------------------------------------------------------------------------------------


def test_a_change_is_divided_by_direction_and_significance() -> None:
    # 0.05 is not below 0.05, not even rounded to float32.
    pvalue = row(0.01, 0.05, 0.049, 0.5, 0.01, 1e-9, 0.0, 0.5).astype(np.float32)
    figure = plot_map(make_map((SLOPE, PVALUE), row(-1, -1, 1, 1, NAN, -2, 3, 0), pvalue))
    assert names_of_pixels(figure) == [[DOWN, DOWN_WEAK, UP, UP_WEAK, "missing", DOWN, UP, "no change"]]
    assert labels(figure) == [UP, UP_WEAK, "no change", DOWN_WEAK, DOWN, "missing"]
    assert shares(figure) == {UP: 28.6, UP_WEAK: 14.3, "no change": 14.3, DOWN_WEAK: 14.3, DOWN: 28.6, "missing": 12.5}
    assert key_title(figure) == "slope\nshare of the area with values"


def test_what_has_no_p_is_not_tested_and_in_no_other_class() -> None:
    status = [[6, 6, 0, 0, 3, 2, 1, 0]]
    slope, pvalue = row(1, NAN, -1, 2, 0, NAN, NAN, 3), row(NAN, NAN, NAN, 0.01, NAN, NAN, NAN, 0.5)
    figure = plot_map(make_map((SLOPE, PVALUE), slope, pvalue, status=status))
    # In a constant series is nothing to test, and too few observations are no test that failed.
    missing = ["missing"] * 2
    assert names_of_pixels(figure) == [[*["not tested"] * 3, UP, CONSTANT, *missing, UP_WEAK]]
    assert shares(figure) == {
        UP: 16.7, UP_WEAK: 16.7, DOWN_WEAK: 0, DOWN: 0, CONSTANT: 16.7, "not tested": 50, "missing": 25,
    }  # fmt: skip
    assert labels(figure)[-3:] == [CONSTANT, "not tested", "missing"]
    assert len(set(key_colors(figure).values())) == 7


def test_a_constant_series_with_a_test_is_tested() -> None:
    # Mann-Kendall has p = 1 there.
    map_ = make_map((SLOPE, PVALUE), row(0, 0, NAN), row(1, NAN, NAN), status=[[3, 3, 3]])
    assert names_of_pixels(plot_map(map_)) == [["no change", CONSTANT, CONSTANT]]
    map_ = make_map((RVALUE, PVALUE), row(0.5, NAN), row(0.1, NAN), status=[[0, 3]])
    assert names_of_pixels(plot_map(map_)) == [["positive, not significant", "constant series"]]


def test_infinite_changes_have_a_sign() -> None:
    map_ = make_map((SLOPE, PVALUE), row(np.inf, -np.inf, np.inf, -np.inf, NAN), row(0.01, 0.5, NAN, 0.01, 0.01))
    assert names_of_pixels(plot_map(map_)) == [[UP, DOWN_WEAK, "not tested", DOWN, "missing"]]


def test_without_untested_or_unchanged_pixels_there_are_no_such_classes() -> None:
    figure = plot_map(make_map((SLOPE, PVALUE), row(1, -1), row(0.5, 0.01)))
    assert labels(figure) == [UP, UP_WEAK, DOWN_WEAK, DOWN]
    assert entries(figure)[0].startswith(f"{UP} (0 %")  # no finding is one, too


def test_zero_is_no_change_whatever_its_p() -> None:
    figure = plot_map(make_map((SLOPE, PVALUE), row(0, -0.0, 1, -1), row(0.9, 0.001, 0.09, 0.09)), significant=0.1)
    up, down = (f"significant {word}, p < 0.1" for word in ("increase", "decrease"))
    assert names_of_pixels(figure) == [["no change", "no change", up, down]]


def test_what_is_no_change_is_positive_or_negative() -> None:
    map_ = make_map((RVALUE, PVALUE), row(0.9, -0.9, 0.1, -0.1, 0), row(0.01, 0.01, 0.5, 0.5, 0.5))
    expected = [
        "significantly positive, p < 0.05", "significantly negative, p < 0.05", "positive, not significant",
        "negative, not significant", "zero",
    ]  # fmt: skip
    assert names_of_pixels(plot_map(map_)) == [expected]


def test_three_levels_of_confidence() -> None:
    pvalue = row(0.001, 0.02, 0.07, 0.3, 0.009, 0.049, 0.099, 0.1, NAN)
    figure = plot_map(make_map((SLOPE, PVALUE), row(1, 1, 1, 1, -1, -1, -1, -1, 1), pvalue), classes="confidence")
    expected = [
        "increase at 99 %, p < 0.01", "increase at 95 %, p < 0.05", "increase at 90 %, p < 0.1", "not significant",
        "decrease at 99 %, p < 0.01", "decrease at 95 %, p < 0.05", "decrease at 90 %, p < 0.1", "not significant",
        "not tested",
    ]  # fmt: skip
    assert names_of_pixels(figure) == [expected]
    assert labels(figure) == [*expected[:4], *expected[6:3:-1], "not tested"]


@pytest.fixture
def adjusted() -> pw.Map:
    """Return a map with p-values, and the q-values that were made of them."""
    return make_map(
        (SLOPE, PVALUE, QVALUE), row(1, 1, -1, -1), row(0.01, 0.04, 0.01, NAN), row(0.1, 0.2, 0.05, NAN),
        provenance={"fdr": {"q": 0.1}},
    )  # fmt: skip


def test_q_values_are_used_and_named_where_there_are_any(adjusted: pw.Map) -> None:
    up, down = (f"significant {word}, q ≤ 0.1" for word in ("increase", "decrease"))
    assert names_of_pixels(plot_map(adjusted)) == [[up, UP_WEAK, down, "not tested"]]
    up = "significant increase, q ≤ 0.05"
    assert shares(plot_map(adjusted, significant=0.05))[up] == 0
    # As asked for, the p-values.
    assert names_of_pixels(plot_map(adjusted, pvalue="pvalue")) == [[UP, UP, DOWN, "not tested"]]
    confident = labels(plot_map(adjusted, classes="confidence"))
    assert confident[0] == "increase, q ≤ 0.01"


def test_flags_say_what_is_significant_where_they_were_made_for_this_level() -> None:
    # Rounding may move a q-value over the limit: the flags were set before.
    map_ = make_map(
        (SLOPE, PVALUE, QVALUE, SIGNIFICANT), row(1, 1, -1), row(0.5, 0.5, 0.5), row(0.2, 0.01, 0.3),
        np.array([[1, 0, 1]], np.int32), provenance={"fdr": {"q": 0.1}},
    )  # fmt: skip
    up, down = (f"significant {word}, q ≤ 0.1" for word in ("increase", "decrease"))
    assert names_of_pixels(plot_map(map_)) == [[up, UP_WEAK, down]]
    assert names_of_pixels(plot_map(map_, significant=0.05))[0][1] == "significant increase, q ≤ 0.05"


@pytest.mark.parametrize("q", [5, -1, "0.1", None, NAN, [0.1], True])
def test_a_level_that_a_file_makes_up_is_not_used(q: Any) -> None:
    map_ = make_map((SLOPE, PVALUE, QVALUE), row(1), row(0.5), row(0.2), provenance={"fdr": {"q": q}})
    assert labels(plot_map(map_))[0] == "significant increase, q ≤ 0.05"


def test_one_of_several_p_values() -> None:
    other = pw.Band("pvalue_mk", kind="test")
    map_ = make_map((SLOPE, PVALUE, other), row(1, -1), row(0.01, 0.5), row(0.5, 0.01))
    assert names_of_pixels(plot_map(map_)) == [[UP, DOWN_WEAK]]
    assert names_of_pixels(plot_map(map_, pvalue="pvalue_mk")) == [[UP_WEAK, DOWN]]


def test_coefficients_have_their_own_p_value() -> None:
    rain = pw.Band("rain", kind="signed", pvalue="rain_pvalue")
    whole = make_map((rain, pw.Band("rain_pvalue", kind="test"), PVALUE), row(1, 1), row(0.5, 0.5), row(0.001, 0.001))
    assert labels(plot_map(whole))[1] == "positive, not significant"
    assert shares(plot_map(whole))["positive, not significant"] == 100  # the whole model is significant


# --- other kinds --------------------------------------------------------------------------------------------------


def test_correlations_without_a_test_are_divided_about_zero() -> None:
    band = pw.Band("r1", kind="correlation")
    values = np.array([[-1, -0.75, -0.74, -0.3, -0.1, 0, 0.2, 0.25, 0.6, 1, NAN]], np.float32)
    figure = plot_map(make_map((band,), values))
    assert labels(figure) == [
        "0.75 and above", "0.5 to 0.75", "0.25 to 0.5", "0 to 0.25", f"{MINUS}0.25 to 0", f"{MINUS}0.5 to {MINUS}0.25",
        f"{MINUS}0.75 to {MINUS}0.5", f"below {MINUS}0.75", "missing",
    ]  # fmt: skip
    # A limit belongs to the class above it.
    expected = {"0.75 and above": 10, "0 to 0.25": 20, "0.25 to 0.5": 10, f"below {MINUS}0.75": 10}
    assert {name: share for name, share in shares(figure).items() if name in expected} == expected


def test_p_values_alone() -> None:
    values = np.array([[0, 0.0009, 0.001, 0.01, 0.049, 0.05, 0.1, 1, NAN]], np.float32)
    figure = plot_map(make_map((PVALUE,), values))
    names = ["below 0.001", "0.001 to 0.01", "0.01 to 0.05", "0.05 to 0.1", "0.1 and above"]
    assert labels(figure) == [*names[::-1], "missing"]
    expected = [*names[:1] * 2, names[1], *names[2:3] * 2, names[3], *names[4:] * 2, "missing"]
    assert names_of_pixels(figure) == [expected]


def test_shares() -> None:
    figure = plot_map(make_map((pw.Band("r2", kind="share"),), row(0, 0.2, 0.39, 0.6, 0.8, 1)))
    assert shares(figure) == {
        "0.8 and above": 33.3, "0.6 to 0.8": 16.7, "0.4 to 0.6": 0, "0.2 to 0.4": 33.3, "below 0.2": 16.7,
    }  # fmt: skip


def test_days_of_the_year_are_months_in_the_order_of_a_calendar() -> None:
    # 1 January, 31 January, 1 February, 1 March, 30 June, 1 July, 31 December of usual years, 366.
    days = row(1, 31.9, 32, 60, 181, 182, 365, 366, NAN)
    figure = plot_map(make_map((pw.Band("peak_1", "Day of the peak", "day of year", kind="day of year"),), days))
    names = [label for label in labels(figure) if label != "missing"]
    assert names == [str(np.datetime64(f"2001-{month:02}").astype(object).strftime("%B")) for month in range(1, 13)]
    assert names_of_pixels(figure) == [
        ["January", "January", "February", "March", "June", "July", "December", "December", "missing"]
    ]
    assert key_title(figure).splitlines()[0] == "peak_1"


def test_starts_of_months_are_those_of_a_usual_year() -> None:
    every = np.arange(1.0, 366)[None]
    figure = plot_map(make_map((pw.Band("peak_1", kind="day of year"),), every))
    months = [
        str((np.datetime64("2001-01-01") + (int(day) - 1) * DAY).astype(object).strftime("%B")) for day in every[0]
    ]
    assert names_of_pixels(figure) == [months]


def test_statuses_have_words() -> None:
    map_ = make_map((SLOPE,), row(1, NAN, 2, 1, 1, 1), status=[[0, 1, 6, 0, 0, 77]])
    figure = plot_map(map_, "status")
    assert list(shares(figure).items()) == [
        ("0 ok", 50.0), ("1 no observation", 16.7), ("6 test undefined", 16.7), ("77 unknown", 16.7),
    ]  # fmt: skip
    assert key_title(figure) == "status\nshare of the area"
    every = make_map((SLOPE,), np.ones((1, 10)), status=[list(Status)])
    words = labels(plot_map(every, "status"))
    assert [int(label.split(" ")[0]) for label in words] == [int(code) for code in Status if code != Status.OUTSIDE]
    assert not any("unknown" in label for label in words)


def test_codes_of_others_have_the_words_of_their_description() -> None:
    band = pw.Band("land", "0 water, 3 forest, 7 city, of 2001", integer=True, kind="code")
    figure = plot_map(make_map((band,), np.array([[3, 3, 7, 12]], np.int32)))
    assert list(shares(figure).items()) == [("3 forest", 50.0), ("7 city", 25.0), ("12 unknown", 25.0)]


def test_counts_have_whole_numbers() -> None:
    values = np.array([[18, 19, 20, 21, 22, 23, 24, 25, 26, 27]], np.int32)
    assert labels(plot_map(make_map((COUNT,), values)))[::-1] == [
        "18 to 19",
        "20 to 21",
        "22 to 23",
        "24 to 25",
        "26 to 27",
    ]
    figure = plot_map(make_map((COUNT,), np.array([[0, 0, 3, 4]], np.int32)))
    assert shares(figure) == {"4": 25, "3": 25, "0": 50}
    # Where nothing was observed, nothing is: the grey of missing pixels.
    assert key_colors(figure)["0"] == key_colors(plot_map(make_map((SLOPE,), row(1, NAN))))["missing"]


def test_counts_outside_the_region_do_not_count() -> None:
    figure = plot_map(make_map((COUNT,), np.array([[0, 0, 5, 6]], np.int32), status=[[9, 9, 0, 0]]))
    assert shares(figure) == {"6": 50, "5": 50}


def test_years_are_earlier_and_later() -> None:
    band = pw.Band("break", unit="year", kind="time")
    values = np.linspace(1985.2, 2012.7, 200)[None]
    found = labels(plot_map(make_map((band,), values)))
    assert found[0].endswith(" and later")
    assert found[-1].startswith("before ")
    assert all("." not in label for label in found)
    assert labels(plot_map(make_map((band,), values), classes=[2000, 2010])) == [
        "2010 and later", "2000 to 2010", "before 2000",
    ]  # fmt: skip


def test_levels_have_readable_limits() -> None:
    random = np.random.default_rng(0)
    values = random.lognormal(3.5, 0.5, (40, 50))
    values[0, 0] = 1211481.0  # no "65.0 to 1211481.0"
    figure = plot_map(make_map((pw.Band("years_to_detect", unit="year", kind="level"),), values))
    found = labels(figure)
    assert found[0].endswith(" and above")
    assert found[-1].startswith("below ")
    limits = sorted({float(word) for label in found for word in label.split() if word[0].isdigit()})
    assert len(limits) == 4
    assert all(limit == round(limit) for limit in limits)
    # The shares are those of these limits, not of the quantiles that they are near.
    expected = np.diff([0.0, *((values < limit).mean() for limit in limits), 1.0]) * 100
    assert list(shares(figure).values())[::-1] == pytest.approx(expected, abs=0.051)
    assert expected == pytest.approx([20] * 5, abs=8)


def test_infinite_values_are_a_class_of_their_own() -> None:
    figure = plot_map(make_map((pw.Band("years", kind="level"),), row(1, 2, 3, 4, 5, 6, np.inf, np.inf, NAN)))
    assert labels(figure)[0] == "infinite"
    assert shares(figure)["infinite"] == 25
    assert names_of_pixels(figure)[0][-3:] == ["infinite", "infinite", "missing"]
    alone = plot_map(make_map((pw.Band("years", kind="level"),), row(np.inf, NAN)))
    assert shares(alone) == {"infinite": 100, "missing": 50}


def test_a_band_of_no_kind_has_quintiles_about_zero() -> None:
    band = pw.Band("anything", unit="m")
    figure = plot_map(make_map((band,), row(-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5)))
    assert shares(figure) == {
        "3 to 5": 27.3, "1 to 3": 18.2, f"{MINUS}1 to 1": 18.2, f"{MINUS}3 to {MINUS}1": 18.2,
        f"{MINUS}5 to {MINUS}3": 18.2,
    }  # fmt: skip
    assert key_title(figure) == "anything (m)\nshare of the area"


@pytest.mark.parametrize("kind", get_args(BandKind))
def test_every_kind_has_classes_for_nothing_and_for_one_value(kind: BandKind) -> None:
    band = pw.Band("b", kind=kind)
    assert entries(plot_map(make_map((band,), row(NAN, NAN)))) != []
    figure = plot_map(make_map((band,), row(3 if kind == "code" else 0.5, NAN)))
    assert sum(share for label, share in shares(figure).items() if label != "missing") == 100
    assert shares(figure)["missing"] == 50


# --- as asked for -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 4, 7])
def test_quantiles_hold_as_many_pixels_each(count: int) -> None:
    values = np.random.default_rng(2).normal(size=(28, 30))
    figure = plot_map(make_map((SLOPE, PVALUE), values, values * 0), classes=f"quantile:{count}")
    assert list(shares(figure).values()) == pytest.approx([100 / count] * count, abs=0.2)
    limits = [label.replace(MINUS, "-").split(" to ") for label in labels(figure)]
    expected = np.quantile(values, np.linspace(1, 0, count + 1))
    assert [float(high) for _, high in limits] == pytest.approx(expected[:-1], abs=0.06)
    assert [float(low) for low, _ in limits] == pytest.approx(expected[1:], abs=0.06)


def test_equal_classes_have_equal_widths() -> None:
    figure = plot_map(make_map((pw.Band("b", kind="level"),), row(0, 1, 2, 3, 4, 10)), classes="equal:5")
    assert labels(figure) == ["8 to 10", "4 to 6", "2 to 4", "0 to 2"]  # none is empty
    assert shares(figure) == {"8 to 10": 16.7, "4 to 6": 16.7, "2 to 4": 33.3, "0 to 2": 33.3}


def test_natural_breaks_lie_in_gaps() -> None:
    values = row(1, 1.1, 1.2, 5, 5.1, 9, 9.1, 9.2, 9.3, 9.4)
    figure = plot_map(make_map((pw.Band("b", kind="level"),), values), classes="fisher:3")
    assert list(shares(figure).values()) == [50, 20, 30]


@pytest.mark.parametrize("limits", [[0, 0.1, 0.5], (0.0, 0.1, 0.5), "0,0.1,0.5"])
def test_limits_given_by_hand(limits: Any) -> None:
    figure = plot_map(make_map((pw.Band("b"),), row(-1, 0, 0.05, 0.1, 0.3, 0.5, 9, NAN)), classes=limits)
    assert list(shares(figure).items()) == [
        ("0.5 and above", 28.6), ("0.1 to 0.5", 28.6), ("0 to 0.1", 28.6), ("below 0", 14.3), ("missing", 12.5),
    ]  # fmt: skip


def test_a_colour_bar_is_centred_where_signs_matter_and_names_what_is_beyond() -> None:
    values = np.linspace(-1, 3, 1001)[None]
    figure = plot_map(make_map((SLOPE, PVALUE), values, values * 0), classes="continuous")
    bar = figure.axes[1]
    low, high = bar.get_xlim()
    assert low == -high
    assert high == pytest.approx(np.quantile(values, 0.98), abs=1e-6)
    assert bar.get_title(loc="left") == "slope (per year)"
    colors = image_of(figure)[0]
    zero = int(np.argmin(np.abs(values)))
    assert colors[0] == colors[0] != colors[-1]
    assert sum(int(colors[zero][k : k + 2], 16) for k in (1, 3, 5)) > 700  # pale
    level = plot_map(make_map((pw.Band("b", kind="level"),), row(1, 2, 3, NAN)), classes="continuous")
    assert level.axes[1].get_xlim() == (pytest.approx(1.04), pytest.approx(2.96))
    assert shares(level) == {"missing": 25}


def test_a_colour_bar_of_one_value() -> None:
    figure = plot_map(make_map((pw.Band("b", kind="level"),), row(2, 2)), classes="continuous")
    assert figure.axes[1].get_xlim() == (1.5, 2.5)


def test_a_palette_asked_for_is_used() -> None:
    map_ = make_map((SLOPE, PVALUE), row(1, -1), row(0.01, 0.01))
    green, red = (key_colors(plot_map(map_, palette=palette))[UP] for palette in ("greening", "warming"))
    assert int(green[3:5], 16) > int(green[1:3], 16)
    assert int(red[1:3], 16) > int(red[3:5], 16)
    level = make_map((pw.Band("b", kind="level"),), row(1, 2, 3))
    assert key_colors(plot_map(level, palette="cividis")) != key_colors(plot_map(level))


# --- what is refused ----------------------------------------------------------------------------------------------

LEVEL = pw.Band("level", kind="level")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"band": "slop"}, "unknown band 'slop'; did you mean 'slope'"),
        ({"classes": "quintiles"}, "did you mean 'quintile'"),
        ({"classes": "quantile"}, r"classes 'quantile': expected quantile:K with K from 2 to 12"),
        ({"classes": "quantile:1"}, r"expected quantile:K with K from 2 to 12"),
        ({"classes": "equal:99"}, r"expected equal:K with K from 2 to 12"),
        ({"classes": "fisher:\N{SUPERSCRIPT TWO}"}, r"expected fisher:K with K from 2 to 12"),
        ({"classes": "fisher:" + "9" * 5000}, r"expected fisher:K with K from 2 to 12"),
        ({"classes": "trend:3"}, "classes 'trend:3': expected trend"),
        ({"classes": ""}, "classes="),
        ({"classes": "1,0"}, "expected limits that ascend, such as 0,0.1,0.5"),
        ({"classes": "0,nan"}, "expected limits that ascend"),
        ({"classes": []}, "expected limits that ascend"),
        ({"classes": ["0", "x"]}, "expected a text such as quintile, or limits"),
        ({"classes": "5"}, "classes 5: for 5 classes, give quantile:5 or equal:5; for one limit at 5, give 5.0"),
        ({"classes": "natural"}, "classes 'natural': natural breaks are fisher:5"),
        ({"classes": 5}, "classes 5: expected a text such as quintile, or limits"),
        ({"classes": "9," * 9000 + "1"}, "expected limits that ascend"),
        ({"classes": [10.0**k for k in range(-20, 250)]}, "270 limits make more than 12 classes"),
        ({"classes": list(range(12))}, "12 limits make more than 12 classes"),
        ({"palette": "rainbow"}, "palette='rainbow' is not one of"),
        ({"palette": "viridis"}, "band slope has two directions, which palette viridis does not suit"),
        ({"significant": 0}, "significant 0 is not a significance level"),
        ({"significant": 1.0}, "significant 1 is not a significance level"),
        ({"significant": NAN}, "significant nan is not a significance level"),
        ({"significant": 0.01, "classes": "confidence"}, "classes confidence have the levels 90, 95 and 99 %"),
        ({"significant": 0.01, "classes": "quintile"}, "significant 0.01 is the level of a test: classes quintile"),
        ({"pvalue": "pvalu"}, "unknown band 'pvalu'; did you mean 'pvalue'"),
        ({"pvalue": "level"}, r"pvalue level: the numbers of this band are not p-values \(level\)"),
        ({"pvalue": "pvalue", "classes": "equal:3"}, "pvalue pvalue is for classes trend and confidence"),
        ({"band": "level", "classes": "trend"}, "no p-value, which trend classes need: choose band slope, or"),
        ({"band": "level", "significant": 0.1}, "significant 0.1 is the level of a test: band level has no p-value"),
        ({"band": "status", "classes": "quintile"}, "status are codes with one class each: leave classes out"),
        ({"band": ["slope", "level"], "significant": 0.1}, "belong to one band: draw it alone"),
    ],
)  # fmt: skip
def test_mistakes(options: dict[str, Any], message: str) -> None:
    map_ = make_map((SLOPE, PVALUE, LEVEL), row(1, 2), row(0.1, 0.5), row(1, 2), status=[[0, 0]])
    with pytest.raises(pw.ParameterError, match=message) as error:
        plot_map(map_, **options)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_map_without_its_p_values_has_quintiles_and_says_why_not_others() -> None:
    map_ = make_map((SLOPE,), row(1, 2))
    assert len(entries(plot_map(map_))) == 2
    with pytest.raises(
        pw.ParameterError, match="trend classes need the band pvalue, which this map lacks: write it with"
    ):
        plot_map(map_, classes="trend")


def test_every_kind_of_classes_is_drawn() -> None:
    map_ = make_map((SLOPE, PVALUE), row(1, 2, 3, -4), row(0.01, 0.02, 0.5, 0.9))
    for kind in get_args(ClassKind):
        assert plot_map(map_, classes=f"{kind}:3" if kind in ("quantile", "equal", "fisher") else kind).legends


# --- shares and areas ---------------------------------------------------------------------------------------------


def rows_by_geod(geod: Any, left: float, top: float, step: float, shape: tuple[int, int]) -> list[float]:
    """Return the km2 of a pixel of each row of a geographic grid, with edges that follow parallels."""
    found = []
    for row_ in range(shape[0]):
        north, south = top - row_ * step, top - (row_ + 1) * step
        # A geodesic is no parallel: a hundred pieces of one are.
        along = [left + step * k / 100 for k in range(101)]
        ring = [*((x, south) for x in along), *((x, north) for x in along[::-1])]
        found.append(abs(geod.polygon_area_perimeter(*zip(*ring, strict=True))[0]) / 1e6)
    return found


def test_shares_are_those_of_area_with_square_kilometres() -> None:
    from pyproj import Geod

    slope = np.where(np.arange(12)[:, None] < 6, 1.0, -1.0) * np.ones((12, 8))  # up in the north
    slope[0] = NAN
    map_ = make_map(
        (SLOPE, PVALUE), slope, np.full((12, 8), 0.01), crs="EPSG:4326", transform=Affine(5, 0, 10, 0, -5, 75)
    )
    each = np.array(rows_by_geod(Geod(ellps="WGS84"), 10, 75, 5, (12, 8))) * 8
    figure = plot_map(map_)
    found = areas(figure)
    assert found[UP] == pytest.approx(each[1:6].sum(), abs=0.51)
    assert found[DOWN] == pytest.approx(each[6:].sum(), abs=0.51)
    assert found["missing"] == pytest.approx(each[0], abs=0.51)
    assert shares(figure)[UP] == pytest.approx(100 * each[1:6].sum() / each[1:].sum(), abs=0.051)
    assert shares(figure)["missing"] == pytest.approx(100 * each[0] / each.sum(), abs=0.051)
    assert shares(figure)[UP] < 40  # pixels say 45.5


def test_without_crs_shares_are_those_of_pixels() -> None:
    figure = plot_map(make_map((SLOPE, PVALUE), row(1, -1, NAN, 1), row(0.01, 0.5, NAN, 0.01), crs=None))
    assert entries(figure) == [
        f"{UP} (66.7 %)", f"{UP_WEAK} (0 %)", f"{DOWN_WEAK} (33.3 %)", f"{DOWN} (0 %)",
        "missing (25.0 % of all pixels)",
    ]  # fmt: skip
    assert key_title(figure) == "slope\nshare of the pixels with values"


def test_what_lies_outside_the_region_is_not_missing_and_cut_off() -> None:
    status = np.full((8, 10), 9, np.uint8)
    status[2:5, 3:9] = 0
    status[3, 4] = 1
    status[2, 3] = 9  # a region is no rectangle
    slope = np.where(status == 0, 1.0, NAN)
    figure = plot_map(make_map((SLOPE, PVALUE), slope, slope * 0.01, status=status))
    image = image_of(figure)
    assert (len(image), len(image[0])) == (3, 6)
    assert image[0][0] == "#ffffff"
    # 30 m pixels: the picture begins 3 columns and 2 rows from the corner.
    assert figure.axes[0].get_xlim() == (500090, 500270)
    assert figure.axes[0].get_ylim() == (3399850, 3399940)
    assert shares(figure)[UP] == 100
    assert shares(figure)["missing"] == pytest.approx(100 / 17, abs=0.051)


def test_a_region_without_pixels() -> None:
    figure = plot_map(make_map((SLOPE, PVALUE), row(NAN, NAN), row(NAN, NAN), status=[[9, 9]]))
    assert set(image_of(figure)[0]) == {"#ffffff"}
    assert "missing" not in labels(figure)


def test_alaska(shared: Callable[[str], Path], tmp_path: Path) -> None:
    """The areas of a real map, computed row by row with pyproj.Geod.

    The issue's 233 433 and 175 950 km2 were measured with an older p-value of `trend`; the whole has not changed.
    """
    from pyproj import Geod

    stack = pw.open_stack(shared("remoteparts_ak_ndvi") / "geotiff")
    map_ = pw.apply(stack, "trend", tmp_path / "ak.tif", bands=["slope", "pvalue"])
    grid = map_.grid
    each = np.array(rows_by_geod(
        Geod(ellps="WGS84"), grid.transform.c, grid.transform.f, grid.transform.a, (grid.height, grid.width)
    ))[:, None]  # fmt: skip
    slope, pvalue = map_["slope"], map_["pvalue"]
    found = areas(plot_map(map_))
    up, down = (slope > 0) & (pvalue < np.float32(0.05)), (slope < 0) & (pvalue < np.float32(0.05))
    assert found[UP] == pytest.approx((each * up).sum(), abs=0.51) == 243_629
    assert found[DOWN] == pytest.approx((each * down).sum(), abs=0.51) == 197_989
    assert (each * np.isfinite(slope)).sum() == pytest.approx(1_146_050, abs=0.51)
    # Per cent of the area, where pixels say 23.0 and 15.8.
    assert (shares(plot_map(map_))[UP], shares(plot_map(map_))[DOWN]) == (21.3, 17.3)


def test_zero_is_neither_an_increase_nor_a_decrease() -> None:
    # Land in a map of the sea: its zeros are a limit of the quintiles.
    slope = pw.Band("slope", "Median change", "K/year", kind="change")
    parts = (np.linspace(-1, -0.1, 25), np.full(19, 0.0), np.linspace(0.1, 1, 56))
    written = entries(plot_map(make_map([slope], np.concatenate(parts).reshape(10, 10))))
    assert [entry.split(",")[0] for entry in written if entry.startswith("0.00 (")] == ["0.00 (19.0 %"]
    assert len(written) == 6


def test_every_band_of_a_map_with_q_values_has_a_picture() -> None:
    significant = pw.Band("significant", "0 not significant, 1 significant, 2 not tested", integer=True, kind="code")
    bands = [SLOPE, PVALUE, QVALUE, significant]
    map_ = make_map(bands, row(1, -1), row(0.01, 0.5), row(0.02, 0.5), np.array([[1, 0]]))
    for band in bands:
        assert entries(plot_map(map_, band.name)), band.name
    assert headings(plot_map(map_, "significant"))[0] == "Significant"
    with pytest.raises(pw.ParameterError, match="band qvalue has no p-value, which trend classes need"):
        plot_map(map_, "qvalue", classes="trend")


def test_days_of_the_year_have_no_lowest() -> None:
    day = pw.Band("peak_1", "Day of year of the first peak", "day of year", kind="day of year")
    map_ = make_map([day], row(3, 360))
    with pytest.raises(pw.ParameterError, match="which have no lowest value: leave classes out, or give limits"):
        plot_map(map_, classes="continuous")
    assert len(entries(plot_map(map_, classes="100,200"))) == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.arange(300), "band c has more than 250 different codes: too many for classes of their own"),
        (
            np.random.default_rng(0).random(300),
            r"band c: its kind says that numbers are codes, but 0\.\d+ is not a whole",
        ),
    ],
)
def test_codes_are_few_and_whole(values: Any, message: str) -> None:
    with pytest.raises(pw.ParameterError, match=message):
        scheme_of(make_map((pw.Band("c", kind="code"),), values.astype(np.float64).reshape(1, -1)))
    assert len(scheme_of(make_map((pw.Band("c", kind="code"),), np.arange(250.0).reshape(1, -1))).classes) == 250

"""Slopes whose p-value tests another line: no rise is called a significant decrease."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.maps.classified import classify
from pixelwise.maps.info import info_of
from pixelwise.pictures.agreement import disagreements
from pixelwise.pictures.choosing import scheme_of
from pixelwise.pictures.tally import tally_of
from pixelwise.report.paragraph import paragraph_for
from support.command_line import run
from support.drawn import NAN, PVALUE, QVALUE, SIGNIFICANT, SLOPE, make_map
from support.rasters import MakeStack

OLS = replace(SLOPE, name="ols_slope")
LOW, HIGH = (pw.Band(f"{side}_slope", unit="1/year", kind="change") for side in ("low", "high"))
BY_TREND = {"method": "trend", "parameters": {"confidence_level": 0.95}}

#: Rises and falls that the test confirms, and two whose tested line has the other sign; not significant; no value.
SLOPES = [[1.0, -1.0, 1.0, -1.0, -1.0, NAN]]
TESTED = [[1.0, -1.0, -1.0, 1.0, 1.0, NAN]]
PVALUES = [[0.01, 0.01, 0.01, 0.01, 0.5, NAN]]


def counts_of(map_: pw.Map, **options: object) -> dict[str, int]:
    """Return the pixels of classes that have some."""
    tally = tally_of(map_, scheme_of(map_, **options))  # type: ignore[arg-type]
    pairs = zip(tally.scheme.classes, tally.pixels.tolist(), strict=True)
    return {one.label.split(", p ")[0].split(", q ")[0]: pixels for one, pixels in pairs if pixels}


def test_a_pixel_is_significant_only_if_the_tested_line_has_its_sign() -> None:
    map_ = make_map((SLOPE, OLS, PVALUE), SLOPES, TESTED, PVALUES)
    expected = {
        "significant decrease": 1, "decrease, not significant": 2,
        "increase, not significant": 1, "significant increase": 1,
    }  # fmt: skip
    assert counts_of(map_) == expected
    # What is tested has the sign of the test.
    assert counts_of(map_, band="ols_slope") == {
        "significant decrease": 2, "increase, not significant": 1, "significant increase": 2,
    }  # fmt: skip
    confident = counts_of(map_, classes="confidence")
    assert confident["not significant"] == 3


def test_q_values_and_flags_follow() -> None:
    flags = np.array([[1, 1, 1, 1, 0, 2]], np.uint8)
    bands = (SLOPE, OLS, PVALUE, QVALUE, SIGNIFICANT)
    map_ = make_map(bands, SLOPES, TESTED, PVALUES, PVALUES, flags, provenance={"fdr": {"q": 0.1}})
    assert counts_of(map_)["significant decrease"] == 1


def test_another_test_of_the_slope_itself_is_not_held_against_it() -> None:
    rank = pw.Band("pvalue_mk", kind="test")
    map_ = make_map((SLOPE, OLS, PVALUE, rank), SLOPES, TESTED, PVALUES, PVALUES)
    assert counts_of(map_, pvalue="pvalue_mk")["significant decrease"] == 2


def test_disagreements_are_counted_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    low, high = np.array([[0.5, -2, -1, -2, -2, NAN]]), np.array([[2, 1, 2, -0.5, 1, NAN]])
    map_ = make_map((SLOPE, LOW, HIGH, OLS, PVALUE), SLOPES, low, high, TESTED, PVALUES, provenance=BY_TREND)
    signs, limits = disagreements(map_)
    assert signs.startswith("in 2 of 4 pixels with pvalue < 0.05, slope has the opposite sign to ols_slope")
    assert limits.startswith("50.0 % of the pixels with pvalue < 0.05 have limits of the slope that include 0")
    assert info_of(map_).disagreements == (signs, limits)
    classify(map_, tmp_path / "classes.tif")
    assert [record.getMessage() for record in caplog.records] == [signs, limits]


def test_what_agrees_is_not_mentioned() -> None:
    assert disagreements(make_map((SLOPE, OLS, PVALUE), SLOPES, SLOPES, PVALUES)) == []
    assert disagreements(make_map((SLOPE, PVALUE), SLOPES, PVALUES)) == []
    assert disagreements(make_map((PVALUE,), PVALUES)) == []


def dips() -> np.ndarray:
    """Return two pixels: a slow fall with such a low in the first years that the line rises; the same without it."""
    fall = np.random.default_rng(1).normal(0, 0.002, 21) - 0.002 * np.arange(21)
    low = np.where(np.arange(21) < 5, fall - 0.1, fall)
    return np.stack([low, fall], axis=1)[:, None].astype("float32")


def test_apply_says_how_many_and_where_nothing_can_show_it(
    make_stack: MakeStack, caplog: pytest.LogCaptureFixture
) -> None:
    stack = pw.open_stack(make_stack(dips(), range(2000, 2021)))
    map_ = pw.apply(stack, "trend")
    assert map_["slope"][0, 0] < 0 < map_["ols_slope"][0, 0]
    assert map_["pvalue"][0, 0] < 0.05
    assert "in 1 of 2 pixels with pvalue < 0.05, slope has the opposite sign" in caplog.text
    assert counts_of(map_) == {"significant decrease": 1, "decrease, not significant": 1}
    bare = pw.apply(stack, "trend", bands=["slope", "pvalue"])
    assert any("add ols_slope to the bands" in text for text in bare.provenance["warnings"])


def test_pictures_and_the_paragraph_say_it(make_stack: MakeStack, tmp_path: Path) -> None:
    path = tmp_path / "trend.tif"
    map_ = pw.apply(pw.open_stack(make_stack(dips(), range(2000, 2021))), "trend", path)
    said = "n 1 of 2 pixels with pvalue < 0.05, slope has the opposite sign to ols_slope"
    assert f"I{said}" in paragraph_for(map_)
    assert f"warning: i{said}" in run("plot", path, "-o", tmp_path / "a.png").stderr
    assert "opposite" not in run("plot", path, "-o", tmp_path / "n.png", "--band", "n").stderr

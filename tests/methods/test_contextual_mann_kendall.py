"""`contextual_mann_kendall` against its formula pixel by pixel, and the same whatever the blocks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pymannkendall
import pytest
import scipy.stats

import pixelwise as pw
from pixelwise.bands import Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.methods import contextual_mann_kendall, mann_kendall
from support.compiled import compiled_only
from support.limits import set_limits
from support.rasters import MakeStack, random_series

YEARS = TimeAxis.from_times(np.arange(2000.0, 2018.0))
TESTED = ("s", "var_s", "z", "pvalue", "members")


def field(height: int, width: int, gaps: float = 0.0, seed: int = 0, digits: int = 3) -> Any:
    """Return (time, y, x) noise that neighbours share, with a trend."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(18, height + 2, width + 2))
    shared = sum(noise[:, i : i + height, j : j + width] for i in range(3) for j in range(3))
    values = (shared + 0.1 * np.arange(18)[:, None, None]).round(digits)
    values[rng.random(values.shape) < gaps] = np.nan
    return values


def in_plain_words(values: Any, row: int, col: int, window: int = 3, min_obs: int = 4) -> dict[str, float]:
    """Sum over all pairs of the window's pixels; a missing value counts as the mean of its series."""
    r = window // 2
    block = values[:, max(row - r, 0) : row + r + 1, max(col - r, 0) : col + r + 1].reshape(len(values), -1)
    members = [y for y in block.T if (~np.isnan(y)).sum() >= min_obs]
    tests = [pymannkendall.original_test(y[~np.isnan(y)]) for y in members]
    total = 0.0
    for y, a in zip(members, tests, strict=True):
        for z, b in zip(members, tests, strict=True):
            one, other = np.nan_to_num(y - np.nanmean(y)), np.nan_to_num(z - np.nanmean(z))
            lengths = math.sqrt((one @ one) * (other @ other))
            total += one @ other / lengths * math.sqrt(a.var_s * b.var_s) if lengths else 0.0
    s, variance = np.mean([test.s for test in tests]), total / len(tests) ** 2
    z = s / math.sqrt(variance)
    return {"s": s, "var_s": variance, "z": z, "pvalue": 2 * scipy.stats.norm.sf(abs(z)), "members": len(tests)}


def whole_map(values: Any, tmp_path: Path, make_stack: MakeStack, method: pw.Method, **options: Any) -> pw.Map:
    stack = pw.open_stack(make_stack(values, [int(year) for year in YEARS.years], folder="field", **options))
    return pw.apply(stack, method, dtype="float64")


@pytest.mark.parametrize(("gaps", "window"), [(0.0, 3), (0.2, 3), pytest.param(0.1, 5, marks=compiled_only), (0.9, 3)])
def test_the_formula(tmp_path: Path, make_stack: MakeStack, gaps: float, window: int) -> None:
    values = field(9, 11, gaps)
    values[:, 4, 5] = 1.0  # constant: a member whose score is 0
    values[1:, 0, 0] = np.nan
    found = whole_map(values, tmp_path, make_stack, contextual_mann_kendall(window=window))
    alone = mann_kendall()(values.reshape(18, -1), YEARS)
    np.testing.assert_array_equal(found.status.ravel(), alone["status"])
    np.testing.assert_array_equal(found["slope"].ravel(), alone["slope"])
    np.testing.assert_array_equal(found["n"].ravel(), alone["n"])
    for row, col in np.argwhere(found.status == 0):
        expected = in_plain_words(values, row, col, window)
        for name in TESTED:
            assert found[name][row, col] == pytest.approx(expected[name], rel=1e-9, abs=1e-12), name


def test_a_window_of_one_is_mann_kendall_without_continuity(tmp_path: Path, make_stack: MakeStack) -> None:
    values = field(4, 5, 0.2)
    found = whole_map(values, tmp_path, make_stack, contextual_mann_kendall(window=1))
    alone = mann_kendall()(values.reshape(18, -1), YEARS)
    np.testing.assert_array_equal(found["s"].ravel(), alone["s"])
    np.testing.assert_allclose(found["var_s"].ravel(), alone["var_s"], rtol=1e-12)
    np.testing.assert_allclose(found["z"].ravel(), alone["s"] / np.sqrt(alone["var_s"]), rtol=1e-12)
    series = contextual_mann_kendall(window=1)(values.reshape(18, -1), YEARS)
    np.testing.assert_array_equal(series["z"], found["z"].ravel())


@compiled_only
@pytest.mark.parametrize("window", [3, 7])
def test_the_same_bits_whatever_the_blocks(make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    values = random_series((18, 40, 50), seed=3)
    folder = make_stack(values, range(2000, 2018), tiled=True, blockxsize=16, blockysize=16)
    method = contextual_mann_kendall(window=window)
    whole = pw.apply(pw.open_stack(folder), method)
    set_limits(monkeypatch, window_bytes=64)
    for executor in ("threads", "processes"):
        found = pw.apply(pw.open_stack(folder), method, executor=executor, jobs=2)
        for name in found.names:
            assert found[name].tobytes() == whole[name].tobytes()
    part = pw.apply(pw.open_stack(folder).select(bounds=(500300, 3399100, 500900, 3399700)), method)
    np.testing.assert_array_equal(part["z"], whole["z"][10:30, 10:30])


def test_a_window_larger_than_the_image(tmp_path: Path, make_stack: MakeStack) -> None:
    values = field(3, 4)
    found = whole_map(values, tmp_path, make_stack, contextual_mann_kendall(window=11))
    assert (found["members"] == 12).all()
    assert found["z"] == pytest.approx(in_plain_words(values, 1, 1, 11)["z"], rel=1e-9)


def test_pixels_that_cancel_each_other(tmp_path: Path, make_stack: MakeStack) -> None:
    rise = np.arange(18.0)
    values = np.stack([rise, 17 - rise], axis=1)[:, None]
    found = whole_map(values, tmp_path, make_stack, contextual_mann_kendall())
    assert (found.status == Status.TEST_UNDEFINED).all()
    assert np.isnan(found["z"]).all()
    assert found["slope"].tolist() == [[1.0, -1.0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 4}, "window=4: contextual_mann_kendall needs an odd number"),
        ({"window": 0}, "window=0: contextual_mann_kendall needs a whole number, at least 1"),
        ({"min_obs": 2}, "min_obs=2: contextual_mann_kendall needs a whole number, at least 3"),
    ],
)
def test_parameters(options: dict[str, Any], message: str) -> None:
    with pytest.raises(pw.ParameterError, match=message):
        contextual_mann_kendall(**options)
    with pytest.raises(pw.ParameterError, match="uses neighbouring pixels"):
        contextual_mann_kendall()(np.zeros((18, 3)), YEARS)

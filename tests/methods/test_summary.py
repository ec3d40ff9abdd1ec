"""Summaries: moments without cancellation, numpy's quantiles, ends, and what is no number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pixelwise import ParameterError, Status, TimeAxis, methods
from support.oracles import summarise

YEARS = np.arange(2000.0, 2009.0)


@given(
    arrays(
        np.float64,
        (len(YEARS), 3),
        elements=st.one_of(st.just(math.nan), st.floats(-1e6, 1e6), st.integers(-3, 3).map(float)),
    ),
    st.sets(st.integers(1, 99), max_size=4),
)
def test_is_what_numpy_and_fractions_say(values, percentiles):
    quantiles = {"median": 0.5, **{f"p{k}": k / 100 for k in sorted(percentiles)}}
    method = methods.summary(quantiles=list(quantiles))
    names = [band.name for band in method.bands]
    table, status = method.bind(TimeAxis.from_times(YEARS), names, {})((values,))
    for pixel in range(3):
        n = int(np.count_nonzero(~np.isnan(values[:, pixel])))
        found = dict(zip(names, table[:, pixel], strict=True))
        assert found["n"] == n
        if n < 2:
            assert status[pixel] == (Status.TOO_FEW if n else Status.NO_OBSERVATION)
            continue
        expected = summarise(YEARS, values[:, pixel], quantiles)
        spread = expected["max"] - expected["min"]
        for name, value in expected.items():
            if name in ("min", "max", "first", "last", "first_time", "last_time", "n", *quantiles):
                assert found[name] == value, name
            elif name == "cv":
                # Where the mean is lost in the spread, its rounding decides.
                if abs(expected["mean"]) > 1e-6 * spread:
                    assert found[name] == pytest.approx(value, rel=1e-9)
            elif status[pixel] == Status.OK:
                assert found[name] == pytest.approx(value, rel=1e-13, abs=1e-15 * spread), name


def test_digits_are_kept_at_large_offsets():
    values = 1e9 + np.array([[1.0], [2.0], [4.0]])
    found = methods.summary()(values, [2000, 2001, 2002])
    assert found["sd"][0] == pytest.approx(math.sqrt(7 / 3), rel=1e-15)
    assert found["mean"][0] == 1e9 + 7 / 3


def test_a_constant_series_is_like_any_other():
    found = methods.summary()(np.full((5, 1), 0.1), range(2000, 2005))
    assert (found["status"][0], found["sd"][0], found["cv"][0], found["mean"][0]) == (Status.OK, 0, 0, 0.1)
    assert math.isnan(methods.summary()(np.zeros((5, 1)), range(2000, 2005))["cv"][0])


@pytest.mark.parametrize("values", [[1.0, math.inf, 2.0], [-math.inf, 1.0, 2.0], [0.0, 1e200, 2.0], [0.0, 1e-200, 0.0]])
def test_what_leaves_float64_has_no_spread_but_extremes(values):
    found = methods.summary()(np.array(values)[:, None], [2000, 2001, 2002])
    assert found["status"][0] == Status.TEST_UNDEFINED
    assert math.isnan(found["sd"][0])
    assert math.isnan(found["cv"][0])
    assert (found["min"][0], found["max"][0]) == (min(values), max(values))
    assert found["median"][0] == np.median(values)


def test_no_quantile_spares_the_sorting():
    assert [band.name for band in methods.summary(quantiles="none").bands][:4] == ["mean", "sd", "min", "max"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantiles": "p100"}, "quantile 'p100' of summary is unknown"),
        ({"quantiles": "p10,p10"}, "'p10' of summary is given twice"),
        ({"quantiles": ["median", "q1"]}, "'q1' of summary is unknown"),
        ({"min_obs": 1}, "at least 2"),
    ],
)
def test_impossible_parameters(options, message):
    with pytest.raises(ParameterError, match=message):
        methods.summary(**options)

"""RESTREND: two straight lines one after the other, and what regression in one step makes of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pixelwise import ParameterError, Status, methods
from support.oracles import restrend_oracle

YEARS = np.arange(2000, 2012)
elements = st.one_of(st.just(math.nan), st.integers(-4, 4).map(float), st.floats(-9, 9).map(lambda x: round(x, 2)))
series = arrays(np.float64, (len(YEARS),), elements=elements)


@given(series, series)
def test_is_two_straight_lines(values, rain):
    found = methods.restrend()(values, YEARS, rain=rain)
    both = ~np.isnan(values) & ~np.isnan(rain)
    n = np.count_nonzero(both)
    assert found["n"][0] == n
    if n < 4:
        assert found["status"][0] == (Status.TOO_FEW if n else Status.NO_OBSERVATION)
    elif np.ptp(values[both]) == 0:
        assert found["status"][0] == Status.CONSTANT
    elif np.ptp(rain[both]) == 0:
        assert found["status"][0] == Status.DEGENERATE
    elif found["covariate_r2"][0] > 1 - 1e-9:  # residuals are rounding, or little more
        assert found["status"][0] in (Status.OK, Status.TEST_UNDEFINED)
    else:
        expected = restrend_oracle(YEARS.astype(float), values, rain)
        assert found["status"][0] == Status.OK
        for name, value in expected.items():
            # In the sizes that digits cancel in: values of 10, over a few years or a hundredth of rain.
            slack = 1e-5 if name.endswith("intercept") or name == "covariate_slope" else 1e-9
            assert found[name][0] == pytest.approx(value, rel=1e-6, abs=slack), name


def test_takes_a_share_of_the_trend_where_rain_has_one_too():
    """Frisch & Waugh: of the slope at equal rain only 1 - r**2 is left in the residuals."""
    random = np.random.default_rng(0)
    rain = 0.5 * (YEARS - 2000) + random.normal(size=12)
    values = 2 * rain - 0.3 * YEARS + random.normal(size=12)
    found = methods.restrend()(values, YEARS, rain=rain)
    whole = methods.regress(covariates="rain,time")(values, YEARS, rain=rain)
    r = np.corrcoef(rain, YEARS)[0, 1]
    assert found["slope"][0] == pytest.approx(whole["time"][0] * (1 - r**2), rel=1e-10)
    assert found["pvalue"][0] > whole["time_pvalue"][0]
    # Rain taken out of both: the slope at equal rain.
    of_values, of_time = (series - np.polyval(np.polyfit(rain, series, 1), rain) for series in (values, YEARS))
    assert of_values @ of_time / (of_time @ of_time) == pytest.approx(whole["time"][0], rel=1e-9)


@pytest.mark.parametrize("factor", [1.0, 1e-7, 3e60])
def test_what_rain_explains_wholly_leaves_no_trend(factor):
    rain = np.random.default_rng(0).normal(size=12)
    found = methods.restrend()(1e3 + 7 * rain, YEARS, rain=rain * factor)
    assert found["status"][0] == Status.TEST_UNDEFINED
    assert found["covariate_slope"][0] == pytest.approx(7 / factor)
    assert math.isnan(found["slope"][0])
    assert math.isnan(found["pvalue"][0])


def test_one_date_has_no_trend():
    random = np.random.default_rng(0)
    found = methods.restrend()(random.normal(size=5), [2000.5] * 5, rain=random.normal(size=5))
    assert found["status"][0] == Status.DEGENERATE


def test_impossible_parameters():
    with pytest.raises(ParameterError, match="at least 4, as with 3"):
        methods.restrend(min_obs=3)
    with pytest.raises(ParameterError, match="restrend needs one stack besides the response, the covariate"):
        methods.restrend()(np.zeros(5), range(2000, 2005))

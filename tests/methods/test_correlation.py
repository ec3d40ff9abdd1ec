"""Correlations: scipy's, with gaps and ties, and what has none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import pixelwise as pw
from pixelwise import ParameterError, Status, methods

YEARS = np.arange(2000, 2012)

series = arrays(
    np.float64,
    (len(YEARS),),
    elements=st.one_of(
        st.just(math.nan), st.integers(-4, 4).map(float), st.floats(-1e3, 1e3).map(lambda x: round(x, 3))
    ),
)


@given(series, series, st.sampled_from(["pearson", "spearman"]))
def test_is_scipys(values, other, kind):
    found = methods.correlation(kind=kind)(values, YEARS, other=other)
    both = ~np.isnan(values) & ~np.isnan(other)
    n = np.count_nonzero(both)
    assert found["n"][0] == n
    if n < 3:
        assert found["status"][0] == (Status.TOO_FEW if n else Status.NO_OBSERVATION)
    elif np.ptp(values[both]) == 0:
        assert found["status"][0] == Status.CONSTANT
    elif np.ptp(other[both]) == 0:
        assert found["status"][0] == Status.DEGENERATE
    else:
        of_scipy = scipy.stats.pearsonr if kind == "pearson" else scipy.stats.spearmanr
        expected = of_scipy(values[both], other[both])
        assert found["status"][0] == Status.OK
        assert found["rvalue"][0] == pytest.approx(expected.statistic, rel=1e-9, abs=1e-12)
        if abs(expected.statistic) < 1 - 1e-9:  # where scipy's 1 - r**2 has digits left
            assert found["pvalue"][0] == pytest.approx(expected.pvalue, rel=1e-6)
        else:
            assert found["pvalue"][0] < 1e-4 if n > 3 else found["pvalue"][0] < 0.01
        return
    assert math.isnan(found["rvalue"][0])
    assert math.isnan(found["pvalue"][0])


def test_perfect_agreement_of_ranks_has_no_doubt():
    values = np.array([1.0, 2.0, 2.0, 5.0, 9.0])
    found = methods.correlation(kind="spearman")(values, range(2000, 2005), other=-np.exp(values))
    assert (found["rvalue"][0], found["pvalue"][0]) == (-1, 0)


def test_ranks_compare_values_and_not_their_differences():
    """Taken from 1e20, all others would be the same number."""
    values = np.array([1e20, 1.0, 2.0, 3.0, 4.0])
    found = methods.correlation(kind="spearman")(values, range(2000, 2005), other=values.copy())
    assert found["rvalue"][0] == 1


def test_infinite_values_have_ranks_but_no_mean():
    values, other = np.array([1.0, 2.0, math.inf, 3.0]), np.array([1.0, 2.0, 4.0, 3.0])
    assert methods.correlation()(values, range(2000, 2004), other=other)["status"][0] == Status.TEST_UNDEFINED
    assert methods.correlation(kind="spearman")(values, range(2000, 2004), other=other)["rvalue"][0] == 1


def test_digits_are_kept_at_large_offsets():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 30)).round(3)
    plain = methods.correlation()(y, range(1990, 2020), x=x)
    moved = methods.correlation()(y + 2.0**40, range(1990, 2020), x=x * 1e9)
    assert moved["rvalue"][0] == pytest.approx(plain["rvalue"][0], rel=1e-3)  # y keeps 2**-12
    assert methods.correlation()(x * 1e140, range(1990, 2020), y=y)["rvalue"][0] == pytest.approx(plain["rvalue"][0])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), r"correlation needs one stack besides the response, .*none is given.*--with NAME=FILES"),
        (("a", "b"), r"but 2 are given \(a, b\)"),
    ],
)
def test_needs_exactly_one_further_stack(names, message):
    with pytest.raises(ParameterError, match=message):
        methods.correlation()(np.zeros(3), [2000, 2001, 2002], **dict.fromkeys(names, np.zeros(3)))


def test_impossible_parameters():
    with pytest.raises(ParameterError, match=r"kind='kendal' is not one of pearson, spearman"):
        methods.correlation(kind="kendal")
    with pytest.raises(ParameterError, match="at least 3"):
        methods.correlation(min_obs=2)
    axis = pw.TimeAxis.from_times(YEARS)
    bound = methods.correlation().bind(axis, None, {"other": axis})
    with pytest.raises(ParameterError, match="0 covariates; expected 1"):
        bound((np.zeros((len(YEARS), 2)),))
    with pytest.raises(ParameterError, match=r"shape \(12, 3\); expected \(12, 2\)"):
        bound((np.zeros((len(YEARS), 2)), np.zeros((len(YEARS), 3))))

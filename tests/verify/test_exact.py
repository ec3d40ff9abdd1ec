"""p-values by power series, against 40-digit arithmetic."""

import mpmath
import pytest

from pixelwise.verify.exact import tail_by_series


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 19, 64, 333, 1000])
def test_the_series_against_mpmath(degrees: int) -> None:
    mean = degrees / (degrees + 1)
    for x in (0.0, 1e-300, 1e-30, 0.1, 0.5, 0.999 * mean, mean, 1.001 * mean, 0.5 + mean / 2, 1 - 1e-9, 1.0):
        x = min(x, 1.0)
        with mpmath.workdps(40):
            half = mpmath.mpf(1) / 2
            expected = float(mpmath.betainc(degrees * half, half, 0, mpmath.mpf(x), regularized=True))
        assert tail_by_series(x, degrees) == pytest.approx(expected, rel=1e-14, abs=1e-307)

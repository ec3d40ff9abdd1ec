"""Time coordinates come back as the axis that they were made of."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pytest

from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.cf_axis import bounds_of, time_of
from pixelwise.dates.cf_times import moments_of

MONTHS = [datetime(2001, month, 1) for month in (1, 2, 12)]
MIDDLES = [datetime(2001, 1, 16), datetime(2001, 2, 15)]
TIMES = [datetime(1999, 2, 28, 6, 30), datetime(2000, 2, 29, 0, 0, 1)]


@pytest.mark.parametrize(
    ("axis", "precision"),
    [
        (TimeAxis.from_times(np.array([1950.0, 1999.0, 2024.0])), "year"),
        (TimeAxis.from_dates(MONTHS, ["month"] * 3), "month"),
        (TimeAxis.from_dates(MIDDLES, ["month"] * 2), "day"),  # bounds would turn it into the first of the month
        (TimeAxis.from_dates(MIDDLES, ["day"] * 2), "day"),
        (TimeAxis.from_dates(TIMES, ["second"] * 2), "second"),
        (TimeAxis.from_dates(MIDDLES, ["day"] * 2, "noleap"), "day"),
        (TimeAxis.from_dates(MONTHS, ["month"] * 3, "all_leap"), "month"),
        (TimeAxis.from_dates([datetime(2001, 2, 28), datetime(2001, 3, 1)], ["day"] * 2, "360_day", [2, 0]), "day"),
        (TimeAxis.from_dates(MIDDLES, ["day"] * 2, "julian"), "day"),
    ],
)
def test_an_axis_comes_back(axis: TimeAxis, precision: str) -> None:
    numbers, attributes = time_of(axis)
    bounds: Any = bounds_of(axis)
    moments = moments_of(numbers, attributes["units"], attributes["calendar"], bounds)
    found = TimeAxis.from_dates(
        [moment.date() for moment in moments],
        [moment.precision for moment in moments],
        moments[0].calendar,
        [moment.excess for moment in moments],
    )
    np.testing.assert_array_equal(found.dates, axis.dates)
    np.testing.assert_array_equal(found.years, axis.years)
    assert (found.precision, found.calendar) == (precision, axis.calendar)
    assert numbers.dtype.kind == ("f" if precision == "second" else "i")

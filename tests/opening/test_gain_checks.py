"""Warnings about a table of gains: trends against scipy, what they mean for an index worked out by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import linregress

import pixelwise as pw
from pixelwise.opening.checks import warnings_of
from pixelwise.opening.gain_checks import (
    GainTrend,
    changes_by_gains,
    per_sensor,
    scenes_of,
    trends_of,
    warnings_of_gains,
    years_of,
)
from pixelwise.stacks.formula import Expression
from pixelwise.stacks.gains import Gain, GainFlag, Gains
from support.gain_tables import BANDS, flagged, noisy, scene, table
from support.scene_files import write_scenes

YEARS = range(2000, 2020)


@pytest.mark.parametrize("count", [3, 4, 10, 300])
@pytest.mark.parametrize("slope", [0.0, 0.001, 0.05])
def test_the_line_is_that_of_scipy(count: int, slope: float) -> None:
    random = np.random.default_rng(count)
    years = np.sort(random.uniform(1985, 2020, count))
    values = 1 + slope * (years - 2000) + random.normal(0, 0.01, count)
    found, expected = GainTrend.of(years, values), linregress(years, values)
    assert found is not None
    assert found.slope == pytest.approx(expected.slope, rel=1e-9)
    assert found.stderr == pytest.approx(expected.stderr, rel=1e-7)
    assert found.pvalue == pytest.approx(expected.pvalue, rel=1e-7)
    assert found.value + found.slope * (2010 - found.year) == pytest.approx(expected.intercept + 2010 * expected.slope)


def test_there_is_no_line_through_too_little() -> None:
    years = np.array([2000.0, 2001, 2002])
    assert GainTrend.of(years[:2], np.array([1.0, 2])) is None
    assert GainTrend.of(years, np.array([1.1, 1.1, 1.1 + 1e-16])) is None
    assert GainTrend.of(years * 0, years) is None
    assert GainTrend.of(years, np.array([1.0, np.nan, 2])) is None
    exact = GainTrend.of(years, years)
    assert exact is not None
    assert (exact.slope, exact.pvalue) == (1, 0)


def test_a_trend_of_one_band_is_warned_of_with_its_numbers() -> None:
    gains = noisy(1, drift=0.3)
    years = np.array([row.date for row in gains.of_band("red")], "datetime64[D]").astype(float) / 365.25 + 1970
    reds = np.array([row.gain for row in gains.of_band("red")])
    line = linregress(years, reds)
    assert list(trends_of(gains)) == [("gain", "red")]
    text, *others = warnings_of_gains(gains)
    assert others == []
    found = re.search(r"\(gain of red ([-+.\d]+) % per decade, (p [<=] \S+)\)", text)
    assert found is not None, text
    assert float(found[1]) == pytest.approx(1000 * line.slope / reds.mean(), rel=0.05)
    assert found[2] == (f"p = {line.pvalue:.2g}" if line.pvalue >= 1e-4 else "p < 0.0001")
    # By hand: what red and nir of one ground are in each scene, and their NDVI.
    red, nir = (
        np.array([(level - row.offset) / row.gain for row in gains.of_band(band)])
        for band, level in (("red", 0.07), ("nir", 0.28))
    )
    effect = linregress(years, (nir - red) / (nir + red) - 0.21 / 0.35)
    found = re.search(r"a trend of NDVI ([-+.\d]+) per decade \(standard error ([.\d]+), p = ([.\d]+): not dist", text)
    assert found is not None, text
    assert float(found[1]) == pytest.approx(10 * effect.slope, rel=0.05)
    assert float(found[2]) == pytest.approx(10 * effect.stderr, rel=0.5)
    assert float(found[3]) == pytest.approx(effect.pvalue, rel=0.05)
    assert "That is right if sensors drifted. If" in text
    assert "more than half of the area" in text
    assert "--method controls" in text


def test_sensors_may_differ_instead_of_drifting_and_an_effect_may_be_certain() -> None:
    steps = [1.0] * 10 + [1.1] * 10
    gains = table(YEARS, np.array(steps)[:, None] + np.random.default_rng(0).normal(0, 0.01, (20, 1)), 0.0, ("red",),
                  sensors=["LE07"] * 10 + ["LC08"] * 10)  # fmt: skip
    (text,) = warnings_of_gains(gains)
    assert re.search(r"removes a trend of red -0\.00\d+ per decade \(standard error [.\d]+, p < 0\.0001\) from", text)
    assert "That is right if sensors drifted or differ. If" in text


def test_the_effect_is_that_on_the_formula() -> None:
    # Gains halve what a scene shows: 0.07 becomes 0.07 / gain.
    gains = table(YEARS, np.linspace(1, 2, 20)[:, None])
    shown = 0.07 / np.linspace(1, 2, 20)
    (what, values), *others = changes_by_gains(gains, Expression("10 * B4"), {"B4": "red"}).values.items()
    assert (what, others) == ("10 * B4", [])
    np.testing.assert_allclose(values, 10 * (shown - 0.07), rtol=1e-12)
    # An index of ratios does not feel gains that all bands share.
    np.testing.assert_allclose(changes_by_gains(gains).values["NDVI"], 0, atol=1e-15)
    assert changes_by_gains(gains, Expression("thermal - red")).values == {}
    (text,) = warnings_of_gains(gains, Expression("10 * B4"), {"B4": "red"})
    expected = 10 * linregress(years_of(gains.of_band("red")), values).slope
    assert f"removes a trend of 10 * B4 {expected:+.2g} per decade" in text


def test_without_red_and_nir_each_band_has_an_effect_of_its_own() -> None:
    gains = table(YEARS, np.column_stack([np.linspace(1, 1.2, 20), np.ones(20)]), bands=("green", "swir1"))
    assert list(changes_by_gains(gains).values) == ["green", "swir1"]
    (text,) = warnings_of_gains(gains)
    assert "removes a trend of green -0.00" in text
    assert "swir1" not in text


def test_levels_are_those_of_unchanged_pixels_in_all_scenes_together() -> None:
    gains = table(YEARS, 1.0, 0.01)
    moved = Gains(tuple(replace(row, level=row.level * (2 if row.date < "2003" else 1)) for row in gains.rows))
    for one in (gains, moved):
        np.testing.assert_allclose(changes_by_gains(one, Expression("red")).values["red"], -0.01, atol=1e-15)
    unknown = Gains(tuple(replace(row, level=np.nan) for row in gains.rows))
    assert changes_by_gains(unknown).values == {}


def test_an_unknown_level_leaves_the_warning_without_an_effect() -> None:
    drifting = noisy(1, drift=0.3)
    (text,) = warnings_of_gains(Gains(tuple(replace(row, level=np.nan) for row in drifting.rows)))
    assert "rectification removes a trend from every pixel" in text


@pytest.mark.parametrize(
    ("method", "words"),
    [("controls, 5000 pixels", "If the control sets changed"), ("regression", "that are taken as unchanged changed")],
)
def test_when_it_is_wrong_depends_on_the_method(method: str, words: str) -> None:
    gains = Gains(tuple(replace(row, method=method) for row in noisy(1, drift=0.3).rows))
    (text,) = warnings_of_gains(gains)
    assert words in text
    assert "half of the area" not in text


def test_doubtful_scenes_have_no_part_in_trends() -> None:
    straight = table(YEARS, 1 + np.random.default_rng(3).normal(0, 0.02, (20, 6)))
    assert trends_of(straight) == {}
    rows = [replace(row, gain=row.gain * 3, flags=("far",)) if row.date < "2003" else row for row in straight.rows]
    assert trends_of(Gains(tuple(rows))) == {}
    unflagged = Gains(tuple(replace(row, flags=("few",)) for row in rows))
    assert ("gain", "red") in trends_of(unflagged)


@pytest.mark.parametrize(("bands", "most"), [(("red",), 0.02), (("red", "nir"), 0.04), (BANDS, 0.05)])
def test_how_often_gains_without_a_trend_are_warned_of(bands: tuple[str, ...], most: float) -> None:
    """At most in so many tables, as `EACH` and `TOGETHER` promise; in 200 tables, three standard deviations more."""
    warned = sum(bool(trends_of(noisy(seed, 12, bands))) for seed in range(200))
    assert 0 < warned / 200 < most + 3 * np.sqrt(most * (1 - most) / 200)


def test_gains_of_sensors_are_steps_and_no_trend() -> None:
    sensors = ["LT05"] * 8 + ["LE07"] * 6 + ["LC08"] * 6
    own = {"LT05": 1.05, "LE07": 1.02, "LC08": 1.0}
    gains = table(YEARS, np.array([[own[code]] for code in sensors]), sensors=sensors)
    assert per_sensor(gains)
    assert warnings_of_gains(gains) == []
    assert not per_sensor(noisy(1))
    # Of a scene each, nobody knows.
    assert not per_sensor(table([2000, 2013], [[1.05], [1.0]], sensors=["LE07", "LC08"]))


def test_rows_of_a_scene_are_found_without_a_common_path() -> None:
    # Two rows of a path on one date, and one of another sensor.
    first, second = scene(2000, 1.0, 0.0), scene(2000, 1.1, 0.0)
    shard = [replace(row, path=f"right_{row.path}") for row in first]
    second = [replace(row, path=f"27_{row.path}") for row in second]
    other = [replace(row, path=f"LE07_{row.path}", sensor="LE07") for row in scene(2000, 1.2, 0.0)]
    earlier = scene(1999, 0.9, 0.0)
    found = scenes_of(Gains((*first, *shard, *second, *other, *earlier)))
    assert sorted(len(one) for one in found) == [6, 6, 6, 6]
    assert {row.gain for row in found[0].values()} == {0.9}
    assert sorted([row.gain for row in one.values()] for one in found[1:]) == [[1.0] * 6, [1.1] * 6, [1.2] * 6]


def test_dates_are_read_as_precisely_as_they_are_written() -> None:
    rows = scene(2000, 1.0, 0.0)[:4]
    dates = ("2000-07-15", "2000-07-15T12:00:00", "2000", "2000-02-30")
    years = years_of([replace(row, date=date) for row, date in zip(rows, dates, strict=True)])
    day = (datetime(2000, 7, 15) - datetime(1970, 1, 1)).days
    np.testing.assert_allclose(years, [1970 + day / 365.25, 1970 + (day + 0.5) / 365.25, 2000, np.nan], rtol=1e-12)
    # A date that does not exist stops nothing.
    drifting = noisy(1, drift=0.3)
    broken = Gains(tuple(replace(row, date=row.date.replace("2003-07-15", "2003-02-30")) for row in drifting.rows))
    assert "gain of red" in warnings_of_gains(broken)[0]


@pytest.mark.parametrize(
    ("flag", "words", "advice"),
    [
        ("few", "fewer than 10 000 of their pixels", "larger --sample"),
        ("not_converged", "did not converge", "clouds"),
        ("little_unchanged", "hardly any of their pixels are unchanged", "--method controls"),
        ("uncertain", "standard error above 5 %", "larger --sample"),
        ("far", "outside 0.5 to 2", "scale"),
        ("one_band", "change and gain cannot be distinguished", "--bands"),
        ("refused", "have no gains", "clouds"),
        ("saturated", "largest or smallest", "--valid-range"),
    ],
)
def test_each_flag_is_counted_and_explained(flag: GainFlag, words: str, advice: str) -> None:
    gains = flagged(flagged(noisy(2), 3, flag), 7, flag, "few")
    text = next(text for text in warnings_of_gains(gains) if f"flagged {flag}:" in text)
    assert text.startswith(f"2 of 25 scenes flagged {flag}: ")
    assert words in text
    assert advice in text


def test_a_flag_of_one_band_counts_its_scene_once() -> None:
    rows = scene(2000, 1.0, 0.0)
    rows = [replace(row, flags=("uncertain",)) if row.band in ("red", "nir") else row for row in rows]
    text, nothing = warnings_of_gains(Gains(tuple(rows)))
    assert text.startswith("1 of 1 scene flagged uncertain: ")
    assert nothing == "the one scene has flags other than few: --gains would leave it out"


def test_a_table_that_leaves_nothing_says_so_once() -> None:
    one = Gains(tuple(replace(row, flags=("one_band",)) for row in noisy(3, 5, ("red",)).rows))
    assert warnings_of_gains(one) == [
        (
            "one band (red): change and gain cannot be distinguished, so all scenes are flagged one_band, and --gains "
            "leaves them out; give more --bands, --method controls with polygons (--controls), or --method regression "
            "over stable ground"
        )
    ]
    rows = noisy(3, 5).rows
    # A band of each scene suffices.
    far = Gains(tuple(replace(row, flags=("far",) if row.band == "nir" else ("few",)) for row in rows))
    assert warnings_of_gains(far)[-1] == "all 5 scenes have flags other than few: --gains would leave all of them out"
    few = Gains(tuple(replace(row, flags=("few",)) for row in rows))
    most = flagged(few, 2, "far")
    for gains in (few, most):
        assert not any("would leave all" in text for text in warnings_of_gains(gains))


def test_what_reads_a_stack_with_such_gains_warns_of_them(tmp_path: Path) -> None:
    made = write_scenes(tmp_path / "scenes", 12, (20, 30))
    drift = np.linspace(1, 1.3, 12)
    rows = [
        Gain(f"scenes/{path.name}", f"{path.stem[-8:-4]}-{path.stem[-4:-2]}-{path.stem[-2:]}", "LT05", band, gain, 0.0,
             level=level)  # numbers of NumPy, too
        for path, one in zip(made.paths, drift, strict=True)
        for band, gain, level in (("red", one, 0.07), ("nir", 1.0, 0.28))
    ]  # fmt: skip
    (tmp_path / "gains.csv").write_text(Gains(tuple(rows)).as_csv())
    options = {"product": "landsat-c2-l2", "gains": str(tmp_path / "gains.csv")}
    for values, effect in (({"value": "ndvi"}, "NDVI"), ({"value": "2 * red"}, "2 * red"), ({"band": "red"}, "red")):
        (text,) = warnings_of(pw.open_stack(made.paths, **options, **values))
        assert text.startswith("the gains have a trend over time (gain of red ")
        assert f"removes a trend of {effect} " in text
    # What is read has no trend, and the gains of other bands do not matter.
    assert warnings_of(pw.open_stack(made.paths, **options, band="nir")) == []


def test_scenes_that_are_not_read_have_no_part_in_the_warning(tmp_path: Path) -> None:
    """The gains rise until the sixth scene, and not among those that are read."""
    made = write_scenes(tmp_path / "scenes", 12, (20, 30))
    gains = [*np.linspace(1, 1.3, 6), 1.31, 1.29, 1.3, 1.3, 1.29, 1.31]
    days = [f"{path.stem[-8:-4]}-{path.stem[-4:-2]}-{path.stem[-2:]}" for path in made.paths]
    rows = tuple(Gain(f"scenes/{path.name}", day, "LT05", "red", gain, 0.0, level=0.07, method="m", reference="r")
                 for path, day, gain in zip(made.paths, days, gains, strict=True))  # fmt: skip
    (tmp_path / "gains.csv").write_text(Gains(rows).as_csv())
    options = {"product": "landsat-c2-l2", "gains": str(tmp_path / "gains.csv"), "band": "red"}
    (text,) = warnings_of(pw.open_stack(made.paths, **options))
    assert "trend over time (gain of red " in text
    late = pw.open_stack(made.paths, start=days[6], **options)
    assert warnings_of(late) == []
    assert late.gains is not None
    assert [row.date for row in late.gains.rows] == days[6:]

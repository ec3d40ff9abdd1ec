"""Anomalies and standardized anomalies, compared with pandas grouping what plain rasterio reads."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

import pixelwise as pw
from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.slots import slots_of
from pixelwise.jobs.climatology import BasePeriod, Climatology
from pixelwise.maps.tag import TAG, decode_provenance
from pixelwise.verify.compare import verify
from support.command_line import run
from support.dates import DAY, MONTH
from support.places import SHARED
from support.rasters import MakeStack, pixels_in, random_series

KINDS = ("anomalies", "standardized")


def files(folder: Path, suffix: str = "tif") -> dict[str, Path]:
    return {kind: folder / f"{kind}.{suffix}" for kind in KINDS}


def by_pandas(values: Any, slots: Any, years: Any, base: tuple[int, int] | None) -> tuple[Any, Any]:
    """Return anomalies and standardized anomalies of (time, ...) values by a group-by on the slots."""
    frame = pd.DataFrame(np.asarray(values, dtype=np.float64).reshape(len(values), -1))
    slots = pd.Series(slots)
    first, last = base or (min(years), max(years))
    within = frame[(years >= first) & (years <= last)]
    grouped = within.groupby(slots[within.index])
    mean, sd = (table.reindex(slots).to_numpy() for table in (grouped.mean(), grouped.std(ddof=1)))
    constant = (grouped.max() == grouped.min()).reindex(slots, fill_value=True).to_numpy()
    anomalies = frame.to_numpy() - mean
    with np.errstate(all="ignore"):
        standardized = np.where(constant, np.nan, anomalies / sd)
    return anomalies.reshape(np.shape(values)), standardized.reshape(np.shape(values))


def near(found: Any, wanted: Any, atol: float) -> None:
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)


# ------------------------------------------------------------------------------------------------ real data


@pytest.mark.parametrize("base", [None, (1991, 2010)])
def test_half_months_of_gimms(out: Path, base: tuple[int, int] | None) -> None:
    folder = SHARED / "gimms_bale" / "geotiff"
    if not folder.is_dir():
        pytest.skip("no shared data")
    paths = sorted(folder.glob("*.tif"), key=lambda path: path.stem[-8:])
    values = np.concatenate([pixels_in(path) for path in paths])
    dates = pd.to_datetime([path.stem[-8:] for path in paths])
    wanted = by_pandas(values, dates.strftime("%m-%d"), dates.year.to_numpy(), base)
    pw.apply(pw.open_stack(folder), "summary", out / "map.tif", dtype="float64", write=files(out), base=base)
    for kind, expected in zip(KINDS, wanted, strict=True):
        found = pixels_in(out / f"{kind}.tif")
        assert np.isfinite(found).sum() > 29_000
        near(found, expected, 1e-12)
    # Anomalies of the base period have the mean 0 in each slot, standardized ones the standard deviation 1.
    if base is None:
        frame = pd.DataFrame(pixels_in(out / "standardized.tif").reshape(828, 36)).groupby(dates.strftime("%m-%d"))
        np.testing.assert_allclose(frame.mean(), 0, atol=1e-12)
        np.testing.assert_allclose(frame.std(), 1, atol=1e-12)


def test_months_of_sea_surface_temperature(out: Path) -> None:
    """Land is the constant 0 there: its anomalies are 0, and standardized ones do not exist."""
    path = SHARED / "remote_sst_gpcp" / "multiband" / "pacificSST.tif"
    found = sorted(path.parent.glob("*SST*.tif"))
    if not found:
        pytest.skip("no shared data")
    with rasterio.open(found[0]) as dataset:
        values, names = dataset.read(), dataset.descriptions
    dates = pd.to_datetime([name[4:11] for name in names], format="%Y_%m")
    wanted = by_pandas(values, dates.month, dates.year.to_numpy(), (1982, 2010))
    done = run(
        "apply", "trend", found[0], "-o", out / "map.tif", "--quiet", "--write", "anomalies", out / "anomalies.tif",
        "--write", "standardized", out / "standardized.tif", "--base", "1982..2010",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "anomalies:" not in done.output  # 29 whole years: nothing to warn of
    land = (values == 0).all(axis=0)
    assert land.sum() > 100
    for kind, expected in zip(KINDS, wanted, strict=True):
        near(pixels_in(out / f"{kind}.tif"), expected, 2e-5 if kind == "standardized" else 1e-6)
    assert (pixels_in(out / "anomalies.tif")[:, land] == 0).all()
    assert np.isnan(pixels_in(out / "standardized.tif")[:, land]).all()
    assert verify(out / "map.tif", str(found[0])).differing == 0


def test_scenes_of_tura(out: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Irregular dates are grouped by month, and months that few years have are named."""
    folder = SHARED / "tura_landsat"
    if not folder.is_dir():
        pytest.skip("no shared data")
    source = next(path for path in sorted(folder.rglob("*")) if path.is_dir() and len(list(path.glob("*.tif"))) > 100)
    stack = pw.open_stack(str(source))
    area = stack.grid.bounds[0], stack.grid.bounds[1], stack.grid.bounds[0] + 900, stack.grid.bounds[1] + 900
    stack = pw.open_stack(str(source), bounds=area)
    with caplog.at_level(logging.WARNING):
        pw.apply(stack, "summary", out / "map.tif", dtype="float64", write=files(out), base="1990..2009")
    [warning] = [record.message for record in caplog.records if record.message.startswith("anomalies")]
    dates = pd.DatetimeIndex(stack.axis.dates)
    within = dates[(dates.year >= 1990) & (dates.year <= 2009)]
    years = pd.Series(within.year).groupby(within.month).nunique().reindex(sorted(set(dates.month)), fill_value=0)
    few = int((years < 16).sum())
    assert f"{few} of {len(years)} calendar months have layers in fewer than 80 % of the 20 years" in warning
    values = stack.read(stack.grid.block)
    wanted = by_pandas(values, dates.month, dates.year.to_numpy(), (1990, 2009))
    answered = np.isin(pixels_in(out / "map.tif")[-1], (0, 3, 6))
    for kind, expected in zip(KINDS, wanted, strict=True):
        near(pixels_in(out / f"{kind}.tif")[:, answered], expected[:, answered], 1e-7)


# ------------------------------------------------------------------------------------------------ slots


@pytest.mark.parametrize(
    ("dates", "slot", "count"),
    [
        (pd.date_range("2000", periods=60, freq="MS"), "month", 12),
        (pd.date_range("2000-01-15", periods=60, freq="MS"), "month", 12),
        (pd.date_range("2001-12", periods=40, freq="QS-DEC"), "3-month season", 4),
        (pd.date_range("2001", periods=7, freq="YS"), "year", 1),
        (pd.DatetimeIndex(["1985-06-11", "1990-07-04", "1991-06-30", "2003-08-02"]), "year", 1),
        ([f"{y}-{m:02}-{d:02}" for y in (2000, 2001) for m in range(1, 13) for d in (1, 16)], "half-month", 24),
        ([f"{y}-{m:02}-{d:02}" for y in (2000, 2001) for m in range(1, 13) for d in (1, 11, 21)], "dekad", 36),
        ([f"{y}-{m:02}-{d:02}" for y in (2000, 2001) for m in range(1, 13) for d in range(1, 30, 5)], "pentad", 72),
        ([np.datetime64(f"{y}-01-01") + 16 * k * DAY for y in (2000, 2001) for k in range(23)], "16-day period", 23),
        ([np.datetime64(f"{y}-01-01") + 8 * k * DAY for y in (2000, 2001) for k in range(46)], "8-day period", 46),
        ([np.datetime64(f"{y}-01-01") + 7 * k * DAY for y in (2000, 2001) for k in range(52)], "week", 52),
        (pd.date_range("2001-01-01", "2008-12-31", freq="W-MON"), "week", 52),
        (pd.date_range("2001-01-01", "2008-12-31", freq="D"), "calendar day", 366),
        (pd.date_range("2001-01-01", "2001-12-31", freq="16D")[[0, 1, 4, 5, 9, 12]], "16-day period", 6),
        (pd.date_range("2001-01-03", "2008-12-31", freq="16D"), "calendar month", 12),
        (pd.DatetimeIndex(["2001-05-03", "2001-05-20", "2001-07-01", "2003-05-22", "2004-07-30"]), "calendar month", 2),
        # Two sensors on each day do not make months of dekads.
        (
            np.repeat([f"{y}-{m:02}-{d:02}" for y in (2000, 2001) for m in range(1, 13) for d in (1, 11, 21)], 2),
            "dekad", 36,
        ),
    ],
)  # fmt: skip
def test_slots(dates: Any, slot: str, count: int) -> None:
    days = np.asarray(pd.DatetimeIndex(dates).values, dtype="datetime64[D]")
    found = slots_of(TimeAxis.from_times(days))
    assert (found.what, len(found.names)) == (slot, count)
    assert found.labels.min() == 0
    assert found.labels.max() == count - 1
    index = pd.DatetimeIndex(days)
    if slot in ("half-month", "dekad", "pentad", "calendar day"):
        keys = index.strftime("%m-%d")
    elif slot in ("month", "calendar month", "3-month season"):
        keys = index.month
    elif slot == "year":
        keys = np.zeros(len(index))
    else:
        length = int(slot.split("-", maxsplit=1)[0]) if slot[0].isdigit() else 7
        keys = np.minimum((index.dayofyear - 1) // length, 51 if slot == "week" else 99)
    assert (pd.factorize(keys, sort=True)[0] == found.labels).all()
    assert found.regular == (slot != "calendar month")
    assert ("no step that recurs" in str(Climatology.of(TimeAxis.from_times(days)))) == (slot == "calendar month")


def test_years_only_are_one_slot() -> None:
    for years in ([2000, 2001, 2003], [2000, 2000, 2001]):
        found = slots_of(TimeAxis.from_times(np.array(years, dtype=float)))
        assert (found.what, str(found)) == ("year", "one layer per year")


def test_29_february_moves_no_other_day() -> None:
    days = np.arange(np.datetime64("2003-01-01"), np.datetime64("2005-01-01"))
    slots = slots_of(TimeAxis.from_times(days))
    march = slots.labels[(days == np.datetime64("2003-03-01")) | (days == np.datetime64("2004-03-01"))]
    assert march[0] == march[1]
    usual = Climatology.of(TimeAxis.from_times(days), BasePeriod(2003, 2003))
    assert usual.years[slots.names.index("02-29")] == 0
    odd = usual.anomalies(np.arange(float(len(days)))[:, None])
    assert np.isnan(odd[days == np.datetime64("2004-02-29")]).all()
    assert np.isnan(odd).sum() == 1


# ------------------------------------------------------------------------------------------------ numbers

MONTHS = TimeAxis.from_times(np.datetime64("2000-03") + np.arange(90) * MONTH)


@given(
    st.integers(0, 2**32 - 1), st.floats(0, 0.98), st.sampled_from([None, (2001, 2004), (2000, 2000), (2005, 2007)]),
    st.sampled_from([np.float32, np.float64]),
)  # fmt: skip
def test_series_with_gaps(seed: int, gaps: float, base: tuple[int, int] | None, dtype: Any) -> None:
    """Random series, some of few values, some constant in a slot, some far from zero."""
    random = np.random.default_rng(seed)
    values = random.normal(random.choice([0, 1e4]), 1, (90, 12)).round(random.integers(0, 3)).astype(dtype)
    values[random.random(values.shape) < gaps] = np.nan
    usual = Climatology.of(MONTHS, base and BasePeriod(*base))
    index = pd.DatetimeIndex(MONTHS.dates)
    odd = usual.anomalies(values)
    found = odd, usual.standardized(odd)
    for one, wanted in zip(found, by_pandas(values, index.month, index.year.to_numpy(), base), strict=True):
        near(one, wanted, 1e-9)
    # What a pixel gets does not depend on its neighbours.
    alone = np.concatenate([usual.anomalies(values[:, [k]]) for k in range(12)], axis=1)
    np.testing.assert_array_equal(alone, odd)


def test_equal_values_differ_by_nothing() -> None:
    """0.1 added thirty times is not 3: by plain sums, a constant slot would have a standard deviation of 1e-17."""
    axis = TimeAxis.from_times(np.arange(1990.0, 2020.0))
    usual = Climatology.of(axis)
    values = np.full((30, 1), 0.1)
    assert np.std(values, ddof=1) > 0
    odd = usual.anomalies(values)
    assert (odd == 0).all()
    assert np.isnan(usual.standardized(odd)).all()


# ------------------------------------------------------------------------------------------------ jobs


@pytest.fixture
def months(make_stack: MakeStack) -> pw.RasterStack:
    """Twelve years of months with gaps."""
    dates = np.datetime64("2000-01") + np.arange(144) * MONTH
    values = random_series((144, 20, 30), seed=3)
    values[:, 0, :4] = np.nan
    values[:130, 1, :4] = np.nan
    return pw.open_stack(make_stack(values, [f"{date}-15" for date in dates]))


MINE = "def middle(y):\n    return y[len(y) // 2]\n"


@pytest.mark.parametrize(
    "name", ["ols", "trend", "summary", "theil_sen", "harmonic", "seasonal_kendall", "mine.py:middle"]
)
def test_any_method_will_do(months: pw.RasterStack, out: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(out)
    (out / "mine.py").write_text(MINE)
    pw.apply(months, name, out / "map.tif", write=files(out), base=(2001, 2010))
    dates = pd.DatetimeIndex(months.axis.dates)
    wanted = by_pandas(months.read(months.grid.block), dates.month, dates.year.to_numpy(), (2001, 2010))
    answered = np.isin(pixels_in(out / "map.tif")[-1], (0, 3, 6))
    assert answered.sum() > 500
    for kind, expected in zip(KINDS, wanted, strict=True):
        found = pixels_in(out / f"{kind}.tif")
        near(found[:, answered], expected[:, answered], 1e-6 if kind == "anomalies" else 1e-4)
        assert np.isnan(found[:, ~answered]).all()


@pytest.mark.parametrize("suffix", ["tif", "zarr", "nc"])
def test_files_say_what_they_hold(months: pw.RasterStack, out: Path, suffix: str) -> None:
    pytest.importorskip("zarr")
    pytest.importorskip("netCDF4")
    pw.apply(months, "summary", out / "map.tif", write=files(out, suffix), base="2001..2010")
    said = "Anomaly from the mean of each month, 2001 to 2010"
    for kind, path in files(out, suffix).items():
        own = pw.open_map(path)
        band = own.bands[0]
        assert band.description == said + (", in standard deviations of that period" if kind == "standardized" else "")
        assert (band.name, band.unit, band.kind) == (months.names[0], "", "signed")
        assert own.provenance["base"] == "2001..2010"
        assert pw.open_stack(path).names == months.names
    assert pw.open_map(out / "map.tif").provenance["base"] == "2001..2010"
    assert verify(out / "map.tif", str(months.paths[0].parent), everything=True).differing == 0


def test_units(make_stack: MakeStack, out: Path) -> None:
    """Anomalies keep the unit of the input, standardized ones have none."""
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("netCDF4")
    times = pd.date_range("2000", periods=36, freq="MS")
    values = random_series((36, 4, 5), seed=2, gaps=0)
    array = xarray.DataArray(
        values, dims=("time", "y", "x"), attrs={"units": "K"},
        coords={"time": times, "y": np.arange(4.0)[::-1], "x": np.arange(5.0)},
    )  # fmt: skip
    pw.apply(
        array.rio.write_crs(3857) if hasattr(array, "rio") else array, "summary", out / "m.nc", write=files(out, "nc")
    )
    with xarray.open_dataset(out / "anomalies.nc") as anomalies, xarray.open_dataset(out / "standardized.nc") as z:
        assert anomalies.anomalies.attrs["units"] == "K"
        assert "units" not in z.standardized.attrs
        wanted = array.groupby("time.month") - array.groupby("time.month").mean("time")
        np.testing.assert_allclose(anomalies.anomalies, wanted, atol=1e-6)


def test_all_years_are_named_when_none_are_given(months: pw.RasterStack, out: Path) -> None:
    pw.apply(months, "summary", out / "map.tif", write=files(out))
    with rasterio.open(out / "anomalies.tif") as dataset:
        assert decode_provenance(dataset.tags()[TAG])["base"] == "2000..2011"
        assert dataset.tags(1)["DESCRIPTION"] == "Anomaly from the mean of each month, 2000 to 2011"
    pw.apply(months, "summary", out / "other.tif")
    assert "base" not in pw.open_map(out / "other.tif").provenance


def test_another_base_is_another_job(stack: pw.RasterStack, out: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    options: dict[str, Any] = {"write": files(out), "executor": "inline"}
    with pytest.raises(KeyboardInterrupt):
        pw.apply(stack, "summary", out / "map.tif", base="2000..2003", progress=stop, **options)
    with pytest.raises(pw.OutputError, match=r'base was "2000..2003", is "2001..2004"; --restart'):
        pw.apply(stack, "summary", out / "map.tif", base="2001..2004", **options)
    with pytest.raises(pw.OutputError, match=r'base was "2000..2003", is "2000..2004"; --restart'):
        pw.apply(stack, "summary", out / "map.tif", **options)
    seen: list[int] = []
    goes_on = {**options, "base": (2000, 2003), "progress": lambda done, _: seen.append(done)}
    pw.apply(stack, "summary", out / "map.tif", **goes_on)
    assert seen[0] > 150 * 130 // 2
    (out / "once").mkdir()
    pw.apply(stack, "summary", out / "once" / "map.tif", base="2000..2003", write=files(out / "once"))
    for kind in KINDS:
        assert pixels_in(out / f"{kind}.tif").tobytes() == pixels_in(out / "once" / f"{kind}.tif").tobytes()


def test_parts(months: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from support.limits import set_limits

    set_limits(monkeypatch, window_bytes=4096)
    (out / "whole").mkdir()
    pw.apply(months, "ols", out / "whole" / "map.tif", write=files(out / "whole"), base="2001..2010")
    for index in (1, 2):
        pw.apply(months, "ols", out / "map.tif", write=files(out), base="2001..2010", part=(index, 2))
        if index == 1:
            with pytest.raises(pw.OutputError, match=r"base was .*2001..2010.*, is .*2000..2011"):
                pw.apply(months, "ols", out / "map.tif", write=files(out), part=(2, 2))
    pw.join(out / "map.tif")
    for kind in KINDS:
        with rasterio.open(out / f"{kind}.tif") as found, rasterio.open(out / "whole" / f"{kind}.tif") as wanted:
            assert found.read().tobytes() == wanted.read().tobytes()
            assert found.tags(5) == wanted.tags(5)
            assert (found.descriptions, found.units) == (wanted.descriptions, wanted.units)


# -------------------------------------------------------------------------------------------- plan, warnings, refusals


def test_plan_shows_them(months: pw.RasterStack, out: Path) -> None:
    folder = months.paths[0].parent
    words = (
        "plan",
        folder,
        "--method",
        "summary",
        "--write",
        "anomalies",
        out / "a.tif",
        "--write",
        "fitted",
        out / "f.tif",
    )
    done = run(*words)
    assert done.exit_code == 1
    assert "fitted: summary fits no curve" in done.output
    done = run(*words[:7], "--base", "2001..2010")
    assert f"write     anomalies: {out / 'a.tif'} (12 months, base 2001..2010, 10 years)" in done.output
    assert "anomalies: " not in done.output.split("warning")[-1] or "fewer than" not in done.output
    done = run(*words[:7], "--base", "2001..2003", "--json")
    report = json.loads(done.stdout)
    assert report["write"]["anomalies"]["slots"] == 12
    assert report["write"]["anomalies"]["years"] == [3, 3]
    assert any("the base 2001..2003 has 3 years: means of fewer than 10 years" in one for one in report["warnings"])
    done = run("plan", folder, "--write", "residuals", out / "r.tif")
    assert f"write     residuals: {out / 'r.tif'}\n" in done.output
    assert list(out.iterdir()) == []


def test_warnings_are_in_the_tags(months: pw.RasterStack, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    pw.apply(months, "summary", out / "map.tif", write=files(out), base="2001..2001")
    [text] = [text for text in pw.open_map(out / "map.tif").provenance["warnings"] if text.startswith("anomalies")]
    assert "the base 2001..2001 has 1 year: means of fewer than 10 years" in text
    assert text in caplog.text
    # The base of one year has one value per slot: nothing is standardized.
    assert np.isnan(pixels_in(out / "standardized.tif")).all()
    assert np.isfinite(pixels_in(out / "anomalies.tif")).any()


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("1961..1990", r"base 1961..1990 is not within the years of the layers, 2000..2011: choose years of these"),
        ("1995..2004", r"base 1995..2004 is not within the years of the layers, 2000..2011"),
        ("2005..2020", r"base 2005..2020 is not within the years of the layers, 2000..2011"),
        ("2010..2001", r"base 2010..2001: 2001 comes before 2010; expected the earlier year first, 2001..2010"),
        ("2001-2010", r"base '2001-2010' is not a period of years: expected FIRST..LAST, say 1991..2020"),
        ("2001..", r"base '2001..' is not a period of years"),
        ("01..10", r"base '01..10' is not a period of years"),
        ((2001,), r"base \(2001,\) is not a period of years"),
        ((2001.5, 2010), r"base \(2001.5, 2010\) is not a period of years"),
        (2001, r"base 2001 is not a period of years"),
        ((-5, 2010), r"base \(-5, 2010\) is not a period of years"),
    ],
)
def test_bases_that_cannot_be(months: pw.RasterStack, out: Path, base: Any, words: str) -> None:
    with pytest.raises(pw.ParameterError, match=words) as refused:
        pw.apply(months, "summary", out / "map.tif", write=files(out), base=base)
    assert "\n" not in str(refused.value)
    if isinstance(base, str):
        done = run(
            "apply", "summary", months.paths[0].parent, "-o", out / "m.tif", "--write", "anomalies", out / "a.tif",
            "--base", base,
        )  # fmt: skip
        assert done.exit_code == 1
        assert str(refused.value) in done.output
    assert list(out.iterdir()) == []


def test_a_base_without_layers(make_stack: MakeStack, out: Path) -> None:
    values = random_series((4, 5, 6))
    stack = pw.open_stack(make_stack(values, ["1990", "1991", "2010", "2011"]))
    with pytest.raises(
        pw.ParameterError, match=r"base 2000..2005: none of the 4 layers, 1990..2011, is of these years"
    ):
        pw.apply(stack, "summary", out / "map.tif", write=files(out), base="2000..2005")


def test_a_base_of_nothing(months: pw.RasterStack, out: Path) -> None:
    with pytest.raises(pw.ParameterError, match=r"base 2001..2010: only anomalies and standardized have a base period"):
        pw.apply(months, "ols", out / "map.tif", write={"residuals": out / "r.tif"}, base="2001..2010")
    with pytest.raises(pw.ParameterError, match="write=anomalies needs an output"):
        pw.apply(months, "ols", write={"anomalies": out / "a.tif"}, base="2001..2010")


def test_one_layer_a_year_and_neighbours(months: pw.RasterStack, out: Path) -> None:
    """A method whose blocks are read with a margin, on composites: one slot."""
    yearly = months.composite("mean", min_count=1)
    pw.apply(yearly, "contextual_mann_kendall", out / "cmk.tif", write=files(out), base="2002..2009")
    values = yearly.read(yearly.grid.block)
    wanted = by_pandas(values, np.zeros(12), np.arange(2000, 2012), (2002, 2009))
    answered = np.isin(pixels_in(out / "cmk.tif")[-1], (0, 3, 6))
    assert answered.any()
    for kind, expected in zip(KINDS, wanted, strict=True):
        near(pixels_in(out / f"{kind}.tif")[:, answered], expected[:, answered], 1e-5)
    with rasterio.open(out / "anomalies.tif") as dataset:
        assert dataset.tags(1)["DESCRIPTION"] == "Anomaly from the mean, 2002 to 2009"

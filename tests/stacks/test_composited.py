"""Stacks of composites against pandas, whatever the blocks, files and workers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio

import pixelwise as pw
from pixelwise import InputError, ParameterError
from pixelwise.dates.periods import make_periods
from pixelwise.maps.tag import decode_provenance, encode_provenance
from pixelwise.methods.ols import OrdinaryLeastSquares
from pixelwise.opening.checks import warnings_of
from pixelwise.opening.scene_counts import clear_counts, trend_pvalue
from support.command_line import run
from support.halo import BoxMean, box_mean
from support.rasters import random_series, read_all, write_raster

Shared = Callable[[str], Path]


# ------------------------------------------------------------------------------------------- against pandas


def year_of(dates: pd.DatetimeIndex) -> Any:
    return dates.year


def july_to_june(dates: pd.DatetimeIndex) -> Any:
    return (dates + pd.DateOffset(months=6)).year


def winter(dates: pd.DatetimeIndex) -> Any:
    """December to February, by the year of January; 0 for other months."""
    return np.where(dates.month.isin([12, 1, 2]), dates.year + (dates.month == 12), 0)


def february(dates: pd.DatetimeIndex) -> Any:
    return np.where(dates.month == 2, dates.year, 0)


def summer(dates: pd.DatetimeIndex) -> Any:
    return np.where((dates.strftime("%m%d") >= "0501") & (dates.strftime("%m%d") <= "0930"), dates.year, 0)


SEASONS: dict[str, tuple[str | None, Any]] = {
    "years": (None, year_of),
    "July to June": ("07-01..06-30", july_to_june),
    "winter": ("12-01..02-29", winter),
    "February": ("02-01..02-29", february),
    "summer": ("05-01..09-30", summer),
}
HOWS = {
    "max": lambda group: group.max(),
    "median": lambda group: group.median(),
    "mean": lambda group: group.mean(),
    "count": lambda group: group.count(),
    "p90": lambda group: group.quantile(0.9),
}


def assert_like_pandas(stack: pw.RasterStack, season: str | None, label: Any, how: str, **options: Any) -> None:
    """Compare composites of a stack with a group-by of its layers, all periods but incomplete ones."""
    layers = read_all(stack)
    dates = pd.DatetimeIndex(stack.axis.dates)
    table = pd.DataFrame(layers.reshape(len(layers), -1).astype(np.float64))
    groups = np.asarray(label(dates))
    expected = HOWS[how](table[groups > 0].groupby(groups[groups > 0]))
    composite = stack.composite(how, season=season, **options)
    found = read_all(composite).reshape(len(composite), -1)
    kept = composite.periods.ordinals
    assert set(kept) <= set(expected.index)
    dropped = sorted(set(expected.index) - set(kept))
    assert len(dropped) == len(composite.periods.dropped)
    sizes = pd.Series(groups[groups > 0]).value_counts()
    inner = [year for year in dropped if year not in (expected.index[0], expected.index[-1])]
    assert all(sizes[year] <= sizes.median() / 2 for year in inner)
    # Means in another order, and pandas' own quantiles, differ in the last bit.
    tolerance = {"mean": 1e-13, "p90": 1e-15}.get(how, 0)
    np.testing.assert_allclose(found, expected.loc[kept].to_numpy(), rtol=tolerance, atol=tolerance, equal_nan=True)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(
    ("source", "season"),
    [
        *((source, season) for source in ("gimms_bale/geotiff", "stfit_landsat") for season in SEASONS),
        # No scene is of winter.
        *(("tura_landsat/geotiff", season) for season in ("years", "July to June", "summer")),
    ],
)
def test_composites_are_a_group_by(shared: Shared, opened: Any, source: str, season: str, how: str) -> None:
    assert_like_pandas(opened(shared(source)), *SEASONS[season], how)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: Any) -> Any:
    """Open each stack once, a few of its pixels, as one file: 828 files are opened in a second."""
    known: dict[Path, pw.RasterStack] = {}

    def open_(folder: Path) -> pw.RasterStack:
        if folder not in known:
            source = folder if folder.name == "geotiff" else folder / "landsat106_stack_990dates.tif"
            stack = pw.open_stack(source)
            part = stack.crop(pw.Block(0, 0, min(stack.grid.height, 5), min(stack.grid.width, 6)))
            path = tmp_path_factory.mktemp("stacks") / "all.tif"
            known[folder] = pw.open_stack(
                write_raster(path, read_all(part), descriptions=part.names, interleave="band")
            )
            np.testing.assert_array_equal(known[folder].axis.dates, stack.axis.dates)
        return known[folder]

    return open_


def test_composites_of_828_files(shared: Shared) -> None:
    assert_like_pandas(pw.open_stack(shared("gimms_bale/geotiff")), *SEASONS["winter"], "max")


def test_scenes_with_bands_and_classes(shared: Shared, tmp_path: Path) -> None:
    """Sentinel-2 reflectances and scene classes: NDVI of clear pixels, its maximum and count."""
    source = shared("nrt_s2_romania") / "sentinel2_cube_subset_romania_20m.nc"
    cubes = {}
    days: list[str] = []
    for name in ("B4", "B8A", "SCL"):
        with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
            dataset = rasterio.open(f"netcdf:{source}:{name}")
        with dataset:
            cubes[name] = dataset.read()[::2, :20, :20]
            days = dataset.tags()["NETCDF_DIM_time_VALUES"].strip("{}").split(",")[::2]
    dates = pd.Timestamp("2015-08-01") + pd.to_timedelta([int(day) for day in days], unit="D")
    for date, *bands in zip(dates, *cubes.values(), strict=True):
        write_raster(tmp_path / f"s2_{date:%Y%m%d}.tif", np.stack(bands).astype(np.uint16), nodata=0,
                     descriptions=list(cubes))  # fmt: skip
    stack = pw.open_stack(tmp_path, value="(B8A - B4) / (B8A + B4)", mask_band="SCL", mask_keep=[4, 5, 7])
    red, nir = (np.where(cubes[name] == 0, np.nan, cubes[name].astype(float)) for name in ("B4", "B8A"))
    ndvi = np.where(np.isin(cubes["SCL"], [4, 5, 7]), (nir - red) / (nir + red), np.nan)
    np.testing.assert_array_equal(read_all(stack), ndvi)
    assert 0.3 < np.isnan(ndvi).mean() < 0.8
    for season in ("years", "July to June", "winter"):
        for how in ("max", "count", "median"):
            assert_like_pandas(stack, *SEASONS[season], how)


def test_the_29_of_february_counts_where_it_is_asked_for(make_stack: Any) -> None:
    days = pd.date_range("2003-01-01", "2006-12-31", freq="D")[::1]
    days = days[(days.month == 2) & (days.day >= 27) | (days.month == 3) & (days.day <= 2)]
    values = random_series((len(days), 2, 3), gaps=0.1)
    stack = pw.open_stack(make_stack(values, [f"{day:%Y%m%d}" for day in days]))
    layers = read_all(stack)
    for season, inside in (
        ("02-27..02-29", days.month == 2),
        ("02-27..02-28", (days.month == 2) & (days.day < 29)),
        ("03-01..03-02", days.month == 3),
    ):
        composite = stack.composite("count", season=season)
        expected = [(~np.isnan(layers[(days.year == year) & inside])).sum(axis=0) for year in range(2003, 2007)]
        np.testing.assert_array_equal(read_all(composite), expected)
    assert [len(members) for members in stack.composite("max", season="02-27..02-29").periods.members] == [2, 3, 2, 2]


# --------------------------------------------------------------------------------- any block, file, worker


@pytest.fixture
def scenes(make_stack: Any) -> tuple[Path, Any]:
    """Write four years of scenes, 10, 8, 12 and 10 of them, in tiles."""
    dates = [
        f"{year}-{month:02}-{10 + month}"
        for year, months in ((2001, range(1, 11)), (2002, range(2, 10)), (2003, range(1, 13)), (2004, range(1, 11)))
        for month in months
    ]
    values = random_series((len(dates), 70, 50), seed=9, gaps=0.4)
    folder = make_stack(values, dates, tiled=True, blockxsize=16, blockysize=16)
    return folder, values


COMPOSITES: dict[str, dict[str, Any]] = {
    "max": {"how": "max"},
    "median": {"how": "median", "min_count": 3},
    "drawn": {"how": "p90", "equal_count": 3},
    "medoid": {"how": "medoid"},
    "day": {"how": "date_of_max"},
    "months": {"how": "mean", "every": "month"},
}


@pytest.mark.parametrize("name", COMPOSITES)
def test_no_bit_depends_on_blocks_or_teams(scenes: tuple[Path, Any], name: str) -> None:
    composite = pw.open_stack(scenes[0]).composite(**COMPOSITES[name])
    whole = read_all(composite)
    assert whole.dtype == composite.dtype
    assert 0.01 < np.isnan(whole).mean() < 0.8 or name in ("max", "medoid", "day")
    parts = np.empty_like(whole)
    for block in composite.grid.blocks(13, 29):
        parts[(slice(None), *block.slices)] = composite.read(block)
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(read_all(composite.crop(pw.Block(5, 7, 40, 31))), whole[:, 5:45, 7:38])
    halves = [np.full((len(composite), rows, 50), -9.0, composite.dtype) for rows in (30, 1, 39)]
    shares = composite.readers(3, handles=4)
    assert len(shares) == 3
    for share in shares:
        share.read_into(composite.grid.block, halves)
        share.close()
    np.testing.assert_array_equal(np.concatenate(halves, axis=1), whole)


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_dates_in_the_bands_of_one_file(scenes: tuple[Path, Any], tmp_path: Path, interleave: str) -> None:
    stack = pw.open_stack(scenes[0])
    names = [layer.iso_date for layer in stack.layers]
    path = write_raster(tmp_path / "all.tif", scenes[1], descriptions=names, interleave=interleave)
    composite = pw.open_stack(path).composite("max")
    np.testing.assert_array_equal(read_all(composite), read_all(stack.composite("max")))
    # What is decoded together is read together, once.
    assert len(composite.whole.batches) == (1 if interleave == "pixel" else 4)


def test_files_that_share_periods_are_read_together(scenes: tuple[Path, Any], tmp_path: Path) -> None:
    """Two files whose pixels hold dates of two years each, and a year of which both have dates: one batch."""
    stack = pw.open_stack(scenes[0])
    names = np.array([layer.iso_date for layer in stack.layers])
    years = np.array([int(name[:4]) for name in names])
    last = np.flatnonzero(years == 2004)
    for name, rows in (
        ("a", np.r_[np.flatnonzero(years == 2001), last[:5]]),
        ("b", np.r_[np.flatnonzero((years == 2002) | (years == 2003)), last[5:]]),
    ):
        write_raster(tmp_path / "all" / f"{name}.tif", scenes[1][rows] + 1, descriptions=list(names[rows]))
    composite = pw.open_stack(tmp_path / "all").composite("max")
    assert len(composite.whole.batches) == 1
    # Other values than those of `stack`, which may still be where a row is left as it was in memory.
    np.testing.assert_array_equal(read_all(composite), read_all(stack.composite("max")) + 1)


@pytest.mark.parametrize(
    "options", [{"executor": "inline"}, {"jobs": 2}, {"executor": "processes", "jobs": 2}, {"memory": "320MiB"}]
)
def test_fused_is_the_same_as_by_way_of_a_file(
    scenes: tuple[Path, Any], tmp_path: Path, options: dict[str, Any]
) -> None:
    composite = pw.open_stack(scenes[0]).composite("max", season="04-01..09-30")
    fused = pw.apply(composite, "ols", **options)
    path = tmp_path / "summers.tif"
    result = run("composite", scenes[0], "-o", path, "--season", "04-01..09-30", "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [str(path)]
    again = pw.open_stack(path)
    np.testing.assert_array_equal(read_all(again), read_all(composite))
    np.testing.assert_array_equal(again.axis.years, composite.axis.years)
    assert again.axis.step == composite.axis.step is not None
    assert again.axis.precision == composite.axis.precision
    by_file = pw.apply(again, "ols")
    for name in fused.names:
        np.testing.assert_array_equal(fused[name], by_file[name])


def test_the_file_of_layers(scenes: tuple[Path, Any], tmp_path: Path) -> None:
    path = tmp_path / "annual.tif"
    result = run("composite", scenes[0], "-o", path, "--composite", "median", "--min-count", 2, "--dtype", "float64")
    assert result.exit_code == 0, result.output
    layers = read_all(pw.open_stack(scenes[0]))
    with rasterio.open(path) as dataset:
        assert dataset.descriptions == ("2001", "2002", "2003", "2004")
        assert dataset.dtypes == ("float64",) * 4
        assert np.isnan(dataset.nodata)
        found = dataset.read()
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning):
        expected = [np.nanmedian(part, axis=0) for part in np.split(layers.astype(float), [10, 18, 30])]
    counts = np.array([(~np.isnan(part)).sum(axis=0) for part in np.split(layers, [10, 18, 30])])
    np.testing.assert_array_equal(found, np.where(counts >= 2, expected, np.nan))
    assert run("composite", scenes[0], "-o", path).exit_code == 1
    assert "--overwrite" in run("composite", scenes[0], "-o", path).output
    assert run("composite", scenes[0], "-o", path, "--overwrite").exit_code == 0


def test_some_periods_of_a_stack(scenes: tuple[Path, Any]) -> None:
    composite = pw.open_stack(scenes[0]).composite("p90", equal_count=2)
    part = composite.select(start=2002, end="2003-06", bounds=(500300, 3399000, 500900, 3399400))
    assert part.periods.labels == ("2002", "2003")
    assert part.periods.unused == 20
    np.testing.assert_array_equal(read_all(part), read_all(composite)[1:3, 20:34, 10:30])
    with pytest.raises(InputError, match="1 of 4 periods are left"):
        composite.select(end=2001)
    monthly = pw.open_stack(scenes[0]).composite("max", every="month").select(start="2002", end=2003)
    assert (monthly.periods.labels[0], monthly.periods.labels[-1]) == ("2002-02", "2003-12")


def test_incomplete_years_are_dropped_and_said(scenes: tuple[Path, Any], caplog: pytest.LogCaptureFixture) -> None:
    stack = pw.open_stack(scenes[0]).select(start="2001-07")
    composite = stack.composite("max")
    assert composite.periods.labels == ("2002", "2003", "2004")
    assert "2001: begins 2001-07-17" in caplog.text
    assert "the year is incomplete and left out" in caplog.text


# -------------------------------------------------------------------------------------------- functions, by


def test_functions_of_a_period(scenes: tuple[Path, Any], tmp_path: Path) -> None:
    stack = pw.open_stack(scenes[0])
    layers = read_all(stack).astype(float)
    parts = np.split(layers, [10, 18, 30])

    def spread(values: Any, times: Any) -> float:
        return values.max() - values.min()

    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning):
        expected = np.array([np.nanmax(part, axis=0) - np.nanmin(part, axis=0) for part in parts])
    counts = np.array([(~np.isnan(part)).sum(axis=0) for part in parts])
    np.testing.assert_array_equal(read_all(stack.composite(spread)), expected)
    least = read_all(stack.composite(spread, min_count=4))
    np.testing.assert_array_equal(least, np.where(counts >= 4, expected, np.nan))

    (tmp_path / "mine.py").write_text("def last(values, times, back=0):\n    return values[-1 - back]\n")
    named = stack.composite(f"{tmp_path / 'mine.py'}:last")
    assert np.isfinite(read_all(named)).any()
    assert named.releases_gil
    assert not stack.composite(pw.per_pixel(spread, jit=False)).releases_gil
    trend = pw.apply(stack.composite(pw.per_pixel(spread, jit=False)), "ols", jobs=2)
    np.testing.assert_array_equal(trend["slope"], pw.apply(stack.composite(spread), "ols")["slope"])
    assert trend.provenance["input"]["composite"]["how"] == "spread"
    with pytest.raises(ParameterError, match=r"returns several values \(a, b\), but a composite takes one"):
        stack.composite(pw.per_pixel(lambda y, t: (y[0], y[-1]), bands=["a", "b"]))
    with pytest.raises(ParameterError, match="equal_count and by work only with built-in composites"):
        stack.composite(spread, equal_count=3)


def test_another_function_is_another_job(scenes: tuple[Path, Any]) -> None:
    """A closure of another value, under the same name and text, must not go on with what the first one did."""
    from pixelwise.jobs.output_spec import OutputSpec
    from pixelwise.jobs.provenance import describe, identify

    def make(factor: float) -> Any:
        return lambda values, times: factor * values.max()

    def key(factor: float) -> Any:
        stack = pw.open_stack(scenes[0]).composite(make(factor))
        bound = pw.methods.ols().bind(stack.axis, None, {})
        described = describe(stack, {}, pw.methods.ols(), bound.bands, OutputSpec(), folder=None)
        return identify(described, pw.methods.ols(), (stack,))

    assert key(1.0) == key(1.0)
    assert key(1.0) != key(2.0)


def test_a_function_that_fails_is_told(scenes: tuple[Path, Any], caplog: pytest.LogCaptureFixture) -> None:
    def fragile(values: Any, times: Any) -> float:
        if values[0] > 0.5:
            raise ValueError("too green")
        return values[0]

    values = read_all(pw.open_stack(scenes[0]).composite(pw.per_pixel(fragile, jit=False)))
    assert 0.1 < np.isnan(values).mean() < 0.9
    assert caplog.text.count("fragile failed at some pixels, which count as missing; the first:") == 1
    assert "too green" in caplog.text


def test_the_value_at_the_maximum_of_another_stack(scenes: tuple[Path, Any], make_stack: Any) -> None:
    stack = pw.open_stack(scenes[0])
    names = [layer.iso_date for layer in stack.layers]
    other = pw.open_stack(make_stack(random_series((len(names), 70, 50), seed=4), names, folder="by"))
    values, keys = read_all(stack), read_all(other)
    for how in ("max", "min"):
        composite = stack.composite(how, by=other)
        sign = 1 if how == "max" else -1
        usable = np.where(np.isnan(values) | np.isnan(keys), -np.inf, sign * keys)
        expected = []
        for rows in np.split(np.arange(len(names)), [10, 18, 30]):
            best = usable[rows].argmax(axis=0)[None]
            found = np.take_along_axis(values[rows], best, axis=0)[0]
            expected.append(np.where(np.isinf(usable[rows]).all(axis=0), np.nan, found))
        np.testing.assert_array_equal(read_all(composite), expected)
        np.testing.assert_array_equal(read_all(composite.crop(pw.Block(3, 4, 9, 9))), np.array(expected)[:, 3:12, 4:13])
        trend = pw.apply(composite, "ols", jobs=2)
        assert trend.provenance["input"]["composite"]["by"]["layers"] == len(names)
    # A neighbour that only one of the two stacks reaches is none: `by` ends where the crop does.
    block = pw.Block(16, 16, 32, 16)
    cut = make_stack(
        keys[(slice(None), *block.slices)], names, folder="cut", transform=stack.grid.crop(block).transform
    )
    both = stack.crop(block).composite("max", by=pw.open_stack(cut))
    within = pw.apply(both, BoxMean(), dtype="float64")["mean"]
    np.testing.assert_array_equal(within, box_mean(read_all(both).astype(np.float64)))
    with pytest.raises(InputError, match="the stack given as by has other dates than the scenes: 39 instead of 40"):
        stack.composite("max", by=other.select(end="2004-09"))
    with pytest.raises(ParameterError, match="by works only with how='max' or 'min', not with 'mean'"):
        stack.composite("mean", by=other)


# ---------------------------------------------------------------------------------------------- equal counts


def test_a_draw_is_the_same_for_a_pixel_wherever_it_is_cut_out(scenes: tuple[Path, Any]) -> None:
    options = {"how": "max", "equal_count": 2}
    whole = read_all(pw.open_stack(scenes[0]).composite(**options))
    bounds = (500000 + 30 * 11, 3400000 - 30 * 60, 500000 + 30 * 40, 3400000 - 30 * 8)
    part = pw.open_stack(scenes[0], bounds=bounds).composite(**options)
    np.testing.assert_array_equal(read_all(part), whole[:, 8:60, 11:40])
    later = pw.open_stack(scenes[0], start="2001-02").composite(**options)
    np.testing.assert_array_equal(read_all(later)[1:], whole[1:])
    other = read_all(pw.open_stack(scenes[0]).composite(**options, seed=1))
    assert 0.1 < (other != whole)[~np.isnan(whole)].mean() < 0.9
    counts = read_all(pw.open_stack(scenes[0]).composite("count"))
    np.testing.assert_array_equal(np.isnan(whole), counts < 2)


def greening(how: str, **options: Any) -> float:
    """Return the share of trendless pixels with a significant increase where scenes go from 4 to 16 a season."""
    random = np.random.default_rng(0)
    years, pixels = 21, 1500
    counts = np.round(np.linspace(4, 16, years)).astype(int)
    dates = [
        f"{year}-{1 + 11 * k // n:02}-15" for year, n in zip(range(2000, 2021), counts, strict=True) for k in range(n)
    ]
    axis = pw.TimeAxis.from_times(np.array(dates, "datetime64[D]"))
    periods = make_periods(axis)
    values = random.normal(0.6, 0.1, (len(dates), pixels))
    from pixelwise.stacks.reductions import Composite

    composite = Composite(how, **options)
    annual = np.empty((years, pixels))
    for row, members in enumerate(periods.members):
        composite.reduce(values[members], annual[row], periods.days[row], (0, 0, pixels), int(periods.ordinals[row]))
    answer = pw.methods.ols()(annual, periods.axis)
    return float(((answer["pvalue"] < 0.05) & (answer["slope"] > 0)).mean())


def test_more_scenes_look_like_greening_but_for_equal_counts() -> None:
    shares = [greening("max"), greening("p90"), greening("median"), greening("max", equal_count=4)]
    # 2.5 % is what a one-sided look at 5 % finds where there is nothing.
    assert shares[0] > 0.25
    assert 0.06 < shares[1] < shares[0]
    assert max(shares[2:]) < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_the_trend_of_counts_is_mann_kendalls(seed: int) -> None:
    random = np.random.default_rng(seed)
    for values in (random.normal(size=30), random.integers(0, 4, 25).astype(float), np.arange(12.0)):
        mk = pytest.importorskip("scipy.stats")
        n = len(values)
        s = sum(np.sign(values[j] - values[i]) for i in range(n) for j in range(i + 1, n))
        _, ties = np.unique(values, return_counts=True)
        variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
        z = (s - np.sign(s)) / np.sqrt(variance)
        assert trend_pvalue(values) == pytest.approx(2 * mk.norm.sf(abs(z)), rel=1e-12)
    assert trend_pvalue(np.ones(5)) == 1


# -------------------------------------------------------------------------------------- plan, tags, mistakes


def test_the_plan_tells_clear_scenes_and_their_trend(make_stack: Any) -> None:
    random = np.random.default_rng(1)
    dates = [f"{year}-{1 + k:02}-15" for year in range(2001, 2013) for k in range(year - 2000)]
    values = random.uniform(0.1, 0.9, (len(dates), 20, 20)).astype(np.float32)
    folder = make_stack(values, dates)
    words = ("plan", folder, "--composite", "max")
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "composite max of 2 to 11 layers each" in result.output or "composite max of 1 to 12" in result.output
    assert "clear     scenes per sampled pixel: 20" in result.output
    assert "which looks like a trend; use the same number with --equal-count, or the median" in result.output
    for other in (("--composite", "median"), ("--composite", "max", "--equal-count", 2)):
        assert "--equal-count, or take" not in run("plan", folder, *other).output
    report = json.loads(run(*words, "--json").stdout)
    labels = report["composite"]["periods"]
    assert report["clear"] == {label: float(int(label) - 2000) for label in labels}
    raw = json.loads(run("plan", folder, "--json").stdout)
    assert raw["clear"]["2003"] == 3.0
    assert any("make one layer per year (--composite)" in text for text in raw["warnings"])


MORE = "the {} of more scenes is different, which looks like a trend"


@pytest.fixture(scope="module")
def more_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write twelve years of 12, 13, ... 20, 20, 20, 20 scenes, one or two a month."""
    random = np.random.default_rng(1)
    dates = [f"{year}-{month:02}-{day:02}" for year in range(2001, 2013) for month in range(1, 13)
             for day in ((5, 20) if month <= min(year - 2001, 8) else (5,))]  # fmt: skip
    folder = tmp_path_factory.mktemp("more")
    for layer, date in zip(random.uniform(0.1, 0.9, (len(dates), 20, 20)).astype(np.float32), dates, strict=True):
        write_raster(folder / f"ndvi_{date}.tif", layer)
    return folder


@pytest.fixture(scope="module")
def annual(more_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write their annual medians."""
    path = tmp_path_factory.mktemp("annual") / "annual.tif"
    return pw.write_layers(pw.open_stack(more_scenes).composite("median"), path)


@pytest.mark.parametrize("how", ["max", "min", "sum", "p90", "p10", "median", "mean", "p50", "count"])
def test_more_scenes_matter_to_some_composites(more_scenes: Path, how: str) -> None:
    composite = pw.open_stack(more_scenes).composite(how)
    matter = how in ("max", "min", "sum", "p90", "p10")
    assert clear_counts(composite) == ([len(members) for members in composite.periods.members] if matter else None)
    assert any(MORE.format(how) in text for text in warnings_of(composite)) is matter


@pytest.mark.parametrize("how", ["max", *(pytest.param(how, marks=pytest.mark.long) for how in ("p10", "median"))])
def test_every_command_warns_of_more_scenes(
    more_scenes: Path, how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warned = how != "median"
    composite = pw.open_stack(more_scenes).composite(how)
    made = pw.apply(composite, "ols")
    assert (MORE.format(how) in caplog.text) is warned
    assert any(MORE.format(how) in text for text in made.provenance.get("warnings", ())) is warned
    layers = [len(members) for members in composite.periods.members]
    assert made.provenance["input"].get("clear") == (layers if warned else None)
    path = tmp_path / "annual.tif"
    written = run("composite", more_scenes, "--composite", how, "-o", path, "--quiet")
    assert (MORE.format(how) in written.stderr) is warned
    stack = pw.open_stack(path)
    with rasterio.open(path) as dataset:
        tag = decode_provenance(dataset.tags()["PIXELWISE"])
    assert tag["input"]["composite"]["layers"] == layers
    assert tag["input"].get("clear") == (layers if warned else None)
    # From the file alone: in Python, in the tags of its map, and in `plan`.
    caplog.clear()
    again = pw.apply(stack, "ols")
    assert (f"{path}: scenes per composite go from " in caplog.text) is warned
    assert any(MORE.format(how) in text for text in again.provenance.get("warnings", ())) is warned
    assert (MORE.format(how) in run("plan", path).output) is warned
    result = run("apply", "ols", path, "-o", tmp_path / "trend.tif", "--quiet")
    assert (MORE.format(how) in result.stderr) is warned
    assert (MORE.format(how) in str(pw.open_map(tmp_path / "trend.tif").provenance.get("warnings", ""))) is warned


def test_equal_counts_and_even_scenes_are_not_warned_of(more_scenes: Path, make_stack: Any, tmp_path: Path) -> None:
    stack = pw.open_stack(more_scenes).composite("max", equal_count=3)
    path = pw.write_layers(stack, tmp_path / "drawn.tif")
    for made in (pw.apply(stack, "ols"), pw.apply(pw.open_stack(path), "ols")):
        assert "warnings" not in made.provenance
    dates = [f"{year}-{month:02}-15" for year in range(2001, 2013) for month in range(1, 13)]
    values = np.random.default_rng(2).uniform(0.1, 0.9, (len(dates), 20, 20)).astype(np.float32)
    even = pw.open_stack(make_stack(values, dates, folder="even")).composite("max")
    path = pw.write_layers(even, tmp_path / "even.tif")
    for made in (pw.apply(even, "ols"), pw.apply(pw.open_stack(path), "ols")):
        assert "warnings" not in made.provenance


def test_what_counts_are_clear_scenes(make_stack: Any) -> None:
    """As many files each year, but ever more of them clear: of every second pixel."""
    dates = [f"{year}-{month:02}-15" for year in range(2001, 2013) for month in range(1, 13)]
    values = np.random.default_rng(2).uniform(0.1, 0.9, (len(dates), 20, 20)).astype(np.float32)
    for row, date in enumerate(dates):
        if int(date[5:7]) > int(date[:4]) - 2000:
            values[row, :, ::2] = np.nan
    made = pw.apply(pw.open_stack(make_stack(values, dates)).composite("max"), "ols")
    clear = made.provenance["input"]["clear"]
    assert clear == [6 + 0.5 * year for year in range(1, 13)]
    [text] = made.provenance["warnings"]
    assert "clear scenes per period go from 7.2 to 11.2 (Mann-Kendall p = " in text


def test_part_of_a_file_of_composites(more_scenes: Path, tmp_path: Path) -> None:
    path = pw.write_layers(pw.open_stack(more_scenes).composite("max"), tmp_path / "annual.tif")
    stack = pw.open_stack(path)
    [text] = pw.apply(stack.select(start=2004, end=2008), "ols").provenance["warnings"]
    assert "scenes per composite go from 15.0 to 19.0" in text
    # A further stack is named.
    made = pw.apply(stack, pw.methods.regress(covariates="other"), inputs={"other": stack})
    assert [text.partition(": ")[0] for text in made.provenance["warnings"]] == [str(path), "other"]
    # The last four years have twenty scenes each.
    assert "warnings" not in pw.apply(stack.select(start=2009), "ols").provenance
    # Years of a file of quarters.
    seasonal = pw.write_layers(pw.open_stack(more_scenes).composite("max", every="season"), tmp_path / "quarters.tif")
    made = pw.apply(pw.open_stack(seasonal).composite("max"), "ols")
    assert any("scenes per composite go from" in text for text in made.provenance["warnings"])


def test_short_periods_are_told_of_in_every_command(
    make_stack: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dates = [f"{year}-{month:02}-15" for year in range(2001, 2011) for month in range(1, 13)
             if (year, month) not in {(2004, 7), (2006, 6), (2006, 7)}]  # fmt: skip
    values = np.random.default_rng(2).uniform(0.1, 0.9, (len(dates), 20, 20)).astype(np.float32)
    folder = make_stack(values, dates)
    stack = pw.open_stack(folder).composite("mean")
    [text] = pw.apply(stack, "ols").provenance["warnings"]
    assert text == (
        "2004: its 11 layers cover 92% of its days, those of a typical one 100%; "
        "2006: its 10 layers cover 83% of its days, those of a typical one 100%: "
        "their mean may not be comparable with the others; --min-count masks pixels with few observations"
    )
    assert text in caplog.text
    assert text in run("plan", folder, "--composite", "mean").output
    path = tmp_path / "annual.tif"
    assert text in run("composite", folder, "--composite", "mean", "-o", path, "--quiet").stderr
    [again] = pw.apply(pw.open_stack(path), "ols").provenance["warnings"]
    assert again == (
        f"{path}: 2004, 2006: the scenes cover less of the period than in others, so their mean may not be comparable "
        "with the others; "
        "make the composites with --min-count"
    )
    assert "warnings" not in pw.apply(pw.open_stack(path).select(start=2007), "ols").provenance
    # The number of scenes is right, whatever it is.
    assert "warnings" not in pw.apply(pw.open_stack(folder).composite("count"), "ols").provenance
    # The remedy, typed.
    needed = pw.apply(pw.open_stack(folder).composite("mean", min_count=11), "ols")
    assert needed["n"].max() == 9


def test_a_whole_year_that_is_left_out_is_in_the_tags(make_stack: Any, tmp_path: Path) -> None:
    dates = [f"{year}-{month:02}-15" for year in range(2001, 2011) for month in range(1, 13)
             if year != 2004 or month < 4]  # fmt: skip
    values = np.random.default_rng(2).uniform(0.1, 0.9, (len(dates), 20, 20)).astype(np.float32)
    folder = make_stack(values, dates)
    result = run("apply", "ols", folder, "--composite", "max", "-o", tmp_path / "trend.tif", "--quiet")
    told = "2004: its 3 layers cover 25% of its days, those of a typical one 100%"
    assert f"warning: {told}: the year is incomplete and left out" in result.stderr
    provenance = pw.open_map(tmp_path / "trend.tif").provenance
    assert provenance["input"]["composite"]["dropped"] == [told]
    assert f"{told}: the year is incomplete and left out" in provenance["warnings"]
    assert f"left out as incomplete: {told}" in run("plan", folder, "--composite", "max").output


TAGS = [
    "",
    "{",
    "[" * 100_000,
    "zlib:AAAA",
    "[1]",
    '{"input": []}',
    '{"bands": ["a"], "input": {"composite": 5}}',
    *(
        json.dumps({"bands": [str(year) for year in range(2001, 2013)], "input": {"composite": composite}, **more})
        for composite, more in [
            ({"how": None}, {}),
            ({"how": ["max"]}, {}),
            ({"how": ""}, {}),
            ({"how": "max\x1b[31m", "layers": list(range(12))}, {}),
            ({"how": "p999", "layers": list(range(12))}, {}),
            ({"how": "max", "layers": list(range(11))}, {}),
            ({"how": "max", "layers": 7}, {}),
            ({"how": "max", "layers": ["1"] * 12}, {}),
            ({"how": "max", "layers": [True] * 6 + [False] * 6}, {}),
            ({"how": "max", "layers": [float("inf")] * 12}, {}),
            ({"how": "max", "layers": [float("nan")] * 12}, {}),
            ({"how": "max", "layers": [-k for k in range(12)]}, {}),
            ({"how": "max", "layers": [10**400 * k for k in range(12)]}, {}),
            ({"how": "max", "layers": list(range(12)), "equal_count": 3}, {}),
            ({"how": "max", "layers": list(range(12))}, {"bands": [str(year) for year in range(2002, 2014)]}),
            ({"how": "mean", "periods": list(range(12)), "short": ["2004: x", 5, None, ["2005: x"]]}, {}),
            ({"how": "mean", "periods": 3, "short": ["2004: x"]}, {}),
            ({"how": "mean", "periods": [{}] * 12, "short": "2004"}, {}),
        ]
    ),
]


@pytest.mark.parametrize("tag", TAGS, ids=range(len(TAGS)))
def test_a_tag_is_data(annual: Path, tmp_path: Path, tag: str) -> None:
    path = Path(shutil.copy(annual, tmp_path))
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(PIXELWISE=tag)
    assert "warnings" not in pw.apply(pw.open_stack(path), "ols").provenance


def test_a_tag_that_unpacks_to_much_is_left(more_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pixelwise.maps import map as maps

    path = pw.write_layers(pw.open_stack(more_scenes).composite("max"), tmp_path / "annual.tif")
    with rasterio.open(path) as dataset:
        tag = decode_provenance(dataset.tags()["PIXELWISE"])
    for padding in ("", "x" * 10_000):
        with rasterio.open(path, "r+") as dataset:
            dataset.update_tags(PIXELWISE=encode_provenance({**tag, "padding": padding}))
        assert len(pw.apply(pw.open_stack(path), "ols").provenance["warnings"]) == 1
        with monkeypatch.context() as patch:
            patch.setattr(maps, "LARGEST_UNASKED", 2000)
            assert "warnings" not in pw.apply(pw.open_stack(path), "ols").provenance


def test_what_was_composited_is_in_the_tags(scenes: tuple[Path, Any], tmp_path: Path) -> None:
    output = tmp_path / "trend.tif"
    words = ("apply", "ols", scenes[0], "-o", output, "--quiet", "--executor", "inline")
    result = run(*words, "--composite", "p90", "--season", "07-01..06-30", "--min-count", 2)
    assert result.exit_code == 0, result.output
    assert "incomplete and left out" in result.stderr
    made = pw.open_map(output).provenance["input"]
    assert made["spec"] == {"composite": "p90", "season": "07-01..06-30", "min_count": 2}
    assert made["composite"]["periods"] == ["2001/02", "2002/03", "2003/04"]
    assert [text[:7] for text in made["composite"]["dropped"]] == ["2000/01", "2004/05"]
    assert made["layers"] == len(made["composite"]["periods"])
    assert "the effect of --composite is not recomputed" in run("verify", output).output
    # Several layers a year without composites: in the tags too.
    assert run("apply", "ols", scenes[0], "-o", output, "--quiet", "--overwrite").exit_code == 0
    assert "no season term" in pw.open_map(output).provenance["warnings"][0]


def test_mistakes(scenes: tuple[Path, Any]) -> None:
    stack = pw.open_stack(scenes[0])
    with pytest.raises(ParameterError, match=r"composite='maxx' is not one of max, .*; did you mean 'max'"):
        stack.composite("maxx")
    with pytest.raises(ParameterError, match=r"season 13-01\.\.14-01: 13-01 is not a valid day"):
        stack.composite("max", season="13-01..14-01")
    with pytest.raises(ParameterError, match="every='decade' is not one of year, season, month, dekad"):
        stack.composite("max", every="decade")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"no layer within the season 12-24\.\.12-26: the 40 layers are from"):
        stack.composite("max", season="12-24..12-26")
    with pytest.raises(
        ParameterError, match=r"composite 'max' is not an option of open_stack: use open_stack\(\.\.\.\)\.composite"
    ):
        pw.open_stack(scenes[0], composite="max")
    with pytest.raises(ParameterError, match="season without composite: give --composite HOW"):
        pw.open_stack(scenes[0], season="05-01..09-30")
    result = run("plan", scenes[0], "--composite", "max", "--season", "12-24..12-26")
    assert result.exit_code == 1
    assert "no layer within the season" in result.output


@dataclass(frozen=True)
class Lagged(OrdinaryLeastSquares):
    """A method that looks at neighbours in time."""

    @property
    def needs_step(self) -> bool:
        return True


def test_methods_that_need_steps_refuse_raw_scenes(make_stack: Any) -> None:
    dates = [f"{year}-0{month}-{day}" for year in range(2001, 2006) for month, day in ((1, 14), (3, 25), (8, 11))]
    scenes = pw.open_stack(make_stack(np.random.default_rng(0).random((15, 3, 4)).astype(np.float32), dates))
    words = (
        r"needs layers at regular steps, but the dates of these 15 are irregular \(2001-01-14\.\.2005-08-11\): .*--comp"
    )
    with pytest.raises(ParameterError, match=words):
        pw.apply(scenes, Lagged())
    with pytest.raises(ParameterError, match=words):
        Lagged()(np.zeros((15, 2)), scenes.axis)
    annual = pw.apply(scenes.composite("max"), Lagged())
    np.testing.assert_array_equal(annual["slope"], pw.apply(scenes.composite("max"), "ols")["slope"])


@pytest.mark.parametrize("every", ["year", "season", "month", "dekad"])
def test_the_advice_for_irregular_scenes_works(make_stack: Any, tmp_path: Path, every: str) -> None:
    """Few neighbours are one step apart where years and months are missing; the step is known all the same."""
    random = np.random.default_rng(3)
    dates = [f"{year}-{month:02}-{day:02}" for year in (1990, 1993, 1994, 1999, 2003, 2010)
             for month, day in ((2, int(random.integers(1, 28))), (7, int(random.integers(1, 28))))]  # fmt: skip
    folder = make_stack(random.random((12, 3, 4)).astype(np.float32), dates)
    refused = run("apply", "trend", folder, "-o", tmp_path / "no.tif")
    assert refused.exit_code == 1
    assert "irregular (1990-02-" in refused.output
    assert "--composite HOW --every year|season|month" in refused.output
    stack = pw.open_stack(folder).composite("max", every=every)  # type: ignore[arg-type]
    assert stack.axis.step is not None
    fused = pw.apply(stack, "trend")
    annual = tmp_path / "composites.tif"
    for words in (
        ("composite", folder, "--composite", "max", "--every", every, "-o", annual, "--quiet"),
        ("apply", "trend", annual, "-o", tmp_path / "trend.tif", "--quiet"),
    ):
        result = run(*words)
        assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(pw.open_map(tmp_path / "trend.tif")["slope"], fused["slope"])


def test_annual_layers_with_missing_years_are_regular(make_stack: Any) -> None:
    years = [1990, 1993, 1994, 1999, 2003, 2010]
    values = random_series((6, 3, 4), seed=5)
    made = pw.apply(pw.open_stack(make_stack(values, years)), "trend")
    # The same series as one of 21 years of which 15 have no value.
    whole = np.full((21, 3, 4), np.nan)
    whole[[year - 1990 for year in years]] = values.astype(np.float64)
    expected = pw.methods.trend()(whole, np.arange(1990.0, 2011))
    for name in ("slope", "pvalue", "n", "r1", "pvalue_mk"):
        np.testing.assert_array_equal(made[name].ravel(), expected[name].astype(np.float32))

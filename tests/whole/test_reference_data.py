"""The whole path on real data: files, dates, gaps and fit against the answers that R gave for the same pixels.

R counts x in years since 1970 (days since 1970-01-01 / 365.25), so that only its intercept and the standard error of
that belong to another origin than ours: year 0.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from scipy.stats import linregress

import pixelwise as pw
from pixelwise.bands import Status
from pixelwise.errors import InputError, ParameterError
from pixelwise.methods import harmonic, polynomial
from pixelwise.stacks.raster import RasterStack
from support.command_line import run
from support.real_stacks import CASES, LEFT_OUT, Shared

Rows = NDArray[np.void]
#: A stack, its answers, and (time, pixel) of the pixels that have some.
Opened = tuple[RasterStack, Rows, Any]

#: What the project promises. Of these data p comes closest: 2e-11 off, from tables that are good for 1e-9.
RELATIVE = 1e-9
ORIGIN = 1970
BANDS = ["slope", "intercept", "rvalue", "pvalue", "stderr", "intercept_stderr", "n", "status"]


# --------------------------------------------------------------------------------------------- the answers


def answers(shared: Shared) -> Rows:
    return np.genfromtxt(
        shared("reference_answers/r_lm_kendall.csv"), delimiter=",", names=True, dtype=None, encoding="utf-8"
    )


def answers_of(name: str, shared: Shared) -> Rows:
    table = answers(shared)
    rows = table[table["set"] == name]
    assert len(rows) > 0, f"no answers for {name}"
    return rows


def pixels_of(rows: Rows) -> tuple[Any, Any]:
    return rows["row"], rows["col"]


def series_of(stack: RasterStack, rows: Rows) -> Any:
    """Return (time, pixel) float64 of the pixels that have answers."""
    row, col = pixels_of(rows)
    return stack.read(stack.grid.block)[:, row, col].astype(np.float64)


def differences(bands: Mapping[str, Any], stack: RasterStack, rows: Rows, series: Any) -> dict[str, float]:
    """Return the largest relative difference of each quantity from R's."""
    at = pixels_of(rows)
    ours = {name: np.asarray(bands[name][at], dtype=np.float64) for name in BANDS}
    slope, stderr = ours["slope"], ours["stderr"]
    # t = x + 1970. Where the line is near 0 in 1970, the shift cancels digits: 1970 |slope| is up to 4.5e3 times R's
    # intercept (dtwsat), so that rounding (1.1e-16) and the slope's own difference (2e-12) show as 2e-11.
    intercept = ours["intercept"] + ORIGIN * slope
    # se(a)^2 = se(b)^2 (Sxx / n + mean(x)^2), so that the origins differ by se(b)^2 (mean(t)^2 - mean(x)^2).
    # Subtracting this multiplies rounding by (ours / R's)^2, up to 5.2e3 (pacificSST): 1e-12.
    x = stack.axis.years[:, None] - ORIGIN
    mean_x = np.nanmean(np.where(np.isnan(series), np.nan, x), axis=0)
    intercept_stderr = np.sqrt(ours["intercept_stderr"] ** 2 - stderr**2 * ORIGIN * (ORIGIN + 2 * mean_x))
    pairs = {
        "slope": (slope, "ols_slope_per_yr"),
        "stderr": (stderr, "ols_se_slope"),
        "t": (slope / stderr, "ols_t"),
        "pvalue": (ours["pvalue"], "ols_p"),
        "r2": (ours["rvalue"] ** 2, "r2"),
        "intercept": (intercept, "ols_intercept"),
        "intercept_stderr": (intercept_stderr, "ols_se_intercept"),
    }
    found = {}
    for quantity, (values, column) in pairs.items():
        expected = rows[column]
        # NaN must not pass as "not larger"; relative differences need something to relate to.
        assert np.isfinite(values).all(), quantity
        assert (expected != 0).all(), column
        found[quantity] = float(np.max(np.abs(values - expected) / np.abs(expected)))
    return found


def assert_same_as_r(bands: Mapping[str, Any], stack: RasterStack, rows: Rows, series: Any) -> None:
    at = pixels_of(rows)
    np.testing.assert_array_equal(bands["n"][at], rows["n"])
    np.testing.assert_array_equal(bands["status"][at], 0)
    np.testing.assert_array_equal(np.sign(bands["rvalue"][at]), np.sign(rows["ols_slope_per_yr"]))
    # R prints p below 2.2e-308 as 0, which nothing can be compared with; the smallest here is 2e-12.
    assert (rows["ols_p"] >= np.finfo(np.float64).tiny).all()
    found = differences(bands, stack, rows, series)
    assert {quantity: value for quantity, value in found.items() if value > RELATIVE} == {}


# --------------------------------------------------------------------------------------------------- tests


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Shared], Opened]:
    """Open each stack once, and read its series that have answers."""
    known: dict[str, Opened] = {}

    def find(name: str, shared: Shared) -> Opened:
        if name not in known:
            rows = answers_of(name, shared)
            stack = CASES[name].open(shared, tmp_path_factory.mktemp("opened"))
            known[name] = (stack, rows, series_of(stack, rows))
        return known[name]

    return find


def test_every_stack_with_answers_is_compared_or_left_out_with_a_reason(shared: Shared) -> None:
    assert set(answers(shared)["set"]) == {*CASES, *LEFT_OUT}


@pytest.mark.parametrize("name", CASES)
def test_fit_is_that_of_r(name: str, shared: Shared, opened: Callable[[str, Shared], Opened]) -> None:
    """By the whole path, from files to a map."""
    stack, rows, series = opened(name, shared)
    np.testing.assert_array_equal((~np.isnan(series)).sum(axis=0), rows["n"])
    # Two ways to add up at most 990 numbers: 1e-12 is plenty.
    np.testing.assert_allclose(np.nanmean(series, axis=0), rows["mean"], rtol=1e-12)
    np.testing.assert_allclose(np.nanstd(series, axis=0, ddof=1), rows["sd"], rtol=1e-12)

    trend = pw.apply(stack, "ols", dtype="float64")
    assert trend.names == tuple(BANDS)
    assert_same_as_r(trend, stack, rows, series)


@pytest.mark.parametrize("name", CASES)
def test_season_and_trend_are_those_of_r(name: str, shared: Shared, opened: Callable[[str, Shared], Opened]) -> None:
    stack, rows, series = opened(name, shared)
    if name == "remoteparts_ak_ndvi":
        # R finds amplitudes of 10 000 in noise of 0.4, as leap days shift one date a year by three quarters of a day.
        with pytest.raises(
            ParameterError, match="harmonics=1, period=1 and a trend: harmonic cannot separate them with these 32"
        ):
            pw.apply(stack, "harmonic")
        return
    ours = harmonic()(series, stack.axis)
    np.testing.assert_array_equal(ours["n"], rows["n"])
    # All but the test by an effective number of values, which R was not asked for.
    assert np.isin(ours["status"], [Status.OK, Status.TEST_UNDEFINED]).all()
    # Years since 1970 and years differ by whole periods.
    angle = np.arctan2(rows["harm_sin"], rows["harm_cos"]) / (2 * np.pi) % 1
    expected = {
        "slope": rows["harm_slope"],
        "stderr": rows["harm_se_slope"],
        "pvalue_ols": rows["harm_p_slope"],
        "amplitude_1": np.hypot(rows["harm_cos"], rows["harm_sin"]),
        "peak_1": 1 + 365.25 * angle,
        "rmse": rows["harm_sigma"],
    }
    for band, values in expected.items():
        np.testing.assert_allclose(ours[band], values, rtol=RELATIVE, err_msg=band)
    # As for the line: 1970 times the slope is much larger than R's intercept.
    intercept = ours["intercept"] + ORIGIN * ours["slope"]
    np.testing.assert_allclose(intercept, rows["harm_intercept"], rtol=RELATIVE)


@pytest.mark.parametrize("name", CASES)
def test_parabola_is_that_of_r(name: str, shared: Shared, opened: Callable[[str, Shared], Opened]) -> None:
    stack, rows, series = opened(name, shared)
    fit = polynomial(origin=ORIGIN)(series, stack.axis)
    np.testing.assert_array_equal(fit["status"], Status.OK)
    np.testing.assert_array_equal(fit["n"], rows["n"])
    for band, column in (("c1", "quad_b1"), ("c2", "quad_b2")):
        np.testing.assert_allclose(fit[band], rows[column], rtol=RELATIVE, err_msg=band)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("tura_landsat", id="int16 with nodata"),
        pytest.param("stfit_landsat106", id="no CRS"),
        pytest.param("skmap_ndvi_gappy", id="CRS of another authority"),
        pytest.param("dtwsat_mt_ndvi", id="float64 with nodata, sinusoidal"),
    ],
)
def test_file_holds_what_memory_holds(name: str, shared: Shared, tmp_path: Path) -> None:
    stack = CASES[name].open(shared, tmp_path)
    in_memory = pw.apply(stack, "ols", dtype="float64")
    pw.apply(stack, "ols", tmp_path / "map.tif", dtype="float64")
    from_file = pw.open_map(tmp_path / "map.tif")
    assert from_file.grid == stack.grid
    assert from_file.names == in_memory.names
    for band in BANDS:
        np.testing.assert_array_equal(from_file[band], in_memory[band])


def test_plain_years_are_whole_numbers(shared: Shared) -> None:
    """Alaska by its file names; the oracle is SciPy on the years themselves, as R was given dates."""
    rows = answers_of("remoteparts_ak_ndvi", shared)
    stack = pw.open_stack(shared("remoteparts_ak_ndvi/geotiff"))
    years = np.arange(1982, 2014)
    assert stack.axis.precision == "year"
    np.testing.assert_array_equal(stack.axis.years, years)
    trend = pw.apply(stack, "ols", dtype="float64")
    for row, col, series in zip(*pixels_of(rows), series_of(stack, rows).T, strict=True):
        fit = linregress(years, series)
        for band in BANDS[:6]:
            assert trend[band][row, col] == pytest.approx(getattr(fit, band), rel=RELATIVE, abs=0), (band, row, col)


def acquired(path: str | Path) -> date:
    """Return the day in a Landsat scene id of before 2017: LT5 170055 1984158 XXX01."""
    return datetime.strptime(Path(path).name[9:16], "%Y%j").date()


def test_layers_are_in_the_order_of_dates_not_of_names(shared: Shared) -> None:
    folder = shared("tura_landsat/geotiff")
    days = [acquired(path) for path in sorted(folder.glob("*.tif"))]
    assert days != sorted(days), "the data should be a test of order"
    stack = pw.open_stack(folder)
    assert [str(day) for day in stack.axis.days] == [str(day) for day in sorted(days)]
    assert [acquired(layer.pieces[0].path) for layer in stack.layers] == sorted(days)


def test_two_images_of_one_day(shared: Shared) -> None:
    """R had both images, but clouds cover both: the clouds left in, they tell the treatments apart."""
    paths = sorted(shared("eolearn_s2_ndvi/geotiff").glob("*_NDVI.tif"))
    dates = {path: path.name[3:11] for path in paths}
    images = []
    for path in paths:
        with rasterio.open(path) as dataset:
            images.append(dataset.read(1))
    (twin,) = np.flatnonzero([dates[a] == dates[b] for a, b in pairwise(paths)])
    pair = np.array(images[twin : twin + 2])
    before, after = images[:twin], images[twin + 2 :]
    expected = {
        "keep": images,
        "first": [*before, pair[0], *after],
        "mean": [*before, pair.mean(axis=0, dtype=np.float64), *after],
        "max": [*before, pair.max(axis=0), *after],
    }
    for treatment, values in expected.items():
        stack = pw.open_stack(dates, same_date=treatment)
        np.testing.assert_array_equal(stack.read(stack.grid.block), values, err_msg=treatment)

    kept = pw.open_stack(dates, same_date="keep")
    assert len(np.unique(kept.axis.days)) == len(kept) - 1
    trend = pw.apply(kept, "ols", dtype="float64")
    assert (trend["n"] == len(paths)).all()
    fit = linregress(kept.axis.years, [float(image[40, 60]) for image in images])
    assert trend["pvalue"][40, 60] == pytest.approx(fit.pvalue, rel=RELATIVE, abs=0)

    with pytest.raises(InputError) as refused:
        pw.open_stack(dates)
    (problem,) = refused.value.problems
    for text in ("2015-12-08", str(paths[twin]), str(paths[twin + 1]), "--same-date keep|first|mosaic|mean|max"):
        assert text in problem

    # The names themselves have the time of day, so that no two are equal.
    assert len(np.unique(pw.open_stack(paths).axis.dates)) == len(paths)


# ---------------------------------------------------------------------------------------- the command line


def numbers(path: Path) -> str:
    """Write the transform of a file as the messages do."""
    with rasterio.open(path) as dataset:
        return "(" + ", ".join(f"{value:.10g}" for value in tuple(dataset.transform)[:6]) + ")"


@pytest.mark.parametrize("command", [("plan",), ("apply", "ols", "-o", "{folder}/map.tif")], ids=["plan", "apply"])
def test_scenes_on_different_grids_are_refused(command: Sequence[str], shared: Shared, tmp_path: Path) -> None:
    pattern = "**/*_B5.TIF"
    first, *others = sorted(shared("gdalcubes_L8NY18").glob(pattern), key=lambda path: path.name[17:25])
    result = run(*(word.format(folder=tmp_path) for word in command), shared("gdalcubes_L8NY18") / pattern)
    assert result.exit_code == 1
    assert list(tmp_path.iterdir()) == []

    lines = result.output.splitlines()
    (headline,) = [line for line in lines if "not on one grid" in line]
    assert f"{len(others)} differ from {first}" in headline
    for path in others:
        (line,) = [line for line in lines if f"{path}: " in line]
        assert f"{numbers(path)} instead of {numbers(first)}" in line
    (advice,) = [line for line in lines if "align them with --align" in line]
    assert "--resampling nearest|bilinear" in advice
    if command[0] == "apply":
        assert result.stdout == ""
        assert all(line.startswith("error: ") for line in result.stderr.splitlines())


def test_map_of_the_command_line(shared: Shared, tmp_path: Path) -> None:
    files = sorted(shared("tura_landsat/geotiff").glob("*.tif"))
    output = tmp_path / "out.tif"
    result = run("apply", "ols", *files, "-o", output, "--dtype", "float64")
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [str(output)]
    assert list(tmp_path.iterdir()) == [output]

    with rasterio.open(output) as written, rasterio.open(files[0]) as source:
        assert written.driver == "GTiff"
        assert written.crs == source.crs
        assert written.transform == source.transform
        assert written.shape == source.shape
        assert list(written.descriptions) == BANDS
        assert set(written.dtypes) == {"float64"}
        assert np.isnan(written.nodatavals).all()
        bands = dict(zip(written.descriptions, written.read(), strict=True))
    rows, stack = answers_of("tura_landsat", shared), pw.open_stack(files)
    assert_same_as_r(bands, stack, rows, series_of(stack, rows))


def test_plan_as_json(shared: Shared) -> None:
    files = sorted(shared("tura_landsat/geotiff").glob("*.tif"))
    result = run("plan", *files, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["problems"] == []
    assert report["grid"] is not None
    assert report["plan"] is not None

    layers = report["layers"]
    dates = [date.fromisoformat(layer["date"]) for layer in layers]
    assert dates == sorted(dates)
    assert sorted(path for layer in layers for path in layer["paths"]) == [str(path) for path in files]
    for layer, day in zip(layers, dates, strict=True):
        assert day == acquired(*layer["paths"])
        assert (layer["band"], layer["precision"]) == (1, "day")
        assert layer["rule"] == "Landsat before collections"
        # In days the time is a whole number, but 1970 + x rounds it to 2^-43 years: 1e-11 days are ample.
        since = (day - date(1970, 1, 1)).days
        assert (layer["time"] - ORIGIN) * 365.25 == pytest.approx(since, rel=0, abs=1e-9)

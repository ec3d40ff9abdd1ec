"""Ordinary least squares against scipy, NIST and 50-digit arithmetic."""

import math
import os
import pickle
import subprocess
import sys

import mpmath
import numpy as np
import pytest
import scipy.stats

from pixelwise.bands import Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import ParameterError
from pixelwise.kernels import jit
from pixelwise.method import BoundMethod
from pixelwise.methods import get, ols
from pixelwise.methods.ols import OrdinaryLeastSquares, longest_run
from support.compiled import compiled_only
from support.oracles import ols_oracle
from support.places import SHARED

NIST = SHARED / "nist_strd" / "dat"
NUMBERS = ("slope", "intercept", "rvalue", "pvalue", "stderr", "intercept_stderr")
YEARS = np.arange(1995.0, 2016.0)


def noisy(rng, years, pixels, dtype=np.float64, gaps=0.2, offset=0.0, slope=0.05, digits=None):
    """Return (time, pixel) lines with noise and gaps; `digits` rounds, which makes ties."""
    values = offset + slope * (years - years.mean())[:, None] + rng.normal(size=(len(years), pixels))
    if digits is not None:
        values = values.round(digits)
    values[rng.random(values.shape) < gaps] = np.nan
    return values.astype(dtype)


def exact_line(times, values):
    """Return slope, r, standard errors and p of one series, in 50 digits."""
    valid = ~np.isnan(values)
    with mpmath.workdps(50):
        x = [mpmath.mpf(float(t)) for t in times[valid]]
        y = [mpmath.mpf(float(v)) for v in values[valid]]
        n = len(x)
        mx, my = mpmath.fsum(x) / n, mpmath.fsum(y) / n
        sxx = mpmath.fsum((a - mx) ** 2 for a in x)
        sxy = mpmath.fsum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
        syy = mpmath.fsum((b - my) ** 2 for b in y)
        slope = sxy / sxx
        rss = syy - slope * sxy
        stderr = mpmath.sqrt(rss / (n - 2) / sxx)
        return {
            "slope": slope,
            "intercept": my - slope * mx,
            "rvalue": sxy / mpmath.sqrt(sxx * syy),
            "stderr": stderr,
            "intercept_stderr": stderr * mpmath.sqrt(sxx / n + mx**2),
            "pvalue": mpmath.betainc(mpmath.mpf(n - 2) / 2, 0.5, 0, rss / syy, regularized=True),
        }


def worst_error(fit, times, values, band):
    exact = (exact_line(times, values[:, pixel])[band] for pixel in range(values.shape[1]))
    return max(abs(float(found / wanted - 1)) for found, wanted in zip(fit[band], exact, strict=True))


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("layers", "options"),
    [
        (21, {"gaps": 0.0}),
        (21, {"gaps": 0.05}),
        (21, {"gaps": 0.6}),
        (21, {"digits": 0, "gaps": 0.3}),
        (22, {"offset": -300.0}),
        (23, {"slope": -2.0}),
        (200, {"gaps": 0.5}),
    ],
)
def test_equals_scipy(layers, options, dtype):
    rng = np.random.default_rng(layers)
    years = np.sort(rng.uniform(1984, 2020, layers))
    values = noisy(rng, years, 150, dtype, **options)
    fit = ols()(values, years)
    for pixel in np.flatnonzero(fit["status"] == Status.OK):
        expected = ols_oracle(years, values[:, pixel])
        for band in (*NUMBERS, "n"):
            assert fit[band][pixel] == pytest.approx(expected[band], rel=1e-10, abs=1e-12), (band, pixel)
    assert (fit["status"] == Status.OK).sum() > 100


def test_equals_scipy_with_equal_dates():
    rng = np.random.default_rng(5)
    years = np.repeat([2000.0, 2001.0, 2003.5, 2004.0], [5, 3, 1, 4])
    values = noisy(rng, years, 60, gaps=0.3)
    fit = ols()(values, years)
    assert (fit["status"] == Status.OK).all()
    for pixel in range(60):
        expected = ols_oracle(years, values[:, pixel])
        for band in (*NUMBERS, "n"):
            assert fit[band][pixel] == pytest.approx(expected[band], rel=1e-11), band


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e9])
def test_as_exact_as_float64_allows(offset):
    rng = np.random.default_rng(7)
    values = noisy(rng, YEARS, 40, gaps=0.1, slope=1e-3, offset=offset)
    fit = ols()(values, YEARS)
    for band in ("slope", "rvalue", "stderr", "intercept_stderr"):
        assert worst_error(fit, YEARS, values, band) <= 1e-12, band
    assert worst_error(fit, YEARS, values, "pvalue") <= 1e-9


@pytest.mark.parametrize("noise", [1e-3, 1e-6, 1e-9])
def test_nearly_perfect_lines(noise):
    # 1 - r**2 is down to 1e-20: Syy - slope * Sxy would be noise.
    rng = np.random.default_rng(8)
    values = 0.5 * (YEARS - 2000.0)[:, None] + noise * rng.normal(size=(len(YEARS), 30))
    values[rng.random(values.shape) < 0.1] = np.nan
    fit = ols()(values, YEARS)
    # A residual is known to 1e-16 of the values.
    known = max(1e-12, 1e-15 * 5.0 / noise)
    assert worst_error(fit, YEARS, values, "stderr") <= known
    assert worst_error(fit, YEARS, values, "pvalue") <= 20 * known + 1e-9
    assert (fit["pvalue"] < 1e-30).all()


def test_a_first_value_far_off_costs_no_digits():
    rng = np.random.default_rng(9)
    values = noisy(rng, YEARS, 30, gaps=0.1)
    values[0] = 1e6
    fit = ols()(values, YEARS)
    for band in ("slope", "rvalue", "stderr"):
        assert worst_error(fit, YEARS, values, band) <= 1e-12, band


def test_perfect_line():
    fit = ols()(2.0 * np.arange(5.0), np.arange(2000.0, 2005.0))
    assert fit["slope"][0] == 2.0
    assert fit["rvalue"][0] == 1.0
    assert fit["stderr"][0] == fit["pvalue"][0] == 0.0


def test_nist_norris():
    path = NIST / "Norris.dat"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    lines = path.read_text().splitlines()
    rows = [line.split() for line in lines[30:46]]
    certified = {row[0]: [float(number) for number in row[1:]] for row in rows if row and row[0] in ("B0", "B1")}
    y, x = np.array([[float(word) for word in line.split()] for line in lines[60:] if line.strip()]).T
    order = np.argsort(x, kind="stable")
    fit = ols()(y[order], TimeAxis.from_times(x[order]))
    found = [fit[band][0] for band in ("intercept", "intercept_stderr", "slope", "stderr")]
    assert len(x) == fit["n"][0] == 36
    np.testing.assert_allclose(found, [*certified["B0"], *certified["B1"]], rtol=1e-11)


def test_predict():
    axis = TimeAxis.from_times(YEARS)
    line = ols().predict({"slope": np.array([0.5, 0.0]), "intercept": np.array([-1000.0, 3.0])}, axis)
    np.testing.assert_array_equal(line, np.stack([0.5 * YEARS - 1000.0, np.full(21, 3.0)], axis=1))
    single = ols().predict({"slope": np.float32(2.0), "intercept": np.float32(1.0)}, axis)
    np.testing.assert_array_equal(single, 2.0 * YEARS[:, None] + 1.0)


def test_predict_goes_through_the_fit():
    rng = np.random.default_rng(3)
    values = noisy(rng, YEARS, 20, gaps=0.0)
    method = ols()
    residuals = values - method.predict(method(values, YEARS), TimeAxis.from_times(YEARS))
    np.testing.assert_allclose(residuals.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose((residuals * YEARS[:, None]).mean(axis=0), 0.0, atol=1e-8)


# ---------------------------------------------------------------- status


def series(*values):
    return np.array(values, dtype=np.float64)[:, None]


def test_status_codes():
    nan = math.nan
    values = np.concatenate(
        [
            series(nan, nan, nan, nan, nan),
            series(nan, 1, nan, 2, nan),
            series(5.1, 5.1, nan, 5.1, 5.1),
            series(1, 2, 4, nan, nan),
            series(1, 2, 4, nan, 5),
            series(7, 7, 7, nan, nan),
        ],
        axis=1,
    )
    years = [2000.1, 2000.1, 2000.1, 2001, 2002]
    fit = ols()(values, years)
    assert fit["status"].tolist() == [1, 2, 3, 4, 0, 3]
    assert fit["status"].dtype == np.uint8
    assert fit["n"].tolist() == [0, 2, 4, 3, 4, 3]
    assert fit["slope"][[2, 5]].tolist() == [0.0, 0.0]
    assert fit["intercept"][[2, 5]].tolist() == [5.1, 7.0]
    for band in NUMBERS:
        assert np.isnan(fit[band][[0, 1, 3]]).all()
        assert np.isfinite(fit[band][4])
    for band in ("rvalue", "pvalue", "stderr", "intercept_stderr"):
        assert np.isnan(fit[band][[2, 5]]).all()


def test_one_date_is_found_though_its_mean_is_rounded():
    years = np.array([1999.1] * 3 + [2007.7] * 7)
    values = np.random.default_rng(0).normal(size=(10, 1))
    values[:3] = np.nan
    fit = ols()(values, years)
    assert fit["status"][0] == Status.DEGENERATE
    # The same without the possibility of one date only, and with a second date.
    values[0] = 1.0
    assert ols()(values, years)["status"][0] == Status.OK
    assert longest_run(years) == 7
    assert longest_run(np.empty(0)) == 0


@pytest.mark.parametrize("value", [0.1, -1e9 / 3, 5e-324, 1e300, np.float32(0.1)])
def test_constant_series_is_found_exactly(value):
    fit = ols()(np.full((21, 1), value), YEARS)
    assert fit["status"][0] == Status.CONSTANT
    assert fit["intercept"][0] == value


@pytest.mark.parametrize("value", [0.1, 1e9])
def test_series_that_is_constant_but_for_one_bit_is_not_constant(value):
    values = np.full((21, 1), value)
    values[20] = np.nextafter(value, 2 * value)
    fit = ols()(values, YEARS)
    assert fit["status"][0] == Status.OK
    assert fit["slope"][0] == pytest.approx(float(exact_line(YEARS, values[:, 0])["slope"]), rel=1e-12)


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1e-200), (-1e200, 1e200), (0.0, math.inf), (math.inf, 1.0), (math.inf, math.inf)]
)
def test_values_whose_squares_leave_float64(low, high):
    values = np.full((21, 1), low)
    values[20] = high
    fit = ols()(values, YEARS)
    assert fit["status"][0] == Status.TEST_UNDEFINED
    assert fit["n"][0] == 21
    for band in ("rvalue", "pvalue", "stderr", "intercept_stderr"):
        assert np.isnan(fit[band][0])


def test_min_obs():
    values = np.arange(6.0)[:, None] ** 2 * np.ones(5)
    for pixel in range(5):
        values[pixel + 2 :, pixel] = np.nan
    years = np.arange(2000.0, 2006.0)
    assert ols()(values, years)["status"].tolist() == [2, 0, 0, 0, 0]
    fit = ols(min_obs=5)(values, years)
    assert fit["status"].tolist() == [2, 2, 2, 0, 0]
    assert fit["pvalue"][4] == pytest.approx(ols_oracle(years, values[:, 4])["pvalue"], rel=1e-11)
    assert ols(min_obs=7)(values, years)["status"].tolist() == [2] * 5


@pytest.mark.parametrize("value", [2, 0, -1, 3.5])
def test_min_obs_is_checked(value):
    with pytest.raises(ParameterError, match="at least 3"):
        ols(min_obs=value)


# ---------------------------------------------------------------- bits


@compiled_only
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_do_not_depend_on_neighbours(dtype):
    rng = np.random.default_rng(11)
    values = np.concatenate(
        [
            noisy(rng, YEARS, 200, dtype, gaps=0.0),
            noisy(rng, YEARS, 200, dtype, gaps=0.05),
            noisy(rng, YEARS, 100, dtype, gaps=0.8, offset=1e4),
            np.full((21, 20), 3.0, dtype),
            np.full((21, 20), np.nan, dtype),
            (1e-3 * YEARS)[:, None].astype(dtype) * np.ones(10, dtype),
        ],
        axis=1,
    )
    bound = ols().bind(TimeAxis.from_times(YEARS), None, {})
    whole, status = bound((values,))
    for width in (1, 127, 128, 129):
        parts = [bound((values[:, k : k + width],)) for k in range(0, values.shape[1], width)]
        np.testing.assert_array_equal(
            np.concatenate([p[0] for p in parts], axis=1).view(np.int64), whole.view(np.int64)
        )
        np.testing.assert_array_equal(np.concatenate([p[1] for p in parts]), status)
    for _ in range(3):
        order = rng.permutation(values.shape[1])
        mixed, mixed_status = bound((values[:, order],))
        np.testing.assert_array_equal(mixed.view(np.int64), np.ascontiguousarray(whole[:, order]).view(np.int64))
        np.testing.assert_array_equal(mixed_status, status[order])


@pytest.mark.parametrize("layers", [3, 4, 5])
def test_number_of_layers_that_is_no_multiple_of_three(layers):
    # The kernel takes three dates at a time.
    rng = np.random.default_rng(layers)
    years = np.arange(2000.0, 2000.0 + layers)
    values = rng.normal(size=(layers, 50))
    axis = TimeAxis.from_times(years)
    table, _ = ols().bind(axis, ["slope", "rvalue", "stderr"], {})((values,))
    for pixel in range(50):
        wanted = ols_oracle(years, values[:, pixel])
        np.testing.assert_allclose(table[:, pixel], [wanted["slope"], wanted["rvalue"], wanted["stderr"]], rtol=1e-9)


def test_strided_and_read_only_input():
    rng = np.random.default_rng(2)
    values = noisy(rng, YEARS, 300)
    bound = ols().bind(TimeAxis.from_times(YEARS), None, {})
    expected = bound((np.ascontiguousarray(values[:, ::2]),))[0]
    np.testing.assert_array_equal(bound((values[:, ::2],))[0], expected)
    fixed = jit.readonly(np.ascontiguousarray(values[:, ::2]))
    np.testing.assert_array_equal(bound((fixed,))[0], expected)


def test_no_pixel():
    values, status = ols().bind(TimeAxis.from_times(YEARS), None, {})((np.empty((21, 0)),))
    assert values.shape == (7, 0)
    assert status.shape == (0,)


# ---------------------------------------------------------------- binding


def test_bound_method():
    bound = ols().bind(TimeAxis.from_times(YEARS), ["pvalue", "slope", "status"], {})
    assert isinstance(bound, BoundMethod)
    assert [band.name for band in bound.bands] == ["pvalue", "slope"]
    assert bound.halo == 0
    assert bound.releases_gil
    values = noisy(np.random.default_rng(1), YEARS, 10)
    again = pickle.loads(pickle.dumps(bound))
    np.testing.assert_array_equal(again((values,))[0], bound((values,))[0])


def test_what_is_not_wanted_is_not_prepared():
    axis = TimeAxis.from_times(YEARS)
    assert ols().bind(axis, ["slope", "stderr"], {}).table is None
    assert not ols().bind(axis, ["slope", "rvalue"], {}).residuals
    table = ols(min_obs=10).bind(axis, ["pvalue"], {}).table
    assert table.first_df == 8
    assert len(table.coefficients) == 12


def test_further_inputs_are_refused():
    axis = TimeAxis.from_times(YEARS)
    with pytest.raises(ParameterError, match="rain"):
        ols().bind(axis, None, {"rain": axis})
    with pytest.raises(ParameterError, match="rain"):
        ols()(np.zeros((21, 1)), YEARS, rain=np.zeros((21, 1)))


@pytest.mark.parametrize("values", [np.zeros((20, 4)), np.zeros(21), np.zeros((21, 4), np.int16)])
def test_wrong_arrays_are_refused_before_the_kernel_reads_them(values):
    bound = ols().bind(TimeAxis.from_times(YEARS), None, {})
    with pytest.raises(ParameterError, match="21 times"):
        bound((values,))


def test_registry():
    assert get("ols") is ols
    assert ols(min_obs=4) == OrdinaryLeastSquares(4)
    assert ols(min_obs=4).parameters == {"min_obs": 4, "confidence_level": 0.95, "origin": 0.0}
    with pytest.raises(ParameterError, match="did you mean 'ols'"):
        get("old")


def test_importing_methods_is_light():
    code = (
        "import sys; import pixelwise.methods; import pixelwise.kernels.jit; "
        "print([m for m in ('numba', 'scipy', 'rasterio', 'llvmlite') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------- compiled or not, cached or not

SMALL_FIT = """
import numpy as np
from pixelwise.methods import ols
years = np.arange(2000.0, 2007.0)
values = np.random.default_rng(4).normal(size=(7, 5))
values[2:4, 1] = values[:, 2] = np.nan
values[:, 3] = 1.5
fit = ols()(values, years)
print(np.stack([fit[band] for band in fit]).tobytes().hex())
"""


def run_small_fit(**environment):
    command = [sys.executable, "-W", "error", "-c", SMALL_FIT]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    assert done.returncode == 0, done.stderr
    return np.frombuffer(bytes.fromhex(done.stdout.strip()))


@compiled_only
def test_runs_without_compiling():
    np.testing.assert_allclose(run_small_fit(NUMBA_DISABLE_JIT="1"), run_small_fit(NUMBA_DISABLE_JIT="0"), rtol=1e-13)


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No folder for a cache but, perhaps, the temporary one, which is returned."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(jit.tempfile, "tempdir", str(temporary))
    return temporary


def test_cache_falls_back_to_a_private_temporary_folder(nowhere):
    folder = jit.cache_folder.__wrapped__()
    assert folder.parent.parent == nowhere
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_cache_goes_where_numba_is_told(nowhere, tmp_path):
    assert jit.cache_folder.__wrapped__(str(tmp_path / "told")).parent == tmp_path / "told" / "pixelwise"


def test_cache_trusts_no_folder_that_others_can_write_to(nowhere):
    shared = jit.cache_folder.__wrapped__().parent
    shared.chmod(0o777)
    assert jit.cache_folder.__wrapped__() is None
    shared.chmod(0o700)
    assert jit.cache_folder.__wrapped__() is not None


def test_cache_follows_no_link(nowhere, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (nowhere / f"pixelwise-{os.getuid()}").symlink_to(elsewhere)
    assert jit.cache_folder.__wrapped__() is None


def test_kernels_work_without_a_cache(monkeypatch):
    monkeypatch.setattr(jit, "cache_folder", lambda preferred="": None)

    def double(x):
        return 2.0 * x

    assert jit.kernel()(double)(21.0) == 42.0


def test_kernels_work_when_the_folder_vanishes(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setattr(jit, "cache_folder", lambda preferred="": blocked / "below")
    # Numba then looks beside the source and in the home, and finds nothing for a function without a file.
    scope = {}
    exec("def triple(x):\n    return 3.0 * x", scope)
    assert jit.kernel()(scope["triple"])(14.0) == 42.0


@pytest.mark.parametrize("layers", [3, 4, 5, 6])
@pytest.mark.parametrize("pixels", [128, 129, 300])
def test_one_date_is_degenerate_in_complete_chunks_of_any_number_of_layers(layers: int, pixels: int) -> None:
    # A chunk without gaps is padded to a multiple of three dates: padding is no second date.
    values = np.random.default_rng(0).random((layers, pixels))
    values[:, 7] = 0.5
    result = ols()(values, np.full(layers, 2005.25))
    expected = np.full(pixels, Status.DEGENERATE)
    expected[7] = Status.CONSTANT
    np.testing.assert_array_equal(result["status"], expected)


# ---------------------------------------------------------------- what is asked for less often

DERIVED = [band.name for band in ols().bands if band.optional]


def derived(values, years, **options):
    """Return all derived bands and the status."""
    axis = TimeAxis.from_times(years)
    table, status = ols(**options).bind(axis, DERIVED, {})((values,))
    return {**dict(zip(DERIVED, table, strict=True)), "status": status}


def test_limits_are_those_of_the_level():
    values = noisy(np.random.default_rng(0), YEARS, 50, gaps=0.4)
    fit = ols()(values, YEARS)
    for level, least in ((0.5, 3), (0.9, 3), (0.999, 6)):
        found = derived(values, YEARS, confidence_level=level, min_obs=least)
        q = scipy.stats.t.ppf((1 + level) / 2, fit["n"] - 2)
        assert (fit["n"] >= least).all()
        np.testing.assert_allclose(found["high_slope"], fit["slope"] + q * fit["stderr"], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found["low_slope"], fit["slope"] - q * fit["stderr"], rtol=1e-9, atol=1e-12)


def test_change_is_that_of_the_years_that_are_there():
    values = 3.0 + 0.5 * (YEARS[:, None] - 2000) + np.zeros((1, 2))
    values[:6, 1] = np.nan
    values[3, 0] += 0.1
    values[9, 1] += 0.1
    found = derived(values, YEARS)
    np.testing.assert_array_equal(found["first_time"], [1995, 2001])
    np.testing.assert_array_equal(found["last_time"], [2015, 2015])
    np.testing.assert_allclose(found["change"], [10, 7], rtol=0.01)
    np.testing.assert_allclose(found["end"] - found["start"], found["change"], rtol=1e-12)
    np.testing.assert_allclose(found["percent_of_mean"], 100 * found["change"] / np.nanmean(values, axis=0), rtol=1e-12)


def test_what_is_derived_of_series_without_a_fit():
    values = noisy(np.random.default_rng(0), YEARS, 5, gaps=0.0)
    values[:, 0] = np.nan
    values[2:, 1] = np.nan
    values[:, 2] = 0.1
    values[:, 3] = [*np.linspace(-1, 1, 21)]
    values[:, 4] = 1e300 * np.linspace(1, 2, 21)
    found = derived(values, YEARS)
    np.testing.assert_array_equal(found["first_time"], [np.nan, 1995, 1995, 1995, 1995])
    np.testing.assert_array_equal(found["last_time"], [np.nan, 1996, 2015, 2015, 2015])
    np.testing.assert_array_equal(found["start"][:3], [np.nan, np.nan, 0.1])
    np.testing.assert_array_equal(found["change"][:3], [np.nan, np.nan, 0])
    assert found["change"][4] == pytest.approx(1e300)
    assert found["status"][4] == Status.TEST_UNDEFINED
    # A mean of 0 has no percentage.
    assert np.isnan(found["percent_of_mean"][3])
    assert np.isnan([found[name][k] for name in ("rmse", "durbin_watson", "low_slope") for k in (0, 1, 2, 4)]).all()


def test_the_origin_moves_the_intercept_alone():
    values = noisy(np.random.default_rng(1), YEARS, 40)
    at_0, at_2000 = ols()(values, YEARS), ols(origin=2000)(values, YEARS)
    for name in ("slope", "rvalue", "pvalue", "stderr", "n", "status"):
        np.testing.assert_array_equal(at_0[name], at_2000[name])
    np.testing.assert_allclose(at_2000["intercept"], at_0["intercept"] + 2000 * at_0["slope"], rtol=1e-9, atol=1e-12)
    shifted = ols()(values, YEARS - 2000)
    np.testing.assert_allclose(at_2000["intercept_stderr"], shifted["intercept_stderr"], rtol=1e-12)
    axis = TimeAxis.from_times(YEARS)
    np.testing.assert_allclose(ols(origin=2000).predict(at_2000, axis), ols().predict(at_0, axis), rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence_level": 99}, r"confidence_level=99: ols needs a number between 0 and 1.*\(99 % is"),
        ({"origin": math.nan}, "origin=nan: ols needs a decimal year"),
    ],
)
def test_other_parameters_are_checked(options, message):
    with pytest.raises(ParameterError, match=message):
        ols(**options)

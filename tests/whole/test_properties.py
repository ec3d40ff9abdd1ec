"""What must hold whatever the numbers: the same bytes however a job is run, and what theory says of a straight line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import special

import pixelwise as pw
from pixelwise.bands import Status
from support.limits import set_limits
from support.rasters import random_series, write_raster
from support.stopping import Stop

# ------------------------------------------------------------------------ the same bytes however it is run

TIMES, HEIGHT, WIDTH = 7, 100, 130

#: How the same pixels may lie in files: tiles, strips whose height is no multiple of 16, one strip.
LAYOUTS: dict[str, dict[str, Any]] = {
    "tiles": {"tiled": True, "blockxsize": 32, "blockysize": 16, "compress": "deflate"},
    "strips": {"tiled": False, "blockysize": 5, "compress": "lzw"},
    "whole": {"tiled": False, "blockysize": HEIGHT},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """The same series with gaps, ties and all that has a status, in every layout."""
    values = random_series((TIMES, HEIGHT, WIDTH), seed=11, gaps=0.3)
    values[:, :3, :40] = np.nan
    values[:, 50, :] = 0.5
    values[2:, 90:, 100:] = np.nan
    layers = np.nan_to_num(values, nan=-9999)
    return {
        name: [
            write_raster(tmp_path_factory.mktemp(name) / f"ndvi_{year}.tif", layer, nodata=-9999, **profile)
            for year, layer in enumerate(layers, 1998)
        ]
        for name, profile in LAYOUTS.items()
    }


@pytest.fixture(scope="module")
def expected(files: dict[str, list[Path]]) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """Each type's bands, computed once: in memory, one block after the other, files in order."""
    stack = pw.open_stack(files["tiles"])
    maps = {dtype: pw.apply(stack, "ols", dtype=dtype, executor="inline", jobs=1) for dtype in ("float32", "float64")}
    assert set(np.unique(maps["float32"].status)) == {0, 1, 2, 3}
    return {dtype: {name: found[name] for name in found} for dtype, found in maps.items()}


@dataclass(frozen=True)
class Attempt:
    """One run of a job: who computes it, and after how many blocks it is stopped, if it is."""

    executor: str
    jobs: int
    window_bytes: int
    order: tuple[int, ...]
    stop_after: int | None = None


def run(paths: Sequence[Path], output: Path, dtype: str, attempt: Attempt) -> bool:
    """Run a job, and tell whether it came to its end."""
    calls: list[int] = []

    def progress(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == attempt.stop_after and done < total:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        # Every job keeps a journal, and the least block is as small as wanted.
        set_limits(patch, journal_seconds=0.0, window_bytes=attempt.window_bytes)
        stack = pw.open_stack([paths[index] for index in attempt.order])
        try:
            pw.apply(stack, "ols", output, dtype=dtype, executor=attempt.executor, jobs=attempt.jobs, progress=progress)
        except Stop:
            return False
    return True


def assert_written(output: Path, dtype: str, expected: dict[str, np.ndarray[Any, Any]]) -> None:
    """Every band of a map, as any program reads it, has the expected bytes; nothing else is in its folder."""
    wanted = {output} if "{band}" not in output.name else {output.with_name(f"{name}.tif") for name in expected}
    assert set(output.parent.iterdir()) == wanted
    for path in wanted:
        with rasterio.open(path) as dataset:
            names = list(expected) if len(wanted) == 1 else [path.stem]
            assert list(dataset.descriptions) == names
            for number, name in enumerate(names, 1):
                band = dataset.read(number)
                # In a file of its own a band has its own type, else that of the map.
                kind = dtype if len(wanted) == 1 else expected[name].dtype
                assert band.dtype == kind
                assert band.tobytes() == expected[name].astype(kind).tobytes(), (path.name, name)


def attempts(*, stopped: bool) -> st.SearchStrategy[Attempt]:
    return st.builds(
        Attempt,
        executor=st.sampled_from(["inline", "threads"]),
        jobs=st.integers(1, 3),
        window_bytes=st.sampled_from([1, 4 << 10, 32 << 10, 1 << 20]),
        order=st.permutations(range(TIMES)).map(tuple),
        stop_after=st.integers(1, 9) if stopped else st.none(),
    )


@settings(max_examples=40)
@given(
    layout=st.sampled_from(["tiles", "tiles", "strips", "whole"]),
    dtype=st.sampled_from(["float32", "float64"]),
    name=st.sampled_from(["trend.tif", "{band}.tif"]),
    broken=st.lists(attempts(stopped=True), max_size=2),
    last=attempts(stopped=False),
)
# What is left of one large block is several pieces, of which the second begins below its first row.
@example(
    layout="tiles",
    dtype="float32",
    name="trend.tif",
    broken=[Attempt("inline", 3, 1, tuple(range(TIMES)), stop_after=5)],
    last=Attempt("threads", 2, 1 << 20, tuple(range(TIMES))),
)
def test_however_a_job_is_run_its_map_has_the_same_bytes(
    files: dict[str, list[Path]],
    expected: dict[str, dict[str, np.ndarray[Any, Any]]],
    tmp_path_factory: pytest.TempPathFactory,
    layout: str,
    dtype: str,
    name: str,
    broken: list[Attempt],
    last: Attempt,
) -> None:
    """Executor, jobs, block size, file order, file layout and interruptions, all at once."""
    output = tmp_path_factory.mktemp("map") / name
    assert any(run(files[layout], output, dtype, attempt) for attempt in (*broken, last))
    assert_written(output, dtype, expected[dtype])


# Starting processes takes a second, so only two of the ways to mix them with the others.
@pytest.mark.parametrize(("first", "second"), [("processes", "threads"), ("inline", "processes")])
def test_a_job_goes_on_in_other_processes_with_the_same_bytes(
    files: dict[str, list[Path]],
    expected: dict[str, dict[str, np.ndarray[Any, Any]]],
    tmp_path: Path,
    first: str,
    second: str,
) -> None:
    output, order = tmp_path / "trend.tif", tuple(range(TIMES))
    assert not run(files["tiles"], output, "float32", Attempt(first, 2, 1, order, stop_after=3))
    assert run(files["tiles"], output, "float32", Attempt(second, 2, 16 << 10, order[::-1]))
    assert_written(output, "float32", expected["float32"])


def test_the_smaller_type_is_the_larger_one_rounded_once(
    expected: dict[str, dict[str, np.ndarray[Any, Any]]],
) -> None:
    for name, band in expected["float64"].items():
        np.testing.assert_array_equal(expected["float32"][name], band.astype(expected["float32"][name].dtype), name)


# --------------------------------------------------------------------------------------- theory of the line
#
# Values are multiples of 1/8 and times of 1/64, small enough that all that a test does to them is exact: what then
# differs is the kernel's own rounding, twice. With u = 2**-53 a sum of n terms is off by at most n * u times the sum
# of their sizes (Higham, Accuracy and Stability, 2nd ed., eq. 4.4), so, with T the largest time less the reference:
#
# - mean(dy) is off by (n + 2) * u * max|y - first| <= (n + 2) * u * sqrt(2 * Syy), mean(dt) by (n + 2) * u * T;
#   all n residuals by the same, or, in units of sqrt(Syy), by sqrt(n) * (n + 2) * (sqrt(2) + T / sqrt(Sxx)) * u;
# - Sxx, Sxy, Syy and RSS, their terms and what is derived of them add at most 2 * n + 10 roundings.
#
# Both together stay below sqrt(n) * (n + 5) * (3 + T / sqrt(Sxx)) * u, which is `unit` below without its factor 2 for
# two fits: 7e-14 for 30 complete years. In units of sqrt(Syy / Sxx) it bounds the error of the slope, divided by
# sqrt(n - 2) that of its standard error, and as it stands that of r and of theta, where r = cos(theta) and
# sqrt(1 - r**2) = sin(theta).

ROUNDING = 2.0**-53

#: Relative errors of the tables of p (pvalues.py: 1e-11 for up to 100 degrees of freedom), twice.
TABLE = 2e-11

BANDS = ("slope", "intercept", "rvalue", "pvalue", "stderr", "intercept_stderr")


@dataclass(frozen=True)
class Series:
    """(time, pixel) values with gaps and ties, and their (time,) decimal years."""

    values: np.ndarray[Any, Any]
    times: np.ndarray[Any, Any]

    def fit(self) -> dict[str, np.ndarray[Any, Any]]:
        return pw.methods.ols()(self.values, self.times)


def make_series(seed: int, layers: int, pixels: int, gaps: float, dated: bool, equal: bool, dtype: str) -> Series:
    random = np.random.default_rng(seed)
    times = 1985.0 + np.arange(layers)
    if dated:
        times = np.sort(1985.0 + random.integers(0, 64 * 30, layers) / 64)
    if equal:
        times[1 : 1 + layers // 2] = times[0]
    slope = random.integers(-3, 4, pixels)
    values = random.integers(-40, 41, (layers, pixels)) / 8 + slope * np.round(times - 2000)[:, None]
    values[random.random(values.shape) < gaps] = np.nan
    values[:, ::17] = 1.5 + 0 * values[:, ::17]
    return Series(values.astype(dtype), times)


def series(**fixed: Any) -> st.SearchStrategy[Series]:
    drawn: dict[str, st.SearchStrategy[Any]] = {
        "seed": st.integers(0, 2**32 - 1),
        "layers": st.integers(3, 30),
        # Below, at and beyond one chunk of the kernel.
        "pixels": st.sampled_from([1, 30, 128, 129]),
        "gaps": st.sampled_from([0.0, 0.1, 0.6]),
        "dated": st.booleans(),
        "equal": st.booleans(),
        "dtype": st.sampled_from(["float32", "float64"]),
    }
    return st.builds(make_series, **{**drawn, **{name: st.just(value) for name, value in fixed.items()}})


@dataclass(frozen=True)
class Scales:
    """(pixel,) what errors of a fit are measured in."""

    n: np.ndarray[Any, Any]
    slope: np.ndarray[Any, Any]
    unit: np.ndarray[Any, Any]
    value: np.ndarray[Any, Any]
    time: float

    @classmethod
    def of(cls, data: Series) -> Scales:
        values = data.values.astype(np.float64)
        valid = ~np.isnan(values)
        n = np.maximum(valid.sum(axis=0), 1)
        times = np.where(valid, data.times[:, None], 0.0)
        sxx = (np.where(valid, times - times.sum(axis=0) / n, 0.0) ** 2).sum(axis=0)
        known = np.where(valid, values, 0.0)
        syy = (np.where(valid, known - known.sum(axis=0) / n, 0.0) ** 2).sum(axis=0)
        span = np.abs(data.times - np.round(data.times.mean())).max()
        with np.errstate(divide="ignore", invalid="ignore"):
            unit = 2 * np.sqrt(n) * (n + 5) * (3 + span / np.sqrt(sxx)) * ROUNDING
            return cls(n, np.sqrt(syy / sxx), unit, np.abs(known).max(axis=0), float(np.abs(data.times).max()))

    def error(self, band: str, fit: dict[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        """Return by how much a band may differ from `fit`."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if band == "slope":
                return self.unit * self.slope
            if band == "stderr":
                return self.unit * self.slope / np.sqrt(self.n - 2)
            if band == "intercept":
                return self.unit * (self.slope * self.time + self.value)
            if band == "intercept_stderr":
                # sqrt(Sxx / n + mean(t)**2) is at most the largest time, and known to a few roundings.
                return 2 * self.error("stderr", fit) * self.time
            if band == "rvalue":
                return self.unit
            # p = 2 / B(df / 2, 1 / 2) * integral of sin**(df - 1) from 0 to theta. Its slope is at most
            # 2 / B < sqrt(2 * df / pi) + 1, and that of log(p) at most df / sin(theta).
            df = self.n - 2
            sine = 1 / np.sqrt(1 + (fit["slope"] / fit["stderr"]) ** 2 / df)
            absolute = (np.sqrt(2 * df / np.pi) + 1) * self.unit
            return np.fmin(absolute, fit["pvalue"] * np.expm1(df * self.unit / sine)) + TABLE * fit["pvalue"]


def assert_same(found: Any, wanted: dict[str, Any], *scales: Scales, bands: Sequence[str] = BANDS) -> None:
    """Two fits are the same, to the rounding of both."""
    np.testing.assert_array_equal(found["status"], wanted["status"])
    np.testing.assert_array_equal(found["n"], wanted["n"])
    for band in bands:
        np.testing.assert_array_equal(np.isnan(found[band]), np.isnan(wanted[band]), band)
        known = ~np.isnan(wanted[band]) & (wanted["status"] == Status.OK)
        allowed = np.max([scale.error(band, wanted) for scale in scales], axis=0)
        off = np.abs(found[band] - wanted[band])
        assert (off <= allowed)[known].all(), (band, (off / allowed)[known].max())


def assert_same_bits(found: Any, wanted: Any, bands: Sequence[str] = (*BANDS, "n", "status")) -> None:
    for band in bands:
        # NaN equals NaN here, and 0 equals -0: a negated sum of nothing has the other sign.
        np.testing.assert_array_equal(found[band], wanted[band], band)


@given(data=series(), eighths=st.integers(-(2**40), 2**40))
def test_a_constant_added_moves_the_intercept_alone(data: Series, eighths: int) -> None:
    # Up to 2**20 / 8 added to 2**10 / 8 is exact in float32, 2**40 / 8 in float64.
    constant = eighths / 8 if data.values.dtype == np.float64 else (eighths >> 20) / 8
    moved = Series(data.values + data.values.dtype.type(constant), data.times)
    plain, found = data.fit(), moved.fit()
    # The kernel begins with differences from each pixel's first value, which are exact: the same bits.
    assert_same_bits(found, plain, ("slope", "rvalue", "pvalue", "stderr", "intercept_stderr", "n", "status"))
    wanted = {**plain, "intercept": plain["intercept"] + constant}
    assert_same(found, wanted, Scales.of(moved), Scales.of(data), bands=["intercept"])


@given(data=series(dtype="float64"), power=st.integers(-400, 400), sign=st.sampled_from([1, -1]))
def test_values_times_a_power_of_two_give_exactly_that(data: Series, power: int, sign: int) -> None:
    # Squares stay within 2**(2 * 411): all rounding is the same, but for the exponent.
    factor = sign * 2.0**power
    plain, found = data.fit(), Series(data.values * factor, data.times).fit()
    wanted = {name: plain[name] * factor for name in ("slope", "intercept")}
    wanted |= {name: plain[name] * abs(factor) for name in ("stderr", "intercept_stderr")}
    assert_same_bits(found, {**plain, **wanted, "rvalue": plain["rvalue"] * sign})


@given(data=series(dtype="float64"), factor=st.integers(-999, 999).filter(bool))
def test_values_times_a_number_scale_the_line(data: Series, factor: int) -> None:
    scaled = Series(data.values * factor, data.times)
    plain = data.fit()
    wanted = {name: plain[name] * factor for name in ("slope", "intercept")}
    wanted |= {name: plain[name] * abs(factor) for name in ("stderr", "intercept_stderr")}
    assert_same(scaled.fit(), {**plain, **wanted, "rvalue": plain["rvalue"] * np.sign(factor)}, Scales.of(scaled))


@given(data=series(), years=st.integers(-1500, 1500))
def test_times_moved_by_whole_years_move_the_intercept_alone(data: Series, years: int) -> None:
    moved = Series(data.values, data.times + years)
    plain = data.fit()
    wanted = {**plain, "intercept": plain["intercept"] - plain["slope"] * years}
    wanted["intercept"] = np.where(plain["status"] == Status.OK, wanted["intercept"], plain["intercept"])
    bands = [band for band in BANDS if band != "intercept_stderr"]
    assert_same(moved.fit(), wanted, Scales.of(moved), Scales.of(data), bands=bands)


@given(data=series())
def test_time_reversed_turns_the_slope(data: Series) -> None:
    back = Series(data.values[::-1], -data.times[::-1])
    plain = data.fit()
    # At year 0 nothing changes.
    assert_same(back.fit(), {**plain, "slope": -plain["slope"], "rvalue": -plain["rvalue"]}, Scales.of(back))


@given(data=series(), power=st.integers(-3, 3))
def test_another_unit_of_time_scales_the_slope(data: Series, power: int) -> None:
    stretched = Series(data.values, data.times * 2.0**power)
    plain = data.fit()
    wanted = {**plain, "slope": plain["slope"] / 2.0**power, "stderr": plain["stderr"] / 2.0**power}
    assert_same(stretched.fit(), wanted, Scales.of(stretched))


@given(data=series(), seed=st.integers(0, 2**32 - 1))
def test_pixels_in_any_order_and_number_keep_their_bits(data: Series, seed: int) -> None:
    pixels = data.values.shape[1]
    order = np.random.default_rng(seed).integers(0, pixels, 2 * pixels)
    plain, found = data.fit(), Series(data.values[:, order], data.times).fit()
    for band in plain:
        assert found[band].tobytes() == plain[band][order].tobytes(), band


@given(data=series(), eighths=st.tuples(st.integers(-800, 800), st.integers(-80, 80)))
def test_a_line_added_adds_to_the_line_and_leaves_its_errors(data: Series, eighths: tuple[int, int]) -> None:
    start, slope = (number / 8 for number in eighths)
    double = Series(data.values.astype(np.float64), data.times)
    tilted = Series(double.values + start + slope * (data.times - 2000)[:, None], data.times)
    plain, found = double.fit(), tilted.fit()
    both = (plain["status"] == Status.OK) & (found["status"] == Status.OK)
    tilted, double = (Series(each.values[:, both], each.times) for each in (tilted, double))
    wanted = {name: band[both] for name, band in plain.items()}
    wanted["slope"] = wanted["slope"] + slope
    wanted["intercept"] = wanted["intercept"] + start - 2000 * slope
    scales = Scales.of(tilted), Scales.of(double)
    bands = ("slope", "intercept", "stderr", "intercept_stderr")
    assert_same({name: band[both] for name, band in found.items()}, wanted, *scales, bands=bands)


@given(data=series(), seed=st.integers(0, 2**32 - 1), factors=st.tuples(st.integers(-9, 9), st.integers(-9, 9)))
def test_the_line_of_a_sum_is_the_sum_of_lines(data: Series, seed: int, factors: tuple[int, int]) -> None:
    one = data.values.astype(np.float64)
    two = np.random.default_rng(seed).integers(-99, 99, one.shape) / 8 + 0 * one
    parts = [Series(values, data.times) for values in (one, two, factors[0] * one + factors[1] * two)]
    fits = [part.fit() for part in parts]
    usable = np.all([fit["status"] == Status.OK for fit in fits], axis=0)
    scales = [Scales.of(Series(part.values[:, usable], part.times)) for part in parts]
    for band in ("slope", "intercept"):
        first, second, whole = (fit[band][usable] for fit in fits)
        errors = [scale.error(band, {}) for scale in scales]
        allowed = abs(factors[0]) * errors[0] + abs(factors[1]) * errors[1] + errors[2]
        assert (np.abs(whole - factors[0] * first - factors[1] * second) <= allowed).all(), band


@given(data=series())
def test_every_observation_twice_is_the_same_line_with_smaller_errors(data: Series) -> None:
    twice = Series(np.repeat(data.values, 2, axis=0), np.repeat(data.times, 2))
    plain, found = data.fit(), twice.fit()
    known = plain["status"] == Status.OK
    fit, found = ({name: band[known] for name, band in each.items()} for each in (plain, found))
    n = fit["n"].astype(np.float64)
    # RSS and Sxx are doubled; so the squared standard error is halved, times the ratio of degrees of freedom.
    ratio = np.sqrt((n - 2) / (2 * n - 2))
    wanted = {**fit, "n": 2 * n, "stderr": fit["stderr"] * ratio, "intercept_stderr": fit["intercept_stderr"] * ratio}
    with np.errstate(divide="ignore"):
        tangent = (fit["slope"] / fit["stderr"]) ** 2 / (n - 2)
    wanted["pvalue"] = special.betainc(n - 1, 0.5, 1 / (1 + tangent))
    assert_same(found, wanted, Scales.of(Series(twice.values[:, known], twice.times)))


@settings(max_examples=30)
@given(data=series(pixels=30))
def test_a_gap_is_a_date_that_is_not_there(data: Series) -> None:
    plain = data.fit()
    for pixel in range(data.values.shape[1]):
        valid = ~np.isnan(data.values[:, pixel])
        alone = Series(data.values[valid, pixel : pixel + 1], data.times[valid])
        if valid.any():
            one = Series(data.values[:, pixel : pixel + 1], data.times)
            wanted = {name: band[pixel : pixel + 1] for name, band in plain.items()}
            assert_same(alone.fit(), wanted, Scales.of(one), Scales.of(alone))


@given(data=series())
def test_results_lie_where_they_can_and_status_says_why_not(data: Series) -> None:
    fit, valid = data.fit(), ~np.isnan(data.values)
    for pixel in range(data.values.shape[1]):
        times, values = data.times[valid[:, pixel]], data.values[valid[:, pixel], pixel]
        wanted = Status.OK
        if len(values) < 3:
            wanted = Status.TOO_FEW if len(values) else Status.NO_OBSERVATION
        elif (values == values[0]).all():
            wanted = Status.CONSTANT
        elif (times == times[0]).all():
            wanted = Status.DEGENERATE
        assert fit["status"][pixel] == wanted
    np.testing.assert_array_equal(fit["n"], valid.sum(axis=0))
    known = fit["status"] == Status.OK
    assert (np.abs(fit["rvalue"][known]) <= 1).all()
    assert ((fit["pvalue"][known] >= 0) & (fit["pvalue"][known] <= 1)).all()
    assert (fit["stderr"][known] >= 0).all()
    np.testing.assert_array_equal(np.sign(fit["rvalue"][known]), np.sign(fit["slope"][known]))

"""Pixels whose series is too short or too gappy for an answer."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

import pixelwise as pw
from pixelwise.bands import Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.dates.completeness import Completeness
from pixelwise.verify.compare import verify
from support.command_line import run
from support.limits import set_limits
from support.rasters import MakeStack, random_series
from support.stopping import hidden

YEARS = 10
HEIGHT, WIDTH = 40, 50


@pytest.fixture
def gappy(make_stack: MakeStack) -> pw.RasterStack:
    """Ten years of every completeness from none to all."""
    values = random_series((YEARS, HEIGHT, WIDTH), seed=6, gaps=0.0)
    random = np.random.default_rng(7)
    values[random.random(values.shape) < random.random((HEIGHT, WIDTH))] = np.nan
    values[:, :2] = np.nan
    return pw.open_stack(make_stack(values, tiled=True, blockxsize=16, blockysize=16))


def stack_folder(stack: pw.RasterStack) -> str:
    return str(stack.paths[0].parent)


def facts(stack: pw.RasterStack) -> tuple[Any, Any]:
    """Return (y, x) how many layers are valid, and the years from the first to the last; both pixel by pixel."""
    valid = ~np.isnan(stack.read(stack.grid.block))
    span = np.zeros(valid.shape[1:])
    for row, col in np.ndindex(*span.shape):
        found = np.flatnonzero(valid[:, row, col])
        span[row, col] = found[-1] - found[0] if len(found) else -1
    return valid.sum(axis=0), span


@pytest.mark.parametrize("name", ["ols", "summary", "mann_kendall"])
def test_pixels_with_too_little_have_no_answer(gappy: pw.RasterStack, out: Path, name: str) -> None:
    count, span = facts(gappy)
    plain = pw.apply(gappy, name)
    for options, enough in (
        ({"min_valid": 0.5}, count >= 5),
        ({"min_span": 0.75}, span >= 6.75),
        ({"min_valid": 0.5, "min_span": 1}, (count >= 5) & (span == 9)),
        ({"min_valid": 1.0}, count == YEARS),
    ):
        path = out / f"{len(list(out.iterdir()))}.tif"
        pw.apply(gappy, name, path, **options)
        with rasterio.open(path) as dataset:
            found = dict(zip(dataset.descriptions, dataset.read(), strict=True))
        # The first status that applies: a pixel without any observation has 1.
        wanted = np.where(enough, plain.status, np.where(count == 0, Status.NO_OBSERVATION, Status.TOO_FEW))
        np.testing.assert_array_equal(found["status"], wanted)
        np.testing.assert_array_equal(found["n"], count)
        for band in plain.bands:
            if not band.integer:
                np.testing.assert_array_equal(found[band.name], np.where(enough, plain[band.name], np.nan))
        assert verify(path, stack_folder(gappy), everything=True).differing == 0


@pytest.mark.parametrize(
    ("executor", "jobs", "memory"), [("inline", 1, None), ("processes", 2, None), ("threads", 2, "330MB")]
)
def test_every_executor_and_block_gives_the_same_bytes(
    gappy: pw.RasterStack, executor: str, jobs: int, memory: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"min_valid": 0.4, "min_span": 0.6}
    expected = pw.apply(gappy, "ols", jobs=1, **options)
    set_limits(monkeypatch, window_bytes=1024)
    found = pw.apply(gappy, "ols", executor=executor, jobs=jobs, memory=memory, **options)
    assert all(found[name].tobytes() == expected[name].tobytes() for name in expected)
    set_limits(monkeypatch, block_bytes=1)  # a team
    found = pw.apply(gappy, "ols", jobs=3, **options)
    assert all(found[name].tobytes() == expected[name].tobytes() for name in expected)


def test_of_a_window_the_pixel_itself_counts(gappy: pw.RasterStack) -> None:
    count, span = facts(gappy)
    plain = pw.apply(gappy, "contextual_mann_kendall")
    found = pw.apply(gappy, "contextual_mann_kendall", min_valid=0.7, min_span=0.8)
    enough = (count >= 7) & (span >= 7.2)
    assert ((plain.status == Status.OK) & ~enough).any()
    np.testing.assert_array_equal(found["slope"], np.where(enough, plain["slope"], np.nan))
    np.testing.assert_array_equal(found["members"], plain["members"])
    np.testing.assert_array_equal(found.status[~enough & (count > 0)], Status.TOO_FEW)


def test_a_function_of_ones_own(gappy: pw.RasterStack, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    def picky(values: Any, times: Any) -> float:
        if len(values) < 3:
            raise ValueError("too few")
        return float(values[0])

    count, _ = facts(gappy)
    function = pw.per_pixel(picky, bands=["first"], jit=False)
    found = pw.apply(gappy, function, out / "first.tif", executor="inline", min_valid=0.3)
    np.testing.assert_array_equal(found.status == Status.TOO_FEW, (count > 0) & (count < 3))
    # A failure where no answer is wanted is none.
    assert not (found.status == Status.FUNCTION_FAILED).any()
    assert not caplog.text
    assert verify(out / "first.tif", stack_folder(gappy), method=function, everything=True).differing == 0


@given(layers=st.integers(1, 60), valid=st.integers(0, 100), span=st.integers(0, 100), seed=st.integers(0, 1000))
def test_a_share_is_reached_exactly(layers: int, valid: int, span: int, seed: int) -> None:
    """0.55 * 20 is 11.000000000000002: 11 layers of 20 are 55 % all the same."""
    random = np.random.default_rng(seed)
    years = np.cumsum(random.integers(0, 3, layers)) + 1990
    series = np.where(random.random((layers, 30)) < random.random(30), 1.0, np.nan)
    lacking = Completeness(valid / 100, span / 100).bind(TimeAxis.from_times(years)).lacking(series)
    for pixel, found in enumerate(lacking):
        own = years[~np.isnan(series[:, pixel])]
        enough = Fraction(len(own), layers) >= Fraction(valid, 100)
        if span:
            reached = int(own[-1] - own[0]) if len(own) else -1
            enough &= reached >= Fraction(span, 100) * int(years[-1] - years[0])
        assert found != enough


def test_of_dates_seconds_count(make_stack: MakeStack) -> None:
    dates = np.array(["2000-01-01", "2000-07-01", "2001-01-01", "2001-12-31", "2002-01-01"], dtype="datetime64[D]")
    axis = TimeAxis.from_times(dates)
    series = np.full((5, 3), np.nan)
    series[[0, 2], 0] = series[[2, 4], 1] = series[[1, 3], 2] = 1.0
    # 366, 365 and 548 of 731 days.
    assert Completeness(min_span=0.5).bind(axis).lacking(series).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (50, r"min_valid 50 is not a share: expected a number from 0 to 1 \(50 % is 0.5\)"),
        (-0.1, "min_valid -0.1 is not a share"),
        (math.nan, "min_valid nan is not a share"),
        ("0.5", "min_valid '0.5' is not a share"),
        (True, "min_valid True is not a share"),
    ],
)
def test_what_is_no_share_is_refused(gappy: pw.RasterStack, out: Path, value: Any, words: str) -> None:
    with pytest.raises(pw.ParameterError, match=words):
        pw.apply(gappy, "ols", out / "trend.tif", min_valid=value)
    assert list(out.iterdir()) == []


def test_it_is_part_of_what_a_job_is(stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    options: dict[str, Any] = {"min_valid": 0.8, "executor": "inline"}
    expected = pw.apply(stack, "ols", **options)
    with pytest.raises(KeyboardInterrupt):
        pw.apply(stack, "ols", out / "trend.tif", progress=stop, **options)
    assert len(hidden(out)) == 2
    with pytest.raises(pw.OutputError, match=r"min_valid was 0.8, is 0.0; --restart"):
        pw.apply(stack, "ols", out / "trend.tif")
    found = pw.apply(stack, "ols", out / "trend.tif", **options)
    assert all(found[name].tobytes() == expected[name].tobytes() for name in expected)
    assert found.provenance["min_valid"] == 0.8
    assert "min_span" not in found.provenance


def test_damaged_shares_of_a_map_end_in_one_line(gappy: pw.RasterStack, out: Path) -> None:
    from pixelwise.maps.tag import TAG, decode_provenance, encode_provenance

    pw.apply(gappy, "ols", out / "trend.tif", min_valid=0.5)
    for value in ("x", [1], 7, None):
        with rasterio.open(out / "trend.tif", "r+") as dataset:
            provenance = decode_provenance(dataset.tags()[TAG])
            dataset.update_tags(**{TAG: encode_provenance({**provenance, "min_valid": value})})
        with pytest.raises(pw.InputError, match="its record of how it was made is damaged"):
            verify(out / "trend.tif")


def test_commands(gappy: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = gappy.paths[0].parent
    done = run("plan", folder, "--min-valid", 0.55, "--min-span", 0.5, "--write-recipe", out / "job.toml")
    assert done.exit_code == 0, done.output
    assert "needed    6 valid layers and 50 % of the time between the first and the last" in done.output
    done = run("plan", "--recipe", out / "job.toml", "--min-span", 0, "--json")
    assert json.loads(done.stdout)["needs"] == {"min_valid": 0.55, "layers": 6}
    assert json.loads(run("plan", folder, "--json").stdout)["needs"] is None
    done = run("apply", "ols", "--recipe", out / "job.toml", "-o", out / "trend.tif", "--quiet")
    assert done.exit_code == 0, done.output
    expected = pw.apply(gappy, "ols", min_valid=0.55, min_span=0.5)
    assert pw.open_map(out / "trend.tif")["slope"].tobytes() == expected["slope"].tobytes()
    assert run("verify", out / "trend.tif", folder).exit_code == 0
    done = run("apply", "ols", folder, "-o", out / "no.tif", "--min-valid", 50)
    assert done.exit_code == 1
    assert "50 % is 0.5" in done.output
    rain = run("plan", folder, "--with", f"rain={out / 'job.toml'}", "--method", "correlation")
    assert rain.exit_code == 1
    assert "job.toml: min_valid decides which pixels get a result: give it for the response only" in rain.output


def test_off_changes_nothing(gappy: pw.RasterStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.jobs.answer.PostProcessed.__call__", None)
    assert "min_valid" not in pw.apply(gappy, "ols", min_valid=0).provenance


def test_bands_may_leave_out_those_of_the_curve(gappy: pw.RasterStack) -> None:
    """Nothing is written of the curve, so that the usual bands of trend, without intercept, will do."""
    expected = pw.apply(gappy, "trend", bands=["slope", "intercept"], min_valid=0.55)["slope"]
    for options in ({}, {"bands": ["slope"]}):
        found = pw.apply(gappy, "trend", min_valid=0.55, **options)
        assert "intercept" not in found.names
        np.testing.assert_array_equal(found["slope"], expected)

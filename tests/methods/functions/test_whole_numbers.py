"""Whole numbers that float32 does not hold: dates as 20240603, identifiers, counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.jobs import task
from pixelwise.method import rounded_whole_numbers
from support.rasters import MakeStack, pixels_in, random_series

LOST = "float32 does not hold whole numbers such as"


@pytest.mark.parametrize(
    ("row", "lost"),
    [
        ([20240603.0, np.nan, 3.0], 20240603.0),
        ([2.0**24 + 1, 0.0], 2.0**24 + 1),
        ([-(2.0**24) - 1, np.inf], -(2.0**24) - 1),
        ([2.0**53 - 1, 1e300], 2.0**53 - 1),
        ([20240604.0, 1.0], None),  # even: float32 holds it
        ([2.0**24, -(2.0**24)], None),
        ([20240603.0, 0.5], None),  # no band of whole numbers
        ([1e30, 2.0**60 + 2**8], None),  # every number is whole there
        ([np.nan, np.nan], None),
        ([np.inf, -np.inf], None),
        ([], None),
    ],
)
def test_which_numbers_are_lost(row: list[float], lost: float | None) -> None:
    table = np.array([np.zeros(len(row)), row])
    assert rounded_whole_numbers(table, "float32") == ([] if lost is None else [(1, lost)])
    assert rounded_whole_numbers(table, "float64") == []


def last_date(values: Any, dates: Any) -> int:
    return 20240603


@pytest.fixture
def small(make_stack: MakeStack) -> pw.RasterStack:
    return pw.open_stack(make_stack(random_series((4, 12, 10), gaps=0.0)))


@pytest.mark.parametrize(
    "function",
    [
        last_date,
        pw.per_pixel(last_date, bands=["day"], jit=True),
        pw.per_pixel(last_date, bands=["day"], jit=False),
        lambda values: (values[0], 123456789),
        pw.per_block(lambda values: np.full(values.shape[1], -20240603)),
    ],
)
def test_a_function_of_large_whole_numbers_is_warned_of(
    small: pw.RasterStack, function: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = pw.apply(small, function, tmp_path / "map.tif")
    assert caplog.text.count(LOST) == 1
    assert sum(LOST in text for text in found.provenance["warnings"]) == 1
    caplog.clear()
    found = pw.apply(small, function, tmp_path / "exact.tif", dtype="float64")
    assert LOST not in caplog.text + json.dumps(found.provenance)
    exact = pixels_in(tmp_path / "exact.tif")
    assert set(np.unique(exact)) & {20240603.0, 123456789.0, -20240603.0}


@pytest.mark.parametrize(
    "function",
    [
        lambda values, year: 10000 * int(year[-1]) + 604,  # even
        lambda values: 3e9 * values.mean(),
        lambda values: 1e30,
        pw.per_block(lambda values: np.full(values.shape[1], 42)),
    ],
)
def test_other_functions_are_not(
    small: pw.RasterStack, function: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert LOST not in json.dumps(pw.apply(small, function).provenance)
    assert LOST not in caplog.text


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_one_pixel_that_no_rehearsal_saw_is_enough(
    make_stack: MakeStack, executor: str, caplog: pytest.LogCaptureFixture
) -> None:
    values = np.ones((3, 130, 140), np.float32)
    values[:, 129, 139] = 7
    stack = pw.open_stack(make_stack(values, tiled=True, blockxsize=32, blockysize=32))
    function = pw.per_pixel(lambda v: 20240603 if v[0] == 7 else 20000, bands=["day"], jit=False)
    found = pw.apply(stack, function, executor=executor, jobs=2)
    assert found["day"][129, 139] == 20240604
    assert found.provenance["warnings"][-1] == (
        "day: float32 does not hold whole numbers such as 20240603, which becomes 20240604; "
        'keep them with --dtype float64 (dtype="float64")'
    )
    assert caplog.text.count(LOST) == 1


def test_a_job_that_goes_on_says_it_too(stack: pw.RasterStack, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The pixel was done by the run that was stopped."""

    def day(values: Any) -> int:
        return 20240603 if values.tolist() == first else 20000

    series = stack.read(pw.Block(0, 0, 1, 1))[:, 0, 0].astype(float)
    first = series[~np.isnan(series)].tolist()
    function = pw.per_pixel(day, bands=["day"], jit=False)

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    options: dict[str, Any] = {"executor": "inline"}
    wanted = pw.apply(stack, function, **options)
    assert np.argwhere(wanted["day"] > 20000).tolist() == [[0, 0]]
    with pytest.raises(KeyboardInterrupt):
        pw.apply(stack, function, out / "map.tif", progress=stop, **options)
    caplog.clear()
    found = pw.apply(stack, function, out / "map.tif", **options)
    assert found["day"].tobytes() == wanted["day"].tobytes()
    assert caplog.text.count(LOST) == 1
    assert found.provenance["warnings"] == wanted.provenance["warnings"]
    assert sum(LOST in text for text in found.provenance["warnings"]) == 1


def test_summaries_and_composites_of_dates_are_warned_of(
    make_stack: MakeStack, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers of dates or identifiers, 32-bit integers, are read in float64."""
    dates = np.array([20210301, 20220315, 20230403])[:, None, None] + np.arange(12).reshape(1, 3, 4)
    stack = pw.open_stack(make_stack(dates.astype(np.int32)))
    found = pw.apply(stack, "summary")
    lost = [text.partition(":")[0] for text in found.provenance["warnings"] if LOST in text]
    assert {"min", "max", "first", "last"} <= set(lost)
    assert "cv" not in lost
    assert not any(LOST in text for text in pw.apply(stack, "summary", dtype="float64").provenance.get("warnings", ()))
    caplog.clear()
    pw.write_layers(stack.composite("max", every="year"), tmp_path / "annual.tif")
    assert caplog.text.count(LOST) == 3
    monkeypatch.setattr(task, "MOST_BANDS", 1)
    caplog.clear()
    pw.write_layers(stack.composite("max", every="year"), tmp_path / "again.tif")
    assert caplog.text.count(LOST) == 1
    assert "2 more bands: float32 does not hold their whole numbers either" in caplog.messages
    # As small whole numbers, and as float32, they are as they were.
    caplog.clear()
    stack = pw.open_stack(make_stack((dates - 20200000).astype(np.int32), folder="small"))
    pw.apply(stack, "summary")
    pw.apply(pw.open_stack(make_stack(dates.astype(np.float32), folder="float")), "summary")
    assert LOST not in caplog.text


def test_plan_and_apply_say_it_on_the_command_line(
    make_stack: MakeStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_stack(random_series((4, 12, 10), gaps=0.0))
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def day(values):\n    return 20240603\n\ndef three(values):\n    return 3\n")

    def words(*args: str) -> Any:
        result = CliRunner().invoke(main, args)
        assert result.exit_code == 0, result.output
        return result

    report = json.loads(words("plan", "stack", "--method", "mine.py:day", "--json").stdout)
    assert sum(LOST in text for text in report["warnings"]) == 1
    report = json.loads(words("plan", "stack", "--method", "mine.py:three", "--json").stdout)
    assert not any(LOST in text for text in report["warnings"])
    dates = np.full((3, 2, 2), 20240603, np.int32)
    make_stack(dates, folder="dates")
    make_stack(dates - 20240000, folder="small")
    for folder, method, count in [("dates", "summary", 1), ("dates", "ols", 0), ("small", "summary", 0)]:
        report = json.loads(words("plan", folder, "--method", method, "--json").stdout)
        assert sum(LOST in text for text in report["warnings"]) == count
    assert f"warning: value: {LOST} 20240603" in words("apply", "mine.py:day", "stack", "-o", "a.tif").stderr
    assert LOST not in words("apply", "mine.py:day", "stack", "-o", "b.tif", "--dtype", "float64").stderr
    assert (pixels_in(Path("b.tif"))[0] == 20240603).all()

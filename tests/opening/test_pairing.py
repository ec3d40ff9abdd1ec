"""Stacks brought together: periods of the calendar, places on one lattice, and what is told of it."""

from __future__ import annotations

import json
import logging
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

import pixelwise as pw
from pixelwise import InputError, ParameterError
from pixelwise.opening.pairing import open_covariate, pair
from pixelwise.stacks.spec import InputSpec
from support.command_line import run
from support.limits import set_limits
from support.rasters import PROFILE, random_series, write_raster


def write(folder: Path, times: Any, seed: int, shape: tuple[int, int] = (6, 5), **profile: Any) -> Any:
    values = random_series((len(times), *shape), seed=seed, gaps=0.05)
    for time, layer in zip(times, values, strict=True):
        write_raster(folder / f"v_{time}.tif", layer, **profile)
    return values


@pytest.fixture
def yearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """Write NDVI of 2000 to 2009 and rain of 1995 to 2007 without 2003."""
    monkeypatch.chdir(tmp_path)
    ndvi = write(tmp_path / "ndvi", range(2000, 2010), 1)
    rain = write(tmp_path / "rain", [year for year in range(1995, 2008) if year != 2003], 2)
    return ndvi, rain


LEFT_OUT = [
    "3 of 10 layers of the response have no partner of the same year and are left out: 2003, 2008..2009",
    "5 of 12 layers of rain have no partner of the same year and are left out: 1995..1999",
]


# ------------------------------------------------------------------------------------------------- in time


def test_the_same_years(yearly: Any, caplog: pytest.LogCaptureFixture) -> None:
    ndvi, rain = yearly
    with caplog.at_level(logging.WARNING):
        found = pw.apply(pw.open_stack("ndvi"), "correlation", inputs={"rain": pw.open_stack("rain")}, dtype="float64")
    years = [0, 1, 2, 4, 5, 6, 7]
    expected = pw.methods.correlation()(
        ndvi[years].reshape(7, -1), np.array(years) + 2000, rain=rain[5:].reshape(7, -1)
    )
    np.testing.assert_array_equal(found["rvalue"].ravel(), expected["rvalue"])
    told = [record.message for record in caplog.records]
    assert [text for text in LEFT_OUT if text not in told] == []
    assert found.provenance["pairing"] == {
        "by": "year", "layers": 7, "left_out": {"response": ["2003", "2008..2009"], "rain": ["1995..1999"]},
    }  # fmt: skip
    assert found.provenance["warnings"][:2] == LEFT_OUT
    assert found.provenance["input"]["layers"] == found.provenance["further_inputs"]["rain"]["layers"] == 7


def axis_of(dates: Any, tmp_path: Path, name: str) -> pw.RasterStack:
    write(tmp_path / name, dates, 3, shape=(2, 2))
    return pw.open_stack(tmp_path / name)


@pytest.mark.parametrize(
    ("first", "second", "unit", "layers"),
    [
        # The first day and the middle of a month.
        (["2001-01-01", "2001-02-01", "2001-03-01"], ["2001-01-16", "2001-02-15", "2001-03-16"], "month", 3),
        # Years, and a day of each.
        (["2001", "2002", "2003"], ["2002-07-01", "2003-07-01", "2004-07-01"], "year", 2),
        # 16 days of MODIS from the same dates, the first a leap year.
        (["2000-12-18", "2001-01-01", "2001-01-17"], ["2000-12-18", "2001-01-01", "2001-01-17"], None, 3),
        (["2000-12-18", "2001-01-01", "2001-01-17"], ["2000-12-20", "2001-01-02", "2001-01-20"], "16-day", 3),
        # Irregular: days.
        (["2001-01-01", "2001-01-04", "2001-02-19", "2001-03-05"], ["2001-01-04", "2001-03-05"], "day", 2),
        (["2001-01-01", "2001-01-04", "2001-02-19", "2002-01-04"], ["2001-01-04", "2002-01-04"], "day", 2),
    ],
)
def test_units(first: Any, second: Any, unit: Any, layers: int, tmp_path: Path) -> None:
    found = pair(axis_of(first, tmp_path, "first"), {"x": axis_of(second, tmp_path, "second")})
    assert found.unit == unit
    assert [len(stack.axis) for stack in found.stacks] == [layers, layers]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            ["2001", "2002"],
            ["2003", "2004"],
            r"no layer of 'x', 2003..2004, is of the same year .*2001..2002 of response",
        ),
        (["2001", "2002"], ["2002", "2003"], r"one layer only of 'x'"),
        (
            ["2001", "2002"],
            ["2001-01-01", "2001-02-01", "2002-01-01"],
            r"'x' has 2 layers in one year \(2001-01-01, 2001",
        ),
        (
            ["2001-01", "2001-02", "2001-03"],
            ["2001", "2002"],
            r"'x' has one layer for each year, but the response has one",
        ),
        # One day in common is not a month.
        (
            ["2001-01-01", "2001-02-01", "2001-03-01", "2001-12-01", "2002-01-01"],
            ["2001-01-01", "2002-01-01"],
            r"'x' has one layer for each year, but the response has one for each month",
        ),
        (
            ["2001-01-01", "2001-01-09", "2001-01-17"],
            ["2001-01-31", "2001-02-28", "2001-03-31"],
            r"each month, but the response has one for each 8-day: .*response too \(--composite HOW --every month\)$",
        ),
        (
            ["2001-01-01", "2001-01-09", "2001-01-17"],
            ["2001-01-17", "2001-02-02", "2001-02-18"],
            r"for each 16-day, but the response has one for each 8-day: make one for each month of both \(--comp",
        ),
    ],
)
def test_what_cannot_be_paired(first: Any, second: Any, message: str, tmp_path: Path) -> None:
    stacks = axis_of(first, tmp_path, "first"), axis_of(second, tmp_path, "second")
    with pytest.raises(InputError, match=message):
        pair(stacks[0], {"x": stacks[1]})


def test_composites_of_months_to_years(tmp_path: Path, yearly: Any) -> None:
    months = [f"{year}-{month:02d}-01" for year in range(2000, 2010) for month in range(1, 13)]
    write(tmp_path / "monthly", months, 4)
    sums = pw.open_stack("monthly").composite("sum")
    found = pair(pw.open_stack("ndvi").select(start="2002"), {"rain": sums})
    assert found.unit == "year"
    assert found.left_out == {"rain": ("2000..2001",)}
    assert found.inputs["rain"].read(found.stack.grid.block).shape == (8, 6, 5)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"'rain' has 12 layers in one year .*--with NAME=NAME.toml"):
        pair(pw.open_stack("ndvi"), {"rain": pw.open_stack("monthly")})


def test_the_advice_for_unlike_steps_works(tmp_path: Path) -> None:
    days = np.arange("2001-01-01", "2001-12-31", 8, dtype="M8[D]")
    response, other = (
        axis_of(list(map(str, days)), tmp_path, "first"),
        axis_of(list(map(str, days[::2])), tmp_path, "x"),
    )
    with pytest.raises(
        InputError, match=r"for 'x', on the command line, put .*--composite HOW --every month --write-rec"
    ):
        pair(response, {"x": other})
    found = pair(response.composite("mean", every="month"), {"x": other.composite("mean", every="month")})
    assert len(found.stack.axis) == 12
    # Scenes of some summers, one a year, are still paired with those of the same day.
    days = np.array(["2001-08-01", "2002-06-03", "2004-06-20", "2007-09-01"])
    summers, daily = axis_of(days, tmp_path, "summers"), axis_of([*days[:3], "2007-08-31"], tmp_path, "daily")
    assert len(pair(summers, {"x": daily}).stack.axis) == 3


def test_names_that_mean_something_else(yearly: Any) -> None:
    with pytest.raises(ParameterError, match="a covariate cannot be called 'response'"):
        pair(pw.open_stack("ndvi"), {"response": pw.open_stack("rain")})


class Plain:
    """Any object with a grid, an axis and pixels is a stack."""

    def __init__(self, stack: pw.RasterStack) -> None:
        self.grid, self.axis, self.read = stack.grid, stack.axis, stack.read


def test_other_stacks_must_have_the_same_dates(yearly: Any) -> None:
    ndvi = pw.open_stack("ndvi")
    same: Any = Plain(ndvi)
    assert pair(ndvi, {"x": same}).inputs["x"] is same
    with pytest.raises(ParameterError, match="5 layers of 'rain' have no partner, but layers can be left out only of"):
        pair(ndvi, {"rain": Plain(pw.open_stack("rain"))})  # type: ignore[dict-item]


# ------------------------------------------------------------------------------------------------- in place


def test_a_larger_stack_of_the_lattice_is_cut(yearly: Any, tmp_path: Path) -> None:
    further = write(
        tmp_path / "wide", range(2000, 2010), 7, (9, 8), transform=PROFILE["transform"] @ Affine.translation(-2, -1)
    )
    found = pair(pw.open_stack("ndvi"), {"wide": pw.open_stack("wide")})
    np.testing.assert_array_equal(found.inputs["wide"].read(found.stack.grid.block), further[:, 1:7, 2:7])


@pytest.mark.parametrize(
    ("shift", "message"),
    [
        (
            Affine.translation(1, 0),
            r"'x' is not on the grid.*covers only part of it: choose an area that both cover \(--bounds\)",
        ),
        (
            Affine.translation(0.5, 0),
            r"'x' is not on the grid.*off by 0.5 pixels\); --align RASTER \(align=\) puts both",
        ),
        (Affine.scale(2), r"'x' is not on the grid.*--align"),
    ],
)
def test_other_places(yearly: Any, tmp_path: Path, shift: Affine, message: str) -> None:
    write(tmp_path / "x", range(2000, 2010), 7, transform=PROFILE["transform"] @ shift)
    with pytest.raises(InputError, match=message):
        pair(pw.open_stack("ndvi"), {"x": pw.open_stack("x")})


# ---------------------------------------------------------------------------------------- the command line


def test_apply_with(yearly: Any, tmp_path: Path) -> None:
    options = ("--with", "rain=rain/*.tif", "-p", "covariates=rain,time")
    result = run("apply", "regress", "ndvi", *options, "-o", "out.tif", "--dtype", "float64")
    assert result.exit_code == 0, result.output
    assert all(f"warning: {text}" in result.stderr for text in LEFT_OUT)
    assert "with rain: 12 layers, 1995..2007" in result.stderr
    method = pw.methods.regress(covariates="rain,time")
    expected = pw.apply(pw.open_stack("ndvi"), method, inputs={"rain": pw.open_stack("rain")}, dtype="float64")
    found = pw.open_map("out.tif")
    for name in expected.names:
        np.testing.assert_array_equal(found[name], expected[name])
    assert found.provenance["parameters"]["covariates"] == ["rain", "time"]
    assert found.provenance["further_inputs"]["rain"]["files"][0]["path"] == "rain/v_2000.tif"
    assert "cannot be verified: its method has covariates" in run("verify", "out.tif").stderr


def test_plan_with_lists_what_is_left_out(yearly: Any) -> None:
    options = ("ndvi", "--with", "rain=rain", "--method", "regress", "-p", "covariates=rain,time")
    result = run("plan", *options)
    assert result.exit_code == 0, result.output
    assert re.search(r"time +7 layers, 2000 .. 2007", result.stdout)
    assert "paired    7 layers of each, by the year" in result.stdout
    assert "left out of response: 2003, 2008..2009" in result.stdout
    assert LEFT_OUT[1] in result.stdout
    report = json.loads(run("plan", *options, "--json").stdout)
    assert report["pairing"]["left_out"] == {"response": ["2003", "2008..2009"], "rain": ["1995..1999"]}
    assert len(report["with"]["rain"]["layers"]) == 12
    assert report["warnings"][:2] == LEFT_OUT


def test_plan_tells_what_does_not_fit(yearly: Any) -> None:
    assert "ols takes no covariates, but got rain" in run("plan", "ndvi", "--with", "rain=rain").stdout
    assert "none/*.tif" in run("plan", "ndvi", "--with", "rain=none/*.tif", "--method", "correlation").stdout
    twice = run("plan", "ndvi", "--with", "rain=rain", "--with", "rain=ndvi")
    assert (twice.exit_code, "--with rain=... is given twice" in twice.stderr) == (2, True)


def test_recipes_keep_further_stacks(yearly: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = ("--method", "correlation")
    assert run("plan", "ndvi", "--with", "rain=rain/*.tif", *method, "--write-recipe", "job.toml").exit_code == 0
    assert tomllib.loads(Path("job.toml").read_text())["with"] == {"rain": "rain/*.tif"}
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = run("apply", "correlation", "--recipe", "../job.toml", "-o", "out.tif")
    assert result.exit_code == 0, result.output
    other = run("apply", "correlation", "--recipe", "../job.toml", "--with", "rain=../ndvi", "-o", "other.tif")
    assert other.exit_code == 0, other.output
    assert pw.open_map("other.tif").provenance["further_inputs"]["rain"]["layers"] == 10
    assert run("composite", "--recipe", "../job.toml", "-o", "annual.tif").exit_code == 0


def test_a_further_stack_may_be_a_recipe(yearly: Any, tmp_path: Path) -> None:
    months = [f"{year}-{month:02d}-01" for year in range(2000, 2010) for month in range(1, 13)]
    write(tmp_path / "monthly", months, 4)
    assert run("plan", "monthly", "--composite", "sum", "--write-recipe", "rain.toml").exit_code == 0
    result = run("apply", "correlation", "ndvi", "--with", "rain=rain.toml", "-o", "out.tif")
    assert result.exit_code == 0, result.output
    assert pw.open_map("out.tif").provenance["further_inputs"]["rain"]["composite"]["how"] == "sum"


def test_what_is_asked_for_is_for_the_response_to_say(yearly: Any) -> None:
    Path("part.toml").write_text('input = ["rain"]\nregion = [500000.0, 3399900.0, 500100.0, 3400000.0]\n')
    result = run("apply", "correlation", "ndvi", "--with", "rain=part.toml", "-o", "out.tif")
    assert "part.toml: region selects pixels" in result.stderr


def test_lattices_and_dates_are_taken_over(yearly: Any, tmp_path: Path) -> None:
    write(tmp_path / "coarse", range(2000, 2010), 7, (3, 3), transform=PROFILE["transform"] @ Affine.scale(2))
    refused = run("apply", "correlation", "ndvi", "--with", "x=coarse", "-o", "out.tif")
    assert (refused.exit_code, "--align RASTER (align=) puts both" in refused.stderr) == (1, True)
    result = run(
        "apply",
        "correlation",
        "ndvi",
        "--with",
        "x=coarse",
        "--align",
        "ndvi/v_2000.tif",
        "--start",
        "2003",
        "-o",
        "out.tif",
    )
    assert result.exit_code == 0, result.output
    assert pw.open_map("out.tif").provenance["further_inputs"]["x"]["first"] == "2003-01-01"
    spec = InputSpec(nodata=(0.25,), align="ndvi/v_2000.tif")
    assert open_covariate("coarse", spec).spec.nodata is None  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------- what a job is and was


def test_names_tables_and_files_make_the_job(yearly: Any, tmp_path: Path) -> None:
    from pixelwise.jobs.output_spec import OutputSpec
    from pixelwise.jobs.provenance import describe, identify

    ndvi = pw.open_stack("ndvi")
    Path("nino.csv").write_text("date,nino\n" + "".join(f"{year},{year % 7}\n" for year in range(2000, 2010)))

    def identity(covariates: str, **inputs: Any) -> Any:
        method = pw.methods.regress(covariates=covariates)
        bound = method.bind(ndvi.axis, None, {name: stack.axis for name, stack in inputs.items()})
        described = describe(ndvi, inputs, method, bound.bands, OutputSpec(), folder=tmp_path)
        return identify(described, method, (ndvi, *inputs.values())), described

    one, described = identity("nino.csv:nino,a,b", a=ndvi, b=ndvi)
    assert one != identity("nino.csv:nino,a,b", b=ndvi, a=ndvi)[0]
    assert described["method_files"][0]["path"] == "nino.csv"
    assert identity("nino.csv:nino,a,b", a=ndvi, b=ndvi)[0] == one
    Path("nino.csv").write_text(Path("nino.csv").read_text().replace("2003,1", "2003,9"))
    assert identity("nino.csv:nino,a,b", a=ndvi, b=ndvi)[0] != one


def test_a_table_is_not_opened_by_verify(yearly: Any) -> None:
    Path("nino.csv").write_text("date,nino\n" + "".join(f"{year},{year % 7}\n" for year in range(2000, 2010)))
    assert run("apply", "regress", "ndvi", "-p", "covariates=time,nino.csv", "-o", "out.tif").exit_code == 0
    assert "no file that a map names is opened" in run("verify", "out.tif").stderr
    assert run("apply", "regress", "ndvi", "-o", "plain.tif").exit_code == 0
    assert "no difference" in run("verify", "plain.tif").output
    overwriting = run("apply", "regress", "ndvi", "-p", "covariates=time,nino.csv", "-o", "nino.csv", "--overwrite")
    assert overwriting.exit_code != 0


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_every_executor_gives_the_same(yearly: Any, executor: str) -> None:
    inputs: Any = {"rain": pw.open_stack("rain")}
    method = pw.methods.regress(covariates="rain,time")
    found = pw.apply(pw.open_stack("ndvi"), method, inputs=inputs, executor=executor, jobs=2)
    expected = pw.apply(pw.open_stack("ndvi"), method, inputs=inputs, executor="inline", jobs=1)
    for name in expected.names:
        assert found[name].tobytes() == expected[name].tobytes()


def test_a_team_fills_blocks_of_all_stacks(yearly: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs: Any = {"rain": pw.open_stack("rain")}
    alone = pw.apply(pw.open_stack("ndvi"), "restrend", inputs=inputs, executor="inline", jobs=1)
    set_limits(monkeypatch, block_bytes=1)
    together = pw.apply(pw.open_stack("ndvi"), "restrend", inputs=inputs, executor="threads", jobs=2)
    for name in alone.names:
        assert together[name].tobytes() == alone[name].tobytes()


def test_parameters_as_texts(yearly: Any) -> None:
    result = run("apply", "correlation", "ndvi", "--with", "rain=rain", "-p", "kind=spearman", "-o", "s.tif")
    assert result.exit_code == 0, result.output
    assert run("apply", "summary", "ndvi", "-p", "quantiles=p10,p90", "-o", "q.tif").exit_code == 0
    assert "p90" in pw.open_map("q.tif").names
    assert "no difference" in run("verify", "q.tif").output

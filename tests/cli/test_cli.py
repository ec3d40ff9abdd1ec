"""The command line as a newcomer meets it: what is printed where, how mistakes end, and what is left on disk."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import Result

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.cli.report import printable
from pixelwise.maps.tag import TAG, decode_provenance
from support.command_line import run
from support.limits import set_limits
from support.rasters import PROFILE, MakeStack, write_raster

BANDS = ["slope", "intercept", "rvalue", "pvalue", "stderr", "intercept_stderr", "n", "status"]
ORIGIN: Affine = PROFILE["transform"]

FUNCTIONS = """\
import numpy as np


def spread(values, times, factor: float = 1.0):
    return (values.max() - values.min()) * factor


def ends(values, times):
    return values[0], values[-1]


def fussy(values, times):
    if values[0] > 0.4:
        raise ValueError("I do not like large numbers")
    return values[0]


NUMBER = 3
"""


def noise(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(0.4, 0.1, shape).astype("float32")


def without_compiling(text: str) -> list[str]:
    """Return the lines of a log but those on kernels, which are compiled by whichever test comes first."""
    return [line for line in text.splitlines() if not line.startswith("compiling ")]


def succeed(*args: Any) -> Result:
    result = run(*args)
    assert result.exit_code == 0, result.stderr
    return result


def state_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: stack/ndvi_2000.tif to ndvi_2004.tif, and functions.py."""
    ramp = np.linspace(-0.5, 0.5, 42, dtype="float32").reshape(6, 7)
    for index, values in enumerate(noise(5, 6, 7)):
        write_raster(tmp_path / "stack" / f"ndvi_{2000 + index}.tif", values + ramp, nodata=-9999)
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def errors_of(home: Path, *args: Any) -> list[str]:
    """Run a command that fails: status 1, nothing on stdout, nothing changed on disk, no traceback."""
    before = state_of(home)
    result = run(*args)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert state_of(home) == before
    assert "Traceback" not in result.stderr
    return re.findall(r"^error: (.*)$", result.stderr, re.MULTILINE)


def error_of(home: Path, *args: Any) -> str:
    [error] = errors_of(home, *args)
    return error


# ---------------------------------------------------------------------------------------------------- help


def test_help_of_the_program():
    result = succeed("--help")
    assert "\n    pixelwise apply trend ndvi/*.tif -o trend.tif   compute a map\n" in result.stdout
    for command in ("apply", "clean", "compile", "demo", "methods", "plan", "plot", "verify"):
        assert f"\n  {command} " in result.stdout
    assert "..." not in result.stdout.partition("Commands:")[2], "a summary is cut off"
    assert succeed("-h").stdout == result.stdout


@pytest.mark.parametrize("command", sorted(main.commands))
def test_help_of_a_command(command: str):
    text = succeed(command, "--help").stdout
    assert text.startswith(f"Usage: main {command} ")
    assert "\\b" not in text
    assert "--debug" in text
    for parameter in main.commands[command].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.name} has no help"


def test_version():
    assert succeed("--version").stdout == f"pixelwise, version {pw.__version__}\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["aply"], "No such command 'aply'"),
        (["apply", "ols", "stack"], "Missing option '-o' / '--output'"),
        (["apply", "ols", "-o", "trend.tif"], "Missing argument 'INPUT...': files, a folder, a quoted glob"),
        (["plan"], "Missing argument 'INPUT...'"),
        (["plan", "stack", "--jobs", "0"], "0 is not in the range x>=1"),
        (["plan", "stack", "--period", "centre"], "'centre' is not one of 'start', 'middle', 'end'"),
        (["plan", "stack", "--nodata", "a,b"], "'a,b' is not a list of numbers separated by commas"),
        (["plan", "stack", "--bounds", "1,2,3"], "'1,2,3' has 3 numbers; expected 4"),
        (["plan", "stack", "--scale", "x"], "'x' is not a valid float"),
        (["apply", "ols", "stack", "-o", "a.tif", "-p", "min_obs"], "'min_obs' is not name=value"),
        (["apply", "ols", "stack", "-o", "a.tif", "--dtype", "int16"], "'int16' is not one of 'float32', 'float64'"),
        (["apply", "ols", "stack", "-o", "a.tif", "--nope"], "No such option"),
    ],
)
def test_wrong_usage_is_status_2(home: Path, args: list[str], message: str):
    before = state_of(home)
    result = run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert "' for help." in result.stderr
    assert state_of(home) == before


# ------------------------------------------------------------------------------------------------- methods


def test_the_list_of_methods():
    listed, hint = succeed("methods").stdout.split("\n\n")
    lines = listed.splitlines()
    assert len(lines) == len(pw.methods.METHODS)
    assert lines[0].startswith("trend ")
    assert "start with trend" in hint
    assert any(re.match(r"ols +Fit a straight line", line) for line in lines)


def test_one_method():
    text = succeed("methods", "ols").stdout
    assert text.startswith("ols: Fit a straight line to each pixel's series by ordinary least squares.\n")
    assert "    pixelwise apply ols INPUT... -o ols.tif" in text
    assert "    min_obs = 3 (whole number)\n        Minimum number of valid values" in text
    assert "slope            = Sxy / Sxx" in text
    assert "\nReferences\n    Draper" in text
    assert "    pvalue: Two-sided p-value" in text
    assert "    slope [value/year]: Change" in text
    assert "``" not in text
    assert "::" not in text


def test_parameters_of_methods_are_told_in_words():
    text = succeed("methods", "mann_kendall").stdout
    assert "    correction = none (none, hamed_rao, yue_wang, prewhiten)\n" in text
    assert "    floor = true (true, false)\n" in text
    assert "    deseasonalise = none (month, quarter, whole number, none)\n" in text
    assert "    (time_partial_r): Partial" in succeed("methods", "regress").stdout


def test_methods_for_programs():
    described = json.loads(succeed("methods", "--json").stdout)
    ols = next(method for method in described if method["name"] == "ols")
    assert ols["summary"].startswith("Fit a straight line")
    min_obs, *others = ols["parameters"]
    assert [parameter["name"] for parameter in others] == ["confidence_level", "origin"]
    assert (min_obs["name"], min_obs["type"], min_obs["default"]) == ("min_obs", "int", 3)
    assert min_obs["description"].startswith("Minimum number of valid values")
    assert [band["name"] for band in ols["bands"] if not band["optional"]] == BANDS[:-1]
    assert json.loads(succeed("methods", "ols", "--json").stdout) == [ols]


def test_an_unknown_method_names_the_closest(home: Path):
    assert error_of(home, "methods", "olss").startswith("unknown method 'olss'; did you mean 'ols'? (known: ")


# ---------------------------------------------------------------------------------------------------- plan


def test_a_plan_for_people(home: Path):
    result = succeed("plan", "stack")
    assert without_compiling(result.stderr) == []
    lines = result.stdout.splitlines()
    assert lines[:7] == [
        "grid      7 x 6 pixels (width x height), EPSG:32617",
        "pixel     30 x 30 m; left, bottom, right, top: 500000, 3399820, 500210, 3400000",
        "time      5 layers, 2000 .. 2004, every 1 year, no gap",
        "dates     5 by rule year; --layers lists all",
        "          first 2000: stack/ndvi_2000.tif",
        "          last  2004: stack/ndvi_2004.tif",
        "method    ols, as no --method is given",
    ]
    assert re.match(r"read      \d+ KiB in files, \d+ B decoded", lines[7])
    assert lines[8].startswith("blocks    1 of 7 x 6 pixels (width x height); files have 7 x 6; ")
    assert re.match(r"memory    about \d+ MiB", lines[9])
    assert len(lines) == 10
    assert succeed("plan", "stack", "--method", "summary").stdout.splitlines()[6] == "method    summary"


def test_all_layers_of_a_plan_are_listed_on_demand_after_the_summary(home: Path):
    summary, table = succeed("plan", "stack", "--layers").stdout.split("\n\n")
    assert summary.splitlines() == [
        line.removesuffix("; --layers lists all") for line in succeed("plan", "stack").stdout.splitlines()
    ]
    rows = [line.split() for line in table.splitlines()]
    assert rows[0] == ["file", "band", "date", "rule", "type", "nodata"]
    assert rows[1:] == [
        [f"stack/ndvi_{year}.tif", "1", str(year), "year", "float32", "-9999"] for year in range(2000, 2005)
    ]


def test_a_plan_counts_the_rules_by_which_dates_were_found(home: Path):
    for name in ("2001-03-05", "2001-04-05", "20010505"):
        write_raster(home / "days" / f"a_{name}.tif", noise(6, 7))
    lines = succeed("plan", "days").stdout.splitlines()
    assert "dates     2 by rule YYYY-MM-DD, 1 by rule YYYYMMDD; --layers lists all" in lines
    assert "          last  2001-05-05: days/a_20010505.tif" in lines
    bands = write_raster(home / "bands.tif", noise(3, 6, 7), descriptions=["2001", "2002", "2003"])
    assert f"          last  2003: {bands}, band 3" in succeed("plan", bands).stdout.splitlines()


def test_a_plan_says_when_threads_fill_one_block_together(home: Path, monkeypatch: pytest.MonkeyPatch):
    set_limits(monkeypatch, block_bytes=1)
    assert "one at a time, by 3 threads" in succeed("plan", "stack", "--jobs", "3").stdout
    assert "3 at once" in succeed("plan", "stack", "--jobs", "3", "--executor", "processes").stdout


def test_a_plan_for_programs(home: Path):
    report = json.loads(succeed("plan", "stack", "--json").stdout)
    assert set(report) >= {"layers", "grid", "problems", "warnings", "plan"}
    assert len(report["layers"]) == 5
    layer = report["layers"][0]
    expected = {
        "paths": ["stack/ndvi_2000.tif"], "band": 1, "date": "2000-01-01", "precision": "year", "time": 2000.0,
        "rule": "year",
    }  # fmt: skip
    assert {key: layer[key] for key in expected} == expected
    assert (layer["dtype"], layer["nodata"], layer["scale"], layer["offset"]) == ("float32", [-9999.0], 1.0, 0.0)
    assert report["grid"] == {
        "evenly_spaced": True,
        "unit": "metre",
        "crs": "EPSG:32617",
        "height": 6,
        "width": 7,
        "transform": [30.0, 0.0, 500000.0, 0.0, -30.0, 3400000.0],
        "bounds": [500000.0, 3399820.0, 500210.0, 3400000.0],
    }
    assert report["problems"] == report["warnings"] == []
    assert report["plan"]["blocks"] == 1
    assert report["plan"]["memory_bytes"] > 100e6
    assert report["plan"]["bytes_to_read"] == 5 * 6 * 7 * 4
    assert report["plan"]["file_bytes"] == sum(path.stat().st_size for path in (home / "stack").iterdir())


def test_a_plan_of_pieces_and_times(home: Path):
    image = noise(6, 7)
    for day in ("2001-03-05", "2001-03-06"):
        write_raster(home / "days" / f"a_{day}-0000000000-0000000000.tif", image[:4])
        write_raster(
            home / "days" / f"a_{day}-0000000004-0000000000.tif", image[4:], transform=ORIGIN @ Affine.translation(0, 4)
        )
    report = json.loads(succeed("plan", "days", "--json").stdout)
    assert [layer["date"] for layer in report["layers"]] == ["2001-03-05", "2001-03-06"]
    assert {layer["precision"] for layer in report["layers"]} == {"day"}
    assert report["layers"][0]["paths"] == [f"days/a_2001-03-05-{row:010d}-0000000000.tif" for row in (0, 4)]
    assert report["layers"][0]["time"] == pytest.approx(1970 + (np.datetime64("2001-03-05").astype(int)) / 365.25)
    assert (
        "a_2001-03-05-0000000000-0000000000.tif (+1 pieces)  1     2001-03-05"
        in succeed("plan", "days", "--layers").stdout
    )


def test_gaps_in_time_are_shown(home: Path):
    (home / "stack" / "ndvi_2002.tif").unlink()
    assert "every 1 year, 1 missing (between 2001-01-01 to 2003-01-01)" in succeed("plan", "stack").stdout
    report = json.loads(succeed("plan", "stack", "--json").stdout)
    assert report["time"]["gaps_between"] == [["2001-01-01", "2003-01-01"]]


def test_problems_are_status_1_and_layers_are_listed(home: Path):
    (home / "stack" / "ndvi_2005.tif").write_bytes(b"")
    write_raster(home / "stack" / "landsat_2006.tif", noise(3, 6, 7), descriptions=["Red", "Green", "NIR"])
    result = run("plan", "stack", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert [layer["date"] for layer in report["layers"]] == [f"{year}-01-01" for year in range(2000, 2005)] + [None]
    assert report["layers"][-1]["paths"] == ["stack/landsat_2006.tif"]
    assert report["plan"] is None
    empty, bands = report["problems"]
    assert empty.startswith("stack/ndvi_2005.tif: the file is empty")
    assert "stack/landsat_2006.tif: has 3 bands that are not dates (1 Red, 2 Green, 3 NIR)" in bands
    shown = run("plan", "stack")
    assert shown.exit_code == 1
    assert "\n2 problems\n  stack/ndvi_2005.tif: the file is empty" in shown.stdout
    assert "\nno date   stack/landsat_2006.tif\n" in shown.stdout
    assert shown.stdout.endswith(f"{bands}\n")  # problems are last, where a reader sees them
    assert re.search(r"stack/landsat_2006.tif +- +\? +-", run("plan", "stack", "--layers").stdout)


def test_a_plan_of_nothing_for_programs(home: Path):
    result = run("plan", "nothing_*.tif", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["problems"] == [f"no file matches 'nothing_*.tif' in {home}"]
    assert (report["layers"], report["grid"], report["plan"]) == ([], None, None)


def test_warnings_are_status_1_with_strict_only(home: Path):
    write_raster(home / "stack" / "ndvi_2005.tif", noise(6, 7) * 10000)
    result = succeed("plan", "stack")
    assert "warnings\n" in result.stdout
    assert "the names say NDVI, but sampled values reach" in result.stdout
    assert run("plan", "stack", "--strict").exit_code == 1
    report = json.loads(succeed("plan", "stack", "--json").stdout)
    assert report["problems"] == []
    assert len(report["warnings"]) >= 1
    assert report["plan"]["blocks"] == 1


def test_a_clean_plan_is_status_0_with_strict(home: Path, make_stack: MakeStack):
    make_stack(noise(5, 6, 7), folder="clean")
    succeed("plan", "clean", "--strict")


def test_a_plan_for_a_function_of_ones_own(home: Path):
    report = json.loads(succeed("plan", "stack", "--method", "functions.py:spread", "--json").stdout)
    assert report["problems"] == []
    assert report["plan"]["blocks"] == 1


def test_a_plan_reads_too_little_memory(home: Path):
    result = run("plan", "stack", "--memory", "50MB")
    assert result.exit_code == 1
    assert re.search(
        r"1 problem\n  memory 47.7 MiB is too little: \d+ worker.* with 5 layers needs? at least", result.stdout
    )


# --------------------------------------------------------------------------------------------------- apply


def test_the_main_job(home: Path):
    result = succeed("apply", "ols", "stack", "-o", "trend.tif")
    assert result.stdout == "trend.tif\n"
    first, last = without_compiling(result.stderr)
    assert first == "5 layers, 2000..2004, 7 x 6 pixels (width x height), EPSG:32617, float32, nodata -9999"
    assert re.fullmatch(r"42 pixels in \d+\.\d\d s: 42 ok", last)
    assert sorted(path.name for path in home.iterdir()) == ["functions.py", "stack", "trend.tif"]
    trend = pw.open_map("trend.tif")
    expected = pw.apply(pw.open_stack("stack"), "ols")
    for name in expected:
        np.testing.assert_array_equal(trend[name], expected[name])


@pytest.mark.parametrize(
    "source", [["stack/*.tif"], ["@list.txt"], ["dates.csv"], ["stack/ndvi_2001.tif", "stack/ndvi_2000.tif", "rest"]]
)
def test_ways_to_name_the_input(home: Path, source: list[str]):
    (home / "list.txt").write_text("".join(f"stack/ndvi_{year}.tif\n" for year in range(2000, 2005)))
    (home / "dates.csv").write_text("".join(f"stack/ndvi_{year}.tif,{year}\n" for year in range(2000, 2005)))
    if "rest" in source:
        (home / "rest").mkdir()
        for year in (2002, 2003, 2004):
            (home / "stack" / f"ndvi_{year}.tif").rename(home / "rest" / f"ndvi_{year}.tif")
    result = succeed("apply", "ols", *source, "-o", "trend.tif", "--bands", "slope")
    assert result.stderr.startswith("5 layers, 2000..2004, ")


def test_the_map_as_other_programs_see_it(home: Path, make_stack: MakeStack):
    shift = ORIGIN @ Affine.translation(1 / 3, 1 / 7)
    folder = make_stack(noise(4, 40, 50), folder="metres", transform=shift)
    for path in folder.iterdir():
        with rasterio.open(path, "r+") as dataset:
            dataset.set_band_unit(1, "m")
    (home / "out").mkdir()
    succeed("apply", "ols", folder, "-o", "out/trend.tif", "-p", "min_obs=4", "--start", "1990")
    assert [path.name for path in (home / "out").iterdir()] == ["trend.tif"]
    with rasterio.open("out/trend.tif") as dataset, rasterio.open(folder / "ndvi_2000.tif") as source:
        assert dataset.driver == "GTiff"
        assert dataset.profile["tiled"]
        assert set(dataset.block_shapes) == {(48, 64)}
        assert dataset.descriptions == tuple(BANDS)
        units = tuple(unit or "" for unit in dataset.units)
        assert units == ("m/year", "m", "", "", "m/year", "m", "", "")
        assert set(dataset.dtypes) == {"float32"}
        assert np.isnan(dataset.nodata)
        assert dataset.crs == source.crs == rasterio.CRS.from_epsg(32617)
        assert tuple(dataset.transform) == tuple(source.transform) == tuple(shift)
        assert dataset.shape == (40, 50)
        assert dataset.tags(1)["DESCRIPTION"] == "Change per year of the fitted line"
        provenance = decode_provenance(dataset.tags()[TAG])
    assert provenance["method"] == "ols"
    assert provenance["parameters"] == {"min_obs": 4, "confidence_level": 0.95, "origin": 0.0}
    assert provenance["bands"] == BANDS
    assert provenance["versions"]["pixelwise"] == pw.__version__
    assert provenance["input"]["spec"] == {"start": "1990"}
    paths = [file["path"] for file in provenance["input"]["files"]]
    assert paths == [f"../metres/ndvi_{year}.tif" for year in range(2000, 2004)]
    assert str(home) not in json.dumps(provenance)


def test_one_file_per_band(home: Path):
    result = succeed("apply", "ols", "stack", "-o", "trend_{band}.tif", "--dtype", "float64")
    assert result.stdout.split() == [f"trend_{band}.tif" for band in BANDS]
    for name in BANDS:
        with rasterio.open(f"trend_{name}.tif") as dataset:
            assert dataset.descriptions == (name,)
            assert dataset.dtypes == ({"status": "uint8", "n": "int32"}.get(name, "float64"),)
            assert (dataset.nodata is None) == (name in ("n", "status"))
            if name == "n":
                np.testing.assert_array_equal(dataset.read(1), np.full((6, 7), 5))
            if name == "status":
                np.testing.assert_array_equal(dataset.read(1), np.zeros((6, 7)))
    assert pw.open_map("trend_{band}.tif").names == tuple(BANDS)


def test_a_choice_of_bands(home: Path):
    succeed("apply", "ols", "stack", "-o", "trend.tif", "--bands", "pvalue,slope")
    with rasterio.open("trend.tif") as dataset:
        assert dataset.descriptions == ("pvalue", "slope", "status")
    succeed("apply", "ols", "stack", "-o", "s_{band}.tif", "--bands", "slope , status")
    assert sorted(path.name for path in home.glob("s_*")) == ["s_slope.tif", "s_status.tif"]


def test_float64_keeps_what_float32_loses(home: Path):
    succeed("apply", "ols", "stack", "-o", "narrow.tif")
    succeed("apply", "ols", "stack", "-o", "wide.tif", "--dtype", "float64")
    with rasterio.open("wide.tif") as dataset:
        assert set(dataset.dtypes) == {"float64"}
    narrow, wide = pw.open_map("narrow.tif")["slope"], pw.open_map("wide.tif")["slope"]
    assert (wide != narrow).any()
    np.testing.assert_array_equal(wide.astype("float32"), narrow)


def test_float64_rasters_keep_their_digits(home: Path, make_stack: MakeStack):
    years = np.arange(5)[:, None, None]
    folder = make_stack(1e9 + 0.25 * years + np.zeros((5, 6, 7)), folder="wide")
    assert ", float64, " in succeed("apply", "ols", folder, "-o", "trend.tif").stderr
    np.testing.assert_array_equal(pw.open_map("trend.tif")["slope"], np.full((6, 7), 0.25, dtype="float32"))


@pytest.mark.parametrize("compress", ["zstd", "deflate", "lzw", "none"])
def test_compression(home: Path, compress: str):
    succeed("apply", "ols", "stack", "-o", "trend.tif", "--compress", compress)
    with rasterio.open("trend.tif") as dataset:
        assert (dataset.compression.value.lower() if dataset.compression else "none") == compress


def test_timings(home: Path):
    result = succeed("apply", "ols", "stack", "-o", "trend.tif", "--timings")
    assert re.search(
        r"^read \d+\.\d\d s, kernel \d+\.\d\d s, encode \d+\.\d\d s \(all workers\); "
        r"write \d+\.\d\d s, wait \d+\.\d\d s; total ",
        result.stderr,
        re.MULTILINE,
    )
    assert result.stdout == "trend.tif\n"


def test_input_options(home: Path):
    result = succeed(
        "apply", "ols", "stack", "-o", "trend.tif", "--start", "2001", "--end", "2003", "--nodata", "-1,-9999",
        "--scale", "0.5", "--offset", "-1", "--valid-range", "-1000,1000",
        "--bounds", "500030,3399940,500060,3399970", "--jobs", "1", "--executor", "inline", "--memory", "4GiB",
    )  # fmt: skip
    assert "3 layers, 2001..2003, 1 x 1 pixels (width x height), " in result.stderr
    assert "nodata -1, -9999 is used instead of what the files say" in result.stderr
    stack = pw.open_stack("stack", start=2001, end=2003).read(pw.Block(1, 1, 1, 1)).ravel().astype(float)
    slope = np.polyfit([0, 1, 2], stack * 0.5 - 1, 1)[0]
    np.testing.assert_allclose(pw.open_map("trend.tif")["slope"], slope, rtol=1e-6)


def test_a_band_and_a_table_of_dates(home: Path):
    write_raster(home / "multi.tif", noise(4, 6, 7), descriptions=["a", "b", "c", "d"])
    (home / "dates.txt").write_text("2001-01-05\n2001-02-05\n2001-03-05\n2001-04-05\n")
    assert "4 layers, 2001-01-05..2001-04-05" in succeed(
        "apply", "ols", "multi.tif", "-o", "t.tif", "--times", "dates.txt"
    ).stderr  # fmt: skip
    for year in (2000, 2001, 2002):
        write_raster(
            home / "l8" / f"l8_{year}.tif", noise(2, 6, 7) + np.array([[[0]], [[year]]]), descriptions=["Red", "NIR"]
        )
    succeed("apply", "ols", "l8", "-o", "n.tif", "--band", "nir")
    succeed("apply", "ols", "l8", "-o", "2.tif", "--band", "2")
    np.testing.assert_array_equal(pw.open_map("n.tif")["slope"], pw.open_map("2.tif")["slope"])
    np.testing.assert_allclose(pw.open_map("n.tif")["slope"], 1, atol=0.5)


# ----------------------------------------------------------------------------------- functions of one's own


def test_a_function_with_a_parameter(home: Path):
    result = succeed("apply", "functions.py:spread", "stack", "-o", "s.tif", "-p", "factor=2", "--bands", "range")
    assert "spread: plain Python: compiling would take longer than 42 pixels" in result.stderr
    spread = pw.open_map("s.tif")
    assert spread.names == ("range", "n", "status")
    values = pw.open_stack("stack").read(pw.Block(0, 0, 6, 7)).astype(float)
    np.testing.assert_array_equal(spread["range"], (2 * (values.max(axis=0) - values.min(axis=0))).astype("float32"))
    assert spread.provenance["parameters"]["parameters"] == {"factor": 2.0}
    assert "spread: compiled" in succeed("apply", "functions.py:spread", "stack", "-o", "c.tif", "--jit").stderr


def test_a_function_of_two_values_without_compiling(home: Path):
    result = succeed("apply", "functions.py:ends", "stack", "-o", "e.tif", "--no-jit", "--executor", "inline")
    assert "ends: plain Python: jit=False" in result.stderr
    assert pw.open_map("e.tif").names == ("value_1", "value_2", "n", "status")


def test_a_function_that_raises(home: Path):
    args = ["functions.py:fussy", "stack", "-o", "f.tif", "--no-jit", "--executor", "inline"]
    result = succeed("apply", *args)
    assert "warning: the function failed at some pixels (status 5); the first:" in result.stderr
    assert 'raise ValueError("I do not like large numbers")' in result.stderr
    assert f'{home / "functions.py"}", line 14, in fussy' in result.stderr
    assert result.stderr.count("ValueError: I do not like large numbers") == 1
    assert re.search(r"42 pixels in .* s: \d+ ok, \d+ function failed", result.stderr)
    fussy = pw.open_map("f.tif")
    first = pw.open_stack("stack").read(pw.Block(0, 0, 6, 7))[0]
    np.testing.assert_array_equal(fussy.status, np.where(first > 0.4, 5, 0))
    np.testing.assert_array_equal(fussy["value"], np.where(first > 0.4, np.nan, first))


def test_a_function_that_raises_with_strict(home: Path):
    before = state_of(home)
    args = ["functions.py:fussy", "stack", "-o", "f.tif", "--no-jit", "--executor", "inline", "--strict"]
    result = run("apply", *args)
    assert result.exit_code == 1
    assert re.search(r"^error: fussy failed on a pixel with the values \[\d", result.stderr, re.MULTILINE)
    assert 'raise ValueError("I do not like large numbers")' in result.stderr
    assert state_of(home) == before


# ------------------------------------------------------------------------------------------------ mistakes


def empty(home: Path) -> None:
    (home / "stack" / "ndvi_2003.tif").write_bytes(b"")


def not_a_raster(home: Path) -> None:
    (home / "stack" / "ndvi_2003.tif").write_text("<html>404</html>")


def no_dates(home: Path) -> None:
    for index, path in enumerate(sorted((home / "stack").iterdir())):
        path.rename(home / "stack" / f"ndvi_{'abcde'[index]}.tif")


def ambiguous(home: Path) -> None:
    for index, path in enumerate(sorted((home / "stack").iterdir())):
        path.rename(home / "stack" / f"ndvi_0{index + 4}-03-2001.tif")


def duplicate(home: Path) -> None:
    write_raster(home / "stack" / "second_2003.tif", noise(6, 7))


def many_bands(home: Path) -> None:
    write_raster(home / "stack" / "ndvi_2003.tif", noise(2, 6, 7), descriptions=["Red", "NIR"])


def one_file(home: Path) -> None:
    for year in range(2001, 2005):
        (home / "stack" / f"ndvi_{year}.tif").unlink()


@pytest.mark.parametrize(
    ("prepare", "parts"),
    [
        (empty, ["stack/ndvi_2003.tif: the file is empty (0 bytes)"]),
        (not_a_raster, ["stack/ndvi_2003.tif: not a raster that can be read"]),
        (no_dates, ["no date in the name of 5 files: stack/ndvi_a.tif, ", "use --times FORMAT|FILE"]),
        (
            ambiguous,
            ["more than one date in the name of 5 files: stack/ndvi_04-03-2001.tif (", "2001-03-04", "2001-04-03"],
        ),
        (
            duplicate,
            ["2 layers have the date 2003-01-01: stack/ndvi_2003.tif, stack/second_2003.tif", "--same-date keep|"],
        ),
        (many_bands, ["stack/ndvi_2003.tif: has 2 bands that are not dates (1 Red, 2 NIR)", "--band N|NAME"]),
        (one_file, ["1 date (2000-01-01) in 1 file: a series needs at least two"]),
    ],
)
def test_mistakes_in_the_input(home: Path, prepare: Callable[[Path], None], parts: list[str]):
    prepare(home)
    error = error_of(home, "apply", "ols", "stack", "-o", "trend.tif")
    for part in parts:
        assert part in error


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["ols", "ndvi_*.tif", "-o", "t.tif"], "no file matches 'ndvi_*.tif' in {home}"),
        (["ols", "ndvi", "-o", "t.tif"], "ndvi: no such file or folder"),
        (["ols", "stack", "-o", "t.tif", "--start", "2010"], "0 dates in 5 files with start 2010: a series needs"),
        (["ols", "stack", "-o", "t.tif", "--start", "soon"], "start: cannot read 'soon' as a date (accepted: 2001,"),
        (["ols", "stack", "-o", "t.tif", "--months", "6"], "months [6] cannot be selected: stack/ndvi_2000.tif has"),
        (["ols", "stack", "-o", "t.tif", "--bounds", "0,0,1,1"], "bounds (0.0, 0.0, 1.0, 1.0) lie outside the rasters"),
        (["ols", "stack", "-o", "t.tif", "--times", "dates.csv"], "--times dates.csv: neither an existing file nor a"),
        (["olss", "stack", "-o", "t.tif"], "unknown method 'olss'; did you mean 'ols'? (known: "),
        (["ols", "stack", "-o", "t.tif", "--bands", "slop"], "unknown band of ols 'slop'; did you mean 'slope'?"),
        (
            ["ols", "stack", "-o", "t.tif", "-p", "min_ob=3"],
            "unknown parameter of ols 'min_ob'; did you mean 'min_obs'",
        ),
        (["ols", "stack", "-o", "t.tif", "-p", "min_obs=many"], "parameter min_obs='many' is not int"),
        (["ols", "stack", "-o", "t.tif", "-p", "min_obs=2"], "min_obs=2: "),
        (["ols", "stack", "-o", "t.tif", "--jit"], "ols is always compiled"),
        (["nope.py:f", "stack", "-o", "t.tif"], "nope.py: No such file or directory"),
        (
            ["functions.py:spred", "stack", "-o", "t.tif"],
            "unknown function in functions.py 'spred'; did you mean 'spread'",
        ),
        (["functions.py:NUMBER", "stack", "-o", "t.tif"], "NUMBER in functions.py is int, not a function"),
        (
            ["functions.py:spread", "stack", "-o", "t.tif", "-p", "facto=2"],
            "unknown parameter of spread 'facto'; did you",
        ),
        (["functions.py:ends", "stack", "-o", "t.tif", "--bands", "a,b,c"], "ends: expected 3 values (a, b, c), got 2"),
        (["functions.py:ends", "stack", "-o", "t.tif", "--bands", "a,n"], "band name 'n' is reserved"),
        (["ols", "stack", "-o", "t.tif", "--memory", "50MB"], "memory 47.7 MiB is too little: "),
        (
            ["ols", "stack", "-o", "t.tif", "--memory", "much"],
            "memory='much' is not a size; expected 4GiB, 500MB or a number",
        ),
        (["ols", "stack", "-o", "no/t.tif"], "no/t.tif: the folder no does not exist"),
        (
            ["ols", "stack", "-o", "t.png"],
            "t.png: a map is GeoTIFF, Zarr or NetCDF: its name must end in .tif, .zarr or .nc",
        ),
        (["ols", "stack", "-o", "folder.tif"], "folder.tif: is a folder"),
        (["ols", "stack", "-o", "x" * 300 + ".tif"], "x" * 300 + ".tif: its name has 304 bytes; here it may have"),
        (["ols", "stack", "-o", "old.tif"], "old.tif: already exists; --overwrite replaces it when the new map is"),
        (["ols", "stack", "-o", "old_{band}.tif"], "old_pvalue.tif: already exists; --overwrite replaces it"),
        (["ols", "stack", "-o", "stack/ndvi_2001.tif"], "stack/ndvi_2001.tif: is one of the inputs; choose another"),
        (["ols", "stack", "-o", "stack/ndvi_2001.tif", "--overwrite"], "stack/ndvi_2001.tif: is one of the inputs"),
        (["ols", "stack", "-o", "link.tif", "--overwrite"], "link.tif: is one of the inputs; choose another output"),
        (
            ["ols", "vrt", "-o", "stack/ndvi_2001.tif", "--overwrite"],
            "stack/ndvi_2001.tif: is not a pixelwise map, and only",
        ),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_mistakes(home: Path, args: list[str], error: str):
    (home / "folder.tif").mkdir()
    (home / "old.tif").write_bytes(b"an old map")
    (home / "old_pvalue.tif").write_bytes(b"an old map")
    (home / "link.tif").symlink_to(home / "stack" / "ndvi_2001.tif")
    (home / "vrt").mkdir()
    for year in range(2000, 2005):
        (home / "vrt" / f"v_{year}.vrt").write_text(
            '<VRTDataset rasterXSize="7" rasterYSize="6"><VRTRasterBand dataType="Float32" band="1"><SimpleSource>'
            f'<SourceFilename relativeToVRT="1">../stack/ndvi_{year}.tif</SourceFilename>'
            "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
        )
    assert error_of(home, "apply", *args).startswith(error.replace("{home}", str(home)))


def test_all_differences_of_all_grids_are_listed(home: Path):
    write_raster(home / "stack" / "ndvi_2001.tif", noise(5, 7))
    write_raster(home / "stack" / "ndvi_2002.tif", noise(6, 7), crs="EPSG:4326")
    write_raster(home / "stack" / "ndvi_2003.tif", noise(6, 7), transform=ORIGIN @ Affine.translation(2, 0))
    errors = errors_of(home, "apply", "ols", "stack", "-o", "trend.tif")
    assert errors[:4] == [
        "the rasters are not on one grid; 3 differ from stack/ndvi_2000.tif:",
        "stack/ndvi_2001.tif: size 7 x 5 instead of 7 x 6 pixels (width x height)",
        "stack/ndvi_2002.tif: CRS EPSG:4326 instead of EPSG:32617",
        "stack/ndvi_2003.tif: transform (30, 0, 500060, 0, -30, 3400000) instead of "  # noqa: ISC004
        "(30, 0, 500000, 0, -30, 3400000) (off by 2 pixels)",
    ]
    assert errors[4].startswith("align them with --align EPSG:32617,30 (CRS and pixel size) or --align FILE")
    assert len(errors) == 5


def test_a_truncated_file(home: Path):
    for index, values in enumerate(noise(3, 64, 64)):
        path = write_raster(
            home / "large" / f"ndvi_{2000 + index}.tif",
            values,
            compress="deflate",
            tiled=True,
            blockxsize=16,
            blockysize=16,
        )
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    error = error_of(home, "apply", "ols", "large", "-o", "trend.tif")
    assert error.startswith("large/ndvi_2002.tif: band 1 cannot be read at rows ")
    assert error.endswith("is the file truncated?")
    result = run("plan", "large")
    assert result.exit_code == 1
    assert "1 problem\n  large/ndvi_2002.tif: band 1 cannot be read at rows" in result.stdout


@pytest.fixture
def locked(home: Path) -> Iterator[Path]:
    folder = home / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    yield folder
    folder.chmod(0o700)


def test_a_folder_that_is_not_writable(home: Path, locked: Path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    assert error_of(home, "apply", "ols", "stack", "-o", "locked/t.tif") == (
        "locked/t.tif: the folder locked is not writable"
    )


def test_a_folder_that_the_system_calls_not_writable(home: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def access(path: Path, mode: int) -> bool:
        asked.append((path, mode))
        return False

    monkeypatch.setattr(os, "access", access)
    assert error_of(home, "apply", "ols", "stack", "-o", "stack/t.tif") == (
        "stack/t.tif: the folder stack is not writable"
    )
    assert asked == [(Path("stack"), os.W_OK | os.X_OK)]


# ----------------------------------------------------------------------------------------------- overwriting


def test_overwriting_a_map(home: Path):
    succeed("apply", "ols", "stack", "-o", "trend.tif")
    for suffix in (".aux.xml", ".ovr", ".msk"):
        (home / f"trend.tif{suffix}").write_text("of the old map")
    (home / "trend.tif.txt").write_text("notes")
    result = succeed("apply", "ols", "stack", "-o", "trend.tif", "--overwrite", "--bands", "slope")
    assert result.stdout == "trend.tif\n"
    assert pw.open_map("trend.tif").names == ("slope", "status")
    assert sorted(path.name for path in home.glob("trend*")) == ["trend.tif", "trend.tif.txt"]


def test_a_failed_job_leaves_the_old_map(home: Path):
    succeed("apply", "ols", "stack", "-o", "trend.tif")
    error = error_of(
        home, "apply", "functions.py:ends", "stack", "-o", "trend.tif", "--overwrite", "--bands", "a,b,c", "--no-jit",
        "--executor", "inline",
    )  # fmt: skip
    assert error == "ends: expected 3 values (a, b, c), got 2"
    assert pw.open_map("trend.tif").names == tuple(BANDS)


def test_an_interrupted_job_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch):
    before = state_of(home)
    seen = []

    def interrupt(*_: Any) -> None:
        seen.extend(home.glob(".trend.partial*"))
        raise KeyboardInterrupt

    monkeypatch.setattr("pixelwise.jobs.task._run", interrupt)
    result = run("apply", "ols", "stack", "-o", "trend.tif")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "interrupted"
    assert len(seen) == 1, "the temporary file stood beside the output"
    assert state_of(home) == before


# --------------------------------------------------------------------------------------------- what is shown


def test_printable():
    assert printable("a\tb\x1b[31m\x07\u202e\udcff ü\n") == "a\\tb\\x1b[31m\\x07\\u202e\\udcff ü\n"
    assert printable("a\nb", lines=False) == "a\\nb"


EVIL = "\x1b[2J\nerror: pwned \u202e"


def test_control_characters_in_names_are_escaped(home: Path):
    for year in (2000, 2001, 2002):
        write_raster(home / "evil" / f"{EVIL}_{year}.tif", noise(6, 7))
    for result in (
        succeed("plan", "evil"),
        succeed("plan", "evil", "--json"),
        succeed("apply", "ols", "evil", "-o", "t.tif"),
        succeed("apply", "ols", "evil", "-o", f"{EVIL}.tif"),
        run("apply", "ols", "evil", "-o", "u.tif", "--months", "6"),
        run("apply", "ols", "evil", "-o", "u.tif", "--band", "7"),
    ):
        text = result.output
        assert not {"\x1b", "\u202e"} & set(text)
        assert "\nerror: pwned" not in text
    assert "evil/\\x1b[2J\\nerror: pwned \\u202e_2000.tif" in succeed("plan", "evil").stdout
    (home / "evil" / f"{EVIL}_2003.tif").write_bytes(b"")
    [error] = errors_of(home, "apply", "ols", "evil", "-o", "u.tif")
    assert error.startswith("evil/\\x1b[2J\\nerror: pwned \\u202e_2003.tif: the file is empty")
    shown = run("plan", "evil")
    assert shown.exit_code == 1
    assert "\x1b" not in shown.stdout
    assert "1 problem\n  evil/\\x1b[2J\\nerror: pwned \\u202e_2003.tif: the file is empty" in shown.stdout


def test_control_characters_in_band_descriptions_are_escaped(home: Path):
    for year in (2000, 2001):
        write_raster(home / "evil" / f"x_{year}.tif", noise(2, 6, 7), descriptions=[EVIL, "NIR"])
    errors = errors_of(home, "apply", "ols", "evil", "-o", "t.tif")
    assert len(errors) == 2
    assert "has 2 bands that are not dates (1 [2J\\nerror: pwned \\u202e, 2 NIR)" in errors[0]
    errors = errors_of(home, "apply", "ols", "evil", "-o", "t.tif", "--band", "nope")
    assert len(errors) == 2
    assert "(known: [2J\\nerror: pwned \\u202e, NIR)" in errors[0]


def program(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pixelwise", *args], capture_output=True, text=True, check=False)


def test_a_traceback_is_shown_with_debug_only(home: Path):
    result = program("plan", "nope*.tif", "--debug")
    assert result.returncode == 1
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.rstrip().endswith(f"pixelwise.errors.InputError: no file matches 'nope*.tif' in {home}")
    result = program("plan", "nope*.tif")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"error: no file matches 'nope*.tif' in {home}\n"


def test_libraries_are_not_heard(home: Path):
    (home / "stack" / "ndvi_2003.tif").write_bytes(b"II*\x00\x08\x00\x00\x00broken")
    result = program("apply", "ols", "stack", "-o", "t.tif")
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("error: stack/ndvi_2003.tif: not a raster that can be read (")


# -------------------------------------------------------------------------------------- dates and bands


def dated_bands(folder: Path) -> Path:
    """NDVI and EVI of three years in one file; the slopes are 2 and -1 a year."""
    rows = [(f"{name}_{year}", slope * (year - 2001)) for year in (2001, 2002, 2003) for name, slope in VARIABLES]
    bands = np.stack([np.full((6, 7), value, dtype="float32") for _, value in rows])
    return write_raster(folder / "both.tif", bands, descriptions=[name for name, _ in rows])


VARIABLES = (("NDVI", 2.0), ("EVI", -1.0))


def test_one_variable_of_a_file_with_two(home: Path):
    dated_bands(home)
    refused = run("plan", "both.tif")
    assert refused.exit_code == 1
    assert "choose one variable with --band 'NDVI_*' or --band 'EVI_*'" in refused.stdout
    for name, slope in VARIABLES:
        output = f"{name}.tif"
        succeed("apply", "ols", "both.tif", "--band", f"{name}_*", "-o", output)
        with rasterio.open(output) as dataset:
            np.testing.assert_allclose(dataset.read(1), slope)
        assert "no difference" in succeed("verify", output).stdout


def test_names_that_fit_two_readings_stop_plan_and_apply(home: Path):
    for year in range(2001, 2012):
        write_raster(home / "pairs" / f"x_{year}_{year + 1 - 2000:02d}.tif", np.full((4, 4), float(year)))
    for arguments in (("plan", "pairs"), ("apply", "ols", "pairs", "-o", "trend.tif")):
        result = run(*arguments)
        assert result.exit_code == 1
        said = result.stdout + result.stderr
        assert "(2001-02-01 by YYYY-MM, or 2001-01-01 by year pair)" in said
        assert "use --times '%Y_%m' or --times '%Y_%y'" in said
    for template, slope in (("%Y_%y", 1.0), ("%Y_%m", 12 / 13)):
        succeed("apply", "ols", "pairs", "--times", template, "-o", "trend.tif", "--overwrite")
        with rasterio.open("trend.tif") as dataset:
            np.testing.assert_allclose(dataset.read(1), slope, rtol=2e-3)


def test_weeks_of_noaa_in_the_plan(home: Path):
    for year in (1996, 1997):
        for week in (1, 2, 35, 36, 51, 52):
            write_raster(home / "vhp" / f"VHP.G04.C07.NJ.P{year}{week:03d}.SM.SMN.tif", noise(4, 4))
    report = json.loads(succeed("plan", "vhp", "--json").stdout)
    assert report["layers"][2]["date"] == "1996-08-26"
    assert {layer["rule"] for layer in report["layers"]} == {"NOAA VHP"}
    assert report["time"]["step"] == "1 week"


@pytest.mark.parametrize("words", ["%G%V (ISO)", "%Y%m%K", "path,band,date", "'NDVI*'", "converted to UTC"])
def test_help_tells_how_to_date_and_choose_bands(words: str):
    text = " ".join(succeed("plan", "--help").stdout.split())
    assert words in text

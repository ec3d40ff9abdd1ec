"""``pixelwise series``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pixelwise as pw
from support.command_line import run
from support.rasters import random_series, write_raster

VALUES = random_series((9, 6, 7), seed=1, gaps=0.0)
VALUES[4, 3, 2] = np.nan


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: ndvi/, rain/, trend.tif (per decade) and plots.csv."""
    for number, year in enumerate(range(2000, 2009)):
        write_raster(tmp_path / "ndvi" / f"ndvi_{year}.tif", VALUES[number])
        write_raster(tmp_path / "rain" / f"rain_{year}.tif", VALUES[number] ** 2)
    monkeypatch.chdir(tmp_path)
    pw.apply(pw.open_stack("ndvi"), "ols", "trend.tif", per="decade")
    Path("plots.csv").write_text("name,x,y,note\nwood,500075,3399885,a\nfield,500015,3399985,\n")
    return tmp_path


def test_numbers_as_text() -> None:
    result = run("series", "ndvi", "--pixel", "3,2", "--method", "ols", "-p", "min_obs=4")
    assert result.exit_code == 0
    first, words, *table = result.stdout.splitlines()
    place = "pixel row 3, column 2 (x 500075, y 3399895, EPSG:32617)"
    assert first == f"{place}: 8 of 9 values, 1 no data"
    fit = pw.methods.ols()(VALUES[:, 3, 2], np.arange(2000, 2009))
    assert words.startswith(f"  slope {fit['slope'][0]:.4g} per year (95 % limits ")
    assert words.endswith(f"p = {fit['pvalue'][0]:.2g}, n = 8")
    names = [line.split()[0] for line in table]
    assert names == [
        "slope", "intercept", "rvalue", "pvalue", "stderr", "intercept_stderr", "n", "low_slope", "high_slope",
        "status",
    ]  # fmt: skip
    assert "8" in table[6].split()
    assert "-o FILE.png draws this" in result.stderr
    bare = run("series", "ndvi", "--pixel", "3,2")
    assert bare.stdout == f"{first}\n"


def test_a_map_alone() -> None:
    map_ = pw.open_map("trend.tif")
    found = json.loads(run("series", "--map", "trend.tif", "--pixel", "3,2", "--json").stdout)
    (pixel,) = found["pixels"]
    assert (pixel["row"], pixel["column"], pixel["crs"], pixel["inside"]) == (3, 2, "EPSG:32617", True)
    bands = {band["name"]: band for band in pixel["fit"]["bands"]}
    for name in map_.names[:-1]:
        assert np.float32(bands[name]["value"]) == map_[name][3, 2]
        assert bands[name]["unit"] == map_.band(name).unit
    assert pixel["fit"]["status"] == map_.status[3, 2]
    assert pixel["fit"]["parameters"] == {"min_obs": 3, "confidence_level": 0.95, "origin": 0.0}
    assert pixel["fit"]["words"].startswith("slope ")
    assert "per decade" in pixel["fit"]["words"]
    assert [one["value"] for one in pixel["observations"]] == [
        None if np.isnan(value) else pytest.approx(float(value), rel=1e-7) for value in VALUES[:, 3, 2]
    ]
    assert pixel["observations"][4] | {"fitted": 0, "low": 0, "high": 0} == {
        "date": "2004", "year": 2004.0, "value": None, "missing": "no data", "fitted": 0, "low": 0, "high": 0,
    }  # fmt: skip


def test_csv_has_a_line_for_each_pixel_and_date() -> None:
    result = run("series", "ndvi", "--points", "plots.csv", "--method", "theil_sen", "--csv")
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert list(rows[0]) == [
        "name", "row", "column", "x", "y", "date", "year", "value", "missing", "fitted", "low", "high",
    ]  # fmt: skip
    assert [(row["name"], row["date"]) for row in rows] == [
        (name, str(year)) for name in ("wood", "field") for year in range(2000, 2009)
    ]
    for row, value in zip(rows[9:], VALUES[:, 0, 0], strict=True):
        assert np.float32(row["value"]) == value
        assert float(row["low"]) <= float(row["fitted"]) <= float(row["high"])
    # A method without a curve leaves these columns empty.
    bare = list(csv.DictReader(run("series", "ndvi", "--pixel", "3,2", "--csv").stdout.splitlines()))
    assert {row["fitted"] for row in bare} == {""}
    assert bare[4]["missing"] == "no data"
    assert bare[4]["value"] == ""


@pytest.mark.parametrize(("name", "magic"), [("p.png", b"\x89PNG"), ("p.pdf", b"%PDF"), ("p.svg", b"<?xml")])
def test_pictures(name: str, magic: bytes) -> None:
    result = run("series", "--map", "trend.tif", "--points", "plots.csv", "-o", name)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == name
    assert "draws this" not in result.stderr
    assert Path(name).read_bytes().startswith(magic)
    refused = run("series", "--map", "trend.tif", "--points", "plots.csv", "-o", name)
    assert refused.exit_code == 1
    assert "already exists; --overwrite replaces it" in refused.stderr
    assert run("series", "--map", "trend.tif", "--pixel", "0,0", "-o", name, "--overwrite").exit_code == 0


def test_a_picture_for_each_point() -> None:
    Path("plots.csv").write_text("name,lon,lat\na/b,-80.9995,30.7325\n../c,-80.9988,30.7317\n")
    result = run("series", "ndvi", "--points", "plots.csv", "-o", "plot_{name}.png", "--json")
    assert result.exit_code == 0, result.output
    assert [one["name"] for one in json.loads(result.stdout)["pixels"]] == ["a/b", "../c"]
    assert {path.name for path in Path().glob("*.png")} == {"plot_a_b.png", "plot_.._c.png"}
    Path("plots.csv").write_text("name,x,y\na,500015,3399985\na,500075,3399885\n")
    twice = run("series", "ndvi", "--points", "plots.csv", "-o", "two_{name}.png")
    assert "two points are called 'a'" in twice.stderr
    assert not list(Path().glob("two*"))
    many = run("series", "ndvi", *["--pixel", "0,0"] * 13, "-o", "many.png")
    assert many.exit_code == 1
    assert "13 pixels do not fit into one picture (at most 12): -o 'many_{name}.png' makes one for each" in many.stderr


def test_covariates_and_recipes() -> None:
    result = run("series", "ndvi", "--pixel", "3,2", "--method", "correlation", "--with", "rain=rain", "--json")
    (pixel,) = json.loads(result.stdout)["pixels"]
    map_ = pw.apply(pw.open_stack("ndvi"), "correlation", inputs={"rain": pw.open_stack("rain")})
    assert np.float32(pixel["fit"]["bands"][0]["value"]) == map_[map_.names[0]][3, 2]
    assert run("plan", "ndvi", "--start", "2003", "--write-recipe", "r.toml").exit_code == 0
    short = run("series", "--recipe", "r.toml", "--pixel", "3,2", "--csv")
    assert short.stdout.splitlines()[1].split(",")[5] == "2003"


def test_points_outside() -> None:
    result = run("series", "ndvi", "--at", "10,50", "--at-crs", "EPSG:4326")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(
        "error: point (10, 50 in EPSG:4326) lies outside the rasters, which cover x -81"
    )
    assert "in EPSG:4326; that is x 500000 to 500210, y 3399820 to 3400000 in EPSG:32617" in result.stderr
    inside = run("series", "ndvi", "--at", "500100,3399900")
    assert inside.stdout.startswith("pixel row 3, column 3 ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ndvi"], "expected one of --at X,Y, --pixel ROW,COL and --points FILE.csv"),
        (["ndvi", "--pixel", "1,2", "--at", "1,2"], "expected one of --at X,Y, --pixel ROW,COL and --points FILE.csv"),
        (["ndvi", "--pixel", "1,2", "--at-crs", "EPSG:4326"], "--at-crs is for points"),
        (["ndvi", "--pixel", "1,2", "--csv", "--json"], "--csv and --json are mutually exclusive"),
        (["ndvi", "--pixel", "1,2", "--per", "decade"], "need --method"),
        (["--map", "trend.tif", "--pixel", "1,2", "-p", "min_obs=4"], "cannot be given with --map"),
        (["--pixel", "1,2"], "Missing argument 'INPUT...'"),
    ],
)
def test_wrong_usage(words: list[str], said: str) -> None:
    result = run("series", *words)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ndvi", "--at", "nan,1"], "expected two finite numbers"),
        (["ndvi", "--pixel", "-1,2"], "pixel row -1, column 2 lies outside: rows are 0 to 5, columns 0 to 6"),
        (["ndvi", "--pixel", "1,2", "--method", "olls"], "unknown method 'olls'; did you mean 'ols'?"),
        (["--map", "ndvi/ndvi_2000.tif", "--pixel", "1,2"], "not a pixelwise map"),
        (["ndvi", "--pixel", "1,2", "-o", "p.gif"], "a picture's name must end in"),
        (["ndvi", "--points", "trend.tif"], "trend.tif: "),
        (["--map", "trend.tif", "--pixel", "1,2", "--method", "ols"], "not by a function of your own"),
    ],
)
def test_bad_input(words: list[str], said: str) -> None:
    result = run("series", *words)
    assert result.exit_code == 1, result.output
    assert said in result.stderr.splitlines()[-1]


def test_functions_of_ones_own(home: Path) -> None:
    Path("mine.py").write_text("def spread(values, q: float = 1.0):\n    return q * (values.max() - values.min())\n")
    result: Any = run("series", "ndvi", "--pixel", "3,2", "--method", "mine.py:spread", "-p", "q=2", "--json")
    (pixel,) = json.loads(result.stdout)["pixels"]
    assert pixel["fit"]["bands"][0]["value"] == 2 * float(np.nanmax(VALUES[:, 3, 2]) - np.nanmin(VALUES[:, 3, 2]))
    assert pixel["observations"][0]["fitted"] is None


def test_a_p_value_that_contradicts_the_limits_is_noted(tmp_path: Path) -> None:
    """Of the first pixel p < 0.05 and the limits include 0, of the second the reverse, of the third they agree."""
    random = np.random.default_rng(0)
    values = random.normal(0, 1, (20, 3000)) + 0.07 * np.arange(20)[:, None]
    for layer, year in zip(values[:, [16, 45, 0]], range(2000, 2020), strict=True):
        write_raster(tmp_path / "lai" / f"lai_{year}.tif", np.float32(layer[None]))
    pixels = [option for column in range(3) for option in ("--pixel", f"0,{column}")]
    result = run("series", "lai", *pixels, "--method", "trend")
    assert result.exit_code == 0
    first, second = (line for line in result.stdout.splitlines() if line.startswith("  note: "))
    assert "but the limits include 0: pvalue tests the least-squares line" in first
    assert "but the limits exclude 0: pvalue tests the least-squares line" in second

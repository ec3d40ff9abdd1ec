"""The demo, on small scenes: what is in them, and what the command does."""

from __future__ import annotations

import csv
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import pixelwise as pw
from pixelwise import demo
from pixelwise.cli import main
from pixelwise.cli.demo import next_commands


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "HEIGHT", 80)
    monkeypatch.setattr(demo, "WIDTH", 90)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a scene of a tenth of the pixels."""
    folder = tmp_path_factory.mktemp("scene")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "HEIGHT", 270)
        patch.setattr(demo, "WIDTH", 271)
        demo.write_scene(folder)
    return folder


@pytest.fixture(scope="module")
def districts(scene: Path) -> dict[str, dict[str, Any]]:
    """Return what a map of the trend says of each district."""
    pw.apply(pw.open_stack(scene / "ndvi"), "trend", scene / "trend.tif")
    table = pw.zones(scene / "trend.tif", scene / "districts.geojson", bands=["slope", "n"])
    return {name: {key: table[key][i] for key in table} for i, name in enumerate(table["name"])}


def test_the_scene_is_what_it_says(small: None, tmp_path: Path) -> None:
    paths = demo.write_scene(tmp_path / "a")
    stack = pw.open_stack(tmp_path / "a" / "ndvi")
    assert str(stack) == "21 layers, 1995..2015, 90 x 80 pixels (width x height), EPSG:32617, float32, nodata -9999"
    again = [path.read_bytes() for path in demo.write_scene(tmp_path / "b")]
    assert [path.read_bytes() for path in paths] == again
    values = stack.read(stack.grid.block)
    assert 0.01 < np.isnan(values).mean() < 0.9
    assert np.nanmax(np.abs(values)) <= 1
    rain = pw.open_stack(tmp_path / "a" / "rain")
    assert rain.axis.years.tolist() == stack.axis.years.tolist()
    assert rain.grid == stack.grid
    assert not np.isnan(rain.read(rain.grid.block)).any()


def test_districts_cover_the_scene(districts: dict[str, dict[str, Any]]) -> None:
    assert set(districts) == {one.name for one in demo.DISTRICTS}
    assert sum(one["zone_km2"] for one in districts.values()) == pytest.approx(270 * 271 * 0.0009, rel=0.002)
    assert all(one["covered"] > 0.999 for one in districts.values())


@pytest.mark.parametrize(("name", "slope"), [("Sheep Valley", -0.006), ("Pine Hills", 0.005), ("Old Forest", 0)])
def test_trends_are_those_that_districts_state(districts: dict[str, dict[str, Any]], name: str, slope: float) -> None:
    assert districts[name]["slope_median"] == pytest.approx(slope, abs=0.0004)


def test_where_there_is_no_trend_few_pixels_have_one(districts: dict[str, dict[str, Any]]) -> None:
    for name in ("Old Forest", "Lakeside"):
        one = districts[name]
        found = one["significant_increase_km2"] + one["significant_decrease_km2"]
        assert 0.03 < found / one["tested_km2"] < 0.09
    valley = districts["Sheep Valley"]
    assert valley["significant_decrease_km2"] > 0.8 * valley["tested_km2"]
    assert districts["Lakeside"]["valid_km2"] < 0.85 * districts["Lakeside"]["zone_km2"]
    assert districts["Mount Grey"]["n_median"] < 10


def test_rain_explains_the_dry_plain_but_not_the_valley(scene: Path) -> None:
    rain = pw.open_stack(scene / "rain")
    fits = pw.apply(pw.open_stack(scene / "ndvi"), pw.methods.regress(covariates="rain,time"), inputs={"rain": rain})
    rows, columns = np.mgrid[0:270, 0:271]
    plain = (rows > 120) & (rows < 180) & (columns > 200)
    assert np.nanmedian(fits["time"][plain]) == pytest.approx(0, abs=0.0005)
    assert np.nanmedian(fits["rain"][plain]) == pytest.approx(0.0005, rel=0.1)
    assert np.nanmedian(fits["time"][230:, :80]) == pytest.approx(-0.006, abs=0.0005)


def test_places_show_what_they_are_called(scene: Path, districts: dict[str, Any]) -> None:
    stack = pw.open_stack(scene / "ndvi")
    with (scene / "places.csv").open() as file:
        places = {row["name"]: stack.series(float(row["x"]), float(row["y"])) for row in csv.DictReader(file)}
    assert list(places) == list(demo.PLACES)
    assert np.isnan(places["lake"].values).all()
    felled, field = places["felled block"], places["irrigated field"]
    assert np.nanmean(felled.values[:11]) - np.nanmean(felled.values[11:]) > 0.3
    assert np.nanmean(field.values[field.years >= 2008]) - np.nanmean(field.values[field.years < 2008]) > 0.3


def test_the_command(small: None, tmp_path: Path) -> None:
    folder = tmp_path / "a demo"
    result = CliRunner().invoke(main, ["demo", "--folder", str(folder)])
    assert result.exit_code == 0, result.output
    assert "the same slopes of 7200 pixels x 21 years, computed in three ways" in result.stdout
    assert "scipy.stats.linregress in a loop" in result.stdout
    assert "timed on 1440 pixels, scaled" in result.stdout
    written = sorted(path.name for path in folder.iterdir())
    assert written == ["districts.geojson", "ndvi", "ols.tif", "places.csv", "rain", "trend.png", "trend.tif"]
    assert pw.open_map(folder / "trend.tif").provenance["method"] == "trend"
    difference = float(result.stdout.split("on the sample: ")[1].split()[0])
    assert difference < 1e-6
    _, commands = result.stdout.split("\nnext\n")
    assert len(commands.splitlines()) == 3
    for command in commands.splitlines():
        program, *words = shlex.split(command)
        assert program == "pixelwise"
        again = CliRunner().invoke(main, words)
        assert again.exit_code == 0, (command, again.output)


def test_the_data_alone(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["demo", "--data-only", "--folder", "."])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["districts.geojson", "ndvi", "places.csv", "rain"]
    command = result.stdout.splitlines()[-1]
    assert CliRunner().invoke(main, shlex.split(command)[1:]).exit_code == 0


def test_what_is_next_needs_nothing_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("pixelwise.cli.demo"), "find_spec", lambda package: None)
    commands = next_commands(Path("x"))
    assert [command.split()[1] for command in commands] == ["info", "series", "verify"]
    assert not any(" -o " in command for command in commands)


def test_without_scipy_the_loop_is_left_out(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["demo", "--folder", str(tmp_path / "demo")])
    assert result.exit_code == 0, result.output
    assert "scipy is not installed: nothing was compared with scipy.stats.linregress" in result.stdout
    assert "pixelwise apply ols" in result.stdout
    assert "in a loop" not in result.stdout
    assert "nan" not in result.stdout
    assert (tmp_path / "demo" / "trend.tif").exists()


@pytest.mark.long
def test_the_loop_agrees_with_the_map(small: None, tmp_path: Path) -> None:
    demo.write_scene(tmp_path)
    result = demo.compare(tmp_path / "ndvi", tmp_path / "ols.tif", rows=5, runs=1)
    assert result.sampled == 5 * 90
    assert result.largest_difference < 1e-6
    assert min(result.pixelwise, result.loop, result.loop_processes) > 0


def test_sampled_rows_are_those_of_the_scene(small: None, tmp_path: Path) -> None:
    demo.write_scene(tmp_path)
    stack = pw.open_stack(tmp_path / "ndvi")
    series, rows = demo.sample_series(stack, 4)
    assert rows.tolist() == [0, 26, 52, 79]
    np.testing.assert_array_equal(series[:, 90:180], stack.read(pw.Block(26, 0, 1, 90))[:, 0])

"""Every command and every recipe of docs/recipes.md does what the page says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import pixelwise as pw
from pixelwise.opening.recipe import read_job, read_recipe
from support.command_line import run
from support.pages import run_sessions, samples
from support.rasters import random_series, write_raster

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


def write_scenes(years: range) -> None:
    for year in years:
        for month in (5, 7, 9):
            values = random_series((1, 10, 12), seed=12 * year + month)[0]
            write_raster(Path("scenes") / f"ndvi_{year}-{month:02}-20.tif", values)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for year in range(2001, 2010):
        write_raster(Path("ndvi") / f"ndvi_{year}.tif", random_series((1, 10, 12), seed=year)[0])
    write_scenes(range(2001, 2005))
    return tmp_path


def test_the_commands_of_the_page(home: Path) -> None:
    before, after = PAGE.read_text().split("Next year, when the new scenes are in the folder")
    (home / "one.md").write_text(before)
    (home / "two.md").write_text(after)
    assert run_sessions(home / "one.md") == 5
    [written, _] = samples(home / "one.md", "toml")
    assert (home / "job.toml").read_text() == written
    write_scenes(range(2005, 2006))
    write_raster(Path("ndvi") / "ndvi_2010.tif", random_series((1, 10, 12), seed=2010)[0])
    assert run_sessions(home / "two.md") == 7


def test_the_recipe_of_the_page(home: Path) -> None:
    [_, text] = samples(PAGE, "toml")
    (home / "peak.toml").write_text(text)
    write_scenes(range(2005, 2013))
    result = run("run", "peak.toml", "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stdout == "peak_trend.tif\npeak_fitted.tif\n"
    provenance = pw.open_map("peak_trend.tif").provenance
    assert provenance["input"]["composite"]["periods"] == [str(year) for year in range(2001, 2013)]
    assert provenance["per"] == "decade"
    result = run("series", "--recipe", "peak.toml", "--pixel", "3,4")
    assert result.exit_code == 0, result.output


def test_a_moved_folder_still_runs(home: Path) -> None:
    [_, text] = samples(PAGE, "toml")
    (home / "peak.toml").write_text(text)
    write_scenes(range(2005, 2013))
    target = home / "elsewhere"
    target.mkdir()
    shutil.move("scenes", target)
    shutil.move("peak.toml", target)
    assert read_recipe("elsewhere/peak.toml").source == ("elsewhere/scenes/*.tif",)
    assert read_job("elsewhere/peak.toml").output == "elsewhere/peak_trend.tif"
    assert run("run", "elsewhere/peak.toml", "--quiet").exit_code == 0

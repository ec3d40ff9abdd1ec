"""Recipes: what plan keeps, every command takes, wherever it is run."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pixelwise as pw
from pixelwise import InputError, OutputError
from pixelwise.dates.completeness import Completeness
from pixelwise.opening.recipe import read_recipe, write_recipe
from pixelwise.stacks.spec import InputSpec
from support.command_line import run
from support.rasters import random_series, write_raster

#: One value of each option that is not its default; paths are relative.
EVERYTHING: dict[str, Any] = {
    "band": "red", "variable": "v", "group": "day", "select": ("depth=0", "level=1"),
    "times": "dates.csv", "period": "middle", "same_date": "mosaic", "extent": (1.0, 2.0, 3.5, 4.0),
    "align": "like.tif", "resampling": "bilinear", "crs": "EPSG:32617",
    "product": "own.toml", "value": None, "mask": "masks/*.tif",
    "mask_band": None, "mask_keep": None, "mask_drop": (1.0,), "mask_bits": (2, 3), "mask_field": ("8-9=2,3",),
    "mask_preset": None, "grow": 2, "region": "area.gpkg", "where": "cover.tif=1,2", "nodata": (-9999.0, 0.0),
    "scale": 0.5, "offset": -1.0, "valid_range": (-1.0, 1.0), "gains": "tables/gains.csv", "gains_flagged": "keep",
    "start": "1990", "end": "2020-06", "months": (6, 7),
    "bounds": (1.0, 2.0, 3.0, 4.0), "composite": "p90", "every": "month", "season": "05-01..09-30", "min_count": 3,
    "equal_count": 4, "composite_parameters": ("q=0.5", "w=a=b"), "on_read_error": "missing", "asset": "red",
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_option_comes_back(home: Path) -> None:
    # A recipe allows nothing.
    known = {field.name for field in fields(InputSpec)} - {"allow_scheme"}
    assert set(EVERYTHING) == known, "a new option needs a row here"
    (home / "dates.csv").touch()
    spec = InputSpec(**EVERYTHING)
    write_recipe("job.toml", ["ndvi/*.tif", "@more.txt"], spec)
    assert read_recipe("job.toml") == (("ndvi/*.tif", "@more.txt"), spec, {}, Completeness())
    other = InputSpec(value="nir / red", mask_band=2, mask_keep=(1.0,), extent="union", times="%Y-%j")
    write_recipe("other.toml", [], other)
    assert read_recipe("other.toml") == ((), other, {}, Completeness())
    needs = Completeness(0.5, 0.25)
    write_recipe("needs.toml", [], InputSpec(), needs=needs)
    assert read_recipe("needs.toml") == ((), InputSpec(), {}, needs)
    for changed in (
        {"mask": "none", "product": "hls", "band": "red"},
        {"extent": "like.tif", "composite": "a.py:f"},
        {"align": "EPSG:32633,10"},
        {"align": "EPSG:32633,10"},
    ):
        spec = InputSpec(**changed)
        write_recipe("third.toml", [], spec)
        assert read_recipe("third.toml")[1] == spec
        Path("third.toml").unlink()


def test_a_recipe_names_urls_but_cannot_allow_them(home: Path) -> None:
    spec = InputSpec(mask="https://a.org/m.csv", mask_keep=1, align="s3://b/like.tif", allow_scheme="https,s3")
    write_recipe("job.toml", ["https://a.org/x.tif", "@https://a.org/list.txt"], spec)
    assert "allow" not in (home / "job.toml").read_text()
    source, read, *_ = read_recipe("job.toml")
    assert source == ("https://a.org/x.tif", "@https://a.org/list.txt")
    assert (read.mask, read.align, read.allow_scheme) == ("https://a.org/m.csv", "s3://b/like.tif", ())
    (home / "job.toml").write_text('input = ["https://a.org/x.tif"]\nallow_scheme = ["https"]\n')
    with pytest.raises(InputError, match=r"job\.toml: a recipe cannot allow files of servers.*give --allow-scheme"):
        read_recipe("job.toml")


def test_paths_are_relative_to_the_recipe(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "dates.csv").touch()
    (home / "jobs").mkdir()
    spec = InputSpec(**{**EVERYTHING, "extent": str(home / "like.tif")})
    write_recipe("jobs/job.toml", ["ndvi/*.tif", "@more.txt", str(home / "far.tif")], spec)
    table = tomllib.loads((home / "jobs" / "job.toml").read_text())
    assert table["input"] == ["../ndvi/*.tif", "@../more.txt", str(home / "far.tif")]
    assert (table["align"], table["where"], table["mask"]) == ("../like.tif", "../cover.tif=1,2", "../masks/*.tif")
    assert table["extent"] == str(home / "like.tif")
    assert table["gains"] == "../tables/gains.csv"
    monkeypatch.chdir(home / "jobs")
    source, read, *_ = read_recipe("job.toml")
    assert source[0] == "../ndvi/*.tif"
    assert (read.align, read.times, read.region) == ("../like.tif", "../dates.csv", "../area.gpkg")
    assert read.gains == "../tables/gains.csv"


def test_the_name_of_a_preset_is_no_path(home: Path) -> None:
    (home / "jobs").mkdir()
    write_recipe("jobs/job.toml", ["ndvi"], InputSpec(gains="roy2016"))
    assert 'gains = "roy2016"' in (home / "jobs" / "job.toml").read_text()
    assert read_recipe("jobs/job.toml").spec.gains == "roy2016"


def test_a_job_by_its_recipe(home: Path, make_stack: Any) -> None:
    dates = [f"{year}-{month:02}-15" for year in range(2001, 2006) for month in (1, 5, 8)]
    make_stack(random_series((len(dates), 20, 30), seed=1), dates, folder="scenes")
    write_raster(home / "cover.tif", (np.arange(600).reshape(20, 30) % 3).astype(np.uint8))
    options = ("--composite", "median", "--months", "5,8", "--where", "cover.tif=1,2", "--valid-range", "-0.5,0.9")
    result = run("plan", "scenes/*.tif", *options, "--write-recipe", "job.toml")
    assert result.exit_code == 0, result.output
    assert "recipe    job.toml" in result.stderr
    by_options = run("apply", "ols", "scenes/*.tif", *options, "-o", "a.tif", "--quiet")
    by_recipe = run("apply", "ols", "--recipe", "job.toml", "-o", "b.tif", "--quiet")
    assert by_options.exit_code == by_recipe.exit_code == 0, by_options.output + by_recipe.output
    one, other = pw.open_map("a.tif"), pw.open_map("b.tif")
    for name in one.names:
        np.testing.assert_array_equal(one[name], other[name])
    assert one.provenance["input"]["spec"] == other.provenance["input"]["spec"]
    # What is given besides wins; the rest of the recipe stays.
    result = run("composite", "--recipe", "job.toml", "--composite", "max", "-o", "max.tif", "--quiet")
    assert result.exit_code == 0, result.output
    assert "max of:" in result.stderr
    assert run("composite", "--recipe", "job.toml", "-o", "own.tif", "--quiet").stderr.count("median of:") == 1
    assert run("plan", "--recipe", "job.toml").exit_code == 0
    again = run("plan", "scenes/*.tif", *options, "--write-recipe", "job.toml")
    assert again.exit_code == 1
    assert "job.toml: exists; choose another name, or remove it" in again.output


def test_mistakes(home: Path) -> None:
    for text, words in (
        ("input = 3", "job.toml: input 3 is wrong; expected paths in brackets"),
        ("nodatta = 3", "job.toml: unknown field 'nodatta'; did you mean 'nodata'"),
        ("grow = -1", "job.toml: grow -1 is out of range"),
        ("grow = [1]", "job.toml: grow [1] is wrong; expected one value, not several in brackets"),
        ("nodata = ", "job.toml: not a TOML file ("),
    ):
        Path("job.toml").write_text(text)
        with pytest.raises(InputError) as refused:
            read_recipe("job.toml")
        assert words in str(refused.value)
    with pytest.raises(InputError, match=r"none\.toml: No such file"):
        read_recipe("none.toml")
    with pytest.raises(OutputError, match="No such file"):
        write_recipe("none/job.toml", [], InputSpec())
    result = run("plan")
    assert result.exit_code == 2
    assert "Missing argument 'INPUT...': files, a folder" in result.output
    assert run("plan", "nothing/*.tif", "--write-recipe", "no.toml").exit_code == 1
    assert not Path("no.toml").exists()


@pytest.mark.parametrize(
    ("source", "further", "words"),
    [
        ([f"{'a' * 100}/{n:020}.tif" for n in range(20_000)], {}, r"name it as input: @files\.txt"),
        (["a" * 10_001], {}, r"input: a string of 10001 characters"),
        (["a.tif"], {"b" * 101: "b.tif"}, r"with: the name of a field has 101 characters"),
        (["a\udcff.tif"], {}, r"a path in it is not UTF-8"),
    ],
)
def test_no_recipe_is_written_that_no_command_reads(
    source: list[str], further: dict[str, str], words: str, home: Path
) -> None:
    with pytest.raises(OutputError, match=rf"^job\.toml: not written, as .*{words}"):
        write_recipe("job.toml", source, InputSpec(), further)
    assert not Path("job.toml").exists()

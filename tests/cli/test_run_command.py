"""`pixelwise run`: whole jobs in recipes, and their updates."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pixelwise as pw
from pixelwise import InputError, OutputError
from pixelwise.opening.recipe import find_job, read_job, read_recipe
from pixelwise.opening.recipe_job import RecipeJob
from support.command_line import run
from support.rasters import random_series, write_raster

OUTER = re.compile(r"is outside the folder of the recipe")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_years(years: range, folder: str = "ndvi") -> None:
    for year in years:
        write_raster(Path(folder) / f"ndvi_{year}.tif", random_series((1, 12, 15), seed=year)[0])


def ran(*words: Any) -> Any:
    result = run(*words, *(["--quiet"] if words[0] != "plan" else []))
    assert result.exit_code == 0, result.output
    return result


def refused(*words: Any) -> str:
    result = run(*words)
    assert result.exit_code in (1, 2), result.output
    return str(result.stderr.splitlines()[-1])


def same(one: str, other: str) -> bool:
    a, b = pw.open_map(one), pw.open_map(other)
    return a.names == b.names and all(a[name].tobytes() == b[name].tobytes() for name in a.names)


JOB = (
    "apply", "summary", "ndvi/*.tif", "-p", "min_obs=3", "--bands", "mean,median", "--dtype", "float64", "--base",
    "2001..2003", "--write", "anomalies", "maps/odd.tif", "--min-valid", "0.5", "--compress", "deflate",
)  # fmt: skip


def test_a_command_becomes_a_job(home: Path) -> None:
    write_years(range(2000, 2005))
    (home / "maps").mkdir()
    said = ran(*JOB, "-o", "maps/mean.tif", "--write-recipe", "job.toml").stderr
    assert said == "recipe    job.toml\n"
    assert not list((home / "maps").iterdir())
    table = tomllib.loads((home / "job.toml").read_text())
    assert table == {
        "input": ["ndvi/*.tif"],
        "min_valid": 0.5,
        "job": {
            "method": "summary", "output": "maps/mean.tif", "bands": ["mean", "median"], "dtype": "float64",
            "base": "2001..2003", "compress": "deflate", "parameters": {"min_obs": "3"},
            "write": {"anomalies": "maps/odd.tif"},
        },
    }  # fmt: skip
    assert ran("run", "job.toml").stdout == "maps/mean.tif\nmaps/odd.tif\n"
    shutil.copytree("maps", "kept")
    shutil.rmtree("maps")
    (home / "maps").mkdir()
    ran(*JOB, "-o", "maps/mean.tif")
    assert same("maps/mean.tif", "kept/mean.tif")
    one, other = pw.open_map("maps/mean.tif").provenance, pw.open_map("kept/mean.tif").provenance
    assert {name for name in one if one[name] != other[name]} <= {"timings"}


def test_paths_are_relative_to_the_recipe(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_years(range(2000, 2006), "jobs/ndvi")
    (home / "jobs" / "soi.csv").write_text("date,soi\n" + "".join(f"{y},{y % 3}\n" for y in range(2000, 2006)))
    words = ("apply", "regress", "jobs/ndvi", "-p", "covariates=jobs/soi.csv:soi,time", "-o", "jobs/out.tif")
    ran(*words, "--write-recipe", "jobs/job.toml")
    text = (home / "jobs" / "job.toml").read_text()
    assert 'covariates = "soi.csv:soi,time"' in text
    assert 'output = "out.tif"' in text
    assert read_job("jobs/job.toml").output == "jobs/out.tif"
    assert ran("run", "jobs/job.toml").stdout == "jobs/out.tif\n"
    monkeypatch.chdir(home / "jobs")
    assert "out.tif is up to date" in ran("run", "job.toml").stderr


def test_the_update_of_a_map(home: Path) -> None:
    write_years(range(2000, 2004))
    ran("apply", "ols", "ndvi/*.tif", "-o", "trend.tif", "--fdr", "by:0.1", "--write-recipe", "job.toml")
    assert read_job("job.toml").fdr == "by:0.1"
    ran("run", "job.toml")
    before = Path("trend.tif").stat().st_mtime_ns
    result = ran("run", "job.toml")
    assert "trend.tif is up to date: method, options and files are still the same" in result.stderr
    assert result.stdout == "trend.tif\n"
    assert Path("trend.tif").stat().st_mtime_ns == before
    write_years(range(2004, 2006))
    write_raster(home / "ndvi" / "ndvi_2001.tif", random_series((1, 12, 15), seed=1)[0])
    said = ran("run", "job.toml").stderr
    assert "2 files are new: ndvi/ndvi_2004.tif, ndvi/ndvi_2005.tif" in said
    assert "1 file has changed: ndvi/ndvi_2001.tif" in said
    assert "trend.tif is computed again: its input has changed" in said
    ran("apply", "ols", "ndvi/*.tif", "-o", "all.tif", "--fdr", "by:0.1")
    assert same("trend.tif", "all.tif")
    # Files that are not there, because a disk is not mounted, do not shorten a map.
    (home / "ndvi" / "ndvi_2000.tif").rename(home / "away.tif")
    assert "was made from 1 file that is not among the inputs: ndvi/ndvi_2000.tif" in refused("run", "job.toml")
    ran("run", "job.toml", "--overwrite")
    assert len(pw.open_map("trend.tif").provenance["input"]["files"]) == 5


def test_one_file_per_band_and_covariates(home: Path) -> None:
    write_years(range(2000, 2006))
    for year in range(2000, 2006):
        write_raster(home / "rain" / f"rain_{year}.tif", random_series((1, 12, 15), seed=9 * year)[0])
    words = ("apply", "correlation", "ndvi", "--with", "rain=rain", "-o", "c_{band}.tif", "--write-recipe", "job.toml")
    ran(*words)
    ran("run", "job.toml")
    result = ran("run", "job.toml")
    assert "c_{band}.tif is up to date" in result.stderr
    write_raster(home / "rain" / "rain_2003.tif", random_series((1, 12, 15), seed=1)[0])
    said = ran("run", "job.toml").stderr
    assert "1 file has changed: rain/rain_2003.tif" in said
    assert "c_{band}.tif is computed again: covariate rain has changed" in said


def test_a_map_of_another_job_is_never_replaced(home: Path) -> None:
    write_years(range(2000, 2004))
    write_raster(home / "cover.tif", (np.arange(180).reshape(12, 15) % 3).astype(np.uint8))
    ran("apply", "ols", "ndvi", "-o", "trend.tif", "--bands", "slope")
    content = (home / "trend.tif").read_bytes()
    for name, options, words in (
        ("a", ("trend",), "was made with method 'ols', now with method 'trend'"),
        ("b", ("ols",), "was made with bands ['slope', 'status'], now with bands ["),
        ("c", ("ols", "--bands", "slope", "--per", "decade"), "was made with per 'year', now with per 'decade'"),
        (
            "d",
            ("ols", "--bands", "slope", "--dtype", "float64"),
            "was made with dtype 'float32', now with dtype 'float64'",
        ),
        (
            "e",
            ("ols", "--bands", "slope", "-p", "min_obs=4"),
            "was made with parameter min_obs 3, now with parameter min_obs 4",
        ),
        ("f", ("ols", "--bands", "slope", "--min-valid", "0.5"), "was made with min_valid 0.0, now with min_valid 0.5"),
        ("g", ("ols", "--bands", "slope", "--nodata", "0"), "was made without --nodata, now with --nodata [0.0]"),
        ("h", ("ols", "--bands", "slope", "--where", "cover.tif=1"), "was made without --where, now with --where"),
        (
            "i",
            ("ols", "--bands", "slope", "--write", "fitted", "f.tif"),
            "was made without write, now with write {'fitted'",
        ),
        ("j", ("ols", "--bands", "slope", "--fdr", "0.1"), "was made without fdr, now with fdr 'bh:0.1'"),
    ):
        ran("apply", *options[:1], "ndvi", *options[1:], "-o", "trend.tif", "--write-recipe", f"{name}.toml")
        said = refused("run", f"{name}.toml")
        assert words in said, said
        assert "--overwrite" in said
    assert (home / "trend.tif").read_bytes() == content
    write_raster(home / "other.tif", np.zeros((12, 15), "float32"))
    assert "is not a pixelwise map" in refused("run", "a.toml", "-o", "other.tif")
    assert ran("run", "a.toml", "-o", "new.tif").stdout == "new.tif\n"


def test_a_stack_beside_the_map(home: Path) -> None:
    write_years(range(2000, 2004))
    ran("apply", "ols", "ndvi", "-o", "t.tif", "--write", "fitted", "f.tif", "--write-recipe", "job.toml")
    ran("run", "job.toml")
    (home / "f.tif").unlink()
    assert "t.tif is computed again: f.tif is missing" in ran("run", "job.toml").stderr
    shutil.copy(home / "t.tif", home / "f.tif")
    assert "f.tif: is not the fitted of t.tif" in refused("run", "job.toml")
    # That of another map, of other files.
    write_years(range(2000, 2005), "other")
    ran("apply", "ols", "other", "-o", "o.tif", "--write", "fitted", "f.tif", "--overwrite")
    content = (home / "f.tif").read_bytes()
    assert "f.tif: is not the fitted of t.tif" in refused("run", "job.toml")
    assert (home / "f.tif").read_bytes() == content


def test_a_file_per_band_that_is_missing(home: Path) -> None:
    """Names with characters of globs, and other files whose names are alike."""
    write_years(range(2000, 2004))
    write_raster(home / "b[1]_a.tif", np.zeros((12, 15), "float32"))
    ran("apply", "ols", "ndvi", "--bands", "slope,n", "-o", "b[1]_{band}.tif", "--write-recipe", "job.toml")
    ran("run", "job.toml")
    assert "is up to date" in ran("run", "job.toml").stderr
    (home / "b[1]_slope.tif").unlink()
    assert "b[1]_slope.tif is missing" in ran("run", "job.toml").stderr
    assert "is up to date" in ran("run", "job.toml").stderr


def test_versions_make_a_map_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_years(range(2000, 2004))
    ran("apply", "ols", "ndvi", "-o", "t.tif", "--write-recipe", "job.toml")
    with monkeypatch.context() as patch:
        patch.setattr("pixelwise.jobs.provenance.versions", lambda: {"gdal": "3.8.0"})
        ran("run", "job.toml")
    assert "t.tif is computed again: made with pixelwise None" in ran("run", "job.toml").stderr


def test_composites_are_appended(home: Path) -> None:
    for year in range(2001, 2004):
        for month in (2, 5, 8, 11):
            write_raster(
                home / "scenes" / f"ndvi_{year}-{month:02}-15.tif", random_series((1, 9, 9), seed=year + month)[0]
            )
    away = home / "away"
    away.mkdir()
    for path in (home / "scenes").glob("*2003*"):
        path.rename(away / path.name)
    ran("composite", "scenes", "--composite", "median", "-o", "annual.tif", "--write-recipe", "job.toml")
    assert read_job("job.toml") == RecipeJob(output="annual.tif")
    ran("run", "job.toml")
    for path in away.iterdir():
        path.rename(home / "scenes" / path.name)
    assert "annual.tif: 2 of 3 periods are kept, 1 computed: 2003" in ran("run", "job.toml").stderr
    assert "annual.tif is up to date" in ran("run", "job.toml").stderr
    ran("composite", "--recipe", "job.toml", "-o", "all.tif")
    assert same("annual.tif", "all.tif")
    assert "--part is for jobs with a method" in refused("run", "job.toml", "--part", "1/2")


FUNCTION = "import pixelwise as pw\n\n@pw.per_pixel(bands=['top'], jit=False)\ndef top(y, t):\n    return max(y)\n"


def test_a_function_runs_only_if_it_is_named_again(home: Path) -> None:
    write_years(range(2000, 2004))
    mark = f"open({str(home / 'ran')!r}, 'w').close()\n"
    (home / "mine.py").write_text(FUNCTION + mark)
    (home / "other.py").write_text(FUNCTION)
    said = ran("apply", "mine.py:top", "ndvi", "-o", "top.tif", "--write-recipe", "job.toml").stderr
    assert "run it with --method mine.py:top: code that a recipe names is not run" in said
    (home / "ran").unlink()
    for words in (("run", "job.toml"), ("plan", "--recipe", "job.toml")):
        said = refused(*words)
        assert "its method is the function mine.py:top; code that a recipe names is run only when you name it" in said
        assert said.endswith("--method mine.py:top")
    assert "mine.py:top, not other.py:top" in refused("run", "job.toml", "--method", "other.py:top")
    assert not (home / "ran").exists()
    named = ("--method", str(home / "mine.py:top"))
    ran("run", "job.toml", *named)
    assert (home / "ran").exists()
    assert "top.tif is up to date" in ran("run", "job.toml", *named).stderr
    (home / "mine.py").write_text(FUNCTION.replace("max(y)", "min(y)"))
    assert "is another function now" in ran("run", "job.toml", *named).stderr
    (home / "job.toml").write_text((home / "job.toml").read_text().replace("mine.py:top", "ols"))
    assert "names no function for its method" in refused("run", "job.toml", *named)


def test_a_function_for_composites_is_named_again_too(home: Path) -> None:
    (home / "job.toml").write_text('input = ["x"]\ncomposite = "mine.py:f"\n[job]\noutput = "a.tif"\n')
    assert refused("run", "job.toml").endswith("name it again: --composite mine.py:f")


@pytest.mark.parametrize("output", ["/tmp/x.tif", "../x.tif", "maps/../../x.tif", "link/x.tif", "https://a.org/x.tif"])
def test_nothing_is_written_outside_the_folder_of_a_recipe(home: Path, output: str) -> None:
    (home / "shared").mkdir()
    (home / "shared" / "link").symlink_to(home)
    for field in (f'output = "{output}"', f'output = "a.tif"\nwrite = {{ fitted = "{output}" }}'):
        (home / "shared" / "job.toml").write_text(f'input = ["*.tif"]\n[job]\nmethod = "ols"\n{field}\n')
        for words in (("run",), ("plan", "--recipe"), ("run", "-o", "b.tif")):
            assert OUTER.search(refused(*words, "shared/job.toml"))


def test_an_output_that_begins_with_at_is_a_file(home: Path) -> None:
    """Only an input may be a list; of an output, the sign is part of the name."""
    write_years(range(2000, 2004), "shared/ndvi")
    text = 'input = ["ndvi"]\n[job]\nmethod = "ols"\noutput = "@/victim/x.tif"\nwrite = { fitted = "@f.tif" }\n'
    (home / "shared" / "job.toml").write_text(text)
    job = read_job("shared/job.toml")
    assert (job.output, job.write) == ("shared/@/victim/x.tif", {"fitted": "shared/@f.tif"})
    (home / "shared" / "mine.toml").write_text(text.replace('"ols"', '"@/mine.py:f"'))
    assert read_job("shared/mine.toml").method == "shared/@/mine.py:f"


def test_no_such_job_is_written(home: Path) -> None:
    write_years(range(2000, 2004))
    said = refused("apply", "ols", "ndvi", "-o", "../trend.tif", "--write-recipe", "job.toml")
    assert "job.toml: not written, as no command could read it: job: output '../trend.tif' is outside" in said
    assert "unknown parameter" in refused(
        "apply", "ols", "ndvi", "-o", "t.tif", "-p", "x=1", "--write-recipe", "j.toml"
    )
    assert not list(home.glob("*.toml"))


def test_mistakes(home: Path) -> None:
    write_years(range(2000, 2003))
    for text, words in (
        ("", "job.toml: holds no job; add a table [job] with method and output"),
        ("job = 3", "job.toml: job 3 is wrong; expected a table of fields"),
        ("[job]\nmetod = 'ols'", "job.toml: job: unknown field 'metod'; did you mean 'method'"),
        ("[job]\nmethod = 3", "job.toml: job: method 3 is wrong; expected a name"),
        ("[job]\noutput = 'a.tif'", "job.toml: its job has no method, and the recipe no composite: add one of them"),
        ("composite = 'max'\n[job]\nper = 'decade'", "job.toml: job: per is for jobs with a method"),
        ("[job]\nmethod = 'ols'\nper = 'week'\noutput = 'a.tif'", "job.toml: job: per='week' is not one of"),
        ("[job]\nmethod = 'ols'\nparameters = { a = { b = 1 } }", "job.toml: job: parameters.a {'b': 1} is wrong"),
        ("[job]\nmethod = 'ols'\nfdr = 3\noutput = 'a.tif'", "job.toml: job: q 3.0 is impossible"),
        ("[job]\nmethod = 'ols'", "job.toml: its job names no output; name it with -o OUTPUT"),
        ("[job]\nmethod = 'nosuch'\noutput = 'a.tif'\n", "unknown method 'nosuch'"),
        ("[job]\nmethod = 'ols'\noutput = 'a.tif'\ndriver = 'PNG'", "driver='PNG' is not one of"),
    ):
        Path("job.toml").write_text(f'input = ["ndvi"]\n{text}')
        assert words in refused("run", "job.toml")
    Path("job.toml").write_text("[job]\nmethod = 'ols'\noutput = 'a.tif'")
    assert "job.toml: names no input; add input with paths in brackets" in refused("run", "job.toml")
    with pytest.raises(InputError, match="No such file"):
        find_job("none.toml")


def test_numbers_and_lists_are_parameters_as_on_the_command_line(home: Path) -> None:
    Path("job.toml").write_text(
        '[job]\nmethod = "x"\noutput = "a.tif"\nfdr = 0.1\n'
        '[job.parameters]\na = 3\nb = true\nc = ["time", "t.csv"]\nd = 0.5\n'
    )
    job = read_job("job.toml")
    assert job.parameters == {"a": "3", "b": "true", "c": "time,t.csv", "d": "0.5"}
    assert job.fdr == "0.1"


def test_plan_is_for_the_job(home: Path) -> None:
    write_years(range(2000, 2006))
    ran(
        "apply",
        "trend",
        "ndvi",
        "-o",
        "t.tif",
        "--fdr",
        "0.1",
        "--write",
        "fitted",
        "f.tif",
        "--write-recipe",
        "j.toml",
    )
    said = ran("plan", "--recipe", "j.toml").stdout
    assert "adds      qvalue and significant, from pvalue" in said
    assert "write     fitted: f.tif" in said
    assert "adds" not in ran("plan", "--recipe", "j.toml", "--method", "ols").stdout
    assert not (home / "t.tif").exists()


def test_other_commands_take_only_the_input(home: Path) -> None:
    """What a job writes is no concern of theirs."""
    write_years(range(2000, 2006))
    ran("apply", "trend", "ndvi", "-o", "t.tif", "--start", "2001", "--write-recipe", "job.toml")
    assert ran("apply", "ols", "--recipe", "job.toml", "-o", "ols.tif").stdout == "ols.tif\n"
    assert pw.open_map("ols.tif").provenance["method"] == "ols"
    result = run("series", "--recipe", "job.toml", "--pixel", "3,4")
    assert result.exit_code == 0, result.output
    assert read_recipe("job.toml").spec.start == "2001"
    write_years(range(2000, 2006), "rain")
    ran("apply", "correlation", "ndvi", "--with", "rain=job.toml", "-o", "c.tif")
    assert not (home / "t.tif").exists()


def test_a_recipe_is_not_overwritten(home: Path) -> None:
    write_years(range(2000, 2004))
    Path("job.toml").write_text("mine")
    assert "job.toml: exists" in refused("apply", "ols", "ndvi", "-o", "t.tif", "--write-recipe", "job.toml")
    assert Path("job.toml").read_text() == "mine"
    assert OutputError is pw.OutputError


def test_an_unquoted_pattern_is_said_and_new_files_are_never_silent(home: Path) -> None:
    write_years(range(2000, 2010))
    write_raster(Path("ndvi/mean.tif"), random_series((1, 12, 15), seed=1)[0])
    years = sorted(map(str, Path("ndvi").glob("ndvi_*.tif")))
    said = ran("apply", "ols", *years, "-o", "t.tif", "--write-recipe", "job.toml").stderr
    assert "10 files are listed by name, so later files will not be read; quote the pattern: 'ndvi/ndvi_*.tif'" in said
    assert "not listed" not in ran("run", "job.toml").stderr
    write_years(range(2010, 2012))
    wanted = (
        "warning: job.toml: 2 files are named like its inputs, but not listed in it: ndvi/ndvi_2010.tif, "
        "ndvi/ndvi_2011.tif"
    )
    assert wanted in (result := ran("run", "job.toml")).stderr
    assert "t.tif is up to date" in result.stderr
    assert ran("run", "job.toml", "--overwrite").stderr.count(wanted) == 1
    assert wanted in ran("plan", "--recipe", "job.toml").stderr
    Path("ndvi/mean.tif").unlink()
    said = ran("plan", *sorted(map(str, Path("ndvi").glob("*"))), "--write-recipe", "read.toml").stderr
    assert "12 files are listed by name, so later files will not be read; give the folder ndvi, or quote the" in said
    for words in (["ndvi/*.tif"], ["ndvi"], years[:4]):  # a pattern, a folder, and a choice
        said = ran("plan", *words, "--write-recipe", f"{len(words)}{words[0].count('*')}.toml").stderr
        assert "listed by name" not in said


def test_files_of_other_bands_are_not_like_the_inputs(home: Path) -> None:
    for year in range(2001, 2005):
        for band in (4, 5):
            write_raster(Path(f"s{year}") / f"LC08_190026_{year}0710_B{band}.tif", random_series((1, 4, 4), seed=1)[0])
    listed = [f"s{year}/LC08_190026_{year}0710_B4.tif" for year in range(2001, 2004)]
    ran("apply", "ols", *listed, "-o", "t.tif", "--write-recipe", "job.toml")
    assert "1 file is named like its inputs, but not listed in it: s2004/LC08_190026_20040710_B4.tif" in (
        ran("run", "job.toml").stderr
    )


def test_overwrite_replaces_a_recipe_and_nothing_else(home: Path) -> None:
    write_years(range(2000, 2004))
    for method in ("ols", "trend"):
        ran("apply", method, "ndvi", "-o", "t.tif", "--write-recipe", "job.toml", "--overwrite")
        assert read_job("job.toml").method == method
    Path("notes.toml").write_text("mine = true")
    words = ("apply", "ols", "ndvi", "-o", "t.tif", "--write-recipe", "notes.toml", "--overwrite")
    assert "notes.toml: is not a recipe, and only recipes are replaced" in refused(*words)
    assert Path("notes.toml").read_text() == "mine = true"
    assert sorted(path.name for path in home.iterdir()) == ["job.toml", "ndvi", "notes.toml"]


def test_a_plan_of_composites_is_for_them(home: Path) -> None:
    for month in (5, 7, 9):
        for year in (2001, 2002):
            values = random_series((1, 12, 15), seed=month)[0]
            write_raster(Path("scenes") / f"s_{year}-{month:02}-20.tif", values)
    season = ("--season", "05-01..09-30")
    ran("composite", "scenes", "--composite", "median", *season, "-o", "a.tif", "--write-recipe", "a.toml")
    said = ran("plan", "--recipe", "a.toml").stdout
    assert "composite median of 3 layers each" in said
    # Two layers are few for ols, for which it planned before.
    assert "2 layers" not in said.partition("warning")[2]
    assert "problem" not in said


def test_a_plan_says_in_one_line_how_a_function_fails(home: Path) -> None:
    write_years(range(2000, 2004))
    Path("mine.py").write_text("def f(y, t):\n    raise KeyError('away')\n")
    result = run("plan", "ndvi", "--method", "mine.py:f")
    assert result.exit_code == 1
    assert re.search(
        r"\n  .*failed on each of the .* tried on: KeyError: 'away' \(.*mine.py, line 2\)\n", result.stdout
    )

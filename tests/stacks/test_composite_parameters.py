"""Parameters of a function that makes composites: they count, are recorded, and belong to no other function."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pixelwise as pw
from support.command_line import run
from support.limits import set_limits
from support.rasters import random_series, read_all, write_raster
from support.stopping import Stop, stopped_after

FUNCTION = """\
import numpy as np


def quantile(values, times, q: float = 0.5):
    return np.quantile(values, q)


def widest(values, times, factor: float = 1.0):
    return (values.max() - values.min()) * factor
"""
NAMED = ("--composite", "mine.py:quantile")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: scenes/ with four scenes a year, and mine.py."""
    values = random_series((12, 40, 40), gaps=0, seed=3)
    for index, layer in enumerate(values):
        date = f"{2001 + index // 4}-{2 + 3 * (index % 4):02}-15"
        write_raster(tmp_path / "scenes" / f"a_{date}.tif", layer, tiled=True, blockxsize=16, blockysize=16)
    (tmp_path / "mine.py").write_text(FUNCTION)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_parameter_of_composite_counts(home: Path) -> None:
    assert run("composite", "scenes", *NAMED, "-p", "q=0.9", "-o", "mine.tif").exit_code == 0
    assert run("composite", "scenes", "--composite", "p90", "-o", "p90.tif").exit_code == 0
    np.testing.assert_array_equal(read_all(pw.open_stack("mine.tif")), read_all(pw.open_stack("p90.tif")))
    described = pw.open_map("mine.tif").provenance["input"]
    assert described["spec"]["composite_parameters"] == ["q=0.9"]
    assert described["composite"]["parameters"]["parameters"] == {"q": 0.9}


@pytest.mark.long
def test_the_same_words_serve_every_command(home: Path) -> None:
    given = ("--composite-parameter", "q=0.9")
    assert run("composite", "scenes", *NAMED, *given, "-o", "annual.tif").exit_code == 0
    assert run("apply", "ols", "scenes", *NAMED, *given, "-o", "trend.tif").exit_code == 0
    assert run("apply", "ols", "annual.tif", "-o", "other.tif").exit_code == 0
    np.testing.assert_allclose(pw.open_map("trend.tif")["slope"], pw.open_map("other.tif")["slope"], atol=1e-6)
    assert "\ncomposite quantile (q=0.9) of 4 layers each" in run("plan", "scenes", *NAMED, *given).stdout
    series = [
        run("series", *words, "--pixel", "3,4", "--json").stdout
        for words in (("annual.tif",), ("scenes", *NAMED, *given), ("--map", "trend.tif", *NAMED))
    ]
    first, second, third = ([one["value"] for one in json.loads(text)["pixels"][0]["observations"]] for text in series)
    assert first == pytest.approx(second)
    assert second == third
    stack = pw.open_stack("scenes")
    own = stack.composite("mine.py:quantile", parameters={"q": 0.9})
    np.testing.assert_array_equal(pw.apply(own, "ols")["slope"], pw.open_map("trend.tif")["slope"])


def test_recipes_keep_parameters_and_still_run_no_code(home: Path) -> None:
    words = ("plan", "scenes", *NAMED, "--composite-parameter", "q=0.9", "--write-recipe", "job.toml")
    assert run(*words).exit_code == 0
    assert 'composite_parameters = [\n    "q=0.9",\n]' in Path("job.toml").read_text()
    assert "code that a recipe names is run only when you name it again" in run("plan", "--recipe", "job.toml").stderr

    def given(*words: str) -> dict[str, Any]:
        report = json.loads(run("plan", "--recipe", "job.toml", *words, "--json").stdout)
        found: dict[str, Any] = report["composite"]
        return found

    assert given(*NAMED)["parameters"]["parameters"] == {"q": 0.9}
    assert given(*NAMED, "--composite-parameter", "q=0.2")["parameters"]["parameters"] == {"q": 0.2}
    # They are those of the recipe's function.
    assert given("--composite", "max")["how"] == "max"
    assert given("--composite", "mine.py:widest")["parameters"]["parameters"] == {"factor": 1.0}


def test_an_unfinished_job_of_another_parameter_is_not_resumed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_limits(monkeypatch, journal_seconds=0.0, window_bytes=4096)

    def trend(q: float, **options: Any) -> pw.Map:
        composites = pw.open_stack("scenes").composite("mine.py:quantile", parameters={"q": q})
        return pw.apply(composites, "ols", "trend.tif", executor="inline", **options)

    with pytest.raises(Stop):
        trend(0.9, progress=stopped_after(2))
    with pytest.raises(
        pw.OutputError, match=r"trend\.tif: a different unfinished job.*q=0\.9.*q=0\.1.*--restart discards it"
    ):
        trend(0.1)
    trend(0.9)
    assert pw.open_map("trend.tif").provenance["input"]["composite"]["parameters"]["parameters"] == {"q": 0.9}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((*NAMED, "-p", "r=1"), "unknown parameter of quantile 'r' (known: q)"),
        ((*NAMED, "-p", "q=x"), "parameter q='x' is not float"),
        ((*NAMED, "-p", "q"), "composite_parameters 'q' sets no parameter: expected NAME=VALUE"),
        ((*NAMED, "-p", "q=1", "-p", "q = 0"), "composite_parameters q=1, q=0 set a parameter twice"),
        (("-p", "q=1"), "composite max has no parameters: only functions have, given as file.py:function"),
    ],
)
def test_mistakes(home: Path, words: tuple[str, ...], told: str) -> None:
    result = run("composite", "scenes", *words, "-o", "out.tif")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"error: {told}"
    assert not (home / "out.tif").exists()


def test_a_function_without_composites_has_no_parameters(home: Path) -> None:
    result = run("apply", "ols", "scenes", "--composite-parameter", "q=1", "-o", "out.tif")
    assert result.stderr == "error: composite_parameters without composite: give --composite HOW\n"

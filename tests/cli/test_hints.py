"""Words in the wrong place, and names that other software uses: one line that says what to type instead."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.methods import METHODS
from pixelwise.methods.naming import NO_BREAKS, OTHER_NAMES, meant
from support.command_line import run
from support.images import IMAGE, write_shards
from support.rasters import write_raster

NAMES = [factory.__name__ for factory in METHODS]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: ndvi/ndvi_2000.tif to ndvi_2002.tif, and my.py."""
    for year in (2000, 2001, 2002):
        write_raster(tmp_path / "ndvi" / f"ndvi_{year}.tif", np.full((2, 3), year, "float32"))
    functions = "def spread(values, times):\n    return 1.0\n\n\ndef ends(values, times):\n    return 0.0\n"
    (tmp_path / "my.py").write_text(f"1 / 0  # never run\n{functions}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def line_of(*words: str, status: int) -> str:
    """Run a command that fails; return what it says is wrong, which is one line."""
    result = run(*words)
    assert (result.exit_code, result.stdout) == (status, ""), result.output
    [line] = [line for line in result.stderr.splitlines() if line.lower().startswith("error: ")]
    assert "Traceback" not in result.stderr
    return line.partition(": ")[2]


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("OLS", "'ols'"), ("Mann-Kendall", "'mann_kendall'"), ("mk", "'mann_kendall'"), ("kendall", "'mann_kendall'"),
        ("sen", "'theil_sen'"), ("theil-sen", "'theil_sen'"), ("theilsen", "'theil_sen'"), ("TheilSen", "'theil_sen'"),
        ("linregress", "'ols'"), ("linear", "'ols'"), ("regression", "'ols'"), ("smk", "'seasonal_kendall'"),
        ("hamed_rao", "mann_kendall with the parameter correction=hamed_rao"), ("olss", "'ols'"),
    ],
)  # fmt: skip
def test_methods_in_other_words(home: Path, name: str, method: str) -> None:
    line = line_of("apply", name, "ndvi", "-o", "out.tif", status=1)
    assert line.startswith(f"unknown method '{name}'; did you mean {method}? (known: trend, ols, ")
    with pytest.raises(pw.ParameterError) as error:
        pw.apply(pw.open_stack("ndvi"), name)
    assert str(error.value) == line
    assert not (home / "out.tif").exists()


def test_no_name_is_given_to_two_methods_or_to_one_that_there_is_not() -> None:
    others = [word for words in OTHER_NAMES.values() for word in (*words,)] + list(NO_BREAKS)
    assert len(others) == len(set(others))
    assert not set(others) & {name.replace("_", "") for name in NAMES}
    for method, words in OTHER_NAMES.items():
        name, _, setting = method.partition(" with the parameter ")
        assert name in NAMES
        assert all(meant(word.upper(), NAMES) == method for word in words)
        if setting:
            pw.methods.get(name)(**dict([setting.split("=")]))


def test_what_no_method_does(home: Path) -> None:
    line = line_of("apply", "bfast", "ndvi", "-o", "out.tif", status=1)
    assert line.startswith(
        "unknown method 'bfast': no method finds breaks in a series; each describes it as a whole (kno"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["spread", "ndvi"], "; a function of your own is given with its file, file.py:spread"),
        (["my:spread", "ndvi"], "a function is named by its file, my.py:spread, not by its module"),
        (["my.py", "ndvi"], "my.py: which of its functions? expected my.py:FUNCTION (spread, ends)"),
        (["none.py", "ndvi"], "none.py: which of its functions? expected none.py:FUNCTION"),
    ],
)
def test_functions_without_their_file_or_name(home: Path, words: list[str], told: str) -> None:
    assert line_of("apply", *words, "-o", "out.tif", status=1).endswith(told)


FILES = ["ndvi/ndvi_2000.tif", "ndvi/ndvi_2001.tif", "ndvi/ndvi_2002.tif"]


@pytest.mark.parametrize(
    ("words", "use"),
    [
        ([*FILES, "ols"], "pixelwise apply ols ndvi/ndvi_2000.tif ..."),
        ([*FILES, "MK"], "pixelwise apply mann_kendall ndvi/ndvi_2000.tif ..."),
        ([*FILES, "my.py:spread"], "pixelwise apply my.py:spread ndvi/ndvi_2000.tif ..."),
        (["ndvi", "ols"], "pixelwise apply ols ndvi"),
        (["ndvi/*.tif", "ols"], "pixelwise apply ols 'ndvi/*.tif'"),
        (["@list.txt", "ols"], "pixelwise apply ols @list.txt"),
        (FILES, "pixelwise apply METHOD ndvi/ndvi_2000.tif ...; pixelwise methods lists the methods"),
    ],
)
def test_files_in_the_place_of_the_method(home: Path, words: list[str], use: str) -> None:
    line = line_of("apply", *words, "-o", "out.tif", status=1)
    assert line == f"{words[0]!r} names files: METHOD comes before INPUT, as in {use}"


def test_words_that_are_missing_or_too_many(home: Path) -> None:
    assert line_of("apply", "ndvi", "-o", "out.tif", status=2) == (
        "Missing argument 'METHOD': 'ndvi' names files; METHOD comes first, as in pixelwise apply trend ndvi"
    )
    assert line_of("apply", "ols", "-o", "out.tif", status=2).startswith("Missing argument 'INPUT...'")
    nothing = "no such file or folder"
    assert line_of("apply", "ols", "trend", "ndvi", "-o", "out.tif", status=1) == (
        f"trend: {nothing}; it is a method, and a map has one: run apply once for each"
    )
    for command in ("plan", "series"):
        told = f"ols: {nothing}; it is a method: pixelwise {command} --method ols INPUT..."
        assert line_of(command, "ols", "ndvi", *(["--pixel", "1,1"] * (command == "series")), status=1) == told
    assert line_of("composite", "max", "ndvi", "-o", "out.tif", status=1) == (
        f"max: {nothing}; use pixelwise composite --composite max INPUT..."
    )
    (home / "ndvi").rename("ols")  # a folder may have the name of a method
    assert run("apply", "ols", "ols", "-o", "out.tif").exit_code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["trend"], "No such command 'trend'; trend is a method: pixelwise apply trend INPUT... -o OUTPUT"),
        (["OLS", "ndvi"], "No such command 'OLS'; ols is a method: pixelwise apply ols INPUT... -o OUTPUT"),
        (["aply", "ols"], "No such command 'aply'; did you mean 'pixelwise apply'? (pixelwise --help lists all)"),
        (["Plan"], "No such command 'Plan'; did you mean 'pixelwise plan'? (pixelwise --help lists all)"),
        (["merge"], "No such command 'merge'; did you mean 'pixelwise join'? (pixelwise --help lists all)"),
        (["help"], "No such command 'help'; did you mean 'pixelwise --help'? (pixelwise --help lists all)"),
        (["xyzzy"], "No such command 'xyzzy' (pixelwise --help lists all)"),
        (
            ["--debug", "plan", "ndvi"],
            "No such option '--debug' here: options follow the command, as in pixelwise plan --debug",
        ),
        (["-o", "a.tif", "apply"], "No such option '-o' here: options follow the command, as in pixelwise apply -o"),
    ],
)
def test_commands(words: list[str], told: str) -> None:
    assert line_of(*words, status=2) == told


def test_an_unknown_option_before_the_command() -> None:
    """In the words of click, which 8.2 had put otherwise."""
    assert re.fullmatch(r"No such option:? '?--xyzzy'?\.?", line_of("--xyzzy", "plan", status=2))


def test_arguments_of_a_call_in_the_wrong_order(home: Path) -> None:
    stack = pw.open_stack("ndvi")
    with pytest.raises(pw.ParameterError, match=r"not RasterStack: the stack comes first, apply\(stack, method\)$"):
        pw.apply("ols", stack)  # type: ignore[call-overload]
    with pytest.raises(pw.ParameterError, match=r"expected a stack, not str: open files with open_stack\("):
        pw.apply("ndvi", "ols")  # type: ignore[call-overload]
    with pytest.raises(pw.ParameterError, match=r"^'ndvi' names files, not a method: expected one of trend, ols, "):
        pw.apply(stack, "ndvi")


def test_one_hyphen_and_a_space_for_a_comma(home: Path) -> None:
    assert line_of("apply", "ols", "ndvi", "-output", "x.tif", status=2) == (
        "No such option '-output'; did you mean --output, with two hyphens?"
    )
    assert line_of("apply", "ols", "-o", "x.tif", "--bands", "slope", "pvalue", "ndvi", status=1) == (
        "pvalue: no such file or folder; if it is a band, separate bands by commas: --bands slope,pvalue"
    )


def test_a_package_that_is_missing_is_no_bug(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'affine'", name="affine")

    monkeypatch.setattr("pixelwise.opening.survey.survey", missing)
    assert line_of("plan", "ndvi", status=1).startswith(
        "the package affine cannot be imported (No module named 'affine'): the installation is incomplete or broken; "
    )


def test_a_plan_says_that_pieces_are_joined(tmp_path: Path) -> None:
    for year in (2000, 2001, 2002):
        write_shards(tmp_path / "shards", f"ndvi{year}", IMAGE)
    counts = [len(list((tmp_path / "shards").glob(f"ndvi{year}*"))) for year in (2000, 2001, 2002)]
    assert counts[0] > 1
    said = run("plan", tmp_path / "shards").stdout
    assert f"\npieces    {sum(counts)} files, {counts[0]} for each date, joined\n" in said

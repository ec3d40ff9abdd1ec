"""What kernels must not call, that their compilation is said, and that all can be compiled beforehand."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import pixelwise
from conftest import MakeStack, random_series
from pixelwise import jit, precompile
from pixelwise.cli import main
from pixelwise.method import parameters_of
from pixelwise.methods import METHODS

#: What numba makes of its quicksort; see `kernel`.
SORTING = {"sort", "argsort", "sorted", "median", "nanmedian", "percentile", "quantile", "partition", "unique"}


def test_kernels_do_not_sort_by_numba() -> None:
    """Two kernels, of two processes, that sort by it may meet in a third as one: a crash, or wrong numbers."""
    package = Path(pixelwise.__file__).parent
    files = [*package.glob("methods/_*_kernels.py"), *(package / name for name in jit.KERNEL_FILES)]
    assert len(files) > 10
    for path in files:
        for function in ast.walk(ast.parse(path.read_text())):
            decorators = getattr(function, "decorator_list", [])
            if any("kernel" in ast.unparse(decorator) for decorator in decorators):
                calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
                names = {getattr(call, "attr", getattr(call, "id", "")) for call in calls}
                assert not names & SORTING, f"{path.name}: {names & SORTING}"


# ------------------------------------------------------------------------- saying that kernels are compiled


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(jit, "_said", set())
    caplog.set_level("INFO", "pixelwise.jit")
    return caplog


def test_what_is_said_of_which_kernel(said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with jit.compiling("trend"):
        for module in ("numba.np.arraymath", "mine", None, "builtins", "pixelwise.trial", "methods.mine"):
            jit._say(module)
        assert said.messages == []
        for module in ("decode", "methods._theil_sen_kernels", "unpack", "_sort_kernels"):
            jit._say(f"pixelwise.{module}")
        with jit.compiling("trend", begins=False):
            jit._say("pixelwise.methods._trend_kernels")
    with jit.compiling("ols"):
        jit._say("pixelwise.methods._ols_kernels")
    monkeypatch.setattr(jit, "cache_folder", lambda preferred="": None)
    for _ in range(2):
        jit._say("pixelwise.methods._season_kernels")
    once = "(once on this machine)"
    assert said.messages == [
        f"compiling the reading of files {once}",
        f"compiling trend {once}",
        f"compiling ols {once}",
        "compiling kernels (no folder can be written to keep it)",
    ]
    assert jit._named == []


# ---------------------------------------------------------------------------------- compiling beforehand

#: A part of what the command compiles, as all of it takes minutes.
COMPILE = """
import sys
from pixelwise import precompile
from pixelwise.cli import main
precompile.STORED = precompile.TYPES = ("float32",)
precompile.KINDS, precompile._compose = precompile.PACKED, lambda: None
sys.argv[1:] = ["compile", "correlation"]
main()
"""

JOBS = """
import logging, sys
import pixelwise as pw
logging.basicConfig(level="INFO", stream=sys.stderr, format="%(message)s")
stack = pw.open_stack(FOLDER)
pw.apply(stack, "correlation", inputs={"again": stack}, jobs=2)
pw.apply(stack.select(start=2001), "correlation", inputs={"again": stack}, bands=["n", "pvalue"], executor="processes")
for options in ({"valid_range": (0, 0.9)}, {"nodata": (-9999, -1)}, {"nodata": (-9999, -1), "valid_range": (0, 0.9)}):
    stack = pw.open_stack(FOLDER, **options)
    pw.apply(stack, "correlation", inputs={"again": stack})
"""


def run_program(code: str, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "NUMBA_DISABLE_JIT": "0"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_compiling_is_said_and_after_it_nothing_is_compiled(tmp_path: Path, make_stack: MakeStack) -> None:
    """By jobs of other sizes, bands and executors; of one type here, as compiling takes its time."""
    told = run_program(COMPILE, tmp_path / "cache")
    once = "(once on this machine)"
    lines = [line for line in told.stderr.splitlines() if line.startswith("compiling")]
    assert lines == [f"compiling the reading of files {once}", f"compiling correlation {once}"]
    assert "nodata" not in told.stderr
    folder = tmp_path / "cache" / "pixelwise" / jit.sources_digest()
    assert told.stdout == f"{folder}\n"
    kept = {path.name for path in folder.rglob("*.nbc")}
    assert {"decode.place_lzw", "unpack._unpack_any", "unpack._scale_in_place"} <= {
        name.rpartition("-")[0] for name in kept
    }
    source = make_stack(random_series((5, 20, 30)), nodata=-9999, compress="lzw")
    told = run_program(JOBS.replace("FOLDER", repr(str(source))), tmp_path / "cache")
    assert "compiling" not in told.stderr
    assert {path.name for path in folder.rglob("*.nbc")} == kept


@pytest.mark.parametrize("factory", METHODS)
def test_every_method_can_be_compiled_beforehand(factory: Any) -> None:
    """With its usual bands and all, where it takes no further stack or one."""
    axis = precompile._months(precompile.LAYERS)
    chosen = precompile._choices(factory)
    literal = [name for name, p in parameters_of(factory).items() if precompile._listed(p.annotation)]
    for name in literal:
        # What goes with other choices only, such as `floor`, stays as it is.
        assert len({getattr(method, name) for method in chosen}) > 1 or name == "floor"
    done = 0
    for inputs in ({}, {"x": axis}, {"weights": axis}):
        with suppress(pixelwise.ParameterError):
            chosen[0].bind(axis, None, inputs)
            done += 1
    assert done


def test_an_unknown_method_cannot_be_compiled() -> None:
    result = CliRunner().invoke(main, ["compile", "tred"])
    assert (result.exit_code, "did you mean 'trend'" in result.stderr) == (1, True)


def test_without_a_folder_there_is_nothing_to_compile_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precompile, "kernel_folder", lambda: None)
    result = CliRunner().invoke(main, ["compile"])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: no folder can be written to keep machine code in: set NUMBA_CACHE_DIR")


# ---------------------------------------------------------------------------- a cache that others prepared


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as an image of a container holds it: with code, and not ours to write to."""
    folder = tmp_path / "prepared" / "pixelwise" / jit.sources_digest()
    (folder / "methods").mkdir(parents=True)
    (folder / "methods" / "fit.nbc").write_bytes(b"code")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    is_private = jit.is_private
    monkeypatch.setattr(jit, "is_private", lambda place: place != folder.parent and is_private(place))
    return folder


def test_prepared_kernels_are_taken_over(prepared: Path, tmp_path: Path) -> None:
    own = tmp_path / "home" / "pixelwise" / prepared.name
    assert jit.cache_folder.__wrapped__(str(tmp_path / "prepared")) == own
    assert (own / "methods" / "fit.nbc").read_bytes() == b"code"
    assert [path.name for path in own.parent.iterdir()] == [own.name]
    # What is there is not taken over again.
    (prepared / "methods" / "more.nbc").write_bytes(b"code")
    assert jit.cache_folder.__wrapped__(str(tmp_path / "prepared")) == own
    assert not (own / "methods" / "more.nbc").exists()


@pytest.mark.parametrize("level", [0, 1])
def test_code_that_others_can_change_is_not_taken_over(prepared: Path, tmp_path: Path, level: int) -> None:
    (prepared, prepared.parent)[level].chmod(0o777)
    own = jit.cache_folder.__wrapped__(str(tmp_path / "prepared"))
    assert own == tmp_path / "home" / "pixelwise" / prepared.name
    assert list(own.iterdir()) == []


def test_of_another_user_it_is_taken_over_from_the_administrator_alone(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jit.os, "getuid", lambda: 12345)
    monkeypatch.setattr(jit, "is_private", lambda place: place != prepared.parent and not place.mkdir(parents=True))
    own = jit.cache_folder.__wrapped__(str(tmp_path / "prepared"))
    assert (own / "methods").exists() == (prepared.stat().st_uid == 0)

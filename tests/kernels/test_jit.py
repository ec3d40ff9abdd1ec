"""What kernels must not call, that their compilation is said, and that all can be compiled beforehand."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
import pytest
from click.testing import CliRunner, Result

import pixelwise
from pixelwise import precompile
from pixelwise.cli import main
from pixelwise.kernels import jit
from pixelwise.method import parameters_of
from pixelwise.methods import METHODS
from support.compiled import compiled_only
from support.rasters import MakeStack, random_series

pytestmark = compiled_only

#: What numba makes of its quicksort; see `kernel`.
SORTING = {"sort", "argsort", "sorted", "median", "nanmedian", "percentile", "quantile", "partition", "unique"}


def test_kernels_do_not_sort_by_numba() -> None:
    """Two kernels, of two processes, that sort by it may meet in a third as one: a crash, or wrong numbers."""
    package = Path(pixelwise.__file__).parent
    files = [package / name for name in jit.kernel_sources()]
    assert len(files) > 20
    for path in files:
        for function in ast.walk(ast.parse(path.read_text())):
            decorators = getattr(function, "decorator_list", [])
            if any("kernel" in ast.unparse(decorator) for decorator in decorators):
                calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
                names = {getattr(call, "attr", getattr(call, "id", "")) for call in calls}
                assert not names & SORTING, f"{path.name}: {names & SORTING}"


# ------------------------------------------------------------------ machine code that is kept follows its sources


def kernel_modules() -> set[str]:
    """Return the modules that have compiled functions; those of a trial are not kept."""
    found = set()
    for candidate in pkgutil.walk_packages(pixelwise.__path__, "pixelwise."):
        if candidate.name not in ("pixelwise.__main__", "pixelwise.methods.functions.compiled"):
            module = importlib.import_module(candidate.name)
            for value in vars(module).values():
                if getattr(getattr(value, "py_func", None), "__module__", None) == module.__name__:
                    found.add(module.__name__)
    return found


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")
def test_all_that_is_compiled_is_in_the_digest() -> None:
    """Every kernel is in the folder, whose files take numbers from each other and from the status codes only."""
    package = Path(pixelwise.__file__).parent
    sources = {f"pixelwise.{name.removesuffix('.py').replace('/', '.')}" for name in jit.kernel_sources()}
    modules = kernel_modules()
    assert len(modules) > 20
    assert modules <= sources
    for path in package.glob("kernels/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("pixelwise"):
                names = {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
                # What keeps machine code asks these.
                assert names & (
                    sources | {"pixelwise.surroundings", "pixelwise._version", "pixelwise.regular_files"}
                ), (path.name, names)


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package's sources elsewhere, where they may be changed."""
    package = tmp_path / "pixelwise"
    shutil.copytree(Path(pixelwise.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(jit, "__file__", str(package / "kernels" / "jit.py"))
    return package


def test_a_change_of_any_source_is_another_digest(copied: Path) -> None:
    digests = {jit.sources_digest()}
    sources = jit.kernel_sources()
    for name in sources:
        (copied / name).write_bytes(sources[name] + b"\nSTRIDE = 4\n")
        digests.add(jit.sources_digest())
        (copied / name).write_bytes(sources[name])
    assert len(digests) == 1 + len(sources)
    assert jit.sources_digest() in digests
    # No kernel needs these.
    for name in ("cli/apply.py", "pictures/picture.py"):
        (copied / name).write_bytes(b"")
    assert jit.sources_digest() in digests


def test_a_renamed_source_is_another_digest(copied: Path) -> None:
    before = jit.sources_digest()
    (copied / "kernels" / "designs.py").rename(copied / "kernels" / "tables.py")
    assert "kernels/tables.py" in jit.kernel_sources()
    assert jit.sources_digest() != before


@pytest.mark.parametrize("maker", ["pixelwise._version", "numba", "llvmlite", "numpy"])
def test_another_version_of_what_compiles_is_another_digest(maker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = jit.sources_digest()
    monkeypatch.setattr(f"{maker}.__version__", "0.0.1")
    assert jit.sources_digest() != before


def test_without_sources_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "jit.py"))
    with pytest.raises(FileNotFoundError, match=r"bands\.py"):
        jit.sources_digest()
    assert jit.cache_folder.__wrapped__(str(tmp_path)) is None


# ------------------------------------------------------------------------- saying that kernels are compiled


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(jit, "_said", set())
    caplog.set_level("INFO", "pixelwise.kernels.jit")
    return caplog


def test_what_is_said_of_which_kernel(said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with jit.compiling("trend"):
        for module in (
            "numba.np.arraymath",
            "mine",
            None,
            "builtins",
            "pixelwise.methods.functions.compiled",
            "kernels.mine",
        ):
            jit._say(module)
        assert said.messages == []
        for module in ("tiff", "theil_sen", "unpack", "sorting"):
            jit._say(f"pixelwise.kernels.{module}")
        with jit.compiling("trend", begins=False):
            jit._say("pixelwise.kernels.trend")
    with jit.compiling("ols"):
        jit._say("pixelwise.kernels.ols")
    monkeypatch.setattr(jit, "cache_folder", lambda preferred="": None)
    for _ in range(2):
        jit._say("pixelwise.kernels.seasons")
    once = "(once on this machine)"
    assert said.messages == [
        f"compiling the code that reads files {once}",
        f"compiling trend {once}",
        f"compiling ols {once}",
        "compiling kernels (no writable folder to keep it in)",
    ]
    assert jit._named == []


# ---------------------------------------------------------------------------------- compiling beforehand

#: A part of what the command compiles, as all of it takes minutes.
COMPILE = """
import sys
from pixelwise import precompile
from pixelwise.cli import main
precompile.STORED = precompile.TYPES = ("float32",)
precompile.KINDS, precompile._compose, precompile._rectify = precompile.PACKED, lambda: None, lambda: None
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
    assert lines == [f"compiling the code that reads files {once}", f"compiling correlation {once}"]
    assert "nodata" not in told.stderr
    folder = tmp_path / "cache" / "pixelwise" / jit.sources_digest()
    assert told.stdout == f"{folder}\n"
    kept = {path.name for path in folder.rglob("*.nbc")}
    assert {"tiff.place_lzw", "unpack._unpack_any", "unpack._scale_in_place"} <= {
        name.rpartition("-")[0] for name in kept
    }
    source = make_stack(random_series((5, 20, 30)), nodata=-9999, compress="lzw")
    told = run_program(JOBS.replace("FOLDER", repr(str(source))), tmp_path / "cache")
    assert "compiling" not in told.stderr
    assert {path.name for path in folder.rglob("*.nbc")} == kept


def test_only_what_is_named_is_compiled() -> None:
    def labels(*names: str) -> list[str]:
        return [label for label, _ in precompile.steps(names)]

    assert labels("ols") == ["reading", "composites", "ols"]
    assert labels("rectification") == ["reading", "composites", "rectification"]
    assert labels() == ["reading", "composites", "rectification", *(factory.__name__ for factory in METHODS)]


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
    assert result.stderr.startswith("error: no writable folder to keep machine code in: set NUMBA_CACHE_DIR")


# ------------------------------------------------------------------------------ for all users of a machine

#: What a job of another user finds; all that it imports is imported before it becomes that user.
AS_NOBODY = """
import os, sys
from pixelwise.kernels import jit
digest = jit.sources_digest()
jit.sources_digest = lambda: digest
os.environ["XDG_CACHE_HOME"] = sys.argv[1]
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
folder = jit.cache_folder(sys.argv[2])
print(folder, *sorted(path.name for path in folder.rglob("*.nb?")))
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that all users can enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def compile_for_all(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | Path], Result]:
    """Run the command under a umask that hides everything, with a step that writes what numba would."""

    def call(cache: str | Path) -> Result:
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))

        def work() -> None:
            folder = precompile.folder_of_kernels() / "methods_1234"
            folder.mkdir()
            for name in ("fit.nbc", "fit.nbi"):
                (folder / name).write_bytes(b"code")

        monkeypatch.setattr(precompile, "steps", lambda names: [("all", work)])
        umask = os.umask(0o077)
        try:
            return CliRunner().invoke(main, ["compile"], catch_exceptions=False)
        finally:
            os.umask(umask)

    return call


def test_what_is_compiled_beforehand_all_users_can_read(
    open_folder: Path, compile_for_all: Callable[[str | Path], Result]
) -> None:
    cache = open_folder / "kernels"
    cache.mkdir()
    result = compile_for_all(cache)
    assert "cannot enter" not in result.stderr
    kept = [cache / "pixelwise", *(cache / "pixelwise").rglob("*")]
    modes = {path.name: path.stat().st_mode & 0o777 for path in kept}
    folders = dict.fromkeys(["pixelwise", jit.sources_digest(), "methods_1234"], 0o755)
    assert modes == {**folders, "fit.nbc": 0o644, "fit.nbi": 0o644}
    assert jit.is_private(cache / "pixelwise")
    assert jit.cache_folder.__wrapped__(str(cache)) == cache / "pixelwise" / jit.sources_digest()


def test_another_user_takes_over_what_was_compiled_beforehand(
    open_folder: Path, compile_for_all: Callable[[str | Path], Result]
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    compile_for_all(open_folder / "kernels")
    (open_folder / "kernels").chmod(0o755)
    home = open_folder / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    command = [sys.executable, "-c", AS_NOBODY, str(home), str(open_folder / "kernels")]
    # Nobody may not write what a measurement of coverage writes at the end.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stderr == ""
    assert done.stdout.split() == [str(home / "pixelwise" / jit.sources_digest()), "fit.nbc", "fit.nbi"]


def test_a_folder_above_that_others_cannot_enter_is_said_with_a_remedy(
    open_folder: Path, compile_for_all: Callable[[str | Path], Result]
) -> None:
    result = compile_for_all(open_folder / "my kernels")  # made by the command, under the umask
    (said,) = [line for line in result.stderr.splitlines() if "cannot enter" in line]
    assert said.startswith(f"other users cannot enter {open_folder / 'my kernels'}, so they cannot read the kernels: ")
    subprocess.run(said.rpartition(": ")[2], shell=True, check=True)
    assert jit.closed_to_others(open_folder / "my kernels" / "pixelwise") == []


def test_without_numba_cache_dir_kernels_stay_ones_own(
    open_folder: Path, compile_for_all: Callable[[str | Path], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = open_folder / "own" / "pixelwise" / "0123"
    own.mkdir(parents=True)
    own.parent.chmod(0o700)
    monkeypatch.setattr(precompile, "kernel_folder", lambda: own)
    for cache in ("", str(open_folder / "not ours")):
        monkeypatch.setenv("NUMBA_CACHE_DIR", cache)
        result = compile_for_all(cache)
        assert ("kernels are kept for you only" in result.stderr) == bool(cache)
        assert result.stdout == f"{own}\n"
        assert own.parent.stat().st_mode & 0o777 == 0o700
        shutil.rmtree(own / "methods_1234")


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


def loosen(path: Path) -> str:
    path.chmod(path.stat().st_mode | 0o002)
    return "other users can change"


def give_away(path: Path) -> str:
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(path, 1234, -1)
    return "belongs to another user (uid 1234)"


def replace_by_a_link(path: Path) -> str:
    elsewhere = path.rename(next(p for p in path.parents if p.name == "prepared").parent / "elsewhere")
    path.symlink_to(elsewhere)
    return "is neither a folder nor a file"


@pytest.mark.parametrize("harm", [loosen, give_away, replace_by_a_link])
@pytest.mark.parametrize("place", ["..", ".", "methods", "methods/fit.nbc", "methods/fit.nbi"])
def test_code_that_others_can_change_is_not_taken_over(
    prepared: Path, tmp_path: Path, place: str, harm: Callable[[Path], str], caplog: pytest.LogCaptureFixture
) -> None:
    """The modules and indices lie a folder deeper; what is fine beside them is not taken over either."""
    caplog.set_level("INFO", "pixelwise.kernels.jit")
    (prepared / "methods" / "fit.nbi").write_bytes(b"index")
    (prepared / "others").mkdir()
    (prepared / "others" / "sort.nbc").write_bytes(b"code")
    harmed = prepared.parent if place == ".." else prepared / place
    why = harm(harmed)
    own = jit.cache_folder.__wrapped__(str(tmp_path / "prepared"))
    assert own == tmp_path / "home" / "pixelwise" / prepared.name
    assert list(own.parent.iterdir()) == [own]
    assert list(own.iterdir()) == []
    (said,) = caplog.messages
    assert said.startswith(f"compiled kernels in {prepared} are not used: ")
    assert why in said
    assert f"{harmed} " in said


def test_where_nothing_is_prepared_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pixelwise.kernels.jit")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "file").write_bytes(b"")
    own = jit.cache_folder.__wrapped__(str(tmp_path / "file"))
    assert own == tmp_path / "home" / "pixelwise" / jit.sources_digest()
    assert caplog.messages == []


def test_of_another_user_it_is_taken_over_from_the_administrator_alone(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jit.os, "getuid", lambda: 12345)
    monkeypatch.setattr(jit, "is_private", lambda place: place != prepared.parent and not place.mkdir(parents=True))
    own = jit.cache_folder.__wrapped__(str(tmp_path / "prepared"))
    assert (own / "methods").exists() == (prepared.stat().st_uid == 0)


TURN = """
import sys
from pixelwise.kernels.jit import compiling_turn
with compiling_turn("ols"):
    print("in", flush=True)
    sys.stdin.readline()
"""


def test_others_wait_for_the_first_that_compiles_but_not_for_each_other(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", TURN]
        return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(process: subprocess.Popen[str], seconds: float) -> str:
        assert process.stdout is not None
        return process.stdout.readline() if select.select([process.stdout], [], [], seconds)[0] else ""

    first = start()
    assert says(first, 60) == "in\n"
    others = [start(), start()]
    assert not says(others[0], 4.0)
    assert not says(others[1], 0.1)
    first.communicate("\n")
    # Both are in at once.
    assert [says(other, 60) for other in others] == ["in\n", "in\n"]
    # Nobody waits once it is kept.
    another = start()
    assert says(another, 60) == "in\n"
    for other in (*others, another):
        other.communicate("\n")
        assert other.returncode == 0

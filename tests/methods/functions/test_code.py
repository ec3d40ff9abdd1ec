"""Code runs only where the caller or the command line names it: nothing that a file says is ever an order."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import pixelwise as pw
from pixelwise.errors import InputError
from pixelwise.opening.products import load_product
from pixelwise.opening.recipe import read_recipe
from support.command_line import run
from support.rasters import random_series

SOURCES = Path(pw.__file__).parent

#: All that turns a text or bytes into code, by module, and where it has them from.
RUNS = {
    # A module of the package itself, by a name that stands there.
    ("__init__.py", "import_module"),
    # A file that the caller or the command line named: METHOD, --method, --composite, method=, how=.
    ("methods/functions/loading.py", "exec"), ("methods/functions/loading.py", "compile"),
    ("methods/lookup.py", "load_function"),
    ("verify/recompute.py", "load_function"),
    # Our own text, with a function that is there already.
    ("methods/functions/compiled.py", "exec"),
    # Modules that the import statements of a function name, which somebody chose to run: for its fingerprint.
    ("methods/functions/bytecode.py", "import_module"),
    # netCDF4 or zarr: a name out of a table, to say which extra is lacking.
    ("rasters/arrays.py", "__import__"),
    # Bytes that this process's parent pickled.
    ("jobs/worker.py", "loads"),
    # The text of `jobs/probe.py`, of whose functions copies are made that travel by value.
    ("jobs/cluster.py", "exec"),
}  # fmt: skip
WORDS = {"exec", "eval", "compile", "__import__", "import_module", "load_function", "run_path", "run_module"}
PICKLES = {"pickle", "cloudpickle", "marshal", "shelve", "dill", "joblib"}
#: Where methods are made of texts, and where composites are made by what their options say.
RESOLVERS = {
    "as_method": {"methods/lookup.py", "stacks/composite.py", "verify/recompute.py"},
    "resolve_method": {
        "methods/lookup.py",
        "api.py",
        "cli/apply.py",
        "cli/plan.py",
        "cli/run.py",
        "cli/series.py",
        "precompile.py",
        "stacks/fits.py",
        "xarray.py",
    },
    "composite_of": {"opening/survey.py", "cli/plan.py"},
}


def calls() -> list[tuple[str, str, str]]:
    """Return module, name and what stands before the dot, of every call in the package."""
    found = []
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                function = node.func
                name = getattr(function, "attr", getattr(function, "id", ""))
                holder = getattr(getattr(function, "value", None), "id", "")
                found.append((path.relative_to(SOURCES).as_posix(), name, holder))
    return found


def test_all_that_runs_code_is_known() -> None:
    runs = {
        (module, name)
        for module, name, holder in calls()
        if (name in WORDS and holder in ("", "importlib", "builtins", "runpy"))
        or (name in ("loads", "load", "Unpickler") and holder in PICKLES)
    }
    assert runs == RUNS


@pytest.mark.parametrize("name", RESOLVERS)
def test_who_makes_methods_of_texts_is_known(name: str) -> None:
    assert {module for module, called, _ in calls() if called == name} <= RESOLVERS[name]


# --------------------------------------------------------------------------------------------------- recipes

EVIL = """\
from pathlib import Path

import pixelwise as pw

Path(__file__).with_name("ran").touch()


@pw.per_pixel(bands=["top"], jit=False)
def top(values):
    return values.max()
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_stack: Any) -> Path:
    """The working folder: scenes/, and jobs/ with a recipe whose composites are made by a function beside it."""
    monkeypatch.chdir(tmp_path)
    dates = [f"{year}-{month:02}-15" for year in range(2001, 2005) for month in (2, 6)]
    make_stack(random_series((len(dates), 6, 9)), dates, folder="scenes")
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "my own.py").write_text(EVIL)
    (tmp_path / "jobs" / "job.toml").write_text('input = ["../scenes"]\ncomposite = "my own.py:top"\n')
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [("plan",), ("apply", "ols", "-o", "out.tif"), ("composite", "-o", "out.tif"), ("composite", "-o", "out.tif", "@")],
)
def test_a_recipe_runs_no_code_unless_it_is_named_again(command: tuple[str, ...], home: Path) -> None:
    command = tuple("scenes" if word == "@" else word for word in command)
    result = run(*command, "--recipe", "jobs/job.toml")
    assert result.exit_code == 1
    assert result.output == (
        "error: jobs/job.toml: its composites are made by the function jobs/my own.py:top; code that a recipe names is "
        "run only when you name it again: --composite 'jobs/my own.py:top'\n"
    )
    assert not (home / "jobs" / "ran").exists()
    assert not (home / "out.tif").exists()
    # What is named instead is what runs, and nothing else.
    assert run(*command, "--recipe", "jobs/job.toml", "--composite", "max").exit_code == 0
    assert not (home / "jobs" / "ran").exists()
    (home / "out.tif").unlink(missing_ok=True)
    assert run(*command, "--recipe", "jobs/job.toml", "--composite", "jobs/my own.py:top").exit_code == 0
    assert (home / "jobs" / "ran").exists()


def test_a_recipe_of_a_further_stack_runs_none_at_all(home: Path, make_stack: Any) -> None:
    make_stack(random_series((4, 6, 9)), range(2001, 2005), folder="annual")
    (home / "both.toml").write_text('input = ["annual"]\n[with]\nrain = "jobs/job.toml"\n')
    command = ("pixelwise", "composite", "--recipe", "jobs/job.toml", "--composite", "jobs/my own.py:top")
    for words in (
        ("apply", "correlation", "annual", "--with", "rain=jobs/job.toml", "-o", "out.tif"),
        ("apply", "correlation", "--recipe", "both.toml", "-o", "out.tif"),
    ):
        result = run(*words)
        assert result.exit_code == 1
        assert "jobs/job.toml: its composites are made by the function jobs/my own.py:top" in result.output
        assert "composite --recipe jobs/job.toml --composite 'jobs/my own.py:top' -o FILE.tif writes" in result.output
        assert not (home / "jobs" / "ran").exists()
    # The remedy works when typed.
    assert run(*command[1:], "-o", "rain.tif", "--quiet").exit_code == 0
    assert run("apply", "correlation", "annual", "--with", "rain=rain.tif", "-o", "out.tif", "--quiet").exit_code == 0


def test_a_recipe_of_ones_own_says_what_to_add(home: Path) -> None:
    result = run("plan", "scenes", "--composite", "jobs/my own.py:top", "--write-recipe", "own.toml")
    assert result.exit_code == 0, result.output
    assert result.stderr.endswith(
        "recipe    own.toml\n          use it with --composite 'jobs/my own.py:top': code that a recipe names is "
        "not run\n"
    )
    assert read_recipe("own.toml").spec.composite == "jobs/my own.py:top"
    assert run("plan", "--recipe", "own.toml").exit_code == 1
    assert run("plan", "--recipe", "own.toml", "--composite", "jobs/my own.py:top").exit_code == 0
    result = run("plan", "scenes", "--composite", "max", "--write-recipe", "max.toml")
    assert "use it with" not in result.stderr
    assert run("plan", "--recipe", "max.toml").exit_code == 0


def test_other_fields_of_a_recipe_name_no_code(home: Path) -> None:
    for text, words in (
        ('method = "jobs/my own.py:top"', "unknown field 'method'"),
        ('composite = "jobs/my own:top"', "is not one of max, "),
        ('composite = "os:system"', "is not one of max, "),
        ("value = \"__import__('os').system('touch ran')\"", "this call is not allowed"),
        ('value = "b1.__class__"', "an attribute (a dot after a name) is not allowed"),
        ('where = "jobs/my own.py:top=1"', "jobs/my own.py:top"),
        ('region = "jobs/my own.py"', "my own.py"),
    ):
        Path("one.toml").write_text(f'input = ["scenes"]\n{text}\n')
        result = run("plan", "--recipe", "one.toml")
        assert result.exit_code == 1, text
        assert words in result.output
        assert not list(home.rglob("ran"))


# ------------------------------------------------------------------------------------- what TOML may hold


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nodata = " + "[" * 100_000, "not a TOML file that can be read (its brackets are nested too deeply)"),
        ("with = " + "{a = " * 100_000, "brackets are nested too deeply"),
        ("nodata = " + "[" * 12 + "]" * 12, "nodata: more than 8 nested brackets"),
        ("grow = " + "9" * 4400, "a number has too many digits"),
        (".".join("a" * 200_000) + " = 1", "a line has more than 5000 dots"),
        (f"scale = {10**30}", "scale: a whole number of 31 digits is too large; write it with an exponent, like 1e30"),
        (f"nodata = [{-(10**400)}]", "nodata: a whole number of 401 digits is too large"),
        (f"min_valid = {10**400}", "min_valid: a whole number of 401 digits is too large"),
        ("min_count = 1e30", "min_count 1e+30 is wrong; expected a whole number"),
        ("grow = 1e30", "grow 1e+30 is wrong; expected a whole number"),
        ("band = true", "band True is wrong; expected a string, a number"),
        ("composite = 5", "composite 5 is wrong; expected a string"),
        ('every = ["year"]', "every ['year'] is wrong; expected a string"),
        ("mask_field = 5", 'mask_field 5 is wrong; expected a string such as "8-9=2,3"'),
        ("[times]\na = 1", "times {'a': 1} is wrong"),
        ("band = [1]", "band [1] is wrong; expected one value"),
        (f'value = "{"a" * 20_000}"', "value: a string of 20000 characters; at most 10000 are allowed"),
        (f"{'n' * 1_000_000} = 1", "the name of a field has 1000000 characters"),
        ("\n".join(f"a{i} = 1" for i in range(2000)), "2000 fields; at most 1000 are allowed"),
        (r'times = "a\u0000b"', "times: a string with a NUL character"),
        ("#" + "x" * (3 << 20), "is too long; the limit for such a file is 2 MB"),
        (f'input = [["{"a" * 9000}"]]', "is wrong; expected paths in brackets"),
    ],
    ids=lambda text: text[:20],
)
def test_a_recipe_or_product_within_limits_ends_in_one_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_recipe(path)
    assert str(error.value).startswith(f"{path}: ")
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000
    with pytest.raises(InputError, match=r"job\.toml: ") as error:
        load_product(path)
    assert len(str(error.value)) < 1000


def test_what_people_write_is_read(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(
        "start = 1990\nend = 2001-06-30\nnodata = -9999\nscale = 1e30\nmonths = [6, 7]\nmask_bits = 3\nmask_band = 2\n"
    )
    spec = read_recipe(path).spec
    assert (spec.start, spec.end, spec.nodata, spec.months) == ("1990", "2001-06-30", (-9999.0,), (6, 7))
    assert (spec.scale, spec.mask_bits) == (1e30, (3,))
    path.write_text("input = [\n" + "".join(f'"tile.{i}/ndvi_2000.01.01.tif",\n' for i in range(10_000)) + "]\n")
    assert len(read_recipe(path).source) == 10_000


@pytest.mark.parametrize("pattern", ["(?:" * 20_000, "a{99999999999999999999}", "a" * 3000])
def test_patterns_of_a_product_are_bounded(pattern: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        f"name = 'a'\ntitle = 'a'\nversion = 1\nsource = 'a'\nsensor = 'A'\npatterns = ['{pattern[:9000]}']\n"
    )
    with pytest.raises(InputError, match=r"own\.toml: patterns"):
        load_product(path)

"""The boundary of the command line: whatever somebody types, or a file holds, ends in one line and a status."""

from __future__ import annotations

import errno
import inspect
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner, Result
from numpy.typing import NDArray

import pixelwise as pw
from pixelwise.cli import main, report
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import InputError
from pixelwise.method import parameters_of
from pixelwise.methods import METHODS
from pixelwise.opening import survey
from pixelwise.rasters.windows import read_window
from pixelwise.stacks.spec import InputSpec
from pixelwise.words import shown
from support.rasters import write_raster

#: Done; wrong data; wrong usage; something ran out. Not 70: that is a fault of pixelwise.
EXPECTED = (0, 1, 2, 75)

HINT = "this is a bug in pixelwise: please report it with what the same command prints with --debug"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working folder: s/ndvi_2000.tif to ndvi_2003.tif, a mask for each, a map of them, and a text."""
    folder = tmp_path_factory.mktemp("place")
    random = np.random.default_rng(0)
    for year in range(2000, 2004):
        write_raster(folder / "s" / f"ndvi_{year}.tif", random.normal(0.4, 0.1, (6, 7)).astype("float32"), nodata=-9)
        write_raster(folder / "m" / f"mask_{year}.tif", random.integers(0, 3, (6, 7)).astype("uint8"))
    (folder / "a.txt").write_text("no raster")
    (folder / "job.toml").write_text('input = ["s"]\n[job]\nmethod = "ols"\noutput = "o.tif"\n')
    ring = [[-81, 30.72], [-80.99, 30.72], [-80.99, 30.74], [-81, 30.72]]
    (folder / "zones.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    pw.apply(pw.open_stack(folder / "s"), "ols", folder / "map.tif")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def run(*args: str) -> Result:
    return CliRunner().invoke(main, list(args))


def assert_one_line(result: Result, what: object) -> None:
    """Check that a command ended as promised."""
    said = f"{what!a}: {result.exit_code}, {result.stderr[-600:]!a}"
    assert isinstance(result.exception, SystemExit | None), said
    assert result.exit_code in EXPECTED, said
    assert "Traceback" not in result.output, said
    errors = [line for line in result.stderr.splitlines() if line.lower().startswith("error")]
    assert len(errors) <= 1, said
    assert all(len(line) <= report.LONGEST_LINE + 20 for line in result.stderr.splitlines()), said
    if result.exit_code == 2 or (result.exit_code in (1, 75) and not result.stdout):
        assert result.stderr.splitlines()[-1].lower().startswith("error"), said


# --- every option of every command -----------------------------------------------------------------------------

DIGITS = "9" * 4400
#: What is typed, for each type of click that an option has, or of ours.
TYPED: dict[str, list[str]] = {
    "text": ["", "\u00b2", DIGITS, "x" * 20_000, "\udcff", "(" * 3000, "%", "../" * 2000, "1e400", "nan"],
    "path": ["", "x" * 300, "../" * 2000, "a.txt/x", "\udcff/x"],
    "choice": ["", DIGITS],
    "integer range": ["-1", "\u0663", "9" * 30, DIGITS, "nan", ""],
    "float": ["nan", "inf", "1e400", "1e308", "1e-320", "0", DIGITS, "\u00b2"],
    "float range": ["nan", "inf", "0", "1e-320", DIGITS],
    "numbers": ["nan", "1e400", DIGITS, "-1e12,-1e12,1e12,1e12", "-1e308,-1e308,1e308,1e308", ",", "\u00b2", "2"],
    "N|NAME": ["0", "\u00b2", "\u0663", "9" * 30, DIGITS, "-1", "*" * 300, ""],
    "names": ["", ",", "\udcff", "n,n", "x" * 20_000],
    "place": [
        "-1e12,-1e12,1e12,1e12", "-1.7e308,-1.7e308,1.7e308,1.7e308", "nan,nan,nan,nan", "inf,0,0,inf", "0,0,0,0",
        "-1e10,-1e10,1e10,1e10", "x" * 300, "../" * 2000, "\udcff", DIGITS, "",
    ],
    "name=value": ["", "=", "x=", f"min_obs={DIGITS}", "min_obs=1e30", "min_obs=-1", "x=" + "y" * 300, "\udcff=\udcff"],
}  # fmt: skip
#: What stands before the option; a command without a row fails the test.
BEFORE = {
    "plan": ["plan", "s"],
    "apply": ["apply", "ols", "s", "-o", "o.tif", "--overwrite", "--restart"],
    "join": ["join", "o.tif"],
    "composite": ["composite", "s", "-o", "c.tif", "--overwrite", "--restart"],
    "run": ["run", "job.toml", "-o", "o.tif", "--overwrite", "--restart"],
    "rectify": ["rectify", "s", "--band", "1", "-o", "g.csv", "--overwrite", "--restart"],
    "verify": ["verify", "map.tif"],
    "zones": ["zones", "map.tif", "zones.geojson", "-o", "z.csv", "--overwrite"],
    "fdr": ["fdr", "map.tif", "-q", "0.1", "-o", "o.tif", "--overwrite"],
    "plot": ["plot", "map.tif", "-o", "p.png", "--overwrite"],
    "classify": ["classify", "map.tif", "-o", "k.tif", "--overwrite"],
    "info": ["info", "map.tif"],
    "report": ["report", "map.tif", "-o", "r.html", "--overwrite"],
    "series": ["series", "s", "--pixel", "1,2"],
    "methods": ["methods"],
    "demo": ["demo", "--data-only"],
    "clean": ["clean"],
    "compile": ["compile"],
}
#: Options that mean something only beside others.
BESIDE = {
    **{name: ["--composite", "max"] for name in ("every", "season", "min_count", "equal_count")},
    "composite_parameters": ["--composite", "f.py:f"],
    **{name: ["--mask", "m/*.tif"] for name in ("mask_keep", "mask_drop", "mask_bits", "mask_field", "mask_preset")},
    "mask_band": ["--mask-keep", "1"],
    "mask": ["--mask-keep", "1"],
    "grow": ["--mask", "m/*.tif", "--mask-keep", "1"],
    "resampling": ["--align", "s/ndvi_2000.tif"],
    "offset": ["--scale", "1e38"],
}
#: Values by option where texts have a syntax.
OF_OPTION = {
    "times": ["%Y" * 300, "%Y\u00b2", "s/ndvi_2000.tif", "a.txt"],
    "mask_field": [f"8-9={DIGITS}", f"{DIGITS}=1", "0-99999999999=1", "3-2=1", "\u00b2-3=1"],
    "where": [f"s/ndvi_2000.tif={DIGITS}", "s/ndvi_2000.tif=nan", "s/ndvi_2000.tif=1e400", "a.txt/x=1", "=1"],
    "value": ["nir" + "+1" * 3000, "b\u00b2", f"b{DIGITS}", f"b1+{DIGITS}", "b1+1e400", "b1/0"],
    "season": ["02-30..13-45", "\u00b2-1..1-1", f"{DIGITS}-01..01-01"],
    "composite": ["p\u00b2", "p\u0663", f"p{DIGITS}", "a.txt:f", "~nobody/x.py:f"],
    "start": ["0000", "99999", "9999-99-99", "2000-\u00b2", DIGITS],
    "memory": ["1e30GiB", f"{DIGITS}GiB", "-5GiB", "nanGiB", "0", "\u0663GiB"],
    "method": ["~nobody/x.py:f", "x" * 300 + ".py:f", "a.txt:f", "s:f"],
    "recipe": ["s", "a.txt", "map.tif"],
    "region": ["a.txt", "map.tif:x", "s"],
    "source": ["@a.txt", "@s", "@", "a.txt", "*" * 300, "[", "@" + "x" * 300],
}
#: Names that would be written: the demo would run into them for half a minute.
NOT_RUN = {("demo", "")}


def typed(parameter: click.Parameter) -> list[str]:
    """Return the hostile values of an option or argument."""
    kind = parameter.type
    if isinstance(kind, click.Tuple):
        kind = kind.types[-1]
    name = "place" if type(kind).__name__ == "Place" else kind.name
    name = "path" if isinstance(kind, click.Path) else name
    values = TYPED[name] + OF_OPTION.get(parameter.name or "", [])
    # A long title is drawn letter by letter.
    return [value for value in values if parameter.name != "title" or len(value) < 300]


def commands() -> Iterator[tuple[str, str]]:
    """Yield every option of every command; those of the input, which several have, are tried with `plan`."""
    shared = {parameter.name for parameter in main.commands["plan"].params if isinstance(parameter, click.Option)}
    for name, command in main.commands.items():
        for parameter in command.params:
            flag = isinstance(parameter, click.Option) and parameter.is_flag
            known = (
                name in ("apply", "composite", "rectify", "series")
                and isinstance(parameter, click.Option)
                and parameter.name in shared
            )
            if not (flag or known):
                yield name, str(parameter.name)


@pytest.mark.parametrize(("command", "name"), list(commands()))
def test_no_value_of_an_option_is_more_than_one_line(place: Path, command: str, name: str) -> None:
    [parameter] = [one for one in main.commands[command].params if one.name == name]
    for value in typed(parameter):
        if (command, value) in NOT_RUN:
            continue
        before = BEFORE[command]
        if isinstance(parameter, click.Argument):
            given = [command] + [
                value if one is parameter else {"method": "ols", "map_path": "map.tif"}.get(str(one.name), "s")
                for one in main.commands[command].params
                if isinstance(one, click.Argument) and (one.required or one is parameter)
            ]
            args = [*given, *before[before.index("-o") :]] if "-o" in before else given
        elif parameter.nargs == 2:
            args = [*before, parameter.opts[-1], "fitted", value]
        else:
            args = [*before, f"{parameter.opts[-1]}={value}", *BESIDE.get(name, [])]
        assert_one_line(run(*args), args)
        # A value that is right, such as a format's number, gives an output: later tests begin without it.
        for left in ("o.tif", "c.tif"):
            (place / left).unlink(missing_ok=True)


def test_every_command_is_tried() -> None:
    assert set(BEFORE) == set(main.commands)
    assert {command for command, _ in commands()} == set(BEFORE)


# --- the boundary itself ---------------------------------------------------------------------------------------


def fail_with(patch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    patch.setattr(survey, "survey", fail)


def test_a_fault_is_one_line_and_status_70(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, ValueError("two\nlines \x1b[31m"))
    result = run("plan", "s")
    assert (result.exit_code, result.stdout) == (70, "")
    assert result.stderr == f"error: ValueError: two lines \\x1b[31m; {HINT}\n"
    debugged = run("plan", "s", "--debug")
    assert debugged.exit_code == 70
    assert debugged.stderr.startswith("Traceback (most recent call last):\n")
    assert "in fail" in debugged.stderr
    assert debugged.stderr.endswith("ValueError: two\nlines \\x1b[31m\n")


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_a_fault_names_the_file(place: Path, monkeypatch: pytest.MonkeyPatch, executor: str) -> None:
    def fail(path: Path, *_: Any) -> Any:
        raise RuntimeError("boom")

    def fail_late(piece: Any, *args: Any) -> Any:
        callers = {frame.function for frame in inspect.stack(0)}
        if "read_with_retries" in callers and piece.path.name == "ndvi_2002.tif":
            return fail(piece.path)
        return read_window(piece, *args)

    monkeypatch.setattr("pixelwise.rasters.windows.read_window", fail_late)
    # Frames of tests are not ours: the innermost of ours has the piece.
    result = run("apply", "ols", "s", "-o", "fault.tif", "--executor", executor)
    assert result.exit_code == 70
    assert result.stderr.splitlines()[-1] == f"error: RuntimeError: boom, while processing s/ndvi_2002.tif; {HINT}"
    assert not (place / "fault.tif").exists()


def test_memory_that_runs_out_in_the_main_thread_is_status_75(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MemoryError) as numpys:
        np.empty(1 << 57)
    for error, words in ((numpys.value, r" (Unable to allocate 1.00 EiB "), (MemoryError(), "")):
        for command in (["plan", "s"], ["apply", "ols", "s", "-o", "o.tif"], ["composite", "s", "-o", "c.tif"]):
            with monkeypatch.context() as patch:
                patch.setattr("pixelwise.stacks.sampling.read_windows", lambda *_, error=error, **__: raising(error))
                patch.setattr("pixelwise.opening.checks.masked_share", lambda *_, error=error, **__: raising(error))
                result = run(*command, "--composite", "max")
            assert result.exit_code == 75
            assert result.stderr.splitlines()[-1].startswith(f"error: memory ran out{words}")
            assert result.stderr.splitlines()[-1].endswith("run the same command again with more memory to resume")
    with monkeypatch.context() as patch:
        patch.setattr("pixelwise.maps.map.Map.read", lambda *_: raising(MemoryError()))
        result = run("plot", "map.tif", "-o", "memory.png")
    assert result.exit_code == 75
    said = "error: memory ran out, while processing map.tif; run the same command again with more memory to resume\n"
    assert result.stderr == said


def raising(error: BaseException) -> Any:
    raise error


def test_what_the_system_refuses_is_no_bug(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, OSError(errno.EIO, os.strerror(errno.EIO), "s/x.tif"))
    result = run("plan", "s")
    assert (result.exit_code, result.stderr) == (1, f"error: s/x.tif: {os.strerror(errno.EIO)}\n")
    fail_with(monkeypatch, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    result = run("plan", "s")
    assert (result.exit_code, result.stderr) == (75, f"error: {os.strerror(errno.ENOSPC)}\n")


def test_a_current_folder_that_was_removed(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    result = run("apply", "ols", str(place / "s"), "-o", "o.tif")
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert last == "error: the current folder was removed; change to an existing one"


def test_errors_of_others_pass_the_boundary(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, click.UsageError("say \x1b[31m it\n" + "x" * 20_000))
    result = run("plan", "s")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("Error: say \\x1b[31m it\\nxxx")
    assert len(result.stderr) < 11_000
    for error, status, words in (
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (SystemExit(7), 7, ""),
        (pw.ResourceError("full"), 75, "error: full\n"),
        (pw.FunctionError("f failed\nTraceback of the user"), 1, "error: f failed\nTraceback of the user\n"),
        (pw.ParameterError("a\nb"), 1, "error: a\\nb\n"),
    ):
        fail_with(monkeypatch, error)
        result = run("plan", "s")
        assert (result.exit_code, result.stderr) == (status, words)


def test_debug_keeps_the_status(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, pw.ResourceError("full"))
    result = run("plan", "--debug", "s")
    assert result.exit_code == 75
    assert result.stderr.splitlines()[-1] == "pixelwise.errors.ResourceError: full"


# --- streams ---------------------------------------------------------------------------------------------------


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = f"{sys.executable} -m pixelwise"
    return subprocess.run(
        ["bash", "-c", command.replace("pixelwise", program)],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


posix_only = pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is absent")


@posix_only
@pytest.mark.parametrize("command", ["methods", "--help", "plan --help"])
def test_a_full_disk_behind_stdout(place: Path, command: str) -> None:
    result = shell(f"pixelwise {command} > /dev/full", place)
    assert result.returncode == 75
    assert result.stderr.splitlines()[-1] == (
        f"error: standard output: {os.strerror(errno.ENOSPC)}; free some space and run the same command again"
    )
    assert len(result.stderr.splitlines()) == 1


@posix_only
def test_nobody_reads_on(place: Path) -> None:
    # The reader is gone before the first line.
    result = shell("set -o pipefail; (sleep 2; pixelwise methods --json) | true", place)
    assert (result.returncode, result.stdout, result.stderr) == (141, "", "")


@posix_only
def test_a_log_that_is_lost_stops_no_job(place: Path) -> None:
    result = shell("pixelwise apply ols s -o lost.tif 2> /dev/full", place)
    assert (result.returncode, result.stdout) == (0, "lost.tif\n")


@posix_only
def test_closed_streams_write_into_no_map(place: Path) -> None:
    result = shell("pixelwise apply ols s -o closed.tif --overwrite >&- 2>&- <&-", place)
    assert result.returncode == 0
    shutil.copy(place / "closed.tif", place / "closed2.tif")
    with rasterio.open(place / "closed.tif") as closed, rasterio.open(place / "map.tif") as map_:
        np.testing.assert_array_equal(closed.read(), map_.read())
    assert shell("pixelwise plan nope 2>&-", place).returncode == 1


@posix_only
def test_letters_that_a_stream_does_not_have(place: Path) -> None:
    shutil.copytree(place / "s", place / "s\u00e9", dirs_exist_ok=True)
    result = shell("PYTHONIOENCODING=ascii pixelwise plan s\u00e9 --layers", place)
    assert (result.returncode, result.stderr) == (0, "")
    assert "\ns\\xe9/ndvi_2000.tif " in result.stdout


def test_names_that_are_not_utf_8(place: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff"))
    try:
        shutil.copytree(place / "s", odd)
    except OSError:
        pytest.skip("the file system wants UTF-8")
    for args in (["plan", str(odd)], ["plan", f"{odd}/*.tif", "--json"], ["apply", "ols", str(odd), "-o", "o.tif"],
                 ["verify", f"{odd}/ndvi_2000.tif"], ["plot", f"{odd}/ndvi_2000.tif", "-o", "odd.png"]):  # fmt: skip
        result = run(*args)
        assert result.exit_code == 1
        assert "its name is not UTF-8, so that GDAL cannot open it: rename the file" in result.output
        assert "Traceback" not in result.output
    assert json.loads(run("plan", str(odd), "--json").stdout)["problems"]


# --- coordinates -----------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")
TRANSFORMS = {
    "nan": (NAN, 0, 5e5, 0, -30, 34e5),
    "nan origin": (30, 0, NAN, 0, -30, 34e5),
    "inf": (INF, 0, 5e5, 0, -30, 34e5),
    "inf origin": (30, 0, INF, 0, -30, 34e5),
    "large origin": (30, 0, 1e308, 0, -30, 34e5),
    "large pixels": (1e308, 0, 5e5, 0, -1e308, 34e5),
    "small pixels": (1e-150, 0, 5e5, 0, -1e-150, 34e5),
    "no pixels": (1e-200, 0, 5e5, 0, -1e-200, 34e5),
    "a line": (30, 30, 5e5, 30, 30, 34e5),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_without_places_are_refused(place: Path, tmp_path: Path, name: str) -> None:
    transform = Affine(*TRANSFORMS[name])
    odd = write_raster(tmp_path / "stack" / "ndvi_2003.tif", np.ones((6, 7), "float32"), transform=transform)
    for year in (2000, 2001):
        shutil.copy(place / "s" / f"ndvi_{year}.tif", odd.parent)
    with pytest.raises(pw.InputError) as raised:
        pw.open_stack(odd.parent)
    [problem] = raised.value.problems
    assert problem.startswith(f"{odd}: the transform (")
    shutil.copy(place / "map.tif", tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif", "r+") as dataset:
        dataset.transform = transform
    with pytest.raises(pw.InputError, match=r"map\.tif: the transform \("):
        pw.open_map(tmp_path / "map.tif")


def test_transforms_with_places_are_not(tmp_path: Path) -> None:
    for number, numbers in enumerate(
        ((20, 10, 5e5, 10, -20, 34e5), (30, 0, 1e14, 0, -30, 34e5), (1e-6, 0, 8, 0, 1e-6, 4))
    ):
        for year in (2000, 2001):
            raster = tmp_path / str(number) / f"ndvi_{year}.tif"
            write_raster(raster, np.ones((6, 7), "float32"), transform=Affine(*numbers))
        stack = pw.open_stack(tmp_path / str(number))
        assert tuple(stack.grid.transform)[:6] == pytest.approx(numbers)


def test_an_extent_larger_than_any_raster_is_refused(place: Path) -> None:
    with pytest.raises(
        pw.InputError, match=r"^extent: 66666666667 x 66666666667 pixels \(width x height\) are more than a raster can"
    ):
        pw.open_stack("s", extent=(-1e12, -1e12, 1e12, 1e12))
    assert pw.open_stack("s", extent=(-1e9, 3e6, 1e9, 4e6)).grid.width == 66666667


@pytest.mark.parametrize(("scale", "offset"), [(NAN, 0), (INF, 0), (0.0, 0), (1e308, 0), (1.0, NAN), (1.0, INF)])
def test_scales_that_make_no_numbers_are_refused(tmp_path: Path, scale: float, offset: float) -> None:
    for year in (2000, 2001):
        raster = tmp_path / f"ndvi_{year}.tif"
        write_raster(raster, np.ones((6, 7), "int16"), scales=(scale,), offsets=(offset,))
    with pytest.raises(
        pw.InputError, match=r"ndvi_2000\.tif: band 1 declares (scale|offset) \S+, .* --(scale|offset)\n"
    ):
        pw.open_stack(tmp_path)
    stack = pw.open_stack(tmp_path, scale=2, offset=1)
    assert (stack.read(stack.grid.block) == 3).all()


# --- texts -----------------------------------------------------------------------------------------------------

TABLES = {
    "nul": ("path,date\ns/ndvi_2000.tif,\0\n", "not a text file"),
    "long cell": (f"path,date\n{'x' * 200_000},2000\n", "line 2: cannot be read as a table of dates: field larger"),
    "columns": (f"path,date{',' * 10**6}\na,b\n", "line 2: 2 columns, but 1000002 in the first line"),
    "digits": (f"path,date\ns/ndvi_2000.tif,{DIGITS}\n", "line 2: cannot read"),
    "other digits": ("path,date\ns/ndvi_2000.tif,\u00b2000\n", "line 2: cannot read"),
    "before the first year": ("path,date\na.tif,0001-01-01T00:00:00+14:00\n", "is not a date: in UTC it is outside"),
    "after the last year": ("path,date\na.tif,9999-12-31T23:59-14:00\n", "is not a date: in UTC it is outside"),
    "no UTF-8": (b"path,date\nbad\xff.tif,2000\n", "not a text file in UTF-8 (byte 0xff at position 13)"),
    "no file": ("path,date\n\"s/ndvi_2000.tif,2000\n", "line 2: 1 column, but 2 in the first line"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_refused_in_one_line(place: Path, tmp_path: Path, name: str) -> None:
    content, words = TABLES[name]
    table = tmp_path / "dates.csv"
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    for read in (lambda: pw.open_stack(table), lambda: pw.open_stack("s", times=table)):
        with pytest.raises(pw.InputError) as raised:
            read()
        [problem] = raised.value.problems
        assert problem.startswith(str(table))
        assert words in problem
        assert len(problem) < 10_000 or name == "digits"


def test_a_table_that_names_a_loop_of_links(place: Path, tmp_path: Path) -> None:
    (tmp_path / "loop.tif").symlink_to("loop.tif")
    table = tmp_path / "dates.csv"
    table.write_text(f"path,date\nloop.tif,1999\n{place}/s/ndvi_2000.tif,1990\n{place}/s/ndvi_2001.tif,1991\n")
    stack = pw.open_stack(["s/ndvi_2000.tif", "s/ndvi_2001.tif"], times=table)
    assert [layer.iso_date[:4] for layer in stack.layers] == ["1990", "1991"]
    with pytest.raises(pw.InputError, match=r"loop\.tif: "):
        pw.open_stack(table)


def polygon(ring: Any, **more: Any) -> str:
    return json.dumps({"type": "Polygon", "coordinates": [ring], **more})


GEOJSON = {
    "brackets": '{"type":"Feature","geometry":' + "[" * 100_000 + "]" * 100_000 + "}",
    "objects": '{"type":' * 100_000,
    "collections": '{"type":"GeometryCollection","geometries":[' * 2000 + "]}" * 2000,
    "nan": polygon([[NAN, 0], [1, 0], [1, 1], [NAN, 0]]),
    "inf": polygon([[INF, 0], [1, 0], [1, 1], [INF, 0]]),
    "texts": polygon([["a", "b"], ["c", "d"]]),
    "large": polygon([[1e308, 0], [-1e308, 0], [1, 1e308], [1e308, 0]]),
    "digits": f'{{"type":"Polygon","coordinates":[[[{DIGITS},0],[1,0],[1,1],[0,0]]]}}',
    "nothing": polygon(None),
    "a point": polygon([[0, 0]]),
    "one number": polygon([[0], [1], [2], [0]]),
    "features": '{"type":"FeatureCollection","features":5}',
    "feature": '{"type":"FeatureCollection","features":[{"type":"Feature","geometry":5}]}',
    "crs": polygon([[0, 0], [1, 0], [1, 1], [0, 0]], crs=5),
    "long crs": polygon([[0, 0], [1, 0], [1, 1], [0, 0]], crs={"properties": {"name": DIGITS}}),
    "crs of another kind": polygon([[0, 0], [1, 0], [1, 1], [0, 0]], crs={"properties": {"name": {"a": [1]}}}),
    "surrogate": '{"type":"\\udcff"}',
    "nul": '{"type":\0}',
    "a number": "5",
    "a piece": '{"type":"Poly',
}


@pytest.mark.parametrize("name", GEOJSON)
def test_polygons_are_refused_in_one_line(place: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("shapely")
    region = tmp_path / "region.geojson"
    region.write_text(GEOJSON[name])
    result = run("apply", "ols", "s", "-o", "r.tif", "--region", str(region))
    assert result.exit_code == 1
    [line] = [line for line in result.stderr.splitlines() if line.startswith("error")]
    assert line.startswith(f"error: region {region}: ")
    assert_one_line(result, name)


# --- values in Python ------------------------------------------------------------------------------------------

HUGE = 10**5000
NUMBERS: list[Any] = [
    NAN, INF, -INF, 1e308, 1e30, HUGE, -HUGE, 2**63, 2**31, -1, 0, np.float32("nan"), np.int64(-(2**63)), 1e-320,
    (1e308,) * 4, (NAN,) * 4, (HUGE,) * 4, (-1e12, -1e12, 1e12, 1e12), True,
]  # fmt: skip
#: Fields of `InputSpec` that are numbers.
OF_NUMBERS = (
    "band", "mask_band", "mask_keep", "mask_drop", "mask_bits", "grow", "nodata", "scale", "offset", "valid_range",
    "months", "bounds", "extent", "region", "min_count", "equal_count",
)  # fmt: skip


def accepted_or_refused(make: Callable[[], Any]) -> None:
    """Call it; of errors only those for users may pass, and they can be printed."""
    refused = ""
    try:
        make()
    except pw.PixelwiseError as error:
        refused = str(error)
    assert len(refused) < 3000


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_numbers_of_options_in_python(name: str) -> None:
    beside = {"composite": "max"} if name in ("min_count", "equal_count") else {}
    for value in NUMBERS if name not in ("extent", "region") else NUMBERS[-5:-1]:
        accepted_or_refused(lambda value=value: InputSpec(**{name: value}, **beside))


@pytest.mark.parametrize("factory", METHODS, ids=lambda factory: factory.__name__)
def test_numbers_of_methods_in_python(factory: Any) -> None:
    axis = TimeAxis.from_times(np.arange(2000, 2021))
    numeric = [
        name
        for name, parameter in parameters_of(factory).items()
        if any(kind in str(parameter.annotation) for kind in ("int", "float"))
        and "str" not in str(parameter.annotation)
    ]
    for name in numeric:
        for value in [value for value in NUMBERS if not isinstance(value, tuple)]:
            accepted_or_refused(lambda name=name, value=value: factory(**{name: value}).bind(axis, None, {}))


def test_numbers_of_jobs_in_python(place: Path) -> None:
    stack = pw.open_stack("s")
    for name in ("jobs", "memory", "min_valid", "min_span"):
        for value in [value for value in NUMBERS if not isinstance(value, tuple)]:
            accepted_or_refused(lambda name=name, value=value: pw.apply(stack, "ols", **{name: value}))
    with pytest.raises(pw.ParameterError, match=r"^jobs 1000000000 is invalid; expected a number from 1 to"):
        pw.apply(stack, "ols", jobs=10**9, executor="processes")


def test_values_are_shown_in_few_letters() -> None:
    assert shown(5) == "5"
    assert shown(HUGE) == "a number of thousands of digits"
    assert len(shown("x" * 1000)) < 200


def test_memory_of_gdal_is_no_damage(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What GDAL cannot read for want of memory must not count as missing."""

    class CPLE_OutOfMemoryError(Exception):
        pass

    class Source:
        def read(self, *_: Any, **__: Any) -> NDArray[Any]:
            raise rasterio.errors.RasterioIOError("Read failed.") from CPLE_OutOfMemoryError("cannot allocate")

    monkeypatch.setattr("pixelwise.rasters.handles._open", lambda *_, **__: Source())
    Source.close = lambda self: None  # type: ignore[attr-defined]
    stack = pw.open_stack("s", on_read_error="missing")
    with pytest.raises(MemoryError, match=r"ndvi_2000\.tif: cannot allocate"):
        stack.read(stack.grid.block)


def test_messages_that_are_not_utf_8_print_nothing_beside_the_error(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: reported.append((what.exc_type, what.object)))
    monkeypatch.setattr(sys, "excepthook", lambda kind, _, frames: reported.append((kind, frames)))
    hooks = sys.excepthook, sys.unraisablehook
    with pytest.raises(ZeroDivisionError) as raised:
        1 / 0  # noqa: B018
    frames = raised.tb

    def fail(*_: Any, **__: Any) -> Any:
        for kind, holder in (
            (UnicodeDecodeError, "rasterio._err.chaining_error_handler"),
            (UnicodeDecodeError, "another.module"),
            (ValueError, "rasterio._err.chaining_error_handler"),
        ):
            sys.unraisablehook(SimpleNamespace(exc_type=kind, object=holder))  # type: ignore[arg-type]
        error = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid")
        sys.excepthook(UnicodeDecodeError, error, None)
        sys.excepthook(UnicodeDecodeError, error, frames)
        sys.excepthook(ValueError, ValueError(), None)
        raise InputError("broken")

    monkeypatch.setattr(survey, "survey", fail)
    assert run("plan", "s").stderr == "error: broken\n"
    assert reported == [
        (UnicodeDecodeError, "another.module"),
        (ValueError, "rasterio._err.chaining_error_handler"),
        (UnicodeDecodeError, frames),
        (ValueError, None),
    ]
    assert (sys.excepthook, sys.unraisablehook) == hooks


def test_what_gdal_reads_late_is_an_error_of_the_file(place: Path) -> None:
    shutil.copytree(place / "s", place / "late")
    data = bytearray((place / "late" / "ndvi_2001.tif").read_bytes())
    # The first entry's tag becomes 274, which says which way is up; a ninth way there is not.
    (directory,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, directory)
    kept = [data[directory + 2 + 12 * index :][:12] for index in range(entries)]
    (place / "late" / "ndvi_2001.tif").write_bytes(
        bytes(data)
        + struct.pack("<H", entries + 1)
        + b"".join(
            sorted(
                [*map(bytes, kept), struct.pack("<HHIHH", 274, 3, 1, 9, 0)], key=lambda e: struct.unpack_from("<H", e)
            )
        )
        + bytes(4)
    )
    with (place / "late" / "ndvi_2001.tif").open("r+b") as file:
        file.seek(4)
        file.write(struct.pack("<I", len(data)))
    result = run("plan", "late")
    assert result.exit_code == 1
    assert "late/ndvi_2001.tif: its header cannot be read (" in result.output

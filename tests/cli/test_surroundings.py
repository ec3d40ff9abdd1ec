"""Nothing of the current folder is run or obeyed: commands are given in folders that somebody else packed."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

import pixelwise as pw
from pixelwise.demo import loop_pool
from pixelwise.kernels import jit
from support.rasters import MakeStack, random_series

#: As the installed script: Python puts its folder, not the current one, on the path.
SCRIPT = "from pixelwise.cli import main\nmain(prog_name='pixelwise')\n"
#: Modules that an interpreter, loky, multiprocessing and this package import at their start.
NAMES = ("argparse", "click", "loky", "multiprocessing", "numpy", "psutil", "runpy", "selectors", "signal", "socket")


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A folder of modules that say so when they are run."""
    folder = tmp_path / "planted"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(
            f"open({str(tmp_path / 'RAN')!r}, 'a').write('{name} ')\nraise ImportError\n"
        )
    return folder


def run(folder: Path, *command: object) -> str:
    """Run Python in a folder and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment["NUMBA_DISABLE_JIT"] = "1"  # compiling takes seconds
    line = [sys.executable, *map(str, command)]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120)
    ran = folder.with_name("RAN")
    assert not ran.exists(), ran.read_text()
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "bin" / "pixelwise"
    path.parent.mkdir()
    path.write_text(SCRIPT)
    return path


def test_workers_import_nothing_from_the_current_folder_and_numba_reads_no_file_there(
    planted: Path, script: Path, tmp_path: Path, make_stack: MakeStack
) -> None:
    function = tmp_path / "mine.py"
    function.write_text(
        "import numba\nassert numba.config.DEVELOPER_MODE == 0\n"
        "def mode(values):\n    return float(numba.config.DEVELOPER_MODE)\n"
    )
    (planted / ".numba_config.yaml").write_text("developer_mode: 7\n")
    source = make_stack(random_series((3, 4, 5)))
    output = tmp_path / "mode.tif"
    run(planted, script, "apply", f"{function}:mode", source, "-o", output, "--executor", "processes", "--jobs", 1)
    with rasterio.open(output) as file:
        assert (file.read(1) == 0).all()


def test_numba_is_imported_by_python_callers_without_the_file(tmp_path: Path) -> None:
    code = "from pixelwise.kernels.jit import import_numba; config = import_numba().config; config.reload_config()"
    code += "; print(config.DEVELOPER_MODE)"
    (tmp_path / ".numba_config.yaml").write_text("developer_mode: 7\n")
    assert run(tmp_path, "-c", code) == "0\n"


def test_the_classic_loop_of_the_demo(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(planted)
    years = np.arange(4.0)
    with loop_pool(1) as fit:
        assert fit(years, 2 * years[:, None]) == pytest.approx(2)
    assert not planted.with_name("RAN").exists()
    assert "PYTHONSAFEPATH" not in os.environ


def test_python_m(planted: Path) -> None:
    """What Python imports before it comes to us, only its own -P keeps away."""
    (planted / "runpy.py").unlink()
    assert run(planted, "-m", "pixelwise", "--version") == f"pixelwise, version {pw.__version__}\n"


def test_a_matplotlibrc_in_the_current_folder(planted: Path, script: Path, make_stack: MakeStack) -> None:
    trend = planted.with_name("trend.tif")
    pw.apply(pw.open_stack(make_stack(random_series((4, 5, 6)))), "ols", trend)
    (planted / "matplotlibrc").write_bytes(b"\xff\xfe")
    run(planted, script, "plot", trend, "-o", "picture.png")
    assert (planted / "picture.png").read_bytes().startswith(b"\x89PNG")


OWN_SCRIPT = """
import os, sys
import pixelwise as pw
import helper

def safe(values):
    helper.count()
    return float("PYTHONSAFEPATH" in os.environ)

pw.apply(pw.open_stack(sys.argv[1]), safe, sys.argv[2], executor="processes", jobs=1)
"""


def test_a_users_own_script_keeps_its_modules(tmp_path: Path, make_stack: MakeStack) -> None:
    """Of its own folder, which is the current one here; the helper is imported by name, as it sets a variable."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "script.py").write_text(OWN_SCRIPT)
    (folder / "helper.py").write_text("n = 0\n\ndef count():\n    global n\n    n += 1\n")
    run(folder, "script.py", make_stack(random_series((3, 4, 5))), tmp_path / "safe.tif")
    with rasterio.open(tmp_path / "safe.tif") as file:
        assert (file.read(1) == 0).all()


# ----------------------------------------------------------------------------------- folders of machine code


@pytest.mark.parametrize("named", ["kernels", "./kernels", "../planted/kernels"])
def test_a_relative_folder_of_kernels_is_not_used(
    planted: Path, named: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(planted)
    monkeypatch.setenv("NUMBA_CACHE_DIR", named)
    monkeypatch.setenv("XDG_CACHE_HOME", str(planted.parent / "home"))
    jit._preferred.cache_clear()
    jit.cache_folder.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, "pixelwise"):
            folder = jit.kernel_folder()
    finally:
        jit.cache_folder.cache_clear()
    assert folder == planted.parent / "home" / "pixelwise" / jit.sources_digest()
    assert not (planted / "kernels").exists()
    assert caplog.messages == [f"NUMBA_CACHE_DIR={named} is not used for kernels: it must be an absolute path"]


def test_an_absolute_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert jit.kernel_folder() == tmp_path / "pixelwise" / jit.sources_digest()
    assert caplog.messages == []


def test_kernels_are_not_kept_in_the_current_folder_for_want_of_a_temporary_one(
    planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(tempfile, "tempdir", str(planted))
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    assert jit.cache_folder.__wrapped__("") == planted / f"pixelwise-{owner}" / jit.sources_digest()
    monkeypatch.chdir(planted)
    assert jit.cache_folder.__wrapped__("") is None

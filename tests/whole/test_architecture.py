"""That the contracts of import-linter in pyproject.toml hold what they promise: each is broken in a copy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.places import ROOT


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def contracts(copy: Path) -> tuple[int, str]:
    """Check them, with the copy before what is installed."""
    command = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(copy / "src")}
    done = subprocess.run(
        [command, "--no-cache"], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_contracts_hold(copy: Path) -> None:
    status, said = contracts(copy)
    assert status == 0, said


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        ("rasters/tiff.py", "import dask\n", "pixelwise.rasters.tiff -> dask"),
        ("methods/ols.py", "import rasterio\n", "pixelwise.methods.ols -> rasterio"),
        ("grid.py", "from pixelwise.run import apply\n", "pixelwise.grid is not allowed to import pixelwise.run"),
        ("drawer.py", '"""A module without a layer."""\n', "- pixelwise.drawer"),
    ],
)
def test_each_contract_can_be_broken(copy: Path, module: str, line: str, said: str) -> None:
    path = copy / "src" / "pixelwise" / module
    before = path.read_text() if path.exists() else None
    path.write_text((before or "") + line)
    try:
        status, found = contracts(copy)
    finally:
        path.unlink() if before is None else path.write_text(before)
    assert status == 1
    assert said in found


def test_the_page_shows_the_contract() -> None:
    """The layers as pyproject.toml has them, and a line for each folder and module of the root."""
    project, page = (ROOT.joinpath(name).read_text() for name in ("pyproject.toml", "docs/architecture.md"))
    layers = re.search(r"^layers = \[\n.*?^\]", project, flags=re.DOTALL | re.MULTILINE)
    assert layers is not None
    assert layers[0] in page
    assert len(layers[0].splitlines()) <= 14
    shown = set(re.findall(r"^ +([a-z_]+(?:\.py|/)) ", page, flags=re.MULTILINE))
    paths = [path for path in (ROOT / "src" / "pixelwise").iterdir() if path.is_dir() or path.suffix == ".py"]
    there = {path.name + "/" * path.is_dir() for path in paths}
    assert {name for name in there if not name.startswith(("_", "."))} <= shown

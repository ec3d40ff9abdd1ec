"""The site, built once for all tests of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.places import ROOT


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site: strictly, as `make docs` builds it."""
    pytest.importorskip("mkdocs")
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder

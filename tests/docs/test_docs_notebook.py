"""docs/notebook.ipynb runs from its first cell to its last, is small, and holds what it showed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from support.places import ROOT

PAGE = ROOT / "docs" / "notebook.ipynb"


@pytest.fixture
def notebook() -> Any:
    return pytest.importorskip("nbformat").read(PAGE, as_version=4)


def texts(notebook: Any) -> list[str]:
    """Return what the cells printed, in any order: output and warnings come by two ways."""
    return sorted(o["text"] for cell in notebook.cells for o in cell.get("outputs", []) if o.output_type == "stream")


def test_it_runs(notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = pytest.importorskip("nbclient").NotebookClient
    pytest.importorskip("ipykernel")
    # The kernel and its programs find the package where this process does.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    shown = texts(notebook)
    client(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert texts(notebook) == shown
    assert (tmp_path / "demo" / "trend.tif").exists()


def test_it_holds_its_outputs(notebook: Any) -> None:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = {kind for cell in code for output in cell.outputs for kind in output.get("data", {})}
    assert {"image/png", "text/html"} <= kinds
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert PAGE.stat().st_size < 400_000
    assert str(ROOT) not in PAGE.read_text()

"""Every page with commands or Python is run by a test: a new page cannot come without one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.places import ROOT

DOCS, TESTS = ROOT / "docs", ROOT / "tests" / "docs"

#: The module of tests that runs each page; it names the page.
TESTED = {
    "README.md": "test_readme.py",
    "docs/api.md": "test_docs_reference.py",
    "docs/arrays.md": "test_docs_arrays.py",
    "docs/covariates.md": "test_docs_covariates.py",
    "docs/dates.md": "test_docs_dates.py",
    "docs/methods.md": "test_docs_methods.py",
    "docs/outputs.md": "test_docs_outputs.py",
    "docs/pictures.md": "test_docs_pictures.py",
    "docs/products.md": "test_docs_reference.py",
    "docs/provenance.md": "test_docs_provenance.py",
    "docs/rectification.md": "test_docs_rectification.py",
    "docs/remote.md": "test_docs_remote.py",
    "docs/report.md": "test_docs_report.py",
    "docs/scale.md": "test_docs_scale.py",
    "docs/scenes.md": "test_docs_scenes.py",
    "docs/series.md": "test_docs_series.py",
    "docs/significance.md": "test_docs_significance.py",
    "docs/status.md": "test_docs_reference.py",
    "docs/xarray.md": "test_docs_xarray.py",
    "docs/zones.md": "test_docs_zones.py",
}


def pages() -> Iterator[Path]:
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))
    yield from sorted(DOCS.rglob("*.md"))
    yield from sorted(DOCS.rglob("*.ipynb"))


def has_code(page: Path) -> bool:
    """Whether a page shows commands or Python that a reader may copy."""
    if page.suffix == ".ipynb":
        return any(cell["cell_type"] == "code" for cell in json.loads(page.read_text("utf-8"))["cells"])
    return bool(re.search(r"^ *```(?:console|python)\b", page.read_text("utf-8"), re.MULTILINE))


def test_every_page_with_code_is_run() -> None:
    with_code = {page.relative_to(ROOT).as_posix() for page in pages() if has_code(page)}
    assert with_code - TESTED.keys() == set(), "write a test that runs it, and name it in TESTED"
    assert TESTED.keys() - with_code == set(), "has no code (any more)"


@pytest.mark.parametrize(("page", "module"), TESTED.items(), ids=TESTED)
def test_the_test_names_the_page(page: str, module: str) -> None:
    assert Path(page).name in (TESTS / module).read_text()


def test_pages_with_code_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text('Text.\n\n=== "Tab"\n\n    ```console\n    $ pixelwise demo\n    ```\n')
    (tmp_path / "b.md").write_text("```text\nno code\n```\n\n```toml\na = 1\n```\n")
    (tmp_path / "c.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "source": ["1"]}]}))
    assert [has_code(tmp_path / name) for name in ("a.md", "b.md", "c.ipynb")] == [True, False, True]

"""Every page with commands or Python is run by a test: a new page cannot come without one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.places import ROOT

DOCS, TESTS = ROOT / "docs", ROOT / "tests" / "docs"

#: The module of tests that runs a page, where it is not ``test_docs_NAME.py``.
TESTED = {
    "README.md": "test_readme.py",
    "docs/api.md": "test_docs_reference.py",
    "docs/products.md": "test_docs_reference.py",
    "docs/status.md": "test_docs_reference.py",
}
#: How modules run what a page shows.
RUNNERS = re.compile(r"run_sessions|samples\(|```console|```python|sessions\(|blocks\(|nbclient")


def pages() -> Iterator[Path]:
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))
    yield from sorted(DOCS.rglob("*.md"))
    yield from sorted(DOCS.rglob("*.ipynb"))


def has_code(page: Path) -> bool:
    """Whether a page shows commands or Python that a reader may copy."""
    if page.suffix == ".ipynb":
        return any(cell["cell_type"] == "code" for cell in json.loads(page.read_text("utf-8"))["cells"])
    return bool(re.search(r"^ *```(?:console|python)\b", page.read_text("utf-8"), re.MULTILINE))


def module_of(page: str) -> Path:
    name = Path(page).stem.replace("-", "_")
    return TESTS / TESTED.get(page, f"test_docs_{name}.py")


@pytest.mark.parametrize("page", [page.relative_to(ROOT).as_posix() for page in pages() if has_code(page)])
def test_every_page_with_code_is_run(page: str) -> None:
    module = module_of(page)
    assert module.is_file(), f"write a test that runs {page}: {module.name}"
    text = module.read_text()
    assert Path(page).name in text
    assert RUNNERS.search(text)


def test_the_exceptions_are_pages() -> None:
    assert all((ROOT / page).is_file() and module_of(page).is_file() for page in TESTED)


def test_pages_with_code_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text('Text.\n\n=== "Tab"\n\n    ```console\n    $ pixelwise demo\n    ```\n')
    (tmp_path / "b.md").write_text("```text\nno code\n```\n\n```toml\na = 1\n```\n")
    (tmp_path / "c.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "source": ["1"]}]}))
    assert [has_code(tmp_path / name) for name in ("a.md", "b.md", "c.ipynb")] == [True, False, True]

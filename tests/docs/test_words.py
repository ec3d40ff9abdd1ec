"""Words with a better form stay out of what users read, and the glossary is in order."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.places import ROOT

#: Pattern of a word or turn, and what to write instead. None of them has a legitimate use in this project.
BANNED = {
    r"lattices?\b": "grid, or: the pixels are (not) aligned",
    r"fillers?\b": "fill value",
    r"(?:deliver(?:y|ies))\b": "product, or scenes",
    r"further (?:stack|input)s?\b": "covariate",
    r"l(?:ie|ies|ying) upon\b|\bupon\b": "overlap, on",
    r"(?:goes|go|going|gone) on with\b": "resume",
    r"knows? of\b": "account for, ignore",
    r"(?:is|are) wanted\b": "expected ..., is requested",
    r"for programs\.": "print JSON",
    r"in silence\b": "silently",
    r"is told\b|\bare told\b": "is reported",
    r"mend(?:ed|s|ing)?\b": "correct, fix",
    r"foretold\b": "predicted",
    r"worked out\b": "computed",
}

PAGES = sorted(
    {*(ROOT / "docs").glob("*.md"), *(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md"))}
)
MODULES = sorted((ROOT / "src" / "pixelwise").rglob("*.py"))


def strings_of(module: Path) -> Iterator[str]:
    """Yield the sentences of a module that are no docstrings: messages, help, descriptions."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and " " in node.value
            and id(node) not in silent
        ):
            yield node.value


def public_docstrings(module: Path) -> Iterator[str]:
    """Yield docstrings of what has a public name: the site shows those of the public interface."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield ast.get_docstring(node) or ""


def odd_words(text: str) -> list[str]:
    """Return what should be put otherwise, with how."""
    return [
        f"{found[0]!r}: {better}"
        for pattern, better in BANNED.items()
        for found in re.finditer(rf"\b(?:{pattern})", text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages(page: Path) -> None:
    # Code is not prose.
    prose = re.sub(
        r"^```.*?^```|`[^`\n]*`|<!--.*?-->|\]\([^)]*\)", "", page.read_text(encoding="utf-8"), flags=re.M | re.S
    )
    assert not odd_words(prose)


def test_messages_and_help() -> None:
    odd = {str(module.relative_to(ROOT)): odd_words(" ".join(strings_of(module))) for module in MODULES}
    assert not {module: found for module, found in odd.items() if found}


def test_docstrings_of_the_public_interface() -> None:
    odd = {
        str(module.relative_to(ROOT)): odd_words(" ".join(public_docstrings(module)))
        for module in (
            ROOT / "src" / "pixelwise" / name for name in ("api.py", "stacks/spec.py", "series.py", "xarray.py")
        )
    }
    odd |= {
        module.name: odd_words(" ".join(public_docstrings(module)))
        for module in MODULES
        if module.parent.name == "methods"
    }
    assert not {module: found for module, found in odd.items() if found}


def test_the_glossary_is_alphabetical() -> None:
    terms = re.findall(r"^### (.+)$", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(terms) > 50
    assert terms == sorted(terms, key=lambda term: re.sub(r"[^a-z]", "", term.lower()))


def test_odd_words_are_found() -> None:
    assert odd_words("Rasters on one lattice lie upon each other.") == [
        "'lattice': grid, or: the pixels are (not) aligned",
        "'lie upon': overlap, on",
    ]


def test_no_message_names_a_page_that_an_installation_lacks() -> None:
    """Whoever installed the program has the pages by their titles, on the site, and no folder docs."""
    for module in MODULES:
        for text in (*strings_of(module), *public_docstrings(module)):
            assert not re.search(r"docs/[\w-]+\.md", text), f"{module}: {text}"

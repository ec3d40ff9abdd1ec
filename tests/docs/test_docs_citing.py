"""What is said about citing agrees: CITATION.cff, docs/citing.md, and the paper with its references."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pixelwise as pw
from support.pages import run_sessions
from support.places import ROOT

PAGE = ROOT / "docs" / "citing.md"
BIBLIOGRAPHY = (ROOT / "paper" / "paper.bib").read_text()


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_sessions(PAGE) == 1


def test_version_and_title_agree() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {pw.__version__}\n" in citation
    assert f"version = {{{pw.__version__}}}" in PAGE.read_text()
    assert f"pixelwise {pw.__version__} (method" in PAGE.read_text()
    title = re.search(r'^title: "(.*)"$', citation, re.MULTILINE)
    assert title is not None
    assert title[1] in PAGE.read_text()
    assert f"title: '{title[1]}'" in (ROOT / "paper" / "paper.md").read_text()


def test_references_of_the_paper_are_those_that_it_cites() -> None:
    keys = re.findall(r"^@\w+\{(\w+),", BIBLIOGRAPHY, re.MULTILINE)
    cited = re.findall(r"@(\w+\d{4})", (ROOT / "paper" / "paper.md").read_text())
    assert sorted(keys) == sorted(set(cited))
    assert BIBLIOGRAPHY.count("  doi ") == len(keys)
    for doi in re.findall(r"doi\s+= \{(.*?)\}", PAGE.read_text()):
        assert f"{{{doi}}}" in BIBLIOGRAPHY

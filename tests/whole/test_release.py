"""The check of a release, on small repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from release import PLACEHOLDER, main

FILES = {
    "src/pixelwise/_version.py": '__version__ = "1.2.3"\n',
    "CITATION.cff": "title: a\nversion: 1.2.3\n",
    "CHANGELOG.md": "# Changelog\n\n## 1.2.3 (2027-01-31)\n\n## 1.2.2 (2026-12-31)\n",
    "conda/recipe.yaml": 'context:\n  version: "1.2.3"\n',
    "README.md": "git clone https://example.org/pixelwise\n",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def commit(root: Path, *tags: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    for command in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "--message", "All"]):
        subprocess.run(["git", "-C", root, *command], check=True)
    for tag in tags:
        subprocess.run(["git", "-C", root, "tag", tag], check=True)


def test_a_release_that_lacks_nothing_passes(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit(repository, "v1.2.3", "something")
    assert main(repository) == 0
    assert capsys.readouterr().out == "release 1.2.3: nothing is missing\n"


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("README.md", f"git clone https://{PLACEHOLDER}/a", f"README.md: 1 x {PLACEHOLDER}"),
        ("CITATION.cff", "version: 1.2.2\n", "CITATION.cff: version 1.2.2, expected 1.2.3"),
        ("src/pixelwise/_version.py", '__version__ = "1.3.0"\n', "_version.py: version 1.3.0, expected 1.2.3"),
        ("CHANGELOG.md", "## Unreleased (1.2.3)\n", "CHANGELOG.md: no version, expected 1.2.3"),
        ("CHANGELOG.md", "## Unreleased\n\n## 1.2.3 (2027-01-31)\n", "the first heading is '## Unreleased'"),
        ("conda/recipe.yaml", '  version: "1.2"\n', "conda/recipe.yaml: version 1.2, expected 1.2.3"),
    ],
)
def test_what_is_missing_fails_a_release_only(
    name: str, text: str, line: str, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / name).write_text(text)
    commit(repository)
    assert main(repository) == 0
    assert "HEAD has no tag vX.Y.Z: not a release." in capsys.readouterr().out
    subprocess.run(["git", "-C", repository, "tag", "v1.2.3"], check=True)
    assert main(repository) == 1
    assert line in capsys.readouterr().out


def test_a_tag_of_another_version_fails(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit(repository, "v1.2.4")
    assert main(repository) == 1
    assert capsys.readouterr().out.count("expected 1.2.4") == 4

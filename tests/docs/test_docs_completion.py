"""What docs/completion.md says that a shell completes, asked of bash with the script that the page installs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pixelwise.methods import METHODS
from support.places import ROOT

PAGE = ROOT / "docs" / "completion.md"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program called pixelwise, its completion script, and files."""
    home = tmp_path_factory.mktemp("home")
    program = home / "pixelwise"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pixelwise "$@"\n')
    program.chmod(0o755)
    for name in ("ndvi", "nd.tif", "my_functions.py"):
        (home / name).touch()
    [command] = re.findall(r"^    (_PIXELWISE_COMPLETE=bash_source pixelwise) >", PAGE.read_text(), re.MULTILINE)
    (home / "script").write_text(bash(home, command))
    return home


def bash(home: Path, script: str) -> str:
    variables = {**os.environ, "PATH": f"{home}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=home,
        env=variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stderr == ""
    return done.stdout


def completed(home: Path, line: str) -> list[str]:
    """Return what bash offers at the end of a line; ``FILES`` if it completes paths by itself."""
    words = line.split(" ")
    array = " ".join(f"'{word}'" for word in words)
    script = f"""
    . ./script
    compopt() {{ [ "$2" = default ] && echo FILES; }}  # only works in a completion that a key started
    COMP_WORDS=({array}) COMP_CWORD={len(words) - 1}
    _pixelwise_completion pixelwise
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    return bash(home, script).split()


def test_the_rows_of_the_page(home: Path) -> None:
    rows = re.findall(r"^\| `(pixelwise [^`]*)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(rows) == 7
    for typed, shown in rows:
        found = completed(home, typed)
        if shown.startswith("files"):
            assert found == ["FILES"], typed
        elif shown.endswith("..."):
            assert found[:3] == re.findall("`(.*?)`", shown), typed
        else:
            assert found == re.findall("`(.*?)`", shown), typed


@pytest.mark.long
def test_all_methods_are_offered(home: Path) -> None:
    assert completed(home, "pixelwise apply ") == [factory.__name__ for factory in METHODS]
    assert completed(home, "pixelwise methods harm") == ["harmonic"]
    assert completed(home, "pixelwise plan ndvi --method wl") == ["wls"]


@pytest.mark.long
def test_words_of_options(home: Path) -> None:
    assert completed(home, "pixelwise apply ols ndvi --mask-preset s2") == ["s2-scl"]
    assert completed(home, "pixelwise apply ols ndvi --product hl") == ["hls"]
    assert completed(home, "pixelwise apply ols ndvi --align nd") == ["FILES"]
    assert completed(home, "pixelwise plan ndvi --region nd") == ["FILES"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script(home: Path, shell: str) -> None:
    [command] = re.findall(rf"^    (_PIXELWISE_COMPLETE={shell}_source pixelwise) >", PAGE.read_text(), re.MULTILINE)
    assert "_PIXELWISE_COMPLETE" in bash(home, command)

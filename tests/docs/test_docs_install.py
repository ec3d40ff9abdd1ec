"""docs/install.md and the Containerfile name extras, files and commands that exist."""

from __future__ import annotations

import re
import tomllib

import click

from pixelwise.cli import main
from support.pages import samples
from support.places import ROOT

PAGE = ROOT / "docs" / "install.md"
CONTAINERFILE = ROOT / "Containerfile"


def commands() -> list[str]:
    return main.list_commands(click.Context(main))


def test_every_extra_is_in_the_table() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)) == set(extras)


def test_commands_of_the_page_exist() -> None:
    named = re.findall(r"pixelwise ([a-z]+)", "\n".join(samples(PAGE, "bash")))
    assert {"apply", "compile", "demo"} <= set(named) <= set(commands())
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    for requirement in build:  # to be at hand where there is no network
        assert re.split(r"[<>=]", requirement)[0] in PAGE.read_text()


def test_the_containerfile_uses_what_exists() -> None:
    text = CONTAINERFILE.read_text()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for word in line.split()]
    assert all((ROOT / name).exists() for name in copied)
    # What the build backend reads.
    assert {"pyproject.toml", "README.md", "LICENSE", "src"} <= set(copied)
    assert re.findall(r"^RUN pixelwise (\w+)$", text, re.MULTILINE) == ["compile"]
    assert "compile" in commands()
    # Compiled after the variables are set, and before the user changes.
    order = [text.index(part) for part in ("NUMBA_CACHE_DIR=/", "RUN pixelwise compile", "USER pixelwise")]
    assert order == sorted(order)
    assert 'ENTRYPOINT ["pixelwise"]' in text

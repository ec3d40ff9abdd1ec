"""The commands of docs/tutorial.md run as they stand; on the scene of the page, all that it shows is printed."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from pixelwise import demo
from pixelwise.cli import main
from support.pages import is_shown, run_sessions, samples, sessions
from support.places import ROOT

PAGE = ROOT / "docs" / "tutorial.md"
TEXT = PAGE.read_text()


def test_the_page_tells_the_truth() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", TEXT, re.MULTILINE)
    assert rows[2:] == [(one.name, one.truth) for one in demo.DISTRICTS]


def test_its_pictures_exist() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXT)
    assert len(pictures) >= 4
    assert all((PAGE.parent / picture).is_file() for picture in pictures)


def without_numbers(line: str) -> str:
    """Replace what depends on the size of the scene."""
    return re.sub(r"\s+", " ", re.sub(r"\d+(\.\d+)?|none is|are", "0", line))


def test_commands_and_python_on_a_small_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the words that the page shows; the numbers are those of the whole scene, see below."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "HEIGHT", 80)
    monkeypatch.setattr(demo, "WIDTH", 90)
    # Of Old Forest, on the smaller scene.
    there, here = "511000,3384000,515000,3388000", "501200,3398600,501500,3398900"
    step, script = samples(PAGE, "python")
    (tmp_path / "step.py").write_text(step)
    for command, shown in sessions(PAGE):
        if "verify" in command or "significant" in " ".join(shown):
            shown = []
        result = CliRunner().invoke(main, shlex.split(command.replace(there, here))[1:])
        assert result.exit_code == 0, (command, result.output)
        printed = [without_numbers(line) for line in result.output.splitlines()]
        for line in shown:
            # A job this small does not compile a function.
            assert is_shown(without_numbers(line), printed) or "compiled" in line or "slope" in line, (command, line)
    script = script.replace(there.replace(",", ", "), here.replace(",", ", ")).replace(
        "506315, 3398665", "501300, 3398700"
    )
    exec(compile(script, str(PAGE), "exec"), {})


@pytest.mark.long
def test_what_it_shows_is_what_the_scene_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    step, script = samples(PAGE, "python")
    (tmp_path / "step.py").write_text(step)
    assert run_sessions(PAGE) == 22
    tables = re.findall(r"<!-- (\w+\.csv) (\w+) -->\n((?:\|.*\n)+)", TEXT)
    assert len(tables) == 2
    for name, band, table in tables:
        with Path(name).open() as file:
            rows = list(csv.DictReader(file))
        assert table.splitlines()[2:] == [row_of(row, band) for row in rows]
    capsys.readouterr()
    exec(compile(script, str(PAGE), "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    for shown in re.findall(r"^print\(.*\)  # (.*)$", script, re.MULTILINE):
        assert shown in printed


def row_of(row: dict[str, str], band: str) -> str:
    """Return a line of the page's table."""
    shares = [float(row[f"significant_{way}_share"]) for way in ("increase", "decrease")]
    return f"| {row['name']} | {float(row[f'{band}_median']):+.4f} | {shares[0]:.1%} | {shares[1]:.1%} |"

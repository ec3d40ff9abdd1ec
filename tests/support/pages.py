"""What pages of documentation show."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from click.testing import CliRunner

from pixelwise.cli import main


def samples(page: Path, language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def sessions(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a page with the lines that it is shown to print."""
    for text in samples(page, "console"):
        for part in re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
            command, *shown = part.splitlines()
            yield command, shown


def is_shown(line: str, printed: list[str]) -> bool:
    """Say whether a line of a page was printed, ``...`` standing for anything."""
    pattern = re.compile(".*".join(map(re.escape, line.split("..."))))
    return any(pattern.fullmatch(one) for one in printed)


def run_sessions(page: Path) -> int:
    """Run all commands of a page in the current folder and compare what they print; return how many there are."""
    count = 0
    for command, shown in sessions(page):
        program, *words = shlex.split(command)
        assert program == "pixelwise"
        result = CliRunner().invoke(main, words)
        # A page about what can go wrong shows that too.
        refused = any(re.match(r"(?:\d+|\.\.\.) problems?$|error: ", line) for line in shown)
        assert result.exit_code == int(refused), (command, result.output)
        printed = result.output.splitlines()
        for line in shown:
            assert is_shown(line, printed), (command, line, result.output[-3000:])
        count += 1
    return count

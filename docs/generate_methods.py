"""Write the generated parts of docs/methods.md from the docstrings: `make docs`.

The page is written by hand except for what is between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``: ``contents``
and ``reference`` come from the registry and its docstrings, ``error_rates`` from benchmarks/error_rates.py.
tests/test_docs_methods.py fails if the page does not match the docstrings.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixelwise.methods import METHODS
from pixelwise.methods.description import describe, in_words

PAGE = Path(__file__).with_name("methods.md")
NAMES = tuple(factory.__name__ for factory in METHODS)

#: Meaning of each status; tests compare the numbers with those of the band.
STATUS = {
    0: "all bands are valid",
    1: "no valid value",
    2: "fewer valid values than `min_obs`",
    3: "all values equal: there is no change, and nothing to test",
    4: "the dates or covariates do not determine the result (all values of one date, collinear covariates)",
    5: "a function of your own failed",
    6: "computed, but a test is undefined, or a value is infinite or too large to square",
    7: "stopped early (no method does this yet)",
    8: "dates lost to files that could not be read (`--on-read-error missing`)",
    9: "outside `--region` or `--where`",
}


def main() -> None:
    """Replace the generated parts."""
    PAGE.write_text(generate(PAGE.read_text()))


def generate(text: str) -> str:
    """Return the page with its generated parts brought up to date."""
    for name, part in (("contents", contents()), ("reference", reference())):
        text, times = re.subn(
            f"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)",
            lambda found, part=part: f"{found[1]}{part}\n{found[2]}",
            text,
            flags=re.DOTALL,
        )
        if times != 1:
            raise SystemExit(f"{PAGE.name}: has no place for {name}, or several")
    return text


def contents() -> str:
    """Return a line for each method."""
    methods = [describe(factory) for factory in METHODS]
    return "\n".join(f"- [`{method['name']}`](#{method['name']}): {prose(method['summary'])}" for method in methods)


def reference() -> str:
    """Return the meaning of status, and a section for each method."""
    status = table(("status", "meaning"), [(str(code), words) for code, words in STATUS.items()])
    return "\n\n".join([status, *("\n\n".join(section(describe(factory))) for factory in METHODS)])


def section(method: dict[str, Any]) -> Iterator[str]:
    """Yield the parts of a method's section."""
    sections, name = method["sections"], method["name"]
    yield f"### {name}"
    yield f"**{prose(method['summary'])}**"
    yield prose(sections["Method"])
    rows = [
        (f"`{p['name']}`", f"{in_words(p['default'])}", escaped(p["kind"]), cell(p["description"]))
        for p in method["parameters"]
    ]
    yield table(("parameter", "default", "may be", ""), rows)
    shown = {band["name"] for band in method["bands"]} | {p["name"] for p in method["parameters"]}
    returned = re.sub(r"\AMethod\n", "", sections["Returns"])
    if not set(re.findall(r"``([\w-]+)``", returned)) <= shown:
        # The table shows the bands for default parameters; this text describes others.
        yield prose(inspect.cleandoc(returned))
    rows = [
        (
            f"`{band['name']}`" + (", on request" if band["optional"] else ""),
            band["unit"].replace("{value}", "value"),
            cell(band["description"]),
        )
        for band in method["bands"]
    ]
    yield table(("band", "unit", ""), rows)
    yield "Refused: " + cell(" ".join(re.findall(r"^    (.*)$", sections["Raises"], flags=re.MULTILINE)))
    yield "**Status and limits.** " + prose(sections["Notes"])
    yield "\n".join(f"- {cell(entry)}" for entry in entries(sections["References"]))


def entries(references: str) -> Iterator[str]:
    """Yield single references: the first line of each contains its year in parentheses."""
    lines: list[str] = []
    for line in references.splitlines():
        if re.search(r"\((18|19|20)\d\d\)", line) and lines:
            yield " ".join(lines)
            lines = []
        if line.strip():
            lines.append(line.strip())
    yield " ".join(lines)


def prose(text: str) -> str:
    """Return numpydoc's text as Markdown: methods become links, indented formulas blocks of code."""
    parts = []
    for k, part in enumerate(re.split(r"::\n\n((?:    .*\n?|[ ]*\n(?=\n*    ))+)", text)):
        if k % 2:
            parts.append(f":\n\n```text\n{inspect.cleandoc(part)}\n```\n")
        else:
            parts.append(inline(part))
    return "".join(parts).strip()


def cell(text: str) -> str:
    """Return text on one line, for a table or a list."""
    return escaped(inline(" ".join(text.split())))


def escaped(text: str) -> str:
    """Escape bars, which would end a cell."""
    return text.replace("|", "\\|")


def inline(text: str) -> str:
    """Return code as Markdown marks it, names of methods as links, and stars as they are."""

    def mark(found: re.Match[str]) -> str:
        literal, name, star = found.groups()
        if star:
            return "\\*"
        return f"[`{name}`](#{name})" if name in NAMES else f"`{literal or name}`"

    return re.sub(r"``([^`]+)``|`([^`]+)`|(\*)", mark, text)


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()

"""What numpydoc marks in docstrings, as Markdown: references to public names, citations, and their lists."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension

import pixelwise
from pixelwise.methods import METHODS

METHOD_NAMES = frozenset(factory.__name__ for factory in METHODS)
#: Pages of the site by the file that docstrings name.
PAGE_NAME = re.compile(r"(?<!`)docs/([\w-]+)\.md")
#: An entry of a list of references.
ENTRY = re.compile(r"^\.\. \[(\d+)\] (.*(?:\n   +\S.*)*)", re.MULTILINE)
#: The section of parameters, and in it some that share a text.
PARAMETERS = re.compile(r"^Parameters\n-+\n(?:(?!\w.*\n---).*\n?)*", re.MULTILINE)
SHARED_TEXT = re.compile(r"^(\w+(?:, \w+)+)\n((?:    .*\n?|\n(?=    ))+)", re.MULTILINE)


class Docstrings(Extension):
    """Rewrite the docstrings of everything that is documented."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Rewrite one."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """Return a docstring with links for ``name`` in single backticks, and with citations as numbers in brackets."""
    text = re.sub(r"(?<!`)`(?:pixelwise\.)?([A-Za-z_][\w.]*)`(?!`)", linked, text)
    text = PAGE_NAME.sub(r"[\1.md](\1.md)", text)
    text = re.sub(r"\[(\d+)\]_", r"\\[\1\\]", text)
    text = ENTRY.sub(lambda found: f"\n\\[{found[1]}\\] {' '.join(found[2].split())}", text)
    return PARAMETERS.sub(lambda found: SHARED_TEXT.sub(repeated, found[0]), text)


def linked(found: re.Match[str]) -> str:
    """Return a public name or a method as a link, and any other name as code."""
    name = found[1]
    if name.partition(".")[0] in pixelwise.__all__:
        return f"[`{name}`][pixelwise.{name}]"
    if name in METHOD_NAMES:
        return f"[`{name}`](methods.md#{name})"
    return f"`{name}`"


def repeated(found: re.Match[str]) -> str:
    """Return several parameters with one text as entries of their own: griffe would give all the type of the first."""
    return "".join(f"{name}\n{found[2]}" for name in found[1].split(", "))

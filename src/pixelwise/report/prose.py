"""Docstrings of methods as paragraphs, lists, formulas and code, which a template puts into HTML."""

from __future__ import annotations

import inspect
import re

__all__ = ["Block", "blocks_of"]

#: ``p``, ``li`` or ``pre``, with its text in parts: each with its element, ``code`` or none.
Block = tuple[str, list[tuple[str, str]]]

#: Code in double backticks, and names in single ones.
CODE = re.compile(r"``(.+?)``|`(.+?)`", re.DOTALL)


def blocks_of(text: str) -> list[Block]:
    """Return the blocks of a part of a docstring.

    Parameters
    ----------
    text
        Paragraphs; items that begin with a hyphen; formulas that are indented, after two colons.
    """
    blocks: list[Block] = []
    for part in re.split(r"\n\s*\n", text.strip("\n")):
        if part.startswith((" ", "\t")):
            blocks.append(("pre", [("", CODE.sub(r"\1\2", inspect.cleandoc(part)))]))
            continue
        for item in re.split(r"^- ", part, flags=re.MULTILINE):
            if item.strip():
                kind = "li" if f"- {item}" in part else "p"
                blocks.append((kind, _parts(re.sub(r"::$", ":", " ".join(item.split())))))
    return blocks


def _parts(text: str) -> list[tuple[str, str]]:
    parts, end = [], 0
    for found in CODE.finditer(text):
        parts.append(("", text[end : found.start()]))
        parts.append(("code", found[1] or found[2]))
        end = found.end()
    parts.append(("", text[end:]))
    return [(kind, words) for kind, words in parts if words]

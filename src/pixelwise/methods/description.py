"""What a method is: summary, formula, parameters, bands and references, from its signature and docstring."""

from __future__ import annotations

import inspect
import re
import types
import typing
from typing import Any, Literal

from pixelwise.method import parameters_of

__all__ = ["describe", "in_words"]


def describe(factory: Any) -> dict[str, Any]:
    """Return the description of a method from its signature and docstring.

    ``sections`` are those of the docstring by title; ``Method`` is the text before the first.
    """
    text = inspect.getdoc(factory) or ""
    parts = re.split(r"^(\w+)\n-+\n", text, flags=re.MULTILINE)
    summary, _, rest = parts[0].partition("\n")
    sections = {
        "Method": rest.strip(),
        **{title: body.strip("\n") for title, body in zip(*[iter(parts[1:])] * 2, strict=True)},
    }
    meanings = dict(re.findall(r"^(\w+)\n((?:    .*\n?|\n)+)", sections.get("Parameters", ""), flags=re.MULTILINE))
    return {
        "name": factory.__name__,
        "summary": summary,
        "documentation": text,
        "sections": sections,
        "parameters": [
            {
                "name": p.name,
                "type": inspect.formatannotation(p.annotation).replace("collections.abc.", ""),
                "kind": in_words(p.annotation),
                "default": p.default,
                "description": inspect.cleandoc(meanings.get(p.name, "")),
            }
            for p in parameters_of(factory).values()
        ],
        "bands": [
            {"name": band.name, "description": band.description, "unit": band.unit, "optional": band.optional}
            for band in factory().bands
        ],
    }


def in_words(value: Any) -> str:
    """Return a type or a default as a user writes it: ``month, quarter, whole number, none``."""
    if value is None or value is types.NoneType:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    arguments = typing.get_args(value)
    if typing.get_origin(value) is Literal:
        return ", ".join(arguments)
    if arguments and typing.get_origin(value) in (types.UnionType, typing.Union):
        return ", ".join(in_words(option) for option in arguments)
    if arguments:
        return inspect.formatannotation(value).replace("collections.abc.", "")
    return {int: "whole number", float: "number", bool: "true, false", str: "text"}.get(value, str(value))

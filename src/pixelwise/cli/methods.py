"""``pixelwise methods``."""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from typing import Any, Literal

import click

from pixelwise.cli.report import debug_option, emit

__all__ = ["describe", "in_words", "methods"]

HINT = """
One layer per year: start with trend. Several per year: harmonic or seasonal_kendall, or combine them into one layer
per year (--composite). `pixelwise methods NAME` describes a method; docs/methods.md says which one to choose."""


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option
def methods(name: str | None, as_json: bool) -> None:
    """List the methods, or describe one.

    With a NAME, shows its parameters, bands, formula, the meaning of status, limits and references.
    """
    from pixelwise.methods import METHODS, get

    chosen = METHODS if name is None else (get(name),)
    described = [describe(factory) for factory in chosen]
    if as_json:
        public = [{key: value for key, value in method.items() if key != "sections"} for method in described]
        emit(json.dumps(public, indent=2))
    elif name is None:
        width = max(len(method["name"]) for method in described)
        for method in described:
            emit(f"{method['name']:{width}}  {method['summary']}")
        emit(HINT)
    else:
        show(described[0])


def show(method: dict[str, Any]) -> None:
    """Print one method in full."""
    from pixelwise.bands import STATUS_BAND

    name, sections = method["name"], method["sections"]
    emit(f"{name}: {method['summary']}\n")
    emit(f"    pixelwise apply {name} INPUT... -o {name}.tif -p PARAMETER=VALUE --bands BAND,BAND")
    emit(f"    pixelwise.apply(stack, pixelwise.methods.{name}(PARAMETER=VALUE), '{name}.tif')")
    emit("\nParameters")
    for parameter in method["parameters"]:
        emit(f"    {parameter['name']} = {in_words(parameter['default'])} ({parameter['kind']})")
        emit(indented(parameter["description"], 8))
    emit("\nBands ([value] is the unit of the input; bands in parentheses are only written if --bands names them)")
    for band in method["bands"]:
        unit = f" [{band['unit'].replace('{value}', 'value')}]" if band["unit"] else ""
        shown = f"({band['name']})" if band["optional"] else band["name"]
        emit(f"    {shown}{unit}: {band['description']}")
    emit(f"    {STATUS_BAND.name}: {STATUS_BAND.description}")
    for title in ("Method", "Returns", "Notes", "References"):
        if sections.get(title):
            text = re.sub(r"\AMethod\n", "", sections[title]) if title == "Returns" else sections[title]
            emit(f"\n{ {'Returns': 'What the bands contain', 'Method': 'What is computed'}.get(title, title) }")
            emit(indented(inspect.cleandoc(text), 4))


def indented(text: str, by: int) -> str:
    """Return text indented, and without the markup of reStructuredText."""
    plain = re.sub(r"::$", ":", text.replace("``", "`"), flags=re.MULTILINE)
    return "\n".join(" " * by + line if line else "" for line in plain.splitlines())


def describe(factory: Any) -> dict[str, Any]:
    """Return the description of a method from its signature and docstring.

    ``sections`` are those of the docstring by title; ``Method`` is the text before the first.
    """
    from pixelwise.method import parameters_of

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

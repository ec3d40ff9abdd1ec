"""``pixelwise methods``."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

import click

from pixelwise.cli import completing
from pixelwise.cli.report import debug_option, emit

__all__ = ["methods"]

HINT = """
One layer per year: start with trend. Several per year: harmonic or seasonal_kendall, or combine them into one layer
per year (--composite). `pixelwise methods NAME` describes a method; "Which test, and why" in the
documentation helps to choose one."""


@click.command()
@click.argument("name", required=False, shell_complete=completing.methods)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option
def methods(name: str | None, as_json: bool) -> None:
    """List the methods, or describe one.

    With a NAME, shows its parameters, bands, formula, the meaning of status, limits and references.
    """
    from pixelwise.methods import METHODS, get
    from pixelwise.methods.description import describe

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
    from pixelwise.methods.description import in_words

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

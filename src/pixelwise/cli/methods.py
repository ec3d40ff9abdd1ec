"""``pixelwise methods``."""

from __future__ import annotations

import inspect
import json
from typing import Any

import click

from pixelwise.cli.report import debug_option, emit

__all__ = ["methods"]


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@debug_option
def methods(name: str | None, as_json: bool) -> None:
    """List the methods, or tell all about one.

    With a NAME: formula, source, parameters and bands.
    """
    from pixelwise.methods import METHODS, get

    chosen = METHODS if name is None else (get(name),)
    described = [describe(factory) for factory in chosen]
    if as_json:
        emit(json.dumps(described, indent=2))
    elif name is None:
        width = max(len(method["name"]) for method in described)
        for method in described:
            emit(f"{method['name']:{width}}  {method['summary']}")
    else:
        show(described[0])


def show(method: dict[str, Any]) -> None:
    """Print one method in full."""
    parameters = ", ".join(f"{p['name']}: {p['type']} = {p['default']}" for p in method["parameters"])
    emit(f"{method['name']}({parameters})\n")
    emit(method["documentation"])
    emit("\nBands")
    for band in method["bands"]:
        unit = f" [{band['unit']}]" if band["unit"] else ""
        emit(f"    {band['name']}: {band['description']}{unit}")


def describe(factory: Any) -> dict[str, Any]:
    """Return what is known of a method, from its signature and docstring."""
    from pixelwise.method import parameters_of

    text = inspect.getdoc(factory) or ""
    return {
        "name": factory.__name__,
        "summary": text.split("\n", 1)[0],
        "documentation": text,
        "parameters": [
            {
                "name": p.name,
                "type": inspect.formatannotation(p.annotation).replace("collections.abc.", ""),
                "default": p.default,
            }
            for p in parameters_of(factory).values()
        ],
        "bands": [
            {"name": band.name, "description": band.description, "unit": band.unit, "optional": band.optional}
            for band in factory().bands
        ],
    }

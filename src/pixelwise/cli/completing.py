"""What shells complete: names of methods, composites, products and rules, and paths wherever files are given."""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

__all__ = ["composites", "files", "gains", "mask_presets", "methods", "products"]


def files(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Let the shell complete paths."""
    return [CompletionItem(begun, type="file")]


def methods(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete a method."""
    from pixelwise.methods import METHODS

    return _names_or_files(begun, (factory.__name__ for factory in METHODS))


def composites(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete a way to make composites."""
    from pixelwise.stacks.reductions import REDUCTIONS

    return _names_or_files(begun, REDUCTIONS)


def products(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete a product."""
    from pixelwise.opening.products import products as known

    return _names_or_files(begun, known())


def gains(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete a table of gains, or a preset."""
    from pixelwise.opening.gain_presets import gain_presets

    return _names_or_files(begun, gain_presets() if begun else ())


def mask_presets(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete a predefined rule for masks."""
    from pixelwise.stacks.masks import presets

    return [CompletionItem(name) for name in presets() if name.startswith(begun)]


def _names_or_files(begun: str, names: Iterable[str]) -> list[CompletionItem]:
    """Return the names that begin so; if there are none, let the shell complete paths: functions are in files."""
    return [CompletionItem(name) for name in names if name.startswith(begun)] or [CompletionItem(begun, type="file")]

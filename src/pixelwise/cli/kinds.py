"""What the words of a command line may be, and what becomes of them."""

from __future__ import annotations

import re
from typing import Any

import click
from click.shell_completion import CompletionItem

__all__ = ["Band", "BandNames", "Numbers", "Parameter", "Place"]


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Numbers separated by commas."""

    name = "numbers"

    def __init__(self, kind: type[int] | type[float] = float, count: int | None = None) -> None:
        self._kind, self._count = kind, count

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Split at commas."""
        if not isinstance(value, str):
            return value
        try:
            numbers = tuple(self._kind(text) for text in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers separated by commas", param, ctx)
        if self._count is not None and len(numbers) != self._count:
            few = "1 number" if len(numbers) == 1 else f"{len(numbers)} numbers"
            self.fail(f"{value!r} has {few}; expected {self._count}", param, ctx)
        return numbers


class BandNames(click.ParamType):  # type: ignore[type-arg]
    """Names separated by commas."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Split at commas."""
        if not isinstance(value, str):
            return value
        return [name.strip() for name in value.split(",") if name.strip()]


class Parameter(click.ParamType):  # type: ignore[type-arg]
    """``name=value``."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Split at the first equals sign."""
        if not isinstance(value, str):
            return value
        name, sign, text = value.partition("=")
        if not sign or not name:
            self.fail(f"{value!r} is not name=value", param, ctx)
        return name.strip(), text.strip()


class Band(click.ParamType):  # type: ignore[type-arg]
    """A band's number or name."""

    name = "N|NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert digits to a number; no file has so many bands that it takes ten digits."""
        return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) else value


class Place(click.ParamType):  # type: ignore[type-arg]
    """Four numbers, or a string."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert four numbers to bounds."""
        try:
            numbers = tuple(float(text) for text in value.split(","))
        except (ValueError, AttributeError):
            return value
        return numbers if len(numbers) == 4 else value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Let the shell complete paths, which a place may be."""
        return [CompletionItem(incomplete, type="file")]

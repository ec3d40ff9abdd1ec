"""What was probably meant by words in the wrong place: a method as a command, INPUT before METHOD, ..."""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import get_args

import click

from pixelwise.choices import Reduction

__all__ = ["check_hyphens", "check_words", "misplaced_option", "missing_input", "unknown_command"]

#: Commands by words for what they do.
OTHER_COMMANDS = {
    "apply": ("fit", "compute", "calc", "calculate", "map", "analyse", "analyze", "process"),
    "plan": ("check", "inspect", "list", "ls", "dry-run", "describe"),
    "plot": ("draw", "show", "view", "picture", "render"),
    "join": ("merge", "mosaic", "combine"),
    "composite": ("aggregate", "reduce", "resample"),
    "zones": ("zonal", "zonalstats", "zonal-stats", "stats", "areas"),
    "series": ("extract", "sample", "pixel"),
    "rectify": ("normalize", "normalise", "calibrate", "irmad"),
    "verify": ("validate", "test"),
    "clean": ("cleanup", "rm"),
    "--help": ("help",),
    "--version": ("version",),
}


def unknown_command(name: str, commands: Collection[str]) -> str:
    """Return the error for a command that there is not, with what was probably meant."""
    from pixelwise.methods.naming import meant

    known = _methods()
    if (method := meant(name, known)) in known:
        return f"No such command {name!r}; {method} is a method: pixelwise apply {method} INPUT... -o OUTPUT"
    word = name.lower()
    found = word if word in commands else None
    found = found or next((command for command, others in OTHER_COMMANDS.items() if word in others), None)
    close = [found] if found else get_close_matches(word[:100], commands, n=1)
    hint = f"; did you mean 'pixelwise {close[0]}'?" if close else ""
    return f"No such command {name!r}{hint} (pixelwise --help lists all)"


def misplaced_option(option: str, commands: Collection[click.Command]) -> str | None:
    """Return the error for an option of commands that is given before the command; None if no command has it."""
    has = [one.name for one in commands for parameter in one.params if option in parameter.opts and one.name]
    return (
        f"No such option {option!r} here: options follow the command, as in pixelwise {has[0]} {option}"
        if has
        else None
    )


def missing_input(method: str | None) -> str:
    """Return the error for a command without INPUT, which may have been taken for METHOD."""
    from pixelwise.methods.naming import looks_like_input

    if method is not None and ".py:" not in method and looks_like_input(method) and method not in _methods():
        example = f"pixelwise apply trend {shlex.quote(method)}"
        return f"Missing argument 'METHOD': {method!r} names files; METHOD comes first, as in {example}"
    return "Missing argument 'INPUT...': files, a folder, a quoted glob, @list.txt, a CSV, or --recipe"


def check_hyphens(command: click.Command, words: Sequence[str]) -> None:
    """Refuse a long option with one hyphen: `-output x.tif` would be `-o utput`, with x.tif as an input.

    Raises
    ------
    UsageError
        With the option that was meant.
    """
    known = {option for parameter in command.params for option in parameter.opts}
    for word in itertools.takewhile(lambda word: word != "--", words):
        if re.fullmatch(r"-[a-z][a-z-]+", word) and f"-{word}" in known:
            raise click.UsageError(f"No such option {word!r}; did you mean -{word}, with two hyphens?")


def check_words(command: str, method: str | None, source: Sequence[str], bands: Sequence[str] | None = None) -> None:
    """Refuse files in the place of METHOD, where a shell puts the first of many, and methods among the inputs.

    Raises
    ------
    ParameterError
        When a word is in the wrong place, with the right one.
    """
    from pixelwise.errors import ParameterError

    if command == "apply" and method is not None:
        _check_method(method, source)
    for word in source:
        use = _use_of(command, word)
        if use is None and bands and word.isidentifier():
            use = f"if it is a band, separate bands by commas: --bands {','.join([*bands, word])}"
        if use is not None and not os.path.exists(word):  # noqa: PTH110 - any text is allowed
            raise ParameterError(f"{word}: no such file or folder; {use}")


def _check_method(method: str, source: Sequence[str]) -> None:
    from pixelwise.errors import ParameterError
    from pixelwise.methods.naming import looks_like_input
    from pixelwise.words import shown

    if ".py" in method or method in _methods() or not looks_like_input(method):
        return
    named = [found for word in source if (found := _names_method(word)) is not None]
    several = " ..." if len(source) > len(named) else ""
    use = f"pixelwise apply {named[0].partition(' ')[0] if named else 'METHOD'} {shlex.quote(method)}{several}"
    missing = "" if named else "; pixelwise methods lists the methods"
    raise ParameterError(f"{shown(method)} names files: METHOD comes before INPUT, as in {use}{missing}")


def _use_of(command: str, word: str) -> str | None:
    """Say how a command is given a word that is no file; None if that is unknown."""
    if command == "composite" and word in get_args(Reduction):
        return f"use pixelwise composite --composite {word} INPUT..."
    if word not in _methods():
        return None
    if command == "apply":
        return "it is a method, and a map has one: run apply once for each"
    option = f"{command} --method {word}" if command in ("plan", "series") else f"apply {word}"
    return f"it is a method: pixelwise {option} INPUT..."


def _methods() -> list[str]:
    from pixelwise.methods import METHODS

    return [factory.__name__ for factory in METHODS]


def _names_method(word: str) -> str | None:
    """Return the method that a word names, also in another form, or the function in a file; None if it names none."""
    from pixelwise.methods.naming import meant

    if ".py:" in word:
        return word
    if os.path.exists(word):  # noqa: PTH110 - any text is allowed
        return None
    return meant(word, _methods())

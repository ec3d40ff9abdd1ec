"""Recipes: how a stack is read, as a TOML file that every command takes.

Paths in a recipe are relative to its folder, so that it can be kept beside its data and moved with them.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w

from pixelwise.completeness import Completeness
from pixelwise.errors import InputError, OutputError, ParameterError, unknown
from pixelwise.regular import is_file
from pixelwise.spec import EXTENTS, InputSpec

__all__ = ["Recipe", "read_recipe", "write_recipe"]

#: What every recipe begins with: a file is what it says it is.
HEAD = "# How pixelwise reads a stack: pixelwise COMMAND --recipe THIS_FILE\n"


class Recipe(NamedTuple):
    """What a recipe says.

    Attributes
    ----------
    source
        The input, as commands name it.
    spec
        How it is read.
    further
        Further stacks, as ``--with`` names them.
    needs
        What a pixel's series needs for an answer.
    """

    source: tuple[str, ...]
    spec: InputSpec
    further: dict[str, str]
    needs: Completeness


def read_recipe(path: str | Path) -> Recipe:
    """Return what a recipe says.

    Raises
    ------
    InputError
        When it cannot be read, or a field is unknown or wrong, naming file and field.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a TOML file ({error})") from None
    source = table.pop("input", [])
    if not isinstance(source, list) or not all(isinstance(text, str) for text in source):
        raise InputError(f"{path}: input {source!r} is wrong; paths in brackets are wanted")
    further = table.pop("with", {})
    if not isinstance(further, dict) or not all(isinstance(text, str) for text in further.values()):
        raise InputError(f'{path}: with {further!r} is wrong; a table of name = "files" is wanted')
    needed = [field.name for field in fields(Completeness)]
    known = [*(field.name for field in fields(InputSpec)), *needed]
    for name in table:
        if name not in known:
            raise InputError(f"{path}: {unknown('field', name, ['input', 'with', *known])}")
    try:
        needs = Completeness(**{name: table.pop(name) for name in needed if name in table})
        spec = InputSpec(**table)
    except (ParameterError, TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
    folder = path.parent
    move = _mover(lambda text: str(folder / text))
    # A format of dates looks like a path; what is there decides.
    moved = _moved(spec, move, lambda text: is_file(folder / text))
    return Recipe(tuple(map(move, source)), moved, {name: move(text) for name, text in further.items()}, needs)


def write_recipe(
    path: str | Path,
    source: Sequence[str],
    spec: InputSpec,
    further: Mapping[str, str] | None = None,
    needs: Completeness = Completeness(),  # noqa: B008 - frozen
) -> None:
    """Write a recipe; see `Recipe`.

    Raises
    ------
    OutputError
        When the file exists, or cannot be written.
    """
    path = Path(path)
    move = _mover(lambda text: Path(os.path.relpath(text, path.parent)).as_posix())
    moved = _moved(spec, move, lambda text: is_file(Path(text)))
    table: dict[str, Any] = {"input": [move(one) for one in source], **moved.as_dict(), **needs.as_dict()}
    if further:
        table["with"] = {name: move(one) for name, one in further.items()}
    text = HEAD + tomli_w.dumps(table)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise OutputError(f"{path}: exists; choose another name, or remove it") from None
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from None


def _mover(move: Callable[[str], str]) -> Callable[[str], str]:
    """Return what moves a path as users write it: one of a list begins with @, absolute ones stay."""

    def moved(text: str) -> str:
        if text.startswith("@"):
            return "@" + moved(text[1:])
        return text if os.path.isabs(text) else move(text)  # noqa: PTH117 - globs are no paths

    return moved


def _moved(spec: InputSpec, move: Callable[[str], str], is_file: Callable[[str], bool]) -> InputSpec:
    """Return a spec whose paths are moved."""
    changed: dict[str, Any] = {}
    if spec.times is not None and is_file(spec.times):
        changed["times"] = move(spec.times)
    for name in ("align", "mask", "region"):
        value = getattr(spec, name)
        if isinstance(value, str) and not (name == "mask" and value == "none"):
            changed[name] = move(value)
    if isinstance(spec.extent, str) and spec.extent not in EXTENTS:
        changed["extent"] = move(spec.extent)
    if spec.product is not None and spec.product.lower().endswith(".toml"):
        changed["product"] = move(spec.product)
    if spec.where is not None:
        raster, sign, values = spec.where.rpartition("=")
        changed["where"] = move(raster) + sign + values
    if spec.composite is not None and ".py:" in spec.composite:
        changed["composite"] = move(spec.composite)
    return replace(spec, **changed)

"""Names in the byte code of functions (globals, attributes, imports), and their present values."""

from __future__ import annotations

import contextlib
import dis
import functools
import importlib
import importlib.util
import re
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Names", "closure_of", "names_of", "used_by"]

#: Instructions that do not matter here.
SILENT = ("CACHE", "EXTENDED_ARG", "PRECALL", "PUSH_NULL")
#: Letters for instructions: v loads a variable, c a constant, a gets an attribute, f calls. Instructions that load two
#: values at once (``LOAD_FAST_LOAD_FAST``) have none.
LETTERS = {
    "LOAD_DEREF": "v",
    "LOAD_FAST": "v",
    "LOAD_FAST_BORROW": "v",
    "LOAD_FAST_CHECK": "v",
    "LOAD_GLOBAL": "v",
    "LOAD_NAME": "v",
    "LOAD_CONST": "c",
    "LOAD_SMALL_INT": "c",
    "LOAD_ATTR": "a",
    "CALL": "f",
}
#: Instructions after getattr if it is called with a constant string.
ASKED = re.compile(r"[vc]a*(?P<text>c)(?P<default>[vc]a*)?f")
#: Maximum number of such instructions.
LONGEST_ASKED = 32


@dataclass(frozen=True)
class Names:
    """The names in some code, and in the code nested in it.

    Attributes
    ----------
    globals
        Names that it looks up in its module.
    attributes
        Names that may be attributes of anything: all of its names, and constant strings in ``getattr(x, "name")``.
    imports
        Its import statements: name, level, and the imported names.
    computed
        Whether it uses getattr in any other way.
    """

    globals: frozenset[str]
    attributes: frozenset[str]
    imports: tuple[tuple[str, int, tuple[str, ...]], ...]
    computed: bool


@functools.lru_cache(maxsize=1024)
def names_of(code: types.CodeType) -> Names:
    """Return the names in some code, and in the code nested in it."""
    found, attributes, imports, computed = set(), set(code.co_names), [], False
    steps = [step for step in dis.get_instructions(code) if step.opname not in SILENT]
    for i, step in enumerate(steps):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            found.add(step.argval)
            if step.argval == "getattr":
                text = _text_asked_for(steps[i + 1 :])
                if text is None:
                    computed = True
                else:
                    attributes.add(text)
        elif step.opname == "IMPORT_NAME":
            imports.append((step.argval, steps[i - 2].argval, tuple(steps[i - 1].argval or ())))
    for inner in (names_of(part) for part in code.co_consts if isinstance(part, types.CodeType)):
        found, attributes = found | inner.globals, attributes | inner.attributes
        imports, computed = [*imports, *inner.imports], computed or inner.computed
    return Names(frozenset(found), frozenset(attributes), tuple(imports), computed)


def _text_asked_for(steps: Sequence[dis.Instruction]) -> str | None:
    """Return the constant string that getattr is called with, by the instructions after it; None if it is computed.

    Only ``getattr(x.y, "name")`` and ``getattr(x.y, "name", default.z)`` are recognised. Other arguments may contain
    strings that are not the name: ``getattr(MODULES["np"], how)``.
    """
    shape = ASKED.match("".join(LETTERS.get(step.opname, " ") for step in steps[:LONGEST_ASKED]))
    if shape is None:
        return None
    text, call = steps[shape.start("text")].argval, steps[shape.end() - 1]
    return text if isinstance(text, str) and call.arg == (3 if shape["default"] else 2) else None


def used_by(function: types.FunctionType) -> dict[str, Any]:
    """Return what a function uses from its module, enclosing functions and imports, by name."""
    names = names_of(function.__code__)
    builtins: Mapping[str, Any] = getattr(function, "__builtins__", {})
    values = {
        name: space[name] for name in names.globals for space in (builtins, function.__globals__) if name in space
    }
    for statement in names.imports:
        values.update(_imported(function.__globals__, *statement))
    return {**values, **closure_of(function)}


def closure_of(function: types.FunctionType) -> dict[str, Any]:
    """Return what a function uses from enclosing functions, by name."""
    values = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not filled yet
            values[name] = cell.cell_contents
    return values


def _imported(space: Mapping[str, Any], name: str, level: int, wanted: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield the modules that an import statement in a function imports; None if it would fail."""
    package = space.get("__package__") or ""
    try:
        full = importlib.util.resolve_name("." * level + name, package)
        module = importlib.import_module(full)
    except Exception:  # of any kind: a module is code
        yield f"import {name}", None
        return
    yield f"import {full}", module
    yield f"import {full.partition('.')[0]}", sys.modules[full.partition(".")[0]]
    for part in wanted:
        if not hasattr(module, part):
            with contextlib.suppress(Exception):
                importlib.import_module(f"{full}.{part}")

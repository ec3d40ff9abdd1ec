"""What makes a user's function what it is: its source and every value that it was defined with.

Two runs of a job must agree on this before one goes on with the other's pixels. Pickles cannot tell: cloudpickle's
bytes differ from run to run.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import sys
import textwrap
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

__all__ = ["UnknowableError", "find_unpicklable", "fingerprint", "source_text"]

PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), range, slice, np.generic, np.dtype)


class UnknowableError(Exception):
    """A function, or something that it uses, cannot be compared between runs; says which and why."""


def source_text(thing: Callable[..., Any] | types.CodeType) -> str | None:
    """Return the source of a function (behind what wraps it), a class or code; None where it cannot be had."""
    try:
        return textwrap.dedent(inspect.getsource(thing))
    except (TypeError, ValueError, OSError, SyntaxError, IndexError):
        return None


def fingerprint(function: Callable[..., Any]) -> str:
    """Return a digest of a function: the same in every run for the same source, defaults and closure.

    Functions that it calls are part of it where they are its own module's; those of packages are known by name.

    Raises
    ------
    UnknowableError
        When there is no source, or a value has no content that could be compared.
    """
    return hashlib.sha256(repr(_content(function, "the function", ())).encode()).hexdigest()


def _content(thing: Any, name: str, above: tuple[int, ...]) -> Any:
    """Return nested tuples of texts that say what a thing is."""
    if id(thing) in above:
        return ("again", above.index(id(thing)))
    above = (*above, id(thing))
    if isinstance(thing, PLAIN):
        return (type(thing).__name__, repr(thing))
    if isinstance(thing, np.ndarray) and thing.dtype != object:
        return ("array", str(thing.dtype), thing.shape, hashlib.sha256(np.ascontiguousarray(thing).data).hexdigest())
    if isinstance(thing, (list, tuple)):
        return (type(thing).__name__, *(_content(item, name, above) for item in thing))
    if isinstance(thing, (set, frozenset)):
        return (type(thing).__name__, *sorted(repr(_content(item, name, above)) for item in thing))
    if isinstance(thing, Mapping):
        items = [(_content(key, name, above), _content(value, name, above)) for key, value in thing.items()]
        return (type(thing).__name__, *items)
    if isinstance(thing, types.ModuleType):
        return ("module", thing.__name__, None if _of_a_package(thing) else _file_digest(thing, name))
    if isinstance(thing, functools.partial):
        parts = (thing.func, thing.args, thing.keywords)
        return ("partial", *(_content(part, name, above) for part in parts))
    if isinstance(thing, types.FunctionType):
        return _function(thing, above)
    # What numba or functools.lru_cache made of a function is as good as the function.
    inner = getattr(thing, "py_func", None) or getattr(thing, "__wrapped__", None)
    if inner is not None and callable(thing):
        return _content(inner, name, above)
    if isinstance(thing, (types.BuiltinFunctionType, np.ufunc, type)) and _of_a_package(thing):
        return ("named", getattr(thing, "__module__", None), getattr(thing, "__qualname__", thing.__name__))
    if isinstance(thing, type) and (source := source_text(thing)) is not None:
        return ("class", source)
    raise UnknowableError(f"{name} is a {type(thing).__name__}, which cannot be compared with that of another run")


def _function(function: types.FunctionType, above: tuple[int, ...]) -> Any:
    if len(above) > 1 and _of_a_package(function):
        return ("named", function.__module__, function.__qualname__)
    # Of its code: a decorator's wrapper has the name and, to inspect, the source of what it wraps.
    source = source_text(function.__code__)
    if source is None:
        raise UnknowableError(f"the source of {function.__name__} cannot be had; put it into a file")
    values = _used(function)
    return (
        "function",
        source,
        # The source is whole lines, and there may be two lambdas on one.
        _code(function.__code__, function.__name__),
        _content(function.__defaults__, f"a default of {function.__name__}", above),
        _content(function.__kwdefaults__, f"a default of {function.__name__}", above),
        *((name, _content(value, repr(name), above)) for name, value in sorted(values.items())),
        *_attributes(function.__code__, values, above),
    )


def _used(function: types.FunctionType) -> dict[str, Any]:
    """Return what a function uses of its module and of functions around it, by name."""
    values = {name: function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not filled yet
            values[name] = cell.cell_contents
    return values


def find_unpicklable(thing: Any, name: str = "", seen: frozenset[int] = frozenset()) -> tuple[str, Any] | None:
    """Return what cannot be sent to another process of all that a function uses, and what it is called there.

    Parameters
    ----------
    thing
        A function, or something that it uses.
    name
        What that is called.
    seen
        What is being looked at already.

    Returns
    -------
    tuple or None
        The name and the thing itself; None where all can be sent.
    """
    if id(thing) in seen or _travels(thing):
        return None
    parts: dict[str, Any] = {}
    if isinstance(thing, functools.partial):
        arguments = {f"argument {i + 1}": value for i, value in enumerate(thing.args)}
        parts = {**arguments, **thing.keywords, "": thing.func}
    elif isinstance(thing, types.FunctionType):
        defaults = {f"default {i + 1}": value for i, value in enumerate(thing.__defaults__ or ())}
        parts = {**_used(thing), **defaults, **(thing.__kwdefaults__ or {})}
    elif isinstance(thing, types.MethodType):
        parts = {"self": thing.__self__}
    elif isinstance(thing, Mapping):
        parts = {f"{name}[{key!r}]": value for key, value in thing.items()}
    elif isinstance(thing, (list, tuple, set, frozenset)):
        parts = {f"{name}[{i}]": value for i, value in enumerate(thing)}
    elif not isinstance(thing, type):
        parts = {f"{name or 'self'}.{key}": value for key, value in getattr(thing, "__dict__", {}).items()}
    for part, value in parts.items():
        found = find_unpicklable(value, part, seen | {id(thing)})
        if found is not None:
            return found
    return (name, thing) if name else None


def _travels(thing: Any) -> bool:
    try:
        cloudpickle.dumps(thing)
    except Exception:  # of any kind: objects say themselves how they are pickled
        return False
    return True


def _attributes(code: types.CodeType, values: Mapping[str, Any], above: tuple[int, ...]) -> list[Any]:
    """Return the content of what code takes from modules of its user's own, which may change after their import."""
    own = [(name, value) for name, value in sorted(values.items()) if isinstance(value, types.ModuleType)]
    used = sorted(_names(code))
    return [
        (f"{name}.{attribute}", _content(vars(module)[attribute], f"{name}.{attribute}", above))
        for name, module in own
        if not _of_a_package(module)
        for attribute in used
        if attribute in vars(module)
    ]


def _code(code: types.CodeType, name: str) -> Any:
    """Return what code does: instructions, the names and the constants that they use."""
    constants = (
        _code(part, name) if isinstance(part, types.CodeType) else _content(part, f"a constant of {name}", ())
        for part in code.co_consts
    )
    return (hashlib.sha256(code.co_code).hexdigest(), code.co_names, *constants)


def _names(code: types.CodeType) -> set[str]:
    """Return the names that code and the functions within it use."""
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*(_names(part) for part in inner))


def _file_digest(module: types.ModuleType, name: str) -> str:
    try:
        return hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest()
    except OSError:
        raise UnknowableError(f"{name} is a module whose file cannot be read") from None


def _of_a_package(thing: Any) -> bool:
    """Whether a function or class belongs to an installed package, whose version is part of the job."""
    module = thing if isinstance(thing, types.ModuleType) else inspect.getmodule(thing)
    if module is None or module.__name__ in ("__main__", "__mp_main__"):
        return isinstance(thing, (types.BuiltinFunctionType, np.ufunc))
    file = getattr(module, "__file__", None)
    return file is None or "site-packages" in file or module.__name__.split(".")[0] in sys.stdlib_module_names

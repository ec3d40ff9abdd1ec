"""How a user's function is called: the argument for each of its parameters."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import Floats
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import FunctionError, ParameterError
from pixelwise.method import parse
from pixelwise.methods.functions.arguments import check_order, is_about_time, not_passed
from pixelwise.methods.functions.marks import name_of
from pixelwise.words import unknown

__all__ = ["SIMPLE_TYPES", "Call", "inspect_call", "signature_of"]

Source = Literal["times", "dates", "year", "doy"]

SOURCES: tuple[Source, ...] = typing.get_args(Source)

SIMPLE_TYPES = (bool, int, float, str)

#: A second parameter with one of these names gets the times even if its default is None.
ABSCISSAE = ("x", "t", "time")

POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY

VAR_POSITIONAL = inspect.Parameter.VAR_POSITIONAL

KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY

VAR_KEYWORD = inspect.Parameter.VAR_KEYWORD


@dataclass(frozen=True, slots=True)
class Call:
    """How a user's function is called.

    Attributes
    ----------
    function
        The user's function.
    positional
        Arrays passed by position after the values.
    named
        Arrays passed by keyword: (parameter, source) pairs.
    keywords
        Keyword parameters that were set.
    """

    function: Callable[..., Any]
    positional: tuple[Source, ...] = ()
    named: tuple[tuple[str, Source], ...] = ()
    keywords: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """Name of the function."""
        return name_of(self.function)

    def arrays(self, axis: TimeAxis) -> tuple[NDArray[Any], ...]:
        """Return the (time,) arrays that the function takes, `positional` first."""
        every: dict[Source, Callable[[], NDArray[Any]]] = {
            "times": lambda: np.array(axis.years, dtype=np.float64),
            "dates": lambda: np.array(axis.days, dtype="datetime64[D]"),
            "year": lambda: np.array(axis.calendar_years, dtype=np.int64),
            "doy": lambda: np.array(axis.days_of_year, dtype=np.int64),
        }
        return tuple(every[source]() for source in (*self.positional, *(source for _, source in self.named)))

    def __call__(self, values: Floats, arrays: Sequence[NDArray[Any]]) -> Any:
        """Call the function; its exceptions are not caught."""
        first = len(self.positional)
        named = {name: array for (name, _), array in zip(self.named, arrays[first:], strict=True)}
        return self.function(values, *arrays[:first], **named, **dict(self.keywords))


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return the signature of a function, with annotations evaluated if possible; None for builtins without one."""
    for eval_str in (True, False):
        try:
            return inspect.signature(function, eval_str=eval_str)
        except Exception:  # noqa: S112 - annotations run as code: they may raise anything
            continue
    return None


def inspect_call(function: Callable[..., Any], given: Mapping[str, Any]) -> Call:
    """Find out from the signature of a function how to call it."""
    name = name_of(function)
    signature = signature_of(function)
    if signature is None:
        # Some builtins have no signature: they get the values and nothing else.
        _check_given(name, given, {})
        return Call(function)
    parameters = list(signature.parameters.values())
    if not parameters or parameters[0].kind in (KEYWORD_ONLY, VAR_KEYWORD):
        raise FunctionError(f"{name}{signature} takes no values: its first parameter gets a pixel's series")
    wrong = check_order(function, name, parameters)
    if wrong:
        raise FunctionError(wrong)
    if parameters[0].kind != VAR_POSITIONAL:
        first = parameters.pop(0)
        if first.name in SOURCES or any(parameter.name == "values" for parameter in parameters):
            raise FunctionError(f"{name}{signature}: its first parameter gets the values, not {first.name}")
    positional: list[Source] = []
    named: list[tuple[str, Source]] = []
    settable: dict[str, inspect.Parameter] = {}
    times_named = any(parameter.name == "times" for parameter in parameters)
    for place, parameter in enumerate(parameters):
        source = _source_of(parameter, second=place == 0 and not times_named)
        if source == "times":
            _refuse_other_meanings(function, name, parameter)
        if source and parameter.kind != KEYWORD_ONLY and len(positional) == place:
            positional.append(source)
        elif source:
            named.append((parameter.name, source))
        elif parameter.kind not in (VAR_POSITIONAL, VAR_KEYWORD):
            if parameter.default is parameter.empty:
                raise FunctionError(_unset(function, name, signature, parameter))
            if parameter.kind != POSITIONAL_ONLY:
                settable[parameter.name] = parameter
    _check_given(name, given, settable)
    keywords = tuple((key, _typed(settable[key], value)) for key, value in given.items())
    return Call(function, tuple(positional), tuple(named), keywords)


def _refuse_other_meanings(function: Callable[..., Any], name: str, parameter: inspect.Parameter) -> None:
    """Refuse to pass decimal years to a parameter whose name means something else, such as ``month``."""
    if parameter.default is not parameter.empty or parameter.kind == VAR_POSITIONAL:
        return
    wrong = not_passed(function, name, parameter)
    if wrong:
        raise FunctionError(wrong)


def _unset(function: Callable[..., Any], name: str, signature: inspect.Signature, parameter: inspect.Parameter) -> str:
    """Say that nothing sets a parameter, in one line."""
    about_time = is_about_time(parameter.name) and not_passed(function, name, parameter)
    return about_time or f"{name}{signature}: its parameter {parameter.name} needs a default"


def _check_given(name: str, given: Mapping[str, Any], settable: Mapping[str, Any]) -> None:
    for key in given:
        if not settable:
            raise ParameterError(f"unknown parameter {key!r}: {name} has none that can be set")
        if key not in settable:
            raise unknown(f"parameter of {name}", key, settable)


def _source_of(parameter: inspect.Parameter, second: bool) -> Source | None:
    """Return the source of a parameter after the values; None if users set it."""
    if parameter.kind not in (VAR_POSITIONAL, VAR_KEYWORD):
        for source in SOURCES:
            if parameter.name == source:
                return source
    # The second parameter may have any name, unless another one is called times.
    if not second or parameter.kind in (KEYWORD_ONLY, VAR_KEYWORD):
        return None
    # theilslopes(y, x=None), trapezoid(y, x=None): without x, values count as one step apart in spite of gaps.
    left_out = parameter.default is None and parameter.annotation is parameter.empty and parameter.name in ABSCISSAE
    return "times" if left_out or parameter.default is parameter.empty else None


def _typed(parameter: inspect.Parameter, value: Any) -> Any:
    """Convert a string to the type of the parameter; values from Python are left alone."""
    if not isinstance(value, str):
        return value
    annotation = parameter.annotation
    origin = typing.get_origin(annotation)
    options = typing.get_args(annotation) if origin in (types.UnionType, typing.Union) else (annotation,)
    words = origin is Literal and all(isinstance(choice, str) for choice in typing.get_args(annotation))
    if words or all(option in (*SIMPLE_TYPES, type(None)) for option in options):
        return parse(parameter.name, value, annotation)
    if type(parameter.default) in SIMPLE_TYPES:
        return parse(parameter.name, value, type(parameter.default))
    raise ParameterError(
        f"parameter {parameter.name}={value!r} cannot be set as text: "
        f"its default {parameter.default!r} is not a number, a string or true/false"
    )

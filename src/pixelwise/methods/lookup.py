"""Find the method that a user means by a name, a function, or a file with a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pixelwise import methods
from pixelwise.bands import STATUS_BAND
from pixelwise.errors import ParameterError
from pixelwise.method import Method, build
from pixelwise.methods.functions.base import UserFunction
from pixelwise.methods.functions.block import BlockFunction
from pixelwise.methods.functions.calls import inspect_call
from pixelwise.methods.functions.loading import load_function
from pixelwise.methods.functions.marks import (
    COUNT_BAND,
    BlockOptions,
    PixelOptions,
    checked_bands,
    options_of,
    unmarked,
)
from pixelwise.methods.functions.pixel import PixelFunction
from pixelwise.methods.naming import functions_in
from pixelwise.words import unknown

__all__ = ["as_method", "resolve_method"]


def as_method(
    thing: Method | Callable[..., Any] | str,
    bands: Sequence[str] | None = None,
    parameters: Mapping[str, Any] | None = None,
    jit: bool | None = None,
) -> Method:
    """Return the method for a method, a function, or ``file.py:function``.

    Parameters
    ----------
    thing
        A `Method` is returned as it is; a function without a mark by `per_pixel` or `per_block` takes one pixel.
    bands
        Names for the values of a function that has none yet. For a function with names, they are only checked: they
        select from its bands, which `Method.bind` does.
    parameters
        Keyword parameters of the function; strings are parsed by the type of the parameter's default.
    jit
        Overrides the choice made in `per_pixel`.

    Raises
    ------
    ParameterError
        For unknown parameters or bands, or parameters of a finished method.
    FunctionError
        For a function that cannot be called with a pixel's series, or a file that cannot be imported.
    """
    if isinstance(thing, Method):
        if parameters or jit is not None:
            raise ParameterError(f"the parameters of {thing.name} are set already: they cannot be given again")
        return thing
    if isinstance(thing, str):
        return as_method(load_function(thing), bands, parameters, jit)
    if not callable(thing):
        raise ParameterError(
            f"expected a method or a function, not {type(thing).__name__}"
            + (": the stack comes first, apply(stack, method)" if hasattr(thing, "grid") else "")
        )
    options = options_of(thing) or PixelOptions(thing)
    call = inspect_call(unmarked(thing), parameters or {})
    if options.bands is None:
        returned = checked_bands(bands)
    else:
        returned = options.bands
        names = [band.name for band in returned]
        for name in () if bands is None else bands:
            if name not in (*names, COUNT_BAND.name, STATUS_BAND.name):
                raise unknown(f"band of {call.name}", name, [*names, COUNT_BAND.name, STATUS_BAND.name])
    if isinstance(options, BlockOptions):
        if jit:
            raise ParameterError(f"{call.name} works on blocks: it is never compiled")
        return BlockFunction(call, returned, options.min_obs)
    return PixelFunction(call, returned, options.min_obs, gaps=options.gaps, jit=options.jit if jit is None else jit)


def resolve_method(
    method: str | Method | Callable[..., Any],
    bands: Sequence[str] | None = None,
    parameters: Mapping[str, str] | None = None,
    jit: bool | None = None,
) -> tuple[Method, Sequence[str] | None]:
    """Return the method that a user names, and the bands to select from it.

    Parameters
    ----------
    method
        A method, as in `apply`.
    bands
        Names to select; for a function that declares none, names for what it returns.
    parameters
        Strings by name, as given on the command line.
    jit
        Whether a function of the user's own must or must not be compiled.

    Raises
    ------
    ParameterError
        When something is unknown.
    """
    if isinstance(method, str) and ".py:" not in method:
        if method.endswith(".py"):
            raise ParameterError(f"{method}: which of its functions? expected {method}:FUNCTION{functions_in(method)}")
        if jit is not None:
            raise ParameterError(f"{method} is always compiled: jit is for functions of your own")
        return build(methods.get(method), parameters or {}), bands
    thing = load_function(method) if isinstance(method, str) else method
    chosen = as_method(thing, bands, parameters, jit)
    # Names given to a function that declares none are all of its bands, not a selection: `n` stays.
    return chosen, bands if _has_names(thing) else None


def _has_names(thing: Method | Callable[..., Any]) -> bool:
    """Whether the names of the bands of a method or a function are known."""
    if isinstance(thing, Method):
        return not isinstance(thing, UserFunction) or thing.returned is not None
    options = options_of(thing)
    return options is not None and options.bands is not None

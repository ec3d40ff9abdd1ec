"""The decorators by which users say how their functions are called."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, overload

from pixelwise.bands import STATUS_BAND, Band
from pixelwise.errors import ParameterError

__all__ = [
    "COUNT_BAND",
    "BlockOptions",
    "PixelOptions",
    "checked_names",
    "core_of",
    "name_of",
    "options_of",
    "per_block",
    "per_pixel",
    "unmarked",
]


P = ParamSpec("P")


R = TypeVar("R")


COUNT_BAND = Band("n", "valid observations", integer=True)


@dataclass(frozen=True, slots=True)
class PixelOptions:
    """What `per_pixel` says about a function."""

    function: Callable[..., Any]
    bands: tuple[str, ...] | None = None
    min_obs: int = 1
    gaps: bool = False
    jit: bool | None = None


@dataclass(frozen=True, slots=True)
class BlockOptions:
    """What `per_block` says about a function."""

    function: Callable[..., Any]
    bands: tuple[str, ...] | None = None
    min_obs: int = 1


@overload
def per_pixel(
    function: Callable[P, R],
    /,
    *,
    bands: Sequence[str] | None = None,
    min_obs: int = 1,
    gaps: bool = False,
    jit: bool | None = None,
) -> Callable[P, R]: ...


@overload
def per_pixel(
    *, bands: Sequence[str] | None = None, min_obs: int = 1, gaps: bool = False, jit: bool | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def per_pixel(
    function: Callable[..., Any] | None = None,
    /,
    *,
    bands: Sequence[str] | None = None,
    min_obs: int = 1,
    gaps: bool = False,
    jit: bool | None = None,
) -> Callable[..., Any]:
    """Mark a function of one pixel's series; it stays a plain function.

    The function is called as ``function(values, times)``: (time,) float64 without the missing ones, and their
    decimal years. With one parameter it gets the values only. Names that say the other order (``x, y`` or
    ``years, ndvi``), which SciPy's regressions have, are refused. Parameters named ``dates`` (datetime64[D]),
    ``year`` or ``doy`` get these. Parameters with a default are set by ``-p name=value`` on the
    command line, by `functools.partial` in Python.
    It returns one number, or a tuple, list or 1-d array of numbers, one per band.

    Where numba can compile it, and gives the same numbers on a sample of pixels, it runs compiled. Whatever
    raises, or is not finite, in compiled code is computed again in plain Python.

    Parameters
    ----------
    function
        The function; left out in ``@per_pixel(bands=[...])``.
    bands
        Names of the values it returns. None: ``value``, or ``value_1, value_2, ...`` as learnt on one pixel.
    min_obs
        Pixels with fewer observations are not handed over (status 2).
    gaps
        Keep NaN where observations are missing, with the dates of all layers.
    jit
        True: compiled or an error. False: never. None: compiled where that gives the same numbers.

    Returns
    -------
    callable
        A new function that does what `function` does.

    Raises
    ------
    ParameterError
        When names are not unique or are reserved, or `min_obs` is below 1.

    Notes
    -----
    Floating-point warnings of NumPy are silenced during the calls. Warnings that a function raises itself
    (``np.std`` with too few values: "Degrees of freedom <= 0") are not.
    """
    names = checked_names(bands)
    _check_min_obs(min_obs)

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        plain = unmarked(function)
        return _marked(plain, PixelOptions(plain, names, min_obs, gaps, jit))

    return mark if function is None else mark(function)


@overload
def per_block(
    function: Callable[P, R], /, *, bands: Sequence[str] | None = None, min_obs: int = 1
) -> Callable[P, R]: ...


@overload
def per_block(
    *, bands: Sequence[str] | None = None, min_obs: int = 1
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def per_block(
    function: Callable[..., Any] | None = None, /, *, bands: Sequence[str] | None = None, min_obs: int = 1
) -> Callable[..., Any]:
    """Mark a vectorised function of many pixels; it stays a plain function.

    The function is called as ``function(values, times)``: (time, pixel) float64 with NaN where missing, and
    (time,) decimal years; ``dates``, ``year``, ``doy`` and parameters with defaults as in `per_pixel`. It
    returns (band, pixel), or (pixel,) for one band, and must treat every pixel on its own. Pixels with fewer
    than `min_obs` observations are left out, so that ``nanmean`` and its like never see an empty series.

    Parameters
    ----------
    function
        The function; left out in ``@per_block(bands=[...])``.
    bands
        Names of the rows it returns; learnt on a few pixels where None.
    min_obs
        Pixels with fewer observations are not handed over (status 2).

    Returns
    -------
    callable
        A new function that does what `function` does.

    Raises
    ------
    ParameterError
        When names are not unique or are reserved, or `min_obs` is below 1.
    """
    names = checked_names(bands)
    _check_min_obs(min_obs)

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        plain = unmarked(function)
        return _marked(plain, BlockOptions(plain, names, min_obs))

    return mark if function is None else mark(function)


def _marked(function: Callable[..., Any], options: PixelOptions | BlockOptions) -> Callable[..., Any]:
    if not callable(function):
        raise ParameterError(f"a function is wanted, not {type(function).__name__}")

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    # Attributes of a function are the user's; those of a partial or a numba dispatcher are its machinery.
    updated = ("__dict__",) if isinstance(function, types.FunctionType) else ()
    functools.update_wrapper(wrapper, function, updated=updated)
    wrapper.__name__ = name_of(function)
    wrapper.__pixelwise__ = options  # type: ignore[attr-defined]
    return wrapper


def options_of(thing: Any) -> PixelOptions | BlockOptions | None:
    """Return what a decorator said of a function, or of the one that it wraps."""
    options = getattr(thing, "__pixelwise__", None)
    if options is None and isinstance(thing, functools.partial):
        return options_of(thing.func)
    return options if isinstance(options, (PixelOptions, BlockOptions)) else None


def unmarked(thing: Callable[..., Any]) -> Callable[..., Any]:
    """Return the user's function behind our wrapper; wrappers of others stay, though they copy our mark."""
    if isinstance(thing, functools.partial):
        inner = unmarked(thing.func)
        return thing if inner is thing.func else functools.partial(inner, *thing.args, **thing.keywords)
    options = options_of(thing)
    ours = options is not None and getattr(thing, "__wrapped__", None) is options.function
    return options.function if options is not None and ours else thing


def core_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function behind partials."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def name_of(function: Callable[..., Any]) -> str:
    """Return the name by which a function is called in maps and messages."""
    core = core_of(function)
    return str(getattr(core, "__name__", type(core).__name__))


def checked_names(bands: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the names of bands, which must be different and not empty; None where they are to be learnt."""
    if bands is None:
        return None
    names = (bands,) if isinstance(bands, str) else tuple(bands)
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ParameterError(f"bands={bands!r}: every band needs a name")
    for name in names:
        if not name.isprintable() or set(name) & set("/\\:{}"):
            raise ParameterError(f"band name {name!r} cannot be part of a file's name")
        if [other.lower() for other in names].count(name.lower()) > names.count(name):
            raise ParameterError(f"band name {name!r} differs from another one in case only")
        if name in (COUNT_BAND.name, STATUS_BAND.name):
            raise ParameterError(f"band name {name!r} is reserved: every map has n and status of its own")
        if names.count(name) > 1:
            raise ParameterError(f"band name {name!r} is given twice")
    return names


def _check_min_obs(min_obs: int) -> None:
    if min_obs < 1:
        raise ParameterError(f"min_obs={min_obs} is not at least 1")

"""The decorators with which users say how their functions are called."""

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
    "checked_bands",
    "core_of",
    "name_of",
    "options_of",
    "per_block",
    "per_pixel",
    "unmarked",
]

P = ParamSpec("P")

R = TypeVar("R")

COUNT_BAND = Band("n", "valid observations", integer=True, kind="count")


@dataclass(frozen=True, slots=True)
class PixelOptions:
    """The options given to `per_pixel`."""

    function: Callable[..., Any]
    bands: tuple[Band, ...] | None = None
    min_obs: int = 1
    gaps: bool = False
    jit: bool | None = None


@dataclass(frozen=True, slots=True)
class BlockOptions:
    """The options given to `per_block`."""

    function: Callable[..., Any]
    bands: tuple[Band, ...] | None = None
    min_obs: int = 1


@overload
def per_pixel(
    function: Callable[P, R],
    /,
    *,
    bands: Sequence[str | Band] | None = None,
    min_obs: int = 1,
    gaps: bool = False,
    jit: bool | None = None,
) -> Callable[P, R]: ...


@overload
def per_pixel(
    *, bands: Sequence[str | Band] | None = None, min_obs: int = 1, gaps: bool = False, jit: bool | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def per_pixel(
    function: Callable[..., Any] | None = None,
    /,
    *,
    bands: Sequence[str | Band] | None = None,
    min_obs: int = 1,
    gaps: bool = False,
    jit: bool | None = None,
) -> Callable[..., Any]:
    """Mark a function of one pixel's series; it stays a plain function.

    The function is called as ``function(values, times)``, with (time,) float64 values without the missing ones, and
    their decimal years. With one parameter, it gets only the values. Names that suggest the opposite order (``x, y`` or
    ``years, ndvi``), as in SciPy's regressions, are refused. Parameters named ``dates`` (datetime64[D]), ``year`` or
    ``doy`` get those. Parameters with a default can be set by ``-p name=value`` on the command line, or by
    `functools.partial` in Python. The function returns one number, or a tuple, list or 1-d array of numbers, one per
    band.

    The function runs compiled if numba can compile it and the results on a sample of pixels are the same. Pixels for
    which compiled code raises an exception or gives a result that is not finite are computed again in plain Python.

    Parameters
    ----------
    function
        The function; omitted in ``@per_pixel(bands=[...])``.
    bands
        Names of the values that it returns. None: ``value``, or ``value_1, value_2, ...``, depending on one pixel. A
        `Band` instead of a name says more: ``Band("slope", unit="{value}/year", kind="change", pvalue="p")`` is drawn
        in the classes of a trend.
    min_obs
        Pixels with fewer observations are not passed to the function (status 2).
    gaps
        Pass NaN for missing observations, and the dates of all layers.
    jit
        True: compile, or raise an error. False: never compile. None: compile if the results are the same.

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
    NumPy's floating-point warnings are silenced during the calls. Other warnings are not (``np.std`` with too few
    values: "Degrees of freedom <= 0").
    """
    described = checked_bands(bands)
    _check_min_obs(min_obs)

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        plain = unmarked(function)
        return _marked(plain, PixelOptions(plain, described, min_obs, gaps, jit))

    return mark if function is None else mark(function)


@overload
def per_block(
    function: Callable[P, R], /, *, bands: Sequence[str | Band] | None = None, min_obs: int = 1
) -> Callable[P, R]: ...


@overload
def per_block(
    *, bands: Sequence[str | Band] | None = None, min_obs: int = 1
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def per_block(
    function: Callable[..., Any] | None = None, /, *, bands: Sequence[str | Band] | None = None, min_obs: int = 1
) -> Callable[..., Any]:
    """Mark a vectorised function of many pixels; it stays a plain function.

    The function is called as ``function(values, times)``, with (time, pixel) float64 values, NaN where missing, and
    (time,) decimal years; ``dates``, ``year``, ``doy`` and parameters with defaults work as in `per_pixel`. It returns
    (band, pixel) values, or (pixel,) for one band, and must treat each pixel independently. Pixels with fewer than
    `min_obs` observations are left out, so that ``nanmean`` and similar functions never get an empty series.

    Parameters
    ----------
    function
        The function; omitted in ``@per_block(bands=[...])``.
    bands
        Names of the rows that it returns, or a `Band` for each, as in `per_pixel`; if None, their number is determined
        from a few pixels.
    min_obs
        Pixels with fewer observations are not passed to the function (status 2).

    Returns
    -------
    callable
        A new function that does what `function` does.

    Raises
    ------
    ParameterError
        When names are not unique or are reserved, or `min_obs` is below 1.
    """
    described = checked_bands(bands)
    _check_min_obs(min_obs)

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        plain = unmarked(function)
        return _marked(plain, BlockOptions(plain, described, min_obs))

    return mark if function is None else mark(function)


def _marked(function: Callable[..., Any], options: PixelOptions | BlockOptions) -> Callable[..., Any]:
    if not callable(function):
        raise ParameterError(f"expected a function, not {type(function).__name__}")

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    # Attributes of a function belong to the user; those of a partial or a numba dispatcher are internal.
    updated = ("__dict__",) if isinstance(function, types.FunctionType) else ()
    functools.update_wrapper(wrapper, function, updated=updated)
    wrapper.__name__ = name_of(function)
    wrapper.__pixelwise__ = options  # type: ignore[attr-defined]
    return wrapper


def options_of(thing: Any) -> PixelOptions | BlockOptions | None:
    """Return the options by which a decorator marked a function, or the one that it wraps."""
    options = getattr(thing, "__pixelwise__", None)
    if options is None and isinstance(thing, functools.partial):
        return options_of(thing.func)
    return options if isinstance(options, (PixelOptions, BlockOptions)) else None


def unmarked(thing: Callable[..., Any]) -> Callable[..., Any]:
    """Return the user's function inside our wrapper; other wrappers stay, although they copy our mark."""
    if isinstance(thing, functools.partial):
        inner = unmarked(thing.func)
        return thing if inner is thing.func else functools.partial(inner, *thing.args, **thing.keywords)
    options = options_of(thing)
    ours = options is not None and getattr(thing, "__wrapped__", None) is options.function
    return options.function if options is not None and ours else thing


def core_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function inside partials."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function for maps and messages."""
    core = core_of(function)
    return str(getattr(core, "__name__", type(core).__name__))


def checked_bands(bands: Sequence[str | Band] | None) -> tuple[Band, ...] | None:
    """Return the bands, whose names must be unique and not empty; None if they are not known yet."""
    if bands is None:
        return None
    given = (bands,) if isinstance(bands, (str, Band)) else tuple(bands)
    names = [band.name if isinstance(band, Band) else band for band in given]
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ParameterError(f"bands={bands!r}: every band needs a name")
    for name in names:
        if not name.isprintable() or set(name) & set("/\\:{}"):
            raise ParameterError(f"band name {name!r} cannot be part of a file's name")
        if [other.lower() for other in names].count(name.lower()) > names.count(name):
            raise ParameterError(f"band name {name!r} differs from another one only in case")
        if name in (COUNT_BAND.name, STATUS_BAND.name):
            raise ParameterError(f"band name {name!r} is reserved: every map has n and status of its own")
        if names.count(name) > 1:
            raise ParameterError(f"band name {name!r} is given twice")
    found = tuple(band if isinstance(band, Band) else Band(band) for band in given)
    for band in found:
        if band.integer or band.optional:
            raise ParameterError(f"band {band.name}: a function returns numbers: integer and optional do not apply")
        if band.pvalue and band.pvalue not in names:
            raise ParameterError(
                f"band {band.name} names the p-value {band.pvalue}, which is none of its bands {names}"
            )
    return found


def _check_min_obs(min_obs: int) -> None:
    if min_obs < 1:
        raise ParameterError(f"min_obs={min_obs} is not at least 1")

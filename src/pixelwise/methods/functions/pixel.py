"""Users' own functions as methods: of one pixel's series, or of a block of pixels.

`per_pixel` and `per_block` mark a function and leave it a plain function; `as_method` makes a `Method` of it.
A pixel at which the function raises has status 5, and its neighbours are not touched.
"""

from __future__ import annotations

import functools
import inspect
import logging
import numbers
import traceback
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from pixelwise.bands import STATUS_BAND, Band, Floats, Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.errors import FunctionError, ParameterError
from pixelwise.kernels.jit import import_numba
from pixelwise.method import Method, parse, rounded_whole_numbers, say_rounded, select_bands
from pixelwise.methods.functions.arguments import check_order
from pixelwise.methods.functions.bytecode import used_by
from pixelwise.methods.functions.fingerprint import Fingerprint, fingerprint, source_text
from pixelwise.methods.functions.loading import load_function
from pixelwise.methods.functions.travel import dumps
from pixelwise.words import unknown

if TYPE_CHECKING:
    from pixelwise.methods.functions.compiled import CompiledLoop

__all__ = [
    "BlockFunction",
    "BlockOptions",
    "BoundBlockFunction",
    "BoundPixelFunction",
    "PixelFunction",
    "PixelOptions",
    "UserFunction",
    "as_method",
    "per_block",
    "per_pixel",
]

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
Source = Literal["times", "dates", "year", "doy"]

SOURCES: tuple[Source, ...] = typing.get_args(Source)
COUNT_BAND = Band("n", "valid observations", integer=True)
SIMPLE_TYPES = (bool, int, float, str)
#: A second parameter of these names gets the times even where it has None for a default.
ABSCISSAE = ("x", "t", "time")
POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY
VAR_POSITIONAL = inspect.Parameter.VAR_POSITIONAL
KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY
VAR_KEYWORD = inspect.Parameter.VAR_KEYWORD

# A user's vectorised function always gets this many pixels (the last ones repeated), because NumPy adds up in
# another order for other shapes, and no answer may depend on how the image was cut.
BLOCK_WIDTH = 1024
TRIAL_PIXELS = 256
# Pixels on which a function is tried that is not compiled.
FEW_PIXELS = 4
# Jobs of no more values (pixels times dates) run in plain Python, on threads, unless told otherwise. Compiling takes 1
# to 3 s with numba's import, and worker processes 1.4 s to start; a call in plain Python 10 to 60 us, with two loops
# over 21 dates inside 250 us: for 6241 pixels of 21 dates that is 0.1 to 0.4 s, and 1.6 s. Time itself decides nothing:
# the next run has to come to the same digits, and what cannot be sent to processes is refused always or never.
SMALL_JOB = 1 << 17
# A function that calls sys.exit() fails at that pixel: it does not end the job as if it had succeeded.
FAILURES = (Exception, SystemExit)
# Compiled and plain results count as equal up to this relative difference.
TOLERANCE = 1e-12
# Fingerprints before jobs of this process, by the parts of those after them: calls fill what a function keeps its
# results in, such as a dictionary of its module, and make it no other.
_LEFT: dict[frozenset[tuple[str, str]], Fingerprint] = {}


# --- marking functions -------------------------------------------------------------------------------------


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
    names = _checked_names(bands)
    _check_min_obs(min_obs)

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        plain = _unmarked(function)
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
    names = _checked_names(bands)
    _check_min_obs(min_obs)

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        plain = _unmarked(function)
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
    wrapper.__name__ = _name_of(function)
    wrapper.__pixelwise__ = options  # type: ignore[attr-defined]
    return wrapper


def _options_of(thing: Any) -> PixelOptions | BlockOptions | None:
    options = getattr(thing, "__pixelwise__", None)
    if options is None and isinstance(thing, functools.partial):
        return _options_of(thing.func)
    return options if isinstance(options, (PixelOptions, BlockOptions)) else None


def _unmarked(thing: Callable[..., Any]) -> Callable[..., Any]:
    """Return the user's function behind our wrapper; wrappers of others stay, though they copy our mark."""
    if isinstance(thing, functools.partial):
        inner = _unmarked(thing.func)
        return thing if inner is thing.func else functools.partial(inner, *thing.args, **thing.keywords)
    options = _options_of(thing)
    ours = options is not None and getattr(thing, "__wrapped__", None) is options.function
    return options.function if options is not None and ours else thing


def _core(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _name_of(function: Callable[..., Any]) -> str:
    core = _core(function)
    return str(getattr(core, "__name__", type(core).__name__))


def _checked_names(bands: Sequence[str] | None) -> tuple[str, ...] | None:
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


# --- how a function is called ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """How a user's function is called.

    Attributes
    ----------
    function
        The user's function.
    positional
        What follows the values, by position.
    named
        What is handed over by keyword: (parameter, source) pairs.
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
        return _name_of(self.function)

    def arrays(self, axis: TimeAxis) -> tuple[NDArray[Any], ...]:
        """Return the (time,) arrays that the function wants, `positional` first."""
        every: dict[Source, Callable[[], NDArray[Any]]] = {
            "times": lambda: np.array(axis.years, dtype=np.float64),
            "dates": lambda: np.array(axis.days, dtype="datetime64[D]"),
            "year": lambda: np.array(axis.calendar_years, dtype=np.int64),
            "doy": lambda: np.array(axis.days_of_year, dtype=np.int64),
        }
        return tuple(every[source]() for source in (*self.positional, *(source for _, source in self.named)))

    def __call__(self, values: Floats, arrays: Sequence[NDArray[Any]]) -> Any:
        """Call the function; whatever it raises passes through."""
        first = len(self.positional)
        named = {name: array for (name, _), array in zip(self.named, arrays[first:], strict=True)}
        return self.function(values, *arrays[:first], **named, **dict(self.keywords))


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    for eval_str in (True, False):
        try:
            return inspect.signature(function, eval_str=eval_str)
        except Exception:  # noqa: S112 - annotations run as code: they may raise anything
            continue
    return None


def _inspect(function: Callable[..., Any], given: Mapping[str, Any]) -> Call:
    """Learn from a function's signature how to call it."""
    name = _name_of(function)
    signature = _signature(function)
    if signature is None:
        # Some builtins do not tell: they get the values and nothing else.
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
        if source and parameter.kind != KEYWORD_ONLY and len(positional) == place:
            positional.append(source)
        elif source:
            named.append((parameter.name, source))
        elif parameter.kind not in (VAR_POSITIONAL, VAR_KEYWORD):
            if parameter.default is parameter.empty:
                raise FunctionError(f"{name}{signature}: its parameter {parameter.name} needs a default")
            if parameter.kind != POSITIONAL_ONLY:
                settable[parameter.name] = parameter
    _check_given(name, given, settable)
    keywords = tuple((key, _typed(settable[key], value)) for key, value in given.items())
    return Call(function, tuple(positional), tuple(named), keywords)


def _check_given(name: str, given: Mapping[str, Any], settable: Mapping[str, Any]) -> None:
    for key in given:
        if not settable:
            raise ParameterError(f"unknown parameter {key!r}: {name} has none that can be set")
        if key not in settable:
            raise unknown(f"parameter of {name}", key, settable)


def _source_of(parameter: inspect.Parameter, second: bool) -> Source | None:
    """Return what a parameter after the values gets; None if users set it."""
    if parameter.kind not in (VAR_POSITIONAL, VAR_KEYWORD):
        for source in SOURCES:
            if parameter.name == source:
                return source
    # The second parameter may have any name, unless another one is called times.
    if not second or parameter.kind in (KEYWORD_ONLY, VAR_KEYWORD):
        return None
    # theilslopes(y, x=None), trapezoid(y, x=None): left out, each value counts as one step from the last, gaps or not.
    left_out = parameter.default is None and parameter.annotation is parameter.empty and parameter.name in ABSCISSAE
    return "times" if left_out or parameter.default is parameter.empty else None


def _typed(parameter: inspect.Parameter, value: Any) -> Any:
    """Turn a text into the type of the parameter; values from Python are taken as they are."""
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
        f"its default {parameter.default!r} is not a number, a text or true/false"
    )


# --- what a function returns -------------------------------------------------------------------------------


def _expected(name: str, bands: Sequence[str]) -> str:
    return f"{name}: expected {len(bands)} value{'s' * (len(bands) != 1)} ({', '.join(bands)})"


def _as_floats(result: Any) -> Floats | None:
    """Return the array behind a function's result; None if it is not one of numbers."""
    try:
        if isinstance(result, np.ma.MaskedArray):
            return np.ma.filled(result.astype(np.float64), np.nan)
        array = np.asarray(result)
        if array.dtype == object and all(isinstance(item, numbers.Real) for item in array.ravel()):
            array = array.astype(np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    return array if array.dtype.kind in "fiub" else None


def _row(result: Any, name: str, bands: Sequence[str] | None) -> Floats:
    """Return the numbers that a function returned for one pixel.

    Raises
    ------
    FunctionError
        When they are not numbers, or not one per band.
    """
    row = _as_floats(result)
    if row is not None and row.ndim == 0:
        row = row[None]
    if row is not None and row.ndim == 1 and row.size and (bands is None or row.size == len(bands)):
        return row
    got = f"{type(result).__name__} {_short(result)}"
    if row is not None:
        got = f"{row.size}" if row.ndim == 1 else f"an array of shape {row.shape}"
    raise FunctionError(f"{_expected(name, bands) if bands else f'{name}: expected numbers'}, got {got}")


def _short(thing: Any) -> str:
    text = " ".join(repr(thing).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _numbered(count: int) -> tuple[str, ...]:
    return ("value",) if count == 1 else tuple(f"value_{i}" for i in range(1, count + 1))


def _traceback(error: BaseException) -> str:
    """Format a traceback from the user's first line on."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()


def _stop(name: str, error: BaseException, values: Floats) -> FunctionError:
    shown = ", ".join(f"{value:g}" for value in values[:8])
    more = f", ... ({len(values)} in all)" if len(values) > 8 else ""
    return FunctionError(f"{name} failed on a pixel with the values [{shown}{more}]\n{_traceback(error)}")


# --- methods -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UserFunction(Method):
    """What methods made of users' functions share.

    Attributes
    ----------
    call
        The function, and how it is called.
    names
        Names of the values it returns; None until they are learnt in `rehearse`.
    min_obs
        Pixels with fewer observations are not handed over.
    strict
        A function that raises stops the job.
    decision
        ``compiled``, or why not; empty until `rehearse`.
    whole
        Bands of whole numbers that float32 does not hold, with one of them, as far as the rehearsal showed.
    varying
        Whether it gave other numbers for the same pixel in the rehearsal.
    known
        Its `fingerprint`, taken before the rehearsal calls it: calls may fill what it keeps results in.
    """

    call: Call
    names: tuple[str, ...] | None = None
    min_obs: int = 1
    strict: bool = False
    decision: str = ""
    whole: tuple[tuple[str, float], ...] = field(default=(), repr=False, compare=False)
    varying: bool = field(default=False, repr=False, compare=False)
    known: Fingerprint | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the function."""
        return self.call.name

    @property
    def bands(self) -> tuple[Band, ...]:
        """The user's bands, then ``n``.

        Raises
        ------
        FunctionError
            While they are not known.
        """
        if self.names is None:
            raise FunctionError(f"the bands of {self.name} are not known before it was tried on a pixel; name them")
        return (*(Band(name) for name in self.names), COUNT_BAND)

    @property
    def parameters(self) -> dict[str, Any]:
        """Function, file, source text and parameters, for the map's provenance."""
        core = _core(self.call.function)
        signature = _signature(self.call.function)
        values = {p.name: p.default for p in signature.parameters.values()} if signature else {}
        simple = {name: value for name, value in values.items() if type(value) in SIMPLE_TYPES}
        given = {k: v if type(v) in SIMPLE_TYPES or v is None else _short(v) for k, v in self.call.keywords}
        return {
            "function": getattr(core, "__qualname__", self.name),
            "file": _file_of(core),
            "source": source_text(core),
            "parameters": {**simple, **given},
            "min_obs": self.min_obs,
            "decision": self.decision,
        }

    @property
    def identity(self) -> dict[str, Any]:
        """Parameters, versions of packages, and digests of all that the function uses, what tells most first."""
        found = self.fingerprint()
        further = {"packages": dict(found.packages), "what it uses": dict(found.parts)}
        return {**dict(sorted(self.parameters.items())), **further}

    def fingerprint(self) -> Fingerprint:
        """Return what makes the function what it is, with its parameters, and whether that is all."""
        if self.known is not None:
            return self.known
        now = self._now()
        return _LEFT.get(frozenset(now.parts.items()), now)

    def _now(self) -> Fingerprint:
        return fingerprint(self.call.function, dict(self.call.keywords))

    def leave(self) -> None:
        """Note what a job that was stopped made of the function: to the next one in this process it is the same."""
        known = self.fingerprint()
        _LEFT[frozenset(self._now().parts.items())] = known

    @property
    def season_term(self) -> bool:
        """True: what a function does about seasons is its author's business."""
        return True

    def warnings(self, dtype: str) -> list[str]:
        """Return what the rehearsal showed that a user should know before a map of this type is made, a line each."""
        found = [say_rounded(band, value) for band, value in self.whole] if dtype == "float32" else []
        if self.varying:
            found.append(
                f"{self.name} returns different values on each call for the same pixel: the map cannot be reproduced, "
                "and verify finds differences; give its random numbers a seed within the function"
            )
        return found

    def check_travels(self) -> None:
        """Refuse a function that cannot be sent to worker processes.

        Raises
        ------
        FunctionError
            With the name of what it uses that cannot be pickled.
        """
        try:
            dumps(self.call)
        except Exception as error:  # objects say themselves how they are pickled
            found = _find_unpicklable(self.call.function)
            if found is None:
                why = f"it cannot be sent to worker processes ({' '.join(str(error).split())[:200]})"
                advice = "define it by def in a file"
            else:
                kind = type(found[1])
                of = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
                why = f"it uses {found[0]} ({of}{kind.__qualname__}), which cannot be sent to worker processes"
                advice = "make that within the function"
            raise FunctionError(
                f'{self.name}: {why}: {advice}, or stay in this process by --executor threads (executor="threads")'
            ) from error

    def _whole(self, table: Floats) -> tuple[tuple[str, float], ...]:
        """Return `whole` by (band, pixel) results."""
        return tuple((self.bands[number].name, value) for number, value in rounded_whole_numbers(table, "float32"))

    def _bound(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> dict[str, Any]:
        """Return the fields that the bound functions share."""
        if inputs:
            raise ParameterError(f"{self.name} is a function of one stack: it takes no {', '.join(inputs)}")
        wanted = select_bands(self, bands)
        names = tuple(band.name for band in self.bands)
        return {
            "call": self.call,
            "bands": wanted,
            "names": names[:-1],
            "rows": tuple(names.index(band.name) for band in wanted),
            "arrays": self.call.arrays(axis),
            "min_obs": self.min_obs,
            "strict": self.strict,
        }


def _find_unpicklable(thing: Any, name: str = "", seen: frozenset[int] = frozenset()) -> tuple[str, Any] | None:
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
        parts = {**used_by(thing), **defaults, **(thing.__kwdefaults__ or {})}
    elif isinstance(thing, types.MethodType):
        parts = {"self": thing.__self__}
    elif isinstance(thing, Mapping):
        parts = {f"{name}[{key!r}]": value for key, value in thing.items()}
    elif isinstance(thing, (list, tuple, set, frozenset)):
        parts = {f"{name}[{i}]": value for i, value in enumerate(thing)}
    elif not isinstance(thing, type):
        parts = {f"{name or 'self'}.{key}": value for key, value in getattr(thing, "__dict__", {}).items()}
    for part, value in parts.items():
        found = _find_unpicklable(value, part, seen | {id(thing)})
        if found is not None:
            return found
    return (name, thing) if name else None


def _travels(thing: Any) -> bool:
    try:
        cloudpickle.dumps(thing)
    except Exception:  # of any kind: objects say themselves how they are pickled
        return False
    return True


def _file_of(function: Callable[..., Any]) -> str | None:
    try:
        file = inspect.getsourcefile(inspect.unwrap(function))
    except (TypeError, ValueError):
        return None
    return Path(file).name if file else None


@dataclass(frozen=True)
class PixelFunction(UserFunction):
    """A user's function of one pixel's series.

    Attributes
    ----------
    gaps
        Whether it gets the missing values too.
    jit
        True: compiled or an error. False: never compiled. None: compiled where that gives the same numbers.
    loop
        The compiled loop, once `rehearse` found it to agree with plain Python.
    """

    gaps: bool = False
    jit: bool | None = None
    loop: CompiledLoop | None = field(default=None, repr=False, compare=False)

    @property
    def parameters(self) -> dict[str, Any]:
        """Function, file, source text and parameters, for the map's provenance."""
        return {**super().parameters, "gaps": self.gaps}

    def rehearse(self, axis: TimeAxis, sample: Callable[[], Floats], pixels: int | None = None) -> PixelFunction:
        """Learn the bands on one pixel, and decide whether the function runs compiled.

        That depends on the function, the sample and the size of the whole job, never on time or blocks.

        Raises
        ------
        FunctionError
            When the bands can be learnt on no pixel, when the function returns anything but one number per
            band, or with ``jit=True`` when it cannot run compiled.
        """
        if self.decision:
            return self
        known = self.fingerprint()
        rows = _mixed_pixels(sample(), self.min_obs)
        plain = replace(self, names=self.names or self._learn(axis, rows), known=known)
        plain = plain._on_few(axis, rows[:FEW_PIXELS])
        loop, why_not = plain._try(axis, rows, pixels)
        if self.jit and loop is None:
            raise FunctionError(f"{self.name} cannot run compiled: {why_not}")
        decision = "compiled" if loop else f"plain Python: {why_not}"
        log.info("%s: %s", self.name, decision)
        return replace(plain, loop=loop, decision=decision)

    def _on_few(self, axis: TimeAxis, rows: Floats) -> PixelFunction:
        """Learn what the values are like. A wrong number of values is said here."""
        if not len(rows):
            return self
        bound = replace(self, strict=False).bind(axis, None, {})
        try:
            table, _ = bound.compute(rows)
            again, _ = bound.compute(rows[:1])
        except MemoryError:  # the job says what to do about it
            return self
        varying = not np.array_equal(table[:, :1], again, equal_nan=True)
        return replace(self, whole=self._whole(table), varying=varying)

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundPixelFunction:
        """Fix the dates and the bands."""
        return BoundPixelFunction(**self._bound(axis, bands, inputs), gaps=self.gaps, loop=self.loop)

    def _learn(self, axis: TimeAxis, rows: Floats) -> tuple[str, ...]:
        arrays = self.call.arrays(axis)
        failure = ""
        for row in rows:
            try:
                with np.errstate(all="ignore"):
                    result = _call_on(self.call, arrays, row, ~np.isnan(row), self.gaps)
            except FAILURES as error:
                failure = failure or _traceback(error)
                continue
            return _numbered(_row(result, self.name, None).size)
        raise _not_learnt(self.name, len(rows), failure)

    def _try(self, axis: TimeAxis, rows: Floats, pixels: int | None) -> tuple[CompiledLoop | None, str]:
        """Return the compiled loop, or None and why."""
        if self.jit is False:
            return None, "jit=False"
        if not len(rows):
            return None, "there was no pixel to try it on"
        if self.varying:
            return None, "it returns different values on each call"
        if self.jit is None and pixels is not None and pixels * len(axis) <= SMALL_JOB:
            return None, f"compiling would take longer than {pixels} pixels"
        bound = replace(self, strict=False).bind(axis, None, {})
        import_numba()  # which costs 0.5 s
        from pixelwise.methods.functions.compiled import CannotCompile, CompiledLoop

        call = self.call
        loop = CompiledLoop(call.function, call.positional, call.named, call.keywords, len(bound.names), self.gaps)
        try:
            loop.prepare()
        except CannotCompile as why:
            return None, str(why)
        table, status = bound.compute(rows)
        difference = _difference(table[:-1], status == Status.FUNCTION_FAILED, *bound.run_compiled(loop, rows))
        if difference and loop.used_before:
            loop.forget()
            difference = _difference(table[:-1], status == Status.FUNCTION_FAILED, *bound.run_compiled(loop, rows))
        return (None, difference) if difference else (loop, "")


def _mixed_pixels(sample: Floats, min_obs: int) -> Floats:
    """Return up to 256 (pixel, time) series of as many different lengths as there are, always the same."""
    counts = np.count_nonzero(~np.isnan(sample), axis=0)
    random = np.random.default_rng(0)
    shuffled = random.permutation(np.flatnonzero(counts >= min_obs))
    shuffled = shuffled[np.argsort(counts[shuffled], kind="stable")]
    lengths, first = np.unique(counts[shuffled], return_index=True)
    # 0 for the first series of each length, 1 for the second, ...
    rank = np.arange(shuffled.size) - first[np.searchsorted(lengths, counts[shuffled])]
    chosen = shuffled[np.lexsort((random.random(shuffled.size), rank))[:TRIAL_PIXELS]]
    return np.array(sample[:, chosen].T, dtype=np.float64, order="C")


def _not_learnt(name: str, tried: int, failure: str) -> FunctionError:
    if not tried:
        return FunctionError(f"the bands of {name} cannot be learnt: no pixel of the sample has enough observations")
    pixels = "the one pixel" if tried == 1 else f"each of the {tried} pixels"
    return FunctionError(f"{name} failed on {pixels} on which it was tried\n{failure}")


def _difference(plain: Floats, plain_failed: Any, compiled: Floats, compiled_failed: Any) -> str:
    """Say how compiled results differ from plain ones; empty if they do not."""
    if plain_failed.all():
        return "it failed on every pixel on which it was tried"
    if (plain_failed != compiled_failed).any():
        return "compiled, it fails on other pixels"
    a, b = plain[:, ~plain_failed], compiled[:, ~plain_failed]
    with np.errstate(invalid="ignore"):
        near = np.abs(a - b) <= TOLERANCE * np.maximum(np.abs(a), np.abs(b))
    near |= (a == b) | (np.isnan(a) & np.isnan(b))
    if near.all():
        return ""
    return f"compiled, it gives other numbers ({float(b[~near][0])!r}, not {float(a[~near][0])!r})"


def _call_on(call: Call, arrays: Sequence[NDArray[Any]], row: Floats, valid: NDArray[np.bool_], gaps: bool) -> Any:
    """Call a function on one pixel, with arrays that it may change."""
    if gaps:
        return call(row.copy(), [array.copy() for array in arrays])
    return call(row[valid], [array[valid] for array in arrays])


@dataclass(frozen=True, eq=False)
class BoundPixelFunction:
    """A user's function of one pixel's series, bound to dates and bands.

    Attributes
    ----------
    call
        The function, and how it is called.
    bands
        The wanted bands.
    names
        Names of the values that the function returns.
    rows
        Position of each wanted band among `names` and ``n``.
    arrays
        (time,) arrays that the function gets next to the values.
    min_obs, gaps, strict, loop
        As in `PixelFunction`.
    """

    call: Call
    bands: tuple[Band, ...]
    names: tuple[str, ...]
    rows: tuple[int, ...]
    arrays: tuple[NDArray[Any], ...]
    min_obs: int
    gaps: bool
    strict: bool
    loop: CompiledLoop | None
    halo: int = 0

    @property
    def releases_gil(self) -> bool:
        """Whether threads run it in parallel."""
        return self.loop is not None

    def __call__(
        self, inputs: tuple[NDArray[Any], ...], dtype: str = "float64"
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Compute one block; see `BoundMethod`."""
        block = inputs[0]
        pixels = block.shape[1]
        # In float64 whatever the map's type: who rounds looks for whole numbers that are lost.
        values = np.empty((len(self.rows), pixels))
        status = np.empty(pixels, dtype=np.uint8)
        for start in range(0, pixels, BLOCK_WIDTH):
            part = slice(start, start + BLOCK_WIDTH)
            # A copy with each series in one piece: functions never see a view of the block.
            rows = np.array(block[:, part].T, dtype=np.float64, order="C")
            table, status[part] = self.compute(rows, self.loop)
            values[:, part] = table[list(self.rows)]
        return values, status

    def compute(self, rows: Floats, loop: CompiledLoop | None = None) -> tuple[Floats, NDArray[np.uint8]]:
        """Compute (pixel, time) series.

        Returns
        -------
        table : (band, pixel), all that the function returns, then ``n``
        status : (pixel,)
        """
        valid = ~np.isnan(rows)
        counts = np.count_nonzero(valid, axis=1)
        status = _status_of(counts, self.min_obs)
        table = np.full((len(self.names) + 1, len(rows)), np.nan)
        table[-1] = counts
        again = status == Status.OK
        if loop is not None:
            table[:-1], failed = self.run_compiled(loop, rows)
            # Compiled code gives NaN or inf where Python's math raises: what is not finite is done again.
            again &= failed | ~np.isfinite(table[:-1]).all(axis=0)
        with np.errstate(all="ignore"):
            for pixel in np.flatnonzero(again):
                try:
                    result = _call_on(self.call, self.arrays, rows[pixel], valid[pixel], self.gaps)
                except MemoryError:  # of the machine: on another the pixel has an answer
                    raise
                except FAILURES as error:
                    if self.strict:
                        raise _stop(self.call.name, error, rows[pixel]) from error
                    table[:-1, pixel] = np.nan
                    status[pixel] = Status.FUNCTION_FAILED
                else:
                    table[:-1, pixel] = _row(result, self.call.name, self.names)
        return table, status

    def run_compiled(self, loop: CompiledLoop, rows: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Run compiled code on (pixel, time) series: (band, pixel) values, and which pixels failed."""
        counts = np.count_nonzero(~np.isnan(rows), axis=1)
        values = np.full((len(self.names), len(rows)), np.nan)
        failed = np.zeros(len(rows), dtype=np.bool_)
        loop(rows, counts, self.min_obs, self.arrays, values, failed)
        return values, failed

    def traceback_of(self, series: NDArray[Any]) -> str | None:
        """Run one pixel in plain Python and return the user's own traceback.

        Parameters
        ----------
        series
            (time,) numbers, NaN where missing.

        Returns
        -------
        str or None
            None where the function does not fail, or is not called.
        """
        row = np.array(series, dtype=np.float64)
        valid = ~np.isnan(row)
        if np.count_nonzero(valid) < self.min_obs:
            return None
        try:
            with np.errstate(all="ignore"):
                _call_on(self.call, self.arrays, row, valid, self.gaps)
        except FAILURES as error:
            return _traceback(error)
        return None


def _status_of(counts: NDArray[Any], min_obs: int) -> NDArray[np.uint8]:
    status = np.where(counts < min_obs, Status.TOO_FEW, Status.OK).astype(np.uint8)
    status[counts == 0] = Status.NO_OBSERVATION
    return status


@dataclass(frozen=True)
class BlockFunction(UserFunction):
    """A user's vectorised function of many pixels."""

    def rehearse(self, axis: TimeAxis, sample: Callable[[], Floats], pixels: int | None = None) -> BlockFunction:
        """Learn on a few pixels the bands, unless they have names, and what the values are like.

        Raises
        ------
        FunctionError
            When the function fails on every pixel, or returns anything but (band, pixel).
        """
        if self.decision:
            return self
        known = self.fingerprint()
        block = _mixed_pixels(sample(), self.min_obs).T
        learnt = replace(self, names=self.names or self._learn(axis, block), known=known)
        learnt = replace(learnt, decision="plain Python: it works on blocks")
        bound = replace(learnt, strict=False).bind(axis, None, {})
        try:
            table, again = bound((block,))[0], bound((block,))[0]
        except MemoryError:  # the job says what to do about it
            return learnt
        varying = not np.array_equal(table, again, equal_nan=True)
        return replace(learnt, whole=learnt._whole(table), varying=varying)

    def bind(self, axis: TimeAxis, bands: Sequence[str] | None, inputs: Mapping[str, TimeAxis]) -> BoundBlockFunction:
        """Fix the dates and the bands."""
        return BoundBlockFunction(**self._bound(axis, bands, inputs))

    def _learn(self, axis: TimeAxis, block: Floats) -> tuple[str, ...]:
        arrays = self.call.arrays(axis)
        failure = ""
        everything = np.arange(block.shape[1])
        # All together, then one by one, because a few may be such that the function fails.
        for pixels in [everything, *everything[:, None]] if everything.size else []:
            try:
                result = _call_on_block(self.call, arrays, block, pixels)
            except FAILURES as error:
                failure = failure or _traceback(error)
                continue
            return _numbered(len(_table(result, self.name, None)))
        raise _not_learnt(self.name, everything.size, failure)


def _call_on_block(call: Call, arrays: Sequence[NDArray[Any]], block: NDArray[Any], pixels: NDArray[Any]) -> Any:
    """Call a vectorised function on some pixels, with arrays that it may change."""
    values = np.take(block, np.resize(pixels, BLOCK_WIDTH), axis=1).astype(np.float64, copy=False)
    with np.errstate(all="ignore"):
        return call(values, [array.copy() for array in arrays])


def _table(result: Any, name: str, bands: Sequence[str] | None) -> Floats:
    """Return the (band, pixel) numbers that a vectorised function returned.

    Raises
    ------
    FunctionError
        When they are not numbers, or of another shape.
    """
    table = _as_floats(result)
    if table is not None and table.shape == (BLOCK_WIDTH,):
        table = table[None]
    fits = table is not None and table.ndim == 2 and table.shape[1] == BLOCK_WIDTH and len(table)
    if table is None or not fits or (bands is not None and len(table) != len(bands)):
        wanted = "(band" if bands is None else f"({len(bands)}"
        meaning = "" if bands is None else f" for {', '.join(bands)}"
        got = f"{type(result).__name__} {_short(result)}" if table is None else f"{table.shape}"
        raise FunctionError(f"{name}: expected {wanted}, {BLOCK_WIDTH}){meaning}, got {got}")
    return table


@dataclass(frozen=True, eq=False)
class BoundBlockFunction:
    """A user's vectorised function, bound to dates and bands; attributes as in `BoundPixelFunction`."""

    call: Call
    bands: tuple[Band, ...]
    names: tuple[str, ...]
    rows: tuple[int, ...]
    arrays: tuple[NDArray[Any], ...]
    min_obs: int
    strict: bool
    halo: int = 0
    releases_gil: bool = True

    def __call__(
        self, inputs: tuple[NDArray[Any], ...], dtype: str = "float64"
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Compute one block; see `BoundMethod`."""
        block = inputs[0]
        counts = np.count_nonzero(~np.isnan(block), axis=0)
        status = _status_of(counts, self.min_obs)
        # In float64 whatever the map's type, as in `BoundPixelFunction`.
        table = np.full((len(self.names) + 1, block.shape[1]), np.nan)
        table[-1] = counts
        todo = np.flatnonzero(status == Status.OK)
        parts = [todo[start : start + BLOCK_WIDTH] for start in range(0, todo.size, BLOCK_WIDTH)]
        while parts:
            pixels = parts.pop()
            try:
                result = _call_on_block(self.call, self.arrays, block, pixels)
            except FAILURES as error:
                if pixels.size > 1:
                    # Halves until only those that fail are left: the others keep their values.
                    parts += [pixels[: pixels.size // 2], pixels[pixels.size // 2 :]]
                    continue
                if isinstance(error, MemoryError):  # of the machine: on another the pixel has an answer
                    raise
                if self.strict:
                    raise _stop(self.call.name, error, block[:, pixels[0]]) from error
                status[pixels] = Status.FUNCTION_FAILED
            else:
                table[:-1, pixels] = _table(result, self.call.name, self.names)[:, : pixels.size]
        return table[list(self.rows)], status

    def traceback_of(self, series: NDArray[Any]) -> str | None:
        """Run one pixel and return the user's own traceback; None where the function does not fail.

        Parameters
        ----------
        series
            (time,) numbers, NaN where missing.
        """
        block = np.array(series, dtype=np.float64)[:, None]
        if np.count_nonzero(~np.isnan(block)) < self.min_obs:
            return None
        try:
            _call_on_block(self.call, self.arrays, block, np.arange(1))
        except FAILURES as error:
            return _traceback(error)
        return None


# --- from anything to a method -----------------------------------------------------------------------------


def as_method(
    thing: Method | Callable[..., Any] | str,
    bands: Sequence[str] | None = None,
    parameters: Mapping[str, Any] | None = None,
    jit: bool | None = None,
) -> Method:
    """Make a method of a method, a function, or ``file.py:function``.

    Parameters
    ----------
    thing
        A `Method` stays itself; a function that `per_pixel` or `per_block` did not mark is one of a pixel.
    bands
        Names for the values of a function that has none yet. For one that has, they are only checked: they
        choose among its bands, and `Method.bind` does that.
    parameters
        Keyword parameters of the function; texts are parsed by the type of the parameter's default.
    jit
        Overrides what `per_pixel` says.

    Raises
    ------
    ParameterError
        For unknown parameters or bands, or parameters of a finished method.
    FunctionError
        For a function that cannot be called with a pixel's series, or a file that cannot be imported.
    """
    if isinstance(thing, Method):
        if parameters or jit is not None:
            raise ParameterError(f"{thing.name} is a method with its parameters: they cannot be given again")
        return thing
    if isinstance(thing, str):
        return as_method(load_function(thing), bands, parameters, jit)
    if not callable(thing):
        raise ParameterError(f"a method or a function is wanted, not {type(thing).__name__}")
    options = _options_of(thing) or PixelOptions(thing)
    call = _inspect(_unmarked(thing), parameters or {})
    if options.bands is None:
        names = _checked_names(bands)
    else:
        names = options.bands
        for name in () if bands is None else bands:
            if name not in (*names, COUNT_BAND.name, STATUS_BAND.name):
                raise unknown(f"band of {call.name}", name, [*names, COUNT_BAND.name, STATUS_BAND.name])
    if isinstance(options, BlockOptions):
        if jit:
            raise ParameterError(f"{call.name} works on blocks: it is never compiled")
        return BlockFunction(call, names, options.min_obs)
    return PixelFunction(call, names, options.min_obs, gaps=options.gaps, jit=options.jit if jit is None else jit)

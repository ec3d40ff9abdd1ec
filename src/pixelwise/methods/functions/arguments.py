"""Tell by their names which parameters of a user's function are times and which are values.

pixelwise passes values first: ``function(values, times)``. Regressions of SciPy and NumPy take them the other way
round, and run without an error in either order: `scipy.stats.linregress` itself gave 99.4 years per unit for a slope of
0.0081 a year. A second parameter called ``month`` would run as well: it would get decimal years, and
``values[month == 1].mean()`` would be NaN at every pixel.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

__all__ = ["check_order", "is_about_time", "not_passed"]

#: Words in names of times. A name with any other word means something else: ``time_series``, ``day_lst``.
TIMES: Final = frozenset({
    "t", "time", "times", "timestamp", "timestamps", "datetime", "datetimes", "date", "dates", "year", "years", "yr",
    "yrs", "month", "months", "week", "weeks", "day", "days", "doy", "doys", "dekad", "dekads", "jd", "julian",
    "epoch", "epochs", "when",
})  # fmt: skip
#: Words that may accompany them: ``decimal_years``, ``t_valid``, ``obs_dates``.
BESIDE: Final = frozenset({
    "acq", "acquisition", "all", "arr", "array", "axis", "coord", "coords", "dec", "decimal", "float", "frac",
    "fractional", "idx", "index", "int", "list", "my", "np", "num", "number", "numbers", "numeric", "obs",
    "observation", "ordinal", "ordinals", "sorted", "valid", "vec", "vector",
})  # fmt: skip
#: Names that are times before values (``x, y``) but values before times (``x, t``).
EITHER: Final = frozenset({"x", "xs", "xx", "xdata", "d"})
#: Words that certainly do not mean times.
VALUES: Final = frozenset({
    "value", "values", "val", "vals", "ndvi", "evi", "savi", "msavi", "ndwi", "ndmi", "nbr", "gndvi", "lai", "fpar",
    "fapar", "lst", "nir", "swir", "reflectance", "vi", "rain", "rainfall", "precip", "precipitation", "temp",
    "temperature", "chl", "sst", "npp", "gpp",
})  # fmt: skip
#: Names of an optional second array.
SECOND_ARRAYS: Final = frozenset({"y", "ys", "yy", "ydata", "data", *VALUES})

#: Words in names of a second parameter that wants decimal years.
DECIMAL_YEARS: Final = frozenset({
    "t", "tt", "ts", "time", "times", "timepoints", "years", "yrs", "when", "abscissa", "abscissae", "x", "xs", "xx",
    "xi", "xdata", "xvals",
})  # fmt: skip
#: Words that make decimal years of ``year`` or ``date``: ``decimal_year``, ``frac_year``.
DECIMAL: Final = frozenset({"dec", "decimal", "float", "frac", "fractional"})
#: Words of times that count something else, even if ``time`` is beside them: ``time_index``, ``times_int``.
COUNTED: Final = frozenset({"idx", "index", "int", "num", "number", "numbers", "ordinal", "ordinals"})
#: Words that say nothing about the unit.
NEUTRAL: Final = (BESIDE - COUNTED) | {"point", "points", "value", "values", "val", "vals"}
#: How to compute what functions ask for most often.
INSTEAD: Final = {
    "month": "dates.astype('datetime64[M]').astype(int) % 12 + 1", "day": "dates - dates.astype('datetime64[M]')",
}  # fmt: skip

#: Functions that give the same result in either order.
SYMMETRIC: Final = frozenset({("scipy", "pearsonr"), ("scipy", "kendalltau"), ("scipy", "spearmanr")})
#: How to call functions that return more than one number, or have more parameters.
RIGHT_FORMS: Final = {
    ("scipy", "linregress"): "lambda y, t: scipy.stats.linregress(t, y).slope",
    ("numpy", "polyfit"): "lambda y, t: numpy.polyfit(t, y, 1)[0]",
    ("numpy", "corrcoef"): "lambda y, t: numpy.corrcoef(t, y)[0, 1]",
}


def check_order(function: Callable[..., Any], name: str, parameters: Sequence[inspect.Parameter]) -> str:
    """Return what is wrong with the order of a function's parameters, in one line; empty if nothing is.

    Parameters
    ----------
    function
        The function as it is called; may be a `functools.partial`.
    name
        Name of the function.
    parameters
        The parameters that are not bound yet, in order.
    """
    if len(parameters) < 2 or not all(_is_positional(parameter) for parameter in parameters[:2]):
        return ""
    first, second = parameters[0].name, parameters[1].name
    known = _known(function)
    needed = parameters[1].default is inspect.Parameter.empty
    optional = parameters[1].default is None and second.lower() in SECOND_ARRAYS
    if known in SYMMETRIC or not (needed or optional):
        return ""
    times_elsewhere = any(parameter.name == "times" for parameter in parameters[2:])
    if not (_comes_before(first, second) or (needed and not times_elsewhere and _is_of_values(first, second))):
        return ""
    shown = "the function" if name == "<lambda>" else name
    said = (
        f"{shown}({first}, {second}{', ...' * (len(parameters) > 2)}): pixelwise passes values first, then times; "
        f"here {first} would get the values and {second} the times"
    )
    if name == "<lambda>":
        return f"{said}; swap them, or call the first one y and the second one t: lambda y, t: ..."
    if known in RIGHT_FORMS:
        return f"{said}; wrap it: {RIGHT_FORMS[known]}"
    return f"{said}; swap them where it is defined, or wrap it: lambda y, t: {name}(t, y)"


def not_passed(function: Callable[..., Any], name: str, parameter: inspect.Parameter) -> str:
    """Return why a parameter cannot get the decimal years, in one line; empty if its name allows for them.

    Parameters
    ----------
    function, name
        As in `check_order`.
    parameter
        The second one, or a later one that nothing else sets.
    """
    said, words = parameter.name, _words(parameter.name)
    # A letter, or `_`, says nothing; of the functions of SciPy, some take the times under any name.
    if len(said) == 1 or said.startswith("_") or _known(function) in SYMMETRIC:
        return ""
    decimal = DECIMAL_YEARS | (TIMES if words & DECIMAL else frozenset())
    if words & decimal and words <= decimal | NEUTRAL:
        return ""
    shown = "the function" if name == "<lambda>" else name
    how = next((f"; {one} is {INSTEAD[one]}" for one in INSTEAD if words & {one, f"{one}s"}), "")
    return (
        f"{shown}: nothing is called {said!r}: use dates (days), year or doy (day of the year), or name it times to "
        f"get decimal years such as 2010.04{how}"
    )


def is_about_time(name: str) -> bool:
    """Whether a name has a word of times: ``month``, ``day_of_year``."""
    return bool(_words(name) & TIMES)


def _known(function: Callable[..., Any]) -> tuple[str, str]:
    """Return the package and the name of a function."""
    core = function
    while isinstance(core, functools.partial):
        core = core.func
    return str(getattr(core, "__module__", "")).partition(".")[0], str(getattr(core, "__name__", ""))


def _means_times(name: str) -> bool:
    """Whether the name of a parameter means times: ``t``, ``dates``, ``decimal_years``."""
    words = _words(name)
    return bool(words & TIMES) and words <= TIMES | BESIDE | EITHER


def _comes_before(first: str, second: str) -> bool:
    """Whether these names mean times followed by values."""
    one, other = _words(first), _words(second)
    # A second parameter without a word, such as `_`, is not used, so the first one must be values.
    if not one or not other or _means_times(second):
        return False
    return _means_times(first) or (one <= EITHER and not other <= EITHER)


def _is_of_values(first: str, second: str) -> bool:
    """Whether the second name means values and the first does not."""
    return bool(_words(second) & VALUES) and not _words(second) & TIMES and not _words(first) & VALUES


def _words(name: str) -> set[str]:
    """Return the words of a name, in lower case and without numbers: {time, series} of ``timeSeries_1``."""
    return set(re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()))


def _is_positional(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)

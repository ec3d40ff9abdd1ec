"""Say what was meant by a method's name that there is not: other software and other people name methods differently.

A name in another form is a hint and never a second name: commands, tags and papers all name a method in one way.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pixelwise.errors import ParameterError, PixelwiseError
from pixelwise.regular_files import check_regular, read_bytes
from pixelwise.words import first_of, shown, unknown

__all__ = ["functions_in", "looks_like_input", "meant", "unknown_method"]

#: Methods by names that others use, in lower case and without separators.
OTHER_NAMES: Final = {
    "ols": (
        "linregress", "linear", "linearregression", "lineartrend", "regression", "lm", "leastsquares", "polyfit",
        "olsregression", "slope", "lsr",
    ),
    "theil_sen": (
        "sen", "sens", "theil", "thielsen", "theilslopes", "senslope", "sensslope", "theilsenslope", "ts",
    ),
    "siegel": ("siegelslopes", "repeatedmedian", "repeatedmedians"),
    "mann_kendall": ("mk", "mktest", "mankendall", "kendall", "kendalltau", "tau", "originaltest"),
    "seasonal_kendall": ("smk", "seasonalmk", "seasonalmannkendall", "seasonaltest", "hirschslack"),
    "contextual_mann_kendall": ("cmk", "contextualmk", "contextualkendall", "contextual"),
    "wls": ("weighted", "weightedleastsquares", "weightedregression"),
    "robust": ("huber", "bisquare", "tukey", "rlm", "irls"),
    "polynomial": ("poly", "quadratic", "cubic"),
    "harmonic": ("fourier", "harmonics", "sinusoid", "hants"),
    "regress": ("multiple", "multipleregression", "covariates"),
    "restrend": ("residualtrend", "residualtrends"),
    "correlation": ("corr", "cor", "corrcoef", "pearson", "spearman"),
    "summary": ("stats", "statistics", "mean", "median", "std", "min", "max", "quantile", "percentile"),
    "mann_kendall with the parameter correction=hamed_rao": ("hamedrao", "hamedraomodification", "modifiedmk", "mmkh"),
    "mann_kendall with the parameter correction=yue_wang": ("yuewang", "yuewangmodification", "mmky"),
    "mann_kendall with the parameter correction=prewhiten": ("prewhiten", "prewhitening", "pwmk", "tfpw", "tfpwmk"),
}  # fmt: skip
#: Names of what pixelwise does not have: breaks in a series, and models that are no method here.
NO_BREAKS = (
    "bfast", "bfastmonitor", "bfastlite", "ccdc", "landtrendr", "breaks", "breakpoint", "breakpoints", "changepoint",
    "changepoints", "pettitt", "cusum", "mosum", "ewmacd", "cold", "pycold", "rbeast", "beast", "segmented",
)  # fmt: skip
#: Characters of patterns and paths, and of lists of files.
OF_PATHS = re.compile(r"[/*?\\]|^@|\.(tiff?|jp2|vrt|img|csv|txt|json|nc4?|hdf|h5|zarr|toml|gpkg|shp|geojson)$", re.I)


def meant(name: str, known: Iterable[str]) -> str | None:
    """Return the method that is meant by another name for it, with a parameter if it needs one; None if unclear."""
    if re.fullmatch(r"[\w .-]+", name) is None:
        return None
    plain = re.sub(r"[\W_]", "", name).casefold()
    for method in known:
        if plain == method.replace("_", ""):
            return method
    return next((method for method, others in OTHER_NAMES.items() if plain in others), None)


def looks_like_input(text: str) -> bool:
    """Whether a text names files rather than a method."""
    return OF_PATHS.search(text) is not None or os.path.exists(text)  # noqa: PTH110 - any text is allowed


def unknown_method(name: str, known: Iterable[str]) -> ParameterError:
    """Return the error for a name that is none of the `known` methods, with what was probably meant."""
    names = list(known)
    listed = f"(known: {', '.join(names)})"
    if (found := meant(name, names)) is not None:
        quoted = f"{found!r}" if " " not in found else found
        return ParameterError(f"unknown method {shown(name)}; did you mean {quoted}? {listed}")
    if re.sub(r"[\W_]", "", name).casefold() in NO_BREAKS:
        return ParameterError(
            f"unknown method {shown(name)}: no method finds breaks in a series; each describes it as a whole {listed}"
        )
    module, colon, function = name.rpartition(":")
    if colon and module.isidentifier() and function.isidentifier():
        return ParameterError(
            f"unknown method {shown(name)}: a function is named by its file, {module}.py:{function}, not by its module"
        )
    if looks_like_input(name):
        return ParameterError(f"{shown(name)} names files, not a method: expected one of {', '.join(names)}")
    if name.isidentifier():
        error = unknown("method", name, names)
        return ParameterError(f"{error}; a function of your own is given with its file, file.py:{name}")
    return unknown("method", name, names)


def functions_in(path: str) -> str:
    """Return the functions that a Python file defines, for a message; the file is not run."""
    try:
        check_regular(Path(path))
        tree = ast.parse(read_bytes(Path(path)))
    except (PixelwiseError, OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    found = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    return f" ({first_of(found)})" if found else ""

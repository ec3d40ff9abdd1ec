"""How messages are worded."""

from __future__ import annotations

import html
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from pixelwise.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "NAMED",
    "SHOWN",
    "count",
    "escaped",
    "first_of",
    "html_table",
    "not_a_choice",
    "one_line",
    "shortened",
    "show",
    "shown",
    "unknown",
    "width_by_height",
]

#: At most this many offending names are listed in one line.
SHOWN: Final = 5
#: At most this many known names are listed: enough for all fields of a recipe.
MOST_NAMES = 40


def shown(value: object, most: int = 200) -> str:
    """Format a value from a user or a file for a message; for a long one, only both ends.

    Parameters
    ----------
    value
        Anything; Python refuses to print integers of more than 4300 digits.
    most
        Characters to show without shortening.
    """
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 4 :]}"


def escaped(text: str, kept: str = "") -> str:
    """Escape what no terminal or font should be given, but for some characters: names in files may hold anything."""
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def one_line(error: object) -> str:
    """Return an error's message in one line."""
    return " ".join(str(error).split())


def html_table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names and texts for notebooks; texts may come from files, and are escaped."""
    body = "".join(
        f'<tr><th style="text-align: left">{html.escape(name)}</th>'
        f'<td style="text-align: left">{html.escape(text)}</td></tr>'
        for name, text in rows
    )
    return f"<table><caption>{html.escape(title)}</caption><tbody>{body}</tbody></table>"


def first_of(texts: Sequence[str], most: int = SHOWN, separator: str = ", ") -> str:
    """Return the first of some strings, and how many more there are."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return f"{separator.join(texts[:most])}{more}"


def unknown(what: str, name: str, known: Iterable[str]) -> ParameterError:
    """Return the error for a `name` that is not among `known`, with the closest match and some of the known names."""
    names = list(known)
    return ParameterError(f"unknown {what} {shown(name)}{_likely(name, names)} (known: {_listed(names)})")


def not_a_choice(option: str, value: object, choices: Iterable[str]) -> ParameterError:
    """Return the error for an option whose `value` is not among its `choices`, with the closest match."""
    words = list(choices)
    return ParameterError(f"{option}={shown(value)} is not one of {_listed(words)}{_likely(value, words)}")


def _likely(name: object, names: Sequence[str]) -> str:
    # Comparing a long name takes minutes, and it is not a typing error anyway.
    if not isinstance(name, str) or len(name) > 2 * max(map(len, names), default=0):
        return ""
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _listed(names: Sequence[str]) -> str:
    more = f", ... and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(names[:MOST_NAMES])}{more}"


def show(text: str) -> str:
    """Escape characters that a terminal would act on."""
    return text if text.isprintable() else repr(text)[1:-1]


def count(items: Sequence[object], what: str) -> str:
    """Return ``1 file``, ``2 files``."""
    return f"{len(items)} {what}" + ("s" if len(items) != 1 else "")


#: At most this many files are named in one problem; the rest are counted.
NAMED = 5


def shortened(lines: Sequence[str], what: str = "files") -> list[str]:
    """Return the first problems of a kind, and how many more there are."""
    if len(lines) <= NAMED + 1:
        return list(lines)
    return [*lines[:NAMED], f"... and {len(lines) - NAMED} more {what} like these"]


def width_by_height(width: float | str, height: float | str) -> str:
    """Return a size in pixels, in the order of gdalinfo and of the extent of every GIS: the one form of all messages.

    NumPy's order is the other one, so that the order is said whenever a size is shown.
    """
    return f"{width} x {height} pixels (width x height)"

"""Dates in a format like that of strptime."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Literal

from pixelwise.dates.axis import Moment
from pixelwise.dates.paths import base, below_common_parent
from pixelwise.dates.rules import DIRECTIVES, UNPADDED, Reading, fill_fields, moment_of
from pixelwise.errors import InputError, ParameterError
from pixelwise.words import count, first_of, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["by_format", "read_format"]


def by_format(texts: Sequence[str], format: str, *, anywhere: bool = False) -> list[Moment]:  # noqa: A002
    """Return the dates that a format finds in all texts, with `anywhere` also among other digits; else nothing."""
    try:
        pattern = _format_pattern(format)
    except ParameterError:
        return []
    bounded = re.compile(rf"(?<!\d){pattern}(?!\d)", re.IGNORECASE)
    within = re.compile(rf"(?=({pattern}))", re.IGNORECASE)
    moments: list[Moment] = []
    for text in texts:
        found = _found(bounded.finditer(text)) or (_found(within.finditer(text)) if anywhere else {})
        if len(found) != 1:
            return []
        moments += found
    return moments


def read_format(
    names: Sequence[str],
    format: str,  # noqa: A002
    *,
    what: Literal["file", "band"] = "file",
) -> list[Reading]:
    """Read dates in a format like that of strptime, found anywhere in the base name, or else in the path.

    Parameters
    ----------
    names
        Paths with forward slashes, or band descriptions.
    format
        Directives and literal text. From strptime: ``%Y %y %m %b %B %d %j %H %M %S %f %z``, and weeks: ``%G`` with
        ``%V`` (ISO 8601), ``%U`` and ``%W`` (beginning on Sunday and Monday, week 00 before the first). In addition:
        ``%J``, the week in steps of seven days from 1 January, in two or three digits; ``%K``, the dekad of the month
        with ``%m`` (1 to 3), else of the year (01 to 36); ``%P``, the pentad of the month (1 to 6). ``%Y`` before
        ``%y`` or another ``%Y`` is a year that ends in the next one (2001_02). Years are 1800-2199, month names
        English; a time with ``%z`` is converted to UTC.
    what
        ``"file"`` for paths, ``"band"`` for descriptions, which are used whole.

    Returns
    -------
    list of Reading
        One per name; the precision follows from the directives.

    Raises
    ------
    ParameterError
        When a directive is unknown, repeated, or meaningless without another one.
    InputError
        When the format is not found in some names, or is found with different dates.
    """
    pattern = _format_pattern(format)
    bounded = re.compile(rf"(?<!\d){pattern}(?!\d)", re.IGNORECASE)
    anywhere = re.compile(rf"(?=({pattern}))", re.IGNORECASE)
    rule = f"--times {format}"
    found: list[dict[Moment, str]] = []
    levels = (list(names),) if what == "band" else ([base(name) for name in names], below_common_parent(names), names)
    for level in levels:
        found = [_found(bounded.finditer(text)) or _found(anywhere.finditer(text)) for text in level]
        if all(found):
            break
    none = [show(name) for name, row in zip(names, found, strict=True) if not row]
    twice = [
        f"{show(name)} ({', '.join(map(str, row))})" for name, row in zip(names, found, strict=True) if len(row) > 1
    ]
    shown = f"--times {show(format)}"
    where = "description" if what == "band" else "name"
    problems = []
    if none:
        core = _without_text_around(format)
        shorter = f"; --times '{core}' matches all of them" if core != format and by_format(names, core) else ""
        problems.append(f"no date like {shown} in {count(none, where)}: {first_of(none)}{shorter}")
    if twice:
        problems.append(
            f"more than one date like {shown} in {count(twice, where)}: {first_of(twice, separator='; ')}; "
            "include the text beside the date in the format, or give a file of dates"
        )
    if problems:
        raise InputError(*problems)
    return [Reading(moment, rule, text) for row in found for moment, text in row.items()]


def _without_text_around(format: str) -> str:  # noqa: A002
    """Return the part of a format from its first directive to its last."""
    first, last = format.find("%"), format.rfind("%")
    return format[first : last + 2]


def _found(matches: Iterator[re.Match[str]]) -> dict[Moment, str]:
    """Return the dates that are found, and where."""
    moments: dict[Moment, str] = {}
    for match in matches:
        try:
            moment = moment_of(match)
        except ValueError:
            continue
        if moment:
            # Overlapping matches are found by a lookahead at every place, which has them in the first group.
            moments.setdefault(moment, match[0] or match[1])
    return moments


def _format_pattern(text: str) -> str:
    """Return the regular expression of a strptime format."""
    parts = re.findall(r"%.|%|[^%]+", text, re.DOTALL)
    used = [part[1:] for part in parts if part.startswith("%") and part != "%%"]
    unknown = [f"%{letter}" for letter in used if letter not in DIRECTIVES]
    known = " ".join(f"%{letter}" for letter in DIRECTIVES)
    if unknown:
        raise ParameterError(f"--times {show(text)}: unknown {', '.join(unknown)} (known: {known})")
    if used in (["Y", "y"], ["Y", "Y"]):
        return _pair_pattern(parts)
    fields = {"b": "m", "B": "m", "y": "Y", "G": "Y"}
    repeated = [name for name, times in Counter(fields.get(name, name) for name in used).items() if times > 1]
    if repeated:
        raise ParameterError(f"--times {show(text)}: %{repeated[0]} occurs more than once")
    has = {fields.get(name, name) for name in used}
    if "Y" not in has:
        raise ParameterError(f"--times {show(text)}: neither an existing file nor a format with %Y or %y")
    for directive, wanted in (("d", "m"), ("M", "H"), ("S", "M"), ("f", "S"), ("z", "H"), ("P", "m")):
        if directive in has and wanted not in has:
            raise ParameterError(f"--times {show(text)}: %{directive} needs %{wanted}")
    if ("V" in used) != ("G" in used):
        raise ParameterError(
            f"--times {show(text)}: %V is the week of the ISO year %G, which may begin in another year than %Y; "
            "write both, or %J (weeks counted from 1 January), %U or %W with %Y"
        )
    parts_of_year = [name for name in ("j", "d", "V", "U", "W", "J", "K", "P") if name in has]
    weeks = has & {"V", "U", "W", "J"}
    if len(parts_of_year) > 1 or (has & {"j", *weeks} and "m" in has) or ("H" in has and not has & {"d", "j"}):
        raise ParameterError(
            f"--times {show(text)}: a day is either %m and %d, or %j; hours need a day; weeks (%V %U %W %J), dekads "
            "(%K) and pentads (%P) replace days"
        )
    result = ""
    for index, part in enumerate(parts):
        letter = part[1:] if part.startswith("%") else ""
        if letter in ("", "%"):
            result += re.escape(letter or part)
            continue
        pattern = DIRECTIVES[letter] if letter != "K" or "m" in has else fill_fields("<K>")
        beside = parts[max(index - 1, 0) : index] + parts[index + 1 : index + 2]
        if letter in UNPADDED and not any(re.fullmatch(r"%[^%bB]", other) for other in beside):
            # On its own: week 5 is not the first digit of a week 54 that does not exist.
            pattern = rf"{pattern[:-1]}|(?<!\d){UNPADDED[letter]}(?!\d))"
        result += pattern
    return result


def _pair_pattern(parts: Sequence[str]) -> str:
    """Return the regular expression of a year that ends in the next one: %Y_%y or %Y-%Y."""
    result, first = "", True
    for part in parts:
        if not part.startswith("%") or part == "%%":
            result += re.escape(part.replace("%%", "%"))
        elif first:
            result, first = result + DIRECTIVES["Y"], False
        else:
            result += rf"(?P<next>\d{{{2 if part == '%y' else 4}}})"
    return result

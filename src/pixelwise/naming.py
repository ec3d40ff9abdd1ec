"""Dates as people write them: in file names, band descriptions, tables and options.

The conventions are data: two tables of `Rule`, whose patterns name the fields that they find. Product rules
know their names (the second date of a Landsat name is its processing and is left out); generic rules know
only what dates look like, so their readings must agree, and differ between the files of a list.
"""

from __future__ import annotations

import csv
import re
from calendar import monthrange
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from pixelwise.errors import InputError, ParameterError
from pixelwise.times import Moment

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "Reading",
    "fill_fields",
    "moment_of",
    "parse_date",
    "read_format",
    "read_names",
    "read_range",
    "read_table",
    "shard_of",
]

SHOWN: Final = 5  # offending names in one problem line

# Short names of the fields in the patterns of rules: `<Y><M><D>`. A trailing 2 is the end of a from-to.
FIELDS: Final = {
    "Y": ("year", r"(?:18|19|20|21)\d\d"),
    "M": ("month", r"0[1-9]|1[0-2]"),
    "D": ("day", r"0[1-9]|[12]\d|3[01]"),
    "j": ("doy", r"00[1-9]|0[1-9]\d|[12]\d\d|3[0-5]\d|36[0-6]"),
    "h": ("hour", r"[01]\d|2[0-3]"),
    "m": ("minute", r"[0-5]\d"),
    "s": ("second", r"[0-5]\d"),
    "k": ("dekad", r"[123]"),
    "q": ("quarter", r"[1-4]"),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What one name says about time, and which rule says so."""

    moment: Moment
    rule: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One naming convention.

    Attributes
    ----------
    name
        What people call it.
    pattern
        Its groups are named for the fields of a date (`FIELDS`); they decide the precision: an hour makes a
        ``second``; a dekad, a quarter or a second date a ``period``; a day or day of year a ``day``.
    """

    name: str
    pattern: re.Pattern[str]


# A group of a pattern and its text. 20010116 may end one file's composite and begin the next one's.
Token = tuple[int | str, str]


class Candidate(NamedTuple):  # thousands are made, and a dataclass takes three times as long
    """A place in a name that looks like a date."""

    span: tuple[int, int]
    tokens: list[Token]
    rule: str
    match: re.Match[str]


def fill_fields(template: str) -> str:
    """Write the named groups of `FIELDS` in place of ``<Y>``, ``<M>``, ... ``<D2>``."""

    def group(match: re.Match[str]) -> str:
        name, pattern = FIELDS[match[1]]
        return f"(?P<{'to_' if match[2] else ''}{name}>{pattern})"

    return re.sub(rf"<([{''.join(FIELDS)}])(2?)>", group, template)


def _product(name: str, template: str) -> Rule:
    # Products begin a name, or follow a prefix such as `clip_` or the index of Earth Engine's toBands().
    return Rule(name, re.compile(r"(?<![A-Za-z0-9])" + fill_fields(template), re.IGNORECASE))


def _generic(name: str, template: str) -> Rule:
    return Rule(name, re.compile(rf"(?<!\d){fill_fields(template)}(?!\d)", re.IGNORECASE))


PRODUCTS: Final = (
    # USGS, Landsat Collections: acquired, then processed. CU, AK, HI are ARD; Earth Engine leaves out L1TP.
    _product("Landsat Collection", r"L[COTEM]0[4-9]_(?:(?:L[12][A-Z]{2}|CU|AK|HI)_)?\d{6}_<Y><M><D>(?!\d)"),
    _product("Landsat ESPA", r"L[COTEM]0[4-9]\d{6}<Y><M><D>\d\d(?:T[12]|RT)"),
    _product("Landsat before collections", r"L[COTEM][4-9]\d{6}<Y><j>(?!\d)"),
    # ESA, Sentinel-2: sensing first, processing last; before December 2016 sensing followed a V.
    _product("Sentinel-2", r"S2[A-D]_MSIL[12][ABC]_<Y><M><D>T<h><m><s>(?!\d)"),
    _product("Sentinel-2 band", r"T\d\d[A-Z]{3}_<Y><M><D>T<h><m><s>(?!\d)"),
    _product("Sentinel-2 before 2016", r"S2[AB]_OPER_\w*?_V<Y><M><D>T<h><m><s>(?!\d)"),
    # ESA, Sentinel-1/3/5P: start, stop (and creation).
    _product("Sentinel-1", r"S1[A-D][-_][-\w]*?[-_]<Y><M><D>T<h><m><s>(?!\d)"),
    _product("Sentinel-3 or 5P", r"S(?:3[A-D_]|5P)_\w*?_<Y><M><D>T<h><m><s>_"),
    # NASA, HLS user guide v2.
    _product("HLS", r"HLS[._][LS]30[._]T\w{5}[._]<Y><j>T<h><m><s>(?!\d)"),
    # LP DAAC, MODIS and VIIRS: A is acquisition (with a time for swaths), the last field is production.
    _product("MODIS or VIIRS", r"(?:M[OCY]D|VNP|VJ\d)\w*\.A<Y><j>(?:\.<h><m>(?=\.))?(?!\d)"),
    _product("AppEEARS", r"doy<Y><j>(?:<h><m><s>)?_aid\d+"),
    _product("FORCE", r"<Y><M><D>_LEVEL\d_"),
    # UCSB, CHIRPS dekads end in 1, 2 or 3; its days have two digits and are read as YYYY.MM.DD.
    _product("CHIRPS dekad", r"chirps[-_.]v\d+\.\d+\.<Y>\.<M>\.<k>(?!\d)"),
)

_JOIN: Final = r"(?:[-_]{1,2}|[-_ ]to[-_ ])"

GENERICS: Final = (
    _generic(
        "from-to",
        rf"(?P<from><Y>(?P<sep>[-_.]?)<M>(?P=sep)<D>){_JOIN}(?P<to><Y2>(?P=sep)<M2>(?P=sep)<D2>)",
    ),
    _generic(
        "from-to with time",
        rf"(?P<from><Y>(?P<sep>[-_.]?)<M>(?P=sep)<D>T<h><m><s>){_JOIN}"
        r"(?P<to><Y2>(?P=sep)<M2>(?P=sep)<D2>T<h2><m2><s2>)",
    ),
    _generic("YYYYMMDDTHHMMSS", r"<Y><M><D>[-T_ ]?<h><m><s>Z?"),
    _generic("YYYYMMDDTHHMM", r"<Y><M><D>T?<h><m>Z?"),
    _generic(
        "YYYY-MM-DDTHH:MM:SS",
        r"<Y>(?P<sep>[-_.])<M>(?P=sep)<D>[T_ ]<h>(?P<colon>[-:.]?)<m>(?P=colon)<s>(?:\.\d+)?Z?",
    ),
    _generic("YYYY-MM-DDTHH:MM", r"<Y>(?P<sep>[-_.])<M>(?P=sep)<D>[T ]<h>:?<m>Z?"),
    _generic("YYYYDDDTHHMMSS", r"<Y><j>T<h><m><s>"),
    _generic("YYYYMMDD", r"<Y><M><D>"),
    _generic("YYYY-MM-DD", r"<Y>(?P<sep>[-_./])<M>(?P=sep)<D>"),
    _generic("DD-MM-YYYY", r"<D>(?P<sep>[-_.])<M>(?P=sep)<Y>"),
    _generic("MM-DD-YYYY", r"<M>(?P<sep>[-_.])<D>(?P=sep)<Y>"),
    _generic("YYYYDDD", r"<Y><j>"),
    # Not before another three digits: that is a path and row, or FORCE's window 001-365.
    _generic("YYYY_DDD", r"<Y>[-_.]<j>(?![-_.]\d{3}(?!\d))"),
    _generic("quarter", r"<Y>[-_.]?Q<q>"),
    _generic("YYYYMM", r"<Y><M>"),
    _generic("YYYY-MM", r"<Y>[-_./]<M>"),
    _generic("year", r"(?P<year>(?:19|20)\d\d)"),
)

# The groups that must differ between the names of a list: the whole token, and both dates of a from-to.
_GENERIC_GROUPS: Final[list[tuple[Rule, tuple[int | str, ...]]]] = [
    (rule, (0, "from", "to") if "from" in rule.pattern.groupindex else (0,)) for rule in GENERICS
]

# Numbers that are never dates, whatever they look like.
_NOT_DATES: Final = re.compile(
    r"(?<![A-Za-z])(?:v|ver(?:sion)?[-_. ]?)\d+"  # v20230720
    r"|epsg[-_.: ]?\d+"
    r"|(?<!\d)\d{1,5} ?(?:mm|cm|m|km|ft)(?![A-Za-z0-9])",  # 2000m
    re.IGNORECASE,
)
_EXTENSIONS: Final = re.compile(r"(?:\.(?!Q\d)[A-Za-z]{1,8}\d?)+$")  # .tif, .nc4, .tar.gz; not .y2001, .Q1
_SHARD: Final = re.compile(r"^(.*)-(\d{10})-(\d{10})$", re.DOTALL)

DATE_RULES: Final = tuple(
    Rule(name, re.compile(fill_fields(template).replace(FIELDS["Y"][1], r"\d{4}")))
    for name, template in (
        ("YYYY", r"<Y>"),
        ("YYYY-MM", r"<Y>[-/]<M>"),
        ("YYYY-Qq", r"<Y>-?Q<q>"),
        ("YYYYMMDD", r"<Y><M><D>"),
        ("YYYY-DDD", r"<Y>-?<j>"),
        ("YYYY-MM-DD", r"<Y>(?P<sep>[-/.])<M>(?P=sep)<D>"),
        (
            "YYYY-MM-DDTHH:MM:SS",
            r"<Y>(?P<sep>[-/.])<M>(?P=sep)<D>[T ]<h>:<m>(?::<s>(?:\.\d+)?)?(?:Z|\+00:00)?",
        ),
        ("YYYYMMDDTHHMMSS", r"<Y><M><D>T<h><m><s>Z?"),
    )
)
ACCEPTED: Final = "2001, 2001-03, 2001-Q1, 2001-03-05, 20010305, 2001-064 or 2001-03-05T10:00:08"

FILE_COLUMNS: Final = ("path", "file", "filename", "name")
DATE_COLUMNS: Final = ("date", "dates", "time", "datetime")

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# strptime's directives in regular expressions; English month names, whatever the locale.
DIRECTIVES: Final = {
    **{letter: fill_fields(f"<{field}>") for letter, field in zip("YmdjHMS", "YMDjhms", strict=True)},
    "y": r"(?P<short_year>\d\d)",
    "b": f"(?P<month_name>{'|'.join(_MONTHS)})",
    "B": "(?P<month_name>january|february|march|april|may|june|july|august|september|october|november|december)",
    "f": r"\d{1,6}",
}
# What strptime takes besides: numbers without leading zeros, here only where no digits stand beside them.
UNPADDED: Final = {"m": "[1-9]", "d": "[1-9]", "j": r"[1-9]\d?", "H": r"\d"}


# ---------------------------------------------------------------------------------------------- moments


def _day(fields: Mapping[str, int], to: str = "") -> datetime:
    """Return the first day of what is known; a ValueError for days that do not exist."""
    year = fields[f"{to}year"]
    if "doy" in fields:
        day = datetime(year, 1, 1) + timedelta(days=fields["doy"] - 1)
        if day.year != year:
            raise ValueError(f"{year} has no day {fields['doy']}")
        return day
    month = fields.get(f"{to}month", 3 * fields.get("quarter", 1) - 2)
    return datetime(year, month, fields.get(f"{to}day", 10 * fields.get("dekad", 1) - 9))


def _end_of_month(date: datetime, months: int = 0) -> datetime:
    month = date.month + months
    return date.replace(month=month, day=monthrange(date.year, month)[1])


def moment_of(match: re.Match[str]) -> Moment | None:
    """Build what the groups named for `FIELDS` say; None if to comes before from; a ValueError for impossible dates."""
    found = match.groupdict()
    fields = {name: int(text) for name, text in found.items() if text and text.isdecimal()}
    if "short_year" in fields:  # POSIX: 69 is 1969, 68 is 2068
        fields["year"] = fields["short_year"] + (1900 if fields["short_year"] > 68 else 2000)
    if found.get("month_name"):
        fields["month"] = 1 + _MONTHS.index(found["month_name"][:3].lower())
    start = _day(fields)
    if "to_year" in fields and _day(fields, "to_") < start:
        return None
    if "hour" in fields:
        start += timedelta(hours=fields["hour"], minutes=fields.get("minute", 0), seconds=fields.get("second", 0))
        return Moment(start, "second", start)
    if "to_year" in fields:
        return Moment(start, "period", _day(fields, "to_"))
    if "dekad" in fields:
        last = _end_of_month(start) if fields["dekad"] == 3 else start + timedelta(days=9)
        return Moment(start, "period", last)
    if "quarter" in fields:
        return Moment(start, "period", _end_of_month(start, 2))
    if "day" in fields or "doy" in fields:
        return Moment(start, "day", start)
    if "month" in fields:
        return Moment(start, "month", _end_of_month(start))
    return Moment(start, "year", start)


def _last_instant(moment: Moment) -> datetime:
    if moment.precision == "second":
        return moment.start
    last = moment.start.replace(month=12, day=31) if moment.precision == "year" else moment.end
    return last.replace(hour=23, minute=59, second=59)


# ------------------------------------------------------------------------------------------ file names


def shard_of(name: str) -> tuple[str, int, int] | None:
    """Split the name of a file that Earth Engine exported in pieces.

    Parameters
    ----------
    name
        A file name or path, such as ``ndvi_2001-0000000000-0000023296.tif``.

    Returns
    -------
    tuple or None
        The path without the suffix and extension, and the row and column offset of the piece in pixels;
        None for any other name.
    """
    match = _SHARD.match(_EXTENSIONS.sub("", name))
    return (match[1], int(match[2]), int(match[3])) if match else None


def _without_suffixes(path: str) -> str:
    """Return the path without extensions and shard suffix, which hold no dates."""
    shard = shard_of(path)
    return shard[0] if shard else _EXTENSIONS.sub("", path)


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _below_common_parent(paths: Sequence[str]) -> list[str]:
    """Return the paths relative to the folder that holds them all."""
    parts = [PurePosixPath(path).parts for path in paths]
    levels = zip(*(part[:-1] for part in parts), strict=False)
    common = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    return ["/".join(part[common:]) for part in parts]


def read_names(names: Sequence[str], *, what: Literal["file", "band"] = "file") -> list[Reading]:
    """Read the dates of a list of files or bands from their names.

    A product's own rule is followed where there is one. Otherwise every token that looks like a date counts,
    except those that are the same in all names; all that is left in a name must agree. Files whose base names
    do not settle it are read by their paths below the common parent folder.

    Parameters
    ----------
    names
        Paths with forward slashes, or band descriptions.
    what
        ``"file"`` for paths, ``"band"`` for descriptions, which are taken whole.

    Returns
    -------
    list of Reading
        One for each name.

    Raises
    ------
    InputError
        Names without a date, with several, or with dates of different kinds, all of them together.
    """
    if what == "band":
        readings, problems = _read_texts(names, names, what, single=len(names) == 1)
        if problems:
            raise InputError(*problems)
        return readings
    paths = [_without_suffixes(name) for name in names]
    single = len(set(paths)) == 1  # pieces of one image are one file
    bases = [_base(path) for path in paths]
    readings, problems = _read_texts(bases, names, what, single=single)
    relative = _below_common_parent(paths)
    if problems and relative != bases:
        readings, problems = _read_texts(relative, names, what, single=single)
    if problems:
        raise InputError(*problems)
    return readings


def _read_texts(
    texts: Sequence[str], names: Sequence[str], what: str, *, single: bool
) -> tuple[list[Reading], list[str]]:
    """Return a reading for each text, or else what is wrong with their `names`."""
    found: list[list[Reading]] = [_product_reading(text) for text in texts]
    unknown = [index for index, readings in enumerate(found) if not readings]
    candidates = [_candidates(texts[index]) for index in unknown]
    constant = Counter[Token]() if single or len(unknown) == 1 else _tokens_of_all(candidates)
    everywhere = set.intersection(*({c.rule for c in row} for row in candidates)) if candidates else set()
    for index, row in zip(unknown, candidates, strict=True):
        found[index] = _settle(_variable(row, constant), everywhere)
    problems = _problems(found, names, what, constant)
    if problems:
        return [], problems
    readings = [row[0] for row in found]
    if len({reading.moment.precision for reading in readings}) > 1:  # days and seconds
        # The time of day counts only if all names have it: 123045 may as well be Landsat's path and row.
        days = [reading.moment.start.replace(hour=0, minute=0, second=0) for reading in readings]
        readings = [Reading(Moment(day, "day", day), reading.rule) for day, reading in zip(days, readings, strict=True)]
    return readings, []


def _product_reading(text: str) -> list[Reading]:
    for rule in PRODUCTS:
        match = rule.pattern.search(text)
        if match:
            try:
                moment = moment_of(match)
            except ValueError:
                continue
            if moment:
                return [Reading(moment, rule.name)]
    return []


def _candidates(text: str) -> list[Candidate]:
    """Return everything in a text that looks like a date."""
    text = _NOT_DATES.sub(lambda match: "#" * len(match[0]), text)
    return [
        Candidate(match.span(), [(group, match[group]) for group in groups], rule.name, match)
        for rule, groups in _GENERIC_GROUPS
        for match in rule.pattern.finditer(text)
    ]


def _tokens_of_all(rows: Sequence[Sequence[Candidate]]) -> Counter[Token]:
    """Return the tokens that all names share, as often as they do: study periods and versions, not dates."""
    shared: Counter[Token] | None = None
    for row in rows:
        tokens = Counter(token for candidate in row for token in candidate.tokens)
        shared = tokens if shared is None else shared & tokens
        if not shared:
            break
    return shared or Counter()


def _variable(row: Sequence[Candidate], constant: Counter[Token]) -> list[Candidate]:
    """Leave out the tokens that all names share, and a from-to of which one side is shared."""
    left = constant.copy()
    result = []
    for candidate in row:
        if left[candidate.tokens[0]]:
            left[candidate.tokens[0]] -= 1
        elif not any(constant[token] for token in candidate.tokens[1:]):
            result.append(candidate)
    return result


def _settle(row: Sequence[Candidate], everywhere: set[str]) -> list[Reading]:
    """Return the one reading on which the candidates of a name agree, else all of them.

    `everywhere` are the rules that find something in every name of the list: where one token can be read in
    two ways, 14-03-2001 in another name tells that 05-03-2001 is in March.
    """
    taken: list[tuple[int, int]] = []
    readings: dict[Moment, Reading] = {}
    spans = [candidate.span for candidate in row]
    for candidate in sorted(row, key=lambda candidate: candidate.span[0] - candidate.span[1]):
        first, last = span = candidate.span
        if any(start <= first and last <= end and span != (start, end) for start, end in taken):
            continue  # part of a more specific date
        if spans.count(span) > 1 and candidate.rule not in everywhere:
            continue
        try:
            moment = moment_of(candidate.match)
        except ValueError:
            taken.append(span)  # the February of 2001-02-30 is no date either
            continue
        if moment:
            taken.append(span)
            readings.setdefault(moment, Reading(moment, candidate.rule))
    if len(readings) < 2:
        return list(readings.values())
    order = ("year", "month", "day", "second", "period")
    *others, finest = sorted(readings, key=lambda moment: order.index(moment.precision))
    agree = all(
        other.precision != finest.precision and other.start <= finest.start <= _last_instant(other) for other in others
    )
    return [readings[finest]] if agree else list(readings.values())


def _problems(
    found: Sequence[Sequence[Reading]], names: Sequence[str], what: str, constant: Counter[Token]
) -> list[str]:
    """Return one line for each thing that is wrong with the dates of a list."""
    problems = []
    none = [show(name) for name, row in zip(names, found, strict=True) if not row]
    several = [
        f"{show(name)} ({', or '.join(f'{reading.moment} by {reading.rule}' for reading in row)})"
        for name, row in zip(names, found, strict=True)
        if len(row) > 1
    ]
    settle = "--times FORMAT|FILE settles it"
    if none:
        shared = [text for group, text in constant if group == 0]
        tokens = " and ".join(show(text) for text in shared[:SHOWN])
        same = f" ({tokens} in all of them is not taken for a date)" if tokens else ""
        problems.append(f"no date in the name of {count(none, what)}: {some(none)}{same}; {settle}")
    if several:
        problems.append(f"more than one date in the name of {count(several, what)}: {some(several, '; ')}; {settle}")
    kinds: dict[str, str] = {}
    for name, row in zip(names, found, strict=True):
        if len(row) == 1:
            kinds.setdefault(row[0].moment.precision, f"{show(name)} ({row[0].moment} by {row[0].rule})")
    if not problems and len(kinds) > 1 and kinds.keys() != {"day", "second"}:
        text = ", ".join(f"a {precision} in {example}" for precision, example in kinds.items())
        problems.append(f"the names of {count(names, what)} give dates of different kinds: {text}; {settle}")
    return problems


def show(text: str) -> str:
    """Escape what a terminal would obey."""
    return text if text.isprintable() else repr(text)[1:-1]


def some(items: Sequence[str], separator: str = ", ") -> str:
    """List the first few items and say how many more there are."""
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return separator.join(items[:SHOWN]) + more


def count(items: Sequence[object], what: str) -> str:
    """Return ``1 file``, ``2 files``."""
    return f"{len(items)} {what}" + ("s" if len(items) != 1 else "")


# ---------------------------------------------------------------------------------------- --times FORMAT


def read_format(names: Sequence[str], format: str) -> list[Reading]:  # noqa: A002
    """Read dates with a format like strptime's, found anywhere in the base name, or else in the path.

    Parameters
    ----------
    names
        Paths with forward slashes, or band descriptions.
    format
        ``%Y %y %m %b %B %d %j %H %M %S %f`` and literal text. Years are 1800-2199, month names English.

    Returns
    -------
    list of Reading
        One for each name; the precision follows from the directives.

    Raises
    ------
    ParameterError
        A directive that is unknown, repeated, or of no use without another one.
    InputError
        Names in which the format is not found, or is found with different dates.
    """
    pattern = _format_pattern(format)
    bounded = re.compile(rf"(?<!\d){pattern}(?!\d)", re.IGNORECASE)
    anywhere = re.compile(rf"(?=({pattern}))", re.IGNORECASE)
    rule = f"--times {format}"
    found: list[list[Moment]] = []
    for level in ([_base(name) for name in names], _below_common_parent(names), names):
        found = [_found(bounded.finditer(text)) or _found(anywhere.finditer(text)) for text in level]
        if all(found):
            break
    none = [show(name) for name, row in zip(names, found, strict=True) if not row]
    twice = [
        f"{show(name)} ({', '.join(map(str, row))})" for name, row in zip(names, found, strict=True) if len(row) > 1
    ]
    shown = f"--times {show(format)}"
    problems = []
    if none:
        problems.append(f"no date like {shown} in {count(none, 'name')}: {some(none)}")
    if twice:
        problems.append(
            f"more than one date like {shown} in {count(twice, 'name')}: {some(twice, '; ')}; "
            "add the text beside the date to the format, or give a file of dates"
        )
    if problems:
        raise InputError(*problems)
    return [Reading(row[0], rule) for row in found]


def _found(matches: Iterator[re.Match[str]]) -> list[Moment]:
    moments: dict[Moment, None] = {}
    for match in matches:
        try:
            moment = moment_of(match)
        except ValueError:
            continue
        if moment:
            moments[moment] = None
    return list(moments)


def _format_pattern(text: str) -> str:
    """Return the regular expression of a strptime format."""
    parts = re.findall(r"%.|%|[^%]+", text, re.DOTALL)
    used = [part[1:] for part in parts if part.startswith("%") and part != "%%"]
    unknown = [f"%{letter}" for letter in used if letter not in DIRECTIVES]
    known = " ".join(f"%{letter}" for letter in DIRECTIVES)
    if unknown:
        raise ParameterError(f"--times {show(text)}: unknown {', '.join(unknown)} (known: {known})")
    fields = {"b": "m", "B": "m", "y": "Y"}
    repeated = [name for name, times in Counter(fields.get(name, name) for name in used).items() if times > 1]
    if repeated:
        raise ParameterError(f"--times {show(text)}: %{repeated[0]} is there more than once")
    has = {fields.get(name, name) for name in used}
    if "Y" not in has:
        raise ParameterError(f"--times {show(text)}: neither an existing file nor a format with %Y or %y")
    for directive, wanted in (("d", "m"), ("M", "H"), ("S", "M"), ("f", "S")):
        if directive in has and wanted not in has:
            raise ParameterError(f"--times {show(text)}: %{directive} needs %{wanted}")
    if {"j", "m"} <= has or ("H" in has and not has & {"d", "j"}):
        raise ParameterError(f"--times {show(text)}: a day is either %m and %d, or %j; hours need a day")
    result = ""
    for index, part in enumerate(parts):
        letter = part[1:] if part.startswith("%") else ""
        if letter in ("", "%"):
            result += re.escape(letter or part)
            continue
        pattern = DIRECTIVES[letter]
        beside = parts[max(index - 1, 0) : index] + parts[index + 1 : index + 2]
        if letter in UNPADDED and not any(re.fullmatch(r"%[^%bB]", other) for other in beside):
            pattern = f"{pattern[:-1]}|{UNPADDED[letter]})"
        result += pattern
    return result


# ------------------------------------------------------------------------------------- tables and options


def _match_date(text: str) -> tuple[re.Match[str], Moment]:
    for rule in DATE_RULES:
        match = rule.pattern.fullmatch(text.strip())
        if match:
            try:
                moment = moment_of(match)
            except ValueError as error:
                raise ParameterError(f"{show(text)!r} is not a date: {error}") from None
            if moment:
                return match, moment
    hint = "; write 2001-03 for a month" if re.fullmatch(r"\d{6}", text.strip()) else ""
    raise ParameterError(f"cannot read {show(text)!r} as a date (accepted: {ACCEPTED}, all in UTC){hint}")


def parse_date(text: str) -> Moment:
    """Read one date as people write it in a table: ISO 8601 or parts of it.

    Parameters
    ----------
    text
        ``2001``, ``2001-03``, ``2001-Q1``, ``2001-03-05``, ``2001/03/05``, ``20010305``, ``2001-064`` or
        ``2001-03-05T10:00:08``, with or without a trailing Z.

    Returns
    -------
    Moment
        The date, as precise as it is written.

    Raises
    ------
    ParameterError
        Anything else, such as six digits (a year and month, or a short date?).
    """
    return _match_date(text)[1]


def read_range(text: str) -> tuple[datetime, datetime]:
    """Return the first and last instant of a date, for ``--start`` and ``--end``.

    Parameters
    ----------
    text
        A date as `parse_date` reads it.

    Returns
    -------
    tuple of datetime
        1990-01-01 00:00:00 and 1990-12-31 23:59:59 for ``1990``.
    """
    match, moment = _match_date(text)
    last = _last_instant(moment)
    if match.groupdict().get("minute") and not match["second"]:
        last += timedelta(seconds=59)
    return moment.start, last


def read_table(path: str | os.PathLike[str]) -> list[Moment] | dict[str, Moment]:
    """Read the dates of layers from a text file.

    Parameters
    ----------
    path
        One date per line, or a CSV of ``path,date``. With a header that names them, the columns may have any
        order and company. Blank lines and those that begin with # are skipped.

    Returns
    -------
    list of Moment or dict of str to Moment
        The dates in the order of the lines, or by path as it is written.

    Raises
    ------
    InputError
        The file cannot be read, or some of its lines; each is named.
    """
    rows = _table_rows(path)
    if not rows:
        raise InputError(f"{show(str(path))}: no dates in it")
    number, first = rows[0]
    header = [cell.lower() for cell in first]
    file_column, date_column = _column(header, FILE_COLUMNS), _column(header, DATE_COLUMNS)
    if date_column is not None:
        del rows[0]
    elif len(header) == 1:
        date_column = 0
    else:
        file_column, date_column = 0, 1
    if len(header) > 1 and (file_column is None or (len(header) > 2 and rows and rows[0][0] == number)):
        raise InputError(f"{show(str(path))}, line {number}: {len(header)} columns, but no header with path and date")
    return _dates_of_rows(path, rows, (file_column, date_column), len(header))


def _table_rows(path: str | os.PathLike[str]) -> list[tuple[int, list[str]]]:
    """Return (line number, cells) of the lines that say something."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{show(str(path))}: cannot be read as a table of dates: {error}") from error
    content = [
        (number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")
    ]
    # Spreadsheets write semicolons where the comma is a decimal point.
    first = content[0][1] if content else ""
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    return [
        (number, [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]) for number, line in content
    ]


def _column(header: Sequence[str], names: Sequence[str]) -> int | None:
    """Return the first column that has one of the names."""
    return next((index for index, cell in enumerate(header) if cell in names), None)


def _dates_of_rows(
    table: str | os.PathLike[str],
    rows: Iterable[tuple[int, list[str]]],
    columns: tuple[int | None, int],
    width: int,
) -> list[Moment] | dict[str, Moment]:
    file_column, date_column = columns
    problems: list[str] = []
    moments: list[Moment] = []
    by_path: dict[str, Moment] = {}
    for number, cells in rows:
        where = f"{show(str(table))}, line {number}"
        if len(cells) != width:
            problems.append(f"{where}: {count(cells, 'column')}, but {width} in the first line")
            continue
        try:
            moments.append(parse_date(cells[date_column]))
        except ParameterError as error:
            problems.append(f"{where}: {error}")
            continue
        if file_column is not None:
            path = cells[file_column]
            if not path or path in by_path:
                problems.append(f"{where}: {f'{show(path)} is there twice' if path else 'no path'}")
            by_path[path] = moments[-1]
    if problems:
        more = [f"{show(str(table))}: {len(problems) - SHOWN} more lines like these"] if len(problems) > SHOWN else []
        raise InputError(*problems[:SHOWN], *more)
    if not moments:
        raise InputError(f"{show(str(table))}: no dates in it")
    return moments if file_column is None else by_path

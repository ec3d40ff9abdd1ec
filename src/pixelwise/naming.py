"""Dates as people write them: in file names, band descriptions, tables and options.

The conventions are data: two tables of `Rule`, whose patterns name the fields that they find. Product rules
know their names (the second date of a Landsat name is its processing and is left out); generic rules know
only what dates look like, so their readings must agree, and differ between the files of a list. Where one text
can be read in two ways (2001_02 is February, or the season 2001/02), the whole list decides, or is refused.
"""

from __future__ import annotations

import csv
import re
from calendar import monthrange
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice, product, takewhile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from pixelwise.errors import InputError, ParameterError
from pixelwise.times import Moment

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "BandDates",
    "Reading",
    "Table",
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
    "K": ("dekad_of_year", r"0[1-9]|[12]\d|3[0-6]"),
    "p": ("pentad", r"[1-6]"),
    "w": ("week", r"0[1-9]|[1-4]\d|5[0-3]"),
    "W": ("iso_week", r"0[1-9]|[1-4]\d|5[0-3]"),
    "q": ("quarter", r"[1-4]"),
}

MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH: Final = (
    r"(?P<month_name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
# Of a time of day: Z, +02:00, -0700. A minus before two digits is a hyphen.
_ZONE: Final = r"(?P<zone>Z|[-+](?:0\d|1[0-4]):?(?:00|15|30|45)|\+(?:0\d|1[0-4]))?"

# Six digits or more in a row that begin like a year are as often something else (F182010 is satellite F18 in 2010,
# 211008 a day of 2021): before the first photograph, or later than today, they are no date.
EARLIEST: Final = 1840


@dataclass(frozen=True, slots=True)
class Reading:
    """What one name says about time, and which rule says so.

    Attributes
    ----------
    moment, rule
        The date, and the rule that found it.
    text, format
        Where it was found in a name or description, and the format of ``--times`` that finds it there; empty where
        it comes from elsewhere.
    """

    moment: Moment
    rule: str
    text: str = field(default="", compare=False)
    format: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, eq=False)  # looked up often, and the hash of a pattern takes as long as it is
class Rule:
    """One naming convention.

    Attributes
    ----------
    name
        What people call it.
    pattern
        Its groups are named for the fields of a date (`FIELDS`); they decide the precision: an hour makes a
        ``second``; a week, pentad, dekad, quarter or a second date a ``period``; a day or day of year a ``day``.
    family
        Rules of one family read the same text in different ways. One that does not fit all names in which the
        family finds anything gives way to one that does; where several do, the list is refused.
    whole
        Counts only where it fits every name of a list of several.
    words
        One of them is in whatever it matches, in lower case: to look for that takes a tenth of the time.
    """

    name: str
    pattern: re.Pattern[str]
    family: str = ""
    whole: bool = False
    words: tuple[str, ...] = ("",)


# A group of a pattern and its text. 20010116 may end one file's composite and begin the next one's.
Token = tuple[int | str, str]


class Candidate(NamedTuple):  # thousands are made, and a dataclass takes three times as long
    """A place in a name that looks like a date."""

    span: tuple[int, int]
    tokens: list[Token]
    rule: Rule
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


def _generic(
    name: str, template: str, family: str = "", *, whole: bool = False, words: tuple[str, ...] = ("",)
) -> Rule:
    return Rule(name, re.compile(rf"(?<!\d){fill_fields(template)}(?!\d)", re.IGNORECASE), family, whole, words)


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
    # NOAA STAR, vegetation health: P and the week of the year in three digits, weeks of seven days from 1 January.
    _product("NOAA VHP", r"VHP\.G\d+\.C\d+\.[A-Z0-9]+\.P<Y>0<w>(?!\d)"),
    # NOAA NCEI, night lights: the satellite F10 to F18, then the year; EOG: the days, then the day of creation.
    _product("DMSP", r"F1\d(?P<year>199\d|20[0-2]\d)(?![A-Z0-9])"),
    _product("VIIRS night lights", r"SVDNB_[A-Z0-9]+_<Y><M><D>-<Y2><M2><D2>(?!\d)"),
    _product("VIIRS annual night lights", r"VNL_v\d+_[-A-Z0-9]+_<Y>_"),
    # FAO, WaPOR 2: two digits of the year, two of the dekad of the year (L1_AETI_D_1904). WaPOR 3 has 2018-01-D1.
    _product("WaPOR 2 dekad", r"L[123]_(?:[A-Z]+_)+D_(?P<short_year>09|1\d|2[0-3])<K>(?![-\d]|_\d)"),
)

_JOIN: Final = r"(?:[-_]{1,2}|[-_ ]to[-_ ])"
_DEKAD: Final = r"(?:D|dk|dek|dekad)[-_.]?"
_PENTAD: Final = r"(?:P|pt|pen|pentad)[-_.]?"
_WEEK: Final = r"(?:0?[1-9]|[1-4]\d|5[0-3])"
# Not before another three digits: that is a path and row, or FORCE's window 001-365.
_NO_PATH_ROW: Final = r"(?![-_.]\d{3}(?!\d))"

# Names of rules that are looked up.
YEAR_PAIR: Final = "year pair"
WEEK: Final = "week from 1 January"
CHIRPS_DEKAD, CHIRPS_PENTAD = "CHIRPS dekad", "CHIRPS pentad"

GENERICS: Final = (
    _generic(
        "from-to",
        rf"(?P<from><Y>(?P<sep>[-_.]?)<M>(?P=sep)<D>){_JOIN}(?P<to><Y2>(?P=sep)<M2>(?P=sep)<D2>)(?!T\d)",
    ),
    _generic(
        "from-to with time",
        rf"(?P<from><Y>(?P<sep>[-_.]?)<M>(?P=sep)<D>T<h><m><s>)Z?{_JOIN}"
        r"(?P<to><Y2>(?P=sep)<M2>(?P=sep)<D2>T<h2><m2><s2>)Z?",
    ),
    _generic("YYYYMMDDTHHMMSS", rf"<Y><M><D>[-T_ ]?<h><m><s>{_ZONE}"),
    # 1000-1200 is ten o'clock twelve hours west of Greenwich, or from ten to twelve.
    _generic("YYYYMMDDTHHMM", rf"<Y><M><D>T?<h><m>{_ZONE}", "HHMM-HHMM"),
    _generic("YYYYMMDDTHHMM-HHMM", r"<Y><M><D>T?<h><m>-<h2><m2>", "HHMM-HHMM"),
    _generic(
        "YYYY-MM-DDTHH:MM:SS",
        rf"<Y>(?P<sep>[-_.])<M>(?P=sep)<D>[T_ ]<h>(?P<colon>[-:.]?)<m>(?P=colon)<s>(?:\.\d+)?{_ZONE}",
    ),
    _generic("YYYY-MM-DDTHH:MM", rf"<Y>(?P<sep>[-_.])<M>(?P=sep)<D>[T ]<h>:?<m>{_ZONE}", "HHMM-HHMM"),
    _generic("YYYY-MM-DDTHH:MM-HH:MM", r"<Y>(?P<sep>[-_.])<M>(?P=sep)<D>[T ]<h>:?<m>-<h2>:?<m2>", "HHMM-HHMM"),
    _generic("YYYYDDDTHHMMSS", rf"<Y><j>T<h><m><s>{_ZONE}"),
    _generic("YYYYMMDD", r"<Y><M><D>"),
    _generic("YYYY-MM-DD", r"<Y>(?P<sep>[-_./])<M>(?P=sep)<D>"),
    # Not behind a year: the end of 2014_04_09_2014 is no date of its own.
    _generic("DD-MM-YYYY", r"(?<!\d{4}[-_.])<D>(?P<sep>[-_.])<M>(?P=sep)<Y>", "DD-MM"),
    _generic("MM-DD-YYYY", r"(?<!\d{4}[-_.])<M>(?P<sep>[-_.])<D>(?P=sep)<Y>", "DD-MM"),
    _generic("DDMonYYYY", rf"(?P<day>0?[1-9]|[12]\d|3[01])(?P<sep>[-_. ]?){_MONTH}(?P=sep)?<Y>", words=MONTHS),
    _generic("MonDDYYYY", rf"(?<![A-Z]){_MONTH}(?P<sep>[-_. ])<D>(?P=sep)<Y>", words=MONTHS),
    _generic("YYYYMonDD", rf"<Y>(?P<sep>[-_./ ]?){_MONTH}(?P=sep)?<D>", words=MONTHS),
    _generic("MonYYYY", rf"(?<![A-Z]){_MONTH}[-_. ]?<Y>", words=MONTHS),
    _generic("YYYYMon", rf"<Y>[-_./ ]?{_MONTH}(?![A-Z])", words=MONTHS),
    _generic("YYYYDDD", r"<Y><j>", "DDD"),
    _generic("YYYY_DDD", rf"<Y>[-_.]<j>{_NO_PATH_ROW}", "_DDD"),
    # A2001035 and doy2001035 are days.
    _generic(WEEK, r"(?<!^A)(?<![^A-Z]A)(?<!doy)(?<!day)<Y>0<w>", "DDD", whole=True),
    _generic(WEEK, rf"<Y>[-_.]0<w>{_NO_PATH_ROW}", "_DDD", whole=True),
    _generic("ISO week", r"<Y>[-_./]?W<W>", words=("w",)),
    _generic("ISO week", rf"<Y>[-_./ ]?(?:week|wk)[-_. ]?(?P<iso_week>{_WEEK})", "week", words=("week", "wk")),
    _generic(WEEK, rf"<Y>[-_./ ]?(?:week|wk)[-_. ]?(?P<week>{_WEEK})", "week", words=("week", "wk")),
    _generic("ISO week", rf"(?<![A-Z])(?:week|wk)[-_. ]?(?P<iso_week>{_WEEK})[-_. ]<Y>", "week", words=("week", "wk")),
    _generic(WEEK, rf"(?<![A-Z])(?:week|wk)[-_. ]?(?P<week>{_WEEK})[-_. ]<Y>", "week", words=("week", "wk")),
    _generic("dekad", rf"<Y>[-_./]?<M>[-_./]?{_DEKAD}<k>"),
    _generic("dekad of the year", r"<Y>[-_./]?(?:dk|dek|dekad)[-_.]?<K>", words=("dk", "dek")),
    _generic("pentad", rf"<Y>[-_./]?<M>[-_./]?{_PENTAD}<p>", words=("p",)),
    # UCSB: dekads end in 1 to 3, pentads in 1 to 6; days have two digits and are read as YYYY.MM.DD.
    _generic(CHIRPS_DEKAD, r"(?<![A-Z])chirps[-_.]\S{2,3}\.\d+\.<Y>\.<M>\.<k>", "CHIRPS", words=("chirps",)),
    _generic(CHIRPS_PENTAD, r"(?<![A-Z])chirps[-_.]\S{2,3}\.\d+\.<Y>\.<M>\.<p>", "CHIRPS", words=("chirps",)),
    _generic("quarter", r"<Y>[-_.]?Q<q>"),
    _generic("YYYYMM", r"<Y><M>", "YYYYMM"),
    _generic(YEAR_PAIR, r"<Y>(?P<next>\d\d)", "YYYYMM", whole=True),
    _generic("YYYY-MM", r"<Y>[-_./]<M>", "YYYY-MM"),
    _generic(YEAR_PAIR, r"<Y>[-_./](?P<next>\d\d)", "YYYY-MM", whole=True),
    _generic(YEAR_PAIR, r"(?P<year>(?:19|20)\d\d)[-_/](?P<next>(?:19|20)\d\d)", "YYYY-YYYY", whole=True),
    _generic("year", r"(?P<year>(?:19|20)\d\d)"),
)

# The groups that must differ between the names of a list: the whole token, and both dates of a from-to.
_GENERIC_GROUPS: Final[list[tuple[Rule, tuple[int | str, ...]]]] = [
    (rule, (0, "from", "to") if "from" in rule.pattern.groupindex else (0,)) for rule in GENERICS
]

_WORDS: Final = {rule.words for rule in GENERICS}

# Numbers that are never dates, whatever they look like.
_NOT_DATES: Final = re.compile(
    r"(?<![A-Za-z])(?:v|ver(?:sion)?[-_. ]?)\d+"  # v20230720
    r"|epsg[-_.: ]?\d+"
    r"|(?<!\d)\d{1,5} ?(?:mm|cm|m|km|ft)(?![A-Za-z0-9])",  # 2000m
    re.IGNORECASE,
)
_EXTENSIONS: Final = re.compile(r"(?:\.(?!Q\d)[A-Za-z]{1,8}\d?)+$")  # .tif, .nc4, .tar.gz; not .y2001, .Q1
_SHARD: Final = re.compile(r"^(.*)-(\d{10})-(\d{10})$", re.DOTALL)

_OFFSET: Final = r" ?(?P<zone>Z|[-+](?:0\d|1[0-4])(?::?[0-5]\d)?)?"
DATE_RULES: Final = tuple(
    Rule(name, re.compile(fill_fields(template).replace(FIELDS["Y"][1], r"\d{4}")))
    for name, template in (
        ("YYYY", r"<Y>"),
        ("YYYY-MM", r"<Y>[-/]<M>"),
        ("YYYY-Qq", r"<Y>-?Q<q>"),
        ("YYYYMMDD", r"<Y><M><D>"),
        ("YYYY-DDD", r"<Y>-?<j>"),
        ("YYYY-Www", r"<Y>-?W<W>"),
        ("YYYY-MM-Dk", r"<Y>-<M>-[Dd]<k>"),
        ("YYYY-MM-Pk", r"<Y>-<M>-[Pp]<p>"),
        ("YYYY-MM-DD", r"<Y>(?P<sep>[-/.])<M>(?P=sep)<D>"),
        (
            "YYYY-MM-DDTHH:MM:SS",
            r"<Y>(?P<sep>[-/.])<M>(?P=sep)<D>[T ]<h>:<m>(?::<s>(?:\.\d+)?)?" + _OFFSET,
        ),
        ("YYYYMMDDTHHMMSS", r"<Y><M><D>T<h><m><s>" + _OFFSET),
    )
)
ACCEPTED: Final = (
    "2001, 2001-03, 2001-Q1, 2001-03-D1 for a dekad, 2001-W05 for an ISO week, 2001-03-05, 20010305, 2001-064 or "
    "2001-03-05T10:00:08"
)

FILE_COLUMNS: Final = ("path", "file", "filename", "name")
BAND_COLUMNS: Final = ("band", "bands")
DATE_COLUMNS: Final = ("date", "dates", "time", "datetime")

# strptime's directives in regular expressions; English month names, whatever the locale.
_ANY_WEEK: Final = r"0?(?:0[1-9]|[1-4]\d|5[0-3])"  # P1996035 has three digits
DIRECTIVES: Final = {
    **{letter: fill_fields(f"<{field}>") for letter, field in zip("YmdjHMS", "YMDjhms", strict=True)},
    "y": r"(?P<short_year>\d\d)",
    "b": f"(?P<month_name>{'|'.join(MONTHS)})",
    "B": "(?P<month_name>january|february|march|april|may|june|july|august|september|october|november|december)",
    "f": r"\d{1,6}",
    "z": r"(?P<zone>Z|[-+](?:0\d|1[0-4])(?::?[0-5]\d)?)",
    "G": fill_fields("<Y>"),
    "V": f"(?P<iso_week>{_ANY_WEEK})",
    "U": r"(?P<sunday_week>[0-4]\d|5[0-3])",
    "W": r"(?P<monday_week>[0-4]\d|5[0-3])",
    # Not of strptime, which has no use for these letters.
    "J": f"(?P<week>{_ANY_WEEK})",
    "K": fill_fields("<k>"),
    "P": fill_fields("<p>"),
}
# The directive of each group of a rule.
LETTERS: Final = {
    "year": "Y", "short_year": "y", "next": "y", "month": "m", "day": "d", "doy": "j", "hour": "H", "minute": "M",
    "second": "S", "zone": "z", "dekad": "K", "dekad_of_year": "K", "pentad": "P", "week": "J", "iso_week": "V",
}  # fmt: skip
# What strptime takes besides: numbers without leading zeros, here only where no digits stand beside them.
UNPADDED: Final = {
    **dict.fromkeys("mdVJ", "[1-9]"), **dict.fromkeys("HUW", r"\d"), "j": r"[1-9]\d?",
}  # fmt: skip


# ---------------------------------------------------------------------------------------------- moments


def _day(fields: Mapping[str, int], to: str = "") -> datetime:
    """Return the first day of what is known; a ValueError for days that do not exist."""
    year = fields[f"{to}year"]
    if "doy" in fields:
        day = datetime(year, 1, 1) + timedelta(days=fields["doy"] - 1)
        if day.year != year:
            raise ValueError(f"{year} has no day {fields['doy']}")
        return day
    if "iso_week" in fields:
        monday = date.fromisocalendar(year, fields["iso_week"], 1)
        return datetime(monday.year, monday.month, monday.day)
    for name, begins in (("week", datetime(year, 1, 1).weekday()), ("sunday_week", 6), ("monday_week", 0)):
        if name in fields:
            return _week(year, fields[name], begins)
    if "dekad_of_year" in fields:
        month, dekad = divmod(fields["dekad_of_year"] - 1, 3)
        return datetime(year, month + 1, 10 * dekad + 1)
    month = fields.get(f"{to}month", 3 * fields.get("quarter", 1) - 2)
    if "pentad" in fields:
        return datetime(year, month, 5 * fields["pentad"] - 4)
    return datetime(year, month, fields.get(f"{to}day", 10 * fields.get("dekad", 1) - 9))


def _week(year: int, week: int, begins: int) -> datetime:
    """Return the first day of a week of a year; week 1 begins on the first day of that name (0 for Monday).

    Week 0 holds the days before, which belong to the year too.
    """
    new_year = datetime(year, 1, 1)
    ahead = (begins - new_year.weekday()) % 7
    day = new_year + timedelta(days=ahead + 7 * (week - 1)) if week else new_year
    if day.year != year or (week == 0 and ahead == 0):
        raise ValueError(f"{year} has no week {week}")
    return day


def _end_of_month(day: datetime, months: int = 0) -> datetime:
    month = day.month + months
    return day.replace(month=month, day=monthrange(day.year, month)[1])


def _in_utc(time: datetime, zone: str) -> datetime:
    """Return a time whose offset from UTC stands behind it (Z, +02, -0700, +05:30) in UTC."""
    if zone in "Zz":
        return time
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return time + offset if zone[0] == "-" else time - offset


def moment_of(match: re.Match[str]) -> Moment | None:
    """Build what the groups named for `FIELDS` say; None if to comes before from; a ValueError for impossible dates."""
    found = match.groupdict()
    fields = {name: int(text) for name, text in found.items() if text and text.isdecimal()}
    if "short_year" in fields:  # POSIX: 69 is 1969, 68 is 2068
        fields["year"] = fields["short_year"] + (1900 if fields["short_year"] > 68 else 2000)
    if "next" in fields:
        return _year_pair(fields["year"], fields["next"])
    if found.get("month_name"):
        fields["month"] = 1 + MONTHS.index(found["month_name"][:3].lower())
    start = _day(fields)
    if "to_year" in fields and _day(fields, "to_") < start:
        return None
    if "hour" in fields:
        start += timedelta(hours=fields["hour"], minutes=fields.get("minute", 0), seconds=fields.get("second", 0))
        start = _in_utc(start, found.get("zone") or "Z")
        return Moment(start, "second", start)
    if "to_year" in fields:
        return Moment(start, "period", _day(fields, "to_"))
    if not fields.keys().isdisjoint(WEEKS):
        last = start + timedelta(days=6)
        if "iso_week" not in fields:
            # The other weeks end with the year at the latest, and one that holds the days before the first does then.
            before = fields.get("sunday_week") == 0 or fields.get("monday_week") == 0
            begins = 6 if "sunday_week" in fields else 0
            last = start + timedelta(days=(begins - start.weekday()) % 7 - 1) if before else last
            last = min(last, datetime(start.year, 12, 31))
        return Moment(start, "period", last)
    if "pentad" in fields:
        last = _end_of_month(start) if fields["pentad"] == 6 else start + timedelta(days=4)
        return Moment(start, "period", last)
    if "dekad" in fields or "dekad_of_year" in fields:
        last = _end_of_month(start) if start.day == 21 else start + timedelta(days=9)
        return Moment(start, "period", last)
    if "quarter" in fields:
        return Moment(start, "period", _end_of_month(start, 2))
    if "day" in fields or "doy" in fields:
        return Moment(start, "day", start)
    if "month" in fields:
        return Moment(start, "month", _end_of_month(start))
    return Moment(start, "year", start)


WEEKS: Final = ("week", "iso_week", "sunday_week", "monday_week")


def _year_pair(first: int, second: int) -> Moment:
    """Return what 2001/02 or 2001/2002 says: a year that ends in the next one."""
    if second != (first + 1 if second > 99 else (first + 1) % 100):
        raise ValueError(f"{second} does not follow {first}")
    return Moment(datetime(first, 1, 1), "year", datetime(first + 1, 1, 1))


def _last_instant(moment: Moment) -> datetime:
    if moment.precision == "second":
        return moment.start
    last = moment.end.replace(month=12, day=31) if moment.precision == "year" else moment.end
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
    rows = [_variable(row, constant) for row in candidates]
    several = len({texts[index] for index in unknown}) > 1
    excluded = _excluded(rows, [names[index] for index in unknown], several=several)
    for index, row in zip(unknown, rows, strict=True):
        found[index] = _settle(row, excluded)
    problems = _problems(found, texts, names, what, constant)
    if problems:
        return [], problems
    readings = [row[0] for row in found]
    if len({reading.moment.precision for reading in readings}) > 1:  # days and seconds
        # The time of day counts only if all names have it: 123045 may as well be Landsat's path and row.
        days = [reading.moment.start.replace(hour=0, minute=0, second=0) for reading in readings]
        readings = [
            replace(reading, moment=Moment(day, "day", day)) for day, reading in zip(days, readings, strict=True)
        ]
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
                return [Reading(moment, rule.name, match[0], _format_of(match))]
    return []


def _candidates(text: str) -> list[Candidate]:
    """Return everything in a text that looks like a date."""
    text = _NOT_DATES.sub(lambda match: "#" * len(match[0]), text)
    lower = text.lower()
    has = {words: any(word in lower for word in words) for words in _WORDS}
    return [
        Candidate(match.span(), [(group, match[group]) for group in groups], rule, match)
        for rule, groups in _GENERIC_GROUPS
        if has[rule.words]
        for match in rule.pattern.finditer(text)
        if _is_possible(rule, match)
    ]


_COMPACT: Final = re.compile(r"\d{6}")


def _is_possible(rule: Rule, match: re.Match[str]) -> bool:
    """Tell what only looks like a date: years that do not follow each other, digits of another time.

    A day that does not exist is left to `_settle`: the February of 2001-02-30 is no date either.
    """
    compact = _COMPACT.match(match[0]) is not None
    if not compact and not rule.whole:
        return True
    try:
        moment = moment_of(match)
    except ValueError:
        return not rule.whole
    return moment is None or not compact or not _is_beyond(moment)


def _is_beyond(moment: Moment) -> bool:
    """Tell whether a date is earlier than photographs, or later than today wherever on Earth."""
    return moment.start.year < EARLIEST or moment.start > datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)


# What folders and names say of the rules that read one text in different ways.
_TOLD: Final = (
    (re.compile(r"dekad|decad|(?<!\d)10[-_ ]?days?", re.IGNORECASE), CHIRPS_PENTAD),
    (re.compile(r"pentad|(?<!\d)5[-_ ]?days?", re.IGNORECASE), CHIRPS_DEKAD),
    (re.compile(r"month", re.IGNORECASE), YEAR_PAIR),
)


def _excluded(rows: Sequence[Sequence[Candidate]], names: Sequence[str], *, several: bool) -> set[Rule]:
    """Return the rules that the list as a whole excludes, of those that read one text in different ways."""
    fits: Counter[Rule] = Counter()
    finds: Counter[str] = Counter()
    for row in rows:
        spans = {candidate.span for candidate in row}
        # A part of something longer says nothing: 2001_02 in 2001_02_03 is no year pair.
        outer = {span for span in spans if not any(_is_within(span, other) for other in spans)}
        rules = {candidate.rule for candidate in row if candidate.span in outer}
        fits.update(rules)
        finds.update({rule.family for rule in rules if rule.family})
    excluded = {
        rule
        for rule in fits
        if (rule.whole and (fits[rule] < len(rows) or not several)) or fits[rule] < finds[rule.family]
    }
    told = {other for pattern, other in _TOLD if names and all(pattern.search(_nearby(name)) for name in names)}
    if not told.issuperset((CHIRPS_DEKAD, CHIRPS_PENTAD)):  # which say nothing together
        excluded.update(rule for rule in fits if rule.name in told)
    by_name: dict[str, list[re.Match[str]]] = {}
    for row in rows:
        for candidate in row:
            by_name.setdefault(candidate.rule.name, []).append(candidate.match)
    weeks = [int(match["week"]) for match in by_name.get(WEEK, ())]
    # Days 1, 9, 17, ... of a year are those of MODIS.
    if all(week % 8 == 1 for week in weeks):
        excluded.update(rule for rule in fits if rule.name == WEEK and rule.whole)
    if _are_dekads(by_name.get(CHIRPS_DEKAD, ()), by_name.get(CHIRPS_PENTAD, ())):
        excluded.update(rule for rule in fits if rule.name == CHIRPS_PENTAD)
    return excluded


def _is_within(span: tuple[int, int], other: tuple[int, int]) -> bool:
    return other[0] <= span[0] and span[1] <= other[1] and span != other


def _nearby(name: str) -> str:
    """Return the last parts of a path: folders further up are of whole projects."""
    return "/".join(name.split("/")[-3:])


def _are_dekads(dekads: Sequence[re.Match[str]], pentads: Sequence[re.Match[str]]) -> bool:
    """Tell dekads 1 to 3 of a month from the first three of its six pentads.

    One file alone is read as what most people have. Otherwise two months that are complete with 1 to 3 tell: of
    pentads the second half of both would be missing.
    """
    if not dekads or len(dekads) < len(pentads):
        return False
    months: dict[str, set[str]] = {}
    for match in dekads:
        months.setdefault(match["year"] + match["month"], set()).add(match["dekad"])
    return len(dekads) == 1 or sum(len(found) == 3 for found in months.values()) > 1


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


def _settle(row: Sequence[Candidate], excluded: set[Rule]) -> list[Reading]:
    """Return the one reading on which the candidates of a name agree, else all of them.

    `excluded` are the rules that the list as a whole excludes: where one text can be read in two ways, 14-03-2001 in
    another name tells that 05-03-2001 is in March. They count where no other rule of their family reads a text.
    """
    taken: list[tuple[int, int]] = []
    # The readings of one place exclude each other.
    places: dict[tuple[int, int], dict[Moment, Reading]] = {}
    likely = {(candidate.span, candidate.rule.family) for candidate in row if candidate.rule not in excluded}
    for candidate in sorted(row, key=lambda candidate: candidate.span[0] - candidate.span[1]):
        span, rule = candidate.span, candidate.rule
        if any(_is_within(span, other) for other in taken):
            continue  # part of a more specific date
        if rule in excluded and (rule.whole or (span, rule.family) in likely):
            continue
        try:
            moment = moment_of(candidate.match)
        except ValueError:
            taken.append(span)  # the February of 2001-02-30 is no date either
            continue
        if moment:
            taken.append(span)
            reading = Reading(moment, rule.name, candidate.match[0], _format_of(candidate.match))
            places.setdefault(span, {}).setdefault(moment, reading)
    readings = {moment: reading for place in places.values() for moment, reading in place.items()}
    if len(readings) < 2:
        return list(readings.values())
    agreed = {_finest(choice) for choice in islice(product(*places.values()), MOST_CHOICES)} - {None}
    return [readings[moment] for moment in agreed if moment] if len(agreed) == 1 else list(readings.values())


#: Ways to choose one reading of each place in a name, of which so many are looked at.
MOST_CHOICES = 64


def _finest(moments: Sequence[Moment]) -> Moment | None:
    """Return the most precise of dates that lie within each other; None where they contradict."""
    order = ("year", "month", "day", "second", "period")
    *others, finest = sorted(dict.fromkeys(moments), key=lambda moment: order.index(moment.precision))
    agree = all(
        other.precision != finest.precision and other.start <= finest.start <= _last_instant(other) for other in others
    )
    return finest if agree else None


def _format_of(match: re.Match[str]) -> str:
    """Return the format of ``--times`` that finds a date where a rule found it; of a from-to, its beginning."""
    spans = sorted((match.span(name), name) for name in match.re.groupindex if match[name])
    text, at = "", min(span[0] for span, name in spans if name in LETTERS or name == "month_name")
    for (first, last), name in spans:
        if name.startswith("to"):
            return text + match.string[at:first].replace("%", "%%")
        letter = LETTERS.get(name, "")
        if name == "month_name":
            letter = "b" if last - first == 3 else "B"
        elif name == "year" and "iso_week" in match.re.groupindex:
            letter = "G"
        elif name == "next" and last - first == 4:
            letter = "Y"
        if letter:
            text += match.string[at:first].replace("%", "%%") + f"%{letter}"
            at = last
    return text + match.string[at : match.end()].replace("%", "%%")


def _problems(
    found: Sequence[Sequence[Reading]],
    texts: Sequence[str],
    names: Sequence[str],
    what: str,
    constant: Counter[Token],
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
        undated = [text for text, row in zip(texts, found, strict=True) if not row]
        hint = _hint(undated, texts)
        problems.append(f"no date in the name of {count(none, what)}: {some(none)}{same}{hint}; {settle}")
    if several:
        # A remedy must work when it is typed: what reads all names.
        formats = dict.fromkeys(reading.format for row in found if len(row) > 1 for reading in row)
        fitting = [f"--times '{one}'" for one in islice(formats, MOST_FORMATS) if _by_format(texts, one, anywhere=True)]
        told = f"{' or '.join(fitting)} settles it" if len(fitting) > 1 else settle
        problems.append(f"more than one date in the name of {count(several, what)}: {some(several, '; ')}; {told}")
    kinds: dict[str, str] = {}
    for name, row in zip(names, found, strict=True):
        if len(row) == 1:
            kinds.setdefault(row[0].moment.precision, f"{show(name)} ({row[0].moment} by {row[0].rule})")
    if not problems and len(kinds) > 1 and kinds.keys() != {"day", "second"}:
        text = ", ".join(f"a {precision} in {example}" for precision, example in kinds.items())
        problems.append(f"the names of {count(names, what)} give dates of different kinds: {text}; {settle}")
    return problems


#: Formats that are tried on all names for a message.
MOST_FORMATS = 8

# Digits that no rule reads, for too much else looks like them.
_GUESSES: Final = ("%y%m%d", "%d%m%y", "%m%d%y", "%d%m%Y", "%m%d%Y", "%Y%m", "%Y%m%d", "%Y%j", "%G%V", "%Y%J")


def _hint(undated: Sequence[str], texts: Sequence[str]) -> str:
    """Say what digits in all names may be, and with which format they are read so."""
    guesses = [_format_of(match) for rule in GENERICS for match in rule.pattern.finditer(undated[0])]
    likely: dict[Moment, str] = {}
    for guess in dict.fromkeys((*_GUESSES, *guesses)):
        found = _by_format(texts, guess, anywhere=guess not in _GUESSES)
        # Six digits that may be a month are no week.
        if found and not ("%m" in " ".join(likely.values()) and guess in ("%G%V", "%Y%J")):
            moment = dict(zip(texts, found, strict=True))[undated[0]]
            likely.setdefault(moment, f"{moment} by --times '{guess}'")
    beyond = {
        moment: f"{text} ({f'before {EARLIEST}' if moment.start.year < EARLIEST else 'in the future'})"
        for moment, text in likely.items()
        if _is_beyond(moment)
    }
    shown = [text for moment, text in likely.items() if moment not in beyond] or list(beyond.values())
    return f"; {show(undated[0])} may mean {', or '.join(shown)}" if shown else ""


def _by_format(texts: Sequence[str], format: str, *, anywhere: bool = False) -> list[Moment]:  # noqa: A002
    """Return the dates that a format finds in texts, between other digits too with `anywhere`; or else nothing."""
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


def read_format(
    names: Sequence[str],
    format: str,  # noqa: A002
    *,
    what: Literal["file", "band"] = "file",
) -> list[Reading]:
    """Read dates with a format like strptime's, found anywhere in the base name, or else in the path.

    Parameters
    ----------
    names
        Paths with forward slashes, or band descriptions.
    format
        Directives and literal text. Of strptime: ``%Y %y %m %b %B %d %j %H %M %S %f %z``, and weeks: ``%G`` with ``%V``
        (ISO 8601), ``%U`` and ``%W`` (beginning on Sunday and Monday, week 00 before the first). Besides: ``%J``, the
        week counted from 1 January in sevens, in two or three digits; ``%K``, the dekad of the month with ``%m`` (1 to
        3), else of the year (01 to 36); ``%P``, the pentad of the month (1 to 6). ``%Y`` before ``%y`` or another
        ``%Y`` is a year that ends in the next one (2001_02). Years are 1800-2199, month names English; a time with
        ``%z`` becomes UTC.
    what
        ``"file"`` for paths, ``"band"`` for descriptions, which are taken whole.

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
    found: list[dict[Moment, str]] = []
    levels = (list(names),) if what == "band" else ([_base(name) for name in names], _below_common_parent(names), names)
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
        shorter = f"; --times '{core}' is found in all" if core != format and _by_format(names, core) else ""
        problems.append(f"no date like {shown} in {count(none, where)}: {some(none)}{shorter}")
    if twice:
        problems.append(
            f"more than one date like {shown} in {count(twice, where)}: {some(twice, '; ')}; "
            "add the text beside the date to the format, or give a file of dates"
        )
    if problems:
        raise InputError(*problems)
    return [Reading(moment, rule, text) for row in found for moment, text in row.items()]


def _without_text_around(format: str) -> str:  # noqa: A002
    """Return a format from its first directive to its last."""
    first, last = format.find("%"), format.rfind("%")
    return format[first : last + 2]


def _found(matches: Iterator[re.Match[str]]) -> dict[Moment, str]:
    """Return each date that is found, and where."""
    moments: dict[Moment, str] = {}
    for match in matches:
        try:
            moment = moment_of(match)
        except ValueError:
            continue
        if moment:
            # What is looked for at every place, to find what overlaps, is in the first group.
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
        raise ParameterError(f"--times {show(text)}: %{repeated[0]} is there more than once")
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
            "(%K) and pentads (%P) take the place of days"
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
            # Alone: week 5 is not the first digit of a week 54 that does not exist.
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
    raise ParameterError(
        f"cannot read {show(text)!r} as a date (accepted: {ACCEPTED}, in UTC unless an offset such as +02:00 follows)"
        + hint
    )


def parse_date(text: str) -> Moment:
    """Read one date as people write it in a table: ISO 8601 or parts of it.

    Parameters
    ----------
    text
        ``2001``, ``2001-03``, ``2001-Q1``, ``2001-03-D1`` (dekad), ``2001-03-P4`` (pentad), ``2001-W05`` (ISO week),
        ``2001-03-05``, ``2001/03/05``, ``20010305``, ``2001-064`` or ``2001-03-05T10:00:08``. A time is in UTC, or
        is converted by the offset behind it: ``Z``, ``+02:00``, ``-0700``.

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


@dataclass(frozen=True, slots=True)
class BandDates:
    """Dates by path, and number or description of the band, both as they are written."""

    by_band: Mapping[tuple[str, str], Moment]


Table = list[Moment] | dict[str, Moment] | BandDates


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read the dates of layers from a text file.

    Parameters
    ----------
    path
        One date per line, or a CSV of ``path,date``. With a header that names them, the columns may have any
        order and company, and ``band`` may be one of them: ``path,band,date``. Blank lines and those that begin
        with # are skipped.

    Returns
    -------
    list of Moment, dict of str to Moment, or BandDates
        The dates in the order of the lines, by path, or by path and band.

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
    band_column = _column(header, BAND_COLUMNS) if date_column is not None else None
    if date_column is not None:
        del rows[0]
    elif len(header) == 1:
        date_column = 0
    else:
        file_column, date_column = 0, 1
    if len(header) > 1 and (file_column is None or (len(header) > 2 and rows and rows[0][0] == number)):
        raise InputError(
            f"{show(str(path))}, line {number}: {len(header)} columns, but no header with path and date "
            "(or path, band and date)"
        )
    return _dates_of_rows(path, rows, (file_column, band_column, date_column), len(header))


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
    columns: tuple[int | None, int | None, int],
    width: int,
) -> Table:
    file_column, band_column, date_column = columns
    problems: list[str] = []
    moments: list[Moment] = []
    by_path: dict[str, Moment] = {}
    by_band: dict[tuple[str, str], Moment] = {}
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
        if file_column is None:
            continue
        path, band = cells[file_column], cells[band_column] if band_column is not None else ""
        words = f"{show(path)}, band {show(band)}," if band_column is not None else show(path)
        if not path or (band_column is not None and not band):
            problems.append(f"{where}: no {'path' if not path else 'band'}")
        elif path in by_path if band_column is None else (path, band) in by_band:
            problems.append(f"{where}: {words} is there twice")
        if band_column is None:
            by_path[path] = moments[-1]
        else:
            by_band[path, band] = moments[-1]
    if problems:
        more = [f"{show(str(table))}: {len(problems) - SHOWN} more lines like these"] if len(problems) > SHOWN else []
        raise InputError(*problems[:SHOWN], *more)
    if not moments:
        raise InputError(f"{show(str(table))}: no dates in it")
    if file_column is None:
        return moments
    return by_path if band_column is None else BandDates(by_band)

"""How people write dates: rules as data, and the meaning of the fields that they find.

There are `Rule` tables for names and for tables and options, and one table for the directives of ``--times``.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from pixelwise.dates.axis import Moment

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CHIRPS_DEKAD",
    "CHIRPS_PENTAD",
    "DATE_RULES",
    "DIRECTIVES",
    "EARLIEST",
    "FIELDS",
    "GENERICS",
    "LETTERS",
    "MONTH",
    "PRODUCTS",
    "UNPADDED",
    "WEEK",
    "YEAR_PAIR",
    "Reading",
    "Rule",
    "fill_fields",
    "last_instant",
    "moment_of",
]

# Short names of the fields in the patterns of rules: `<Y><M><D>`. A trailing 2 is the end of a date range.
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
MONTH: Final = (
    r"(?P<month_name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
# For a time of day: Z, +02:00, -0700. A minus before two digits is a hyphen.
_ZONE: Final = r"(?P<zone>Z|[-+](?:0\d|1[0-4]):?(?:00|15|30|45)|\+(?:0\d|1[0-4]))?"

# Six digits or more in a row that begin like a year often mean something else (F182010 is satellite F18 in 2010, 211008
# a day in 2021): they are not a date if earlier than the first photograph, or later than today.
EARLIEST: Final = 1840


@dataclass(frozen=True, slots=True, eq=False)  # looked up often, and hashing a pattern takes time in its length
class Rule:
    """One naming convention.

    Attributes
    ----------
    name
        The usual name of the convention.
    pattern
        Its groups are named after the fields of a date (`FIELDS`) and decide the precision: an hour makes it a
        ``second``; a week, pentad, dekad, quarter or second date a ``period``; a day or day of year a ``day``.
    family
        Rules of one family read the same text differently. A rule that does not fit all names in which its family finds
        anything gives way to one that does; if several fit, the list is refused.
    whole
        Applies only if it fits every name of a list of several.
    words
        One of them, in lower case, is in whatever it matches: searching for that takes a tenth of the time.
    """

    name: str
    pattern: re.Pattern[str]
    family: str = ""
    whole: bool = False
    words: tuple[str, ...] = ("",)


def fill_fields(template: str) -> str:
    """Replace ``<Y>``, ``<M>``, ... ``<D2>`` by the named groups of `FIELDS`."""

    def group(match: re.Match[str]) -> str:
        name, pattern = FIELDS[match[1]]
        return f"(?P<{'to_' if match[2] else ''}{name}>{pattern})"

    return re.sub(rf"<([{''.join(FIELDS)}])(2?)>", group, template)


def _product(name: str, template: str) -> Rule:
    # Products begin a name, or follow a prefix such as `clip_` or the index from Earth Engine's toBands().
    return Rule(name, re.compile(r"(?<![A-Za-z0-9])" + fill_fields(template), re.IGNORECASE))


def _generic(
    name: str, template: str, family: str = "", *, whole: bool = False, words: tuple[str, ...] = ("",)
) -> Rule:
    return Rule(name, re.compile(rf"(?<!\d){fill_fields(template)}(?!\d)", re.IGNORECASE), family, whole, words)


PRODUCTS: Final = (
    # USGS, Landsat Collections: acquired, then processed. CU, AK, HI are ARD; Earth Engine omits L1TP.
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
# Not before three more digits: that would be a path and row, or FORCE's window 001-365.
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
    # Not after a year: the end of 2014_04_09_2014 is not a date of its own.
    _generic("DD-MM-YYYY", r"(?<!\d{4}[-_.])<D>(?P<sep>[-_.])<M>(?P=sep)<Y>", "DD-MM"),
    _generic("MM-DD-YYYY", r"(?<!\d{4}[-_.])<M>(?P<sep>[-_.])<D>(?P=sep)<Y>", "DD-MM"),
    _generic("DDMonYYYY", rf"(?P<day>0?[1-9]|[12]\d|3[01])(?P<sep>[-_. ]?){MONTH}(?P=sep)?<Y>", words=MONTHS),
    _generic("MonDDYYYY", rf"(?<![A-Z]){MONTH}(?P<sep>[-_. ])<D>(?P=sep)<Y>", words=MONTHS),
    _generic("YYYYMonDD", rf"<Y>(?P<sep>[-_./ ]?){MONTH}(?P=sep)?<D>", words=MONTHS),
    _generic("MonYYYY", rf"(?<![A-Z]){MONTH}[-_. ]?<Y>", words=MONTHS),
    _generic("YYYYMon", rf"<Y>[-_./ ]?{MONTH}(?![A-Z])", words=MONTHS),
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
    # Not in strptime, which does not use these letters.
    "J": f"(?P<week>{_ANY_WEEK})",
    "K": fill_fields("<k>"),
    "P": fill_fields("<p>"),
}
# The directive for each group of a rule.
LETTERS: Final = {
    "year": "Y", "short_year": "y", "next": "y", "month": "m", "day": "d", "doy": "j", "hour": "H", "minute": "M",
    "second": "S", "zone": "z", "dekad": "K", "dekad_of_year": "K", "pentad": "P", "week": "J", "iso_week": "V",
}  # fmt: skip
# What strptime also accepts: numbers without leading zeros, here only without adjacent digits.
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
    """Return the first day of a week of a year; week 1 begins on the first weekday `begins` (0 for Monday).

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
    """Return a time in UTC, given its offset from UTC (Z, +02, -0700, +05:30)."""
    if zone in "Zz":
        return time
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    try:
        return time + offset if zone[0] == "-" else time - offset
    except OverflowError:
        raise ValueError("in UTC it is outside the years 1 to 9999") from None


def moment_of(match: re.Match[str]) -> Moment | None:
    """Build the moment from groups named after `FIELDS`; None if it ends before it starts; ValueError if impossible."""
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
            # Other weeks end with the year at the latest; week 0 ends when week 1 begins.
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
    """Return the moment for 2001/02 or 2001/2002: a year that ends in the next one."""
    if second != (first + 1 if second > 99 else (first + 1) % 100):
        raise ValueError(f"{second} does not follow {first}")
    return Moment(datetime(first, 1, 1), "year", datetime(first + 1, 1, 1))


def last_instant(moment: Moment) -> datetime:
    """Return the last second of what is known."""
    if moment.precision == "second":
        return moment.start
    last = moment.end.replace(month=12, day=31) if moment.precision == "year" else moment.end
    return last.replace(hour=23, minute=59, second=59)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one name says about time, and the rule that found it.

    Attributes
    ----------
    moment, rule
        The date, and the rule that found it.
    text, format
        Where it was found in a name or description, and the ``--times`` format that finds it there; empty where it
        comes from elsewhere.
    """

    moment: Moment
    rule: str
    text: str = field(default="", compare=False)
    format: str = field(default="", compare=False)

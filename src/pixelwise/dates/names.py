"""Dates as people write them: in file names, band descriptions, tables and options.

The conventions are data (`conventions`): tables of `Rule`, whose patterns name the fields that they find. Product rules
know their names (the second date of a Landsat name is its processing and is left out); generic rules know
only what dates look like, so their readings must agree, and differ between the files of a list. Where one text
can be read in two ways (2001_02 is February, or the season 2001/02), the whole list decides, or is refused.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice, product, takewhile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from pixelwise.dates.axis import Moment
from pixelwise.dates.rules import (
    CHIRPS_DEKAD,
    CHIRPS_PENTAD,
    DATE_RULES,
    DIRECTIVES,
    EARLIEST,
    GENERICS,
    LETTERS,
    MONTH,
    PRODUCTS,
    UNPADDED,
    WEEK,
    YEAR_PAIR,
    Rule,
    fill_fields,
    last_instant,
    moment_of,
)
from pixelwise.errors import InputError, ParameterError
from pixelwise.regular_files import read_text
from pixelwise.words import SHOWN, count, show, some

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "BandDates",
    "Reading",
    "Table",
    "parse_date",
    "read_format",
    "read_names",
    "read_range",
    "read_table",
    "shard_of",
]


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


# A group of a pattern and its text. 20010116 may end one file's composite and begin the next one's.
Token = tuple[int | str, str]


class Candidate(NamedTuple):  # thousands are made, and a dataclass takes three times as long
    """A place in a name that looks like a date."""

    span: tuple[int, int]
    tokens: list[Token]
    rule: Rule
    match: re.Match[str]


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
# .tif, .nc4, .tar.gz; not .y2001, and not .Q1, .D1, .dk1, .P1, .Jan of 2001.Jan.tif
_EXTENSIONS: Final = re.compile(
    rf"(?:\.(?!(?:Q|D|dk|dek|P|pt|pen)\d\b)(?!{MONTH.replace('?P<month_name>', '?:')}\b)[A-Za-z]{{1,8}}\d?)+$",
    re.IGNORECASE,
)
_SHARD: Final = re.compile(r"^(.*)-(\d{10})-(\d{10})$", re.DOTALL)

ACCEPTED: Final = (
    "2001, 2001-03, 2001-Q1, 2001-03-D1 for a dekad, 2001-W05 for an ISO week, 2001-03-05, 20010305, 2001-064 or "
    "2001-03-05T10:00:08"
)

FILE_COLUMNS: Final = ("path", "file", "filename", "name")
BAND_COLUMNS: Final = ("band", "bands")
DATE_COLUMNS: Final = ("date", "dates", "time", "datetime")

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
    (re.compile(r"daily", re.IGNORECASE), WEEK),
    (re.compile(r"week", re.IGNORECASE), "YYYYDDD"),
    (re.compile(r"week", re.IGNORECASE), "YYYY_DDD"),
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
        other.precision != finest.precision and other.start <= finest.start <= last_instant(other) for other in others
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
        if len(texts) > 1 and len({*found}) == 1:
            continue  # what is the same in all names dates none
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
    last = last_instant(moment)
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
    lines = read_text(Path(path)).splitlines()
    content = [
        (number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")
    ]
    # Spreadsheets write semicolons where the comma is a decimal point.
    first = content[0][1] if content else ""
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    rows = []
    for number, line in content:
        try:
            rows.append((number, [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]))
        except csv.Error as error:  # a cell of more than 131 072 characters
            raise InputError(f"{show(str(path))}, line {number}: cannot be read as a table of dates: {error}") from None
    return rows


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

"""Dates as people write them: in file names, band descriptions, tables and options.

The conventions are data: tables of `Rule`, whose patterns name the fields that they find. Product rules know the names
of a product (the second date in a Landsat name is its processing date and is ignored). Generic rules know only what
dates look like, so their readings must agree within a name, and differ between the files of a list. Where a text can
be read in two ways (2001_02 is February, or the season 2001/02), the whole list decides, or is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from itertools import islice, product
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from pixelwise.dates.axis import Moment
from pixelwise.dates.formats import by_format
from pixelwise.dates.paths import base, below_common_parent, pattern_of, without_suffixes
from pixelwise.dates.rules import (
    CHIRPS_DEKAD,
    CHIRPS_PENTAD,
    EARLIEST,
    GENERICS,
    LETTERS,
    PRODUCTS,
    WEEK,
    YEAR_PAIR,
    Reading,
    Rule,
    last_instant,
    moment_of,
)
from pixelwise.errors import InputError
from pixelwise.words import SHOWN, count, first_of, show

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["read_names", "undated_names"]

# A group of a pattern and its text. 20010116 may end one file's composite and begin the next file's.
Token = tuple[int | str, str]


class Candidate(NamedTuple):  # thousands are created, and a dataclass takes three times as long
    """A place in a name that looks like a date."""

    span: tuple[int, int]
    tokens: list[Token]
    rule: Rule
    match: re.Match[str]


# The groups that must differ between the names of a list: the whole token, and both dates of a date range.
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


# ------------------------------------------------------------------------------------------ file names


def read_names(names: Sequence[str], *, what: Literal["file", "band"] = "file") -> list[Reading]:
    """Read the dates of a list of files or bands from their names.

    A product's own rule applies where there is one. Otherwise every token that looks like a date counts, except those
    that are the same in all names; the dates that remain in a name must agree. Files whose base names do not decide
    are read by their paths below the common parent folder.

    Parameters
    ----------
    names
        Paths with forward slashes, or band descriptions.
    what
        ``"file"`` for paths, ``"band"`` for descriptions, which are used whole.

    Returns
    -------
    list of Reading
        One per name.

    Raises
    ------
    InputError
        When names have no date, several dates, or dates of different kinds; all are reported together.
    """
    if what == "band":
        readings, problems = _read_texts(names, names, what, single=len(names) == 1)
        if problems:
            raise InputError(*problems)
        return readings
    readings, problems = _read_paths(names, what)
    if problems:
        raise InputError(*(_few_undated(names) or problems))
    return readings


def undated_names(names: Sequence[str]) -> list[str]:
    """Return the few paths without any date among others that `read_names` dates; none if most have no date."""
    odd = [name for name in names if not _has_date(name)]
    if not 0 < len(odd) * MANY_TIMES <= len(names):
        return []
    _, problems = _read_paths([name for name in names if name not in set(odd)], "file")
    return [] if problems else odd


#: So many times more names must have a date for those without one to be taken for something else.
MANY_TIMES = 4


def _has_date(name: str) -> bool:
    text = base(without_suffixes(name))
    return bool(_product_reading(text) or _candidates(text))


def _few_undated(names: Sequence[str]) -> list[str]:
    """Return the problem if few names have no date, and all others are dated by the same rule; else nothing."""
    odd = undated_names(names)
    if not odd:
        return []
    rest = [name for name in names if name not in set(odd)]
    readings, _ = _read_paths(rest, "file")
    first, last = (pick(readings, key=lambda reading: reading.moment.start) for pick in (min, max))
    digits = 4 if {first.moment.precision, last.moment.precision} == {"year"} else None
    dated = f"{str(first.moment)[:digits]} to {str(last.moment)[:digits]} by rule {first.rule}"
    pattern = pattern_of(rest)
    fits = pattern is not None and not any(fnmatchcase(name, pattern) for name in odd)
    choice = f"give a pattern that leaves {'it' if len(odd) == 1 else 'them'} out: '{pattern}'" if fits else ""
    move = f"move {'it' if len(odd) == 1 else 'them'} to another folder"
    problem = (
        f"no date in the name of {count(odd, 'file')}: {first_of([*map(show, odd)])}; the names of the other "
        f"{len(rest)} have one ({dated}): {move}, {f'{choice}, ' if choice else ''}or use --times FORMAT|FILE"
    )
    return [problem]


def _read_paths(names: Sequence[str], what: str) -> tuple[list[Reading], list[str]]:
    """Return a reading for each path, or else the problems."""
    paths = [without_suffixes(name) for name in names]
    single = len(set(paths)) == 1  # pieces of one image are one file
    bases = [base(path) for path in paths]
    readings, problems = _read_texts(bases, names, what, single=single)
    relative = below_common_parent(paths)
    if problems and relative != bases:
        readings, problems = _read_texts(relative, names, what, single=single)
    return readings, problems


def _read_texts(
    texts: Sequence[str], names: Sequence[str], what: str, *, single: bool
) -> tuple[list[Reading], list[str]]:
    """Return a reading for each text, or else the problems with their `names`."""
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
        # The time of day counts only if all names have it: 123045 might also be Landsat's path and row.
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
    """Whether a match can be a date: not years that do not follow each other, nor digits of another time.

    A day that does not exist is left to `_settle`: the February of 2001-02-30 is not a date either.
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
    """Whether a date is earlier than photographs, or later than today anywhere on Earth."""
    return moment.start.year < EARLIEST or moment.start > datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)


# What folders and names reveal about which of several rules reads a text correctly.
_CLUES: Final = (
    (re.compile(r"dekad|decad|(?<!\d)10[-_ ]?days?", re.IGNORECASE), CHIRPS_PENTAD),
    (re.compile(r"pentad|(?<!\d)5[-_ ]?days?", re.IGNORECASE), CHIRPS_DEKAD),
    (re.compile(r"month", re.IGNORECASE), YEAR_PAIR),
    (re.compile(r"daily", re.IGNORECASE), WEEK),
    (re.compile(r"week", re.IGNORECASE), "YYYYDDD"),
    (re.compile(r"week", re.IGNORECASE), "YYYY_DDD"),
)


def _excluded(rows: Sequence[Sequence[Candidate]], names: Sequence[str], *, several: bool) -> set[Rule]:
    """Return the rules that the list as a whole excludes, among those that read a text differently."""
    fits: Counter[Rule] = Counter()
    finds: Counter[str] = Counter()
    for row in rows:
        spans = {candidate.span for candidate in row}
        # A part of something longer proves nothing: 2001_02 in 2001_02_03 is not a year pair.
        outer = {span for span in spans if not any(_is_within(span, other) for other in spans)}
        rules = {candidate.rule for candidate in row if candidate.span in outer}
        fits.update(rules)
        finds.update({rule.family for rule in rules if rule.family})
    excluded = {
        rule
        for rule in fits
        if (rule.whole and (fits[rule] < len(rows) or not several)) or fits[rule] < finds[rule.family]
    }
    hinted = {other for pattern, other in _CLUES if names and all(pattern.search(_nearby(name)) for name in names)}
    if not hinted.issuperset((CHIRPS_DEKAD, CHIRPS_PENTAD)):  # which cancel each other out
        excluded.update(rule for rule in fits if rule.name in hinted)
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
    """Return the last parts of a path: folders further up belong to whole projects."""
    return "/".join(name.split("/")[-3:])


def _are_dekads(dekads: Sequence[re.Match[str]], pentads: Sequence[re.Match[str]]) -> bool:
    """Whether dekads 1 to 3 of a month are meant, not the first three of its six pentads.

    A single file is read in the more common way. Otherwise two months complete with 1 to 3 decide: as pentads, both
    would lack their second half.
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
    """Leave out the tokens that all names share, and any date range with a shared side."""
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

    `excluded` are the rules that the list as a whole excludes: where a text can be read in two ways, 14-03-2001 in
    another name shows that 05-03-2001 is in March. They still apply where no other rule of their family reads a text.
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
            taken.append(span)  # the February of 2001-02-30 is not a date either
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


#: How many ways to choose one reading for each place in a name are tried.
MOST_CHOICES = 64


def _finest(moments: Sequence[Moment]) -> Moment | None:
    """Return the most precise of several nested dates; None where they contradict each other."""
    order = ("year", "month", "day", "second", "period")
    *others, finest = sorted(dict.fromkeys(moments), key=lambda moment: order.index(moment.precision))
    agree = all(
        other.precision != finest.precision and other.start <= finest.start <= last_instant(other) for other in others
    )
    return finest if agree else None


def _format_of(match: re.Match[str]) -> str:
    """Return the ``--times`` format that finds a date where a rule found it; for a date range, its beginning."""
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
    """Return one line for each problem with the dates of a list."""
    problems = []
    none = [show(name) for name, row in zip(names, found, strict=True) if not row]
    several = [
        f"{show(name)} ({', or '.join(f'{reading.moment} by {reading.rule}' for reading in row)})"
        for name, row in zip(names, found, strict=True)
        if len(row) > 1
    ]
    remedy = "use --times FORMAT|FILE"
    if none:
        shared = [text for group, text in constant if group == 0]
        tokens = " and ".join(show(text) for text in shared[:SHOWN])
        same = f" ({tokens} in all of them is not taken for a date)" if tokens else ""
        undated = [text for text, row in zip(texts, found, strict=True) if not row]
        hint = _hint(undated, texts)
        problems.append(f"no date in the name of {count(none, what)}: {first_of(none)}{same}{hint}; {remedy}")
    if several:
        # A suggested format must work when it is typed: it must read all names.
        formats = dict.fromkeys(reading.format for row in found if len(row) > 1 for reading in row)
        fitting = [f"--times '{one}'" for one in islice(formats, MOST_FORMATS) if by_format(texts, one, anywhere=True)]
        choice = f"use {' or '.join(fitting)}" if len(fitting) > 1 else remedy
        problems.append(
            f"more than one date in the name of {count(several, what)}: {first_of(several, separator='; ')}; {choice}"
        )
    kinds: dict[str, str] = {}
    for name, row in zip(names, found, strict=True):
        if len(row) == 1:
            kinds.setdefault(row[0].moment.precision, f"{show(name)} ({row[0].moment} by {row[0].rule})")
    if not problems and len(kinds) > 1 and kinds.keys() != {"day", "second"}:
        text = ", ".join(f"a {precision} in {example}" for precision, example in kinds.items())
        problems.append(f"the names of {count(names, what)} give dates of different kinds: {text}; {remedy}")
    return problems


#: Number of formats that are tried on all names for a message.
MOST_FORMATS = 8

# Digits that no rule reads, because too many other things look like them.
_GUESSES: Final = ("%y%m%d", "%d%m%y", "%m%d%y", "%d%m%Y", "%m%d%Y", "%Y%m", "%Y%m%d", "%Y%j", "%G%V", "%Y%J")


def _hint(undated: Sequence[str], texts: Sequence[str]) -> str:
    """Say what the digits in all names may mean, and which format reads them that way."""
    guesses = [_format_of(match) for rule in GENERICS for match in rule.pattern.finditer(undated[0])]
    likely: dict[Moment, str] = {}
    for guess in dict.fromkeys((*_GUESSES, *guesses)):
        found = by_format(texts, guess, anywhere=guess not in _GUESSES)
        if len(texts) > 1 and len({*found}) == 1:
            continue  # digits that are the same in all names date none of them
        # Six digits that may be a month are not a week.
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

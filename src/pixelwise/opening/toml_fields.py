"""Read TOML files that people write: every field by name, and one line about the first that is wrong.

Such a file may come from anyone: its size, numbers and nesting are limited before anything is done with them.
"""

from __future__ import annotations

import math
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelwise.errors import InputError
from pixelwise.regular_files import read_text
from pixelwise.words import shown, unknown

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["LONGEST_FILE", "Fields", "parse_toml", "read_toml"]

#: Bytes of a file, enough for 10 000 paths; more of them belong in @list.txt.
LONGEST_FILE = 2 << 20
#: Dots in one line: tomllib takes a second for a key of 10 000 parts, and ten minutes for one of 200 000.
MOST_DOTS = 5000
#: Fields in one file; characters of a name and of a string; levels of nested tables and lists.
MOST_FIELDS, LONGEST_NAME, LONGEST_VALUE, DEEPEST = 1000, 100, 10_000, 8
#: Kernels use 64-bit integers.
LARGEST_WHOLE = 2**63


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Returns
    -------
    dict
        Strings, dates, finite or infinite numbers, lists and tables.

    Raises
    ------
    InputError
        When it cannot be read, is not TOML, or is larger than what people write.
    """
    return parse_toml(str(path), read_text(path, most=LONGEST_FILE))


def parse_toml(file: str, text: str) -> dict[str, Any]:
    """Parse the text of a file as `read_toml` does.

    Parameters
    ----------
    file
        Its name in errors.
    text
        Its content.

    Returns
    -------
    dict
        As `read_toml`.

    Raises
    ------
    InputError
        When it is not TOML, or is larger than what people write.
    """
    if max(line.count(".") for line in text.split("\n")) > MOST_DOTS:
        raise InputError(f"{file}: a line has more than {MOST_DOTS} dots; write long lists with one item per line")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise InputError(f"{file}: not a TOML file that can be read (its brackets are nested too deeply)") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{file}: not a TOML file ({error})") from None
    except ValueError:  # Python's int() refuses more than 4300 digits
        raise InputError(f"{file}: not a TOML file that can be read (a number has too many digits)") from None
    if wrong := _excess(table, DEEPEST):
        raise InputError(f"{file}: {wrong}")
    return table


def _excess(value: Any, deepest: int) -> str:
    """Say what is too large in a value, and in which field; empty if nothing is."""
    if isinstance(value, (dict, list)) and not deepest:
        return f"more than {DEEPEST} nested brackets"
    if isinstance(value, list):
        return next(filter(None, (_excess(item, deepest - 1) for item in value)), "")
    if isinstance(value, dict):
        if len(value) > MOST_FIELDS:
            return f"{len(value)} fields; at most {MOST_FIELDS} are allowed"
        for name, item in value.items():
            if len(name) > LONGEST_NAME:
                return f"the name of a field has {len(name)} characters; at most {LONGEST_NAME} are allowed"
            if wrong := _excess(item, deepest - 1):
                return f"{name}: {wrong}"
        return ""
    if isinstance(value, str) and len(value) > LONGEST_VALUE:
        return f"a string of {len(value)} characters; at most {LONGEST_VALUE} are allowed"
    if isinstance(value, str) and "\0" in value:
        return "a string with a NUL character"
    if isinstance(value, int) and not -LARGEST_WHOLE <= value < LARGEST_WHOLE:
        return f"a whole number of {len(str(abs(value)))} digits is too large; write it with an exponent, like 1e30"
    return ""


class Fields:
    """The fields of a table that are still to be read.

    Attributes
    ----------
    file, where
        Names in messages of the file, and of the table in it (empty for the file itself).
    left
        The fields that have not been read yet.
    """

    def __init__(self, file: str, where: str, table: Any) -> None:
        self.file, self.where = file, where
        if not isinstance(table, dict):
            raise InputError(f"{file}: {where} {shown(table)} is wrong; expected a table of fields")
        self.left = dict(table)

    @classmethod
    def of_file(cls, name: str | os.PathLike[str], content: Traversable | Path) -> Fields:
        """Read a file; an `InputError` names it if it cannot be read."""
        if isinstance(content, Path):
            return cls(os.fspath(name), "", read_toml(content))
        # One of ours, which may be in an archive.
        return cls(os.fspath(name), "", tomllib.loads(content.read_text(encoding="utf-8")))

    def error(self, text: str) -> InputError:
        """Return an error that names file and table."""
        return InputError(f"{self.file}: {self.where + ': ' if self.where else ''}{text}")

    def wrong(self, field: str, value: Any, remedy: str) -> InputError:
        """Return the error for a wrong value."""
        return self.error(f"{field} {shown(value)} is wrong; {remedy}")

    def take(self, field: str, kind: type | tuple[type, ...], remedy: str, default: Any = None) -> Any:
        """Return the value of a field, which must not be empty, and must exist unless it has a default."""
        if field not in self.left:
            if default is not None:
                return default
            raise self.error(f"{field} is missing; {remedy}")
        value = self.left.pop(field)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool) or value in ("", [], {}):
            raise self.wrong(field, value, remedy)
        return value

    def number(self, field: str, default: float | None = None) -> float:
        """Return a finite number."""
        value = float(self.take(field, (int, float), "expected a number", default))
        if not math.isfinite(value):
            raise self.wrong(field, value, "expected a finite number")
        return value

    def numbers(self, field: str, default: tuple[float, ...]) -> tuple[float, ...]:
        """Return a list of numbers, which may be empty."""
        value = self.left.pop(field, list(default))
        if not isinstance(value, list) or any(isinstance(n, bool) or not isinstance(n, int | float) for n in value):
            raise self.wrong(field, value, "expected numbers in brackets, such as [0]")
        return tuple(float(number) for number in value)

    def texts(self, field: str, remedy: str) -> tuple[str, ...]:
        """Return one string or several."""
        value = self.take(field, (str, list), remedy)
        texts = [value] if isinstance(value, str) else value
        if not all(isinstance(text, str) and text for text in texts):
            raise self.wrong(field, value, remedy)
        return tuple(texts)

    def table(self, field: str) -> Fields:
        """Return the fields of a nested table."""
        return Fields(self.file, f"{self.where + '.' if self.where else ''}{field}", self.left.pop(field))

    def tables(self, field: str) -> list[Fields]:
        """Return the fields of each of the tables ``[[field]]``."""
        value = self.left.pop(field, [])
        if not isinstance(value, list):
            raise self.wrong(field, value, f"expected tables [[{field}]]")
        return [Fields(self.file, f"{field} {number}", table) for number, table in enumerate(value, 1)]

    def done(self, known: str) -> None:
        """Refuse fields that were not read: they are misspelt."""
        for field in self.left:
            raise self.error(str(unknown("field", field, known.split())))

"""Reading a TOML file that people write: every field by name, and one line for the first that is wrong."""

from __future__ import annotations

import math
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelwise.errors import InputError, unknown

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["Fields"]


class Fields:
    """The fields of a table that are still to be read.

    Attributes
    ----------
    file, where
        What messages call the file, and the table in it (empty for the file itself).
    left
        The fields that nothing has asked for yet.
    """

    def __init__(self, file: str, where: str, table: Any) -> None:
        self.file, self.where = file, where
        if not isinstance(table, dict):
            raise InputError(f"{file}: {where} {table!r} is wrong; a table of fields is wanted")
        self.left = dict(table)

    @classmethod
    def of_file(cls, name: str | os.PathLike[str], content: Traversable | Path) -> Fields:
        """Read a file; an `InputError` names it if it cannot be read."""
        file = os.fspath(name)
        try:
            return cls(file, "", tomllib.loads(content.read_text(encoding="utf-8")))
        except OSError as error:
            raise InputError(f"{file}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: not a TOML file ({error})") from None

    def error(self, text: str) -> InputError:
        """Return an error that names file and table."""
        return InputError(f"{self.file}: {self.where + ': ' if self.where else ''}{text}")

    def wrong(self, field: str, value: Any, wanted: str) -> InputError:
        """Return the error for a value that is not what is wanted."""
        return self.error(f"{field} {value!r} is wrong; {wanted}")

    def take(self, field: str, kind: type | tuple[type, ...], wanted: str, default: Any = None) -> Any:
        """Return the value of a field, which is there and not empty unless it has a default."""
        if field not in self.left:
            if default is not None:
                return default
            raise self.error(f"{field} is missing; {wanted}")
        value = self.left.pop(field)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool) or value in ("", [], {}):
            raise self.wrong(field, value, wanted)
        return value

    def number(self, field: str, default: float | None = None) -> float:
        """Return a finite number."""
        value = float(self.take(field, (int, float), "a number is wanted", default))
        if not math.isfinite(value):
            raise self.wrong(field, value, "a finite number is wanted")
        return value

    def numbers(self, field: str, default: tuple[float, ...]) -> tuple[float, ...]:
        """Return a list of numbers, which may be empty."""
        value = self.left.pop(field, list(default))
        if not isinstance(value, list) or any(isinstance(n, bool) or not isinstance(n, int | float) for n in value):
            raise self.wrong(field, value, "numbers in brackets are wanted, such as [0]")
        return tuple(float(number) for number in value)

    def texts(self, field: str, wanted: str) -> tuple[str, ...]:
        """Return one text or several."""
        value = self.take(field, (str, list), wanted)
        texts = [value] if isinstance(value, str) else value
        if not all(isinstance(text, str) and text for text in texts):
            raise self.wrong(field, value, wanted)
        return tuple(texts)

    def table(self, field: str) -> Fields:
        """Return the fields of a table inside."""
        return Fields(self.file, f"{self.where + '.' if self.where else ''}{field}", self.left.pop(field))

    def tables(self, field: str) -> list[Fields]:
        """Return the fields of each of the tables ``[[field]]``."""
        value = self.left.pop(field, [])
        if not isinstance(value, list):
            raise self.wrong(field, value, f"tables [[{field}]] are wanted")
        return [Fields(self.file, f"{field} {number}", table) for number, table in enumerate(value, 1)]

    def done(self, known: str) -> None:
        """Refuse fields that nothing has asked for: they are misspelt."""
        for field in self.left:
            raise self.error(str(unknown("field", field, known.split())))

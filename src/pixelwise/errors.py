"""Everything that pixelwise raises on purpose.

The tree::

    PixelwiseError              anything below; the command line prints it and exits with 1 or 75 (else it is a bug: 70)
    ├── InputError              the rasters, their dates or their grids: holds every problem found
    ├── ParameterError          an unknown or impossible method, band, parameter or option
    ├── OutputError             the output exists, cannot be written, or is one of the inputs
    ├── ResourceError           memory, disk, open files or workers ran out: 75, the same command resumes the job
    └── FunctionError           a user's function failed or returned something that is not a row of bands
"""

from __future__ import annotations

import errno
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "RESOURCES",
    "FunctionError",
    "InputError",
    "OutputError",
    "ParameterError",
    "PixelwiseError",
    "ResourceError",
    "first_of",
    "one_line",
    "shown",
    "unknown",
]


#: What the system says where room, quota, open files or memory ran out. Windows has no quota's number.
RESOURCES = (
    errno.ENOSPC,
    getattr(errno, "EDQUOT", errno.ENOSPC),
    errno.EFBIG,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
)
#: Of the names that are known, so many are listed: all fields of a recipe.
MOST_NAMES = 40


class PixelwiseError(Exception):
    """A mistake that the user can mend; its text is one clear sentence."""


class InputError(PixelwiseError):
    """What is wrong with the input, all problems together.

    Parameters
    ----------
    problems
        One line per problem: which file, which field, both values, what to do.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, ...]]:
        return (type(self), self.problems)


class ParameterError(PixelwiseError):
    """An unknown or impossible method, band, parameter or option."""


class OutputError(PixelwiseError):
    """The output exists, cannot be written, or is one of the inputs."""


class ResourceError(PixelwiseError):
    """Memory, disk, open files or workers ran out: nothing is wrong with the job, and run again it resumes."""


class FunctionError(PixelwiseError):
    """A user's function failed, or returned the wrong number of values."""


def shown(value: object, most: int = 200) -> str:
    """Write a value that a user or a file gave as a message can have it, of a long one both ends.

    Parameters
    ----------
    value
        Anything; Python refuses to print whole numbers of more than 4300 digits.
    most
        Characters of what is not shortened.
    """
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 4 :]}"


def one_line(error: object) -> str:
    """Return what an error says in one line."""
    return " ".join(str(error).split())


def first_of(texts: Sequence[str], most: int) -> str:
    """Return the first of some texts, and how many more there are."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return f"{', '.join(texts[:most])}{more}"


def unknown(what: str, name: str, known: Iterable[str]) -> ParameterError:
    """Return the error for a `name` that is not among `known`, with the closest match and some of those that are."""
    names = list(known)
    # To compare a long name takes minutes, and it is none that was mistyped.
    likely = isinstance(name, str) and len(name) <= 2 * max(map(len, names), default=0)
    close = get_close_matches(name, names, n=1, cutoff=0.5) if likely else []
    hint = f"; did you mean {close[0]!r}?" if close else ""
    more = f", ... and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ParameterError(f"unknown {what} {shown(name)}{hint} (known: {', '.join(names[:MOST_NAMES])}{more})")

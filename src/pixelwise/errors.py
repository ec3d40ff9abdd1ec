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
from types import TracebackType

__all__ = [
    "RESOURCES",
    "FunctionError",
    "InputError",
    "OutputError",
    "ParameterError",
    "PixelwiseError",
    "Problems",
    "ResourceError",
]

#: The system's errors when space, quota, open files or memory run out. Windows has no error number for quotas.
RESOURCES = (
    errno.ENOSPC,
    getattr(errno, "EDQUOT", errno.ENOSPC),
    errno.EFBIG,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
)


class PixelwiseError(Exception):
    """A mistake that the user can fix; its message is one clear sentence."""


class InputError(PixelwiseError):
    """What is wrong with the input, all problems together.

    Parameters
    ----------
    problems
        One line per problem: the file, the field, both values, and what to do.
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
    """Memory, disk, open files or workers ran out: the job itself is fine, and resumes when run again."""


class FunctionError(PixelwiseError):
    """A user's function failed, or returned the wrong number of values."""


class Problems:
    """What is wrong, one line each, collected so that one run shows all of it."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._lines)

    @property
    def lines(self) -> tuple[str, ...]:
        """All of them, in the order in which they were found."""
        return tuple(self._lines)

    @property
    def distinct(self) -> tuple[str, ...]:
        """Each line once."""
        return tuple(dict.fromkeys(self._lines))

    def add(self, *lines: str) -> None:
        """Add lines."""
        self._lines.extend(lines)

    def caught(self, prefix: str = "", *, parameters: bool = False) -> Caught:
        """Return a context in which an `InputError` is added instead of raised.

        Parameters
        ----------
        prefix
            What each line begins with, such as the option that is meant.
        parameters
            Whether a `ParameterError` is added too.

        Examples
        --------
        >>> problems = Problems()
        >>> with problems.caught("mask: ") as failure:
        ...     raise InputError("no file is named")
        >>> bool(failure), problems.lines
        (True, ('mask: no file is named',))
        """
        return Caught(self, prefix, parameters=parameters)

    def raise_if_any(self) -> None:
        """Raise an `InputError` of all lines, if there are any."""
        if self._lines:
            raise InputError(*self._lines)


class Caught:
    """The context of `Problems.caught`; true once an error was added."""

    def __init__(self, problems: Problems, prefix: str, *, parameters: bool) -> None:
        self._problems, self._prefix, self._parameters = problems, prefix, parameters
        self._failed = False

    def __bool__(self) -> bool:
        return self._failed

    def __enter__(self) -> Caught:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if isinstance(error, InputError):
            lines = error.problems
        elif self._parameters and isinstance(error, ParameterError):
            lines = (str(error),)
        else:
            return False
        self._failed = True
        self._problems.add(*(f"{self._prefix}{line}" for line in lines))
        return True

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

__all__ = [
    "RESOURCES",
    "FunctionError",
    "InputError",
    "OutputError",
    "ParameterError",
    "PixelwiseError",
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
    """A mistake that the user can fix; its text is one clear sentence."""


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

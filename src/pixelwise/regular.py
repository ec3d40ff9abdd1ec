"""Files that somebody named: only regular ones are opened, and texts are read only up to a size.

A FIFO without a writer would be waited for without end, and a device such as /dev/zero never ends.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from pixelwise.errors import InputError

__all__ = ["check_regular", "is_file", "open_regular", "read_bytes", "read_text"]

#: What a file may be instead of a regular one.
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}

#: No list, table, recipe or function is longer: a list of a million long paths has 100 MB.
LONGEST_TEXT = 256 << 20


def check_regular(path: Path, what: str = "") -> os.stat_result:
    """Return the status of a regular file, links followed, without opening it.

    Parameters
    ----------
    path
        The file.
    what
        What errors begin with where it was named by an option: ``region``, say.

    Raises
    ------
    InputError
        When it is missing, cannot be looked at, or is a folder, FIFO, device or socket.
    """
    named = f"{what} {path}" if what else str(path)
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{named}: {error.strerror}") from None
    except ValueError:  # a NUL
        raise InputError(f"{named}: no path of a file") from None
    _refuse_other_kinds(named, status.st_mode)
    return status


def is_file(path: Path) -> bool:
    """Whether there is a regular file, links followed; no text is too long or too odd to be asked about.

    Parameters
    ----------
    path
        The file, or what may be none at all.

    Returns
    -------
    bool

    Raises
    ------
    InputError
        When it is in a folder that may not be entered, so that nobody knows.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except PermissionError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (OSError, ValueError):
        return False


def open_regular(path: Path, what: str = "") -> BinaryIO:
    """Open a regular file for reading bytes.

    It is looked at once it is open, so that it cannot be replaced in between; and opening waits for nothing.

    Raises
    ------
    InputError
        As `check_regular`.
    """
    named = f"{what} {path}" if what else str(path)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        # A socket cannot be opened; say what it is.
        if error.errno in (errno.ENXIO, errno.EISDIR, errno.EACCES):
            check_regular(path, what)
        raise InputError(f"{named}: {error.strerror}") from None
    except ValueError:
        raise InputError(f"{named}: no path of a file") from None
    try:
        _refuse_other_kinds(named, os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, what: str = "", *, most: int = LONGEST_TEXT) -> bytes:
    """Read a regular file of at most so many bytes.

    Raises
    ------
    InputError
        As `check_regular`; also when it is longer, or cannot be read.
    """
    named = f"{what} {path}" if what else str(path)
    with open_regular(path, what) as file:
        try:
            # Files of /proc have size 0, so the size tells nothing.
            content = file.read(most + 1)
        except OSError as error:
            raise InputError(f"{named}: cannot be read ({error.strerror})") from None
    if len(content) > most:
        raise InputError(f"{named}: is too long; the limit for such a file is {most / 1e6:.0f} MB")
    return content


def read_text(path: Path, what: str = "", *, most: int = LONGEST_TEXT) -> str:
    """Read a regular file of UTF-8, with or without the mark of byte order that Excel writes.

    Raises
    ------
    InputError
        As `read_bytes`; also when it is no UTF-8 or holds NUL characters.
    """
    named = f"{what} {path}" if what else str(path)
    content = read_bytes(path, what, most=most)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{named}: not a text file in UTF-8 (byte 0x{content[error.start]:02x} at position {error.start})"
        ) from None
    if "\0" in text:
        raise InputError(f"{named}: not a text file (it holds NUL characters)")
    return text


def _refuse_other_kinds(named: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise InputError(f"{named}: is {kind}; expected a file")

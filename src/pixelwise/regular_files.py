"""Files named by a user or another file: only regular ones are opened, and texts are read only up to a size.

Opening a FIFO without a writer waits forever, and a device such as /dev/zero never ends.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from pixelwise.errors import InputError, OutputError

__all__ = [
    "LINK",
    "NO_FOLLOW",
    "SAFELY",
    "IrregularError",
    "check_encodable",
    "check_regular",
    "irregular",
    "is_file",
    "is_utf8",
    "kind_of",
    "open_checked",
    "open_regular",
    "read_bytes",
    "read_text",
    "text_of",
]

#: What a file may be instead of a regular one.
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}

LINK = "a link"

#: Opening never blocks and takes no terminal, and child processes do not inherit the file. Windows lacks some of these.
SAFELY = (
    getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)

#: No list, table, recipe or function is longer: a list of a million long paths has 100 MB.
LONGEST_TEXT = 256 << 20


class IrregularError(Exception):
    """Something other than a regular file, as in "is a FIFO"."""


def kind_of(mode: int) -> str:
    """Name the kind of anything but a regular file: "a link", "a FIFO", ...; "" for a regular file."""
    if stat.S_ISREG(mode):
        return ""
    return LINK if stat.S_ISLNK(mode) else KINDS.get(stat.S_IFMT(mode), "not a regular file")


def irregular(path: Path) -> str:
    """Name what has a path if it is not a regular file: "a link", "a FIFO", ...; "" also where nothing exists.

    Raises
    ------
    OSError
        When its status cannot be read: its name is too long, say.
    """
    try:
        return kind_of(path.lstat().st_mode)
    except FileNotFoundError:
        return ""


def open_checked(path: Path, *, own: bool = False) -> BinaryIO:
    """Open a regular file, and nothing else: opening a tape rewinds it, and a watchdog then restarts the machine.

    Parameters
    ----------
    path
        Checked first, and compared with the file opened.
    own
        Whether we write it: then it is opened for reading and writing, unbuffered, without following links.

    Raises
    ------
    IrregularError
        When it is not a regular file.
    OSError
        When it cannot be opened; FileNotFoundError also when another file replaced it meanwhile.
    """
    before = path.stat(follow_symlinks=not own)
    if kind := kind_of(before.st_mode):
        raise IrregularError(f"is {kind}")
    descriptor = os.open(path, SAFELY | (os.O_RDWR | NO_FOLLOW if own else os.O_RDONLY))
    try:
        if not os.path.samestat(before, os.fstat(descriptor)):
            raise FileNotFoundError(errno.ENOENT, "was replaced while it was opened")
        return os.fdopen(descriptor, "r+b", buffering=0) if own else os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def check_regular(path: Path, what: str = "") -> os.stat_result:
    """Return the status of a regular file, links followed, without opening it.

    Parameters
    ----------
    path
        The file.
    what
        How errors begin if an option named the file: ``region``, say.

    Raises
    ------
    InputError
        When it is missing or its status cannot be read, or it is a folder, FIFO, device or socket.
    """
    named = f"{what} {path}" if what else str(path)
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{named}: {error.strerror}") from None
    except ValueError:  # a NUL
        raise InputError(f"{named}: not a valid path") from None
    if kind := kind_of(status.st_mode):
        raise InputError(f"{named}: is {kind}; expected a file")
    return status


def is_utf8(text: str) -> bool:
    """Whether a text has no lone surrogates, which stand for bytes that are not UTF-8 in names."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_encodable(path: Path, *, output: bool = False) -> None:
    """Refuse a path that cannot be passed to GDAL.

    Parameters
    ----------
    path
        The path of an input or output.
    output
        Whether it is an output.

    Raises
    ------
    InputError, OutputError
        When it is not UTF-8; for an output, also when it holds a NUL.
    """
    error, verb, remedy = (
        (OutputError, "write", "choose another output") if output else (InputError, "open", "rename the file")
    )
    if output and "\0" in str(path):
        raise error(f"{path}: the path holds a NUL character; {remedy}")
    if is_utf8(str(path)):
        return
    try:
        name = os.fsencode(path).decode()
    except UnicodeDecodeError as strange:
        name = strange.object.decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # no byte sequence is this name
        name = str(path).encode("utf-8", "backslashreplace").decode()
    else:
        raise error(f"{name}: this locale cannot represent such names; set PYTHONUTF8=1 (or LC_ALL=C.UTF-8)")
    raise error(f"{name}: its name is not UTF-8, so that GDAL cannot {verb} it: {remedy}")


def is_file(path: Path) -> bool:
    """Whether a regular file exists, links followed; any text may be asked about, however long or odd.

    Parameters
    ----------
    path
        The file, or any other text.

    Returns
    -------
    bool

    Raises
    ------
    InputError
        When it is in a folder that may not be entered, so that nobody can tell.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except PermissionError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (OSError, ValueError):
        return False


def open_regular(path: Path, what: str = "") -> BinaryIO:
    """Open a regular file for reading bytes, links followed.

    Raises
    ------
    InputError
        As for `check_regular`.
    """
    named = f"{what} {path}" if what else str(path)
    try:
        return open_checked(path)
    except IrregularError as error:
        raise InputError(f"{named}: {error}; expected a file") from None
    except OSError as error:
        raise InputError(f"{named}: {error.strerror}") from None
    except ValueError:  # a NUL
        raise InputError(f"{named}: not a valid path") from None


def read_bytes(path: Path, what: str = "", *, most: int = LONGEST_TEXT) -> bytes:
    """Read a regular file of at most `most` bytes.

    Raises
    ------
    InputError
        As for `check_regular`; also when it is longer, or cannot be read.
    """
    named = f"{what} {path}" if what else str(path)
    with open_regular(path, what) as file:
        try:
            # Files in /proc have size 0, so the size proves nothing.
            content = file.read(most + 1)
        except OSError as error:
            raise InputError(f"{named}: cannot be read ({error.strerror})") from None
    if len(content) > most:
        raise InputError(f"{named}: is too long; the limit for such a file is {most / 1e6:.0f} MB")
    return content


def read_text(path: Path, what: str = "", *, most: int = LONGEST_TEXT) -> str:
    """Read a regular file in UTF-8, with or without the byte order mark that Excel writes.

    Raises
    ------
    InputError
        As for `read_bytes`; also when it is not UTF-8 or holds NUL characters.
    """
    return text_of(read_bytes(path, what, most=most), f"{what} {path}" if what else str(path))


def text_of(content: bytes, named: str) -> str:
    """Return the text of a file that was read, without a byte order mark.

    Parameters
    ----------
    content
        Its bytes.
    named
        The file, as errors name it.

    Raises
    ------
    InputError
        When it is not UTF-8 or holds NUL characters.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{named}: not a text file in UTF-8 (byte 0x{content[error.start]:02x} at position {error.start})"
        ) from None
    if "\0" in text:
        raise InputError(f"{named}: not a text file (it holds NUL characters)")
    return text

"""Names of files on servers, and which of them may be read.

A URL never becomes a `Path`, which would collapse its slashes and look like a local file to whatever takes one.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

from pixelwise.choices import Scheme
from pixelwise.errors import InputError
from pixelwise.words import first_of, shown

__all__ = ["Location", "Url", "is_url", "local_path", "location_of", "permitted", "without_secrets"]

#: How a URL begins; a Windows drive has one letter and no slashes.
BEGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
#: What a URL holds besides letters beyond ASCII, which are sent percent-encoded.
ODD = re.compile(r"[\s\\<>\"^`{|}\x00-\x1f\x7f]")


@functools.total_ordering
@dataclass(frozen=True, slots=True)
class Url:
    """A file on a server, as `pathlib.PurePosixPath` names a local one.

    Two that differ only in their query are the same file: the query of a signed URL is a credential, and the next run
    has another one. It is sent to the server and travels to workers, but is never shown or written.

    Attributes
    ----------
    scheme
        One of `Scheme`.
    host
        The server with its port, or the bucket.
    path
        From the first slash on, as the user wrote it.
    query
        What follows the question mark.
    """

    scheme: str
    host: str
    path: str
    query: str = field(default="", repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Url:
        """Read a URL.

        Raises
        ------
        InputError
            When it is not one of a file on a server, or holds a password.
        """
        parts = urlsplit(text)
        name = without_secrets(text)
        if parts.username is not None or parts.password is not None:
            raise InputError(
                f"{name}: holds a user name or password, which would be kept in logs and maps; leave it out, and give "
                "credentials by environment variables"
            )
        if parts.scheme not in get_args(Scheme):
            known = first_of(list(get_args(Scheme)), len(get_args(Scheme)))
            raise InputError(f"{name}: only {known} are read from servers; download it first")
        try:
            port = parts.port
        except ValueError:
            port = -1
        if not parts.hostname or port == -1 or ODD.search(text) or parts.fragment:
            raise InputError(f"{name}: is not a URL of a file; expected {parts.scheme}://HOST/PATH without blanks")
        if parts.query and parts.scheme not in ("http", "https"):
            raise InputError(f"{name}: has a query, but {parts.scheme}:// names a file by its path alone; leave it out")
        if "*" in parts.path:
            raise InputError(
                f"{name}: the files of a server are not listed, so no pattern is matched; name each of them"
            )
        # The name of a Zarr store is that of a folder.
        path = parts.path.removesuffix("/") if parts.path.endswith(".zarr/") else parts.path
        if path.endswith("/") or not path:
            raise InputError(f"{name}: is a folder on a server, which is not listed; name its files")
        return cls(parts.scheme, parts.netloc.lower(), path, parts.query)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}{self.path}"

    def __lt__(self, other: object) -> bool:
        return str(self) < str(other)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(self.path)

    @property
    def suffix(self) -> str:
        """The suffix of the name, with its dot; empty if there is none."""
        return posixpath.splitext(self.name)[1]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return posixpath.splitext(self.name)[0]

    @property
    def parent(self) -> Url:
        """The folder that it is in."""
        return replace(self, path=posixpath.dirname(self.path), query="")

    def with_name(self, name: str) -> Url:
        """Return another file in the same folder."""
        return replace(self, path=posixpath.join(posixpath.dirname(self.path), name), query="")

    def __truediv__(self, name: str) -> Url:
        """Return a file below this folder."""
        return replace(self, path=posixpath.normpath(posixpath.join(self.path, name)), query="")

    def absolute(self) -> Url:
        """Return the URL itself."""
        return self

    def as_posix(self) -> str:
        """Return the URL, without its query."""
        return str(self)

    @property
    def with_query(self) -> str:
        """The URL to request; never for a message."""
        return f"{self}?{self.query}" if self.query else str(self)


#: Where a file is.
Location = Path | Url


def is_url(text: str) -> bool:
    """Whether a text names something by a scheme, such as ``https://``, also by one that is not read."""
    return BEGIN.match(text) is not None


def without_secrets(text: str) -> str:
    """Return a URL without user, password, query and fragment, to show it; any other text as it is."""
    if not is_url(text):
        return text
    head = re.split(r"[?#]", text, maxsplit=1)[0]
    begin, sign, rest = head.partition("://")
    host, slash, path = rest.partition("/")
    plain = f"{begin}{sign}{host.rpartition('@')[2]}{slash}{path}"
    return plain if plain.isprintable() else shown(plain)


def permitted(text: str, allowed: Collection[str]) -> Url:
    """Return a URL that the user allows to be read.

    Raises
    ------
    InputError
        When it is not a URL of a file on a server, or its scheme is not allowed.
    """
    url = Url.parse(text)
    if url.scheme not in allowed:
        raise InputError(
            f"{url}: is on a server; to read it, add --allow-scheme {url.scheme} (allow_scheme={url.scheme!r}), or "
            "download it first"
        )
    return url


def location_of(text: str, allowed: Collection[str]) -> Location:
    """Return the file that a user names, by a path or a URL.

    Raises
    ------
    InputError
        As for `permitted`.
    """
    return permitted(text, allowed) if is_url(text) else Path(text)


def local_path(location: Location, what: str) -> Path:
    """Return a location that must be a local file.

    Raises
    ------
    InputError
        When it is on a server.
    """
    if isinstance(location, Url):
        raise InputError(f"{location}: {what} is read from local files only; download it first")
    return location

"""Bytes of files on servers, by range requests: many at once, repeated where they fail, of one version of each file.

This is the only module that asks a server for anything. obstore is imported where it is used.
"""

from __future__ import annotations

import io
import ipaddress
import os
import re
import socket
import threading
import urllib.request
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import cache, lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import InputError, ParameterError
from pixelwise.rasters.stamps import RemoteStamp
from pixelwise.rasters.urls import Url

__all__ = [
    "FETCHED",
    "Asked",
    "FailedRequestError",
    "RemoteError",
    "RemoteFile",
    "in_parallel",
    "object_store",
    "read_whole",
    "reason_of",
    "stamp_of",
]

#: Requests in flight: as many as hide 50 ms at 10 ms a block, and as one server accepts from one client.
REQUESTS = 64
#: Small reads, those of directories and tags, fetch this many bytes and keep them.
CHUNK = 32 << 10
#: Bytes of such chunks that are kept, for all files together: those of two thousand headers.
KEPT_BYTES = 64 << 20
#: Lists and tables on servers are no longer.
LONGEST_TEXT = 64 << 20
#: How often obstore repeats a request that failed, and for how long.
RETRIES, RETRY_SECONDS = 5, 60
#: Where clouds tell any program on a machine its credentials, besides the link-local addresses.
METADATA_ADDRESSES = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200")))
#: A proxy that nothing listens on: what a redirect to another host is sent to.
NOWHERE = "http://127.0.0.1:9"

#: By which environment variables a store gets credentials. Without any, requests are not signed: obstore would ask the
#: metadata service of the machine for them.
CREDENTIALS: Mapping[str, tuple[str, ...]] = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    "gs": (
        "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ),
    "az": (
        "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_CLIENT_SECRET", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE",
    ),
}  # fmt: skip

#: What to do about a status of HTTP.
REMEDIES = {
    401: "credentials are missing or wrong; they come from the environment only",
    403: "access is denied; credentials come from the environment only, and signed URLs expire",
    404: "there is no such file on the server",
    410: "the file was removed from the server",
    416: "the server has fewer bytes than the file had when its header was read; was it replaced?",
}


class RemoteError(InputError):
    """A file on a server that cannot be read, however often it is tried."""


class FailedRequestError(OSError):
    """A request that failed, and may succeed later."""


# ------------------------------------------------------------------------------------------------ servers


@cache
def _check_host(host: str) -> None:
    """Refuse a server at an address by which clouds give credentials to their machines.

    Raises
    ------
    RemoteError
    """
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:  # no such host, or a name that only a proxy knows: the request will tell
        return
    for text in found:
        address = ipaddress.ip_address(str(text).partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        if address.is_link_local or address in METADATA_ADDRESSES:
            raise RemoteError(f"{host}: has the address {address}, which is of this machine's own network; not opened")


def _client(scheme: str, host: str) -> dict[str, Any]:
    """Return how to connect to a server: directly to this one only, else through the proxy of the environment.

    A redirect to another host would go to the proxy that does not exist: the HTTP client cannot be told to follow none.
    """
    options: dict[str, Any] = {
        "allow_http": scheme == "http", "connect_timeout": "10s", "read_timeout": "30s", "timeout": "10min",
    }  # fmt: skip
    bare = urlsplit(f"//{host}").hostname or host
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme, proxies.get("all"))
    if proxy is not None and not urllib.request.proxy_bypass(bare):
        return {**options, "proxy_url": proxy}
    _check_host(bare)
    return {**options, "proxy_url": NOWHERE, "proxy_excludes": bare}


@lru_cache(maxsize=256)
def object_store(scheme: str, host: str, signed: str = "", folder: str = "") -> Any:
    """Return obstore's store of a server or bucket.

    Parameters
    ----------
    scheme, host
        As in a `Url`.
    signed
        A URL with its query, which has a store of its own.
    folder
        The path that names in the store are relative to, from its first slash on.

    Raises
    ------
    ParameterError
        When obstore is not installed.
    RemoteError
        When the server may not be asked.
    """
    try:
        from obstore import store
    except ImportError:
        raise ParameterError(f'{scheme}://{host}: reading it needs obstore: pip install "pixelwise[remote]"') from None
    retry = {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=RETRY_SECONDS),
        "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=5), "base": 2},
    }
    if scheme in ("http", "https"):
        address = signed or f"{scheme}://{host}{folder}"
        return store.HTTPStore(address, client_options=_client(scheme, host), retry_config=retry)
    # Whoever sets the environment says where the store is: an endpoint of another host, or one without TLS.
    endpoint = os.environ.get("AWS_ENDPOINT_URL", os.environ.get("AWS_ENDPOINT", "")) if scheme == "s3" else ""
    client = {"allow_http": endpoint.startswith("http://"), "connect_timeout": "10s", "timeout": "10min"}
    unsigned = {} if any(os.environ.get(name) for name in CREDENTIALS[scheme]) else {"skip_signature": True}
    kind = {"s3": store.S3Store, "gs": store.GCSStore, "az": store.AzureStore}[scheme]
    try:
        prefix = {"prefix": unquote(folder).strip("/")} if folder else {}
        return kind(host, client_options=client, retry_config=retry, **unsigned, **prefix)
    except Exception as error:  # obstore's, for what the environment says wrongly
        reason = type(error).__name__
        raise RemoteError(
            f"{scheme}://{host}: cannot be contacted ({reason}); do the environment variables of its credentials say "
            "all that is needed, such as AWS_REGION or AZURE_STORAGE_ACCOUNT_NAME?"
        ) from None


def _place(url: Url) -> tuple[Any, str]:
    """Return the store of a file, and its name there."""
    if url.query:
        return object_store(url.scheme, url.host, url.with_query), ""
    return object_store(url.scheme, url.host), unquote(url.path).lstrip("/")


def _get(url: Url, begin: int, end: int, stamp: RemoteStamp | None) -> tuple[Any, RemoteStamp]:
    """Return bytes of a file, fewer where it ends before, and what the server says of it.

    Raises
    ------
    RemoteError
        When it cannot be read, or is no longer the file that had the `stamp`.
    FailedRequestError
        When it may be read later.
    """
    store, name = _place(url)
    import obstore

    try:
        result = obstore.get(store, name, options={"range": (begin, end)})
        # Header fields of each answer, not If-Match: servers without ETags, or with weak ones, are compared as well.
        meta = result.meta
        size, etag = meta["size"], meta["e_tag"] or ""
        if stamp is not None and etag and (size, etag) == (stamp.size, stamp.etag):
            return result.bytes(), stamp
        now = RemoteStamp(size, etag, meta["last_modified"].isoformat())
        content = result.bytes()
    except Exception as error:  # obstore's errors, which quote the URL with its query
        raise _explained(url, error, is_first=stamp is None) from None
    if stamp is not None and (change := stamp.difference(now)):
        raise RemoteError(f"{url}: changed on the server since its header was read: {change}; run the command again")
    return content, now


def _explained(url: Url, error: Exception, *, is_first: bool) -> Exception:
    """Return the error to raise for one of obstore's, whose text holds queries and answers of the server."""
    kind, text = type(error).__name__, str(error)
    found = re.search(r"status code: (\d{3})|status: (\d{3})", text)
    status = (
        int(found[1] or found[2])
        if found
        else {"NotFoundError": 404, "PermissionDeniedError": 403, "UnauthenticatedError": 401}.get(kind, 0)
    )
    if status == 416 and is_first:
        return RemoteError(f"{url}: the file is empty (HTTP 416); upload it again")
    if status in REMEDIES:
        return RemoteError(f"{url}: {REMEDIES[status]} (HTTP {status})")
    if kind == "NotSupportedError":
        return RemoteError(
            f"{url}: its server ignores the Range header and would send the whole file each time; download it first"
        )
    if "NotFound" in kind:
        return RemoteError(f"{url}: {REMEDIES[404]} (HTTP 404)")
    if 300 <= status < 400:
        return RemoteError(
            f"{url}: is redirected elsewhere (HTTP {status}), which is not followed; name the file itself"
        )
    if status:
        return FailedRequestError(f"the server answered HTTP {status} {RETRIES + 1} times")
    if "kind: Connect" in text:
        return FailedRequestError("no connection to the server, or a redirect to another one, which is not followed")
    return FailedRequestError("the connection broke, or the server did not answer in time")


@cache
def _pool() -> ThreadPoolExecutor:
    """Return the threads that wait for servers: they hold neither the GIL nor a core."""
    # Not "pixelwise-...": those compute blocks, and the command line does not wait for them when it is stopped.
    return ThreadPoolExecutor(REQUESTS, thread_name_prefix="fetch")


def in_parallel(function: Any, items: Sequence[Any]) -> list[Future[Any]]:
    """Call a function that waits for servers for each of some items, many at once."""
    return [_pool().submit(function, item) for item in items]


# ------------------------------------------------------------------------------------------------ files


class _Chunks:
    """The chunks of all files that were read last: tags are read by GDAL for the header, then in every thread here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Url, RemoteStamp, int], bytes] = OrderedDict()
        self._size = 0

    def get(self, url: Url, stamp: RemoteStamp, number: int) -> bytes | None:
        with self._lock:
            found = self._kept.get((url, stamp, number))
            if found is not None:
                self._kept.move_to_end((url, stamp, number))
            return found

    def put(self, url: Url, stamp: RemoteStamp, number: int, content: bytes) -> None:
        with self._lock:
            if (url, stamp, number) not in self._kept:
                self._size += len(content)
            self._kept[url, stamp, number] = content
            while self._size > KEPT_BYTES:
                self._size -= len(self._kept.popitem(last=False)[1])


_CHUNKS = _Chunks()


#: Ranges of a file.
Asked = tuple[Url, RemoteStamp, list[tuple[int, int]]]


class Fetched:
    """Ranges of files that were asked for before they are read, by any thread of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ranges: dict[tuple[Url, RemoteStamp], dict[tuple[int, int], Future[Any]]] = {}
        #: What was asked for on account of a window, by the window: so that who reads it need not find that out again.
        self.announced: dict[Hashable, list[Asked]] = {}
        #: Bytes asked for and not yet read.
        self.size = 0

    def ask(self, url: Url, stamp: RemoteStamp, ranges: Iterable[tuple[int, int]]) -> None:
        """Ask for ranges, without waiting for them, unless that was done before."""
        with self._lock:
            known = self._ranges.setdefault((url, stamp), {})
            for begin, end in ranges:
                if 0 <= begin < end <= stamp.size and (begin, end) not in known:
                    known[begin, end] = _pool().submit(_fetch, url, stamp, begin, end)
                    self.size += end - begin

    def take(self, url: Url, stamp: RemoteStamp, wanted: tuple[int, int]) -> Future[Any] | None:
        """Return a range that was asked for, and forget it."""
        with self._lock:
            known = self._ranges.get((url, stamp), {})
            future = known.pop(wanted, None)
            if future is not None:
                self.size -= wanted[1] - wanted[0]
            return future

    def around(self, url: Url, stamp: RemoteStamp, begin: int, end: int) -> tuple[int, Future[Any]] | None:
        """Return where a range begins that was asked for and holds another one, and the range."""
        with self._lock:
            for (first, last), future in self._ranges.get((url, stamp), {}).items():
                if first <= begin and end <= last:
                    return first, future
        return None

    def drop(self, url: Url, stamp: RemoteStamp, ranges: Iterable[tuple[int, int]]) -> None:
        """Forget ranges that were not read."""
        for one in ranges:
            if (future := self.take(url, stamp, one)) is not None:
                future.cancel()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            for future in (future for known in self._ranges.values() for future in known.values()):
                future.cancel()
            self._ranges.clear()
            self.announced.clear()
            self.size = 0


#: What this process has asked for.
FETCHED = Fetched()


def _fetch(url: Url, stamp: RemoteStamp, begin: int, end: int) -> Any:
    return _get(url, begin, end, stamp)[0]


def reason_of(url: Url, error: Exception) -> str:
    """Return why a request of obstore's failed, without what the server or a signed URL should not tell."""
    return str(_explained(url, error, is_first=False))


def stamp_of(url: Url) -> RemoteStamp:
    """Ask a server for a file's head, keep it, and return what the server says of the file.

    Raises
    ------
    InputError
        When it cannot be read.
    """
    try:
        content, stamp = _get(url, 0, CHUNK, None)
    except FailedRequestError as error:
        raise InputError(f"{url}: cannot be read ({error}); try again later") from None
    _CHUNKS.put(url, stamp, 0, bytes(content))
    return stamp


def read_whole(url: Url) -> bytes:
    """Return the content of a list or table on a server.

    Raises
    ------
    InputError
        When it cannot be read, or is too long.
    """
    stamp = stamp_of(url)
    if stamp.size > LONGEST_TEXT:
        raise InputError(
            f"{url}: is too long; the limit for such a file is {LONGEST_TEXT / 1e6:.0f} MB, it has {stamp.size} bytes"
        )
    with RemoteFile(url, stamp) as file:
        try:
            return file.read(stamp.size)
        except OSError as error:
            raise InputError(f"{url}: cannot be read ({error}); try again later") from None


class RemoteFile(io.RawIOBase):
    """A file on a server, to read like a local one; for one thread at a time.

    Parameters
    ----------
    url
        The file.
    stamp
        What the server said of it: bytes of another version are an error.
    """

    #: Bytes between two ranges that are fetched rather than asked for apart: a request takes as long as a megabyte, but
    #: many are in flight at once.
    gap = 64 << 10

    def __init__(self, url: Url, stamp: RemoteStamp) -> None:
        super().__init__()
        self.url, self.stamp = url, stamp
        #: Errors of reads that GDAL asked for, which can only tell that one failed.
        self.failures: list[Exception] = []
        self._position = 0

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def seekable(self) -> bool:
        """Whether its position can be set."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.stamp.size}[whence]
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return bytes from the position on, fewer at the end of the file."""
        begin = self._position
        end = self.stamp.size if size < 0 else min(begin + size, self.stamp.size)
        if end <= begin:
            return b""
        content = self._between(begin, end)
        self._position = begin + len(content)
        return content

    def raise_failure(self) -> None:
        """Raise the first of the failures, and forget them."""
        if self.failures:
            error = self.failures[0]
            self.failures.clear()
            raise error

    def _between(self, begin: int, end: int) -> bytes:
        if (found := FETCHED.around(self.url, self.stamp, begin, end)) is not None:
            first, future = found
            return bytes(memoryview(future.result())[begin - first : end - first])
        if end - begin > CHUNK:
            return bytes(_get(self.url, begin, end, self.stamp)[0])
        chunks = range(begin // CHUNK, (end - 1) // CHUNK + 1)
        joined = b"".join(map(self._chunk, chunks))
        return joined[begin - chunks[0] * CHUNK : end - chunks[0] * CHUNK]

    def _chunk(self, number: int) -> bytes:
        found = _CHUNKS.get(self.url, self.stamp, number)
        if found is None:
            end = min((number + 1) * CHUNK, self.stamp.size)
            found = bytes(_get(self.url, number * CHUNK, end, self.stamp)[0])
            _CHUNKS.put(self.url, self.stamp, number, found)
        return found

    @property
    def known(self) -> bool:
        """Whether its head is kept here."""
        return _CHUNKS.get(self.url, self.stamp, 0) is not None

    def answers(self, ranges: Sequence[tuple[int, int]]) -> list[NDArray[np.uint8]] | None:
        """Return the bytes of ranges where they arrived; None if the file does not have all of them."""
        if any(not 0 <= begin <= end <= self.stamp.size for begin, end in ranges):
            return None
        futures = [
            FETCHED.take(self.url, self.stamp, one) or _pool().submit(_fetch, self.url, self.stamp, *one)
            for one in ranges
        ]
        found = [np.frombuffer(future.result(), dtype=np.uint8) for future in futures]
        whole = all(content.size == end - begin for content, (begin, end) in zip(found, ranges, strict=True))
        return found if whole else None

    def read_ranges(self, ranges: Sequence[tuple[int, int]], out: NDArray[np.uint8]) -> bool:
        """Read ranges into memory, one after the other; return whether the file has all of them."""
        found = self.answers(ranges)
        if found is None:
            return False
        place = 0
        for content in found:
            out[place : place + content.size] = content
            place += content.size
        return True

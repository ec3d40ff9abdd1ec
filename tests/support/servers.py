"""Servers on loopback: nginx, the same far away, moto's S3, and one that misbehaves."""

from __future__ import annotations

import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["Odd", "delayed", "moto", "nginx", "odd_server"]

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
CONFIGURATION = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log {folder}/access.log; sendfile on; tcp_nopush on; keepalive_requests 100000; types {{ }}
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(400):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


@contextmanager
def _running(command: list[str], port: int | None = None, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **environment}
    )
    try:
        if port is not None:
            _wait_for(port, process)
        yield process
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def nginx(root: Path, folder: Path) -> Iterator[int]:
    """Serve a folder by nginx, whose own files are in another one; yields its port."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    folder.mkdir(exist_ok=True)
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, root=root, port=port))
    with _running([NGINX, "-c", str(configuration), "-p", str(folder)], port):
        yield port


@contextmanager
def delayed(port: int, milliseconds: float) -> Iterator[int]:
    """Hold back each request to a server; yields the port to ask instead."""
    script = str(Path(__file__).with_name("delaying_proxy.py"))
    with _running([sys.executable, script, str(port), str(milliseconds)]) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


@contextmanager
def moto(unchecked: int) -> Iterator[int]:
    """Run moto's server, which is S3 that checks signatures after some first requests; yields its port."""
    command = shutil.which("moto_server")
    if command is None:
        pytest.skip("moto's server is not installed (pip install 'moto[server]')")
    port = free_port()
    first = {"INITIAL_NO_AUTH_ACTION_COUNT": str(unchecked)}
    with _running([command, "-H", "127.0.0.1", "-p", str(port)], port, **first):
        yield port


class Odd(http.server.ThreadingHTTPServer):
    """A server of files that answers as `rule` says, and keeps the requests.

    Attributes
    ----------
    rule
        Gets the number of a request, from 1, and its path; returns what is odd about the answer: ``""``, ``"drop"``,
        ``"whole"`` (Range is ignored), a status such as ``"403"``, or a place to redirect to.
    seen
        Paths and ranges of all requests.
    """

    daemon_threads = True

    def __init__(self, root: Path, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), _Handler)
        self.root = root
        self.rule: Callable[[int, str], str] = lambda number, path: ""
        self.seen: list[tuple[str, str]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it is."""
        host, port = self.server_address[:2]
        return f"http://{host}:{port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Odd

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
        """Say nothing."""

    def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        path, wanted = self.path.partition("?")[0], self.headers.get("Range", "")
        with self.server.lock:
            self.server.seen.append((self.path, wanted))
            number = len(self.server.seen)
        what = self.server.rule(number, path)
        if what == "drop":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if what.isdigit():
            self._send(int(what), b"a secret of the server")
            return
        if what.startswith("http"):
            self._send(302, Location=what)
            return
        file = self.server.root / path.lstrip("/")
        if not file.is_file():
            self._send(404)
            return
        content = file.read_bytes()
        tag = f'"{file.stat().st_mtime_ns:x}-{len(content):x}"'
        if wanted and what != "whole":
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(int(last or len(content)), len(content) - 1)
            if begin >= len(content):
                self._send(416)
                return
            place = f"bytes {begin}-{end}/{len(content)}"
            self._send(206, content[begin : end + 1], Content_Range=place, ETag=tag, Last_Modified=_date(file))
            return
        self._send(200, content, ETag=tag, Last_Modified=_date(file))


def _date(file: Path) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(file.stat().st_mtime))


@contextmanager
def odd_server(root: Path) -> Iterator[Odd]:
    """Run a server that may misbehave."""
    with Odd(root) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

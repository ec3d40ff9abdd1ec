"""Where `fuzz.py` lets commands at hostile files: processes with limits, and what they may not do."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import pickle
import random
import re
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from support.fuzz_reference import Plain, Unread, perturb, read_plainly

#: What a process may take: bytes of address space beyond those it begins with, CPU seconds, seconds, bytes of a file.
MEMORY, CPU_SECONDS, SECONDS, FILE_BYTES = 3 << 29, 20, 60, 64 << 20
#: No error is longer: 10 000 characters, and what stands before them and between their ends.
LONGEST_LINE = 10_012
#: What Python and GDAL say where nobody catches it.
STRAY = re.compile(r"^Exception ignored|Warning: |^ERROR |CPLE_|^[\w.]*[a-z]Error: .")

EQUAL = "map equal to the reference"
LOST = "map equal to the reference, blocks counted as missing that GDAL reads"
BOTH = "refused, as the reference is"
STRICTER = "refused, though the reference reads it"
UNDEFINED = "the reference differs between reads: refused"
STEADY = "the reference differs between reads: map the same twice"
RAN_OUT = "memory ran out, in one line"
REFUSED = "refused"
ANSWER = "answer as it must be"
RESUMED = "map of the undisturbed run"
#: How a case may end. All else is a failure.
GOOD = (EQUAL, LOST, BOTH, STRICTER, UNDEFINED, STEADY, RAN_OUT, REFUSED, ANSWER, RESUMED)


@dataclass(frozen=True)
class Ended:
    """How a process ended: its status, of a killed one negative, and what it said."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.strip()]

    @property
    def error(self) -> str:
        """The first error."""
        return next((line for line in self.lines if line.startswith(("error: ", "Error: "))), "")

    def flaw(self) -> str:
        """Return what is wrong with the way it ended; nothing where that is an answer or a clear error."""
        if self.status in (-signal.SIGALRM, -signal.SIGXCPU):
            return "it does not end"
        if self.status < 0:
            return f"killed by {signal.Signals(-self.status).name}"
        if self.status == 70 or "Traceback" in self.err + self.out:
            return "an error that nobody foresaw"
        if self.status not in (0, 1, 2, 75):
            return f"status {self.status}"
        for line in self.lines:
            if len(line) > LONGEST_LINE:
                return f"a line of {len(line)} characters"
            if STRAY.search(line):
                return "stray words"
            if not line.isprintable():
                return "control characters"
        if self.status == 75 and not self.error:
            return "no error is said"
        return ""


def endpoints(port: int) -> dict[str, str]:
    """Return what leads those of GDAL's ways into the network that have a host of their own to a local server."""
    host = f"127.0.0.1:{port}"
    azure = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=eA==;BlobEndpoint=http://{host}/"
    return {
        "AWS_S3_ENDPOINT": host,
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_NO_SIGN_REQUEST": "YES",
        "CPL_GS_ENDPOINT": f"http://{host}/",
        "GS_NO_SIGN_REQUEST": "YES",
        "AZURE_STORAGE_CONNECTION_STRING": azure,
        "GDAL_HTTP_TIMEOUT": "5",
        "GDAL_HTTP_MAX_RETRY": "0",
        "no_proxy": "*",
    }


def address_space() -> int:
    """Return the bytes of this process's address space; 0 where it cannot be had."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def forked(work: Callable[[], int], log: Path) -> Ended:
    """Do something in a process of its own, within limits."""
    out, err = log.with_suffix(".out"), log.with_suffix(".err")
    pid = os.fork()
    if pid == 0:
        status = 71
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
            os.dup2(os.open(out, flags), 1)
            os.dup2(os.open(err, flags), 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            signal.alarm(SECONDS)
            if size := address_space():
                resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
            resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, resource.RLIM_INFINITY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            status = work()
        except BaseException:
            traceback.print_exc()
            status = 70
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    said = [path.read_bytes().decode("utf-8", "backslashreplace") for path in (out, err)]
    return Ended(os.waitstatus_to_exitcode(status), *said)


def command_line(command: Sequence[str], settings: dict[str, Any]) -> int:
    """Do what the command line does; return its exit status."""
    from pixelwise.cli import main
    from pixelwise.jobs import limits
    from pixelwise.rasters import windows

    perturb(settings.get("perturb", 0x5A))
    windows.RETRY_SECONDS = (0.0,)
    # Of a job that is worth a journal one is left, however it ends.
    limits.LIMITS = limits.Limits(
        window_bytes=settings.get("window", 1 << 20),
        journal_seconds=settings.get("short", 1e9),
        **({"block_bytes": 1} if settings.get("team") else {}),
    )
    HARMS[settings.get("harm", "")](settings)
    try:
        main(list(command))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 0


def harm_rows(_: dict[str, Any]) -> None:
    """Windows that begin within the file, read by our own kernels, are one row off."""
    from pixelwise.rasters import tiff

    read = tiff.TiffFile.read

    def wrong(self: Any, bands: Any, window: Any, out: Any) -> bool:
        done = read(self, bands, window, out)
        if done and window.row > 0:
            out[...] = np.roll(out, 1, axis=1)
        return done

    tiff.TiffFile.read = wrong  # type: ignore[method-assign]


def harm_errors(_: dict[str, Any]) -> None:
    """What cannot be read is zero, without a word."""
    from pixelwise.rasters import windows

    read = windows.read_window

    def wrong(piece: Any, bands: Any, block: Any, out: Any, table: Any) -> Any:
        try:
            return read(piece, bands, block, out, table)
        except Exception:
            out[...] = 0
            return None

    windows.read_window = wrong


def harm_undefined(_: dict[str, Any]) -> None:
    """The last number of each window is whatever memory held."""
    from pixelwise.rasters import windows

    read = windows.read_window

    def wrong(piece: Any, bands: Any, block: Any, out: Any, table: Any) -> Any:
        found = read(piece, bands, block, out, table)
        out[..., -1, -1] = np.empty(1 << 20, out.dtype)[-1]
        return found

    windows.read_window = wrong


def harm_resumed(settings: dict[str, Any]) -> None:
    """A part of what an earlier run did is lost after it was checked."""
    from pixelwise.maps.journal import Journal

    remaining, partial = Journal.remaining, Path(settings["case"], ".trend.partial.tif")

    def wrong(self: Any, blocks: Any) -> Any:
        with partial.open("r+b") as file:
            file.seek(-1 << 14, os.SEEK_END)
            file.write(bytes(1 << 13))
        return remaining(self, blocks)

    Journal.remaining = wrong  # type: ignore[method-assign]


def before_reading(work: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], None]:
    """Return what makes commands do something before they look at a file."""

    def harm(settings: dict[str, Any]) -> None:
        from pixelwise.maps import map as map_module
        from pixelwise.opening import named_files

        for module, name in ((named_files, "read_header"), (map_module, "open_quietly")):
            known = getattr(module, name)

            def wrong(*args: Any, known: Any = known, **kwargs: Any) -> Any:
                work(settings)
                return known(*args, **kwargs)

            setattr(module, name, wrong)

    return harm


def fail(_: dict[str, Any]) -> None:
    raise KeyError("what nobody expected")


def request(settings: dict[str, Any]) -> None:
    from urllib.request import urlopen

    with contextlib.suppress(OSError):
        urlopen(settings["network"], timeout=5).close()


def spin(_: dict[str, Any]) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (1, most))  # sooner than others are stopped
    while True:
        pass


#: Ways in which the product would be wrong, each of which must be found; see `test_fuzz.py`.
HARMS: dict[str, Callable[[dict[str, Any]], None]] = {
    "": lambda _: None,
    "rows": harm_rows,
    "errors": harm_errors,
    "undefined": harm_undefined,
    "resumed": harm_resumed,
    "traceback": before_reading(fail),
    "crash": before_reading(lambda _: os.abort()),
    "network": before_reading(request),
    "hang": before_reading(spin),
    "foreign": before_reading(lambda settings: Path(settings["foreign"]).read_bytes()),
    "write": before_reading(lambda settings: Path(settings["foreign"]).write_bytes(b"mine")),
    "code": before_reading(lambda settings: Path(settings["marker"]).touch()),
    "litter": before_reading(lambda settings: Path(settings["case"], ".left").touch()),
}


@dataclass(frozen=True)
class Verdict:
    """How a case ended."""

    kind: str
    seed: int
    outcome: str
    change: str
    detail: str = ""

    @property
    def bad(self) -> bool:
        return self.outcome not in GOOD


@dataclass
class Bench:
    """Sound files, and the process that others are forked from."""

    root: Path
    port: int
    harm: str = ""
    watch: int = -1
    known: dict[tuple[Path, int], Plain] = field(default_factory=dict)

    @property
    def inputs(self) -> Path:
        return self.root / "inputs"

    @property
    def canary(self) -> Path:
        return self.root / "canary"

    @property
    def hits(self) -> Path:
        return self.root / "hits"

    @classmethod
    def open(cls, root: Path, port: int) -> Bench:
        """Write what cases begin with, and use all that they will use once."""
        from support.rasters import random_series, write_raster

        bench = cls(root, port)
        (root / "cases").mkdir()
        for name, shape in SIZES_OF_GRIDS.items():
            values = 300 * random_series((3, 3, *shape), seed=5)
            write_raster(bench.inputs / f"{name}_2000.tif", values[0], compress="lzw", nodata=-1)
            stored = np.nan_to_num(values[1], nan=-1).astype("int16")
            write_raster(bench.inputs / f"{name}_2002.tif", stored, tiled=True, blockxsize=16, blockysize=16, nodata=-1)
        bench.canary.mkdir()
        write_raster(bench.canary / "secret_2001.tif", values[2, 0])
        for folder in (bench.canary, bench.inputs):
            (folder / "evil.py").write_text(EVIL.format(str(bench.marker)))
        bench._watch()
        bench._make_maps()
        bench._stop_jobs()
        return bench

    @property
    def marker(self) -> Path:
        return self.root / "code-was-run"

    def _watch(self) -> None:
        """Learn of every file under the canary's folder that is opened (Linux only)."""
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            self.watch = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            libc.inotify_add_watch(self.watch, os.fsencode(self.canary), 0x20)  # IN_OPEN

    def _make_maps(self) -> None:
        """Make maps whose tags are changed: in this process, so that all is imported and compiled in those it forks."""
        import pixelwise as pw
        from pixelwise.cli import apply, plan, plot  # noqa: F401
        from pixelwise.verify import compare

        folder = self.root / "map"
        files = self._three_files(folder, "small")
        for method in ("summary", "ols"):
            pw.apply(pw.open_stack(files), method, folder / f"{method}.map.tif", executor="inline")
            compare.verify(folder / f"{method}.map.tif", pixels=4)
        for scale in (None, 2.0):
            pw.apply(pw.open_stack(files, scale=scale), "summary", executor="inline", dtype="float64")
        with contextlib.suppress(ImportError):
            import matplotlib.backends.backend_agg
            import matplotlib.figure  # noqa: F401
        if threading.active_count() > 1:
            raise AssertionError("a process with threads must not fork")
        gc.freeze()  # else each child copies all that a collection touches

    def _stop_jobs(self) -> None:
        """Do a job undisturbed, and stop it after some of its blocks."""
        self._three_files(self.root / "whole", "large")
        for count in (0, *STOPPED):
            folder = self.root / f"stopped_{count}" if count else self.root / "whole"
            folder.mkdir(exist_ok=True)
            if count:
                for path in (self.root / "whole").glob("*_*.tif"):
                    os.link(path, folder / path.name)
            ended = self.run([*RESUMABLE, "-o", "trend.tif"], folder, stop=count, **RESUMABLE_SETTINGS)
            if ended.status != (9 if count else 0):
                raise AssertionError(f"the job was not stopped after {count} blocks: {ended}")

    def _three_files(self, folder: Path, size: str) -> list[Path]:
        from support.rasters import random_series, write_raster

        values = 300 * random_series((3, *SIZES_OF_GRIDS[size]), seed=6)
        tiles = {"compress": "lzw", "nodata": -1, "tiled": True, "blockxsize": 32, "blockysize": 32}
        names = ("small_2000.tif", "small_2002.tif", "x_2003.tif")
        return [write_raster(folder / name, layer, **tiles) for name, layer in zip(names, values, strict=True)]

    def run(self, command: Sequence[str], folder: Path, stop: int = 0, **settings: Any) -> Ended:
        """Run a command in a folder; after `stop` blocks in its journal the process ends."""

        def work() -> int:
            os.chdir(folder)
            if stop:
                stop_after(stop)
            return command_line(command, settings)

        return forked(work, self.root / "said")

    def sound(self, path: Path, band: int) -> Plain:
        """Return a band of a file that nobody changed."""
        if (path, band) not in self.known:
            self.known[path, band] = self.ask(self.root, read_plainly, path, band, "GTiff", {}, False)
        return self.known[path, band]

    def ask(self, folder: Path, function: Callable[..., Any], *args: Any) -> Any:
        """Return what a function finds in a process of its own.

        Raises
        ------
        Unread
            When it says so, or runs out of time or memory.
        """
        answer = self.root / "answer"
        answer.unlink(missing_ok=True)

        def work() -> int:
            os.chdir(folder)
            try:
                found = function(*args)
            except Unread as error:
                found = error
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            answer.write_bytes(pickle.dumps(found))
            return 0

        ended = forked(work, self.root / "asked")
        if ended.status or not answer.exists():
            if "Traceback" in ended.err and "MemoryError" not in ended.err:
                raise AssertionError(f"the reference failed: {ended.err}")
            raise Unread(f"it ended with status {ended.status}")
        found = pickle.loads(answer.read_bytes())
        if isinstance(found, Unread):
            raise found
        return found

    def opened(self) -> list[str]:
        """Return which of the canary's files were opened since this was asked."""
        names = []
        with contextlib.suppress(OSError, ValueError):
            data = os.read(self.watch, 1 << 16)
            while data:
                length = int.from_bytes(data[12:16], sys.byteorder)
                names.append(data[16 : 16 + length].rstrip(b"\0").decode())
                data = data[16 + length :]
        return [name for name in names if name]


#: What code leaves when it is run.
EVIL = """open({!r}, "w").close()
def f(values):
    return values.mean()
"""
SIZES_OF_GRIDS = {"small": (48, 40), "large": (150, 160)}
#: Uncompressed, so that a damaged tile is no error of its own.
RESUMABLE = [
    "apply", "summary", "small_2000.tif", "small_2002.tif", "x_2003.tif", "--quiet", "--executor", "inline",
    "--dtype", "float64", "--compress", "none",
]  # fmt: skip
RESUMABLE_SETTINGS = {"window": 1, "short": 0.0}
#: Blocks after which it was stopped.
STOPPED = (1, 3, 5)


def stop_after(count: int) -> None:
    """End this process after so many blocks are in the journal."""
    from pixelwise.maps.journal import Journal

    add, calls = Journal.add, []

    def told(self: Any, *args: Any) -> None:
        add(self, *args)
        calls.append(args)
        if len(calls) == count:
            os._exit(9)

    Journal.add = told  # type: ignore[method-assign]


@dataclass
class Case:
    """One changed file in a folder of its own, and what may not happen around it."""

    bench: Bench
    kind: str
    seed: int
    folder: Path
    change: str = ""
    #: Files that the command may leave.
    allowed: set[str] = field(default_factory=set)
    #: Whether files outside the folder may be opened: those who name a VRT or a recipe name what is in it.
    names_others: bool = True

    def __post_init__(self) -> None:
        self.dice = random.Random(f"{self.kind} {self.seed}")

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.seed}"

    def names(self) -> list[str]:
        """Return what stands where names of files stand: of the network, of others, of no file, of code."""
        web = f"127.0.0.1:{self.bench.port}/{self.name}/a.tif"
        source = f"<SimpleSource><SourceFilename>/vsicurl/http://{web}</SourceFilename></SimpleSource>"
        vrt = f'<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand>{source}</VRTRasterBand></VRTDataset>'
        secret, evil = self.bench.canary / "secret_2001.tif", self.bench.canary / "evil.py"
        return [
            f"http://{web}", f"/vsicurl/http://{web}", f"/vsicurl/http://{web} ", f"/vsicurl_streaming/http://{web}",
            f"/vsizip//vsicurl/http://{web}.zip/a.tif", f"/vsigzip//vsicurl/http://{web}", f"/vsis3/{self.name}/a.tif",
            f"/vsigs/{self.name}/a.tif", f"/vsis3_streaming/{self.name}/a.tif", f"/vsiaz/{self.name}/a.tif",
            f"/vsisubfile/0_99,/vsicurl/http://{web}", f"/vsisparse//vsicurl/http://{web}", f"/VSICURL/http://{web}",
            f"vrt:///vsicurl/http://{web}", f"WMS:http://{web}", f"GTIFF_DIR:1:/vsicurl/http://{web}", vrt,
            f"/vsicurl?url=http://{web}", str(secret), os.path.relpath(secret, self.folder), f"{evil}:f", "evil.py:f",
            "/dev/zero", "/dev/stdin", "/proc/self/environ", "fifo_2001.tif", ".", "..", "", "nothing.tif", "a" * 300,
            "x_2003.tif", "x_2003.vrt", "other_2004.vrt", "@fifo_2001.tif", "@/dev/zero", "/vsimem/x.tif", "/vsistdin/",
            "*", "**/*", "x_2003.tif=1", "%Y", "ndvi", "median", "small_2000.tif", "small_2002.tif", "~/x.tif",
            "$HOME/x.tif", "x_2003.tif|cat", "-o", "--debug",
        ]  # fmt: skip

    def settings(self) -> dict[str, Any]:
        return {
            "harm": self.bench.harm,
            "network": f"http://127.0.0.1:{self.bench.port}/{self.name}/a.tif",
            "foreign": str(self.bench.canary / "secret_2001.tif"),
            "marker": str(self.bench.marker),
            "case": str(self.folder),
        }

    def run(self, command: Sequence[str], **settings: Any) -> Ended:
        """Run a command, and look at what it did besides.

        Raises
        ------
        Failure
            When that is anything that it must not do.
        """
        before = self.snapshot()
        requests = self.requests()
        self.bench.opened()
        ended = self.bench.run(command, self.folder, **{**self.settings(), **settings})
        if len(self.requests()) > len(requests):
            raise Failure("a request to the network", self.requests()[-1])
        if self.bench.marker.exists():
            self.bench.marker.unlink()
            raise Failure("code was run", shown(command))
        opened = self.bench.opened()
        if opened and not self.names_others:
            raise Failure("a file was opened that nobody named", opened[0])
        if flaw := ended.flaw():
            raise Failure(flaw, f"{shown(command)}: {last_words(ended)}")
        after = self.snapshot()
        changed = [name for name, state in before.items() if after.get(name) != state and name not in self.allowed]
        if changed:
            raise Failure("a file of others was changed", f"{shown(command)}: {changed}")
        left = [name for name in after if name not in before and name not in self.allowed]
        if left:
            raise Failure("something is left", f"{shown(command)}: {left}")
        return ended

    def ask(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return what a function finds in a process of its own, in this folder."""
        return self.bench.ask(self.folder, function, *args)

    def requests(self) -> list[str]:
        """Return the requests of this case that the server saw."""
        if not self.bench.hits.exists():
            return []
        return [line for line in self.bench.hits.read_text().splitlines() if self.name in line]

    def snapshot(self) -> dict[str, tuple[int, ...]]:
        """Return the state of every file here, of the inputs and of the canary."""
        states = {}
        for folder in (self.folder, self.bench.inputs, self.bench.canary):
            for path in folder.iterdir():
                stat = path.lstat()
                name = path.name if folder is self.folder else str(path)
                states[name] = (stat.st_mode, stat.st_size, stat.st_mtime_ns, stat.st_ino)
        return states


class Failure(Exception):
    """What must not be was."""

    def __init__(self, outcome: str, detail: str = "") -> None:
        super().__init__(f"{outcome}: {detail}")
        self.outcome, self.detail = outcome, detail


def shown(command: Sequence[str]) -> str:
    return " ".join(command[:2])


def last_words(ended: Ended) -> str:
    lines = [*ended.out.splitlines(), *ended.lines]
    telling = [line for line in lines if STRAY.search(line) or not line.isprintable()]
    return " | ".join(line[:300] for line in (telling or lines)[-4:]).encode("unicode_escape").decode()

"""Jobs that are killed at seeded moments, started again, and killed again, until the map is there.

``make torture`` does this a few hundred times and prints at which moments. A process is killed by SIGKILL: at the
n-th call of a function on the job's way (before it, in the middle of what it writes, or after it), or after a random
time. Then the same command is typed again, with other workers, blocks and executors. After each kill:

- a file under a final name is the old map, byte by byte, or the whole new one; names that belong together are old and
  new only while the journal says that all are complete;
- what the journal said before it still says, and no block of it was computed again.

At the end the pixels are those of an undisturbed run, bit for bit, and nothing hidden is left. ``--seed``, ``--first``
and ``--jobs 1`` do one job again. `test_torture.py` does some of them.

Importing takes longer than such a job, so that each process is forked from one that has imported everything and has
used neither GDAL nor a thread.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from support.fork_server import ForkServer

#: A CRS that GeoTIFF has no code for: GDAL keeps it in a sidecar.
POLE = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +datum=WGS84 +no_defs"

#: Where a job may be killed: what of it, and the function that is called there.
SEAMS = {
    "plan": ("pixelwise.jobs.task", "make_plan"),
    "open": ("pixelwise.maps.disk", "lock"),
    "begin the map": ("pixelwise.maps.files", "FileSink.begin"),
    "begin the journal": ("pixelwise.maps.journal", "Journal.begin"),
    "restore a block": ("pixelwise.maps.files", "FileSink.restore"),
    "read": ("pixelwise.stacks.file_reader", "FileReader.read_into"),
    "kernel": ("pixelwise.methods.ols", "BoundLine.__call__"),
    "encode": ("pixelwise.maps.tiles", "TileEncoder.__call__"),
    "append tiles": ("pixelwise.maps.geotiff", "append"),
    "open the folder": ("pixelwise.maps.stores", "HiddenFolder.open"),
    "encode a shard": ("pixelwise.maps.shards", "ShardEncoder.__call__"),
    "write a shard": ("pixelwise.maps.shards", "write"),
    "accept shards": ("pixelwise.maps.zarr_store", "ZarrOutput.write"),
    "append to the journal": ("pixelwise.maps.journal", "append"),
    "journal a block": ("pixelwise.maps.journal", "Journal.add"),
    "sync beside": ("pixelwise.maps.disk", "sync"),
    "complete": ("pixelwise.maps.geotiff", "GeoTiffOutput.complete"),
    "complete the store": ("pixelwise.maps.zarr_store", "ZarrOutput.complete"),
    "make the metadata": ("pixelwise.maps.zarr_store", "ZarrOutput.metadata"),
    "write the metadata": ("pixelwise.maps.zarr_store", "write_file"),
    "sync the store": ("pixelwise.maps.zarr_store", "sync"),
    "check the store": ("pixelwise.maps.zarr_store", "ZarrOutput.check_again"),
    "rename the store": ("pixelwise.maps.stores", "PendingStore.replace"),
    "remove a folder": ("pixelwise.maps.stores", "remove_tree"),
    "make the NetCDF": ("pixelwise.maps.netcdf", "NetCdf.make"),
    "make the COG": ("pixelwise.maps.cog", "CloudOptimized.make"),
    "make the head": ("pixelwise.maps.tiles", "TiledFile.head"),
    "write the head": ("pixelwise.maps.geotiff", "write"),
    "sync the map": ("pixelwise.maps.geotiff", "sync"),
    "check": ("pixelwise.maps.geotiff", "check_geotiff"),
    "commit": ("pixelwise.maps.journal", "Journal.commit"),
    "publish": ("pixelwise.maps.files", "publish"),
    "publish again": ("pixelwise.maps.files", "FileSink.end"),
    "sync the folder": ("pixelwise.maps.publish", "sync"),
    "link": ("os", "link"),
    "rename": ("pathlib", "Path.replace"),
    "remove": ("pathlib", "Path.unlink"),
    "open the map": ("pixelwise.maps.files", "open_map"),
    "end the map": ("pixelwise.maps.files", "FileSink.abort"),
    "end the journal": ("pixelwise.maps.journal", "Journal.close"),
}
#: Of these a part of the bytes may have been written; the first argument is the file.
WRITERS = ("append tiles", "append to the journal", "write the head", "write a shard")
#: Workers do this, where no patch of ours is.
IN_WORKERS = ("read", "kernel", "encode", "encode a shard", "write a shard")
#: Only jobs that write Zarr come by these.
OF_STORES = frozenset(
    name for name, (module, _) in SEAMS.items() if module.endswith(("stores", "shards", "zarr_store"))
)
#: What is made by these at the end.
OF_CONVERSIONS = {"make the NetCDF": "nc", "make the COG": "cog"}
AT_ANY_TIME = "any time"


@dataclass(frozen=True)
class Moment:
    """When a process is killed: at a call of a seam, or after a part of the time that it would take."""

    seam: str
    when: str = ""
    number: int = 1
    fraction: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.seam}, {self.when}" if self.when else self.seam


MOMENTS = [
    *(
        Moment(seam, when)
        for seam in SEAMS
        for when in ("before", "middle", "after")
        if when != "middle" or seam in WRITERS
    ),
    *(Moment(AT_ANY_TIME) for _ in range(10)),
]


# ------------------------------------------------------------------------------------------ in the killed process


class Seams:
    """Counts the calls on a job's way, and ends the process at one of them."""

    def __init__(self, moment: Moment | None) -> None:
        self.moment = moment
        self.calls: Counter[str] = Counter()
        self.lock = threading.Lock()
        for name, (module, path) in SEAMS.items():
            owner: Any = import_module(module)
            *outer, attribute = path.split(".")
            for part in outer:
                owner = getattr(owner, part)
            setattr(owner, attribute, self.around(name, getattr(owner, attribute)))

    def around(self, name: str, function: Any) -> Any:
        @wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with self.lock:
                self.calls[name] += 1
                mine = self.moment and (self.moment.seam, self.moment.number) == (name, self.calls[name])
            when = self.moment.when if mine and self.moment else ""
            if when == "middle":
                file, data, *end = args
                if end:
                    file.seek(end[0])
                file.write(data[: len(data) // 2])
            if when in ("before", "middle"):
                die()
            result = function(*args, **kwargs)
            if when == "after":
                die()
            return result

        return called


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    while True:  # nothing more of this thread
        time.sleep(1)


def work(request: dict[str, Any]) -> int:
    """Do one job as the command line does; return its exit status."""
    from pixelwise.cli import main
    from pixelwise.jobs import limits
    from pixelwise.maps import files, journal

    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    facts = os.open(request["facts"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)

    def tell(word: str, *numbers: int) -> None:
        os.write(facts, f"{json.dumps([word, *numbers])}\n".encode())

    team = {"block_bytes": 1} if request["team"] else {}
    limits.LIMITS = limits.Limits(window_bytes=request["window"], journal_seconds=0.0, **team)
    if request["sync"]:
        journal.SYNC_SECONDS = files.SYNC_SECONDS = -1.0
    if not request["links"]:

        def refuse(*_: Any) -> NoReturn:
            raise OSError(95, "Operation not supported")

        os.link = refuse  # type: ignore[assignment]
    moment = Moment(**request["moment"]) if request["moment"] else None
    write = files.FileSink.write
    add = journal.Journal.add

    def told_write(self: Any, block: Any, encoded: Any) -> Any:
        tell("computed", block.row, block.col, block.height, block.width)
        return write(self, block, encoded)

    def told_add(self: Any, done: Any) -> None:
        add(self, done)
        tell("journalled", done.block.row, done.block.col, done.block.height, done.block.width)

    files.FileSink.write = told_write  # type: ignore[method-assign]
    journal.Journal.add = told_add  # type: ignore[method-assign]
    seams = Seams(moment)
    try:
        main(request["command"])
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 70
    tell(json.dumps(seams.calls))
    return status


def serve() -> None:
    """Fork a process for each request, kill it where that is wanted, and say how it ended."""
    warm_up()
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            status = 71
            try:
                status = work(request)
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(status)
        deadline = None if request["seconds"] is None else began + request["seconds"]
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            if deadline is not None and time.monotonic() >= deadline:
                os.kill(pid, signal.SIGKILL)
                deadline = None
            time.sleep(0.0005)
        answer = {"status": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - began}
        print(json.dumps(answer), flush=True)


def warm_up() -> None:
    """Import and compile what jobs need: of a stack in memory, so that neither GDAL nor a thread is used."""
    import numpy as np
    from affine import Affine

    import pixelwise as pw
    from pixelwise.cli import apply  # noqa: F401
    from pixelwise.grid import Block, Grid
    from pixelwise.maps import journal  # noqa: F401
    from pixelwise.maps.netcdf_reader import import_netcdf
    from pixelwise.maps.store_reader import import_zarr

    import_zarr()
    import_netcdf()

    class Numbers:
        grid = Grid(None, Affine(1, 0, 0, 0, -1, 0), 20, 20)

        def __init__(self, dtype: str) -> None:
            years = np.arange(2000.0, 2006.0)
            self.axis = pw.TimeAxis(np.array([f"{year:.0f}" for year in years], "datetime64[s]"), years, "year")
            self.dtype = dtype

        def read(self, block: Block) -> Any:
            return np.random.default_rng(0).normal(size=(6, block.height, block.width)).astype(self.dtype)

    for dtype in ("float32", "float64"):
        pw.apply(Numbers("float32"), "ols", executor="inline", dtype=dtype)
    if threading.active_count() > 1:
        raise AssertionError("a process with threads must not fork")


# ---------------------------------------------------------------------------------------------- who has it killed


class Difference(AssertionError):
    """What must not be was."""


@dataclass(frozen=True)
class Ended:
    """How a process ended: its status (of a killed one negative), seconds, output, and what it said of blocks."""

    status: int
    seconds: float
    output: str
    computed: list[tuple[int, ...]]
    journalled: list[tuple[int, ...]]
    calls: dict[str, int]


class Server(ForkServer):
    """The process that others are forked from."""

    def __init__(self, folder: Path) -> None:
        self.log, self.facts = folder / "log", folder / "facts"
        super().__init__(__file__, ["--serve"])

    def run(self, request: dict[str, Any]) -> Ended:
        self.facts.unlink(missing_ok=True)
        answer = self.ask({**request, "log": str(self.log), "facts": str(self.facts)})
        facts = [json.loads(line) for line in self.facts.read_text().splitlines()] if self.facts.exists() else []
        blocks = {
            word: [tuple(numbers) for name, *numbers in facts if name == word and numbers]
            for word in ("computed", "journalled")
        }
        calls = json.loads(facts[-1][0]) if facts and facts[-1][0].startswith("{") else {}
        output = self.log.read_text() if self.log.exists() else ""
        return Ended(answer["status"], answer["seconds"], output, blocks["computed"], blocks["journalled"], calls)


@dataclass(frozen=True)
class Kind:
    """What a job makes: its type, one file or one per band, over an older map or not.

    Attributes
    ----------
    links
        Whether the file system has links.
    rotated
        Whether the CRS is one that needs a sidecar.
    form
        ``tif``, ``zarr``, ``nc`` or ``cog``.
    """

    dtype: str
    per_band: bool
    old: bool
    links: bool = True
    rotated: bool = False
    form: str = "tif"

    @property
    def made(self) -> tuple[Any, ...]:
        """What undisturbed runs differ by."""
        return self.dtype, self.per_band, self.rotated, self.form

    @property
    def pattern(self) -> str:
        if self.form in ("zarr", "nc"):
            return f"trend.{self.form}"
        return "trend_{band}.tif" if self.per_band else "trend.tif"


@dataclass
class Scene:
    """Inputs, and what undisturbed runs make of them."""

    root: Path
    server: Server
    wanted: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    older: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    calls: dict[tuple[Any, ...], Ended] = field(default_factory=dict)

    def stack(self, kind: Kind) -> Path:
        return self.root / ("rotated" if kind.rotated else "stack")

    @classmethod
    @contextlib.contextmanager
    def open(cls, root: Path) -> Iterator[Scene]:
        from support.rasters import random_series, write_raster

        server = Server(root)
        try:
            scene = cls(root, server)
            tiles: dict[str, Any] = {"tiled": True, "blockxsize": 32, "blockysize": 32}
            for year, layer in enumerate(random_series((6, 150, 130), seed=4), 2000):
                compress = {"compress": "lzw"} if year % 2 else {}  # read by our kernels, or by GDAL
                for folder, crs in (("stack", {}), ("rotated", {"crs": POLE})):
                    write_raster(root / folder / f"ndvi_{year}.tif", layer, **tiles, **compress, **crs)
            yield scene
        finally:
            server.close()

    def command(self, kind: Kind, output: Path) -> list[str]:
        command = ["apply", "ols", str(self.stack(kind)), "-o", str(output / kind.pattern), "--dtype", kind.dtype]
        options = [*(["--overwrite"] if kind.old else []), *(["--driver", "COG"] if kind.form == "cog" else [])]
        return [*command, "--bands", "slope,pvalue,n", "--quiet", *options]

    def undisturbed(
        self, kind: Kind, extra: Sequence[str] = (), look: Callable[[Path], Any] | None = None
    ) -> tuple[dict[str, Any], Ended]:
        """Return what is in the files that nobody disturbed the making of, and how it went."""
        with tempfile.TemporaryDirectory(dir=self.root) as folder:
            output = Path(folder)
            command = [*self.command(kind, output), *extra]
            ended = self.server.run({**QUIET, "command": command})
            if ended.status:
                raise Difference(f"an undisturbed run failed: {ended.output}")
            return {path.name: (look or bytes_of)(path) for path in output.iterdir()}, ended

    def prepare(self, kind: Kind) -> None:
        """Make what a kind of job needs."""
        key = kind.made
        if key not in self.wanted:
            self.wanted[key], self.calls[key] = self.undisturbed(kind, look=pixels_of)
        if kind.old and key[1:] not in self.older:
            self.older[key[1:]], _ = self.undisturbed(kind, ["-p", "min_obs=6"])


QUIET: dict[str, Any] = {"window": 4096, "team": False, "sync": False, "links": True, "moment": None, "seconds": None}


def bytes_of(path: Path) -> Any:
    """Return the content of a file, or of all files of a store by name."""
    if not path.is_dir():
        return path.read_bytes()
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def put(path: Path, content: Any) -> None:
    """Write what `bytes_of` returned."""
    if not isinstance(content, dict):
        path.write_bytes(content)
        return
    for name, data in content.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)


def pixels_of(path: Path) -> Any:
    """Return all that a reader sees of a map: plain rasterio's or zarr-python's, not ours."""
    import rasterio

    if path.is_dir():
        import zarr

        found = zarr.open_group(path, mode="r", use_consolidated=True)
        arrays = {name: (str(a.dtype), a[...].tobytes(), dict(a.attrs)) for name, a in found.arrays()}
        return arrays, {name: value for name, value in found.attrs.items() if name != "PIXELWISE"}
    if path.suffix == ".nc":
        import netCDF4

        with netCDF4.Dataset(path) as opened:
            opened.set_auto_maskandscale(False)
            return {name: (str(v.dtype), v[...].tobytes(), v.ncattrs()) for name, v in opened.variables.items()}
    if path.suffix == ".xml":
        return path.read_text()
    with rasterio.open(path) as dataset:
        bands = [(dataset.read(i).tobytes(), dataset.tags(i)) for i in dataset.indexes]
        return bands, dataset.dtypes, dataset.descriptions, dataset.units, dataset.crs, dataset.transform


#: How the names of maps end.
MAPS = (".tif", ".zarr", ".nc")


def journal_lines(output: Path) -> list[dict[str, Any]]:
    """Return what the journal says, if there is one."""
    from pixelwise.maps.journal import decode_line

    found = [path for path in output.iterdir() if path.name.endswith(".journal")]
    if not found:
        return []
    return [line for line in map(decode_line, found[0].read_bytes().split(b"\n")) if line is not None]


@dataclass
class Trial:
    """One job, killed some times."""

    scene: Scene
    kind: Kind
    output: Path
    recorded: set[tuple[int, ...]] = field(default_factory=set)

    @property
    def wanted(self) -> dict[str, Any]:
        return self.scene.wanted[self.kind.made]

    @property
    def old(self) -> dict[str, Any]:
        return self.scene.older[self.kind.made[1:]] if self.kind.old else {}

    def run(self, moment: Moment | None, drawn: random.Random, processes: bool = False) -> Ended:
        """Type the command again, with other workers and blocks."""
        executor = "processes" if processes else drawn.choices(["threads", "inline"], [3, 1])[0]
        command = [*self.scene.command(self.kind, self.output), "--executor", executor]
        command += ["--jobs", str(2 if processes else drawn.randint(1, 3))]
        if drawn.random() < 0.3:
            command += ["--memory", "2GB"]
        seconds = None
        if moment is not None and moment.seam == AT_ANY_TIME:
            usual = self.scene.calls[self.kind.made].seconds
            seconds, moment = usual * moment.fraction, None
        return self.scene.server.run(
            {
                "command": command,
                "window": drawn.choice([1, 4096, 16384]),
                "team": drawn.random() < 0.2,
                "sync": drawn.random() < 0.3,
                "links": self.kind.links,
                "moment": moment and vars(moment),
                "seconds": seconds,
            }
        )

    def check(self, ended: Ended) -> bool:
        """Look at what a run left; return whether nothing remains to be done."""
        lines = journal_lines(self.output)
        committed = any("committed" in line for line in lines)
        # Sidecars are looked at through the files that they belong to.
        names = {path.name for path in self.output.iterdir() if not path.name.endswith(".tif.aux.xml")}
        hidden = {name for name in names if name.startswith(".")}
        new = {name for name in names - hidden if self.is_new(name, names)}
        complete = new == {name for name in self.wanted if name.endswith(MAPS)}
        if new and not complete and not committed:
            raise Difference(f"only {sorted(new)} of {sorted(self.wanted)} are new, and no journal knows")
        gone = {name for name in self.old if name.endswith(MAPS)} - names
        # Without links, and for a folder, it takes two renames to replace what is there.
        if gone and not (committed and (self.kind.form == "zarr" or not self.kind.links)):
            raise Difference(f"{sorted(gone)} of the old map are gone")
        for name in gone:
            aside = self.output / f".{Path(name).stem}.partial.replaced{Path(name).suffix}"
            if bytes_of(aside) != self.old[name]:
                raise Difference(f"{name} of the old map is gone, and {aside.name} is another")
        if again := self.recorded & set(ended.computed):
            raise Difference(f"{len(again)} blocks were computed again: {sorted(again)[:3]}")
        done = cells(self.recorded)
        if again := done & cells(ended.computed):
            raise Difference(f"{len(again)} cells were computed again: {sorted(again)[:3]}")
        now = {tuple(line["block"]) for line in lines if "block" in line}
        finished = complete and not lines
        if not finished:
            lost = (self.recorded | set(ended.journalled)) - now
            if lost:
                raise Difference(f"{len(lost)} blocks that were done are not any more: {sorted(lost)[:3]}")
        if done and ended.status == 0:
            percent = 100 * len(pixels(done)) // (150 * 130)
            if not any(said in ended.output for said in (f"resuming: {percent} %", "the map was already complete")):
                raise Difference(f"nothing is said of the {percent} % that were done:\n{ended.output}")
        if ended.status == 0 and (hidden or not complete):
            raise Difference(f"it ended well, and left {sorted(hidden)}, {sorted(new)}")
        self.recorded = now
        return finished

    def is_new(self, name: str, names: set[str]) -> bool:
        """Whether a file is of the new map; it may be one of the old map, but nothing else."""
        from rasterio.errors import RasterioError

        if bytes_of(self.output / name) == self.old.get(name):
            return False
        if name not in self.wanted:
            raise Difference(f"{name} is neither of the old nor of the new map; there are {sorted(names)}")
        try:
            same = pixels_of(self.output / name) == self.wanted[name]
        except (RasterioError, OSError, ValueError, KeyError) as error:
            raise Difference(f"{name} cannot be read ({error})") from None
        if not same:
            raise Difference(f"{name} is neither the old nor the new map")
        return True


def cells(blocks: Any) -> set[tuple[int, int]]:
    """Return the cells of 16 x 16 pixels that blocks cover."""
    return {
        (y // 16, x // 16)
        for row, col, height, width in blocks
        for y in range(row, row + height, 16)
        for x in range(col, col + width, 16)
    }


def pixels(found: set[tuple[int, int]]) -> set[tuple[int, int]]:
    return {
        (y, x)
        for row, col in found
        for y in range(16 * row, min(16 * row + 16, 150))
        for x in range(16 * col, min(16 * col + 16, 130))
    }


def torture(scene: Scene, number: int, seed: int, survived: Counter[str], missed: Counter[str]) -> None:
    """Kill one job one to four times, type it once more, and compare."""
    dice = random.Random(f"{seed} {number}")
    # Each in turn, 17 apart: any few jobs in a row begin with moments of the whole way.
    first = MOMENTS[17 * number % len(MOMENTS)]
    per_band = dice.random() < 0.5
    kind = Kind(dice.choice(["float32", "float64"]), per_band, dice.random() < 0.5)
    if first.seam in ("link", "remove"):
        kind = Kind(kind.dtype, per_band=True, old=True)
    elif per_band and kind.old and dice.random() < 0.3:
        kind = Kind(kind.dtype, per_band=True, old=True, links=False)
    # The sidecar of such a map is renamed before the map.
    kind = replace(kind, rotated=dice.random() < (0.7 if first.seam == "rename" else 0.25))
    if first.seam in OF_STORES or dice.random() < 0.1:
        replaced = first.seam in ("rename the store", "remove a folder")
        kind = Kind(kind.dtype, per_band=False, old=kind.old or replaced, form="zarr")
    elif first.seam in OF_CONVERSIONS or dice.random() < 0.1:
        kind = replace(kind, per_band=False, rotated=False, form=dice.choice(["nc", "cog"]))
        kind = replace(kind, form=OF_CONVERSIONS.get(first.seam, kind.form))
    scene.prepare(kind)
    moments = [first, *dice.choices(MOMENTS, k=dice.randint(0, 3))]
    if first.seam == "restore a block":
        moments.insert(0, Moment("journal a block", "after"))  # so that there is one
    with tempfile.TemporaryDirectory(dir=scene.root) as folder:
        trial = Trial(scene, kind, Path(folder))
        for name, data in trial.old.items():
            put(trial.output / name, data)
        calls = scene.calls[kind.made].calls
        for moment in moments:
            # Often the first time, which is the only one of many; else any.
            most = calls.get(moment.seam, 1)
            count = 1 if dice.random() < 0.3 else dice.randint(1, max(most, 1))
            at = Moment(moment.seam, moment.when, count, dice.uniform(0.02, 1.1))
            processes = moment.seam not in IN_WORKERS and dice.random() < 0.04
            ended = trial.run(at, dice, processes)
            if ended.status not in (0, -signal.SIGKILL):
                raise Difference(f"{at}: status {ended.status}:\n{ended.output}")
            (survived if ended.status else missed)[moment.name] += 1
            if trial.check(ended):
                break
        else:
            ended = trial.run(None, dice)
            if ended.status:
                raise Difference(f"undisturbed: status {ended.status}:\n{ended.output}")
            if not trial.check(ended):
                raise Difference(f"undisturbed, and not done:\n{ended.output}")
        if (left := {path.name for path in trial.output.iterdir()}) != set(trial.wanted):
            raise Difference(f"{sorted(left)} are left instead of {sorted(trial.wanted)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill jobs and print a table; return 1 at the first difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="number of the first job")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.serve:
        serve()
        return 0
    survived: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as root, Scene.open(Path(root)) as scene:
        for number in range(options.first, options.first + options.jobs):
            try:
                torture(scene, number, options.seed, survived, missed)
            except Difference as difference:
                print(f"DIFFERENCE {difference}")
                print(f"again: python tests/torture.py --seed {options.seed} --first {number} --jobs 1")
                return 1
    print(f"{'killed':30}   at  too late")
    for name in dict.fromkeys(moment.name for moment in MOMENTS):
        print(f"{name:30} {survived[name]:4} {missed[name]:9}")
    print(
        f"{survived.total()} kills survived by {options.jobs} jobs in {time.monotonic() - began:.0f} s; "
        f"{missed.total()} came too late"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Hostile files by the thousand: what commands make of them, compared with what rasterio and NumPy make of them.

``make fuzz`` changes GeoTIFFs, rasters with text headers, VRTs, maps' tags, recipes and journals, ten thousand in all,
and lets a command at each. Nothing may come of it but

- a map whose numbers are those of a plain rasterio read (or, of a journal, of an undisturbed run), or
- an error in one line and exit status 1, 2 or 75;

and never a request to the network, a file opened that nobody named, code run, a file of others changed, or anything
left behind. All is drawn from the seed: ``python tests/fuzz.py --kind tiff --seed 123`` does one case again and keeps
its files. `test_fuzz.py` does some of them.

Each command and each reference has a process of its own, with limits of memory and time, forked from one that has
imported and compiled everything and has one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from support.fork_server import ForkServer
from support.fuzz_bench import GOOD, Bench, Verdict, endpoints
from support.fuzz_cases import KINDS, examine, numbered


class Recorder(http.server.BaseHTTPRequestHandler):
    """Writes down what was asked for, and has none of it."""

    def answer(self) -> None:
        with Path(self.server.log).open("a") as file:  # type: ignore[attr-defined]
            file.write(f"{self.command} {self.path}\n")
        self.send_error(404)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def web(log: Path) -> Iterator[int]:
    """Serve on the loopback interface; give the port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    server.log = log  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Server(ForkServer):
    """A process that does cases, with a server of its own that they must not reach."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._stack = contextlib.ExitStack()
        port = self._stack.enter_context(web(folder / "hits"))
        # matplotlib: no window.
        super().__init__(__file__, ["--serve", str(folder), str(port)], {**endpoints(port), "MPLBACKEND": "agg"})

    def examine(self, kind: str, seed: int, harm: str = "", keep: str = "") -> Verdict:
        """Do one case; files stay in the folder `keep`."""
        return Verdict(**self.ask([kind, seed, harm, keep]))

    def close(self) -> None:
        """End it, and its server."""
        super().close()
        self._stack.close()


def serve(root: Path, port: int) -> None:
    """Do the cases that are asked for."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    logging.getLogger("pixelwise").addHandler(logging.NullHandler())
    bench = Bench.open(root, port)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        kind, seed, harm, keep = json.loads(line)
        bench.harm = harm
        folder = Path(keep) if keep else root / "cases" / "case"
        folder.mkdir(parents=True)
        try:
            verdict = examine(bench, kind, seed, folder)
        except Exception:
            verdict = Verdict(kind, seed, "fuzz.py itself failed", "", traceback.format_exc())
        if not keep:
            shutil.rmtree(folder)
        print(json.dumps(vars(verdict)), file=answers, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do cases and print a table; return 1 where any failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--kind", choices=KINDS, help="one case of this kind, or with --cases only such")
    parser.add_argument("--seed", type=int, help="the number of that case; its files are kept")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--reasons", action="store_true", help="print the errors of each class")
    options = parser.parse_args(arguments)
    if options.serve:
        serve(Path(options.serve[0]), int(options.serve[1]))
        return 0
    with tempfile.TemporaryDirectory() as root:
        if options.seed is not None:
            kind = options.kind or next(numbered(options.seed, 1))[0]
            server = Server(Path(root) / "0")
            kept = Path(tempfile.mkdtemp(prefix=f"fuzz-{kind}-{options.seed}-"))
            verdict = server.examine(kind, options.seed, keep=str(kept / "case"))
            for path in (Path(root) / "0").glob("said.*"):
                shutil.copy(path, kept)
            server.close()
            print(f"{verdict.change}\n{verdict.outcome}\n{verdict.detail}\nits files are in {kept / 'case'}")
            return int(verdict.bad)
        cases = numbered(options.first, options.cases)
        if options.kind:
            cases = ((options.kind, seed) for seed in range(options.first, options.first + options.cases))
        return report(list(cases), Path(root), options.workers, options.reasons)


def report(cases: list[tuple[str, int]], root: Path, workers: int, reasons: bool) -> int:
    """Do cases with several servers; print how they ended."""
    began = time.monotonic()
    verdicts: list[Verdict] = []
    queue, lock = iter(cases), threading.Lock()

    def work(number: int) -> None:
        server = Server(root / str(number))
        try:
            while True:
                with lock:
                    case = next(queue, None)
                if case is None:
                    return
                verdict = server.examine(*case)
                with lock:
                    verdicts.append(verdict)
                    if verdict.bad:
                        print(f"FAILED {verdict.outcome}: {verdict.change}\n  {verdict.detail}")
                        print(f"  again: python tests/fuzz.py --kind {verdict.kind} --seed {verdict.seed}", flush=True)
        finally:
            server.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(verdicts) != len(cases):
        print(f"only {len(verdicts)} of {len(cases)} cases were done")
        return 1
    counts = Counter((verdict.outcome, verdict.kind) for verdict in verdicts)
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    order = [*(o for o in GOOD if o in outcomes), *sorted(o for o in outcomes if o not in GOOD)]
    print(f"\n| how a case ends | {' | '.join(KINDS)} | all |\n|---|{'---:|' * (len(KINDS) + 1)}")
    for outcome in order:
        numbers = [*(counts[outcome, kind] for kind in KINDS), outcomes[outcome]]
        print(f"| {'' if outcome in GOOD else 'FAILED: '}{outcome} | {' | '.join(map(str, numbers))} |")
    if reasons:
        for outcome in order:
            said = Counter(" ".join(v.detail.split()[:14])[:110] for v in verdicts if v.outcome == outcome and v.detail)
            print(f"\n{outcome}")
            for words, count in said.most_common(40):
                print(f"{count:6}  {words}")
    bad = sum(verdict.bad for verdict in verdicts)
    print(f"{len(cases)} cases in {time.monotonic() - began:.0f} s, {bad} failed")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())

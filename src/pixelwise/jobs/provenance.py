"""The record in a map of how it was made. It is data only: nothing in it is ever run or opened."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise._version import __version__
from pixelwise.bands import Band
from pixelwise.dates.axis import iso
from pixelwise.jobs.output_spec import USUAL, OutputSpec
from pixelwise.jobs.period_digests import period_digests
from pixelwise.maps.outputs import relative
from pixelwise.method import Method
from pixelwise.methods.functions.base import UserFunction
from pixelwise.rasters.headers import GDAL_VERSION
from pixelwise.rasters.urls import is_url
from pixelwise.regular_files import read_bytes
from pixelwise.stacks.base import FileStack, Stack
from pixelwise.stacks.composite import CompositeStack, FunctionReducer
from pixelwise.stacks.raster import RasterStack

__all__ = [
    "MOST_LOSSES",
    "NotComparableError",
    "describe",
    "describe_losses",
    "describe_stack",
    "doubts_of",
    "header_digest",
    "identify",
    "plain",
    "versions",
]

#: Losses that a map lists one by one: its header has room for some, not for those of ten thousand scenes.
MOST_LOSSES = 200


class NotComparableError(Exception):
    """A job cannot be compared with that of another run; the message says which part and why."""


def describe(
    stack: Stack,
    inputs: Mapping[str, Stack],
    method: Method,
    bands: Sequence[Band],
    output: OutputSpec,
    *,
    folder: Path | None,
    clear: Mapping[str, Sequence[float]] | None = None,
) -> dict[str, Any]:
    """Return the provenance of a map, ready for JSON.

    Parameters
    ----------
    stack, inputs, method
        The response, the covariate stacks, and the method applied to them.
    bands
        All bands of the map, ``status`` included.
    output
        What else is written, and how.
    folder
        Folder of the map, to which paths are relative; None for a map in memory.
    clear
        Clear scenes of each period by name of stack ("" for the response), where they matter.
    """
    described: dict[str, Any] = {
        "method": method.name,
        "parameters": plain(method.parameters),
        "bands": [band.name for band in bands],
        **output.describe(folder),
        "versions": versions(),
        "cpu": cpu(),
        "input": describe_stack(stack, folder),
        "further_inputs": {name: describe_stack(other, folder) for name, other in inputs.items()},
    }
    if isinstance(method, UserFunction):
        found = method.fingerprint()
        described["function"] = {"digest": found.digest, "packages": dict(found.packages)}
    for name, counts in (clear or {}).items():
        one = described["further_inputs"][name] if name else described["input"]
        one["clear"] = list(counts)
    if method.files:
        described["method_files"] = [
            {"path": relative(path, folder), "sha256": hashlib.sha256(read_bytes(path)).hexdigest()}
            for path in method.files
        ]
    return described


def identify(described: Mapping[str, Any], method: Method, stacks: Sequence[Stack]) -> dict[str, Any]:
    """Return what two runs must agree on to give the same pixels, by topic, ready for JSON.

    Parameters
    ----------
    described
        Result of `describe`. Not all of it counts: the processor, for one, does not change the bits.
    method, stacks
        As bound; the response first.

    Raises
    ------
    NotComparableError
        When a stack cannot be compared with that of another run.
    """
    if not all(isinstance(stack, FileStack) for stack in stacks):
        raise NotComparableError("its input is not a stack of files")
    grid = stacks[0].grid
    return {
        **{name: described[name] for name in ("method", "bands", "dtype", "versions")},
        **{name: described.get(name, default) for name, default in USUAL.items()},
        "parameters": plain(method.identity),
        "grid": [grid.crs_name, *tuple(grid.transform)[:6], grid.height, grid.width],
        "input": [
            {
                "name": name,
                "spec": plain(one["spec"]),
                # Before headers, which hold each gain as well: this says which table changed.
                **({"gains": one["gains"]} if "gains" in one else {}),
                "files": one["files"] + one.get("behind", []),
                "layers": one["layers_used"],
                "headers": header_digest(stack),
                **{name: one[name] for name in ("calendar", "composite", "area") if name in one},
                **_function_of(stack),
            }
            for (name, one), stack in zip(
                (("", described["input"]), *described["further_inputs"].items()), stacks, strict=True
            )
        ],
    }


def doubts_of(method: Method, stacks: Sequence[Stack]) -> str:
    """Say which parts of users' functions cannot be compared with another run; empty if all can."""
    functions = [method, *filter(None, map(_reducing, stacks))]
    found = [str(function.fingerprint()) for function in functions if isinstance(function, UserFunction)]
    words = "; ".join(text for text in found if text)
    return words and (
        f"{words}; whether that is the same in another run is unknown "
        "(--trust-function, trust_function=True, assumes that it is)"
    )


def _function_of(stack: Stack) -> dict[str, Any]:
    """Return the identity of the function that makes composites, if one does."""
    method = _reducing(stack)
    return {} if method is None else {"function": plain(method.identity)}


def _reducing(stack: Stack) -> Method | None:
    """Return the function that makes composites, in its present state: its helpers may change while a stack lives."""
    if not isinstance(stack, CompositeStack) or not isinstance(stack.reducer, FunctionReducer):
        return None
    method = stack.reducer.method
    return replace(method, known=None) if isinstance(method, UserFunction) else method


def describe_losses(lost: Mapping[tuple[str, int], int], folder: Path | None) -> dict[str, Any]:
    """Return what could not be read: the total of lost pixels, and the largest losses by file and band.

    Parameters
    ----------
    lost
        Number of pixels by path and band.
    folder
        Folder of the map.
    """
    worst = sorted(lost.items(), key=lambda item: (-item[1], item[0]))[:MOST_LOSSES]
    files = [[path if is_url(path) else relative(Path(path), folder), band, pixels] for (path, band), pixels in worst]
    return {"pixels": sum(lost.values()), "files": len({path for path, _ in lost}), "worst": files}


def header_digest(stack: Stack) -> str:
    """Return a digest of how stored numbers become values, and of where the files lie on the grid."""
    if isinstance(stack, CompositeStack):
        return header_digest(stack.scenes) + ("" if stack.by is None else header_digest(stack.by))
    layers = getattr(stack, "layers", ())
    facts = [
        (layer.reduce, [replace(piece, path=Path(piece.path.name)) for piece in (*layer.pieces, *layer.masks)])
        for layer in layers
    ]
    return hashlib.sha256(repr((getattr(stack, "derivation", None), facts)).encode()).hexdigest()


def describe_stack(stack: Stack, folder: Path | None) -> dict[str, Any]:
    """Return what provenance says about one stack; see `describe`."""
    days = stack.axis.days
    summary: dict[str, Any] = {"layers": len(stack.axis), "first": str(days[0]), "last": str(days[-1])}
    if isinstance(stack, CompositeStack):
        described = {**describe_stack(stack.scenes, folder), **summary, "composite": plain(stack.describe())}
        if digests := period_digests(stack, folder):
            described["composite"]["digests"] = digests
        if stack.by is not None:
            described["composite"]["by"] = describe_stack(stack.by, folder)
        return described
    if not isinstance(stack, RasterStack):
        return {**summary, "kind": type(stack).__name__}
    layers: list[dict[str, Any]] = [
        {
            "date": iso(layer.date, layer.precision),
            "precision": layer.precision,
            "pieces": [[relative(piece.path, folder), piece.band] for piece in layer.pieces],
        }
        for layer in stack.layers
    ]
    for layer, entry in zip(stack.layers, layers, strict=True):
        if layer.masks:
            entry["masks"] = [[relative(piece.path, folder), piece.band] for piece in layer.masks]
        if layer.sensors:
            entry["sensors"] = list(layer.sensors)
        if layer.excess:
            entry["excess"] = layer.excess
    own = stack.paths
    files, behind = (
        [{"path": relative(path, folder), **asdict(stack.stamps[path])} for path in p]
        for p in (own, stack.stamps.keys() - {*own, *stack.area.stamps})
    )
    described = {**summary, "spec": plain(stack.spec.as_dict()), "layers_used": layers, "files": files}
    if stack.axis.calendar != "standard":
        described["calendar"] = stack.axis.calendar
    if stack.arrays:
        described["variables"] = [place.variable for place in stack.arrays]
    if stack.alpha_read:
        described["alpha_read"] = sorted(relative(path, folder) for path in stack.alpha_read & set(own))
    if not stack.derivation.plain or stack.derivation.product:
        described["derivation"] = plain(stack.derivation.describe())
    if stack.gains is not None:
        table = stack.gains.table
        described["gains"] = stack.gains.describe("" if table is None else relative(table, folder))
    if stack.area:
        described["area"] = area = plain(stack.area.describe())
        # Only paths of files; bounds are numbers.
        if stack.area.region is not None and stack.area.region.path is not None:
            area["region"]["source"] = relative(stack.area.region.path, folder)
        if stack.area.where is not None:
            area["where"]["raster"] = relative(stack.area.where.piece.path, folder)
    if behind:  # sources of VRTs, data files that belong to headers, sidecars
        described["behind"] = sorted(behind, key=itemgetter("path"))
    parts = [layers, files, *described.get("behind", ())]
    return {**described, "digest": hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()}


def plain(value: Any) -> Any:
    """Return the value of a parameter as plain JSON."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no NaN
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


@cache
def versions() -> dict[str, str]:
    """Return the versions that can change a result."""
    from importlib.metadata import version

    return {
        "pixelwise": __version__,
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "numba": version("numba"),
        "rasterio": version("rasterio"),
        "gdal": GDAL_VERSION,
    }


@cache
def cpu() -> str:
    """Return the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or sys.platform

"""Outputs that exist already: what of them is as it would be computed now, and what is new.

What a file says about its making is compared with what a job would write, never run or opened.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pixelwise.errors import InputError, OutputError, ParameterError
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.output_spec import OutputSpec
from pixelwise.jobs.provenance import describe_stack, plain, versions
from pixelwise.maps.map import Map, is_map, open_map
from pixelwise.opening.survey import open_stack
from pixelwise.run import run_layers
from pixelwise.stacks.appended import AppendedStack
from pixelwise.stacks.base import FileStack
from pixelwise.stacks.composite import CompositeStack
from pixelwise.stacks.raster import RasterStack
from pixelwise.words import NAMED, first_of, shown

__all__ = ["append_layers"]

log = logging.getLogger(__name__)

#: Options that only choose which layers and pixels there are; these are compared themselves.
CHOOSING = frozenset({"start", "end", "extent", "bounds"})
#: Options that may be paths, relative to where the command was run: only their names are compared. What is in the files
#: is compared by their stamps, digests and dates.
PATHS = frozenset({"times", "align", "mask", "region", "where", "product", "gains"})
AGAIN = "or make all of it again with --overwrite"


def append_layers(stack: FileStack, output: str | Path, spec: OutputSpec, execution: Execution) -> Path:
    """Write a stack of composites, taking over from the existing output every period that is still the same.

    The result is that of writing all of them anew, to the bit. The existing file stays until it is complete.

    Parameters
    ----------
    stack
        The composites.
    output
        Where they are to be, whether it exists or not.
    spec, execution
        As in `run_layers`.

    Raises
    ------
    ParameterError
        When the stack has no periods, or the output was made with other options, naming them.
    InputError
        When files that the output was made from are not among the inputs, naming them.
    OutputError
        When the output is something else than a stack of composites.
    """
    output = Path(output)
    if not isinstance(stack, CompositeStack):
        raise ParameterError("append: only composites are appended, one for each period")
    if "{band}" in output.name:
        raise ParameterError(f"{output}: periods are appended to one file that holds them all; leave out {{band}}")
    if not os.path.lexists(output):  # a dangling link exists
        return run_layers(stack, output, spec, execution)
    held = _held(output)
    now = describe_stack(stack, output.parent)
    _check_options(held, now, spec)
    if words := held.grid.differences(stack.grid):
        raise InputError(
            f"{output}: its composites have another grid now: {'; '.join(words)}; if new scenes made it larger, give "
            f"its old extent (--extent {','.join(f'{edge:.12g}' for edge in held.grid.bounds)}), {AGAIN}"
        )
    _check_files(held, now, output.parent)
    layers = open_stack(output)
    kept = _kept(held, layers, stack, now["composite"].get("digests", []))
    if len(kept) == len(stack) == len(layers):
        log.info("%s is up to date: its %d periods are still the same", output, len(stack))
        return output
    _say_what_is_new(held, stack, now, kept)
    execution = replace(execution, overwrite=True)
    if len(kept) == len(stack):  # periods only vanished: an AppendedStack makes at least one
        kept.popitem()
    if not kept:
        return run_layers(stack, output, spec, execution)
    appended = AppendedStack(
        stack.scenes, stack.periods, stack.reducer, stack.by, kept=layers.take(list(kept.values())), rows=tuple(kept)
    )
    said, warned = _of_other_versions(held, [stack.periods.labels[row] for row in kept])
    names = tuple(f"{stack.names[row]}: float32 " for row in kept)
    # Numbers that were rounded when they were written are whole now.
    warned += [text for text in held.warnings if text.startswith(names)]
    return run_layers(appended, output, spec, execution, said, warned)


@dataclass(frozen=True)
class _Held:
    """What an existing output says about its making: nothing of it is trusted beyond being compared."""

    path: Path
    map_: Map

    @property
    def grid(self) -> Any:
        """Where its pixels are."""
        return self.map_.grid

    @property
    def input(self) -> Mapping[str, Any]:
        """What it says about its input."""
        return _mapping(self.map_.provenance.get("input"))

    @property
    def composite(self) -> Mapping[str, Any]:
        """What it says about its composites."""
        return _mapping(self.input.get("composite"))

    @property
    def warnings(self) -> list[str]:
        """What was warned of when it was made."""
        return list(_texts(self.map_.provenance.get("warnings")))

    @property
    def files(self) -> dict[str, Any]:
        """Its files and what was behind them, with their stamps."""
        return files_of(self.input)


def files_of(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stamps of all files of a stack, by the names by which a map calls them."""
    entries = [one for name in ("files", "behind") for one in _list(described.get(name)) if isinstance(one, dict)]
    stamps = [{**one} for one in entries if isinstance(one.get("path"), str)]
    return {one.pop("path"): one for one in stamps}


def _held(output: Path) -> _Held:
    if not is_map(output):
        raise OutputError(f"{output}: is not a pixelwise map, and only maps are replaced; choose another name")
    held = _Held(output, open_map(output))
    method = held.map_.provenance.get("method")
    if method != "layers" or not held.composite:
        what = f"a map of {shown(method)}" if method != "layers" else "a stack of layers that are no composites"
        raise OutputError(f"{output}: is {what}, to which no period can be appended; choose another name")
    return held


def _check_options(held: _Held, now: Mapping[str, Any], spec: OutputSpec) -> None:
    """Refuse an output that was made with other options, naming the first."""
    then = {**_mapping(held.input.get("spec")), "dtype": held.map_.provenance.get("dtype")}
    for name, was, is_ in different_options(then, {**now["spec"], "dtype": spec.dtype}):
        raise ParameterError(f"{held.path}: was made {was}, now {is_}; give the same ({name}), {AGAIN}")
    for name in ("how", "min_count", "equal_count", "seed"):
        if held.composite.get(name) != now["composite"].get(name):
            was, is_ = (shown(one.get(name)) for one in (held.composite, now["composite"]))
            raise ParameterError(f"{held.path}: the {name} of its composites was {was}, now it is {is_}; {AGAIN}")
    if _mapping(held.input.get("area")) != now.get("area", {}):
        raise ParameterError(
            f"{held.path}: was made for {_area(held.input)}, now for {_area(now)}; give the same region, {AGAIN}"
        )


def different_options(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield each option that differs, what it was and what it is."""
    for name in sorted({*then, *now} - CHOOSING):
        was, is_ = (_comparable(name, one.get(name)) for one in (then, now))
        if was != is_:
            option = f"--{name.replace('_', '-')}"
            words = [f"without {option}" if value is None else f"with {option} {shown(value)}" for value in (was, is_)]
            yield option, words[0], words[1]


def _comparable(name: str, value: Any) -> Any:
    value = plain(value)
    return Path(value).name if name in PATHS and isinstance(value, str) else value


def _area(described: Mapping[str, Any]) -> str:
    """Say which pixels were requested."""
    region, where = (_mapping(_mapping(described.get("area")).get(name)) for name in ("region", "where"))
    words = [f"region {shown(region.get('source'))} (sha256 {shown(region.get('sha256'))})"] if region else []
    words += [f"where {shown(where.get('raster'))} is {shown(where.get('values'))}"] if where else []
    return " and ".join(words) or "all pixels"


def _check_files(held: _Held, now: Mapping[str, Any], folder: Path) -> None:
    """Refuse an output that was made from files which are not among the inputs."""
    spec, own = _mapping(held.input.get("spec")), files_of(now)
    chosen = any(spec.get(name) != now["spec"].get(name) for name in ("start", "end"))
    gone = [name for name in files_of({"files": held.input.get("files")}) if name not in own]
    if gone := [name for name in gone if not chosen or not (folder / name).exists()]:
        few = "1 file" if len(gone) == 1 else f"{len(gone)} files"
        raise InputError(
            f"{held.path}: {few} of which it was made {'is' if len(gone) == 1 else 'are'} not among the inputs: "
            f"{first_of(gone, NAMED)}; give all files, old and new (only new periods are computed), {AGAIN}"
        )


def _kept(held: _Held, layers: RasterStack, stack: CompositeStack, digests: Sequence[str]) -> dict[int, int]:
    """Return which periods are taken over, by row, and which layer of the file each is."""
    composite = held.composite
    labels, then = list(_texts(composite.get("periods"))), list(_texts(composite.get("digests")))
    if not digests:
        log.info("%s: all periods are computed again, as a function of your own makes them", held.path)
        return {}
    if not len(labels) == len(then) == len(layers) or len(set(labels)) < len(labels):
        log.info("%s: all periods are computed again, as it does not say what each was made of", held.path)
        return {}
    if "lost" in held.map_.provenance:
        log.info("%s: all periods are computed again, as some of its files could not be read", held.path)
        return {}
    index = {label: i for i, label in enumerate(labels)}
    return {
        row: index[label]
        for row, (label, digest) in enumerate(zip(stack.periods.labels, digests, strict=True))
        if label in index and then[index[label]] == digest and layers.names[index[label]] == stack.names[row]
    }


def _say_what_is_new(held: _Held, stack: CompositeStack, now: Mapping[str, Any], kept: Mapping[int, int]) -> None:
    """Log which periods are computed, and because of which files."""
    labels = stack.periods.labels
    made = [label for row, label in enumerate(labels) if row not in kept]
    vanished = [label for label in _texts(held.composite.get("periods")) if label not in labels]
    computed = f"{len(made)} computed: {first_of(made, NAMED)}" if made else "none computed"
    log.info("%s: %d of %d periods are kept, %s", held.path, len(kept), len(labels), computed)
    say_changes(held.files, files_of(now))
    if vanished:
        log.warning("%s: %s will no longer be in it", held.path, first_of(vanished, NAMED))


def say_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Log which files are new, and which have changed."""
    new = [name for name in now if name not in then]
    changed = [name for name, stamp in now.items() if name in then and then[name] != stamp]
    for words, names in (("new", new), ("changed", changed)):
        if names:
            few = "1 file is" if len(names) == 1 else f"{len(names)} files are"
            log.info("%s %s: %s", few, words, first_of(names, NAMED))


def _of_other_versions(held: _Held, labels: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return what the file will say about periods that other versions made, and warnings of it."""
    of_label: dict[str, Mapping[str, Any]] = dict.fromkeys(labels, _mapping(held.map_.provenance.get("versions")))
    for entry in map(_mapping, _list(held.map_.provenance.get("kept"))):
        own = [label for label in _texts(entry.get("periods")) if label in of_label]
        of_label |= dict.fromkeys(own, _mapping(entry.get("versions")))
    groups: dict[str, tuple[Mapping[str, Any], list[str]]] = {}
    for label, made_by in of_label.items():
        if dict(made_by) != versions():
            groups.setdefault(repr(sorted(made_by.items())), (made_by, []))[1].append(label)
    said = [{"versions": dict(made_by), "periods": own} for made_by, own in groups.values()]
    warnings = []
    for made_by, own in groups.values():
        others = [f"{name} {shown(made_by.get(name))}" for name, one in versions().items() if made_by.get(name) != one]
        warnings.append(
            f"{first_of(own, NAMED)}: kept although made with {', '.join(others)}; CHANGELOG.md says whether numbers "
            "have changed since; --overwrite makes all periods again"
        )
    for text in warnings:
        log.warning(text)
    return {"kept": said} if said else {}, warnings


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> Iterator[str]:
    return (one for one in _list(value) if isinstance(one, str))

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

from pixelwise.bands import STATUS_BAND, Band
from pixelwise.errors import InputError, OutputError, ParameterError
from pixelwise.jobs.answer import PostProcessed
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.output_spec import USUAL, OutputSpec
from pixelwise.jobs.provenance import describe, describe_stack, doubts_of, plain, versions
from pixelwise.maps.false_discovery import ADDED
from pixelwise.maps.map import Map, is_map, open_map, tag_of
from pixelwise.method import Method
from pixelwise.methods.functions.base import UserFunction
from pixelwise.opening.pairing import pair
from pixelwise.opening.survey import open_stack
from pixelwise.run import layers_beside, run_layers
from pixelwise.stacks.appended import AppendedStack
from pixelwise.stacks.base import FileStack
from pixelwise.stacks.composite import CompositeStack, FunctionReducer
from pixelwise.stacks.raster import RasterStack
from pixelwise.words import NAMED, first_of, shown

__all__ = ["append_layers", "execution_of_update", "existing"]

log = logging.getLogger(__name__)

#: Options that only choose which layers and pixels there are; these are compared themselves.
CHOOSING = frozenset({"start", "end", "extent", "bounds"})
#: Options that may be paths, relative to where the command was run: only their names are compared. What is in the files
#: is compared by their stamps, digests and dates.
PATHS = frozenset({"times", "align", "mask", "region", "where", "product", "gains"})
AGAIN = "or make all of it again with --overwrite"
SAME = f"give the same, {AGAIN}"


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
    _check_composites(held, now, spec)
    if words := held.grid.differences(stack.grid):
        raise InputError(
            f"{output}: its composites have another grid now: {'; '.join(words)}; if new scenes made it larger, give "
            f"its old extent (--extent {','.join(f'{edge:.12g}' for edge in held.grid.bounds)}), {AGAIN}"
        )
    _check_files(held, held.input, now, output.parent)
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


def _check_composites(held: _Held, now: Mapping[str, Any], spec: OutputSpec) -> None:
    """Refuse a file that was made with other options, naming the first."""
    if (was := held.map_.provenance.get("dtype")) != spec.dtype:
        raise ParameterError(f"{held.path}: was made with --dtype {was}, now with --dtype {spec.dtype}; {SAME}")
    _check_same_options(held, "", held.input, now)
    for name in ("how", "min_count", "equal_count", "seed"):
        if held.composite.get(name) != now["composite"].get(name):
            was, is_ = (shown(one.get(name)) for one in (held.composite, now["composite"]))
            raise ParameterError(f"{held.path}: the {name} of its composites was {was}, now it is {is_}; {SAME}")


def _check_same_options(held: _Held, name: str, was: Mapping[str, Any], is_: Mapping[str, Any]) -> None:
    """Refuse an output for which a stack was read with other options, naming the first."""
    of_which = f"{name}: " if name else ""
    for one, other in different_options(_mapping(was.get("spec")), is_["spec"]):
        raise ParameterError(f"{held.path}: {of_which}was made {one}, now {other}; {SAME}")
    if _mapping(was.get("area")) != is_.get("area", {}):
        raise ParameterError(f"{held.path}: {of_which}was made for {_area(was)}, now for {_area(is_)}; {SAME}")


def different_options(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield what each option that differs was, and what it is."""
    for name in sorted({*then, *now} - CHOOSING):
        was, is_ = (_comparable(name, one.get(name)) for one in (then, now))
        if was != is_:
            option = f"--{name.replace('_', '-')}"
            yield [f"without {option}" if value is None else f"with {option} {shown(value)}" for value in (was, is_)]


def _comparable(name: str, value: Any) -> Any:
    value = plain(value)
    return Path(value).name if name in PATHS and isinstance(value, str) else value


def _area(described: Mapping[str, Any]) -> str:
    """Say which pixels were requested."""
    region, where = (_mapping(_mapping(described.get("area")).get(name)) for name in ("region", "where"))
    words = [f"region {shown(region.get('source'))} (sha256 {shown(region.get('sha256'))})"] if region else []
    words += [f"where {shown(where.get('raster'))} is {shown(where.get('values'))}"] if where else []
    return " and ".join(words) or "all pixels"


def _check_files(held: _Held, was: Mapping[str, Any], is_: Mapping[str, Any], folder: Path) -> None:
    """Refuse an output that was made from files which are not among the inputs."""
    spec, own = _mapping(was.get("spec")), files_of(is_)
    chosen = any(spec.get(name) != is_["spec"].get(name) for name in ("start", "end"))
    gone = [name for name in files_of({"files": was.get("files")}) if name not in own]
    if gone := [name for name in gone if not chosen or not (folder / name).exists()]:
        few = "1 file that is" if len(gone) == 1 else f"{len(gone)} files that are"
        raise InputError(
            f"{held.path}: was made from {few} not among the inputs: {first_of(gone, NAMED)}; give all files, old and "
            f"new, {AGAIN}"
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
    for one, several, names in (("is new", "are new", new), ("has changed", "have changed", changed)):
        if names:
            words = f"1 file {one}" if len(names) == 1 else f"{len(names)} files {several}"
            log.info("%s: %s", words, first_of(names, NAMED))


def existing(output: Path) -> Path | None:
    """Return an output if it exists, or its first file if there is one per band."""
    if "{band}" in output.name:
        return next(iter(sorted(output.parent.glob(output.name.replace("{band}", "*")))), None)
    return output if os.path.lexists(output) else None  # a dangling link exists


def execution_of_update(
    stack: FileStack,
    method: Method,
    output: str | Path,
    inputs: Mapping[str, FileStack],
    spec: OutputSpec,
    execution: Execution,
) -> Execution | None:
    """Compare an existing map with what a job would make.

    Parameters
    ----------
    stack, method, output, inputs, spec, execution
        As in `run_job`.

    Returns
    -------
    Execution or None
        How to execute the job: an existing map of the same job, made from other files or by other versions, is
        replaced. None if it is up to date.

    Raises
    ------
    ParameterError
        When it was made by another method, or with other options, naming the first.
    InputError
        When files that it was made from are not among the inputs, naming them.
    OutputError
        When the output is something else than a map.
    """
    output = Path(output)
    first = existing(output)
    if execution.overwrite or first is None:
        return execution
    if not is_map(first):
        raise OutputError(f"{first}: is not a pixelwise map, and only maps are replaced; choose another name")
    held = _Held(output, open_map(output))
    pairing = pair(stack, inputs)
    layered = layers_beside(pairing.stack, method, spec)
    bands: tuple[Band, ...] = ()
    if not isinstance(method, UserFunction):
        axes = {name: other.axis for name, other in pairing.inputs.items()}
        bands = (*PostProcessed.of(method, pairing.stack.axis, axes, spec, layered).written, STATUS_BAND)
    now = describe(pairing.stack, pairing.inputs, method, bands, spec, folder=output.parent)
    then = {**USUAL, **held.map_.provenance}
    same_versions = then.get("versions") == versions()
    _check_job(held, then, {**USUAL, **now}, spec, same_versions=same_versions)
    stacks = {"": (held.input, now["input"])}
    for name, other in now["further_inputs"].items():
        stacks[name] = (_mapping(_mapping(then.get("further_inputs")).get(name)), other)
    reasons = list(_reasons(held, method, pairing.stacks, now, execution))
    for name, (was, is_) in stacks.items():
        _check_same_options(held, name, was, is_)
        _check_files(held, was, is_, output.parent)
        say_changes(files_of(was), files_of(is_))
        if _read_otherwise(was) != _read_otherwise(is_):
            reasons.append(f"covariate {name} has changed" if name else "its input has changed")
    for kind, path in spec.write.items():
        if not os.path.lexists(path):
            reasons.append(f"{path} is missing")
        elif _mapping((tag_of(path) or ({}, ()))[0]).get("written") != kind:
            raise OutputError(
                f"{path}: is not the {kind} of {output}; choose another name, or replace it (--overwrite)"
            )
    if not reasons:
        log.info("%s is up to date: method, options and files are still the same", output)
        return None
    log.info("%s is computed again: %s", output, "; ".join(reasons))
    return replace(execution, overwrite=True)


def _check_job(
    held: _Held, then: Mapping[str, Any], now: Mapping[str, Any], spec: OutputSpec, *, same_versions: bool
) -> None:
    """Refuse a map that another method made, or other options, naming the first."""
    names = ["method", "dtype", "min_valid", "min_span", "per", "write"]
    # Other versions may have other bands.
    names += ["bands"] * bool(now["bands"] and (spec.bands is not None or same_versions))
    names += ["base"] * (spec.base is not None)
    if _mapping(then.get("fdr")):  # added to what the job writes
        then = {**then, "bands": [name for name in _texts(then.get("bands")) if name not in ADDED]}
    pairs = [(name, then.get(name), now[name]) for name in names if "function" not in now or name != "bands"]
    was, is_ = _mapping(then.get("parameters")), now["parameters"]
    # The text of a function is compared with everything that it uses; and other versions may have other parameters.
    own = [name for name in is_ if name not in ("source", "file", "decision") and (same_versions or name in was)]
    pairs += [(f"parameter {name}", _named(was.get(name)), _named(is_[name])) for name in own]
    rate = _mapping(then.get("fdr"))
    pairs.append(("fdr", _rate(rate), _rate(_mapping(now["fdr"]))))
    pairs.append(("covariates", sorted(_mapping(then.get("further_inputs"))), sorted(now["further_inputs"])))
    for name, one, other in pairs:
        if one != other:
            raise ParameterError(
                f"{held.path}: was made {_with(name, one)}, now {_with(name, other)}; choose another output, or "
                "replace it with --overwrite"
            )


def _with(name: str, value: Any) -> str:
    return f"without {name}" if value in (None, {}, []) else f"with {name} {shown(value)}"


def _rate(described: Mapping[str, Any]) -> str | None:
    """Return a false discovery rate as it is typed."""
    return f"{described.get('method')}:{described.get('q')}" if described else None


def _named(value: Any) -> Any:
    """Return a parameter without the folders of tables, which are relative to where the command was run."""
    if isinstance(value, list):
        return [_named(one) for one in value]
    return Path(value).name if isinstance(value, str) and ".csv" in value.lower() else value


def _reasons(
    held: _Held, method: Method, stacks: Sequence[FileStack], now: Mapping[str, Any], execution: Execution
) -> Iterator[str]:
    """Yield why a map is to be made again, besides its input."""
    then = held.map_.provenance
    made_by = _mapping(then.get("versions"))
    for name, one in versions().items():
        if made_by.get(name) != one:
            yield f"made with {name} {shown(made_by.get(name))}, now {shown(one)}"
    if now.get("function") != then.get("function"):
        yield f"{now['method']} is another function now"
    if now.get("method_files") != then.get("method_files"):
        yield f"the tables of {now['method']} have changed"
    if (doubts := doubts_of(method, stacks)) and not execution.trust_function:
        yield doubts
    if any(isinstance(getattr(stack, "reducer", None), FunctionReducer) for stack in stacks):
        yield "a function of your own makes its composites"
    if words := held.grid.differences(stacks[0].grid):
        yield f"its grid is another one ({'; '.join(words)})"


def _read_otherwise(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides the values of a stack besides its options."""
    names = ("digest", "derivation", "calendar", "gains", "alpha_read")
    composite = {name: one for name, one in _mapping(described.get("composite")).items() if name != "parameters"}
    return {"composite": composite, **{name: described.get(name) for name in names}}


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

"""Composites that grow: periods of an existing file that are still the same are taken over, the others are computed."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixelwise.errors import InputError, OutputError, ParameterError
from pixelwise.existing import (
    AGAIN,
    SAME,
    ExistingFile,
    check_files,
    check_same_options,
    files_of,
    list_of,
    mapping,
    say_changes,
    texts,
)
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.executors import usable_cores
from pixelwise.jobs.layer_digests import digests_of_layers
from pixelwise.jobs.output_spec import OutputSpec
from pixelwise.jobs.provenance import describe_stack, versions
from pixelwise.maps.map import is_map, open_map
from pixelwise.opening.survey import open_stack
from pixelwise.run import run_layers
from pixelwise.stacks.appended import AppendedStack
from pixelwise.stacks.base import FileStack
from pixelwise.stacks.composite import CompositeStack
from pixelwise.stacks.raster import RasterStack
from pixelwise.words import NAMED, first_of, shown

__all__ = ["append_layers"]

log = logging.getLogger(__name__)


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
    check_files(held, held.input, now, output.parent)
    layers = open_stack(output)
    _check_vanished(held, stack, now)
    kept = _intact(held, layers, _kept(held, layers, stack, now["composite"].get("digests", [])), stack, execution)
    if len(kept) == len(stack) == len(layers):
        log.info("%s is up to date: its %d periods are still the same", output, len(stack))
        return output
    _say_what_is_new(held, stack, now, kept)
    execution = replace(execution, overwrite=True)
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


def _held(output: Path) -> ExistingFile:
    if not is_map(output):
        raise OutputError(f"{output}: is not a pixelwise map, and only maps are replaced; choose another name")
    held = ExistingFile(output, open_map(output))
    method = held.map_.provenance.get("method")
    if method != "layers" or not held.composite:
        what = f"a map of {shown(method)}" if method != "layers" else "a stack of layers that are no composites"
        raise OutputError(f"{output}: is {what}, to which no period can be appended; choose another name")
    return held


def _check_composites(held: ExistingFile, now: Mapping[str, Any], spec: OutputSpec) -> None:
    """Refuse a file that was made with other options, naming the first."""
    if (was := held.map_.provenance.get("dtype")) != spec.dtype:
        raise ParameterError(f"{held.path}: was made with --dtype {was}, now with --dtype {spec.dtype}; {SAME}")
    check_same_options(held, "", held.input, now)
    for name in ("how", "min_count", "equal_count", "seed"):
        if held.composite.get(name) != now["composite"].get(name):
            was, is_ = (shown(one.get(name)) for one in (held.composite, now["composite"]))
            raise ParameterError(f"{held.path}: the {name} of its composites was {was}, now it is {is_}; {SAME}")


def _check_vanished(held: ExistingFile, stack: CompositeStack, now: Mapping[str, Any]) -> None:
    """Refuse to write a file that lacks periods of the existing one."""
    gone = [label for label in texts(held.composite.get("periods")) if label not in stack.periods.labels]
    if not gone:
        return
    then, spec, changed = mapping(held.input.get("spec")), now["spec"], []
    for name in ("start", "end"):
        was, is_ = ("not given" if one.get(name) is None else shown(one[name]) for one in (then, spec))
        if was != is_:
            changed.append(f"--{name} was {was}, now {is_}")
    why = "; ".join(changed) or "they have too few scenes now"
    what = "give the same dates" if changed else "give all scenes"
    raise InputError(
        f"{held.path}: holds {first_of(gone, NAMED)}, which would be lost, as the composites do not include "
        f"{'it' if len(gone) == 1 else 'them'} now ({why}); {what}, {AGAIN}"
    )


def _intact(
    held: ExistingFile, layers: RasterStack, kept: dict[int, int], stack: CompositeStack, execution: Execution
) -> dict[int, int]:
    """Return those of the periods to be kept whose values in the file are as they were written."""
    then = list(texts(held.map_.provenance.get("layer_digests")))
    if kept and len(then) != len(layers):
        log.info("%s: all periods are computed again, as it does not say what their values were", held.path)
        return {}
    dtype = held.map_.provenance["dtype"]
    now = digests_of_layers(layers, list(kept.values()), dtype, execution.jobs or usable_cores())
    altered = [row for (row, index), digest in zip(kept.items(), now, strict=True) if then[index] != digest]
    if altered:
        log.warning(
            "%s: %s: computed again, as the file has been changed since it was written: it holds other values now",
            held.path,
            first_of([stack.periods.labels[row] for row in altered], NAMED),
        )
    return {row: index for row, index in kept.items() if row not in altered}


def _kept(held: ExistingFile, layers: RasterStack, stack: CompositeStack, digests: Sequence[str]) -> dict[int, int]:
    """Return which periods are taken over, by row, and which layer of the file each is."""
    composite = held.composite
    labels, then = list(texts(composite.get("periods"))), list(texts(composite.get("digests")))
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


def _say_what_is_new(
    held: ExistingFile, stack: CompositeStack, now: Mapping[str, Any], kept: Mapping[int, int]
) -> None:
    """Log which periods are computed, and because of which files."""
    labels = stack.periods.labels
    made = [label for row, label in enumerate(labels) if row not in kept]
    computed = f"{len(made)} computed: {first_of(made, NAMED)}" if made else "none computed"
    log.info("%s: %d of %d periods are kept, %s", held.path, len(kept), len(labels), computed)
    say_changes(held.files, files_of(now))


def _of_other_versions(held: ExistingFile, labels: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return what the file will say about periods that other versions made, and warnings of it."""
    of_label: dict[str, Mapping[str, Any]] = dict.fromkeys(labels, mapping(held.map_.provenance.get("versions")))
    for entry in map(mapping, list_of(held.map_.provenance.get("kept"))):
        own = [label for label in texts(entry.get("periods")) if label in of_label]
        of_label |= dict.fromkeys(own, mapping(entry.get("versions")))
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

"""Maps that exist: whether a map is up to date, is computed again, or belongs to another job."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixelwise.bands import STATUS_BAND, Band
from pixelwise.errors import OutputError, ParameterError
from pixelwise.existing import (
    ExistingFile,
    check_files,
    check_same_options,
    existing,
    files_of,
    mapping,
    say_changes,
    texts,
)
from pixelwise.jobs.answer import PostProcessed
from pixelwise.jobs.execution import Execution
from pixelwise.jobs.output_spec import USUAL, OutputSpec
from pixelwise.jobs.provenance import describe, doubts_of, versions
from pixelwise.maps.false_discovery import ADDED
from pixelwise.maps.map import is_map, open_rest, tag_of
from pixelwise.method import Method
from pixelwise.methods.functions.base import UserFunction
from pixelwise.opening.pairing import pair
from pixelwise.run import layers_beside
from pixelwise.stacks.base import FileStack
from pixelwise.stacks.composite import FunctionReducer
from pixelwise.words import shown

__all__ = ["execution_of_update"]

log = logging.getLogger(__name__)

#: What a stack beside a map says of its making that must be as the map says it.
OF_JOB = ("method", "parameters", "base")
OF_INPUT = ("input", "further_inputs")


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
    map_, missing = open_rest(first)
    held = ExistingFile(output, map_)
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
        stacks[name] = (mapping(mapping(then.get("further_inputs")).get(name)), other)
    reasons = [f"{path} is missing" for path in missing]
    reasons += _reasons(held, method, pairing.stacks, now, execution)
    for name, (was, is_) in stacks.items():
        check_same_options(held, name, was, is_)
        check_files(held, was, is_, output.parent)
        say_changes(files_of(was), files_of(is_))
        if _read_otherwise(was) != _read_otherwise(is_):
            reasons.append(f"covariate {name} has changed" if name else "its input has changed")
    for kind, path in spec.write.items():
        reasons += _reasons_of_written(held, kind, Path(path))
    if not reasons:
        log.info("%s is up to date: method, options and files are still the same", output)
        return None
    log.info("%s is computed again: %s", output, "; ".join(reasons))
    return replace(execution, overwrite=True)


def _reasons_of_written(held: ExistingFile, kind: str, path: Path) -> Iterator[str]:
    """Yield why a stack beside a map is to be written again; refuse one of another map."""
    if not os.path.lexists(path):
        yield f"{path} is missing"
        return
    tag, then = (tag_of(path) or ({}, ()))[0], held.map_.provenance
    same = [all(tag.get(one) == then.get(one) for one in names) for names in (OF_JOB, OF_INPUT)]
    beside = tag.get("map") == Path(os.path.relpath(held.path.resolve(), path.parent.resolve())).as_posix()
    if tag.get("written") != kind or not same[0] or not (same[1] or beside):
        raise OutputError(f"{path}: is not the {kind} of {held.path}; choose another name, or replace it (--overwrite)")
    if not same[1]:
        yield f"{path} was made from other files"


def _check_job(
    held: ExistingFile, then: Mapping[str, Any], now: Mapping[str, Any], spec: OutputSpec, *, same_versions: bool
) -> None:
    """Refuse a map that another method made, or other options, naming the first."""
    names = ["method", "dtype", "min_valid", "min_span", "per", "write"]
    # Other versions may have other bands.
    names += ["bands"] * bool(now["bands"] and (spec.bands is not None or same_versions))
    names += ["base"] * (spec.base is not None)
    if mapping(then.get("fdr")):  # added to what the job writes
        then = {**then, "bands": [name for name in texts(then.get("bands")) if name not in ADDED]}
    pairs = [(name, then.get(name), now[name]) for name in names if "function" not in now or name != "bands"]
    was, is_ = mapping(then.get("parameters")), now["parameters"]
    # The text of a function is compared with everything that it uses; and other versions may have other parameters.
    own = [name for name in is_ if name not in ("source", "file", "decision") and (same_versions or name in was)]
    pairs += [(f"parameter {name}", _named(was.get(name)), _named(is_[name])) for name in own]
    rate = mapping(then.get("fdr"))
    pairs.append(("fdr", _rate(rate), _rate(mapping(now["fdr"]))))
    pairs.append(("covariates", sorted(mapping(then.get("further_inputs"))), sorted(now["further_inputs"])))
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
    held: ExistingFile, method: Method, stacks: Sequence[FileStack], now: Mapping[str, Any], execution: Execution
) -> Iterator[str]:
    """Yield why a map is to be made again, besides its input."""
    then = held.map_.provenance
    made_by = mapping(then.get("versions"))
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
    composite = {name: one for name, one in mapping(described.get("composite")).items() if name != "parameters"}
    return {"composite": composite, **{name: described.get(name) for name in names}}

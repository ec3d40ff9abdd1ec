"""Gains of each sensor, from pairs of scenes that were taken a few days apart."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pixelwise.bands import Floats
from pixelwise.errors import InputError
from pixelwise.opening.sensor_pairs import DAYS, ScenePair, chain_of, overlapping, pairs_of
from pixelwise.rectification.comparing import LEAST_PIXELS, RowsWork
from pixelwise.rectification.crew import Crew
from pixelwise.rectification.flags import LITTLE
from pixelwise.rectification.irmad import DegenerateError, unchanged
from pixelwise.rectification.options import RectifyOptions
from pixelwise.rectification.rows import rows_of
from pixelwise.rectification.sample import Sample
from pixelwise.rectification.scenes import Scene, common, read_scene
from pixelwise.rectification.sensors import PairLines, SensorLines, chained, pair_lines, pooled_lines
from pixelwise.stacks.gains import Gain
from pixelwise.words import first_of

__all__ = ["rows_by_sensor"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pairs(RowsWork[PairLines]):
    """Pairs of scenes, by the numbers of these."""

    pairs: tuple[ScenePair, ...]

    @property
    def count(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    @property
    def held(self) -> int:
        """Numbers of both scenes, and of what is made of them."""
        return 16 * len(self.sample) * len(self.scenes[0].image.bands)

    def row(self, number: int) -> PairLines | str:
        """Return the lines of a pair, or why it has none."""
        pair = self.pairs[number]
        scene, other = self.scenes[pair.scene], self.scenes[pair.reference]
        values, reference = (read_scene(self.stack, one, self.sample) for one in (scene, other))
        try:
            return self._lines(reference, values)
        except DegenerateError as error:
            named = other if error.image == "reference" else scene
            return f"band {named.image.names[error.band]} of {named.name} {error.reason}"
        except InputError as error:
            return f"{scene.name} and {other.name}: {error}"

    def _lines(self, reference: Floats, values: Floats) -> PairLines:
        valid = common(reference, values)
        count = int(np.count_nonzero(valid))
        if count < LEAST_PIXELS:
            raise InputError(f"{count} sampled pixels have values in both, fewer than {LEAST_PIXELS}")
        reference, values = reference[:, valid], values[:, valid]
        if self.method == "regression":
            return pair_lines(reference, values, np.ones(count))
        found = unchanged(reference, values)
        share = float(found.weights.mean())
        if not found.converged or share < LITTLE:
            # Of pairs under haze or after harvest: the centre of all lines bears no more than three of ten.
            why = f"a mean weight of {share:.3f}" if found.converged else "weights that do not converge"
            raise InputError(f"hardly any pixels did not change ({why})")
        return pair_lines(reference, values, found.weights, iterations=found.iterations, converged=found.converged)


def rows_by_sensor(
    crew: Crew, scenes: Sequence[Scene], sample: Sample, options: RectifyOptions, folder: Path | None
) -> list[Gain]:
    """Return the rows of all scenes, each with the line of its sensor to the newest one."""
    sensors, dates = [scene.image.sensor for scene in scenes], [scene.layer.date.date() for scene in scenes]
    if "" in sensors:
        raise InputError(f"{scenes[sensors.index('')].name}: its sensor is unknown; gains per sensor need a --product")
    pairs = pairs_of(sensors, dates, together=overlapping([scene.image for scene in scenes]))
    chain_of(sensors, dates, pairs)  # says at once which sensors never meet
    work = _Pairs(
        stack=crew.stack,
        scenes=tuple(scenes),
        sample=sample,
        pairs=pairs,
        method=options.method,
        handles=crew.handles,
    )
    crew.meter.begin(0, 1, work.count)
    found = crew.compare(work)
    usable = {pair: lines for pair, lines in zip(pairs, found, strict=True) if not isinstance(lines, str)}
    failed = [lines for lines in found if isinstance(lines, str)]
    if failed:
        log.warning("%d of %d pairs are left out: %s", len(failed), len(pairs), first_of(failed, 2))
    links = chain_of(sensors, dates, tuple(usable))
    # A pair may be turned: it is known by its scenes.
    known = {frozenset((pair.scene, pair.reference)): (pair, lines) for pair, lines in usable.items()}
    pooled = []
    for link in links:
        lines = [_directed(*known[frozenset((pair.scene, pair.reference))], pair) for pair in link.pairs]
        pooled.append(pooled_lines(link, lines))
    by_sensor = {one.sensor: one for one in chained(pooled)}
    newest = links[0].reference
    for name, one in by_sensor.items():
        if name != newest:
            log.info("%s: %d pairs with %s, at most %d days apart", name, one.pairs, one.reference, DAYS)
    method = f"{options.words(len(sample))}, per sensor"
    rows = []
    for scene in scenes:
        own = by_sensor[scene.image.sensor]
        made = rows_of(scene, own.lines, options.method, folder, _reference(own, newest), method)
        # Nothing is doubtful about gains of 1.
        rows += [replace(row, flags=()) if own.sensor == newest else row for row in made]
    return rows


def _reference(own: SensorLines, newest: str) -> str:
    """Say with what a sensor was compared."""
    if own.sensor == newest:
        return newest
    through = f" through {own.reference}" if own.reference != newest else ""
    return f"{newest}{through}, {own.pairs} pairs"


def _directed(pair: ScenePair, lines: PairLines, wanted: ScenePair) -> PairLines:
    """Return the lines of a pair in the requested direction."""
    if pair.scene == wanted.scene:
        return lines
    return replace(
        lines,
        reference=lines.scene,
        scene=lines.reference,
        reference_variance=lines.scene_variance,
        scene_variance=lines.reference_variance,
    )

"""From lines to rows of a table."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixelwise.choices import Rectification
from pixelwise.errors import InputError
from pixelwise.maps.outputs import relative
from pixelwise.rectification.flags import flags_of
from pixelwise.rectification.lines import Lines
from pixelwise.rectification.scenes import Scene
from pixelwise.stacks.gains import Gain
from pixelwise.words import first_of

__all__ = ["rows_of", "say_lost", "say_refused"]

log = logging.getLogger(__name__)

#: What of `Lines` a row of the table repeats for its band.
LINE = ("gain", "offset", "gain_se", "offset_se", "rmse_before", "rmse_after", "level")


def say_lost(count: int) -> None:
    """Warn of windows that could not be read."""
    if count:
        log.warning("%d windows of files could not be read; their pixels are left out of the comparison", count)


def say_refused(scenes: Sequence[Scene], lines: Sequence[Lines | str]) -> None:
    """Warn of scenes without gains; refuse if there are no others."""
    refused = [(scene.name, why) for scene, why in zip(scenes, lines, strict=True) if isinstance(why, str)]
    if len(refused) == len(scenes):
        raise InputError(
            f"no scene can be rectified: {refused[0][0]}: {refused[0][1]}; are the scenes large, clear and overlapping "
            "enough? A larger --sample looks at more pixels"
        )
    if refused:
        listed = first_of([f"{name}: {why}" for name, why in refused], 2)
        log.warning("%d of %d scenes get no gains (flag refused): %s", len(refused), len(scenes), listed)


def rows_of(
    scene: Scene, lines: Lines | str, method: Rectification, folder: Path | None, reference: str, words: str
) -> Iterator[Gain]:
    """Yield a row for each file of each band of a scene."""
    for index, (band, pieces) in enumerate(zip(scene.image.names, scene.image.bands, strict=True)):
        for path in dict.fromkeys(piece.path for piece in pieces):
            row = Gain(
                path=relative(path if not isinstance(path, Path) else path.absolute(), folder),
                date=scene.layer.iso_date,
                sensor=scene.image.sensor,
                band=band,
                gain=math.nan,
                offset=math.nan,
                flags=("refused",),
                reference=reference,
                method=words,
            )
            yield row if isinstance(lines, str) else _with_line(row, lines, index, method)


def _with_line(row: Gain, lines: Lines, band: int, method: Rectification) -> Gain:
    numbers: dict[str, Any] = {name: float(getattr(lines, name)[band]) for name in LINE}
    numbers.update({name: getattr(lines, name) for name in ("n", "mean_weight", "iterations")})
    return replace(row, **numbers, flags=flags_of(lines, band, method))

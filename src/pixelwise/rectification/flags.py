"""Doubts about the lines of a scene."""

from __future__ import annotations

from pixelwise.choices import Rectification
from pixelwise.rectification.lines import Lines
from pixelwise.stacks.gains import GainFlag

__all__ = ["LITTLE", "flags_of"]

#: With fewer pixels, the gain of the worst of 6 bands is off by more than 0.5 % (median of simulations).
FEW = 10_000
#: With a smaller mean weight, hardly any pixel counts as unchanged.
LITTLE = 0.03
#: A standard error of more than this share of the gain; or noise by which the gain may be off as much.
UNCERTAIN = 0.05
#: Sensors and atmospheres differ by less.
NEAR = (0.5, 2.0)


def flags_of(lines: Lines, band: int, method: Rectification) -> tuple[GainFlag, ...]:
    """Return what is doubtful about the line of one band.

    Control sets are small and chosen for being unchanged: `few` and `little_unchanged` say nothing about them.
    """
    gain, se = float(lines.gain[band]), float(lines.gain_se[band])
    found: dict[GainFlag, bool] = {
        "few": method != "controls" and lines.n < FEW,
        "not_converged": not lines.converged,
        "little_unchanged": method == "irmad" and lines.mean_weight < LITTLE,
        # A standard error that is unknown is not small.
        "uncertain": not se <= UNCERTAIN * gain or _is_noisy(lines, band),
        "far": not NEAR[0] <= gain <= NEAR[1],
        "one_band": method == "irmad" and len(lines.gain) == 1,
        "saturated": bool(lines.saturated[band]),
    }
    return tuple(flag for flag, raised in found.items() if raised)


def _is_noisy(lines: Lines, band: int) -> bool:
    """Whether noise may be taken for gain: over a forest without contrast, unequal noise gave gains of 0.6, not 1."""
    return lines.correlation is not None and not lines.correlation[band] >= 1 - UNCERTAIN

"""Pixels of a map recomputed in a different way from the one that made it."""

from pixelwise.verify.compare import Difference, Verification, verify

__all__ = ["Difference", "Verification", "verify"]

"""Pixels of a map computed again by another way than the one that made it."""

from pixelwise.verify.compare import Difference, Verification, verify

__all__ = ["Difference", "Verification", "verify"]

"""Where the checkout is, and the shared data beside it."""

from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Real raster time series and independent answers; tests that need them are skipped by name where they are absent.
SHARED = ROOT.parent / "shared" / "data"

"""Whether kernels run compiled, or in plain Python for their coverage."""

import os

import pytest

#: Kernels in plain Python, for their coverage: a thousandth of the speed.
PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
compiled_only = pytest.mark.skipif(PLAIN, reason="compiled only: many or long series")

"""``python -m pixelwise``."""

import os
import sys

# Python puts the current folder first: a click.py in somebody else's archive would run. Only `python -P -m pixelwise`
# and the script `pixelwise` keep away those modules too that Python itself imports before this line.
if not sys.flags.safe_path and sys.path[0] != os.path.dirname(os.path.dirname(os.path.abspath(__file__))):  # noqa: PTH100, PTH120
    del sys.path[0]

from pixelwise.cli import main

if __name__ == "__main__":  # ranks of mpi4py.futures import the main module too
    main(prog_name="pixelwise")

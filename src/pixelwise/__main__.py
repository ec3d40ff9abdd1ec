"""``python -m pixelwise``."""

from pixelwise.cli import main

main(prog_name="pixelwise")

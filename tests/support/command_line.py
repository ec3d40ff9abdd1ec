"""The command line, in this process."""

from typing import Any

from click.testing import CliRunner, Result

from pixelwise.cli import main


def run(*words: Any) -> Result:
    """Run a command; an exception that no user would see as one line is raised."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result

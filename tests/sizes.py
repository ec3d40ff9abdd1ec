"""List modules and functions that have grown too large to read: ``python tests/sizes.py``; a part of ``make check``.

Modules of more than 500 lines, functions of more than 60 lines of code (without docstring, comments and blank lines),
and functions of more than 9 parameters. Prints nothing, and ends with status 0, if there are none.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src" / "pixelwise"
MOST_LINES, MOST_CODE, MOST_PARAMETERS = 500, 60, 9
#: Public functions, and the command that hands its options to one of them.
MANY_PARAMETERS = {
    "api.py: apply",
    "api.py: write_layers",
    "cli/apply.py: apply",
    "rectification/door.py: rectify",
    "xarray.py: apply",
}
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def lines_of_code(text: str) -> set[int]:
    """Return the numbers of the lines that hold code."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {line for token in tokens if token.type not in NO_CODE for line in range(token.start[0], token.end[0] + 1)}


def too_large(path: Path) -> Iterator[str]:
    """Yield what is too large in a module."""
    text, name = path.read_text(encoding="utf-8"), path.relative_to(SOURCES).as_posix()
    if (count := text.count("\n")) > MOST_LINES:
        yield f"{name}: {count} lines"
    code = lines_of_code(text)
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[ast.get_docstring(node) is not None :] or node.body
        body = code & set(range(first[0].lineno, (node.end_lineno or 0) + 1))
        if len(body) > MOST_CODE:
            yield f"{name}: {node.name}, line {node.lineno}: {len(body)} lines of code"
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        parameters = [one.arg for one in arguments if one.arg not in ("self", "cls")]
        if len(parameters) > MOST_PARAMETERS and f"{name}: {node.name}" not in MANY_PARAMETERS:
            yield f"{name}: {node.name}, line {node.lineno}: {len(parameters)} parameters"


def main() -> int:
    """Print what is too large."""
    found = [line for path in sorted(SOURCES.rglob("*.py")) for line in too_large(path)]
    print("\n".join(found), end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())

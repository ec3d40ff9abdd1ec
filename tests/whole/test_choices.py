"""That each list of words that an option accepts is there once."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
import pytest
from rasterio.enums import Resampling

import pixelwise as pw
from pixelwise import choices
from pixelwise.bands import YEARS
from pixelwise.cli import main
from pixelwise.maps.tiles import OPTIONS

LISTS = {name: get_args(getattr(choices, name)) for name in choices.__all__}


def types_of(kind: Any) -> Iterator[click.ParamType]:
    """Give a type, and those that it is made of."""
    yield kind
    if isinstance(kind, click.Tuple):
        for part in kind.types:
            yield from types_of(part)


def options_with_choices() -> Iterator[tuple[str, click.Choice[str]]]:
    for command in main.commands.values():
        for option in command.params:
            for kind in types_of(option.type):
                if isinstance(kind, click.Choice):
                    yield f"{command.name} {option.opts[0]}", kind


def test_the_command_line_reads_its_choices_from_the_module() -> None:
    found = dict(options_with_choices())
    assert len(found) > 11
    for option, choice in found.items():
        assert tuple(choice.choices) in LISTS.values(), option
    written = {tuple(choice.choices) for choice in found.values()}
    # The others are offered among other things, or are numbers.
    assert {name for name, words in LISTS.items() if words not in written} == {
        "BandKind",
        "ClassKind",
        "Extent",
        "Reduction",
        "Scheme",
        "ZarrFormat",
    }


def test_commands_write_down_no_list_themselves() -> None:
    sources = [path.read_text() for path in Path(inspect.getfile(main.callback)).parent.glob("*.py")]
    assert not any("Choice([" in source or "Choice((" in source for source in sources)


def test_other_tables_know_the_same_words() -> None:
    assert tuple(YEARS) == LISTS["Per"]
    assert set(OPTIONS) == set(LISTS["Compression"])
    assert set(LISTS["Resampling"]) < set(Resampling.__members__)


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("period", "Period"),
        ("same_date", "SameDate"),
        ("resampling", "Resampling"),
        ("every", "Every"),
        ("on_read_error", "OnReadError"),
    ],
)
def test_the_python_interface_reads_them_too(field: str, name: str) -> None:
    hint = get_type_hints(pw.InputSpec)[field]
    literal = getattr(choices, name)
    assert hint == literal or literal in get_args(hint)
    for word in LISTS[name]:
        assert getattr(pw.InputSpec(**{field: word}, **BESIDE.get(field, {})), field) == word


BESIDE = {"resampling": {"align": "grid.tif"}, "every": {"composite": "max"}}

"""The page on the command line, made while the site is built: what `--help` says, shared options only once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import click

from pixelwise.cli import COMMANDS, main, options

#: Where the page gets the commands, and the options that several of them share.
COMMANDS_MARK, SHARED_MARK = "<!-- commands -->", "<!-- shared options -->"
#: Shared options by title, in the order of the page. Input options that are in no other group are in the second.
SHARED: Mapping[str, tuple[Any, ...]] = {
    "Files, dates and grid": (options.RECIPE_OPTION, *options.FILE_OPTIONS),
    "Values, masks and areas": options.PIXEL_OPTIONS,
    "Gains": options.GAINS_OPTIONS,
    "Time": (*options.DATE_OPTIONS, options.SEASON_OPTION),
    "Composites": (*options.PERIOD_OPTIONS, *options.COUNT_OPTIONS),
    "Reading": options.READING_OPTIONS,
    "Covariates and completeness": (options.COVARIATE_OPTION, *options.NEEDS_OPTIONS),
    "Layers beside the map": options.LAYER_OPTIONS,
    "Workers": options.JOB_OPTIONS,
}
REST = "Values, masks and areas"
#: What click calls types of numbers.
NUMBERS = {"INTEGER RANGE": "N", "INTEGER": "N", "FLOAT RANGE": "NUMBER", "FLOAT": "NUMBER"}


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Fill the page in."""
    if page.file.src_path != "cli.md":
        return markdown
    commands = "\n\n".join("\n\n".join(command_section(command)) for command in COMMANDS)
    shared = "\n\n".join(
        f"### {title}\n\n{definitions(listed, prefix='option')}" for title, listed in shared_options().items()
    )
    return markdown.replace(COMMANDS_MARK, commands).replace(SHARED_MARK, shared)


@cache
def shared_options() -> dict[str, list[click.Option]]:
    """Return the shared options by title."""
    grouped = [one for decorators in SHARED.values() for one in decorators]
    rest = [one for one in options.INPUT_OPTIONS if one not in grouped]
    return {title: parameters_of(*(rest if title == REST else ()), *decorators) for title, decorators in SHARED.items()}


def parameters_of(*decorators: Callable[[Any], Any]) -> list[click.Option]:
    """Return the options that decorators add to a command, without its arguments."""

    def command() -> None: ...

    for decorator in reversed(decorators):
        decorator(command)
    found = getattr(command, "__click_params__", [])[::-1]
    return [one for one in found if isinstance(one, click.Option)]


def command_section(command: click.Command) -> Iterator[str]:
    """Yield the parts of a command's section."""
    context = click.Context(command, info_name=f"pixelwise {command.name}", parent=None)
    yield f"### {command.name}"
    yield "```text\n" + " ".join(["pixelwise", str(command.name), *command.collect_usage_pieces(context)]) + "\n```"
    yield help_text(command.help or "")
    shared = {words_of(option): option for listed in shared_options().values() for option in listed}
    own, used = [], []
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            (used if words_of(option) in shared else own).append(option)
    if own:
        yield definitions(own, prefix=str(command.name))
    if used:
        yield "Shared options:"
        yield "\n".join(shared_line(title, listed, used) for title, listed in shared_options().items() if any(
            words_of(option) in map(words_of, used) for option in listed
        ))  # fmt: skip


def shared_line(title: str, listed: list[click.Option], used: list[click.Option]) -> str:
    """Return the options of a group that a command has, as links."""
    chosen = [option for option in listed if words_of(option) in map(words_of, used)]
    links = ", ".join(f"[`{longest(option)}`](#{anchor('option', option)})" for option in chosen)
    return f"- {title}: {links}"


def words_of(option: click.Option) -> tuple[str, ...]:
    """Return what an option is called and what it says: options that share both are one."""
    return (*option.opts, option.help or "", str(option.metavar), str(option.default))


def longest(option: click.Option) -> str:
    """Return the option's first long name."""
    return next((name for name in option.opts if name.startswith("--")), option.opts[0])


def anchor(prefix: str, option: click.Option) -> str:
    """Return the name of an option's place on the page."""
    return f"{prefix}-{longest(option).lstrip('-')}"


def definitions(listed: list[click.Option], *, prefix: str) -> str:
    """Return options with what they do, each with a place of its own."""
    return "\n\n".join("\n".join(definition(option, prefix)) for option in listed)


def definition(option: click.Option, prefix: str) -> Iterator[str]:
    """Yield the lines of an option."""
    record = option.get_help_record(click.Context(main))
    names, text = record if record is not None else (longest(option), "")
    for word, short in NUMBERS.items():
        names = re.sub(rf"\b{word}\b", short, names)
    text, *extras = re.split(r"\s{2,}\[", text.strip())
    limits = r";\s*(?=required|x>=|[^\s<]+<=?x)"
    remarks = (remark(one) for extra in extras for one in re.split(limits, extra.strip().removesuffix("]")))
    yield f"`` {names} ``{{ #{anchor(prefix, option)} }}"
    yield ":   " + " ".join(part for part in (prose(text), *remarks) if part)


def remark(text: str) -> str:
    """Return what click adds in brackets as a sentence; empty if there is nothing."""
    text = text.strip()
    if text == "required":
        return "Required."
    if found := re.fullmatch(r"default: (.*)", text):
        return f"Default: {found[1] if re.search(r'[ :;]', found[1]) else f'`{found[1]}`'}."
    if found := re.fullmatch(r"x>=(\S+)", text):
        return f"At least {found[1]}."
    if found := re.fullmatch(r"(\S+)<=x<=(\S+)", text):
        return f"From {found[1]} to {found[2]}."
    if found := re.fullmatch(r"(\S+)<x<(\S+)", text):
        return f"Between {found[1]} and {found[2]}."
    return f"{prose(text)}." if text else ""


def help_text(text: str) -> str:
    """Return a command's help as Markdown: what keeps its lines becomes code."""
    parts = []
    for part in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        if part.startswith("\b"):
            parts.append("```text\n" + inspect.cleandoc(part.removeprefix("\b\n")) + "\n```")
        else:
            parts.append(prose(" ".join(part.split())))
    return "\n\n".join(parts)


def prose(text: str) -> str:
    """Return a sentence of a help text as Markdown, with options and the like as code."""
    pieces = re.split(r"(`[^`]+`|(?<![\w-])--?[a-z][\w-]*|\S*[*_<{|=]\S*[^\s.,;:)]|'[^']+')", text)
    return "".join(piece if k % 2 == 0 else f"`{piece.strip('`')}`" for k, piece in enumerate(pieces))

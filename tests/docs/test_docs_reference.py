"""The reference pages: their samples run, and what they list is what the code has."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import click
import numpy as np
import pytest

import pixelwise as pw
from pixelwise.bands import ANSWERED
from pixelwise.cli import COMMANDS
from pixelwise.opening.products import load_product, products
from pixelwise.stacks.masks import presets
from support.pages import run_sessions, samples
from support.places import ROOT
from support.rasters import random_series, write_raster
from support.scene_files import write_scenes

DOCS = ROOT / "docs"


def script(name: str) -> ModuleType:
    """A script of the folder docs."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages name."""
    folder = tmp_path_factory.mktemp("reference")
    write_scenes(folder / "scenes", sensor="LT05", cloudy=0.1)
    values = random_series((21, 30, 40), seed=1)
    values[:, :4, :6] = np.nan
    values[3:, 10:14, :3] = np.nan
    values[:, 20, 20] = 0.25
    for year, layer in enumerate(values, 1995):
        write_raster(folder / "ndvi" / f"ndvi_{year}.tif", np.nan_to_num(layer, nan=-9999), nodata=-9999)
    return folder


@pytest.mark.parametrize("name", ["products.md", "status.md"])
def test_pages_are_up_to_date(name: str) -> None:
    text = (DOCS / name).read_text()
    assert script("generate_pages").generate(text, name) == text, "run make docs"


@pytest.mark.parametrize(("name", "commands"), [("products.md", 1), ("status.md", 2)])
def test_samples(name: str, commands: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert run_sessions(DOCS / name) == commands
    for block in samples(DOCS / name, "python"):
        exec(compile(block, name, "exec"), {})


def test_samples_of_the_page_on_python(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ndvi").symlink_to(folder / "ndvi")
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    for block in samples(DOCS / "api.md", "python"):
        exec(compile(block, "api.md", "exec"), found)
    assert np.shape(found["slope"]) == (30, 40)


# ----------------------------------------------------------------------------------------------- statuses


def test_statuses_that_have_values() -> None:
    text = (DOCS / "status.md").read_text()
    assert f"its status is {', '.join(str(int(code)) for code in ANSWERED[:-1])} or {int(ANSWERED[-1])}" in text
    for code in pw.Status:
        said = "yes" if code in ANSWERED else "no"
        assert re.search(rf'id="status-{int(code)}">{int(code)}</span> \| `{code.name}` \| .* \| {said} \|', text)


# ----------------------------------------------------------------------------------------------- products


@pytest.mark.parametrize("name", products())
def test_every_band_and_sensor_of_a_product_is_listed(name: str) -> None:
    text = (DOCS / "products.md").read_text().partition(f"### {name}\n")[2].partition("\n### ")[0]
    product = load_product(name)
    for sensor, rules in product.bands.items():
        assert re.search(rf"\| band \|.*\b{sensor}\b", text)
        for band, rule in rules.items():
            row = re.findall(rf"^\| `{band}` \| (.*)$", text, re.MULTILINE)[0]
            assert all(f"`{token}`" in row for token in rule.tokens)
    for quality in product.quality:
        assert f"[`{quality.preset}`](#masks)" in text
    examples = re.findall(r"^- `([^`]+)`", text, re.MULTILINE)
    assert examples
    assert all(product.match(example.replace("...", "L2A_X")) for example in examples)


def test_every_mask_is_listed() -> None:
    text = (DOCS / "products.md").read_text()
    assert all(f"| `{name}` |" in text for name in presets())


# ----------------------------------------------------------------------------------------------- commands


def test_every_command_and_option_is_on_the_page(site: Path) -> None:
    text, pages = (site / "cli.html").read_text("utf-8"), script("command_pages")
    for command in COMMANDS:
        assert f'<h3 id="{command.name}">' in text
        section = text.partition(f'<h3 id="{command.name}">')[2].partition("<h3 ")[0].partition("<h2 ")[0]
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert pages.longest(option) in section, (command.name, option.name)
    # What click adds in brackets became sentences.
    assert not re.search(r"x(?:&gt;|&lt;)=|\[default", text)


def test_options_are_described_once_if_commands_share_them() -> None:
    pages = script("command_pages")
    shared = [option for listed in pages.shared_options().values() for option in listed]
    assert len({option.name for option in shared}) == len(shared) > 40
    made = "\n".join("\n".join(pages.command_section(command)) for command in COMMANDS)
    assert made.count("{ #apply-output }") == 1
    assert "{ #apply-nodata }" not in made
    assert "[`--nodata`](#option-nodata)" in made


def test_help_becomes_markdown() -> None:
    pages = script("command_pages")
    limited = click.Option(["--size"], type=click.IntRange(1, 9), default=3, show_default=True, help="Of --all *.tif.")
    assert "\n".join(pages.definition(limited, "x")) == (
        "`` --size N ``{ #x-size }\n:   Of `--all` `*.tif`. Default: `3`. From 1 to 9."
    )
    named = click.Option(
        ["--jobs"], type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Q.  [default: a; b]"
    )
    assert "\n".join(pages.definition(named, "x")).endswith(":   Q. Default: a; b. Between 0 and 1.")
    assert pages.help_text("Do ONE.\n\n\b\n  pixelwise a\n  pixelwise b") == (
        "Do ONE.\n\n```text\npixelwise a\npixelwise b\n```"
    )


# ------------------------------------------------------------------------------------------------- Python


def test_docstrings_become_markdown() -> None:
    as_markdown = script("griffe_docstrings").as_markdown
    assert as_markdown("See `apply`, ``ols``, `ols` and `x`.") == (
        "See [`apply`][pixelwise.apply], ``ols``, [`ols`](methods.md#ols) and `x`."
    )
    assert (
        as_markdown("Found [1]_.\n\n.. [1] A, B. (1990). One\n   two.")
        == "Found \\[1\\].\n\n\n\\[1\\] A, B. (1990). One two."
    )
    made = as_markdown("Parameters\n----------\na, b\n    Two.\nc\n    One.\n\nReturns\n-------\nd, e\n    Three.\n")
    assert (
        made == "Parameters\n----------\na\n    Two.\nb\n    Two.\nc\n    One.\n\nReturns\n-------\nd, e\n    Three.\n"
    )


def test_pages_are_described() -> None:
    described = script("site_hooks").description
    assert described("# A\n\n![x](y.png)\n\nMaps of [trends](a.md) with `p` values, for every pixel.\n\nMore.") == (
        "Maps of trends with p values, for every pixel."
    )
    long = described("# A\n\n" + "One sentence about maps of trends in pixels. " * 9)
    assert long.endswith(".")
    assert len(long) <= 160
    assert described("# A\n\n| a |\n|---|\n") == ""

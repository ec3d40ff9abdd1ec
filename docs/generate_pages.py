"""Write the generated parts of pages from the code: `make docs`.

Pages are written by hand except for what is between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``. Methods come
from the registry and its docstrings, products, masks and gains from their TOML files, statuses from here;
``error_rates`` in methods.md comes from benchmarks/error_rates.py. Tests fail if a page is not up to date.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

from pixelwise.bands import ANSWERED, Status
from pixelwise.methods import METHODS
from pixelwise.methods.description import describe, in_words
from pixelwise.opening.gain_presets import gain_presets, load_gain_preset
from pixelwise.opening.products import BandRule, Product, load_product, products
from pixelwise.stacks.formula import INDICES
from pixelwise.stacks.masks import load_preset, presets

FOLDER = Path(__file__).parent
NAMES = tuple(factory.__name__ for factory in METHODS)

#: Meaning of each status; tests compare the numbers with those of the band.
STATUS = {
    0: "all bands are valid",
    1: "no valid value",
    2: "fewer valid values than `min_obs`",
    3: "all values equal: there is no change, and nothing to test",
    4: "the dates or covariates do not determine the result (all values of one date, collinear covariates)",
    5: "a function of your own failed",
    6: "computed, but a test is undefined, or a value is infinite or too large to square",
    7: "stopped early (no method does this yet)",
    8: "dates lost to files that could not be read (`--on-read-error missing`)",
    9: "outside `--region` or `--where`",
}
#: What a user can do about it.
REMEDIES = {
    0: "Nothing.",
    1: (
        "Nothing, where there are no data: sea, or outside the scenes. Elsewhere check `--nodata`, `--valid- "
        "range` and the masks: `pixelwise plan` shows how much they reject, `pixelwise series` the values of one "
        "pixel."
    ),
    2: (
        "Add dates, or relax what was asked: `-p min_obs=`, `--min-valid`, `--min-span`. With very few values a "
        "test hardly finds anything."
    ),
    3: (
        "Usually nothing: the slope is 0, and there is no p-value. A large constant area may be a fill value that "
        "no file declares: give it as `--nodata`."
    ),
    4: (
        "Look at the dates of the valid values, and at the covariates, with `pixelwise series`. Leave out a "
        "covariate that is a combination of others or constant."
    ),
    5: "Run it again with `--strict`: the first failure then stops the job and is shown with its pixel.",
    6: (
        "Use the bands that have a value; the pixel is neither significant nor not significant. The section of "
        "the method says when its test is undefined."
    ),
    7: "Nothing.",
    8: (
        "The values are valid for the dates that could be read. `pixelwise info` lists the files: replace them, "
        "and run the job again."
    ),
    9: "Nothing.",
}


def main() -> None:
    """Replace the generated parts of all pages."""
    for name in PARTS:
        page = FOLDER / name
        page.write_text(generate(page.read_text(), name))


def generate(text: str, page: str) -> str:
    """Return a page with its generated parts brought up to date."""
    for name, part in PARTS[page].items():
        made = part()
        text, times = re.subn(
            f"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)",
            lambda found, made=made: f"{found[1]}{made}\n{found[2]}",
            text,
            flags=re.DOTALL,
        )
        if times != 1:
            raise SystemExit(f"{page}: has no place for {name}, or several")
    return text


def contents() -> str:
    """Return a line for each method."""
    methods = [describe(factory) for factory in METHODS]
    return "\n".join(f"- [`{method['name']}`](#{method['name']}): {prose(method['summary'])}" for method in methods)


def reference() -> str:
    """Return the meaning of status, and a section for each method."""
    status = table(("status", "meaning"), [(str(code), words) for code, words in STATUS.items()])
    return "\n\n".join([status, *("\n\n".join(section(describe(factory))) for factory in METHODS)])


def section(method: dict[str, Any]) -> Iterator[str]:
    """Yield the parts of a method's section."""
    sections, name = method["sections"], method["name"]
    yield f"### {name}"
    yield f"**{prose(method['summary'])}**"
    yield prose(sections["Method"])
    rows = [
        (f"`{p['name']}`", f"{in_words(p['default'])}", escaped(p["kind"]), cell(p["description"]))
        for p in method["parameters"]
    ]
    yield table(("parameter", "default", "may be", "meaning"), rows)
    shown = {band["name"] for band in method["bands"]} | {p["name"] for p in method["parameters"]}
    returned = re.sub(r"\AMethod\n", "", sections["Returns"])
    if not set(re.findall(r"``([\w-]+)``", returned)) <= shown:
        # The table shows the bands for default parameters; this text describes others.
        yield prose(inspect.cleandoc(returned))
    rows = [
        (
            f"`{band['name']}`" + (", on request" if band["optional"] else ""),
            band["unit"].replace("{value}", "value"),
            cell(band["description"]),
        )
        for band in method["bands"]
    ]
    yield table(("band", "unit", "meaning"), rows)
    yield "Refused: " + cell(" ".join(re.findall(r"^    (.*)$", sections["Raises"], flags=re.MULTILINE)))
    yield "**Status and limits.** " + prose(sections["Notes"])
    yield "\n".join(f"- {cell(entry)}" for entry in entries(sections["References"]))


def entries(references: str) -> Iterator[str]:
    """Yield single references: the first line of each contains its year in parentheses."""
    lines: list[str] = []
    for line in references.splitlines():
        if re.search(r"\((18|19|20)\d\d\)", line) and lines:
            yield " ".join(lines)
            lines = []
        if line.strip():
            lines.append(line.strip())
    yield " ".join(lines)


def prose(text: str) -> str:
    """Return numpydoc's text as Markdown: methods become links, indented formulas blocks of code."""
    parts = []
    for k, part in enumerate(re.split(r"::\n\n((?:    .*\n?|[ ]*\n(?=\n*    ))+)", text)):
        if k % 2:
            parts.append(f":\n\n```text\n{inspect.cleandoc(part)}\n```\n")
        else:
            parts.append(inline(part))
    return "".join(parts).strip()


def cell(text: str) -> str:
    """Return text on one line, for a table or a list."""
    return escaped(inline(" ".join(text.split())))


def escaped(text: str) -> str:
    """Escape bars, which would end a cell."""
    return text.replace("|", "\\|")


def inline(text: str) -> str:
    """Return code as Markdown marks it, names of methods as links, and stars as they are."""

    def mark(found: re.Match[str]) -> str:
        literal, name, star = found.groups()
        if star:
            return "\\*"
        return f"[`{name}`](#{name})" if name in NAMES else f"`{literal or name}`"

    return re.sub(r"``([^`]+)``|`([^`]+)`|(\*)", mark, text)


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# ------------------------------------------------------------------------------------------------ statuses


def status_table() -> str:
    """Return what each status means, whether its pixels have values, and what to do."""
    rows = [
        (f"<span id=\"status-{code}\">{code}</span>", f"`{Status(code).name}`", meaning,
         "yes" if Status(code) in ANSWERED else "no", REMEDIES[code])
        for code, meaning in STATUS.items()
    ]  # fmt: skip
    return table(("code", "name", "meaning", "has values", "what to do"), rows)


# ------------------------------------------------------------------------------------------------ products


def product_sections() -> str:
    """Return a section for each product."""
    return "\n\n".join("\n\n".join(product_section(load_product(name))) for name in products())


def product_section(product: Product) -> Iterator[str]:
    """Yield the parts of a product's section."""
    yield f"### {product.name}"
    yield f"{product.title}. Version {product.version} of the definition."
    yield "**File names** that are recognized, for example:"
    yield "\n".join(f"- {name_line(text)}" for text in examples_of(product.name))
    groups = [(list(codes), rules) for rules, codes in sensor_groups(product)]
    yield "**Bands**: names for `--value` and `--band`, and what stands for them in file names or band descriptions:"
    bands = list(dict.fromkeys(band for _, rules in groups for band in rules))
    rows = [
        (
            f"`{band}`",
            *(" or ".join(f"`{t}`" for t in rules[band].tokens) if band in rules else "" for _, rules in groups),
        )
        for band in bands
    ]
    yield table(("band", *(", ".join(codes) for codes, _ in groups)), rows)
    yield "**Values** are `stored * scale + offset`; stored numbers outside the valid range are missing:"
    yield table(("bands", "scale", "offset", "missing", "valid"), list(rule_rows(groups)))
    yield (
        "**Masks**: "
        + "; ".join(
            f"`{quality.tokens[0]}` by the rule [`{quality.preset}`](#masks)"
            + ("" if quality.required else ", where present")
            for quality in product.quality
        )
        + "."
    )
    yield f"Source: {product.source}."


def sensor_groups(product: Product) -> Iterator[tuple[Mapping[str, BandRule], Iterator[str]]]:
    """Yield the rules that sensors share, with the sensors."""
    for _, codes in groupby(product.sensors, key=lambda code: id(product.bands[code])):
        listed = list(codes)
        yield product.bands[listed[0]], iter(listed)


def rule_rows(groups: list[tuple[list[str], Mapping[str, BandRule]]]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each way in which numbers become values, the most common one first."""
    found: dict[tuple[str, ...], list[str]] = {}
    for _, rules in groups:
        for band, rule in rules.items():
            offset = f"{rule.offset:g}"
            if rule.later is not None:
                first, later = rule.later
                offset += f"; {later:g} from processing baseline {first // 100:02d}.{first % 100:02d} on"
            valid = "" if rule.valid is None else f"{rule.valid[0]:g} to {rule.valid[1]:g}"
            key = (f"{rule.scale:.9g}", offset, ", ".join(f"{value:g}" for value in rule.nodata), valid)
            found.setdefault(key, [])
            if band not in found[key]:
                found[key].append(band)
    for key, bands in sorted(found.items(), key=lambda item: -len(item[1])):
        yield (", ".join(f"`{band}`" for band in bands), *key)


def examples_of(name: str) -> list[str]:
    """Return the comments above the patterns of a product's file: examples of names."""
    text = (resources.files("pixelwise.opening") / "product_data" / f"{name}.toml").read_text()
    patterns = text.partition("\npatterns = [\n")[2].partition("\n]")[0]
    return re.findall(r"^    # (.*)$", patterns, re.MULTILINE)


def name_line(text: str) -> str:
    """Return a comment with its file name as code."""
    return re.sub(r"\S+\.(?:tif|TIF|jp2)", lambda found: f"`{found[0]}`", text)


def mask_table() -> str:
    """Return the rules of masks."""
    rows = [
        (f"`{preset.name}`", preset.title.partition(": ")[0], preset.rule.describe(), preset.title.partition(": ")[2])
        for preset in map(load_preset, presets())
    ]
    return table(("rule", "band", "rule in numbers", "in words"), rows)


def gains_table() -> str:
    """Return the published gains."""
    parts = []
    for name in gain_presets():
        gains = load_gain_preset(name)
        rows = [(f"`{band}`", f"{line.gain:g}", f"{line.offset:g}") for band, line in gains.lines.items()]
        about = (
            f"**`{name}`**: {gains.title}. Values of {', '.join(gains.changed)} are changed, those of "
            f"{', '.join(gains.unchanged)} stay. Found with {gains.collection}; not for "
            f"`{'`, `'.join(gains.wrong_for)}`: {gains.why}. Source: {gains.source}."
        )
        parts += [about, table(("band", "gain", "offset"), rows)]
    return "\n\n".join(parts)


def index_table() -> str:
    """Return the indices that have a name."""
    return table(("name", "formula"), [(f"`{name}`", f"`{formula}`") for name, formula in INDICES.items()])


#: The generated parts of each page.
PARTS: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "methods.md": {"contents": contents, "reference": reference},
    "products.md": {"products": product_sections, "masks": mask_table, "indices": index_table, "gains": gains_table},
    "status.md": {"codes": status_table},
}

if __name__ == "__main__":
    main()

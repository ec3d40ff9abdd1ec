"""What the site adds to its pages: the files that a repository shows at its root, descriptions, and titles."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
#: Page of the site by file.
PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
#: Characters of a description; search engines cut longer ones.
LONGEST = 160


def on_files(files: Any, config: Any) -> Any:
    """Add the files of the root, with links as they are on the site."""
    for name, page in PAGES.items():
        text = (ROOT / name).read_text().replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Lead links to files of the root to their pages, and describe the page for search engines."""
    for name, target in PAGES.items():
        markdown = re.sub(rf"\]\((?:\.\./)?{re.escape(name)}(?=[#)])", f"]({target}", markdown)
    described = description(markdown)
    if page.is_homepage:
        page.meta.setdefault("title", "Per-pixel trends of raster time series")
        described = config.site_description
    page.meta.setdefault("description", described or f"{page.title}: {config.site_description}")
    return markdown


def on_page_content(html: str, **_: Any) -> str:
    """Load pictures when they come into view; drop the dash of what has no description in a list of parameters."""
    html = html.replace("<img ", '<img loading="lazy" ')
    return re.sub(r"\s+\u2013\s*(<div class=\"doc-md-description\">\s*</div>\s*)?(?=</li>)", "", html)


def on_post_page(output: str, **_: Any) -> str:
    """Name the dialog of the search, for screen readers."""
    return output.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )


def description(markdown: str) -> str:
    """Return the first paragraph as plain text, up to a sentence or word that fits; empty if there is none."""
    text = re.sub(r"^(```|~~~).*?^\1$|<!--.*?-->|^\S.*\n=+$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    for part in re.split(r"\n\s*\n", text):
        if re.match(r"\s*$|\s*(?:#|\||!\[|<|:::|!!!|===|[-*] |\d+\. |>)", part):
            continue
        plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", part)
        plain = re.sub(r"[`*]|<[^>]+>", "", " ".join(plain.split()))
        if len(plain) > LONGEST:
            whole = re.match(rf"(.{{40,{LONGEST - 1}}}[.:;])(?= )", plain)
            plain = whole[1].rstrip(":;") if whole else plain[: LONGEST - 3].rsplit(" ", 1)[0].rstrip(",;:") + "..."
        if len(plain) > 40:
            return plain
    return ""

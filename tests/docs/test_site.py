"""The site as it is built: links lead somewhere, nothing comes from another host, and every name has its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import pixelwise

#: Attributes that load something, by element; an address in them is a request.
LOADS = {
    "audio": "src", "embed": "src", "iframe": "src", "img": "src", "object": "data", "script": "src", "source": "src",
    "video": "src",
}  # fmt: skip
#: Links that a browser follows by itself.
LOADED_LINKS = {"stylesheet", "icon", "shortcut icon", "preload", "prefetch", "preconnect", "dns-prefetch", "manifest"}


class Page(HTMLParser):
    """What a page holds that can be checked without a browser."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.unlabelled: list[str] = []
        self.headings: list[str] = []
        self.lang = self.title = self.description = ""
        self._inside: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        self._inside.append(tag)
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag == "html":
            self.lang = given.get("lang", "")
        if tag == "meta" and given.get("name") == "description":
            self.description = given.get("content", "")
        if tag == "h1":
            self.headings.append(self.path.name)
        if tag in LOADS and given.get(LOADS[tag]):
            self.loads.append(given[LOADS[tag]])
        if tag == "link" and given.get("rel") in LOADED_LINKS:
            self.loads.append(given["href"])
        if tag == "img" and not given.get("alt", "").strip():
            self.unlabelled.append(given.get("src", ""))

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._inside[-1:] == ["title"] and "svg" not in self._inside:
            self.title += data


@cache
def read(path: Path) -> Page:
    return Page(path)


def pages_of(site: Path) -> list[Page]:
    return [read(path) for path in sorted(site.rglob("*.html"))]


def broken(site: Path) -> Iterator[str]:
    """Yield the links to files or places that are not there."""
    for page in pages_of(site):
        for link in page.links + page.loads:
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            base = site if page.path.name == "404.html" else page.path.parent
            target = base / unquote(address.path).lstrip("/") if address.path else page.path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                yield f"{page.path.name}: {link}"
            elif address.fragment and target.suffix == ".html":
                place = unquote(address.fragment)
                if place not in read(target).ids and not place.startswith("__"):
                    yield f"{page.path.name}: {link}"


def test_links_lead_somewhere(site: Path) -> None:
    assert len(pages_of(site)) > 40
    assert not list(broken(site))


def test_the_check_of_links_finds_broken_ones(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<h1 id="here">A</h1><a href="#here">1</a><a href="#gone">2</a><a href="b.html">3</a>'
    )
    assert list(broken(tmp_path)) == ["a.html: #gone", "a.html: b.html"]


def test_nothing_comes_from_another_host(site: Path) -> None:
    assert [load for page in pages_of(site) for load in page.loads if urlsplit(load).netloc] == []
    for path in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", path.read_text()), path


def test_every_page_can_be_reached(site: Path) -> None:
    start = read(site / "index.html")
    linked = {unquote(urlsplit(link).path) for link in start.links}
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert pages - linked <= {"404.html", "index.html"}


def test_pages_introduce_themselves(site: Path) -> None:
    pages = pages_of(site)
    assert [page.path.name for page in pages if page.lang != "en" or not page.title] == []
    assert [page.path.name for page in pages if len(page.headings) != 1] == []
    assert [(page.path.name, src) for page in pages for src in page.unlabelled] == []
    descriptions = [page.description for page in pages if page.path.name != "404.html"]
    assert all(20 < len(text) <= 200 for text in descriptions), descriptions
    assert len(set(descriptions)) == len(descriptions)
    assert len({page.title for page in pages}) == len(pages)


@pytest.mark.parametrize("name", pixelwise.__all__)
def test_every_public_name_is_documented(site: Path, name: str) -> None:
    assert f"pixelwise.{name}" in read(site / "api.html").ids


def test_every_name_has_a_sentence(site: Path) -> None:
    """Parts of the page on Python are not empty, and numpydoc's marks became HTML."""
    text = re.sub(r"<pre.*?</pre>", "", (site / "api.html").read_text("utf-8"), flags=re.DOTALL)
    assert "]_" not in text
    assert ".. [" not in text
    assert "``" not in text
    assert "docs/" not in re.sub(r"<a [^>]*>", "", text)

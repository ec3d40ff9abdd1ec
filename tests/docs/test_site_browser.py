"""The site in a real browser: search, narrow windows, dark mode, contrast, and what each page weighs."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.browsers import browser_window

#: WCAG 2 AA for text of the usual size.
CONTRAST = 4.5
#: Bytes that a page may load in total.
HEAVIEST = 1_500_000

#: The contrast of every visible text with what is behind it; of each kind of element, the lowest.
CONTRASTS = """
() => {
  const parse = (text) => {
    const context = parse.context ??= document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = text;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, bottom) => [0, 1, 2].map((k) => top[k] * top[3] + bottom[k] * (1 - top[3])).concat(1);
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const luminance = (c) => {
    const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = c.slice(0, 3).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = {}, seen = new Set();
  const texts = document.createTreeWalker(document.querySelector(".md-main, .md-content"), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim()) continue;
    const kind = element.closest("pre") ? `pre ${element.className}` : element.closest("a") ? "link" : element.tagName;
    // Elements that look the same are looked at once.
    const style = getComputedStyle(element), look = [kind, element.parentElement.className, style.color].join();
    if (seen.has(look) || !element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    seen.add(look);
    if (element.closest(".headerlink, .md-nav, script, style, template, svg, button")) continue;
    const back = behind(element), fore = over(parse(style.color), back);
    const [high, low] = [luminance(fore), luminance(back)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (!(kind in found) || ratio < found[kind][0]) found[kind] = [ratio, texts.currentNode.data.trim().slice(0, 40)];
  }
  return found;
}
"""
#: Bytes of the page and all that it loads.
WEIGHT = """
[...performance.getEntriesByType("resource"), ...performance.getEntriesByType("navigation")]
  .reduce((sum, entry) => sum + entry.encodedBodySize, 0)
"""
#: Buttons and fields that a screen reader cannot name.
UNNAMED = """
[...document.querySelectorAll("button, [role=button], input:not([type=hidden], [type=checkbox].md-toggle)")]
  .filter((e) => !(e.ariaLabel || e.title || e.textContent.trim() || e.labels?.length || e.hidden || e.ariaHidden))
  .map((e) => e.outerHTML.slice(0, 80))
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A handler that does not print."""

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The site on a server of this machine."""
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def window() -> Iterator[Any]:
    """A browser."""
    with browser_window() as window:
        yield window


def opened(window: Any, width: int = 1280, scheme: str = "light") -> Any:
    """A tab that notes messages, errors and requests."""
    tab = window.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    tab.set_default_timeout(20_000)
    tab.problems, tab.requested = [], []
    tab.on(
        "console", lambda message: tab.problems.append(message.text) if message.type in ("error", "warning") else None
    )
    tab.on("pageerror", lambda error: tab.problems.append(str(error)))
    # A page that is left stops loading: that is no failure.
    tab.on("requestfailed", lambda one: None if "ABORTED" in one.failure else tab.problems.append(one.url))
    tab.on("request", lambda request: tab.requested.append(request.url))
    return tab


def pages_of(site: Path) -> list[str]:
    return [path.relative_to(site).as_posix() for path in sorted(site.rglob("*.html"))]


def searched(tab: Any, word: str) -> str:
    tab.wait_for_selector("input.md-search__input:enabled", state="attached")
    tab.locator("input.md-search__input").click()
    # The page looks at keys; a query of one letter is none.
    tab.keyboard.insert_text(word[:-1])
    tab.keyboard.press(word[-1])
    tab.wait_for_selector(".md-search-result__item")
    return str(tab.locator(".md-search-result__list").inner_text())


def test_search_over_http(site: Path, address: str, window: Any) -> None:
    tab = opened(window)
    tab.goto(f"{address}/index.html")
    assert "autocorrelation" in searched(tab, "autocorrelation").lower()
    assert tab.problems == []
    tab.locator(".md-search-result__link").first.click()
    tab.wait_for_load_state()
    assert tab.url != f"{address}/index.html"


def test_search_from_a_folder(site: Path, window: Any) -> None:
    tab = opened(window)
    tab.goto((site / "decisions" / "0009-autocorrelation.html").as_uri())
    assert "autocorrelation" in searched(tab, "autocorrelation").lower()
    assert tab.problems == []
    assert all(url.startswith("file:") or url == "about:srcdoc" for url in tab.requested)


def examined(site: Path, address: str, window: Any, names: list[str]) -> list[str]:
    """What is wrong with pages, each opened once: narrow, then wide, in the light and in the dark."""
    tab, wrong = opened(window), []
    # Search, which tests above look at, would take most of the time.
    tab.add_init_script("window.Worker = class extends EventTarget { postMessage() {} terminate() {} }")
    for name in names:
        tab.set_viewport_size({"width": 400, "height": 900})
        tab.goto(f"{address}/{name}", wait_until="load")
        if (width := tab.evaluate("document.documentElement.scrollWidth")) > 400:
            wrong.append(f"{name}: {width} px wide in a window of 400 px")
        tab.set_viewport_size({"width": 1280, "height": 900})
        tab.add_style_tag(content="* { transition: none !important }")
        for scheme in ("default", "slate"):
            tab.evaluate("scheme => document.body.dataset.mdColorScheme = scheme", scheme)
            for kind, (ratio, text) in tab.evaluate(CONTRASTS).items():
                if ratio < CONTRAST:
                    wrong.append(f"{name}: contrast of {kind} in {scheme} is {ratio:.2f}: {text!r}")
        if (weight := tab.evaluate(WEIGHT)) > HEAVIEST:
            wrong.append(f"{name}: {weight} bytes")
        wrong += [f"{name}: no label: {element}" for element in tab.evaluate(UNNAMED)]
    wrong += [f"from elsewhere: {url}" for url in tab.requested if not url.startswith((address, "data:"))]
    tab.context.close()
    return wrong + tab.problems


def test_pages(site: Path, address: str, window: Any) -> None:
    names = ["index.html", "methods.html", "cli.html", "api.html", "status.html", "gallery.html", "404.html"]
    wrong = examined(site, address, window, names)
    assert not wrong, "\n".join(wrong)


@pytest.mark.long
def test_all_pages(site: Path, address: str, window: Any) -> None:
    wrong = examined(site, address, window, pages_of(site))
    assert not wrong, "\n".join(wrong)


def test_dark_mode_can_be_chosen_and_stays(address: str, window: Any) -> None:
    tab = opened(window)
    tab.goto(f"{address}/index.html")
    tab.locator("label[title='Switch to dark mode']").click()
    tab.goto(f"{address}/methods.html")
    assert tab.evaluate("document.body.dataset.mdColorScheme") == "slate"
    tab.locator("label[title='Switch to light mode']").click()
    assert tab.evaluate("document.body.dataset.mdColorScheme") == "default"

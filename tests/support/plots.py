"""What the page draws, asked of its plots.

>>> with before_every_page(chrome, PLOTS):  # doctest: +SKIP
...     plot(chrome, "curve", "data[1].at(-1)")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from selenium.webdriver import Chrome

PLOTS = """
window.plots = [];
let wrapped;
Object.defineProperty(window, "uPlot", {
  get: () => wrapped,
  set(real) {
    const keep = (made) => { plots.push(made); return made; };
    wrapped = new Proxy(real, { construct: (target, given) => keep(new target(...given)) });
  },
});
"""
"""Keeps what is drawn, to be asked."""


@contextmanager
def before_every_page(chrome: Chrome, *scripts: str) -> Iterator[None]:
    """Run ``scripts`` in every page that is loaded, before its own."""
    run = "Page.addScriptToEvaluateOnNewDocument"
    given = [chrome.execute_cdp_cmd(run, {"source": script}) for script in scripts]
    try:
        yield
    finally:
        for one in given:
            chrome.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", one)


def plot(page: Chrome, name: str, what: str) -> Any:
    """``what`` of the newest plot of that name."""
    return page.execute_script(
        f"return plots.findLast((one) => one.root.parentNode?.id === '{name}')?.{what} ?? null"
    )

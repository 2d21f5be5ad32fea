"""Frames of the fleet's page while somebody scrolls through a town, in Chromium.

    python -m bench.web_frames --meters 10000 --runs 3

Real parts: Mosquitto, the web service, readings at ``--rate``, headless Chromium at 1366×768. In each run:

- first view: kB that are transferred with an empty cache, and ms until ``Live``;
- wheel: from the first row on, 150 pixels in each frame, for ``--seconds``;
- jumps: to a random place of the list four times a second, as with the scroll bar.

Of both the ms between frames (p50, p95, p99, longest), and the share of frames that took longer than 50 ms;
``rows`` is how many there were at most. Headless Chromium draws without a GPU: a viewer's frames are shorter.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from selenium.webdriver import Chrome

from bench.ingest import go, line, process
from bench.web import serving, show
from bench.web_figures import Figures, page, settled
from tests.support.brokers import mosquitto
from tests.support.browser import browser, log_in, shows
from tests.support.chain import until

LONG_MS = 50.0
SCROLL = """
const [seconds, done] = arguments, frames = [];
const body = document.getElementById("meters"), ends = performance.now() + 1000 * seconds;
const next = MOVE;
let last = performance.now(), rows = 0;
function frame(now) {
  frames.push(now - last);
  last = now;
  rows = Math.max(rows, body.children.length);
  if (now > ends) return done([frames.slice(1), rows]);
  next(now);
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
"""
MOVES = {
    "wheel": "() => scrollBy(0, 150)",
    "jumps": """(() => {
      let due = 0;
      return (now) => {
        if (now < due) return;
        due = now + 250;
        scrollTo(0, Math.random() * document.documentElement.scrollHeight);
      };
    })()""",
}


def frames(driver: Chrome, name: str, seconds: float) -> Figures:
    """ms between frames while the page moves so."""
    driver.execute_script("scrollTo(0, 0)")
    times, rows = driver.execute_async_script(SCROLL.replace("MOVE", MOVES[name]), seconds)
    ordered = sorted(times)

    def at(percent: int) -> float:
        return float(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)])

    return {
        f"{name}_p50_ms": at(50),
        f"{name}_p95_ms": at(95),
        f"{name}_p99_ms": at(99),
        f"{name}_longest_ms": ordered[-1],
        f"{name}_long_percent": 100 * sum(one > LONG_MS for one in times) / len(times),
        f"{name}_rows": rows,
    }


def measure(options: argparse.Namespace) -> Figures:
    """One run."""
    with tempfile.TemporaryDirectory(prefix="bench-frames-") as name, mosquitto(Path(name)) as broker:
        sizes = ("--port", str(broker.port), "--meters", str(options.meters), "--rate", str(options.rate))
        with process(sys.executable, "-m", "bench.web_load", *sizes) as load:
            assert line(load) == "ready"
            with serving(broker, Path(name), f"sqlite:///{name}/none.sqlite") as web:
                until(lambda: settled(web, options.meters), seconds=300, why="all that is retained is heard")
                go(load)
                figures = page(web)
                with browser() as driver:
                    driver.set_script_timeout(10 * options.seconds)
                    log_in(driver, web, "operator")
                    shows(driver, "#link", "Live".__eq__)
                    for move in MOVES:
                        figures |= frames(driver, move, options.seconds)
    return figures


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--meters", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    show([measure(options) for _ in range(options.runs)])


if __name__ == "__main__":
    main()

"""axe-core in the browser: what it calls serious or critical.

>>> assert violations(driver) == []  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any

from selenium.webdriver import Chrome

from tests.support.project import ROOT

AXE = ROOT / "tests" / "node" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ("serious", "critical")


def violations(driver: Chrome) -> list[tuple[str, Any]]:
    """Each one's rule, and where."""
    driver.execute_script(AXE.read_text())
    script = "const done = arguments[0]; axe.run(document).then((found) => done(found.violations))"
    found = driver.execute_async_script(script)
    return [
        (one["id"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in SERIOUS
    ]

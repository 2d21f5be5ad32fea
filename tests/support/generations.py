"""How many generations of servers the MMS bridge has made, from its metrics.

>>> generations(9102)  # doctest: +SKIP
3
"""

from __future__ import annotations

import re
import urllib.request


def generations(metrics_port: int) -> int:
    """Configurations that were taken into service; AssertionError if the metric is not there."""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    found = re.search(r"^meter61850_mms_generations\S* (\d+)", text, re.M)
    assert found is not None, text
    return int(found[1])

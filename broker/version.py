"""The version of this installation, read once.

Who tells it every ten seconds must not open a file for it: without a free file descriptor that would fail.

>>> VERSION.count(".") >= 1
True
"""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("meter61850")

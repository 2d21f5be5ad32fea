"""``python -m admin`` is ``meter61850``."""

from __future__ import annotations

from admin.main import main

main()

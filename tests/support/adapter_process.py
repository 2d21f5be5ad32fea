"""An adapter with the made-up family as a process of its own: ``python -m … adapters.toml``."""

from __future__ import annotations

import sys
from pathlib import Path

from adapters import run
from adapters.settings import AdapterSettings
from tests.support import made_up

if __name__ == "__main__":
    assert made_up.NAME
    run.main(AdapterSettings.load(Path(sys.argv[1])))

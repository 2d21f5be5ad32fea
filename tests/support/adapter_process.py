"""An adapter with the made-up family as a process of its own: ``python -m … adapters.toml``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from adapters.adapter import Adapter
from adapters.settings import AdapterSettings
from broker.signals import stop_on_signals
from tests.support import made_up


async def main(config: Path) -> None:
    """Until SIGTERM."""
    assert made_up.NAME
    await Adapter(AdapterSettings.load(config)).run(stop_on_signals())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

"""``python -m tests.devices --devices 2000 --seconds 600 --seed 7``: the soak of a mixed town.

Starts two brokers, bridge, adapter, simulated devices of four families and wired meters of two kinds, kills
adapter, brokers and bridge at moments that the seed gives, and compares what each device told with the store.
Exit code 1: something is stored twice, invented, mixed up, or lost without a kill; the folder is kept.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.devices.ledger import BEHIND_SECONDS
from tests.devices.run import Verdict, run
from tests.devices.town import Layout

say = partial(print, flush=True)


def main() -> int:
    """Do it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--devices", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long processes are killed")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--interval", type=float, default=10.0, help="seconds between a device's messages")
    parser.add_argument("--gap", type=float, default=15.0, help="mean seconds from one kill to the next")
    parser.add_argument(
        "--behind",
        type=float,
        default=BEHIND_SECONDS,
        help="seconds that the adapter may be behind when it is killed: more on a machine that is busy",
    )
    told = parser.parse_args()
    say(f"seed {told.seed}: {told.devices} devices, a message every {told.interval:g} s, {told.seconds:g} s")
    folder = Path(tempfile.mkdtemp(prefix="town-"))
    layout = Layout(devices=told.devices, interval=told.interval)
    times = {"seconds": told.seconds, "gap": told.gap, "behind": told.behind}
    verdict = run(folder, layout, seed=told.seed, **times, say=say)
    _print(verdict)
    if verdict.passed:
        shutil.rmtree(folder)
        return 0
    say(f"NOT BALANCED: seed {told.seed}; everything is kept in {folder}")
    return 1


def _print(verdict: Verdict) -> None:
    usage = verdict.usage
    say(f"{len(verdict.killed)} kills; settled {verdict.settled_after:.0f} s after the last")
    say(f"adapter: at most {usage.peak / 1e6:.0f} MB, {100 * usage.cpu / (usage.lived or 1):.0f} % of a core")
    say(f"wired meters: {verdict.wired} readings stored as they were taken")
    say(str(verdict.ledger))


if __name__ == "__main__":
    sys.exit(main())

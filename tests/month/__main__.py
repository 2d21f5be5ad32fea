"""``python -m tests.month``: 200 houses, a month, and what is computed of it against the truth."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from tests.month.run import deliver, judge, replay
from tests.month.simulation import Month
from tests.support.databases import new_database, running_postgres
from tests.support.stores import keeping

CUT_DAY = 3
"""On which the first feeder has no power for two hours."""


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--houses", type=int, default=200)
    add("--days", type=int, default=30)
    add("--interval", type=int, default=300, help="s between readings, a divisor of 900; default 300")
    add("--seed", type=int, default=1)
    add("--database", choices=["sqlite", "postgresql"], default="sqlite")
    return parser.parse_args()


@contextmanager
def database(kind: str) -> Iterator[str]:
    """The URL of a new one."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{Path(folder) / 'month.sqlite'}"
        return
    for server in running_postgres():
        yield new_database(server)


def main() -> int:
    """See the module; 1 if anything differs."""
    options = parsed()
    day = 86_400 // options.interval
    cuts = {0: range(CUT_DAY * day, CUT_DAY * day + day // 12)} if options.days > 3 else {}
    month = Month(options.seed, options.houses, options.days, options.interval, cuts=cuts)
    begin = time.monotonic()
    with database(options.database) as url, keeping(url) as kept, Progress() as progress:
        task = progress.add_task("days", total=month.days + 1)
        deliver(kept, month, lambda _what, done, _of: progress.update(task, completed=done))
        found = judge(kept, month) | {"a replay of all of it": replay(kept, month)}
    say = Console(highlight=False, soft_wrap=True).print
    say(f"seed {month.seed}, {month.houses} houses, {month.days} days, {time.monotonic() - begin:.0f} s")
    for what, differences in found.items():
        say(f"{what}: {'differs' if differences else 'as it was'}", *differences, sep="\n  ")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())

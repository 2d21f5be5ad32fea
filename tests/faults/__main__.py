"""``python -m tests.faults``: the soak. Prints the seed first, then the faults by kind, and the ledger."""

from __future__ import annotations

import secrets
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults.disk import may_mount
from tests.faults.plan import GAP, plan, targets
from tests.faults.report import kinds_table, ledger_table
from tests.faults.run import Progress as Moment
from tests.faults.run import Verdict, run
from tests.faults.site import Layout, tail

app = typer.Typer(add_completion=False, rich_markup_mode=None)
WIDTH = 110
"""Of what goes into a file."""
console = Console(highlight=False)
console = console if console.is_terminal else Console(highlight=False, width=WIDTH)


# fmt: off
Seconds = Annotated[float, typer.Option(min=10, help="How long faults strike; then the chain settles.")]
Seed = Annotated[int | None, typer.Option(
    min=0, show_default=False, help="Replays a run: the same faults, parameters, offsets.")]
Database = Annotated[Literal["sqlite", "postgresql"], typer.Option(help="Where the bridge stores.")]
Processes = Annotated[int, typer.Option(min=1, help="Meter processes.")]
Meters = Annotated[int, typer.Option(min=1, help="Meters in each process.")]
Interval = Annotated[float, typer.Option(min=0.05, help="Seconds between a meter's readings.")]
Version = Annotated[int, typer.Option(min=4, max=5, help="MQTT protocol level.")]
Gap = Annotated[float, typer.Option(min=0.1, help="Mean seconds from one fault to the next.")]
ShowPlan = Annotated[bool, typer.Option("--plan", help="Only print which faults the seed gives.")]
# fmt: on


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def soak(  # noqa: PLR0917 - typer passes them by name
    seconds: Seconds = 600,
    seed: Seed = None,
    database: Database = "sqlite",
    processes: Processes = 3,
    meters: Meters = 3,
    interval: Interval = 0.25,
    mqtt_version: Version = 5,
    gap: Gap = GAP,
    show_plan: ShowPlan = False,
) -> None:
    """Hurt the real chain at random moments, then check that taken = stored, to the reading.

    Starts Mosquitto, the bridge, processes of simulated meters and a registrar, and for so many seconds
    kills, stops, cuts off, stalls and slows them, fills the disk of the database or makes it read-only,
    gives the broker an empty or an older file, sets the clocks of meters and bridge wrong, puts older
    memory cards back, lets twins run on copies of them, and restarts PostgreSQL. Then every fault is
    healed, the outboxes must run empty, and every reading that a meter took must be in the database once,
    unaltered, without holes. Only what was on a card that is gone, and was not confirmed, may be lost.

    \b
    python -m tests.faults --seconds 120 --seed 7
    python -m tests.faults --seconds 120 --seed 7 --plan
    make soak SECONDS=600 SEED=7 DATABASE=postgresql

    Exit code 0: the ledger balances. 1: it does not, or a process ended by itself; the rows and the
    last log lines are printed, and the folder with all logs, books and databases is kept.
    """
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    layout = Layout(database, processes, meters, interval, seconds, mqtt_version=mqtt_version)
    console.print(
        f"seed {seed}: {seconds:g} s on {database}, {processes} processes of {meters} meters, "
        f"a reading every {interval:g} s from each"
    )
    if show_plan:
        _print_plan(layout, seed, gap)
    elif not _soaked(layout, seed, gap):
        raise typer.Exit(1)


def _soaked(layout: Layout, seed: int, gap: float) -> bool:
    """Do it and print what came of it; True when the ledger balances."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        with _progress(layout.seconds) as watch:
            verdict = run(folder, layout, seed=seed, gap=gap, watch=watch)
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        raise
    _print_verdict(verdict, folder)
    if verdict.passed:
        shutil.rmtree(folder)
    return verdict.passed


@contextmanager
def _progress(seconds: float) -> Iterator[Callable[[Moment], None]]:
    """A line that tells where the run is, on a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("starting", total=seconds, now="")

        def watch(moment: Moment) -> None:
            now = ", ".join(f"{fault.kind} {fault.target}" for fault in list(moment.now.values()))
            text = f"{moment.phase}, {moment.struck} faults"
            bar.update(task, description=text, completed=min(seconds, moment.elapsed), now=now)

        yield watch


def _print_plan(layout: Layout, seed: int, gap: float) -> None:
    sqlite = layout.database == "sqlite"
    can_be_hurt = targets(
        layout.processes, disk=sqlite or may_mount(), file=sqlite and may_mount(), restart=not sqlite
    )
    for fault in plan(seed, seconds=layout.seconds, targets=can_be_hurt, gap=gap):
        console.print(str(fault))


def _print_verdict(verdict: Verdict, folder: Path) -> None:
    console.print(kinds_table(verdict.faults))
    console.print(ledger_table(verdict.ledger))
    if verdict.passed:
        console.print(
            f"balanced: seed {verdict.seed}, {len(verdict.faults)} faults; "
            f"settled {verdict.settled_after:.1f} s after the last; {verdict.ledger.packed} readings in packs"
        )
        return
    console.print(f"NOT BALANCED: seed {verdict.seed}; everything is kept in {folder}", style="bold red")
    console.print("\n".join([*verdict.problems, str(verdict.ledger)]), markup=False)
    for log in sorted([*folder.glob("*.log"), *folder.glob("*/mosquitto.log")]):
        console.print(f"--- {log.name}\n{tail(log)}", markup=False)


if __name__ == "__main__":
    app()

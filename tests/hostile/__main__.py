"""``python -m tests.hostile``: the long form. Prints the seed first, then what was thrown and how it went."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.hostile.attack import Toll
from tests.hostile.process import MmsProcess
from tests.hostile.run import Verdict, leak, run

app = typer.Typer(add_completion=False, rich_markup_mode=None)
console = Console(highlight=False)

# fmt: off
Messages = Annotated[int, typer.Option(min=1, help="Messages of the captures that are mutated and sent.")]
Seed = Annotated[int | None, typer.Option(
    min=0, show_default=False, help="Replays a run: the same attacks.")]
Asked = Annotated[int | None, typer.Option(
    min=0, show_default=False, help="Odd requests of every MMS service, each of which must be answered once; "
    "default: as many as messages.")]
First = Annotated[int, typer.Option(min=0, help="Number of the first attack: to replay one.")]
# fmt: on


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def hostile(
    messages: Messages = 100_000, seed: Seed = None, first: First = 0, questions: Asked = None
) -> None:
    """Throw mutants of real sessions at a real MMS bridge, and see that it goes on serving the others.

    \b
    python -m tests.hostile --messages 100000 --seed 7
    python -m tests.hostile --messages 1 --seed 7 --first 4711

    Exit code 0: it did. 1: it crashed, hung, failed a client that behaves, or leaked; the folder with
    its log is kept.
    """
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    console.print(f"seed {seed}: {messages} messages")
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    verdict = asyncio.run(
        run(
            folder,
            seed=seed,
            messages=messages,
            first=first,
            questions=messages if questions is None else questions,
            watch=_watch,
        )
    )
    _print(verdict)
    if verdict.problems:
        console.print(f"NOT WELL: seed {seed}; everything is kept in {folder}", style="bold red")
        console.print("\n".join(verdict.problems), markup=False)
        raise typer.Exit(1)
    shutil.rmtree(folder)


def _watch(toll: Toll, process: MmsProcess) -> None:
    if console.is_terminal:
        console.print(f"{toll.messages} messages, {process.mebibytes:.0f} MiB", end="\r")


def _print(verdict: Verdict) -> None:
    toll, reader = verdict.toll, verdict.reader
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(toll.kinds.items()))
    asked = ", ".join(f"{kind} {count}" for kind, count in sorted(verdict.answers.kinds.items()))
    console.print(
        f"{verdict.answers.asked} requests of every service ({asked}), each answered once, "
        f"{verdict.answers.responses} by a response",
        soft_wrap=True,
    )
    console.print(
        f"{toll.messages} messages in {toll.attacks} attacks, {verdict.seconds:.0f} s ({kinds}); "
        f"{toll.refused} connections refused and tried again\n"
        f"meanwhile {reader.reads} reads of a client that behaves, "
        f"the slowest {reader.slowest * 1000:.0f} ms without the wait for a processor; "
        f"memory {verdict.mebibytes[0]:.1f}, at most {max(verdict.mebibytes):.1f} MiB, "
        f"{leak(verdict.mebibytes):+.1f} in the second half; "
        f"descriptors {verdict.descriptors[0]} before, {verdict.descriptors[1]} after",
        soft_wrap=True,
    )


if __name__ == "__main__":
    app()

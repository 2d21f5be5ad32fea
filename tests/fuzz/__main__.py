"""``python -m tests.fuzz``: each target under atheris for some seconds, in a process of its own.

libFuzzer judges: an exception, a single input of more than 10 s or more than 1 GB is a crash; the input is
kept in the folder that is told. What it has learnt stays in ``.fuzz/`` for the next run.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

KEPT = Path(".fuzz")
app = typer.Typer(add_completion=False, rich_markup_mode=None)
console = Console(highlight=False)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def fuzz(
    seconds: Annotated[int, typer.Option(min=1, help="For each target.")] = 60,
    target: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(TARGETS)}; all otherwise.")] = None,
) -> None:
    """Fuzz the parsers; exit 1 if one of them failed."""
    failed = [name for name in target or TARGETS if not _survives(name, seconds)]
    raise typer.Exit(1 if failed else 0)


def _survives(name: str, seconds: int) -> bool:
    corpus = KEPT / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds(name):
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    line = [sys.executable, "-m", "tests.fuzz.one", name, str(corpus), f"-max_total_time={seconds}"]
    options = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=65536", f"-artifact_prefix={KEPT}/{name}-"]
    done = subprocess.run(
        [*line, *options, "-print_final_stats=1"], capture_output=True, text=True, check=False
    )
    log = done.stdout + done.stderr
    (KEPT / f"{name}.log").write_text(log)
    runs = re.search(r"number_of_executed_units: (\d+)", log)
    verdict = "no finding" if done.returncode == 0 else f"FAILED, see {KEPT}/{name}.log"
    console.print(f"{name:10} {int(runs[1]) if runs else 0:>9} executions in {seconds} s: {verdict}")
    return done.returncode == 0


if __name__ == "__main__":
    app()

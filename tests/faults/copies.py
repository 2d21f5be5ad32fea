"""Memory cards that are copied: an older one is put back, or a twin runs on it.

The process is killed for the moment in which the copy is made, so that cards and books are of one moment.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.faults.ledger import last_left
from tests.faults.site import Program, Site


def keep_cards(site: Site, process: str) -> None:
    """Copy the cards of all its meters; it goes on."""
    program = site.programs[process]
    program.kill()
    _copy(site, process, _kept(site, process))
    _note(site, process, event="copied")
    program.start()


def put_cards_back(site: Site, process: str) -> None:
    """The cards are those that were kept: what came since is gone."""
    program = site.programs[process]
    program.kill()
    for meter_id in site.meters[process]:
        shutil.rmtree(site.outbox(meter_id).parent)
        shutil.move(_kept(site, process) / meter_id, site.outbox(meter_id).parent)
    _note(site, process, event="restored", left=1)  # nobody knows how many, until it is opened
    program.start()


def start_twin(site: Site, process: str) -> None:
    """Another process runs on copies of the cards, with the same names."""
    program, number = site.programs[process], len(list(site.witnessed("").glob(f"twin*of {process}")))
    name = f"twin {number + 1} of {process}"
    folder, cards = site.witnessed(name), site.folder / name
    program.kill()
    _copy(site, process, cards)
    folder.mkdir()
    (folder / "twin").touch()
    _note(site, process, event="copied")
    _note(site, process, event="twin", folder=name)
    own = {str(site.witnessed(process)): str(folder), str(site.folder / "meters"): str(cards)}
    command = [own.get(word, word) for word in program.command]
    program.start()
    site.twins[process] = Program(name, command, site.folder, program.environment)
    site.twins[process].start()


def end_twin(site: Site, process: str) -> None:
    """It is switched off for good; what it had and nobody confirmed is gone."""
    site.twins.pop(process).kill()


def _copy(site: Site, process: str, to: Path) -> None:
    shutil.rmtree(to, ignore_errors=True)
    for meter_id in site.meters[process]:
        shutil.copytree(site.outbox(meter_id).parent, to / meter_id)


def _kept(site: Site, process: str) -> Path:
    return site.folder / f"kept of {process}"


def _note(site: Site, process: str, **told: object) -> None:
    """Write it into the books of all its meters."""
    for meter_id in site.meters[process]:
        path = site.witnessed(process) / f"{meter_id}.jsonl"
        with path.open("a") as book:
            book.write(json.dumps({"left": last_left(path), **told}) + "\n")

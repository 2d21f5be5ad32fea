"""Commands that change the identity store: each first completes earlier changes, then its own.

>>> deployment = opened(Path("data"))  # doctest: +SKIP
>>> with deployment.identity_store.change() as change:  # doctest: +SKIP
...     change.block("anna", "left the company")
>>> finished(deployment)  # doctest: +SKIP
True
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from admin.output import note
from broker.contract.errors import UnavailableError
from registrar import finishing
from registrar.audit_queue import AuditQueue
from registrar.deployment import Deployment

NO_BROKER = "the broker is not there: it is pending until the broker has it (meter61850 broker run)"


def opened(folder: Path) -> Deployment:
    """The deployment in ``folder``; what was interrupted in it is finished, as far as that is possible."""
    deployment = Deployment.open(folder)
    finishing.prepare(deployment)
    if deployment.identity_store.unfinished():
        try:
            asyncio.run(finishing.finish(deployment))
        except UnavailableError as error:
            note(str(error))
    AuditQueue(deployment).move()
    return deployment


def finished(deployment: Deployment) -> bool:
    """Finish what this command has changed; False without a broker, which is said.

    UnavailableError if the broker does not read its files again. The audit has it in any case.
    """
    finishing.prepare(deployment)
    try:
        told = asyncio.run(finishing.finish(deployment))
    finally:  # last, since it may wait for the database
        AuditQueue(deployment).move()
    if not told:
        note(NO_BROKER)
    return told


def pending(deployment: Deployment) -> set[str]:
    """Names of meters, people and codes whose change Mosquitto is not known to have."""
    return {one.name for one in deployment.identity_store.unfinished()}


def pending_in(folder: Path) -> set[str]:
    """The same for a user without write access, or without a deployment: then nothing is completed."""
    deployment = Deployment(folder)
    mine = os.access(folder / "register.sqlite", os.R_OK | os.W_OK)
    return pending(deployment) if mine and deployment.exists else set()

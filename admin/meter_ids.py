"""Which meter a person means, for commands that work without the broker.

>>> meter_id_of("3f2504e0-4f89-41d3-9a0c-0305e82c3301", "sqlite:///none")
'3f2504e0-4f89-41d3-9a0c-0305e82c3301'
"""

from __future__ import annotations

from admin.exits import NotFoundError
from admin.stores import open_store
from admin.switching import directory
from bridge.store.meter_names import AmbiguousMeterError, UnknownMeterError
from broker.contract.errors import ConfigurationError, UnavailableError
from registrar import requests
from registrar.deployment import Deployment


def meter_id_of(text: str, database: str) -> str:
    """By meter_id, which needs no database, by logical device, or by name; UnknownMeterError."""
    exact = directory.exact(text)
    if exact is not None:
        return exact
    with open_store(database) as store:
        return store.meter(text).meter.meter_id


def identity_of(deployment: Deployment, text: str, database: str) -> str:
    """The name of an identity: as it is, or the meter_id of the meter that is called so; else ``text``."""
    if deployment.identity_store.identity(text) is not None:
        return text
    try:
        return meter_id_of(text, database)
    except AmbiguousMeterError:
        raise
    except (UnknownMeterError, UnavailableError):
        return text


def waiting(deployment: Deployment, text: str) -> str:
    """The meter_id of the one waiting enrolment request that is meant: meter_id, name, serial number or slot.

    NotFoundError if there is none, ConfigurationError if there are more.
    """
    exact = directory.exact(text)
    if exact is not None:
        return exact
    found = [
        request
        for request in requests.listed(deployment)
        if request.verdict == "pending"
        and text in (request.ask.name, request.ask.hardware.serial, request.slot)
    ]
    if not found:
        raise NotFoundError(f"no request of {text!r} waits: meter61850 enrol list shows those that do")
    if len(found) > 1:
        raise ConfigurationError(
            f"{len(found)} meters that wait are called {text!r}: use a meter_id, such as {found[0].meter_id}"
        )
    return found[0].meter_id

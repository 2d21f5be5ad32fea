"""Client rights over MMS: the file that ``METER61850_MMS_CLIENTS`` names, rendered from the identity store.

An operator observes and an issuer controls, over MMS as over MQTT. An identity that is limited to some
address codes has no access, because an IED shows all of its meters to every client.

>>> render([Identity("otto", Role.ISSUER)]).splitlines()[-2:]
['[clients."otto"]', 'rights = "control"']
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.contract.roles import Role
from registrar.identities import Identity

HEAD = "# Written by meter61850 from the register of identities; a change here is lost at the next one.\n"
RIGHTS = {Role.OPERATOR: "observe", Role.ISSUER: "control"}


def render(identities: Iterable[Identity]) -> str:
    """The whole file (TOML)."""
    allowed = [one for one in identities if one.role in RIGHTS and not one.scope and not one.blocked]
    return HEAD + "".join(f'\n[clients."{one.name}"]\nrights = "{RIGHTS[one.role]}"\n' for one in allowed)

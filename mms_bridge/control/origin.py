"""Who operates: origin of the control as the client gave it (7-2, 20), and the client as we know it.

A client may write into origin what it likes; who it is stands beside it: its certificate, its address.
Where it gave no orIdent, its certificate's name is taken, or its address. Octets that are no text are
written in hex (`broker.contract.texts`).

Every category of OriginatorCategoryKind is taken, also not-supported: it is recorded, and nothing hangs
on it. The library itself refuses what is no category and an orIdent of more than 64 octets.

>>> origin_of(action, client).identifier        # doctest: +SKIP
'desk 4'
"""

from __future__ import annotations

from broker.contract import texts
from broker.contract.relay import Origin, OriginCategory
from mms_bridge.access.client_rights import Client
from mms_bridge.libiec61850.control_handlers import category, identifier

CATEGORIES = tuple(OriginCategory)
"""By the ordinals of OriginatorCategoryKind."""


def origin_of(action: int, client: Client) -> Origin:
    """origin.orCat and orIdent of a select with value or an operate."""
    octets = identifier(action).strip(b"\0 ")  # some clients fill it up so
    name = texts.identifier(octets) if octets else client.short
    return Origin(category=CATEGORIES[category(action)], identifier=name, via=f"mms {client}"[:255])

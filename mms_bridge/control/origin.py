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

import ctypes

from broker.contract import texts
from broker.contract.relay import Origin, OriginCategory
from mms_bridge.access.client_rights import Client
from mms_bridge.libiec61850.bindings import lib

CATEGORIES = tuple(OriginCategory)
"""By the ordinals of OriginatorCategoryKind."""


def origin_of(action: int, client: Client) -> Origin:
    """origin.orCat and orIdent of a select with value or an operate."""
    size = ctypes.c_int(0)
    pointer = lib.ControlAction_getOrIdent(action, ctypes.byref(size))
    octets = bytes(pointer[: size.value]).strip(b"\0 ") if pointer else b""  # some clients fill it up so
    category = CATEGORIES[lib.ControlAction_getOrCat(action)]
    name = texts.identifier(octets) if octets else client.short
    return Origin(category=category, identifier=name, via=f"mms {client}"[:255])


def peer_of(action: int) -> str:
    """Address and port by which the library knows the client."""
    connection = lib.ControlAction_getClientConnection(action)
    peer = lib.ClientConnection_getPeerAddress(connection) if connection else None
    return peer.decode() if peer else "unknown"

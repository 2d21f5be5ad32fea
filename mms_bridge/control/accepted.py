"""The last accepted operation of each control object, shown as origin and ctlNum in every server (7-3).

A refused select, operate or cancel changes neither, and a select changes neither: both say who operated last.
Another generation of the IED begins with what the one before has shown.

>>> accepted.hold(place), accepted.take(place, action)  # doctest: +SKIP
(None, None)
"""

from __future__ import annotations

from weakref import WeakSet

from mms_bridge.control.targets import Place
from mms_bridge.libiec61850.last_operation import LastOperation, requested, show
from mms_bridge.libiec61850.mms_server import Server


class Accepted:
    """Of all IEDs."""

    def __init__(self) -> None:
        self._ieds: dict[str, WeakSet[Server]] = {}
        self._servers: dict[str, WeakSet[Server]] = {}  # by MMS domain
        self._last: dict[Place, LastOperation] = {}

    def equip(self, server: Server, place: Place) -> None:
        """A new generation has this control object."""
        servers = self._servers[place[0]] = self._ieds.setdefault(server.cid.ied, WeakSet())
        servers.add(server)
        if place in self._last:
            self._show(server, place)

    def hold(self, place: Place) -> None:
        """The library has written a request's origin and ctlNum: show those of the last operation again."""
        for server in self._servers.get(place[0], ()):
            if server.handle and place in server.controls:
                self._show(server, place)

    def take(self, place: Place, action: int) -> None:
        """An operate was accepted."""
        self._last[place] = requested(action)
        self.hold(place)

    def _show(self, server: Server, place: Place) -> None:
        show(server.handle, server.controls[place].handle, self._last.get(place, LastOperation()))

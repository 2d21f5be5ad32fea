"""Two meters with one identity: found when one that was followed by another comes back.

A meter's program gives itself an ``instance`` at each start, and each connection has a session. Neither comes
back once another one has followed, unless two programs say that they are the same meter and end each other's
connections in turn. Of meters without an instance the addresses are looked at, too.

>>> twins = Twins()
>>> told = [Sign("instance", name, f"session {name}", ts=ts) for ts, name in enumerate("aabbab")]
>>> [twins.look("m", [sign], now=0) for sign in told]
['', '', '', '', 'session b and session a', 'session a and session b']
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from bridge.store.tables import at_ms
from broker.contract.birth import Birth
from broker.contract.status import Status

_WINDOW_MS = 10 * 60_000
"""A twin comes back sooner: what ends its connection is ended by it, after a minute's pause at most."""
_MAX_KNOWN = 100_000
"""Meters; then all begin anew."""


@dataclass(frozen=True)
class Sign:
    """Something of a message by which its sender can be known again."""

    kind: str
    value: str
    name: str
    """Session and address, for a human."""
    ts: int


@dataclass(frozen=True)
class _Seen:
    sign: Sign
    at: int


def signs(message: Birth | Status) -> Iterator[Sign]:
    """What tells meters apart in a birth, or in a status that says online."""
    ts, session = at_ms(message.ts), f"session {message.session}"
    if isinstance(message, Status):
        if message.online:
            yield Sign("session", message.session, session, ts)
        return
    name = f"{session} at {message.ip}" if message.ip else session
    yield Sign("session", message.session, name, ts)
    if message.instance is not None:
        yield Sign("instance", message.instance, name, ts)
    elif message.ip:
        yield Sign("address", message.ip, name, ts)


class Twins:
    """Which signs each meter gave, in which order; one thread."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], dict[str, _Seen]] = {}

    def look(self, meter_id: str, signs: Iterable[Sign], *, now: int) -> str:
        """The names of two senders, when one of ``signs`` came back after another one; else empty."""
        found = [self._returned((meter_id, sign.kind), sign, now) for sign in signs]
        return next(filter(None, found), "")

    def _returned(self, key: tuple[str, str], sign: Sign, now: int) -> str:
        if len(self._seen) >= 3 * _MAX_KNOWN:
            self._seen.clear()
        seen = self._seen.setdefault(key, {})
        for value in [value for value, one in seen.items() if abs(now - one.at) > _WINDOW_MS]:
            del seen[value]
        known = seen.get(sign.value)
        if known is not None and _is_old(sign, known.sign):
            return ""
        last = next(reversed(seen), sign.value)
        if known is not None:
            if known.sign.name.startswith(sign.name):  # a status does not tell the address, a birth did
                sign = replace(sign, name=known.sign.name)
            del seen[sign.value]
        seen[sign.value] = _Seen(sign, now)
        return f"{seen[last].sign.name} and {sign.name}" if known and last != sign.value else ""


def _is_old(sign: Sign, known: Sign) -> bool:
    """Whether it is of the same message, heard again, or of an older one."""
    return sign.ts < known.ts or (sign.ts == known.ts and known.name.startswith(sign.name))

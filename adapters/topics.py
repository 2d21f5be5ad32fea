"""Which topics that a device has named we read or write; a broker ends the connection for some of the others.

>>> trouble("box/power"), trouble("box/+/power"), trouble("box/+/power", wild=True)
('', 'it has a wildcard', '')
>>> trouble("$CONTROL/dynamic-security/v1")
'it begins with $: such topics are the broker\\'s own'
"""

from __future__ import annotations

from collections.abc import Collection

from broker.contract.texts import is_text

LONGEST = 1024
"""Octets."""
MOST_LEVELS = 100
"""Mosquitto takes 200, others 128."""


def trouble(topic: str, *, wild: bool = False) -> str:
    """Why the topic is not used, or an empty text; ``wild``: it is a filter, and may have wildcards."""
    if not topic or not is_text(topic):
        return "it is empty, or has a character that is no text"
    if topic.startswith("$"):
        return "it begins with $: such topics are the broker's own"
    if len(topic.encode()) > LONGEST or topic.count("/") >= MOST_LEVELS:
        return f"it is longer than {LONGEST} octets or {MOST_LEVELS} levels"
    if not wild and set(topic) & set("+#"):
        return "it has a wildcard"
    return ""


def allowed(filters: Collection[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The filters that a broker takes, and those that it does not, with the reason."""
    refused = {one: why for one in filters if (why := trouble(one, wild=True))}
    return tuple(one for one in filters if one not in refused), refused

"""Sparkplug's topics: ``spBv1.0/<group>/<verb>/<node>[/<device>]``, and a host's STATE.

>>> parse("spBv1.0/Village/DDATA/edge1/meter7").key
'Village/edge1/meter7'
>>> Address("Village", "edge1").topic("NCMD")
'spBv1.0/Village/NCMD/edge1'
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.contract.errors import ConfigurationError

NAMESPACE = "spBv1.0"
REBIRTH = "Node Control/Rebirth"
BD_SEQ = "bdSeq"
NODE_VERBS = ("NBIRTH", "NDEATH", "NDATA")
"""That a host listens to."""
DEVICE_VERBS = ("DBIRTH", "DDEATH", "DDATA")


@dataclass(frozen=True)
class Address:
    """An edge node, or a device of it."""

    group: str
    node: str
    device: str = ""

    @property
    def key(self) -> str:
        """``group/node/device``, or ``group/node``."""
        return "/".join(filter(None, (self.group, self.node, self.device)))

    @property
    def of_node(self) -> Address:
        """The edge node that it is on."""
        return Address(self.group, self.node)

    def topic(self, verb: str) -> str:
        """Where messages of this kind are published."""
        return "/".join(filter(None, (NAMESPACE, self.group, verb, self.node, self.device)))


@dataclass(frozen=True)
class Topic(Address):
    """An address with what is said of it."""

    verb: str = ""


def parse(topic: str) -> Topic | None:
    """What a topic is; None when it is of no node and no device."""
    head, *words = topic.split("/")
    if head != NAMESPACE or len(words) not in (3, 4) or not all(words):
        return None
    group, verb, node, *device = words
    if (verb[:1] == "D") != bool(device):
        return None
    return Topic(group, node, "".join(device), verb)


def state_topic(host: str) -> str:
    """Where a host application says that it is there."""
    return f"{NAMESPACE}/STATE/{host}"


def checked_name(name: str, *, what: str) -> str:
    """A group, node, device or host as Sparkplug allows it; ConfigurationError names what is wrong."""
    if not name or set(name) & set("+/#\0") or name == "STATE" or len(name.encode()) > 255:
        raise ConfigurationError(f"{what} {name[:64]!r}: a name without + / # would be right, not STATE")
    return name


def address(text: str) -> Address:
    """``group/node``; ConfigurationError for anything else."""
    words = text.split("/")
    if len(words) != 2:
        raise ConfigurationError(f"node {text[:64]!r}: GROUP/NODE would be right")
    return Address(checked_name(words[0], what="group"), checked_name(words[1], what="node"))

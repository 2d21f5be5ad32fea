"""Just enough BER (X.690) to take a message apart and put it together otherwise.

>>> [node] = parse(bytes.fromhex("a003800101"))
>>> node.parts[0].value, encode([node]).hex()
(b'\\x01', 'a003800101')
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

CONSTRUCTED = 0x20
LONG_TAG = 0x1F
LEVELS = 30
"""As deep as messages are taken apart."""


@dataclass
class Node:
    """One tag with its value, or with the parts that it consists of."""

    tag: bytes
    value: bytes = b""
    parts: list[Node] = field(default_factory=list)
    length: bytes | None = None
    """Octets of the length that stand there instead of the right ones."""

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for part in self.parts:
            yield from part.walk()


def parse(data: bytes, levels: int = LEVELS) -> list[Node]:
    """The nodes that ``data`` consists of; ValueError if it does not. What is deeper stays a value."""
    nodes, at = [], 0
    while at < len(data):
        begin = at
        at += 1
        if data[begin] & LONG_TAG == LONG_TAG:
            while at < len(data) and data[at] & 0x80:
                at += 1
            at += 1
        tag = data[begin:at]
        length, at = _length(data, at)
        value = data[at : at + length]
        if len(value) != length:
            raise ValueError("truncated")
        at += length
        deeper = tag[0] & CONSTRUCTED and levels
        nodes.append(Node(tag, parts=parse(value, levels - 1)) if deeper else Node(tag, value))
    return nodes


def _length(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise ValueError("no length")
    first = data[at]
    if first < 0x80:
        return first, at + 1
    octets = first & 0x7F
    return int.from_bytes(data[at + 1 : at + 1 + octets], "big"), at + 1 + octets


def encode(nodes: list[Node]) -> bytes:
    """The octets of nodes, lengths as they must be but where a node has its own."""
    return b"".join(_encoded(node) for node in nodes)


def _encoded(node: Node) -> bytes:
    value = encode(node.parts) if node.parts else node.value
    return node.tag + (length_octets(len(value)) if node.length is None else node.length) + value


def length_octets(length: int) -> bytes:
    """A definite length as short as can be."""
    if length < 0x80:
        return bytes([length])
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets

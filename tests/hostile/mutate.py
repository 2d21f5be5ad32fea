"""What is sent instead of what a client sends: mutants of the captures, a pure function of the seed.

An attack is an association of its own: the opening, a few requests, and one to three mutations of them,
each at one layer (TPKT, COTP, session, presentation, ACSE, MMS) and sent whole or in pieces.

>>> attack(7, 0, load()) == attack(7, 0, load())  # doctest: +SKIP
True
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from random import Random

from tests.hostile.ber import Node, encode, length_octets
from tests.hostile.capture import HEADER, Capture
from tests.hostile.layers import COTP, TPDU, TSDU, Packets, assemble, layers, packet, packets

OCTETS = (0x00, 0x01, 0x7F, 0x80, 0x81, 0x84, 0xFE, 0xFF)
LENGTHS = ("00", "01", "7f", "80", "8100", "81ff", "82ffff", "830fffff", "847fffffff", "84ffffffff",
           "8480000000", "8400000001", "88ffffffffffffffff", "ff")  # fmt: skip


@dataclass(frozen=True)
class Attack:
    """What is sent over one connection, piece by piece; ``kinds`` are the mutations that made it."""

    number: int
    kinds: tuple[str, ...]
    pieces: tuple[bytes, ...]
    messages: int
    """Of the captures, before the mutation."""
    polite: bool
    """Whether the connection is closed properly (it is reset otherwise)."""


# --- mutations -------------------------------------------------------------------------------------


class Mutator:
    """Draws everything from one random source."""

    def __init__(self, draw: Random, corpus: Sequence[Capture]) -> None:
        self.draw = draw
        self._corpus = corpus
        self._known = [p for capture in corpus for p in capture.packets]

    def _which(self, sent: Packets) -> int:
        return self.draw.randrange(len(sent))

    def _changed(self, sent: Packets, change: Callable[[bytes], bytes]) -> Packets:
        index = self._which(sent)
        data = sent[index] if len(sent[index]) > COTP else sent[index].ljust(COTP + 1, b"\x80")
        return [*sent[:index], change(data), *sent[index + 1 :]]

    def _rebuilt(self, sent: Packets, change: Callable[[list[Node]], None]) -> Packets:
        """Take one message apart, change its nodes, put it together with the right lengths."""
        index = self._which(sent)
        taken = layers(sent[index])
        if taken is None or not taken[1]:
            return self.octet(sent)
        header, nodes = taken
        change(nodes)
        return [*sent[:index], *assemble(header, nodes), *sent[index + 1 :]]

    def _node(self, nodes: list[Node]) -> Node:
        return self.draw.choice([node for top in nodes for node in top.walk()])

    def truncate(self, sent: Packets) -> Packets:
        """End a packet early; its length says so, or does not."""

        def change(data: bytes) -> bytes:
            short = data[: self.draw.randrange(len(data))]
            return packet(short[HEADER:]) if self.draw.random() < 0.7 else short

        return self._changed(sent, change)

    def flip(self, sent: Packets) -> Packets:
        """Flip a few bits behind the TPKT header."""

        def change(data: bytes) -> bytes:
            flipped = bytearray(data)
            for _ in range(self.draw.randint(1, 8)):
                flipped[self.draw.randrange(HEADER, len(data))] ^= 1 << self.draw.randrange(8)
            return bytes(flipped)

        return self._changed(sent, change)

    def octet(self, sent: Packets) -> Packets:
        """Set an octet anywhere to one that parsers like to get wrong."""

        def change(data: bytes) -> bytes:
            at = self.draw.randrange(len(data))
            return data[:at] + bytes([self.draw.choice(OCTETS)]) + data[at + 1 :]

        return self._changed(sent, change)

    def tpkt(self, sent: Packets) -> Packets:
        """A wrong version or length in the TPKT header."""

        def change(data: bytes) -> bytes:
            length = self.draw.choice([0, 3, 4, 5, 7, len(data) - 1, len(data) + 1, 8196, 8197, 0xFFFF])
            version = self.draw.choice([b"\x03\x00", b"\x03\x00", b"\x03\x00", b"\x03\x01", b"\x02\x00"])
            return version + length.to_bytes(2, "big") + data[HEADER:]

        return self._changed(sent, change)

    def cotp(self, sent: Packets) -> Packets:
        """A wrong length indicator, type or end mark, or an odd size in the connection request."""

        def change(data: bytes) -> bytes:
            at = self.draw.randrange(HEADER, min(len(data), HEADER + 14))
            return data[:at] + bytes([self.draw.choice([*OCTETS, 0xE0, 0xD0, 0xF0, 0x70])]) + data[at + 1 :]

        return self._changed(sent, change)

    def session(self, sent: Packets) -> Packets:
        """Another SPDU, or wrong session parameters."""

        def change(data: bytes) -> bytes:
            at = self.draw.randrange(COTP, min(len(data), COTP + 30))
            return data[:at] + bytes([self.draw.choice([*OCTETS, 0x09, 0x0D, 0x19, 0xC1])]) + data[at + 1 :]

        return self._changed(sent, change)

    def length(self, sent: Packets) -> Packets:
        """A wrong length of one BER value, all others right."""

        def change(nodes: list[Node]) -> None:
            self._node(nodes).length = bytes.fromhex(self.draw.choice(LENGTHS))

        return self._rebuilt(sent, change)

    def tag(self, sent: Packets) -> Packets:
        """Another tag: another context, service, PDU or type."""

        def change(nodes: list[Node]) -> None:
            node = self._node(nodes)
            node.tag = bytes([self.draw.randrange(256)]) if self.draw.random() < 0.8 else b"\xbf\xff\xff\x7f"

        return self._rebuilt(sent, change)

    def value(self, sent: Packets) -> Packets:
        """Another value of a primitive: empty, long, extreme, text that is none."""

        def change(nodes: list[Node]) -> None:
            leaves = [n for top in nodes for n in top.walk() if not n.parts]
            self.draw.choice(leaves).value = self.draw.choice(
                [b"", b"\x00", b"\x7f" + b"\xff" * 7, b"\x80" + b"\x00" * 8, b"$" * 70, b"\xff" * 300,
                 b"A" * 65, b"%n%s" * 8, b"\x00" * 5, self.draw.randbytes(self.draw.randint(1, 40))]
            )  # fmt: skip

        return self._rebuilt(sent, change)

    def splice(self, sent: Packets) -> Packets:
        """A part of one message in the place of a part of another."""

        def change(nodes: list[Node]) -> None:
            donor = layers(self.draw.choice(self._known))
            if donor is not None:
                given, node = self._node(donor[1]), self._node(nodes)
                node.tag, node.value, node.parts = given.tag, given.value, deepcopy(given.parts)

        return self._rebuilt(sent, change)

    def repeat(self, sent: Packets) -> Packets:
        """A part repeated up to thousands of times."""

        def change(nodes: list[Node]) -> None:
            parents = [n for top in nodes for n in top.walk() if n.parts]
            if parents:
                parent = self.draw.choice(parents)
                parent.parts = parent.parts * self.draw.choice([2, 3, 20, 200, 3000])

        return self._rebuilt(sent, change)

    def nest(self, sent: Packets) -> Packets:
        """A part wrapped in itself, up to thousands of levels deep."""

        def change(nodes: list[Node]) -> None:
            node = self._node(nodes)
            tag = self.draw.choice([node.tag[:1], b"\xa2", b"\xa1", b"\xa0", b"\xa5", b"\x30"])
            levels = self.draw.choice([2, 11, 100, 1000, 8000])
            inner = encode([node])
            indefinite = self.draw.random() < 0.3
            node.tag, node.value, node.parts, node.length = (
                tag,
                _nested(inner, tag, levels, indefinite),
                [],
                None,
            )

        return self._rebuilt(sent, change)

    def huge(self, sent: Packets) -> Packets:
        """A message of tens of thousands of octets, or one that never ends."""
        index = self._which(sent)
        filler = self.draw.choice([b"\x00", b"\xff", b"\x30\x80", b"\xa2\x80", b"\x24\x80"])
        whole = sent[index][COTP:] + filler * (self.draw.choice([8_000, 64_000, 66_000]) // len(filler))
        made = packets(whole, self.draw.choice([TPDU, 1024, 128]))
        if self.draw.random() < 0.3:
            made[-1] = made[-1][:6] + b"\x00" + made[-1][7:]
        return [*sent[:index], *made, *sent[index + 1 :]]

    def fragments(self, sent: Packets) -> Packets:
        """A message in many small TPDUs, now and then with an empty or a foreign one among them."""
        index = self._which(sent)
        made = packets(sent[index][COTP:], self.draw.choice([4, 5, 20]))
        if self.draw.random() < 0.3:
            at = self.draw.randrange(len(made))
            made.insert(
                at, self.draw.choice([packet(b"\x02\xf0\x00"), packet(b"\x02\xf0\x80"), *self._known])
            )
        return [*sent[:index], *made, *sent[index + 1 :]]

    def order(self, sent: Packets) -> Packets:
        """Packets dropped, repeated, or in another order."""
        match self.draw.randrange(3):
            case 0:
                index = self._which(sent)
                return [*sent[:index], *sent[index + 1 :]] or sent
            case 1:
                index = self._which(sent)
                return [*sent[:index], *[sent[index]] * self.draw.choice([2, 50]), *sent[index + 1 :]]
            case _:
                return self.draw.sample(sent, len(sent))


KINDS: dict[str, Callable[[Mutator, Packets], Packets]] = {
    kind.__name__: kind
    for kind in (
        Mutator.truncate, Mutator.flip, Mutator.octet, Mutator.tpkt, Mutator.cotp, Mutator.session,
        Mutator.length, Mutator.tag, Mutator.value, Mutator.splice, Mutator.repeat, Mutator.nest,
        Mutator.huge, Mutator.fragments, Mutator.order,
    )
}  # fmt: skip


def _nested(inner: bytes, tag: bytes, levels: int, indefinite: bool) -> bytes:
    """``inner`` below so many levels of ``tag``, as many as a message can hold."""
    if indefinite:
        return (tag + b"\x80") * levels + inner + b"\x00\x00" * levels
    heads: list[bytes] = []
    size = len(inner)
    while len(heads) < levels and size < TSDU - 200:
        heads.append(tag + length_octets(size))
        size += len(heads[-1])
    return b"".join(reversed(heads)) + inner


def attack(seed: int, number: int, corpus: Sequence[Capture]) -> Attack:
    """One attack: the same for the same seed and number."""
    draw = Random(f"hostile {seed} {number}")
    mutator = Mutator(draw, corpus)
    requests = [p for capture in corpus for p in capture.requests]
    sent = [*draw.choice(corpus).opening, *draw.choices(requests, k=draw.randint(1, 6))]
    kinds = tuple(draw.choices(list(KINDS), k=draw.choice([1, 1, 2, 3])))
    messages = len(sent)
    for kind in kinds:
        sent = KINDS[kind](mutator, sent)
    return Attack(number, kinds, _pieces(draw, sent), messages, draw.random() < 0.8)


def _pieces(draw: Random, sent: Packets) -> tuple[bytes, ...]:
    """The packets as they are handed to the socket: at once, one by one, or in small pieces."""
    whole = b"".join(sent)
    match draw.randrange(4):
        case 0:
            return tuple(sent)
        case 1:
            size = draw.choice([1, 3, 17]) if len(whole) < 2000 else 1000
            return tuple(whole[at : at + size] for at in range(0, len(whole), size))
        case _:
            return (whole,)

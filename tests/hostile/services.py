"""Requests that no client makes: every MMS service with odd arguments, within good envelopes.

A question is a confirmed request, now and then with BER that is not right. All of them must be answered,
once each.

>>> question(7, 0, "SM_1") == question(7, 0, "SM_1")
True
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.hostile.ber import Node, encode, parse
from tests.support.mms_pdus import command, define, number, object_name, read, text, tlv, variables, write

GATEWAY = "SMGW001GW"
NUMBERS = (-(2**31), -2, -1, 0, 1, 5, 60, 127, 128, 255, 256, 1000, 32767, 32768, 65535, 2**31, 2**32 - 1,
           2**32, 2**62)  # fmt: skip
TEXTS = ("", "x", "@l0", "@l1", f"{GATEWAY}/LLN0$dsVol", f"{GATEWAY}/LLN0$dsPos", "x" * 65, "x" * 129,
         "x" * 130, "x" * 300)  # fmt: skip
ATTRIBUTES = ("RptID", "RptEna", "DatSet", "OptFlds", "BufTm", "SqNum", "TrgOps", "IntgPd", "GI", "PurgeBuf",
              "EntryID", "ResvTms", "Resv", "ConfRev", "TimeofEntry", "Owner")  # fmt: skip
ITEMS = ("LLN0", "LLN0$ST", "LLN0$ST$Beh", "LLN0$DC$NamPlt$d", "MMXN1$MX$Vol", "MMXN1$MX$Vol$mag$f",
         "CSWI1$CO", "CSWI1$CO$Pos", "CSWI1$CF$Pos$ctlModel", "XSWI1$ST$Pos$stVal", "LLN0$BR",
         "LLN0$RP$urcbVol01", "NONE1", "A" * 65, "", "$$$")  # fmt: skip
TAGS = (0x83, 0x84, 0x85, 0x86, 0x87, 0x89, 0x8A, 0x8C, 0x90, 0x91, 0xA1, 0xA2)
FILES = ("/SCL/SMGW001.cid", "", "/", "../../etc/passwd", "/SCL/" + "x" * 250)


class Asker:
    """Draws services from one random source."""

    def __init__(self, draw: Random, domain: str) -> None:
        self.draw = draw
        self._domains = (domain, GATEWAY, domain, GATEWAY, "NONE", "")

    def _domain(self) -> str:
        return self.draw.choice(self._domains)

    def _name(self) -> bytes:
        """A variable, mostly one that is there."""
        chance = self.draw.random()
        if chance < 0.05:
            return tlv(0x80, b"v")
        if chance < 0.1:
            return tlv(0x82, b"l0")
        return object_name(self._domain(), self.draw.choice(ITEMS))

    def _block(self) -> bytes:
        block = self.draw.choice(("BR$brcbPos01", "RP$urcbVol01", "BR$brcbPos02", "RP$none01"))
        return object_name(GATEWAY, f"LLN0${block}${self.draw.choice(ATTRIBUTES)}")

    def _value(self) -> bytes:
        match self.draw.randrange(6):
            case 0 | 1:
                return number(self.draw.choice(NUMBERS), self.draw.choice((0x85, 0x86)))
            case 2:
                return text(self.draw.choice(TEXTS))
            case 3:
                return tlv(0x83, self.draw.choice((b"\0", b"\1", b"\xff", b"", b"\0\0")))
            case 4:
                size = self.draw.randint(0, 3)
                return tlv(0x84, bytes([self.draw.randint(0, 9)]) + self.draw.randbytes(size))
            case _:
                return tlv(self.draw.choice(TAGS), self.draw.randbytes(self.draw.choice((0, 1, 4, 8, 9))))

    def _command(self) -> tuple[bytes, bytes]:
        name = self.draw.choice(("Oper", "SBOw", "Cancel", "Oper$ctlVal", "SBO"))
        value = command(
            close=self.draw.random() < 0.5,
            ctl_num=self.draw.choice((0, 1, 2, 255, 256, 70_000)),
            category=self.draw.choice((1, 2, 3, 9)),
            who=self.draw.choice((b"", b"desk", b"x" * 64, b"x" * 65)),
            check=name != "Cancel",
        )
        return object_name(self._domain(), f"CSWI1$CO$Pos${name}"), value

    def _list_name(self) -> bytes:
        scope = self.draw.choice((0x80, 0x82, 0x82, 0x82, 0xA1))
        name = self.draw.choice(("", "l0", "l1", f"l{self.draw.randrange(14)}", "x" * 65))
        return object_name(self._domain(), f"LLN0${name}") if scope == 0xA1 else tlv(scope, name.encode())

    def file(self) -> bytes:
        """File services, which are not served."""
        path = tlv(0x19, self.draw.choice(FILES).encode())
        position = number(self.draw.choice((0, 1, 10**7, 2**31)), 0x81)
        return self.draw.choice((
            tlv(0xBF48, tlv(0xA0, path), position), tlv(0xBF48, tlv(0xA0), position), tlv(0x9F49, b"\1"),
            tlv(0x9F4A, b"\1"), tlv(0xBF4B, tlv(0xA0, path), tlv(0xA1, path)), tlv(0xBF4C, path), tlv(0xBF4D),
            tlv(0xBF4D, tlv(0xA0, path)), tlv(0xBF2E, tlv(0xA1, path), tlv(0xA2, path)),
        ))  # fmt: skip

    def lists(self) -> bytes:
        """Named variable lists: made, listed, read, written and deleted, of every scope."""
        name = self._list_name()
        members = [self._name() for _ in range(self.draw.choice((0, 1, 1, 2, 3, 100, 101)))]
        return self.draw.choice((
            define(name, *members), define(name, object_name(self._domains[0], "MMXN1$MX$Vol")),
            tlv(0xAC, name), tlv(0xA4, tlv(0xA1, tlv(0xA1, name))), tlv(0xAD, tlv(0xA1, name)),
            tlv(0xAD, number(self.draw.randrange(5), 0x80), tlv(0xA1, name, name)),
            tlv(0xAD, number(self.draw.randrange(5), 0x80)), tlv(0xA5, tlv(0xA1, name),
            tlv(0xA0, self._value())),
        ))  # fmt: skip

    def journals(self) -> bytes:
        """Journals, which are not served."""
        name = self.draw.choice(
            (object_name(self._domain(), "LLN0$log"), tlv(0x80, b"log"), tlv(0x82, b"log"))
        )
        return tlv(self.draw.choice((0xBF41, 0xBF42, 0xBF43, 0xBF44, 0xBF45, 0xBF46)), tlv(0xA0, name))

    def writes(self) -> bytes:
        """One variable or several: values beyond their type, and commands among them."""
        kinds = self.draw.choices(
            (self._command, self._attribute, self._any), k=self.draw.choice((1, 1, 1, 2, 3, 20))
        )
        pairs = [kind() for kind in kinds]
        if self.draw.random() < 0.1:
            return tlv(0xA5, variables(*(name for name, _ in pairs)), tlv(0xA0, pairs[0][1]))
        return write(*pairs)

    def _attribute(self) -> tuple[bytes, bytes]:
        return self._block(), self._value()

    def _any(self) -> tuple[bytes, bytes]:
        return self._name(), self._value()

    def reads(self) -> bytes:
        """Variables and their types, also by address and with alternate access."""
        address = tlv(0xA1, number(7, 0x80))
        selected = tlv(0xA5, tlv(0x81, b"f"))
        one = tlv(0x30, tlv(0xA0, self._name()), selected)
        return self.draw.choice((
            read(*[self._name() for _ in range(self.draw.choice((1, 1, 2, 50)))]), read(self._block()),
            tlv(0xA4, tlv(0xA1, tlv(0xA0, tlv(0x30, address)))), tlv(0xA4, tlv(0xA1, tlv(0xA0, one))),
            tlv(0xA4),
            tlv(0xA6, tlv(0xA0, self._name())), tlv(0xA6, address), tlv(0xA6),
        ))  # fmt: skip

    def names(self) -> bytes:
        """Names of each class and scope, continued after some name; status, identify, capabilities."""
        scope = self.draw.choice((tlv(0x80), tlv(0x81, self._domain().encode()), tlv(0x82), tlv(0x83)))
        after = [tlv(0x82, self.draw.choice(("LLN0", "zzz", "", "x" * 300)).encode())] * self.draw.randrange(
            2
        )
        kind = tlv(0xA0, number(self.draw.choice((0, 1, 2, 8, 9, 10, 99)), 0x80))
        return self.draw.choice((
            tlv(0xA1, kind, tlv(0xA1, scope), *after), tlv(0x80, b"\0"), tlv(0x80, b"\xff"), tlv(0x82),
            tlv(0xBF47),
        ))  # fmt: skip

    def anything(self) -> bytes:
        """Some tag with some octets."""
        tag = self.draw.choice(
            (
                self.draw.randrange(0x80, 0x9F),
                self.draw.randrange(0xA0, 0xBF),
                0xBF00 | self.draw.randrange(0x20, 0x60),
            )
        )
        return tlv(tag, self.draw.randbytes(self.draw.randrange(12)))


KINDS: dict[str, Callable[[Asker], bytes]] = {
    kind.__name__: kind
    for kind in (
        Asker.file, Asker.lists, Asker.journals, Asker.writes, Asker.reads, Asker.names, Asker.anything,
    )
}  # fmt: skip


def question(seed: int, number_: int, domain: str) -> tuple[str, bytes]:
    """The kind and the octets of a service: the same for the same seed and number."""
    draw = Random(f"services {seed} {number_}")
    kind = draw.choice(list(KINDS))
    service = KINDS[kind](Asker(draw, domain))
    return kind, _spoilt(draw, service) if draw.random() < 0.2 else service


def _spoilt(draw: Random, service: bytes) -> bytes:
    """One value with another tag, length, or octets."""
    try:
        nodes = parse(service)
    except (ValueError, IndexError):  # what was drawn is no BER already
        return service
    node: Node = draw.choice([below for top in nodes for below in top.walk()])
    match draw.randrange(4):
        case 0:
            node.tag = bytes([draw.randrange(0x80, 0xBF)])
        case 1:
            node.length = draw.choice((b"\0", b"\x7f", b"\x80", b"\x81\xff", b"\x84\xff\xff\xff\xff"))
        case 2:
            node.parts, node.value = [], draw.randbytes(draw.choice((0, 1, 5, 300)))
        case _:
            node.parts = node.parts * draw.choice((2, 30))
    return encode(nodes)

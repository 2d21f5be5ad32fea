"""One association's guard: each message of a client is forwarded, answered here, or the end.

>>> guard = Guard()
>>> guard.judge(Message(bytes(11), None)).forward == bytes(11)
True
>>> guard.judge(Message(b"", b"\\x01\\x00\\x01\\x00")).ends
True
"""

from __future__ import annotations

from dataclasses import dataclass

from mms_bridge.guard import answers, controls, envelope
from mms_bridge.guard.answers import TEMPORARILY_UNAVAILABLE, Refusal, failed, unanswered
from mms_bridge.guard.ber import MalformedError, parts
from mms_bridge.guard.envelope import Envelope
from mms_bridge.guard.reservations import Reservations
from mms_bridge.guard.rules import Command, Reservation, judged
from mms_bridge.guard.transport import Message, Written, disconnect, of_class_0, packets

CONFIRMED_REQUEST, CONFIRMED_RESPONSE, CONCLUDE_REQUEST, REJECT = 0xA0, 0xA1, 0x8B, 0xA4
SERVED = (0, 1, 2, 4, 5, 6, 11, 12, 13, 79, 83)
"""Bits of ServiceSupportOptions (ISO 9506-2): the services of ``rules.py``, informationReport, conclude."""
_SERVED_MASK = sum(1 << (87 - bit) for bit in SERVED)
_SERVICES_CALLED = b"\x82\x0c\x03"
"""servicesSupportedCalled of an Initiate-ResponsePDU: 85 bits."""
_SUCCESS = bytes.fromhex("a5028100")
_STORED = 0x81
"""Tag of the result of one variable in the response to a Write: success."""
_REQUESTS = {size: envelope.head(size, CONFIRMED_REQUEST) for size in envelope.SHORT}
_RESPONSES = {size: envelope.head(size, CONFIRMED_RESPONSE) for size in envelope.SHORT}
"""By their length: how most requests and responses begin; they need no second look."""


@dataclass(frozen=True, slots=True)
class Action:
    """What to do with one message."""

    forward: bytes = b""
    """For the library."""
    reply: bytes = b""
    """For the client."""
    ends: bool = False
    """The association, after the reply."""
    asks: bytes = b""
    """invokeID that the library has to answer at once."""
    rule: str = ""
    """That was broken."""


@dataclass(slots=True)
class _Asked:
    """The request that the library has now."""

    context: int
    invoke: bytes
    command: Command | None
    reservations: tuple[Reservation, ...] = ()
    answered: bool = False
    """Its answer has begun,"""
    ended: bool = False
    """and has come to its end."""

    @property
    def plain(self) -> bool:
        """Whether nothing of its answer is noted but that it is there."""
        return self.command is None and not self.reservations


class Guard:
    """What must be known of an association to judge its messages."""

    def __init__(self, reservations: Reservations | None = None, client: str = "") -> None:
        """``reservations`` of the server, and what they know the client by."""
        self._reservations = reservations or Reservations()
        self._client = client
        self.associated = False
        """Whether the server has accepted the association."""
        self._connected = False
        self._selected: dict[tuple[str, str], bytes] = {}  # control object -> what its Cancel repeats
        self._asked: _Asked | None = None
        self._written = Written()

    def lets_through(self, octets: bytes) -> bool:
        """Whether these are one short request that the library may have; ``judge`` knows of all others."""
        if not self.associated or octets[: envelope.INVOKE_AT] != _REQUESTS.get(len(octets)):
            return False
        end = envelope.INVOKE_AT + 1 + octets[envelope.INVOKE_AT]
        try:
            judgement = judged(octets[end:])
        except MalformedError:
            return False
        invoke = octets[envelope.INVOKE_AT + 1 : end]
        if judgement.refusal or judgement.command or judgement.reservations or not 1 <= len(invoke) <= 5:
            return False
        self._asked = _Asked(3, invoke, None)
        return True

    @property
    def answered(self) -> bool:
        """Whether the library has answered the request that it was given."""
        return self._asked is not None and self._asked.answered

    def judge(self, message: Message) -> Action:
        """What to do with it."""
        self._asked = None
        try:
            return self._judged(message)
        except MalformedError as error:
            return Action(ends=True, rule=f"malformed: {error}")

    def _judged(self, message: Message) -> Action:
        if message.data is None:
            return self._connection_request(message.raw)
        if not self.associated:
            if message.data[:1] != bytes((envelope.CONNECT,)) or not self._connected:
                raise MalformedError("data before an association")
            envelope.check_connect(message.data)
            return Action(forward=message.raw)
        if message.data[:1] in (bytes((envelope.FINISH,)), bytes((envelope.ABORT,))):
            return Action(forward=message.raw)  # the library answers if it must, and closes
        inside = envelope.opened(message.data)
        try:
            return self._pdu(message.raw, inside)
        except MalformedError as error:
            return Action(reply=_packets(inside, answers.INVALID_PDU), rule=f"malformed: {error}")

    def _connection_request(self, raw: bytes) -> Action:
        if self._connected:
            raise MalformedError("a second connection request")
        request = of_class_0(raw)
        if request is None:
            return Action(reply=disconnect(raw), ends=True, rule="transport class")
        self._connected = True
        return Action(forward=request)

    def _pdu(self, raw: bytes, inside: Envelope) -> Action:
        outer = parts(inside.pdu)
        if len(outer) != 1:
            raise MalformedError("not one PDU")
        tag, begin, end = outer[0]
        if tag == CONCLUDE_REQUEST and begin == end:
            return Action(reply=_packets(inside, answers.CONCLUDED), ends=True)
        if tag == REJECT:
            return Action()  # of something that we sent
        arguments = parts(inside.pdu, begin, end) if tag == CONFIRMED_REQUEST else []
        if [one[0] for one in arguments[:1]] != [0x02] or len(arguments) != 2:
            return Action(reply=_packets(inside, answers.INVALID_PDU), rule="no confirmed request")
        (_, first, last), (_, _, stop) = arguments
        return self._request(raw, inside, inside.pdu[first:last], inside.pdu[last:stop])

    def _request(self, raw: bytes, inside: Envelope, invoke: bytes, service: bytes) -> Action:
        if not 1 <= len(invoke) <= 5:
            return Action(reply=_packets(inside, answers.INVALID_PDU), rule="invokeID")
        judgement = judged(service)
        refusal = judgement.refusal
        if refusal is None and judgement.command is not None:
            refusal = self._wrong_cancel(judgement.command)
        if refusal is None:
            refusal = self._reserved(judgement.reservations)
        if refusal is not None:
            before = _packets(inside, refusal.before) if refusal.before else b""
            return Action(reply=before + _packets(inside, refusal.pdu(invoke)), rule=refusal.rule)
        self._asked = _Asked(inside.context, invoke, judgement.command, judgement.reservations)
        return Action(forward=raw, asks=invoke)

    def _wrong_cancel(self, command: Command) -> Refusal | None:
        """A Cancel with another ctlNum, origin or Test than its SBOw had."""
        key = command.domain, command.object
        if command.name == "Cancel" and self._selected.get(key, command.repeated) != command.repeated:
            return controls.wrong_cancel(command.domain, command.item, command.value)
        if command.name != "SBOw":
            self._selected.pop(key, None)
        return None

    def _reserved(self, wanted: tuple[Reservation, ...]) -> Refusal | None:
        """ResvTms of a block that waits for another client: the library would let this one take it."""
        if any(self._reservations.is_others(one.block, self._client) for one in wanted):
            return failed("reserved", TEMPORARILY_UNAVAILABLE, wanted[0].variables)
        return None

    def ended(self) -> None:
        """The association is over."""
        self._reservations.left(id(self))

    def heard(self, out: bytes) -> bytes:
        """What the library sends, as the client is to get it."""
        if not self.associated:
            return self._heard_accept(out)
        asked = self._asked
        if self._written.is_one(out):
            if asked is None or asked.ended:
                return out
            if asked.plain and out[: envelope.INVOKE_AT] == _RESPONSES.get(len(out)):
                begin = envelope.INVOKE_AT + 1
                asked.answered = asked.ended = out[begin : begin + out[begin - 1]] == asked.invoke
                return out
        for data, whole in self._written.messages(out):
            if asked is not None and not asked.ended:
                self._hear(asked, data, whole=whole)
        return out

    def _heard_accept(self, out: bytes) -> bytes:
        if out[7:8] != bytes((envelope.ACCEPT,)):
            return out
        self.associated = True
        at = out.rfind(_SERVICES_CALLED)
        if at < 0:
            return out
        begin, end = at + len(_SERVICES_CALLED), at + len(_SERVICES_CALLED) + 11
        served = int.from_bytes(out[begin:end]) & _SERVED_MASK
        return out[:begin] + served.to_bytes(11) + out[end:]

    def _hear(self, asked: _Asked, data: bytes, *, whole: bool) -> None:
        """Note the answer to the request that was forwarded, if this is it or how it begins."""
        found = _head(data)
        if found is None or found[1] != asked.invoke:
            return
        asked.answered, asked.ended = True, whole
        if not whole or found[0] != CONFIRMED_RESPONSE:
            return
        self._note(asked.reservations, data)
        command = asked.command
        if command is not None and command.name == "SBOw" and data.endswith(_SUCCESS):
            self._selected[command.domain, command.object] = command.repeated

    def _note(self, wanted: tuple[Reservation, ...], data: bytes) -> None:
        """Whether the library has stored ResvTms."""
        if not wanted:
            return
        pdu = envelope.opened(data).pdu
        ((_, begin, end),) = parts(pdu)
        _, (_, first, last) = parts(pdu, begin, end)
        results = parts(pdu, first, last)
        for one in wanted:
            if len(results) == one.variables and results[one.place][0] == _STORED:
                self._reservations.wrote(one.block, self._client, one.seconds, by=id(self))

    def missing(self) -> Action:
        """After the library has had the request: its answer if there is none and none can come later."""
        asked, self._asked = self._asked, None
        if asked is None or asked.answered or asked.command is not None:
            return Action()
        refusal = unanswered()
        reply = packets(envelope.closed(asked.context, refusal.pdu(asked.invoke)))
        return Action(reply=reply, rule=refusal.rule)


def _packets(inside: Envelope, pdu: bytes) -> bytes:
    return packets(envelope.closed(inside.context, pdu))


def _head(data: bytes) -> tuple[int, bytes] | None:
    """Tag and invokeID of the PDU that a message of the library begins; None if it has none."""
    at = len(envelope.DATA)
    for wanted in (0x61, 0x30, None, 0xA0):
        if wanted is None:
            at += 3  # the context
        elif at + 1 < len(data) and data[at] == wanted:
            at += 2 + (data[at + 1] & 0x7F if data[at + 1] & 0x80 else 0)
        else:
            return None
    if at + 1 >= len(data):
        return None
    tag = data[at]
    at += 2 + (data[at + 1] & 0x7F if data[at + 1] & 0x80 else 0)
    if at + 1 >= len(data) or data[at] not in (0x02, 0x80):
        return None
    return tag, data[at + 2 : at + 2 + data[at + 1]]

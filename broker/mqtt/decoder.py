"""The byte stream from a broker, cut into MQTT 3.1.1 or 5 packets (`broker.mqtt.packets`): no I/O.

>>> from broker.mqtt.packets import publish
>>> decoder = Decoder(version=4)
>>> decoder.feed(publish(b"a/b", b"{}", packet_id=7, version=4))
([Publish(topic=b'a/b', payload=b'{}', packet_id=b'\\x00\\x07', flags=2)], [])
"""

from __future__ import annotations

from broker.mqtt.packets import (
    IDENTIFIED,
    PUBLISH,
    SUBSCRIPTION,
    Connack,
    Control,
    ProtocolError,
    Publish,
    Version,
)

_MAX_LENGTH_BYTES = 4


def parse_connack(body: bytes, *, version: Version) -> Connack:
    """CONNACK from its ``body``; ProtocolError if it is cut."""
    if len(body) < 2:
        raise ProtocolError("broker sent a CONNACK that is cut")
    try:
        properties = _properties(body[2:]) if version == 5 and len(body) > 2 else {}
    except IndexError:
        raise ProtocolError("broker sent a CONNACK whose properties are cut") from None
    return Connack(
        session_present=bool(body[0] & 1),
        code=body[1],
        receive_maximum=properties.get(0x21) or 65535,
        maximum_packet=properties.get(0x27) or 2**28,
        keepalive=properties.get(0x13),
        identifiers=properties.get(0x29) != 0,
    )


# Properties of a CONNACK (clause 3.2.2.3): identifier → bytes of an integer; 0 for text, -1 for a pair.
# fmt: off
_PROPERTY_SIZES = {
    0x11: 4, 0x12: 0, 0x13: 2, 0x15: 0, 0x16: 0, 0x1A: 0, 0x1C: 0, 0x1F: 0, 0x21: 2, 0x22: 2, 0x24: 1,
    0x25: 1, 0x26: -1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1,
}
# fmt: on


def _properties(data: bytes) -> dict[int, int]:
    """The integer properties in ``data``, which begins with their length."""
    length, pos = _read_length(data, 0)
    end, found = pos + length, {}
    while pos < end:
        identifier, pos = data[pos], pos + 1
        size = _PROPERTY_SIZES.get(identifier)
        if size is None:
            raise ProtocolError(
                f"broker sent CONNACK property 0x{identifier:02x}, which MQTT 5 does not know"
            )
        if size > 0:
            found[identifier] = int.from_bytes(data[pos : pos + size], "big")
            pos += size
        for _ in range(1 if size == 0 else 2 if size < 0 else 0):
            pos += 2 + int.from_bytes(data[pos : pos + 2], "big")
    return found


def _read_length(data: bytes, pos: int) -> tuple[int, int]:
    """The variable byte integer at ``pos`` and the position after it; IndexError when cut."""
    value = shift = 0
    for _ in range(_MAX_LENGTH_BYTES):
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, pos
        shift += 7
    raise ProtocolError("broker sent a length of more than four bytes")


# The same of a PUBLISH (clause 3.3.2.3); -2 for a text, which binary data is too.
_PUBLISH_SIZES = {0x01: 1, 0x02: 4, 0x03: -2, 0x08: -2, 0x09: -2, 0x23: 2}
_USER_PROPERTY = 0x26


def _is_identified(properties: bytes) -> bool:
    """Whether a subscription identifier is among the ``properties`` of a PUBLISH."""
    pos = 0
    while pos < len(properties):
        identifier, pos = properties[pos], pos + 1
        if identifier == SUBSCRIPTION:
            return True
        size = _PUBLISH_SIZES.get(identifier, 0)
        texts = 2 if identifier == _USER_PROPERTY else 1 if size < 0 else 0
        if not size and not texts:
            raise ProtocolError(
                f"broker sent PUBLISH property 0x{identifier:02x}, which MQTT 5 does not know"
            )
        pos += max(0, size)
        for _ in range(texts):
            pos += 2 + int.from_bytes(properties[pos : pos + 2], "big")
    return False


class Decoder:
    """Cuts the byte stream from the broker into packets."""

    def __init__(self, *, version: Version) -> None:
        self._v5 = version == 5
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = 2

    def feed(self, data: bytes) -> tuple[list[Publish], list[Control]]:
        """The packets that ``data`` completes; ProtocolError if they are not MQTT."""
        self._chunks.append(data)
        self._have += len(data)
        if self._have < self._need:  # a large packet arrives in many reads: join them once
            return [], []
        buffer = b"".join(self._chunks) if len(self._chunks) > 1 else data
        try:
            publishes, controls, rest = self._cut(buffer)
        except IndexError:
            raise ProtocolError("broker sent a packet that is shorter than its fields") from None
        self._chunks, self._have = ([buffer[rest:]], len(buffer) - rest) if rest < len(buffer) else ([], 0)
        return publishes, controls

    def _cut(self, buffer: bytes) -> tuple[list[Publish], list[Control], int]:
        """Whole packets in ``buffer``, and where the first incomplete one begins."""
        publishes: list[Publish] = []
        controls: list[Control] = []
        start, size = 0, len(buffer)
        self._need = 2
        while start + 2 <= size:
            length = buffer[start + 1]  # the common case inline: this loop runs for every reading
            pos = start + 2
            if length > 0x7F:
                if start + 3 > size:
                    break
                length = (length & 0x7F) | buffer[start + 2] << 7
                pos += 1
                if length > 0x3FFF:
                    if start + 5 > size:
                        break
                    length, pos = _read_length(buffer, start + 1)
            end = pos + length
            if end > size:
                self._need = end - start
                break
            if buffer[start] & 0xF0 == PUBLISH:
                publishes.append(self._publish(buffer, pos, end, flags=buffer[start] & 0x0F))
            else:
                controls.append(Control(buffer[start] & 0xF0, buffer[pos:end]))
            start = end
        return publishes, controls, start

    def _publish(self, buffer: bytes, pos: int, end: int, *, flags: int) -> Publish:
        """The PUBLISH whose variable header begins at ``pos``."""
        topic_end = pos + 2 + (buffer[pos] << 8 | buffer[pos + 1])
        payload = topic_end + 2 if flags & 0x06 else topic_end
        packet_id = buffer[topic_end:payload]
        if self._v5:
            skip = buffer[payload]
            if skip < 0x80:
                payload += 1 + skip
            else:
                skip, payload = _read_length(buffer, payload)
                payload += skip
            if skip and _is_identified(buffer[payload - skip : payload]):
                flags |= IDENTIFIED
        if payload > end:
            raise IndexError
        return Publish(buffer[pos + 2 : topic_end], buffer[payload:end], packet_id, flags)

"""The MQTT codec: what we send is MQTT, what arrives is cut rightly however the network splits it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.mqtt import packets
from broker.mqtt.decoder import Decoder, parse_connack
from broker.mqtt.packets import Connack, Control, ProtocolError, Publish, Version, Will

VERSIONS: list[Version] = [4, 5]
messages = st.lists(
    st.builds(
        Publish,
        topic=st.binary(min_size=1, max_size=300),
        payload=st.one_of(st.binary(max_size=200), st.just(b"x" * 20_000)),
        packet_id=st.one_of(
            st.just(b""), st.integers(1, 65535).map(lambda number: number.to_bytes(2, "big"))
        ),
        flags=st.just(0),
    ),
    max_size=8,
)


def encoded(message: Publish, version: Version) -> bytes:
    packet_id = int.from_bytes(message.packet_id, "big")
    return packets.publish(message.topic, message.payload, packet_id=packet_id, version=version)


@given(sent=messages, sizes=st.lists(st.integers(1, 30_000), min_size=1), version=st.sampled_from(VERSIONS))
def test_messages_arrive_whole_however_the_stream_is_split(
    sent: list[Publish], sizes: list[int], version: Version
) -> None:
    stream = packets.PINGREQ.join([b"", *(encoded(message, version) for message in sent), b""])
    decoder, received, others, at = Decoder(version=version), list[Publish](), list[Control](), 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        publishes, controls = decoder.feed(stream[at : at + size])
        received += publishes
        others += controls
        at += size
    assert [message[:3] for message in received] == [message[:3] for message in sent]
    assert len(others) == len(sent) + 1


@given(st.binary(max_size=400), st.sampled_from(VERSIONS))
def test_noise_is_refused_or_waits_for_more(noise: bytes, version: Version) -> None:
    with suppress(ProtocolError):
        Decoder(version=version).feed(noise)


@pytest.mark.parametrize(
    ("properties", "identified"),
    [
        (b"", False),
        (b"\x0b\x01", True),
        (b"\x01\x01\x02\x00\x00\x00\x3c\x03\x00\x01a\x23\x00\x01\x26\x00\x01b\x00\x01c", False),
        (b"\x02\x00\x00\x00\x0b\x09\x00\x01\x0b\x26\x00\x01b\x00\x01c\x0b\x07", True),
    ],
)
def test_a_message_shows_whether_its_subscription_has_an_identifier(
    properties: bytes, identified: bool
) -> None:
    body = b"\x00\x03a/b\x00\x09" + bytes((len(properties),)) + properties + b"{}"
    (message,), _ = Decoder(version=5).feed(bytes((0x32, len(body))) + body)
    assert (message.payload, bool(message.flags & packets.IDENTIFIED)) == (b"{}", identified)


def test_flags_and_properties_of_a_received_message() -> None:
    # RETAIN and DUP at QoS 1; message expiry 60 s as property (clause 3.3.2.3)
    body = b"\x00\x03a/b\x00\x09\x05\x02\x00\x00\x00\x3c{}"
    (message,), _ = Decoder(version=5).feed(bytes((0x3B, len(body))) + body)
    assert message == Publish(b"a/b", b"{}", b"\x00\x09", packets.DUP | packets.QOS1 | packets.RETAIN)


@pytest.mark.parametrize(
    "stream",
    [b"\x30\xff\xff\xff\xff\x01", b"\x32\x03\x00\x09a", b"\x30\x01\x00", b"\x32\x04\x00\x01a\x00"],
    ids=["length of five bytes", "topic beyond the packet", "cut topic length", "cut packet identifier"],
)
def test_a_packet_that_contradicts_itself_is_a_protocol_error(stream: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder(version=4).feed(stream)


def test_connect_on_3_1_1_to_the_byte() -> None:
    packet = packets.connect("c", version=4, keepalive=15, will=Will(b"w", b"x"), username="u", password="p")
    assert packet == b"\x10\x19\x00\x04MQTT\x04\xec\x00\x0f\x00\x01c\x00\x01w\x00\x01x\x00\x01u\x00\x01p"


def test_connect_on_5_asks_for_a_lasting_session_and_a_window() -> None:
    packet = packets.connect(
        "c",
        version=5,
        keepalive=15,
        will=Will(b"w", b"x"),
        session_expiry=60,
        receive_maximum=10,
        maximum_packet=99,
    )
    properties = b"\x0d\x11\x00\x00\x00\x3c\x21\x00\x0a\x27\x00\x00\x00\x63"
    assert packet == b"\x10\x22\x00\x04MQTT\x05\x2c\x00\x0f" + properties + b"\x00\x01c\x00\x00\x01w\x00\x01x"


def test_subscribe_on_5_without_echo_and_with_retain_as_published() -> None:
    assert packets.subscribe(1, ["a/#"], version=5) == b"\x82\x09\x00\x01\x00\x00\x03a/#\x15"
    command = packets.subscribe(1, ["+/command"], version=5, identifier=1, as_published=["+/command"])
    assert command == b"\x82\x11\x00\x01\x02\x0b\x01\x00\x09+/command\x1d"  # RETAIN as published
    assert packets.subscribe(1, ["a/#"], version=4) == b"\x82\x08\x00\x01\x00\x03a/#\x01"


def test_connack_with_every_kind_of_property() -> None:
    text, pair = b"\x1a\x00\x02ok", b"\x26\x00\x01k\x00\x01v"
    properties = pair + text + b"\x24\x01" + b"\x21\x00\x14" + b"\x27\x00\x00\xff\xff" + b"\x13\x00\x0a"
    body = b"\x01\x00" + bytes((len(properties),)) + properties
    assert parse_connack(body, version=5) == Connack(True, 0, 20, 65535, keepalive=10)


@pytest.mark.parametrize("body", [b"\x00", b"\x00\x00\x05\x21\x00", b"\x00\x00\x02\x7f\x00"])
def test_a_bad_connack_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_connack(body, version=5)


def test_acknowledgements_are_joined() -> None:
    assert packets.pubacks([b"\x00\x01", b"\x01\x00"]) == b"\x40\x02\x00\x01\x40\x02\x01\x00"

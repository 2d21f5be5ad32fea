"""An SCL document in a message: small ones as they are, large ones as xz, and nothing that has no end."""

from __future__ import annotations

import argparse
import lzma
from pathlib import Path

import pytest

from bench.scl import Town
from broker.contract.compressed import MAX_DOCUMENT, PLAIN_BYTES, packed, unpacked
from broker.contract.errors import ContractError
from broker.daemon.mosquitto import MAX_PACKET


@pytest.mark.parametrize("size", [0, 1, PLAIN_BYTES, PLAIN_BYTES + 1, 9_000_000])
def test_comes_back_as_it_was(size: int) -> None:
    document = (b"<SCL>" + b"0123456789" * (size // 10 + 1))[:size]
    payload = packed(document)
    assert unpacked(payload) == document
    assert (payload == document) == (size <= PLAIN_BYTES)
    assert payload == packed(document)


def test_the_scd_of_ten_thousand_meters_leaves_two_fifths_of_a_packet(tmp_path: Path) -> None:
    town = Town(tmp_path, argparse.Namespace(ieds=200, meters=50))
    town.build()
    largest = max(len(payload) for payload in town.sent.values())
    scd = unpacked(town.sent[town.topics.scd])
    town.close()
    assert scd.count(b"<LDevice") >= 10_000
    assert scd.rstrip().endswith(b"</SCL>")
    assert largest < 0.6 * MAX_PACKET


@pytest.mark.parametrize(
    "payload",
    [
        packed(bytes(PLAIN_BYTES + 1))[:-1],
        packed(bytes(PLAIN_BYTES + 1)) + b"x",
        packed(bytes(PLAIN_BYTES + 1))[:8],
        b"\xfd7zXZ\0" + bytes(100),
    ],
)
def test_broken_payload_is_not_of_the_contract(payload: bytes) -> None:
    with pytest.raises(ContractError, match="SCL document"):
        unpacked(payload)


def test_payload_that_becomes_too_large_is_not_of_the_contract() -> None:
    compressor = lzma.LZMACompressor(preset=1)
    million = bytes(1_000_000)
    parts = [compressor.compress(million) for _ in range(MAX_DOCUMENT // len(million) + 2)]
    with pytest.raises(ContractError, match="becomes more than"):
        unpacked(b"".join([*parts, compressor.flush()]))

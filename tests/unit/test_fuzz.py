"""What `make fuzz` does for long, for a moment: seeds, their mutants and noise against every parser.

The same examples every time: a run says whether the code has changed, not whether luck has.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.ingest import parse
from broker.contract.status import Status
from meter_firmware.relay.rules import UnreadableCommandError, read
from scl_builder.read.cid import CidError, read_cid
from tests.fuzz.seeds import BEYOND_UTC, DEEP_HISTORY, good_cid, good_messages, seeds
from tests.fuzz.targets import MODELS, TARGETS

QUICK = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
GIANT = 64 * 2**20
"""Bytes: four times the largest packet that Mosquitto takes with our configuration."""


@st.composite
def mutants(draw: st.DrawFn, target: str) -> bytes:
    """A seed in which up to three places are cut out, overwritten, or filled from another seed."""
    known = [seed for seed in seeds(target) if len(seed) < 40_000]
    data = draw(st.sampled_from(known))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        other = draw(st.sampled_from(known))
        at = draw(st.integers(0, len(other)))
        filler = draw(st.one_of(st.binary(max_size=8), st.just(other[at : at + 40]), st.just(b"9" * 400)))
        data = data[:start] + filler + data[end:]
    return data


def test_there_is_a_seed_of_every_model() -> None:
    assert {type(one) for one in good_messages()} == set(MODELS)


@pytest.mark.parametrize("target", TARGETS)
def test_every_seed_is_taken_or_refused(target: str) -> None:
    for seed in seeds(target):
        TARGETS[target](seed)


@pytest.mark.parametrize("target", TARGETS)
def test_every_mutant_is_taken_or_refused(target: str) -> None:
    @QUICK
    @given(mutants(target))
    def run(data: bytes) -> None:
        TARGETS[target](data)

    run()


@pytest.mark.parametrize("target", TARGETS)
def test_noise_is_refused(target: str) -> None:
    @QUICK
    @given(st.binary(max_size=300))
    @example(b"")
    def run(data: bytes) -> None:
        TARGETS[target](data)

    run()


def test_a_time_that_utc_has_no_number_for_is_refused_by_meter_bridge_and_model() -> None:
    """One meter's status ended the MMS bridge with it, one command the meter."""
    with pytest.raises(ValidationError, match="after 2099"):
        Status.model_validate_json(BEYOND_UTC)
    with pytest.raises(parse.RejectedError, match=r"^ts: is after 2099: the sender's clock is wrong$"):
        parse.message(Status, BEYOND_UTC, limit=4096)
    command = next(seed for seed in seeds("commands") if b'"expires_at"' in seed and b"meter_id" not in seed)
    with pytest.raises(UnreadableCommandError, match="after 2099"):
        read(command.replace(b"2026-11-23T12:00:00.000Z", b"9999-12-31T23:59:59.999-23:59"))


def test_a_history_that_cannot_be_taken_apart_is_refused() -> None:
    with pytest.raises(parse.RejectedError, match="nested too deeply"):
        parse.history_items(DEEP_HISTORY)


@pytest.mark.parametrize(
    ("found", "instead", "cause"),
    [
        (b"SMGW001", b"SM'W001", "IED name"),
        (b"<SCL ", b"<!DOCTYPE SCL><SCL ", "DOCTYPE"),
        (b'max="2"', b'max="2000000000"', "instances"),
        (b'confRev="', b'confRev="-', "INT32U"),
    ],
)
def test_a_cid_that_would_end_the_server_is_refused(found: bytes, instead: bytes, cause: str) -> None:
    assert found in good_cid()
    with pytest.raises(CidError, match=cause):
        read_cid(good_cid().replace(found, instead))


def giant(kind: str) -> bytes:
    """A payload of 64 MB."""
    text = b"x" * GIANT
    return {
        "text": b'{"online":true,"session":"' + text + b'"}',
        "digits": b'{"epoch":' + b"9" * GIANT + b"}",
        "brackets": b"[" * GIANT,
        "attribute": good_cid().replace(b"<IED ", b'<IED desc="' + text + b'" '),
    }[kind]


GIANTS = [
    ("payloads", "text"), ("payloads", "digits"), ("payloads", "brackets"), ("commands", "text"),
    ("ingest", "text"), ("hearing", "text"), ("hearing", "brackets"), ("cid", "attribute"),
]  # fmt: skip
LIMITED = """
import os, resource
from tests.fuzz.targets import TARGETS
from tests.unit.test_fuzz import GIANTS, giant
for target, kind in GIANTS:
    if os.fork() == 0:
        TARGETS[target](giant(kind))
        told = resource.getrusage(resource.RUSAGE_SELF)
        print(target, kind, told.ru_utime, told.ru_maxrss / 1024, flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, (target, kind)
"""


@pytest.fixture(scope="module")
def costs() -> dict[tuple[str, str], tuple[float, float]]:
    """Seconds and mebibytes of each, every one in a process of its own."""
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    return {(target, kind): (float(seconds), float(size)) for target, kind, seconds, size in rows}


@pytest.mark.parametrize(("target", "kind"), GIANTS)
def test_64_megabytes_cost_seconds_and_megabytes(
    target: str, kind: str, costs: dict[tuple[str, str], tuple[float, float]]
) -> None:
    seconds, mebibytes = costs[target, kind]
    assert seconds < 30
    assert mebibytes < 1500

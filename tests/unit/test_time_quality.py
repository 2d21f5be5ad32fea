"""The time quality of what the gateway itself says follows the clock of its host (IEC 61850-8-1, 8.1.3.6)."""

from __future__ import annotations

import pytest

from broker import host_clock
from broker.contract.fleet import Fleet, MeterState
from broker.host_clock import ClockSettings, warn_unless_kept
from mms_bridge.clock import Clock
from mms_bridge.datamodel import mapping, moment
from mms_bridge.datamodel.moment import T_NOT_SYNCHRONIZED, T_SYNCHRONIZED
from scl_builder.model.logical_devices import GATEWAY_LD
from scl_builder.model.nsd_enums import ENUMERATIONS
from scl_builder.model.nsd_nodes import LN_CLASSES

METER = MeterState("3f2504e0-4f89-41d3-9a0c-0305e82c3301")


@pytest.mark.parametrize(("kept", "quality"), [(True, T_SYNCHRONIZED), (False, T_NOT_SYNCHRONIZED)])
def test_what_the_gateway_says_has_the_quality_of_its_clock(*, kept: bool, quality: int) -> None:
    now = moment.now(synchronized=kept)
    own = dict(mapping.gateway_values([], Fleet(), revision=1, now=now))
    health = dict(mapping.health_values(METER, broker_up=True, now=now))
    assert {value.t_quality for value in (*own.values(), *health.values())} == {quality}
    assert quality & 0x20 == (0 if kept else 0x20), "ClockNotSynchronized"
    told = ENUMERATIONS["ClockSyncKind"][int(own["LTMS1", "TmSyn"].value or 0)]
    assert told == ("LocalAreaClock" if kept else "InternalClock")


def test_ltms_has_what_its_class_asks_for() -> None:
    (node,) = (node for node in GATEWAY_LD if node.ln_class == "LTMS")
    mandatory = {name for name, rule in LN_CLASSES["LTMS"].items() if rule.presence == "M"}
    assert mandatory == {"Beh", "TmSrc", "TmSrcTyp"} < {do.name for do in node.objects}


def test_a_change_of_the_kernels_answer_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter((True, True, False, False, True))
    monkeypatch.setattr(host_clock, "clock_synchronized", lambda: next(answers))
    changes: list[bool] = []
    clock = Clock(ClockSettings(), changed=lambda: changes.append(clock.now().synchronized))
    for _ in range(4):
        clock.look()
    assert changes == [False, True]


def test_who_set_the_machine_up_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_clock, "clock_synchronized", lambda: False)
    assert not ClockSettings().kept()
    monkeypatch.setenv("METER61850_CLOCK_SYNCHRONIZED", "true")
    assert ClockSettings().kept()


@pytest.mark.parametrize("kept", [True, False])
def test_certificates_of_a_doubtful_clock_are_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, kept: bool
) -> None:
    monkeypatch.setattr(host_clock, "clock_synchronized", lambda: kept)
    warn_unless_kept.cache_clear()
    for _ in range(2):
        warn_unless_kept("certificates")
    assert [record.levelname for record in caplog.records] == ([] if kept else ["WARNING"])
    warn_unless_kept.cache_clear()

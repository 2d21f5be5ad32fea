"""Alarms without a database: what raises and clears, how many messages leave, where they go."""

from __future__ import annotations

import json

import pytest

from bridge.alarms import server
from bridge.alarms.notifications import plan
from bridge.alarms.states import VOLTAGES, Limits
from bridge.alarms.targets import Mail, Service, Webhook, parse
from bridge.ingest.classify import Sorter
from bridge.ingest.work import Work
from bridge.settings import BridgeSettings
from bridge.store.alarms import Changes, Finding, Standing, differences, ended
from broker.contract.alarms import KINDS, AlarmInForce, Alarms, Severity, worst
from broker.contract.errors import ConfigurationError
from broker.contract.fleet import Fleet
from broker.contract.messages import utc_now
from broker.contract.status import ServiceStatus
from broker.contract.topics import Topic, Topics
from broker.mqtt.packets import Publish
from mms_bridge.alarms import alarm_handlers
from mms_bridge.datamodel import mapping
from mms_bridge.datamodel.moment import Moment
from scl_builder.model.deadbands import Bands

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


def standing(key: int, meter: int, kind: str, subject: str = "", *, last_seen: int = 0) -> Standing:
    return Standing(key, meter, kind, subject, 0, last_seen)


def test_what_is_found_is_raised_once_and_what_is_not_is_cleared_once() -> None:
    offline, stale = Finding(1, "offline", "a"), Finding(2, "stale", "b")
    looked_at = {"offline", "stale"}
    assert differences([], [offline, stale], looked_at=looked_at) == Changes([offline, stale], [])
    known = [standing(7, 1, "offline"), standing(8, 2, "stale")]
    assert not differences(known, [offline, stale], looked_at=looked_at)
    assert differences(known, [stale], looked_at=looked_at) == Changes([], [7])
    assert not differences(known, [stale], looked_at={"stale"}), "what nobody looked at stays"


def test_what_is_not_sure_raises_nothing_and_clears_nothing() -> None:
    doubtful = Finding(1, "offline", "a", sure=False)
    assert not differences([], [doubtful], looked_at={"offline"})
    assert not differences([standing(7, 1, "offline")], [doubtful], looked_at={"offline"})


def test_one_subject_of_a_kind_is_not_another() -> None:
    found = [Finding(0, "certificate", "ends", "of web"), Finding(0, "certificate", "ends", "of mms")]
    changes = differences([standing(7, 0, "certificate", "of web")], found, looked_at={"certificate"})
    assert changes == Changes([found[1]], [])


def test_an_event_ends_after_so_long_of_listening_without_it() -> None:
    lasts = 15 * 60_000
    twin = [standing(7, 1, "twin", last_seen=1000), standing(8, 1, "offline", last_seen=1000)]
    assert ended(twin, now=1000 + lasts, listening_since=0) == []
    assert ended(twin, now=1001 + lasts, listening_since=0) == [7]
    assert ended(twin, now=1001 + lasts, listening_since=2000) == [], "nobody would have heard it"


def test_every_kind_says_what_it_is() -> None:
    for name, kind in KINDS.items():
        assert len(name) <= 32, "the column"
        assert all((kind.meaning, kind.raised, kind.cleared, kind.cure)), name


@pytest.mark.parametrize(
    ("kinds", "health"),
    [
        ([], None),
        (["voltage"], None),
        (["offline", "stale"], None),
        (["clock", "voltage"], Severity.WARNING),
        (["clock", "twin"], Severity.ALARM),
        (["of-a-newer-bridge"], Severity.WARNING),
    ],
)
def test_the_worst_alarm_is_the_health(kinds: list[str], health: Severity | None) -> None:
    assert worst(kinds) is health


def test_alarms_are_the_health_in_mms() -> None:
    fleet, told = Fleet(broker_up=True), list[str]()
    meter = fleet.meter(METER)
    handlers = alarm_handlers(
        fleet, of_meter=lambda one: told.append(one.meter_id), of_server=lambda: told.append("server")
    )

    def say(topic: Topic, *kinds: str) -> None:
        alarms = (
            AlarmInForce(id=number, kind=kind, severity="alarm", since=utc_now())
            for number, kind in enumerate(kinds, 1)
        )
        payload = Alarms(alarms=tuple(alarms)).payload() if kinds else b""
        handlers[topic.kind](topic, payload, retained=False)

    own, servers = Topic("alarms", METER), Topic("service_alarms", "bridge")
    for kinds in (("clock",), ("clock", "voltage"), ("relay",), ()):
        say(own, *kinds)
        told.append(str(meter.worst))
    assert told == [METER, "warning", "warning", METER, "alarm", METER, "None"]
    say(servers, "disk")
    assert (fleet.worst, told[-1]) == (Severity.ALARM, "server")

    def health() -> int:
        now = Moment(0, 0)
        values = dict(mapping.gateway_values([], fleet, revision=1, now=now))
        return next(int(value.value or 0) for (_, name), value in values.items() if name == "PhyHealth")

    assert health() == mapping.ALARM
    say(servers)
    assert health() == mapping.WARNING, "there is no bridge"


def test_the_voltage_has_the_limits_of_mms() -> None:
    assert Limits.of(Bands.of(ranges="voltage=10")) == Limits(207.0, 253.0, 2.3)
    assert Limits.of(Bands.of(ranges="voltage=5", nominal="voltage=120")) == Limits(114.0, 126.0, 1.2)
    assert Limits.of(Bands.of()) is None
    assert VOLTAGES == ("voltage", "voltage_l1", "voltage_l2", "voltage_l3")


def test_a_certificate_is_one_alarm_whatever_its_day() -> None:
    text = "the certificate of web ends on 2026-12-24 12:00 UTC: renew it"
    registrar = ServiceStatus(online=True, version="1", session="s", ts=utc_now(), warnings=(text,))
    assert list(server.certificates({"registrar": registrar})) == [
        Finding(0, "certificate", text, "the certificate of web")
    ]
    told = (registrar.model_copy(update={"warnings": (f"{n} more certificates end soon",)}) for n in (7, 12))
    assert {one.subject for more in told for one in server.certificates({"registrar": more})} == {
        "more certificates end soon"
    }


@pytest.mark.parametrize(
    ("count", "left", "messages"),
    [(0, 10, 0), (3, 10, 3), (9, 10, 9), (10, 10, 1), (500, 10, 1), (1, 1, 1), (2, 1, 1), (5, 0, 0)],
)
def test_many_alarms_are_one_message_and_the_last_of_the_hour_is_a_summary(
    count: int, left: int, messages: int
) -> None:
    assert plan(count, left=left) == messages


def test_urls_name_their_targets() -> None:
    mail = parse("smtp://anna%40example.org:se%3Acret@mail.example/?from=m@example.org&to=a@x.org,b@x.org")
    assert mail == Mail(
        "mail.example", 587, "m@example.org", ("a@x.org", "b@x.org"), "anna@example.org", "se:cret"
    )
    assert parse("smtps://mail.example?to=a@x.org") == Mail(
        "mail.example", 465, "a@x.org", ("a@x.org",), tls=True
    )
    assert parse("https://hooks.example:8443/x?key=1") == Webhook("https://hooks.example:8443/x?key=1")
    assert isinstance(parse("json://hooks.example/secret"), Service)


SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"smtp://anna:{SECRET}@mail.example/", f"smtp://anna:{SECRET}@mail.example/?to=nobody",
        f"https:///{SECRET}", f"{SECRET}", f"nonsense://{SECRET}", f"smtp://mail.example:{SECRET}/?to=a@x.org",
    ],
)  # fmt: skip
def test_a_wrong_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="notify") as caught:
        parse(url)
    assert SECRET not in str(caught.value) or url == SECRET
    with pytest.raises(ValueError, match="notify"):
        BridgeSettings(notify=url)


@pytest.mark.parametrize(
    "url",
    [f"https://hooks.example/{SECRET}", f"json://hooks.example/{SECRET}", f"smtp://a:{SECRET}@x/?to=a@x.org"],
)
def test_secrets_are_not_in_words_nor_in_settings(url: str) -> None:
    assert SECRET not in parse(url).words
    assert SECRET not in repr(BridgeSettings(notify=url))


TOPICS, NOW = Topics("sm/v1"), 1_795_435_200_000
TS = "2026-11-23T12:00:00.000Z"
ACKNOWLEDGED = {"id": 7, "by": "anna", "ts": TS}


def sort(*messages: tuple[str, object]) -> Work:
    """What the bridge makes of (topic, payload)."""
    packets = (
        Publish(
            topic.encode(), payload if isinstance(payload, bytes) else json.dumps(payload).encode(), b"", 0
        )
        for topic, payload in messages
    )
    return Sorter(TOPICS, keys={}).sort(list(packets), now=NOW)


def test_what_concerns_alarms_is_noted_and_touches_nothing_else() -> None:
    status = {"online": True, "version": "1", "session": "s", "ts": TS, "warnings": ["a certificate"]}
    own, servers = TOPICS.meter(METER, "alarms"), TOPICS.service_alarms("bridge")
    work = sort(
        (own, b"garbage"),
        (servers, b""),
        (TOPICS.acknowledged("otto", METER), ACKNOWLEDGED),
        (TOPICS.acknowledged("web"), ACKNOWLEDGED),
        (TOPICS.service_status("registrar"), status),
        (TOPICS.service_status("mms"), b""),
    )
    assert work.retained_alarms == [(own.encode(), b"garbage"), (servers.encode(), b"")]
    assert [(one.key, one.meter_id, one.by) for one in work.acknowledged] == [
        (7, METER, "otto anna"), (7, "", "web anna"),
    ]  # fmt: skip
    assert [(name, one.warnings) for name, one in work.services] == [("registrar", ("a certificate",))]
    assert (work.dead, work.events, work.entries, work.rows) == ([], [], [], [])


@pytest.mark.parametrize("payload", [b"{", {"id": 0, "ts": TS}, {"ts": TS}])
def test_a_bad_acknowledgement_is_a_dead_letter(payload: object) -> None:
    work = sort((TOPICS.acknowledged("otto", METER), payload))
    assert (work.acknowledged, len(work.dead)) == ([], 1)

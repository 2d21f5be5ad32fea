"""What a service warns of is in its retained status, on the page and in doctor."""

from __future__ import annotations

from importlib.metadata import version

from admin.doctor.findings import Verdict
from admin.doctor.services import with_warnings
from bridge.mqtt.presence import Presence
from broker.contract.messages import MAX_LINE, utc_now
from broker.contract.status import ServiceStatus
from broker.contract.topics import Topics

WARNING = "METER61850_MMS_HOSTS has 4 addresses, and there are 5 IEDs"


def test_the_bridges_status_has_its_warnings_however_long_they_are() -> None:
    sent: dict[str, bytes] = {}
    presence = Presence(
        Topics("sm/v1"),
        "bridge",
        publish=sent.__setitem__,
        counters=dict,
        warnings=lambda: [WARNING, "x" * 1000],
    )
    presence.tell(online=True)
    status = ServiceStatus.model_validate_json(sent["sm/v1/service/bridge/status"])
    assert status.warnings == (WARNING, "x" * MAX_LINE)


def test_doctor_fails_with_each_warning_of_a_service() -> None:
    told = {"online": True, "version": version("meter61850"), "session": "s", "ts": utc_now()}
    running = list(with_warnings("bridge", ServiceStatus.model_validate(told).payload()))
    assert [finding.verdict for finding in running] == [Verdict.OK]
    warned = ServiceStatus.model_validate(told | {"warnings": (WARNING,)})
    found = list(with_warnings("bridge", warned.payload()))[1:]
    assert [(one.verdict, one.what, one.detail) for one in found] == [(Verdict.FAIL, "bridge warns", WARNING)]

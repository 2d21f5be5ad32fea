"""The alarms in force, as the bridge tells them.

>>> alarm_handlers({}, hub, refresh=print)["alarms"](topic, payload, retained=True)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable

from broker.contract.alarms import Alarms
from broker.contract.topics import Handler, Topic
from web.live.hub import Hub


def alarm_handlers(
    known: dict[str, Alarms], hub: Hub, *, refresh: Callable[[str], None]
) -> dict[str, Handler]:
    """By kind of topic; ``known`` has the meters' by meter_id and the server's under an empty one.

    ``refresh`` is called with a meter_id whose alarms may have changed.
    """

    def take(topic: Topic, payload: bytes, *, retained: bool) -> None:
        meter_id = topic.name if topic.kind == "alarms" else ""
        told = Alarms.model_validate_json(payload) if payload else Alarms(alarms=())
        before = known.pop(meter_id, None)
        if told.alarms:
            known[meter_id] = told
        if known.get(meter_id) != before:
            hub.tell("alarms", b"{}")
            refresh(meter_id)

    return {"alarms": take, "service_alarms": take}

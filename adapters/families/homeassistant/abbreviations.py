"""Short keys of discovery messages that energy sensors and switches have, and what ``~`` stands for.

Facts of Home Assistant 2026.2.3, ``components/mqtt/abbreviations.py``: 269 short keys, some needed here.
A long key always works; a short key that is not here is of something else, and is ignored.

>>> expanded({"~": "node", "stat_t": "~/power", "uniq_id": "a"})
{'state_topic': 'node/power', 'unique_id': 'a'}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# fmt: off
KEYS: dict[str, str] = {
    "avty": "availability", "avty_mode": "availability_mode", "avty_t": "availability_topic",
    "avty_tpl": "availability_template", "cmd_t": "command_topic", "cmd_tpl": "command_template",
    "cmps": "components", "dev": "device", "dev_cla": "device_class", "exp_aft": "expire_after",
    "lrst_val_tpl": "last_reset_value_template", "migr_discvry": "migrate_discovery", "o": "origin",
    "opt": "optimistic", "p": "platform", "pl_avail": "payload_available",
    "pl_not_avail": "payload_not_available", "pl_off": "payload_off", "pl_on": "payload_on", "ret": "retain",
    "stat_cla": "state_class", "stat_off": "state_off", "stat_on": "state_on", "stat_t": "state_topic",
    "t": "topic", "uniq_id": "unique_id", "unit_of_meas": "unit_of_measurement", "val_tpl": "value_template",
}
DEVICE_KEYS: dict[str, str] = {
    "cns": "connections", "ids": "identifiers", "mdl": "model", "mdl_id": "model_id", "mf": "manufacturer",
    "hw": "hw_version", "sw": "sw_version", "sn": "serial_number", "sa": "suggested_area",
    "cu": "configuration_url",
}
# fmt: on
BASE = "~"


def long_keys(told: Mapping[str, Any], keys: Mapping[str, str] = KEYS) -> dict[str, Any]:
    """``told`` with long keys."""
    return {keys.get(key, key): value for key, value in told.items()}


def expanded(told: Mapping[str, Any]) -> dict[str, Any]:
    """A discovery message, or a component of one, with long keys and without ``~``."""
    found = long_keys(told)
    base = found.pop(BASE, None)
    if isinstance(found.get("availability"), list):
        found["availability"] = [long_keys(one) for one in found["availability"] if isinstance(one, dict)]
    if isinstance(base, str):
        _put_base(found, base)
        for one in found.get("availability") or ():
            if isinstance(one, dict):
                _put_base(one, base)
    return found


def _put_base(found: dict[str, Any], base: str) -> None:
    for key, value in found.items():
        if key.endswith("topic") and isinstance(value, str) and value:
            if value[0] == BASE:
                found[key] = base + value[1:]
            elif value[-1] == BASE:
                found[key] = value[:-1] + base

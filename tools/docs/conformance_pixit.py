"""PIXIT: how exactly the server behaves, for docs/conformance.md; every number is a constant of the code.

>>> facts(read_cid(example_cid()), services())["associations"]    # doctest: +SKIP
5
"""

from __future__ import annotations

from lxml import etree

from bridge.settings import BridgeSettings
from broker.contract import commands
from mms_bridge import gateway
from mms_bridge.access import access_files, associations, handshake_limit
from mms_bridge.datamodel import moment
from mms_bridge.guard import rules, transport
from mms_bridge.libiec61850 import capabilities, mms_server, report_buffers
from mms_bridge.libiec61850.bindings import MAX_DATA_SET_MEMBERS, AddCause
from mms_bridge.settings import MmsSettings
from scl_builder.build.project import MAX_REPORT_INSTANCES
from scl_builder.model import deadbands, logical_devices
from scl_builder.model.reference import MMS_NAME_LIMIT
from scl_builder.read.cid import Cid
from tools.docs.conformance_answers import ANSWERS, NOT_SUPPORTED

PDU_SIZE, OUTSTANDING, NESTING = 65_000, 5, 10
"""What libiec61850 negotiates with a client that asks for no less; a test associates and compares."""


def facts(cid: Cid, services: etree._Element) -> dict[str, object]:
    """What the answers name."""
    return {**_bridge_facts(), **_report_facts(services), **_control_facts(), **_value_facts()} | {
        "associations": cid.max_associations,
        "name_length": services.get("nameLength"),
        "name_limit": MMS_NAME_LIMIT,
        "pdu": PDU_SIZE,
        "outstanding": OUTSTANDING,
        "nesting": NESTING,
        "services": ", ".join(name for name, _ in rules.SERVICES.values()),
        "message": transport.LARGEST_MESSAGE,
    }


def pixit_markdown(cid: Cid, services: etree._Element) -> str:
    """The section, and what is not supported."""
    known = facts(cid, services)
    text = "\n## PIXIT: how exactly\n"
    for title, answers in ANSWERS.items():
        text += f"\n### {title}\n\n| question | answer |\n|---|---|\n"
        text += "".join(f"| {question} | {answer.format(**known)} |\n" for question, answer in answers)
    return text + NOT_SUPPORTED


def _bridge_facts() -> dict[str, object]:
    fields = BridgeSettings.model_fields
    drain = _setting("drain_seconds")
    return {
        "meters": fields["max_meters_per_ied"].default,
        "instances": fields["report_instances"].default,
        "max_instances": MAX_REPORT_INSTANCES,
        "members": MAX_DATA_SET_MEMBERS,
        "deadband": fields["mms_deadband"].default,
        "range": fields["mms_range"].default,
        "outer": deadbands.OUTER,
        "per_address": _setting("associations_per_address"),
        "per_ied": associations.PER_IED,
        "look": access_files.LOOK_SECONDS,
        "handshake": handshake_limit.SECONDS,
        "shakes": handshake_limit.PER_ADDRESS,
        "all_shakes": handshake_limit.IN_ALL,
        "drain": "no limit by default" if drain is None else f"{drain} s",
    }


def _report_facts(services: etree._Element) -> dict[str, object]:
    limits = mms_server.Limits()
    settings = services.find("{*}ReportSettings")
    told = () if settings is None else [(str(name), value) for name, value in settings.attrib.items()]
    return {
        "report_settings": ", ".join(name for name, value in told if value == "Dyn") or "nothing",
        "gather": capabilities.GATHER_SECONDS * 1000,
        "full_entries": report_buffers.FULL_ENTRIES,
        "report_buffer": report_buffers.octets(50),
        "urcb_buffer": limits.urcb_buffer,
        "dynamic": limits.dynamic_data_sets,
        "tick": float(str(_setting("tick"))) * 1000,
        "retry": gateway.RETRY_INTERVAL,
    }


def _control_facts() -> dict[str, object]:
    limit = float(str(_setting("operate_limit")))
    causes = sorted(cause for cause in AddCause if cause is not AddCause.UNKNOWN)
    return {
        "limit": limit,
        "expiry": commands.mms_validity(limit),
        "end": commands.mms_end(limit),
        "select_timeout": logical_devices.SELECT_TIMEOUT,
        "operate_timeout": logical_devices.OPERATE_TIMEOUT,
        "causes": ", ".join(f"{cause.value} {cause.name.lower().replace('_', '-')}" for cause in causes),
    }


def _value_facts() -> dict[str, object]:
    return {
        "synchronized": moment.T_SYNCHRONIZED,
        "unsynchronized": moment.T_NOT_SYNCHRONIZED,
        "bits": moment.T_SYNCHRONIZED & 0x1F,  # TimeAccuracy of IEC 61850-8-1
        "stale": _setting("stale_intervals"),
    }


def _setting(name: str) -> object:
    return MmsSettings.model_fields[name].default

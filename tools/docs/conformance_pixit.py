"""PIXIT: how exactly the server behaves, for docs/conformance.md; every number is a constant of the code.

>>> facts(read_cid(example_cid()), services())["associations"]    # doctest: +SKIP
10
"""

from __future__ import annotations

from collections.abc import Mapping

from lxml import etree

from bridge.settings import BridgeSettings
from broker.contract import commands
from mms_bridge import gateway
from mms_bridge.access import access_files, associations, handshake_limit
from mms_bridge.datamodel import mapping
from mms_bridge.libiec61850 import capabilities, mms_server
from mms_bridge.libiec61850.bindings import MAX_DATA_SET_MEMBERS, AddCause
from mms_bridge.settings import MmsSettings
from scl_builder.build.project import MAX_REPORT_INSTANCES
from scl_builder.model import logical_devices
from scl_builder.model.reference import MMS_NAME_LIMIT
from scl_builder.read.cid import Cid

PDU_SIZE, OUTSTANDING, NESTING = 65_000, 5, 10
"""What libiec61850 negotiates with a client that asks for no less; a test associates and compares."""

# fmt: off
ANSWERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "Association": (
        ("Associations of one IED", "{associations} (Services/DynAssociation)"),
        ("A further association", "its TCP connection is accepted and closed at once; the others stay"),
        ("Where it listens",
         "IP and MMS-Port of the ConnectedAP, one endpoint for each IED; over TLS those of the second access "
         "point (ServerAt), if there is one. The plain port listens on loopback unless "
         "`METER61850_MMS_PLAIN_BIND` opens it"),
        ("Largest MMS PDU, outstanding requests, nesting",
         "{pdu:,} octets, {outstanding}, {nesting}; less if the client asks for less"),
        ("ACSE authentication", "none"),
        ("Associations of one client address",
         "{per_address} and {per_ied} for each IED; more are closed at once, and counted"),
        ("Length of names", "{name_length} (Services/nameLength); domain and item at most {name_limit} each"),
        ("Associations when the configuration changes",
         "stay, with their model; a new association has the new model. "
         "`METER61850_MMS_DRAIN_SECONDS` limits the time: {drain}"),
    ),
    "Security (IEC 62351-3)": (
        ("Transport security",
         "TLS 1.2 and 1.3, a client certificate required, when `METER61850_MMS_TLS_CERT` is set; no "
         "renegotiation, no compression, no resumption"),
        ("Cipher suites of TLS 1.2", "`METER61850_MMS_TLS_CIPHERS`; ECDHE with AES-GCM or ChaCha20-Poly1305"),
        ("Certificates", "X.509 in PEM, issued directly by a CA of `METER61850_MMS_TLS_CA`"),
        ("Revocation",
         "CRL in PEM, signed by these CAs, read every {look:g} s; a revoked client's associations "
         "end. OCSP: no. After the nextUpdate of a list no new client is accepted, and no association ends"),
        ("A certificate that expires during an association",
         "ends nothing; the client cannot associate again"),
        ("Change of keys within an association",
         "none: the client determines how long an association lasts"),
        ("Rights of a client",
         "observe or control, by the certificate's common name (`METER61850_MMS_CLIENTS`) and by address; on "
         "the plain port control from loopback, else observe (`METER61850_MMS_PLAIN_RIGHTS`)"),
        ("What an observer may not do",
         "operate: 20, no-access-authority"),
        ("A handshake", "has {handshake:g} s; {shakes} of one address, {all_shakes} in all at a time"),
    ),
    "Model and data sets": (
        ("Meters of one IED", "{meters}; `METER61850_MAX_METERS_PER_IED` changes it"),
        ("Members of a data set", "at most {members}, configured or made by a client"),
        ("Dynamic data sets",
         "{dynamic} for each association (`@name`), which end with it. Where every client may control, "
         "{lasting} more in each logical device, which stay until they are deleted or the configuration "
         "changes; where a client can be an observer, none, for any client. 10 of the whole server, for any "
         "client (libiec61850 has no setting for these)"),
        ("Can data be written?",
         "no: SetDataValues is answered object-access-denied, whatever the functional constraint"),
        ("Deadband", "none: every change of a value is an event"),
    ),
    "Reports": (
        ("Instances of each block", "{instances}; `METER61850_REPORT_INSTANCES`, 1 to {max_instances}"),
        ("What a client may write",
         "{report_settings}, while the block is off; this can empty the buffer of a BRCB"),
        ("One event", "is one MQTT message: its values are reported together"),
        ("Time for which events are collected",
         "{gather:g} ms, and bufTm; a second change of a member within bufTm sends the waiting events"),
        ("Initial values", "raise no event, at the start and with a new configuration"),
        ("Buffer of a BRCB", "{report_buffer:,} octets for each instance"),
        ("Buffer of a URCB", "{urcb_buffer:,} octets, for data that waits for the client's socket"),
        ("Buffer overflow",
         "the oldest entries are dropped, and BufOvfl is true in the next report; also in the first entry of "
         "a new or purged buffer"),
        ("EntryID",
         "8 octets; if a client writes its last EntryID, the reports continue with the next entry"),
        ("ResvTms", "yes: the time for which a BRCB waits for the same IP address after a lost association"),
        ("Owner", "not served"),
        ("Place of the buffers",
         "the memory of the server that the first {shared} associations of a configuration share; a "
         "further association has its own buffers, which end with it"),
        ("Start of buffering",
         "the first association of an IED since the start of the bridge; from then on events are kept, with "
         "or without a client"),
        ("Buffers when the configuration changes",
         "an existing association keeps its buffers; the new configuration begins with empty ones"),
        ("Integrity period", "checked every {tick:g} ms"),
    ),
    "Control": (
        ("Meaning of a positive termination", "the meter answered done and its relay shows the position"),
        ("With normal security", "the response to Oper waits for the same"),
        ("Time for the meter's answer",
         "{limit:g} s (`METER61850_MMS_OPERATE_LIMIT`, the CID's operTimeout): the command expires after "
         "{expiry:g} s, the operate ends negatively after {end:g} s"),
        ("sboTimeout, operTimeout", "{select_timeout:,} ms, {operate_timeout:,} ms"),
        ("Repetition", "none: a command is sent to the meter once"),
        ("Test", "a test command never moves a relay: it is refused, blocked-by-mode"),
        ("Check", "synchrocheck is ignored; interlocking is always checked, whatever the bit"),
        ("origin", "is sent with the command and is in the ledger; default orIdent: client's address"),
        ("AddCauses", "{causes}; the MMS stack itself sends object-not-selected and similar ones"),
    ),
    "Quality and time": (
        ("t",
         "the time at which the meter read its sensor, or its relay moved, in ms; for the gateway's "
              "own state the time of its detection"),
        ("Time quality",
         "{synchronized:#04x}: leap seconds known, {bits} bits of accuracy; {unsynchronized:#04x}, clock not "
         "synchronized, if the meter's birth has this"),
        ("The gateway's clock", "the clock of its operating system (NTP, PTP)"),
        ("A meter that is silent",
         "all values, including positions: questionable, oldData after {stale:g} reading intervals, or at "
         "its last will"),
        ("A quantity that the sensor did not measure",
         "invalid, failure; only invalid if the meter does not have this quantity"),
        ("Bits that are never set",
         "overflow, outOfRange, badReference, oscillatory, inconsistent, inaccurate, substituted, "
         "operatorBlocked"),
    ),
    "When something fails": (
        ("A meter goes offline",
         "its data: questionable, oldData; PhyHealth Alarm; an operate is refused, blocked-by-health"),
        ("The MQTT broker goes away",
         "all meters' data: questionable, oldData; LLN0.Health Alarm; every operate is refused, "
         "blocked-by-health. Associations stay"),
        ("The MMS bridge restarts",
         "associations and report buffers end; values return from retained messages"),
        ("Another program uses an endpoint",
         "the bridge tries again every {retry:g} s; the other IEDs are served"),
    ),
}
"""Section → question and answer; what stands in braces is a fact."""
# fmt: on

_NOT_SUPPORTED = """
## Not supported

GOOSE, sampled values, logs, setting groups, substitution, time-activated operate, authentication in the
association and roles in certificates (IEC 62351-4, -8), time synchronization over SNTP, writing of data other
than control blocks and controls.

File services are off, because libiec61850 answers FileRead with memory of the server after a FileOpen whose
position is beyond the end of the file. `meter61850 scl export`, the web's API and the broker provide the SCD
and the CIDs.
"""


def facts(cid: Cid, services: etree._Element) -> dict[str, object]:
    """What the answers name."""
    return {**_bridge_facts(), **_report_facts(services), **_control_facts(), **_value_facts()} | {
        "associations": cid.max_associations,
        "name_length": services.get("nameLength"),
        "name_limit": MMS_NAME_LIMIT,
        "pdu": PDU_SIZE,
        "outstanding": OUTSTANDING,
        "nesting": NESTING,
    }


def pixit_markdown(cid: Cid, services: etree._Element) -> str:
    """The section, and what is not supported."""
    known = facts(cid, services)
    text = "\n## PIXIT: how exactly\n"
    for title, answers in ANSWERS.items():
        text += f"\n### {title}\n\n| question | answer |\n|---|---|\n"
        text += "".join(f"| {question} | {answer.format(**known)} |\n" for question, answer in answers)
    return text + _NOT_SUPPORTED


def _bridge_facts() -> dict[str, object]:
    fields = BridgeSettings.model_fields
    drain = _setting("drain_seconds")
    return {
        "meters": fields["max_meters_per_ied"].default,
        "instances": fields["report_instances"].default,
        "max_instances": MAX_REPORT_INSTANCES,
        "members": MAX_DATA_SET_MEMBERS,
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
        "report_buffer": limits.report_buffer,
        "urcb_buffer": limits.urcb_buffer,
        "dynamic": limits.dynamic_data_sets,
        "lasting": limits.lasting_data_sets,
        "shared": mms_server.LIBRARY_ASSOCIATIONS,
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
        "synchronized": mapping.T_SYNCHRONIZED,
        "unsynchronized": mapping.T_NOT_SYNCHRONIZED,
        "bits": mapping.T_SYNCHRONIZED & 0x1F,  # TimeAccuracy of IEC 61850-8-1
        "stale": _setting("stale_intervals"),
    }


def _setting(name: str) -> object:
    return MmsSettings.model_fields[name].default

"""What an SCL file (IEC 61850-6) says that each IED serves, for the comparison with a server; no I/O.

This is not the reader that our server is built from (``scl_builder.read.cid``): what one of them misreads,
the other must see. Types are resolved once for each LNodeType and shared.

>>> from scl_builder.build.builder import build_scd
>>> from scl_builder.build.project import Ied, Meter, Project
>>> ied = Ied("SMGW001", "10.0.0.5", 102, ())
>>> read_scl(build_scd(Project("town", 1, (ied,)))).endpoints
{'SMGW001': [('10.0.0.5', 102)]}
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from itertools import takewhile
from typing import NamedTuple

from lxml import etree

from admin.mms.comparison import UNKNOWN_TYPE, Block, Devices, Node, Path, Scalar
from broker.contract.errors import ConfigurationError
from scl_builder.check.document import (
    NS,
    Attr,
    Document,
    IedEntry,
    children,
    first,
    flag,
    node_name,
    number,
    value_of,
)
from scl_builder.check.outline import MOST_LEAVES, parse

DEFAULT_PORT = 102
MOST_INSTANCES = 99
"""Of a report control block: their number is two digits of the name."""

# fmt: off
MMS_TYPES: dict[str, str] = {
    "BOOLEAN": "boolean",
    "INT8": "integer8", "INT16": "integer16", "INT32": "integer32", "INT64": "integer64", "Enum": "integer8",
    "INT8U": "unsigned8", "INT16U": "unsigned16", "INT32U": "unsigned32",
    "FLOAT32": "float32", "FLOAT64": "float64",
    "Dbpos": "bit-string(2)", "Tcmd": "bit-string(2)", "Check": "bit-string(<=2)",
    "Quality": "bit-string(<=13)", "Timestamp": "utc-time",
    "VisString32": "visible-string(<=32)", "VisString64": "visible-string(<=64)",
    "VisString65": "visible-string(<=65)", "VisString129": "visible-string(<=129)",
    "VisString255": "visible-string(<=255)", "ObjRef": "visible-string(<=129)",
    "Unicode255": "mms-string(<=255)", "Octet64": "octet-string(<=64)",
}
"""bType of IEC 61850-6 → MMS type of IEC 61850-8-1, as a client describes it."""

TRIGGERS: dict[str, str] = {
    "dchg": "data-change", "qchg": "quality-change", "dupd": "data-update",
    "period": "integrity", "gi": "general-interrogation",
}
OPTIONS: dict[str, str] = {
    "seqNum": "sequence-number", "timeStamp": "report-time-stamp", "reasonCode": "reason-for-inclusion",
    "dataSet": "data-set-name", "dataRef": "data-reference", "bufOvfl": "buffer-overflow",
    "entryID": "entry-id", "configRef": "conf-revision",
}
"""Attributes of TrgOps and OptFields → their names in a report control block."""
BUFFERED_ONLY = ("buffer-overflow", "entry-id")
# fmt: on
_ON_BY_DEFAULT = ("gi", "bufOvfl")  # defaults of the 2007B4 schema


class _Typed(NamedTuple):
    """What an LNodeType says."""

    types: dict[Path, str]
    values: dict[Path, Scalar]
    literals: dict[Path, dict[int, str]]
    leaves: dict[Path, tuple[Path, Attr]]
    """Path without functional constraint → with it, and the attribute."""


def read_scl(xml: bytes) -> Scl:
    """The file; ConfigurationError if it is no SCL."""
    try:
        found = Scl(parse(xml))
    except ValueError as error:
        raise ConfigurationError(f"no SCL file: {error}") from error
    if not found.names:
        raise ConfigurationError("no SCL file with an IED: `meter61850 scl check` says what is wrong")
    return found


class Scl:
    """The IEDs of one file."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._node_types: dict[str, _Typed] = {}

    @cached_property
    def names(self) -> list[str]:
        """Names of the IEDs that serve something."""
        return [ied.name for ied in self._document.ieds if ied.devices]

    @cached_property
    def endpoints(self) -> dict[str, list[tuple[str, int]]]:
        """IED → address and port of each ConnectedAP that has one."""
        found: dict[str, list[tuple[str, int]]] = {}
        for section in children(self._document.root, "Communication"):
            for point in section.iter(NS + "ConnectedAP"):
                rows = point.iterfind(f"{NS}Address/{NS}P")
                address = {p.get("type"): (p.text or "").strip() for p in rows}
                if "IP" in address:
                    port = number(address.get("MMS-Port")) or DEFAULT_PORT
                    found.setdefault(point.get("iedName", ""), []).append((address["IP"], port))
        return found

    def endpoint(self, name: str, *, tls: bool = False) -> tuple[str, int] | None:
        """Of an IED's first access point, or over TLS: of the one beside it, if there is one."""
        found = self.endpoints.get(name, [])
        if not found:
            return None
        return found[1] if tls and len(found) > 1 else found[0]

    def associations(self, name: str) -> int | None:
        """Services/DynAssociation of an IED."""
        services = first(self._ied(name).element, "Services")
        limit = None if services is None else first(services, "DynAssociation")
        return None if limit is None else number(limit.get("max"))

    def domains(self, name: str) -> set[str]:
        """MMS names of an IED's logical devices."""
        return {device.domain for device in self._ied(name).devices.values()}

    def houses(self, name: str) -> dict[str, str]:
        """MMS name → LDevice/@desc of an IED's logical devices."""
        return {device.domain: device.element.get("desc", "") for device in self._ied(name).devices.values()}

    def devices(self, name: str) -> Devices:
        """What an IED serves."""
        ied = self._ied(name)
        domains = {inst: device.domain for inst, device in ied.devices.items()}
        return {
            device.domain: {
                node: self._node(element, device.inst, f"{device.domain}/{node}", domains)
                for node, element in device.nodes.items()
            }
            for device in ied.devices.values()
        }

    def _ied(self, name: str) -> IedEntry:
        return self._document.ied_by_name[name]

    def _node(self, element: etree._Element, inst: str, name: str, domains: Mapping[str, str]) -> Node:
        typed = self._typed(element.get("lnType", ""))
        values = dict(typed.values)
        for path, text in _instance_values(element):
            if path in typed.leaves:
                full, attr = typed.leaves[path]
                values.pop(full, None)
                _put(values, full, self._constant(attr, text))
        data_sets = {
            data_set.get("name", ""): tuple(
                _member(fcda, domains, inst) for fcda in children(data_set, "FCDA")
            )
            for data_set in children(element, "DataSet")
        }
        blocks = dict(
            block for control in children(element, "ReportControl") for block in _blocks(control, name)
        )
        return Node(typed.types, values, typed.literals, data_sets, blocks)

    def _typed(self, ln_type: str) -> _Typed:
        if ln_type not in self._node_types:
            found = self._node_types[ln_type] = _Typed({}, {}, {}, {})
            for count, (path, attr) in enumerate(self._leaves(ln_type)):
                if count == MOST_LEAVES:
                    raise ConfigurationError(f"LNodeType {ln_type[:64]!r} has more than {count} attributes")
                found.types[path] = MMS_TYPES.get(attr.btype, UNKNOWN_TYPE)
                found.leaves[path[1:]] = path, attr
                if path[0] == "CO":
                    continue  # reading it could select
                if attr.btype == "Enum":
                    found.literals[path] = self._literals(attr)
                if attr.value is not None:
                    _put(found.values, path, self._constant(attr, attr.value))
        return self._node_types[ln_type]

    def _leaves(self, ln_type: str) -> Iterator[tuple[Path, Attr]]:
        try:
            for path, found in self._document.objects(ln_type):
                for attr in found.attributes.values():
                    # a setting has a twin in SG: the active group's value
                    for fc in ("SE", "SG") if attr.fc == "SE" else (attr.fc,):
                        yield from self._attribute_leaves(attr, (fc, *path))
        except ValueError as error:
            raise ConfigurationError(str(error)) from error

    def _attribute_leaves(self, attr: Attr, path: Path) -> Iterator[tuple[Path, Attr]]:
        path = (*path, attr.name)
        members = self._document.struct_types.get(attr.type, {}) if attr.btype == "Struct" else {}
        if not members or len(path) >= 12:  # a loop of types is the checker's finding
            yield path, attr
            return
        for member in members.values():
            yield from self._attribute_leaves(member, path)

    def _literals(self, attr: Attr) -> dict[int, str]:
        values = self._document.enums.get(attr.type, {})
        return {_ordinal(value.get("ord", "")): literal for literal, value in values.items()}

    def _constant(self, attr: Attr, text: str) -> Scalar | None:
        """``text`` as a client reads it; itself where it is no value of its type; None: not comparable."""
        if attr.btype == "Enum":
            ordinals = {literal: ordinal for ordinal, literal in self._literals(attr).items()}
            return ordinals.get(text, text)
        with suppress(ValueError):
            return _number(attr.btype, text)
        return text if attr.btype.startswith(("VisString", "Unicode", "INT", "FLOAT")) else None


def _ordinal(text: str) -> int:
    """That of an EnumVal; those of multipliers may be negative."""
    natural = number(text.removeprefix("-")) or 0
    return -natural if text.startswith("-") else natural


def _number(btype: str, text: str) -> Scalar:
    """``text`` as a truth or a number; ValueError if it is none, or ``btype`` is not of numbers."""
    match btype:
        case "BOOLEAN":
            return text in ("true", "1")
        case "FLOAT32":
            return array("f", (float(text),))[0]  # as precise as the server has it
        case "FLOAT64":
            return float(text)
        case _ if btype.startswith("INT"):
            return int(text)
    raise ValueError(btype)


def _put(values: dict[Path, Scalar], path: Path, value: Scalar | None) -> None:
    if value is not None:
        values[path] = value


def _instance_values(element: etree._Element) -> Iterator[tuple[Path, str]]:
    """Path from the data object down, and text, of every DAI with a Val."""
    for dai in element.iter(NS + "DAI"):
        if (text := value_of(dai)) is not None:
            above = takewhile(lambda one: one is not element, dai.iterancestors())
            names = [one.get("name", "") for one in (dai, *above)]
            yield tuple(reversed(names)), text


def _member(fcda: etree._Element, domains: Mapping[str, str], inst: str) -> str:
    ld = fcda.get("ldInst", inst)
    path = ".".join(filter(None, (fcda.get("doName"), fcda.get("daName"))))
    return f"{domains.get(ld, ld)}/{node_name(fcda, 'lnInst')}.{path} [{fcda.get('fc')}]"


def _blocks(control: etree._Element, node: str) -> Iterator[tuple[str, Block]]:
    """Each instance of a ReportControl, by name; indexed ones are numbered (IEC 61850-6, 9.3.8)."""
    fc = "BR" if flag(control, "buffered", default=False) else "RP"
    enabled = first(control, "RptEnabled")
    count = 1 if enabled is None else min(number(enabled.get("max", "1")) or 1, MOST_INSTANCES)
    base = control.get("name", "")
    names = [f"{base}{index:02d}" for index in range(1, count + 1)]
    for name in names if flag(control, "indexed", default=True) else [base]:
        data_set = control.get("datSet")
        yield (
            f"{name} [{fc}]",
            Block(
                {
                    "RptID": control.get("rptID") or f"{node}${fc}${name}",
                    "DatSet": f"{node}${data_set}" if data_set else "",
                    "ConfRev": control.get("confRev", ""),
                    "OptFlds": _words(first(control, "OptFields"), OPTIONS, fc),
                    "TrgOps": _words(first(control, "TrgOps"), TRIGGERS, fc),
                    "BufTm": control.get("bufTime", "0"),
                    "IntgPd": control.get("intgPd", "0"),
                }
            ),
        )


def _words(element: etree._Element | None, names: Mapping[str, str], fc: str) -> str:
    said = set()
    for name, word in names.items():
        default = name in _ON_BY_DEFAULT
        if default if element is None else flag(element, name, default=default):
            said.add(word)
    return block_words(said, buffered=fc == "BR")


def block_words(said: set[str], *, buffered: bool) -> str:
    """Options or triggers in one line; an unbuffered block has no use for two of them."""
    return " ".join(sorted(said if buffered else said.difference(BUFFERED_ONLY)))

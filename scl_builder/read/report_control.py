"""ReportControl of a CID (IEC 61850-6, 9.3.8): what the server needs to make its report control blocks.

>>> list(read_report(element).instance_names())  # doctest: +SKIP
['urcbVol01', 'urcbVol02']
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from scl_builder.model.cdc import ReportOption, TriggerOption

NS = "{http://www.iec.ch/61850/2003/SCL}"


MAX_INSTANCES = 99
"""Their number is two digits of the name."""


@dataclass(frozen=True, slots=True)
class Report:
    """One report control block; ``instances`` of it are served."""

    name: str
    report_id: str | None
    buffered: bool
    data_set: str | None
    conf_rev: int
    triggers: TriggerOption
    options: ReportOption
    buffer_ms: int
    integrity_ms: int
    instances: int
    indexed: bool

    def __post_init__(self) -> None:
        if not 1 <= self.instances <= MAX_INSTANCES:
            raise ValueError(f"{self.name[:64]}: {self.instances} instances; 1 to {MAX_INSTANCES} are served")
        for number in (self.conf_rev, self.buffer_ms, self.integrity_ms):
            if not 0 <= number < 2**32:
                raise ValueError(f"{self.name[:64]}: {number} is no INT32U")

    def instance_names(self) -> Iterator[str]:
        """Names as served: ``urcbMeas01`` … when indexed (IEC 61850-6, 9.3.8)."""
        if not self.indexed:
            yield self.name
            return
        for index in range(1, self.instances + 1):
            yield f"{self.name}{index:02d}"


def flag(element: etree._Element | None, name: str, *, default: bool = False) -> bool:
    """An xs:boolean attribute."""
    text = None if element is None else element.get(name)
    return default if text is None else text in ("true", "1")


# attribute of TrgOps / OptFields -> the library's option
_TRIGGERS = {
    "dchg": TriggerOption.DATA_CHANGED,
    "qchg": TriggerOption.QUALITY_CHANGED,
    "dupd": TriggerOption.DATA_UPDATE,
    "period": TriggerOption.INTEGRITY,
    "gi": TriggerOption.GI,
}
_OPTIONS = {
    "seqNum": ReportOption.SEQ_NUM,
    "timeStamp": ReportOption.TIME_STAMP,
    "reasonCode": ReportOption.REASON_FOR_INCLUSION,
    "dataSet": ReportOption.DATA_SET,
    "dataRef": ReportOption.DATA_REFERENCE,
    "bufOvfl": ReportOption.BUFFER_OVERFLOW,
    "entryID": ReportOption.ENTRY_ID,
    "configRef": ReportOption.CONF_REV,
}
_ON_BY_DEFAULT = {"gi", "bufOvfl"}  # defaults of the 2007B4 schema


def read_report(element: etree._Element) -> Report:
    """The report control block that ``element`` configures."""
    triggers, options = element.find(f"{NS}TrgOps"), element.find(f"{NS}OptFields")
    enabled = element.find(f"{NS}RptEnabled")
    trg = TriggerOption(0)
    for name, trigger in _TRIGGERS.items():
        if flag(triggers, name, default=name in _ON_BY_DEFAULT):
            trg |= trigger
    opt = ReportOption(0)
    for name, option in _OPTIONS.items():
        if flag(options, name, default=name in _ON_BY_DEFAULT):
            opt |= option
    return Report(
        name=element.attrib["name"],
        report_id=element.get("rptID"),
        buffered=flag(element, "buffered"),
        data_set=element.get("datSet"),
        conf_rev=int(element.attrib["confRev"]),
        triggers=trg,
        options=opt,
        buffer_ms=int(element.get("bufTime", "0")),
        integrity_ms=int(element.get("intgPd", "0")),
        instances=1 if enabled is None else int(enabled.get("max", "1")),
        indexed=flag(element, "indexed", default=True),
    )

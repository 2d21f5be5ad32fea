"""Names of data in the two notations of the standard: IEC 61850-7-2 and MMS (IEC 61850-8-1).

The only place that knows how MMS joins names.

>>> volts = Reference("SM_1", "MMXN1", ("Vol", "mag", "f"), "MX")
>>> str(volts)
'SM_1/MMXN1.Vol.mag.f [MX]'
>>> volts.mms
('SM_1', 'MMXN1$MX$Vol$mag$f')
>>> Reference.parse("SM_1/MMXN1$MX$Vol$mag$f") == Reference.parse("SM_1/MMXN1.Vol.mag.f [MX]") == volts
True
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

MMS_NAME_LIMIT = 64
"""Longest MMS domain or item name (ISO 9506-2 Identifier as IEC 61850-8-1 uses it)."""

_NAME = r"[A-Za-z][0-9A-Za-z_]*"
_FC = "ST|MX|SP|SV|CF|DC|SG|SE|SR|OR|BL|EX|CO|US|MS|RP|BR|LG|GO"
_ACSI = re.compile(rf"({_NAME})/({_NAME})((?:\.{_NAME})*)(?: \[({_FC})\])?")
_MMS = re.compile(rf"({_NAME})/({_NAME})(?:\$({_FC})((?:\${_NAME})*))?")


@dataclass(frozen=True)
class Reference:
    """A logical node, data object or attribute; ``ld`` is the MMS domain, ``fc`` may be empty."""

    ld: str
    ln: str
    path: tuple[str, ...] = ()
    fc: str = ""

    def __str__(self) -> str:
        constraint = f" [{self.fc}]" if self.fc else ""
        return f"{self.ld}/{'.'.join((self.ln, *self.path))}{constraint}"

    @property
    def mms(self) -> tuple[str, str]:
        """(domain, item) as MMS names it; ValueError for a path without functional constraint."""
        if self.path and not self.fc:
            raise ValueError(f"{self} has no MMS name: its functional constraint is missing")
        return self.ld, "$".join((self.ln, *((self.fc,) if self.fc else ()), *self.path))

    def child(self, *names: str) -> Reference:
        """What is called ``names`` below this."""
        return replace(self, path=(*self.path, *names))

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The reference that ``text`` writes in either notation; ValueError if it is neither."""
        if match := _ACSI.fullmatch(text):
            ld, ln, path, fc = match.groups()
            return cls(ld, ln, tuple(path.split(".")[1:]), fc or "")
        if match := _MMS.fullmatch(text):
            ld, ln, fc, path = match.groups()
            return cls(ld, ln, tuple((path or "").split("$")[1:]), fc or "")
        raise ValueError(f"{text[:200]!r} is no reference: write LD/LN.DO.DA [FC] or LD/LN$FC$DO$DA")

    @classmethod
    def from_mms(cls, domain: str, item: str) -> Reference:
        """The reference of an MMS variable; ValueError if the names are not of IEC 61850-8-1."""
        return cls.parse(f"{domain}/{item}")

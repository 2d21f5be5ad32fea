"""Which confirmed services (ISO 9506-2) reach the library, and what is refused before it: one row a rule.

>>> judged(bytes.fromhex("bf4808a003190161810105")).refusal.rule
'service'
>>> judged(bytes.fromhex("8200")).refusal is None
True
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from mms_bridge.guard import controls
from mms_bridge.guard.answers import (
    ACCESS_DENIED,
    ACCESS_UNSUPPORTED,
    INVALID_ARGUMENT,
    OBJECT_ACCESS_UNSUPPORTED,
    UNRECOGNIZED_SERVICE,
    Refusal,
    errored,
    failed,
    rejected,
)
from mms_bridge.guard.ber import MalformedError, Part, check, parts
from mms_bridge.guard.writes import is_command, value_error

VMD, DOMAIN, ASSOCIATION = 0x80, 0xA1, 0x82
"""Tags of ObjectName: of the whole server, of a logical device, of this association (@name)."""
LIST_OF_VARIABLES, LIST_NAME = 0xA0, 0xA1
NAME = 0xA0
"""Tag of a VariableSpecification by name; 0xA1 is one by address."""
MOST_MEMBERS = 100
KEPT_VERDICTS, LONGEST_KEPT = 1024, 256
"""Requests whose verdict is remembered: clients ask the same again and again."""

Rule = Callable[[bytes, list[Part]], Refusal | None]
"""Given a request's octets and its arguments."""


@dataclass(frozen=True, slots=True)
class Command:
    """A Write of Oper, SBOw or Cancel to one object."""

    domain: str
    object: str
    """The control object: ``CSWI1$CO$Pos``."""
    name: str
    value: bytes
    """As it was written, in BER."""

    @property
    def item(self) -> str:
        """``CSWI1$CO$Pos$Oper``."""
        return f"{self.object}${self.name}"

    @property
    def repeated(self) -> bytes:
        """What it has in common with the other commands of its operation."""
        return controls.repeated(self.item, self.value)


@dataclass(frozen=True, slots=True)
class Reservation:
    """A Write of ResvTms, which may have other variables."""

    block: str
    """The buffered block: ``SMGW001GW/LLN0$BR$brcbPos01``."""
    seconds: int
    place: int
    """Of ResvTms among the variables."""
    variables: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of one service request: refused, or for the library; is it a command, does it reserve blocks."""

    refusal: Refusal | None
    command: Command | None = None
    reservations: tuple[Reservation, ...] = ()


def by_name_only(data: bytes, arguments: list[Part]) -> Refusal | None:
    """Read: variables by name; the library leaves an address without an answer."""
    for tag, begin, end in arguments:
        if tag == 0xA1:
            for spec in _specifications(data, begin, end):
                if spec[0][0] != NAME:
                    return errored("address", ACCESS_UNSUPPORTED)
    return None


def attributes_by_name_only(_data: bytes, arguments: list[Part]) -> Refusal | None:
    """GetVariableAccessAttributes: the same."""
    return None if [tag for tag, *_ in arguments] == [NAME] else errored("address", ACCESS_UNSUPPORTED)


def lists_of_associations_only(data: bytes, arguments: list[Part]) -> Refusal | None:
    """DefineNamedVariableList: ``@name`` only, of variables by name; other lists outlive their client."""
    if [tag for tag, *_ in arguments[1:]] != [LIST_OF_VARIABLES]:
        return rejected("list", INVALID_ARGUMENT)
    (kind, begin, end), (_, first, last) = arguments
    if kind != ASSOCIATION or begin == end:
        return errored("list", ACCESS_DENIED)
    members = list(_variables(data, first, last))
    if not 0 < len(members) <= MOST_MEMBERS or any(_named(data, one) is None for one in members):
        return errored("list", ACCESS_UNSUPPORTED)
    return None


def lists_by_name_only(_data: bytes, arguments: list[Part]) -> Refusal | None:
    """DeleteNamedVariableList: named ones; "all of a scope" is not served."""
    if LIST_NAME not in [tag for tag, *_ in arguments]:
        return errored("list", ACCESS_UNSUPPORTED)
    return None


def values_that_fit(data: bytes, arguments: list[Part]) -> Refusal | None:
    """Write: a command alone, and no value beyond its type."""
    if [tag for tag, *_ in arguments] != [LIST_OF_VARIABLES, LIST_OF_VARIABLES]:
        return errored("write list", ACCESS_UNSUPPORTED)  # a named variable list: SetDataSetValues
    names, values = _writes(data, arguments)
    if len(names) != len(values) or not names:
        return rejected("write list", INVALID_ARGUMENT)
    if None in names:
        return failed("address", OBJECT_ACCESS_UNSUPPORTED, len(names))
    named = [name for name in names if name is not None]
    items = [item for _, item in named]
    if len(items) > 1:
        if any(map(is_command, items)):
            return failed("commands in a list", OBJECT_ACCESS_UNSUPPORTED, len(items))
        errors = [value_error(item, value) for item, value in zip(items, values, strict=True)]
        # the whole Write: who gets one result for each variable cannot tell which of them were stored
        return failed("value", max(filter(None, errors)), len(items)) if any(errors) else None
    return _one_value(*named[0], values[0])


def _one_value(domain: str, item: str, value: bytes) -> Refusal | None:
    if is_command(item):
        return controls.refused(domain, item, value)
    error = value_error(item, value)
    return None if error is None else failed("value", error)


SERVICES: Mapping[int, tuple[str, Rule | None]] = {
    0x80: ("status", None),
    0x82: ("identify", None),
    0xA1: ("getNameList", None),
    0xA4: ("read", by_name_only),
    0xA5: ("write", values_that_fit),
    0xA6: ("getVariableAccessAttributes", attributes_by_name_only),
    0xAB: ("defineNamedVariableList", lists_of_associations_only),
    0xAC: ("getNamedVariableListAttributes", None),
    0xAD: ("deleteNamedVariableList", lists_by_name_only),
}
"""Tag → service and its rule. What is not here is rejected: file services, journals, all others."""


def judged(service: bytes) -> Judgement:
    """The verdict on a service request, its tag included; MalformedError if it is not whole."""
    return _remembered(service) if len(service) <= LONGEST_KEPT else _judged(service)


def _judged(service: bytes) -> Judgement:
    check(service)
    found = parts(service)
    if len(found) != 1:
        raise MalformedError("not one service")
    tag, begin, end = found[0]
    if tag not in SERVICES:
        return Judgement(rejected("service", UNRECOGNIZED_SERVICE))
    name, rule = SERVICES[tag]
    if rule is None:
        return Judgement(None)
    arguments = parts(service, begin, end)
    refusal = rule(service, arguments)
    if refusal is None and name == "write":
        return Judgement(None, _command(service, arguments), tuple(_reservations(service, arguments)))
    return Judgement(refusal)


_remembered = lru_cache(KEPT_VERDICTS)(_judged)


def _variables(data: bytes, begin: int, end: int) -> Iterator[list[Part]]:
    """The variables of a list: of each its specification, and its alternate access if it has one."""
    for tag, first, last in parts(data, begin, end):
        inner = parts(data, first, last)
        if tag != 0x30 or not inner:
            raise MalformedError("no list of variables")
        yield inner


def _specifications(data: bytes, begin: int, end: int) -> Iterator[list[Part]]:
    """The variables of a Read that names variables; none if it names a list."""
    for tag, first, last in parts(data, begin, end):
        if tag == LIST_OF_VARIABLES:
            yield from _variables(data, first, last)


def _named(data: bytes, variable: list[Part]) -> tuple[str, str] | None:
    """Domain and item of a whole variable; None if it is not by such a name."""
    tag, begin, end = variable[0]
    names = parts(data, begin, end) if tag == NAME and len(variable) == 1 else []
    if len(names) != 1 or names[0][0] != DOMAIN:
        return None
    both = parts(data, names[0][1], names[0][2])
    if [one[0] for one in both] != [0x1A, 0x1A]:
        return None
    domain, item = (data[first:last].decode("ascii", "replace") for _, first, last in both)
    return domain, item


def _writes(data: bytes, arguments: list[Part]) -> tuple[list[tuple[str, str] | None], list[bytes]]:
    """Names and values of a Write."""
    (_, begin, end), (_, first, last) = arguments
    names = [_named(data, one) for one in _variables(data, begin, end)]
    at, values = first, []
    for _, _, stop in parts(data, first, last):
        values.append(data[at:stop])
        at = stop
    return names, values


def _reservations(data: bytes, arguments: list[Part]) -> Iterator[Reservation]:
    names, values = _writes(data, arguments)
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        if name is not None and name[1].endswith("$ResvTms"):
            ((_, begin, end),) = parts(value)
            block = f"{name[0]}/{name[1].rpartition('$')[0]}"
            yield Reservation(block, int.from_bytes(value[begin:end], signed=True), place, len(names))


def _command(data: bytes, arguments: list[Part]) -> Command | None:
    names, values = _writes(data, arguments)
    if names[0] is None or not is_command(names[0][1]):
        return None
    domain, item = names[0]
    owner, _, name = item.rpartition("$")
    return Command(domain, owner, name, values[0])

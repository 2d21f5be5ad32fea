"""Report control blocks of any server (IEC 61850-7-2, 17): find them, take what is free, give it back.

One instance of each block is enough for one client: the first that nobody has.

>>> with association("127.0.0.1:10102") as client:  # doctest: +SKIP
...     [parse_name(taken.block) for taken in take(client, Wish(names=("brcbPos",)))]
['SMGW001GW/LLN0.brcbPos01']
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from open61850.data import BitStringData, BoolData, IntData
from open61850.mms import OBJECT_CLASS_DOMAIN, MmsClient, ObjectName, OptFlds, Reference, rcb
from open61850.mms.errors import DataAccessError, MmsConnectionError, MmsError
from open61850.mms.pdu import OBJECT_CLASS_NAMED_VARIABLE
from open61850.mms.types import MmsType, StructureType

from admin.exits import NotFoundError, RefusedError
from admin.mms.report_lines import Member, Subscription, parse_name
from admin.output import note
from scl_builder.model.cdc import SERVED_CDCS
from scl_builder.model.nsd_enums import ENUMERATIONS

READ_AT_ONCE = 16
RESERVED_SECONDS = 60
"""ResvTms of a buffered block: so long it waits for us when the association is lost."""
NEEDED = ("sequence_number", "reason_for_inclusion", "data_set_name")
"""OptFlds without which a report could not be shown; they are written only where one is missing."""


@dataclass(frozen=True)
class Wish:
    """What to take."""

    names: Sequence[str] = ()
    """Blocks, with or without their number or logical device; by default all."""
    interrogate: bool = True
    seen: Mapping[ObjectName, bytes] = field(default_factory=dict)
    """Blocks that were ours before, and the last EntryID of each: go on from there."""


def take(client: MmsClient, wish: Wish) -> Iterator[Subscription]:
    """Enable one free instance of each block; NotFoundError: no such block, RefusedError: none is free."""
    blocks = list(_blocks(client))
    groups = rcb.group_instances(_wanted(blocks, wish.names))
    if not groups:
        raise NotFoundError(_nothing(blocks, wish.names))
    taken, refusals = 0, []
    for instances in groups.values():
        try:
            subscription = _take_one(client, instances, wish)
        except RefusedError as error:
            refusals.append(str(error))
            continue
        taken += 1
        yield subscription
    if not taken:
        raise RefusedError(f"no report control block is free: {'; '.join(refusals)}")
    for refusal in refusals:
        note(f"left out: {refusal}")


def give_back(client: MmsClient, subscriptions: Iterable[Subscription]) -> None:
    """Disable the blocks and end their reservations, as far as the server still listens."""
    for subscription in subscriptions:
        with suppress(MmsError):
            rcb.disable(client, subscription.block)


def _blocks(client: MmsClient) -> Iterator[ObjectName]:
    for domain in client.get_name_list(OBJECT_CLASS_DOMAIN):
        for item in client.get_name_list(OBJECT_CLASS_NAMED_VARIABLE, domain):
            if rcb.is_rcb_name(item):
                yield ObjectName(item, domain)


def _wanted(blocks: Sequence[ObjectName], names: Sequence[str]) -> list[ObjectName]:
    """The blocks that ``names`` mean, or all."""
    if not names:
        return list(blocks)
    plain = {re.sub(r"\s*\[(RP|BR)\]$", "", name) for name in names}
    found = [block for block in blocks if plain & _names(block)]
    for name in plain:
        if not any(name in _names(block) for block in found):
            raise NotFoundError(_nothing(blocks, [name]))
    return found


def _names(block: ObjectName) -> set[str]:
    """Every way to name a block: with its logical device or not, with its number or not."""
    node, fc, name = block.item.split("$")
    ways = set()
    for called in (name, rcb.instance_base(name)):
        ways |= {called, f"{block.domain}/{node}.{called}", f"{block.domain}/{node}${fc}${called}"}
    return ways


def _nothing(blocks: Sequence[ObjectName], names: Sequence[str]) -> str:
    if not blocks:
        return "the server has no report control block"
    some = ", ".join(sorted({rcb.instance_base(block.item.split("$")[2]) for block in blocks})[:10])
    return f"no report control block {' or '.join(names)}: there are {some}"


def _take_one(client: MmsClient, instances: list[ObjectName], wish: Wish) -> Subscription:
    """The first instance that lets itself be enabled; RefusedError says who has each."""
    statuses = {block: rcb.read_status(client, block) for block in instances}
    # what was ours before may still be reserved for us: try it first
    ours = [status for block, status in statuses.items() if block in wish.seen and not status.rpt_ena]
    free = [status for status in statuses.values() if status.free and status not in ours]
    why = [f"{parse_name(block)} is {status.describe()}" for block, status in statuses.items()]
    for status in (*ours, *free):
        try:
            return _enable(client, status, wish)
        except rcb.RcbError as error:
            why.append(str(error))
    raise RefusedError(", ".join(why))


def _enable(client: MmsClient, status: rcb.RcbStatus, wish: Wish) -> Subscription:
    block = status.rcb
    buffered = rcb.is_buffered(block)
    # known before the first report comes
    subscription = Subscription(
        block, status.rpt_id or "", status.dat_set or "", _members(client, status.dat_set), buffered
    )
    entry = wish.seen.get(block) if buffered else None
    settings = rcb.RcbSettings(
        trg_ops=None,  # as configured: to write TrgOps or OptFlds purges a buffered block
        opt_flds=_missing_options(client, block),
        intg_pd_ms=None,
        resv_tms=RESERVED_SECONDS,
        entry_id=entry,
        general_interrogation=False,
    )
    try:
        rcb.enable(client, block, settings)
    except rcb.RcbError as error:
        if error.attribute != "EntryID":
            raise
        note(f"{parse_name(block)} does not know its last entry any more: all that it has follows")
        settings.entry_id, entry = None, None
        rcb.enable(client, block, settings)
    if wish.interrogate and entry is None:
        _interrogate(client, block)
    return subscription


def _interrogate(client: MmsClient, block: ObjectName) -> None:
    try:
        client.write(_attribute(block, "GI"), BoolData(True))
    except DataAccessError as error:
        note(f"{parse_name(block)} takes no general interrogation: {error}")


def _missing_options(client: MmsClient, block: ObjectName) -> OptFlds | None:
    """OptFlds with what we need added; None if all of it is there."""
    value = client.read(_attribute(block, "OptFlds"))
    has = OptFlds.from_bitstring(value) if isinstance(value, BitStringData) else OptFlds()
    needed = (*NEEDED, "entry_id") if rcb.is_buffered(block) else NEEDED
    if all(getattr(has, name) for name in needed):
        return None
    return OptFlds(**{**vars(has), **dict.fromkeys(needed, True)})


def _members(client: MmsClient, data_set: str | None) -> tuple[Member, ...]:
    if not data_set:
        return ()
    domain, _, item = data_set.partition("/")
    names = client.get_data_set_members(ObjectName(item, domain))
    references = [Reference.from_object_name(name) for name in names]
    kinds = [client.get_type(reference) for reference in references]
    units = _units(client, references, kinds)
    return tuple(map(Member, references, kinds, units))


def _units(client: MmsClient, references: Sequence[Reference], kinds: Sequence[MmsType]) -> list[str]:
    """The unit of each member, where its data object has one in CF."""
    wanted = [
        Reference(reference.ld, reference.ln, (*_measured(reference.path, kind), "units", part), "CF")
        for reference, kind in zip(references, kinds, strict=True)
        for part in ("SIUnit", "multiplier")
    ]
    told = []
    for start in range(0, len(wanted), READ_AT_ONCE):
        told += client.read_many(wanted[start : start + READ_AT_ONCE])
    return [_unit(told[index], told[index + 1]) for index in range(0, len(told), 2)]


def _measured(path: Sequence[str], kind: MmsType) -> Sequence[str]:
    """The data object of a member; of one with sub data objects, which have one unit, the first of them."""
    first = kind.components[0][0] if isinstance(kind, StructureType) and kind.components else ""
    return (*path, first) if len(path) == 1 and first in _PARTS else _object(path)


_PARTS = frozenset(part for row in SERVED_CDCS.values() for part in row.parts)


def _object(path: Sequence[str]) -> Sequence[str]:
    """The data object or sub data object that ``path`` leads to, or into."""
    return path[:2] if path[1:] and path[1] in _PARTS else path[:1]


def _unit(unit: object, multiplier: object) -> str:
    if not isinstance(unit, IntData):
        return ""
    prefix = (
        ENUMERATIONS["MultiplierKind"].get(multiplier.value, "?") if isinstance(multiplier, IntData) else ""
    )
    return prefix + ENUMERATIONS["SIUnitKind"].get(unit.value, f"unit {unit.value}")


def _attribute(block: ObjectName, name: str) -> ObjectName:
    return ObjectName(f"{block.item}${name}", block.domain)


def is_alive(client: MmsClient, subscription: Subscription) -> bool:
    """Whether the block is still ours; MmsConnectionError or MmsTimeout if the server is gone."""
    if not client.is_connected:
        raise MmsConnectionError("the association ended")
    return client.read(_attribute(subscription.block, "RptEna")) == BoolData(True)

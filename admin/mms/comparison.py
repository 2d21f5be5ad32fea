"""An IED as a file describes it against the same IED as a server shows it, attribute by attribute; no I/O.

Both sides come as :data:`Devices`: ``scl_model`` makes them from the file, ``served_model`` from the server.
Names, functional constraints, MMS types (IEC 61850-8-1), members of data sets, report control blocks,
control models, constants (Val) and ordinals of enumerations are compared, both ways.

>>> file = Node(types={("MX", "Vol", "q"): "bit-string(<=13)"})
>>> [str(found) for found in differences({"LD": {"MMXN1": file}}, {"LD": {"MMXN1": Node()}})]
['attribute LD/MMXN1.Vol.q [MX]: bit-string(<=13) in the file, nothing on the server']
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

Path = tuple[str, ...]
"""Functional constraint, data object, attribute and its parts: ``("MX", "Vol", "mag", "f")``."""
Scalar = bool | int | float | str

UNKNOWN_TYPE = ""
"""Stands for a type that the file gives and that we cannot compare."""


@dataclass(frozen=True)
class Block:
    """A report control block: its attributes in words."""

    attributes: Mapping[str, str]
    in_use: bool = False
    """A client has it, and may have changed what it says."""


@dataclass(frozen=True)
class Node:
    """A logical node."""

    types: Mapping[Path, str] = field(default_factory=dict)
    """Every leaf and its MMS type."""
    values: Mapping[Path, Scalar] = field(default_factory=dict)
    """File: the constants. Server: what was read."""
    literals: Mapping[Path, Mapping[int, str]] = field(default_factory=dict)
    """File: the enumerations."""
    data_sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    blocks: Mapping[str, Block] = field(default_factory=dict)
    """By name and functional constraint: ``urcbVol01 [RP]``."""


Devices = Mapping[str, Mapping[str, Node]]
"""MMS domain → logical node → what is in it."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same; None is nothing at all."""

    what: str
    reference: str
    file: str | None
    server: str | None

    def __str__(self) -> str:
        said, shown = (text or "nothing" for text in (self.file, self.server))
        return f"{self.what} {self.reference}: {said} in the file, {shown} on the server"


def differences(file: Devices, server: Devices) -> Iterator[Difference]:
    """Everything that differs, device by device."""
    yield from _missing("logical device", {name: name for name in file}, {name: name for name in server})
    for domain in file:
        if domain in server:
            yield from device_differences(domain, file[domain], server[domain])


def device_differences(
    domain: str, file: Mapping[str, Node], server: Mapping[str, Node]
) -> Iterator[Difference]:
    """Everything that differs in one logical device that both have."""
    names = [{f"{domain}/{name}": name for name in side} for side in (file, server)]
    yield from _missing("logical node", *names)
    for name, node in file.items():
        if name in server:
            yield from _node(f"{domain}/{name}", node, server[name])


def _node(name: str, file: Node, server: Node) -> Iterator[Difference]:
    if file.types != server.types:
        yield from _types(name, file.types, server.types)
    yield from _values(name, file, server)
    yield from _data_sets(name, file.data_sets, server.data_sets)
    yield from _blocks(name, file.blocks, server.blocks)


def _missing(what: str, file: Mapping[str, str], server: Mapping[str, str]) -> Iterator[Difference]:
    """What only one side has; the mappings say what each side calls a reference."""
    for reference, text in file.items():
        if reference not in server:
            yield Difference(what, reference, text, None)
    for reference, text in server.items():
        if reference not in file:
            yield Difference(what, reference, None, text)


def _types(name: str, file: Mapping[Path, str], server: Mapping[Path, str]) -> Iterator[Difference]:
    sides = [{_reference(name, path): kind or "?" for path, kind in side.items()} for side in (file, server)]
    yield from _missing("attribute", *sides)
    for path, kind in file.items():
        if kind != UNKNOWN_TYPE and server.get(path, kind) != kind:
            yield Difference("type", _reference(name, path), kind, server[path])


def _values(name: str, file: Node, server: Node) -> Iterator[Difference]:
    for path, value in file.values.items():
        shown = server.values.get(path)
        if shown is not None and shown != value:
            what = "control model" if path[-1] == "ctlModel" else "value"
            literals = file.literals.get(path, {})
            yield Difference(what, _reference(name, path), _text(value, literals), _text(shown, literals))
    for path, literals in file.literals.items():
        shown = server.values.get(path)
        if path not in file.values and isinstance(shown, int) and shown not in literals:
            known = ", ".join(f"{ordinal} {literal}" for ordinal, literal in literals.items())
            yield Difference("enumeration", _reference(name, path), known, str(shown))


def _data_sets(
    name: str, file: Mapping[str, tuple[str, ...]], server: Mapping[str, tuple[str, ...]]
) -> Iterator[Difference]:
    sides = [
        {f"{name}.{key}": f"{len(members)} members" for key, members in side.items()}
        for side in (file, server)
    ]
    yield from _missing("data set", *sides)
    for key, members in file.items():
        if key in server and server[key] != members:
            yield from _members(f"{name}.{key}", members, server[key])


def _members(name: str, file: tuple[str, ...], server: tuple[str, ...]) -> Iterator[Difference]:
    for number in range(max(len(file), len(server))):
        said, shown = (side[number] if number < len(side) else None for side in (file, server))
        if said != shown:
            yield Difference("data set member", f"{name}({number + 1})", said, shown)


def _blocks(name: str, file: Mapping[str, Block], server: Mapping[str, Block]) -> Iterator[Difference]:
    sides = [{f"{name}.{key}": key for key in side} for side in (file, server)]
    yield from _missing("report block", *sides)
    for key, block in file.items():
        if key in server and not server[key].in_use:
            yield from _block(f"{name}.{key}", block, server[key])


def _block(name: str, file: Block, server: Block) -> Iterator[Difference]:
    for attribute, said in file.attributes.items():
        shown = server.attributes.get(attribute)
        if shown != said:
            yield Difference("report block", f"{name} {attribute}", said, shown)


def in_use(server: Iterable[Node]) -> int:
    """Report control blocks that clients have: what they say was not compared."""
    return sum(block.in_use for node in server for block in node.blocks.values())


def _reference(name: str, path: Path) -> str:
    return f"{name}.{'.'.join(path[1:])} [{path[0]}]"


def _text(value: Scalar, literals: Mapping[int, str]) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and literals:
        return literals.get(value, str(value))
    return str(value) or "an empty text"

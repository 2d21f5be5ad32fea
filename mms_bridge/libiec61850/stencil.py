"""Logical devices of the library's model: the first of a kind made by the library, the others copied from it.

A meter's device is some two hundred nodes, each a structure with three pointers to others of them (parent,
sibling, first child) and one to its name: 15 ms and 1.5 MB for the fifty meters of an IED when ``*_create``
makes them one by one. The structures are public (iec61850_model.h): a program may bring its own model, which
the library uses and never frees. So the bytes of one device are taken as a pattern, and a copy is the pattern
with the address of its memory added to every pointer inside it (all in one addition of two long integers);
the names are those of the pattern, which stays.

It rests on the sizes and pointers below. Before a pattern is used, every node of it is looked at: its
pointers must be those of the tree that was asked for and its name the right one, and the library must be of
the version whose header was read. Else each device is made by the library, more slowly and in more memory.

>>> made, memory = devices(model, cid.devices)  # doctest: +SKIP
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from struct import Struct
from typing import NamedTuple

from mms_bridge.libiec61850.bindings import lib
from mms_bridge.libiec61850.memory import MEMORY
from mms_bridge.libiec61850.node_plan import Creation, Form, create, form
from scl_builder.read.cid import Device

VERSION = b"1.6.1"
"""Of the library whose header iec61850_model.h says what follows, on machines with pointers of 8 octets."""
_LD_SIZE, _LN_SIZE, _DO_SIZE, _DA_SIZE = 48, 40, 48, 80
_PADDING = {_LD_SIZE: ((4, 8),), _LN_SIZE: ((4, 8),), _DA_SIZE: ((4, 8), (57, 64), (76, 80))}
"""Octets that no field has; what happens to stand there is not copied. A DO has those of a LD."""
_NAME, _PARENT, _SIBLING, _FIRST_CHILD = 8, 16, 24, 32
_MODEL_FIRST_CHILD = 8
_LONGEST_NAME = 72
"""Octets for the name of a logical device: at most 64 (IEC 61850-8-1), and a NUL."""

_word = Struct("=Q")
_pointers = Struct("=QQQ")

Kind = tuple[tuple[str, Form], ...]
"""Names and forms of a device's logical nodes."""
MAX_STENCILS = 64
"""Kinds of devices whose patterns are kept, for as long as the process lives; a town has two."""


@dataclass(frozen=True, slots=True, eq=False)
class Offsets:
    """Where the nodes of a device are, counted from where the device is."""

    nodes: tuple[int, ...]
    objects: tuple[tuple[tuple[int, ...], ...], ...]
    """For each node, for each of its type's plans: the data object and its attributes, by their places."""


class Made(NamedTuple):
    """A logical device in the model."""

    device: int
    offsets: Offsets


@dataclass(frozen=True, slots=True)
class Stencil:
    """The pattern of a kind of device."""

    pattern: int
    pointers: int
    """1 in the words that hold a pointer to another node."""
    size: int
    offsets: Offsets


def devices(model: int, wanted: Sequence[Device]) -> tuple[list[Made], object]:
    """Make the ``wanted`` devices in ``model``; what is returned second must live as long as the model."""
    kinds = list(map(kind_of, wanted))
    stencils = [stencil(each) for each in kinds]
    found = [each for each in stencils if each is not None]
    if len(found) < len(stencils):
        return [_create(model, device.domain, each) for device, each in zip(wanted, kinds, strict=True)], None
    memory = (ctypes.c_ubyte * sum(each.size for each in found))()
    made, address = [], ctypes.addressof(memory)
    for each, device in zip(found, wanted, strict=True):
        made.append(_copy(each, address, model, device.domain))
        address += each.size
    heads = [each.device for each in made]
    _put(model + _MODEL_FIRST_CHILD, *heads[:1])
    for head, following in pairwise(heads):
        _put(head + _SIBLING, following)
    return made, memory


def forget(model: int) -> None:
    """Take the devices out of a model before the library frees it, if they are our copies."""
    _put(model + _MODEL_FIRST_CHILD, 0)


def known_version() -> bool:
    """Whether the library's structures are those of the header that was read."""
    return bool(lib.LibIEC61850_getVersionString() == VERSION) and sys.maxsize > 2**32


def kind_of(device: Device) -> Kind:
    """What decides how a device is made, but for its name."""
    return tuple((node.name, form(node.type)) for node in device.nodes)


_stencils: dict[Kind, Stencil | None] = {}


def stencil(of: Kind) -> Stencil | None:
    """The pattern of a kind; None if the library's structures are not those that we know."""
    if of not in _stencils and len(_stencils) < MAX_STENCILS:
        _stencils[of] = _drawn(of)
    return _stencils.get(of)


def _drawn(of: Kind) -> Stencil | None:
    if not known_version():
        return None
    model = lib.IedModel_create(b"")  # stays, for the names
    return _stencil(model, _create(model, "", of), of)


def _create(model: int, domain: str, of: Kind) -> Made:
    device = lib.LogicalDevice_createEx(domain.encode(), model, None)
    nodes, objects = [], []
    for name, node_form in of:
        node = lib.LogicalNode_create(name.encode(), device)
        nodes.append(node - device)
        objects.append(tuple(_object(device, node, *each) for each in node_form.objects))
    return Made(device, Offsets(tuple(nodes), tuple(objects)))


def _object(device: int, node: int, name: bytes, attributes: tuple[Creation, ...]) -> tuple[int, ...]:
    handles = [lib.DataObject_create(name, node, 0)]
    for attribute in attributes:
        handles.append(create(attribute, handles[attribute.parent]))
    return tuple(handle - device for handle in handles)


@dataclass(slots=True)
class _Node:
    """What a node of the pattern must be; nodes are named by their offsets in the library's device."""

    at: int
    size: int
    name: bytes
    parent: int | None
    children: list[int]


def _expected(offsets: Offsets, of: Kind) -> list[_Node]:
    """The tree that was asked for, in the order in which it was made."""
    tree = [_Node(0, _LD_SIZE, b"", None, list(offsets.nodes))]
    for at, objects, (name, node_form) in zip(offsets.nodes, offsets.objects, of, strict=True):
        tree.append(_Node(at, _LN_SIZE, name.encode(), 0, [each[0] for each in objects]))
        for places, (object_name, attributes) in zip(objects, node_form.objects, strict=True):
            family = [_Node(places[0], _DO_SIZE, object_name, at, [])]
            for own, attribute in zip(places[1:], attributes, strict=True):
                family[attribute.parent].children.append(own)
                size = _DO_SIZE if attribute.b_type is None else _DA_SIZE
                family.append(_Node(own, size, attribute.name, places[attribute.parent], []))
            tree += family
    return tree


def _stencil(model: int, made: Made, of: Kind) -> Stencil | None:
    tree = _expected(made.offsets, of)
    starts = accumulate((node.size for node in tree), initial=0)
    moved = {node.at: start for node, start in zip(tree, starts, strict=False)}
    following = {node: sibling for each in tree for node, sibling in pairwise(each.children)}
    size = sum(node.size for node in tree) + _LONGEST_NAME
    pattern, pointers = bytearray(size), bytearray(size)
    for node in tree:
        near = (node.parent, following.get(node.at), next(iter(node.children), None))
        wanted = [0 if offset is None else made.device + offset for offset in near]
        if node.parent is None:
            wanted[0] = model
        handle, at = made.device + node.at, moved[node.at]
        if list(_pointers.unpack_from(MEMORY, handle + _PARENT)) != wanted or _name(handle) != node.name:
            return None
        pattern[at : at + node.size] = MEMORY[handle : handle + node.size]
        for begin, end in _PADDING[node.size]:
            pattern[at + begin : at + end] = bytes(end - begin)
        _pointers.pack_into(pattern, at + _PARENT, *(0 if each is None else moved[each] for each in near))
        _pointers.pack_into(pointers, at + _PARENT, *(each is not None for each in near))
    if _word.unpack_from(MEMORY, model + _MODEL_FIRST_CHILD)[0] != made.device:
        return None
    offsets = Offsets(
        tuple(map(moved.__getitem__, made.offsets.nodes)),
        tuple(tuple(tuple(map(moved.__getitem__, o)) for o in node) for node in made.offsets.objects),
    )
    integer = partial(int.from_bytes, byteorder=sys.byteorder)
    return Stencil(integer(pattern), integer(pointers), size, offsets)


def _name(handle: int) -> bytes:
    return ctypes.string_at(_word.unpack_from(MEMORY, handle + _NAME)[0])


def _copy(of: Stencil, address: int, model: int, domain: str) -> Made:
    """A device at ``address``, without a sibling."""
    copied = of.pattern + address * of.pointers
    MEMORY[address : address + of.size] = copied.to_bytes(of.size, sys.byteorder)
    name = domain.encode()
    at = address + of.size - _LONGEST_NAME
    MEMORY[at : at + len(name)] = name
    _put(address + _NAME, at)
    _put(address + _PARENT, model)
    return Made(address, of.offsets)


def _put(address: int, word: int) -> None:
    _word.pack_into(MEMORY, address, word)

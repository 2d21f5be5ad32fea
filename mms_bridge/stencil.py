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
from itertools import pairwise
from struct import Struct

from mms_bridge.cid import Device
from mms_bridge.memory import MEMORY
from mms_bridge.native import lib
from mms_bridge.plan import Form, form

VERSION = b"1.6.1"
"""Of the library whose header iec61850_model.h says what follows, on machines with pointers of 8 octets."""
_LD_SIZE, _LN_SIZE, _DO_SIZE, _DA_SIZE = 48, 40, 48, 80
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


@dataclass(frozen=True, slots=True)
class Made:
    """A logical device in the model: the handles of its nodes."""

    device: int
    nodes: tuple[int, ...]
    objects: tuple[tuple[tuple[int, ...], ...], ...]
    """For each node, for each of its type's plans: the data object and its attributes, by their places."""


@dataclass(frozen=True, slots=True)
class Stencil:
    """The pattern of a kind of device; offsets instead of handles."""

    pattern: int
    pointers: int
    """1 in the words that hold a pointer to another node."""
    size: int
    offsets: Made


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
        nodes.append(node)
        made = []
        for object_name, attributes in node_form.objects:
            handles = [lib.DataObject_create(object_name, node, 0)]
            for attribute, parent, b_type, fc, triggers in attributes:
                create = lib.DataAttribute_create
                handles.append(create(attribute, handles[parent], b_type, fc, triggers, 0, 0))
            made.append(tuple(handles))
        objects.append(tuple(made))
    return Made(device, tuple(nodes), tuple(objects))


@dataclass(slots=True)
class _Node:
    """What a node of the pattern must be."""

    handle: int
    size: int
    name: bytes
    parent: int
    children: list[int]


def _expected(model: int, made: Made, of: Kind) -> list[_Node]:
    """The tree that was asked for, in the order in which it was made."""
    nodes = [_Node(made.device, _LD_SIZE, b"", model, list(made.nodes))]
    for handle, objects, (name, node_form) in zip(made.nodes, made.objects, of, strict=True):
        nodes.append(_Node(handle, _LN_SIZE, name.encode(), made.device, [each[0] for each in objects]))
        for handles, (object_name, attributes) in zip(objects, node_form.objects, strict=True):
            family = [_Node(handles[0], _DO_SIZE, object_name, handle, [])]
            for own, attribute in zip(handles[1:], attributes, strict=True):
                family[attribute.parent].children.append(own)
                family.append(_Node(own, _DA_SIZE, attribute.name, handles[attribute.parent], []))
            nodes += family
    return nodes


def _stencil(model: int, made: Made, of: Kind) -> Stencil | None:
    nodes = _expected(model, made, of)
    following = {node: sibling for each in nodes for node, sibling in pairwise(each.children)}
    offsets: dict[int, int] = {}
    size = 0
    for node in nodes:
        offsets[node.handle] = size
        size += node.size
    pattern, pointers = bytearray(size + _LONGEST_NAME), bytearray(size + _LONGEST_NAME)
    for node in nodes:
        tree = (node.parent, following.get(node.handle, 0), next(iter(node.children), 0))
        if _pointers.unpack_from(MEMORY, node.handle + _PARENT) != tree or _name(node.handle) != node.name:
            return None
        at = offsets[node.handle]
        pattern[at : at + node.size] = MEMORY[node.handle : node.handle + node.size]
        _pointers.pack_into(pattern, at + _PARENT, *(offsets.get(pointer, 0) for pointer in tree))
        _pointers.pack_into(pointers, at + _PARENT, *(pointer in offsets for pointer in tree))
    if _word.unpack_from(MEMORY, model + _MODEL_FIRST_CHILD)[0] != made.device:
        return None
    relative = Made(
        0,
        tuple(offsets[node] for node in made.nodes),
        tuple(tuple(tuple(offsets[h] for h in handles) for handles in objects) for objects in made.objects),
    )
    integer = partial(int.from_bytes, byteorder=sys.byteorder)
    return Stencil(integer(pattern), integer(pointers), len(pattern), relative)


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
    return Made(
        address,
        tuple(address + node for node in of.offsets.nodes),
        tuple(
            tuple(tuple([address + offset for offset in handles]) for handles in objects)
            for objects in of.offsets.objects
        ),
    )


def _put(address: int, word: int) -> None:
    _word.pack_into(MEMORY, address, word)

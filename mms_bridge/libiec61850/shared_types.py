"""The MMS types of a server's logical devices: equal ones once, instead of once for each meter.

``IedServer_create`` gives every logical device a tree of types (MmsVariableSpecification) of its own, which
only answers what a type is and how a name leads to a value; nothing writes to it. In the devices of an IED's
meters these trees are equal, and 20 kB each. So the parts of one replace those of the others, whose own the
library frees. What the library keeps pointers to stays each device's own: the nodes of the functional
constraints (its cache of values) and of the objects that are controlled. Before the server is destroyed the
borrowed parts are taken out again, so that each is freed once.

It rests on the structures below, of mms_types.h and mms_device_model.h of the version that ``stencil.py``
names too. Before anything is changed, they must lead to the devices and nodes that were asked for, and the
library's own functions must see the same in the types; else all stays as it is, in more memory.

>>> borrowed = share(server, model, cid.devices)  # doctest: +SKIP
>>> give_back(borrowed)  # doctest: +SKIP
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterator, Sequence
from struct import Struct

from mms_bridge.libiec61850.bindings import lib
from mms_bridge.libiec61850.memory import MEMORY
from mms_bridge.libiec61850.stencil import Kind, kind_of, known_version
from scl_builder.read.cid import Device

_SERVER = Struct("=QQ")  # model, device
_DEVICE = Struct("=Q24xi4xQ")  # name, number of domains, domains
_DOMAIN = Struct("=Qi4xQ")  # name, number of named variables, named variables
_TYPE = Struct("=iQi4xQ")  # type, name, and of a structure: number of elements, elements
_COUNT_AT, _ELEMENTS_AT = 12, 20
_MMS_STRUCTURE = 1
_WORD = 8

Parts = tuple[int, int]
"""Where the pointers to a structure's elements are, and how many."""


def share(server: int, model: int, devices: Sequence[Device]) -> array[int]:
    """Let equal devices of ``server`` have their types in common; what is to be given back."""
    borrowed = array("Q")
    if not known_version() or not (trees := _trees(server, model, devices)):
        return borrowed
    lenders: dict[Kind, _Lender | None] = {}
    freed: list[int] = []
    for device, tree in zip(devices, trees, strict=True):
        if any(node.reports for node in device.nodes):
            continue  # its types have control blocks in them
        kind = kind_of(device)
        if kind not in lenders:
            known = all(_is(node, of.name) for node, of in zip(tree, device.nodes, strict=True))
            lenders[kind] = _Lender(tree) if known else None
        elif lender := lenders[kind]:
            own, parts = lender.lend(tree)
            borrowed.extend(own)
            freed += parts
    _free(freed)
    return borrowed


def give_back(borrowed: array[int]) -> None:
    """Take out what is another's; the server must not be asked for anything any more."""
    for node in borrowed:
        ctypes.c_int.from_address(node + _COUNT_AT).value = 0


def _trees(server: int, model: int, devices: Sequence[Device]) -> list[list[int]]:
    """For each device the types of its logical nodes; empty if they are not where we think."""
    its_model, mms_device = _SERVER.unpack_from(MEMORY, server)
    if its_model != model:
        return []
    _, count, domains = _DEVICE.unpack_from(MEMORY, mms_device)
    if count != len(devices):
        return []
    trees = []
    for device, domain in zip(devices, _words(domains, count), strict=True):
        name, size, variables = _DOMAIN.unpack_from(MEMORY, domain)
        if ctypes.string_at(name) != device.domain.encode() or size != len(device.nodes):
            return []
        trees.append(_words(variables, size))
    return trees


def _is(node: int, name: str) -> bool:
    """Whether a type is a structure of that name, to us as to the library."""
    at, count = _parts(node)
    seen: tuple[bytes, int, int] = (
        lib.MmsVariableSpecification_getName(node),
        lib.MmsVariableSpecification_getSize(node),
        lib.MmsVariableSpecification_getChildSpecificationByIndex(node, count - 1),
    )
    return seen == (name.encode(), count, _words(at, count)[-1])


class _Lender:
    """The device whose types the others of its kind take."""

    def __init__(self, tree: list[int]) -> None:
        self._controls = {
            (number, place)
            for number, node in enumerate(tree)
            for place, constraint in enumerate(_elements(node))
            if ctypes.string_at(_TYPE.unpack_from(MEMORY, constraint)[1]) == b"CO"
        }
        self._pointers = [
            bytes(MEMORY[at : at + count * _WORD]) for at, count in map(_parts, self._common(tree))
        ]

    def lend(self, tree: list[int]) -> tuple[list[int], list[int]]:
        """Give ``tree`` our parts: the nodes that have them now, and the parts that it had."""
        own = list(self._common(tree))
        parts = list(map(_parts, own))
        if [count * _WORD for _, count in parts] != list(map(len, self._pointers)):
            return [], []
        had: list[int] = []
        for (at, count), pointers in zip(parts, self._pointers, strict=True):
            had += _words(at, count)
            MEMORY[at : at + count * _WORD] = pointers
        return own, had

    def _common(self, tree: list[int]) -> Iterator[int]:
        """The structures whose elements are only looked up by name: nobody keeps a pointer to them."""
        for number, node in enumerate(tree):
            for place, constraint in enumerate(_elements(node)):
                if (number, place) in self._controls:
                    yield from _elements(constraint)
                else:
                    yield constraint


def _elements(node: int) -> list[int]:
    return _words(*_parts(node))


def _parts(node: int) -> Parts:
    _, _, count, elements = _TYPE.unpack_from(MEMORY, node)
    return elements, count


def _words(at: int, count: int) -> list[int]:
    return MEMORY[at : at + count * _WORD].cast("Q").tolist()


def _free(types: list[int]) -> None:
    """Let the library free ``types``: as the elements of a structure that holds nothing else."""
    if not types:
        return
    words = array("Q", types).tobytes()
    elements = lib.Memory_malloc(len(words))
    MEMORY[elements : elements + len(words)] = words
    carrier = lib.Memory_calloc(1, _TYPE.size)
    _TYPE.pack_into(MEMORY, carrier, _MMS_STRUCTURE, 0, len(types), elements)
    lib.MmsVariableSpecification_destroy(carrier)

"""Takes the waiting out of libiec61850's threadless calls, while they run.

``IedServer_processIncomingData`` sends the reports that are due, then polls its listening socket for up to
1 ms, and reading waits for up to 10 ms on each association that has nothing to say. With one event loop,
which calls a server only when there is something to do, all this waiting is idle: two hundred IEDs with
two clients each would wait for four seconds in every second. And it sleeps for 10 ms after each socket that
it has closed: a client that connects and leaves, again and again, would hold up all the others.

The library calls its own exported ``Handleset_waitReady`` (hal_socket.h) and ``Thread_sleep`` (hal_thread.h)
through its procedure linkage table. The dynamic linker's rule is that such a slot may lead anywhere. While
:func:`quickly` runs a call, both lead to the C library's ``getpagesize``, which looks at no argument and
returns a positive number: "something is ready". The reading that follows (recv with MSG_DONTWAIT, accept on
a descriptor that does not block) finds out for itself whether that is so, without a poll before each. A
client of the same library in another thread keeps its waits, but for those that begin in these microseconds.
The slots are found by reading the ELF file as System V's gABI describes it (dynamic section, DT_JMPREL).

This is the only place that writes into memory that is the library's, so it is done only with the files in
:data:`TESTED`, by their SHA-256. With any other file the waits stay: everything works, only slower. To add a
file, run the MMS tests in both states on a machine that has it (``make mms``).

>>> from mms_bridge.libiec61850.bindings import library_path, lib
>>> install(lib, library_path())
''
>>> quickly(lib.IedServer_processIncomingData, server)  # doctest: +SKIP
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import struct
from collections.abc import Callable
from ctypes import c_int, c_size_t, c_uint64, c_void_p
from pathlib import Path
from typing import NamedTuple

TESTED = {
    "112a622f4f2a90244e811ba326eb7c0ea030fd41a8ebd8165c0269cd3e3198af": "pyiec61850-ng 1.6.1.10, x86-64",
}
"""SHA-256 of a library's file, and what it is."""
NAME = "Handleset_waitReady"
SLEEP = "Thread_sleep"

_slots = [c_uint64(), c_uint64()]
"""The slots of NAME and SLEEP while the hook is installed; else words that nobody reads."""
_waiting = [0, 0]
"""The library's functions to which the slots lead at other times; 0 while the hook is not installed."""
_at_once = ctypes.cast(ctypes.CDLL(None).getpagesize, c_void_p).value or 0

# ELF64, little endian: the fields that we read
_HEADER = struct.Struct("<16sHHIQQQIHHH")  # Elf64_Ehdr up to e_phnum
_PROGRAM = struct.Struct("<IIQQQQQQ")  # Elf64_Phdr
_DYNAMIC = struct.Struct("<qQ")  # Elf64_Dyn
_RELOCATION = struct.Struct("<QQq")  # Elf64_Rela
_SYMBOL = struct.Struct("<IBBHQQ")  # Elf64_Sym
_MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little endian
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_PLTRELSZ, _DT_STRTAB, _DT_SYMTAB, _DT_JMPREL = 2, 5, 6, 23
_JUMP_SLOTS = {62: 7, 183: 1026}
"""e_machine -> relocation type of a jump slot: R_X86_64_JUMP_SLOT, R_AARCH64_JUMP_SLOT."""


class Slot(NamedTuple):
    """Where a function's address stands, and where the function is; both relative to the library's base."""

    offset: int
    function: int


def quickly(call: Callable[[int], None], server: int) -> None:
    """``call(server)``, without its waits if the hook is installed."""
    wait, sleep = _slots
    wait.value = sleep.value = _at_once
    try:
        call(server)
    finally:
        wait.value, sleep.value = _waiting


def install(library: ctypes.CDLL, path: Path) -> str:
    """Have :func:`quickly` leave out the waits, in this process; empty, or why that is not possible."""
    if any(_waiting):
        return ""
    image = path.read_bytes()
    digest = hashlib.sha256(image).hexdigest()
    if digest not in TESTED:
        return f"its SHA-256 {digest} is none of a file that was tested"
    functions: list[int] = []
    addresses: list[int] = []
    for name in (NAME, SLEEP):
        slot = find_slot(image, name)
        if slot is None:
            return f"it has no jump slot of {name}"
        functions.append(ctypes.cast(getattr(library, name), c_void_p).value or 0)
        addresses.append(functions[-1] - slot.function + slot.offset)
    if not all(map(_make_writable, addresses)):
        return "the system does not let its jump slots be written"
    _slots[:] = map(c_uint64.from_address, addresses)
    _waiting[:] = functions
    return ""


def remove() -> None:
    """Leave the library's waits in, in this process."""
    _slots[:] = [c_uint64(), c_uint64()]
    _waiting[:] = [0, 0]


def _make_writable(address: int) -> bool:
    """Undo what relocation may have made read-only; False if the system forbids it."""
    page = os.sysconf("SC_PAGE_SIZE")
    protect = ctypes.CDLL(None).mprotect
    protect.argtypes = (c_void_p, c_size_t, c_int)
    return bool(protect(address - address % page, page, mmap.PROT_READ | mmap.PROT_WRITE) == 0)


def find_slot(image: bytes, name: str) -> Slot | None:
    """The jump slot of the function ``name``, which the library itself defines; None if there is none."""
    try:
        return _find(image, name)
    except (struct.error, KeyError, ValueError):
        return None  # no ELF that we can read


def _find(image: bytes, name: str) -> Slot | None:
    header = _HEADER.unpack_from(image)
    if header[0][:6] != _MAGIC or header[2] not in _JUMP_SLOTS:
        return None
    segments = [_PROGRAM.unpack_from(image, header[5] + index * _PROGRAM.size) for index in range(header[10])]
    loads = [segment for segment in segments if segment[0] == _PT_LOAD]
    (dynamic,) = (segment for segment in segments if segment[0] == _PT_DYNAMIC)
    entries = dict(_DYNAMIC.iter_unpack(image[dynamic[2] : dynamic[2] + dynamic[5]]))
    symbols, names = (_file_offset(loads, entries[tag]) for tag in (_DT_SYMTAB, _DT_STRTAB))
    begin = _file_offset(loads, entries[_DT_JMPREL])
    wanted = name.encode() + b"\0"
    for offset, info, _addend in _RELOCATION.iter_unpack(image[begin : begin + entries[_DT_PLTRELSZ]]):
        if info & 0xFFFFFFFF != _JUMP_SLOTS[header[2]]:
            continue
        symbol = _SYMBOL.unpack_from(image, symbols + (info >> 32) * _SYMBOL.size)
        at = names + symbol[0]
        if image[at : at + len(wanted)] == wanted and symbol[4]:
            return Slot(offset, symbol[4])
    return None


def _file_offset(loads: list[tuple[int, ...]], address: int) -> int:
    """Where in the file the byte stands that is loaded at ``address``; KeyError if none is."""
    for _kind, _flags, offset, virtual, _physical, size, *_ in loads:
        if virtual <= address < virtual + size:
            return offset + address - virtual
    raise KeyError(address)

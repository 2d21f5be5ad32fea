"""Takes the waiting out of libiec61850's threadless calls, in the threads that ask for it.

``IedServer_processIncomingData`` sends the reports that are due, then polls its listening socket for up to
1 ms, and reading waits for up to 10 ms on each association that has nothing to say. With one event loop,
which calls a server only when there is something to do, all this waiting is idle: two hundred IEDs with
two clients each would wait for four seconds in every second. And it sleeps for 10 ms after each socket that
it has closed: a client that connects and leaves, again and again, would hold up all the others.

The library calls its own exported ``Handleset_waitReady`` (hal_socket.h) and ``Thread_sleep`` (hal_thread.h)
through its procedure linkage table. The dynamic linker's rule is that such a slot may lead anywhere, and we
let it lead to a function that asks the original one with a time of 0 in our threads, and with the given one
in all others (a client of the same library in this process keeps its own waits). The slots are found by
reading the ELF file as System V's gABI describes it (dynamic section, DT_JMPREL); on a file that has not
both :func:`unblock` returns False, and everything works, only slower.

>>> from mms_bridge.native import library_path, lib
>>> unblock(lib, library_path())
True
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import threading
from ctypes import CFUNCTYPE, c_int, c_size_t, c_uint, c_void_p
from pathlib import Path
from typing import NamedTuple

NAME = "Handleset_waitReady"
SLEEP = "Thread_sleep"

WaitReady = CFUNCTYPE(c_int, c_void_p, c_uint)
Sleep = CFUNCTYPE(None, c_int)

_thread = threading.local()
_kept: list[object] = []  # the function whose address stands in the slot: as long as the process

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


def in_this_thread() -> None:
    """From now on no call into the library waits in this thread."""
    _thread.hurried = True


def unblock(library: ctypes.CDLL, path: Path) -> bool:
    """Lead the library's waits to us, once for the process; False if that is not possible here."""
    if _kept:
        return True
    image = path.read_bytes()
    slots = find_slot(image, NAME), find_slot(image, SLEEP)
    if None in slots:
        return False
    wait, sleep = WaitReady((NAME, library)), Sleep((SLEEP, library))

    def wait_ready(handles: int, timeout_ms: int) -> int:
        return int(wait(handles, 0 if hasattr(_thread, "hurried") else timeout_ms))

    def thread_sleep(ms: int) -> None:
        if not hasattr(_thread, "hurried"):
            sleep(ms)

    led = ((wait, WaitReady(wait_ready), slots[0]), (sleep, Sleep(thread_sleep), slots[1]))
    writes: list[tuple[int, int]] = []
    for original, ours, slot in led:
        assert slot is not None
        base = (ctypes.cast(original, c_void_p).value or 0) - slot.function
        writes.append((base + slot.offset, ctypes.cast(ours, c_void_p).value or 0))
    if not all(_make_writable(address) for address, _ in writes):
        return False
    for address, value in writes:
        ctypes.c_uint64.from_address(address).value = value
    _kept.extend(led)
    return True


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

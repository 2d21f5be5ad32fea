"""What we do in the library's own structures: the same as the library's functions, or nothing at all."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, c_char_p, c_void_p
from dataclasses import dataclass

import pytest

from mms_bridge.cid import Cid, Device, read_cid
from mms_bridge.datamodel.value import Quality, Value
from mms_bridge.libiec61850 import memory, shared_types, short_texts, stencil, value_writer
from mms_bridge.libiec61850.bindings import lib
from mms_bridge.libiec61850.ied_model import NativeModel, build
from mms_bridge.libiec61850.memory import MEMORY
from mms_bridge.libiec61850.node_plan import plans
from scl_builder.build.builder import build_cid
from scl_builder.build.project import Ied, Meter, Project

_find = CFUNCTYPE(c_void_p, c_void_p, c_char_p)(("IedModel_getModelNodeByObjectReference", lib))
FLOATS = [0.0, -0.0, 230.4, -1e-30, 3.4e38, float("inf")]
LONG_TEXT = "Haus am See, Hinterhof, dritter Stock links"


def _cid(meters: int) -> Cid:
    houses = tuple(
        Meter(f"SM_{number:032x}", f"M{number}", name=LONG_TEXT, serial=str(number))
        for number in range(meters)
    )
    return read_cid(build_cid(Project("t", 1, (Ied("SMGW001", "127.0.0.1", 10102, houses),)), "SMGW001"))


@dataclass
class Made:
    """A model and its server, which does not listen."""

    cid: Cid
    model: NativeModel
    server: int
    borrowed: array[int]

    def text(self, domain: str, node: str, path: tuple[str, ...]) -> str:
        """A text as the library has it."""
        return lib_text(lib.IedServer_getAttributeValue(self.server, self.attribute(domain, node, path)))

    def attribute(self, domain: str, node: str, path: tuple[str, ...]) -> int:
        """The library's own search for an attribute, by names."""
        reference = f"{domain}/{node}.{'.'.join(path)}"
        at: int = _find(self.model.handle, reference.encode())
        assert at, (domain, node, path)
        return at


def lib_text(value: int) -> str:
    """The text of a MmsValue."""
    return short_texts.text(value).decode()


@contextmanager
def made(meters: int) -> Iterator[Made]:
    """A server of an IED, as ``server.py`` makes it."""
    cid = _cid(meters)
    model = build(cid)
    config = lib.IedServerConfig_create()
    server = lib.IedServer_createWithConfig(model.handle, None, config)
    lib.IedServerConfig_destroy(config)
    borrowed = shared_types.share(server, model.handle, cid.devices)
    for points in model.points.values():
        points.bind(server)
    yield Made(cid, model, server, borrowed)
    shared_types.give_back(borrowed)
    lib.IedServer_destroy(server)
    model.destroy()


def _of(device: Device) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Logical node and path of every attribute."""
    for node in device.nodes:
        for plan in plans(node.type):
            yield from ((node.name, path) for path in plan.places)


def test_the_wheels_build_is_known() -> None:
    """Else a town would start slowly and take 950 MB, and nobody would know why."""
    assert stencil.known_version()
    assert memory.FLOAT_AT is not None
    assert short_texts._PLACES is not None
    with made(2) as it:
        assert it.model.memory is not None
        assert it.borrowed


def test_the_library_finds_every_node_of_a_copied_device_by_its_name() -> None:
    with made(3) as it:
        for device in it.cid.devices:
            found = {it.attribute(device.domain, node, path) for node, path in _of(device)}
            assert len(found) == len(list(_of(device)))
        controls = {key: control.handle for key, control in it.model.controls.items()}
        for (domain, node, name), handle in controls.items():
            assert it.attribute(domain, node, (name,)) == handle


def test_each_device_has_values_of_its_own() -> None:
    with made(3) as it:
        keys = [("MMXN1", "Amp"), ("MMTN1", "TotWh"), ("XSWI1", "Pos")]
        meters = [device.domain for device in it.cid.devices if device.domain.startswith("SM_")]
        for number, domain in enumerate(meters):
            told = [(key, Value(number + 1, Quality.GOOD, 1000 * number)) for key in keys]
            value_writer.write(it.server, it.model.points[domain], told)
        for number, domain in enumerate(meters):
            amperes = it.attribute(domain, "MMXN1", ("Amp", "mag", "f"))
            assert lib.MmsValue_toFloat(lib.IedServer_getAttributeValue(it.server, amperes)) == number + 1
            assert it.text(domain, "LPHD1", ("PhyNam", "serNum")) == str(number)


@pytest.mark.parametrize("place", ["_NAME", "_PARENT", "_MODEL_FIRST_CHILD"])
def test_a_pattern_that_is_not_the_tree_that_was_asked_for_is_not_used(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = stencil.kind_of(next(d for d in _cid(1).devices if d.domain.startswith("SM_")))
    assert stencil._drawn(kind) is not None
    if place == "_NAME":
        monkeypatch.setattr(stencil, "_name", lambda _handle: b"Vol")
    else:
        monkeypatch.setattr(stencil, place, getattr(stencil, place) + 8)
    assert stencil._drawn(kind) is None


def test_types_of_a_server_that_is_not_ours_are_left_alone() -> None:
    with made(2) as it:
        assert not shared_types.share(it.server, it.model.handle + 8, it.cid.devices)
        assert not shared_types.share(it.server, it.model.handle, it.cid.devices[:-1])
        other = _cid(3).devices
        assert not shared_types.share(it.server, it.model.handle, other[1:])


@pytest.mark.parametrize("number", FLOATS)
def test_a_float_is_what_the_library_would_have_written(number: float) -> None:
    ours, its = lib.MmsValue_newFloat(1.0), lib.MmsValue_newFloat(1.0)
    assert memory.FLOAT_AT is not None
    at = memory.FLOAT_AT
    memory.put_float(MEMORY, ours + at, number)
    lib.MmsValue_setFloat(its, number)
    assert bytes(MEMORY[ours + at : ours + at + 4]) == bytes(MEMORY[its + at : its + at + 4])
    for value in (ours, its):
        lib.MmsValue_delete(value)


def test_a_number_that_is_no_float32_is_written_as_the_library_does() -> None:
    with made(1) as it:
        domain = next(name for name in it.model.points if name.startswith("SM_"))
        told = [(("MMXN1", "Amp"), Value(1e300, Quality.GOOD, 0))]
        value_writer.write(it.server, it.model.points[domain], told)
        held = lib.IedServer_getAttributeValue(it.server, it.attribute(domain, "MMXN1", ("Amp", "mag", "f")))
        assert lib.MmsValue_toFloat(held) == float("inf")


@pytest.mark.parametrize("text", ["", "a", "x" * 255])
def test_a_shortened_text_is_the_same_and_can_become_longer(text: str) -> None:
    value = lib.MmsValue_newVisibleStringWithSize(255)
    lib.MmsValue_setVisibleString(value, text.encode())
    short_texts.shorten(value)
    assert lib_text(value) == text
    lib.MmsValue_setVisibleString(value, LONG_TEXT.encode())
    assert lib_text(value) == LONG_TEXT
    lib.MmsValue_delete(value)

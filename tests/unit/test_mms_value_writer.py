"""Values in the library's model: each device has its own, as they were written, and the CID's texts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, c_char_p, c_double, c_int, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass

from mms_bridge.datamodel.value import Quality, Value
from mms_bridge.libiec61850 import value_writer
from mms_bridge.libiec61850.bindings import lib
from mms_bridge.libiec61850.ied_model import NativeModel, build
from mms_bridge.libiec61850.node_plan import plans
from scl_builder.build.builder import build_cid
from scl_builder.build.project import Ied, Meter, Project
from scl_builder.read.cid import Cid, read_cid

_find = CFUNCTYPE(c_void_p, c_void_p, c_char_p)(("IedModel_getModelNodeByObjectReference", lib))
_text = CFUNCTYPE(c_char_p, c_void_p)(("MmsValue_toString", lib))
_number = CFUNCTYPE(c_double, c_void_p)(("MmsValue_toDouble", lib))
_whole = CFUNCTYPE(c_int, c_void_p)(("MmsValue_toInt32", lib))
_bits = CFUNCTYPE(c_uint32, c_void_p)(("MmsValue_getBitStringAsInteger", lib))
_ms = CFUNCTYPE(c_uint64, c_void_p)(("MmsValue_getUtcTimeInMs", lib))


@dataclass
class Made:
    """A model and its server, which does not listen."""

    cid: Cid
    model: NativeModel
    server: int

    @property
    def meters(self) -> list[str]:
        """MMS domains of the meters."""
        return [device.domain for device in self.cid.devices if device.domain.startswith("SM_")]

    def attribute(self, domain: str, node: str, path: tuple[str, ...]) -> int:
        """The library's own search for an attribute, by names."""
        at: int = _find(self.model.handle, f"{domain}/{node}.{'.'.join(path)}".encode())
        assert at, (domain, node, path)
        return at

    def held(self, domain: str, node: str, *path: str) -> int:
        """The MmsValue of an attribute."""
        return int(lib.IedServer_getAttributeValue(self.server, self.attribute(domain, node, path)))


@contextmanager
def made(meters: int) -> Iterator[Made]:
    """A server of an IED with so many meters, as ``mms_server.py`` makes it."""
    houses = tuple(Meter(f"SM_{n:032x}", f"M{n}", name="Haus am See", serial=str(n)) for n in range(meters))
    cid = read_cid(build_cid(Project("t", 1, (Ied("SMGW001", "127.0.0.1", 10102, houses),)), "SMGW001"))
    model = build(cid)
    config = lib.IedServerConfig_create()
    server = lib.IedServer_createWithConfig(model.handle, None, config)
    lib.IedServerConfig_destroy(config)
    for points in model.points.values():
        points.bind(server)
    yield Made(cid, model, server)
    lib.IedServer_destroy(server)
    model.destroy()


def test_the_library_finds_every_attribute_by_its_name() -> None:
    with made(3) as it:
        for device in it.cid.devices:
            names = [(n.name, path) for n in device.nodes for plan in plans(n.type) for path in plan.places]
            assert len({it.attribute(device.domain, *name) for name in names}) == len(names)
        for (domain, node, name), control in it.model.controls.items():
            assert it.attribute(domain, node, (name,)) == control.handle


def test_each_device_has_values_of_its_own() -> None:
    keys = [("MMXN1", "Vol"), ("MMXN1", "Amp"), ("MMTN1", "TotWh")]
    with made(3) as it:
        for number, domain in enumerate(it.meters, 1):
            points = it.model.points[domain]
            assert [points.quiet[points.shape.places[key]] for key in keys] == [0, 1, 1]
            values = [(key, Value(number, Quality.GOOD, 1000 * number)) for key in keys]
            value_writer.write(it.server, points, values)
        for number, domain in enumerate(it.meters, 1):
            assert _number(it.held(domain, "MMXN1", "Vol", "mag", "f")) == number
            assert _number(it.held(domain, "MMXN1", "Amp", "mag", "f")) == number
            assert _whole(it.held(domain, "MMTN1", "TotWh", "actVal")) == number
            assert _ms(it.held(domain, "MMXN1", "Amp", "t")) == 1000 * number
            assert _text(it.held(domain, "LPHD1", "PhyNam", "serNum")).decode() == str(number - 1)


def test_quality_and_time_change_without_a_value() -> None:
    key = ("MMXN1", "Amp")
    with made(1) as it:
        points = it.model.points[it.meters[0]]
        value_writer.preset(it.server, points, [(key, Value(4.5, Quality.GOOD, 1000))])
        value_writer.write(it.server, points, [(key, Value(None, Quality.INVALID, 2000))])
        assert _number(it.held(it.meters[0], *key, "mag", "f")) == 4.5
        assert _bits(it.held(it.meters[0], *key, "q")) == Quality.INVALID
        assert _ms(it.held(it.meters[0], *key, "t")) == 2000


def test_a_number_that_is_no_float32_is_infinite() -> None:
    with made(1) as it:
        value = [(("MMXN1", "Amp"), Value(1e300, Quality.GOOD, 0))]
        value_writer.write(it.server, it.model.points[it.meters[0]], value)
        assert _number(it.held(it.meters[0], "MMXN1", "Amp", "mag", "f")) == float("inf")

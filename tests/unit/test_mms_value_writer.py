"""Values in the library's model: each device has its own, as they were written, and the CID's texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, c_char_p, c_double, c_int, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass

from mms_bridge.datamodel.value import Quality, Value
from mms_bridge.libiec61850 import value_writer
from mms_bridge.libiec61850.bindings import lib
from mms_bridge.libiec61850.ied_model import NativeModel, build
from mms_bridge.libiec61850.node_plan import plans
from scl_builder.build.builder import build_cid
from scl_builder.build.project import Ied, Project
from scl_builder.model.deadbands import NO_BANDS, Bands
from scl_builder.read.cid import Cid, read_cid
from tests.support.scd import house

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
        return [device.domain for device in self.cid.devices if device.meter_id]

    def attribute(self, domain: str, node: str, path: tuple[str, ...]) -> int:
        """The library's own search for an attribute, by names."""
        at: int = _find(self.model.handle, f"{domain}/{node}.{'.'.join(path)}".encode())
        assert at, (domain, node, path)
        return at

    def held(self, domain: str, node: str, *path: str) -> int:
        """The MmsValue of an attribute."""
        return int(lib.IedServer_getAttributeValue(self.server, self.attribute(domain, node, path)))


@contextmanager
def made(meters: int, bands: Bands = NO_BANDS, *, change: Callable[[bytes], bytes] = bytes) -> Iterator[Made]:
    """A server of an IED with so many meters, as ``mms_server.py`` makes it."""
    houses = tuple(house(n, name="Haus am See", serial=str(n)) for n in range(meters))
    project = Project("t", 1, (Ied("SMGW001", "127.0.0.1", 10102, houses),), bands=bands)
    cid = read_cid(change(build_cid(project, "SMGW001")))
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
    keys = [("MMXN1", "Vol"), ("MMXN1", "VolAmp"), ("MMTN1", "TotWh")]
    with made(3) as it:
        for number, domain in enumerate(it.meters, 1):
            points = it.model.points[domain]
            assert [points.quiet[points.shape.places[key]] for key in keys] == [1, 1, 1]
            if number > 1:
                points.enabled()
                assert [points.quiet[points.shape.places[key]] for key in keys] == [0, 1, 0]
            values = [(key, Value(number, Quality.GOOD, 1000 * number)) for key in keys]
            value_writer.write(it.server, points, values)
        for number, domain in enumerate(it.meters, 1):
            assert _number(it.held(domain, "MMXN1", "Vol", "mag", "f")) == number
            assert _number(it.held(domain, "MMXN1", "VolAmp", "mag", "f")) == number
            assert _whole(it.held(domain, "MMTN1", "TotWh", "actVal")) == number
            assert _ms(it.held(domain, "MMXN1", "VolAmp", "t")) == 1000 * number
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


BANDS = Bands.of(deadband="1", ranges="voltage=10")
VOLTS = ("MMXN1", "Vol")


def test_within_the_deadband_only_the_instantaneous_value_moves() -> None:
    with made(1, BANDS) as it:
        (domain,) = it.meters
        points, shown = it.model.points[domain], []
        value_writer.preset(it.server, points, [(VOLTS, Value(230.0, Quality.GOOD, 1000))])
        for volts in (232.0, 232.5, 254.0, 500.0):
            value_writer.write(it.server, points, [(VOLTS, Value(volts, Quality.GOOD, 2000))])
            held = (_number(it.held(domain, *VOLTS, *path)) for path in (("instMag", "f"), ("mag", "f")))
            shown.append((*held, _whole(it.held(domain, *VOLTS, "range"))))
        assert shown == [(232.0, 230.0, 0), (232.5, 232.5, 0), (254.0, 254.0, 1), (500.0, 500.0, 3)]
        assert _bits(it.held(domain, *VOLTS, "q")) == Quality.QUESTIONABLE | Quality.OUT_OF_RANGE
        assert _whole(it.held(domain, *VOLTS, "db")) == 500


def test_an_instance_may_have_a_deadband_of_its_own() -> None:
    """Of a CID that another tool has changed: what its CF says holds."""

    def change(cid: bytes) -> bytes:
        own = b'lnType="MMXN"><DOI name="Vol"><DAI name="db"><Val>10000</Val></DAI></DOI></LN>'
        assert cid.count(b'lnType="MMXN"/>') == 1
        return cid.replace(b'lnType="MMXN"/>', own)

    with made(1, BANDS, change=change) as it:
        points = it.model.points[it.meters[0]]
        for volts in (230.0, 260.0):
            value_writer.write(it.server, points, [(VOLTS, Value(volts, Quality.GOOD, 1000))])
        assert _number(it.held(it.meters[0], *VOLTS, "mag", "f")) == 230.0
        assert _whole(it.held(it.meters[0], *VOLTS, "db")) == 10_000

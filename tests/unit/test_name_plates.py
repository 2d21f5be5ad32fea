"""Which logical device of a server a user means: by domain, number, meter_id, and the name of the house."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from open61850.data import IECData, VisibleStringData
from open61850.mms import ObjectName
from open61850.mms.errors import DataAccessError

from admin.exits import NotFoundError
from admin.mms.name_plates import NamePlate, NamePlates, find, read_plates
from broker.contract.errors import ConfigurationError
from tests.support.scd import meter_id

PLATES = NamePlates(
    (
        NamePlate("SMGW001M1", ("Değirmen", "Degirmen"), meter_id(1)),
        NamePlate("SMGW001M17", ("House 17",), meter_id(17)),
        NamePlate("SMGW001M18", ("House 17",), meter_id(18)),
        NamePlate("SMGW001M19"),
        NamePlate("SMGW001GW"),
    )
)


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("SMGW001M17", "SMGW001M17"),
        ("M17", "SMGW001M17"),
        (meter_id(17), "SMGW001M17"),
        ("SM_" + meter_id(17).replace("-", ""), "SMGW001M17"),
        ("Değirmen", "SMGW001M1"),
        ("Degirmen", "SMGW001M1"),
        ("M19", "SMGW001M19"),
        ("SMGW001GW", "SMGW001GW"),
    ],
)
def test_each_way_to_name_a_device(text: str, domain: str) -> None:
    assert PLATES.find(text).domain == domain


def test_an_ambiguous_name_names_the_candidates() -> None:
    with pytest.raises(ConfigurationError) as refused:
        PLATES.find("House 17")
    for number in (17, 18):
        assert f'SMGW001M{number} ("House 17", meter_id {meter_id(number)})' in str(refused.value)
    assert "2 logical devices are called" in str(refused.value)


@pytest.mark.parametrize("text", ["", "7", "M7", "GW", "house 17", "M1M17", meter_id(99), "SM_none"])
def test_what_names_nothing_is_not_found(text: str) -> None:
    with pytest.raises(NotFoundError, match="mms browse"):
        PLATES.find(text)


def test_of_many_candidates_some_are_named() -> None:
    plates = NamePlates(tuple(NamePlate(f"SMGW001M{number}", ("Flat",)) for number in range(50)))
    with pytest.raises(ConfigurationError, match=r"50 logical devices.* and 45 more"):
        plates.find("Flat")


class Server:
    """Answers as a server with 30 devices does; every third has no name plate."""

    def __init__(self) -> None:
        self.requests: list[int] = []

    def get_name_list(self, _kind: int) -> list[str]:
        """The domains."""
        return [f"LD{number}" for number in range(30)]

    def read_many(self, names: Sequence[ObjectName]) -> list[IECData | DataAccessError]:
        """Each attribute, or that there is none."""
        self.requests.append(len(names))
        return [self._read(name) for name in names]

    def _read(self, name: ObjectName) -> IECData | DataAccessError:
        number = int((name.domain or "").removeprefix("LD"))
        told = {"LLN0$DC$NamPlt$d": f"House {number}", "LPHD1$DC$PhyNam$mRID": meter_id(number)}
        text = told.get(name.item)
        return DataAccessError(10) if text is None or number % 3 == 0 else VisibleStringData(text)


def test_plates_are_read_in_few_requests_and_may_be_missing() -> None:
    server = Server()
    plates = read_plates(server)  # type: ignore[arg-type]
    assert server.requests == [60, 30]
    assert plates["LD1"] == NamePlate("LD1", ("House 1",), meter_id(1))
    assert plates["LD3"] == NamePlate("LD3")
    assert plates["nobody"] == NamePlate("nobody")


def test_a_domain_is_found_without_the_other_plates() -> None:
    server = Server()
    assert find(server, "LD4").name == "House 4"  # type: ignore[arg-type]
    assert server.requests == [3]
    assert find(server, "House 5").domain == "LD5"  # type: ignore[arg-type]

"""The file service gives the SCD and the CIDs, to read, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mms_bridge.files import FOLDER, SCD, Files, Service, allowed


@pytest.fixture
def files() -> Iterator[Files]:
    made = Files()
    yield made
    made.close()


@pytest.mark.parametrize("name", ["/SCL/SMGW001.cid", "SCL/meter61850.scd", "SCL\\SMGW001.cid"])
def test_a_file_may_be_opened_and_nothing_else(name: str) -> None:
    assert allowed(Service.OPEN, name)
    assert not any(allowed(service, name) for service in (Service.OBTAIN, Service.DELETE, Service.RENAME))


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "SCL/../../etc/passwd",
        "SCL/..",
        "../SCL/SMGW001.cid",
        "SCL//SMGW001.cid",
        "/SCL/SMGW001.cid\0.scd",
        "SCL/SMGW001.cid\n",
        "SCL/.cid",
        "SCL/sub/SMGW001.cid",
        "SCL/SMGW001.py",
        "SMGW001.cid",
        "",
    ],
)
def test_no_path_leads_out(name: str) -> None:
    assert not allowed(Service.OPEN, name)


@pytest.mark.parametrize("name", ["", "/", "SCL", "/SCL", "/SCL/"])
def test_the_folder_may_be_listed(name: str) -> None:
    assert allowed(Service.DIRECTORY, name)


@pytest.mark.parametrize("name", ["..", "/..", "/etc", "SCL/..", "SCL/../..", "/SCL/../"])
def test_no_other_folder_may_be_listed(name: str) -> None:
    assert not allowed(Service.DIRECTORY, name)


def test_put_replaces_and_takes_away(files: Files) -> None:
    files.put(SCD, b"<SCL/>")
    files.put(SCD, b"<SCL revision='2'/>")
    assert (files.root / FOLDER / SCD).read_bytes() == b"<SCL revision='2'/>"
    files.put(SCD, b"")
    assert list((files.root / FOLDER).iterdir()) == []


@pytest.mark.parametrize("name", ["../out.cid", "a/b.cid", "SMGW001.txt"])
def test_put_refuses_a_name_that_is_not_served(files: Files, name: str) -> None:
    with pytest.raises(ValueError, match="no name of a file"):
        files.put(name, b"x")

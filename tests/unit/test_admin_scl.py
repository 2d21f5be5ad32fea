"""`scl export --no-ld-name`: where the files of several IEDs go."""

from __future__ import annotations

from pathlib import Path

import pytest

from admin.commands.scl import _export_all
from broker.contract.errors import ConfigurationError
from scl_builder.build.builder import build_cid
from scl_builder.check.checker import check
from tests.unit.test_scl_builder import project

CIDS = {name: build_cid(project(2), name) for name in ("SMGW001", "SMGW002")}


def test_each_ied_is_a_file_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "town"
    _export_all(CIDS, folder)
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == ["SMGW001.cid", "SMGW002.cid"]
    assert all(check(file.read_bytes()) == [] for file in files)
    assert all(b"ldName" not in file.read_bytes() for file in files)


@pytest.mark.parametrize("output", [None, "town.scd"])
def test_several_ieds_do_not_fit_into_one_file(tmp_path: Path, output: str | None) -> None:
    with pytest.raises(ConfigurationError, match="each of the 2 IEDs: name a folder"):
        _export_all(CIDS, tmp_path / output if output else None)
    assert list(tmp_path.iterdir()) == []


def test_one_ied_alone_may_be_a_file(tmp_path: Path) -> None:
    _export_all({"SMGW001": CIDS["SMGW001"]}, tmp_path / "one.cid")
    assert check((tmp_path / "one.cid").read_bytes()) == []

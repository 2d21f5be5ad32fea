"""The meter_id is made once; a damaged one is an error, not a new meter."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from broker.contract.errors import ConfigurationError
from meter_firmware.identity import kept_meter_id


def test_it_is_a_random_uuid_and_stays(tmp_path: Path) -> None:
    first = kept_meter_id(tmp_path / "a")
    assert UUID(first).version == 4
    assert kept_meter_id(tmp_path / "a") == first
    assert kept_meter_id(tmp_path / "b") != first


@pytest.mark.parametrize(
    "damage",
    [b"", b"\n", b"3f2504e0-4f89-41d3", b"\x00" * 37, b"\xff\xfe", b"3F2504E0-4F89-41D3-9A0C-0305E82C3301"],
)
def test_a_damaged_file_is_told_and_left_alone(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "meter_id").write_bytes(damage)
    with pytest.raises(ConfigurationError, match="meter_id is damaged"):
        kept_meter_id(tmp_path)
    assert (tmp_path / "meter_id").read_bytes() == damage


def test_a_folder_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="data_dir"):
        kept_meter_id(tmp_path / "file")

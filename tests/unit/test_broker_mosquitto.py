"""The rendering of mosquitto.conf."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from broker.daemon.mosquitto import OPTIONS, BrokerSettings, command, find, render

ROOT = Path(__file__).parents[2]


def lines(settings: BrokerSettings) -> list[str]:
    """The options without comments."""
    return [line for line in render(settings).splitlines() if line and not line.startswith("#")]


def test_committed_configuration_is_what_the_renderer_gives() -> None:
    committed = (ROOT / "mosquitto.conf").read_text()
    assert committed == render(BrokerSettings()), "run `make docs` and commit mosquitto.conf"


def test_every_option_is_rendered_with_its_reason() -> None:
    text = render(BrokerSettings())
    for name, _, why in OPTIONS:
        assert f"\n{name} " in text
        assert all(f"# {line}\n" in text for line in why.splitlines())
    assert "{" not in text


def test_settings_reach_their_lines(tmp_path: Path) -> None:
    got = lines(BrokerSettings(bind="::1", port=18830, data_dir=tmp_path, persistence=False, autosave=7))
    assert "listener 18830 ::1" in got
    assert "allow_anonymous true" in got
    assert f"persistence_location {tmp_path}" in got
    assert "persistence false" in got
    assert "autosave_interval 7" in got


@pytest.mark.parametrize("bind", ["0.0.0.0", "192.168.1.5", "::"])
def test_network_without_passwords_refuses_to_start(bind: str) -> None:
    with pytest.raises(ValidationError, match="password_file"):
        BrokerSettings(bind=bind)


def test_password_file_shuts_strangers_out(tmp_path: Path) -> None:
    got = lines(BrokerSettings(bind="0.0.0.0", password_file=tmp_path / "pw"))
    assert "allow_anonymous false" in got
    assert f"password_file {tmp_path}/pw" in got


def test_scd_of_ten_thousand_meters_fits() -> None:
    limits = dict(line.split(" ", 1) for line in lines(BrokerSettings()))
    packet = int(limits["max_packet_size"])
    assert packet < 2_000_000, "what everybody may send is small: the SCD goes compressed"
    assert int(limits["max_queued_bytes"]) >= 32 * packet
    assert int(limits["max_inflight_bytes"]) >= 8 * packet


def test_memory_limit_leaves_room_for_tls_in_the_unit() -> None:
    unit = (Path(__file__).parents[2] / "deploy" / "systemd" / "meter61850-broker.service").read_text()
    (gigabytes,) = (line.removeprefix("MemoryMax=") for line in unit.splitlines() if "MemoryMax=" in line)
    assert gigabytes == "2G"
    assert "memory_limit 1073741824" in lines(BrokerSettings())
    assert "memory_limit 104857600" in lines(BrokerSettings(memory_limit=104_857_600))


def test_found_where_debian_puts_it_though_not_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    binary = find()
    assert binary is not None
    assert binary.name == "mosquitto"


def test_command_writes_the_configuration_it_names(tmp_path: Path) -> None:
    settings = BrokerSettings(data_dir=tmp_path / "new")
    run = command(settings)
    assert run[1] == "-c"
    assert Path(run[2]).read_text() == render(settings)

"""``up`` beside a deployment that is not its own, and what the commands say of a chain without identities."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.test_cli_up import free_ports
from tests.support.brokers import free_port
from tests.support.cli import error, run, up

PLAIN = [("--broker", "embedded"), ("--plain",)]


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A folder whose ./data is a deployment, of which nothing runs."""
    first = free_port(4)
    ports = ("--services-port", "--port", "--password-port", "--mms-tls-port")
    numbered = (word for number, option in enumerate(ports) for word in (option, str(first + number)))
    run("init", "data", *numbered, folder=tmp_path)
    return tmp_path


@pytest.mark.parametrize("options", [*PLAIN, ()])
def test_chain_in_another_folder_takes_nothing_of_the_deployment_here(
    options: tuple[str, ...], beside: Path
) -> None:
    before = sorted(beside.glob("data/**/*"))
    with up(beside, "--meters", "1", "--data-dir", "trial", *options) as running:
        running.ready()
        assert running.stop() == 0
    assert sorted(beside.glob("data/**/*")) == before
    assert (beside / "trial" / "meter61850.sqlite").exists()


@pytest.mark.parametrize("options", PLAIN)
def test_chain_without_identities_in_the_deployment_itself_is_refused(
    options: tuple[str, ...], beside: Path
) -> None:
    said = run("up", *options, *free_ports(beside), code=2, folder=beside).stderr
    assert "data is a deployment with identities, which needs Mosquitto" in said
    assert "--data-dir DIR" in said


def test_commands_for_identities_say_what_is_missing_and_the_cure_works(tmp_path: Path) -> None:
    """The README's next commands on a machine without Mosquitto."""
    with up(tmp_path, "--meters", "1", "--broker", "embedded") as running:
        running.ready()
        for command in (
            ("enrol", "new", "--automatic"),
            ("identity", "add", "anna", "--role", "operator"),
            ("enrol", "list"),
            ("identity", "list"),
            ("--dir", "data", "meters", "list"),
        ):
            said = error(*command, code=2, folder=tmp_path)
            assert "without identities (embedded broker, or --plain)" in said
            assert "install Mosquitto" in said
            assert "meter61850 init" not in said
        assert running.stop() == 0
    with up(tmp_path, "--meters", "1") as again:
        again.ready()
        run("identity", "add", "anna", "--role", "operator", folder=tmp_path)
        assert again.stop() == 0


def test_where_nothing_is_the_cure_is_init(tmp_path: Path) -> None:
    assert "meter61850 init data makes one" in error("identity", "list", code=2, folder=tmp_path)

"""A deployment whose settings are lost: nothing starts, for Mosquitto would come up without TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from registrar.init_deployment import NewDeployment, new_deployment
from tests.support.cli import error
from tests.unit.test_deployment_files import HURT, SETTINGS, hurt


@pytest.mark.parametrize("how", HURT)
@pytest.mark.parametrize("command", ["broker run", "bridge run", "enrol run", "identity list"])
def test_nothing_starts_without_the_settings_that_protect_it(command: str, how: str, tmp_path: Path) -> None:
    deployment = new_deployment(tmp_path / "d", NewDeployment())
    hurt(deployment.folder / SETTINGS, how)
    told = error("--dir", str(deployment.folder), *command.split(), code=2)
    assert SETTINGS in told
    assert "restore" in told

"""Dockerfile, compose.yaml, Makefile and pyproject say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.settings import AdapterSettings
from admin.doctor.beside import PROGRAMS
from broker.daemon.mosquitto import BrokerSettings, render
from registrar import layout
from tests.support.documents import unknown_commands
from tests.support.project import is_ours

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = [name for name, service in COMPOSE["services"].items() if is_ours(service)]
CHAIN = [name for name in OURS if "profiles" not in COMPOSE["services"][name]]
BESIDE = [name for name in OURS if name not in CHAIN]
"""They run only on request."""


def test_the_image_holds_every_package_and_nothing_that_is_not_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    sources = {word for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.M) for word in line.split()[:-1]}
    assert packages <= sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sent == sources
    licences = {name.partition("/")[0] for name in project["project"]["license-files"]}
    assert licences <= sources


def test_the_image_is_installed_as_make_installs() -> None:
    """The same locked requirements, and then the project alone."""
    makefile = (ROOT / "Makefile").read_text()
    for options in ("--require-hashes -r", "--no-deps --no-build-isolation"):
        assert options in makefile
        assert options in DOCKERFILE
    assert "requirements/run.lock" in makefile
    assert "requirements/run.lock" in DOCKERFILE


def test_each_service_runs_as_its_own_user_in_the_groups_that_it_needs() -> None:
    """As registrar/layout.py says; no service runs as root."""
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.M) == ["meter61850-registrar"]
    assert CHAIN == ["init", "broker", "bridge", "mms", "registrar", "web", "meters"]
    made = {name: int(gid) for gid, name in re.findall(r"groupadd --gid (\d+) (\S+)", DOCKERFILE)}
    users = {name: (uid, groups) for uid, groups, name in re.findall(r"add (\d+) (\S+) (\S+)", DOCKERFILE)}
    every = {**layout.NEEDS, **layout.BESIDE}
    assert users.keys() == {f"meter61850-{name}" for name in every}
    for name, needs in every.items():
        wanted = ["meter61850", *(["meter61850-database"] if layout.DATABASE in needs.writes else [])]
        uid, groups = users[f"meter61850-{name}"]
        assert groups.split(",") == wanted
        assert COMPOSE["services"][name]["user"] == f"{uid}:{uid}"
        assert COMPOSE["services"][name]["group_add"] == [str(made[group]) for group in wanted]


def test_only_init_is_root_to_give_files_away_without_a_network() -> None:
    assert COMPOSE["services"]["init"]["user"] == "0:0"
    assert COMPOSE["services"]["init"]["cap_add"] == ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"]
    assert COMPOSE["services"]["init"]["network_mode"] == "none"
    assert COMPOSE["services"]["init"]["restart"] == "no"


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_container_is_confined(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(mount.startswith("/tmp:size=") for mount in service["tmpfs"])
    if name == "init":  # gives the files away
        service = {key: value for key, value in service.items() if key != "cap_add"}
    else:
        assert service["user"].partition(":")[0] not in ("", "0", "root")
    assert service["pids_limit"] <= 256
    assert service["mem_limit"] in ("64m", "512m", "1g", "2g", "4g")
    assert "healthcheck" in service
    assert not {"privileged", "devices", "cap_add", "env_file", "pid", "ipc"} & service.keys()


def test_every_image_is_named_exactly() -> None:
    """A digest cannot be known here; a tag that moves would be another program tomorrow."""
    base = re.search(r"^ARG BASE=(\S+)$", DOCKERFILE, re.M)
    assert base is not None
    others = [one["image"] for one in COMPOSE["services"].values() if one["image"] != "meter61850"]
    for image in (base[1], *others):
        assert re.search(r":v?\d+\.\d+\.\d+(-[a-z-]+)?$|@sha256:[0-9a-f]{64}$", image), image


def test_no_password_stands_in_the_files() -> None:
    """Secrets are files; Grafana has none, since nobody logs in."""
    for text in (DOCKERFILE, (ROOT / "compose.yaml").read_text()):
        assert re.findall(r"(?i)\b\w*(?:password|secret|token)\w*\s*[:=]\s*\S+", text) == []
    grafana = COMPOSE["services"]["grafana"]["environment"]
    assert grafana["GF_AUTH_BASIC_ENABLED"] == "false"
    assert grafana["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"


def test_only_the_host_itself_reaches_the_published_ports() -> None:
    """Unless told otherwise; and only what is TLS can be told."""
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]
    opened = [port.rpartition("}:")[2] for port in ports if port.startswith("${")]
    assert opened == ["8883-8884:8883-8884", "3782-3791:3782-3791"]
    assert all(re.match(r"127\.0\.0\.1:|\$\{(BROKER|MMS)_BIND:-127\.0\.0\.1\}:", port) for port in ports)


def test_a_service_can_be_started_again_without_the_others() -> None:
    """The network belongs to none of them: it would be gone with the one that ends."""
    holder = COMPOSE["services"]["network"]
    assert holder["command"] == ["infinity"]
    assert [name for name, one in COMPOSE["services"].items() if "ports" in one] == ["network"]
    for name, service in COMPOSE["services"].items():
        if name not in ("init", "network"):
            assert service["network_mode"] == "service:network"
            assert service["depends_on"]["network"] == {"condition": "service_started"}


def test_all_wait_for_the_deployment_and_live_in_it() -> None:
    """There is no way around `init`: nobody is told a plain broker."""
    assert COMPOSE["services"]["init"]["restart"] == "no"
    for name in [*CHAIN[1:], *layout.BESIDE]:
        service = COMPOSE["services"][name]
        assert service["depends_on"]["init"] == {"condition": "service_completed_successfully"}
        assert service["environment"]["METER61850_DIR"] == "/data"
        assert not any(word.startswith(("--mqtt", "1883")) for word in service["command"])
    for name in [*CHAIN[2:], *BESIDE]:
        assert COMPOSE["services"][name]["depends_on"]["broker"]["condition"] == "service_healthy"


def test_the_programs_beside_the_chain_run_only_on_request() -> None:
    """Each in a profile of its name, with its metrics where `doctor` and Prometheus look."""
    assert [program.name for program in PROGRAMS] == BESIDE
    for program in PROGRAMS:
        service = COMPOSE["services"][program.name]
        assert service["profiles"] == [program.name]
        assert f"--metrics-port={program.port}" in service["command"]
        assert f":{program.port}/metrics" in service["healthcheck"]["test"][-1]
        unit = (ROOT / f"deploy/systemd/meter61850-{program.name}.service").read_text()
        assert f"--metrics-port {program.port}\n" in unit


def test_the_adapter_has_no_file_of_the_deployment() -> None:
    """Its settings are readable; its folder is its own, in the image and in the volume."""
    adapter = COMPOSE["services"]["adapter"]
    settings = AdapterSettings.load(ROOT / "deploy" / "compose" / "adapters.toml")
    assert adapter["volumes"] == [
        "./deploy/compose:/etc/meter61850:ro",
        f"adapter:{settings.data_dir}",
    ]
    assert adapter["environment"]["METER61850_DIR"] == ""
    assert "group_add" not in adapter
    for name, user in (("adapter", "10008"), ("sparkplug", "10010")):
        assert f"useradd --uid {user} " in DOCKERFILE or f"add {user} " in DOCKERFILE
        assert f"install -d -o meter61850-{name} " in DOCKERFILE
        assert COMPOSE["services"][name]["user"] == f"{user}:{user}"


def test_every_mounted_file_is_there() -> None:
    for name, service in COMPOSE["services"].items():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), f"{name}: {source}"
            else:
                assert source in COMPOSE["volumes"], f"{name}: {source}"


@pytest.mark.parametrize("name", OURS)
def test_each_command_is_one_of_the_cli(name: str) -> None:
    command: list[str] = COMPOSE["services"][name]["command"]
    assert unknown_commands(f"`meter61850 {' '.join(map(str, command))}`") == []


def test_mosquitto_conf_is_what_the_renderer_gives() -> None:
    assert (ROOT / "mosquitto.conf").read_text() == render(BrokerSettings())


def test_ci_runs_make_and_nothing_else() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert [line for line in script.splitlines() if line.startswith("make")] == ["make check", "make test"]
    assert "set -euo pipefail" in script

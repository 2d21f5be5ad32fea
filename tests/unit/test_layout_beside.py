"""Identities of Home Assistant's and Sparkplug's program: handed to their users where a machine has them."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from registrar import layout

NUMBERS = {
    name: number for number, name in enumerate((*layout.NEEDS, *layout.BESIDE, "", layout.DATABASE), 1)
}


def machine(monkeypatch: pytest.MonkeyPatch, *, without: tuple[str, ...] = ()) -> layout.Users:
    """One with the users of all services, ``without`` some."""

    def number(name: str) -> tuple[str, str, int]:
        service = name.removeprefix(layout.PREFIX).removeprefix("-")
        if service in without:
            raise KeyError(name)
        return name, "", NUMBERS[service]

    monkeypatch.setattr(pwd, "getpwnam", number)
    monkeypatch.setattr(grp, "getgrnam", number)
    users = layout.users()
    assert users is not None
    return users


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Path in a deployment → its group, as `hand_over` gives it."""
    for name in ("homeassistant", "anna"):
        (tmp_path / "identities" / name).mkdir(parents=True)
        (tmp_path / "identities" / name / "client.key").touch(0o600)
    groups: dict[str, int] = {}

    def chown(path: Path, _uid: int, gid: int, *, follow_symlinks: bool) -> None:
        assert not follow_symlinks
        groups[str(path.relative_to(tmp_path))] = gid

    monkeypatch.setattr(os, "chown", chown)
    return groups


def test_a_machine_needs_no_users_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(layout.BESIDE) & machine(monkeypatch, without=tuple(layout.BESIDE)).gids.keys() == set()


def test_its_user_reads_its_identity_and_nobody_elses(
    given: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout.hand_over(tmp_path, machine(monkeypatch))
    assert given["identities/homeassistant/client.key"] == NUMBERS["homeassistant"]
    assert given["identities/anna/client.key"] == NUMBERS[layout.REGISTRAR]
    assert (tmp_path / "identities/homeassistant/client.key").stat().st_mode & 0o777 == 0o640


def test_without_its_user_it_is_the_registrars_alone(
    given: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout.hand_over(tmp_path, machine(monkeypatch, without=("homeassistant",)))
    assert given["identities/homeassistant/client.key"] == NUMBERS[layout.REGISTRAR]
    assert (tmp_path / "identities/homeassistant/client.key").stat().st_mode & 0o777 == 0o600

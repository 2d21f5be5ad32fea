"""Files that others rely on after a power cut: the old content or the new one, and never open to others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from broker import durable
from broker.contract.errors import CredentialError
from broker.mqtt.identity import check_secret


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "kept"
    durable.replace(path, b"old", mode=durable.SECRET)
    return path


def test_it_has_its_mode_whatever_the_mask(kept: Path) -> None:
    before = os.umask(0o077)
    try:
        durable.replace(kept.with_name("shown"), b"", mode=durable.PUBLIC)
    finally:
        os.umask(before)
    assert (mode(kept), mode(kept.with_name("shown"))) == (0o600, 0o644)


def test_a_folder_that_is_missing_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        durable.replace(tmp_path / "away" / "kept", b"", mode=durable.SECRET)
    assert not (tmp_path / "away").exists()


def test_what_is_so_already_is_left_alone(kept: Path) -> None:
    before = kept.stat().st_ino
    durable.replace(kept, b"old", mode=durable.SECRET)
    assert kept.stat().st_ino == before


def test_the_same_content_gets_another_mode(kept: Path) -> None:
    kept.chmod(0o644)
    durable.replace(kept, b"old", mode=durable.SECRET)
    assert mode(kept) == 0o600


@pytest.mark.parametrize("step", ["fsync", "fchmod", "replace"])
def test_a_disk_that_refuses_leaves_the_old_content_and_nothing_else(
    kept: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, refuse)
    with pytest.raises(OSError, match="No space left"):
        durable.replace(kept, b"new", mode=durable.SECRET)
    assert kept.read_bytes() == b"old"
    assert os.listdir(kept.parent) == ["kept"]


def test_the_name_is_on_the_disk_too(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the renaming; before it, the name could still stand for the old file after a power cut."""
    seen: list[tuple[str, bool]] = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        seen.append((os.readlink(f"/proc/self/fd/{descriptor}"), kept.read_bytes() == b"new"))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    durable.replace(kept, b"new", mode=durable.SECRET)
    assert seen[0][1] is False
    assert seen[-1] == (str(kept.parent), True)


@pytest.mark.parametrize(
    ("folder", "secret"),
    [(0o2750, 0o640), (0o2770, 0o660), (0o2710, 0o600), (0o700, 0o600), (0o750, 0o600), (0o770, 0o600),
     (0o755, 0o600), (0o2755, 0o600), (0o2775, 0o600)],
)  # fmt: skip
def test_only_a_folder_that_is_handed_to_its_group_shares_a_secret(
    tmp_path: Path, folder: int, secret: int
) -> None:
    """It takes setgid, which nobody has by accident, and a folder that is closed to others."""
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(folder)
    durable.replace(place / "replaced", b"new", mode=durable.SECRET)
    durable.create(place / "created")
    with durable.locked(place / "locked"):
        pass
    durable.replace(place / "shown", b"new", mode=durable.PUBLIC)
    assert [mode(place / name) for name in ("replaced", "created", "locked")] == 3 * [secret]
    assert mode(place / "shown") == 0o644
    check_secret(place / "replaced")
    for opened in (0o640, 0o660, 0o604, 0o644):
        (place / "replaced").chmod(opened)
        if folder in (0o2710, 0o2750, 0o2770) and not opened & 0o007:
            check_secret(place / "replaced")
        else:
            with pytest.raises(CredentialError, match="is open to others"):
                check_secret(place / "replaced")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write for others")
def test_what_root_writes_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    os.chown(place, 61850, 61851)
    place.chmod(0o2750)
    durable.replace(place / "replaced", b"new", mode=durable.SECRET)
    durable.create(place / "created")
    durable.make_folder(place / "a" / "b")
    for name in ("replaced", "created", "a", "a/b"):
        told = (place / name).stat()
        assert (told.st_uid, told.st_gid) == (61850, 61851)


def test_what_is_there_is_not_emptied(kept: Path) -> None:
    durable.create(kept)
    assert kept.read_bytes() == b"old"


def test_who_is_quicker_has_made_it_and_a_disk_without_hard_links_begins_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "made"
    durable.create(file, b"first")
    durable.create(file, b"second")
    assert (file.read_bytes(), mode(file)) == (b"first", 0o600)

    def refused(*_: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refused)
    durable.create(tmp_path / "other", b"first")
    assert (tmp_path / "other").read_bytes() == b""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "other"]

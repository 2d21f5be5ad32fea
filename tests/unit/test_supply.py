"""The audit of the lock files: what is known is told, and what was not looked at is never called good."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.supply.audit import Verdict, _sort, audit, look_up, pins

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
LOCK = """Lxml==5.3.0 \\
    --hash=sha256:00
pydantic-core==2.50.4 ; python_version > '3' \\
    --hash=sha256:01
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "run.lock"
    path.write_text(LOCK)
    return path


def export(path: Path, **affected: Any) -> Path:
    """An OSV export with one advisory."""
    package = {"ecosystem": "PyPI", "name": affected.pop("name", "lxml")}
    advisory = {"id": "GHSA-1", "affected": [{"package": package, **affected}]}
    with zipfile.ZipFile(path / "all.zip", "w") as archive:
        archive.writestr("GHSA-1.json", json.dumps(advisory))
    return path / "all.zip"


def ranged(*events: tuple[str, str]) -> dict[str, Any]:
    return {"ranges": [{"type": "ECOSYSTEM", "events": [{what: version} for what, version in events]}]}


@pytest.mark.parametrize(
    ("affected", "hit"),
    [
        ({"versions": ["5.3.0"]}, True),
        ({"versions": ["5.2.0"]}, False),
        (ranged(("introduced", "0"), ("fixed", "5.3.1")), True),
        (ranged(("introduced", "0"), ("fixed", "5.3.0")), False),
        (ranged(("introduced", "5.4"), ("fixed", "6")), False),
        (ranged(("introduced", "0"), ("last_affected", "5.3.0")), True),
        (ranged(("introduced", "0"), ("fixed", "5"), ("introduced", "5.3")), True),
        ({"name": "other", "versions": ["5.3.0"]}, False),
    ],
)
def test_an_offline_list_is_looked_through(
    tmp_path: Path, lock: Path, affected: dict[str, Any], hit: bool
) -> None:
    assert look_up(export(tmp_path, **affected), [lock]).known == (["lxml 5.3.0: GHSA-1"] if hit else [])


def test_every_pin_is_seen(lock: Path) -> None:
    assert pins([lock]) == {"lxml": "5.3.0", "pydantic-core": "2.50.4"}


@pytest.mark.parametrize(
    ("verdict", "code", "told"),
    [
        (Verdict(), 0, "no known vulnerability in 2 packages"),
        (Verdict(known=["lxml 5.3.0: GHSA-1"]), 1, "GHSA-1"),
        (Verdict(skipped=["lxml", "pydantic-core"]), 4, "NOT AUDITED"),
        (Verdict(failure="no such host"), 4, "no such host"),
    ],
)
def test_what_was_not_looked_at_is_not_called_good(
    lock: Path, verdict: Verdict, code: int, told: str
) -> None:
    lines: list[str] = []
    assert audit([lock], {"one": lambda _: verdict}, lines.append) == code
    assert told in "\n".join(lines)


def test_the_second_database_is_asked_when_the_first_has_nothing(lock: Path) -> None:
    databases = {"first": lambda _: Verdict(skipped=["lxml"]), "second": lambda _: Verdict()}
    assert audit([lock], databases, lambda _: None) == 0


def test_what_pip_audit_skips_is_seen() -> None:
    verdict = Verdict()
    _sort(
        [
            {"name": "a", "skip_reason": "not found"},
            {"name": "b", "version": "1", "vulns": [{"id": "X"}]},
            {"name": "c", "version": "1", "vulns": []},
        ],
        verdict,
    )
    assert (verdict.skipped, verdict.known) == (["a"], ["b 1: X"])


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_locked_package_has_a_hash(path: Path) -> None:
    """Also the build backend: nothing is downloaded without one (--require-hashes, --no-build-isolation)."""
    entries = re.split(r"^(?=\S)", re.sub(r"^#.*\n", "", path.read_text(), flags=re.M), flags=re.M)
    packages = [entry for entry in entries if entry.strip() and not entry.startswith("    #")]
    assert packages
    assert [entry[:40] for entry in packages if "--hash=sha256:" not in entry or "==" not in entry] == []


def test_the_build_backend_is_locked() -> None:
    for path in (ROOT / "requirements/run.lock", ROOT / "requirements/dev.lock"):
        assert {"hatchling", "editables"} <= pins([path]).keys()

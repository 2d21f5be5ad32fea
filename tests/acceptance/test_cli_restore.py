"""The restore of docs/operations-store.md, as an operator does it: also before he has stopped everything."""

from __future__ import annotations

from pathlib import Path

from tests.support.chain import until
from tests.support.cli import answer, error, run, up


def test_restore_names_who_has_it_open_and_works_when_they_have_ended(tmp_path: Path) -> None:
    with up(tmp_path, "--meters", "1", "--interval", "0.2") as running:
        running.ready()
        run("store", "backup", "monday.sqlite", folder=tmp_path)
        children = running.children()
        said = error("store", "restore", "monday.sqlite", code=4, folder=tmp_path)
        assert f"bridge run --mqtt 127.0.0.1:{running.mqtt_port}" in said
        for name in ("bridge", "web"):
            assert f"(pid {children[name].pid})" in said
        until(lambda: readings(tmp_path) > 20, why="it goes on storing")
        assert running.stop() == 0
    stored = readings(tmp_path)
    done = answer("store", "restore", "monday.sqlite", folder=tmp_path)
    assert done["database"] == str(tmp_path / "data" / "meter61850.sqlite")
    assert Path(done["kept"]).is_file()
    assert readings(tmp_path) < stored
    with up(tmp_path, "--meters", "1", "--mqtt-port", str(running.mqtt_port)) as again:
        again.ready()
        assert again.stop() == 0


def readings(folder: Path) -> int:
    """How many the store has."""
    rows = answer("readings", "House 1", "--since", "1d", folder=folder)
    return len(rows)

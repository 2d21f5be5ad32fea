"""What `make up` shows while pip installs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tools import install

SAID = """\
Ignoring colorama: markers 'sys_platform == "win32"' don't match your environment
Collecting aiomqtt==2.5.1 (from -r requirements/run.lock (line 1))
  Downloading aiomqtt-2.5.1-py3-none-any.whl.metadata (5.2 kB)
Requirement already satisfied: lxml==6.1.3 in /x (from -r requirements/run.lock (line 9)) (6.1.3)
Installing collected packages: aiomqtt
Successfully installed aiomqtt-2.5.1
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_for_each_package_without_a_terminal() -> None:
    out = io.StringIO()
    said = install.Progress(3, out).read(SAID.splitlines(keepends=True))
    assert said == SAID
    assert out.getvalue().splitlines() == [
        "downloading 1/2 aiomqtt 2.5.1",
        "downloading 2/2 lxml 6.1.3",
        "installing 2 packages",
    ]


def test_one_line_at_a_terminal_which_is_gone_at_the_end() -> None:
    out = Terminal()
    install.Progress(3, out).read(SAID.splitlines(keepends=True))
    assert "\n" not in out.getvalue()
    assert "1/2 aiomqtt 2.5.1" in out.getvalue()
    assert out.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize(("code", "shown"), [(0, False), (3, True)])
def test_pips_exit_code_and_all_that_it_said_if_it_fails(
    code: int, shown: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        install, "PIP", ("-c", f"print('no matching distribution'); raise SystemExit({code})")
    )
    lock = tmp_path / "run.lock"
    lock.write_text("aiomqtt==2.5.1 \\\n    --hash=sha256:0\n")
    out = io.StringIO()
    assert install.main(lock, out) == code
    assert ("no matching distribution" in out.getvalue()) is shown

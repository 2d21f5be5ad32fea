"""The wheel that the image installs has every file of ours, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.support.project import ROOT

PACKAGES = (
    "adapters",
    "admin",
    "bridge",
    "broker",
    "meter_firmware",
    "mms_bridge",
    "registrar",
    "scl_builder",
    "web",
)


def test_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run([*pip, "wheel", *options, str(ROOT)], check=True, timeout=100)
    (wheel,) = tmp_path.glob("meter61850-*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert names == ours

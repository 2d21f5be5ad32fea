"""Sizes of STYLE.md, point 8: files of at most 300 lines, functions of at most 50."""

from __future__ import annotations

import ast

import pytest

from tests.support.project import ROOT

TABLES = {"bridge/store/tables.py", "scl_builder/model/nsd_cdcs.py"}
"""Files that are tables."""
PACKAGES = (
    "adapters", "admin", "bench", "bridge", "broker", "meter_firmware", "mms_bridge", "registrar",
    "scl_builder", "tools", "web",
)  # fmt: skip


@pytest.mark.parametrize("package", PACKAGES)
def test_files_and_functions_are_short(package: str) -> None:
    long = []
    for file in sorted((ROOT / package).rglob("*.py")):
        name, source = str(file.relative_to(ROOT)), file.read_text()
        if source.count("\n") > 300 and name not in TABLES:
            long.append(f"{name}: {source.count(chr(10))} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > 50:
                    long.append(f"{name}: {node.name} has {lines} lines")
    assert long == []

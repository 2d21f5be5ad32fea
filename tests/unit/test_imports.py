"""The layout of the design, checked: which package may import which, no cycles, a pure scl_builder."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "broker": set[str](),
    "scl_builder": set[str](),
    "meter_firmware": {"broker"},
    "bridge": {"broker", "scl_builder"},
    "mms_bridge": {"broker", "scl_builder"},
    "registrar": {"broker", "bridge"},
    "web": {"broker", "scl_builder", "bridge", "mms_bridge"},
    "admin": {"broker", "scl_builder", "meter_firmware", "bridge", "mms_bridge", "registrar", "web"},
    "tools": {"broker", "scl_builder", "meter_firmware", "bridge", "mms_bridge", "registrar", "web", "admin"},
}
WEB_READS = {
    "bridge.store.audit", "bridge.store.database", "bridge.store.export",
    "bridge.store.pack_format", "bridge.store.queries", "bridge.store.rollup",
    "bridge.store.spool", "bridge.store.tables",
    "mms_bridge.cid", "mms_bridge.datamodel.mapping", "mms_bridge.libiec61850.bindings",
}  # fmt: skip
"""Of its neighbours the web has the store's read side, the audit, and how MMS judges what the topics tell."""
NOT_PURE = {
    "asyncio", "datetime", "logging", "os", "random", "select", "selectors", "socket", "sqlalchemy",
    "sqlite3", "subprocess", "threading", "time",
}  # fmt: skip
"""What gives a clock, a socket, a database, randomness or logging; scl_builder has values in, bytes out."""


@cache
def modules() -> dict[str, Path]:
    """Dotted name → file, for every module of ours."""
    files = (file for package in ALLOWED for file in (ROOT / package).rglob("*.py"))
    return {dotted(file): file for file in files if "versions" not in file.parts}


def dotted(file: Path) -> str:
    """``admin/commands/__init__.py`` → ``admin.commands``."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(source: str, module: str) -> Iterator[str]:
    """Everything that ``source`` imports, wherever in it; relative imports are resolved."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(module.split(".")[: -node.level]) if node.level else ""
            head = ".".join(filter(None, (base, node.module)))
            yield from (f"{head}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "load":
            yield from (str(arg.value) for arg in node.args if isinstance(arg, ast.Constant))


def ours(name: str) -> str | None:
    """The module of ours that ``name`` is, or is in; None for anybody else's."""
    while name:
        if name in modules():
            return name
        name = name.rpartition(".")[0]
    return None


def edges(module: str) -> set[str]:
    """Modules of ours that ``module`` imports."""
    found = {ours(name) for name in imported(modules()[module].read_text(), module)}
    return {name for name in found if name is not None and name != module}


def forbidden(module: str) -> list[str]:
    """The edges of ``module`` that the table does not allow."""
    package = module.partition(".")[0]
    targets = {edge.partition(".")[0] for edge in edges(module)} - {package}
    return sorted(targets - ALLOWED[package])


@pytest.mark.parametrize("package", ALLOWED)
def test_package_imports_only_what_it_may(package: str) -> None:
    mine = [module for module in modules() if module.partition(".")[0] == package]
    assert mine
    assert {module: bad for module in mine if (bad := forbidden(module))} == {}


def test_web_reads_and_never_writes_the_store() -> None:
    """It adds no second truth: what it takes of bridge and MMS bridge is what they have for reading."""
    mine = [module for module in modules() if module.startswith("web")]
    taken = {edge for module in mine for edge in edges(module) if edge.startswith(("bridge", "mms_bridge"))}
    assert taken - {"bridge", "mms_bridge"} <= WEB_READS


def test_no_cycle_between_modules() -> None:
    try:
        TopologicalSorter({module: edges(module) for module in modules()}).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_scl_builder_is_pure() -> None:
    impure = {
        module: bad
        for module, file in modules().items()
        if module.startswith("scl_builder")
        and (bad := {name.partition(".")[0] for name in imported(file.read_text(), module)} & NOT_PURE)
    }
    assert impure == {}


def test_only_admin_prints_and_configures_logging() -> None:
    for module, file in modules().items():
        if module.startswith(("admin", "tools")):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in ("print", "logging.basicConfig"), f"{module}:{node.lineno}: {name}"


def test_the_walk_sees_every_way_to_import() -> None:
    source = """
import bridge.run
from broker.contract import topics
def late():
    from mms_bridge.run import run
load('admin.stores')
"""
    assert {ours(name) for name in imported(source, "x")} == {
        "bridge.run", "broker.contract.topics", "mms_bridge.run", "admin.stores",
    }  # fmt: skip

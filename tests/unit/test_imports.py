"""The layout of the design, checked: which package and room may import which, no cycles, the wall, purity."""

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
    "adapters": {"broker", "meter_firmware"},
    "bridge": {"broker", "scl_builder"},
    "mms_bridge": {"broker", "scl_builder"},
    "registrar": {"broker", "bridge"},
    "web": {"broker", "scl_builder", "bridge", "mms_bridge"},
    "admin": {
        "broker",
        "scl_builder",
        "meter_firmware",
        "adapters",
        "bridge",
        "mms_bridge",
        "registrar",
        "web",
    },
    "tools": {
        "broker",
        "scl_builder",
        "meter_firmware",
        "adapters",
        "bridge",
        "mms_bridge",
        "registrar",
        "web",
        "admin",
    },
}
ROOMS: dict[str, dict[str, set[str]]] = {
    "broker": {"contract": set(), "mqtt": {"contract"}, "daemon": {"contract", "mqtt"}},
    "scl_builder": {"model": set(), "read": {"model"}, "check": {"model", "read"}, "build": {"model"}},
    "meter_firmware": {"relay": set(), "sensors": {"relay"}, "enrolment": set()},
    "adapters": {
        "sparkplug": set(),
        "families": {"sparkplug"},
        "simulated": {"sparkplug"},
        "homeassistant": set(),
    },
    "bridge": {
        "mqtt": set(),
        "store": set(),
        "migrations": {"store"},
        "meters": {"mqtt", "store"},
        "ingest": {"mqtt", "store", "meters"},
        "scl": {"store", "ingest"},
        "alarms": {"mqtt", "store", "ingest"},
        "credit": {"store"},
        "losses": {"store"},
    },
    "mms_bridge": {
        "datamodel": set(),
        "guard": set(),
        "access": set(),
        "libiec61850": {"datamodel"},
        "control": {"datamodel", "access", "libiec61850"},
        "mqtt": {"datamodel", "control"},
    },
    "registrar": {},
    "web": {
        "serving": set(),
        "live": set(),
        "auth": {"serving"},
        "api": {"serving", "live", "auth"},
        "legacy_http": {"serving", "live", "auth", "api"},
        "pages": {"serving", "live", "auth", "api"},
    },
    "admin": {
        "mms": set(),
        "switching": set(),
        "chain": {"mms"},
        "doctor": set(),
        "commands": {"mms", "switching", "chain", "doctor"},
    },
    "tools": {"docs": set(), "debian": {"docs"}},
}
"""The rooms of each package, from the lowest, and those of the same package that each may import."""
WALL = "mms_bridge.libiec61850"
"""The one room that calls the C library."""
DATAMODEL = "mms_bridge.datamodel"
"""Values and their mapping to data attributes: all that the web has of the MMS bridge."""
WEB_READS = {
    "bridge.credit.accounts", "bridge.credit.documents", "bridge.credit.prices", "bridge.credit.settings",
    "bridge.losses.nodes", "bridge.losses.report",
    "bridge.store.alarms", "bridge.store.audit", "bridge.store.database", "bridge.store.dead_letters",
    "bridge.store.demand", "bridge.store.every_meter", "bridge.store.export", "bridge.store.meter_names",
    "bridge.store.intervals", "bridge.store.pack_format", "bridge.store.profile_steps",
    "bridge.store.profile_table", "bridge.store.profile_texts", "bridge.store.queries",
    "bridge.store.registers", "bridge.store.register_table", "bridge.store.rollup", "bridge.store.silences",
    "bridge.store.spool", "bridge.store.supply_table", "bridge.store.tables", "bridge.store.tariff_energy",
    "bridge.store.tariffs", "bridge.store.totals",
}  # fmt: skip
"""Of the bridge the web has what reads, the audit, dead letters (it may delete them) and payments."""
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


@pytest.mark.parametrize("package", ROOMS)
def test_room_imports_only_what_is_below_it(package: str) -> None:
    """What stands in no room wires them, or is below them all; what it may import the other rules say."""
    rooms = ROOMS[package]
    assert {path.parent.name for path in (ROOT / package).glob("*/__init__.py")} == set(rooms)
    assert all(below <= set(list(rooms)[:at]) for at, below in enumerate(rooms.values()))
    bad = {
        module: over
        for module in modules()
        if (mine := room(module))[0] == package and mine[1] in rooms
        and (over := {
            edge for edge in edges(module)
            if (its := room(edge))[0] == package and its[1] not in rooms[mine[1]] | {mine[1], ""}
        })
    }  # fmt: skip
    assert bad == {}


def room(module: str) -> tuple[str, str]:
    """Package and room of a module; no room for what stands in the package itself."""
    package, *below = module.split(".")
    in_room = below and (len(below) > 1 or modules()[module].name == "__init__.py")
    return package, below[0] if in_room else ""


def users_of(library: str) -> set[str]:
    """Modules of ours that import ``library``, or something of it."""
    return {
        module
        for module, file in modules().items()
        if any(f"{name}.".startswith(f"{library}.") for name in imported(file.read_text(), module))
    }


def test_only_the_wall_and_the_kernels_calls_use_ctypes() -> None:
    assert {module for module in users_of("ctypes") if room(module) != tuple(WALL.split("."))} == {
        "broker.kernel"
    }


def test_only_the_wall_calls_the_c_library() -> None:
    """Its functions take addresses; what other rooms get of it are constants, and objects with methods."""
    assert {module for module in users_of(f"{WALL}.bindings.lib") if not module.startswith(WALL)} == set()


def test_only_the_wait_hook_writes_into_memory_that_is_not_ours() -> None:
    writes = {"from_address", "from_buffer", "memmove", "memset", "pack_into"}
    found = {
        module
        for module, file in modules().items()
        if module.startswith(WALL)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in writes
    }
    assert found == {f"{WALL}.wait_hook"}


def test_the_data_model_needs_no_c_library() -> None:
    needed = {edge for module in modules() if module.startswith(DATAMODEL) for edge in edges(module)}
    of_mms = {edge for edge in needed if room(edge)[0] == "mms_bridge"}
    assert {edge for edge in of_mms if not edge.startswith(DATAMODEL)} == set()


def test_web_reads_the_store_and_adds_nothing() -> None:
    """No second truth: what it takes of both bridges reads, deletes dead letters or books payments."""
    mine = [module for module in modules() if module.startswith("web")]
    taken = {edge for module in mine for edge in edges(module)}
    assert {edge for edge in taken if room(edge)[0] == "bridge"} <= WEB_READS
    assert {
        edge for edge in taken if room(edge)[0] == "mms_bridge" and not edge.startswith(DATAMODEL)
    } == set()


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

"""What the adapter is told: settings, which devices it accepts, and a file of many sites."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import acceptance, discovery, points
from adapters.acceptance import Acceptance, Rule
from adapters.discovery import Device, Discovery
from adapters.family import Point
from adapters.profiles import profile_of
from adapters.settings import AdapterSettings, SourceSettings
from adapters.sites import Known, read_sites
from admin.commands.adapter_places import places_of
from admin.exits import NotFoundError
from broker.contract.errors import ConfigurationError
from broker.contract.quantities import QUANTITIES
from broker.contract.topics import checked_meter_id
from meter_firmware.sensors.wiring import Wiring
from tests.support import made_up

SOURCE = f'[[source]]\nname = "home"\nfamily = "{made_up.NAME}"\n'
KNOWN = Known(
    {"made-up"}, lambda name, _family: f"there is no source {name!r}" if name not in ("", "home") else ""
)
POINT = Point("A0B0", "hall", "Nobody", "None", "S1", quantities=("power", "energy"), switch=True)


def load(tmp_path: Path, text: str) -> AdapterSettings:
    file = tmp_path / "adapters.toml"
    file.write_text(text)
    return AdapterSettings.load(file)


def test_a_source_needs_only_a_name_and_a_family(tmp_path: Path) -> None:
    settings = load(tmp_path, SOURCE + '[source.mqtt]\nhost = "devices"\n[mqtt]\nhost = "meters"\n')
    assert settings.mqtt_of(settings.source[0]).host == "devices"
    assert load(tmp_path, SOURCE + '[mqtt]\nhost = "meters"\n').mqtt_of(settings.source[0]).host == "devices"
    assert settings.accept == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "source"),
        (SOURCE + "colour = 1\n", "unknown key 'source.0.colour'"),
        (SOURCE.replace(made_up.NAME, "toaster"), "'toaster' is not known"),
        (SOURCE + "[source.options]\nprefixes = 1\n", "options of the family made-up: prefixes"),
        (SOURCE + SOURCE, "two sources are called 'home'"),
        (SOURCE.replace("home", "my home"), "source.0.name"),
        (SOURCE + "interval = 0\n", "interval"),
        (SOURCE + '[[accept]]\nfamily = "made-up"\nname = "House"\n', "use {name} or {key}"),
        (SOURCE + '[[accept]]\nfamily = "made-up"\nswitch = "perhaps"\n', "switch"),
        ("[[source\n", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=r"adapters\.toml") as refused:
        load(tmp_path, text)
    assert words in str(refused.value)


def test_a_missing_file_names_the_example(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"adapters\.example\.toml"):
        AdapterSettings.load(tmp_path / "none.toml")


def test_nothing_is_accepted_by_itself() -> None:
    assert Acceptance(()).rule("made-up", "a0b0", "hall") is None
    assert Acceptance((Rule(family="made-up"),)).rule("other", "a0b0", "hall") is None


def test_one_named_device_counts_before_patterns_and_the_file_before_the_settings() -> None:
    rules = (
        Rule(family="made-up", device="ha*", name="any {name}"),
        Rule(family="made-up", name="rest {key}"),
        Rule(family="made-up", key="A0B0", name="in the settings"),
    )
    assert named(Acceptance(rules), "a0b0") == "in the settings"
    assert named(Acceptance(rules), "a0b1") == "any {name}"
    assert named(Acceptance(rules), "a0b1", "cellar") == "rest {key}"
    assert (
        named(Acceptance(rules, [Rule(family="made-up", key="a0b0", name="by command")]), "A0B0")
        == "by command"
    )


def named(accepting: Acceptance, key: str, device: str = "hall") -> str:
    rule = accepting.rule("made-up", key, device)
    assert rule is not None
    return rule.name


@pytest.mark.parametrize(("told", "name"), [("hall", "Flat hall"), ("\x00\x01" * 300, "A0B0")])
def test_a_devices_name_that_cannot_stand_becomes_its_key(told: str, name: str) -> None:
    rule = Rule(family="made-up", name="Flat {name}")
    assert acceptance.identity(rule, key="A0B0", device=told).name == name


def test_the_file_is_changed_as_a_whole(tmp_path: Path) -> None:
    assert acceptance.read(tmp_path) == ()
    acceptance.change(tmp_path, add=[Rule(family="made-up", key=key) for key in ("a", "b")])
    acceptance.change(tmp_path, add=[Rule(family="made-up", key="A", switch=True)], remove=[("made-up", "B")])
    assert acceptance.read(tmp_path) == (Rule(family="made-up", key="A", switch=True),)
    (tmp_path / acceptance.FILE_NAME).write_text('{"accepted": [{"family": 1}]}')
    with pytest.raises(ConfigurationError, match="damaged"):
        acceptance.read(tmp_path)


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_meter_id_is_stable_and_of_the_contract(family: str, key: str) -> None:
    meter_id = points.meter_id_of(family, key)
    assert checked_meter_id(meter_id) == meter_id == points.meter_id_of(family, key)
    assert points.meter_id_of(f"{family}x", key) != meter_id


def test_the_relay_is_there_only_when_it_may_be_switched() -> None:
    source = SourceSettings(name="home", family=made_up.NAME)
    settings = AdapterSettings(source=(source,))
    profiles = [
        profile_of(settings, source, POINT, Rule(family="made-up", switch=on)) for on in (False, True)
    ]
    assert [profile.relay for profile in profiles] == [False, True]
    turned = profile_of(settings, source, POINT, Rule(family="made-up", reverse=True))
    assert turned.quantities == ("power", "energy_export")


@given(st.dictionaries(st.sampled_from(list(QUANTITIES)), st.floats(-1e6, 1e6)))
def test_turned_twice_is_as_before(measured: dict[str, float | bool]) -> None:
    two_way = {name: value for name, value in measured.items() if name not in ("energy", "demand_max")}
    turned = Wiring(reverse=True)
    assert turned.applied(turned.applied(two_way)) == two_way


def test_a_turned_counter_of_one_way_counts_export_and_no_largest_demand_is_known() -> None:
    turned = Wiring(reverse=True)
    assert turned.applied({"energy": 5.0, "demand_max": 9.0, "power": 2.0}) == {
        "energy_export": 5.0,
        "power": -2.0,
    }
    assert turned.measures(("power", "energy", "demand_max")) == ("power", "energy_export")


def test_a_point_is_kept_for_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / points.meter_id_of("made-up", POINT.key)
    told = points.Kept("made-up", "home", POINT)
    points.save(folder, told)
    assert points.kept(tmp_path) == [told]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / points.FILE_NAME).write_bytes((folder / points.FILE_NAME).read_bytes())
    (folder / points.FILE_NAME).write_text('{"family": "made-up", "point": {"key": 1}}')
    assert points.kept(tmp_path) == []


def test_sites_are_read_with_either_separator() -> None:
    text = "family;key;name;address;switch\nmade-up;A0;Hall;1, Example Street;YES\n;;;;\nmade-up;A1;;;\n"
    rules, troubles = read_sites(text, KNOWN)
    assert troubles == []
    assert [(rule.key, rule.name, rule.address, rule.switch) for rule in rules] == [
        ("A0", "Hall", "1, Example Street", True),
        ("A1", "", "", False),
    ]


def test_every_bad_line_of_the_sites_is_named() -> None:
    lines = ["family,key,switch,interval", "made-up,A0,maybe,", "toaster,A1,,", "made-up,A*,,", "made-up,,,"]
    lines += ["made-up,A2,,", "made-up,a2,,", "made-up,A3,,0", "made-up,A4,,,,"]
    rules, troubles = read_sites("\n".join(lines), KNOWN)
    assert [rule.key for rule in rules] == ["A2"]
    assert [trouble.partition(":")[0] for trouble in troubles] == [
        f"line {line}" for line in (2, 3, 4, 5, 7, 8, 9)
    ]
    assert "'maybe' is neither yes nor no" in troubles[0]
    assert "line 6 too" in troubles[4]


def test_every_fault_of_a_line_of_the_sites_is_named() -> None:
    lines = ["family,key,source,switch,reverse,interval", "made-up,A0,home,,,", "made-up,a0,cellar,on,off,0"]
    rules, troubles = read_sites("\n".join(lines), KNOWN)
    assert [(rule.key, rule.source) for rule in rules] == [("A0", "home")]
    assert [trouble.partition(": ")[2].partition(":")[0] for trouble in troubles] == [
        "switch 'on' is neither yes nor no",
        "reverse 'off' is neither yes nor no",
        "there is no source 'cellar'",
        "key 'a0' is in line 2 too",
        "interval",
    ]


def test_a_rule_may_take_the_device_of_one_source_only(tmp_path: Path) -> None:
    exact, pattern = Rule(family="made-up", key="A0", source="home"), Rule(family="made-up", source="cellar")
    accepting = Acceptance((exact, pattern))
    assert accepting.rule("made-up", "a0", "hall", source="home") == exact
    assert accepting.rule("made-up", "a0", "hall", source="cellar") == pattern
    assert accepting.rule("made-up", "a1", "hall", source="home") is None
    with pytest.raises(
        ConfigurationError, match="no source 'cellar' of the family 'made-up': use one of home"
    ):
        load(tmp_path, SOURCE + '[[accept]]\nfamily = "made-up"\nsource = "cellar"\n')


def test_a_device_that_two_sources_have_is_named_with_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(tmp_path, SOURCE + SOURCE.replace("home", "cellar"))
    there = Discovery([Device(source, POINT) for source in settings.source])
    monkeypatch.setattr(discovery, "discover", AsyncMock(return_value=there))
    with pytest.raises(ConfigurationError, match=r"2 devices: say which: made-up/A0B0 \(--source cellar\)"):
        places_of(settings, ["hall"], source="", seconds=1)
    assert places_of(settings, ["hall"], source="home", seconds=1) == [("made-up", "A0B0")]
    with pytest.raises(NotFoundError):
        places_of(settings, ["hall"], source="attic", seconds=1)


@pytest.mark.parametrize("header", ["", "family,name", "family,key,colour", "family,key,key"])
def test_a_header_that_is_wrong_is_named(header: str) -> None:
    rules, troubles = read_sites(f"{header}\nmade-up,A0,x", KNOWN)
    assert rules == []
    assert all(trouble.startswith("line 1: ") for trouble in troubles)
    assert troubles


@given(st.text())
def test_any_text_is_rules_or_troubles(text: str) -> None:
    rules, troubles = read_sites(text, KNOWN)
    assert all(isinstance(rule, Rule) for rule in rules)
    assert all(trouble.startswith("line ") for trouble in troubles)


def test_a_quote_that_nobody_closes_takes_no_lines_away() -> None:
    text = 'family,key,name\nmade-up,a0,"Hall\nmade-up,a1,Cellar\n'
    rules, troubles = read_sites(text, KNOWN)
    assert troubles == ["line 2: unexpected end of data: is a quote not closed?"], rules


def test_only_the_end_of_a_line_ends_a_line() -> None:
    text = 'family,key,name\r\nmade-up,a0,"House\u2028\x85 1"\r\nmade-up,a1,House\x0b2\r\n'
    rules, troubles = read_sites(text, KNOWN)
    assert [(rule.key, rule.name) for rule in rules] == [
        ("a0", "House\ufffd\ufffd 1"),
        ("a1", "House\ufffd2"),
    ]
    assert troubles == []

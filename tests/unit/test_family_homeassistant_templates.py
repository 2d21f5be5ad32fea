"""Templates of foreign devices: what is evaluated, what is not, and that none stalls or invents a value."""

from __future__ import annotations

import json
import math
import time
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.families.homeassistant import HomeAssistant, Settings
from adapters.families.homeassistant.evaluation import MAX_RESULT, NoValueError
from adapters.families.homeassistant.template import MAX_TEMPLATE, Template, UnsafeTemplateError
from adapters.family import Finding
from tests.support.samples import ANYTHING, RAW, check_values

PAYLOAD = json.dumps({"a": {"b c": [1, 2.5]}, "p": "12.5", "on": True, "none": None, "zero": 0}).encode()
SECONDS = 5.0
"""Far more than an evaluation takes on a busy machine, far less than a loop that an attacker would write."""


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{{ value_json.p }}", "12.5"),
        ("{{value_json.p|float}}", "12.5"),
        ("{{ value_json['a']['b c'][1] }}", 2.5),
        ('{{ value_json.a["b c"][0] }}', 1),
        ("{{ value_json['p'] | float / 10 }}", 1.25),
        ("{{ (value_json.p | float * 1000) | round(1) }}", 12500.0),
        ("{{ value_json.p | int }}", 12),
        ("{{ value_json.zero }}", 0),
        ("{{ -(value_json.zero) + 7 - 2 * 3 }}", 1),
        ("{{ value_json.p if value_json.p is defined else none }}", "12.5"),
        ("{{ value_json.x if value_json.x is defined else value_json.p }}", "12.5"),
        ("{{ value_json.p | default(0) }}", "12.5"),
        ("{{ value_json.none or value_json.p }}", "12.5"),
        ("{{ value_json.a['b c'][1] | abs }}", 2.5),
    ],
)
def test_a_number(source: str, value: object) -> None:
    assert Template(source).number(PAYLOAD) == value


@pytest.mark.parametrize(
    "source",
    [
        "{{ value_json.x }}", "{{ value_json.x.y }}", "{{ value_json.none }}", "{{ value_json.a }}",
        "{{ value_json.on }}", "{{ value_json.x | float(0) }}", "{{ value_json.x | default(0) }}",
        "{{ value_json.x | is_defined }}", "{{ value_json.x or 0 }}", "{{ value_json.on and 5 }}",
        "{{ value_json.x if value_json.x is defined else 0 }}", "{{ 1 if value_json.on else 0 }}",
        "{{ value_json.p * 1000000000 }}", "{{ '%99999999d' % value_json.zero }}",
        "{{ value_json.zero / 0 }}",
        "{{ value_json.p | round(99) }}", "{{ value_json.p.__class__ }}", "{{ value_json.p < 3 }}",
        "{{ value | float }}",
    ],
)  # fmt: skip
def test_no_value_is_invented(source: str) -> None:
    with pytest.raises(NoValueError):
        Template(source).number(PAYLOAD)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ 'ON' if value_json.on else 'OFF' }}", "ON"),
        ("{{ 'a' if value_json.p == '12.5' and not value_json.zero else 'b' }}", "a"),
        ("{{ value_json.p | string | lower ~ '!' }}", "12.5!"),
        ('{"v": "{{ value_json.p }}"}', '{"v": "12.5"}'),
        ("{{ value_json.on }}", "True"),
        ("{{ value_json.zero > -1 }}", "True"),
    ],
)
def test_words(source: str, words: str) -> None:
    assert Template(source).words(PAYLOAD) == words


@pytest.mark.parametrize(
    "source",
    [
        "{{ range(10**9) | list }}", "{% for a in range(10**9) %}{% endfor %}", "{{ 9**9**9**9 * value }}",
        "{{ states('sensor.x') }}", "{{ value.format('{:>99999999}') }}", "{{ value | center(10**9) }}",
        "{{ value | batch(1) }}", "{% set x = value %}{{ x }}", "{% if value %}1{% endif %}",
        "{{ value[1:] }}",
        "{{ [value] * 9 }}", "{{ {'a': value} }}", "{{ now() }}", "{{ 230 }}", "230", "{{ value", "{{ }}",
        "{{ self }}", "{{ value is divisibleby 3 }}", "{{ value in 'abc' }}", "{% include 'x' %}",
        "{{ value | float(default=range(9)) }}", "{{ '" + "x" * MAX_TEMPLATE + "' ~ value }}",
        "{{ " + "(" * 480 + "value" + ")" * 480 + " }}",
    ],
)  # fmt: skip
def test_what_is_not_evaluated(source: str) -> None:
    with pytest.raises(UnsafeTemplateError):
        Template(source)


WORDS = st.sampled_from(
    ("value", "value_json", ".a", "['p']", "[0]", "[-1]", "|float", "|int", "|round(2)", "|default(0)",
     "|abs", "|upper", "|string", " * ", " + ", " - ", " / ", " // ", " % ", " ** ", " ~ ", "1", "10",
     "99999999", "'x'", " if ", " else ", " and ", " or ", "not ", " == ", " < ", " is defined", "(", ")",
     "-", "range(9)", "none", "{{ ", " }}", "{% for a in ", " %}")
)  # fmt: skip
SOURCES = st.lists(WORDS, max_size=12).map(lambda parts: "{{ " + "".join(parts) + " }}") | st.text(
    max_size=40
)


@settings(deadline=None, max_examples=300)
@given(source=SOURCES, payload=RAW | ANYTHING.map(lambda told: json.dumps(told).encode()))
def test_any_template_and_any_message(source: str, payload: bytes) -> None:
    began = time.monotonic()
    with suppress(UnsafeTemplateError, NoValueError):
        template = Template(source)
        with suppress(NoValueError):
            value = template.number(payload)
            assert isinstance(value, str | int | float)
            assert not isinstance(value, bool)
        assert len(template.words(payload)) <= MAX_RESULT
        assert len(template.command("ON")) <= MAX_RESULT
    assert time.monotonic() - began < SECONDS


@settings(deadline=None, max_examples=80)
@given(source=SOURCES, payload=RAW | ANYTHING.map(lambda told: json.dumps(told).encode()))
def test_any_template_in_a_device(source: str, payload: bytes) -> None:
    told = {"dev": {"ids": "b"}, "stat_t": "b/s", "dev_cla": "power", "unit_of_meas": "W", "val_tpl": source}
    family = HomeAssistant(Settings())
    topic = "homeassistant/sensor/b/p/config"
    check_values(list(family.take(topic, json.dumps(told).encode(), retained=True, now=0)))
    check_values(list(family.due(2)))
    check_values(list(family.take("b/s", payload, retained=False, now=3)))
    steps = list(family.due(5))
    check_values(steps)
    assert all(math.isfinite(value) for step in steps for value in getattr(step, "measured", {}).values())


def test_a_flood_of_devices_is_bounded_and_spares_those_that_are_known() -> None:
    family = HomeAssistant(Settings(), limit=20_000)
    findings: list[Finding] = []
    tracemalloc.start()
    for number in range(3000):
        told = {"dev": {"ids": f"b{number}"}, "stat_t": f"b{number}/s", "dev_cla": "power",
                "unit_of_meas": "W", "val_tpl": "{{ value | float * 2 }}"}  # fmt: skip
        steps = family.take(f"homeassistant/sensor/b{number}/p/config", json.dumps(told).encode(),
                            retained=True, now=number)  # fmt: skip
        findings += [step for step in steps if isinstance(step, Finding)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {finding.cause for finding in findings} == {"too many devices"}
    assert size < 10_000_000
    family.due(4000)
    family.take("b0/s", b"4", retained=False, now=4000)
    assert [step for step in family.due(4002) if getattr(step, "measured", None) == {"power": 8.0}]


def test_a_device_of_many_messages_is_bounded() -> None:
    family = HomeAssistant(Settings())
    causes = set()
    for number in range(200):
        told = {"dev": {"ids": "b"}, "stat_t": "b/s", "dev_cla": "power", "unit_of_meas": "W"}
        topic = f"homeassistant/sensor/b/{number}/config"
        steps = family.take(topic, json.dumps(told).encode(), retained=True, now=0)
        causes |= {step.cause for step in steps if isinstance(step, Finding)}
    assert causes == {"device is too large"}

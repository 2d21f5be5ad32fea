"""schemathesis over the description of the API: no 5xx, no status or document that is not described."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.chain import until
from tests.support.web import Web, beside_meters
from web.auth.accounts import Role

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ENDLESS = "/api/v1/stream"
ADMINISTRATION = "^/api/v1/(audit|settings|users|dead-letters)"
EXAMPLES = 15
"""Of each route."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Three meters, and a web that takes HTTP meters, too."""
    with beside_meters(tmp_path_factory.mktemp("web"), 3, options=("--thesis",)) as web:
        until(lambda: web.json("/scl/revisions")["revisions"], why="a revision")
        yield web


@pytest.fixture(scope="module")
def api(web: Web) -> Any:
    """The description as it is served, without the route whose answer never ends."""
    schema = schemathesis.openapi.from_url(f"{web.url}/openapi.json")
    return schema.exclude(path=ENDLESS)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_answer_that_is_not_described(api: Any, web: Web, mode: GenerationMode) -> None:
    """Every route, with what hypothesis makes of its description, and of what that forbids."""
    tried, answers = draw(api, web, Role.OPERATOR, mode)
    assert tried >= 20
    assert answers[200 if mode is GenerationMode.POSITIVE else 422] > EXAMPLES, answers


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_none_of_administration(api: Any, web: Web, mode: GenerationMode) -> None:
    """The routes that an operator may not use, as an administrator."""
    tried, answers = draw(api.include(path_regex=ADMINISTRATION), web, Role.ADMINISTRATOR, mode)
    assert tried >= 7
    assert answers[200 if mode is GenerationMode.POSITIVE else 422] > EXAMPLES, answers
    assert 403 not in answers


def draw(api: Any, web: Web, role: Role, mode: GenerationMode) -> tuple[int, Counter[int]]:
    """How many routes there are, and how often there was which status."""
    headers = {"Authorization": f"Bearer {web.tokens[role]}"}
    drawn = settings(
        max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    answers: Counter[int] = Counter()
    tried = 0
    for found in api.get_all_operations():
        operation = found.ok()
        tried += 1

        @given(case=operation.as_strategy(generation_mode=mode))
        @drawn
        def described(case: Any) -> None:
            answer = case.call(headers=headers, timeout=60)
            answers[answer.status_code] += 1
            case.validate_response(answer, checks=CHECKS)

        with suppress(Unsatisfiable):  # a route to which nothing can be given has nothing forbidden
            described()
    return tried, answers


@pytest.mark.parametrize("accept", ["application/json", "application/xml"])
def test_the_documents_of_a_real_meter_are_as_described(api: Any, web: Web, accept: str) -> None:
    """The routes of one meter with one that is there: drawn at random, they are 404."""
    meter_id = web.wait_for_meters(3)[0]
    headers = {"Authorization": f"Bearer {web.tokens[Role.OPERATOR]}", "Accept": accept}
    for path in ("", "/latest", "/readings", "/registers", "/today", "/periods"):
        operation = api[f"/api/v1/meters/{{meter_id}}{path}"]["GET"]
        case = operation.Case(path_parameters={"meter_id": meter_id})
        answer = case.call(headers=headers)
        assert answer.status_code == 200
        case.validate_response(answer, checks=CHECKS)

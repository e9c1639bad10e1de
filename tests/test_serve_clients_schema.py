"""Requests that schemathesis makes of the description: nothing fails, and answers are as they are described."""

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import FIXTURES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from votive.serving import Server, serve

schemathesis = pytest.importorskip("schemathesis")

EXAMPLES = 15  # of each operation


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    models = {"vectors": str(FIXTURES / "bert_40"), "ranks": str(FIXTURES / "bert_rerank")}
    with serve(models) as server:
        yield server


def test_answers_are_as_described(server: Server) -> None:
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    held = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:
        cases: st.SearchStrategy[Any] = operation.as_strategy()

        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=cases)
        def answered(case: Any) -> None:
            case.call_and_validate(checks=held)

        answered()

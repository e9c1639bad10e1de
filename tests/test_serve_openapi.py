"""The server's description of itself: what it lists is there, and what is there is listed."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import votive
from conftest import FIXTURES
from serving import ask
from votive.serving import Server, serve

KEY = {"Authorization": "Bearer secret"}

SOURCES = Path(__file__).parent.parent / "src" / "serve"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve({"vectors": str(FIXTURES / "bert_40")}, api_keys=["secret"]) as server:
        yield server


@pytest.fixture(scope="module")
def description(server: Server) -> Any:
    return ask(server, "/openapi.json").json


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """All objects within a description."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts(part)


def test_it_is_served_without_a_key(server: Server, description: Any) -> None:
    assert description["openapi"] == "3.1.0"
    assert description["info"]["version"] == votive.__version__
    assert ask(server, "/api-doc/openapi.json").json == description
    assert ask(server, "/v1/models").status == 401


def test_every_route_is_there_and_takes_its_methods_alone(server: Server, description: Any) -> None:
    for path, operations in description["paths"].items():
        for method in ("GET", "POST", "PUT"):
            status = ask(server, path.replace("{name}", "vectors"), None, KEY, method).status
            takes = method.lower() in operations
            # A POST without a body has no type, or is no JSON where none is needed.
            expected = (200, 400, 415) if takes else (405,)
            assert status in expected, f"{method} {path}: {status}"


def test_every_route_is_listed(description: Any) -> None:
    if not SOURCES.is_dir():
        pytest.skip("the sources are not here")
    routes = set()
    for source in SOURCES.rglob("*.rs"):
        routes |= set(re.findall(r"\.route\(\s*\"([^\"]+)\"", source.read_text(encoding="utf-8")))
    listed = {path.replace("{name}", "{*name}") for path in description["paths"]}
    assert len(routes) > 20
    assert routes <= listed


def test_references_and_names_are_sound(description: Any) -> None:
    used = set()
    for part in parts(description):
        if reference := part.get("$ref"):
            found = description
            for name in reference.removeprefix("#/").split("/"):
                found = found[name]
            used.add(reference)
        if "required" in part and "properties" in part:
            assert set(part["required"]) <= set(part["properties"])
    components = description["components"]
    for kind in ("schemas", "responses"):
        for name in components[kind]:
            assert f"#/components/{kind}/{name}" in used, f"{name} is used nowhere"
    operations = [operation for methods in description["paths"].values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert {operation["tags"][0] for operation in operations} == {tag["name"] for tag in description["tags"]}


def test_the_page_lists_all_routes_and_needs_nothing_else(server: Server, description: Any) -> None:
    found: list[str] = []
    addresses: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            found.append(tag)
            addresses.extend(value or "" for name, value in attributes if name in ("src", "href"))

        def handle_data(self, data: str) -> None:
            found.append(data)

    answer = ask(server, "/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    Reader().feed(answer.body.decode())
    assert set(description["paths"]) <= set(found)
    assert "script" not in found
    assert addresses == ["/openapi.json"]


def test_bodies_and_errors_are_described(server: Server, description: Any) -> None:
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation:
                assert method == "post"
                assert {"400", "401", "413", "415", "429"} <= set(operation["responses"]), path
    assert json.dumps(description).count("{version}") == 0

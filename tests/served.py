"""Requests to a server, and what it counts of them."""

from collections.abc import Mapping
from typing import Any

from exposition import Family, parse
from serving import JSON, ask
from votive.serving import Server


def embed(server: Server, texts: Any, model: str | None = None, headers: Mapping[str, str] | None = None) -> int:
    """Asks for the vectors of texts; gives the status."""
    body = {"input": texts} | ({"model": model} if model else {})
    return ask(server, "/v1/embeddings", body, {**JSON, **(headers or {})}).status


def metrics(server: Server, headers: Mapping[str, str] | None = None) -> dict[str, Family]:
    """All numbers of a server."""
    answer = ask(server, "/metrics", headers=headers or {})
    assert answer.status == 200, answer.body
    return parse(answer.body.decode())


def value(families: Mapping[str, Family], name: str, **labels: str) -> float:
    """The number of a series."""
    family = families.get(name) or next(
        families[name.removesuffix(ending)]
        for ending in ("_total", "_bucket", "_sum", "_count")
        if name.removesuffix(ending) in families
    )
    return family.samples[name, tuple(sorted(labels.items()))]

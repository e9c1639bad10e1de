"""The rerank that Cohere's, Jina's, vLLM's and llama.cpp's clients ask a server for, and vLLM's score."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import JSON, ask
from votive import Embedder, Reranker
from votive.serving import Server, serve

FIXTURES = Path(__file__).parent / "fixtures"
PATHS = ("/rerank", "/reranking", "/v1/rerank", "/v1/reranking", "/v2/rerank")
SCORES = ("/score", "/v1/score")
QUERY = "what is a candle?"
DOCUMENTS = ["wax with a wick", "", "naïve café, 東京 🕯️", " \t\n ", "a list of numbers", "a candle", "wax with a wick"]
LONG = "wax and a wick " * 60


@pytest.fixture(scope="module")
def server(model: Embedder, ranker: Reranker) -> Iterator[Server]:
    """A server of a reranker, one of three labels, and a model of vectors."""
    labels = Reranker(str(FIXTURES / "bert_labels"))
    with serve({"ranker": ranker, "labels": labels, "vectors": model}, max_inputs=200) as server:
        yield server


def scores_of(ranker: Reranker, pairs: list[tuple[str, str]], **options: Any) -> np.ndarray:
    return np.asarray(ranker.predict(pairs, **options), np.float32).reshape(-1)


def by_index(results: list[dict[str, Any]]) -> np.ndarray:
    """The scores in the order of the documents."""
    found = {result["index"]: result["relevance_score"] for result in results}
    return np.array([found[i] for i in range(len(found))], np.float32)


@pytest.mark.parametrize("path", PATHS)
def test_documents_come_best_first(path: str, server: Server, ranker: Reranker) -> None:
    answer = ask(server, path, {"model": "ranker", "query": QUERY, "documents": DOCUMENTS})
    assert answer.status == 200, answer.body
    body = answer.json
    assert list(body) == ["id", "model", "usage", "meta", "results"]
    assert body["model"] == "ranker"
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] > 0
    assert body["meta"] == {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
    expected = scores_of(ranker, [(QUERY, document) for document in DOCUMENTS])
    assert np.abs(by_index(body["results"]) - expected).max() <= 1e-6
    order = [result["index"] for result in body["results"]]
    assert order == sorted(range(len(DOCUMENTS)), key=lambda i: (-expected[i], i))
    for result in body["results"]:
        document = {"text": DOCUMENTS[result["index"]]}
        assert result.get("document") == (None if path == "/v2/rerank" else document)


@pytest.mark.parametrize("path", PATHS)
def test_documents_are_returned_by_wish(path: str, server: Server) -> None:
    for wish in (True, False):
        body = {"query": QUERY, "documents": DOCUMENTS, "return_documents": wish}
        results = ask(server, path, body).json["results"]
        assert all(("document" in result) == wish for result in results)


@pytest.mark.parametrize(("top_n", "count"), [(1, 1), (3, 3), (7, 7), (1000, 7), (0, 7), (None, 7)])
def test_the_best_few(top_n: int | None, count: int, server: Server) -> None:
    whole = ask(server, "/v1/rerank", {"query": QUERY, "documents": DOCUMENTS}).json["results"]
    body = {"query": QUERY, "documents": DOCUMENTS, "top_n": top_n}
    assert ask(server, "/v1/rerank", body).json["results"] == whole[:count]


def test_one_document_and_many(server: Server, ranker: Reranker) -> None:
    one = ask(server, "/rerank", {"query": QUERY, "documents": ["wax"]}).json["results"]
    assert [result["index"] for result in one] == [0]
    documents = [f"document {i}" for i in range(200)]
    answer = ask(server, "/rerank", {"query": QUERY, "documents": documents}).json
    assert answer["meta"]["billed_units"] == {"search_units": 2}
    expected = scores_of(ranker, [(QUERY, document) for document in documents])
    assert np.abs(by_index(answer["results"]) - expected).max() <= 1e-6


def test_logits_are_raw(server: Server, ranker: Reranker) -> None:
    scores = ask(server, "/rerank", {"query": QUERY, "documents": DOCUMENTS}).json["results"]
    for wish in ({"raw_scores": True}, {"use_activation": False}):
        logits = by_index(ask(server, "/rerank", {"query": QUERY, "documents": DOCUMENTS} | wish).json["results"])
        assert np.abs(1 / (1 + np.exp(-logits)) - by_index(scores)).max() <= 1e-6
        assert np.abs(logits - by_index(scores)).max() > 1e-3
    for wish in ({"raw_scores": False}, {"use_activation": True}):
        found = ask(server, "/rerank", {"query": QUERY, "documents": DOCUMENTS} | wish).json["results"]
        assert found == scores


def test_documents_may_have_fields(server: Server, ranker: Reranker) -> None:
    documents = [{"text": "wax", "title": "a candle", "year": 1900}, "wax", {"text": "", "title": "b"}]
    results = ask(server, "/v1/rerank", {"query": QUERY, "documents": documents}).json["results"]
    expected = scores_of(ranker, [(QUERY, "wax"), (QUERY, "wax"), (QUERY, "")])
    assert np.abs(by_index(results) - expected).max() <= 1e-6
    assert {result["index"]: result["document"] for result in results} == {
        0: documents[0],
        1: {"text": "wax"},
        2: documents[2],
    }
    body = {"query": QUERY, "documents": documents, "rank_fields": ["title", "year"]}
    results = ask(server, "/v1/rerank", body).json["results"]
    expected = scores_of(ranker, [(QUERY, "title: a candle\nyear: 1900"), (QUERY, "wax"), (QUERY, "title: b")])
    assert np.abs(by_index(results) - expected).max() <= 1e-6
    body = {"query": QUERY, "documents": documents, "rank_fields": ["title"]}
    results = ask(server, "/v1/rerank", body).json["results"]
    expected = scores_of(ranker, [(QUERY, "a candle"), (QUERY, "wax"), (QUERY, "b")])
    assert np.abs(by_index(results) - expected).max() <= 1e-6


def test_documents_may_have_contents(server: Server, ranker: Reranker) -> None:
    content = [{"type": "text", "text": "wax"}, {"type": "text", "text": "wick"}]
    body = {"query": QUERY, "documents": [{"content": content}, {"content": content[:1]}]}
    results = ask(server, "/rerank", body).json["results"]
    expected = scores_of(ranker, [(QUERY, "wax\nwick"), (QUERY, "wax")])
    assert np.abs(by_index(results) - expected).max() <= 1e-6


def test_documents_are_cut(server: Server, ranker: Reranker) -> None:
    whole = ask(server, "/v2/rerank", {"query": QUERY, "documents": [LONG, "wax"]})
    assert whole.headers["x-votive-truncated"] == "1"
    for most in (64, 4096):
        body = {"query": QUERY, "documents": [LONG, "wax"], "max_tokens_per_doc": most}
        assert ask(server, "/v2/rerank", body).json["results"] == whole.json["results"]
    words = "wax wick wax wax wick"
    body = {"query": QUERY, "documents": [words, "wax"], "max_tokens_per_doc": 2}
    found = ask(server, "/v2/rerank", body).json["results"]
    expected = {scores_of(ranker, [(QUERY, words[:end])])[0] for end in range(1, len(words))}
    first = by_index(found)[0]
    assert min(abs(first - score) for score in expected) <= 1e-6
    assert abs(first - scores_of(ranker, [(QUERY, words)])[0]) > 1e-6
    short = ask(server, "/rerank", {"query": QUERY, "documents": [LONG, "wax"], "truncate_prompt_tokens": 20})
    limited = Reranker(str(FIXTURES / "bert_rerank"), max_length=20)
    with pytest.warns(UserWarning, match="longer"):
        expected_scores = scores_of(limited, [(QUERY, LONG), (QUERY, "wax")])
    assert np.abs(by_index(short.json["results"]) - expected_scores).max() <= 1e-6
    for most in (-1, 100_000):
        body = {"query": QUERY, "documents": [LONG, "wax"], "truncate_prompt_tokens": most}
        assert np.array_equal(by_index(ask(server, "/rerank", body).json["results"]), by_index(whole.json["results"]))


def test_documents_lose_the_side_that_is_named(server: Server, ranker: Reranker) -> None:
    found = {}
    for side in ("left", "right"):
        body = {"query": QUERY, "documents": [LONG + "a candle"], "truncate_prompt_tokens": 30, "truncation_side": side}
        answer = ask(server, "/rerank", body)
        assert answer.headers["x-votive-truncated"] == "1"
        found[side] = answer.json["results"][0]["relevance_score"]
        body = {"text_1": QUERY, "text_2": LONG + "a candle", "truncate_prompt_tokens": 30, "truncation_side": side}
        assert abs(ask(server, "/score", body).json["data"][0]["score"] - found[side]) <= 1e-6
    limited = Reranker(str(FIXTURES / "bert_rerank"), max_length=30)
    with pytest.warns(UserWarning, match="longer"):
        expected = scores_of(limited, [(QUERY, LONG + "a candle")])
    assert abs(found["right"] - expected[0]) <= 1e-6
    assert abs(found["left"] - found["right"]) > 1e-6


TOLERATED = [
    {"priority": 0},
    {"priority": -5},
    {"priority": 999},
    {"max_chunks_per_doc": 10},
    {"truncation_side": "right"},
    {"return_embeddings": False},
    {"rank_fields": []},
    {"rank_fields": None, "top_n": None, "return_documents": None, "max_tokens_per_doc": None, "priority": None},
    {"user": "me", "mm_processor_kwargs": {}, "additional_data": None},
]


@pytest.mark.parametrize("more", TOLERATED, ids=str)
def test_what_changes_nothing(more: dict[str, Any], server: Server) -> None:
    plain = ask(server, "/rerank", {"query": QUERY, "documents": DOCUMENTS}).json["results"]
    answer = ask(server, "/rerank", {"query": QUERY, "documents": DOCUMENTS} | more)
    assert answer.status == 200, answer.body
    assert answer.json["results"] == plain


def rerank(**fields: Any) -> dict[str, Any]:
    """A body that is right but for some fields."""
    return {"query": QUERY, "documents": ["a"]} | fields


IMAGE = {"content": [{"type": "image_url", "image_url": {"url": "data:"}}]}
FAULTS: dict[str, tuple[Any, int, str | None, str]] = {
    "no JSON": (b"{", 400, None, "the body is no JSON"),
    "nothing": (b"  ", 400, None, "the body is empty"),
    "no query": ({"documents": ["a"]}, 400, None, "missing field `query`"),
    "no documents": ({"query": QUERY}, 400, None, "missing field `documents`"),
    "an empty query": (rerank(query=""), 400, "query", "query: expected a text"),
    "no document": (rerank(documents=[]), 400, "documents", "documents: expected one at least"),
    "one text": (rerank(documents="a"), 400, "documents", "documents: invalid type: string"),
    "a number": (
        rerank(documents=["a", 1]),
        400,
        "documents[1]",
        r"documents\[1\]: invalid type: integer .1., expected",
    ),
    "null": (
        rerank(documents=[None]),
        400,
        "documents[0]",
        r"documents\[0\]: invalid type: null, expected a string or",
    ),
    "an object": (rerank(documents=[{"title": "a"}]), 400, "documents[0]", "none of the fields that are read: text"),
    "a list": (rerank(documents=[{"text": ["a"]}]), 400, "documents[0].text", "expected a string or a number"),
    "an image": (rerank(documents=["a", IMAGE]), 400, "documents[1].content[0]", "expected a part of type text"),
    "a query of many": (rerank(query=["a"]), 400, "query", "query: invalid type: sequence, expected a string"),
    "top_n -1": (rerank(top_n=-1), 400, "top_n", "top_n: invalid value"),
    "top_n": (rerank(top_n="all"), 400, "top_n", "top_n: invalid type"),
    "rank_fields": (rerank(rank_fields="text"), 400, "rank_fields", "rank_fields: invalid type"),
    "embeddings": (rerank(return_embeddings=True), 400, "return_embeddings", "rerankers give scores alone"),
    "no tokens": (rerank(max_tokens_per_doc=0), 400, "max_tokens_per_doc", "max_tokens_per_doc: expected 1 or more"),
    "tokens 0": (rerank(truncate_prompt_tokens=0), 400, "truncate_prompt_tokens", "truncate_prompt_tokens: "),
    "tokens -2": (rerank(truncate_prompt_tokens=-2), 400, "truncate_prompt_tokens", "expected 1 or more, or -1"),
    "side": (rerank(truncation_side="middle"), 400, "truncation_side", "truncation_side: unknown variant"),
    "model": (rerank(model="other"), 404, "model", 'model "other" not found; this server has ranker, labels'),
    "vectors": (rerank(model="vectors"), 400, "model", "model: this one gives vectors"),
    "labels": (rerank(model="labels"), 400, "model", "model: gives 3 scores for a pair"),
    "too many": (rerank(documents=["a"] * 201), 413, "documents", "documents: 201 are more than the 200"),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("body", "status", "parameter", "message"), FAULTS.values(), ids=FAULTS)
def test_faults_have_the_words_of_all(
    body: Any, status: int, parameter: str | None, message: str, path: str, server: Server
) -> None:
    answer = ask(server, path, body)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["message", "detail", "error"]
    error = answer.json["error"]
    assert answer.json["message"] == answer.json["detail"] == error["message"]
    assert re.search(message, error["message"]), error
    assert (error["code"], error["param"]) == (status, parameter)
    assert error["type"]


@pytest.mark.parametrize("path", PATHS + SCORES)
def test_faults_before_the_body(path: str, server: Server, ranker: Reranker) -> None:
    for answer, status in (
        (ask(server, path, rerank(), {"Content-Type": "text/plain"}), 415),
        (ask(server, path), 405),
        (ask(server, path, rerank(), JSON | {"Host": "evil.example"}), 403),
    ):
        assert answer.status == status
        assert answer.json["error"]["code"] == status
    with serve(ranker, api_keys=["secret"]) as server:
        answer = ask(server, path, rerank())
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json["error"]["code"] == 401


# vLLM's score


@pytest.mark.parametrize("path", SCORES)
@pytest.mark.parametrize("names", [("text_1", "text_2"), ("queries", "documents"), ("data_1", "data_2")])
def test_one_text_is_scored_with_many(path: str, names: tuple[str, str], server: Server, ranker: Reranker) -> None:
    expected = scores_of(ranker, [(QUERY, document) for document in DOCUMENTS])
    for query in (QUERY, [QUERY]):
        answer = ask(server, path, {"model": "ranker", names[0]: query, names[1]: DOCUMENTS})
        assert answer.status == 200, answer.body
        body = answer.json
        assert list(body) == ["id", "object", "created", "model", "data", "usage"]
        assert (body["object"], body["model"]) == ("list", "ranker")
        assert [(item["index"], item["object"]) for item in body["data"]] == [(i, "score") for i in range(7)]
        assert np.abs(np.array([item["score"] for item in body["data"]]) - expected).max() <= 1e-6
        assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] > 0


def test_many_texts_are_scored_in_pairs(server: Server, ranker: Reranker) -> None:
    queries = [f"query {i}" for i in range(len(DOCUMENTS))]
    data = ask(server, "/score", {"queries": queries, "documents": DOCUMENTS}).json["data"]
    expected = scores_of(ranker, list(zip(queries, DOCUMENTS, strict=True)))
    assert np.abs(np.array([item["score"] for item in data]) - expected).max() <= 1e-6
    data = ask(server, "/score", {"text_1": "a", "text_2": "b"}).json["data"]
    assert np.abs(data[0]["score"] - scores_of(ranker, [("a", "b")])[0]) <= 1e-6
    raw = ask(server, "/score", {"text_1": "a", "text_2": "b", "use_activation": False}).json["data"]
    assert abs(1 / (1 + np.exp(-raw[0]["score"])) - data[0]["score"]) <= 1e-6


def score(**fields: Any) -> dict[str, Any]:
    """A body that is right but for some fields."""
    return {"text_1": "a", "text_2": ["b"]} | fields


SCORE_FAULTS: dict[str, tuple[Any, int, str | None, str]] = {
    "no JSON": (b"[", 400, None, "the body is no JSON"),
    "nothing": ({}, 400, "text_1", "text_1: is missing; give text_1 and text_2, or"),
    "no second": ({"text_1": "a"}, 400, "text_2", "text_2: is missing"),
    "no first": ({"documents": "a"}, 400, "queries", "queries: is missing"),
    "both": (score(queries="a"), 400, "queries", "give text_1 and text_2, or these"),
    "empty": (score(text_2=[]), 400, "text_2", "text_2: expected one text at least"),
    "no queries": (score(text_1=[]), 400, "text_1", "text_1: expected one text at least"),
    "2 of 3": (score(text_1=["a"] * 2, text_2=["b"] * 3), 400, "text_1", r"as many as text_2 has \(3\), found 2"),
    "ids": (score(text_2=[1, 2]), 400, "text_2", "text_2: expected texts, found token ids"),
    "an image": (score(text_2=[IMAGE]), 400, "text_2[0]", r"text_2\[0\]: invalid type: map, expected a string"),
    "tokens": (score(truncate_prompt_tokens=-3), 400, "truncate_prompt_tokens", "expected 1 or more, or -1"),
    "vectors": (score(model="vectors"), 400, "model", "model: this one gives vectors"),
    "labels": (score(model="labels"), 400, "model", "model: gives 3 scores for a pair"),
    "model": (score(model="other"), 404, "model", 'model "other" not found'),
    "too many": (score(text_2=["a"] * 201), 413, "text_2", "text_2: 201 are more than the 200"),
}


@pytest.mark.parametrize("path", SCORES)
@pytest.mark.parametrize(("body", "status", "parameter", "message"), SCORE_FAULTS.values(), ids=SCORE_FAULTS)
def test_faults_of_scores(
    body: Any, status: int, parameter: str | None, message: str, path: str, server: Server
) -> None:
    answer = ask(server, path, body)
    assert answer.status == status, answer.body
    assert list(answer.json) == ["error"]
    error = answer.json["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert re.search(message, error["message"]), error
    assert (error["code"], error["param"]) == (status, parameter)

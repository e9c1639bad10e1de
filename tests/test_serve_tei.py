"""What the server answers clients of text-embeddings-inference."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import FIXTURES
from serving import JSON, ask
from votive import Embedder, Reranker, TruncationWarning
from votive.serving import ServedModel, Server, serve

TEXTS = ["a candle", "the quick brown fox", "a"]
QUERY, DOCUMENTS = "what is a candle?", ["wax with a wick", "a list of numbers", "light"]

# What transformers' BertForSequenceClassification gives for "a" in bert_labels, and its softmax.
LOGITS_OF_A = [0.6586735844612122, 0.38646236062049866, 0.5426236391067505]
SHARES_OF_A = [0.3770562410354614, 0.2872012257575989, 0.3357424736022949]


def fixture(name: str) -> str:
    return str(FIXTURES / name)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(fixture("bert_modules"))


@pytest.fixture(scope="module")
def classifier() -> Reranker:
    return Reranker(fixture("bert_labels"))


@pytest.fixture(scope="module")
def server(embedder: Embedder, ranker: Reranker, classifier: Reranker) -> Iterator[Server]:
    models = {
        "vectors": embedder,
        "ranks": ranker,
        "labels": classifier,
        "asks": ServedModel(fixture("qwen3_rerank"), kind="reranker"),
    }
    with serve(models, max_inputs=64, max_body_mb=0.5) as server:
        yield server


def good(server: Server, path: str, body: Any) -> Any:
    answer = ask(server, path, body)
    assert answer.status == 200, answer.body
    return answer.json


def bad(server: Server, path: str, body: Any, headers: dict[str, str] = JSON) -> tuple[int, str, str]:
    """Status, type and message of an error."""
    answer = ask(server, path, body, headers)
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["error", "error_type"]
    return answer.status, answer.json["error_type"], answer.json["error"]


def test_embed(server: Server, embedder: Embedder) -> None:
    wanted = embedder.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(good(server, "/embed", {"inputs": TEXTS}), wanted, atol=1e-6)
    one = good(server, "/embed", {"inputs": TEXTS[0], "truncate": True, "truncation_direction": "Right"})
    np.testing.assert_allclose(one, wanted[:1], atol=1e-6)
    raw = good(server, "/embed", {"inputs": TEXTS, "normalize": False})
    np.testing.assert_allclose(raw, embedder.encode(TEXTS), atol=1e-6)
    short = good(server, "/embed", {"inputs": TEXTS, "dimensions": 7})
    np.testing.assert_allclose(short, embedder.encode(TEXTS, truncate_dim=7, normalize_embeddings=True), atol=1e-6)
    query = good(server, "/embed", {"inputs": TEXTS, "prompt_name": "query"})
    wanted = embedder.encode(TEXTS, prompt_name="query", normalize_embeddings=True)
    np.testing.assert_allclose(query, wanted, atol=1e-6)


def test_embed_takes_token_ids(server: Server, embedder: Embedder) -> None:
    ids = [tokens["input_ids"] for tokens in embedder.tokenize(TEXTS)]
    wanted = embedder.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(good(server, "/embed", {"inputs": ids}), wanted, atol=1e-6)
    np.testing.assert_allclose(good(server, "/embed", {"inputs": ids[1]}), wanted[1:2], atol=1e-6)
    status, kind, message = bad(server, "/embed", {"inputs": [[1, 99999]]})
    assert (status, kind) == (422, "Validation")
    assert message == "inputs: 99999 is no id of the model's tokenizer"


def test_embed_all(server: Server, embedder: Embedder) -> None:
    answer = good(server, "/embed_all", {"inputs": TEXTS})
    wanted = embedder.encode(TEXTS, output_value="token_embeddings")
    assert len(answer) == len(wanted)
    for rows, of_text in zip(answer, wanted, strict=True):
        np.testing.assert_allclose(rows, of_text, atol=1e-6)
    one = good(server, "/embed_all", {"inputs": TEXTS[1], "prompt_name": "document"})
    wanted = embedder.encode([TEXTS[1]], output_value="token_embeddings", prompt_name="document")
    np.testing.assert_allclose(one[0], wanted[0], atol=1e-6)


def test_similarity(server: Server, embedder: Embedder) -> None:
    body = {"inputs": {"source_sentence": QUERY, "sentences": DOCUMENTS}}
    wanted = embedder.similarity(embedder.encode([QUERY]), embedder.encode(DOCUMENTS))[0]
    np.testing.assert_allclose(good(server, "/similarity", body), wanted, atol=1e-6)
    vectors = embedder.encode([QUERY, *DOCUMENTS], prompt_name="query")
    wanted = embedder.similarity(vectors[:1], vectors[1:])[0]
    answer = good(server, "/similarity", {**body, "parameters": {"prompt_name": "query"}})
    np.testing.assert_allclose(answer, wanted, atol=1e-6)


def test_rerank(server: Server, ranker: Reranker) -> None:
    pairs = [(QUERY, document) for document in DOCUMENTS]
    for raw, activation in [(False, "sigmoid"), (True, "identity")]:
        wanted = ranker.predict(pairs, activation_fn=activation)
        body = {"query": QUERY, "texts": DOCUMENTS, "raw_scores": raw, "return_text": raw}
        answer = good(server, "/rerank", body)
        order = [rank["index"] for rank in answer]
        assert order == np.argsort(-wanted, kind="stable").tolist()
        np.testing.assert_allclose([rank["score"] for rank in answer], wanted[order], atol=1e-6)
        assert [rank.get("text") for rank in answer] == [DOCUMENTS[i] if raw else None for i in order]
    # Of equal ones the first is first.
    answer = good(server, "/rerank", {"query": QUERY, "texts": ["same", "same"]})
    assert [list(rank) for rank in answer] == [["index", "score"]] * 2
    assert [rank["index"] for rank in answer] == [0, 1]


def test_predict_of_pairs(server: Server, classifier: Reranker) -> None:
    pairs = [[QUERY, document] for document in DOCUMENTS]
    names = ["contradiction", "entailment", "neutral"]
    for raw in (False, True):
        wanted = classifier.predict(pairs, activation_fn="identity" if raw else "softmax")
        answer = good(server, "/predict", {"inputs": pairs, "raw_scores": raw, "model": "labels"})
        for predictions, scores in zip(answer, wanted, strict=True):
            order = np.argsort(-scores)
            assert [prediction["label"] for prediction in predictions] == [names[i] for i in order]
            np.testing.assert_allclose([prediction["score"] for prediction in predictions], scores[order], atol=1e-6)
    one = good(server, "/predict", {"inputs": pairs[0], "model": "labels"})
    assert one == good(server, "/predict", {"inputs": pairs, "model": "labels"})[0]


def test_predict_of_texts(server: Server, ranker: Reranker) -> None:
    answer = good(server, "/predict", {"inputs": "a", "model": "labels"})
    assert [prediction["label"] for prediction in answer] == ["contradiction", "neutral", "entailment"]
    np.testing.assert_allclose([prediction["score"] for prediction in answer], np.sort(SHARES_OF_A)[::-1], atol=1e-5)
    assert good(server, "/predict", {"inputs": ["a"], "model": "labels"}) == answer
    mixed = good(server, "/predict", {"inputs": [["a"], ["a", "b"]], "model": "labels", "raw_scores": True})
    np.testing.assert_allclose([p["score"] for p in mixed[0]], np.sort(LOGITS_OF_A)[::-1], atol=1e-5)
    # Without a name the first that has scores.
    answer = good(server, "/predict", {"inputs": [QUERY, DOCUMENTS[0]]})
    assert [prediction["label"] for prediction in answer] == ["LABEL_0"]
    np.testing.assert_allclose(answer[0]["score"], ranker.predict((QUERY, DOCUMENTS[0])), atol=1e-6)


def test_predict_of_a_text_where_a_question_is_about_pairs(server: Server) -> None:
    assert good(server, "/predict", {"inputs": [QUERY, DOCUMENTS[0]], "model": "asks"})[0]["label"] == "LABEL_0"
    status, kind, message = bad(server, "/predict", {"inputs": "a", "model": "asks"})
    assert (status, kind) == (422, "Validation")
    assert "send pairs [query, document]" in message


def test_tokenize_and_decode(server: Server, embedder: Embedder) -> None:
    texts = ["the quick brown fox", "unaffable ü!"]
    for text, tokens in zip(texts, good(server, "/tokenize", {"inputs": texts}), strict=True):
        wanted = embedder.tokenize(text)
        assert [token["id"] for token in tokens] == wanted["input_ids"]
        assert [token["special"] for token in tokens] == [True] + [False] * (len(tokens) - 2) + [True]
        assert tokens[0] == {
            "id": wanted["input_ids"][0],
            "text": "[CLS]",
            "special": True,
            "start": None,
            "stop": None,
        }
        for token in tokens[1:-1]:
            assert token["text"] == text.encode()[token["start"] : token["stop"]].decode()
    plain = good(server, "/tokenize", {"inputs": texts[0], "add_special_tokens": False})
    assert plain == [good(server, "/tokenize", {"inputs": texts})[0][1:-1]]
    prompted = good(server, "/tokenize", {"inputs": "a", "prompt_name": "query", "add_special_tokens": False})[0]
    assert prompted[-1]["start"] == len("query: ")
    ids = [token["id"] for token in good(server, "/tokenize", {"inputs": texts[0]})[0]]
    assert good(server, "/decode", {"ids": ids}) == [texts[0]]
    both = good(server, "/decode", {"ids": [ids, ids[1:3]], "skip_special_tokens": False})
    assert both[0] == f"[CLS] {texts[0]} [SEP]"
    assert len(both) == 2


@pytest.mark.parametrize("path", ["/", "/invocations"])
def test_the_root_goes_by_the_body_and_the_model(server: Server, path: str) -> None:
    embed = {"inputs": TEXTS}
    assert good(server, path, embed) == good(server, "/embed", embed)
    similarity = {"inputs": {"source_sentence": QUERY, "sentences": DOCUMENTS}}
    assert good(server, path, similarity) == good(server, "/similarity", similarity)
    rerank = {"query": QUERY, "texts": DOCUMENTS}
    assert good(server, path, rerank) == good(server, "/rerank", rerank)
    predict = {"inputs": "a", "model": "labels"}
    assert good(server, path, predict) == good(server, "/predict", predict)
    # As huggingface_hub asks, and what it expects.
    assert good(server, path, predict | {"parameters": {}}) == [good(server, "/predict", predict)]
    best = good(server, path, predict | {"parameters": {"top_k": 1, "function_to_apply": "none"}})
    np.testing.assert_allclose(best[0][0]["score"], max(LOGITS_OF_A), atol=1e-5)
    assert len(best[0]) == 1


def test_vertex(server: Server) -> None:
    bodies = [{"inputs": TEXTS}, {"query": QUERY, "texts": DOCUMENTS}, {"inputs": "a", "model": "labels"}]
    wanted = [good(server, path, body) for path, body in zip(("/embed", "/rerank", "/predict"), bodies, strict=True)]
    assert good(server, "/vertex", {"instances": bodies}) == {"predictions": wanted}
    assert good(server, "/vertex", {"instances": []}) == {"predictions": []}
    status, kind, message = bad(server, "/vertex", {"instances": [bodies[0], {"inputs": 3}]})
    assert (status, kind) == (422, "Validation")
    assert message.startswith("instances[1]: inputs")


def test_info(server: Server, embedder: Embedder, classifier: Reranker, ranker: Reranker) -> None:
    info = good(server, "/info", None)
    assert info["model_id"] == info["served_model_name"] == "vectors"
    assert info["model_type"] == {"embedding": {"pooling": embedder.info.pooling}}
    assert info["model_dtype"] == embedder.dtype
    assert info["max_input_length"] == embedder.max_seq_length
    assert info["max_client_batch_size"] == 64
    assert info["auto_truncate"] is True
    names = {"0": "contradiction", "1": "entailment", "2": "neutral"}
    with serve({"labels": classifier}) as other:
        kind = good(other, "/info", None)["model_type"]
        assert kind == {"classifier": {"id2label": names, "label2id": {name: int(i) for i, name in names.items()}}}
    with serve({"ranks": ranker}) as other:
        assert list(good(other, "/info", None)["model_type"]) == ["reranker"]


def test_headers(server: Server) -> None:
    for path, body, characters in [
        ("/embed", {"inputs": ["ab", "ü"]}, 3),
        ("/embed_all", {"inputs": "abc"}, 3),
        ("/similarity", {"inputs": {"source_sentence": "ab", "sentences": ["c", "d"]}}, 4),
        ("/rerank", {"query": "ab", "texts": ["c", "d"]}, 6),
        ("/predict", {"inputs": ["ab", "c"]}, 3),
    ]:
        answer = ask(server, path, body)
        assert answer.status == 200
        assert answer.headers["x-compute-type"] == "cpu+optimized"
        assert answer.headers["x-compute-characters"] == str(characters)
        assert int(answer.headers["x-compute-tokens"]) > 0
        for name in ("compute", "total", "tokenization", "queue", "inference"):
            assert answer.headers[f"x-{name}-time"].isdigit()


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/embed", {"inputs": []}, "`inputs` cannot be empty"),
        ("/embed", {"inputs": ""}, "`inputs` cannot be empty"),
        ("/embed", {"inputs": ["a", ""]}, "`inputs[1]` cannot be empty"),
        ("/embed_all", {"inputs": [""]}, "`inputs` cannot be empty"),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": []}}, "`inputs.sentences` cannot be empty"),
        ("/similarity", {"inputs": {"source_sentence": "", "sentences": ["a"]}}, "`inputs.source_sentence` cannot"),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": [""]}}, "`inputs.sentences[0]` cannot"),
        ("/rerank", {"query": "a", "texts": []}, "`texts` cannot be empty"),
        ("/rerank", {"query": "", "texts": ["a", ""]}, "`texts[1]` cannot be empty"),
        ("/predict", {"inputs": []}, "`inputs` cannot be empty"),
        ("/predict", {"inputs": [["a"], [""]]}, "`inputs[1]` cannot be empty"),
        ("/tokenize", {"inputs": []}, "`inputs` cannot be empty"),
        ("/decode", {"ids": []}, "`ids` cannot be empty"),
        ("/decode", {"ids": [[1], []]}, "`ids` cannot be empty"),
    ],
)
def test_empty_inputs(server: Server, path: str, body: Any, message: str) -> None:
    status, kind, error = bad(server, path, body)
    assert (status, kind) == (400, "Empty")
    assert error.startswith(message)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/embed", {}, "missing field `inputs`"),
        ("/embed", {"inputs": 3}, "inputs: invalid type: integer `3`"),
        ("/embed", {"inputs": ["a", None]}, "inputs[1]: "),
        ("/embed", {"inputs": "a", "truncate": "yes"}, "truncate: "),
        ("/embed", {"inputs": "a", "truncation_direction": "up"}, "truncation_direction: unknown variant `up`"),
        ("/embed", {"inputs": "a", "dimensions": 0}, "dimensions: 0 is not from 1 to 48"),
        ("/embed", {"inputs": "a", "dimensions": 49}, "dimensions: 49 is not from 1 to 48"),
        ("/embed", {"inputs": "a", "prompt_name": "other"}, "prompt_name: the model has no prompt"),
        ("/embed", {"inputs": "a", "model": {}}, "model: invalid type"),
        ("/similarity", {"inputs": "a"}, "inputs: invalid type"),
        ("/rerank", {"query": 1, "texts": ["a"]}, "query: invalid type"),
        ("/predict", {"inputs": ["a", "b", "c"]}, "inputs: 3 strings are neither a text nor a pair"),
        ("/predict", {"inputs": {"a": 1}}, "inputs: expected a string, a pair of strings"),
        ("/tokenize", {"inputs": [1]}, "inputs: expected a string or a list of strings"),
        ("/decode", {"ids": [99999]}, "ids: 99999 is no id"),
        ("/decode", {"ids": "a"}, "ids: expected a list of token ids"),
        ("/vertex", {"instances": 1}, "instances: invalid type"),
        ("/", {"texts": ["a"]}, "missing field `query`"),
    ],
)
def test_wrong_fields(server: Server, path: str, body: Any, message: str) -> None:
    status, kind, error = bad(server, path, body)
    assert (status, kind) == (422, "Validation"), error
    assert error.startswith(message)


def test_texts_that_are_too_long(server: Server, embedder: Embedder) -> None:
    long = " ".join(["wax"] * 100)
    cut = ask(server, "/embed", {"inputs": ["a", long]})
    assert cut.status == 200
    assert cut.headers["x-votive-truncated"] == "1"
    with pytest.warns(TruncationWarning):
        wanted = embedder.encode(["a", long], normalize_embeddings=True)
    np.testing.assert_allclose(cut.json, wanted, atol=1e-6)
    for path, body in [
        ("/embed", {"inputs": ["a", long]}),
        ("/embed_all", {"inputs": [long]}),
        ("/rerank", {"query": "a", "texts": ["a", long]}),
        ("/predict", {"inputs": long, "model": "labels"}),
        ("/", {"inputs": [long]}),
    ]:
        status, kind, message = bad(server, path, body | {"truncate": False})
        assert (status, kind) == (422, "Validation")
        assert re.fullmatch(r"(inputs|texts)\[[01]\]: has \d+ tokens, the model takes \d+", message)
    body = {"inputs": {"source_sentence": "a", "sentences": [long]}, "parameters": {"truncate": False}}
    assert bad(server, "/similarity", body)[:2] == (422, "Validation")


def test_the_end_that_is_cut(server: Server, embedder: Embedder) -> None:
    letters = "abcdefghij" * 10
    text = " ".join(letters)
    room = (embedder.max_seq_length or 0) - 2
    assert len(embedder.tokenize(" ".join(letters[:room]))["input_ids"]) == room + 2
    for direction, kept in [("left", letters[-room:]), ("Left", letters[-room:]), ("right", letters[:room])]:
        wanted = embedder.encode(" ".join(kept), normalize_embeddings=True)
        answer = good(server, "/embed", {"inputs": text, "truncation_direction": direction})
        np.testing.assert_allclose(answer[0], wanted, atol=1e-6)


def test_rerank_answers_by_the_fields(server: Server) -> None:
    answer = good(server, "/rerank", {"query": QUERY, "documents": DOCUMENTS, "model": "ranks"})
    ranks = good(server, "/rerank", {"query": QUERY, "texts": DOCUMENTS})
    assert [result["index"] for result in answer["results"]] == [rank["index"] for rank in ranks]
    assert list(ask(server, "/rerank", {"query": QUERY}).json) == ["message", "detail", "error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/embed", {"inputs": "a", "model": "ranks"}),
        ("/embed_all", {"inputs": "a", "model": "ranks"}),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": ["b"]}, "model": "ranks"}),
        ("/rerank", {"query": "a", "texts": ["b"], "model": "vectors"}),
        ("/rerank", {"query": "a", "texts": ["b"], "model": "labels"}),
        ("/predict", {"inputs": "a", "model": "vectors"}),
        ("/embed_sparse", {"inputs": "a"}),
    ],
)
def test_models_that_cannot_do_it(server: Server, path: str, body: Any) -> None:
    status, kind, message = bad(server, path, body)
    assert (status, kind) == (424, "Backend")
    assert message.startswith("model: ")


def test_bodies_that_cannot_be_read(server: Server) -> None:
    for path in ("/embed", "/predict", "/"):
        status, kind, message = bad(server, path, b"{")
        assert (status, kind) == (400, "Validation")
        assert message.startswith("the body is no JSON: ")
    assert bad(server, "/embed", ["a"]) == (400, "Validation", "the body is no JSON object")
    assert bad(server, "/embed", b"{}", {"Content-Type": "text/plain"})[0] == 415
    assert bad(server, "/embed", {"inputs": "a" * 600_000})[:2] == (413, "Validation")
    status, kind, message = bad(server, "/embed", {"inputs": ["a"] * 65})
    assert (status, kind) == (413, "Validation")
    assert message.startswith("inputs: 65 are more than the 64")
    for path, body in [
        ("/tokenize", {"inputs": ["a"] * 65}),
        ("/decode", {"ids": [[1]] * 65}),
        ("/rerank", {"query": "a", "texts": ["a"] * 65}),
        ("/predict", {"inputs": [["a"]] * 65}),
        ("/vertex", {"instances": [{}] * 65}),
    ]:
        assert bad(server, path, body)[0] == 413
    assert bad(server, "/embed", {"inputs": "a", "model": "other"})[0] == 404
    assert bad(server, "/embed", None)[0] == 405
    assert bad(server, "/info", {})[0] == 405


def test_keys(embedder: Embedder) -> None:
    with serve({"vectors": embedder}, api_keys=["secret"]) as server:
        status, kind, _ = bad(server, "/embed", {"inputs": "a"})
        assert (status, kind) == (401, "Validation")
        assert bad(server, "/", {"inputs": "a"})[0] == 401
        assert ask(server, "/").status == 200
        assert ask(server, "/embed", {"inputs": "a"}, JSON | {"Authorization": "Bearer secret"}).status == 200


def test_the_first_model_that_can_do_it_does_it(embedder: Embedder, ranker: Reranker) -> None:
    with serve({"ranks": ranker, "vectors": embedder}) as server:
        np.testing.assert_allclose(
            good(server, "/embed", {"inputs": TEXTS}), embedder.encode(TEXTS, normalize_embeddings=True), atol=1e-6
        )
        assert good(server, "/rerank", {"query": QUERY, "texts": DOCUMENTS})
        assert good(server, "/info", None)["model_id"] == "ranks"
    with serve({"ranks": ranker}) as server:
        assert bad(server, "/embed", {"inputs": "a"})[:2] == (424, "Backend")

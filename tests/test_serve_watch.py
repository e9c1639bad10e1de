"""Whether a server says that its models compute, and compute what the CPU does."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensor_files
from conftest import FIXTURES
from served import metrics, value
from serving import Answer, ask, until
from votive import Embedder, Reranker, serving

SMALL = FIXTURES / "bert_40"


def agreement(server: serving.Server) -> dict[str, float]:
    """What `/stats` says of the first model."""
    return ask(server, "/stats").json["models"][0]["consistency"]


@pytest.mark.parametrize(("dtype", "least"), [("float32", 1 - 1e-6), ("int8", 0.97)])
def test_vectors_are_compared_with_the_cpu(dtype: str, least: float) -> None:
    model = serving.ServedModel(str(SMALL), name="small", options={"dtype": dtype})
    with serving.serve(model, consistency_seconds=0.05) as server:
        until(lambda: agreement(server) is not None)
        found = agreement(server)
        told = value(metrics(server), "votive_consistency_cosine_min", model="small", against="cpu-float32")
        assert least <= found["cosine_min"] <= found["cosine_mean"] <= 1 + 1e-9
        assert told == pytest.approx(found["cosine_min"], abs=1e-9)
        assert (found["max_difference"] == 0) == (dtype == "float32")


def changed(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """The small model with other numbers."""
    shutil.copytree(SMALL, folder)
    file = folder / "model.safetensors"
    tensor_files.write(file, {name: change(tensor) for name, tensor in tensor_files.read(file).items()}, "F32")
    return folder


def test_a_device_that_computes_something_else_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = changed(tmp_path / "other", lambda tensor: tensor[::-1].copy())
    monkeypatch.setattr(serving, "_reference", lambda served: serving._loaded(Embedder(folder), True))

    def is_told(server: serving.Server) -> bool:
        alerts = ask(server, "/alerts").json["alerts"]
        return any(alert["rule"] == "cosine_distance" and alert["raised"] for alert in alerts)

    with serving.serve({"small": str(SMALL)}, consistency_seconds=0.05) as server:
        until(lambda: agreement(server) is not None)
        assert agreement(server)["cosine_min"] < 0.9
        until(lambda: is_told(server))


def test_a_reference_that_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(served: serving.ServedModel) -> dict[str, object]:
        raise OSError("the disk is gone")

    monkeypatch.setattr(serving, "_reference", broken)
    with serving.serve({"small": str(SMALL)}, consistency_seconds=0.05) as server:
        until(lambda: agreement(server) is not None)
        assert "the disk is gone" in json.dumps(agreement(server))
        assert ask(server, "/ready").status == 200


def test_nothing_is_compared_unasked() -> None:
    with serving.serve({"small": str(SMALL)}) as server:
        assert agreement(server) is None
        told = value(metrics(server), "votive_consistency_cosine_min", model="small", against="cpu-float32")
        assert told != told


def test_a_model_that_does_not_compute_is_not_ready(tmp_path: Path) -> None:
    bad = changed(tmp_path / "bad", lambda tensor: np.full_like(tensor, 3e38))
    with serving.serve({"good": str(SMALL), "bad": str(bad)}) as server:
        assert ask(server, "/ready").status == 200

        def embed(model: str) -> Answer:
            return ask(server, "/v1/embeddings", {"input": "hello", "model": model})

        assert embed("bad").status == 500
        # Others go on.
        assert embed("good").status == 200
        ready = ask(server, "/ready")
        assert ready.status == 503
        assert ready.json["error"].startswith("bad does not compute: ")
        assert ask(server, "/live").status == 200


def test_readiness_asks_a_reranker_for_a_pair() -> None:
    with serving.serve({"ranks": Reranker(FIXTURES / "bert_rerank")}) as server:
        assert ask(server, "/ready").status == 200


def test_metrics_are_open_where_that_is_said() -> None:
    with serving.serve({"small": str(SMALL)}, api_keys=["secret"], open_metrics=True) as server:
        assert [ask(server, path).status for path in ("/metrics", "/stats", "/alerts")] == [200, 401, 401]
        assert ask(server, "/metrics", {}).status in (401, 405)


def test_token_ids_of_the_model_are_accepted_where_that_is_said() -> None:
    model = Embedder(SMALL)
    with serving.serve({"small": model}, token_ids="accept") as server:
        tokens = ask(server, "/tokenize", {"inputs": "hello world", "add_special_tokens": False}).json[0]
        ids = [token["id"] for token in tokens]
        # Not all of its letters are in the small vocabulary.
        text = ask(server, "/decode", {"ids": ids}).json
        texts = ask(server, "/v1/embeddings", {"input": text}).json["data"]
        assert ask(server, "/v1/embeddings", {"input": [ids]}).json["data"] == texts
        assert ask(server, "/v1/embeddings", {"input": ids}).json["data"] == texts
        refused = ask(server, "/v1/embeddings", {"input": [[10**9]]})
        assert (refused.status, refused.json["error"]["param"]) == (400, "input")
    with pytest.raises(ValueError, match="token_ids: expected 'refuse' or 'accept', found 'maybe'"):
        serving.serve({"small": model}, token_ids="maybe")

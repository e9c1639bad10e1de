"""BERTopic's topics are made of votive's vectors, and of no other model's."""

import json
import sys
from types import ModuleType

import numpy as np
import pytest
from votive import Embedder, Reranker

bertopic = pytest.importorskip("bertopic")

from bertopic import BERTopic  # noqa: E402
from bertopic.representation import KeyBERTInspired, MaximalMarginalRelevance  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from votive.integrations.bertopic import VotiveBackend  # noqa: E402

# Warnings of other people's packages are theirs.
pytestmark = pytest.mark.filterwarnings("default", "ignore::votive.TruncationWarning")

PARTS = {
    "ship": ["the old ship", "a white ship", "her small ship", "the ship's crew"],
    "bread": ["fresh bread", "rye bread", "a loaf of bread", "warm bread"],
    "rain": ["heavy rain", "summer rain", "the rain stops", "rain at night"],
}
DOCUMENTS = [f"{text} {ending}" for texts in PARTS.values() for text in texts for ending in ("now", "again", "today")]


def topics(embedding_model, **options):
    """A model of topics without chance in it."""
    return BERTopic(
        embedding_model=embedding_model,
        umap_model=PCA(n_components=4, svd_solver="full"),
        hdbscan_model=KMeans(n_clusters=3, n_init=4, random_state=0),
        **options,
    )


@pytest.fixture
def no_sentence_transformers(monkeypatch):
    """As if sentence-transformers were not installed: `import sentence_transformers` fails."""
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    monkeypatch.delitem(sys.modules, "bertopic.backend._sentencetransformers", raising=False)


def test_topics_are_those_of_the_embedder(model, no_sentence_transformers):
    backend = VotiveBackend(model)
    topic_model = topics(backend)
    found, _ = topic_model.fit_transform(DOCUMENTS)
    assert topic_model.embedding_model is backend
    assert backend.embedding_model is model
    # The same as from vectors that are computed beforehand.
    expected, _ = topics(backend).fit_transform(DOCUMENTS, embeddings=model.encode(DOCUMENTS))
    assert found == expected
    assert topic_model.transform(DOCUMENTS[:5])[0] == found[:5]
    assert topic_model.find_topics("ship", top_n=3)[0]


def test_representations_use_the_embedder(model, no_sentence_transformers):
    representation = {"Main": KeyBERTInspired(top_n_words=4), "Diverse": MaximalMarginalRelevance(diversity=0.5)}
    topic_model = topics(VotiveBackend(model), representation_model=representation)
    before = model.stats().texts
    topic_model.fit(DOCUMENTS)
    assert model.stats().texts > before + len(DOCUMENTS)
    assert len(topic_model.get_topic_info()) == 3


def test_vectors_are_those_of_the_embedder(model):
    backend = VotiveBackend(model)
    for embed in (backend.embed, backend.embed_documents, backend.embed_words):
        np.testing.assert_array_equal(embed(DOCUMENTS), model.encode(DOCUMENTS))
    np.testing.assert_array_equal(backend.embed_words(np.array(DOCUMENTS, dtype=object)), model.encode(DOCUMENTS))


def test_pickled_topics_keep_the_model(model, folder, tmp_path, no_sentence_transformers):
    topic_model = topics(VotiveBackend(Embedder(folder, truncate_dim=16)))
    found, _ = topic_model.fit_transform(DOCUMENTS)
    topic_model.save(str(tmp_path / "topics"), serialization="pickle")
    loaded = BERTopic.load(str(tmp_path / "topics"))
    assert type(loaded.embedding_model) is VotiveBackend
    assert loaded.embedding_model.embedding_model.truncate_dim == 16
    assert loaded.transform(DOCUMENTS)[0] == found


@pytest.mark.parametrize("given", ["name", "object"])
def test_saved_topics_say_the_models_name(given, model, folder, tmp_path, no_sentence_transformers):
    pytest.importorskip("safetensors")
    topic_model = topics(VotiveBackend(folder if given == "name" else model)).fit(DOCUMENTS)
    topic_model.save(str(tmp_path), serialization="safetensors")
    said = json.loads((tmp_path / "config.json").read_text())
    assert said.get("embedding_model") == (folder if given == "name" else None)
    backend = VotiveBackend(model)
    loaded = BERTopic.load(str(tmp_path), embedding_model=backend)
    assert loaded.embedding_model is backend
    found, _ = loaded.transform(DOCUMENTS)
    assert len(found) == len(DOCUMENTS)


def test_name_is_loaded(folder):
    backend = VotiveBackend(folder)
    assert type(backend.embedding_model) is Embedder
    assert backend.embedding_model.info.name == folder


def test_other_objects_are_refused():
    with pytest.raises(TypeError, match="embedding_model: expected a model's name, a folder or Embedder, found type"):
        VotiveBackend(Reranker)


def test_bare_embedder_fails_without_sentence_transformers(model, no_sentence_transformers):
    with pytest.raises(ModuleNotFoundError, match="sentence_transformers"):
        topics(model).fit(DOCUMENTS)


def test_bare_embedder_is_replaced_where_sentence_transformers_is(model, no_sentence_transformers, monkeypatch):
    class Other:
        def __init__(self, name):
            self.name = name

        def encode(self, documents, show_progress_bar):
            return np.eye(len(documents))

    package, models = ModuleType("sentence_transformers"), ModuleType("sentence_transformers.models")
    package.SentenceTransformer, models.StaticEmbedding = Other, Other
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    monkeypatch.setitem(sys.modules, "sentence_transformers.models", models)
    replaced = topics(model).fit(DOCUMENTS).embedding_model
    assert replaced.embedding_model.name == "sentence-transformers/all-MiniLM-L6-v2"
    backend = VotiveBackend(model)
    assert topics(backend).fit(DOCUMENTS).embedding_model is backend

"""Texts that are added and searched for through an embedder."""

import numpy as np
import pytest
from stores import snapshot
from votive import Embedder, EmbeddingStore


def test_texts_through_an_embedder(model: Embedder) -> None:
    texts = [f"a text about {word}" for word in ("ice", "fire", "sand", "rain", "ash")]
    store = EmbeddingStore()
    ids = store.add_texts(iter(texts), model, metadata={"length": [len(text) for text in texts]})
    assert ids.tolist() == [0, 1, 2, 3, 4]
    assert store.texts == texts
    np.testing.assert_allclose(store.get(ids), model.encode_document(texts), atol=1e-6)
    store.add_texts("one more", model, ids=[77], metadata={"length": [8]})
    assert store.get_texts(77) == "one more"
    scores, found = store.search_text(texts[2], model, 3)
    assert found.shape == (3,)
    expected, _ = store.search(model.encode_query(texts[2]), 3)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert store.search_text(texts[:2], model, 2, filter=lambda row: row["length"] == 8)[1].tolist() == [[77], [77]]


def test_texts_are_added_all_or_none(model: Embedder) -> None:
    store = EmbeddingStore()
    store.add_texts(["a", "b"], model)
    before = snapshot(store)

    def failing():
        yield from ["word"] * 5000
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        store.add_texts(failing(), model)
    with pytest.raises(TypeError, match="str"):
        store.add_texts(["a", 5], model)
    with pytest.raises(ValueError, match="ids: expected 2, as many as texts, found 3"):
        store.add_texts(["a", "b"], model, ids=[1, 2, 3])
    with pytest.raises(ValueError, match="ids: expected 2, as many as texts, found 1"):
        store.add_texts(["a", "b"], model, ids=[1])
    assert snapshot(store) == before


def test_any_encoder_will_do() -> None:
    class Encoder:
        def encode(self, sentences, batch_size=32, show_progress_bar=None):
            return np.array([[len(text), batch_size] for text in sentences], np.float64)

    store = EmbeddingStore()
    store.add_texts(["a", "bc"], Encoder(), batch_size=5)
    assert store.get([0, 1]).tolist() == [[1, 5], [2, 5]]

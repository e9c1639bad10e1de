"""Mistakes in calls of a store, one a line, each of which type checkers find."""

import numpy as np
from votive import Embedder, EmbeddingStore


def mistakes(store: EmbeddingStore, model: Embedder) -> None:
    """Never called."""
    vectors = np.ones((2, 3), np.float32)
    EmbeddingStore(metric="euclid")  # error
    EmbeddingStore(dtype="fp16")  # error
    EmbeddingStore(dimension="3")  # error
    EmbeddingStore(max_memory="1 GB")  # error
    EmbeddingStore.open("folder", mode="q")  # error
    EmbeddingStore.open("folder", "w")  # error
    EmbeddingStore.open("folder", metric="dot")  # error
    EmbeddingStore.open("folder", mmap=None)  # error
    EmbeddingStore.load_from_disk("folder", mode="a")  # error
    EmbeddingStore.load_from_disk()  # error
    EmbeddingStore.from_numpy(vectors, metric="manhattan")  # error
    EmbeddingStore.from_numpy(vectors, nonsense=1)  # error
    EmbeddingStore.from_arrow(vectors, dtype="float64")  # error
    EmbeddingStore.from_arrow({"vector": [[1.0]]})  # error
    store.add_embeddings(vectors, metadata=[1, 2])  # error
    store.add_embeddings(vectors, id=[1, 2])  # error
    store.add_embeddings(None)  # error
    store.add_embeddings(vectors, ids=[1.5, 2.5])  # error
    store.add_texts(["a", "b"])  # error
    store.add_texts(["a", "b"], "model")  # error
    store.add_texts([1, 2], model)  # error
    store.delete(None)  # error
    store.delete(1.5)  # error
    store.search(vectors, top_k="3")  # error
    store.search(vectors, top_k=None, k=None)  # error
    store.search(vectors, k="3")  # error
    store.search(vectors, k=None)  # error
    store.search(vectors, min_score="0.5")  # error
    store.search_text("a question", model, None)  # error
    store.search(vectors, filter=3.5)  # error
    store.search(vectors, exact="no")  # error
    store.search("a question")  # error
    store.search_text("a question")  # error
    store.search_text("a question", model, allow_other_model="yes")  # error
    store.query("a question")  # error
    store.query("a question", "model")  # error
    store.query("a question", model, 3, 0.5)  # error
    store.query("a question", model, min_score="0.5")  # error
    store.query("a question", model).id  # error
    store.query(["a question"], model).ids  # error
    store.query("a question", model)[0].vector  # error
    store.query([0.5, 0.5], model)  # error
    store.embedder_info.name  # error
    store.embedder_info = model.info  # error
    model.info.name = "another"  # error
    store.get_texts(1).append("b")  # error
    store.get_texts([1, 2]).upper()  # error
    store.get_texts([[1, 2]])[0].upper()  # error
    store.contains(3).all()  # error
    store.metric = "dot"  # error
    store.texts.append("c")  # error
    store.save_to_disk(3)  # error
    store.commit("folder")  # error
    store.load_from_disk("folder").search(vectors)  # error

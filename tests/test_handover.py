"""Recipes of docs/ hand a store over and take it back: each runs where its package is installed."""

import numpy as np
import pytest
from pages import DOCS, blocks, run

SETUP, NUMPY, *RECIPES = blocks(DOCS / "reference" / "handover.md", "python")


@pytest.fixture(autouse=True)
def offline(here, monkeypatch):
    """In an empty folder, with no hub: the model comes from an installed package."""
    monkeypatch.setenv("HF_HOME", str(here / "huggingface"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_every_target_has_its_recipe():
    needed = [recipe.needs for recipe in RECIPES]
    assert needed == [
        ("pyarrow",),
        ("faiss",),
        ("lancedb", "pyarrow"),
        ("qdrant_client",),
        ("psycopg", "pgvector", "pgserver"),
        ("duckdb", "pyarrow"),
        ("pymilvus", "milvus_lite"),
        (),
    ]
    assert SETUP.needs == NUMPY.needs == ()


def check(block):
    """That the other side finds the same, and that what comes back is the same."""
    names = run([SETUP, block])
    store, again = names["store"], names["again"]
    assert list(names["found"]) == names["ids"].tolist()
    order = np.argsort(again.ids)[np.argsort(np.argsort(store.ids))]  # a target may have an order of its own
    assert (again.ids[order] == store.ids).all()
    np.testing.assert_allclose(again.vectors[order], store.vectors, atol=1e-6)
    np.testing.assert_allclose(again.search(names["query"], k=5)[0], names["scores"], atol=1e-6)
    assert again.search(names["query"], k=5)[1].tolist() == names["ids"].tolist()
    return names, order


def test_numpy():
    check(NUMPY)


@pytest.mark.filterwarnings("default")  # warnings of other people's packages are theirs
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.needs[0] if recipe.needs else "bulk")
def test_recipe(recipe):
    for package in recipe.needs:
        pytest.importorskip(package)
    names, order = check(recipe)
    store, again = names["store"], names["again"]
    assert [again.texts[row] for row in order] == store.texts
    assert list(again.metadata) == list(store.metadata)
    assert (again.metadata["is_class"][order] == store.metadata["is_class"]).all()
    if "classes" in names:
        expected = store.search(names["query"], k=5, filter=lambda rows: rows["is_class"])[1]
        assert names["classes"] == expected.tolist()


@pytest.mark.filterwarnings("default")
def test_ids_that_are_integers_go_to_faiss_and_to_qdrant():
    faiss = pytest.importorskip("faiss")
    qdrant = pytest.importorskip("qdrant_client")
    names = run([SETUP])
    numbers = np.arange(len(names["store"]), dtype=np.int64) * 7 + 2**40
    store = type(names["store"])()
    store.add_embeddings(names["store"].vectors, ids=numbers)
    expected = store.search(names["query"], k=5)[1].tolist()

    index = faiss.IndexIDMap2(faiss.IndexFlatIP(store.dimension))
    index.add_with_ids(store.vectors, store.ids)
    assert index.search(names["query"][None], 5)[1][0].tolist() == expected

    client = qdrant.QdrantClient(":memory:")
    parameters = qdrant.models.VectorParams(size=store.dimension, distance=qdrant.models.Distance.COSINE)
    client.create_collection("numbers", vectors_config=parameters)
    client.upload_collection("numbers", vectors=store.vectors, ids=store.ids.tolist())
    assert [point.id for point in client.query_points("numbers", names["query"], limit=5).points] == expected
    client.close()

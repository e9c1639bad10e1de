"""The recipes of docs/guide/scale-out.md, on this machine: each runs where its engine is installed."""

import shutil
import sys

import numpy as np
import pytest
from pages import DOCS, blocks, run
from votive import sharing

SETUP, *RECIPES = blocks(DOCS / "guide" / "scale-out.md", "python")
RAY_DATA, RAY_SERVE, SPARK, DASK = RECIPES

# Warnings of other people's packages are theirs.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    """In an empty folder, with no hub: the model comes from an installed package, also in the engines' workers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setattr(sharing, "_shared", {})


def names_of(recipe):
    for package in recipe.needs:
        pytest.importorskip(package)
    return run([SETUP, recipe])


def assert_rows(names, texts, vectors):
    """As `encode` has them, to the bit."""
    model = names["votive"].Embedder(names["name"])
    assert np.array_equal(np.array([*vectors], np.float32), model.encode(texts))


def test_every_engine_has_its_recipe():
    needed = [recipe.needs for recipe in RECIPES]
    assert needed == [("ray", "pyarrow"), ("ray", "starlette"), ("pyspark", "pyarrow"), ("distributed",)]


def test_ray_data():
    names = names_of(RAY_DATA)
    rows = names["encoded"]
    assert sorted(row["text"] for row in rows) == sorted(f"text {i}" for i in range(100))
    assert_rows(names, [row["text"] for row in rows], [row["vector"] for row in rows])


def test_ray_serve():
    names = names_of(RAY_SERVE)
    assert_rows(names, ["one text"], [names["served"]])


@pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")
def test_spark():
    names = names_of(SPARK)
    rows = names["encoded"]
    assert sorted(rows["id"]) == list(range(100))
    assert_rows(names, [f"text {i}" for i in rows["id"]], rows["vector"])


def test_dask():
    names = names_of(DASK)
    for part, vectors in zip(names["parts"], names["vectors"], strict=True):
        assert_rows(names, part, vectors)

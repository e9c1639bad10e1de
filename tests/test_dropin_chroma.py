"""Chroma's own function for sentence-transformers, with votive in its place: which object it ends up with."""

import pytest
from conftest import FIXTURES

pytest.importorskip("chromadb")

MODEL = str(FIXTURES / "bert_modules")

START = """
import os
import sys
import warnings
os.environ["ANONYMIZED_TELEMETRY"] = "False"
warnings.simplefilter("ignore")
import chromadb
import numpy as np
import votive
import votive.sentence_transformers as ours
ours.install()
from chromadb.utils import embedding_functions as theirs
model, folder = sys.argv[1:]
texts = ["rye bread", "a large port", "knead the dough"]
client = chromadb.PersistentClient(folder)
"""

MADE = f"""{START}
function = theirs.SentenceTransformerEmbeddingFunction(model_name=model, normalize_embeddings=True, truncate_dim=8)
assert type(function._model) is ours.SentenceTransformer
expected = votive.Embedder(model).encode(texts, normalize_embeddings=True, truncate_dim=8)
np.testing.assert_allclose(function(texts), expected, atol=1e-6)
client.create_collection("places", embedding_function=function).add(ids=["0", "1", "2"], documents=texts)
assert "torch" not in sys.modules
"""

OPENED = f"""{START}
collection = client.get_collection("places")
assert type(collection.configuration["embedding_function"]._model) is ours.SentenceTransformer
assert collection.query(query_texts=[texts[1]], n_results=1)["ids"] == [["1"]]
assert "torch" not in sys.modules

try:
    theirs.HuggingFaceSparseEmbeddingFunction(model_name=model, device="cpu")
except ours.Unsupported as error:
    print(error)
"""


def test_a_collection_is_made_and_opened_again(run_python, tmp_path):
    run_python(MADE, MODEL, str(tmp_path))
    refused = run_python(OPENED, MODEL, str(tmp_path)).strip()
    assert refused == "SparseEncoder: votive has no sparse encoders; use sentence-transformers for them"

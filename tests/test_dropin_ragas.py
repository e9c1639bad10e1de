"""Ragas' own class for sentence-transformers, with votive in its place: which object it ends up with."""

from importlib.util import find_spec

import pytest
from conftest import FIXTURES

if find_spec("ragas") is None:
    pytest.skip("ragas is not installed", allow_module_level=True)

MODEL = str(FIXTURES / "bert_modules")

CODE = """
import os
import sys
import warnings
os.environ["RAGAS_DO_NOT_TRACK"] = "true"
warnings.simplefilter("ignore")
import asyncio
import numpy as np
import votive
import votive.sentence_transformers as ours
ours.install()
from ragas.embeddings import HuggingFaceEmbeddings, embedding_factory
from ragas.metrics.collections import SemanticSimilarity
model = sys.argv[1]
texts = ["rye bread", "a large port", "knead the dough"]
expected = votive.Embedder(model).encode(texts, normalize_embeddings=True)

for embeddings in (HuggingFaceEmbeddings(model), embedding_factory("huggingface", model=model)):
    assert type(embeddings.model_instance) is ours.SentenceTransformer
    np.testing.assert_allclose(embeddings.embed_text(texts[0]), expected[0], atol=1e-6)
    np.testing.assert_allclose(embeddings.embed_texts(texts), expected, atol=1e-6)
    np.testing.assert_allclose(asyncio.run(embeddings.aembed_texts(texts)), expected, atol=1e-6)

metric = SemanticSimilarity(embeddings=embeddings)
found = asyncio.run(metric.ascore(reference=texts[0], response=texts[1])).value
np.testing.assert_allclose(found, expected[0] @ expected[1], atol=1e-6)
assert "torch" not in sys.modules
"""


def test_the_embeddings_and_a_metric(run_python):
    run_python(CODE, MODEL)

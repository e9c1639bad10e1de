"""Haystack's own classes for sentence-transformers, with votive in its place: which object each ends up with."""

from importlib.util import find_spec

import pytest
from conftest import FIXTURES

pytest.importorskip("haystack")
if find_spec("haystack_integrations.components.embedders.sentence_transformers") is None:
    pytest.skip("sentence-transformers-haystack is not installed", allow_module_level=True)

# Haystack's rankers import it.
NEEDS_TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="needs torch")

MODEL = str(FIXTURES / "bert_modules")
RERANKER = str(FIXTURES / "bert_rerank")

START = """
import os
import sys
import warnings
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
warnings.simplefilter("ignore")
import numpy as np
import votive
import votive.sentence_transformers as ours
ours.install()
from haystack import Document, Pipeline
model, reranker = sys.argv[1:]
"""

EMBEDDERS = f"""{START}
from haystack_integrations.components.embedders.sentence_transformers import (
    SentenceTransformersDocumentEmbedder,
    SentenceTransformersTextEmbedder,
)

embedder = votive.Embedder(model)
text = SentenceTransformersTextEmbedder(model=model, prefix="find ", progress_bar=False)
found = text.run("bread")["embedding"]
assert type(text.embedding_backend.model) is ours.SentenceTransformer
np.testing.assert_allclose(found, embedder.encode("find bread"), atol=1e-6)

options = {{"normalize_embeddings": True, "truncate_dim": 8, "meta_fields_to_embed": ["title"], "progress_bar": False}}
documents = SentenceTransformersDocumentEmbedder(model=model, **options)
found = documents.run([Document(content="dough", meta={{"title": "Bread"}}), Document(content="port")])["documents"]
assert type(documents.embedding_backend.model) is ours.SentenceTransformer
expected = embedder.encode(["Bread\\ndough", "port"], normalize_embeddings=True, truncate_dim=8)
np.testing.assert_allclose([document.embedding for document in found], expected, atol=1e-6)

ranges = [[-1.0] * 48, [1.0] * 48]
options = {{"precision": "int8", "quantization_ranges": ranges, "tokenizer_kwargs": {{"model_max_length": 10}}}}
bytes_ = SentenceTransformersDocumentEmbedder(model=model, progress_bar=False, **options)
found = bytes_.run([Document(content="port")])["documents"][0].embedding
assert bytes_.embedding_backend.model.max_seq_length == 10
np.testing.assert_array_equal(found, embedder.encode(["port"], precision="int8", ranges=ranges)[0])

pipeline = Pipeline()
pipeline.add_component("embedder", SentenceTransformersTextEmbedder(model=model, progress_bar=False))
again = Pipeline.loads(pipeline.dumps())
found = again.run({{"embedder": {{"text": "port"}}}})["embedder"]["embedding"]
np.testing.assert_allclose(found, embedder.encode("port"), atol=1e-6)
"""


def test_the_embedders(run_python):
    run_python(EMBEDDERS, MODEL, RERANKER)


RANKERS = f"""{START}
from haystack.components.evaluators import SASEvaluator
from haystack_integrations.components.rankers.sentence_transformers import (
    SentenceTransformersDiversityRanker,
    SentenceTransformersSimilarityRanker,
)

texts = ["rye bread", "a large port", "knead the dough"]
documents = [Document(content=text) for text in texts]
for scale_score, activation in ((True, "sigmoid"), (False, "identity")):
    ranker = SentenceTransformersSimilarityRanker(model=reranker, scale_score=scale_score)
    found = ranker.run(query="bread", documents=documents)["documents"]
    assert type(ranker._cross_encoder) is ours.CrossEncoder
    expected = votive.Reranker(reranker).rank("bread", texts, activation_fn=activation)
    assert [document.content for document in found] == [texts[hit["corpus_id"]] for hit in expected]
    np.testing.assert_allclose([document.score for document in found], [hit["score"] for hit in expected], atol=1e-6)

for similarity in ("dot_product", "cosine"):
    diverse = SentenceTransformersDiversityRanker(model=model, top_k=2, similarity=similarity)
    found = diverse.run(query="bread", documents=documents)["documents"]
    assert type(diverse.model) is ours.SentenceTransformer
    assert len(found) == 2

answers, given = ["rye bread", "a port"], ["rye bread", "a large port"]
found = SASEvaluator(model=model).run(ground_truth_answers=answers, predicted_answers=given)
embedder = votive.Embedder(model)
expected = embedder.similarity_pairwise(embedder.encode(given), embedder.encode(answers))
np.testing.assert_allclose(found["individual_scores"], expected, atol=1e-6)
found = SASEvaluator(model=reranker).run(ground_truth_answers=answers, predicted_answers=given)
scores = votive.Reranker(reranker).predict(list(zip(given, answers)))
np.testing.assert_allclose(found["individual_scores"], scores, atol=1e-6)
"""


@NEEDS_TORCH
def test_the_rankers_and_the_evaluator(run_python):
    run_python(RANKERS, MODEL, RERANKER)


REFUSED = f"""{START}
import haystack_integrations.components.embedders.sentence_transformers as theirs

for kind in (theirs.SentenceTransformersSparseTextEmbedder, theirs.SentenceTransformersSparseDocumentEmbedder):
    try:
        kind(model=model).warm_up()
    except ours.Unsupported as error:
        print(error)
"""


def test_what_is_refused(run_python):
    messages = run_python(REFUSED, MODEL, RERANKER).splitlines()
    assert messages == ["SparseEncoder: votive has no sparse encoders; use sentence-transformers for them"] * 2

"""`mteb.evaluate` takes votive's classes for those of sentence-transformers under `install()`."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import FIXTURES

pytestmark = pytest.mark.skipif(
    find_spec("mteb") is None or find_spec("torch") is None, reason="needs mteb and with it PyTorch"
)

BEGIN = '''
import json, re, sys, warnings
from pathlib import Path
warnings.resetwarnings()
import votive.sentence_transformers as ours
ours.install()
tests, folder, place = sys.argv[1:]
sys.path.append(tests)

import mteb
import numpy as np
from mteb_tasks import Reranking, Retrieval, Similarity
from sentence_transformers import CrossEncoder, SentenceTransformer
from votive.integrations.mteb import VotiveCrossEncoder, VotiveEncoder

def scores(model, task):
    there = Path(place) / type(model).__name__ / task.metadata.name
    result = mteb.evaluate(model, task, cache=None, prediction_folder=there, show_progress_bar=False)
    kept = [json.loads(file.read_text())["default"]["test"] for file in there.glob("**/*_predictions.json")]
    return result, numbers(kept), numbers(result.task_results[0].scores["test"][0])

def numbers(kept):
    """Of whatever JSON, in the order of its keys."""
    return [float(number) for number in re.findall(r"-?[0-9]+[.][0-9e-]+", json.dumps(kept, sort_keys=True))]
'''


def test_sentence_transformer(run_python, folder, tmp_path):
    code = """
model = SentenceTransformer(folder, device="cpu")
for task in (Retrieval, Reranking, Similarity):
    result, kept, summary = scores(model, task())
    _, expected_kept, expected = scores(VotiveEncoder(folder, device="cpu"), task())
    assert result.model_name == folder, result.model_name
    assert kept
    np.testing.assert_allclose(kept, expected_kept, atol=1e-6)
    np.testing.assert_allclose(summary, expected, atol=1e-6)
wrapper = mteb.models.SentenceTransformerEncoderWrapper(model)
assert wrapper.model is model
meta = wrapper.mteb_model_meta
assert (meta.embed_dim, meta.max_tokens, meta.similarity_fn_name.value) == (48, 48, "cosine")
assert meta.n_embedding_parameters == 48 * len(model.tokenizer.vocab)
"""
    run_python(BEGIN + code, str(Path(__file__).parent), folder, str(tmp_path))


def test_cross_encoder(run_python, tmp_path):
    code = """
model = CrossEncoder(folder, device="cpu")
result, kept, summary = scores(model, Reranking())
_, expected_kept, expected = scores(VotiveCrossEncoder(folder, device="cpu"), Reranking())
assert result.model_name == folder, result.model_name
assert kept
np.testing.assert_allclose(kept, expected_kept, atol=1e-6)
np.testing.assert_allclose(summary, expected, atol=1e-6)
wrapper = mteb.models.CrossEncoderWrapper(model)
assert wrapper.model is model
assert wrapper.mteb_model_meta.is_cross_encoder
"""
    run_python(BEGIN + code, str(Path(__file__).parent), str(FIXTURES / "bert_rerank"), str(tmp_path))

"""txtai's own path for sentence-transformers ends up with votive's model under `install()`."""

from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(
    find_spec("txtai") is None or find_spec("torch") is None, reason="needs txtai and, for this path of it, PyTorch"
)

BEGIN = """
import sys, warnings
warnings.resetwarnings()
import votive.sentence_transformers as ours
ours.install()
folder = sys.argv[1]

from txtai import Embeddings
texts = ["Rain falls on the roof.", "The ship sails at night.", "A cat sleeps on the sofa."]
"""


def test_method_by_name(run_python, folder):
    code = """
from votive import Embedder
from votive.integrations.txtai import VotiveVectors
query = "a boat on the sea"

def scores(method, **options):
    embeddings = Embeddings(method=method, path=folder, **options)
    embeddings.index(texts)
    return embeddings, embeddings.search(query, 3)

expected = scores("votive.integrations.txtai.VotiveVectors", gpu=False)[1]
for gpu in (False, True, "all"):
    embeddings, found = scores("sentence-transformers", gpu=gpu)
    assert type(embeddings.model.model) is ours.SentenceTransformer
    assert found == expected
    embeddings.close()
"""
    run_python(BEGIN + code, folder)


def test_path_alone_is_not_sentence_transformers(run_python, folder):
    code = """
embeddings = Embeddings(path=folder, gpu=False)
assert type(embeddings.model).__name__ == "HFVectors"
assert type(embeddings.model.model).__module__.startswith("txtai.")
"""
    run_python(BEGIN + code, folder)

"""BERTopic's own path for sentence-transformers ends up with votive's model under `install()`."""

from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(find_spec("bertopic") is None, reason="needs bertopic")

BEGIN = """
import sys, warnings
warnings.resetwarnings()
import votive.sentence_transformers as ours
ours.install()
folder, place = sys.argv[1:]

from bertopic import BERTopic
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sentence_transformers import SentenceTransformer
from votive import Embedder
from votive.integrations.bertopic import VotiveBackend

documents = [f"{first} {last}" for first in ("ship", "bread", "rain") for last in ("one", "two", "three", "four")]

def topics(embedding_model, **options):
    reduce, cluster = PCA(3, svd_solver="full"), KMeans(3, n_init=2, random_state=0)
    return BERTopic(embedding_model=embedding_model, umap_model=reduce, hdbscan_model=cluster, **options)
"""


def test_object_and_path(run_python, folder, tmp_path):
    code = """
from bertopic.representation import KeyBERTInspired
model = SentenceTransformer(folder)
options = {"representation_model": KeyBERTInspired()}
by_object, by_path = topics(model, **options), topics(folder, **options)
expected = topics(VotiveBackend(Embedder(folder)), **options)
found = expected.fit_transform(documents)[0]
assert by_object.fit_transform(documents)[0] == found
assert by_path.fit_transform(documents)[0] == found
assert by_object.embedding_model.embedding_model is model
assert type(by_path.embedding_model.embedding_model) is ours.SentenceTransformer
assert by_object.get_topics() == by_path.get_topics() == expected.get_topics()
"""
    run_python(BEGIN + code, folder, str(tmp_path))


def test_saved_topics_load_votives_model(run_python, folder, tmp_path):
    code = """
topic_model = topics(folder)
found = topic_model.fit_transform(documents)[0]
topic_model.save(place + "/pickle", serialization="pickle")
loaded = BERTopic.load(place + "/pickle")
assert type(loaded.embedding_model.embedding_model) is ours.SentenceTransformer
assert loaded.transform(documents)[0] == found
try:
    import safetensors
except ImportError:
    sys.exit()
topic_model.save(place + "/folder", serialization="safetensors")
loaded = BERTopic.load(place + "/folder")
assert type(loaded.embedding_model.embedding_model) is ours.SentenceTransformer
assert len(loaded.transform(documents)[0]) == len(documents)
"""
    run_python(BEGIN + code, folder, str(tmp_path))


def test_bare_embedder_is_replaced(run_python, folder, tmp_path):
    code = """
model = Embedder(folder)
try:
    topics(model).fit(documents)
except FileNotFoundError as error:
    assert "all-MiniLM-L6-v2" in str(error), error
else:
    raise AssertionError("it was found")
"""
    # Where no package carries the model.
    hidden = "import votive._packages, votive._model\nvotive._model.packaged = lambda *_: None\n"
    run_python(hidden + BEGIN + code, folder, str(tmp_path), HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))

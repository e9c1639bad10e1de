"""KeyBERT's own path for sentence-transformers ends up with votive's model under `install()`."""

from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(find_spec("keybert") is None, reason="needs keybert")

INSTALL = """
import sys, warnings
warnings.resetwarnings()
warnings.simplefilter("ignore", ResourceWarning)
import votive.sentence_transformers as ours
ours.install()
folder = sys.argv[1]
"""


def test_object_and_path(run_python, folder):
    code = """
import numpy as np
from keybert import KeyBERT
from sentence_transformers import SentenceTransformer
from votive import Embedder
from votive.integrations.keybert import VotiveBackend

document = "A ship sails at night, and its crew looks for the lighthouse on the rocks."
model = SentenceTransformer(folder)
by_object, by_path = KeyBERT(model=model), KeyBERT(model=folder)
assert by_object.model.embedding_model is model
assert type(by_path.model.embedding_model) is ours.SentenceTransformer
for options in ({}, {"use_mmr": True}, {"use_maxsum": True}, {"seed_keywords": ["sea"]}):
    expected = KeyBERT(model=VotiveBackend(Embedder(folder))).extract_keywords(document, **options)
    assert by_object.extract_keywords(document, **options) == expected
    assert by_path.extract_keywords(document, **options) == expected
"""
    run_python(INSTALL + code, folder)


def test_bare_embedder_is_replaced(run_python, folder):
    # By a name that KeyBERT has: here it is a model of votive, too, that nobody has on this machine.
    code = """
from keybert import KeyBERT
from votive import Embedder
try:
    KeyBERT(model=Embedder(folder))
except FileNotFoundError as error:
    assert "paraphrase-multilingual-MiniLM-L12-v2" in str(error), error
else:
    raise AssertionError("it was found")
"""
    run_python(INSTALL + code, folder, HF_HUB_OFFLINE="1")


def test_votives_class_alone_is_refused(run_python, folder):
    # Without install(): KeyBERT knows the class by its name, and wants the one of the real package.
    code = """
import sys, warnings
warnings.resetwarnings()
from keybert import KeyBERT
from votive.sentence_transformers import SentenceTransformer
try:
    KeyBERT(model=SentenceTransformer(sys.argv[1]))
except (ModuleNotFoundError, ValueError) as error:
    assert "sentence_transformers" in str(error), error
else:
    raise AssertionError("it was taken")
"""
    run_python(code, folder)

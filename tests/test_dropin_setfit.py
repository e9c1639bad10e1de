"""SetFit predicts with votive's model and a head of scikit-learn under `install()`."""

from importlib.util import find_spec

import pytest

pytestmark = [
    pytest.mark.skipif(
        find_spec("setfit") is None or find_spec("torch") is None, reason="needs setfit and with it PyTorch"
    ),
]


def test_prediction(run_python, folder, tmp_path):
    code = """
import sys, warnings
warnings.resetwarnings()
import votive.sentence_transformers as ours
ours.install()
folder, place = sys.argv[1:]

import numpy as np
from sentence_transformers import SentenceTransformer
from setfit import SetFitModel
from sklearn.linear_model import LogisticRegression

texts, labels = ["a ship at sea", "the boat sails", "bread and butter", "a loaf of bread"], [0, 0, 1, 1]
body = SentenceTransformer(folder)
head = LogisticRegression().fit(body.encode(texts), labels)
model = SetFitModel(model_body=body, model_head=head)
assert model.model_body is body
questions = ["a boat", "rye bread"]
expected = head.predict_proba(body.encode(questions))
np.testing.assert_allclose(model.predict_proba(questions, as_numpy=True), expected, atol=1e-6)
np.testing.assert_array_equal(model.encode(questions), body.encode(questions))

model.save_pretrained(place)
loaded = SetFitModel.from_pretrained(place)
assert type(loaded.model_body) is ours.SentenceTransformer
np.testing.assert_allclose(loaded.predict_proba(questions, as_numpy=True), expected, atol=1e-6)
"""
    run_python(code, folder, str(tmp_path), HF_HUB_OFFLINE="1")

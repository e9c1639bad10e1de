"""Models without tokenizer.json, tokens that only other files know, and long texts."""

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from votive import Embedder, ModelError

FIXTURES = Path(__file__).parent / "fixtures"
TEXTS = ["hello world", "", "Ärger mit [MASK] 日本", "naïve café, 3.14!"]
posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def test_a_vocabulary_takes_the_place_of_tokenizer_json(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURES / "bert_40", tmp_path / "model"))
    (folder / "tokenizer_config.json").unlink()
    expected = Embedder(folder).encode(TEXTS)
    (folder / "tokenizer.json").unlink()
    shutil.copy(FIXTURES / "vocabularies" / "vocab.txt", folder)
    assert np.array_equal(Embedder(folder).encode(TEXTS), expected)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("added_tokens.json", {"[bla]": 7}),
        ("special_tokens_map.json", {"additional_special_tokens": ["[bla]"]}),
        ("tokenizer_config.json", {"additional_special_tokens": ["[bla]"]}),
        ("tokenizer_config.json", {"eos_token": "[bla]"}),
    ],
)
def test_new_tokens_beyond_the_embedding_table_are_refused(name: str, content: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURES / "bert_40", tmp_path / "model"))
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    rows = len(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
    message = f'token "\\[bla\\]", of this file or of those beside it, has id {rows}, but .* has {rows} rows'
    with pytest.raises(ModelError, match=message):
        Embedder(folder)


def test_tokens_that_only_the_class_has_are_refused_in_texts_alone(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURES / "xlm_roberta", tmp_path / "model"))
    for name, change in {"config.json": {"model_type": "camembert"}, "tokenizer_config.json": {}}.items():
        content = json.loads((folder / name).read_text(encoding="utf-8")) | change
        content.pop("tokenizer_class", None)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    model = Embedder(folder)
    expected = model.encode(TEXTS)
    with pytest.raises(ModelError, match=r'token "<unk>NOTUSED", of this file or of those beside it, has id'):
        model.encode(["a <unk>NOTUSED b"])
    assert np.array_equal(model.encode(TEXTS), expected)


class TimeIsUpError(Exception):
    """Raised by a signal handler."""


@posix
@pytest.mark.filterwarnings("ignore::votive.TruncationWarning")
@pytest.mark.parametrize("text", ["x" * 40_000_000, " " * 40_000_000], ids=["word", "spaces"])
def test_a_text_without_words_is_interrupted_at_once(text: str) -> None:
    def ring(*_: Any) -> None:
        raise TimeIsUpError

    model = Embedder(FIXTURES / "bert_40")
    expected = model.encode(TEXTS)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        start = time.monotonic()
        with pytest.raises(TimeIsUpError):
            model.encode(text)
        # Within 0.2 s on a machine that does nothing else; all of it takes many times as long.
        assert time.monotonic() - start < 2.0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert np.array_equal(model.encode(TEXTS), expected)

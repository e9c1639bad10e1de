"""Which models score, and what is said of those that do not: by the name of the argument or of the file."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from votive import Embedder, ModelError, Reranker

FIXTURES = Path(__file__).parent / "fixtures"
ONE_LABEL = str(FIXTURES / "bert_rerank")
PAIRS = [["what is a candle?", "wax with a wick"], ["a", "b"]]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A copy of a cross-encoder."""
    return Path(shutil.copytree(ONE_LABEL, tmp_path / "own"))


def configure(folder: Path, **changes: Any) -> None:
    """Writes over what config.json says; None removes a key."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | changes
    left = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(left), encoding="utf-8")


def test_an_embedding_model_is_no_reranker() -> None:
    with pytest.raises(ModelError, match=r"^config\.json: .*no classification head.*classifier\.weight.*use Embedder$"):
        Reranker(FIXTURES / "bert_plain")
    for fixture in ("bert_modules", "bert_40", "qwen3_embedding"):
        with pytest.raises(ModelError, match=r"^modules\.json: describes an embedding model.*; use Embedder$"):
            Reranker(FIXTURES / fixture)


def test_a_reranker_is_no_embedding_model(own: Path) -> None:
    with pytest.raises(
        ModelError, match=r"^config\.json: .*BertForSequenceClassification is a cross-.*; use Reranker$"
    ):
        Embedder(own)
    (own / "modules.json").write_text(
        json.dumps([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}])
    )
    (own / "config_sentence_transformers.json").write_text(json.dumps({"model_type": "CrossEncoder"}))
    with pytest.raises(ModelError, match=r"use Reranker$"):
        Embedder(own)


def test_an_architecture_that_is_not_supported_is_named_with_those_that_are(own: Path) -> None:
    configure(own, model_type="xlnet", architectures=["XLNetForSequenceClassification"])
    with pytest.raises(
        ModelError, match=r'^config\.json: model_type: "xlnet" is not supported; supported: bert, '
    ) as caught:
        Reranker(own)
    for family in ("roberta", "xlm-roberta", "distilbert", "electra", "mpnet", "modernbert", "qwen2", "qwen3"):
        assert family in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id2label": {"0": "no", "1": "yes"}}, r'model\.safetensors: tensor "classifier\.weight" has shape \[1, 60\]'),
        ({"id2label": None, "num_labels": 3}, r'model\.safetensors: tensor "classifier\.weight" .*needs \[3, 60\]'),
        ({"id2label": {}}, r"config\.json: id2label: names no label"),
        ({"id2label": ["no"]}, r"config\.json: id2label: expected an object, found a list"),
        ({"id2label": None, "num_labels": 0}, r"config\.json: num_labels: expected"),
        ({"id2label": None, "num_labels": 2**40}, r"config\.json: num_labels: expected"),
        (
            {"sentence_transformers": {"activation_fn": 3}},
            r"config\.json: sentence_transformers\.activation_fn: expected",
        ),
        ({"hidden_size": 55}, r"model\.safetensors: tensor .* has shape"),
        ({"model_type": None}, r"config\.json: model_type: "),
    ],
)
def test_a_config_that_contradicts_the_weights(changes: dict[str, Any], message: str, own: Path) -> None:
    configure(own, **changes)
    with pytest.raises(ModelError, match=f"^{message}"):
        Reranker(own)


@pytest.mark.parametrize(
    "values",
    [{"sentence_transformers": {"activation_fn": "own.Scale"}}, {"sbert_ce_default_activation_function": "own.Scale"}],
)
def test_an_activation_that_is_the_models_code_is_said_to_be_left_out(own: Path, values: dict[str, Any]) -> None:
    configure(own, **values)
    with pytest.warns(UserWarning, match=r"activation function is own\.Scale, code that .*: 'sigmoid' is taken; give"):
        model = Reranker(own)
    assert np.array_equal(model.predict(PAIRS), Reranker(ONE_LABEL).predict(PAIRS))
    assert Reranker(own, activation_fn="tanh").activation_fn.__name__ == "tanh"


def test_an_activation_that_is_not_supported_may_be_replaced(own: Path) -> None:
    configure(own, sentence_transformers={"activation_fn": "torch.nn.modules.activation.Mish"})
    with pytest.raises(
        ModelError, match=r"^.*own: activation_fn: 'torch.*Mish' is not .*; give one as activation_fn=$"
    ):
        Reranker(own)
    found = Reranker(own, activation_fn="tanh").predict(PAIRS)
    assert np.array_equal(found, Reranker(ONE_LABEL, activation_fn="tanh").predict(PAIRS))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_files_that_are_damaged_or_missing_are_named(name: str, own: Path) -> None:
    content = (own / name).read_bytes()
    for length in (0, 1, 9, len(content) // 2, len(content.rstrip()) - 1):
        (own / name).write_bytes(content[:length])
        with pytest.raises(ModelError, match=name.replace(".", r"\.")):
            Reranker(own)
    (own / name).unlink()
    with pytest.raises((ModelError, FileNotFoundError), match=name.replace(".", r"\.")):
        Reranker(own)


def test_what_fails_to_load_is_not_loaded(own: Path) -> None:
    model = Reranker(own)
    expected = model.predict(PAIRS)
    twin = pickle.loads(pickle.dumps(model))
    weights = (own / "model.safetensors").read_bytes()
    (own / "model.safetensors").write_bytes(weights[:-4])
    for use in (lambda: twin.predict(PAIRS), lambda: twin.num_labels, lambda: twin.rank("a", ["b"])):
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            use()
        assert repr(twin) == f"Reranker({str(own)!r}, not loaded)"
    # A new file: what is loaded may be mapped.
    (own / "model.safetensors").unlink()
    (own / "model.safetensors").write_bytes(weights)
    assert np.array_equal(twin.predict(PAIRS), expected)


BAD_OPTIONS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "num_labels": ({"num_labels": 0}, ValueError, "num_labels: expected 1 or more, or None, found 0"),
    "num_labels True": ({"num_labels": True}, TypeError, "num_labels: expected an int or None, found bool"),
    "max_length": ({"max_length": "9"}, TypeError, "max_length: expected an int or None, found str"),
    "dtype": ({"dtype": "float8"}, ValueError, 'dtype: "float8" is not a type; accepted: auto'),
    "prompts": ({"prompts": ["a"]}, TypeError, "prompts: expected dict or None, found list"),
    "num_threads": ({"num_threads": 0}, ValueError, "num_threads: expected 1 or more, or None, found 0"),
    "missing folder": ({"model_name_or_path": "/no/such"}, FileNotFoundError, r"model .*/no/such.* was not found"),
    "of the Embedder": ({"truncate_dim": 3}, TypeError, ".*unexpected keyword argument 'truncate_dim'"),
}


@pytest.mark.parametrize(("options", "error", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_options_that_are_not_accepted(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        Reranker(**{"model_name_or_path": ONE_LABEL} | options)

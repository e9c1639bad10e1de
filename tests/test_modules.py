"""What the files of a model's folder say, seen through the Embedder: limits, prompts, and what is refused by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from votive import Embedder, ModelError

FIXTURE = Path(__file__).parent / "fixtures" / "bert_modules"
ROOT = "config_sentence_transformers.json"
LEGACY = "sentence_transformers.models."

Load = Callable[..., Embedder]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a copy of the fixture with some of its JSON files changed; None removes a file."""

    def load(files: dict[str, Any] | None = None, **options: Any) -> Embedder:
        folder = shutil.copytree(FIXTURE, tmp_path / "model", dirs_exist_ok=True)
        for name, content in (files or {}).items():
            if content is None:
                (folder / name).unlink()
            else:
                (folder / name).write_text(json.dumps(content), encoding="utf-8")
        return Embedder(str(folder), device="cpu", **options)

    return load


def changed(name: str, **keys: Any) -> dict[str, Any]:
    """A JSON file of the fixture with some keys changed."""
    return {name: json.loads((FIXTURE / name).read_text(encoding="utf-8")) | keys}


def with_module(kind: str, path: str) -> dict[str, Any]:
    """modules.json with one more module at the end."""
    modules = json.loads((FIXTURE / "modules.json").read_text(encoding="utf-8"))
    return {"modules.json": [*modules, {"idx": len(modules), "name": "last", "path": path, "type": kind}]}


def test_what_the_files_say_can_be_asked(load: Load) -> None:
    model = load(changed(ROOT, similarity_fn_name="dot", default_prompt_name="query"))
    assert model.max_seq_length == 48
    assert model.get_embedding_dimension() == 48
    assert model.get_sentence_embedding_dimension() == 48
    assert model.prompts == {"query": "query: ", "document": "a passage of the text: ", "plain": ""}
    assert model.default_prompt_name == "query"
    assert model.similarity_fn_name == "dot"


def test_no_similarity_function_means_cosine(load: Load) -> None:
    assert load(changed(ROOT, similarity_fn_name=None)).similarity_fn_name == "cosine"


def test_the_dimension_is_that_of_the_last_module(load: Load) -> None:
    assert load(with_module(LEGACY + "Dense", "2_Dense")).get_embedding_dimension() == 24
    assert load(changed(ROOT, truncate_dim=7)).get_embedding_dimension() == 7


def test_the_greatest_length_can_be_set(load: Load) -> None:
    model = load(max_seq_length=20)
    text = "one two three " * 40
    assert len(model.tokenize([text])[0]["input_ids"]) == 20
    model.max_seq_length = 9
    assert len(model.tokenize([text])[0]["input_ids"]) == 9
    for length in (0, 65):
        with pytest.raises(ValueError, match="max_seq_length"):
            model.max_seq_length = length
    assert model.max_seq_length == 9


def test_an_unknown_prompt_name_lists_the_known_ones(load: Load) -> None:
    model = load()
    with pytest.raises(ValueError, match=r"passage.*document.*plain.*query"):
        model.encode(["text"], prompt_name="passage")
    # Nobody gave that one as an argument.
    with pytest.raises(ModelError, match=r"default_prompt_name: 'passage'.*document.*plain.*query"):
        load(changed(ROOT, default_prompt_name="passage"))


def test_a_dimension_beyond_the_models_is_refused(load: Load) -> None:
    with pytest.raises(ValueError, match=r"truncate_dim.*48.*49"):
        load().encode(["text"], truncate_dim=49)


def test_codes_need_more_than_one_row_or_ranges(load: Load) -> None:
    model = load()
    with pytest.raises(ValueError, match="ranges"):
        model.encode(["only one"], precision="int8")
    ranges = np.array([[-1.0] * 48, [1.0] * 48], dtype=np.float32)
    codes = model.encode(["only one"], precision="int8", ranges=ranges)
    assert (codes.shape, codes.dtype) == ((1, 48), np.dtype(np.int8))


DENSE = {"in_features": 48, "out_features": 24, "bias": True}
REFUSED = {
    "unknown module": (with_module(LEGACY + "CNN", "2_CNN"), ["modules.json", "CNN", "Pooling"]),
    "module of the repository": (with_module("custom_st.Attention", "2_X"), ["modules.json", "custom_st.Attention"]),
    "second transformer": (with_module(LEGACY + "Transformer", ""), ["modules.json", "Transformer"]),
    "path out of the folder": (with_module(LEGACY + "Normalize", "../2_Normalize"), ["modules.json", "../2_Normalize"]),
    "no modules": ({"modules.json": []}, ["modules.json"]),
    "unknown pooling": (
        {"1_Pooling/config.json": {"embedding_dimension": 48, "pooling_mode": "median"}},
        ["1_Pooling/config.json", "median", "weightedmean"],
    ),
    "pooling of another size": (
        {"1_Pooling/config.json": {"embedding_dimension": 47, "pooling_mode": "mean"}},
        ["Pooling", "47", "48"],
    ),
    "unknown activation of a module": (
        with_module(LEGACY + "Dense", "2_Dense")
        | {"2_Dense/config.json": DENSE | {"activation_function": "torch.nn.modules.activation.Softmax2d"}},
        ["2_Dense", "Softmax2d"],
    ),
    "dense of another input": (
        with_module(LEGACY + "Dense", "2_Dense") | {"2_Dense/config.json": DENSE | {"in_features": 47}},
        ["2_Dense", "47"],
    ),
    "dense of another output": (
        with_module(LEGACY + "Dense", "2_Dense") | {"2_Dense/config.json": DENSE | {"out_features": 23}},
        ["2_Dense", "linear.", "23", "24"],
    ),
    "dense without its bias": (
        with_module(LEGACY + "Dense", "2_Dense_square")
        | {"2_Dense_square/config.json": {"in_features": 48, "out_features": 48}},
        ["2_Dense_square", "linear.bias"],
    ),
    "unknown activation": (changed("config.json", hidden_act="prelu"), ["config.json", "hidden_act", "prelu"]),
    "unknown architecture": (changed("config.json", model_type="funnel"), ["config.json", "funnel", "bert"]),
    "heads that do not divide": (changed("config.json", num_attention_heads=7), ["config.json", "7", "48"]),
    "more layers than weights": (changed("config.json", num_hidden_layers=3), ["layer.2."]),
    "smaller vocabulary": (changed("config.json", vocab_size=100), ["word_embeddings.weight", "100"]),
}


@pytest.mark.parametrize(("files", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_supported_is_refused_by_name(load: Load, files: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ModelError) as refused:
        load(files)
    message = str(refused.value)
    assert [part for part in named if part not in message] == [], message


def test_prompts_of_instructor_are_not_pooled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # sentence-transformers knows these models by their names, with which they come from the hub, or from a folder.
    monkeypatch.chdir(tmp_path)
    folders = [shutil.copytree(FIXTURE, tmp_path / name) for name in ("hkunlp/instructor-base", "hkunlp/other", "said")]
    pooling = folders[2] / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps(json.loads(pooling.read_text()) | {"include_prompt": False}))
    names = [str(folder.relative_to(tmp_path)) for folder in folders]
    named, other, said = (Embedder(name, device="cpu").encode("a text", prompt="Represent: ") for name in names)
    assert np.array_equal(named, said)
    assert not np.allclose(named, other)

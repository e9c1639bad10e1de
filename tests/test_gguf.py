"""GGUF files: the vectors of the same numbers in safetensors, to the bit."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensor_files
from bodies import INT8, kernels_only
from gguf_files import Array, Stored, f16, f32, least_keys, of_model, q4_1, q8_0, read, write
from votive import Embedder, ModelError, Reranker, inspect_model

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")

FIXTURES = Path(__file__).parent / "fixtures"
TEXTS: list[str] = json.loads((FIXTURES / "texts.json").read_text(encoding="utf-8"))[:20]
PAIRS = [("hello world", "a longer text of some more words"), ("x", "y " * 30)]
EMBEDDERS = [
    "bert_plain",
    "distilbert",
    "gemma3",
    "llama",
    "mistral",
    "modernbert",
    "nomic_bert_published",
    "qwen2_embedding",
    "qwen3_embedding",
    "roberta",
    "xlm_roberta",
]


def converted(fixture: str, to: Path, store: Callable[[Array], Stored] = f32) -> tuple[Path, Path]:
    """Two folders of a fixture: with a GGUF file in the place of its weights, and with what is left of these."""
    gguf, plain = (Path(shutil.copytree(FIXTURES / fixture, to / name)) for name in ("gguf", "plain"))
    config = json.loads((gguf / "config.json").read_text(encoding="utf-8"))
    tensors, left = of_model(config, tensor_files.read(gguf / "model.safetensors"), store)
    (gguf / "model.safetensors").unlink()
    write(gguf / "model.gguf", least_keys(config), tensors)
    tensor_files.write(plain / "model.safetensors", left, "F32")
    return gguf, plain


def encode(folder: Path, **options: Any) -> Array:
    return Embedder(folder, **{"device": "cpu", "dtype": "float32", **options}).encode(TEXTS)


@pytest.mark.parametrize("fixture", EMBEDDERS)
def test_the_same_numbers_give_the_same_bits(fixture: str, tmp_path: Path) -> None:
    gguf, plain = converted(fixture, tmp_path)
    expected = encode(plain)
    assert np.array_equal(encode(gguf), expected)
    original = encode(FIXTURES / fixture)
    # Gemma's norms lose digits where 1 is added, and RoBERTa's kin the row of padding tokens.
    close = fixture in ("gemma3", "roberta", "xlm_roberta")
    assert np.allclose(expected, original, atol=1e-5) if close else np.array_equal(expected, original)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", pytest.param("int8", marks=INT8)])
@pytest.mark.parametrize("store", [f16, q8_0, q4_1])
def test_blocks_give_the_bits_of_their_numbers(store: Callable[[Array], Stored], dtype: str, tmp_path: Path) -> None:
    gguf, plain = converted("bert_plain", tmp_path, store)
    found, expected = encode(gguf, dtype=dtype), encode(plain, dtype=dtype)
    if store is not f16 and dtype in ("bfloat16", "float16"):
        # The table of words is rounded to the type there, and holds the file's blocks here.
        np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
    else:
        assert np.array_equal(found, expected)


def test_scores_of_rerankers(tmp_path: Path) -> None:
    for fixture in ("xlm_roberta_rerank", "distilbert_rerank", "modernbert_rerank", "qwen3_rerank"):
        gguf, plain = converted(fixture, tmp_path / fixture)
        expected = Reranker(plain, device="cpu", dtype="float32").predict(PAIRS)
        assert np.array_equal(Reranker(gguf, device="cpu", dtype="float32").predict(PAIRS), expected), fixture


def test_a_classifier_without_its_pooler_is_refused(tmp_path: Path) -> None:
    gguf, _ = converted("bert_rerank", tmp_path)
    with pytest.raises(ModelError, match=r"model\.gguf: .*cls\.output\.weight.*\(the pooler\) is missing"):
        Reranker(gguf)


# A file alone

ALONE = ["gguf_llama", "gguf_qwen3", "gguf_modernbert", "gguf_xlm_roberta"]
# Accents in one and in two characters, scripts, marks of tokenizers, spaces, signs of several characters.
HARD = [
    "Café déjà vu, ÄÖÜ",
    "cafe\u0301 n\u0303",
    "日本語 テスト 한국어",
    "literal ▁ and ## here",
    "[unused1] [MASK] <s> </s> <pad> <|endoftext|> <think>",
    " a  b   c ",
    "tab\tvt\x0bff\x0c nl\n\nx",
    "12345 678 don't I'll",
    "👩‍👩‍👧 ok " + "y" * 60,
    "   ",
    "",
]


@pytest.mark.parametrize("fixture", ALONE)
def test_a_tokenizer_is_made_again(fixture: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURES / fixture, tmp_path / "original"))
    made = Embedder(folder).tokenize(HARD)
    # A folder's own files count before what its file says.
    shutil.copy(folder / "original" / "tokenizer.json", folder)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    original = Embedder(folder).tokenize(HARD)
    assert [row["input_ids"] for row in made] == [row["input_ids"] for row in original]


def test_a_file_is_named_by_its_path(tmp_path: Path) -> None:
    expected = encode(FIXTURES / "gguf_qwen3")
    for name in ("one.gguf", "two.gguf"):
        shutil.copy(FIXTURES / "gguf_qwen3" / "model.gguf", tmp_path / name)
    assert np.array_equal(encode(tmp_path / "two.gguf"), expected)
    with pytest.raises(ModelError, match=r"several files of weights.*one\.gguf, two\.gguf"):
        Embedder(tmp_path)
    # As a folder has safetensors, and a file of it was asked for.
    shutil.copytree(FIXTURES / "bert_plain", tmp_path / "both")
    shutil.copy(FIXTURES / "gguf_qwen3" / "model.gguf", tmp_path / "both")
    with pytest.raises(ModelError, match=r"general\.architecture: \"qwen3\" is no \"bert\""):
        Embedder(tmp_path / "both" / "model.gguf")
    assert np.array_equal(encode(tmp_path / "both"), encode(FIXTURES / "bert_plain"))


def test_what_a_file_leaves_out_is_said_or_is_taken_of_the_base(tmp_path: Path) -> None:
    folder = FIXTURES / "gguf_qwen3"
    with pytest.warns(UserWarning, match="says that lasttoken pooling makes its vectors, and nothing of normalization"):
        alone = Embedder(folder)
    assert alone.info.pooling == "lasttoken"
    base = tmp_path / "base"
    base.mkdir()
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    entries = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    (base / "modules.json").write_text(json.dumps(entries))
    (base / "1_Pooling").mkdir()
    (base / "1_Pooling" / "config.json").write_text('{"embedding_dimension": 256, "pooling_mode": "cls"}')
    (base / "config.json").write_text('{"model_type": "qwen3"}')
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".* normalization")
        described = Embedder(folder, base=str(base))
    assert described.info.pooling == "cls"
    assert np.allclose(np.linalg.norm(described.encode(["a", "b c"]), axis=1), 1, atol=1e-5)


def test_models_in_files_are_told_apart(tmp_path: Path) -> None:
    content = bytearray((FIXTURES / "gguf_qwen3" / "model.gguf").read_bytes())
    prints = [Embedder(FIXTURES / "gguf_qwen3").info.fingerprint]
    for name, change in (("same", 0), ("other", 1)):
        content[len(content) // 2] ^= change
        (tmp_path / f"{name}.gguf").write_bytes(content)
        prints.append(Embedder(tmp_path / f"{name}.gguf").info.fingerprint)
    assert prints[0] == prints[1] != prints[2]


@kernels_only("int8 needs the kernels")
def test_blocks_are_held_in_int8_where_nothing_else_is_asked_for() -> None:
    assert Embedder(FIXTURES / "gguf_qwen3", device="cpu").dtype == "int8"


def test_qwen3_ends_texts_with_its_own_token_whatever_the_file_says() -> None:
    model = Embedder(FIXTURES / "gguf_qwen3")
    end = model.tokenize(["<|endoftext|>"])[0]["input_ids"][0]
    assert model.tokenize(["a"])[0]["input_ids"][-1] == end


BERT_KEYS: dict[str, tuple[str, Any]] = {
    "general.architecture": ("str", "bert"),
    "bert.context_length": ("u32", 64),
    "bert.embedding_length": ("u64", 32),
    "bert.block_count": ("u32", 2),
    "bert.feed_forward_length": ("u16", 48),
    "bert.attention.head_count": ("[u32]", [4, 4]),
    "bert.attention.layer_norm_epsilon": ("f32", 1e-12),
    "bert.attention.causal": ("bool", False),
    "bert.pooling_type": ("u32", 1),
    "tokenizer.ggml.model": ("str", "bert"),
    "tokenizer.ggml.token_type_count": ("u32", 2),
}


def bert_alone(folder: Path, changes: dict[str, Any], fixture: str = "bert_plain") -> Path:
    """A file alone of a fixture's weights and tokenizer; None removes a key."""
    source = FIXTURES / fixture
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    special = {token["content"] for token in tokenizer["added_tokens"]}
    vocabulary = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].__getitem__)

    def spelling(token: str) -> str:
        return token if token in special else token[2:] if token.startswith("##") else "▁" + token

    tokens: dict[str, tuple[str, Any]] = {
        "tokenizer.ggml.tokens": ("[str]", [spelling(token) for token in vocabulary]),
        "tokenizer.ggml.token_type": ("[i32]", [3 if token in special else 1 for token in vocabulary]),
    }
    keys = {key: value for key, value in (BERT_KEYS | tokens | changes).items() if value is not None}
    tensors, _ = of_model(config, tensor_files.read(source / "model.safetensors"))
    if "distil" in fixture:
        tensors.pop("token_types.weight", None)
    folder.mkdir(exist_ok=True)
    write(folder / "model.gguf", keys, tensors)
    return folder


def test_a_bert_alone_is_the_folder_it_was_made_of(tmp_path: Path) -> None:
    lowercase = json.loads((FIXTURES / "bert_plain" / "tokenizer.json").read_text(encoding="utf-8"))["normalizer"][
        "lowercase"
    ]
    alone = Embedder(
        bert_alone(tmp_path / "a", {"tokenizer.ggml.normalizer.lowercase": ("bool", lowercase)}), dtype="float32"
    )
    original = Embedder(FIXTURES / "bert_plain", dtype="float32")
    tokens = [[row["input_ids"] for row in model.tokenize(HARD)] for model in (alone, original)]
    assert tokens[0] == tokens[1]
    assert np.array_equal(alone.encode(TEXTS), original.encode(TEXTS))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"general.architecture": None}, r"general\.architecture: missing"),
        ({"general.architecture": ("str", "mamba")}, r"general\.architecture: \"mamba\" alone does not say enough"),
        ({"general.architecture": ("u8", 1)}, r"general\.architecture: expected a string, found an integer"),
        ({"bert.pooling_type": None}, r"bert\.pooling_type: missing: how tokens become one embedding is not known"),
        ({"bert.pooling_type": ("u32", 0)}, r"bert\.pooling_type: is 0: how tokens become one"),
        ({"bert.attention.causal": ("bool", True)}, r"bert\.attention\.causal: true is not supported"),
        ({"bert.attention.head_count": ("[u32]", [2, 4])}, r"bert\.attention\.head_count: differs from layer to layer"),
        ({"bert.attention.head_count": ("u32", 0)}, r"config\.json: num_attention_heads: expected an integer from 1"),
        ({"bert.attention.layer_norm_epsilon": None}, r"bert\.attention\.layer_norm_epsilon: missing"),
        ({"bert.attention.layer_norm_epsilon": ("f32", -1.0)}, r"layer_norm_epsilon: expected a number above 0"),
        ({"bert.embedding_length": ("u64", 1 << 63)}, r"config\.json: hidden_size: expected an integer from 1"),
        ({"bert.block_count": ("str", "2")}, r"bert\.block_count: expected an integer from 0, found a string"),
        ({"tokenizer.ggml.model": None}, r"tokenizer\.ggml\.model: missing"),
        (
            {"tokenizer.ggml.model": ("str", "rwkv")},
            r"tokenizer\.ggml\.model: \"rwkv\" is not supported; supported are bert",
        ),
        ({"tokenizer.ggml.tokens": None}, r"tokenizer\.ggml\.tokens: missing"),
        ({"tokenizer.ggml.tokens": ("[str]", ["a", "a"])}, r"tokenizer\.ggml\.token_type: has 339 items"),
        ({"tokenizer.ggml.token_type": ("[i32]", [7] * 339)}, r"token_type: expected 1 to 6, found 7"),
        ({"tokenizer.ggml.unknown_token_id": ("u32", 999)}, r"unknown_token_id: 999 is beyond the 339 tokens"),
        (
            {"tokenizer.ggml.model": ("str", "gpt2"), "tokenizer.ggml.pre": ("str", "poro-chat")},
            r"tokenizer\.ggml\.pre: how \"poro-chat\" cuts texts into words is not known; known are gpt-2",
        ),
        ({"tokenizer.ggml.model": ("str", "gpt2")}, r"tokenizer\.ggml\.pre: how \"default\" cuts texts"),
        ({"tokenizer.huggingface.json": ("str", "{")}, r"tokenizer\.huggingface\.json: EOF"),
    ],
)
def test_what_a_file_says_wrongly_is_refused_by_its_key(changes: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=expected):
        Embedder(bert_alone(tmp_path / "alone", changes))


def test_a_file_whose_header_is_cut_or_whose_types_are_others(tmp_path: Path) -> None:
    content = (FIXTURES / "gguf_bert" / "model.gguf").read_bytes()
    folder = Path(shutil.copytree(FIXTURES / "gguf_bert", tmp_path / "cut"))
    for end in (0, 3, 20, 100, 2000, len(content) - 40):
        (folder / "model.gguf").write_bytes(content[:end])
        with pytest.raises(ModelError, match=r"^model\.gguf: "):
            Embedder(folder)
    # The type of a matrix, behind its name and its two dimensions.
    at = content.index(b"blk.0.ffn_up.weight") + len(b"blk.0.ffn_up.weight") + 4 + 16
    (folder / "model.gguf").write_bytes(content[:at] + (99).to_bytes(4, "little") + content[at + 4 :])
    with pytest.raises(ModelError, match=r"begins at byte|has ggml's type 99 \(not known\)"):
        Embedder(folder)


# Which file


def parts_of(file: Path, count: int) -> list[Path]:
    """The file split as llama.cpp does it: keys in the first part, tensors in all."""
    keys, tensors = read(file)
    names = sorted(tensors)
    paths = [file.with_name(f"{file.stem}-{part:05}-of-{count:05}.gguf") for part in range(1, count + 1)]
    for place, path in enumerate(paths):
        own = {"split.no": ("u16", place), "split.count": ("u16", count), "split.tensors.count": ("i32", len(names))}
        write(path, own if place else own | keys, {name: tensors[name] for name in names[place::count]})
    file.unlink()
    return paths


def test_parts_of_a_file_are_one(tmp_path: Path) -> None:
    expected = encode(FIXTURES / "gguf_qwen3")
    shutil.copy(FIXTURES / "gguf_qwen3" / "model.gguf", tmp_path)
    paths = parts_of(tmp_path / "model.gguf", 3)
    for name in (tmp_path, paths[0], paths[1]):
        assert np.array_equal(encode(name), expected)
    assert Embedder(tmp_path).info.fingerprint == Embedder(paths[2]).info.fingerprint
    named = Embedder(tmp_path, gguf_file=paths[1].name, device="cpu", dtype="float32")
    assert np.array_equal(named.encode(TEXTS), expected)
    assert inspect_model(tmp_path).networks[0].files == tuple(path.name for path in paths)
    paths[1].rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=r"^model-00002-of-00003\.gguf: is not there: the model is split into 3 files"):
        Embedder(tmp_path)
    # Under another's name.
    shutil.copy(paths[2], paths[1])
    with pytest.raises(ModelError, match=r"00002-of-00003\.gguf: split\.no: is 2, and by its name the file is 1"):
        Embedder(tmp_path)
    whole = paths[0].rename(tmp_path / "whole.gguf")
    with pytest.raises(ModelError, match=r"split\.count: the model is split into 3 files, and by its name into 1"):
        Embedder(whole)


def test_a_file_is_named_by_an_argument(tmp_path: Path) -> None:
    expected = encode(FIXTURES / "gguf_qwen3")
    for name in ("one.gguf", "two.gguf"):
        shutil.copy(FIXTURES / "gguf_qwen3" / "model.gguf", tmp_path / name)
    assert np.array_equal(encode(tmp_path, gguf_file="two.gguf"), expected)
    with pytest.raises(ValueError, match=r"gguf_file: there is no \"three\.gguf\" .*: one\.gguf, two\.gguf"):
        Embedder(tmp_path, gguf_file="three.gguf")
    with pytest.raises(ValueError, match=r"gguf_file: .* is such a file already"):
        Embedder(tmp_path / "one.gguf", gguf_file="two.gguf")
    with pytest.raises(ValueError, match='gguf_file: the model\'s name asks for a file already, by "Q8_0"'):
        Embedder("owner/name:Q8_0", gguf_file="two.gguf", local_files_only=True)
    with pytest.raises(TypeError, match="gguf_file: expected str or None, found int"):
        Embedder(tmp_path, gguf_file=1)  # type: ignore[arg-type]
    # Before safetensors, which are there as well.
    both = Path(shutil.copytree(FIXTURES / "qwen3_embedding", tmp_path / "both"))
    converted("qwen3_embedding", tmp_path / "converted")
    shutil.copy(tmp_path / "converted" / "gguf" / "model.gguf", both / "f32.gguf")
    assert Embedder(both, gguf_file="f32.gguf")._model.gguf == [both / "f32.gguf"]
    assert Embedder(both)._model.gguf == []


# What is known better


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, None),
        ({"tokenizer.ggml.eos_token_id": "<|im_end|>"}, "has '<|im_end|>' at the end of texts"),
        ({"tokenizer.ggml.add_eos_token": ("bool", False)}, "has no token at the end of texts"),
        ({"tokenizer.ggml.add_eos_token": None}, "has no token at the end of texts"),
        ({"tokenizer.ggml.eos_token_id": None}, "names no token for the end of texts"),
    ],
)
def test_the_end_of_qwen3_is_put_right_and_said(keys: dict[str, Any], expected: str | None, tmp_path: Path) -> None:
    own, tensors = read(FIXTURES / "gguf_qwen3" / "model.gguf")
    tokens = own["tokenizer.ggml.tokens"][1]
    right = {
        "tokenizer.ggml.eos_token_id": ("u32", tokens.index("<|endoftext|>")),
        "tokenizer.ggml.add_eos_token": ("bool", True),
    }
    for key, value in keys.items():
        right[key] = ("u32", tokens.index(value)) if isinstance(value, str) else value
    write(tmp_path / "model.gguf", {key: value for key, value in (own | right).items() if value}, tensors)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = Embedder(tmp_path, device="cpu", dtype="float32")
    said = [str(warning.message) for warning in caught if "end of texts" in str(warning.message)]
    if expected is None:
        assert said == []
    else:
        (message,) = said
        assert message.replace('"', "'") == (
            f"{str(tmp_path)!r} {expected}; '<|endoftext|>' is put there, with which Qwen3-Embedding was trained"
        )
        assert message in inspect_model(tmp_path).assumptions
    assert np.array_equal(model.encode(TEXTS), encode(FIXTURES / "gguf_qwen3"))


def decoder_alone(fixture: str) -> tuple[dict[str, tuple[str, Any]], dict[str, Any], dict[str, int]]:
    """Keys and tensors of a file of a fixture's weights and tokenizer, and the ids of tokens."""
    config, tokenizer = (
        json.loads((FIXTURES / fixture / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("config", "tokenizer")
    )
    tensors, _ = of_model(config, tensor_files.read(FIXTURES / fixture / "model.safetensors"))
    vocabulary = tokenizer["model"]["vocab"] | {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    special = {token["content"] for token in tokenizer["added_tokens"]}
    keys = least_keys(config)
    name = keys["general.architecture"][1]
    keys |= {
        f"{name}.context_length": ("u32", config["max_position_embeddings"]),
        f"{name}.embedding_length": ("u32", config["hidden_size"]),
        f"{name}.block_count": ("u32", config["num_hidden_layers"]),
        f"{name}.feed_forward_length": ("u32", config["intermediate_size"]),
        f"{name}.attention.layer_norm_rms_epsilon": ("f32", config["rms_norm_eps"]),
        f"{name}.rope.freq_base": ("f32", config["rope_theta"]),
        "tokenizer.ggml.model": ("str", "gpt2"),
        "tokenizer.ggml.pre": ("str", "qwen2"),
        "tokenizer.ggml.tokens": ("[str]", tokens),
        "tokenizer.ggml.token_type": ("[i32]", [3 if token in special else 1 for token in tokens]),
        "tokenizer.ggml.merges": ("[str]", [" ".join(pair) for pair in tokenizer["model"]["merges"]]),
    }
    if "head_dim" in config:
        keys[f"{name}.attention.key_length"] = ("u32", config["head_dim"])
    return keys, tensors, vocabulary


@pytest.mark.parametrize("fixture", ["qwen2_embedding", "llama_biased"])
def test_a_decoder_alone_is_the_folder_it_was_made_of(fixture: str, tmp_path: Path) -> None:
    keys, tensors, vocabulary = decoder_alone(fixture)
    name = keys["general.architecture"][1]
    pooling = ["mean", "cls", "lasttoken"].index(Embedder(FIXTURES / fixture).info.pooling)
    keys[f"{name}.pooling_type"] = ("u32", pooling + 1)
    keys["tokenizer.ggml.eos_token_id"] = ("u32", vocabulary["<|endoftext|>"])
    keys["tokenizer.ggml.add_eos_token"] = ("bool", True)
    write(tmp_path / "model.gguf", keys, tensors)
    assert np.array_equal(encode(tmp_path), encode(FIXTURES / fixture))
    tensors["rope_freqs.weight"] = (0, (2,), bytes(8))
    write(tmp_path / "model.gguf", keys, tensors)
    with pytest.raises(ModelError, match=r"rope_freqs\.weight.* has scaled frequencies"):
        Embedder(tmp_path)


@pytest.mark.parametrize("head", ["none", "ranked", "rows"])
def test_a_language_model_alone_scores_by_yes_and_no(head: str, tmp_path: Path) -> None:
    """The converter writes the rows of both as a classifier where it knows the model by its name, and else nothing."""
    keys, tensors, vocabulary = decoder_alone("qwen3_rerank")
    keys |= {
        "tokenizer.ggml.eos_token_id": ("u32", vocabulary["<|im_end|>"]),
        "tokenizer.ggml.padding_token_id": ("u32", vocabulary["<|endoftext|>"]),
        "tokenizer.ggml.add_eos_token": ("bool", False),
    }
    if head != "none":
        keys["qwen3.pooling_type"] = ("u32", 4)
    if head == "rows":
        kind, (_, width), words = tensors["token_embd.weight"]
        rows = [words[4 * width * vocabulary[word] :][: 4 * width] for word in ("yes", "no")]
        tensors["cls.output.weight"] = (kind, (2, width), b"".join(rows))
        keys["qwen3.classifier.output_labels"] = ("[str]", ["yes", "no"])
    write(tmp_path / "model.gguf", keys, tensors)
    expected = Reranker(FIXTURES / "qwen3_rerank", device="cpu", dtype="float32").predict(PAIRS)
    alone = Reranker(tmp_path, device="cpu", dtype="float32", activation_fn="identity")
    assert np.array_equal(alone.predict(PAIRS), expected)

"""GGUF files: the vectors of the same numbers in safetensors, to the bit."""

import base64
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
from gguf_files import Array, Stored, architecture_of, f16, f32, least_keys, of_model, q4_1, q8_0, read, write
from votive import Embedder, ModelError, Reranker, inspect_model

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")

FIXTURES = Path(__file__).parent / "fixtures"
TEXTS: list[str] = json.loads((FIXTURES / "texts.json").read_text(encoding="utf-8"))[:20]
PAIRS = [("hello world", "a longer text of some more words"), ("x", "y " * 30)]
EMBEDDERS = [
    "bert_plain",
    "distilbert",
    "gemma3",
    "jina_v2",
    "jina_v2_code",
    "llama",
    "mistral",
    "modernbert",
    "nomic_bert_published",
    "nomic_moe",
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
    if fixture == "nomic_moe":
        # A file lacks the biases of experts.
        return
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

ALONE = [
    "gguf_gemma_embedding",
    "gguf_jina_v2",
    "gguf_llama",
    "gguf_modernbert",
    "gguf_nomic_moe",
    "gguf_qwen3",
    "gguf_xlm_roberta",
]
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
    "spaces: 2  3   7       33" + " " * 33 + "x   ",
    "a ▁▁ b▁▁▁c <b>bold</b><mask>\n\n\n",
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


def vocabulary_keys(tokenizer: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    """The tokens of a tokenizer.json as llama.cpp's converter writes them."""
    model = tokenizer["model"]
    special = {token["content"] for token in tokenizer["added_tokens"]}
    keys: dict[str, tuple[str, Any]] = {"tokenizer.ggml.model": ("str", KINDS[model["type"]])}
    if model["type"] == "Unigram":
        tokens = [piece for piece, _ in model["vocab"]]
        keys["tokenizer.ggml.scores"] = ("[f32]", [score for _, score in model["vocab"]])
        table = base64.b64decode(tokenizer["normalizer"]["precompiled_charsmap"])
        keys["tokenizer.ggml.precompiled_charsmap"] = ("[u8]", list(table))
    else:
        vocabulary = model["vocab"] | {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    if model["type"] == "BPE":
        keys["tokenizer.ggml.pre"] = ("str", "qwen2")
        keys["tokenizer.ggml.merges"] = ("[str]", [" ".join(pair) for pair in model["merges"]])

    def spelling(token: str) -> str:
        if model["type"] != "WordPiece" or token in special:
            return token
        return token[2:] if token.startswith("##") else "▁" + token

    keys["tokenizer.ggml.tokens"] = ("[str]", [spelling(token) for token in tokens])
    keys["tokenizer.ggml.token_type"] = ("[i32]", [3 if token in special else 1 for token in tokens])
    return keys


KINDS = {"WordPiece": "bert", "Unigram": "t5", "BPE": "gpt2"}


def bert_alone(folder: Path, changes: dict[str, Any], fixture: str = "bert_plain") -> Path:
    """A file alone of a fixture's weights and tokenizer; None removes a key."""
    source = FIXTURES / fixture
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    tokens = vocabulary_keys(tokenizer)
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
    keys = least_keys(config)
    name = keys["general.architecture"][1]
    keys |= {
        f"{name}.context_length": ("u32", config["max_position_embeddings"]),
        f"{name}.embedding_length": ("u32", config["hidden_size"]),
        f"{name}.block_count": ("u32", config["num_hidden_layers"]),
        f"{name}.feed_forward_length": ("u32", config["intermediate_size"]),
        f"{name}.attention.layer_norm_rms_epsilon": ("f32", config["rms_norm_eps"]),
        f"{name}.rope.freq_base": ("f32", config["rope_theta"]),
        **vocabulary_keys(tokenizer),
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


# Networks that the converter rearranges


def described(config: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    """The keys of a file with what its config.json says."""
    name = architecture_of(config)

    def size(*names: str) -> tuple[str, int]:
        return "u32", next(config[key] for key in names if key in config)

    keys: dict[str, tuple[str, Any]] = {
        "context_length": ("u32", 512),
        "embedding_length": size("n_embd", "hidden_size"),
        "block_count": size("n_layer", "num_hidden_layers"),
        "feed_forward_length": size("n_inner", "intermediate_size"),
        "attention.head_count": size("n_head", "num_attention_heads"),
        "pooling_type": ("u32", 1),
    }
    if "gemma" in name:
        angles = config["rope_parameters"]
        keys |= {
            "attention.head_count_kv": size("num_key_value_heads"),
            "attention.key_length": size("head_dim"),
            "attention.layer_norm_rms_epsilon": ("f32", config["rms_norm_eps"]),
            "attention.sliding_window": size("sliding_window"),
            "attention.sliding_window_pattern": size("num_hidden_layers"),
            "rope.freq_base": ("f32", angles["full_attention"]["rope_theta"]),
            "rope.freq_base_swa": ("f32", angles["sliding_attention"]["rope_theta"]),
        }
    else:
        epsilon = next(config[key] for key in ("layer_norm_epsilon", "layer_norm_eps") if key in config)
        keys |= {"attention.layer_norm_epsilon": ("f32", epsilon), "attention.causal": ("bool", False)}
    if "moe" in name:
        keys |= {
            "rope.freq_base": ("f32", config["rotary_emb_base"]),
            "expert_count": size("num_experts"),
            "expert_used_count": size("moe_top_k"),
            "moe_every_n_layers": size("moe_every_n_layers"),
        }
    return {"general.architecture": ("str", name)} | {f"{name}.{key}": value for key, value in keys.items()}


def rearranged(fixture: str, to: Path) -> tuple[dict[str, tuple[str, Any]], dict[str, Any], Path]:
    """Keys and tensors of a file alone, and a folder of the same numbers without what such a file cannot say."""
    _, plain = converted(fixture, to)
    (_, tensors), config, tokenizer = (
        read(to / "gguf" / "model.gguf"),
        *(json.loads((plain / f"{name}.json").read_text(encoding="utf-8")) for name in ("config", "tokenizer")),
    )
    if "query_pre_attn_scalar" in config:
        config["query_pre_attn_scalar"] = config["head_dim"]
    if tokenizer["model"]["type"] == "Unigram":
        tokenizer["model"]["vocab"] = [
            [piece, float(np.float32(score))] for piece, score in tokenizer["model"]["vocab"]
        ]
    for piece in tokenizer["post_processor"].get("single", []):
        next(iter(piece.values()))["type_id"] = 0
    modules = json.loads((plain / "modules.json").read_text())
    modules = [module for module in modules if not module["type"].endswith("Normalize")]
    for name, content in (("config", config), ("tokenizer", tokenizer), ("modules", modules)):
        (plain / f"{name}.json").write_text(json.dumps(content))
    keys = described(config) | vocabulary_keys(tokenizer)
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    if "<|endoftext|>" in ids:
        keys["tokenizer.ggml.eos_token_id"] = ("u32", ids["<|endoftext|>"])
        keys["tokenizer.ggml.add_eos_token"] = ("bool", True)
    for number in (2, 3):
        path = plain / f"{number}_Dense" / "model.safetensors"
        if path.exists():
            values = tensor_files.read(path)["linear.weight"].astype(np.float32)
            tensors[f"dense_{number}.weight"] = (0, values.shape, values.tobytes())
    return keys, tensors, plain


def file_in(folder: Path, keys: dict[str, tuple[str, Any]], tensors: dict[str, Any]) -> Path:
    """A folder with a file, and nothing beside it."""
    folder.mkdir(exist_ok=True)
    write(folder / "model.gguf", keys, tensors)
    return folder


@pytest.mark.parametrize("fixture", ["gemma3", "jina_v2", "jina_v2_code", "nomic_moe"])
def test_a_rearranged_network_alone_is_the_folder_it_was_made_of(fixture: str, tmp_path: Path) -> None:
    keys, tensors, plain = rearranged(fixture, tmp_path)
    alone = file_in(tmp_path / "alone", keys, tensors)
    tokens = [[row["input_ids"] for row in Embedder(folder).tokenize(HARD)] for folder in (alone, plain)]
    assert tokens[0] == tokens[1]
    expected = encode(plain)
    assert np.array_equal(encode(alone), expected)
    # Half of the digits, in both.
    halves = {
        name: (1, shape, np.frombuffer(content, "<f4").astype("<f2").tobytes())
        if len(shape) > 1
        else (kind, shape, content)
        for name, (kind, shape, content) in tensors.items()
    }
    assert np.allclose(encode(file_in(alone, keys, halves)), expected, atol=3e-2 * np.abs(expected).max())


@pytest.mark.parametrize("fixture", ["jina_v2", "jina_v2_code"])
def test_halves_of_gated_blocks_may_be_apart(fixture: str, tmp_path: Path) -> None:
    """As the converter wrote them first."""
    keys, tensors, plain = rearranged(fixture, tmp_path)
    for name in [name for name in tensors if name.endswith("ffn_up.weight")]:
        kind, (rows, columns), content = tensors[name]
        parts = [name.replace("ffn_up", "ffn_gate"), name]
        first = 4 * rows // 2 * columns
        for part, half in zip(
            parts if fixture == "jina_v2" else parts[::-1], (content[:first], content[first:]), strict=True
        ):
            tensors[part] = (kind, (rows // 2, columns), half[:first])
    assert np.array_equal(encode(file_in(tmp_path / "alone", keys, tensors)), encode(plain))


def test_embedding_gemma_by_ollamas_names(tmp_path: Path) -> None:
    keys, tensors = read(FIXTURES / "gguf_gemma_embedding" / "model.gguf")
    keys = {key.replace("gemma-embedding.", "gemma3.").replace("freq_base_swa", "x"): v for key, v in keys.items()}
    keys["general.architecture"] = ("str", "gemma3")
    keys["gemma3.rope.local.freq_base"] = keys.pop("gemma3.rope.x")
    names = {"dense_2.weight": "dense.0.weight", "dense_3.weight": "dense.1.weight"}
    tensors = {names.get(name, name): tensor for name, tensor in tensors.items()}
    folder = file_in(tmp_path / "alone", keys, tensors)
    assert np.array_equal(encode(folder), encode(FIXTURES / "gguf_gemma_embedding"))


def test_gemma_3_alone_looks_backwards(tmp_path: Path) -> None:
    keys, tensors, plain = rearranged("gemma3_causal", tmp_path)
    name = "gemma-embedding."
    keys = {key.replace(name, "gemma3."): value for key, value in keys.items() if key != f"{name}pooling_type"}
    keys["general.architecture"] = ("str", "gemma3")
    alone = file_in(tmp_path / "alone", keys, tensors)
    assert Embedder(alone).info.pooling == "lasttoken"
    assert np.array_equal(encode(alone), encode(plain))
    # Without a window all layers see all, with the angles of those.
    config = json.loads((plain / "config.json").read_text())
    config["layer_types"] = ["full_attention"] * config["num_hidden_layers"]
    (plain / "config.json").write_text(json.dumps(config))
    keys.pop("gemma3.attention.sliding_window")
    assert np.array_equal(encode(file_in(alone, keys, tensors)), encode(plain))


@pytest.mark.parametrize(
    ("fixture", "changes", "expected"),
    [
        ("gemma_embedding", {"pooling_type": None}, r"gemma-embedding\.pooling_type: missing: how tokens become one"),
        (
            "gemma_embedding",
            {"pooling_type": ("u32", 3)},
            r"pooling_type: \"lasttoken\" pooling is of no EmbeddingGemma",
        ),
        ("gemma_embedding", {"dense_2_feat_out": ("u32", 90)}, r"dense_2_feat_out: is 90, and dense_2\.weight has 96"),
        ("gemma_embedding", {"dense_3.weight": None}, r"two Dense layers, and the file lacks dense_3\.weight"),
        (
            "gemma_embedding",
            {"attention.causal": ("bool", True)},
            r"attention\.causal: true is not supported for this model",
        ),
        ("gemma_embedding", {"attention.sliding_window": None}, r"attention\.sliding_window: missing"),
        ("gemma_embedding", {"attention.key_length": None}, r"attention\.key_length: missing"),
        ("gemma_embedding", {"attention.value_length": ("u32", 8)}, r"value_length: is 8, and that of keys 16"),
        (
            "gemma_embedding",
            {"attn_logit_softcapping": ("f32", 50.0)},
            r"attn_logit_softcapping: bounds of scores are not",
        ),
        (
            "gemma_embedding",
            {"rope.scaling.type": ("str", "yarn"), "rope.scaling.factor": ("f32", 8.0)},
            r"rope\.scaling\.type: \"linear\" alone is supported for Gemma 3",
        ),
        ("nomic_moe", {"pooling_type": None}, r"nomic-bert-moe\.pooling_type: missing: how tokens become one"),
        ("nomic_moe", {"moe_every_n_layers": None}, r"nomic-bert-moe\.moe_every_n_layers: missing"),
        ("nomic_moe", {"expert_used_count": None}, r"nomic-bert-moe\.expert_used_count: missing"),
        ("nomic_moe", {"expert_count": ("u32", 8)}, r"expert_count: is 8, and blk\.1\.ffn_gate_inp\.weight has 4 rows"),
        ("nomic_moe", {"attention.causal": ("bool", True)}, r"attention\.causal: true is not supported"),
        (
            "nomic_moe",
            {"blk.1.ffn_down_exps.weight": None},
            r"has no tensor \"encoder\.layers\.1\.mlp\.experts\.mlp\.w2",
        ),
        ("jina_v2", {"pooling_type": None}, r"jina-bert-v2\.pooling_type: missing: how tokens become one"),
        ("jina_v2", {"attention.max_alibi_bias": ("f32", 4.0)}, r"max_alibi_bias: 4 is not supported; 8 is"),
        (
            "jina_v2",
            {"feed_forward_length": ("u32", 128)},
            r"ffn_up\.weight.* has 128 rows, and feed_forward_length is 128",
        ),
        (
            "jina_v2",
            {"cls.weight": (0, (96,), bytes(4 * 96))},
            r"cls\.weight.* is a classifier's, which is not supported",
        ),
    ],
)
def test_what_contradicts_a_rearranged_network_is_refused_by_name(
    fixture: str, changes: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    keys, tensors = read(FIXTURES / f"gguf_{fixture}" / "model.gguf")
    name = keys["general.architecture"][1]
    for key, value in changes.items():
        table: dict[str, Any] = tensors if key.endswith(".weight") else keys
        full = key if table is tensors else f"{name}.{key}"
        table[full] = value
        if value is None:
            del table[full]
    with pytest.raises(ModelError, match=expected):
        Embedder(file_in(tmp_path / "alone", keys, tensors))


def test_experts_without_biases_are_said_to_be_so(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="lacks the biases of its experts, which llama.cpp's converter leaves out"):
        Embedder(FIXTURES / "gguf_nomic_moe")
    gguf, _ = converted("nomic_moe", tmp_path)
    assert any("lacks the biases of its experts" in said for said in inspect_model(gguf).assumptions)

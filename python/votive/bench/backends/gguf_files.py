"""GGUF files of the models that are compared: written by the package `gguf`, and quantized by llama.cpp itself.

A file has no prompts and no Normalize, and is all that its readers get: tokenizer, pooling and limits are in it.
"""

from __future__ import annotations

import json
from collections import deque
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from votive.bench.backends.exports import made_once
from votive.bench.backends.heads import Head
from votive.bench.backends.unavailable import Unavailable

if TYPE_CHECKING:
    import gguf

# llama.cpp's numbers of the types that files come in. Rows of 384 are no whole blocks of 256: there Q4_K is Q5_0.
TYPES = {"Q8_0": 7, "Q4_K_M": 15, "Q4_0": 2}
# What files are made of: pooling and networks.
POOLINGS = {"mean": "MEAN", "cls": "CLS", "lasttoken": "LAST"}
FAMILIES = ("BERT", "Qwen3")
TABLE_OF_POSITIONS = "position_embd.weight"
LOG_ERROR = 4  # GGML_LOG_LEVEL_ERROR

_errors: deque[str] = deque(maxlen=2)


def file(model: Path, kept: Path, kind: str) -> Path:
    """The model's file of one of `TYPES`. All of them are made together, which needs llama.cpp."""
    import llama_cpp

    def build(folder: Path) -> None:
        plain = folder / "F32.gguf"
        _write(model, plain)
        quiet()
        options = llama_cpp.llama_model_quantize_default_params()
        for name, options.ftype in TYPES.items():
            made = folder / f"{name}.gguf"
            if llama_cpp.llama_model_quantize(bytes(plain), bytes(made), options):
                raise Unavailable(f"llama.cpp made no {name} of {model}: {last_error()}")
        plain.unlink()

    return made_once(kept, f"gguf-llama.cpp{llama_cpp.__version__}", build) / f"{kind}.gguf"


@cache
def quiet() -> Any:
    """Have llama.cpp print nothing; the function that it calls instead is kept for as long as the process lives."""
    import llama_cpp

    def keep(level: int, text: bytes, data: object) -> None:
        if level == LOG_ERROR:
            _errors.append(text.decode(errors="replace").strip())

    callback = llama_cpp.llama_log_callback(keep)
    llama_cpp.llama_log_set(callback, None)
    return callback


def last_error() -> str:
    """What llama.cpp said last of what went wrong: the cause, and what came of it."""
    return "; ".join(_errors) or "it does not say why"


def _write(model: Path, path: Path) -> None:
    """Names, keys and tokens as llama.cpp's converter writes them."""
    from safetensors.numpy import load_file

    import gguf

    config = json.loads((model / "config.json").read_text())
    head = Head.of(model, "embed", "a GGUF file that is made here", tuple(POOLINGS), FAMILIES)
    longest = head.longest
    architecture = gguf.MODEL_ARCH[config["model_type"].upper()]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(longest)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_pooling_type(gguf.PoolingType[POOLINGS[head.pooling]])
    if architecture == gguf.MODEL_ARCH.QWEN3:
        writer.add_head_count_kv(config["num_key_value_heads"])
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    else:
        writer.add_layer_norm_eps(config["layer_norm_eps"])
        writer.add_causal_attention(False)
    _add_tokens(writer, model)
    names = gguf.get_tensor_name_map(architecture, config["num_hidden_layers"])
    try:
        tensors = load_file(model / "model.safetensors")
    except (FileNotFoundError, TypeError) as error:  # shards; or bfloat16, which NumPy does not have
        raise Unavailable(f"no GGUF file is made of {model.name}: {error}") from error
    for name, values in tensors.items():
        today = name.removeprefix("bert.").replace(".gamma", ".weight").replace(".beta", ".bias")
        own = names.get_name(today, try_suffixes=(".weight", ".bias"))
        # The pooler, what guesses words, and the numbers of positions have no part in embeddings.
        if own is not None and not name.startswith("cls."):
            writer.add_tensor(own, values[:longest] if own == TABLE_OF_POSITIONS else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokens(writer: gguf.GGUFWriter, model: Path) -> None:
    """WordPiece: a "▁" begins what begins a word, and what goes on with one has no "##"."""
    import gguf

    tokenizer = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    if tokenizer["model"]["type"] != "WordPiece":
        raise Unavailable(f"no GGUF file is made of {model.name}: its tokenizer is {tokenizer['model']['type']}")
    special = {token["content"] for token in tokenizer["added_tokens"]}
    words = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].__getitem__)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_type_count(2)
    writer.add_token_list(
        [word if word in special else word[2:] if word.startswith("##") else f"\u2581{word}" for word in words]
    )
    writer.add_token_types([gguf.TokenType.CONTROL if word in special else gguf.TokenType.NORMAL for word in words])
    gguf.SpecialVocab(model, n_vocab=len(words)).add_to_gguf(writer)

"""Writing GGUF files with NumPy alone: of the models in `fixtures`, under llama.cpp's names, in a few of its types."""

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

# Number of each type of values, and its format in `struct`.
_KINDS = {
    "u8": 0,
    "i8": 1,
    "u16": 2,
    "i16": 3,
    "u32": 4,
    "i32": 5,
    "f32": 6,
    "bool": 7,
    "str": 8,
    "u64": 10,
    "i64": 11,
    "f64": 12,
}
_FORMATS = {
    "u8": "B",
    "i8": "b",
    "u16": "H",
    "i16": "h",
    "u32": "I",
    "i32": "i",
    "f32": "f",
    "bool": "?",
    "u64": "Q",
    "i64": "q",
    "f64": "d",
}

Array = np.ndarray[Any, Any]
# A type's number, and the bytes of a tensor's rows.
Stored = tuple[int, Array]


def f32(values: Array) -> Stored:
    """Plain numbers."""
    return 0, values.astype("<f4")


def f16(values: Array) -> Stored:
    """Numbers of two bytes."""
    return 1, values.astype("<f2")


def q8_0(values: Array) -> Stored:
    """Blocks of 32 with a scale, of eight bits each."""
    blocks = values.reshape(*values.shape[:-1], -1, 32)
    scale = (np.abs(blocks).max(-1, keepdims=True) / 127).astype("<f2")
    codes = np.round(blocks / np.maximum(scale.astype(np.float32), 1e-30)).clip(-127, 127).astype(np.int8)
    return 8, np.concatenate([scale.view(np.uint8), codes.view(np.uint8)], -1)


def q4_1(values: Array) -> Stored:
    """Blocks of 32 with a scale and a minimum, of four bits each."""
    blocks = values.reshape(*values.shape[:-1], -1, 32)
    least = blocks.min(-1, keepdims=True).astype("<f2")
    scale = ((blocks.max(-1, keepdims=True) - blocks.min(-1, keepdims=True)) / 15).astype("<f2")
    codes = np.round((blocks - least) / np.maximum(scale.astype(np.float32), 1e-30)).clip(0, 15).astype(np.uint8)
    return 3, np.concatenate([scale.view(np.uint8), least.view(np.uint8), codes[..., :16] | codes[..., 16:] << 4], -1)


def decoded(stored: Stored) -> Array:
    """The float32 that the bytes of a tensor are."""
    kind, rows = stored
    if kind in (0, 1):
        return rows.astype(np.float32)
    scale = np.ascontiguousarray(rows[..., :2]).view("<f2").astype(np.float32)
    if kind == 8:
        numbers = scale * np.ascontiguousarray(rows[..., 2:]).view(np.int8).astype(np.float32)
    else:
        least = np.ascontiguousarray(rows[..., 2:4]).view("<f2").astype(np.float32)
        codes = np.concatenate([rows[..., 4:] & 15, rows[..., 4:] >> 4], -1)
        numbers = scale * codes.astype(np.float32) + least
    return numbers.reshape(*rows.shape[:-2], -1)


def write(
    path: Path, keys: Mapping[str, tuple[str, Any]], tensors: Mapping[str, tuple[int, tuple[int, ...], bytes]]
) -> None:
    """A file with these values, each with its type ("[u32]" for lists), and tensors: type, shape (of NumPy), bytes."""
    header = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys))
    header += b"".join(_text(key) + _value(kind, value) for key, (kind, value) in keys.items())
    data = b""
    for name, (kind, shape, stored) in tensors.items():
        header += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind, len(data))
        data += stored + bytes(-len(stored) % 32)
    path.write_bytes(header + bytes(-len(header) % 32) + data)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(kind: str, value: Any) -> bytes:
    if kind.startswith("["):
        items = [_value(kind[1:-1], item)[4:] for item in value]
        return struct.pack("<IIQ", 9, _KINDS[kind[1:-1]], len(items)) + b"".join(items)
    return struct.pack("<I", _KINDS[kind]) + (
        _text(value) if kind == "str" else struct.pack("<" + _FORMATS[kind], value)
    )


def read(path: Path) -> tuple[dict[str, tuple[str, Any]], dict[str, tuple[int, tuple[int, ...], bytes]]]:
    """What `write` is given for such a file, of types whose sizes are known here."""
    content, place = path.read_bytes(), 24
    kinds = {number: kind for kind, number in _KINDS.items()}

    def number(format: str) -> Any:
        nonlocal place
        (value,) = struct.unpack_from("<" + format, content, place)
        place += struct.calcsize("<" + format)
        return value

    def text() -> str:
        nonlocal place
        length = number("Q")
        place += length
        return content[place - length : place].decode()

    def value(kind: str) -> Any:
        return text() if kind == "str" else number(_FORMATS[kind])

    keys: dict[str, tuple[str, Any]] = {}
    tensors, count = struct.unpack_from("<QQ", content, 8)
    for _ in range(count):
        key, kind = text(), number("I")
        if kind == 9:
            kind = number("I")
            keys[key] = f"[{kinds[kind]}]", [value(kinds[kind]) for _ in range(number("Q"))]
        else:
            keys[key] = kinds[kind], value(kinds[kind])
    places = []
    for _ in range(tensors):
        name = text()
        shape = tuple(reversed([number("Q") for _ in range(number("I"))]))
        places.append((name, shape, number("I"), number("Q")))
    start = place + -place % 32
    ends = [start + offset for *_, offset in places[1:]] + [len(content)]
    return keys, {
        # With the padding behind it, which is not told from numbers.
        name: (kind, shape, content[start + offset : end])
        for (name, shape, kind, offset), end in zip(places, ends, strict=True)
    }


_BERT = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
    "attention.q_lin": "attn_q",
    "attention.k_lin": "attn_k",
    "attention.v_lin": "attn_v",
    "attention.out_lin": "attn_output",
    "sa_layer_norm": "attn_output_norm",
    "ffn.lin1": "ffn_up",
    "ffn.lin2": "ffn_down",
    "output_layer_norm": "layer_output_norm",
    "attn.Wqkv": "attn_qkv",
    "attn.out_proj": "attn_output",
    "norm1": "attn_output_norm",
    "mlp.fc11": "ffn_up",
    "mlp.fc12": "ffn_gate",
    "mlp.fc2": "ffn_down",
    "mlp.fc1": "ffn_up",
    "mlp.router.layer": "ffn_gate_inp",
    "norm2": "layer_output_norm",
    "attention.self.layer_norm_q": "attn_q_norm",
    "attention.self.layer_norm_k": "attn_k_norm",
    "layer_norm_1": "attn_norm_2",
    "layer_norm_2": "layer_output_norm",
    "mlp.gated_layers": "ffn_up",
    "mlp.up_gated_layer": "ffn_up",
    "mlp.wo": "ffn_down",
    "mlp.down_layer": "ffn_down",
    "mlp.layernorm": "layer_output_norm",
    "attn_norm": "attn_norm",
    "attn.Wo": "attn_output",
    "mlp_norm": "ffn_norm",
    "mlp.Wi": "ffn_up",
    "mlp.Wo": "ffn_down",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "embeddings.word_embeddings": "token_embd",
    "embeddings.tok_embeddings": "token_embd",
    "embed_tokens": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "emb_ln": "token_embd_norm",
    "embeddings.norm": "token_embd_norm",
    "final_norm": "output_norm",
    "norm": "output_norm",
    "lm_head": "output",
    "classifier.dense": "cls",
    "pre_classifier": "cls",
    "head.dense": "cls",
    "head.norm": "cls.norm",
    "classifier.out_proj": "cls.output",
    "classifier": "cls.output",
}


def of_model(
    config: dict[str, Any], weights: dict[str, Array], store: Callable[[Array], Stored] = f32
) -> tuple[dict[str, Any], dict[str, Array]]:
    """The tensors of a GGUF file, and the weights that transformers has for what is left of them after storing.

    Matrices are stored in the type of `store` where its blocks fit their rows; what has one dimension in float32.
    """
    kind = config["model_type"]
    tensors, left = {}, {}
    for full, whole in weights.items():
        values, name = whole, full
        for wrapper in ("bert.", "roberta.", "distilbert.", "model."):
            name = name.removeprefix(wrapper)
        path, _, end = name.rpartition(".")
        if path.endswith("mlp.experts"):
            left[full] = np.zeros_like(whole)
            continue
        if path.endswith("mlp.experts.mlp"):
            # Matrices of all experts in one tensor, the second ones transposed.
            shape = (config["num_experts"], config["n_inner"], config["n_embd"])
            turned = values.reshape(shape).swapaxes(1, 2) if end == "w2" else values.reshape(shape)
            stored = (store if turned.shape[-1] % 32 == 0 else f32)(turned)
            number = path.split(".")[2]
            part = "ffn_down_exps" if end == "w2" else "ffn_up_exps"
            tensors[f"blk.{number}.{part}.weight"] = (stored[0], turned.shape, stored[1].tobytes())
            back = decoded(stored).reshape(turned.shape)
            left[full] = (back.swapaxes(1, 2) if end == "w2" else back).reshape(whole.shape)
            continue
        if path in ("pooler.dense",) or "position_ids" in name:
            continue
        parts = path.split(".")
        number = next((part for part in parts if part.isdigit()), None)
        part = path if number is None else ".".join(parts[parts.index(number) + 1 :])
        own = _BERT[part]
        if kind == "gemma3_text" and part == "post_attention_layernorm":
            own = "post_attention_norm"
        zeros = 0
        if kind in ("roberta", "xlm-roberta") and own == "position_embd":
            zeros = config["pad_token_id"] + 1
            values = values[zeros:]
        if kind in ("llama", "mistral") and own in ("attn_q", "attn_k"):
            heads = config["num_attention_heads" if own == "attn_q" else "num_key_value_heads"]
            values = values.reshape(heads, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
        one = np.float32(kind == "gemma3_text" and own.endswith("norm"))
        stored = (store if values.ndim == 2 and values.shape[-1] % 32 == 0 else f32)(values + one)
        shape = values.shape[1:] if values.shape[0] == 1 and values.ndim == 2 else values.shape
        tensors[("" if number is None else f"blk.{number}.") + f"{own}.{end}"] = (stored[0], shape, stored[1].tobytes())
        back = decoded(stored).reshape(values.shape) - one
        if kind in ("llama", "mistral") and own in ("attn_q", "attn_k"):
            back = back.reshape(heads, -1, 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
        left[full] = np.concatenate([np.zeros((zeros, *back.shape[1:]), np.float32), back])
    return tensors, left


_ARCHITECTURES = {
    "roberta": "bert",
    "xlm-roberta": "bert",
    "distilbert": "bert",
    "modernbert": "modern-bert",
    "nomic_bert": "nomic-bert",
    "mistral": "llama",
    "gemma3_text": "gemma-embedding",
}


def architecture_of(config: dict[str, Any]) -> str:
    """What llama.cpp calls the network."""
    kind = config["model_type"]
    if config.get("position_embedding_type") == "alibi":
        return "jina-bert-v2"
    if config.get("moe_every_n_layers"):
        return "nomic-bert-moe"
    return _ARCHITECTURES.get(kind, kind)


def least_keys(config: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    """What a file must say where config.json lies beside it."""
    name = architecture_of(config)
    keys: dict[str, tuple[str, Any]] = {"general.architecture": ("str", name)}
    if name == "bert":
        keys["bert.pooling_type"] = ("u32", 1)
    if "num_attention_heads" in config:
        keys[f"{name}.attention.head_count"] = ("u32", config["num_attention_heads"])
    if "num_key_value_heads" in config:
        keys[f"{name}.attention.head_count_kv"] = ("u64", config["num_key_value_heads"])
    return keys

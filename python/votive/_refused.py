"""Arguments of sentence-transformers that have no meaning here: each is refused by name, with what to do instead."""

from __future__ import annotations

from typing import Any

_ADVICE = {
    "pool": "one model uses all cores (num_threads=); for several machines give each its own",
    "chunk_size": "texts are cut into passes by their tokens; batch_size= bounds the texts of one",
    "processing_kwargs": "set model.max_seq_length instead",
    "modules": "save the model that they make to a folder, and load that",
    "use_auth_token": "give it as token=",
    "model_card_data": "votive writes no model cards; leave it out",
    "keep_in_fp32_modules": "dtype= is for the whole model; dtype='float32' keeps all of it in float32",
}

_KERNELS = "attention is computed exactly by votive's own kernels; leave it out"
_FILES = "the hub is asked by revision=, cache_folder=, local_files_only= and token="
_DEVICE = "one device holds the whole model; give it as device="
_QUANTIZED = "give dtype='int8'"

_KEYS: dict[str, dict[str, str]] = {
    "model_kwargs": {
        "attn_implementation": _KERNELS,
        "device_map": _DEVICE,
        "device": _DEVICE,
        "low_cpu_mem_usage": "weights are mapped, not copied, wherever that can be; leave it out",
        "use_safetensors": "safetensors are read wherever they are there; leave it out",
        "quantization_config": _QUANTIZED,
        "load_in_8bit": _QUANTIZED,
        "load_in_4bit": "give dtype='int4'",
        "trust_remote_code": "votive runs no code of models; leave it out",
        "revision": _FILES,
        "cache_dir": _FILES,
        "token": _FILES,
        "provider": "give the device as device=",
        "gguf_file": "give it as gguf_file=",
        "file_name": "the weights that the model's own framework reads are taken; leave it out",
        "export": "nothing is exported; leave it out",
    },
    "processor_kwargs": {
        "model_max_length": "give {length}=",
        "max_length": "give {length}=",
        "use_fast": "the fast tokenizer's file is read; leave it out",
        "padding_side": "texts are packed without padding; leave it out",
        "truncation_side": "the end of a long text is cut, as the model's tokenizer.json says",
        "chat_template": "the template of the model's folder is used; change it there",
    },
    "config_kwargs": {
        "num_labels": "Reranker takes num_labels=",
        "attn_implementation": _KERNELS,
        "classifier_dropout": "there is no dropout when a model only computes; leave it out",
    },
}
_KEYS["tokenizer_kwargs"] = _KEYS["processor_kwargs"]

_MODEL_FILES = "votive takes what the model's files say; change it there, or leave it out"


def refuse(**given: Any) -> None:
    """Accepts arguments that say nothing, because they are None.

    Raises:
        ValueError: one is not None.
    """
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name}: not supported; {_ADVICE[name]}")


def refuse_keys(length: str, **given: Any) -> None:
    """Accepts dicts of keyword arguments that are None or empty; `length` is the argument for the most tokens.

    Raises:
        TypeError: one is no dict.
        ValueError: one holds a key.
    """
    for argument, options in given.items():
        for key in _keys_of(argument, options):
            advice = _KEYS[argument].get(key, _MODEL_FILES).format(length=length)
            raise ValueError(f"{argument}[{key!r}]: not supported; {advice}")


def check_code_and_backends(trust_remote_code: Any, backend: Any) -> None:
    """Accepts either `trust_remote_code`, and `backend="torch"`, whose results votive's are.

    Model cards ask for trust in code that is not needed here: votive has its own for the families that it knows, and
    the core refuses others.

    Raises:
        TypeError: `trust_remote_code` is neither True nor False.
        ValueError: another backend is asked for.
    """
    if not isinstance(trust_remote_code, bool):
        raise TypeError(f"trust_remote_code: expected bool, found {type(trust_remote_code).__name__}")
    if backend != "torch":
        raise ValueError(
            f"backend: {backend!r} is not supported; votive computes what backend='torch' does, on the device of "
            "device=: leave it out"
        )


def dtype_of(dtype: Any, model_kwargs: Any) -> Any:
    """The type of weights that `dtype` and the `dtype` or `torch_dtype` of `model_kwargs` ask for together.

    Raises:
        TypeError: `model_kwargs` is no dict.
        ValueError: they ask for two types, or `model_kwargs` has other keys.
    """
    for key in _keys_of("model_kwargs", model_kwargs):
        if key not in ("dtype", "torch_dtype"):
            raise ValueError(f"model_kwargs[{key!r}]: not supported; {_KEYS['model_kwargs'].get(key, _MODEL_FILES)}")
        wanted = model_kwargs[key]
        kind = type(wanted)
        if kind.__module__ == "torch":
            wanted = str(wanted).removeprefix("torch.")
        if wanted in (None, "auto", dtype):
            continue
        if not isinstance(wanted, str):
            raise TypeError(f"model_kwargs[{key!r}]: expected a str or a torch.dtype, found {kind.__name__}")
        if dtype != "auto":
            raise ValueError(f"dtype, model_kwargs: {dtype!r} and {wanted!r} are two types of weights; give one")
        dtype = wanted
    return dtype


def _keys_of(argument: str, options: Any) -> list[Any]:
    if options is None:
        return []
    if not isinstance(options, dict):
        raise TypeError(f"{argument}: expected dict or None, found {type(options).__name__}")
    return list(options)

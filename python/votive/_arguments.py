"""What arguments may be: each check names the argument, what was found and what is accepted."""

from __future__ import annotations

import os
import sys
from types import NoneType
from typing import Any

PRECISIONS = ("float32", "int8", "uint8", "binary", "ubinary")
OUTPUT_VALUES = ("sentence_embedding", "token_embeddings", None)

# Arguments of sentence-transformers that mean nothing here, and what to do instead.
_INSTEAD = {
    "pool": "one Embedder uses all cores (num_threads=); for several machines give each its own",
    "chunk_size": "texts are cut into passes by their tokens; batch_size= bounds the texts of one",
    "processing_kwargs": "set model.max_seq_length instead",
    "task": "use encode_query or encode_document, or prompt_name=",
}

# What a constructor's arguments may be, as far as it has them, but for those that are counts.
_TYPES: dict[str, tuple[type, ...]] = {
    "model_name_or_path": (str,),
    "device": (str,),
    "dtype": (str,),
    "revision": (str, NoneType),
    "cache_folder": (str, NoneType),
    "local_files_only": (bool,),
    "token": (bool, str, NoneType),
    "prompts": (dict, NoneType),
    "default_prompt_name": (str, NoneType),
    "similarity_fn_name": (str, NoneType),
    "fallback": (bool,),
}
_COUNTS = ("max_seq_length", "max_length", "num_labels", "truncate_dim", "num_threads")


def check_constructor(arguments: dict[str, Any]) -> None:
    """Accepts what is of the right type, and counts from 1."""
    for name, types in _TYPES.items():
        if name in arguments and not isinstance(arguments[name], types):
            accepted = " or ".join("None" if kind is NoneType else kind.__name__ for kind in types)
            raise TypeError(f"{name}: expected {accepted}, found {type(arguments[name]).__name__}")
        if isinstance(arguments.get(name), str):
            _check_name(name, arguments[name])
    for name in _COUNTS:
        check_count(name, arguments.get(name))


def _check_name(name: str, value: str) -> None:
    """Accepts text, and of a folder that is not looked into by name what the system can encode."""
    try:
        os.fsencode(value) if name == "cache_folder" else value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name}: holds what is no UTF-8, or a lone surrogate") from None


def check_count(name: str, value: Any) -> None:
    """Accepts integers from 1, and None."""
    if value is None:
        return
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: expected an int or None, found {type(value).__name__}")
    if not 1 <= value <= sys.maxsize:
        raise ValueError(f"{name}: expected 1 or more, or None, found {value}")


def check_text(name: str, value: Any) -> None:
    """Accepts a str without lone surrogates."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a str, found {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name}: holds a lone surrogate, which is no text") from None


def check_truncate_dim(truncate_dim: Any, dimension: int) -> None:
    """Accepts 1 to `dimension`, and None."""
    check_count("truncate_dim", truncate_dim)
    if truncate_dim is not None and truncate_dim > dimension:
        raise ValueError(f"truncate_dim: expected 1 to {dimension}, the dimension of the model, found {truncate_dim}")


def check_choice(name: str, value: Any, accepted: tuple[str | None, ...]) -> None:
    """Accepts what is in `accepted`."""
    if value not in accepted:
        raise ValueError(f"{name}: expected one of {accepted}, found {value!r}")


def check_numpy(method: str, convert_to_numpy: bool, convert_to_tensor: bool) -> None:
    """Accepts NumPy arrays as the result, and nothing else."""
    if convert_to_tensor or not convert_to_numpy:
        raise ValueError(
            f"convert_to_tensor, convert_to_numpy: votive gives NumPy arrays; torch.from_numpy(model.{method}(...)) "
            "makes a tensor of one without a copy"
        )


def check_out(out: Any, width: int, precision: str) -> None:
    """Accepts arrays `[rows, width]` of float32 that can be written to in place."""
    if precision != "float32":
        raise ValueError(f"out: holds float32, and precision={precision!r} was asked for")
    import numpy as np

    if not isinstance(out, np.ndarray) or out.dtype != np.float32:
        found = f"{out.dtype} array" if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(f"out: expected an array of float32, found {found}")
    if out.ndim != 2 or out.shape[1] != width:
        raise ValueError(f"out: expected shape (texts, {width}), found {out.shape}")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError("out: expected a C-contiguous, writable array")


def refuse(method: str, unsupported: dict[str, Any]) -> None:
    """Accepts arguments of sentence-transformers that say nothing, because they are None."""
    for name, value in unsupported.items():
        if name not in _INSTEAD:
            raise TypeError(f"{method}() got an unexpected keyword argument {name!r}")
        if value is not None:
            raise ValueError(f"{name}: not supported; {_INSTEAD[name]}")


def check_priority(priority: Any) -> float:
    """Accepts finite numbers above 0."""
    if isinstance(priority, (bool, str)) or not hasattr(priority, "__float__"):
        raise TypeError(f"priority: expected a number, found {type(priority).__name__}")
    if not 0 < float(priority) < float("inf"):
        raise ValueError(f"priority: expected more than 0, found {priority}")
    return float(priority)


def check_positive(name: str, value: Any) -> None:
    """Accepts integers from 1, however large."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: expected an int, found {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name}: expected 1 or more, found {value}")


def check_memory_limit(gigabytes: Any) -> float:
    """Accepts a number above 0, or None for no limit, and gives it in bytes."""
    if gigabytes is None:
        return float("inf")
    if isinstance(gigabytes, (bool, str)) or not hasattr(gigabytes, "__float__"):
        raise TypeError(f"max_memory_gb: expected a number or None, found {type(gigabytes).__name__}")
    if not float(gigabytes) > 0:
        raise ValueError(f"max_memory_gb: expected more than 0, found {gigabytes}")
    return float(gigabytes) * 10**9

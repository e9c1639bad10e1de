"""What arguments may be: each check names the argument, what was found and what is accepted."""

from __future__ import annotations

import os
import sys
from types import NoneType
from typing import Any, get_args

from votive.typing import OutputValue, Precision

PRECISIONS = get_args(Precision)
OUTPUT_VALUES = get_args(OutputValue)


def check_count(name: str, value: Any, minimum: int = 1) -> None:
    """Accepts integers from `minimum`, and None."""
    if value is None:
        return
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: expected an int or None, found {type(value).__name__}")
    if not minimum <= value <= sys.maxsize:
        raise ValueError(f"{name}: expected {minimum} or more, or None, found {value}")


class DefaultCount(int):
    """The default of a count that has two names: an int, and another object than any that is given."""


def one_count(method: str, k: Any, top_k: Any) -> Any:
    """The count of a method that takes it by either name.

    Raises:
        TypeError: both were given, or `top_k` is no int.
        ValueError: `top_k` is below 1.
    """
    if top_k is None:
        return k
    if not (k is None or isinstance(k, DefaultCount)):
        raise TypeError(f"{method}: k and top_k are two names of one argument; give one of them")
    check_positive("top_k", top_k)
    return top_k


def refuse_masked(name: str, values: Any) -> None:
    """Accepts what has no masked elements, also in a list: NumPy would go on with what is under the mask."""
    import numpy as np

    rows = values if isinstance(values, (list, tuple)) else ()
    if np.ma.is_masked(values) or any(isinstance(row, np.ma.MaskedArray) and np.ma.is_masked(row) for row in rows):
        raise ValueError(f"{name}: holds masked elements; fill them first")


def check_text(name: str, value: Any) -> str:
    """Accepts a str without lone surrogates; gives it as a plain one, whatever methods a class of its own has."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a str, found {type(value).__name__}")
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name}: holds a lone surrogate, which is no text") from None
    return text


def check_path(name: str, value: Any) -> None:
    """Accepts what a file of this system may be called, and None."""
    try:
        os.fsencode(value or "")
    except UnicodeEncodeError:
        raise ValueError(f"{name}: holds a lone surrogate that stands for no byte of a file's name") from None


def check_flag(name: str, value: Any) -> bool:
    """Accepts a bool, also one of NumPy's."""
    if not isinstance(value, bool):
        import numpy as np

        if not isinstance(value, np.bool_):
            raise TypeError(f"{name}: expected a bool, found {type(value).__name__}")
    return bool(value)


def check_truncate_dim(truncate_dim: Any, dimension: int) -> None:
    """Accepts 1 to `dimension`, and None."""
    check_count("truncate_dim", truncate_dim)
    if truncate_dim is not None and truncate_dim > dimension:
        raise ValueError(f"truncate_dim: expected 1 to {dimension}, the dimension of the model, found {truncate_dim}")


def check_choice(name: str, value: Any, accepted: tuple[str | None, ...]) -> None:
    """Accepts what is in `accepted`."""
    if not isinstance(value, str | NoneType) or value not in accepted:
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

"""Tensors of PyTorch, where a program has it: what is asked for as one, and what came in as one.

sentence-transformers gives tensors from many functions without being asked. Here such a function gives a tensor where
an argument is one, or where the process has imported torch already; else an array. So a program that never imports
torch never pays for it: seconds, and hundreds of megabytes.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TensorRule = Literal["auto", "always", "never"]

# What `install(tensors=)` chose.
_rule: TensorRule = "auto"


def set_rule(rule: TensorRule) -> None:
    """When functions that sentence-transformers gives tensors from do so unasked.

    Raises:
        ValueError: there is no such rule.
    """
    global _rule
    if rule not in get_args(TensorRule):
        raise ValueError(f"tensors: expected one of {', '.join(get_args(TensorRule))}, found {rule!r}")
    _rule = rule


def is_tensor(value: object) -> bool:
    """Whether it is a tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, getattr(torch, "Tensor", ()))


def holds_tensors(value: object) -> bool:
    """Whether it is a tensor, or a list or tuple that begins with one."""
    return is_tensor(value) or (isinstance(value, (list, tuple)) and len(value) > 0 and is_tensor(value[0]))


def unasked(*arguments: object) -> bool:
    """Whether a function that was given these answers with tensors."""
    if _rule == "auto":
        return sys.modules.get("torch") is not None or any(map(holds_tensors, arguments))
    return _rule == "always"


def to_tensor(array: NDArray[Any] | np.generic) -> Any:
    """A tensor of the array's memory, or of a copy where nobody may write to that.

    Raises:
        ImportError: PyTorch is not installed.
    """
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise ImportError(
            "tensors need PyTorch, which is not installed; leave convert_to_tensor out for arrays"
        ) from error
    import numpy as np

    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def like(array: NDArray[Any] | np.generic, *arguments: Any) -> Any:
    """`array`, as a tensor where `arguments` call for one: on the device of the first tensor among them."""
    if not unasked(*arguments):
        return array
    tensor = to_tensor(array)
    first = next((argument for argument in arguments if holds_tensors(argument)), tensor)
    device = first.device if is_tensor(first) else first[0].device
    return tensor.to(device)


def as_array(value: Any) -> Any:
    """What NumPy takes: tensors of any device and float type become arrays, lists of them one array, the rest stays."""
    if is_tensor(value):
        tensor = value.detach().cpu()
        if tensor.is_sparse:
            tensor = tensor.to_dense()
        # NumPy has no bfloat16.
        return tensor.float().numpy() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor.numpy()
    if holds_tensors(value):
        import numpy as np

        return np.stack([as_array(item) for item in value])
    return value


def as_floats(name: str, value: Any) -> NDArray[Any]:
    """Vectors as an array: float64 where it came in as that, else float32.

    Args:
        name: of the argument, for errors.
        value: lists, arrays or tensors of numbers.

    Raises:
        TypeError: it does not hold numbers.
        ValueError: vectors have different lengths.
    """
    import numpy as np

    array = as_array(value)
    if not isinstance(array, np.ndarray):
        is_list = isinstance(array, (list, tuple))
        of_arrays = is_list and len(array) > 0 and isinstance(array[0], (np.ndarray, np.generic))
        try:
            # Python's floats are float32 to PyTorch.
            array = np.asarray(array, np.float32 if is_list and not of_arrays else None)
        except ValueError as error:
            raise ValueError(f"{name}: expected numbers, in vectors of equal length; {error}") from error
    # "V": bfloat16 of packages that add it to NumPy.
    if array.dtype.kind not in "fiubV":
        raise TypeError(f"{name}: expected floats or integers, found {array.dtype}")
    return array.astype(np.float64 if array.dtype == np.float64 else np.float32, copy=False)

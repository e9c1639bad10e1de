"""What turns the logits of a classifier into scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Logits = NDArray[np.float32]


def identity(logits: Logits) -> Logits:
    """The logits themselves."""
    return logits


def sigmoid(logits: Logits) -> Logits:
    """`1 / (1 + exp(-logits))`, which no logit makes overflow."""
    import numpy as np

    tail = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + tail), tail / (1 + tail))


def softmax(logits: Logits) -> Logits:
    """Shares that add up to 1 in each row of `logits [pairs, labels]`.

    Raises:
        ValueError: there is one label, whose share is 1 whatever the pair.
    """
    import numpy as np

    if logits.shape[1] == 1:
        raise ValueError("activation_fn: softmax over one label is 1 for every pair; use 'sigmoid' or 'identity'")
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def tanh(logits: Logits) -> Logits:
    """The hyperbolic tangent."""
    import numpy as np

    return np.tanh(logits)


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    function.__name__: function for function in (identity, sigmoid, softmax, tanh)
}


def activation_named(name: str) -> Callable[[Any], Any]:
    """The function of that name, or of that dotted path in PyTorch ("torch.nn.modules.activation.Sigmoid").

    Raises:
        ValueError: there is none.
    """
    function = ACTIVATIONS.get(name.rpartition(".")[2].lower() if name.startswith("torch.") else name)
    if function is None:
        raise ValueError(
            f"activation_fn: {name!r} is not supported; supported: {', '.join(ACTIVATIONS)}, their dotted paths in "
            "PyTorch, and any callable on NumPy arrays"
        )
    return function


def resolve_activation(given: Any) -> Callable[[Any], Any]:
    """The function that `given`, a name or a callable, stands for. A module of PyTorch stands for the one of its name.

    Raises:
        TypeError: it is neither.
        ValueError: there is no function of that name.
    """
    if isinstance(given, str):
        return activation_named(given)
    kind = given if isinstance(given, type) else type(given)
    if kind.__module__.startswith("torch."):
        return activation_named(f"{kind.__module__}.{kind.__name__}")
    if not callable(given):
        raise TypeError(f"activation_fn: expected a str or a callable, found {kind.__name__}")
    function: Callable[[Any], Any] = given
    return function


def activate(function: Callable[[Any], Any], logits: Logits) -> Logits:
    """`function(logits)` as an array of float32 of the same shape.

    Raises:
        ValueError: the function gives another shape.
    """
    import numpy as np

    scores = np.asarray(function(logits))
    if scores.shape != logits.shape:
        raise ValueError(f"activation_fn: gave shape {scores.shape} for logits of shape {logits.shape}")
    return scores.astype(np.float32, copy=False)

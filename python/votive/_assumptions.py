"""What is taken where a model's files do not say it: the sentences of warnings at load, and of `votive inspect`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from votive._model_files import foreign_activation


def of_embedder(
    name: str,
    *,
    converted_from: str | None,
    base: str | None,
    described_by: str | None,
    has_modules: bool,
    made_modules: bool,
    is_quantized: bool,
    pooling: str,
) -> Iterator[str]:
    """What is assumed of the embedder `name`.

    Args:
        name: as it was asked for.
        converted_from: the class that it was saved from, where its modules do not count.
        base: the model that was named to describe it.
        described_by: the model that describes it.
        has_modules: whether there is a modules.json, or something in its place.
        made_modules: whether what it would say is made of a GGUF file.
        is_quantized: whether its weights are codes.
        pooling: how the vectors of tokens become one.
    """
    if converted_from is not None:
        yield (
            f"{name!r} was saved from a {converted_from}, whose vectors votive does not make: its Transformer is used, "
            "with mean pooling (the last token of a causal language model), as sentence-transformers converts such a "
            "model"
        )
    if described_by is not None and base is None:
        yield (
            f"{name!r} is quantized and does not say how vectors are made: its pooling, modules and prompts are "
            f"those of {described_by!r}, which its README.md names; base={described_by!r} says so without this warning"
        )
    elif described_by is None and made_modules:
        yield (
            f"{name!r} says that {pooling} pooling makes its vectors, and nothing of normalization and prompts: there "
            "are none; base='owner/name' names the model that it was made from, whose files say it"
        )
    elif described_by is None and is_quantized and not has_modules:
        yield (
            f"{name!r} is quantized and does not say how vectors are made: {pooling} pooling is taken, as config.json "
            "suggests, without normalization and prompts, which may be wrong; base='owner/name' names the model that "
            "it was made from, whose files say it"
        )


def of_activation(folder: Path, activation: str | None, num_labels: int) -> str | None:
    """What is assumed of a reranker whose files name an activation function that is code of its own; None of others.

    Args:
        folder: the model's.
        activation: one of PyTorch's that the files name.
        num_labels: how many scores a pair gets.
    """
    foreign = foreign_activation(folder) if activation is None else None
    if foreign is None:
        return None
    return (
        f"{folder}: the model's activation function is {foreign}, code that votive does not run: "
        f"{usual_activation(num_labels)!r} is taken; give another one as activation_fn="
    )


def usual_activation(num_labels: int) -> str:
    """The activation function of rerankers whose files name none."""
    return "sigmoid" if num_labels == 1 else "identity"

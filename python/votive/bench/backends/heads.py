"""What follows a model's network, as its folder says it, for backends that have to compute that themselves."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from votive.bench.backends.folders import check_kind, has_own_code
from votive.bench.backends.unavailable import Unavailable
from votive.bench.experiment import Task


class Head(NamedTuple):
    """From the tokens of a text to its vector, or to its score.

    Attributes:
        family: of the network, as votive calls it.
        pooling: "mean", "cls" and so on, as sentence-transformers calls it; empty of a reranker.
        normalizes: vectors have the length 1.
        sigmoid: of the only label's number; else the number is the score.
        longest: most tokens of an input.
    """

    family: str
    pooling: str
    normalizes: bool
    sigmoid: bool
    longest: int

    @classmethod
    def of(
        cls, model: Path, task: Task | None, who: str, poolings: tuple[str, ...], families: tuple[str, ...] = ()
    ) -> Head:
        """Of the model in this folder.

        Args:
            model: the folder.
            task: what is wanted of it; None: what it was made for.
            who: has to compute it.
            poolings: what it knows of them.
            families: of networks that it knows; all of them if there is none.

        Raises:
            Unavailable: it would compute something else.
        """
        from votive import VotiveError, inspect_model

        def unknown(what: str) -> Unavailable:
            return Unavailable(f"{who} does not compute {what} here, which {model.name} has")

        if not (model / "config.json").is_file():
            raise Unavailable(f"{who} needs a model's folder with config.json, which {model} is not")
        try:
            inspection = inspect_model(model)
        except VotiveError as error:
            raise Unavailable(f"{who}: {error}") from error
        network, *others = inspection.networks
        if others or has_own_code(model):
            raise unknown("several networks" if others else "a network with code of its own")
        if families and network.family not in families:
            raise unknown(f"a network of {network.family}")
        if inspection.default_prompt_name is not None:
            raise unknown(f"the prompt {inspection.default_prompt_name!r}")
        if task is not None:
            check_kind(model, inspection.kind, task)
        longest = network.max_seq_length
        if longest is None:
            raise unknown("inputs of any length")
        if inspection.kind == "reranker":
            activation = str(inspection.activation_fn).rpartition(".")[2].lower()
            if inspection.num_labels != 1 or activation not in ("sigmoid", "identity"):
                raise unknown(f"{inspection.num_labels} labels with {inspection.activation_fn}")
            return cls(network.family, "", False, activation == "sigmoid", longest)
        pooling, *after = network.modules
        if pooling.name != "Pooling" or pooling.details not in poolings:
            raise unknown(f"{pooling.name} {pooling.details}".strip())
        for module in after:
            if module.name != "Normalize":
                raise unknown(module.name)
        return cls(network.family, pooling.details, bool(after), False, longest)

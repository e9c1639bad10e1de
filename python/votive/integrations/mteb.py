"""MTEB 2: benchmarks of an `Embedder`, and of a `Reranker`."""

from __future__ import annotations

import os
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch  # type: ignore[import-not-found,unused-ignore]
from mteb.models import ModelMeta  # type: ignore[import-not-found,unused-ignore]
from mteb.models.abs_encoder import AbsEncoder  # type: ignore[import-not-found,unused-ignore]
from mteb.models.model_meta import ScoringFunction  # type: ignore[import-not-found,unused-ignore]
from mteb.types import PromptType  # type: ignore[import-not-found,unused-ignore]

from votive._model_files import ModelFiles
from votive.embedder import Embedder
from votive.integrations._models import check_model, given, load
from votive.reranker import Reranker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mteb.abstasks.task_metadata import TaskMetadata  # type: ignore[import-not-found,unused-ignore]
    from numpy.typing import NDArray

M = TypeVar("M", Embedder, Reranker)


class VotiveEncoder(AbsEncoder):  # type: ignore[misc,unused-ignore]
    """What `mteb.evaluate` takes: of an `Embedder` as it is MTEB would make a model without a name.

    Results are kept under the model's name and revision and, as an experiment, the `dtype` and the options that decide
    results: so they never mix with those of another engine. It is a `loader` of `mteb.ModelMeta`, too.

    Args:
        model_name: a model's name or folder, which is loaded at once, or an `Embedder`.
        revision: branch, tag or commit on the hub.
        device: as for `Embedder`.
        options: further arguments of `Embedder`.

    Attributes:
        model: the `Embedder`.
        mteb_model_meta: what MTEB says of the model. Its revision is the commit on the hub; of a folder, and of a
            model in a package, it is the digest of the files, and the name of a folder begins with "local/".

    Raises:
        TypeError: `model_name` is none of these, or there are options beside an `Embedder`.
    """

    def __init__(
        self,
        model_name: str | os.PathLike[str] | Embedder,
        revision: str | None = None,
        *,
        device: str | None = None,
        **options: Any,
    ) -> None:
        self.model = _load(Embedder, model_name, revision, device, options)
        self.mteb_model_meta = _meta(
            self.model,
            VotiveEncoder,
            {"max_seq_length": self.model._arguments["max_seq_length"], "truncate_dim": self.model.truncate_dim},
            max_tokens=self.model.max_seq_length,
            embed_dim=self.model.get_embedding_dimension(),
            similarity_fn_name=ScoringFunction(self.model.similarity_fn_name),
            use_instructions=any(self.model.prompts.values()),
        )

    def encode(
        self,
        inputs: Iterable[dict[str, Any]],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> NDArray[np.float32]:
        """The embeddings `[texts, dimension]` of the texts of all batches.

        Queries are computed by `encode_query`, documents by `encode_document`, and other texts by `encode`. Where the
        model has a prompt of MTEB's names (task, type of task, "query", "document", "STS-query" and so on, the most
        special one first), it is put before the texts.

        Args:
            inputs: batches, with the texts under "text".
            task_metadata: which task it is.
            hf_split: of no effect.
            hf_subset: of no effect.
            prompt_type: what the texts are; None for neither queries nor documents.
            kwargs: further arguments of `Embedder.encode`: "batch_size", "show_progress_bar", "precision".
        """
        self.model_prompts = self.model.prompts
        of_type = {PromptType.query: self.model.encode_query, PromptType.document: self.model.encode_document}
        encode: Any = self.model.encode if prompt_type is None else of_type[prompt_type]
        embeddings: NDArray[np.float32] = encode(
            list(_texts(inputs)), prompt_name=self.get_prompt_name(task_metadata, prompt_type), **kwargs
        )
        return embeddings

    def similarity(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """`Embedder.similarity` as a tensor `[n, m]`."""
        return torch.from_numpy(self.model.similarity(np.asarray(embeddings1), np.asarray(embeddings2)))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """`Embedder.similarity_pairwise` as a tensor `[n]`."""
        return torch.from_numpy(self.model.similarity_pairwise(np.asarray(embeddings1), np.asarray(embeddings2)))


class VotiveCrossEncoder:
    """What `mteb.evaluate` takes: of a `Reranker` as it is MTEB would make a model without a name.

    Args:
        model_name: a model's name or folder, which is loaded at once, or a `Reranker`.
        revision: branch, tag or commit on the hub.
        device: as for `Reranker`.
        options: further arguments of `Reranker`.

    Attributes:
        model: the `Reranker`.
        mteb_model_meta: what MTEB says of the model, as that of `VotiveEncoder`.

    Raises:
        TypeError: `model_name` is none of these, or there are options beside a `Reranker`.
        ValueError: the model gives a pair several scores.
    """

    def __init__(
        self,
        model_name: str | os.PathLike[str] | Reranker,
        revision: str | None = None,
        device: str | None = None,
        **options: Any,
    ) -> None:
        self.model = _load(Reranker, model_name, revision, device, options)
        if self.model.num_labels != 1:
            raise ValueError(
                f"model_name: MTEB takes one score for a pair, and this model gives {self.model.num_labels}; give a "
                "model with one label"
            )
        self.mteb_model_meta = _meta(
            self.model,
            VotiveCrossEncoder,
            {"max_length": self.model._arguments["max_seq_length"], "num_labels": self.model._arguments["num_labels"]},
            max_tokens=self.model.max_length,
            model_type=["cross-encoder"],
        )

    def predict(
        self,
        inputs1: Iterable[dict[str, Any]],
        inputs2: Iterable[dict[str, Any]],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> NDArray[np.float32]:
        """The scores `[pairs]` of the texts of both, in their order.

        Args:
            inputs1: batches with the queries under "text".
            inputs2: batches with as many documents.
            task_metadata: of no effect.
            hf_split: of no effect.
            hf_subset: of no effect.
            prompt_type: of no effect.
            kwargs: further arguments of `Reranker.predict`: "batch_size", "show_progress_bar".

        Raises:
            ValueError: there are not as many of both.
        """
        return self.model.predict(list(zip(_texts(inputs1), _texts(inputs2), strict=True)), **kwargs)


def _load(
    kind: type[M],
    model_name: str | os.PathLike[str] | M,
    revision: str | None,
    device: str | None,
    options: dict[str, Any],
) -> M:
    options = given(revision=revision, device=device) | options
    check_model(kind, "model_name", model_name, options)
    return load(kind, model_name, options)


def _meta(model: Embedder | Reranker, loader: type, decided: dict[str, Any], **known: Any) -> ModelMeta:
    """What is known of the model; all else is None, which is MTEB's word for unknown.

    Args:
        model: the model.
        loader: the class that loads it for MTEB.
        decided: options that decide results, and None for those that are as the model's files have them.
        known: further fields of the result.
    """
    core, name = model._model, str(model._arguments["model_name_or_path"])
    kind, revision = core.origin
    if kind == "folder":
        name = f"local/{Path(name).resolve().name}"
    if kind not in ("cache", "hub"):
        revision = ModelFiles.read(core.folder, has_modules=True, find=core.file).fingerprint
    changed = {
        option: copy(getattr(model, option))
        for option in ("prompts", "default_prompt_name")
        if getattr(model, option) != getattr(core, option)
    }
    decided = {option: value for option, value in decided.items() if value is not None}
    experiment = {"dtype": model.dtype} | decided | changed
    return ModelMeta.create_empty(
        {"loader": loader, "name": name, "revision": revision, "experiment_kwargs": experiment} | known
    )


def _texts(batches: Iterable[dict[str, Any]]) -> Iterator[str]:
    for batch in batches:
        yield from batch["text"]

"""What a model's files say of it, without loading it: sizes, types of numbers, pooling, and which file says it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from votive import _core
from votive._assumptions import of_activation, of_embedder, usual_activation
from votive._options import check_options, core_options, with_credential
from votive._packages import packaged
from votive._progress import DownloadBar

# Groups of tensors by what their names hold: the first that fits. Names are transformers', also those of GGUF files.
_GROUPS = (
    ("adapters", re.compile(r"\blora_")),
    ("norms", re.compile(r"norm|emb_ln|\bln_|layer_scalar", re.IGNORECASE)),
    ("words", re.compile(r"word_embeddings|embed_tokens|tok_embeddings|\bshared\b|^embeddings?(\.weight)?$|\bwte\b")),
    ("positions and types", re.compile(r"position|token_type|task_type|rel_embeddings|relative_attention_bias")),
    ("head", re.compile(r"lm_head|classifier|pooler|\bscore\b|\bcls\b|\bhead\b|predictions")),
    ("attention", re.compile(r"attention|attn|\bmixer\b", re.IGNORECASE)),
    ("MLP", re.compile(r"mlp|ffn|intermediate|output\.dense|DenseReluDense|expert|_proj\b", re.IGNORECASE)),
)
_ORDER = ("words", "positions and types", "attention", "MLP", "norms", "head", "adapters", "modules", "other")


@dataclass(frozen=True)
class TensorGroup:
    """Tensors of one kind.

    Attributes:
        name: "words", "positions and types", "attention", "MLP", "norms", "head", "adapters" (of tasks),
            "modules" (those after the network) or "other".
        tensors: how many there are; a quantized matrix is one.
        parameters: numbers in them.
        bytes: what they take in the files, with scales.
        storage: numbers in each format: "F32", "Q4_K", "affine 4 bits, group 64".
    """

    name: str
    tensors: int
    parameters: int
    bytes: int
    storage: dict[str, int]


@dataclass(frozen=True)
class InspectedModule:
    """A module after the network.

    Attributes:
        name: its class: "Pooling", "Dense", "Normalize".
        details: of Pooling its mode; of Dense its sizes and its activation; "" for none.
    """

    name: str
    details: str


@dataclass(frozen=True)
class InspectedNetwork:
    """A network with what follows it. A model with a Router has several.

    Attributes:
        task: the task of the texts that go through it; None where there are no tasks, or all go through it.
        family: as `supported_models` has it.
        model_type: as config.json has it.
        hidden_size: width of a token's vector; None where no file says it, as for all sizes.
        layers: how many there are.
        heads: of attention, in a layer.
        intermediate_size: width within the MLP.
        is_quantized: whether the weights are codes.
        adapted: tensors to which an adapter adds something.
        files: those with weights.
        groups: the tensors by kinds.
        modules: what follows the network, in order.
        max_seq_length: the most tokens of an input; None for no limit.
        positions: tokens that a learned table has positions for; None where positions are not learned.
        sources: the file and the key that say a thing, by the name of its attribute. The value of Pooling is under
            "pooling".
    """

    task: str | None
    family: str
    model_type: str
    hidden_size: int | None
    layers: int | None
    heads: int | None
    intermediate_size: int | None
    is_quantized: bool
    adapted: int
    files: tuple[str, ...]
    groups: tuple[TensorGroup, ...]
    modules: tuple[InspectedModule, ...]
    max_seq_length: int | None
    positions: int | None
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Numbers in all tensors, those that the network does not read included."""
        return sum(group.parameters for group in self.groups)

    @property
    def bytes(self) -> int:
        """What all tensors take in the files."""
        return sum(group.bytes for group in self.groups)

    @property
    def pooling(self) -> str | None:
        """How the vectors of tokens become one, as `EmbedderInfo` has it; None where there is no Pooling."""
        found = [module.details for module in self.modules if module.name == "Pooling"]
        return found[0].partition(",")[0] if found else None


@dataclass(frozen=True)
class Inspection:
    """What a model's files say of it.

    Attributes:
        name: as the model was asked for.
        kind: the class that its files are for: "embedder" or "reranker".
        is_reranker_too: of an embedder: whether it is a language model that `Reranker` takes as well.
        origin: where it was found: "folder", "cache", "hub" or "package", with the commit or the package's name.
        folder: the folder of its files.
        base: the model whose files describe it, where its own do not.
        networks: one, or those of a Router.
        tasks: what texts may be embedded for; () where that changes nothing.
        prompts: texts to put before others, by name.
        default_prompt_name: which of them is used when none is given.
        similarity_fn_name: of an embedder: how vectors are compared.
        truncate_dim: how much of a vector is kept; None for all of it.
        num_labels: of a reranker: how many scores a pair gets.
        scoring: of a reranker: what makes them.
        activation_fn: of a reranker: what scores go through.
        sources: the file and the key that say a thing, by the name of its attribute. What no file says has none.
        assumptions: what loading the model warns of.
    """

    name: str
    kind: Literal["embedder", "reranker"]
    is_reranker_too: bool
    origin: str
    folder: str
    base: str | None
    networks: tuple[InspectedNetwork, ...]
    tasks: tuple[str, ...] = ()
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    similarity_fn_name: str | None = None
    truncate_dim: int | None = None
    num_labels: int | None = None
    scoring: str | None = None
    activation_fn: str | None = None
    sources: dict[str, str] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()


def inspect_model(
    model_name_or_path: str | PathLike[str],
    *,
    revision: str | None = None,
    base: str | PathLike[str] | None = None,
    gguf_file: str | None = None,
    cache_folder: str | PathLike[str] | None = None,
    local_files_only: bool = False,
    token: bool | str | None = None,
) -> Inspection:
    """What the files of a model say of it. No weights are read, only what their files begin with.

    The arguments are those of `Embedder`. A model of the hub is downloaded as for it.

    Args:
        model_name_or_path: a folder, a .gguf file, or a name on the Hugging Face Hub.
        revision: a branch, tag or commit on the hub.
        base: the model that a quantized one was made from.
        gguf_file: the name of the file with the weights, of several.
        cache_folder: in place of Hugging Face's cache.
        local_files_only: never ask the hub.
        token: a token of the hub.

    Raises:
        FileNotFoundError: there is no such model.
        ModelError: its files are damaged, contradict each other, or are not supported.
    """
    given = with_credential(check_options({**locals()}))
    facts = json.loads(_core.inspect(core_options(given) | {"packaged": packaged, "download": DownloadBar()}))
    tasks, networks = facts.get("tasks", []), facts["networks"]
    # Tasks of one network are adapters of it.
    own = tasks if len(tasks) == len(networks) else [None] * len(networks)
    inspected = tuple(map(_network, networks, own))
    kind, detail = facts["origin"]
    name = given["model_name_or_path"]
    return Inspection(
        name=name,
        kind=facts["kind"],
        is_reranker_too=facts.get("is_reranker_too", False),
        origin=kind if detail is None else f"{kind} {detail}",
        folder=facts["folder"],
        base=facts["description_of"],
        networks=inspected,
        tasks=tuple(tasks),
        prompts=facts["prompts"],
        default_prompt_name=facts["default_prompt_name"],
        similarity_fn_name=facts.get("similarity_fn_name"),
        truncate_dim=facts.get("truncate_dim"),
        num_labels=facts.get("num_labels"),
        scoring=facts.get("scoring"),
        activation_fn=_activation(facts),
        sources=_said({"prompts": facts["prompts_from"], "similarity_fn_name": facts.get("similarity_from")}),
        assumptions=(
            *_assumptions(name, given["base"], facts, inspected[0]),
            *(f"{name!r} {note}" for note in facts["notes"]),
        ),
    )


def _said(sources: Mapping[str, str | None]) -> dict[str, str]:
    return {name: place for name, place in sources.items() if place is not None}


def _activation(facts: dict[str, Any]) -> str | None:
    if facts["kind"] == "embedder":
        return None
    return facts["activation_fn"] or usual_activation(facts["num_labels"])


def _assumptions(name: str, base: str | None, facts: dict[str, Any], network: InspectedNetwork) -> Iterable[str]:
    if facts["kind"] == "reranker":
        said = of_activation(Path(facts["folder"]), facts["activation_fn"], facts["num_labels"])
        return [] if said is None else [said]
    return of_embedder(
        name,
        converted_from=facts["converted_from"],
        base=base,
        described_by=facts["description_of"],
        has_modules=facts["has_modules"],
        made_modules=facts["made_modules"],
        is_quantized=network.is_quantized,
        pooling=network.pooling or "mean",
    )


def _network(facts: dict[str, Any], task: str | None) -> InspectedNetwork:
    sizes = facts["sizes"]
    sources = {name: place for name, (_, place) in sizes.items()}
    sources |= {name: facts[f"{name}_from"] for name in ("model_type", "max_seq_length", "positions")}
    sources["pooling"] = next((place for name, _, place in facts["modules"] if name == "Pooling"), None)
    sources["modules"] = next((place for name, _, place in facts["modules"] if name == "Normalize"), None)

    def size(name: str) -> int | None:
        found: int | None = sizes.get(name, (None, None))[0]
        return found

    return InspectedNetwork(
        task=task,
        family=facts["family"],
        model_type=facts["model_type"],
        hidden_size=size("hidden_size"),
        layers=size("layers"),
        heads=size("heads"),
        intermediate_size=size("intermediate_size"),
        is_quantized=facts["is_quantized"],
        adapted=facts["adapted"],
        files=tuple(facts["files"]),
        groups=_groups(facts["tensors"]),
        modules=tuple(InspectedModule(name, details) for name, details, _ in facts["modules"]),
        max_seq_length=facts["max_seq_length"],
        positions=facts["positions"],
        sources=_said(sources),
    )


def _groups(tensors: Iterable[tuple[str, list[int], str, int, bool]]) -> tuple[TensorGroup, ...]:
    found: dict[str, TensorGroup] = {}
    for name, shape, storage, size, is_weight in tensors:
        group = _group(name) if is_weight else "other"
        before = found.get(group) or TensorGroup(group, 0, 0, 0, {})
        # Others are places and the like.
        numbers = prod(shape) if is_weight else 0
        stored = before.storage | {storage: before.storage.get(storage, 0) + numbers}
        found[group] = TensorGroup(group, before.tensors + 1, before.parameters + numbers, before.bytes + size, stored)
    return tuple(found[name] for name in _ORDER if name in found)


def _group(name: str) -> str:
    """The group of a tensor; what lies in a folder is of a module."""
    if "/" in name:
        return "modules"
    return next((group for group, pattern in _GROUPS if pattern.search(name)), "other")

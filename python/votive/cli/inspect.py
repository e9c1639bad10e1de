"""`votive inspect`: what a model's files say of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from votive._display import text_table
from votive.cli.hits import print_json
from votive.cli.store.folder import shown_size
from votive.cli.terminal import is_terminal
from votive.inspection import InspectedNetwork, Inspection, inspect_model

# A name, what it is, and which file says so.
Row = tuple[str, str, str]

_GROUP_COLUMNS = ("tensors", "count", "parameters", "bytes", "stored as")


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive inspect` say."""
    found = _inspected(arguments.name, base=arguments.base, gguf_file=arguments.gguf_file)
    if arguments.json:
        print_json(as_object(found))
        return
    _print_rows(list(_rows(found)))
    for network in found.networks:
        print()
        if network.task is not None:
            print(f"task {network.task}")
        _print_rows(list(_network_rows(network)))
        print()
        _print_rows(_group_rows(network), _GROUP_COLUMNS)
    for assumption in found.assumptions:
        print(f"\nloading it warns: {assumption}")


def as_object(found: Inspection) -> dict[str, Any]:
    """What `votive inspect --json` prints."""
    networks = [
        asdict(network) | {"parameters": network.parameters, "bytes": network.bytes, "pooling": network.pooling}
        for network in found.networks
    ]
    return asdict(found) | {"networks": networks}


def _inspected(name: str, **options: Any) -> Inspection:
    try:
        return inspect_model(name, local_files_only=True, **options)
    except FileNotFoundError:
        print(f"{name} is not on this machine: asking the Hugging Face Hub", file=sys.stderr)
    return inspect_model(name, **options)


def _rows(found: Inspection) -> Iterator[Row]:
    def row(name: str, value: object, attribute: str = "") -> Row:
        return name, str(value), found.sources.get(attribute, "")

    yield row("model", found.name)
    yield row("found in", f"{found.origin}: {found.folder}")
    if found.base is not None:
        yield row("described by", found.base)
    yield row("kind", found.kind + (" (Reranker takes it, too)" if found.is_reranker_too else ""))
    if found.kind == "reranker":
        yield row("scores", f"{found.num_labels}, by {found.scoring}, then {found.activation_fn}")
    if found.tasks:
        yield row("tasks", ", ".join(found.tasks))
    for name, text in found.prompts.items():
        default = " (the default)" if name == found.default_prompt_name else ""
        yield row(f"prompt {name}{default}", repr(text) if text else "nothing", "prompts")
    if found.similarity_fn_name is not None:
        assumed = "" if "similarity_fn_name" in found.sources else ", as no file says otherwise"
        yield row("similarity", found.similarity_fn_name + assumed, "similarity_fn_name")
    if found.truncate_dim is not None:
        yield row("vectors cut to", found.truncate_dim)


def _network_rows(network: InspectedNetwork) -> Iterator[Row]:
    def row(name: str, value: object, attribute: str = "") -> Row:
        return name, str(value), network.sources.get(attribute, "")

    yield row("family", f"{network.family} ({network.model_type})", "model_type")
    tensors = sum(group.tensors for group in network.groups)
    yield row("parameters", f"{_count(network.parameters)} in {tensors} tensors, {shown_size(network.bytes)}")
    yield row("weights", ", ".join(network.files))
    if network.adapted:
        yield row("adapter", f"changes {network.adapted} tensors")
    for name, attribute in (
        ("width", "hidden_size"),
        ("layers", "layers"),
        ("heads", "heads"),
        ("width of the MLP", "intermediate_size"),
    ):
        size = getattr(network, attribute)
        if size is not None:
            yield row(name, f"{size:,}", attribute)
    for module in network.modules:
        attribute = "pooling" if module.name == "Pooling" else "modules" if module.name == "Normalize" else ""
        yield row(module.name, module.details, attribute)
    length = "no limit" if network.max_seq_length is None else f"{network.max_seq_length:,} tokens"
    yield row("longest input", length, "max_seq_length")
    if network.positions is not None:
        yield row("positions", f"{network.positions:,}, learned", "positions")


def _group_rows(network: InspectedNetwork) -> list[tuple[str, ...]]:
    return [
        (group.name, f"{group.tensors:,}", _count(group.parameters), shown_size(group.bytes), "; ".join(group.storage))
        for group in network.groups
    ]


def _print_rows(rows: list[Any], header: tuple[str, ...] = ()) -> None:
    if is_terminal(sys.stdout):
        print(text_table(header, rows))
        return
    for row in [header, *rows] if header else rows:
        print("\t".join(row).rstrip())


def _count(numbers: int) -> str:
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if numbers >= size:
            return f"{numbers / size:.1f} {unit}"
    return str(numbers)

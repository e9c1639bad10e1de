"""Texts with their fields into rows of a store, in memory that is bounded."""

from __future__ import annotations

import argparse
from typing import Any

from votive import EmbeddingStore
from votive._inputs import CHUNK_TEXTS
from votive.cli.cell_types import CellTypes
from votive.cli.failure import CommandFailed
from votive.cli.inputs import Text, TextInputs
from votive.cli.model import Totals, computed, growing_chunks

# Rows beyond it go to nameless files until they are committed.
MAX_MEMORY_GB = 1.0

# The field that is the id where none is named.
DEFAULT_ID_FIELD = "id"


def read_inputs(arguments: argparse.Namespace, texts: tuple[str, ...] = ()) -> TextInputs:
    """The files of the arguments, with fields beside the texts; columns that are named in `texts` stay text."""
    return TextInputs(arguments.files, arguments.field, arguments.column, CellTypes(texts))


def add_rows(
    store: EmbeddingStore,
    model: Any,
    inputs: TextInputs,
    id_field: str | None,
    with_metadata: bool,
    allow_other_model: bool = False,
) -> Totals:
    """Embeds `inputs` and adds them to `store`, behind a progress bar.

    Args:
        store: what is added stays there after an error; it is not committed.
        model: an `Embedder`.
        inputs: with fields.
        id_field: the field with the id. None for `DEFAULT_ID_FIELD` if the first record has it, else rows are numbered.
        with_metadata: whether all other fields become metadata.
        allow_other_model: than the one that made the store.

    Raises:
        CommandFailed: a record has no id, or a value that the store does not take.
    """
    totals = Totals()
    name = id_field

    def add(chunk: list[Text]) -> None:
        nonlocal name
        if name is None and not totals.texts and DEFAULT_ID_FIELD in chunk[0].fields:
            name = DEFAULT_ID_FIELD
        ids: Any = None if name is None else [_id(text, name) for text in chunk]
        if not with_metadata:
            metadata = None
        else:
            metadata = [{key: value for key, value in text.fields.items() if key != name} for text in chunk]
        try:
            store.add_texts(
                [text.text for text in chunk],
                model,
                ids=ids,
                metadata=metadata if metadata and any(metadata) else None,
                show_progress_bar=False,
                allow_other_model=allow_other_model,
            )
        except (TypeError, ValueError) as error:
            raise CommandFailed(f"{chunk[0].place} to {chunk[-1].place}: {error}") from error

    for _ in computed(model, add, growing_chunks(inputs, _length, CHUNK_TEXTS), totals, inputs.expected):
        pass
    return totals


def _length(text: Text) -> int:
    return len(text.text) + sum(len(value) for value in text.fields.values() if isinstance(value, str))


def _id(text: Text, name: str) -> int | str:
    if name not in text.fields:
        raise CommandFailed(f"{text.place}: no field {name!r}, which is to have the id")
    value = text.fields[name]
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise CommandFailed(f"{text.place}: the id {name!r} is {value!r}, want a whole number or text")
    return value

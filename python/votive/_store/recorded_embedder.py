"""The model that a store's vectors are of, beside the one that it is given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from votive._core import StoreError
from votive._store.contents import Contents
from votive.embedder_info import EmbedderInfo


def info_of(embedder: Any) -> EmbedderInfo | None:
    """What an embedder says of itself; None for an encoder that says nothing."""
    info = getattr(embedder, "info", None)
    return info if isinstance(info, EmbedderInfo) else None


def check_embedder(contents: Contents, embedder: Any, allow_other_model: bool) -> None:
    """Accepts an embedder whose vectors can be compared with those of a store, as far as both are known.

    Raises:
        StoreError: it is another model than the one that made them.
    """
    found = info_of(embedder)
    if not allow_other_model and found is not None:
        _refuse_other(contents.embedder, found)


def recording(contents: Contents, embedder: Any, allow_other_model: bool) -> Contents:
    """`contents` before rows of an embedder are added: with it as the model that made them, if none is known.

    Raises:
        StoreError: it is another model than the one that made them, or puts another prompt before documents.
    """
    found, known = info_of(embedder), contents.embedder
    if found is None or (allow_other_model and known is not None):
        return contents
    if known is None:
        return replace(contents, embedder=found)
    _refuse_other(known, found)
    if found.prompt != known.prompt:
        raise StoreError(
            f"embedder: the texts of the store were embedded with the prompt {known.prompt!r:.200}, and "
            f"{_shown(found)} would put {found.prompt!r:.200} before these; set that prompt, or pass "
            "allow_other_model=True to add them so"
        )
    return contents


def _refuse_other(known: EmbedderInfo | None, found: EmbedderInfo) -> None:
    if known is not None and found.fingerprint != known.fingerprint:
        raise StoreError(
            f"embedder: the vectors of the store are of {_shown(known)}, and this is {_shown(found)}: vectors of two "
            "models cannot be compared; use that model, or make a store with this one; allow_other_model=True takes it "
            "all the same"
        )


def _shown(info: EmbedderInfo) -> str:
    at = "" if info.revision is None else f" at {info.revision:.12}"
    return f"{info.name!r:.200}{at} (fingerprint {info.fingerprint:.12})"

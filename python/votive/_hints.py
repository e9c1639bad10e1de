"""What is meant by names that are not there: near ones, and what other libraries call things."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

# Of methods, by class.
_METHODS = {
    "Embedder": {
        "embed": "encode",
        "embed_documents": "encode_document",
        "embed_query": "encode_query",
        "encode_queries": "encode_query",
        "encode_corpus": "encode_document",
        "rank": "rank of a votive.Reranker",
        "predict": "predict of a votive.Reranker",
        "to": "device= of the constructor",
        "eval": "encode alone: a model is always ready to compute",
    },
    "Reranker": {
        "rerank": "rank",
        "compute_score": "predict",
        "encode": "encode of a votive.Embedder",
        "to": "device= of the constructor",
        "eval": "predict alone: a model is always ready to compute",
    },
    "EmbeddingStore": {
        "add": "add_texts, or add_embeddings for vectors",
        "insert": "add_texts, or add_embeddings for vectors",
        "add_documents": "add_texts",
        "add_vectors": "add_embeddings",
        "similarity_search": "search_text, or search for vectors",
        "remove": "delete",
        "save": "save_to_disk, or commit for a store that is open for writing",
        "persist": "save_to_disk, or commit for a store that is open for writing",
        "write_index": "save_to_disk",
        "load": "EmbeddingStore.open",
        "ntotal": "len(store)",
        "size": "len(store)",
        "d": "dimension",
        "dim": "dimension",
    },
}

# Attributes by which a library knows the models that it takes, and the class that has them: of a model without it the
# library makes another one, without a word.
_KNOWN_BY = {
    ("Embedder", "mteb_model_meta"): "votive.integrations.mteb.VotiveEncoder",
    ("Reranker", "mteb_model_meta"): "votive.integrations.mteb.VotiveCrossEncoder",
}

# Of keywords. A method has at most one of the names for each.
_KEYWORDS = {
    "normalize": ("normalize_embeddings",),
    "normalise": ("normalize_embeddings",),
    "progress": ("show_progress_bar",),
    "n_results": ("k", "top_k"),
    "top_n": ("k", "top_k"),
    "topk": ("k", "top_k"),
    "n": ("k", "top_k"),
    "limit": ("k", "top_k"),
    "where": ("filter",),
    "documents": ("texts",),
    "metadatas": ("metadata",),
    "payload": ("metadata",),
    "embeddings": ("vectors", "queries"),
    "query": ("queries", "texts"),
    "model": ("embedder", "model_name_or_path"),
    "name": ("model_name_or_path",),
    "model_name": ("model_name_or_path",),
    "path": ("folder",),
    "dim": ("dimension",),
    "distance": ("metric",),
    "space": ("metric",),
    "threads": ("num_threads",),
}

_UNEXPECTED = re.compile(r"(\S+\(\) got an unexpected keyword argument )'(\w+)'")


def did_you_mean(name: Any, names: Iterable[str]) -> str:
    """The end of a message about a name that is not among `names`: the one that is near, if one is."""
    from difflib import get_close_matches

    near = get_close_matches(str(name), names, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def explain_keyword(error: TypeError, function: Callable[..., Any]) -> None:
    """Has the error of a keyword that `function` does not have say which one is meant, or which there are."""
    found = _UNEXPECTED.match(str(error))
    if found is None:
        return
    name = found[2]
    names = [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]
    same = [known for known in _KEYWORDS.get(name, ()) if known in names]
    hint = f"; did you mean {same[0]!r}?" if same else did_you_mean(name, names)
    error.args = (f"{found[0]}{hint or '; accepted: ' + ', '.join(names)}",)


def missing_attribute(self: Any, name: str) -> Any:
    """`__getattr__` of a class of `_METHODS`: says what a method of another library is called.

    Raises:
        AttributeError: always, but for
        TypeError: an attribute of `_KNOWN_BY`: `hasattr` lets it through.
    """
    kind = type(self)
    if hasattr(kind, name):
        # A property raised it.
        return object.__getattribute__(self, name)
    wrapper = next(
        (_KNOWN_BY[base.__name__, name] for base in kind.__mro__ if (base.__name__, name) in _KNOWN_BY), None
    )
    if wrapper is not None:
        raise TypeError(
            f"{kind.__name__}: has no {name}, and would be replaced by another model; give {wrapper}(model)"
        )
    known = next((uses[name] for base in kind.__mro__ if name in (uses := _METHODS.get(base.__name__, {}))), None)
    near = did_you_mean(name, [there for there in dir(kind) if not there.startswith("_")])
    hint = near if known is None else f"; use {known}"
    # Without the object, of which Python would name a near attribute, too; notebooks do not.
    raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}{hint}", name=name, obj=None)

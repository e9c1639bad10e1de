"""The model that a class of another library computes with: a name and options, or one that is loaded."""

from __future__ import annotations

import inspect
from os import PathLike
from typing import Any, TypeVar

from votive import _core
from votive._embedding import QUERY_PROMPTS
from votive._hints import explain_keyword
from votive.embedder import Embedder
from votive.reranker import Reranker

M = TypeVar("M", Embedder, Reranker)


def check_model(kind: type[M], argument: str, model: str | PathLike[str] | M, options: dict[str, Any]) -> None:
    """Accepts what `load` can load, without loading it: names of options are looked at, and their values are not.

    Raises:
        TypeError: `model`, which messages call `argument`, is no name, path or `kind`; there are options beside a
            loaded model; or `kind` has no option of that name.
    """
    name = kind.__name__
    if isinstance(model, kind):
        if options:
            raise TypeError(
                f"{argument}: the {name} is loaded, so that {', '.join(options)} would do nothing; give options to the "
                f"{name}, or a model's name beside them"
            )
    elif isinstance(model, str | PathLike):
        try:
            inspect.signature(kind).bind(model, **options)
        except TypeError as error:
            error.args = (f"{name}() {error}",)
            explain_keyword(error, kind.__init__)
            raise
    else:
        raise TypeError(f"{argument}: expected a model's name, a folder or {name}, found {type(model).__name__}")


def load(kind: type[M], model: Any, options: dict[str, Any]) -> M:
    """The model, loaded with its options unless it is loaded already."""
    return model if isinstance(model, kind) else kind(model, **options)


def arguments_of(model: Embedder | Reranker) -> dict[str, Any]:
    """The arguments that load the same model in another process, where they are not the defaults: for what is saved.

    A token is left out, as it is out of a pickle.

    Raises:
        ValueError: something was set to None, which as an argument is what the model's files say.
    """
    kept = dict(model.__getstate__())
    kept.pop("shared", None)
    assigned = kept.pop("assigned", {})
    for name, value in assigned.items():
        if value is None:
            raise ValueError(f"{name}: was set to None, which cannot be saved; give a model's name and options")
    kind: type[Embedder] | type[Reranker] = Embedder
    if isinstance(model, Reranker):
        kind = Reranker
        kept["max_length"] = kept.pop("max_seq_length")
    # Not of the class of `model`: a subclass may have defaults of its own.
    defaults = inspect.signature(kind).parameters
    return {
        name: value
        for name, value in (kept | assigned).items()
        if value != defaults[name].default and not isinstance(value, _core.Credential)
    }


def given(**arguments: Any) -> dict[str, Any]:
    """Those that are not None: the default of a method need not be None in a subclass of `Embedder`."""
    return {name: value for name, value in arguments.items() if value is not None}


def query_prompt(embedder: Embedder) -> str:
    """The text that `encode_query` puts before others, for `aencode`."""
    return embedder._prompt_text(embedder._task_prompt_name(QUERY_PROMPTS, None, None), None)


def document_prompt(embedder: Embedder) -> str:
    """The text that `encode_document` puts before others, for `aencode`."""
    return embedder._document_prompt(None, None)

"""Small helpers, as `sentence_transformers.util.misc` has them."""

from __future__ import annotations

import csv
import functools
import importlib
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from votive.sentence_transformers._loading import ORIGINAL_TRANSFORMER_MODELS
from votive.sentence_transformers._unsupported import TRAINING, Unsupported
from votive.sentence_transformers.util.similarity import SimilarityFunction

__all__ = [
    "ORIGINAL_TRANSFORMER_MODELS",
    "append_to_last_row",
    "check_teacher_targets",
    "disable_datasets_caching",
    "disable_logging",
    "fullname",
    "import_from_string",
    "import_module_class",
    "similarity_fct_name",
]


def fullname(obj: Any) -> str:
    """The name of a class, or of an object's class, with its module's; a builtin's name alone."""
    kind = obj if inspect.isclass(obj) else type(obj)
    return str(kind.__name__) if kind.__module__ in (None, "builtins") else f"{kind.__module__}.{kind.__name__}"


def similarity_fct_name(similarity_fct: Callable[..., Any]) -> str:
    """What a function that compares vectors is called in a model's records, with what is bound to it."""
    if isinstance(similarity_fct, functools.partial):
        return _with_arguments(_name_of(similarity_fct.func), similarity_fct.keywords)
    name, owner = _name_of(similarity_fct), getattr(similarity_fct, "__self__", None)
    if name in ("similarity", "similarity_pairwise") and owner is not None:
        is_pairwise = name == "similarity_pairwise"
        found = SimilarityFunction.to_similarity_pairwise_fn if is_pairwise else SimilarityFunction.to_similarity_fn
        return found(owner.similarity_fn_name).__name__
    described = getattr(similarity_fct, "get_config_dict", None)
    return name if described is None else f"{name}({_arguments(described())})"


def check_teacher_targets(*args: Any, **kwargs: Any) -> None:
    """Raises `Unsupported`."""
    raise Unsupported(f"check_teacher_targets: {TRAINING}")


def import_from_string(dotted_path: str) -> Any:
    """What a dotted path such as "package.module.Class" names.

    Raises:
        ImportError: there is no such module, or it has no such name.
    """
    path, _, name = dotted_path.rpartition(".")
    if not path:
        raise ImportError(f"{dotted_path} doesn't look like a module path")
    try:
        module = importlib.import_module(dotted_path)
    except Exception:
        module = importlib.import_module(path)
    try:
        return getattr(module, name)
    except AttributeError:
        raise ImportError(f'Module "{path}" does not define a "{name}" attribute/class') from None


def import_module_class(class_ref: str, *args: Any, **kwargs: Any) -> Any:
    """The class of a module, by its name in modules.json.

    Raises:
        Unsupported: it is none of sentence-transformers' own classes.
        ImportError: there is no such class.
    """
    if not class_ref.startswith("sentence_transformers."):
        raise Unsupported(f"import_module_class: votive runs no code of models, of which {class_ref!r} would be some")
    return import_from_string(f"votive.{class_ref}")


@contextmanager
def disable_datasets_caching() -> Iterator[None]:
    """While it lasts, the package datasets, which must be installed, keeps no cache."""
    datasets = importlib.import_module("datasets")
    is_enabled = datasets.is_caching_enabled()
    datasets.disable_caching()
    try:
        yield
    finally:
        if is_enabled:
            datasets.enable_caching()


@contextmanager
def disable_logging(highest_level: int = logging.CRITICAL) -> Iterator[None]:
    """While it lasts, no record of `highest_level` or below is logged."""
    before = logging.root.manager.disable
    logging.disable(highest_level)
    try:
        yield
    finally:
        logging.disable(before)


def append_to_last_row(csv_path: str, additional_data: list[Any]) -> bool:
    """Adds cells to the last row of a CSV file, and says whether there was one below the header."""
    with open(csv_path, newline="", encoding="utf-8") as file:
        rows: list[list[Any]] = list(csv.reader(file))
    if len(rows) < 2:
        return False
    rows[-1].extend(additional_data)
    with open(csv_path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return True


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _arguments(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _with_arguments(name: str, values: dict[str, Any]) -> str:
    return f"{name}({_arguments(values)})" if values else name

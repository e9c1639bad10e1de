"""The class as its users see it: one class, and whole signatures."""

import inspect
import pydoc
from pathlib import Path

import numpy as np
import pytest
from votive import EmbeddingStore

PUBLIC = [name for name in dir(EmbeddingStore) if not name.startswith("_")]


def test_it_is_one_class() -> None:
    assert EmbeddingStore.__mro__ == (EmbeddingStore, object)
    for name in PUBLIC:
        member = inspect.getattr_static(EmbeddingStore, name)
        function = member.fget if isinstance(member, property) else getattr(EmbeddingStore, name)
        assert function.__qualname__ == f"EmbeddingStore.{name}"
        assert function.__module__ == "votive.store"
        assert function.__doc__


def test_help_shows_all_methods_with_whole_signatures() -> None:
    text = pydoc.plain(pydoc.render_doc(EmbeddingStore))
    for name in PUBLIC:
        assert f"\n |  {name}" in text
        member = inspect.getattr_static(EmbeddingStore, name)
        if not isinstance(member, property):
            kinds = [value.kind for value in inspect.signature(getattr(EmbeddingStore, name)).parameters.values()]
            assert inspect.Parameter.VAR_KEYWORD not in kinds
            assert inspect.Parameter.VAR_POSITIONAL not in kinds
    assert "Methods inherited" not in text
    assert "load_from_disk(folder" in text


def test_options_are_the_same_everywhere() -> None:
    made = inspect.signature(EmbeddingStore).parameters
    for method, missing in (
        (EmbeddingStore.open, {"metric", "dimension", "dtype"}),
        (EmbeddingStore.from_arrow, set()),
    ):
        found = inspect.signature(method).parameters
        assert made.keys() - found.keys() == missing
        for name in made.keys() - missing:
            assert (found[name].default, found[name].annotation) == (made[name].default, made[name].annotation)
    same = inspect.signature(EmbeddingStore.from_numpy).parameters
    for name in made:
        assert (same[name].default, same[name].annotation) == (made[name].default, made[name].annotation)


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.search(),
        lambda store: store.save_to_disk(),
        lambda store: store.open(mode="a"),
        lambda store: store.from_numpy(np.ones((1, 2)), nonsense=1),
        lambda store: store.commit(1),
    ],
)
def test_errors_of_calls_name_the_class(call, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^EmbeddingStore\.\w+\(\) "):
        call(EmbeddingStore())

"""Short tracebacks: which frames stay, and that what is decorated is as it was."""

import asyncio
import inspect
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import votive._hints
import votive._tracebacks
from votive import Embedder, EmbeddingStore, Reranker
from votive._tracebacks import short_traceback, short_tracebacks
from votive.similarity import cos_sim


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOTIVE_TRACEBACK")


@pytest.fixture
def store() -> EmbeddingStore:
    store = EmbeddingStore()
    store.add_embeddings(np.eye(3))
    return store


def frames(call: Callable[[], Any]) -> list[str]:
    """The names of the functions in the traceback of a call that fails, but for this one."""
    with pytest.raises(Exception) as raised:  # noqa: PT011
        call()
    return [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)][1:]


# Before Python 3.11 the one frame cannot be that of the method.
METHODS_FRAME = sys.version_info >= (3, 11)


def own(name: str) -> str:
    """The name of the one frame of votive."""
    return name if METHODS_FRAME else "call"


def test_the_method_is_the_last_frame(store: EmbeddingStore, model: Embedder) -> None:
    assert frames(lambda: store.search("a")) == ["<lambda>", own("search")]  # type: ignore[arg-type]
    assert frames(lambda: model.encode_query([None])) == ["<lambda>", own("encode_query")]  # type: ignore[list-item]
    assert frames(lambda: store.search_text(3, model)) == ["<lambda>", own("search_text")]  # type: ignore[call-overload]
    assert frames(lambda: EmbeddingStore.open("/none")) == ["<lambda>", own("open")]
    assert frames(lambda: EmbeddingStore.load_from_disk("/none")) == ["<lambda>", own("load_from_disk")]
    assert frames(lambda: setattr(model, "truncate_dim", 0)) == ["<lambda>", own("truncate_dim")]
    assert frames(lambda: cos_sim("a", "b")) == ["<lambda>", own("cos_sim")]


def test_constructors_and_what_does_not_fit_the_signature_are_the_callers_alone(model: Embedder) -> None:
    expected = ["<lambda>"] if METHODS_FRAME else ["<lambda>", "call"]
    assert frames(lambda: Embedder("/none")) == expected
    assert frames(lambda: EmbeddingStore(metric="l3")) == expected  # type: ignore[arg-type]
    assert frames(lambda: model.encode("a", bacth_size=1)) == expected  # type: ignore[call-overload]


def test_asyncio(model: Embedder) -> None:
    async def wait() -> None:
        await model.aencode([None])  # type: ignore[list-item]

    found = frames(lambda: asyncio.run(wait()))
    assert found[-2:] == ["wait", "aencode" if METHODS_FRAME else "wait"]
    assert inspect.iscoroutinefunction(model.aencode)


def test_frames_of_the_caller_stay(store: EmbeddingStore, model: Embedder) -> None:
    def broken(columns: Any) -> Any:
        raise ValueError("mine")

    def texts() -> Iterator[str]:
        yield "a"
        raise OSError("mine")

    class Mine:
        def encode(self, texts: Any, **options: Any) -> Any:
            return model.encode(None)  # type: ignore[call-overload]

    assert frames(lambda: store.search([1, 0, 0], filter=broken)) == ["<lambda>", own("search"), "broken"]
    assert frames(lambda: model.encode(texts())) == ["<lambda>", own("encode"), "texts"]
    assert frames(lambda: store.add_texts(["a"], Mine())) == ["<lambda>", own("add_texts"), "encode"]


def test_a_mistake_of_votives_own_shows_all_frames(store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> None:
        raise AssertionError("a bug")

    monkeypatch.setattr("votive._store.search.find", broken)
    assert frames(lambda: store.search([1, 0, 0])) == ["<lambda>", "call", "search", "search", "broken"]


def test_the_environment_shows_all_frames(store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOTIVE_TRACEBACK", "1")
    assert frames(lambda: store.search("a"))[:4] == ["<lambda>", "call", "search", "search"]  # type: ignore[arg-type]
    monkeypatch.setenv("VOTIVE_TRACEBACK", "0")
    assert len(frames(lambda: store.search("a"))) == 2  # type: ignore[arg-type]


def test_what_is_decorated_is_as_it_was(model: Embedder) -> None:
    def function(a: int, *, b: str = "c") -> None:
        """Says something."""

    class Kind:
        def method(self) -> None: ...

        @property
        def value(self) -> int:
            """A value."""
            return 3

        def _private(self) -> None: ...

    private = Kind._private
    assert inspect.signature(short_traceback(function)) == inspect.signature(function)
    assert short_traceback(function).__doc__ == function.__doc__
    assert short_tracebacks(Kind) is Kind
    assert Kind._private is private
    assert Kind.value.__doc__ == "A value."
    assert Kind().value == 3
    assert pickle.loads(pickle.dumps(model.encode)).__self__.get_embedding_dimension() == 48


@pytest.mark.parametrize("kind", [Embedder, Reranker, EmbeddingStore])
def test_every_public_method_is_short(kind: type) -> None:
    for name in dir(kind):
        if name.startswith("_"):
            continue
        value = inspect.getattr_static(kind, name)
        # Of a property, a class method and a `LoadMethod`.
        parts = [getattr(value, part) for part in ("fget", "__func__", "_function") if hasattr(value, part)]
        function = parts[0] if parts else value
        assert function.__code__.co_filename == votive._tracebacks.__file__, name


class TestNamesThatAreNotThere:
    @pytest.mark.parametrize("thing", ["model", "store"])
    def test_duck_typing_goes_on(self, thing: str, request: pytest.FixtureRequest) -> None:
        value = request.getfixturevalue(thing)
        assert not hasattr(value, "nothing")
        assert getattr(value, "add", None) is None
        assert not hasattr(value, "__array__")

    def test_a_near_name_is_said_once(self, store: EmbeddingStore) -> None:
        with pytest.raises(AttributeError, match=r"has no attribute 'serach'; did you mean 'search'\?$") as raised:
            store.serach  # type: ignore[attr-defined]  # noqa: B018
        assert traceback.format_exception(raised.value)[-1].count("search") == 1
        with pytest.raises(AttributeError, match=r"^'EmbeddingStore' object has no attribute '_xyz'$"):
            store._xyz  # type: ignore[attr-defined]  # noqa: B018

    def test_subclasses_have_the_hints_and_their_own_errors(self) -> None:
        class Mine(EmbeddingStore):
            @property
            def broken(self) -> int:
                raise AttributeError("of the property")

        with pytest.raises(AttributeError, match=r"^'Mine' object has no attribute 'add'; use add_texts, or "):
            Mine().add  # type: ignore[attr-defined]  # noqa: B018
        with pytest.raises(AttributeError, match=r"^of the property$"):
            Mine().broken  # noqa: B018

    @pytest.mark.parametrize("kind", [Embedder, Reranker, EmbeddingStore])
    def test_no_hint_is_for_what_is_there(self, kind: type) -> None:
        for name in votive._hints._METHODS[kind.__name__]:
            assert not hasattr(kind, name), name

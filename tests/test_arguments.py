"""Arguments that are odd or wrong: each is taken for what it says, or refused by an error with its name."""

import io
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from votive import Embedder, EmbeddingStore, ModelError, Reranker

if TYPE_CHECKING:
    from conftest import Tiny

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")

FIXTURES = Path(__file__).parent / "fixtures"

# "é" of a file whose encoding nobody knew, say.
SURROGATE = "caf\udce9"


class Odd(str):
    """Text whose class says something else about it wherever Python would ask."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return 1

    def __str__(self) -> str:
        return "something else"

    def __eq__(self, other: object) -> bool:
        return False

    def __iter__(self) -> Any:
        return iter("something else")

    def isascii(self) -> bool:
        return True

    def encode(self, *arguments: Any) -> bytes:
        return b"something else"


@pytest.fixture(scope="module")
def reranker() -> Reranker:
    return Reranker(FIXTURES / "bert_rerank", num_threads=1)


# The most tokens


@pytest.mark.parametrize("is_given", [False, True])
def test_no_length_is_that_of_the_files(tiny: "Tiny", is_given: bool) -> None:
    name = "max_seq_length" if tiny.kind is Embedder else "max_length"
    own = tiny.load().max_seq_length
    model: Any = tiny.kind(tiny.folder, **{name: own - 2 if is_given else None})
    model.max_seq_length = own - 1
    assert model.max_seq_length == own - 1
    setattr(model, name, None)
    assert model.max_seq_length == own


# Texts that are none


@pytest.mark.parametrize("method", ["encode", "encode_query", "encode_document"])
def test_a_prompt_with_a_lone_surrogate_is_named(method: str, model: Embedder) -> None:
    with pytest.raises(ValueError, match=r"^prompt: holds a lone surrogate"):
        getattr(model, method)(["a"], prompt=SURROGATE)


def test_a_prompt_of_pairs_with_a_lone_surrogate_is_named(reranker: Reranker) -> None:
    for call in (reranker.predict, reranker.tokenize):
        with pytest.raises(ValueError, match=r"^prompt: holds a lone surrogate"):
            call([("a", "b")], prompt=SURROGATE)
    with pytest.raises(ValueError, match=r"^prompt: holds a lone surrogate"):
        reranker.rank("a", ["b"], prompt=SURROGATE)


def test_prompts_that_were_changed_are_looked_at(folder: str) -> None:
    model = Embedder(folder)
    model.prompts["broken"] = SURROGATE
    model.prompts["number"] = 3  # type: ignore[assignment]
    model.prompts[4] = "4"  # type: ignore[index]
    with pytest.raises(ValueError, match=r"^prompts\['broken'\]: holds a lone surrogate"):
        model.encode("a", prompt_name="broken")
    with pytest.raises(TypeError, match=r"^prompts\['number'\]: expected a str, found int"):
        model.encode("a", prompt_name="number")
    with pytest.raises(ValueError, match=r"^prompt_name: 'none' is not one of \[4, 'broken', "):
        model.encode("a", prompt_name="none")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        *[
            ({name: SURROGATE}, ValueError, f"^{name}: holds a lone surrogate")
            for name in ("device", "dtype", "revision", "token", "default_prompt_name", "similarity_fn_name")
        ],
        ({"cache_folder": "\ud800"}, ValueError, "^cache_folder: holds a lone surrogate"),
        ({"prompts": {"a": SURROGATE}}, ValueError, r"^prompts\['a'\]: holds a lone surrogate"),
        ({"prompts": {SURROGATE: "a"}}, ValueError, "^prompts: a name: holds a lone surrogate"),
        ({"prompts": {"a": 3}}, TypeError, r"^prompts\['a'\]: expected a str, found int"),
        ({"prompts": {3: "a"}}, TypeError, "^prompts: a name: expected a str, found int"),
    ],
)
def test_what_is_no_text_is_named_by_the_constructor(
    options: dict[str, Any], error: type[Exception], message: str, folder: str
) -> None:
    with pytest.raises(error, match=message):
        Embedder(folder, **options)


def test_a_name_of_a_model_that_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^model_name_or_path: holds a lone surrogate"):
        Embedder(SURROGATE)


def test_a_default_prompt_of_the_files_that_they_lack_is_theirs(folder: str, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "model")
    path = copy / "config_sentence_transformers.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"default_prompt_name": "/"}))
    with pytest.raises(ModelError, match=r"config_sentence_transformers\.json: default_prompt_name: '/' is not one of"):
        Embedder(copy)
    assert Embedder(copy, default_prompt_name="query").default_prompt_name == "query"


# Values of other types


@pytest.mark.parametrize("value", [[], {}, (), 3, b"query", 0.5])
def test_a_prompt_name_of_another_type_is_named(value: Any, model: Embedder, reranker: Reranker) -> None:
    message = f"^prompt_name: expected a str, found {type(value).__name__}$"
    with pytest.raises(TypeError, match=message):
        model.encode(["a"], prompt_name=value)
    with pytest.raises(TypeError, match=message):
        reranker.predict([("a", "b")], prompt_name=value)
    with pytest.raises(TypeError, match=message):
        reranker.rank("a", ["b"], prompt_name=value)


def test_flags_and_choices_of_another_type_are_named(model: Embedder, folder: str) -> None:
    for value in ([], {}, None, 1, "yes", np.ones(2, bool)):
        with pytest.raises(TypeError, match=r"^normalize_embeddings: expected a bool, found "):
            model.encode(["a"], normalize_embeddings=value)  # type: ignore[arg-type]
    np.testing.assert_array_equal(
        model.encode(["a"], normalize_embeddings=np.bool_(True)),  # type: ignore[arg-type]
        model.encode(["a"], normalize_embeddings=True),
    )
    for value in ([], {}, np.ones(2), np.array(["float32", "int8"])):
        with pytest.raises(ValueError, match=r"^precision: expected one of "):
            model.encode(["a"], precision=value)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"^output_value: expected one of "):
            model.encode(["a"], output_value=value)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"^when_full: expected one of "):
            Embedder(folder, when_full=value)  # type: ignore[arg-type]


# Classes of text


def test_a_class_of_str_is_its_characters(model: Embedder, reranker: Reranker) -> None:
    text, same = "wörds of a text", Odd("wörds of a text")
    for given in (same, [same], np.array([same], object)):
        np.testing.assert_array_equal(np.squeeze(model.encode(given)), model.encode(text))
    query = model.encode(text, prompt_name="query")
    np.testing.assert_array_equal(model.encode(same, prompt_name=Odd("query")), query)
    np.testing.assert_array_equal(model.encode(same, prompt=Odd(model.prompts["query"])), query)
    assert reranker.predict((same, same)) == reranker.predict((text, text))
    assert reranker.rank(same, [same], return_documents=True) == reranker.rank(text, [text], return_documents=True)
    assert model.tokenize(same) == model.tokenize(text)


def test_a_class_of_str_is_its_characters_for_the_constructor(folder: str) -> None:
    options = {"device": "cpu", "dtype": "bfloat16", "default_prompt_name": "a", "similarity_fn_name": "dot"}
    odd: dict[str, Any] = {name: Odd(value) for name, value in options.items()}

    class Name(Odd):
        __hash__ = str.__hash__
        __eq__ = str.__eq__

    model = Embedder(Odd(folder), prompts={Name("a"): Odd("a: ")}, **odd)
    assert model.prompts["a"] == "a: "
    assert (model.dtype, model.default_prompt_name, model.similarity_fn_name) == ("bfloat16", "a", "dot")


def test_texts_of_a_store_are_their_characters(tmp_path: Path) -> None:
    texts = ["one", "zwölf", "three"]
    store = EmbeddingStore()
    store.add_embeddings(np.eye(3, dtype=np.float32), texts=[Odd(text) for text in texts])
    assert store.texts == texts
    store.save_to_disk(tmp_path / "store")
    assert EmbeddingStore.open(tmp_path / "store").texts == texts


# One array in two calls


def test_an_array_that_another_call_fills_is_refused(tiny: "Tiny", tiny_model: Any) -> None:
    inputs = tiny.differing(2)
    out = np.zeros(np.shape(tiny.of(tiny_model)(inputs)), np.float32)
    refused: list[BaseException] = []

    def while_it_is_filled(done: int) -> None:
        def call() -> None:
            try:
                tiny.of(tiny_model)(inputs, out=out)
            except BaseException as error:
                refused.append(error)

        other = threading.Thread(target=call)
        other.start()
        other.join()

    expected = tiny.of(tiny_model)(inputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("votive._progress.Progress.__call__", lambda self, done: while_it_is_filled(done))
        tiny.of(tiny_model)(inputs, out=out)
    assert refused
    assert {type(error) for error in refused} == {ValueError}
    assert str(refused[0]).startswith("out: another call writes to this array")
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(tiny.of(tiny_model)(inputs, out=out), expected)


# Programs without a screen


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [lambda: None, closed, object], ids=["none", "closed", "of a class of its own"])
@pytest.mark.parametrize("show", [True, None])
def test_nowhere_to_show_a_bar_is_no_error(
    tiny: "Tiny", tiny_model: Any, stream: Callable[[], Any], show: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = tiny.of(tiny_model)(tiny.inputs)
    monkeypatch.setattr("votive._progress.BAR_DELAY_SECONDS", 0.0)
    monkeypatch.setattr("sys.stderr", stream())
    if stream is object and show:
        pytest.skip("a bar was asked for, and what is there cannot show it")
    np.testing.assert_array_equal(tiny.of(tiny_model)(tiny.inputs, show_progress_bar=show), expected)

"""Signatures and setters against those of sentence-transformers, which `fixtures/signatures.py` wrote down."""

import copy
import inspect
import json
import pickle
from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
import pytest
from bodies import INT8
from conftest import FIXTURES
from votive import Embedder, Reranker, SimilarityFunction
from votive._options import OPTIONS

REFERENCE = json.loads((FIXTURES / "signatures.json").read_text(encoding="utf-8"))
CLASSES: dict[str, Any] = {"SentenceTransformer": Embedder, "CrossEncoder": Reranker}
PAIR = ("what is a candle?", "wax with a wick")

# Defaults that are not the same, and why.
DIFFERENT = {
    "batch_size": "None: the number of tokens decides, and results do not depend on it",
    "device": 'of constructors: "auto", for which None stands, too',
    "model_name_or_path": "must be given: there are no modules to make a model of",
}

# Arguments with the default alone, and what the error says to do instead of another value.
REFUSED: dict[str, tuple[Any, str]] = {
    "pool": ({}, r"num_threads="),
    "chunk_size": (3, r"batch_size= bounds"),
    "modules": ([], r"save the model .* to a folder"),
    "use_auth_token": (True, r"token="),
    "model_card_data": ({}, r"leave it out"),
    "keep_in_fp32_modules": ([], r"dtype='float32'"),
    "backend": ("onnx", r"device="),
    "convert_to_numpy": (False, r"torch\.from_numpy"),
    "convert_to_tensor": (True, r"torch\.from_numpy"),
}


@pytest.fixture
def model(folder: str) -> Embedder:
    return Embedder(folder)


def own(name: str) -> Callable[..., Any]:
    kind, method = name.split(".")
    function: Callable[..., Any] = getattr(CLASSES[kind], method)
    return function


@pytest.mark.parametrize("name", REFERENCE["signatures"])
def test_every_argument_is_there(name: str) -> None:
    parameters = inspect.signature(own(name)).parameters
    positions = list(parameters)
    assert not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    for position, theirs in enumerate(REFERENCE["signatures"][name]):
        if theirs["kind"] == "VAR_KEYWORD":
            continue
        argument = theirs["name"]
        ours = parameters[argument]
        assert ours.kind.name == theirs["kind"], argument
        if theirs["kind"] == "POSITIONAL_OR_KEYWORD":
            assert positions[position] == argument
        if "default" in theirs and argument not in DIFFERENT:
            assert ours.default == theirs["default"], argument


def test_what_is_listed_as_different_is() -> None:
    found = set()
    for name, arguments in REFERENCE["signatures"].items():
        parameters = inspect.signature(own(name)).parameters
        for theirs in arguments:
            if "default" in theirs and parameters[theirs["name"]].default != theirs["default"]:
                found.add(theirs["name"])
    assert found == DIFFERENT.keys()


def call(name: str, folder: str, model: Embedder, ranker: Reranker, **options: Any) -> Any:
    """The constructor or method of that name, with the least that it must be given."""
    kind, method = name.split(".")
    if method == "__init__":
        return CLASSES[kind](folder if kind == "SentenceTransformer" else FIXTURES / "bert_rerank", **options)
    if kind == "SentenceTransformer":
        return getattr(model, method)("a", **options)
    return ranker.rank("a", ["b"], **options) if method == "rank" else ranker.predict([PAIR], **options)


@pytest.mark.parametrize("name", ["SentenceTransformer.__init__", "CrossEncoder.__init__"])
def test_trust_in_code_changes_nothing(name: str, folder: str, model: Embedder, ranker: Reranker) -> None:
    call(name, folder, model, ranker, trust_remote_code=True)
    with pytest.raises(TypeError, match="trust_remote_code: expected bool, found str"):
        call(name, folder, model, ranker, trust_remote_code="yes")


@pytest.mark.parametrize("argument", REFUSED)
@pytest.mark.parametrize("name", REFERENCE["signatures"])
def test_what_is_refused_says_what_to_do(
    name: str, argument: str, folder: str, model: Embedder, ranker: Reranker
) -> None:
    given = [theirs for theirs in REFERENCE["signatures"][name] if theirs["name"] == argument]
    if not given:
        assert argument not in inspect.signature(own(name)).parameters
        return
    value, advice = REFUSED[argument]
    with pytest.raises(ValueError, match=rf"{argument}.*{advice}"):
        call(name, folder, model, ranker, **{argument: value})
    call(name, folder, model, ranker, **{argument: given[0]["default"]})


def test_the_table_of_options_holds_what_constructors_take() -> None:
    reference = {theirs["name"] for name in CLASSES for theirs in REFERENCE["signatures"][f"{name}.__init__"]}
    taken = {"max_length", "default_activation_function", "tokenizer_kwargs"}
    arguments = {name for kind in CLASSES.values() for name in inspect.signature(kind).parameters}
    assert OPTIONS.keys() <= arguments
    assert arguments - OPTIONS.keys() <= reference | taken


# Arguments of loading


@pytest.mark.parametrize("load", [Embedder, Reranker])
@pytest.mark.parametrize(
    ("argument", "options", "advice"),
    [
        ("model_kwargs", {"attn_implementation": "sdpa"}, "leave it out"),
        ("model_kwargs", {"device_map": "auto"}, "device="),
        ("model_kwargs", {"load_in_8bit": True}, "dtype='int8'"),
        ("model_kwargs", {"load_in_4bit": True}, "dtype='int4'"),
        ("model_kwargs", {"rope_theta": 3}, "what the model's files say"),
        ("processor_kwargs", {"model_max_length": 3}, "give max_(seq_)?length="),
        ("tokenizer_kwargs", {"use_fast": True}, "leave it out"),
        ("config_kwargs", {"num_labels": 3}, "num_labels="),
        ("config_kwargs", {3: 3}, "what the model's files say"),
    ],
)
def test_keys_that_are_refused_say_what_to_do(load: Any, argument: str, options: Any, advice: str) -> None:
    (key,) = options
    with pytest.raises(ValueError, match=rf"^{argument}\[{key!r}\]: not supported; .*{advice}"):
        load("/none", **{argument: options})


@pytest.mark.parametrize("argument", ["model_kwargs", "processor_kwargs", "tokenizer_kwargs", "config_kwargs"])
def test_keyword_arguments_are_a_dict(argument: str, folder: str) -> None:
    with pytest.raises(TypeError, match=f"^{argument}: expected dict or None, found list"):
        Embedder(folder, **{argument: ["dtype"]})  # type: ignore[arg-type]
    assert Embedder(folder, **{argument: {}}).max_seq_length == 48  # type: ignore[arg-type]


class TorchDtype:
    """As `torch.bfloat16` is seen from here."""

    __module__ = "torch"

    def __repr__(self) -> str:
        return "torch.bfloat16"


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
@pytest.mark.parametrize(
    ("wanted", "dtype"),
    [
        ("bfloat16", "bfloat16"),
        (TorchDtype(), "bfloat16"),
        ("auto", "float32"),
        (None, "float32"),
        pytest.param("int8", "int8", marks=INT8),
    ],
)
def test_a_dtype_among_the_models_keyword_arguments(key: str, wanted: Any, dtype: str, folder: str) -> None:
    model = Embedder(folder, model_kwargs={key: wanted})
    assert model.dtype == dtype
    assert copy.copy(model).dtype == dtype


def test_two_dtypes_are_refused(folder: str) -> None:
    with pytest.raises(ValueError, match=r"^dtype, model_kwargs: 'int8' and 'bfloat16' are two types"):
        Embedder(folder, dtype="int8", model_kwargs={"dtype": TorchDtype()})
    with pytest.raises(TypeError, match=r"^model_kwargs\['dtype'\]: expected a str or a torch.dtype, found int"):
        Embedder(folder, model_kwargs={"dtype": 16})
    with pytest.raises(ValueError, match=r"^dtype: .float64. .*accepted"):
        Embedder(folder, model_kwargs={"dtype": "float64"})


def test_no_device_is_auto(folder: str) -> None:
    assert Embedder(folder, device=None).device == Embedder(folder).device


def test_the_older_name_of_an_activation() -> None:
    folder = FIXTURES / "bert_rerank"
    model = Reranker(folder, default_activation_function="identity")
    assert model.predict(PAIR) == Reranker(folder, activation_fn="identity").predict(PAIR)
    with pytest.raises(TypeError, match="two names of one argument"):
        Reranker(folder, activation_fn="tanh", default_activation_function="tanh")


# Inputs by either name


@pytest.mark.parametrize("method", ["encode", "encode_query", "encode_document"])
def test_inputs_have_three_names(method: str, model: Embedder) -> None:
    encode = getattr(model, method)
    for texts in ("a", ["a", "b"], [], ""):
        np.testing.assert_array_equal(encode(inputs=texts), encode(texts))
        np.testing.assert_array_equal(encode(sentences=texts), encode(texts))
        np.testing.assert_array_equal(encode(texts=texts), encode(texts))
    with pytest.raises(TypeError, match=rf"^{method}: inputs and sentences are two names of one argument"):
        encode("a", sentences="a")
    with pytest.raises(TypeError, match=rf"^{method}: sentences and texts are two names of one argument"):
        encode(sentences="a", texts="a")
    with pytest.raises(TypeError, match=r"^sentences: expected a str, a list or .*, found NoneType"):
        encode()


def test_pairs_have_two_names(ranker: Reranker) -> None:
    assert ranker.predict(sentences=PAIR) == ranker.predict(inputs=PAIR) == ranker.predict(PAIR)
    with pytest.raises(TypeError, match=r"^predict: inputs and sentences are two names"):
        ranker.predict([PAIR], sentences=[PAIR])  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"^inputs: expected a pair of str or an iterable of pairs, found NoneType"):
        ranker.predict()  # type: ignore[call-overload]


def test_the_count_of_a_ranking_has_two_names(ranker: Reranker) -> None:
    documents = ["wax with a wick", "a ship", "a lamp"]
    expected = ranker.rank("what is a candle?", documents)[:2]
    assert ranker.rank("what is a candle?", documents, 2) == expected
    assert ranker.rank("what is a candle?", documents, top_k=2) == expected
    assert ranker.rank("what is a candle?", documents, k=2) == expected
    with pytest.raises(TypeError, match=r"^rank: k and top_k are two names of one argument; give one of them"):
        ranker.rank("a", documents, 2, k=2)
    with pytest.raises(ValueError, match=r"^k: expected 1 or more"):
        ranker.rank("a", documents, k=0)


# Setters


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name, cases in REFERENCE["setters"].items() for case in cases]
)
def test_what_is_set_is_what_the_reference_makes_of_it(name: str, case: dict[str, Any], model: Embedder) -> None:
    if "error" in case:
        with pytest.raises(ValueError, match=f"^{name}: "):
            setattr(model, name, case["set"])
        return
    setattr(model, name, case["set"])
    for same in (model, copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert getattr(same, name) == case["value"]
        assert same.get_embedding_dimension() == case["dimension"]
        np.testing.assert_allclose(same.encode("a text of some words")[:3], case["first"], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("truncate_dim", 49, ValueError),
        ("truncate_dim", "7", TypeError),
        ("similarity_fn_name", 3, TypeError),
        ("default_prompt_name", "none", ValueError),
        ("default_prompt_name", 3, TypeError),
    ],
)
def test_what_is_set_is_checked(name: str, value: Any, error: type[Exception], model: Embedder) -> None:
    before = getattr(model, name)
    with pytest.raises(error, match=f"^{name}: "):
        setattr(model, name, value)
    assert getattr(model, name) == before


def test_setting_is_more_than_what_was_given_and_survives_again(folder: str) -> None:
    model = Embedder(folder, truncate_dim=9, default_prompt_name="query", similarity_fn_name="dot")
    model.truncate_dim = None
    model.default_prompt_name = None
    model.prompts["new"] = "new: "
    twin = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(model))))
    assert (twin.truncate_dim, twin.default_prompt_name, twin.similarity_fn_name) == (None, None, "dot")
    twin.default_prompt_name = "new"
    again = copy.copy(twin)
    again.default_prompt_name = "plain"
    assert (twin.default_prompt_name, copy.copy(twin).default_prompt_name) == ("new", "new")
    np.testing.assert_array_equal(twin.encode("a"), model.encode("a", prompt="new: "))


def test_a_default_prompt_of_pairs_is_set() -> None:
    model = Reranker(FIXTURES / "bert_rerank", prompts={"p": "a prompt: "})
    expected = model.predict(PAIR, "p")
    model.default_prompt_name = "p"
    assert model.predict(PAIR) == pickle.loads(pickle.dumps(model)).predict(PAIR) == expected


# Similarities


def test_names_of_similarities_are_those_of_the_reference() -> None:
    theirs = {name: value for name, value in REFERENCE["similarity_functions"].items() if not value.endswith("maxsim")}
    assert {name: member.value for name, member in SimilarityFunction.__members__.items()} == theirs
    assert SimilarityFunction.possible_values() == sorted(set(theirs.values()))
    assert SimilarityFunction("dot") is SimilarityFunction.DOT_PRODUCT


class Other(Enum):
    """As another library's enumeration."""

    DOT = "dot"
    MAXSIM = "maxsim"


@pytest.mark.parametrize("member", [SimilarityFunction.DOT, Other.DOT])
def test_a_similarity_may_be_a_member(member: Any, folder: str) -> None:
    model = Embedder(folder, similarity_fn_name=member)
    assert model.similarity_fn_name == "dot"
    model.similarity_fn_name = "euclidean"
    model.similarity_fn_name = member
    left, right = np.eye(2, 3, dtype=np.float32), np.ones((1, 3), np.float32)
    assert model.similarity_fn_name == "dot"
    for function, expected in (
        (SimilarityFunction.to_similarity_fn(member), model.similarity(left, right)),
        (SimilarityFunction.to_similarity_pairwise_fn(member), model.similarity_pairwise(left, left)),
    ):
        other = right if expected.ndim == 2 else left
        np.testing.assert_array_equal(function(left, other), expected)
    with pytest.raises(ValueError, match=r"^similarity_fn_name: .*found 'maxsim'"):
        Embedder(folder, similarity_fn_name=Other.MAXSIM)  # type: ignore[arg-type]

"""Calls of sentence-transformers' classes that are made of both packages, and what became of each, as JSON.

`fixtures/dropin.py` makes them of sentence-transformers, `test_dropin.py` of votive.
"""

import copy
import itertools
import pickle
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

FIXTURES = Path(__file__).parent / "fixtures"
ONE, MANY = "what is a candle?", ["what is a candle?", "wax with a wick", "", "a long text of many words " * 3]
PAIRS = [("what is a candle?", "wax with a wick"), ["a", "b"], ("what", "a long text of many words")]

# Of each array so many numbers are kept, and their sum.
KEPT = 16

Call = Callable[[Any], Any]
CALLS: dict[str, Call] = {}


def embedder(package: Any, **options: Any) -> Any:
    return package.SentenceTransformer(str(FIXTURES / "bert_modules"), device="cpu", **options)


def ranker(package: Any, fixture: str = "bert_rerank", **options: Any) -> Any:
    return package.CrossEncoder(str(FIXTURES / fixture), device="cpu", **options)


def of_embedder(name: str, call: Call, **options: Any) -> None:
    assert name not in CALLS, name
    CALLS[name] = lambda package: call(embedder(package, **options))


def of_ranker(name: str, call: Call, fixture: str = "bert_rerank", **options: Any) -> None:
    assert name not in CALLS, name
    CALLS[name] = lambda package: call(ranker(package, fixture, **options))


def setting(name: str, value: Any, read: Callable[[Any], Any]) -> Call:
    """What `read` gives of a model after one of its attributes was set."""

    def call(model: Any) -> Any:
        setattr(model, name, value)
        return read(model)

    return call


def encoded(inputs: Any, **options: Any) -> Call:
    return lambda model: model.encode(inputs, **options)


# encode: what comes back

for (kind, inputs), precision, output, numpy_, tensor in itertools.product(
    {"one": ONE, "many": MANY, "none": []}.items(),
    ("float32", "int8", "uint8", "binary", "ubinary"),
    ("sentence_embedding", "token_embeddings", None),
    (True, False),
    (False, True),
):
    if output != "sentence_embedding" and precision != "float32":
        continue
    of_embedder(
        f"encode {kind} {precision} {output} numpy={numpy_} tensor={tensor}",
        encoded(inputs, precision=precision, output_value=output, convert_to_numpy=numpy_, convert_to_tensor=tensor),
    )

# encode: what goes in

for name, inputs in {
    "tuple": tuple(MANY),
    "array of str": np.array(MANY),
    "array of objects": np.array(MANY, dtype=object),
    "array without dimensions": np.array(ONE),
    "pairs": PAIRS,
    "pairs and texts": [PAIRS[0], "alone", PAIRS[1]],
    "tuple of pairs": tuple(map(tuple, PAIRS)),
}.items():
    of_embedder(f"encode {name}", encoded(inputs))
    of_embedder(f"is_singular_input {name}", lambda model, inputs=inputs: model.is_singular_input(inputs))
of_embedder("encode sentences=", lambda model: model.encode(sentences=MANY))
of_embedder("encode inputs=", lambda model: model.encode(inputs=MANY))
of_embedder("encode positions", lambda model: model.encode(MANY, "query", None, 2, False))
of_embedder("encode nothing", lambda model: type(model.encode).__name__)

# encode: arguments

for name, options in {
    "prompt_name": {"prompt_name": "query"},
    "prompt": {"prompt": "say "},
    "prompt and prompt_name": {"prompt": "say ", "prompt_name": "query"},
    "an unknown prompt_name": {"prompt_name": "x"},
    "batch_size 1": {"batch_size": 1},
    "batch_size 0": {"batch_size": 0},
    "batch_size -1": {"batch_size": -1},
    "no bar": {"show_progress_bar": False},
    "precision None": {"precision": None},
    "an unknown precision": {"precision": "x"},
    "device": {"device": "cpu"},
    "normalize": {"normalize_embeddings": True},
    "normalize and truncate": {"normalize_embeddings": True, "truncate_dim": 5},
    "truncate_dim": {"truncate_dim": 5},
    "truncate_dim above": {"truncate_dim": 5000},
    "an unknown keyword": {"normalize": True},
    "task": {"task": "query"},
    "chunk_size": {"chunk_size": 7},
    "processing_kwargs": {"processing_kwargs": {"text": {"max_length": 6, "truncation": True}}},
}.items():
    of_embedder(f"encode with {name}", encoded(MANY, **options))
    of_embedder(f"encode one with {name}", encoded(ONE, **options))
of_embedder("dict with a prompt", lambda model: model.encode(ONE, output_value=None, prompt_name="query"))
of_embedder("dict truncated", lambda model: model.encode(ONE, output_value=None, truncate_dim=5))
of_embedder("dict normalized", lambda model: model.encode(ONE, output_value=None, normalize_embeddings=True))
of_embedder("encode_query", lambda model: model.encode_query(MANY))
of_embedder("encode_query one", lambda model: model.encode_query(ONE))
of_embedder("encode_query of another prompt", lambda model: model.encode_query(MANY, prompt_name="document"))
of_embedder("encode_query prompt", lambda model: model.encode_query(MANY, prompt=""))
of_embedder("encode_document", lambda model: model.encode_document(MANY))
of_embedder("encode_document sentences=", lambda model: model.encode_document(sentences=MANY))
of_embedder("encode_document tensor", lambda model: model.encode_document(MANY, convert_to_tensor=True))

# The constructor

for name, options in {
    "prompts": {"prompts": {"query": "Q ", "text": "T "}},
    "prompts of None": {"prompts": {"query": None, "other": None}},
    "default_prompt_name": {"default_prompt_name": "query"},
    "an unknown default_prompt_name": {"default_prompt_name": "x"},
    "truncate_dim": {"truncate_dim": 5},
    "truncate_dim above": {"truncate_dim": 5000},
    "similarity_fn_name": {"similarity_fn_name": "dot"},
    "an unknown similarity_fn_name": {"similarity_fn_name": "x"},
    "maxsim": {"similarity_fn_name": "maxsim"},
    "dtype": {"model_kwargs": {"dtype": "float32"}},
    "torch_dtype": {"model_kwargs": {"torch_dtype": "float32"}},
    "dtype auto": {"model_kwargs": {"dtype": "auto"}},
    "attention": {"model_kwargs": {"attn_implementation": "eager"}},
    "length": {"processor_kwargs": {"model_max_length": 6}},
    "length by the older name": {"tokenizer_kwargs": {"model_max_length": 6}},
    "empty kwargs": {"model_kwargs": {}, "processor_kwargs": {}, "config_kwargs": {}},
    "trust_remote_code": {"trust_remote_code": True},
    "revision": {"revision": "main"},
    "local_files_only": {"local_files_only": True},
    "two tokens": {"token": "a", "use_auth_token": "b"},
    "an unknown backend": {"backend": "x"},
}.items():
    of_embedder(f"made with {name}", lambda model: [model.encode(MANY), model.prompts, model.max_seq_length], **options)
    of_embedder(f"state with {name}", lambda model: state(model), **options)
CALLS["a folder that is not there"] = lambda package: package.SentenceTransformer("a/b/c")
CALLS["a file"] = lambda package: package.SentenceTransformer(str(FIXTURES / "bert_modules" / "config.json"))


def state(model: Any) -> dict[str, Any]:
    """What a model says of itself."""
    return {
        "prompts": dict(sorted(model.prompts.items())),
        "default_prompt_name": model.default_prompt_name,
        "truncate_dim": None if model.truncate_dim is None else min(model.truncate_dim, 48),
        "similarity_fn_name": model.similarity_fn_name,
        "max_seq_length": model.max_seq_length,
        "dimension": model.get_embedding_dimension(),
        "device": str(model.device),
        "type": model.device.type,
        "dtype": str(model.dtype).removeprefix("torch."),
    }


# The rest of it

of_embedder("state", state)
of_embedder("get_sentence_embedding_dimension", lambda model: model.get_sentence_embedding_dimension())
of_embedder("get_max_seq_length", lambda model: model.get_max_seq_length())
for name, value in {
    "truncate_dim": 7,
    "similarity_fn_name": "euclidean",
    "default_prompt_name": "query",
    "max_seq_length": 6,
    "prompts": {"query": "other: "},
}.items():
    of_embedder(f"set {name}", setting(name, value, state))
    of_embedder(f"set {name}, encode", setting(name, value, lambda model: model.encode(MANY)))
    of_embedder(f"set {name}, deepcopy", setting(name, value, lambda model: state(copy.deepcopy(model))))
    of_embedder(f"set {name}, pickle", setting(name, value, lambda model: state(pickle.loads(pickle.dumps(model)))))
    of_embedder(f"set {name}, save", setting(name, value, lambda model: state(saved(model))))
of_embedder("set truncate_dim None", setting("truncate_dim", None, state), truncate_dim=5)
of_embedder("set similarity_fn_name to what is not there", setting("similarity_fn_name", "cos", state))


def saved(model: Any) -> Any:
    """The model, saved and loaded again."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        return type(model)(folder, device="cpu")


def truncated(model: Any) -> list[Any]:
    with model.truncate_embeddings(5):
        within = model.encode(ONE)
    return [within, model.encode(ONE)]


of_embedder("truncate_embeddings", truncated)
of_embedder("encode what was saved", lambda model: saved(model).encode(MANY))
of_embedder("save to None", lambda model: model.save(None))
for name in ("cosine", "dot", "euclidean", "manhattan"):
    of_embedder(f"similarity {name}", lambda model: similarities(model), similarity_fn_name=name)


def similarities(model: Any) -> list[Any]:
    a, b = model.encode(MANY), model.encode(["wax", "with"])
    return [
        model.similarity(a, b),
        model.similarity(a[0], b),
        model.similarity(list(a), b.tolist()),
        model.similarity_pairwise(a[:2], b),
    ]


of_embedder("names of modules", lambda model: [type(module).__name__ for module in model])
of_embedder("number of modules", len)
of_embedder("first module", lambda model: [type(model[0]).__name__, type(model._first_module()).__name__])
of_embedder("last module", lambda model: type(model._last_module()).__name__)
of_embedder("hidden size", lambda model: model[0].auto_model.config.hidden_size)
of_embedder("length of the first module", lambda model: model[0].max_seq_length)
of_embedder("width of words", lambda model: model[0].get_word_embedding_dimension())
of_embedder("get_backend", lambda model: model.get_backend())
of_embedder("get_model_kwargs", lambda model: model.get_model_kwargs())
of_embedder("supports", lambda model: [model.supports("text"), model.supports("image"), model.modalities])
for name in ("eval", "cpu", "float"):
    of_embedder(f"{name} gives the model", lambda model, name=name: getattr(model, name)() is model)
of_embedder("to gives the model", lambda model: model.to("cpu") is model)
of_embedder("train(False) gives the model", lambda model: model.train(False) is model)
of_embedder("requires_grad_(False) gives the model", lambda model: model.requires_grad_(False) is model)
of_embedder("evaluate", lambda model: model.evaluate(lambda own, path: [own is model, path]))

# The tokenizer

of_embedder("preprocess", lambda model: model.preprocess(MANY))
of_embedder("preprocess with a prompt", lambda model: model.preprocess(MANY, prompt="say "))
of_embedder("preprocess pairs", lambda model: model.preprocess(PAIRS))
of_embedder("tokenize", lambda model: model.tokenize(MANY))
for name, use in {
    "call": lambda t: dict(t("what is a candle?")),
    "call of many": lambda t: dict(t(MANY)),
    "call padded": lambda t: dict(t(MANY, padding=True, return_tensors="np")),
    "call padded to": lambda t: dict(t(["a", "b c"], padding="max_length", max_length=7, truncation=True)),
    "call cut": lambda t: dict(t(MANY, truncation=True, max_length=5)),
    "call of pairs": lambda t: dict(t("what", "is")),
    "call without special tokens": lambda t: dict(t(MANY, add_special_tokens=False)),
    "encode": lambda t: t.encode("what is a candle?", max_length=2**32, truncation="do_not_truncate"),
    "encode a pair": lambda t: t.encode("what is", "a candle?"),
    "decode": lambda t: [t.decode(t.encode("wax with")), t.decode(t.encode("wax with"), skip_special_tokens=True)],
    "tokenize": lambda t: t.tokenize("wax with a wick"),
    "tokens of ids": lambda t: [t.convert_ids_to_tokens([5, 6]), t.convert_ids_to_tokens(5)],
    "ids of tokens": lambda t: [t.convert_tokens_to_ids(["a", "nowhere to be found"]), t.convert_tokens_to_ids("a")],
    "sizes": lambda t: [len(t), t.vocab_size, len(t.vocab), len(t.get_vocab()), t.model_max_length],
    "special": lambda t: [
        t.cls_token,
        t.sep_token,
        t.pad_token,
        t.mask_token,
        t.unk_token,
        t.cls_token_id,
        t.pad_token_id,
    ],
    "padding side": lambda t: t.padding_side,
}.items():
    of_embedder(f"tokenizer {name}", lambda model, use=use: use(model.tokenizer))

TEXT = "Rye bread needs a Sourdough, isn't it? Größe 3.5!"


def decoded(package: Any, fixture: str) -> list[str]:
    tokenizer = package.SentenceTransformer(str(FIXTURES / fixture), device="cpu").tokenizer
    ids = tokenizer.encode(TEXT)
    return [tokenizer.decode(ids, skip_special_tokens=True), tokenizer.decode(ids[1:-1]), *tokenizer.tokenize(TEXT)]


for fixture in ("bert_stored", "mpnet", "roberta", "xlm_roberta", "deberta_v3", "qwen3_embedding", "distilbert"):
    CALLS[f"tokenizer of {fixture}"] = lambda package, fixture=fixture: decoded(package, fixture)

# CrossEncoder

for name, inputs in {
    "one": PAIRS[0],
    "one list": ["a", "b"],
    "one array": np.array(["a", "b"]),
    "many": PAIRS,
    "an array": np.array([["a", "b"], ["c", "d"]]),
    "none": [],
}.items():
    for fixture in ("bert_rerank", "bert_labels"):
        for numpy_, tensor in itertools.product((True, False), (False, True)):
            of_ranker(
                f"predict {name} {fixture} numpy={numpy_} tensor={tensor}",
                lambda model, inputs=inputs, numpy_=numpy_, tensor=tensor: model.predict(
                    inputs, convert_to_numpy=numpy_, convert_to_tensor=tensor
                ),
                fixture,
            )
for name, options in {
    "prompt": {"prompt": "say "},
    "batch_size 0": {"batch_size": 0},
    "batch_size 1": {"batch_size": 1},
    "softmax": {"apply_softmax": True},
    "an unknown prompt": {"prompt_name": "x"},
}.items():
    for fixture in ("bert_rerank", "bert_labels"):
        of_ranker(
            f"predict with {name} {fixture}", lambda model, options=options: model.predict(PAIRS, **options), fixture
        )
DOCUMENTS = ["wax with a wick", "a", "what is", "b"]
of_ranker("rank", lambda model: model.rank(ONE, DOCUMENTS))
of_ranker("rank top_k", lambda model: model.rank(ONE, DOCUMENTS, top_k=2, return_documents=True))
of_ranker("rank nothing", lambda model: model.rank(ONE, []))
of_ranker("rank by several labels", lambda model: model.rank(ONE, DOCUMENTS), "bert_labels")
of_ranker("max_length", lambda model: [model.max_length, model.max_seq_length], max_length=6)
of_ranker("predict within max_length", lambda model: model.predict(PAIRS), max_length=6)
of_ranker("num_labels", lambda model: [model.num_labels, model.config.num_labels], "bert_labels")
of_ranker("names of labels", lambda model: sorted(model.config.id2label.values()), "bert_labels")
of_ranker("prompts of a ranker", lambda model: [model.prompts, model.default_prompt_name])
of_ranker("deepcopy of a ranker", lambda model: copy.deepcopy(model).predict(PAIRS), max_length=6)
of_ranker("pickle of a ranker", lambda model: pickle.loads(pickle.dumps(model)).predict(PAIRS), max_length=6)
of_ranker("save a ranker", lambda model: saved(model).predict(PAIRS))
CALLS["older arguments"] = lambda package: package.CrossEncoder(
    str(FIXTURES / "bert_rerank"), 1, 6, device="cpu", automodel_args={}, tokenizer_args={}, cache_dir=None
).predict(PAIRS)
CALLS["an unknown argument"] = lambda package: package.CrossEncoder(str(FIXTURES / "bert_rerank"), nothing=1)


def outcome(call: Call, package: Any) -> Any:
    """What a call gives, or how it fails, as JSON."""
    try:
        return described(call(package))
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error).replace(str(FIXTURES), "FIXTURES")}


def described(value: Any) -> Any:
    """Types, shapes and the first numbers of a result."""
    if type(value).__name__ == "Tensor":
        return numbers("tensor", value.detach().float().numpy() if value.is_floating_point() else value.numpy())
    if isinstance(value, np.ndarray):
        return numbers("array", value)
    if isinstance(value, np.generic):
        return numbers("scalar", np.asarray(value))
    if isinstance(value, Mapping):
        return {str(key): described(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [described(item) for item in value]
    return value


def numbers(kind: str, array: np.ndarray) -> dict[str, Any]:
    kept = array.astype(float).ravel()
    return {
        "kind": kind,
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "numbers": [round(float(number), 6) for number in kept[:KEPT]],
        "sum": round(float(kept.sum()), 5),
    }

"""The ratios of speed that votive is held to, with their goals: of embedders, rerankers and stores."""

from __future__ import annotations

from typing import NamedTuple

from votive.bench.backends import stores

from benches.data.vectors import SHARES, Search
from benches.peers import embedders, rerankers

FLOAT32, BFLOAT16, INT8 = "votive", "votive-bfloat16", "votive-int8"
DTYPES = {FLOAT32: "float32", BFLOAT16: "bfloat16", INT8: "int8"}


class Target(NamedTuple):
    """A ratio of two peers' speed in calls with `size` items of a set: of the rates, at "1" of the median times.

    `settings` are the peer as programs commonly use it, and at its fastest; one alone where these are the same.
    `call` says in words what is called; `aim` is what votive set itself beyond the goal.
    """

    subject: str
    set: str
    size: str
    call: str
    peer: str
    settings: tuple[str, ...]
    goal: str
    aim: str = ""

    def __str__(self) -> str:
        return f"{DTYPES[self.subject]}, {self.call}, against {self.peer}"


def _texts(subject: str, name: str, peer: str, goal: str, aim: str) -> Target:
    """Of a whole set in one call."""
    return Target(subject, name, "all", f"{name} texts", peer, _settings(peer), goal, aim)


def _one_text(subject: str, peer: str, goal: str, aim: str) -> Target:
    """A single text has all cores at the peer's fastest setting too."""
    return Target(subject, "short", "1", "one short text, p50", peer, _settings(peer)[:1], goal, aim)


def _settings(peer: str) -> tuple[str, ...]:
    all_cores = f"{peer}-all-cores"
    return (all_cores, peer) if all_cores in embedders.PEERS | rerankers.ENCODERS else (peer,)


EMBED = (
    _texts(FLOAT32, "mixed", "onnxruntime", "1.8x", "2.2x"),
    _texts(FLOAT32, "mixed", "openvino-float32", "1.6x", "2x"),
    _texts(FLOAT32, "short", "onnxruntime", "1.4x", "1.8x"),
    _texts(FLOAT32, "long", "onnxruntime", "1.4x", "1.8x"),
    _texts(BFLOAT16, "mixed", "openvino-default", "1.5x", "2x"),
    _texts(INT8, "mixed", "openvino-int8", "1.8x", "2.5x"),
    _texts(INT8, "long", "openvino-int8", "1.4x", "2x"),
    _texts(INT8, "mixed", embedders.REFERENCE, "4x", "6x"),
    _one_text(FLOAT32, "onnxruntime", "2x (Zen 4: 1.7x)", "2.7x"),
    _one_text(INT8, "openvino-int8", "4x (Zen 4: 2x)", "1.5x of the peaks"),
)

# Weights of a GGUF file, against llama.cpp: speed with many texts and with one, then shares of its time of loading.
QUANTIZED = ("2x", "1x", "", "at most 2x", "")

CALLERS = 8  # threads that call a reranker at once
CALLERS_PAIRS = 32  # in each of their calls
QUESTION = "one query, 20 documents"


def _pairs(name: str, size: str, call: str) -> tuple[Target, ...]:
    return tuple(
        Target(subject, name, size, call, peer, _settings(peer), goal)
        for subject, peer, goal in (
            (FLOAT32, rerankers.ENCODER_REFERENCE, "2.5x"),
            (FLOAT32, "onnxruntime", "1.5x"),
            (INT8, "openvino-int8", "1.8x"),
        )
    )


def _question(subject: str, goal: str) -> Target:
    settings = ("transformers-model-card", rerankers.DECODER_REFERENCE)
    return Target(subject, "question", "all", QUESTION, rerankers.DECODER_REFERENCE, settings, goal)


RERANK = {
    "minilm": (
        *_pairs("pairs", str(CALLERS_PAIRS), f"{CALLERS_PAIRS} pairs a call"),
        *_pairs("question", "20", QUESTION),
    ),
    "qwen3": (_question(FLOAT32, "2x"), _question(INT8, "4x")),
}


class StoreTarget(NamedTuple):
    """How many times faster votive must be at a call than a peer, or than the fastest of the exact ones."""

    call: str
    peer: str | None
    goal: str
    aim: str


STORE_K = 100
ONE, MANY = Search(STORE_K), Search(STORE_K, 32)
FILTERED = [Search(STORE_K, 1, share, prepared) for share in SHARES for prepared in (False, True)]
STORE = (
    StoreTarget(str(ONE), None, "2.5x", "3.5x"),
    StoreTarget(str(MANY), "torch", "4x", "8x"),
    StoreTarget(str(MANY), "faiss-flat", "6x", "12x"),
    StoreTarget(str(MANY), None, "", ""),
    StoreTarget(str(FILTERED[0]), None, "5x", "20x"),
    StoreTarget(str(FILTERED[1]), None, "5x", "20x"),
    StoreTarget(str(FILTERED[2]), None, "", ""),
    StoreTarget(str(FILTERED[3]), None, "", ""),
    StoreTarget(stores.OPEN, "faiss-flat", "2x", "4x"),
    StoreTarget(stores.OPEN, "faiss-flat, mapped", "", ""),
)

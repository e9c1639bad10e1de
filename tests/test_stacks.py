"""Threads with little stack: what takes more of it is done on others."""

import json
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).parent / "fixtures"

PROGRAM = """
import json, sys, threading
import numpy as np
from votive import Embedder, EmbeddingStore, Reranker, quantize_embeddings

kind, folder, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
texts = [f"text {i} " + "of words " * (3 * i) for i in range(12)] + ["a" * 1000]
rows = np.random.default_rng(1).standard_normal((3000, 40), np.float32)
store = EmbeddingStore()
store.add_embeddings(rows, ids=[f"row {i}" for i in range(len(rows))])


def work():
    model = (Reranker if kind == "Reranker" else Embedder)(folder, num_threads=2)
    if kind == "Reranker":
        return model.predict([(text, "answer " + text) for text in texts]), model.rank("a", texts[:3])
    model.tokenize(texts)
    store.add_embeddings(rows[:5], ids=list("abcde"))
    store.search(rows[:9], 7, exact=False)
    return model.encode("alone"), model.encode(texts), store.search(rows[:40], 7), quantize_embeddings(rows, "int8")


import warnings
warnings.simplefilter("ignore")
work()  # NumPy and Python import what they need, on their own stacks
found = []
threading.stack_size(size)
thread = threading.Thread(target=lambda: found.append(work()))
thread.start()
thread.join()
print(len(found))
"""

CASES = {
    "bert_plain": "Embedder",
    "deberta_v2": "Embedder",
    "deberta_v3_rerank": "Reranker",
    "modernbert": "Embedder",
    "qwen3_embedding": "Embedder",
    "qwen2_rerank": "Reranker",
    "qwen3_rerank": "Reranker",
    "xlm_roberta": "Embedder",
}

KILOBYTE = 1 << 10


@pytest.mark.skipif(sys.platform == "win32", reason="Windows rounds stacks up")
@pytest.mark.parametrize("fixture", CASES)
def test_a_thread_of_little_stack_loads_and_computes(fixture: str, run_python: Callable[..., str]) -> None:
    for size in (64, 1100):
        assert run_python(PROGRAM, CASES[fixture], str(FIXTURES / fixture), str(size * KILOBYTE)) == "1\n"


def test_workers_have_a_stack_of_their_own_size(run_python: Callable[..., str]) -> None:
    for fixture in ("deberta_v3_rerank", "qwen3_embedding"):
        folder = str(FIXTURES / fixture)
        printed = run_python(PROGRAM, CASES[fixture], folder, str(64 * KILOBYTE), RUST_MIN_STACK="16384")
        assert printed == "1\n"


def nested(depth: int) -> Any:
    value: Any = {"type": "NFC"}
    for _ in range(depth):
        value = {"type": "Sequence", "normalizers": [value]}
    return value


@pytest.mark.skipif(sys.platform == "win32", reason="Windows rounds stacks up")
@pytest.mark.parametrize("size", [64, 1100])
def test_files_nested_deeply_are_read_on_enough_stack(size: int, tmp_path: Path) -> None:
    from votive import Embedder, ModelError

    folder = shutil.copytree(FIXTURES / "bert_plain", tmp_path / "model")
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    ends: list[Any] = []

    def load() -> None:
        try:
            ends.append(Embedder(folder, num_threads=1).encode("a").shape)
        except ModelError as error:
            ends.append(error)

    before = threading.stack_size(size * KILOBYTE)
    try:
        for depth in (1, 10, 30, 60, 61, 62, 100, 100_000):
            content = nested(depth) if depth < 500 else None
            text = json.dumps(tokenizer | {"normalizer": content})
            if content is None:
                text = text.replace('"normalizer": null', '"normalizer": ' + "[" * depth + "]" * depth)
            (folder / "tokenizer.json").write_text(text, encoding="utf-8")
            thread = threading.Thread(target=load)
            thread.start()
            thread.join()
    finally:
        threading.stack_size(before)
    assert len(ends) == 8
    assert isinstance(ends[-1], ModelError)

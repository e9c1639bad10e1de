"""Models whose checkpoint holds an adapter for each task beside the weights: jina-embeddings-v3.

What each task gives is compared with the reference in the tests of fidelity.
"""

import asyncio
import json
import pickle
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import same
from conftest import FIXTURES
from json_files import change
from votive import Embedder, ModelError, chunk
from votive.sentence_transformers import SentenceTransformer

PUBLISHED = FIXTURES / "jina_v3_published"
TEXTS = ["hello world", "a longer text of some more words, and some more", "x"]
TASKS = ["retrieval.query", "retrieval.passage", "separation", "classification", "text-matching"]

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")


@pytest.fixture(scope="module")
def model() -> Embedder:
    return Embedder(PUBLISHED)


def changed(folder: Path, **config: Any) -> Path:
    """A copy of the fixture with other keys of config.json."""
    shutil.copytree(PUBLISHED, folder)
    change(folder / "config.json", **config)
    return folder


def test_queries_and_documents_have_their_tasks_and_prompts(model: Embedder) -> None:
    query = model.encode(TEXTS, task="retrieval.query", prompt="retrieval.query: ")
    document = model.encode(TEXTS, task="retrieval.passage", prompt="retrieval.passage: ")
    assert not np.allclose(query, document, atol=0.01)
    assert same(model.encode_query(TEXTS), query)
    assert same(model.encode_document(TEXTS), document)
    assert same(model.encode(TEXTS, task="query", prompt_name="query"), query)
    assert same(SentenceTransformer(str(PUBLISHED)).encode_query(TEXTS), query)
    # A task alone adds no prompt, as in sentence-transformers.
    assert same(model.encode_query(TEXTS, prompt=""), model.encode(TEXTS, task="retrieval.query"))
    assert same(model.encode_chunks(TEXTS, chunk(TEXTS, model)), document)
    assert same(asyncio.run(model.aencode(TEXTS, task="separation")), model.encode(TEXTS, task="separation"))


def test_adapters_are_loaded_by_the_first_text_of_a_task() -> None:
    model = Embedder(PUBLISHED)
    plain, alone = model.encode(TEXTS), model.stats().memory.weights
    found = model.encode(TEXTS, task="separation")
    assert not np.allclose(found, plain, atol=0.01)
    assert 1.8 * alone < model.stats().memory.weights < 3.2 * alone
    assert same(model.encode(TEXTS), plain)
    once = model.stats().memory.weights
    assert same(model.encode(TEXTS, task="separation"), found)
    assert model.stats().memory.weights == once
    assert same(pickle.loads(pickle.dumps(model)).encode(TEXTS, task="separation"), found)


def test_threads_that_ask_at_once_load_each_task_once(model: Embedder) -> None:
    expected = {task: model.encode(TEXTS, task=task) for task in TASKS}
    memory = model.stats().memory.weights
    fresh = Embedder(PUBLISHED)
    found: dict[int, Any] = {}
    start = threading.Barrier(10)

    def ask(number: int) -> None:
        start.wait()
        found[number] = fresh.encode(TEXTS, task=TASKS[number % 5])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(found[number], expected[TASKS[number % 5]]) for number in range(10))
    assert fresh.stats().memory.weights == memory


def test_other_tasks_are_refused_with_those_that_are_there(model: Embedder) -> None:
    with pytest.raises(ValueError, match=r"^task: \"cluster\" is not one of \"retrieval.query\", .*\"document\""):
        model.encode(TEXTS, task="cluster")


def test_alpha_is_that_of_the_file(model: Embedder, tmp_path: Path) -> None:
    none = Embedder(changed(tmp_path / "none", lora_alpha=0))
    assert same(none.encode(TEXTS, task="separation"), model.encode(TEXTS))
    twice = Embedder(changed(tmp_path / "twice", lora_alpha=2))
    assert not np.allclose(twice.encode(TEXTS, task="separation"), model.encode(TEXTS, task="separation"), atol=1e-3)


def test_a_checkpoint_without_adapters_has_no_tasks(tmp_path: Path) -> None:
    folder = changed(tmp_path / "merged")
    shutil.copy(FIXTURES / "jina_v3" / "model.safetensors", folder)
    keys = json.loads((FIXTURES / "jina_v3" / "config.json").read_text(encoding="utf-8")) | {"lora_adaptations": TASKS}
    (folder / "config.json").write_text(json.dumps(keys), encoding="utf-8")
    (folder / "1_Pooling" / "config.json").write_text(
        (FIXTURES / "jina_v3" / "1_Pooling" / "config.json").read_text(encoding="utf-8"), encoding="utf-8"
    )
    model = Embedder(folder)
    plain = model.encode(TEXTS)
    with pytest.warns(UserWarning, match="^task: 'separation' changes nothing"):
        assert same(model.encode(TEXTS, task="separation"), plain)
    assert same(model.encode_query(TEXTS), plain)


def test_adapters_that_do_not_fit_are_refused_by_name(model: Embedder, tmp_path: Path) -> None:
    other = Embedder(changed(tmp_path / "four", lora_adaptations=TASKS[:4]))
    for _ in range(2):
        with pytest.raises(ModelError, match=r"lora_A\" has shape \[5, .* config\.json names 4 tasks"):
            other.encode(TEXTS, task="separation")
    # What needs no task goes on.
    assert same(other.encode(TEXTS), model.encode(TEXTS))
    for key, value, expected in (
        ("lora_adaptations", ["a", "a"], 'names "a" twice'),
        ("lora_adaptations", 5, "expected a list of strings"),
        ("lora_alpha", "1", "expected a number"),
    ):
        with pytest.raises(ModelError, match=rf"config\.json: {key}: {expected}"):
            Embedder(changed(tmp_path / f"{key}-{expected[:7]}", **{key: value}))

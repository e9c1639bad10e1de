"""The Embedder as an object: what it says of itself, copies, threads, and the kernels it computes with."""

import copy
import json
import logging
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from copies import COPIES
from votive import DeviceError, Embedder, TruncationWarning, VotiveError

TEXTS = ["one", "a second text", "and a third one, which is longer than the others", ""]
TOLERANCE = 1e-5  # greatest difference of an element between kernels


@pytest.fixture(scope="module")
def expected(model: Embedder) -> np.ndarray:
    return model.encode(TEXTS)


class TestWhatItSays:
    def test_properties(self, model: Embedder) -> None:
        assert (model.device, model.dtype) == ("cpu", "float32")
        assert model.get_embedding_dimension() == model.get_sentence_embedding_dimension() == 48
        assert model.truncate_dim is None
        assert model.default_prompt_name is None
        assert model.similarity_fn_name == "cosine"
        assert model.prompts == {"query": "query: ", "document": "a passage of the text: ", "plain": ""}

    def test_repr_says_what_was_loaded_from_where(self, folder: str) -> None:
        model = Embedder(folder, num_threads=3, truncate_dim=7, max_seq_length=20)
        text = repr(model)
        assert text.startswith(f"Embedder({folder!r}, from folder, folder={folder!r}, device='cpu', dtype='float32', ")
        assert text.endswith("num_threads=3, dimension=7, max_seq_length=20)")
        assert "kernels='" in text

    def test_repr_of_a_cached_model_names_the_commit(self, folder: str, tmp_path: Path) -> None:
        model = Embedder("example/tiny", cache_folder=cached(folder, tmp_path), local_files_only=True)
        assert repr(model).startswith(f"Embedder('example/tiny', from cache {COMMIT}, folder='")

    def test_what_was_used_is_logged(self, folder: str, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, logger="votive"):
            Embedder(folder)
        assert [record.getMessage() for record in caplog.records] == [f"{folder}: from folder, folder {folder}"]

    def test_a_path_is_as_good_as_a_str(self, folder: str, expected: np.ndarray) -> None:
        assert np.array_equal(Embedder(Path(folder)).encode(TEXTS), expected)


BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "bytes for the name": (
        {"model_name_or_path": b"model"},
        TypeError,
        "model_name_or_path: expected a model's name or the path of its folder, found bytes",
    ),
    "missing folder": ({"model_name_or_path": "/no/such"}, FileNotFoundError, "folder .*/no/such.*does not exist"),
    "device of another build": ({"device": "cuda"}, DeviceError, r"cuda.*available: cpu"),
    "unknown device": ({"device": "gpu"}, ValueError, r"^device: .*gpu.*accepted: auto, cpu"),
    "device that is no str": ({"device": 0}, TypeError, r"^device: expected str, found int"),
    "unknown dtype": (
        {"dtype": "float8"},
        ValueError,
        r'^dtype: "float8" .*accepted: auto, float32, bfloat16, float16, int8',
    ),
    "dtype that is no str": ({"dtype": np.float32}, TypeError, r"^dtype: expected str, found type"),
    "similarity": ({"similarity_fn_name": "cos"}, ValueError, r"^similarity_fn_name: .*'cosine'.*found 'cos'"),
    "threads": ({"num_threads": 0}, ValueError, r"^num_threads: expected 1 or more, or None, found 0"),
    "half a thread": ({"num_threads": 0.5}, TypeError, r"^num_threads: expected an int or None, found float"),
    "prompts": ({"prompts": ["query: "]}, TypeError, r"^prompts: expected dict or None, found list"),
    "token": ({"token": 3}, TypeError, r"^token: expected bool or str or None, found int"),
    "revision": ({"revision": 3}, TypeError, r"^revision: expected str or None, found int"),
    "misspelled": ({"max_length": 3}, TypeError, r"unexpected keyword argument 'max_length'"),
}


@pytest.mark.parametrize(("arguments", "error", "message"), BAD.values(), ids=BAD.keys())
def test_arguments_that_are_not_accepted(
    arguments: dict[str, Any], error: type[Exception], message: str, folder: str
) -> None:
    with pytest.raises(error, match=message):
        Embedder(**{"model_name_or_path": folder} | arguments)


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cached(folder: str, cache: Path) -> Path:
    """A Hugging Face cache that holds a model's files as "example/tiny"."""
    model = cache / "models--example--tiny"
    shutil.copytree(folder, model / "snapshots" / COMMIT)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(COMMIT)
    return cache


class TestCopies:
    @pytest.mark.parametrize("kind", COPIES)
    def test_they_give_the_same(self, kind: str, folder: str) -> None:
        options: dict[str, Any] = {"truncate_dim": 7, "prompts": {"query": "Q "}, "default_prompt_name": "query"}
        model = Embedder(folder, max_seq_length=40, num_threads=2, similarity_fn_name="dot", **options)
        vectors = model.encode(TEXTS)
        twin = COPIES[kind](model)
        # Copies share the weights; what was pickled finds them on first use.
        assert repr(twin) == (f"Embedder({folder!r}, not loaded)" if kind.startswith("pickle") else repr(model))
        assert twin.last_report is None
        assert np.array_equal(twin.encode(TEXTS), vectors)
        assert repr(twin) == repr(model)
        assert (twin.similarity_fn_name, twin.max_seq_length, twin.truncate_dim) == ("dot", 40, 7)

    @pytest.mark.parametrize("attribute", ["prompts", "max_seq_length", "num_threads", "similarity_fn_name"])
    def test_whatever_is_asked_first_loads_them(self, attribute: str, model: Embedder) -> None:
        assert getattr(pickle.loads(pickle.dumps(model)), attribute) == getattr(model, attribute)

    @pytest.mark.parametrize("kind", COPIES)
    def test_what_was_changed_goes_with_them_and_no_further(self, kind: str, folder: str) -> None:
        model = Embedder(folder)
        model.prompts["new"] = "new: "
        del model.prompts["plain"]
        model.default_prompt_name = "new"
        model.truncate_dim = 5
        model.max_seq_length = 9
        twin = COPIES[kind](model)
        kept = (dict(model.prompts), "new", 5, 9)
        assert (twin.prompts, twin.default_prompt_name, twin.truncate_dim, twin.max_seq_length) == kept
        twin.prompts["later"], twin.truncate_dim, twin.max_seq_length = "later: ", 3, 7
        twin.default_prompt_name = "later"
        assert (model.prompts, model.default_prompt_name, model.truncate_dim, model.max_seq_length) == kept
        assert (
            model.tokenize("a b c d e f g h i j k")["input_ids"][:8]
            != twin.tokenize("a b c d e f g h i j k")["input_ids"]
        )

    def test_prompts_can_be_set(self, folder: str, model: Embedder) -> None:
        other = Embedder(folder)
        other.prompts = {"query": "a passage of the text: "}
        assert np.array_equal(other.encode_query(TEXTS), model.encode(TEXTS, prompt_name="document"))
        with pytest.raises(TypeError, match=r"^prompts: expected dict or None, found list$"):
            other.prompts = ["query"]  # type: ignore[assignment]
        assert list(other.prompts) == ["query"]

    def test_a_copy_outlives_the_model(self, folder: str, expected: np.ndarray) -> None:
        model = Embedder(folder)
        twin = copy.deepcopy(model)
        model.close()
        assert np.array_equal(twin.encode(TEXTS), expected)
        with pytest.raises(VotiveError, match="was closed"):
            copy.copy(model).encode(TEXTS)

    def test_a_pickle_holds_arguments_and_no_weights(self, model: Embedder) -> None:
        model.encode(TEXTS)
        assert len(pickle.dumps(model)) < 2_000

    def test_a_greatest_length_that_was_set_goes_with_them(self, folder: str) -> None:
        model = Embedder(folder)
        model.max_seq_length = 9
        assert pickle.loads(pickle.dumps(model)).max_seq_length == 9

    def test_a_model_that_is_gone_is_missed_on_first_use(self, folder: str, tmp_path: Path) -> None:
        model = Embedder("example/tiny", cache_folder=cached(folder, tmp_path), local_files_only=True)
        twin = pickle.loads(pickle.dumps(model))
        (tmp_path / "models--example--tiny" / "refs" / "main").unlink()
        # The weights that are loaded are found until then.
        assert pickle.loads(pickle.dumps(model)).encode("text").shape == (48,)
        model.close()
        with pytest.raises(FileNotFoundError, match="example/tiny"):
            twin.encode("text")
        assert repr(twin) == "Embedder('example/tiny', not loaded)"


class TestContextManager:
    def test_it_closes_the_model(self, folder: str, expected: np.ndarray) -> None:
        with Embedder(folder) as model:
            assert np.array_equal(model.encode(TEXTS), expected)
        assert repr(model) == f"Embedder({folder!r}, closed)"
        message = f"^the Embedder of {re.escape(repr(folder))} was closed; load another one$"
        with pytest.raises(VotiveError, match=message):
            model.encode(TEXTS)

    @pytest.mark.parametrize("attribute", ["device", "dtype", "max_seq_length", "num_threads", "prompts"])
    def test_nothing_is_known_of_a_closed_model(self, folder: str, attribute: str) -> None:
        model = Embedder(folder)
        model.close()
        model.close()
        with pytest.raises(VotiveError, match="was closed"):
            getattr(model, attribute)

    def test_a_call_that_is_at_work_ends(self, folder: str, expected: np.ndarray) -> None:
        model = Embedder(folder)

        def texts() -> Iterator[str]:
            for text in TEXTS:
                yield text
                model.close()

        assert np.array_equal(model.encode(texts()), expected)

    def test_an_error_goes_through(self, folder: str) -> None:
        with pytest.raises(KeyError), Embedder(folder):
            raise KeyError


class TestSimilarity:
    def test_of_embeddings(self, model: Embedder, expected: np.ndarray) -> None:
        normalized = expected / np.linalg.norm(expected, axis=1, keepdims=True)
        scores = model.similarity(expected, expected[:2])
        assert (scores.dtype, scores.shape) == (np.float32, (4, 2))
        np.testing.assert_allclose(scores, normalized @ normalized[:2].T, atol=1e-6)
        np.testing.assert_allclose(model.similarity_pairwise(expected, expected), np.ones(4), atol=1e-6)
        assert model.similarity(expected[0], expected).shape == (1, 4)

    def test_by_another_function(self, folder: str, expected: np.ndarray) -> None:
        model = Embedder(folder, similarity_fn_name="manhattan")
        distances = np.abs(expected[:, None] - expected[None]).sum(axis=2)
        np.testing.assert_allclose(model.similarity(expected, expected), -distances, atol=1e-4)
        np.testing.assert_allclose(model.similarity_pairwise(expected, expected), np.zeros(4), atol=1e-6)


class TestThreads:
    @pytest.mark.parametrize("num_threads", [1, 2, 5])
    def test_their_number_changes_no_bit(self, num_threads: int, folder: str, expected: np.ndarray) -> None:
        model = Embedder(folder, num_threads=num_threads)
        assert model.num_threads == num_threads
        assert np.array_equal(model.encode(TEXTS), expected)

    @pytest.mark.parametrize(
        ("variables", "number"),
        [
            ({"VOTIVE_NUM_THREADS": "3", "RAYON_NUM_THREADS": "4", "OMP_NUM_THREADS": "5"}, 3),
            ({"RAYON_NUM_THREADS": "4", "OMP_NUM_THREADS": "5"}, 4),
            ({"OMP_NUM_THREADS": "5"}, 5),
            ({"VOTIVE_NUM_THREADS": "many", "OMP_NUM_THREADS": "5"}, 5),
            ({"VOTIVE_NUM_THREADS": "0", "OMP_NUM_THREADS": "5"}, 5),
        ],
        ids=["votive", "rayon", "openmp", "no number", "zero"],
    )
    def test_the_environment_says_how_many(
        self, variables: dict[str, str], number: int, folder: str, run_python: Callable[..., str]
    ) -> None:
        code = "import sys, votive; print(votive.Embedder(sys.argv[1]).num_threads)"
        assert int(run_python(code, folder, **variables)) == number

    def test_the_argument_beats_the_environment(self, folder: str, run_python: Callable[..., str]) -> None:
        code = "import sys, votive; print(votive.Embedder(sys.argv[1], num_threads=2).num_threads)"
        assert int(run_python(code, folder, VOTIVE_NUM_THREADS="3")) == 2


ENCODE = """
import json, sys
from votive import Embedder
model = Embedder(sys.argv[1])
with open(sys.argv[2]) as file:
    texts = json.load(file)
print(json.dumps([repr(model), model.encode(texts).tolist()]))
"""
FAILURE = """
import sys
from votive import Embedder
try:
    Embedder(sys.argv[1])
except ValueError as error:
    print(error)
"""
SETS = ("scalar", "avx2", "avxvnni", "avx512", "vnni", "bf16", "neon")


class TestKernels:
    @pytest.fixture
    def texts(self, tmp_path: Path) -> Path:
        path = tmp_path / "texts.json"
        path.write_text(json.dumps(TEXTS))
        return path

    @pytest.mark.parametrize(
        ("variables", "name"),
        [
            ({"VOTIVE_PORTABLE": "1"}, "portable"),
            *(({"VOTIVE_ISA": name}, name) for name in SETS),
        ],
        ids=["portable", *SETS],
    )
    def test_all_compute_the_same(
        self,
        variables: dict[str, str],
        name: str,
        folder: str,
        texts: Path,
        expected: np.ndarray,
        run_python: Callable[..., str],
    ) -> None:
        if name not in ("portable", *self.available(folder, run_python)):
            pytest.skip(f"this CPU has no {name}")
        text, vectors = json.loads(run_python(ENCODE, folder, str(texts), **variables))
        assert f"kernels={name!r}" in text
        assert np.abs(np.array(vectors) - expected).max() <= TOLERANCE

    def test_an_unknown_name_lists_those_of_this_cpu(self, folder: str, run_python: Callable[..., str]) -> None:
        message = run_python(FAILURE, folder, VOTIVE_ISA="sse9")
        assert message.startswith('VOTIVE_ISA: "sse9" is not an instruction set of this CPU; it has scalar')

    @staticmethod
    def available(folder: str, run_python: Callable[..., str]) -> list[str]:
        return run_python(FAILURE, folder, VOTIVE_ISA="none").strip().partition("it has ")[2].split(", ")


def test_a_warning_that_is_an_error_leaves_the_model_usable(model: Embedder, expected: np.ndarray) -> None:
    with pytest.raises(TruncationWarning):
        model.encode("one two three " * 40)
    assert np.array_equal(model.encode(TEXTS), expected)

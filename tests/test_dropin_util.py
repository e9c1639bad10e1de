"""`votive.sentence_transformers.util` against sentence-transformers' answers, where nothing has imported torch."""

from __future__ import annotations

import csv
import json
import logging
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import votive
from fixtures.dropin_util import (
    EACH_WITH_EACH,
    FORMS,
    PRECISIONS,
    QUANTIZED_SEARCHES,
    ROW_BY_ROW,
    SEARCHES,
    arguments,
)
from votive.sentence_transformers import Unsupported, _tensors, util

HERE = Path(__file__).parent / "fixtures"
ARRAYS = dict(np.load(HERE / "dropin_util.npz"))
LISTS = json.loads((HERE / "dropin_util.json").read_text(encoding="utf-8"))
TOLERANCES = {"float64": 1e-10, "float16": 1e-5, "float32": 1e-5, "lists": 1e-5, "arrays": 1e-5}


@pytest.fixture(autouse=True)
def _as_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that cannot import torch, whatever other tests imported."""
    monkeypatch.setitem(sys.modules, "torch", None)


def vectors(name: str, form: str):
    return FORMS[form](ARRAYS[name])


def assert_same(found, form: str, key: str) -> None:
    expected = ARRAYS[key]
    assert isinstance(found, np.ndarray)
    assert found.shape == expected.shape
    assert found.dtype == (np.float64 if form == "float64" else np.float32)
    np.testing.assert_allclose(found, expected, rtol=TOLERANCES[form], atol=TOLERANCES[form])


def assert_same_hits(found, expected) -> None:
    assert [[hit["corpus_id"] for hit in hits] for hits in found] == [
        [hit["corpus_id"] for hit in hits] for hits in expected
    ]
    for hits, of_reference in zip(found, expected, strict=True):
        assert all(type(hit["corpus_id"]) is int and type(hit["score"]) is float for hit in hits)
        np.testing.assert_allclose(
            [hit["score"] for hit in hits], [hit["score"] for hit in of_reference], rtol=1e-5, atol=1e-6
        )


def assert_same_pairs(found, expected) -> None:
    assert {(low, high) for _, low, high in found} == {(low, high) for _, low, high in expected}
    scores = [score for score, _, _ in found]
    np.testing.assert_allclose(scores, [score for score, _, _ in expected], rtol=1e-5, atol=1e-6)
    assert all(type(score) is float and type(low) is type(high) is int and low < high for score, low, high in found)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", EACH_WITH_EACH)
def test_each_row_with_each(name: str, form: str) -> None:
    left, right = vectors("left", form), vectors("right", form)
    function = getattr(util, name)
    assert_same(function(left, right), form, f"{name}.{form}")
    assert_same(function(left[0], right[0]), form, f"{name}.{form}.vectors")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [*ROW_BY_ROW, "pairwise_angle_sim"])
def test_each_row_with_the_same(name: str, form: str) -> None:
    left, paired = vectors("left", form), vectors("paired", form)
    function = getattr(util, name)
    assert_same(function(left, paired), form, f"{name}.{form}")
    if name in ROW_BY_ROW:
        assert_same(function(left[0], paired[0]), form, f"{name}.{form}.vectors")


def test_one_side_of_float64_makes_all_float64() -> None:
    found = util.cos_sim(ARRAYS["left"], ARRAYS["right"].astype(np.float32))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, ARRAYS["cos_sim.float64"], atol=1e-6)


def test_float64_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util.similarity, "_TILE_ELEMENTS", 15)
    found = util.euclidean_sim(ARRAYS["left"], ARRAYS["right"])
    np.testing.assert_allclose(found, ARRAYS["euclidean_sim.float64"], rtol=1e-12)


def test_vectors_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="b: expected 7 columns"):
        util.cos_sim(ARRAYS["left"].astype(np.float32), np.ones((2, 8), np.float32))
    with pytest.raises(ValueError, match="as many columns"):
        util.cos_sim(ARRAYS["left"], np.ones((2, 8)))
    with pytest.raises(ValueError, match="a: expected numbers, in vectors of equal length"):
        util.dot_score([[1.0, 2.0], [1.0]], [[1.0, 2.0]])
    with pytest.raises(TypeError, match="a: expected floats or integers"):
        util.dot_score(np.array(["text"]), [[1.0, 2.0]])


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_pairs_and_communities(name: str) -> None:
    function, given = SEARCHES[name]
    found = getattr(util, function)(**arguments(given, ARRAYS, util))
    if function == "semantic_search":
        assert_same_hits(found, LISTS[name])
    elif function == "paraphrase_mining_embeddings":
        assert_same_pairs(found, LISTS[name])
    else:
        assert found == LISTS[name]


def test_search_takes_lists_and_halves() -> None:
    queries, corpus = ARRAYS["queries"], ARRAYS["corpus"]
    assert_same_hits(util.semantic_search(queries.tolist(), list(corpus)), LISTS["search"])
    found = util.information_retrieval(queries.astype(np.float16), corpus, top_k=1)
    assert [hits[0]["corpus_id"] for hits in found] == [hits[0]["corpus_id"] for hits in LISTS["search"]]


def test_few_queries_have_the_scores_of_many() -> None:
    queries, corpus = ARRAYS["queries"], ARRAYS["corpus"]
    for score_function in (util.cos_sim, util.dot_score):
        search = partial(util.semantic_search, corpus_embeddings=corpus, top_k=7, score_function=score_function)
        assert [hits for query in queries for hits in search(query)] == search(queries)


def test_equal_scores_are_in_the_order_of_rows() -> None:
    corpus = np.ones((12, 4), np.float32)
    for queries in (corpus[:1], corpus):
        for hits in util.semantic_search(queries, corpus, top_k=5):
            assert [hit["corpus_id"] for hit in hits] == [0, 1, 2, 3, 4]
            assert [hit["score"] for hit in hits] == [1.0] * 5


def test_nothing_to_search_in() -> None:
    empty, queries = np.empty((0, 16), np.float32), ARRAYS["queries"]
    assert util.semantic_search(queries, empty) == [[]] * len(queries)
    assert util.semantic_search(empty, queries) == []
    assert util.paraphrase_mining_embeddings(empty) == []
    assert util.community_detection(empty) == []
    assert util.community_detection(queries, min_community_size=12) == []


def test_search_refuses_vectors_that_are_no_numbers() -> None:
    query, corpus = ARRAYS["query"].copy(), ARRAYS["corpus"]
    query[3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        util.semantic_search(query, corpus)
    with pytest.raises(ValueError, match="corpus_embeddings: expected 1-D"):
        util.semantic_search(query, corpus[None])


def test_a_function_of_the_caller_gets_what_came_in() -> None:
    def score(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        assert type(a) is type(b) is np.ndarray
        shapes.append((a.shape, b.shape))
        return -np.abs(a[:, None] - b).sum(axis=2)

    shapes: list[tuple[tuple[int, ...], ...]] = []
    queries, corpus = ARRAYS["queries"], ARRAYS["corpus"]
    found = util.semantic_search(
        queries, corpus, query_chunk_size=6, corpus_chunk_size=100, top_k=4, score_function=score
    )
    assert shapes == [((6, 16), (100, 16)), ((6, 16), (20, 16)), ((5, 16), (100, 16)), ((5, 16), (20, 16))]
    expected = util.semantic_search(queries, corpus, top_k=4, score_function=util.manhattan_sim)
    assert_same_hits(found, expected)


def clustered(rows: int, clusters: int, seed: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((clusters, 24))
    return (centres[rng.integers(0, clusters, rows)] + 0.4 * rng.standard_normal((rows, 24))).astype(np.float32)


def brute_pairs(rows: np.ndarray, top_k: int, most: int) -> list[tuple[int, int]]:
    """Pairs by all scores in float64."""
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    scores = unit @ unit.T
    np.fill_diagonal(scores, -2)
    near = np.argsort(-scores, axis=1)[:, :top_k]
    pairs = {(min(i, j), max(i, j)) for i, js in enumerate(near.tolist()) for j in js}
    return sorted(pairs, key=lambda pair: -scores[pair])[:most]


@pytest.mark.parametrize(("top_k", "most"), [(10, 3000), (3, 500), (10, 10**9)])
def test_pairs_of_many_rows_are_those_of_brute_force(top_k: int, most: int) -> None:
    rows = clustered(2500, 60)
    found = util.paraphrase_mining_embeddings(rows, query_chunk_size=700, top_k=top_k, max_pairs=most)
    assert {(low, high) for _, low, high in found} == set(brute_pairs(rows, top_k, most))
    assert [score for score, _, _ in found] == sorted((score for score, _, _ in found), reverse=True)


def test_pairs_that_a_sample_misjudges() -> None:
    # Half of the rows are one vector: few distinct pairs have its score, since each row looks at ten neighbours.
    rows = clustered(2400, 60)
    rows[::2] = rows[0]
    found = util.paraphrase_mining_embeddings(rows, top_k=10, max_pairs=9000)
    assert len(found) == len({(low, high) for _, low, high in found}) == 9000
    assert found[0][0] == pytest.approx(1)
    assert all(low < high for _, low, high in found)


def brute_communities(rows: np.ndarray, threshold: float, least: int) -> list[list[int]]:
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    scores = unit @ unit.T
    near = [np.flatnonzero(row >= threshold) for row in scores]
    used: set[int] = set()
    found = []
    for centre in sorted(range(len(rows)), key=lambda row: -len(near[row])):
        left = [row for row in near[centre].tolist() if row not in used and row != centre]
        if centre not in used and len(near[centre]) >= least and len(left) + 1 >= least:
            found.append([centre, *sorted(left, key=lambda row: -scores[centre, row])])
            used.update(found[-1])
    return sorted(found, key=len, reverse=True)


@pytest.mark.parametrize("kept_pairs", [1 << 26, 2500 * 10])
def test_communities_of_many_rows_are_those_of_brute_force(kept_pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("votive.sentence_transformers.util._communities._KEPT_PAIRS", kept_pairs)
    rows = clustered(2500, 60)
    found = util.community_detection(rows, threshold=0.8, min_community_size=6, batch_size=300)
    assert len(found) > 20
    assert found == brute_communities(rows, 0.8, 6)


def test_a_score_at_the_threshold_counts() -> None:
    rows = np.array([[1, 0], [1, 0], [0.6, 0.8], [-1, 0]], np.float32)
    assert util.community_detection(rows, threshold=0.6, min_community_size=2) == [[0, 1, 2]]
    assert util.community_detection(rows, threshold=1.0, min_community_size=2) == [[0, 1]]
    assert util.community_detection(rows[0], min_community_size=1) == [[0]]


class Model:
    """Gives the vectors whose numbers the texts are."""

    def encode(self, sentences: list[str], **options: object) -> np.ndarray:
        self.options = options
        return ARRAYS["corpus"][[int(text) for text in sentences]]


def test_paraphrases_of_texts() -> None:
    model = Model()
    texts = [str(row) for row in range(len(ARRAYS["corpus"]))]
    found = util.paraphrase_mining(model, texts, max_pairs=40, batch_size=7, prompt_name="query")
    assert_same_pairs(found, LISTS["pairs"])
    assert (model.options["batch_size"], model.options["prompt_name"]) == (7, "query")


@pytest.mark.parametrize("name", PRECISIONS)
def test_quantization(name: str) -> None:
    precision, given = PRECISIONS[name]
    more, wide = arguments(given, ARRAYS, util), ARRAYS["wide"]
    for key, rows in {
        name: wide,
        f"{name}.float64": wide.astype(np.float64) / 3,
    }.items():
        expected = ARRAYS[f"quantize_embeddings.{key}"]
        found = util.quantize_embeddings(rows, precision, **more)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        util.quantize_embeddings(list(wide), precision, **more), ARRAYS[f"quantize_embeddings.{name}"]
    )
    matrices = util.quantize_embeddings([wide[:3], wide[3:]], precision, **more)
    assert len(matrices) == 2
    for number, matrix in enumerate(matrices):
        np.testing.assert_array_equal(matrix, ARRAYS[f"quantize_embeddings.{name}.matrix{number}"])


def test_quantization_of_little() -> None:
    assert util.quantize_embeddings([], "int8") == []
    for precision, columns in {"int8": 20, "uint8": 20, "binary": 3, "ubinary": 3, "float32": 20}.items():
        assert util.quantize_embeddings(np.empty((0, 20)), precision).shape == (0, columns)
    with pytest.raises(ValueError, match="Cannot compute int8 quantization ranges from a single embedding"):
        util.quantize_embeddings(ARRAYS["wide"][:1], "int8")
    with pytest.raises(TypeError, match="must be float rather than int8 or uint8"):
        util.quantize_embeddings(np.ones((2, 3), np.int8), "binary")
    with pytest.raises(ValueError, match="'int4' is not supported"):
        util.quantize_embeddings(ARRAYS["wide"], "int4")
    assert util.quantize_embeddings(ARRAYS["wide"][0], "ubinary").shape == (3,)


def test_quantization_by_few_embeddings_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "sentence_transformers"):
        util.quantize_embeddings(ARRAYS["calibration"], "int8")
        assert caplog.records == []
        util.quantize_embeddings(ARRAYS["wide"], "int8")
    assert "Computing int8 quantization buckets based on 20 embeddings" in caplog.text


@pytest.mark.parametrize("name", QUANTIZED_SEARCHES)
@pytest.mark.filterwarnings("default")
def test_quantized_searches(name: str) -> None:
    package, precision, given = QUANTIZED_SEARCHES[name]
    pytest.importorskip(package)
    search = getattr(util.quantization, f"semantic_search_{package}")
    corpus = util.quantize_embeddings(ARRAYS["calibration"], precision)
    more, queries = arguments(given, ARRAYS, util), ARRAYS["wide"][:2]
    found, seconds, index = search(queries, corpus, None, precision, output_index=True, **more)
    assert_same_hits(found, LISTS[name])
    assert seconds >= 0
    again, _ = search(queries, None, index, precision, **more)
    assert again == found
    one, _ = search(queries[:1], None, index, precision, **more)
    assert one == found[:1]


@pytest.mark.parametrize("package", ["faiss", "usearch"])
@pytest.mark.filterwarnings("default")
def test_quantized_searches_refuse_and_tell(package: str, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip(package)
    search = getattr(util.quantization, f"semantic_search_{package}")
    rows = ARRAYS["calibration"]
    with pytest.raises(ValueError, match=r"^Only corpus_embeddings or corpus_index should be used, not both\.$"):
        search(rows, rows, object())
    with pytest.raises(ValueError, match=r"^Either corpus_embeddings or corpus_index should be used\.$"):
        search(rows)
    with pytest.raises(ValueError, match="corpus_precision must be"):
        search(rows, rows, corpus_precision="int4")
    with caplog.at_level(logging.WARNING, "sentence_transformers"):
        search(rows, rows)
        assert "the corpus is not quantized" in caplog.text
        caplog.clear()
        bits = util.quantize_embeddings(rows, "ubinary")
        search(bits, bits, corpus_precision="ubinary")
        assert "the query embeddings are quantized" in caplog.text


def test_similarity_function() -> None:
    functions = util.SimilarityFunction
    assert functions.possible_values() == ["cosine", "dot", "euclidean", "manhattan", "maxsim", "meanmaxsim"]
    assert functions.DOT is functions.DOT_PRODUCT is functions("dot")
    assert functions.to_similarity_fn("cosine") is util.cos_sim
    assert functions.to_similarity_fn(functions.EUCLIDEAN) is util.euclidean_sim
    assert functions.to_similarity_pairwise_fn("manhattan") is util.pairwise_manhattan_sim
    with pytest.raises(ValueError, match="'other' is not a valid SimilarityFunction"):
        functions.to_similarity_fn("other")
    with pytest.raises(Unsupported, match=r"^mean_maxsim: votive has no late-interaction models"):
        functions.to_similarity_fn("meanmaxsim")([[1.0]], [[1.0]])


@pytest.mark.parametrize(
    "name",
    [
        "all_gather",
        "cat_padded_token_embeddings",
        "check_teacher_targets",
        "compute_count_vector",
        "install_logger",
        "maxsim_pairwise",
        "mine_hard_negatives",
        "resolve_ids",
        "to_scipy_coo",
    ],
)
def test_what_is_refused_names_itself(name: str) -> None:
    with pytest.raises(Unsupported, match=f"^{name}: "):
        getattr(util, name)()


def test_normalized_and_truncated() -> None:
    rows = np.array([[3, 4, 0], [0, 0, 0]], np.float32)
    np.testing.assert_allclose(util.normalize_embeddings(rows), [[0.6, 0.8, 0], [0, 0, 0]], atol=1e-7)
    np.testing.assert_allclose(util.normalize_embeddings(rows[0]), [0.6, 0.8, 0], atol=1e-7)
    assert util.truncate_embeddings(rows, 2).tolist() == [[3, 4], [0, 0]]
    assert util.truncate_embeddings(rows, None) is not None
    assert util.select_max_active_dims(np.array([[1.0, -3, 2]]), 2).tolist() == [[0, -3, 2]]
    with pytest.raises(ValueError, match="max_active_dims must be a positive integer"):
        util.select_max_active_dims(rows, 0)
    assert util.batch_to_device({"text": "a"}, "cpu") == {"text": "a"}


def test_names() -> None:
    assert util.fullname(3) == "int"
    assert util.fullname(Path) == f"{Path.__module__}.Path"
    assert util.import_from_string("votive.store.EmbeddingStore") is votive.EmbeddingStore
    with pytest.raises(ImportError, match="doesn't look like a module path"):
        util.import_from_string("votive")
    with pytest.raises(ImportError, match='does not define a "nothing"'):
        util.import_from_string("votive.store.nothing")
    assert util.import_module_class("sentence_transformers.util.cos_sim") is util.cos_sim
    with pytest.raises(Unsupported, match="import_module_class"):
        util.import_module_class("modeling.Module")
    assert util.similarity_fct_name(partial(util.cos_sim, b=1)) == "cos_sim(b=1)"
    assert "bert-base-uncased" in util.ORIGINAL_TRANSFORMER_MODELS


def test_the_environment() -> None:
    assert util.get_device_name() in ("cpu", "mps", "cuda:0")
    assert (util.get_rank(), util.get_world_size(), util.is_dist_initialized()) == (0, 1, False)
    assert not util.is_training_available()
    assert not util.check_package_availability("no-such-package", "nobody")
    util.check_version_requirements({"python": ">=3"})
    with pytest.raises(ImportError, match="- no-such-package>=1, but it is not installed"):
        util.check_version_requirements({"no-such-package": ">=1"}, "a-model")


def test_logging(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tqdm", raising=False)
    logger, handler = logging.getLogger("test_dropin_util"), util.LoggingHandler()
    logger.addHandler(handler)
    try:
        logger.warning("said")
        with util.disable_logging():
            logger.warning("not said")
    finally:
        logger.removeHandler(handler)
    assert capsys.readouterr().out == "said\n"


def test_the_last_row_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n", encoding="utf-8")
    assert not util.append_to_last_row(path, [3])
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    assert util.append_to_last_row(path, [3])
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["a", "b"], ["1", "2", "3"]]


def test_files_of_models(tmp_path: Path) -> None:
    model = HERE / "bert_modules"
    assert util.is_sentence_transformer_model(str(model))
    assert not util.is_sentence_transformer_model(str(tmp_path))
    assert util.load_file_path(str(model), "config.json") == str(model / "config.json")
    assert util.load_dir_path(str(model), "") == str(model)
    assert util.load_dir_path(str(tmp_path), "1_Pooling") is None
    with pytest.raises(ValueError, match="Invalid model path"):
        util.load_file_path(str(model), "../other")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"whole" if self.path == "/whole" else b"cut")

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_downloads_are_there_when_they_are_whole(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url, path = f"http://127.0.0.1:{server.server_port}", tmp_path / "folder" / "file"
        try:
            util.http_get(f"{url}/whole", str(path))
            assert path.read_bytes() == b"whole"
            with pytest.raises(OSError, match="404"):
                util.http_get(f"{url}/missing", str(path))
            with pytest.raises(OSError, match="expected 5 bytes, received 3"):
                util.http_get(f"{url}/cut", str(path))
        finally:
            server.shutdown()
            thread.join()
    assert [file.name for file in path.parent.iterdir()] == ["file"]
    assert path.read_bytes() == b"whole"


def test_all_names_of_sentence_transformers_are_there() -> None:
    for module, names in {
        "util": util.__all__,
        "util.quantization": ["quantize_embeddings", "semantic_search_faiss", "semantic_search_usearch"],
        "util.tensor": ["normalize_embeddings", "_convert_to_tensor"],
        "util.hard_negatives": ["mine_hard_negatives"],
        "util.environment": ["get_device_name"],
    }.items():
        for name in names:
            assert util.import_from_string(f"votive.sentence_transformers.{module}.{name}") is not None


def test_tensors_always_need_torch() -> None:
    _tensors.set_rule("always")
    try:
        with pytest.raises(ImportError, match="tensors need PyTorch, which is not installed"):
            util.cos_sim([[1.0]], [[1.0]])
    finally:
        _tensors.set_rule("auto")

"""The arguments of encode, encode_query and encode_document, but for the texts and `out`."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from bodies import same
from votive import Embedder, quantize_embeddings

TEXTS = [f"{i}{text}" for i in ("", "1 ", "2 ") for text in ("one", "a second text", "and a third one", "", "five")]


@pytest.fixture(scope="module")
def expected(model: Embedder) -> np.ndarray:
    return model.encode(TEXTS)


class TestPrompts:
    def test_a_prompt_is_put_before_each_text(self, model: Embedder) -> None:
        prompted = model.encode([f"query: {text}" for text in TEXTS])
        assert same(model.encode(TEXTS, prompt="query: "), prompted)
        assert same(model.encode(TEXTS, prompt_name="query"), prompted)
        assert same(model.encode(TEXTS, "query"), prompted)
        assert same(model.encode(iter(TEXTS), "query"), prompted)
        assert same(model.encode(TEXTS[1], "query"), prompted[1])

    def test_a_prompt_beats_a_name(self, model: Embedder, expected: np.ndarray) -> None:
        assert same(model.encode(TEXTS, "query", "x "), model.encode([f"x {text}" for text in TEXTS]))
        assert same(model.encode(TEXTS, "query", ""), expected)
        assert same(model.encode(TEXTS, "no such name", ""), expected)

    def test_an_unknown_name_lists_the_known_ones(self, model: Embedder) -> None:
        message = r"^prompt_name: 'passage' is not one of \['document', 'plain', 'query'\]$"
        with pytest.raises(ValueError, match=message):
            model.encode(TEXTS, "passage")
        with pytest.raises(ValueError, match=message):
            model.encode_query(TEXTS, "passage")

    def test_a_prompt_is_a_str(self, model: Embedder) -> None:
        with pytest.raises(TypeError, match=r"^prompt: expected a str, found int$"):
            model.encode(TEXTS, prompt=3)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"^prompt: holds a lone surrogate"):
            model.encode(TEXTS, prompt="\ud800")

    def test_the_default_prompt(self, folder: str, model: Embedder, expected: np.ndarray) -> None:
        default = Embedder(folder, default_prompt_name="query")
        assert default.default_prompt_name == "query"
        assert same(default.encode(TEXTS), model.encode(TEXTS, "query"))
        for arguments in ({"prompt": ""}, {"prompt_name": "plain"}):
            assert same(default.encode(TEXTS, **arguments), expected)
        assert same(default.encode(TEXTS, "document"), model.encode(TEXTS, "document"))
        with pytest.raises(ValueError, match=r"^default_prompt_name: 'passage' is not one of .*'document'"):
            Embedder(folder, default_prompt_name="passage")

    def test_given_prompts_come_before_the_files(self, folder: str, model: Embedder) -> None:
        other = Embedder(folder, prompts={"query": "Q ", "title": "T "})
        assert other.prompts == {"query": "Q ", "title": "T ", "document": "a passage of the text: ", "plain": ""}
        assert same(other.encode("x", "query"), model.encode("Q x"))
        assert same(other.encode("x", "title"), model.encode("T x"))
        other.prompts["later"] = "L "
        assert same(other.encode("x", "later"), model.encode("L x"))

    def test_queries_and_documents(self, model: Embedder, expected: np.ndarray) -> None:
        query, document = model.encode(TEXTS, "query"), model.encode(TEXTS, "document")
        assert same(model.encode_query(TEXTS), query)
        assert same(model.encode_document(TEXTS), document)
        assert same(model.encode_query(TEXTS[1]), query[1])
        assert same(model.encode_document(TEXTS, "query"), query)
        assert same(model.encode_query(TEXTS, prompt="x "), model.encode(TEXTS, prompt="x "))
        assert same(model.encode_query(TEXTS, prompt=""), expected)
        normalized = model.encode_query(TEXTS, normalize_embeddings=True, batch_size=2)
        np.testing.assert_allclose(np.linalg.norm(normalized, axis=1), 1, atol=1e-6)

    def test_what_stands_in_for_missing_prompts(self, folder: str) -> None:
        passage = {"passage": "P ", "corpus": "C "}
        model = Embedder(folder, prompts=passage, default_prompt_name="corpus")
        model.prompts.pop("document")
        assert same(model.encode_document("x"), model.encode("x", prompt="P "))
        model.prompts.pop("passage")
        assert same(model.encode_document("x"), model.encode("x", prompt="C "))
        # With no prompt for its kind, a text is encoded as by encode.
        model.prompts.pop("query")
        assert same(model.encode_query("x"), model.encode("x", prompt="C "))

    def test_queries_do_not_fall_back_to_the_default(self, folder: str, expected: np.ndarray) -> None:
        model = Embedder(folder, prompts={"query": "", "document": ""}, default_prompt_name="plain")
        model.prompts["plain"] = "loud "
        assert same(model.encode_query(TEXTS), expected)
        assert same(model.encode_document(TEXTS), expected)
        assert not np.array_equal(model.encode(TEXTS), expected)


class TestBatchSize:
    @pytest.mark.parametrize("batch_size", [1, 2, 7, np.int64(3), 10**9])
    def test_changes_no_bit(self, batch_size: int, model: Embedder, expected: np.ndarray) -> None:
        assert same(model.encode(TEXTS, batch_size=batch_size), expected)
        assert same(model.encode(iter(TEXTS), batch_size=batch_size), expected)
        rows = model.encode(TEXTS, batch_size=batch_size, output_value=None)
        assert same([row["sentence_embedding"] for row in rows], expected)

    @pytest.mark.parametrize("batch_size", [0, -1, 2**64])
    def test_is_positive(self, batch_size: int, model: Embedder) -> None:
        with pytest.raises(ValueError, match=rf"^batch_size: expected 1 or more, or None, found {batch_size}$"):
            model.encode(TEXTS, batch_size=batch_size)

    @pytest.mark.parametrize("batch_size", ["32", 2.0, True])
    def test_is_an_integer(self, batch_size: Any, model: Embedder) -> None:
        kind = type(batch_size).__name__
        with pytest.raises(TypeError, match=rf"^batch_size: expected an int or None, found {kind}$"):
            model.encode(TEXTS, batch_size=batch_size)


class TestProgressBar:
    @pytest.mark.parametrize("stream", [False, True], ids=["list", "stream"])
    def test_is_shown_where_it_is_asked_for(
        self, stream: bool, model: Embedder, capfd: pytest.CaptureFixture[str]
    ) -> None:
        texts = [f"{i} {text}" for i in range(400) for text in TEXTS]
        model.encode((text for text in texts) if stream else texts, show_progress_bar=True)
        out, err = capfd.readouterr()
        assert out == ""
        assert "Texts" in err
        assert "6000" in err
        assert ("6000/6000" in err) is not stream

    @pytest.mark.parametrize("show", [False, None])
    def test_is_not_shown_otherwise(
        self, show: bool | None, model: Embedder, capfd: pytest.CaptureFixture[str]
    ) -> None:
        model.encode(TEXTS, show_progress_bar=show)
        assert capfd.readouterr() == ("", "")

    def test_is_shown_on_a_terminal_for_what_takes_long(
        self, model: Embedder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        model.encode(TEXTS)
        assert capsys.readouterr().err == ""
        monkeypatch.setattr("votive._progress.BAR_DELAY_SECONDS", 0.0)
        model.encode(TEXTS)
        assert "Texts" in capsys.readouterr().err


class TestOutputValue:
    def test_token_embeddings_are_views_of_one_buffer(self, model: Embedder) -> None:
        rows = model.encode(TEXTS, output_value="token_embeddings")
        assert isinstance(rows, list)
        assert [row.shape for row in rows] == [(len(row["input_ids"]), 48) for row in model.tokenize(TEXTS)]
        assert all(row.dtype == np.float32 and row.flags.c_contiguous for row in rows)
        assert all(row.base is rows[0].base and row.base is not None for row in rows)
        for before, after in pairwise(rows):
            assert after.ctypes.data == before.ctypes.data + before.nbytes

    def test_token_embeddings_of_one_str(self, model: Embedder) -> None:
        rows = model.encode(TEXTS, output_value="token_embeddings")
        one = model.encode(TEXTS[2], output_value="token_embeddings")
        assert isinstance(one, np.ndarray)
        assert same(one, rows[2])

    def test_everything(self, model: Embedder, expected: np.ndarray) -> None:
        found = model.encode(TEXTS, output_value=None)
        tokens = model.encode(TEXTS, output_value="token_embeddings")
        for row, features in enumerate(found):
            assert list(features) == [
                "input_ids",
                "token_type_ids",
                "attention_mask",
                "token_embeddings",
                "sentence_embedding",
            ]
            ids = model.tokenize(TEXTS[row])["input_ids"]
            assert features["input_ids"].tolist() == ids
            assert features["token_type_ids"].tolist() == [0] * len(ids)
            assert features["attention_mask"].tolist() == [1] * len(ids)
            assert same(features["token_embeddings"], tokens[row])
            assert same(features["sentence_embedding"], expected[row])
        one = model.encode(TEXTS[1], output_value=None)
        assert isinstance(one, dict)
        assert same(one["sentence_embedding"], expected[1])

    def test_everything_with_the_end_of_the_pipeline(self, model: Embedder) -> None:
        options: dict[str, Any] = {"normalize_embeddings": True, "truncate_dim": 7, "prompt_name": "query"}
        found = model.encode(TEXTS, output_value=None, **options)
        assert same([row["sentence_embedding"] for row in found], model.encode(TEXTS, **options))

    def test_unknown(self, model: Embedder) -> None:
        with pytest.raises(ValueError, match=r"^output_value: .*sentence_embedding.*token_embeddings.*'tokens'"):
            model.encode(TEXTS, output_value="tokens")

    @pytest.mark.parametrize("output_value", ["token_embeddings", None])
    def test_only_embeddings_have_a_precision_and_go_elsewhere(
        self, output_value: str | None, model: Embedder, expected: np.ndarray
    ) -> None:
        with pytest.raises(ValueError, match=r"^precision: only float32"):
            model.encode(TEXTS, output_value=output_value, precision="int8")
        with pytest.raises(ValueError, match=r"^out: only for output_value='sentence_embedding'"):
            model.encode(TEXTS, output_value=output_value, out=np.empty_like(expected))


class TestPrecision:
    @pytest.mark.parametrize("precision", ["int8", "uint8"])
    def test_buckets(self, precision: Any, model: Embedder, expected: np.ndarray) -> None:
        ranges = np.stack([expected.min(axis=0), expected.max(axis=0)])
        codes = model.encode(TEXTS, precision=precision, ranges=ranges)
        assert (codes.dtype, codes.shape) == (np.dtype(precision), expected.shape)
        assert same(codes, quantize_embeddings(expected, precision, ranges))
        assert same(codes, model.encode(TEXTS, precision=precision, calibration_embeddings=expected))
        assert same(codes[1], model.encode(TEXTS[1], precision=precision, ranges=ranges))
        least = np.iinfo(precision).min
        assert (codes.min(axis=0) == least).all()

    def test_ranges_of_the_batch_are_warned_of(self, model: Embedder) -> None:
        with pytest.warns(UserWarning, match="ranges") as caught:
            model.encode(TEXTS, precision="int8")
        assert [warning.filename for warning in caught] == [__file__]

    @pytest.mark.parametrize(("precision", "dtype"), [("binary", np.int8), ("ubinary", np.uint8)])
    def test_bits(self, precision: Any, dtype: type, model: Embedder, expected: np.ndarray) -> None:
        codes = model.encode(TEXTS, precision=precision)
        assert (codes.dtype, codes.shape) == (dtype, (len(TEXTS), 6))
        shift = 128 if precision == "binary" else 0
        assert same(codes, (np.packbits(expected > 0, axis=1).astype(int) - shift).astype(dtype))
        assert model.encode(TEXTS[1], precision=precision).shape == (6,)

    def test_precision_comes_last(self, model: Embedder) -> None:
        codes = model.encode(TEXTS, precision="ubinary", truncate_dim=9, normalize_embeddings=True)
        assert same(codes, np.packbits(model.encode(TEXTS)[:, :9] > 0, axis=1))

    def test_what_does_not_fit(self, model: Embedder) -> None:
        with pytest.raises(ValueError, match=r"^precision: .*'float32'.*'ubinary'.*found 'int4'"):
            model.encode(TEXTS, precision="int4")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"^ranges: expected 48 columns, found 47"):
            model.encode(TEXTS, precision="int8", ranges=np.zeros((2, 47)))
        with pytest.raises(ValueError, match="ranges"):
            model.encode(TEXTS[0], precision="int8")
        with pytest.raises(ValueError, match=r"^embeddings: holds masked elements"):
            quantize_embeddings(np.ma.array([[1.0, 2.0]], mask=[[0, 1]]), "binary")


class TestTruncateAndNormalize:
    def test_truncate_then_normalize(self, model: Embedder, expected: np.ndarray) -> None:
        assert same(model.encode(TEXTS, truncate_dim=7), expected[:, :7])
        vectors = model.encode(TEXTS, truncate_dim=7, normalize_embeddings=True)
        lengths = np.linalg.norm(expected[:, :7], axis=1, keepdims=True)
        np.testing.assert_allclose(vectors, expected[:, :7] / lengths, atol=1e-6)

    def test_the_models_own(self, folder: str, expected: np.ndarray) -> None:
        model = Embedder(folder, truncate_dim=5)
        assert model.truncate_dim == model.get_embedding_dimension() == model.get_sentence_embedding_dimension() == 5
        assert same(model.encode(TEXTS), expected[:, :5])
        assert same(model.encode(TEXTS, truncate_dim=48), expected)

    @pytest.mark.parametrize("truncate_dim", [0, -3, 49])
    def test_out_of_range(self, truncate_dim: int, folder: str, model: Embedder) -> None:
        with pytest.raises(ValueError, match=rf"^truncate_dim: expected 1 .*found {truncate_dim}$"):
            model.encode(TEXTS, truncate_dim=truncate_dim)
        with pytest.raises(ValueError, match=rf"^truncate_dim: expected 1 .*found {truncate_dim}$"):
            Embedder(folder, truncate_dim=truncate_dim)

    @pytest.mark.parametrize("truncate_dim", ["7", 7.0])
    def test_no_integer(self, truncate_dim: Any, model: Embedder) -> None:
        with pytest.raises(TypeError, match=r"^truncate_dim: expected an int or None, found"):
            model.encode(TEXTS, truncate_dim=truncate_dim)


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "convert_to_tensor": ({"convert_to_tensor": True}, ValueError, r"torch\.from_numpy\(model\.encode"),
    "convert_to_numpy": ({"convert_to_numpy": False}, ValueError, r"torch\.from_numpy\(model\.encode"),
    "device": ({"device": "cuda"}, ValueError, "device: .*'cpu'; load another Embedder for 'cuda'"),
    "devices": ({"device": ["cpu", "cpu"]}, ValueError, "device: .*'cpu'; load another Embedder"),
    "pool": ({"pool": {}}, ValueError, "pool: .*num_threads"),
    "chunk_size": ({"chunk_size": 10}, ValueError, "chunk_size: .*batch_size"),
    "processing_kwargs": ({"processing_kwargs": {}}, ValueError, "processing_kwargs: .*max_seq_length"),
    "task": ({"task": 3}, TypeError, "task: expected a str, found int"),
    "misspelled": ({"batchsize": 3}, TypeError, "unexpected keyword argument 'batchsize'"),
    "misspelled and None": ({"batchsize": None}, TypeError, "unexpected keyword argument 'batchsize'"),
    "one of several": ({"pool": None, "batchsize": 3}, TypeError, "unexpected keyword argument 'batchsize'"),
}


@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_makes_no_sense_here_says_what_to_do(
    arguments: dict[str, Any], error: type[Exception], message: str, model: Embedder
) -> None:
    for call in (model.encode, model.encode_query, model.encode_document):
        with pytest.raises(error, match=message):
            call(TEXTS, **arguments)


def test_what_says_nothing_is_accepted(model: Embedder, expected: np.ndarray) -> None:
    silent: dict[str, Any] = {"pool": None, "chunk_size": None, "device": "cpu", "convert_to_tensor": False}
    assert same(model.encode(TEXTS, **silent), expected)


def test_positions_are_those_of_sentence_transformers(model: Embedder, expected: np.ndarray) -> None:
    vectors = model.encode(TEXTS, None, "", 4, False, "sentence_embedding", "float32", True, False, "cpu", False, 7)
    assert same(vectors, expected[:, :7])

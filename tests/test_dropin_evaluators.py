"""Evaluators of the drop-in against sentence-transformers' results, tables and errors."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from fixtures.dropin_evaluators import CASES, Model, run
from votive.sentence_transformers import util
from votive.sentence_transformers._evaluation import metrics

EXPECTED = json.loads((Path(__file__).parent / "fixtures" / "dropin_evaluators.json").read_text(encoding="utf-8"))

MODULES = {
    "BaseEvaluator": "evaluator",
    "BinaryClassificationEvaluator": "binary_classification",
    "EmbeddingSimilarityEvaluator": "embedding_similarity",
    "InformationRetrievalEvaluator": "information_retrieval",
    "MSEEvaluator": "mse",
    "MSEEvaluatorFromDataFrame": "mse",
    "ParaphraseMiningEvaluator": "paraphrase_mining",
    "RerankingEvaluator": "reranking",
    "SequentialEvaluator": "sequential",
    "TranslationEvaluator": "translation",
    "TripletEvaluator": "triplet",
    "CEF1Evaluator": "cross_encoder",
    "CrossEncoderClassificationEvaluator": "cross_encoder",
    "CrossEncoderCorrelationEvaluator": "cross_encoder",
    "CrossEncoderRerankingEvaluator": "cross_encoder",
}


class Evaluators:
    """The classes by their names."""

    def __getattr__(self, name: str):
        return getattr(importlib.import_module(f"votive.sentence_transformers._evaluation.{MODULES[name]}"), name)


EVALUATORS = Evaluators()


class Example:
    """What programs have as `InputExample`."""

    def __init__(self, texts: list[str], label: float) -> None:
        self.texts, self.label = texts, label


@pytest.fixture(autouse=True)
def _as_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)


def assert_near(found, expected) -> None:
    """Numbers to 1e-6, in any depth; all else the same."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_near(found[key], value)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1e-6, rel=1e-6, nan_ok=True)
    else:
        assert found == expected


def cells(lines: list[str]) -> list[list[object]]:
    """A table's cells, numbers as floats; of lines of JSON what they hold."""
    if lines[0].startswith("{"):
        return [[json.loads(line)] for line in lines]
    return [[_number(cell) for cell in row] for row in csv.reader(lines)]


def _number(cell: str) -> object:
    try:
        return float(cell)
    except ValueError:
        return cell


@pytest.mark.parametrize("name", CASES)
def test_results_and_tables_are_the_reference_s(name: str, tmp_path: Path) -> None:
    model, expected = Model(util, 3 if name == "labels_classified" else 1), EXPECTED[name]
    found = run(name, EVALUATORS, model, tmp_path)
    assert_near(found["metrics"], expected["metrics"])
    assert found["primary_metric"] == expected["primary_metric"]
    assert found["primary_metric"] in found["metrics"]
    assert found["description"] == expected["description"]
    assert found["config"] == expected["config"]
    assert_near(found["card"], expected["card"])
    assert list(found["files"]) == list(expected["files"])
    for file, lines in expected["files"].items():
        for row, of_reference in zip(cells(found["files"][file]), cells(lines), strict=True):
            if isinstance(row[0], dict):
                assert [hit["corpus_id"] for hit in row[0]["results"]] == [
                    hit["corpus_id"] for hit in of_reference[0]["results"]
                ]
            else:
                for cell, expected_cell in zip(row, of_reference, strict=True):
                    assert_near(cell, expected_cell)


def test_one_after_the_other() -> None:
    class Always(EVALUATORS.BaseEvaluator):
        def __call__(self, model, output_path=None, epoch=-1, steps=-1):
            return 0.25

    model = Model(util)
    similarity = EVALUATORS.EmbeddingSimilarityEvaluator(["a", "b", "c"], ["d", "e", "f"], [0.1, 0.5, 0.2], name="sts")
    found = EVALUATORS.SequentialEvaluator([similarity, Always()], sum)(model)
    assert list(found) == ["sts_pearson_cosine", "sts_spearman_cosine", "evaluator_1", "sequential_score"]
    assert found["sequential_score"] == found["sts_spearman_cosine"] + 0.25
    assert EVALUATORS.SequentialEvaluator([])(model) == {"sequential_score": 0.0}
    with pytest.raises(NotImplementedError):
        EVALUATORS.BaseEvaluator()(model)


def test_examples_are_read() -> None:
    pairs = [Example(["a", "b"], 1), Example(["c", "d"], 0)]
    binary = EVALUATORS.BinaryClassificationEvaluator.from_input_examples(pairs, name="few")
    assert (binary.sentences1, binary.sentences2, binary.labels, binary.name) == (["a", "c"], ["b", "d"], [1, 0], "few")
    assert EVALUATORS.EmbeddingSimilarityEvaluator.from_input_examples(pairs).scores == [1, 0]
    triplet = EVALUATORS.TripletEvaluator.from_input_examples([Example(["a", "b", "c"], 0)])
    assert (triplet.anchors, triplet.positives, triplet.negatives) == (["a"], ["b"], ["c"])
    assert EVALUATORS.CrossEncoderCorrelationEvaluator.from_input_examples(pairs).scores == [1, 0]
    assert EVALUATORS.CEF1Evaluator.from_input_examples(pairs).labels.tolist() == [1, 0]


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"`similarity_fn_names` got unexpected names \['other'\]"):
        EVALUATORS.TripletEvaluator([], [], [], similarity_fn_names=["other"])
    with pytest.raises(ValueError, match=r"`margin` got unexpected keys \['other'\]"):
        EVALUATORS.TripletEvaluator([], [], [], margin={"other": 1})
    with pytest.raises(ValueError, match="`margin` should be a float or a dictionary"):
        EVALUATORS.TripletEvaluator([], [], [], margin="wide")
    with pytest.raises(ValueError, match=r"source_sentences \(1\) and target_sentences \(2\)"):
        EVALUATORS.MSEEvaluator(["a"], ["b", "c"], Model(util))
    with pytest.raises(ValueError, match="must have the same length"):
        EVALUATORS.CrossEncoderClassificationEvaluator([["a", "b"]], [])
    reranking = EVALUATORS.CrossEncoderRerankingEvaluator
    with pytest.raises(ValueError, match="requires a 'query' key"):
        reranking([{"positive": []}])(Model(util))
    with pytest.raises(ValueError, match="exactly one of 'negative' and 'documents'"):
        reranking([{"query": "a", "positive": []}])(Model(util))


def test_wrong_translations_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    evaluator = EVALUATORS.TranslationEvaluator(["one", "two"], ["two.", "one."], print_wrong_matches=True)
    assert evaluator(Model(util))["mean_accuracy"] == 0
    assert "Source     : one\nPred Target: one." in capsys.readouterr().out


def test_nothing_is_written_without_being_asked(tmp_path: Path) -> None:
    evaluator = EVALUATORS.TripletEvaluator(["a"], ["a."], ["b"], write_csv=False)
    assert evaluator(Model(util), str(tmp_path / "folder")) == {"cosine_accuracy": 1.0}
    assert not (tmp_path / "folder").exists()


def test_measures_by_hand() -> None:
    assert metrics.average_precision([1, 0, 1], [0.9, 0.8, 0.7]) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.average_precision([0, 0], [1, 2]) == 0
    assert metrics.ndcg([0, 1], [1, 1], 1) == pytest.approx(0.5)
    assert metrics.spearman([1, 2, 2, 3], [10, 20, 20, 90]) == pytest.approx(1)
    assert np.isnan(metrics.pearson([1, 1], [1, 2]))
    assert metrics.matthews_correlation([1, 0, 1], [1, 1, 1]) == 0
    assert metrics.best_accuracy([], [], True) == (0, -1)
    assert metrics.best_f1([0.5], [0], True) == (0, 0, 0, 0)
    assert metrics.best_accuracy([1.0, 2.0], [1, 0], False) == (1.0, 1.5)

"""MTEB 2 evaluates votive's models, says which they were, and keeps their results apart from others."""

import json

import numpy as np
import pytest
from conftest import FIXTURES
from votive import Embedder, Reranker

torch = pytest.importorskip("torch")
mteb = pytest.importorskip("mteb")
# `mteb.evaluate` imports it, whatever the model is.
sentence_transformers = pytest.importorskip("sentence_transformers")

from mteb.types import PromptType  # noqa: E402
from mteb_tasks import CORPUS, FIRSTS, HUMAN, QUERIES, SECONDS, Reranking, Retrieval, Similarity  # noqa: E402
from votive.integrations.mteb import VotiveCrossEncoder, VotiveEncoder  # noqa: E402
from votive.sentence_transformers import SentenceTransformer  # noqa: E402

# Warnings of other people's packages are theirs.
pytestmark = pytest.mark.filterwarnings("default")

RERANKER = str(FIXTURES / "bert_rerank")


@pytest.fixture
def cache(tmp_path):
    return mteb.ResultCache(tmp_path)


def evaluate(model, task, cache, tmp_path):
    """The results, and the scores that MTEB kept: by query, and by document."""
    folder = tmp_path / "predictions"
    result = mteb.evaluate(model, task, cache=cache, prediction_folder=folder, show_progress_bar=False)
    kept = next(folder.glob(f"**/{task.metadata.name}_predictions.json"), None)
    return result, None if kept is None else json.loads(kept.read_text())["default"]["test"]


def test_scores_are_those_of_the_embedder(model, cache, tmp_path):
    result, predicted = evaluate(VotiveEncoder(model), Retrieval(), cache, tmp_path)
    assert (result.model_name, result.model_revision) == ("local/bert_modules", model.info.fingerprint)
    scores = model.similarity(model.encode_query(list(QUERIES.values())), model.encode_document(list(CORPUS.values())))
    for query, row in zip(QUERIES, scores, strict=True):
        assert predicted[query] == pytest.approx(dict(zip(CORPUS, row, strict=True)), abs=1e-6)


def test_similarity_is_that_of_the_embedder(folder, cache, tmp_path):
    encoder = VotiveEncoder(folder, device="cpu", similarity_fn_name="manhattan")
    assert encoder.mteb_model_meta.similarity_fn_name.value == "manhattan"
    result, _ = evaluate(encoder, Similarity(), cache, tmp_path)
    scores = encoder.model.similarity_pairwise(encoder.model.encode(FIRSTS), encoder.model.encode(SECONDS))
    expected = np.corrcoef(scores, HUMAN)[0, 1]
    assert result.task_results[0].scores["test"][0]["pearson"] == pytest.approx(expected, abs=1e-6)


def test_scores_are_those_of_the_reranker(cache, tmp_path):
    reranker = Reranker(RERANKER)
    result, predicted = evaluate(VotiveCrossEncoder(reranker), Reranking(), cache, tmp_path)
    assert result.model_name == "local/bert_rerank"
    for query, text in QUERIES.items():
        scores = reranker.predict([(text, document) for document in CORPUS.values()])
        assert predicted[query] == pytest.approx(dict(zip(CORPUS, scores, strict=True)), abs=1e-6)


def test_what_decides_results_is_in_the_metadata(model, folder):
    def experiment(**options):
        return VotiveEncoder(folder, **options).mteb_model_meta.experiment_kwargs

    assert experiment() == {"dtype": "float32"}
    assert experiment(dtype="bfloat16", truncate_dim=8, num_threads=2) == {"dtype": "bfloat16", "truncate_dim": 8}
    prompts = {"STS": "compare: "}
    assert experiment(prompts=prompts) == {"dtype": "float32", "prompts": model.prompts | prompts}
    assert experiment(max_seq_length=9, default_prompt_name="plain") == {
        "dtype": "float32",
        "max_seq_length": 9,
        "default_prompt_name": "plain",
    }
    meta = VotiveEncoder(model).mteb_model_meta
    assert (meta.embed_dim, meta.max_tokens, meta.model_type, meta.framework) == (48, 48, ["dense"], [])
    cross = VotiveCrossEncoder(RERANKER, max_length=9).mteb_model_meta
    assert (cross.is_cross_encoder, cross.max_tokens) == (True, 9)
    assert cross.experiment_kwargs == {"dtype": "float32", "max_length": 9}


def test_results_of_other_options_are_computed_again(folder, cache, tmp_path):
    evaluate(VotiveEncoder(folder), Similarity(), cache, tmp_path)
    evaluate(VotiveEncoder(folder, truncate_dim=8), Similarity(), cache, tmp_path)
    kept = sorted(path.parent.name for path in tmp_path.glob("results/**/HandfulSTS.json"))
    assert kept == ["dtype_float32", "dtype_float32__truncate_dim_8"]


def test_prompts_go_by_task_and_type(folder):
    prompts = {"STS": "compare: ", "HandfulRetrieval-query": "find: "}
    encoder = VotiveEncoder(folder, prompts=prompts)
    texts = [{"text": FIRSTS[:3]}, {"text": FIRSTS[3:]}]
    where = {"hf_split": "test", "hf_subset": "default"}

    def encode(task, prompt_type):
        return encoder.encode(texts, task_metadata=task.metadata, prompt_type=prompt_type, batch_size=2, **where)

    encoder_of = encoder.model.encode
    np.testing.assert_array_equal(encode(Similarity, None), encoder_of(FIRSTS, prompt="compare: "))
    np.testing.assert_array_equal(encode(Retrieval, PromptType.query), encoder_of(FIRSTS, prompt="find: "))
    document = encoder.model.prompts["document"]
    np.testing.assert_array_equal(encode(Retrieval, PromptType.document), encoder_of(FIRSTS, prompt=document))


def test_metadata_loads_the_model(folder):
    encoder = mteb.models.ModelMeta.create_empty(
        {"name": folder, "loader": VotiveEncoder, "loader_kwargs": {"dtype": "bfloat16"}}
    ).model_copy(update={"revision": None})
    loaded = encoder.load_model(device="cpu")
    assert isinstance(loaded, VotiveEncoder)
    assert loaded.model.dtype == "bfloat16"


@pytest.mark.parametrize(
    ("bare", "wrapper"),
    [(Embedder, "VotiveEncoder"), (SentenceTransformer, "VotiveEncoder"), (Reranker, "VotiveCrossEncoder")],
)
def test_bare_models_are_refused(bare, wrapper, folder, cache):
    # Else MTEB makes a model without a name of them, and gives what its cache has of any other such model.
    model = bare(RERANKER if bare is Reranker else folder)
    with pytest.raises(TypeError, match=rf"mteb_model_meta.*; give votive\.integrations\.mteb\.{wrapper}\(model\)"):
        mteb.evaluate(model, Similarity(), cache=cache)


def test_refusals(model):
    with pytest.raises(TypeError, match="model_name: expected a model's name, a folder or Embedder, found Reranker"):
        VotiveEncoder(Reranker(RERANKER))
    with pytest.raises(TypeError, match="model_name: the Embedder is loaded"):
        VotiveEncoder(model, dtype="int8")
    with pytest.raises(ValueError, match="model_name: MTEB takes one score for a pair, and this model gives 3"):
        VotiveCrossEncoder(str(FIXTURES / "bert_labels"))

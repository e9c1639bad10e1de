"""The transformer for scikit-learn, against the real package and its own checks of estimators."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import FIXTURES
from votive import Embedder

pytest.importorskip("sklearn")

import joblib
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import SkipTestWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks, get_tags
from votive.integrations.sklearn import TextEncoder

# Warnings of other people's packages are theirs.
pytestmark = pytest.mark.filterwarnings("default")

MODEL = str(FIXTURES / "bert_modules")
TEXTS = ["rye bread", "a large port", "knead the dough", "ships leave"]
CLASSES = [0, 1, 0, 1]


@pytest.fixture(scope="module")
def embedder():
    return Embedder(MODEL)


@pytest.fixture(scope="module")
def vectors(embedder):
    return embedder.encode(TEXTS)


@pytest.mark.parametrize(
    "column",
    [
        TEXTS,
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        np.array(TEXTS)[:, None],
        np.array(TEXTS, dtype=object)[:, None],
        pd.Series(TEXTS, index=[7, 5, 3, 1]),
        pd.DataFrame({"text": TEXTS}),
    ],
    ids=["list", "tuple", "str", "object", "str [n, 1]", "object [n, 1]", "series", "frame"],
)
def test_columns(column, vectors):
    found = TextEncoder(MODEL).fit_transform(column)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, vectors)


def test_a_frame_of_polars(vectors):
    polars = pytest.importorskip("polars")
    np.testing.assert_array_equal(TextEncoder(MODEL).fit_transform(polars.DataFrame({"text": TEXTS})), vectors)
    np.testing.assert_array_equal(TextEncoder(MODEL).fit_transform(polars.Series(TEXTS)), vectors)


def test_the_model_is_loaded_by_fit_and_by_transform(vectors):
    encoder = TextEncoder(MODEL)
    assert not hasattr(encoder, "embedder_")
    np.testing.assert_array_equal(encoder.transform(TEXTS), vectors)
    loaded = encoder.embedder_
    assert type(loaded) is Embedder
    encoder.fit(TEXTS).transform(TEXTS)
    assert encoder.embedder_ is loaded


def test_parameters_may_be_set_after_the_model_was_loaded(embedder):
    encoder = TextEncoder(MODEL).fit(TEXTS)
    loaded = encoder.embedder_
    encoder.set_params(truncate_dim=8, normalize_embeddings=True, prompt_name="query")
    expected = embedder.encode(TEXTS, "query", truncate_dim=8, normalize_embeddings=True)
    np.testing.assert_array_equal(encoder.transform(TEXTS), expected)
    assert encoder.embedder_ is loaded
    encoder.set_params(max_seq_length=4, prompt="find ", show_progress_bar=False, batch_size=1)
    with pytest.warns(match="were longer than 4 tokens"):
        encoder.transform(TEXTS)
    assert encoder.embedder_ is not loaded
    assert encoder.embedder_.max_seq_length == 4


def test_a_model_that_is_loaded_is_used(embedder, vectors):
    encoder = TextEncoder(embedder)
    np.testing.assert_array_equal(encoder.fit_transform(TEXTS), vectors)
    assert encoder.embedder_ is embedder


def test_names_of_features_and_frames(vectors):
    encoder = TextEncoder(MODEL, truncate_dim=3).set_output(transform="pandas")
    found = encoder.fit_transform(pd.Series(TEXTS, index=list("abcd")))
    assert list(found.columns) == ["votive0", "votive1", "votive2"]
    assert list(found.index) == list("abcd")
    np.testing.assert_array_equal(found, vectors[:, :3])
    names = TextEncoder(MODEL).get_feature_names_out()
    assert names.dtype == object
    assert len(names) == 48


def test_in_a_column_transformer(vectors):
    frame = pd.DataFrame({"text": TEXTS, "year": [1.0, 2.0, 3.0, 4.0]})
    columns = ColumnTransformer(
        [("text", TextEncoder(MODEL, truncate_dim=2), "text"), ("year", "passthrough", ["year"])]
    )
    found = columns.set_output(transform="pandas").fit_transform(frame)
    assert list(found.columns) == ["text__votive0", "text__votive1", "year__year"]
    np.testing.assert_array_equal(found.iloc[:, :2], vectors[:, :2])


def test_in_a_pipeline_and_a_union(vectors):
    pipeline = make_pipeline(TextEncoder(MODEL), StandardScaler(), LogisticRegression()).fit(TEXTS, CLASSES)
    assert pipeline.predict(TEXTS).tolist() == CLASSES
    assert pipeline[:-1].get_feature_names_out()[0] == "votive0"
    assert type(pipeline[0].embedder_) is Embedder
    both = make_union(TextEncoder(MODEL, truncate_dim=2), TextEncoder(MODEL, truncate_dim=4)).fit_transform(TEXTS)
    np.testing.assert_array_equal(both, np.hstack([vectors[:, :2], vectors[:, :4]]))


def test_clones_hold_the_parameters_alone():
    encoder = TextEncoder(MODEL, truncate_dim=8, prompts={"x": "y "}, prompt_name="x").fit(TEXTS)
    again = clone(encoder)
    assert again.get_params() == encoder.get_params()
    assert not hasattr(again, "embedder_")
    np.testing.assert_array_equal(again.transform(TEXTS), encoder.transform(TEXTS))


def test_clones_share_a_model_that_is_loaded(vectors):
    loaded = Embedder(MODEL)
    loaded.prompts["new"] = "find "
    encoder = TextEncoder(loaded, prompt_name="new")
    again = clone(encoder)
    np.testing.assert_array_equal(again.transform(TEXTS), encoder.transform(TEXTS))
    assert again.embedder_._model is loaded._model


@pytest.mark.parametrize("given", [MODEL, Embedder(MODEL)], ids=["name", "loaded"])
@pytest.mark.parametrize("store", ["pickle", "joblib"])
def test_pickles(given, store, tmp_path, vectors):
    encoder = TextEncoder(given).fit(TEXTS)
    if store == "pickle":
        written = pickle.dumps(encoder)
        again = pickle.loads(written)
        assert len(written) < 5_000
    else:
        joblib.dump(encoder, tmp_path / "encoder")
        again = joblib.load(tmp_path / "encoder")
    np.testing.assert_array_equal(again.transform(TEXTS), vectors)


@pytest.mark.parametrize("given", [MODEL, Embedder(MODEL)], ids=["name", "loaded"])
def test_a_search_over_parameters_in_two_processes(given):
    pipeline = make_pipeline(TextEncoder(given), LogisticRegression())
    grid = {"textencoder__truncate_dim": [2, 40], "textencoder__prompt_name": ["query", None]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2, error_score="raise").fit(TEXTS * 2, CLASSES * 2)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_score_ == 1
    assert search.best_estimator_[0].embedder_.get_embedding_dimension() == 48
    # The same in this process.
    alone = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(TEXTS * 2, CLASSES * 2)
    np.testing.assert_array_equal(alone.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"])


def test_a_search_over_models():
    pipeline = make_pipeline(TextEncoder(MODEL), LogisticRegression())
    grid = {"textencoder__model_name_or_path": [MODEL, str(FIXTURES / "bert_312")]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(TEXTS * 2, CLASSES * 2)
    assert search.best_estimator_[0].transform(TEXTS).shape in ((4, 48), (4, 312))


def test_the_memory_of_a_pipeline_keeps_embeddings(tmp_path, monkeypatch):
    computed = []
    encode = TextEncoder._encode
    monkeypatch.setattr(TextEncoder, "_encode", lambda self, texts: computed.append(len(texts)) or encode(self, texts))
    pipeline = make_pipeline(TextEncoder(MODEL), LogisticRegression(), memory=str(tmp_path))
    pipeline.fit(TEXTS, CLASSES)
    first = list(computed)
    pipeline.set_params(logisticregression__C=0.5).fit(TEXTS, CLASSES)
    assert computed == first
    pipeline.set_params(textencoder__truncate_dim=8).fit(TEXTS, CLASSES)
    assert computed == first * 2


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: TextEncoder(MODEL).fit("bread"), TypeError, "X: expected a list .* put it into a list"),
        (lambda: TextEncoder(MODEL).fit(3), TypeError, "expected a str, a list"),
        (
            lambda: TextEncoder(MODEL).fit(pd.DataFrame({"a": TEXTS, "b": TEXTS})),
            ValueError,
            "X: expected one column of str, found 2; a ColumnTransformer can choose one",
        ),
        (lambda: TextEncoder(MODEL).transform(["bread", None]), TypeError, r"\[1\]: expected a str, found NoneType"),
        (lambda: TextEncoder(MODEL).transform([["bread"]]), TypeError, r"\[0\]: expected a str, found list"),
        (lambda: TextEncoder(MODEL).transform(np.zeros((2, 1))), TypeError, "expected an array of str, found dtype"),
        (lambda: TextEncoder(MODEL, prompt_name="x").fit(TEXTS), ValueError, "prompt_name: 'x' is not one of"),
        (lambda: TextEncoder(MODEL, truncate_dim=0).fit(TEXTS), ValueError, "truncate_dim: expected 1"),
        (
            lambda: TextEncoder(Embedder(MODEL), dtype="int8").fit(TEXTS),
            TypeError,
            "model_name_or_path: the Embedder is",
        ),
        (lambda: TextEncoder(7).fit(TEXTS), TypeError, "model_name_or_path: expected a model's name, .* found int"),
    ],
)
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_tags():
    tags = get_tags(TextEncoder())
    assert not tags.requires_fit
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
    assert tags.estimator_type is None
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        estimator_checks.check_estimator(TextEncoder(MODEL))
    assert SkipTestWarning in {warning.category for warning in found}


class RowEncoder(TextEncoder):
    """Reads rows of numbers as texts: scikit-learn's checks have no texts."""

    def fit(self, X, y=None):
        return super().fit(self._as_texts(X))

    def transform(self, X):
        return super().transform(self._as_texts(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = False
        tags.input_tags.two_d_array = True
        # What the numbers are is the business of a transformer of numbers.
        tags.no_validation = True
        return tags

    @staticmethod
    def _as_texts(rows):
        if hasattr(rows, "toarray"):
            raise TypeError("Sparse data was passed")
        return [str(row) for row in np.asarray(rows)]


@pytest.mark.filterwarnings("ignore")  # they are texts of no sense, and too long ones
@estimator_checks.parametrize_with_checks([RowEncoder(MODEL, max_seq_length=8, num_threads=1)])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)

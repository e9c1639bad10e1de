"""Tasks of MTEB with a handful of texts, which need no hub."""

from datasets import Dataset, DatasetDict
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata

QUERIES = {"q0": "the sound of rain", "q1": "a ship at sea"}
CORPUS = {
    "d0": "Rain falls on the roof.",
    "d1": "The ship sails at night.",
    "d2": "A cat sleeps on the sofa.",
    "d3": "Waves break on the rocks.",
}
FIRSTS = ["A cat sleeps.", "The ship sails.", "Rain falls.", "He reads a book."]
SECONDS = ["A cat is asleep.", "A bus stops.", "It rains.", "She plays chess."]
HUMAN = [5.0, 1.0, 4.0, 0.5]


def metadata(name, kind, main_score):
    return TaskMetadata(
        dataset={"path": "none", "revision": "none"},
        name=name,
        description="A handful of texts.",
        type=kind,
        eval_langs=["eng-Latn"],
        main_score=main_score,
    )


class Similarity(AbsTaskSTS):
    metadata = metadata("HandfulSTS", "STS", "spearman")

    def load_data(self, **kwargs):
        columns = {"sentence1": FIRSTS, "sentence2": SECONDS, "score": HUMAN}
        self.dataset = DatasetDict({"test": Dataset.from_dict(columns)})
        self.data_loaded = True


class Retrieval(AbsTaskRetrieval):
    metadata = metadata("HandfulRetrieval", "Retrieval", "ndcg_at_10")

    def load_data(self, **kwargs):
        self.dataset = {"default": {"test": self.split()}}
        self.data_loaded = True

    def split(self):
        return {
            "queries": Dataset.from_dict({"id": list(QUERIES), "text": list(QUERIES.values())}),
            "corpus": Dataset.from_dict({"id": list(CORPUS), "text": list(CORPUS.values())}),
            "relevant_docs": {"q0": {"d0": 1}, "q1": {"d1": 1}},
            "top_ranked": None,
        }


class Reranking(Retrieval):
    metadata = metadata("HandfulReranking", "Reranking", "map_at_1000")

    def split(self):
        return super().split() | {"top_ranked": {query: list(CORPUS) for query in QUERIES}}

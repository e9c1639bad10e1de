"""The modules that programs import names from, and the names that are there and refuse.

sentence-transformers has moved its classes from module to module. Programs import them by any of their places, and many
import names for training at the top which they use only if they train.
"""

from __future__ import annotations

from typing import Any

from votive.sentence_transformers._unsupported import TRAINING, refusing_class

_SPARSE = "votive has no sparse encoders yet; use sentence-transformers for it"
_LATE = "votive has no late-interaction models yet; use sentence-transformers for it"
_MODULES = "votive loads whole models from folders; make the folder with sentence-transformers"
_EVALUATION = "run it with sentence-transformers: an evaluator takes any model with encode, also one of votive"
_HARD_NEGATIVES = "mine them with a store: votive.EmbeddingStore.search gives the nearest rows"

# Names that refuse, by the module where they are imported from; None for the package itself.
_REFUSING: dict[str, tuple[str, str]] = {
    "losses": (
        TRAINING,
        """AdaptiveLayerLoss AnglELoss BatchAllTripletLoss BatchHardSoftMarginTripletLoss BatchHardTripletLoss
        BatchSemiHardTripletLoss CachedGISTEmbedLoss CachedMultipleNegativesRankingLoss
        CachedMultipleNegativesSymmetricRankingLoss CoSENTLoss ContrastiveLoss ContrastiveTensionDataLoader
        ContrastiveTensionLoss ContrastiveTensionLossInBatchNegatives CosineSimilarityLoss DenoisingAutoEncoderLoss
        DistillKLDivLoss GISTEmbedLoss MSELoss MarginMSELoss Matryoshka2dLoss MatryoshkaLoss MegaBatchMarginLoss
        MultipleNegativesRankingLoss MultipleNegativesSymmetricRankingLoss OnlineContrastiveLoss SoftmaxLoss
        TripletDistanceMetric TripletLoss SiameseDistanceMetric BatchHardTripletLossDistanceFunction""",
    ),
    "models": (
        _MODULES,
        """Asym BoW CLIPModel CNN Dense Dropout InputModule LSTM LayerNorm Module Normalize Pooling Router
        StaticEmbedding Transformer WeightedLayerPooling WordEmbeddings WordWeights""",
    ),
    "evaluation": (
        _EVALUATION,
        """BinaryClassificationEvaluator EmbeddingSimilarityEvaluator InformationRetrievalEvaluator
        LabelAccuracyEvaluator MSEEvaluator MSEEvaluatorFromDataFrame NanoBEIREvaluator ParaphraseMiningEvaluator
        RerankingEvaluator SentenceEvaluator SequentialEvaluator TranslationEvaluator TripletEvaluator""",
    ),
    "readers": (TRAINING, "InputExample LabelSentenceReader NLIDataReader PairedFilesReader STSBenchmarkDataReader STSDataReader TripletReader"),
    "datasets": (
        TRAINING,
        "DenoisingAutoEncoderDataset NoDuplicatesDataLoader ParallelSentencesDataset SentenceLabelDataset SentencesDataset",
    ),
    "trainer": (TRAINING, "SentenceTransformerTrainer"),
    "training_args": (
        TRAINING,
        "BatchSamplers MultiDatasetBatchSamplers SentenceTransformerTrainingArguments",
    ),
    "model_card": (TRAINING, "SentenceTransformerModelCardData"),
    "sparse_encoder": (
        _SPARSE,
        "SparseEncoder SparseEncoderModelCardData SparseEncoderTrainer SparseEncoderTrainingArguments",
    ),
    "multi_vector_encoder": (
        _LATE,
        "MultiVectorEncoder MultiVectorEncoderModelCardData MultiVectorEncoderTrainer MultiVectorEncoderTrainingArguments",
    ),
    "cross_encoder.losses": (
        TRAINING,
        """ADRMSELoss BinaryCrossEntropyLoss CachedMultipleNegativesRankingLoss CrossEntropyLoss LambdaLoss ListMLELoss
        ListNetLoss MSELoss MarginMSELoss MultipleNegativesRankingLoss PListMLELoss RankNetLoss""",
    ),
    "cross_encoder.evaluation": (
        _EVALUATION,
        """CEBinaryAccuracyEvaluator CEBinaryClassificationEvaluator CECorrelationEvaluator CEF1Evaluator
        CERerankingEvaluator CESoftmaxAccuracyEvaluator CrossEncoderClassificationEvaluator
        CrossEncoderCorrelationEvaluator CrossEncoderNanoBEIREvaluator CrossEncoderRerankingEvaluator""",
    ),
    "cross_encoder.trainer": (TRAINING, "CrossEncoderTrainer"),
    "cross_encoder.training_args": (TRAINING, "CrossEncoderTrainingArguments"),
    "cross_encoder.model_card": (TRAINING, "CrossEncoderModelCardData"),
    "util.hard_negatives": (_HARD_NEGATIVES, "mine_hard_negatives"),
}

PACKAGE = "votive.sentence_transformers"


def refusing_names(module: str) -> dict[str, Any]:
    """The names of a module that refuse."""
    advice, names = _REFUSING[module]
    return {name: refusing_class(name, f"{PACKAGE}.{module}", advice) for name in names.split()}


REFUSING: dict[str, dict[str, Any]] = {module: refusing_names(module) for module in _REFUSING}

# Modules that have the names of others, by their older or newer places.
ALIASES = {
    "SentenceTransformer": {"SentenceTransformer": ""},
    "sentence_transformer": {"SentenceTransformer": ""},
    "sentence_transformer.model": {"SentenceTransformer": ""},
    "cross_encoder": {"CrossEncoder": ""},
    "cross_encoder.CrossEncoder": {"CrossEncoder": ""},
    "cross_encoder.model": {"CrossEncoder": ""},
    "quantization": {"quantize_embeddings": "util.quantization"},
    "similarity_functions": {"SimilarityFunction": "util.similarity"},
}

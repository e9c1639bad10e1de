"""fastembed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from votive.bench.backends import exports
from votive.bench.backends.backend import Backend
from votive.bench.backends.heads import Head
from votive.bench.backends.unavailable import Unavailable

# Of a model's folder, beside the graph.
FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json")
GRAPH = "model.onnx"


class FastEmbed(Backend):
    """fastembed with the graph that ONNX Runtime gets, as a model of the user's own: no hub is asked."""

    devices = ("cpu",)

    def load(self) -> None:
        from fastembed import TextEmbedding
        from fastembed.common.model_description import ModelSource, PoolingType
        from tokenizers import Tokenizer

        setup = self.setup
        head = Head.of(setup.model, setup.task, "fastembed", exports.POOLINGS, exports.FAMILIES)
        if any(Tokenizer.from_file(str(setup.model / "tokenizer.json")).encode("a").type_ids):
            raise Unavailable("fastembed gives all tokens the type 0, and this model's have another one")
        folder = self.folder(setup.max_seq_length or head.longest)
        TextEmbedding.add_custom_model(
            str(setup.model),
            pooling=PoolingType.DISABLED,  # the graph pools and normalizes
            normalization=False,
            sources=ModelSource(hf="none"),  # it wants one, and is given the folder
            dim=json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"],
            model_file=GRAPH,
        )
        self.model: Any = TextEmbedding(
            str(setup.model),
            threads=setup.threads,
            providers=["CPUExecutionProvider"],
            specific_model_path=str(folder),
        )

    def folder(self, longest: int) -> Path:
        """The model as fastembed reads it; it cuts texts where the tokenizer's configuration says."""
        model = self.setup.model

        def build(folder: Path) -> None:
            shutil.copyfile(exports.onnx_optimized(model, self.setup.cache), folder / GRAPH)
            for name in FILES:
                if (model / name).is_file():
                    shutil.copyfile(model / name, folder / name)
            file = folder / "tokenizer_config.json"
            config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
            file.write_text(json.dumps(config | {"model_max_length": longest, "max_length": longest}))

        return exports.made_once(self.setup.cache, f"fastembed-{longest}", build)

    def compute(self, items: list[str]) -> np.ndarray:
        size = self.setup.batching.max_batch_size or max(1, len(items))
        return np.stack(list(self.model.embed(items, batch_size=size))).astype(np.float32)

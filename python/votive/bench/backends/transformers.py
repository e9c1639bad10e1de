"""transformers, with its pooling by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from votive.bench.backends import engines
from votive.bench.backends.pairs import pairs
from votive.bench.backends.torch_backend import TorchBackend


class Transformers(TorchBackend):
    """A network of transformers with mean or first-token pooling, or with one label."""

    def load_model(self) -> None:
        import transformers

        setup = self.setup
        kind = transformers.AutoModel if setup.task == "embed" else transformers.AutoModelForSequenceClassification
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(setup.model)
        self.model: Any = kind.from_pretrained(setup.model, dtype=self.dtype).to(self.device).eval()
        if setup.choice.compile:
            self.model = self.torch.compile(self.model)
        self.longest = engines.Setup(setup.model, setup.cache, setup.threads, setup.max_seq_length).max_tokens
        pooling, modules = setup.model / "1_Pooling" / "config.json", setup.model / "modules.json"
        self.first = pooling.exists() and json.loads(pooling.read_text()).get("pooling_mode_cls_token", False)
        self.scaled = modules.exists() and "Normalize" in modules.read_text()

    def compute(self, items: list[Any]) -> np.ndarray:
        given: list[Any] = items if self.setup.task == "embed" else pairs(items)
        inputs = self.tokenizer(given, padding=True, truncation=True, max_length=self.longest, return_tensors="pt")
        inputs = inputs.to(self.device)
        with self.torch.inference_mode():
            found = self.model(**inputs)
            if self.setup.task == "rerank":
                result = found.logits[:, 0].float().sigmoid()
            elif self.first:
                result = found.last_hidden_state[:, 0].float()
            else:
                mask = inputs["attention_mask"][:, :, None]
                result = (found.last_hidden_state.float() * mask).sum(1) / mask.sum(1)
            if self.setup.task == "embed" and self.scaled:
                result = self.torch.nn.functional.normalize(result, dim=-1)
            rows: np.ndarray = result.cpu().numpy()
            return rows

"""transformers, with its pooling by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from votive.bench.backends.heads import Head
from votive.bench.backends.pairs import pairs
from votive.bench.backends.torch_backend import TorchBackend


class Transformers(TorchBackend):
    """A network of transformers with mean, first-token or last-token pooling, or with one label."""

    def load_model(self) -> None:
        import transformers

        setup = self.setup
        self.head = Head.of(setup.model, setup.task, "transformers", ("mean", "cls", "lasttoken"))
        kind = transformers.AutoModel if setup.task == "embed" else transformers.AutoModelForSequenceClassification
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(setup.model, padding_side="right")
        self.model: Any = kind.from_pretrained(setup.model, dtype=self.dtype).to(self.device).eval()
        if setup.choice.compile:
            self.model = self.torch.compile(self.model)
        self.longest = setup.max_seq_length or self.head.longest

    def compute(self, items: list[Any]) -> np.ndarray:
        given: list[Any] = items if self.setup.task == "embed" else pairs(items)
        inputs = self.tokenizer(given, padding=True, truncation=True, max_length=self.longest, return_tensors="pt")
        inputs = inputs.to(self.device)
        with self.torch.inference_mode():
            found = self.model(**inputs)
            if self.setup.task == "rerank":
                result = found.logits[:, 0].float()
                result = result.sigmoid() if self.head.sigmoid else result
            else:
                result = self.pooled(found.last_hidden_state.float(), inputs["attention_mask"])
            rows: np.ndarray = result.cpu().numpy()
            return rows

    def pooled(self, hidden: Any, mask: Any) -> Any:
        """From `[texts, tokens, hidden]` to vectors; padding is on the right."""
        if self.head.pooling == "cls":
            result = hidden[:, 0]
        elif self.head.pooling == "lasttoken":
            result = hidden[self.torch.arange(len(hidden)), mask.sum(1) - 1]
        else:
            result = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return self.torch.nn.functional.normalize(result, dim=-1) if self.head.normalizes else result

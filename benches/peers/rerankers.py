"""The rerankers that are compared: engines whose `compute` turns pairs of a query and a document into scores.

All of them run the same weights and return scores between 0 and 1, `[pairs]` float32, in the caller's order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from votive.bench.backends import exports
from votive.bench.backends.engines import (
    ALL_CORES,
    Choice,
    Engine,
    EngineSetup,
    OnnxRuntime,
    OpenVinoInt8,
    torch_device,
)

Pair = tuple[str, str]
# The example on Qwen3-Reranker's model card.
QWEN3_BEFORE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
QWEN3_AFTER = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
QWEN3_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
QWEN3_TOKENS = 8192


class Votive(Engine):
    """votive itself; its planner cuts the batches."""

    def __init__(self, setup: EngineSetup, dtype: str = "float32") -> None:
        super().__init__(setup)
        self.dtype = dtype

    def load(self) -> None:
        import votive

        self.model = votive.Reranker(self.setup.model, device="cpu", dtype=self.dtype, num_threads=self.setup.threads)

    def compute(self, items: list[Pair]) -> np.ndarray:
        return self.model.predict(items, show_progress_bar=False)


class CrossEncoder(Engine):
    """sentence-transformers on PyTorch, float32; it sorts by length itself."""

    def __init__(self, setup: EngineSetup, device: str = "cpu") -> None:
        super().__init__(setup)
        self.device = device
        self.choices = ALL_CORES if device == "cpu" else tuple(Choice(size) for size in (32, 128))
        self.choice = Choice(32)  # its own default

    def load(self) -> None:
        torch_device(self.setup, self.device)
        import sentence_transformers

        self.model = sentence_transformers.CrossEncoder(str(self.setup.model), device=self.device)

    def compute(self, items: list[Pair]) -> np.ndarray:
        return self.model.predict(items, batch_size=self.choice.batch_size, show_progress_bar=False)


class Transformers(Engine):
    """A causal language model on PyTorch, float32, asked as Qwen3-Reranker's model card does it.

    All pairs are one batch, padded on the left. The card computes the logits of every position and of the whole
    vocabulary; `last_logits` those of the last position alone.
    """

    def __init__(self, setup: EngineSetup, last_logits: bool) -> None:
        super().__init__(setup)
        self.logits_to_keep = 1 if last_logits else 0  # 0 keeps all

    def load(self) -> None:
        torch_device(self.setup, "cpu")
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(self.setup.model, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(self.setup.model, dtype=torch.float32).eval()
        self.before, self.after = (
            self.tokenizer.encode(text, add_special_tokens=False) for text in (QWEN3_BEFORE, QWEN3_AFTER)
        )
        self.yes, self.no = (self.tokenizer.convert_tokens_to_ids(answer) for answer in ("yes", "no"))

    def compute(self, items: list[Pair]) -> np.ndarray:
        import torch

        texts = [f"<Instruct>: {QWEN3_INSTRUCTION}\n<Query>: {query}\n<Document>: {text}" for query, text in items]
        most = QWEN3_TOKENS - len(self.before) - len(self.after)
        rows = self.tokenizer(texts, add_special_tokens=False, truncation=True, max_length=most)["input_ids"]
        asked = [self.before + row + self.after for row in rows]
        inputs = self.tokenizer.pad({"input_ids": asked}, padding=True, return_tensors="pt")
        with torch.inference_mode():
            logits = self.model(**inputs, logits_to_keep=self.logits_to_keep).logits[:, -1]
            return (logits[:, self.yes] - logits[:, self.no]).sigmoid().numpy()


def calibration(setup: EngineSetup) -> list[Pair]:
    """Pairs that are in no set."""
    from benches.data import corpus  # imports votive, which another peer's process must not

    return corpus.pairs(setup.model / "tokenizer.json", corpus.SHAPES["minilm"]).calibration


ENCODER_REFERENCE, DECODER_REFERENCE = "sentence-transformers", "transformers"
ENCODERS: dict[str, Callable[[EngineSetup], Engine]] = {
    "votive": Votive,
    "votive-int8": partial(Votive, dtype="int8"),
    ENCODER_REFERENCE: CrossEncoder,
    "onnxruntime": partial(OnnxRuntime, export=exports.onnx_optimized),
    "onnxruntime-all-cores": partial(OnnxRuntime, export=exports.onnx_optimized, choices=ALL_CORES),
    "openvino-int8": partial(OpenVinoInt8, calibration=calibration),
    "openvino-int8-all-cores": partial(OpenVinoInt8, calibration=calibration, choices=ALL_CORES),
    "sentence-transformers-mps": partial(CrossEncoder, device="mps"),
    "sentence-transformers-cuda": partial(CrossEncoder, device="cuda"),
}
DECODERS: dict[str, Callable[[EngineSetup], Engine]] = {
    "votive": Votive,
    "votive-int8": partial(Votive, dtype="int8"),
    DECODER_REFERENCE: partial(Transformers, last_logits=True),
    "transformers-model-card": partial(Transformers, last_logits=False),
}
MODELS = {"minilm": ENCODERS, "qwen3": DECODERS}
REFERENCES = {"minilm": ENCODER_REFERENCE, "qwen3": DECODER_REFERENCE}

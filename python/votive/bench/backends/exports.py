"""The files that ONNX Runtime and OpenVINO need: made once from the safetensors, kept in a cache folder.

Every export of an embedder takes token ids to vectors: BERT or one that is built like it, the mean of each text's
tokens or its first one, and the normalization that the model's folder asks for. Every export of a reranker takes them
to scores: the network with its classifier, and the sigmoid of its only label where the folder asks for it.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from votive.bench.backends.heads import Head

if TYPE_CHECKING:
    import torch

# What is exported: pooling, and networks whose only attention is `_attention` of everything.
POOLINGS = ("mean", "cls")
FAMILIES = ("BERT", "RoBERTa, XLM-RoBERTa, CamemBERT", "ELECTRA")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "result"


def onnx(model: Path, cache: Path) -> Path:
    """The graph as PyTorch exports it. Raises `Unavailable` for what is not exported right."""

    def build(folder: Path) -> None:
        head = Head.of(model, None, "the export", POOLINGS, FAMILIES)
        import torch

        ids = torch.ones(2, 16, dtype=torch.long)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the optimizer knows the graphs of the older exporter only
            torch.onnx.export(
                _graph(model, head).eval(),
                (ids, ids, torch.zeros_like(ids)),
                folder / "model.onnx",
                input_names=list(INPUTS),
                output_names=[OUTPUT],
                dynamic_axes={name: {0: "texts", 1: "tokens"} for name in INPUTS} | {OUTPUT: {0: "texts"}},
                opset_version=17,
                dynamo=False,
            )

    return made_once(cache, f"onnx-torch{_version('torch')}", build) / "model.onnx"


def onnx_optimized(model: Path, cache: Path) -> Path:
    """`onnx` with ONNX Runtime's fused operators for BERT; other networks, unknown to its optimizer, as they are.

    Raises `RuntimeError` if a layer's attention was not recognized: the numbers would not be ONNX Runtime's best.
    """
    if _model_type(model) != "bert":
        return onnx(model, cache)

    def build(folder: Path) -> None:
        from onnxruntime.transformers import optimizer
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(model)
        optimized = optimizer.optimize_model(
            str(onnx(model, cache)),
            model_type="bert",
            num_heads=config.num_attention_heads,
            hidden_size=config.hidden_size,
            opt_level=1,
        )
        fused = optimized.get_fused_operator_statistics()
        if fused["Attention"] != config.num_hidden_layers or fused["EmbedLayerNormalization"] != 1:
            raise RuntimeError(f"onnxruntime.transformers.optimizer fused only {fused}")
        optimized.save_model_to_file(str(folder / "model.onnx"))

    name = f"onnx-torch{_version('torch')}-optimized{_version('onnxruntime')}"
    return made_once(cache, name, build) / "model.onnx"


def onnx_int8(model: Path, cache: Path) -> Path:
    """`onnx_optimized` with int8 weights per output channel, activations quantized at run time."""

    def build(folder: Path) -> None:
        from onnx import TensorProto
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(
            onnx_optimized(model, cache),
            folder / "model.onnx",
            op_types_to_quantize=["MatMul", "Attention"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": TensorProto.FLOAT},  # no types are inferred through fused operators
        )

    name = f"onnx-torch{_version('torch')}-int8-{_version('onnxruntime')}"
    return made_once(cache, name, build) / "model.onnx"


def onnx_int4(model: Path, cache: Path) -> Path:
    """`onnx_optimized` with the weights of products in four bits: MatMulNBits, in blocks of 32, activations in int8.

    Fused attention has no such operator, so its products are left out of the fusion.
    """

    def build(folder: Path) -> None:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        quantizer = MatMulNBitsQuantizer(str(onnx(model, cache)), block_size=32, is_symmetric=True, accuracy_level=4)
        quantizer.process()
        quantizer.model.save_model_to_file(str(folder / "model.onnx"), use_external_data_format=True)

    name = f"onnx-torch{_version('torch')}-int4-{_version('onnxruntime')}"
    return made_once(cache, name, build) / "model.onnx"


def openvino_int4(model: Path, cache: Path) -> Path:
    """`onnx` with weights in four bits, in groups of 64, compressed by NNCF."""

    def build(folder: Path) -> None:
        import nncf
        import openvino

        compressed = nncf.compress_weights(
            openvino.Core().read_model(onnx(model, cache)), mode=nncf.CompressWeightsMode.INT4_ASYM, group_size=64
        )
        openvino.save_model(compressed, folder / "model.xml", compress_to_fp16=False)

    name = f"openvino{_version('openvino')}-int4-nncf{_version('nncf')}"
    return made_once(cache, name, build) / "model.xml"


def openvino_int8(model: Path, cache: Path, calibration: Callable[[], list[dict[str, Any]]]) -> Path:
    """`onnx` quantized by NNCF, as it advises for transformers.

    `calibration` gives a few hundred inputs of the model, and is asked for them when the file is not there yet.
    """

    def build(folder: Path) -> None:
        import nncf
        import openvino

        inputs = calibration()
        quantized = nncf.quantize(
            openvino.Core().read_model(onnx(model, cache)),
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            # What follows the encoder costs nothing and would only lose accuracy.
            ignored_scope=nncf.IgnoredScope(patterns=[".*/(pooling|pooler|classifier)/.*"]),
        )
        openvino.save_model(quantized, folder / "model.xml", compress_to_fp16=False)

    name = f"openvino{_version('openvino')}-int8-nncf{_version('nncf')}"
    return made_once(cache, name, build) / "model.xml"


def _graph(model: Path, head: Head) -> torch.nn.Module:
    """From ids, mask and types, `[texts, tokens]` each, to `[texts, hidden]`, or to `[pairs]` of a classifier."""
    import torch
    from transformers import AttentionInterface, AutoModel, AutoModelForSequenceClassification

    AttentionInterface.register("by_the_book", _attention)
    make = AutoModel if head.pooling else AutoModelForSequenceClassification
    bert = make.from_pretrained(model, attn_implementation="by_the_book", dtype=torch.float32)

    class Pooling(torch.nn.Module):
        def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            if head.pooling == "cls":
                pooled = hidden[:, 0]
            else:
                weights = mask[:, :, None].float()
                pooled = (hidden * weights).sum(1)
                if not head.normalizes:  # which makes a sum and a mean the same
                    pooled = pooled / weights.sum(1)
            return torch.nn.functional.normalize(pooled, dim=-1) if head.normalizes else pooled

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert
            self.pooling = Pooling()

        def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
            bias = (1.0 - mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
            result = self.bert(input_ids=ids, attention_mask=bias, token_type_ids=types)
            if head.pooling:
                pooled: torch.Tensor = self.pooling(result.last_hidden_state, mask)
                return pooled
            return result.logits[:, 0].sigmoid() if head.sigmoid else result.logits[:, 0]

    return Graph()


def _model_type(model: Path) -> str:
    return json.loads((model / "config.json").read_text())["model_type"]


def _attention(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **_: Any) -> tuple[Any, None]:
    """Attention as the BERT paper writes it, which is the form that ONNX Runtime's optimizer recognizes.

    `query`, `key`, `value`: `[texts, heads, tokens, head]`; gives `[texts, tokens, heads, head]`.
    """
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]) + attention_mask
    return (scores.softmax(-1) @ value).transpose(1, 2), None


def _version(package: str) -> str:
    from importlib.metadata import version  # a tenth of the start of a fast peer

    return version(package)


def made_once(cache: Path, name: str, build: Callable[[Path], None]) -> Path:
    """The folder `name` in `cache`; made beside it and renamed, so that an interrupted export is never used."""
    folder = cache / name
    if not folder.exists():
        unfinished = cache / f"{name}.{os.getpid()}"
        unfinished.mkdir(parents=True)
        try:
            build(unfinished)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder

"""Saving a model: its files, as they were read, with the settings as they are."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from votive.sentence_transformers._log import logger
from votive.sentence_transformers._modules import read_json, transformer_folder

_SETTINGS = "config_sentence_transformers.json"
_LENGTH = "sentence_bert_config.json"

# What other frameworks read, and what tools leave behind.
_OTHERS = ("onnx", "openvino", "*.onnx", "*.h5", "*.msgpack", "*.ot", ".git", ".cache")

# PyTorch's modules by what votive calls them.
_TORCH = {
    "identity": "torch.nn.modules.linear.Identity",
    "sigmoid": "torch.nn.modules.activation.Sigmoid",
    "softmax": "torch.nn.modules.activation.Softmax",
    "tanh": "torch.nn.modules.activation.Tanh",
}


def save(model: Any, path: str | os.PathLike[str] | None, create_model_card: bool) -> None:
    """Copies the folder of a model, and writes its prompts, similarity, width and length. Nothing happens for None.

    Raises:
        OSError: a file cannot be written.
    """
    if path is None:
        return
    folder, target = Path(model._model.folder), Path(path)
    target.mkdir(parents=True, exist_ok=True)
    logger.info("Saving model to %s", target)
    if target.resolve() != folder.resolve():
        others = [*_OTHERS, *([] if create_model_card else ["README.md"])]
        if next(folder.rglob("*.safetensors"), None) is not None:
            others.append("pytorch_model*.bin*")
        shutil.copytree(folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*others))
    if not (target / "modules.json").exists() and not _list_modules(model, target):
        logger.warning("save: prompts of a language model that reranks are not kept; give them when it is loaded")
    _write_json(target / _SETTINGS, read_json(folder / _SETTINGS) | _settings(model))
    if model._arguments["max_seq_length"] is not None:
        of_transformer = transformer_folder(target) / _LENGTH
        _write_json(of_transformer, read_json(of_transformer) | {"max_seq_length": model.max_seq_length})


def _list_modules(model: Any, target: Path) -> bool:
    """Lists the modules of a plain folder, without which its settings are not read; False where votive cannot."""
    base = "sentence_transformers.base.modules.transformer.Transformer"
    modules = [{"idx": 0, "name": "0", "path": "", "type": base}]
    if model.model_type == "SentenceTransformer":
        kind = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
        modules.append({"idx": 1, "name": "1", "path": "1_Pooling", "type": kind})
        (target / "1_Pooling").mkdir(exist_ok=True)
        pooling = {"embedding_dimension": model._model.dimension, "pooling_mode": model.info.pooling}
        _write_json(target / "1_Pooling" / "config.json", pooling | {"include_prompt": True})
    elif str(model.config.architectures[0]).endswith("ForSequenceClassification"):
        outputs = {"text": {"method": "forward", "method_output_name": "logits"}}
        task = {
            "transformer_task": "sequence-classification",
            "modality_config": outputs,
            "module_output_name": "scores",
        }
        _write_json(target / _LENGTH, read_json(target / _LENGTH) | task)
    else:
        return False
    _write_json(target / "modules.json", modules)
    return True


def _settings(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "model_type": model.model_type,
        "prompts": model.prompts,
        "default_prompt_name": model.default_prompt_name,
    }
    if hasattr(model, "similarity_fn_name"):
        found["similarity_fn_name"] = model.similarity_fn_name
        if model.truncate_dim is not None:
            found["truncate_dim"] = model.truncate_dim
    else:
        function = getattr(model._activation_fn, "module", model._activation_fn)
        kind = function if hasattr(function, "__name__") else type(function)
        name = _TORCH.get(kind.__name__, f"{kind.__module__}.{kind.__name__}")
        if name.startswith("torch."):
            found["activation_fn"] = name
        else:
            logger.warning(
                "save: activation_fn %s is no module of PyTorch; give it again to what loads the folder", name
            )
    return found


def _write_json(path: Path, values: Any) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(values, indent=2, sort_keys=True), encoding="utf-8")
    temporary.replace(path)

"""Saving a model: its files, as they were read, with the settings as they are."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from votive.sentence_transformers._modules import read_json, transformer_folder

_logger = logging.getLogger("votive.sentence_transformers")

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
    _logger.info("Saving model to %s", target)
    if target.resolve() != folder.resolve():
        others = [*_OTHERS, *([] if create_model_card else ["README.md"])]
        if next(folder.rglob("*.safetensors"), None) is not None:
            others.append("pytorch_model*.bin*")
        shutil.copytree(folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*others))
    _write_json(target / _SETTINGS, read_json(folder / _SETTINGS) | _settings(model))
    if model._arguments["max_seq_length"] is not None:
        of_transformer = transformer_folder(target) / _LENGTH
        _write_json(of_transformer, read_json(of_transformer) | {"max_seq_length": model.max_seq_length})


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
        function = model.activation_fn
        kind = function if hasattr(function, "__name__") else type(function)
        name = _TORCH.get(kind.__name__, f"{kind.__module__}.{kind.__name__}")
        if name.startswith("torch."):
            found["activation_fn"] = name
        else:
            _logger.warning(
                "save: activation_fn %s is no module of PyTorch; give it again to what loads the folder", name
            )
    return found


def _write_json(path: Path, values: dict[str, Any]) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(values, indent=2, sort_keys=True), encoding="utf-8")
    temporary.replace(path)

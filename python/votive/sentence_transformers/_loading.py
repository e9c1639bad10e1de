"""Arguments of the constructors, from sentence-transformers' to votive's."""

from __future__ import annotations

import os
import warnings
from typing import Any

from votive.sentence_transformers._log import logger
from votive.sentence_transformers._unsupported import Unsupported

# Models that stand on the hub without an organisation: the first ones of transformers.
_ORIGINAL_MODELS = """
albert-base-v1 albert-base-v2 albert-large-v1 albert-large-v2 albert-xlarge-v1 albert-xlarge-v2 albert-xxlarge-v1
albert-xxlarge-v2 bert-base-cased-finetuned-mrpc bert-base-cased bert-base-chinese bert-base-german-cased
bert-base-german-dbmdz-cased bert-base-german-dbmdz-uncased bert-base-multilingual-cased
bert-base-multilingual-uncased bert-base-uncased bert-large-cased-whole-word-masking-finetuned-squad
bert-large-cased-whole-word-masking bert-large-cased bert-large-uncased-whole-word-masking-finetuned-squad
bert-large-uncased-whole-word-masking bert-large-uncased camembert-base ctrl distilbert-base-cased-distilled-squad
distilbert-base-cased distilbert-base-german-cased distilbert-base-multilingual-cased
distilbert-base-uncased-distilled-squad distilbert-base-uncased-finetuned-sst-2-english distilbert-base-uncased
distilgpt2 distilroberta-base gpt2-large gpt2-medium gpt2-xl gpt2 openai-gpt roberta-base-openai-detector roberta-base
roberta-large-mnli roberta-large-openai-detector roberta-large t5-11b t5-3b t5-base t5-large t5-small transfo-xl-wt103
xlm-clm-ende-1024 xlm-clm-enfr-1024 xlm-mlm-100-1280 xlm-mlm-17-1280 xlm-mlm-en-2048 xlm-mlm-ende-1024
xlm-mlm-enfr-1024 xlm-mlm-enro-1024 xlm-mlm-tlm-xnli15-1024 xlm-mlm-xnli15-1024 xlm-roberta-base
xlm-roberta-large-finetuned-conll02-dutch xlm-roberta-large-finetuned-conll02-spanish
xlm-roberta-large-finetuned-conll03-english xlm-roberta-large-finetuned-conll03-german xlm-roberta-large
xlnet-base-cased xlnet-large-cased
"""
ORIGINAL_TRANSFORMER_MODELS = _ORIGINAL_MODELS.split()

_ORGANISATIONS = {"SentenceTransformer": "sentence-transformers", "CrossEncoder": "cross-encoder"}

# Keys that choose how PyTorch computes the same numbers.
_WITHOUT_EFFECT = {
    "model_kwargs": {
        "attn_implementation",
        "low_cpu_mem_usage",
        "use_safetensors",
        "provider",
        "file_name",
        "export",
        "subfolder",
    },
    "processor_kwargs": {"padding_side", "use_fast", "clean_up_tokenization_spaces"},
    "config_kwargs": {"attn_implementation", "classifier_dropout"},
}


def path_of(model_name_or_path: Any, modules: Any, kind: str) -> str:
    """A folder, or a name on the hub in full; `kind` is the class that asks.

    Raises:
        NotADirectoryError: it is a file.
        FileNotFoundError: it is no folder, and no name of the hub.
        ValueError: there are no modules.
        Unsupported: there are some.
    """
    if not model_name_or_path:
        if modules is not None and len(modules) == 0:
            raise ValueError(
                f"An empty modules list was passed to {kind}. Please provide at least one module, e.g. a Transformer "
                "module."
            )
        raise Unsupported(
            "modules: votive loads models from a folder or the hub; save the modules to one, and load that"
        )
    path = os.fspath(model_name_or_path)
    if os.path.isdir(path):
        return path
    if os.path.isfile(path):
        raise NotADirectoryError(
            f"Path {path} is a file, not a directory. `model_name_or_path` must be a local directory containing a "
            "model, or a Hugging Face Hub model ID."
        )
    if (os.sep == "\\" and "\\" in path) or path.count("/") > 1:
        raise FileNotFoundError(f"Path {path} not found")
    if "/" in path or path.lower() in ORIGINAL_TRANSFORMER_MODELS:
        return path
    return f"{_ORGANISATIONS[kind]}/{path}"


def device_of(device: Any) -> str:
    """A device by votive's name; "auto" for None."""
    return "auto" if device is None else str(device)


def token_of(token: Any, use_auth_token: Any) -> Any:
    """The token, by either name.

    Raises:
        ValueError: both were given.
    """
    if use_auth_token is None:
        return token
    warnings.warn(
        "The `use_auth_token` argument is deprecated and will be removed in a future release of SentenceTransformers.",
        FutureWarning,
        stacklevel=3,
    )
    if token is not None:
        raise ValueError("Both `token` and `use_auth_token` are specified. Please only specify the `token` argument.")
    return use_auth_token


def prompts_of(prompts: dict[str, str | None] | None) -> dict[str, str]:
    """The prompts that have a text; of the others the model's files have it, or else it is ""."""
    return {name: text for name, text in (prompts or {}).items() if text is not None}


def dtype_of(dtype: str, model_kwargs: dict[str, Any] | None) -> str:
    """The type of weights that `dtype`, or `model_kwargs`, asks for.

    Raises:
        Unsupported: `model_kwargs` has a key that would change results.
    """
    for key, value in (model_kwargs or {}).items():
        if key in ("dtype", "torch_dtype"):
            name = str(value).removeprefix("torch.")
            if value is not None and name != "auto":
                dtype = name
        elif key == "device_map":
            _log_without_effect("model_kwargs", key)
        else:
            check_key("model_kwargs", key, value)
    return dtype


def length_of(processor_kwargs: dict[str, Any] | None) -> int | None:
    """The most tokens that the arguments of the tokenizer ask for.

    Raises:
        Unsupported: they have a key that would change results.
    """
    length = None
    for key, value in (processor_kwargs or {}).items():
        if key in ("model_max_length", "max_length"):
            length = value
        else:
            check_key("processor_kwargs", key, value)
    return length


def check_key(argument: str, key: str, value: Any) -> None:
    """Accepts what has no effect on results.

    Raises:
        Unsupported: it has one.
    """
    if key in _WITHOUT_EFFECT[argument]:
        _log_without_effect(argument, key)
    elif value is not None:
        raise Unsupported(
            f"{argument}[{key!r}]: votive takes what the model's files say; change it there, or leave it out"
        )


def check_backend(backend: str) -> None:
    """Accepts the backends of sentence-transformers: another engine for the same model.

    Raises:
        ValueError: there is no such backend.
    """
    if backend not in ("torch", "onnx", "openvino"):
        raise ValueError(f"Unsupported backend '{backend}'. `backend` should be `torch`, `onnx`, or `openvino`.")
    if backend != "torch":
        logger.warning("backend=%r: votive computes the same model with its own engine", backend)


def _log_without_effect(argument: str, key: str) -> None:
    logger.info("%s[%r] chooses how PyTorch computes; votive has its own kernels", argument, key)

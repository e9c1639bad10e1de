"""A model's tokenizer, with the methods and attributes that programs use of transformers' ones."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from votive.sentence_transformers._modules import network_config, read_json, transformer_folder
from votive.sentence_transformers._tensors import to_tensor, unasked

_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "spm.model",
    "spiece.model",
)
_SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


class Tokenizer:
    """The tokenizer of a model.

    Args:
        model: whose tokenizer it is. Its `max_seq_length` cuts what is tokenized with `truncation`.
    """

    padding_side = truncation_side = "right"
    is_fast = True

    def __init__(self, model: Any) -> None:
        self._model = model
        self._core = model._model.tokenizer()
        self._folder = transformer_folder(model._model.folder)

    @property
    def model_max_length(self) -> int:
        """The most tokens of an input."""
        return self._model.max_seq_length or 2**31

    @cached_property
    def vocab(self) -> dict[str, int]:
        """Ids by tokens."""
        found: dict[str, int] = self._core.vocabulary()
        return found

    def get_vocab(self) -> dict[str, int]:
        """As `vocab`."""
        return dict(self.vocab)

    @property
    def vocab_size(self) -> int:
        """Tokens, without those that were added."""
        size: int = self._core.base_size
        return size

    def __len__(self) -> int:
        return len(self.vocab)

    @property
    def name_or_path(self) -> str:
        """What the model was loaded by."""
        return str(self._model._arguments["model_name_or_path"])

    @cached_property
    def _special(self) -> dict[str, str]:
        named = read_json(self._folder / "special_tokens_map.json") | read_json(self._folder / "tokenizer_config.json")
        found = {f"{kind}_token": named.get(f"{kind}_token") for kind in _SPECIAL}
        return {name: token["content"] if isinstance(token, dict) else token for name, token in found.items() if token}

    def __getattr__(self, name: str) -> Any:
        if name.removesuffix("_id") in {f"{kind}_token" for kind in _SPECIAL}:
            token = self._special.get(name.removesuffix("_id"))
            return self.convert_tokens_to_ids(token) if name.endswith("_id") and token is not None else token
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token that has a name."""
        return list(dict.fromkeys(self._special.values()))

    @property
    def all_special_ids(self) -> list[int]:
        """Their ids."""
        return [self.convert_tokens_to_ids(token) for token in self.all_special_tokens]

    def tokenize(self, text: str, **_: Any) -> list[str]:
        """The tokens of a text, without special ones."""
        tokens: list[str] = self.convert_ids_to_tokens(self.encode(text, add_special_tokens=False))
        return tokens

    def encode(
        self,
        text: str,
        text_pair: str | None = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        **_: Any,
    ) -> list[int]:
        """The ids of a text, or of two together."""
        return self._encoded(text, text_pair, add_special_tokens, truncation, max_length)[0]

    def decode(self, token_ids: Any, skip_special_tokens: bool = False, **_: Any) -> str:
        """The text of ids."""
        ids = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
        text: str = self._core.decode([ids] if isinstance(ids, int) else list(ids), not skip_special_tokens)
        return text

    def batch_decode(self, sequences: Iterable[Any], skip_special_tokens: bool = False, **_: Any) -> list[str]:
        """The texts of several rows of ids."""
        return [self.decode(ids, skip_special_tokens) for ids in sequences]

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        """The token of an id, or of each of several."""
        ids = ids.tolist() if hasattr(ids, "tolist") else ids
        return self._core.token(ids) if isinstance(ids, int) else [self._core.token(number) for number in ids]

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """The id of a token, or of each of several; that of the unknown token for those that are not there."""
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        found, unknown = self._core.id(tokens), self._special.get("unk_token")
        return self._core.id(unknown) if found is None and unknown is not None else found

    def __call__(
        self,
        text: Any,
        text_pair: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        **_: Any,
    ) -> Encoding:
        """Ids, mask and types of a text or of several, as lists or, with `return_tensors`, padded to one length.

        Raises:
            ValueError: `return_tensors` is neither "pt" nor "np".
        """
        single = isinstance(text, str)
        texts = [text] if single else [item if isinstance(item, (str, tuple)) else tuple(item) for item in text]
        seconds = [None] * len(texts) if text_pair is None else [text_pair] if single else list(text_pair)
        pairs: list[tuple[str, str | None]] = [
            item if isinstance(item, tuple) else (item, second) for item, second in zip(texts, seconds, strict=True)
        ]
        found = [self._encoded(first, second, add_special_tokens, truncation, max_length) for first, second in pairs]
        rows = {"input_ids": [ids for ids, _ in found], "attention_mask": [[1] * len(ids) for ids, _ in found]}
        if self._has_types if return_token_type_ids is None else return_token_type_ids:
            rows["token_type_ids"] = [types for _, types in found]
        if return_attention_mask is False:
            del rows["attention_mask"]
        if padding:
            most = (
                (max_length or self.model_max_length) if padding == "max_length" else max(map(len, rows["input_ids"]))
            )
            fill = {"input_ids": self.pad_token_id or 0, "token_type_ids": 0, "attention_mask": 0}
            for name, lists in rows.items():
                rows[name] = [ids + [fill[name]] * (most - len(ids)) for ids in lists]
        if return_tensors is None:
            return Encoding({name: lists[0] if single else lists for name, lists in rows.items()})
        if return_tensors not in ("pt", "np"):
            raise ValueError(f"return_tensors: expected 'pt' or 'np', found {return_tensors!r}")
        import numpy as np

        arrays = {name: np.asarray(lists, np.int64) for name, lists in rows.items()}
        return Encoding(arrays if return_tensors == "np" else {name: to_tensor(each) for name, each in arrays.items()})

    @cached_property
    def _has_types(self) -> bool:
        """Whether inputs have types of tokens: what the tokenizer's files say, else what the network has."""
        named = read_json(self._folder / "tokenizer_config.json").get("model_input_names")
        return "token_type_ids" in named if named else network_config(self._model._model).get("type_vocab_size", 0) > 1

    def _encoded(
        self, text: str, pair: str | None, special: bool, truncation: Any, max_length: int | None
    ) -> tuple[list[int], list[int]]:
        cut = truncation not in (None, False, "do_not_truncate")
        most = (max_length or self.model_max_length) if cut else None
        found: tuple[list[int], list[int]] = self._core.encode(text, pair, special_tokens=special, max_length=most)
        return found

    def save_pretrained(self, folder: str, **_: Any) -> None:
        """Copies the tokenizer's files to a folder."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            if (self._folder / name).exists():
                shutil.copy(self._folder / name, target)


class Encoding(dict[str, Any]):
    """What a tokenizer gives, also as attributes: `encoding.input_ids`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def to(self, device: Any) -> Encoding:
        """With the tensors on that device."""
        return Encoding({name: each.to(device) if hasattr(each, "to") else each for name, each in self.items()})


def preprocessed(model: Any, inputs: list[Any], prompt: str) -> dict[str, Any]:
    """Padded arrays, or tensors where the process has imported torch, of texts and pairs after a prompt.

    Returns:
        `input_ids`, `attention_mask` and, where the network has types, `token_type_ids`, each `[texts, most tokens]`;
        "modality", and with a prompt "prompt_length".
    """
    tokenizer = model.tokenizer
    items = [[prompt + item[0], item[1]] if isinstance(item, (list, tuple)) else prompt + item for item in inputs]
    found: dict[str, Any] = tokenizer(items, padding=True, truncation=True, return_tensors="pt" if unasked() else "np")
    found["modality"] = "text"
    if prompt:
        found["prompt_length"] = prompt_length(tokenizer, prompt)
    return found


def prompt_length(tokenizer: Tokenizer, prompt: str) -> int:
    """How many tokens of a text belong to the prompt before it, by the count of sentence-transformers."""
    alone, nothing = tokenizer.encode(prompt), tokenizer.encode("")
    # Without the special token at the end.
    return len(alone) - (bool(nothing) and alone[-1] == nothing[-1])

"""A model's tokenizer, with the methods and attributes that programs use of transformers' ones."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from votive.sentence_transformers._modules import read_json, transformer_folder
from votive.sentence_transformers._tensors import to_tensor
from votive.sentence_transformers._unsupported import Unsupported

_SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


class Tokenizer:
    """Reads the tokenizer.json of a model's folder with the `tokenizers` package, which must be installed.

    Args:
        model: whose tokenizer it is. Its `max_seq_length` cuts what is tokenized.

    Raises:
        Unsupported: the folder has no tokenizer.json.
        ImportError: `tokenizers` is not installed.
    """

    padding_side = truncation_side = "right"
    is_fast = True

    def __init__(self, model: Any) -> None:
        self._model = model
        self._folder = transformer_folder(model._model.folder)

    @cached_property
    def _reader(self) -> Any:
        try:
            from tokenizers import Tokenizer as Reader
        except ImportError as error:
            raise ImportError("tokenizer: needs the package tokenizers, which is not installed") from error
        path = self._folder / "tokenizer.json"
        if not path.exists():
            raise Unsupported(f"tokenizer: {path.parent} has no tokenizer.json; model.tokenize gives tokens")
        reader = Reader.from_file(str(path))
        reader.no_padding()
        reader.no_truncation()
        return reader

    @property
    def model_max_length(self) -> int:
        """The most tokens of an input."""
        return self._model.max_seq_length or 2**31

    @property
    def vocab(self) -> dict[str, int]:
        """Ids by tokens."""
        found: dict[str, int] = self._reader.get_vocab(with_added_tokens=True)
        return found

    def get_vocab(self) -> dict[str, int]:
        """As `vocab`."""
        return self.vocab

    @property
    def vocab_size(self) -> int:
        """Tokens, without those that were added."""
        size: int = self._reader.get_vocab_size(with_added_tokens=False)
        return size

    def __len__(self) -> int:
        size: int = self._reader.get_vocab_size(with_added_tokens=True)
        return size

    @cached_property
    def _special(self) -> dict[str, str]:
        named = read_json(self._folder / "special_tokens_map.json") | read_json(self._folder / "tokenizer_config.json")
        found = {f"{kind}_token": named.get(f"{kind}_token") for kind in _SPECIAL}
        return {
            name: token["content"] if isinstance(token, dict) else token for name, token in found.items() if token
        }

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
        tokens: list[str] = self._reader.encode(text, add_special_tokens=False).tokens
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
        ids: list[int] = self._encoded([(text, text_pair)], add_special_tokens, truncation, max_length)[0].ids
        return ids

    def decode(self, token_ids: Any, skip_special_tokens: bool = False, **_: Any) -> str:
        """The text of ids."""
        ids = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
        text: str = self._reader.decode([ids] if isinstance(ids, int) else list(ids), skip_special_tokens)
        return text

    def batch_decode(self, sequences: Iterable[Any], skip_special_tokens: bool = False, **_: Any) -> list[str]:
        """The texts of several rows of ids."""
        return [self.decode(ids, skip_special_tokens) for ids in sequences]

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        """The token of an id, or of each of several."""
        ids = ids.tolist() if hasattr(ids, "tolist") else ids
        if isinstance(ids, int):
            return self._reader.id_to_token(ids)
        return [self._reader.id_to_token(number) for number in ids]

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """The id of a token, or of each of several; that of the unknown token for those that are not there."""
        if isinstance(tokens, str):
            found = self._reader.token_to_id(tokens)
            unknown = self._special.get("unk_token")
            return self._reader.token_to_id(unknown) if found is None and unknown is not None else found
        return [self.convert_tokens_to_ids(token) for token in tokens]

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
        pairs = [
            item if isinstance(item, tuple) else (item, second) for item, second in zip(texts, seconds, strict=True)
        ]
        encodings = self._encoded(pairs, add_special_tokens, truncation, max_length)
        rows = {
            "input_ids": [found.ids for found in encodings],
            "token_type_ids": [found.type_ids for found in encodings],
            "attention_mask": [[1] * len(found.ids) for found in encodings],
        }
        if padding:
            most = (max_length or self.model_max_length) if padding == "max_length" else max(map(len, rows["input_ids"]))
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

    def _encoded(self, pairs: list[Any], special: bool, truncation: Any, max_length: int | None) -> list[Any]:
        items = [first if second is None else (first, second) for first, second in pairs]
        encodings = self._reader.encode_batch(items, add_special_tokens=special)
        if truncation not in (None, False, "do_not_truncate"):
            most = max_length or self.model_max_length
            if any(len(found.ids) > most for found in encodings):
                from tokenizers import Tokenizer as Reader

                cutting = Reader.from_str(self._reader.to_str())
                cutting.enable_truncation(most)
                encodings = cutting.encode_batch(items, add_special_tokens=special)
        return encodings

    def save_pretrained(self, folder: str, **_: Any) -> None:
        """Writes tokenizer.json and tokenizer_config.json to a folder."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        self._reader.save(str(target / "tokenizer.json"))
        (target / "tokenizer_config.json").write_text(json.dumps(read_json(self._folder / "tokenizer_config.json")), "utf-8")


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

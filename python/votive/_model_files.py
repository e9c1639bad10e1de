"""What a model's files say beside what the core reads: pooling, a digest that tells models apart, foreign activations.

The core has loaded the files, so that they are there and hold what they must.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# The first of them that is in a folder holds the weights, or names the files that do: as the core looks for them.
_WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# As the core looks for the weights of an adapter.
_ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
# Keys that libraries write anew whenever they save a model, and that decide nothing or, as `max_seq_length`, how much
# of a long text is seen. Files of tokenizers are left out for the same reason.
_IDLE_KEYS = {
    "_name_or_path",
    "base_model_name_or_path",
    "dtype",
    "max_seq_length",
    "torch_dtype",
    "transformers_version",
}
# Older names of pooling modes, in the order in which several are concatenated.
_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}

# Classes of modules that only texts of one task go through.
ROUTERS = ("Router", "Asym")

# Of a file of weights are read its beginning, which names the tensors, and blocks all through it.
_HEAD_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 12
_BLOCKS = 64


class ModelFiles(NamedTuple):
    """What is read.

    Attributes:
        pooling: names of the pooling modes, joined by "+".
        fingerprint: 32 hexadecimal digits: see `votive.embedder_info.EmbedderInfo`.
    """

    pooling: str
    fingerprint: str

    @classmethod
    def read(
        cls,
        folder: Path,
        *,
        has_modules: bool,
        find: Callable[[str], Path | None] | None = None,
        gguf: Sequence[Path] = (),
        made: Callable[[str], bytes | None] | None = None,
    ) -> ModelFiles:
        """Reads a folder: all of small files, and a few hundred kB of each file of weights.

        Args:
            folder: of a model that was loaded.
            has_modules: whether modules.json counts, where there is one.
            find: where a file of the folder is: that of a base model, where the folder of an adapter, or of a quantized
                model, lacks it.
            gguf: the GGUF file with the weights, or its parts; () where they are in others.
            made: what that file says, in the form of a JSON file that the folder lacks.

        Raises:
            OSError: a file cannot be read any more.
        """
        # Imported with the first model: it takes as long as the rest of importing votive.
        import json
        from hashlib import blake2b

        digest = blake2b(digest_size=16)

        def add(part: bytes) -> None:
            # With its length, so that no two sequences of parts are the same bytes.
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)

        def home(path: Path) -> Path:
            """Where the files of the module in `path` are."""
            found = find((path / "config.json").relative_to(folder).as_posix()) if find else None
            return path if found is None else found.parent

        def parsed(path: Path, own: Path) -> tuple[Any, bytes]:
            """The file at `path`, which stands for that at `own` in the folder: or what is made for that."""
            found = parsed_json(path)
            says = made(own.relative_to(folder).as_posix()) if made else None
            return (json.loads(says), says) if found[0] is None and says else found

        own = folder / "modules.json"
        listed, _ = parsed((find("modules.json") if find else None) or own, own)
        modules = _modules(folder, listed) if has_modules else None
        config, _ = parsed(home(folder) / "config.json", folder / "config.json")
        pooling = "lasttoken" if _looks_backwards(config) else "mean"
        for kind, path in modules or [("Transformer", folder)]:
            own = path
            path = home(path)
            config, canonical = parsed(path / "config.json", own / "config.json")
            add(kind.encode())
            add(canonical)
            if kind in ROUTERS:
                add(json.dumps(router_config(own), sort_keys=True).encode())
            if kind == "Pooling":
                pooling = _pooling(config)
            if kind == "Transformer" and modules:
                for name in sorted(own.glob("sentence_*_config.json")):
                    add(parsed_json(name)[1])
            for file in gguf if gguf and kind == "Transformer" else _weight_files(path):
                for part in _samples(file):
                    add(part)
            if kind == "Transformer" and (own / "adapter_config.json").is_file():
                add(parsed_json(own / "adapter_config.json")[1])
                adapter = next(own / name for name in _ADAPTER_FILES if (own / name).is_file())
                for part in _samples(adapter):
                    add(part)
        add(pooling.encode())
        return cls(pooling, digest.hexdigest())


def foreign_activation(folder: Path) -> str | None:
    """The activation function that a cross-encoder's files name, where it is none of PyTorch's."""
    config = _object(folder / "config.json")
    # Without a list of modules sentence-transformers does not read its own file.
    own = _object(folder / "config_sentence_transformers.json") if (folder / "modules.json").exists() else {}
    nested = config.get("sentence_transformers")
    named = [own.get("activation_fn"), config.get("sbert_ce_default_activation_function")]
    named += [nested.get("activation_fn")] if isinstance(nested, dict) else []
    return next((name for name in named if isinstance(name, str) and not name.startswith("torch.")), None)


def _object(path: Path) -> dict[str, Any]:
    found, _ = parsed_json(path)
    return found if isinstance(found, dict) else {}


def _modules(folder: Path, found: Any) -> list[tuple[str, Path]] | None:
    """The class and the folder of each module that modules.json lists; None where there is no list."""
    if not isinstance(found, list):
        return None
    # The package has moved its classes: only the last part of a name has stayed.
    listed = [(str(module["type"]).rpartition(".")[2], folder / module["path"]) for module in found]
    for kind, path in list(listed):
        if kind in ROUTERS:
            types = router_config(path)["types"]
            listed += [(types[name].rpartition(".")[2], path / name) for name in sorted(types)]
    return listed


def router_config(path: Path) -> Any:
    """What the file of a Router in this folder says."""
    found, _ = parsed_json(path / "router_config.json")
    return parsed_json(path / "config.json")[0] if found is None else found


def parsed_json(path: Path) -> tuple[Any, bytes]:
    """What a file of JSON holds, and the same as bytes however it is laid out; of none, and of no JSON, None."""
    import json

    if not path.is_file():
        return None, b""
    content = path.read_bytes()
    try:
        found = json.loads(content)
        kept = {key: found[key] for key in found.keys() - _IDLE_KEYS} if isinstance(found, dict) else found
        return found, json.dumps(kept, sort_keys=True).encode()
    # The core's reader takes longer numbers.
    except (ValueError, RecursionError):
        return None, content


def _pooling(config: Any) -> str:
    modes = config.get("pooling_mode") if isinstance(config, dict) else None
    if modes is None:
        flags = config if isinstance(config, dict) else {}
        modes = [name for key, name in _POOLING_FLAGS.items() if flags.get(key) is True] or ["mean"]
    return "+".join(modes) if isinstance(modes, list) else str(modes)


def _looks_backwards(config: Any) -> bool:
    """Whether the weights are those of a causal language model, of which the last token is taken without modules."""
    if not isinstance(config, dict):
        return False
    architectures = config.get("architectures")
    first = str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    return first.endswith("ForCausalLM") and bool(config.get("is_causal", True))


def _weight_files(folder: Path) -> list[Path]:
    for name in _WEIGHT_FILES:
        path = folder / name
        if path.is_file():
            if not name.endswith(".json"):
                return [path]
            index, _ = parsed_json(path)
            shards = index["weight_map"].values() if isinstance(index, dict) else ()
            return [folder / shard for shard in sorted(set(shards))]
    return []


def _samples(path: Path) -> Iterator[bytes]:
    """The size of a file, its beginning, blocks at equal distances, and its end; all of one that is small."""
    size = path.stat().st_size
    yield size.to_bytes(8, "little")
    with open(path, "rb", buffering=0) as file:
        yield file.read(_HEAD_BYTES)
        step = max(_BLOCK_BYTES, (size - _HEAD_BYTES - _BLOCK_BYTES) // _BLOCKS)
        for start in range(_HEAD_BYTES, size, step):
            file.seek(start)
            yield file.read(_BLOCK_BYTES)
        if size > _BLOCK_BYTES:
            file.seek(size - _BLOCK_BYTES)
            yield file.read(_BLOCK_BYTES)

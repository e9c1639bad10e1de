"""Views of what a model's folder says: its modules, its configuration, its card. None of them holds weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from votive._model_files import ROUTERS, parsed_json, router_config
from votive.sentence_transformers._unsupported import UnsupportedAttribute

if TYPE_CHECKING:
    from votive.sentence_transformers._tokenizer import Tokenizer


def read_json(path: Path) -> Any:
    """What a JSON file holds; an empty dict where there is none."""
    found, _ = parsed_json(path)
    return {} if found is None else found


def transformer_folder(folder: Path) -> Path:
    """The folder of a model's Transformer, which has its config.json and tokenizer.json."""
    listed = read_json(folder / "modules.json")
    if not listed:
        return folder
    first = folder / listed[0]["path"]
    if listed[0]["type"].rpartition(".")[2] not in ROUTERS:
        return first
    router = router_config(first)
    routes = router["structure"]
    name = router.get("parameters", {}).get("default_route")
    return first / routes[next(iter(routes)) if name is None else name][0]


def network_config(core: Any) -> dict[str, Any]:
    """What the config.json of a model's Transformer says: of an adapter, that of its base model."""
    name = (transformer_folder(core.folder) / "config.json").relative_to(core.folder).as_posix()
    found: Path | None = core.file(name)
    return {} if found is None else read_json(found)


class ConfigView:
    """The keys of config.json as attributes, as transformers has them. Changing one changes nothing."""

    def __init__(self, values: dict[str, Any], name: str) -> None:
        self.__dict__.update(values)
        labels = values.get("id2label")
        if labels is not None:
            self.id2label = {int(number): label for number, label in labels.items()}
            self.num_labels = len(self.id2label)
        self._name_or_path = self.name_or_path = name

    def to_dict(self) -> dict[str, Any]:
        """All keys."""
        return {key: value for key, value in vars(self).items() if not key.startswith("_")}


class ModelCard:
    """What libraries ask of a model's card.

    Attributes:
        model_name: what the model was loaded by.
        base_model: the same.
        base_model_revision: the revision that was asked for.
    """

    generate_widget_examples = False

    def __init__(self, name: str, revision: str | None) -> None:
        self.model_name = self.model_id = self.base_model = name
        self.base_model_revision = revision
        self.language: list[str] = []
        self.license: str | None = None

    def set_evaluation_metrics(self, *_: Any, **__: Any) -> None:
        """Does nothing: no card is written."""


class TransformerView:
    """The network of a model's first module, of which the configuration can be read."""

    def __init__(self, config: ConfigView, device: Any, dtype: Any) -> None:
        self.config = config
        self.device = device
        self.dtype = dtype
        self.name_or_path = config.name_or_path

    def __getattr__(self, name: str) -> Any:
        raise UnsupportedAttribute(
            f"auto_model.{name}: votive's weights are packed for its kernels; read them from the folder's "
            "model.safetensors"
        )


class ModuleView:
    """A module of modules.json: its class's name, and what its config.json says."""

    def __init__(self, model: Any, name: str, folder: Path) -> None:
        self._of = model
        self.__class__ = type(name, (ModuleView,), {"__module__": "votive.sentence_transformers.models"})
        self._values = read_json(folder / "config.json") if folder != model._model.folder else {}

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_values", {})
        if name in values:
            return values[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        found: Tokenizer = self._of.tokenizer
        return found

    @property
    def max_seq_length(self) -> int | None:
        """The model's; may be set."""
        length: int | None = self._of.max_seq_length
        return length

    @max_seq_length.setter
    def max_seq_length(self, length: int | None) -> None:
        self._of.max_seq_length = length

    @property
    def auto_model(self) -> TransformerView:
        """The network, without its weights."""
        view: TransformerView = self._of.transformers_model
        return view

    model = auto_model

    @property
    def config(self) -> ConfigView:
        """What config.json says."""
        found: ConfigView = self._of.config
        return found

    def get_word_embedding_dimension(self) -> int:
        """Width of a token's hidden state, or of a static embedding's row."""
        width: int | None = getattr(self._of.config, "hidden_size", None)
        return self._of.encode("", output_value="token_embeddings").shape[1] if width is None else width

    get_embedding_dimension = get_sentence_embedding_dimension = get_word_embedding_dimension

    def get_config_dict(self) -> dict[str, Any]:
        """What the module's config.json says."""
        return dict(self._values)


def views_of(model: Any) -> list[ModuleView]:
    """The modules in their order; of a plain folder a Transformer, and for an embedding model the pooling after it."""
    folder = model._model.folder
    listed = read_json(folder / "modules.json")
    if listed:
        return [ModuleView(model, entry["type"].rpartition(".")[2], folder / entry["path"]) for entry in listed]
    names = ["Transformer", "Pooling"] if hasattr(model, "encode") else ["Transformer"]
    return [ModuleView(model, name, folder) for name in names]

"""What `SentenceTransformer` and `CrossEncoder` have in common beside loading: everything that computes nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from votive._model import Model
from votive.backend import is_device
from votive.sentence_transformers._log import logger, warn_once
from votive.sentence_transformers._modules import (
    ConfigView,
    ModelCard,
    ModuleView,
    TransformerView,
    network_config,
    views_of,
)
from votive.sentence_transformers._saving import save
from votive.sentence_transformers._tokenizer import Tokenizer, preprocessed
from votive.sentence_transformers._unsupported import TRAINING, Unsupported

if TYPE_CHECKING:
    from typing_extensions import Self


Pool = dict[str, Any]


class DeviceName(str):
    """A device as programs ask for it without torch: `model.device.type`, and wherever torch takes a str."""

    @property
    def type(self) -> str:
        """What kind of device: "cpu", "cuda" or "mps"."""
        return self.partition(":")[0]

    @property
    def index(self) -> int | None:  # type: ignore[override]
        """Its number; None for the only one."""
        number = self.partition(":")[2]
        return int(number) if number else None


class SharedMethods:
    """Mixed into a subclass of `Embedder` or `Reranker`."""

    backend = "torch"
    trust_remote_code = False
    module_kwargs: dict[str, Any] | None = None

    # What the mixin is mixed with has.
    _model: Any
    _arguments: dict[str, Any]
    _prompts: dict[str, str]
    _set_option: Any
    model_type: str
    prompts: Any
    default_prompt_name: Any

    def _adopt(self, core: Any) -> None:
        given = self._arguments["max_seq_length"]
        if given is not None:
            self._arguments = self._arguments | {"max_seq_length": within_positions(given, core)}
        super()._adopt(core)  # type: ignore[misc]

    # More than the model has positions for is what it has.
    @Model.max_seq_length.setter  # type: ignore[attr-defined, untyped-decorator]
    def max_seq_length(self, length: int | None) -> None:
        within = None if length is None else within_positions(length, self._model)
        Model.max_seq_length.fset(self, within)  # type: ignore[attr-defined]

    def _finish_loading(
        self,
        prompts: dict[str, str | None] | None,
        default_prompt_name: str | None,
        config_kwargs: dict[str, Any] | None,
    ) -> None:
        """Says what was loaded, and takes what is known only then: prompts without a text, and which is the default.

        What was given of `config_kwargs` is kept for `config`.

        Raises:
            ValueError: there is no prompt `default_prompt_name`.
        """
        for prompt_name in prompts or {}:
            self._prompts.setdefault(prompt_name, "")
        name, kind = self._arguments["model_name_or_path"], self.model_type
        if (self._model.folder / "modules.json").exists():
            logger.info("Loading %s model from %s.", kind, name)
        else:
            logger.info("No modules.json found for %s, initializing a new %s model.", name, kind)
        if config_kwargs:
            self._set_option("config_kwargs", config_kwargs)
        if default_prompt_name is None:
            return
        if default_prompt_name not in self._prompts:
            raise ValueError(
                f"Default prompt name {default_prompt_name!r} not found in the configured prompts dictionary with keys "
                f"{list(self._prompts)!r}."
            )
        self.default_prompt_name = default_prompt_name

    def _resolve_prompt(self, prompt: str | None, prompt_name: str | None) -> str:
        if prompt is not None:
            if prompt_name is not None:
                logger.warning(
                    "Provide either a `prompt`, a `prompt_name`, or neither, but not both. "
                    "Ignoring the `prompt_name` in favor of `prompt`."
                )
            return prompt
        if prompt_name is None:
            return self.prompts.get(self.default_prompt_name, "") if self.default_prompt_name else ""
        try:
            return self.prompts[prompt_name]
        except KeyError:
            raise ValueError(
                f"Prompt name {prompt_name!r} not found in the configured prompts dictionary with keys "
                f"{list(self.prompts)!r}."
            ) from None

    @property
    def device(self) -> Any:
        """What computes: a `torch.device` where torch was imported, else a str with `type` and `index`."""
        name = str(self._model.device).replace("metal", "mps")
        torch = sys.modules.get("torch")
        return DeviceName(name) if torch is None else torch.device(name)

    _target_device = device

    @property
    def dtype(self) -> Any:
        """Type of the weights: a `torch.dtype` where torch was imported, else its name."""
        torch = sys.modules.get("torch")
        return self._model.dtype if torch is None else getattr(torch, self._model.dtype)

    def _check_device(self, device: Any) -> None:
        wanted = None if device is None else str(device).replace("mps", "metal")
        if wanted not in (None, "auto", self._arguments["device"]) and not is_device(wanted, self._model.device):
            raise Unsupported(
                f"device={str(device)!r}: the model is on {self._model.device!r} and stays there; load another one for "
                f"{str(device)!r}"
            )

    def to(self, device: Any = None, *_: Any, **kwargs: Any) -> Self:
        """The model itself, where that is its device and type already.

        Raises:
            Unsupported: it is another one.
        """
        for wanted in (device, kwargs.get("device"), kwargs.get("dtype")):
            if wanted is None:
                continue
            if type(wanted).__name__ == "dtype":
                if wanted != self.dtype:
                    raise Unsupported(f"to({wanted}): give the type as dtype= when the model is loaded")
            else:
                self._check_device(wanted)
        return self

    def cpu(self) -> Self:
        """As `to("cpu")`."""
        return self.to("cpu")

    def cuda(self, device: int | None = None) -> Self:
        """As `to("cuda")`."""
        return self.to("cuda" if device is None else f"cuda:{device}")

    def eval(self) -> Self:
        """The model itself: it never trains."""
        return self

    def train(self, mode: bool = True) -> Self:
        """The model itself, with False.

        Raises:
            Unsupported: `mode` is True.
        """
        if mode:
            raise Unsupported(f"train: {TRAINING}")
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """The model itself, with False.

        Raises:
            Unsupported: gradients are asked for.
        """
        if requires_grad:
            raise Unsupported(f"requires_grad_: {TRAINING}")
        return self

    def share_memory(self) -> Self:
        """The model itself: threads share it, and processes share the pages of its files."""
        return self

    def float(self) -> Self:
        """The model itself, where its weights are float32.

        Raises:
            Unsupported: they are not.
        """
        if self._model.dtype != "float32":
            raise Unsupported("float: give dtype='float32' when the model is loaded")
        return self

    def half(self) -> Self:
        """Refused: `dtype="float16"` when the model is loaded does it."""
        raise Unsupported("half: give dtype='float16' when the model is loaded")

    def bfloat16(self) -> Self:
        """Refused: `dtype="bfloat16"` when the model is loaded does it."""
        raise Unsupported("bfloat16: give dtype='bfloat16' when the model is loaded")

    def compile(self, *_: Any, **__: Any) -> None:
        """Does nothing: the engine is compiled."""
        logger.info("compile: votive's engine is compiled")

    def _refuse_training(self, *_: Any, **__: Any) -> Any:
        raise Unsupported(TRAINING)

    fit = old_fit = merge = smart_batching_collate = gradient_checkpointing_enable = _refuse_training
    add_adapter = load_adapter = set_adapter = enable_adapters = disable_adapters = delete_adapter = _refuse_training

    def _refuse_hub(self, *_: Any, **__: Any) -> Any:
        raise Unsupported(
            "votive writes nothing to the hub: save the model, and upload its folder with huggingface_hub"
        )

    push_to_hub = save_to_hub = _refuse_hub

    def _refuse_weights(self, *_: Any, **__: Any) -> Any:
        raise Unsupported(
            "votive's weights are packed for its kernels; read them from the folder's model.safetensors, or load the "
            "model with sentence-transformers"
        )

    parameters = named_parameters = state_dict = load_state_dict = forward = __call__ = _refuse_weights

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, with the methods that programs use of transformers' ones."""
        return Tokenizer(self)

    @tokenizer.setter
    def tokenizer(self, _: Any) -> None:
        raise Unsupported("tokenizer: it is read from the model's folder; change it there")

    processor = tokenizer

    @property
    def config(self) -> ConfigView:
        """What config.json says, as attributes."""
        values = network_config(self._model)
        values |= self._arguments.get("assigned", {}).get("config_kwargs", {})
        return ConfigView(values, str(self._arguments["model_name_or_path"]))

    @property
    def transformers_model(self) -> TransformerView:
        """The network, without its weights."""
        return TransformerView(self.config, self.device, self.dtype)

    @property
    def model_card_data(self) -> ModelCard:
        """What libraries ask of a model's card: its name, and that of the model it is."""
        return ModelCard(str(self._arguments["model_name_or_path"]), self._arguments["revision"])

    def _views(self) -> list[ModuleView]:
        return views_of(self)

    def __len__(self) -> int:
        return len(self._views())

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[ModuleView]:
        return iter(self._views())

    def __getitem__(self, index: int) -> ModuleView:
        return self._views()[index]

    def modules(self) -> Iterator[ModuleView]:
        """Views of the modules that modules.json lists."""
        return iter(self)

    def _first_module(self) -> ModuleView:
        return self[0]

    def _last_module(self) -> ModuleView:
        return self[-1]

    def get_backend(self) -> str:
        """Always "torch", whose results these are."""
        return self.backend

    def get_model_kwargs(self) -> list[str]:
        """Further arguments that the model's modules take: none."""
        return []

    @property
    def modalities(self) -> list[str]:
        """Kinds of inputs that the model takes: text alone."""
        return ["text"]

    def supports(self, modality: Any) -> bool:
        """Whether it takes inputs of that kind: "text" alone."""
        return modality in self.modalities

    def save(
        self,
        path: str | None,
        model_name: str | None = None,
        create_model_card: bool = True,
        train_datasets: list[str] | None = None,
        safe_serialization: bool = True,
    ) -> None:
        """Copies the model's folder to `path`, with prompts, lengths and the rest as they are set now.

        Args:
            path: a folder, which is made; None for nothing.
            model_name: nothing happens: no card is written.
            create_model_card: False leaves README.md out.
            train_datasets: nothing happens.
            safe_serialization: only True; weights are copied as they are.

        Raises:
            OSError: a file cannot be written.
            Unsupported: not `safe_serialization`.
        """
        if not safe_serialization:
            raise Unsupported("safe_serialization=False: weights are copied as they are; leave it out")
        save(self, path, create_model_card)

    save_pretrained = save

    def evaluate(self, evaluator: Any, output_path: str | None = None) -> Any:
        """What `evaluator(self, output_path)` gives; the folder is made where it is not there."""
        if output_path is not None:
            os.makedirs(output_path, exist_ok=True)
        return evaluator(self, output_path)

    def start_multi_process_pool(self, target_devices: list[Any] | None = None) -> Pool:
        """A pool without processes: one model uses all cores of a machine, and shares them between callers."""
        logger.info("start_multi_process_pool: one model uses all cores, so that no processes are started")
        return {"input": None, "output": None, "processes": []}

    @staticmethod
    def stop_multi_process_pool(pool: Pool) -> None:
        """Does nothing."""

    @staticmethod
    def _check_chunk_size(chunk_size: int | None) -> None:
        if chunk_size is not None and chunk_size <= 0:
            raise ValueError(f"chunk_size must be a positive integer, got {chunk_size}.")

    def _length_of_call(self, processing_kwargs: dict[str, Any] | None) -> int | None:
        """The most tokens that a call's `processing_kwargs` ask for; None where they ask for none.

        Raises:
            Unsupported: they ask for something else.
        """
        if not processing_kwargs:
            return None
        wanted = dict(processing_kwargs.get("text", {}))
        length = wanted.pop("max_length", None)
        wanted.pop("padding", None)
        # Texts are cut, as they are by default.
        if wanted.get("truncation"):
            del wanted["truncation"]
        if others := [name for name in processing_kwargs if name != "text"] + list(wanted):
            raise Unsupported(f"processing_kwargs: {others}; only the max_length of 'text' can be given")
        return None if length is None else self._model.max_length("max_length", length)

    def preprocess(self, inputs: Any, prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Padded ids, types and mask of texts, or of pairs of them, `[texts, most tokens]` each.

        Raises:
            Unsupported: `kwargs` has anything but `task`.
        """
        if others := [name for name in kwargs if name != "task"]:
            raise Unsupported(f"preprocess: {others} are not supported; set max_seq_length, or leave them out")
        return preprocessed(self, list(inputs), prompt or "")

    def tokenize(self, texts: Any, **kwargs: Any) -> dict[str, Any]:
        """`preprocess` by its older name."""
        warn_once("The `tokenize` method is deprecated, please use `preprocess` instead.")
        return self.preprocess(texts, **kwargs)


def within_positions(length: int, core: Any) -> int:
    """The most tokens of an input: no more than the network has positions for, which is said."""
    most: int | None = core.position_limit
    if most is None or length <= most:
        return length
    logger.warning("max_seq_length: the model has %d positions, so that %d becomes %d", most, length, most)
    return most

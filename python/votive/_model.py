"""What `Embedder` and `Reranker` have in common: loading, sharing between threads and processes, prompts."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from votive import _core
from votive._arguments import check_constructor, check_count
from votive._packages import packaged
from votive._progress import DownloadBar
from votive.backend import device_after, is_device, on_device

if TYPE_CHECKING:
    from typing_extensions import Self

    from votive.report import Report

_logger = logging.getLogger("votive")

# What the calls within `profile` are recorded in.
recorder: ContextVar[_core.Profile | None] = ContextVar("recorder", default=None)

Core = TypeVar("Core", _core.Embedder, _core.Reranker)
R = TypeVar("R")

_OPTIONS = (
    "model_name_or_path",
    "device",
    "dtype",
    "revision",
    "cache_folder",
    "local_files_only",
    "token",
    "num_threads",
    "max_batch_tokens",
    "max_batch_size",
    "max_wait_ms",
    "max_queue",
    "max_concurrency",
)


class Model(Generic[Core]):
    """A loaded model, or the arguments to load it with in a process that it was pickled for."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._arguments = arguments
        check_constructor(arguments)
        self._start()
        self._load()

    def _start(self) -> None:
        self._loading = threading.Lock()
        self._process = os.getpid()
        self._loaded: Core | None = None
        # The one that was asked for, until it fails.
        self._device: str = self._arguments["device"]
        self.last_report: Report | None = None

    def _new(self, options: dict[str, Any]) -> Core:
        """The core of the class, loaded."""
        raise NotImplementedError

    def _take_over(self, core: Core) -> None:
        """Checks the arguments against what the files say, and keeps what holds."""
        raise NotImplementedError

    def _open(self, device: str) -> Core:
        """The core on that device or, with `fallback`, on the first one after it that does not fail."""
        given = self._arguments
        options = {name: given[name] for name in _OPTIONS}
        options |= {"max_seq_length": given["max_seq_length"], "packaged": packaged, "download": DownloadBar()}
        options["refuse_when_full"] = given["when_full"] == "raise"

        def new(device: str) -> Core:
            core, self._device = self._new(options | {"device": device}), device
            return core

        return on_device(device, given["fallback"], new)

    def _load(self) -> Core:
        given = self._arguments
        core = self._open(self._device)
        _logger.info("%s: from %s, folder %s", given["model_name_or_path"], _origin(core), core.folder)
        prompts = core.prompts | (given["prompts"] or {})
        default_prompt_name = given["default_prompt_name"] or core.default_prompt_name
        if default_prompt_name is not None and default_prompt_name not in prompts:
            raise ValueError(f"default_prompt_name: {default_prompt_name!r} is not one of {sorted(prompts)}")
        self._take_over(core)
        self._prompts: dict[str, str] = prompts
        self._default_prompt_name: str | None = default_prompt_name
        self._lasting_recorder: _core.Profile | None = None
        if os.environ.get("VOTIVE_PROFILE") == "1":
            from votive.profile import report_at_exit

            name = given["model_name_or_path"]
            self._lasting_recorder = report_at_exit(name, core.num_threads, core.dtype, core.kernels)
        # Last: whoever sees it may use all of them.
        self._loaded = core
        return core

    @property
    def _model(self) -> Core:
        core = self._loaded
        if core is None:
            with self._lock():
                core = self._loaded or self._load()
        return core

    def _lock(self) -> threading.Lock:
        if self._process != os.getpid():
            # Forked while another thread was loading: that thread, which holds the lock, is not in this process.
            self._loading, self._process = threading.Lock(), os.getpid()
        return self._loading

    def _run(self, call: Callable[[Core], R]) -> R:
        """What a call of the core gives; with `fallback`, where its device fails, that of a core on the next device."""
        while True:
            core = self._model
            try:
                return call(core)
            except _core.DeviceError as error:
                if not self._arguments["fallback"]:
                    raise
                with self._lock():
                    # Of several calls that fail, the first one sees to it.
                    if self._loaded is core:
                        self._loaded = self._open(device_after(core.device, error))

    def __getstate__(self) -> dict[str, Any]:
        return self._arguments

    def __setstate__(self, arguments: dict[str, Any]) -> None:
        self._arguments = dict(arguments)
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        # As after unpickling: the weights are freed, and loaded again if somebody still wants them.
        self._loaded = None

    def _describe(self, core: Core) -> str:
        """What `repr` says beside what all models have."""
        raise NotImplementedError

    def __repr__(self) -> str:
        kind, name = type(self).__name__, self._arguments["model_name_or_path"]
        core = self._loaded
        if core is None:
            return f"{kind}({name!r}, not loaded)"
        return (
            f"{kind}({name!r}, from {_origin(core)}, folder={str(core.folder)!r}, device={self.device!r}, "
            f"dtype={core.dtype!r}, kernels={core.kernels!r}, num_threads={core.num_threads}, "
            f"{self._describe(core)}, max_seq_length={core.max_seq_length})"
        )

    @property
    def device(self) -> str:
        """The device that computes: "cpu", "metal" or "cuda:N"."""
        return self._model.device

    @property
    def dtype(self) -> str:
        """How matrices are held and multiplied: "float32", "bfloat16", "float16" or "int8"."""
        return self._model.dtype

    @property
    def num_threads(self) -> int:
        """Threads that compute."""
        return self._model.num_threads

    @property
    def prompts(self) -> dict[str, str]:
        """Texts to put before others, by name. May be changed."""
        _ = self._model
        return self._prompts

    @property
    def default_prompt_name(self) -> str | None:
        """Which of `prompts` is used when none is given."""
        _ = self._model
        return self._default_prompt_name

    @property
    def max_seq_length(self) -> int | None:
        """The most tokens of an input, special ones included; None for no limit. Longer ones are cut. May be set."""
        return self._model.max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, length: int) -> None:
        check_count("max_seq_length", length)
        self._model.max_seq_length = length
        self._arguments["max_seq_length"] = length

    def _resolve(self, prompt_name: str | None, prompt: str | None) -> str:
        """The text to put before others."""
        if prompt is None:
            name = self.default_prompt_name if prompt_name is None else prompt_name
            if name is None:
                return ""
            if name not in self.prompts:
                raise ValueError(f"prompt_name: {name!r} is not one of {sorted(self.prompts)}")
            prompt = self.prompts[name]
        if not isinstance(prompt, str):
            raise TypeError(f"prompt: expected a str, found {type(prompt).__name__}")
        return prompt

    def _check_device(self, device: str | None) -> None:
        if device not in (None, "auto", self._arguments["device"]) and not is_device(device, self.device):
            kind = type(self).__name__
            raise ValueError(f"device: the model was loaded for {self.device!r}; load another {kind} for {device!r}")

    def _recorder(self) -> _core.Profile | None:
        return recorder.get() or self._lasting_recorder


def _origin(core: _core.Model) -> str:
    kind, detail = core.origin
    return kind if detail is None else f"{kind} {detail}"

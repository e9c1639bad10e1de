"""What `Embedder` and `Reranker` have in common: loading, sharing between threads and processes, prompts."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from votive import _core
from votive._arguments import check_count, check_text
from votive._display import html_table
from votive._engines import note_on_threads
from votive._hints import missing_attribute
from votive._living import Weights, being_shared, find, keep, one_at_a_time, register
from votive._options import OPTIONS, check_options, core_options, with_credential
from votive._packages import packaged
from votive._progress import DownloadBar
from votive._tracebacks import short_tracebacks
from votive._warnings import caller_stacklevel
from votive.backend import Backend, device_after, is_device, on_device
from votive.stats import Memory, Stats, read

if TYPE_CHECKING:
    from typing_extensions import Self

    from votive.report import Report

_logger = logging.getLogger("votive")

# Told of the calls within `Embedder.profile`.
active_profile: ContextVar[_core.Profile | None] = ContextVar("active_profile", default=None)

# Below, int8 is the better choice: it fits in caches, and rounding errors are averaged over fewer weights.
_MIN_INT4_PARAMETERS = 100_000_000

Core = TypeVar("Core", _core.Embedder, _core.Reranker)


@short_tracebacks
class Model(Generic[Core]):
    """A loaded model, or the arguments to load it with in a process that it was pickled for."""

    # What the constructor calls the most tokens of an input.
    _length_argument = "max_seq_length"
    # Where it is written as it is packed; nowhere, except by `quantize_model`.
    _panel_folder: str | None = None

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._arguments = with_credential(check_options(arguments))
        self._start()
        self._shared = being_shared.get()
        if self._shared:
            self._find_or_load()
        else:
            self._load()

    def _start(self) -> None:
        self._loading = threading.Lock()
        self._process = os.getpid()
        self._loaded: Core | None = None
        self._closed = False
        # Whether it is one of `votive.shared`, or was pickled as one.
        self._shared = False
        self._stats = _core.Stats()
        self.last_report: Report | None = None
        # What its files do not say: each call's report repeats it.
        self._assumptions: tuple[str, ...] = ()

    def _load_core(self, options: dict[str, Any]) -> Core:
        """The core of the class, loaded."""
        raise NotImplementedError

    def _apply_options(self, core: Core) -> None:
        """Checks the options against what the files say, and keeps what holds."""
        raise NotImplementedError

    def _load_on(self, device: str) -> Core:
        """The core on that device or, with `fallback`, on the first one after it that does not fail."""
        given = self._arguments
        options = (
            {"base": None, "panel_folder": self._panel_folder}
            | core_options(given)
            | {"refuse_when_full": given["when_full"] == "raise"}
        )
        options |= {"stats": self._stats, "packaged": packaged, "download": DownloadBar()}
        return on_device(device, given["fallback"], lambda device: self._load_core(options | {"device": device}))

    def _present_weights(self) -> Weights:
        """Those that loading the model would give now."""
        arguments = self._arguments
        others = {name: arguments[name] for name in ("when_full", "fallback", "num_labels") if name in arguments}
        return Weights.of(type(self), core_options(arguments) | others)

    def _load(self) -> Core:
        given = self._arguments
        weights = self._present_weights()
        core = self._load_on(given["device"])
        _logger.info("%s: from %s, folder %s", given["model_name_or_path"], _origin(core), core.folder)
        note = note_on_threads(given["num_threads"])
        if note is not None:
            _logger.info("%s: %s", given["model_name_or_path"], note)
        self._exit_profile: _core.Profile | None = None
        if os.environ.get("VOTIVE_PROFILE") == "1":
            from votive.profile import report_at_exit

            model_name = given["model_name_or_path"]
            self._exit_profile = report_at_exit(model_name, core.num_threads, core.device, core.dtype, core.kernels)
        self._begin(core, weights)
        return core

    def _find_or_load(self) -> Core:
        """The core of another model of this process with equal arguments, else one that is loaded."""
        weights = self._present_weights()
        with one_at_a_time(weights):
            found = find(weights)
            if found is None:
                core = self._load()
            else:
                other, core = found
                # The core counts in these.
                self._stats, self._exit_profile = other._stats, other._exit_profile
                self._begin(core, weights)
        if self._shared:
            keep(self, weights)
        return core

    def _begin(self, core: Core, weights: Weights) -> None:
        """Goes on with a core that is loaded, by the options and settings of this object."""
        given = self._arguments
        self._assumptions = ()
        self._adopt(core)
        self._assume(f"{given['model_name_or_path']!r} {note}" for note in core.notes)
        if core.dtype == "int4" and core.parameters < _MIN_INT4_PARAMETERS:
            message = (
                f"{given['model_name_or_path']} has {core.parameters / 1e6:.3g} million parameters: so small a model "
                "loses more in int4 than in int8, and is no faster; give dtype='int8'"
            )
            warnings.warn(message, UserWarning, stacklevel=caller_stacklevel())
        self._weights = weights
        # Last: a thread that sees it may use all of them.
        self._loaded = core
        register(self)

    def _adopt(self, core: Core) -> None:
        """Takes the options as they were set, else as they were given, else as the core's files have them."""
        given = self._arguments
        self._max_seq_length = core.max_length(self._length_argument, given["max_seq_length"])
        name = self._option("default_prompt_name", core.default_prompt_name)
        assigned = given.get("assigned", {})
        if "prompts" in assigned:
            self._prompts: dict[str, str] = dict(assigned["prompts"])
        else:
            self._prompts = core.prompts | (given["prompts"] or {})
            try:
                self._check_prompt_name("default_prompt_name", name)
            except ValueError as error:
                if name != core.default_prompt_name or given["default_prompt_name"] is not None:
                    raise
                # It was not given as an argument.
                raise _core.ModelError(f"{core.folder}: config_sentence_transformers.json: {error}") from None
        self._default_prompt_name: str | None = name
        self._apply_options(core)

    @property
    def _model(self) -> Core:
        core = self._loaded
        if core is None:
            with self._lock():
                if self._closed:
                    kind, name = type(self).__name__, self._arguments["model_name_or_path"]
                    raise _core.VotiveError(f"the {kind} of {name!r} was closed; load another one")
                core = self._loaded or self._find_or_load()
        return core

    def _lock(self) -> threading.Lock:
        if self._process != os.getpid():
            # Forked while another thread was loading: that thread, which holds the lock, is not in this process.
            self._loading, self._process = threading.Lock(), os.getpid()
        return self._loading

    def _assume(self, assumptions: Iterable[str]) -> None:
        """Keeps what is taken where the files say nothing, and warns of it."""
        for assumption in assumptions:
            self._assumptions += (assumption,)
            warnings.warn(assumption, stacklevel=caller_stacklevel())

    def _fall_back(self, core: Core, error: _core.DeviceError) -> Core:
        """The core to go on with where the device of `core` failed.

        Raises:
            DeviceError: `error`, without `fallback` or after the last device.
        """
        if not self._arguments["fallback"]:
            raise error
        with self._lock():
            # Of several calls that fail, the first one sees to it.
            if self._loaded is core:
                self._loaded = self._load_on(device_after(core.device, error))
            if self._loaded is None:
                raise error
            return self._loaded

    if not TYPE_CHECKING:
        # Type checkers would take every name for one of the class.
        __getattr__ = missing_attribute

    def __getstate__(self) -> dict[str, Any]:
        # Prompts may have been changed where they stand.
        state = self._arguments if self._loaded is None else self._with_option("prompts", dict(self._prompts))
        return state | {"shared": True} if self._shared else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._arguments = with_credential({name: value for name, value in state.items() if name != "shared"})
        self._start()
        self._shared = state.get("shared", False)

    def __copy__(self) -> Self:
        """A model of its own prompts and settings, with the same weights, which never change, and the same threads.

        `stats` counts the calls of both. A copy of a model that was closed is closed.
        """
        new = type(self).__new__(type(self))
        with self._lock():
            vars(new).update(vars(self))
        new._loading, new._process, new.last_report = threading.Lock(), os.getpid(), None
        if new._loaded is not None:
            # All else is replaced when it is set, and never changed.
            new._prompts = dict(self._prompts)
            register(new)
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    def stats(self) -> Stats:
        """What became of all calls of this object: how many, how long, how fast, what failed, what is held.

        See `votive.stats.Stats`. An object begins at zero that was unpickled, or is used after a fork. One that
        found the weights of another in its process counts together with it.
        """
        weights, scratch = self._model.memory
        return read(self._stats, Memory(weights, 0, scratch))

    def reset_stats(self) -> None:
        """Has `stats` begin at zero."""
        _ = self._model
        self._stats.reset()

    def close(self) -> None:
        """Frees the weights, as soon as the calls that are at work end. Calls after it raise a `VotiveError`."""
        with self._lock():
            self._closed = True
            self._loaded = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _properties(self, core: Core) -> dict[str, str]:
        """What `repr` says beside what all models have."""
        raise NotImplementedError

    def __repr__(self) -> str:
        kind, name = type(self).__name__, self._arguments["model_name_or_path"]
        core = self._loaded
        if core is None:
            return f"{kind}({name!r}, {'closed' if self._closed else 'not loaded'})"
        described = ", ".join(f"{name}={value}" for name, value in self._properties(core).items())
        return (
            f"{kind}({name!r}, from {_origin(core)}, folder={str(core.folder)!r}, device={self.device!r}, "
            f"dtype={core.dtype!r}, kernels={core.kernels!r}, num_threads={core.num_threads}, "
            f"{described}, max_seq_length={self._max_seq_length})"
        )

    def _repr_html_(self) -> str | None:
        """The table for notebooks; None, for the `repr` instead, of what is not loaded."""
        core = self._loaded
        if core is None:
            return None
        rows = {
            type(self).__name__: self._arguments["model_name_or_path"],
            "from": _origin(core),
            "folder": str(core.folder),
            "device": f"{self.device}, {core.dtype}, {core.kernels}, {core.num_threads} threads",
            **self._properties(core),
            "max_seq_length": str(self._max_seq_length),
            "prompts": ", ".join(map(repr, self._prompts)) or "none",
        }
        return html_table((), rows.items())

    @property
    def device(self) -> str:
        """The device that computes: "cpu", "metal", "cuda:N", "vulkan:N" and so on."""
        return self._model.device

    @property
    def dtype(self) -> str:
        """How matrices are held and multiplied: "float32", "bfloat16", "float16", "int8" or "int4"."""
        return self._model.dtype

    @property
    def num_threads(self) -> int:
        """Threads that compute."""
        return self._model.num_threads

    @property
    def prompts(self) -> dict[str, str]:
        """Texts to put before others, by name. May be changed, and set."""
        _ = self._model
        return self._prompts

    @prompts.setter
    def prompts(self, prompts: dict[str, str]) -> None:
        checked = OPTIONS["prompts"].check("prompts", prompts)
        _ = self._model
        self._prompts = {} if checked is None else checked

    @property
    def default_prompt_name(self) -> str | None:
        """Which of `prompts` is used when none is given. May be set; None for none."""
        _ = self._model
        return self._default_prompt_name

    @default_prompt_name.setter
    def default_prompt_name(self, name: str | None) -> None:
        name = OPTIONS["default_prompt_name"].check("default_prompt_name", name)
        _ = self._model
        self._check_prompt_name("default_prompt_name", name)
        self._set_option("default_prompt_name", name)
        self._default_prompt_name = name

    @property
    def max_seq_length(self) -> int | None:
        """The most tokens of an input, special ones included; None for no limit. Longer ones are cut.

        May be set; None, as for the constructor, for what the model's files say.
        """
        _ = self._model
        return self._max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, length: int | None) -> None:
        check_count("max_seq_length", length)
        self._max_seq_length = self._model.max_length("max_seq_length", length)
        self._arguments = self._arguments | {"max_seq_length": length}

    def _set_option(self, name: str, value: Any) -> None:
        """Keeps what was set, for copies and pickles: there None is a value, and not what the files say."""
        self._arguments = self._with_option(name, value)

    def _with_option(self, name: str, value: Any) -> dict[str, Any]:
        return self._arguments | {"assigned": self._arguments.get("assigned", {}) | {name: value}}

    def _option(self, name: str, of_files: Any) -> Any:
        """The option as it was set, else as it was given, else as the model's files have it."""
        return self._arguments.get("assigned", {}).get(name, self._arguments[name] or of_files)

    def _check_prompt_name(self, argument: str, name: str | None) -> None:
        if name is not None and name not in self._prompts:
            raise ValueError(f"{argument}: {name!r:.200} is not one of {sorted(self._prompts, key=str)}")

    def _prompt_text(self, prompt_name: str | None, prompt: str | None) -> str:
        """The text to put before others."""
        if prompt is None:
            name = self.default_prompt_name if prompt_name is None else check_text("prompt_name", prompt_name)
            if name is None:
                return ""
            self._check_prompt_name("prompt_name", name)
            # They may be changed, and so hold anything by now.
            return check_text(f"prompts[{name!r}]", self.prompts[name])
        return check_text("prompt", prompt)

    def _check_device(self, device: str | Backend | None) -> None:
        if device not in (None, "auto", self._arguments["device"]) and not is_device(device, self.device):
            kind = type(self).__name__
            raise ValueError(f"device: the model was loaded for {self.device!r}; load another {kind} for {device!r}")

    def _current_profile(self) -> _core.Profile | None:
        return active_profile.get() or self._exit_profile


def _origin(core: _core.Model) -> str:
    kind, detail = core.origin
    return kind if detail is None else f"{kind} {detail}"

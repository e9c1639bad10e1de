"""Which devices there are, what they are called, and what is said of those that are absent."""

import html
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from votive import Backend, DeviceError, Embedder, EmbeddingStore, Reranker, _core, available_backends, get_backend

FIXTURES = Path(__file__).parent / "fixtures"
RERANKER = str(FIXTURES / "bert_rerank")
TEXTS = ["a candle", "another one", "wax with a wick"]

no_metal = pytest.mark.skipif(sys.platform == "darwin", reason="a Mac may have Metal")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the device "fake", with the faults that it is given."""
    return lambda faults="": monkeypatch.setenv("VOTIVE_FAKE_DEVICE", faults)


def without_cuda() -> bool:
    return "cuda" not in get_backend("cpu").built_with


class TestTheCpu:
    @pytest.mark.parametrize(
        "arguments",
        [
            ("cpu",),
            ("numpy",),
            ("cpu", "cpu"),
            ("numpy", "cpu"),
            ("torch", "cpu"),
            ("auto", "cpu"),
            (None, "cpu"),
            ("cpu", None),
            ("cpu", "auto"),
        ],
    )
    def test_has_many_names(self, arguments: tuple) -> None:
        backend = get_backend(*arguments)
        assert (backend.name, backend.device) == ("cpu", "cpu")

    def test_says_what_it_is(self) -> None:
        backend = get_backend("cpu")
        assert backend.dtypes == ("float32", "bfloat16", "float16", "int8", "int4")
        assert backend.device_name is None or backend.device_name.strip()
        assert backend.memory is None or backend.memory > 2**28
        assert backend == get_backend("cpu")
        assert len({backend, get_backend("cpu")}) == 1
        assert pickle.loads(pickle.dumps(backend)) == backend

    def test_is_always_available(self) -> None:
        backends = available_backends()
        assert backends[-1] == get_backend("cpu")
        names = [backend.name for backend in backends] + list(backends[-1].unavailable)
        assert {"cpu", "cuda", "metal"} < set(names) <= {"cpu", "cuda", "metal", "vulkan", "dx12", "wgpu"}

    def test_is_shown_in_a_notebook(self) -> None:
        shown = get_backend("cpu")._repr_html_()
        assert re.search(r"<tr><th[^>]*>backend</th><td[^>]*>cpu</td></tr>", shown)
        assert "int8" in shown
        strange = Backend("cuda", "cuda:0", "<b>", None, ("float32",), ("cuda",))
        assert ">&lt;b&gt;</td>" in strange._repr_html_()
        assert "not known before it is used" in strange._repr_html_()

    def test_is_shown_as_text(self) -> None:
        text = repr(Backend("cuda", "cuda:1", "NVIDIA T4", 16 * 2**30, ("float32",), ("cuda",)))
        assert text.startswith("Backend('cuda', device='cuda:1', device_name='NVIDIA T4', memory='16.0 GiB', ")
        assert "unavailable={" in text

    def test_all_of_them_are_a_list_and_a_table(self) -> None:
        backends = available_backends()
        assert isinstance(backends, list)
        assert backends == [*backends]
        lines = repr(backends).splitlines()
        assert re.split(" {2,}", lines[0]) == ["device", "name", "memory", "types of weights"]
        # A terminal of 80 columns has no room for the last one.
        assert re.search(r"^cpu .* GiB  float32, bfloat16, float16, int8,", repr(backends), re.MULTILINE)
        missing = [f"no {name}: {reason}" for name, reason in backends[-1].unavailable.items()]
        assert lines[1 + len(backends) :] == missing
        shown = html.unescape(backends._repr_html_())
        assert shown.count("<tr>") == 1 + len(backends)
        assert all(line in shown for line in missing)


class TestAbsentDevices:
    @no_metal
    @pytest.mark.parametrize(
        "arguments", [("metal",), ("mps",), ("mlx",), ("torch", "mps"), (None, "metal"), ("mlx", "mps")]
    )
    def test_metal(self, arguments: tuple) -> None:
        with pytest.raises(DeviceError, match=r'^device "(metal|mps|mlx)": only macOS has it; available: .*cpu$'):
            get_backend(*arguments)

    @pytest.mark.parametrize(
        "arguments",
        [("cuda",), ("cuda:9",), ("torch", "cuda"), ("cuda", "cuda:1"), ("cuda:1", "cuda"), (None, "cuda:0")],
    )
    @pytest.mark.skipif(not without_cuda(), reason="built with CUDA")
    def test_cuda(self, arguments: tuple) -> None:
        with pytest.raises(
            DeviceError, match=r'^device "cuda(:\d)?": not built in .*feature "cuda".*; available: .*cpu$'
        ):
            get_backend(*arguments)
        assert "feature" in get_backend("cpu").unavailable["cuda"]

    def test_a_gpu_of_that_number(self) -> None:
        with pytest.raises(DeviceError, match=r'^device "vulkan:9": (no driver offers a GPU|there is .*); available: '):
            get_backend("vulkan:9")

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    @pytest.mark.skipif(
        Path("/dev/nvidiactl").exists() or any(Path("/sys/class/drm").glob("renderD*")),
        reason='there may be a GPU that "auto" measures',
    )
    def test_drivers_are_not_loaded_before_they_are_asked_for(self) -> None:
        program = f"""
import votive
votive.Embedder({RERANKER.replace("bert_rerank", "bert_40")!r}).encode(["a"])
votive.EmbeddingStore(dimension=4)
try:
    votive.get_backend("metal")
except votive.DeviceError:
    assert votive.get_backend().device == "cpu"
print([line for line in open("/proc/self/maps") if "vulkan" in line.lower()])
"""
        environment = {name: value for name, value in os.environ.items() if name != "VOTIVE_DEVICE"}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("[]\n", "")

    def test_a_driver_that_computes_on_the_cpu_is_not_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("VOTIVE_SOFTWARE_GPU", raising=False)
        for gpu in _core.gpus():
            if gpu["kind"] == "software":
                assert "VOTIVE_SOFTWARE_GPU=1 allows it" in gpu["unusable"]
                with pytest.raises(DeviceError, match="computes on the CPU"):
                    get_backend(gpu["device"])
                assert gpu["device"] not in [backend.device for backend in available_backends()]

    @pytest.mark.skipif(without_cuda(), reason="built without CUDA")
    def test_cuda_that_is_built_in_says_what_is_missing(self) -> None:
        with pytest.raises(
            DeviceError, match=r'^device "cuda:99": (no NVIDIA driver|.* devices?, cuda:0|.*cannot be load)'
        ):
            get_backend("cuda:99")

    @no_metal
    def test_an_object_says_the_same(self, folder: str) -> None:
        message = r'^device "metal": only macOS has it; available: .*cpu$'
        with pytest.raises(DeviceError, match=message):
            Embedder(folder, device="metal")
        with pytest.raises(DeviceError, match=message):
            Reranker(RERANKER, device="metal")
        with pytest.raises(DeviceError, match=message):
            EmbeddingStore(backend="metal")


WRONG: dict[str, tuple[tuple, type[Exception], str]] = {
    "unknown": (("gpu",), ValueError, "^name: 'gpu' is not a device; accepted: auto, cpu, .*mlx.*torch.*cuda:N"),
    "unknown device": (("torch", "xla"), ValueError, "^device: 'xla' is not a device; accepted: auto, cpu"),
    "no number": (("cuda:",), ValueError, "^name: 'cuda:' is not a device"),
    "negative": (("cuda:-1",), ValueError, "^name: 'cuda:-1' is not a device"),
    "digits of another script": (("cuda:\u0661",), ValueError, "is not a device"),
    "too large": (("cuda:99999999999999999999",), ValueError, "^device: .*99999999999999999999.* is not a device"),
    "empty": (("",), ValueError, "^name: '' is not a device"),
    "case": (("CPU",), ValueError, "^name: 'CPU' is not a device"),
    "two devices": (("metal", "cuda"), ValueError, "^name, device: 'metal' and 'cuda' are two devices"),
    "two numbers": (("cuda:1", "cuda:0"), ValueError, "'cuda:1' and 'cuda:0' are two devices"),
    "the CPU of MLX": (("mlx", "cpu"), ValueError, "'mlx' and 'cpu' are two devices"),
    "fake": (("fake",), ValueError, "^name: 'fake' is not a device"),
    "number": ((0,), TypeError, "^name: expected str, Backend or None, found int"),
    "device that is a number": (("cuda", 0), TypeError, "^device: expected str, Backend or None, found int"),
}


@pytest.mark.parametrize(("arguments", "kind", "message"), WRONG.values(), ids=WRONG)
def test_wrong_names_are_refused(arguments: tuple, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        get_backend(*arguments)


def test_fallback_is_a_bool() -> None:
    with pytest.raises(TypeError, match=r"^fallback: expected a bool, found str"):
        get_backend("cpu", fallback="yes")
    with pytest.raises(TypeError, match=r"^fallback: expected a bool, found int"):
        EmbeddingStore(fallback=1)


class TestTheEnvironment:
    def test_names_the_device_of_auto(self, monkeypatch: pytest.MonkeyPatch, fake: Callable, folder: str) -> None:
        fake()
        monkeypatch.setenv("VOTIVE_DEVICE", "fake")
        assert get_backend().device == get_backend("auto").device == get_backend("torch").device == "fake"
        assert Embedder(folder).device == "fake"
        # What an argument says comes first.
        assert get_backend("cpu").device == Embedder(folder, device="cpu").device == "cpu"

    @pytest.mark.parametrize("value", ["", "auto"])
    def test_may_leave_it_open(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.delenv("VOTIVE_DEVICE", raising=False)
        unset = get_backend()
        monkeypatch.setenv("VOTIVE_DEVICE", value)
        assert get_backend() == unset

    @pytest.mark.skipif(os.environ.get("VOTIVE_PORTABLE") == "1", reason="integers are the kernels' alone")
    @pytest.mark.filterwarnings("ignore:.*loses more in int4:UserWarning")
    @pytest.mark.parametrize("dtype", ["int8", "int4"])
    def test_leaves_integers_to_the_cpu(
        self, monkeypatch: pytest.MonkeyPatch, fake: Callable, folder: str, dtype: str
    ) -> None:
        fake()
        monkeypatch.setenv("VOTIVE_DEVICE", "fake")
        assert Embedder(folder, dtype=dtype).device == "cpu"
        with pytest.raises(ValueError, match=rf"^dtype: {dtype} needs the CPU's kernels; the device is fake"):
            Embedder(folder, device="fake", dtype=dtype)

    def test_must_name_a_device(self, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
        monkeypatch.setenv("VOTIVE_DEVICE", "gpu")
        for make in (get_backend, lambda: Embedder(folder), EmbeddingStore):
            with pytest.raises(ValueError, match=r'^VOTIVE_DEVICE: "gpu" is not a device; accepted: auto, cpu'):
                make()
        assert Embedder(folder, device="cpu").device == "cpu"

    @pytest.mark.skipif(not without_cuda(), reason="built with CUDA")
    def test_is_named_where_its_device_is_absent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VOTIVE_DEVICE", "cuda:1")
        with pytest.raises(DeviceError, match=r'^VOTIVE_DEVICE="cuda:1": not built in .*; available: '):
            get_backend()


class TestABackend:
    def test_is_a_device(self, folder: str) -> None:
        backend = get_backend("cpu")
        assert get_backend(backend) == get_backend(device=backend) == backend
        expected = Embedder(folder, device="cpu").encode(TEXTS)
        model = Embedder(folder, device=backend)
        assert np.array_equal(model.encode(TEXTS, device=backend), expected)
        assert Reranker(RERANKER, device=backend).device == "cpu"
        assert len(EmbeddingStore(backend=backend)) == len(EmbeddingStore(device=backend)) == 0

    def test_is_pickled_by_its_name(self, folder: str) -> None:
        model = Embedder(folder, device=get_backend("cpu"))
        assert model.__getstate__()["device"] == "cpu"
        assert np.array_equal(pickle.loads(pickle.dumps(model)).encode(TEXTS), model.encode(TEXTS))
        store = EmbeddingStore(backend=get_backend("cpu"))
        store.add_embeddings(np.eye(3, dtype=np.float32))
        assert len(pickle.loads(pickle.dumps(store))) == 3

    def test_is_not_the_device_of_another_model(self, fake: Callable, folder: str, model: Embedder) -> None:
        fake()
        with pytest.raises(ValueError, match=r"^device: the model was loaded for 'cpu'"):
            model.encode(TEXTS, device=get_backend("fake"))


def test_a_backend_loads_nothing_heavy(run_python: Callable[..., str]) -> None:
    printed = run_python("import json, sys, votive; votive.get_backend(); print(json.dumps(sorted(sys.modules)))")
    modules = {name.partition(".")[0] for name in json.loads(printed)}
    assert "votive" in modules
    assert not modules & {"numpy", "tqdm", "torch", "ctypes", "subprocess"}


def in_child(work: Callable[[], Any]) -> str:
    """What `work` gives in a forked child, or the error that it raises there."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            found = str(work())
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        os.write(writing, found.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading, encoding="utf-8") as pipe:
        return pipe.read()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
class TestAfterFork:
    def test_a_gpu_object_says_what_to_do(self, fake: Callable, folder: str) -> None:
        fake()
        model = Embedder(folder, device="fake")
        expected = model.encode(TEXTS)
        said = in_child(lambda: model.encode(TEXTS))
        assert said.startswith("DeviceError: fake: was opened before fork()")
        assert "spawn" in said
        assert 'device="cpu"' in said
        assert np.array_equal(model.encode(TEXTS), expected)

    def test_a_new_gpu_object_says_the_same(self, fake: Callable, folder: str) -> None:
        fake()
        Embedder(folder, device="fake")
        assert in_child(lambda: Embedder(folder, device="fake")).startswith(
            "DeviceError: fake: was opened before fork()"
        )

    def test_the_cpu_still_computes(self, fake: Callable, folder: str) -> None:
        fake()
        Embedder(folder, device="fake")
        model = Embedder(folder, device="cpu")
        expected = str(model.encode(TEXTS).sum())
        assert in_child(lambda: model.encode(TEXTS).sum()) == expected

    def test_fallback_goes_on_in_the_child(self, fake: Callable, folder: str) -> None:
        fake()
        model = Embedder(folder, device="fake", fallback=True)

        def work() -> bool:
            with pytest.warns(match=r"was opened before fork\(\).*going on with 'cpu'"):
                found = model.encode(TEXTS)
            return np.array_equal(found, Embedder(folder, device="cpu").encode(TEXTS)) and model.device == "cpu"

        assert in_child(work) == "True"
        assert model.device == "fake"

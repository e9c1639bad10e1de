"""What happens when a device is not there or fails, with and without `fallback`."""

import contextlib
import pickle
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Tiny
from votive import DeviceError, Embedder, EmbeddingStore, FallbackWarning, get_backend

FIXTURES = Path(__file__).parent / "fixtures"

# Of loading, of the first call, and of later ones.
OPERATIONS = [1, 2, 3, 5, 9]
CALLS = 10

LONG = ["a long text that is cut after some tokens"]

pytestmark = pytest.mark.filterwarnings("ignore::votive.TruncationWarning")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the device "fake", with the faults that it is given."""
    return lambda faults="": monkeypatch.setenv("VOTIVE_FAKE_DEVICE", faults)


def load(tiny: Tiny, **options: Any) -> Any:
    return tiny.kind(tiny.folder, device="fake", num_threads=2, **options)


def loaded_and_called(tiny: Tiny, **options: Any) -> tuple[Any, np.ndarray]:
    """A model, and what the last of `CALLS` calls gave."""
    model = load(tiny, **options)
    rows = [tiny.of(model)(tiny.inputs) for _ in range(CALLS)]
    return model, rows[-1]


def fallbacks(warned: pytest.WarningsRecorder) -> list[warnings.WarningMessage]:
    """The warnings of fallback among those that were recorded."""
    return [warning for warning in warned if warning.category is FallbackWarning]


def run(threads: list[threading.Thread]) -> None:
    """Starts them, and waits for them."""
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class TestAFakeDevice:
    def test_computes_what_the_cpu_does(self, fake: Callable, tiny: Tiny, tiny_rows: np.ndarray) -> None:
        fake()
        model = load(tiny)
        assert model.device == "fake"
        assert "device='fake'" in repr(model)
        np.testing.assert_allclose(tiny.of(model)(tiny.inputs), tiny_rows, atol=1e-5)

    def test_has_the_types_of_a_gpu(self, fake: Callable, tiny: Tiny) -> None:
        fake()
        assert get_backend("fake").dtypes == ("float32", "bfloat16", "float16")
        with pytest.raises(ValueError, match=r"^dtype: int8 needs the CPU's kernels; the device is fake"):
            load(tiny, dtype="int8")

    def test_takes_only_faults(self, fake: Callable, tiny: Tiny) -> None:
        fake("explode")
        with pytest.raises(
            ValueError, match=r'^VOTIVE_FAKE_DEVICE: "explode" is no fault; accepted: create, operation:N'
        ):
            load(tiny)


class TestWithoutFallback:
    def test_a_device_that_cannot_be_created(self, fake: Callable, tiny: Tiny) -> None:
        fake("create")
        with pytest.raises(DeviceError, match=r"^fake: cannot be created$"):
            load(tiny)
        with pytest.raises(DeviceError, match=r"^fake: cannot be created$"):
            EmbeddingStore(backend="fake")

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_a_lost_device_stays_lost(self, fake: Callable, tiny: Tiny, operation: int) -> None:
        fake(f"operation:{operation}")
        with pytest.raises(DeviceError, match=f"^fake: lost in operation {operation}$"):
            loaded_and_called(tiny)

    def test_the_object_says_so_at_every_call(self, fake: Callable, tiny: Tiny) -> None:
        fake("operation:4")
        model = load(tiny)
        with contextlib.suppress(DeviceError):
            for _ in range(CALLS):
                tiny.of(model)(tiny.inputs)
        for _ in range(3):
            with pytest.raises(DeviceError, match=r"^fake: lost in operation 4$"):
                tiny.of(model)(tiny.inputs)
        assert model.device == "fake"
        assert model.tokenize(tiny.inputs)
        # A new one has a new device.
        fake()
        assert len(tiny.of(load(tiny))(tiny.inputs)) == len(tiny.inputs)

    def test_arguments_are_not_the_devices_fault(self, fake: Callable, tiny: Tiny) -> None:
        fake()
        model = load(tiny, fallback=True)
        with pytest.raises(ValueError, match=r"lone surrogate"):
            tiny.of(model)([*tiny.inputs, "\ud800" if tiny.kind is Embedder else ["\ud800", "b"]])
        assert model.device == "fake"


class TestWithFallback:
    def test_a_device_that_cannot_be_created(self, fake: Callable, tiny: Tiny, tiny_rows: np.ndarray) -> None:
        fake("create")
        with pytest.warns(FallbackWarning, match=r"^fake: cannot be created; going on with 'cpu'$") as warned:
            model = load(tiny, fallback=True)
        assert len(fallbacks(warned)) == 1
        assert model.device == "cpu"
        assert np.array_equal(tiny.of(model)(tiny.inputs), tiny_rows)

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_the_result_is_the_cpus(self, fake: Callable, tiny: Tiny, tiny_rows: np.ndarray, operation: int) -> None:
        fake(f"operation:{operation}")
        message = f"^fake: lost in operation {operation}; going on with 'cpu'$"
        with pytest.warns(FallbackWarning, match=message) as warned:
            model, rows = loaded_and_called(tiny, fallback=True)
        assert [Path(warning.filename) for warning in fallbacks(warned)] == [Path(__file__)]
        assert model.device == "cpu"
        assert np.array_equal(rows, tiny_rows)

    def test_out_and_streams_are_filled_by_the_cpu(self, fake: Callable, tiny: Tiny, tiny_model: Any) -> None:
        inputs = tiny.differing(40)
        expected = tiny.of(tiny_model)(inputs)
        fake("operation:3")
        out = np.full_like(expected, np.nan)
        model = load(tiny, fallback=True)
        with pytest.warns(FallbackWarning):
            assert tiny.of(model)(iter(inputs), out=out) is not None
        assert np.array_equal(out, expected)

    def test_what_the_user_set_stays(self, fake: Callable, folder: str) -> None:
        fake("operation:3")
        model = Embedder(folder, device="fake", fallback=True)
        model.prompts["mine"] = "mine: "
        model.max_seq_length = 7
        with pytest.warns(FallbackWarning):
            rows = [model.encode(LONG, prompt_name="mine") for _ in range(CALLS)][-1]
        assert (model.device, model.max_seq_length, "mine" in model.prompts) == ("cpu", 7, True)
        assert np.array_equal(rows, Embedder(folder, max_seq_length=7).encode(LONG, prompt="mine: "))

    def test_token_embeddings(self, fake: Callable, folder: str, model: Embedder) -> None:
        fake("operation:2")
        fallen = Embedder(folder, device="fake", fallback=True)
        with pytest.warns(FallbackWarning):
            found = fallen.encode(["a candle"], output_value="token_embeddings")
        assert np.array_equal(found[0], model.encode(["a candle"], output_value="token_embeddings")[0])

    def test_many_callers_are_warned_once(self, fake: Callable, tiny: Tiny, tiny_rows: np.ndarray) -> None:
        fake("operation:6")
        model = load(tiny, fallback=True)
        wrong = []

        def call() -> None:
            for _ in range(5):
                if not np.allclose(tiny.of(model)(tiny.inputs), tiny_rows, atol=1e-5):
                    wrong.append(threading.get_ident())

        threads = [threading.Thread(target=call) for _ in range(4)]
        with pytest.warns(FallbackWarning) as warned:
            run(threads)
        assert len(fallbacks(warned)) == 1
        assert not wrong
        assert model.device == "cpu"

    def test_the_device_of_the_constructor_still_names_the_model(self, fake: Callable, folder: str) -> None:
        fake("create")
        with pytest.warns(FallbackWarning):
            model = Embedder(folder, device="fake", fallback=True)
        assert model.encode("a", device="fake").shape == model.encode("a", device="cpu").shape

    def test_a_pickle_tries_the_device_again(self, fake: Callable, folder: str) -> None:
        fake("create")
        with pytest.warns(FallbackWarning):
            model = Embedder(folder, device="fake", fallback=True)
        fake()
        assert pickle.loads(pickle.dumps(model)).device == "fake"

    def test_warnings_that_are_errors_change_nothing(self, fake: Callable, folder: str) -> None:
        fake("operation:2")
        model = Embedder(folder, device="fake", fallback=True)
        with pytest.raises(FallbackWarning):
            model.encode(["a candle"])
        assert model.device == "fake"

    def test_a_store(self, fake: Callable) -> None:
        fake("create")
        with pytest.warns(FallbackWarning, match=r"going on with 'cpu'") as warned:
            store = EmbeddingStore(backend="fake", fallback=True)
        assert len(fallbacks(warned)) == 1
        store.add_embeddings(np.eye(3, dtype=np.float32))
        assert store.search(np.eye(3, dtype=np.float32)[1], k=1)[1].tolist() == [1]

    def test_a_backend(self) -> None:
        with pytest.warns(FallbackWarning, match=r"; available: .*cpu; going on with 'cpu'$"):
            assert get_backend("cuda:1000", fallback=True).device == "cpu"

    def test_nothing_is_said_where_nothing_fails(self, folder: str) -> None:
        assert Embedder(folder, device="cpu", fallback=True).device == "cpu"
        assert get_backend("cpu", fallback=True).device == "cpu"


class TestOutOfMemory:
    def test_less_at_a_time_succeeds(self, fake: Callable, tiny: Tiny, tiny_model: Any, tiny_rows: np.ndarray) -> None:
        longest = max(len(tokens["input_ids"]) for tokens in tiny_model.tokenize(tiny.inputs))
        fake(f"memory:{longest}")
        model = load(tiny, fallback=True)
        np.testing.assert_allclose(tiny.of(model)(tiny.inputs), tiny_rows, atol=1e-5)
        assert model.last_report.halved > 0
        assert model.device == "fake"

    def test_one_input_may_be_too_much(self, fake: Callable, tiny: Tiny, tiny_rows: np.ndarray) -> None:
        message = r"^fake: out of memory: \d+ tokens, and there is room for 2"
        fake("memory:2")
        model = load(tiny)
        with pytest.raises(DeviceError, match=message):
            tiny.of(model)(tiny.inputs)
        model = load(tiny, fallback=True)
        with pytest.warns(FallbackWarning, match=message):
            rows = tiny.of(model)(tiny.inputs)
        assert np.array_equal(rows, tiny_rows)
        assert model.device == "cpu"


def test_fallback_is_a_bool(folder: str) -> None:
    with pytest.raises(TypeError, match=r"^fallback: expected bool, found str"):
        Embedder(folder, fallback="yes")

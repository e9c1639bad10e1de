"""`votive devices` and `votive check`: what they print, and their exit status."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import votive
import votive.cli
from votive import _core
from votive.cli import check

FIXTURES = Path(__file__).parent / "fixtures"
MODEL = str(FIXTURES / "bert_modules")

pytestmark = pytest.mark.usefixtures("here")


def run_check(*arguments: str, model: str = MODEL) -> int:
    return votive.cli.main(["check", "--model", model, *arguments])


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the set of texts small."""
    monkeypatch.setattr(check, "TEXTS", 20)


class TestDevices:
    def test_what_is_there_and_what_is_not(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert votive.cli.main(["devices"]) == 0
        printed, said = capsys.readouterr()
        assert said == ""
        lines = printed.splitlines()
        assert lines[0].split("  ")[0] == "device"
        assert re.search(r"^cpu +.*float32, bfloat16, float16, int8, int4$", printed, re.MULTILINE)
        for name, reason in votive.get_backend("cpu").unavailable.items():
            assert f"no {name}: {reason}" in lines
        assert lines[-2].startswith("built with: ")
        assert lines[-1] == f"auto: {votive.get_backend().device}"

    def test_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert votive.cli.main(["devices", "--json"]) == 0
        (line,) = capsys.readouterr().out.splitlines()
        found = json.loads(line)
        assert found["auto"] == votive.get_backend().device
        assert found["devices"][-1]["device"] == "cpu"
        assert found["devices"][-1]["dtypes"] == ["float32", "bfloat16", "float16", "int8", "int4"]
        assert found["unavailable"] == votive.get_backend("cpu").unavailable
        assert found["gpus"] == _core.gpus()

    def test_gpus_are_described(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        gpu = {"device": "vulkan:0", "name": "AMD", "driver": "radv 25", "kind": "discrete", "memory_bytes": 2**34}
        more = {"float16": True, "subgroup_lanes": [32, 64], "matrix_units": ["16x16x16 F16 -> F32"], "unusable": None}
        more["not_automatic"] = "is no discrete GPU"
        monkeypatch.setattr(_core, "gpus", lambda: [gpu | more])
        assert votive.cli.main(["devices"]) == 0
        expected = (
            "vulkan:0: AMD, discrete, driver radv 25, computes in float16, subgroups of 32 to 64, matrix units: 16x"
        )
        printed = capsys.readouterr().out
        assert expected in printed
        assert "\nauto does not take vulkan:0: is no discrete GPU\n" in printed

    def test_an_absent_default_is_a_failure(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("VOTIVE_DEVICE", "cuda:1000")
        assert votive.cli.main(["devices"]) == 1
        printed, said = capsys.readouterr()
        assert "cpu" in printed
        assert re.fullmatch(r'votive devices: VOTIVE_DEVICE="cuda:1000": .*; available: .*cpu\n', said)


class TestCheck:
    def test_the_cpu_is_as_good_as_itself(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_check("--device", "cpu") == 0
        printed, said = capsys.readouterr()
        assert said == ""
        lines = printed.splitlines()
        assert re.fullmatch(rf"{re.escape(MODEL)}: 200 texts, [\d,]+ tokens", lines[0])
        assert [re.fullmatch(r"cpu +float32 +[\d,.]+ texts/s", line) is not None for line in lines[1:3]] == [True] * 2
        assert re.fullmatch(r"cosine: mean 1\.0000000, least 1\.0000000 \(text \d+\)", lines[3])
        assert lines[4:] == ["passed: in float32 the least cosine must be 0.99999"]

    @pytest.mark.usefixtures("few")
    @pytest.mark.parametrize(
        ("dtype", "limit"), [("float32", "0.99999"), ("bfloat16", "0.9995"), ("float16", "0.9995")]
    )
    def test_each_type_has_its_limit(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dtype: str, limit: str
    ) -> None:
        monkeypatch.setenv("VOTIVE_FAKE_DEVICE", "")
        assert run_check("--device", "fake", "--dtype", dtype) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[1].split()[:2] == ["fake", dtype]
        assert lines[2].split()[:2] == ["cpu", "float32"]
        assert lines[4] == f"passed: in {dtype} the least cosine must be {limit}"

    @pytest.mark.usefixtures("few")
    def test_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_check("--device", "cpu", "--json") == 0
        (line,) = capsys.readouterr().out.splitlines()
        found = json.loads(line)
        assert (found["model"], found["texts"], found["passed"]) == (MODEL, 20, True)
        assert [(device["device"], device["dtype"]) for device in found["devices"]] == [("cpu", "float32")] * 2
        assert found["cosine"]["limit"] == 0.99999 <= found["cosine"]["least"]

    @pytest.mark.usefixtures("few")
    @pytest.mark.parametrize("wrong", [-1.0, np.nan])
    def test_a_device_that_computes_something_else_fails(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: float
    ) -> None:
        computed = check.encoded
        vectors = []

        def encoded(model: votive.Embedder, texts: list[str]) -> np.ndarray:
            vectors.append(computed(model, texts))
            if len(vectors) == 1:
                vectors[0][7] *= wrong
            return vectors[-1]

        monkeypatch.setattr(check, "encoded", encoded)
        assert run_check("--device", "cpu") == 1
        printed, said = capsys.readouterr()
        assert printed.splitlines()[-1].endswith("(text 7)")
        assert said.startswith("votive check: cpu in float32 is not right: the least cosine must be 0.99999 and is ")
        assert said.count("\n") == 1

    @pytest.mark.usefixtures("few")
    def test_a_device_that_fails(self, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str]) -> None:
        monkeypatch.setenv("VOTIVE_FAKE_DEVICE", "operation:3")
        assert fails("check", "--device", "fake", "--model", MODEL) == "fake: lost in operation 3"

    def test_a_device_that_is_not_there(self, fails: Callable[..., str]) -> None:
        said = fails("check", "--device", "cuda:1000", "--model", MODEL)
        assert re.fullmatch(r'device "cuda:1000": .*; available: .*cpu', said)

    def test_a_device_that_is_none(self, fails: Callable[..., str]) -> None:
        assert fails("check", "--device", "gpu", "--model", MODEL).startswith(
            'device: "gpu" is not a device; accepted: '
        )

    def test_a_type_that_the_device_lacks(self, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str]) -> None:
        monkeypatch.setenv("VOTIVE_FAKE_DEVICE", "")
        said = fails("check", "--device", "fake", "--dtype", "int8", "--model", MODEL)
        assert said.startswith("dtype: int8 needs the CPU's kernels; the device is fake, which takes auto, float32")


def test_other_commands_take_a_device(
    monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.txt").write_text("wax\nwick\n", encoding="utf-8")
    monkeypatch.setenv("VOTIVE_FAKE_DEVICE", "")
    asked = ["--model", MODEL, "--device", "fake"]
    assert votive.cli.main(["encode", *asked, "a.txt", "-o", "a.npy"]) == 0
    expected = votive.Embedder(MODEL, device="cpu").encode(["wax", "wick"])
    np.testing.assert_allclose(np.load("a.npy"), expected, atol=1e-5)
    assert capsys.readouterr().err.startswith("a.npy: 2 x 48 float32; ")
    monkeypatch.setenv("VOTIVE_FAKE_DEVICE", "create")
    assert fails("encode", *asked, "a.txt", "-o", "b.npy") == "fake: cannot be created"
    assert fails("search", *asked, "wick", "a.npy", "a.txt") == "fake: cannot be created"

"""Where the time of a call goes, and what the machine can do at most."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import votive.cli
from bodies import INT8, PORTABLE
from votive import Embedder, _core
from votive.profile import ABOVE_PEAK, Profile, Stage

STAGES = ["tokenize", "embed", "qkv", "attention", "out", "mlp up", "mlp down", "norms", "pool", "idle"]

# Of the model in `folder`.
HIDDEN, WIDE, LAYERS = 48, 80, 2

KINDS = ["a short text", "", "a text that is quite a bit longer than the one before it", "one"]
# No two are equal: those would be computed once.
MANY = [f"{i} {text}" for i in range(1_250) for text in KINDS]
TEXTS = MANY[:80]


def operations(lengths: list[int]) -> dict[str, int]:
    """Additions and multiplications of each stage, by the definition of BERT."""
    tokens, pairs = sum(lengths), sum(length**2 for length in lengths)
    counts = {
        "qkv": 3 * tokens * HIDDEN * HIDDEN,
        "attention": 2 * pairs * HIDDEN,
        "out": tokens * HIDDEN * HIDDEN,
        "mlp up": tokens * HIDDEN * WIDE,
        "mlp down": tokens * HIDDEN * WIDE,
    }
    return {name: 2 * LAYERS * count for name, count in counts.items()}


def assert_complete(profile: Profile, model: Embedder, texts: list[str]) -> None:
    """It is of these texts and of nothing else."""
    lengths = [len(row["input_ids"]) for row in model.tokenize(texts)]
    assert [stage.name for stage in profile.stages] == STAGES
    assert (profile.texts, profile.tokens) == (len(texts), sum(lengths))
    expected = operations(lengths)
    assert {stage.name: stage.operations for stage in profile.stages if stage.operations} == expected
    assert profile["tokenize"].bytes == sum(len(text.encode()) for text in texts)
    assert profile["embed"].bytes == 4 * 4 * HIDDEN * sum(lengths)
    assert profile["norms"].bytes == 2 * LAYERS * 3 * 4 * HIDDEN * sum(lengths)


class TestProfile:
    @pytest.mark.parametrize("num_threads", [1, 2, 3])
    @pytest.mark.parametrize("count", [1, len(TEXTS), len(MANY)])
    def test_it_counts_what_the_definition_says(self, folder: str, num_threads: int, count: int) -> None:
        model = Embedder(folder, num_threads=num_threads)
        texts = MANY[:count]
        profile = model.profile(texts)
        assert_complete(profile, model, texts)
        assert profile.threads == profile.peaks.threads == num_threads
        assert (profile.dtype, profile.kernels) == (model.dtype, "portable" if PORTABLE else _core.cpu()[1])
        assert all(stage.seconds > 0 for stage in profile.stages if stage.name != "idle")
        # To the nanosecond that each is rounded to, unless threads of the machine were taken away in between.
        busy = sum(stage.seconds for stage in profile.stages if stage.name != "idle")
        assert busy + profile["idle"].seconds == pytest.approx(max(num_threads * profile.seconds, busy), abs=1e-6)

    @INT8
    def test_bytes_are_multiplied_as_bytes(self, folder: str) -> None:
        model = Embedder(folder, dtype="int8")
        profile = model.profile(TEXTS)
        assert_complete(profile, model, TEXTS)
        assert profile.dtype == "int8"
        peak, stage = profile.peaks.int8, profile["mlp up"]
        assert peak is not None
        assert stage.share is not None
        least = max(stage.operations / peak, stage.bytes / profile.peaks.memory)
        assert stage.share == pytest.approx(least * profile.threads / stage.seconds)

    def test_shares_are_of_the_nearer_peak(self, model: Embedder) -> None:
        profile = model.profile(TEXTS)
        peak = profile.peaks.float32
        assert peak is not None
        for stage in profile.stages:
            if stage.name in ("tokenize", "idle"):
                assert stage.share is None
            else:
                least = max(stage.operations / peak, stage.bytes / profile.peaks.memory)
                assert stage.share == pytest.approx(least * profile.threads / stage.seconds)

    def test_everything_that_encode_takes(self, model: Embedder) -> None:
        assert model.profile("one text").texts == 1
        assert_complete(model.profile(iter(TEXTS)), model, TEXTS)
        assert_complete(model.profile(TEXTS, output_value="token_embeddings", batch_size=3), model, TEXTS)
        prompted = model.profile(TEXTS, prompt="query: ", normalize_embeddings=True, show_progress_bar=False)
        assert prompted.tokens > model.profile(TEXTS).tokens
        out = np.empty((len(TEXTS), HIDDEN), np.float32)
        model.profile(TEXTS, out=out)
        assert np.array_equal(out, model.encode(TEXTS))

    def test_nothing_was_done(self, model: Embedder) -> None:
        profile = model.profile([])
        assert (profile.texts, profile.tokens) == (0, 0)
        assert all(stage.share is None for stage in profile.stages)
        assert repr(profile).startswith("0 texts, 0 tokens in ")

    def test_calls_beside_it_leave_no_trace(self, folder: str) -> None:
        model = Embedder(folder, num_threads=2)
        jobs = [TEXTS, TEXTS[:1], MANY[:2_400], MANY[-7:]] * 3
        with ThreadPoolExecutor(6) as executor:
            noise = [executor.submit(model.encode, MANY[:1_600]) for _ in range(10)]
            profiles = [executor.submit(model.profile, texts) for texts in jobs]
            for texts, profile in zip(jobs, profiles, strict=True):
                assert_complete(profile.result(), model, texts)
            assert all(len(job.result()) == 1_600 for job in noise)

    def test_a_call_that_fails_ends_the_recording(self, model: Embedder) -> None:
        with pytest.raises(TypeError):
            model.profile(["fine", None])
        assert_complete(model.profile(TEXTS), model, TEXTS)

    def test_candles_operations_are_counted_too(self, folder: str, run_python: Callable[..., str]) -> None:
        code = (
            "import sys, votive; profile = votive.Embedder(sys.argv[1]).profile(['one text', 'two']);"
            "print(*(stage.operations for stage in profile.stages))"
        )
        kernels, portable = (run_python(code, folder, VOTIVE_PORTABLE=value) for value in ("0", "1"))
        assert kernels == portable

    def test_tables(self, model: Embedder) -> None:
        profile = model.profile(TEXTS)
        lines = repr(profile).splitlines()
        assert lines[0].startswith(f"80 texts, {profile.tokens} tokens in ")
        end = len(STAGES) + 2
        assert [re.split(r" {2,}", line)[0] for line in lines[1:end]] == ["stage", *STAGES]
        assert re.fullmatch(r"peaks: \d+ Gop/s float32, .*\d+ Gop/s int8, [\d.]+ GB/s from memory", lines[end])
        table = profile._repr_html_()
        assert table.count("<tr>") == 1 + len(STAGES)
        assert all(f">{name}</td>" in table for name in STAGES)
        with pytest.raises(KeyError, match="mlp"):
            profile["mlp"]

    @pytest.mark.parametrize(("share", "is_explained"), [(1.004, False), (1.2, True), (None, False)])
    def test_a_share_above_the_peak_is_explained(
        self, share: float | None, is_explained: bool, model: Embedder
    ) -> None:
        stage = Stage("qkv", 0.5, 10**9, 10**6, share)
        profile = Profile(1, 2, 0.5, 1, "cpu", "float32", "avx2", (stage,), model.profile("a").peaks)
        assert (repr(profile).splitlines()[-1] == ABOVE_PEAK) == is_explained
        assert (ABOVE_PEAK in profile._repr_html_()) == is_explained


class TestAtExit:
    CODE = (
        "import sys, votive\nmodel = votive.Embedder(sys.argv[1])\n"
        "votive.Embedder(sys.argv[1])\n"  # has no calls, and no table
        "for text in ('one', 'two'): model.encode(text)\nmodel.encode_query(['three'] * 3)\nsys.stderr = sys.stdout"
    )

    def test_one_table_of_all_calls(self, folder: str, run_python: Callable[..., str]) -> None:
        lines = run_python(self.CODE, folder, VOTIVE_PROFILE="1").splitlines()
        assert lines[0].startswith(f"{folder}: 5 texts, ")
        assert [re.split(r" {2,}", line)[0] for line in lines[1 : len(STAGES) + 2]] == ["stage", *STAGES]

    @pytest.mark.parametrize("variables", [{}, {"VOTIVE_PROFILE": "0"}])
    def test_none_unless_asked_for(
        self, folder: str, run_python: Callable[..., str], variables: dict[str, str]
    ) -> None:
        assert run_python(self.CODE, folder, **variables) == ""


class TestBenchCpu:
    def test_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert votive.cli.main(["bench-cpu", "--json", "--num-threads", "2"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert found["kernels"] == _core.cpu()[1]
        assert [peak["threads"] for peak in found["peaks"]] == [1, 2]
        levels = [cache["level"] for cache in found["caches"]]
        assert levels == sorted(set(levels))
        assert found["memory_bytes"] > 1 << 19
        for peak in found["peaks"]:
            assert peak["float32"] > 0
            assert peak["int8"] > 0
            assert peak["memory"] > 0
            assert (peak["bfloat16"] is None) == (found["kernels"] != "bf16")

    def test_table(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert votive.cli.main(["bench-cpu", "--num-threads", "1"]) == 0
        table = capsys.readouterr().out
        assert re.search(rf"^instruction set +{_core.cpu()[1]}$", table, re.MULTILINE)
        for row in (r"float32 +Gop/s", r"int8 +Gop/s", r"memory, read +GB/s"):
            assert re.search(rf"^{row} +\d+\.\d$", table, re.MULTILINE)

    def test_a_set_that_is_not_there(self, run_python: Callable[..., str]) -> None:
        code = "import sys, votive.cli; sys.stderr = sys.stdout; print(votive.cli.main(['bench-cpu']))"
        complaint, status = run_python(code, VOTIVE_ISA="mmx").splitlines()
        assert complaint.startswith('votive bench-cpu: VOTIVE_ISA: "mmx" is not an instruction set of this CPU')
        assert status == "1"

"""`votive inspect` and `votive.inspect_model`: what files say is what a loaded model does."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensor_files
import votive
import votive.cli
from bodies import kernels_only
from conftest import FIXTURES
from json_files import change
from votive import Embedder, Inspection, ModelError, Reranker, inspect_model, quantize_model

EMBEDDERS = sorted(path.parent.name for path in FIXTURES.glob("*/expected.json"))
RERANKERS = sorted(path.parent.name for path in FIXTURES.glob("*/scores.json"))


def loaded(kind: type[Any], folder: Path) -> tuple[Any, list[str]]:
    """A model, and what loading it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = kind(folder, device="cpu", dtype="float32")
    return model, [str(warning.message) for warning in caught]


@pytest.mark.parametrize("fixture", EMBEDDERS)
def test_it_says_what_an_embedder_does(fixture: str) -> None:
    found = inspect_model(FIXTURES / fixture)
    model, warned = loaded(Embedder, FIXTURES / fixture)
    assert found.kind == "embedder"
    assert list(found.assumptions) == warned
    assert (found.prompts, found.similarity_fn_name) == (model.prompts, model.similarity_fn_name)
    assert max((network.max_seq_length or 0) for network in found.networks) == (model.max_seq_length or 0)
    pooling = found.networks[0].pooling
    assert pooling in (None, model.info.pooling)
    # The files may hold what the network does not need, and DeBERTa's hold once what it uses twice.
    if not fixture.startswith("deberta"):
        assert max(network.parameters for network in found.networks) >= model._model.parameters
    assert found.networks[0].is_quantized == model._model.is_quantized


@pytest.mark.parametrize("fixture", RERANKERS)
def test_it_says_what_a_reranker_does(fixture: str) -> None:
    found = inspect_model(FIXTURES / fixture)
    model, warned = loaded(Reranker, FIXTURES / fixture)
    if found.kind == "embedder":
        # What both classes load: language models, and a classifier whose files do not say that it is one.
        assert found.is_reranker_too or fixture == "llama_both_ways_rerank"
        return
    assert (found.num_labels, list(found.assumptions)) == (model.num_labels, warned)
    assert found.networks[0].max_seq_length == model.max_length


def groups(found: Inspection) -> dict[str, dict[str, int]]:
    return {group.name: group.storage for group in found.networks[0].groups}


def test_formats_of_quantized_weights() -> None:
    mlx = groups(inspect_model(FIXTURES / "mlx_qwen3"))
    assert set(mlx["words"]) == {"mxfp4, group 32"}
    assert set(mlx["norms"]) == {"BF16"}
    assert "affine 4 bits, group 64" in mlx["MLP"]
    gguf = groups(inspect_model(FIXTURES / "gguf_qwen3"))
    assert set(gguf["words"]) == {"Q3_K"}
    assert set(gguf["norms"]) == {"F32"}
    for fixture, start in (("gptq_qwen3", "GPTQ 4 bits, group "), ("awq_qwen3", "AWQ 4 bits, group ")):
        formats = groups(inspect_model(FIXTURES / fixture))["attention"]
        assert any(name.startswith(start) for name in formats), formats
    formats = {name for kinds in groups(inspect_model(FIXTURES / "compressed_qwen3")).values() for name in kinds}
    assert any(name.startswith("packed 4 bits, group ") for name in formats), formats


def test_numbers_of_a_quantized_matrix_are_counted_as_they_are_decoded(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "mlx_bert", tmp_path / "plain")
    (tmp_path / "plain" / "decoded.safetensors").replace(tmp_path / "plain" / "model.safetensors")
    change(tmp_path / "plain" / "config.json", quantization=None, quantization_config=None)
    quantized, plain = (inspect_model(path).networks[0] for path in (FIXTURES / "mlx_bert", tmp_path / "plain"))
    assert [(group.name, group.tensors, group.parameters) for group in quantized.groups] == [
        (group.name, group.tensors, group.parameters) for group in plain.groups
    ]
    assert quantized.bytes < plain.bytes / 3


@kernels_only("panels are for the kernels")
def test_a_model_that_was_quantized_once(tmp_path: Path) -> None:
    folder = quantize_model(FIXTURES / "bert_plain", tmp_path / "model", dtype="int8")
    formats = groups(inspect_model(folder))
    assert set(formats["words"]) == set(formats["norms"]) == {"F32"}
    assert "int8 panels" in formats["attention"]
    assert "int8 panels" in formats["MLP"]


def test_sources() -> None:
    network = inspect_model(FIXTURES / "gguf_qwen3").networks[0]
    assert network.sources["pooling"] == "model.gguf: qwen3.pooling_type"
    assert network.sources["hidden_size"] == "model.gguf: qwen3.embedding_length"
    assert network.sources["max_seq_length"] == "model.gguf: qwen3.context_length"
    found = inspect_model(FIXTURES / "bert_modules")
    assert found.sources["prompts"] == "config_sentence_transformers.json: prompts"
    assert found.networks[0].sources["pooling"] == "1_Pooling/config.json: pooling_mode_mean_tokens"
    assert found.networks[0].sources["max_seq_length"] == "sentence_bert_config.json: max_seq_length"


def test_what_a_base_says_is_said_of_it(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURES / "mlx_qwen3", tmp_path / "model"))
    base = Path(shutil.copytree(FIXTURES / "mlx_qwen3", tmp_path / "base"))
    (folder / "modules.json").unlink()
    shutil.rmtree(folder / "1_Pooling")
    (assumption,) = inspect_model(folder).assumptions
    assert "is quantized and does not say how vectors are made: " in assumption
    found = inspect_model(folder, base=base)
    assert (found.base, found.assumptions) == (str(base), ())
    assert found.networks[0].sources["pooling"] == f"1_Pooling/config.json of {base}: pooling_mode_lasttoken"


def test_adapters_routers_and_static_embeddings() -> None:
    assert inspect_model(FIXTURES / "lora").networks[0].adapted > 0
    router = inspect_model(FIXTURES / "router")
    assert router.tasks == ("query", "document")
    assert [network.task for network in router.networks] == ["query", "document"]
    assert "modules" in groups(router)
    static = inspect_model(FIXTURES / "static_model2vec").networks[0]
    assert (static.model_type, static.layers) == ("model2vec", None)
    assert static.groups[0].name == "words"
    assert set(groups(inspect_model(FIXTURES / "static_quantized"))["words"]) == {"I8"}


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert votive.cli.main(["inspect", str(FIXTURES / "gguf_qwen3")]) == 0
    printed, said = capsys.readouterr()
    assert said == ""
    lines = printed.splitlines()
    assert "family\tQwen3 (qwen3)\tmodel.gguf: general.architecture" in lines
    assert "Pooling\tlasttoken\tmodel.gguf: qwen3.pooling_type" in lines
    assert "longest input\t32,768 tokens\tmodel.gguf: qwen3.context_length" in lines
    assert any(line.startswith("words\t1\t77.1 k\t33.1 kB\tQ3_K") for line in lines), printed
    assert lines[-1].startswith("loading it warns: ")
    assert votive.cli.main(["inspect", str(FIXTURES / "gguf_qwen3"), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["networks"][0]["pooling"] == "lasttoken"
    assert found["kind"] == "embedder"


@pytest.mark.parametrize("fixture", ["router", "jina_v3", "bert_rerank", "static_modules"])
def test_the_command_prints_all_kinds(fixture: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert votive.cli.main(["inspect", str(FIXTURES / fixture)]) == 0
    printed, said = capsys.readouterr()
    assert said == ""
    assert "kind\t" in printed


def test_bad_models_give_the_errors_of_loading(tmp_path: Path, fails: Callable[..., str]) -> None:
    def refused(folder: Path) -> str:
        with pytest.raises(ModelError) as of_loading:
            Embedder(folder, device="cpu")
        with pytest.raises(ModelError) as of_inspecting:
            inspect_model(folder)
        assert str(of_inspecting.value) == str(of_loading.value)
        return str(of_loading.value)

    odd = Path(shutil.copytree(FIXTURES / "bert_modules", tmp_path / "odd"))
    change(odd / "config.json", model_type="odd")
    assert 'model_type: "odd" is not supported' in refused(odd)
    assert fails("inspect", str(odd)) == refused(odd)
    pooling = Path(shutil.copytree(FIXTURES / "bert_modules", tmp_path / "pooling"))
    change(pooling / "1_Pooling" / "config.json", pooling_mode="sum")
    assert "pooling_mode" in refused(pooling)
    bits = Path(shutil.copytree(FIXTURES / "mlx_bert", tmp_path / "bits"))
    change(bits / "config.json", quantization={"group_size": 32, "bits": 7})
    assert "expected one of 2, 3, 4" in refused(bits)
    cut = Path(shutil.copytree(FIXTURES / "bert_modules", tmp_path / "cut"))
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:5000])
    refused(cut)
    with pytest.raises(FileNotFoundError):
        inspect_model(tmp_path / "nowhere")


def test_weights_are_not_read(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURES / "bert_plain", tmp_path / "model"))
    weights = tensor_files.read(folder / "model.safetensors")
    tensor_files.write(
        folder / "model.safetensors", {name: 0 * array + np.nan for name, array in weights.items()}, "F32"
    )
    with pytest.raises(ModelError, match="NaN"):
        Embedder(folder, device="cpu")
    assert inspect_model(folder).networks[0].groups == inspect_model(FIXTURES / "bert_plain").networks[0].groups

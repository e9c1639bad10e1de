"""Folders of `quantize_model`: they give the bits of the model that they were made of, and nothing damaged is taken."""

import gc
import json
import shutil
import struct
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import votive.cli
from bodies import PORTABLE
from conftest import FIXTURES
from votive import Embedder, ModelError, Reranker, quantize_model

TEXTS = ["hello world", "a longer text of some more words, and some more", "x", ""]
PAIRS = [("a question", "an answer"), ("a question", "some other text, which is longer"), ("x", "y")]
PANELS = "panels.safetensors"

# They have no such form, and say why.
REFUSED = {
    "jina_v3_published": "adapters of tasks",
    "static_model2vec": "a static embedding multiplies nothing",
    "static_modules": "a static embedding multiplies nothing",
    "static_quantized": "a static embedding multiplies nothing",
}

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.skipif(PORTABLE, reason="panels are for the kernels"),
]


def is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() or (folder / "modules.json").is_file() or any(folder.glob("*.gguf"))


MODELS = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir() and is_model(path))


def outputs(folder: Path, **options: Any) -> dict[str, Any]:
    """What embedders and rerankers of a folder give, of those that it loads as."""
    found: dict[str, Any] = {}
    for kind in (Embedder, Reranker):
        try:
            model: Any = kind(folder, device="cpu", **options)
        except ModelError:
            continue
        found[kind.__name__] = model.encode(TEXTS) if kind is Embedder else model.predict(PAIRS)
        assert model.dtype in ("int8", "int4")
        found["parameters"] = model._model.parameters
    return found


@pytest.mark.parametrize("dtype", ["int8", "int4"])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_the_bits_of_its_dtype(name: str, dtype: Any, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    if name in REFUSED:
        with pytest.raises((ModelError, ValueError), match=REFUSED[name]):
            quantize_model(FIXTURES / name, folder, dtype)
        assert list(tmp_path.iterdir()) == []
        return
    expected = outputs(FIXTURES / name, dtype=dtype)
    assert quantize_model(FIXTURES / name, folder, dtype) == folder
    # The folder is enough, wherever it is.
    folder = folder.rename(tmp_path / "moved")
    found = outputs(folder)
    assert found.keys() == expected.keys()
    assert len(found) >= 2
    for key, value in expected.items():
        assert np.array_equal(found[key], value), key
    assert not list(folder.glob("adapter_*")) + list(folder.glob("*.gguf"))
    # A Dense after pooling, which is small, stays as it is.
    assert not (folder / "model.safetensors").exists()


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model bert_modules in int4."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return quantize_model(FIXTURES / "bert_modules", tmp_path_factory.mktemp("packed") / "model", "int4")


@pytest.fixture
def folder(packed: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(packed, tmp_path / "model"))


def header(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, and its data."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def write(path: Path, entries: dict[str, Any], data: bytes) -> None:
    text = json.dumps(entries).encode()
    text += b" " * (-(8 + len(text)) % 64)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def changed_index(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes what the file says of its panels."""
    entries, data = header(folder / PANELS)
    index = json.loads(entries["__metadata__"]["votive"])
    change(index)
    entries["__metadata__"]["votive"] = json.dumps(index)
    write(folder / PANELS, entries, data)


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        Embedder(folder, **options)
    assert PANELS in str(caught.value)
    return str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_weights_are_mapped_while_the_model_is_there(packed: Path) -> None:
    def maps() -> bool:
        return str(packed / PANELS) in Path("/proc/self/maps").read_text()

    model = Embedder(packed)
    assert maps()
    model.close()
    del model
    gc.collect()
    assert not maps()


def test_every_buffer_starts_a_line_and_all_matrices_are_in_panels(packed: Path) -> None:
    entries, _ = header(packed / PANELS)
    index = json.loads(entries.pop("__metadata__")["votive"])
    panels = {name: entry for name, entry in entries.items() if name.startswith("panels:")}
    assert {name.removeprefix("panels:") for name in panels} == index["matrices"].keys()
    assert all(entry["data_offsets"][0] % 64 == 0 for entry in panels.values())
    # Two layers with queries, keys and values in one; out, up, down.
    assert len(panels) == 2 * 4
    assert not any("dense.weight" in name or "query" in name for name in entries if name not in panels)
    assert (packed / PANELS).stat().st_size % 2 == 0


@pytest.mark.parametrize("place", np.linspace(0.02, 0.999, 12))
def test_a_changed_byte_is_found(folder: Path, place: float) -> None:
    entries, data = header(folder / PANELS)
    at = int(len(data) * place)
    damaged = bytearray(data)
    damaged[at] ^= 0x10
    write(folder / PANELS, entries, bytes(damaged))
    owner = next(
        name
        for name, entry in entries.items()
        if name != "__metadata__" and entry["data_offsets"][0] <= at < entry["data_offsets"][1]
    )
    message = refusal(folder)
    assert f'tensor "{owner}" has other bytes than were written' in message
    assert "votive quantize" in message


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_a_cut_file_is_refused(folder: Path, length: int) -> None:
    content = (folder / PANELS).read_bytes()
    (folder / PANELS).write_bytes(content[:length])
    refusal(folder)


def set_layout(index: dict[str, Any]) -> None:
    index["layout"] = "version 99"


def set_dtype(index: dict[str, Any]) -> None:
    index["dtype"] = "int8"


def set_shape(index: dict[str, Any]) -> None:
    next(iter(index["matrices"].values()))["shape"][0] += 1


def set_sensitive(index: dict[str, Any]) -> None:
    next(iter(index["matrices"].values()))["sensitive"] = 10**18


def drop_matrix(index: dict[str, Any]) -> None:
    index["matrices"].popitem()


def add_matrix(index: dict[str, Any]) -> None:
    index["matrices"]["other"] = {"dtype": "int8", "shape": [1, 1], "sensitive": 0}


def drop_checksum(index: dict[str, Any]) -> None:
    index["checksums"].popitem()


def add_blocks(index: dict[str, Any]) -> None:
    name = next(name for name in index["checksums"] if not name.startswith("panels:"))
    index["blocks"][name] = {"id": 8, "arrangement": "Same", "shape": [2**62, 2**62]}


def interleave(index: dict[str, Any]) -> None:
    name = next(name for name in index["checksums"] if not name.startswith("panels:"))
    index["blocks"][name] = {"id": 0, "arrangement": {"Interleaved": {"head": 0}}, "shape": [1, 1]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_layout, r"another CPU or another votive .*version 99.* votive quantize"),
        (set_dtype, "the model's config needs"),
        (set_shape, "the model's config needs"),
        (set_sensitive, "the model's config needs"),
        (drop_matrix, "the metadata does not say how"),
        (add_matrix, 'says that tensor "panels:other" is there, and it is not'),
        (drop_checksum, "has no checksum for all of its bytes"),
        (add_blocks, "has other bytes than ggml's blocks of it take"),
        (interleave, "has other bytes than ggml's blocks of it take"),
        (dict.clear, 'unreadable metadata "votive"'),
    ],
)
def test_a_hostile_index_is_refused(folder: Path, change: Any, message: str) -> None:
    changed_index(folder, change)
    with pytest.raises(ModelError, match=message):
        Embedder(folder)


def test_a_file_without_an_index_is_refused(folder: Path) -> None:
    entries, data = header(folder / PANELS)
    del entries["__metadata__"]
    write(folder / PANELS, entries, data)
    assert "says nothing of its panels" in refusal(folder)


def test_fewer_bytes_than_the_panels_take_are_refused(folder: Path) -> None:
    """With a checksum that fits, as whoever means harm would write it."""
    entries, data = header(folder / PANELS)
    index = json.loads(entries["__metadata__"]["votive"])
    first = next(name for name, entry in entries.items() if entry.get("data_offsets", [-1])[0] == 0)
    end = entries[first]["data_offsets"][1]
    for entry in entries.values():
        if "data_offsets" in entry:
            entry["data_offsets"] = [max(0, offset - end + 64) for offset in entry["data_offsets"]]
    entries[first]["shape"] = [64]
    content = data[end - 64 :]
    index["checksums"][first] = [votive._core.crc32c(content[:64])]
    entries["__metadata__"]["votive"] = json.dumps(index)
    write(folder / PANELS, entries, content)
    assert f'tensor "{first}" has other bytes than its panels take' in refusal(folder)


def test_another_dtype_is_refused_with_what_to_do(packed: Path) -> None:
    for dtype in ("float32", "int8", "bfloat16"):
        assert 'give dtype="int4" or "auto"' in refusal(packed, dtype=dtype)
    assert Embedder(packed, dtype="int4").dtype == "int4"


FAILURE = """
import sys
import votive
try:
    votive.Embedder(sys.argv[1])
except votive.ModelError as error:
    print(error)
"""


def test_other_kernels_are_refused_with_what_to_do(packed: Path, run_python: Callable[..., str]) -> None:
    said = run_python(FAILURE, str(packed), VOTIVE_ISA="scalar")
    assert "has the panels of another CPU or another votive" in said
    assert "scalar needs version" in said
    assert "votive quantize" in said
    assert 'device="cpu"' in run_python(FAILURE, str(packed), VOTIVE_PORTABLE="1")


SETS = """
import sys
import numpy as np
import votive
for dtype in ("int8", "int4"):
    folder = votive.quantize_model(sys.argv[1], f"{sys.argv[2]}-{dtype}", dtype)
    models = [votive.Embedder(folder), votive.Embedder(sys.argv[1], dtype=dtype)]
    found, expected = (model.encode(["hello world", "x"]) for model in models)
    assert np.array_equal(found, expected)
print("equal")
"""


@pytest.mark.parametrize("isa", ["scalar", "avx2", "avx512", "vnni", "neon", "dotprod"])
def test_each_set_reads_what_it_wrote(isa: str, folder: Path, run_python: Callable[..., str]) -> None:
    code = f"import warnings; warnings.simplefilter('ignore')\n{SETS}"
    try:
        said = run_python(code, str(FIXTURES / "bert_modules"), str(folder), VOTIVE_ISA=isa)
    except AssertionError as error:
        if "is not an instruction set of this CPU" not in str(error):
            raise
        pytest.skip(f"this CPU has no {isa}")
    assert said.strip() == "equal"


def test_a_folder_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    with pytest.raises(FileExistsError, match=r"output_folder: .* is there already"):
        quantize_model(FIXTURES / "bert_modules", tmp_path)
    with pytest.raises(FileExistsError):
        quantize_model(FIXTURES / "bert_modules", tmp_path / "note")
    assert [path.name for path in tmp_path.iterdir()] == ["note"]
    (tmp_path / "empty").mkdir()
    assert quantize_model(FIXTURES / "bert_modules", tmp_path / "empty") == tmp_path / "empty"
    # Below folders that are not there yet.
    quantize_model(FIXTURES / "bert_modules", tmp_path / "a" / "b")
    assert Embedder(tmp_path / "a" / "b").dtype == "int8"


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        quantize_model(tmp_path / "no model", tmp_path / "out", local_files_only=True)
    broken = shutil.copytree(FIXTURES / "bert_modules", tmp_path / "broken")
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:-10])
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        quantize_model(broken, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


@pytest.mark.parametrize("dtype", ["float32", "auto", None, 8])
def test_other_types_are_refused(dtype: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dtype: expected one of"):
        quantize_model(FIXTURES / "bert_modules", tmp_path / "out", dtype)


def test_what_is_packed_already_is_refused(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds panels already: copy the folder"):
        quantize_model(packed, tmp_path / "out", "int4")


def test_what_is_assumed_is_said_when_it_is_written(tmp_path: Path) -> None:
    source = Path(shutil.copytree(FIXTURES / "mlx_bert", tmp_path / "source"))
    shutil.rmtree(source / "1_Pooling", ignore_errors=True)
    (source / "modules.json").unlink(missing_ok=True)
    with pytest.warns(UserWarning, match="pooling"):
        quantize_model(source, tmp_path / "out")


class TestCommand:
    def test_it_writes_and_says_where(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = tmp_path / "out"
        arguments = ["quantize", str(FIXTURES / "bert_modules"), "-o", str(folder), "--num-threads", "1"]
        assert votive.cli.main(arguments) == 0
        printed = capsys.readouterr().out
        assert printed.startswith(f"{folder}: {FIXTURES / 'bert_modules'} in int8, ")
        assert printed.endswith(" MB\n")
        assert Embedder(folder).dtype == "int8"

    def test_a_failure_is_a_message(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert votive.cli.main(["quantize", str(FIXTURES / "bert_modules"), "-o", str(tmp_path)]) == 0
        assert votive.cli.main(["quantize", str(FIXTURES / "bert_modules"), "-o", str(tmp_path)]) == 1
        assert "is there already" in capsys.readouterr().err

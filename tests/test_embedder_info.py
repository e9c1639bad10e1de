"""Which model a store's vectors are of: what tells models apart, where it is kept, and what is refused."""

import copy
import dataclasses
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import INT8
from conftest import FIXTURES
from stored import MANIFEST, forge, refused, setting
from votive import Embedder, EmbedderInfo, EmbeddingStore, StoreError, _model_files

TEXTS = ["a text about ice", "one about fire", "and sand"]
INFO = EmbedderInfo("a/model", "0123456789abcdef", "ab12", "mean", "float32", "passage: ")


class Encoder:
    """An embedder of a user's own, which may say what it is."""

    def __init__(self, info: EmbedderInfo | None = None) -> None:
        if info is not None:
            self.info = info
        self.calls = 0

    def encode(self, texts: Any, **_: Any) -> np.ndarray:
        self.calls += 1
        vectors = np.array([[len(text), 1.0] for text in ([texts] if isinstance(texts, str) else texts)])
        return vectors[0] if isinstance(texts, str) else vectors


@pytest.fixture
def other() -> Embedder:
    """Another model with vectors as long."""
    return Embedder(FIXTURES / "bert_modules", truncate_dim=40)


@pytest.fixture
def copied(folder: str, tmp_path: Path) -> Path:
    """A copy of the model's folder, to be changed."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def filled(info: EmbedderInfo | None = INFO) -> EmbeddingStore:
    store = EmbeddingStore()
    store.add_texts(TEXTS, Encoder(info))
    return store


# What a model says of itself


def test_what_a_model_says(folder: str, model: Embedder) -> None:
    info = model.info
    assert info == model.info
    assert (info.name, info.revision, info.pooling, info.dtype) == (folder, None, "mean", "float32")
    assert len(info.fingerprint) == 32
    assert set(info.fingerprint) <= set("0123456789abcdef")
    assert info.prompt == model.prompts["document"]
    assert pickle.loads(pickle.dumps(model)).info == info


def test_the_prompt_is_that_of_documents(folder: str) -> None:
    texts = ["a"]
    for prompts in ({"document": "d: "}, {"document": ""}, {"document": "d: ", "passage": "p: "}):
        model = Embedder(folder, prompts=prompts)
        assert model.info.prompt == prompts["document"]
        np.testing.assert_array_equal(model.encode_document(texts), model.encode(texts, prompt=model.info.prompt))
    model.prompts["document"] = "later: "
    assert model.info.prompt == "later: "
    plain = Embedder(FIXTURES / "bert_40")
    assert plain.info.prompt == ""


@pytest.mark.parametrize(
    ("name", "pooling"),
    [("bert_40", "mean"), ("bert_plain", "mean"), ("qwen3_embedding", "lasttoken"), ("bert_types", None)],
)
def test_the_pooling_of_a_model(name: str, pooling: str | None) -> None:
    found = Embedder(FIXTURES / name).info.pooling
    file = FIXTURES / name / "1_Pooling" / "config.json"
    said = json.loads(file.read_text()) if file.exists() else {}
    assert found == (pooling or found)
    assert found in _model_files._POOLING_FLAGS.values()
    if "pooling_mode" in said:
        assert found == said["pooling_mode"]


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "cls+mean"),
        ({"pooling_mode": "lasttoken", "pooling_mode_cls_token": True}, "lasttoken"),
        ({"pooling_mode": ["mean", "cls"]}, "mean+cls"),
    ],
)
def test_pooling_is_read_as_the_model_is(config: dict[str, Any], pooling: str) -> None:
    assert _model_files._pooling(config) == pooling


def test_a_causal_model_without_modules_takes_the_last_token(copied: Path) -> None:
    for name in ("modules.json", "config_sentence_transformers.json"):
        (copied / name).unlink()
    config = json.loads((copied / "config.json").read_text())
    for architecture, more, pooling in (
        ("BertModel", {}, "mean"),
        ("BertForCausalLM", {}, "lasttoken"),
        ("BertForCausalLM", {"is_causal": False}, "mean"),
        ("BertForCausalLM", {"is_causal": None}, "mean"),
    ):
        (copied / "config.json").write_text(json.dumps({**config, "architectures": [architecture], **more}))
        assert _model_files.ModelFiles.read(copied, has_modules=True).pooling == pooling


# What tells models apart


def test_models_have_fingerprints_of_their_own() -> None:
    names = ["bert_40", "bert_312", "bert_modules", "bert_plain", "bert_sharded", "distilbert", "qwen3_embedding"]
    assert len({Embedder(FIXTURES / name).info.fingerprint for name in names}) == len(names)


def test_a_copy_of_the_files_is_the_same_model(model: Embedder, copied: Path) -> None:
    for other in (
        Embedder(copied),
        Embedder(copied, dtype="bfloat16"),
        Embedder(copied, truncate_dim=8, max_seq_length=5, prompts={"document": "x"}, num_threads=1),
    ):
        assert other.info.fingerprint == model.info.fingerprint
        assert other.info.name == str(copied)
    assert Embedder(copied, dtype="bfloat16").info.dtype == "bfloat16"


@INT8
def test_a_dtype_is_no_other_model(folder: str, model: Embedder) -> None:
    assert Embedder(folder, dtype="int8").info.fingerprint == model.info.fingerprint
    store = EmbeddingStore()
    store.add_texts(TEXTS, model)
    store.add_texts(TEXTS, Embedder(folder, dtype="int8"))
    assert len(store.query("ice", Embedder(folder, dtype="int8"))) == 6
    assert store.embedder_info == model.info


def test_a_model_of_the_cache_is_that_of_its_folder(
    model: Embedder, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = tmp_path / "hub" / "models--owner--name"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    shutil.copytree(folder, place / "snapshots" / commit)
    found = Embedder("owner/name", cache_folder=tmp_path / "hub", local_files_only=True).info
    assert (found.name, found.revision) == ("owner/name", commit)
    assert found.fingerprint == model.info.fingerprint


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps(change(document), indent=7))


def test_files_that_only_look_different_are_the_same(model: Embedder, copied: Path) -> None:
    def change(config: dict[str, Any]) -> dict[str, Any]:
        more = {"_name_or_path": "/elsewhere", "transformers_version": "99", "torch_dtype": "float16"}
        return {**dict(reversed(config.items())), **more}

    rewrite(copied / "config.json", change)
    rewrite(copied / "modules.json", lambda modules: modules)
    rewrite(copied / "tokenizer.json", lambda tokenizer: tokenizer)
    (copied / "README.md").write_text("a card")
    assert Embedder(copied).info.fingerprint == model.info.fingerprint


def test_what_decides_the_vectors_tells_models_apart(copied: Path) -> None:
    seen = {_model_files.ModelFiles.read(copied, has_modules=True).fingerprint}

    def differs() -> None:
        found = _model_files.ModelFiles.read(copied, has_modules=True).fingerprint
        assert found not in seen
        seen.add(found)

    rewrite(copied / "config.json", lambda config: {**config, "layer_norm_eps": 1e-3})
    differs()
    rewrite(copied / "1_Pooling" / "config.json", lambda config: {**config, "include_prompt": False})
    differs()
    dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    rewrite(copied / "modules.json", lambda modules: [*modules, dense])
    differs()
    rewrite(copied / "sentence_bert_config.json", lambda config: {**config, "do_lower_case": True})
    differs()
    for weights in ("model.safetensors", "2_Dense/model.safetensors"):
        content = bytearray((copied / weights).read_bytes())
        content[-5] ^= 1
        (copied / weights).write_bytes(content)
        differs()


def test_large_files_are_read_here_and_there(tmp_path: Path) -> None:
    path, size = tmp_path / "model.safetensors", 200 << 20
    with open(path, "wb") as file:
        file.truncate(size)

    def fingerprint() -> str:
        return _model_files.ModelFiles.read(tmp_path, has_modules=True).fingerprint

    assert sum(map(len, _model_files._samples(path))) < 1 << 20
    seen = {fingerprint()}
    with open(path, "r+b") as file:
        for at in (0, size // 3 // 4096 * 4096, size - 1):
            file.seek(max(0, at))
            # As wide as the distance of two blocks, but at the ends.
            file.write(b"\1" * (1 if at in (0, size - 1) else 4 << 20))
            file.flush()
            assert fingerprint() not in seen
            seen.add(fingerprint())
        file.truncate(size + 1)
    assert fingerprint() not in seen


@pytest.mark.parametrize("size", [0, 1, 4096, 65535, 65536, 65537, 70000, 100_000, 1 << 20])
def test_all_of_a_small_file_is_read(size: int, tmp_path: Path) -> None:
    content = np.random.default_rng(size).bytes(size)
    (tmp_path / "file").write_bytes(content)
    parts = list(_model_files._samples(tmp_path / "file"))
    assert parts[0] == size.to_bytes(8, "little")
    limit = (1 << 16) + 64 * 4096
    assert b"".join(parts[1:])[: min(size, 1 << 16)] == content[: 1 << 16]
    if size <= limit:
        assert sum(map(len, parts[1:])) >= size


def test_shards_count_each(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURES / "bert_sharded", tmp_path / "sharded"))
    before = Embedder(folder).info.fingerprint
    shard = max(folder.rglob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-5] ^= 1
    shard.write_bytes(content)
    assert _model_files.ModelFiles.read(folder, has_modules=True).fingerprint != before


def test_the_files_are_read_when_the_model_is_loaded(copied: Path) -> None:
    model = Embedder(copied)
    before = model.info
    rewrite(copied / "config.json", lambda config: {**config, "layer_norm_eps": 1e-3})
    assert model.info == before


# The record itself


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"name": None}, TypeError, "name: expected a str, found NoneType"),
        ({"revision": 3}, TypeError, "revision: expected a str, found int"),
        ({"fingerprint": ""}, ValueError, "fingerprint: expected a text, found none"),
        ({"prompt": "x" * 65_537}, ValueError, "prompt: expected at most 65536 characters, found 65537"),
        ({"pooling": "\ud800"}, ValueError, "pooling: holds a lone surrogate"),
        ({"dtype": ["float32"]}, TypeError, "dtype: expected a str, found list"),
    ],
)
def test_attributes_are_checked(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        dataclasses.replace(INFO, **change)


# Where it is kept


def test_the_first_model_is_recorded(model: Embedder) -> None:
    store = EmbeddingStore()
    assert store.embedder_info is None
    assert len(store.add_texts([], model)) == 0
    assert store.embedder_info is None
    store.add_embeddings(model.encode(TEXTS))
    assert store.embedder_info is None
    store.add_texts(TEXTS, model)
    assert store.embedder_info == model.info
    assert repr(store).endswith(f", embedder={model.info.name!r:.100})")
    # Of vectors in arrays nothing is known.
    store.add_embeddings(np.ones((1, model.get_embedding_dimension())))
    assert store.embedder_info == model.info
    with pytest.raises(ValueError, match="ids"):
        EmbeddingStore().add_texts(TEXTS, model, ids=[1])


def test_it_survives(tmp_path: Path) -> None:
    store = filled()

    def opened(mode: Any = "r") -> EmbeddingStore:
        return EmbeddingStore.open(tmp_path / "store", mode)

    for same in (copy.copy(store), copy.deepcopy(store), pickle.loads(pickle.dumps(store))):
        assert same.embedder_info == INFO
    store.delete([0])
    store.compact()
    assert store.embedder_info == INFO
    store.update([1], texts=["other"])
    store.upsert(np.ones((1, 2)), [1])
    assert store.embedder_info == INFO
    store.save_to_disk(tmp_path / "store")
    assert opened().embedder_info == INFO
    assert EmbeddingStore.load_from_disk(tmp_path / "store").embedder_info == INFO
    assert pickle.loads(pickle.dumps(opened())).embedder_info == INFO
    into = EmbeddingStore()
    into.load_from_disk(tmp_path / "store")
    assert into.embedder_info == INFO
    with opened("a") as writer:
        writer.add_embeddings(np.ones((3, 2)))
        writer.commit()
        writer.compact()
    assert opened().embedder_info == INFO
    with opened("a") as writer:
        writer.delete(writer.ids)
    assert opened().embedder_info == INFO
    with opened("a") as writer:
        writer.clear()
        assert writer.embedder_info is None
    assert opened().embedder_info is None


def test_a_background_compaction_keeps_it(tmp_path: Path) -> None:
    filled().save_to_disk(tmp_path / "store")
    with EmbeddingStore.open(tmp_path / "store", "a", compact_at=0.01) as store:
        store.delete([0])
        store.commit()
    assert EmbeddingStore.open(tmp_path / "store").embedder_info == INFO


def test_a_commit_records_it_in_a_folder_that_had_none(tmp_path: Path) -> None:
    store = EmbeddingStore()
    store.add_embeddings(np.ones((2, 2)))
    store.save_to_disk(tmp_path / "store")
    assert "embedder" not in json.loads((tmp_path / "store" / MANIFEST).read_text())
    with EmbeddingStore.open(tmp_path / "store", "a") as writer:
        writer.add_texts("a", Encoder(INFO))
    document = json.loads((tmp_path / "store" / MANIFEST).read_text())
    assert document["embedder"] == dataclasses.asdict(INFO)
    assert document["format_version"] == 3
    assert EmbeddingStore.open(tmp_path / "store").embedder_info == INFO


@pytest.mark.parametrize("version", ["stores_1", "stores_2"])
def test_folders_of_before_have_none(version: str) -> None:
    folders = [folder for folder in (FIXTURES / version).iterdir() if (folder / MANIFEST).exists()]
    assert folders
    for folder in folders:
        assert EmbeddingStore.open(folder).embedder_info is None


def test_a_table_names_it() -> None:
    pytest.importorskip("pyarrow")
    assert json.loads(filled().to_arrow().schema.metadata[b"votive.embedder"]) == dataclasses.asdict(INFO)
    assert next(filled().iter_batches()).schema.metadata.keys() == {b"votive.embedder"}
    assert filled(None).to_arrow().schema.metadata is None


FORGED: dict[str, tuple[Any, str]] = {
    "a text": ("a/model", "embedder: expected an object, found 'a/model'"),
    "false": (False, "embedder: expected an object, found False"),
    "a list": ([], "embedder: expected an object, found a list"),
    "nothing in it": ({}, "embedder.name: expected a str, found NoneType"),
    "no name": ({**dataclasses.asdict(INFO), "name": None}, "embedder.name: expected a str, found NoneType"),
    "a number": ({**dataclasses.asdict(INFO), "prompt": 3}, "embedder.prompt: expected a str, found int"),
    "much": ({**dataclasses.asdict(INFO), "pooling": "x" * 10**6}, "embedder.pooling: expected at most 256 characters"),
    "an object": ({**dataclasses.asdict(INFO), "revision": {}}, "embedder.revision: expected a str, found dict"),
    "half a letter": ({**dataclasses.asdict(INFO), "dtype": "\ud800"}, "embedder.dtype: holds a lone surrogate"),
    "no fingerprint": ({**dataclasses.asdict(INFO), "fingerprint": ""}, "embedder.fingerprint: expected a text"),
}


@pytest.mark.parametrize(("value", "message"), FORGED.values(), ids=FORGED)
def test_a_forged_record_is_found_out(value: Any, message: str, tmp_path: Path) -> None:
    filled().save_to_disk(tmp_path / "store")
    forge(tmp_path / "store", setting("embedder", value))
    refused(tmp_path / "store", message)


def test_what_later_versions_may_add_is_passed_over(tmp_path: Path) -> None:
    filled().save_to_disk(tmp_path / "store")
    forge(tmp_path / "store", setting("embedder", "licence", "MIT"))
    assert EmbeddingStore.open(tmp_path / "store").embedder_info == INFO
    forge(tmp_path / "store", setting("embedder", None))
    assert EmbeddingStore.open(tmp_path / "store").embedder_info is None


# What is refused

OTHER = dataclasses.replace(INFO, name="another/model", revision=None, fingerprint="cd34")


def test_another_model_is_refused_unless_told() -> None:
    store, other = filled(), Encoder(OTHER)
    before = store.ids.tolist()
    calls: list[Callable[..., Any]] = [
        lambda **options: store.add_texts("a", other, **options),
        lambda **options: store.search_text("a", other, **options),
        lambda **options: store.query("a", other, **options),
        lambda **options: store.query(["a"], other, **options),
    ]
    for call in calls:
        with pytest.raises(StoreError) as caught:
            call()
        for part in (
            "'a/model' at 0123456789ab (fingerprint ab12)",
            "'another/model' (fingerprint cd34)",
            "allow_other_model=True",
        ):
            assert part in str(caught.value)
    # Before anything was computed, and without a trace.
    assert other.calls == 0
    assert store.ids.tolist() == before
    for call in calls:
        call(allow_other_model=True)
    assert len(store) == 4
    assert store.embedder_info == INFO


def test_another_prompt_of_documents_is_refused_unless_told() -> None:
    store = filled()
    other = Encoder(dataclasses.replace(INFO, prompt=""))
    with pytest.raises(StoreError, match=r"embedded with the prompt 'passage: ', and 'a/model'.* would put ''"):
        store.add_texts("a", other)
    store.search_text("a", other)
    store.query("a", other)
    store.add_texts("a", other, allow_other_model=True)
    assert store.embedder_info == INFO


def test_the_same_model_by_another_name_is_taken() -> None:
    store = filled()
    same = Encoder(dataclasses.replace(INFO, name="/a/folder", revision=None, dtype="bfloat16"))
    store.add_texts("a", same)
    assert len(store.query("a", same)) == 4
    assert store.embedder_info == INFO


def test_what_is_not_known_is_taken() -> None:
    store = filled()
    store.add_texts("a", Encoder())
    store.search_text("a", Encoder())
    assert store.embedder_info == INFO
    unknown = filled(None)
    assert unknown.embedder_info is None
    unknown.query("a", Encoder(INFO))
    assert unknown.embedder_info is None
    unknown.add_texts("a", Encoder(INFO))
    assert unknown.embedder_info == INFO


def test_models_themselves(model: Embedder, other: Embedder, copied: Path, tmp_path: Path) -> None:
    store = EmbeddingStore()
    store.add_texts(TEXTS, model)
    store.save_to_disk(tmp_path / "store")
    content = bytearray((copied / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (copied / "model.safetensors").write_bytes(content)
    tuned = Embedder(copied)
    opened = EmbeddingStore.open(tmp_path / "store")
    with pytest.raises(StoreError, match="vectors of two models cannot be compared"):
        opened.query("ice", tuned)
    assert len(opened.query("ice", tuned, allow_other_model=True)) == 3
    assert len(opened.query("ice", model)) == 3
    # A part of each vector is of the same model, and another dimension.
    with pytest.raises(ValueError, match="queries: expected dimension 48, found 40"):
        opened.query("ice", other)
    assert os.fspath(model.info.name)


def test_a_cleared_store_takes_any_model() -> None:
    store = filled()
    store.clear()
    store.add_texts("a", Encoder(OTHER))
    assert store.embedder_info == OTHER

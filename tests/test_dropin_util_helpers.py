"""Small helpers of `votive.sentence_transformers.util`: names, files, downloads, logging, the environment."""

from __future__ import annotations

import csv
import logging
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import votive
from votive.sentence_transformers import Unsupported, util

HERE = Path(__file__).parent / "fixtures"


def test_normalized_and_truncated() -> None:
    rows = np.array([[3, 4, 0], [0, 0, 0]], np.float32)
    np.testing.assert_allclose(util.normalize_embeddings(rows), [[0.6, 0.8, 0], [0, 0, 0]], atol=1e-7)
    np.testing.assert_allclose(util.normalize_embeddings(rows[0]), [0.6, 0.8, 0], atol=1e-7)
    assert util.truncate_embeddings(rows, 2).tolist() == [[3, 4], [0, 0]]
    assert util.truncate_embeddings(rows, None) is not None
    assert util.select_max_active_dims(np.array([[1.0, -3, 2]]), 2).tolist() == [[0, -3, 2]]
    with pytest.raises(ValueError, match="max_active_dims must be a positive integer"):
        util.select_max_active_dims(rows, 0)
    assert util.batch_to_device({"text": "a"}, "cpu") == {"text": "a"}


def test_names() -> None:
    assert util.fullname(3) == "int"
    assert util.fullname(Path) == f"{Path.__module__}.Path"
    assert util.import_from_string("votive.store.EmbeddingStore") is votive.EmbeddingStore
    with pytest.raises(ImportError, match="doesn't look like a module path"):
        util.import_from_string("votive")
    with pytest.raises(ImportError, match='does not define a "nothing"'):
        util.import_from_string("votive.store.nothing")
    assert util.import_module_class("sentence_transformers.util.cos_sim") is util.cos_sim
    with pytest.raises(Unsupported, match="import_module_class"):
        util.import_module_class("modeling.Module")
    assert util.similarity_fct_name(partial(util.cos_sim, b=1)) == "cos_sim(b=1)"
    assert "bert-base-uncased" in util.ORIGINAL_TRANSFORMER_MODELS


def test_the_environment() -> None:
    assert util.get_device_name() in ("cpu", "mps", "cuda:0")
    assert (util.get_rank(), util.get_world_size(), util.is_dist_initialized()) == (0, 1, False)
    assert not util.is_training_available()
    assert not util.check_package_availability("no-such-package", "nobody")
    util.check_version_requirements({"python": ">=3"})
    with pytest.raises(ImportError, match="- no-such-package>=1, but it is not installed"):
        util.check_version_requirements({"no-such-package": ">=1"}, "a-model")


def test_logging(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tqdm", raising=False)
    logger, handler = logging.getLogger("test_dropin_util"), util.LoggingHandler()
    logger.addHandler(handler)
    try:
        logger.warning("said")
        with util.disable_logging():
            logger.warning("not said")
    finally:
        logger.removeHandler(handler)
    assert capsys.readouterr().out == "said\n"


def test_the_last_row_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n", encoding="utf-8")
    assert not util.append_to_last_row(path, [3])
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    assert util.append_to_last_row(path, [3])
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["a", "b"], ["1", "2", "3"]]


def test_files_of_models(tmp_path: Path) -> None:
    model = HERE / "bert_modules"
    assert util.is_sentence_transformer_model(str(model))
    assert not util.is_sentence_transformer_model(str(tmp_path))
    assert util.load_file_path(str(model), "config.json") == str(model / "config.json")
    assert util.load_dir_path(str(model), "") == str(model)
    assert util.load_dir_path(str(tmp_path), "1_Pooling") is None
    with pytest.raises(ValueError, match="Invalid model path"):
        util.load_file_path(str(model), "../other")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"whole" if self.path == "/whole" else b"cut")

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_downloads_are_there_when_they_are_whole(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url, path = f"http://127.0.0.1:{server.server_port}", tmp_path / "folder" / "file"
        try:
            util.http_get(f"{url}/whole", str(path))
            assert path.read_bytes() == b"whole"
            with pytest.raises(OSError, match="404"):
                util.http_get(f"{url}/missing", str(path))
            with pytest.raises(OSError, match="expected 5 bytes, received 3"):
                util.http_get(f"{url}/cut", str(path))
        finally:
            server.shutdown()
            thread.join()
    assert [file.name for file in path.parent.iterdir()] == ["file"]
    assert path.read_bytes() == b"whole"

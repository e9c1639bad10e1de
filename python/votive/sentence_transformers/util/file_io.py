"""Files of models and of the web, as `sentence_transformers.util.file_io` has them."""

from __future__ import annotations

import importlib
import os
import shutil
import urllib.request
from pathlib import Path, PureWindowsPath
from typing import Any

from votive.sentence_transformers._unsupported import Unsupported

__all__ = ["disabled_tqdm", "http_get", "is_sentence_transformer_model", "load_dir_path", "load_file_path"]


def http_get(url: str, path: str | os.PathLike[str]) -> None:
    """Downloads a file. It is at `path` when it is whole, and in a file beside it before; folders are made.

    Raises:
        urllib.error.HTTPError: the server refused it.
        OSError: it was not reached, or the file cannot be written.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}_part")
    try:
        with urllib.request.urlopen(url) as response, part.open("wb") as file:
            shutil.copyfileobj(response, file)
            expected = response.headers.get("Content-Length")
            if expected is not None and file.tell() != int(expected):
                raise OSError(f"{url}: expected {expected} bytes, received {file.tell()}")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def is_sentence_transformer_model(
    model_name_or_path: str,
    token: bool | str | None = None,
    cache_folder: str | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> bool:
    """Whether a folder, or a model of the hub, has a modules.json.

    Raises:
        Unsupported: see `load_file_path`.
    """
    return bool(load_file_path(model_name_or_path, "modules.json", "", token, cache_folder, revision, local_files_only))


def load_file_path(
    model_name_or_path: str,
    filename: str | Path,
    subfolder: str = "",
    token: bool | str | None = None,
    cache_folder: str | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> str | None:
    """The path of a model's file, in a folder or from the hub; None where the model has none.

    Raises:
        ValueError: the file would be outside the model's folder.
        Unsupported: it is in no folder, and huggingface_hub, which finds files of the hub, is not installed.
    """
    _check_is_inside(subfolder)
    _check_is_inside(filename)
    found = Path(model_name_or_path, subfolder, filename)
    if found.exists():
        return str(found)
    if Path(model_name_or_path).is_dir():
        return None
    hub = _hub(f"load_file_path of {model_name_or_path!r}")
    inside = Path(subfolder, filename)
    try:
        path: str = hub.hf_hub_download(
            model_name_or_path,
            filename=inside.name,
            subfolder=inside.parent.as_posix(),
            revision=revision,
            token=token,
            cache_dir=cache_folder,
            local_files_only=local_files_only,
        )
    except (hub.errors.EntryNotFoundError, hub.errors.HFValidationError):
        return None
    return path


def load_dir_path(
    model_name_or_path: str,
    subfolder: str,
    token: bool | str | None = None,
    cache_folder: str | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> str | None:
    """The path of a model's folder, as `load_file_path` has that of a file."""
    _check_is_inside(subfolder)
    found = Path(model_name_or_path, subfolder)
    if found.exists():
        return str(found)
    if Path(model_name_or_path).is_dir():
        return None
    hub = _hub(f"load_dir_path of {model_name_or_path!r}")
    try:
        root = hub.snapshot_download(
            model_name_or_path,
            revision=revision,
            allow_patterns=f"{Path(subfolder).as_posix()}/**" if Path(subfolder).parts else None,
            token=token,
            cache_dir=cache_folder,
            local_files_only=local_files_only,
        )
    except (hub.errors.LocalEntryNotFoundError, hub.errors.HFValidationError):
        return None
    return str(Path(root, subfolder))


def disabled_tqdm(*args: Any, **kwargs: Any) -> Any:
    """A bar of tqdm, which must be installed, that shows nothing."""
    return importlib.import_module("tqdm.auto").tqdm(*args, **{**kwargs, "disable": True})


def _hub(what: str) -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise Unsupported(f"{what}: it is no folder, and files of the hub need the package huggingface_hub") from error


def _check_is_inside(path: str | Path) -> None:
    inside = PureWindowsPath(path)
    if inside.anchor or ".." in inside.parts or "\0" in str(path):
        raise ValueError(f"Invalid model path {str(path)!r}: expected a relative path without '..' components.")

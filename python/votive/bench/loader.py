"""Files of experiments become `Experiment`s: what they extend, what the command line sets, and short ways of writing.

Every value keeps its place, so that a mistake is told with file, line, key, and what is accepted there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import inspect

from votive._config_file import KeyPath, Place, check_key, found, read_file, read_yaml, written
from votive.bench.checks import check
from votive.bench.experiment import Experiment, LoadKind
from votive.bench.seed_files import translate
from votive.bench.tree import ExperimentError, Tree

DEFAULT_MODELS = {
    "embed": "sentence-transformers/all-MiniLM-L6-v2",
    "rerank": "cross-encoder/ms-marco-MiniLM-L-6-v2",
    # Stores search vectors that no model makes.
    "search": "none",
}

_SUFFIXES = (".yaml", ".yml", ".json", ".toml")

# Seconds after which a cell of a trial run is given up, where the experiment does not say it.
QUICK_TIMEOUT = 90.0

# Lists of which an entry may be a name alone, and the key of that.
_NAMED = {"models": "name", "backends": "kind"}

# Lists for which one value may stand.
_LISTS: tuple[KeyPath, ...] = (
    ("backends",),
    ("models",),
    ("measure",),
    ("outputs",),
    ("data", "sets"),
    ("sweep", "batch_size"),
    ("sweep", "concurrency"),
    ("sweep", "batching"),
    ("load", "rate"),
)


def is_readable(path: Path) -> bool:
    """Whether its name says that it may be an experiment."""
    return path.suffix.lower() in _SUFFIXES


def load(path: Path, settings: Sequence[str] = ()) -> tuple[Experiment, list[str]]:
    """The experiment of a file, and what to tell of it: keys that have no meaning here.

    Args:
        path: the file.
        settings: `KEY=VALUE` of the command line, where KEY is `sweep.batch_size` and VALUE is YAML.

    Raises:
        ConfigError: the file, or a setting, is no experiment.
        OSError: it, or one that it extends, cannot be read.
    """
    tree = _with_bases(path, ())
    for setting in settings:
        _set(tree, setting)
    notes = translate(tree)
    _lengthen(tree, path)
    types = inspect.type_info(Experiment)
    _check_keys(tree, types, (), tree.value)
    try:
        experiment = msgspec.convert(tree.value, Experiment)
    except msgspec.ValidationError as error:
        raise _told(tree, types, str(error)) from None
    check(tree, experiment)
    return experiment, notes


def _with_bases(path: Path, chain: tuple[Path, ...]) -> Tree:
    """The file over those that it extends."""
    real = path.resolve()
    if real in chain:
        circle = " extends ".join(str(each) for each in (*chain[chain.index(real) :], real))
        raise ExperimentError(f"{path}: extends: goes in a circle: {circle}")
    if not is_readable(path):
        raise ExperimentError(f"{path}: the name of an experiment's file ends with one of {', '.join(_SUFFIXES)}")
    document = read_file(path)
    if not document.value:
        raise ExperimentError(f"{path}: is empty; an experiment has keys such as model and backends")
    place = document.place(("extends",))
    base = document.value.pop("extends", None)
    if base is None:
        return Tree(document.source, document.value, document.places)
    if not isinstance(base, str):
        raise ExperimentError(f"{place}: expected the path of a file, found {found(base)}")
    below = path.parent / base
    if not below.is_file():
        raise ExperimentError(f"{place}: there is no file {below}")
    tree = _with_bases(below, (*chain, real))
    for one, other in (("model", "models"), ("models", "model")):
        if one in document.value:
            tree.drop((other,))
    tree.merge(document)
    return tree


def _set(tree: Tree, setting: str) -> None:
    key, equals, text = setting.partition("=")
    source = f"--set {setting}"
    if not equals or not key.strip():
        raise ExperimentError(f"{source}: expected KEY=VALUE, such as sweep.batch_size=[8,16]")
    path = tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", key))
    value = read_yaml(text, source).value
    if len(path) > 1:
        _write_out(tree, path)
    else:
        # Each stands for the other.
        for one, other in (("model", "models"), ("models", "model")):
            if path[0] == one:
                tree.drop((other,))
    tree.put(path, value, Place(source, None, written(path)))


def _write_out(tree: Tree, path: KeyPath) -> None:
    """Short ways of writing become long ones on the way to what a setting puts inside of them."""
    top = tree.value
    if path[0] == "load":
        if path[1] not in get_args(LoadKind):
            _lengthen_load(tree)
    elif path[0] == "model" and isinstance(top.get("model"), str):
        tree.move(("model",), ("model", "name"))
    elif path[0] == "models" and "model" in top:
        tree.move(("model",), ("models",), in_list=not isinstance(top["model"], list))
    elif path[0] == "backends" and not top.get("backends"):
        top["backends"] = ["votive"]
    if path[0] in _NAMED and path[0] in top:
        if not isinstance(top[path[0]], list):
            tree.move(path[:1], path[:1], in_list=True)
        _lengthen_entries(tree, path[0])


def _lengthen_entries(tree: Tree, name: str) -> None:
    """An entry of a list may be a name alone."""
    for index, entry in enumerate(tree.value[name]):
        if isinstance(entry, str):
            tree.move((name, index), (name, index, _NAMED[name]))


def _lengthen(tree: Tree, path: Path) -> None:
    """Short ways of writing become long ones."""
    top = tree.value
    top.setdefault("name", path.stem)
    if "model" in top and "models" in top:
        raise ExperimentError(f"{tree.place(('model',))}: give one of model and models")
    if "model" in top:
        tree.move(("model",), ("models",), in_list=not isinstance(top["model"], list))
    task = top.get("task", "embed")
    if not top.get("models"):
        top["models"] = [{"name": DEFAULT_MODELS.get(task if isinstance(task, str) else "embed", "none")}]
    if not top.get("backends"):
        top["backends"] = ["votive"]
    _lengthen_load(tree)
    for place in _LISTS:
        value = tree.get(place)
        if value is not None and not isinstance(value, list):
            tree.move(place, place, in_list=True)
    for name in _NAMED:
        _lengthen_entries(tree, name)
    for index, model in enumerate(top["models"]):
        if isinstance(model, dict) and "folder" in model:
            if "name" in model:
                raise ExperimentError(f"{tree.place(('models', index, 'folder'))}: give one of name and folder")
            tree.move(("models", index, "folder"), ("models", index, "name"))
    if "isolate" in top:
        if top["isolate"] != "process":
            raise ExperimentError(f"{tree.place(('isolate',))}: accepted: process, found {found(top['isolate'])}")
        tree.drop(("isolate",))
    for at in _paths(top):
        value = tree.get(at)
        source = Path(tree.place(at).source)
        # Those of the command line are relative to where it is given.
        if isinstance(value, str) and source.is_file():
            beside = source.parent / Path(value).expanduser()
            if value.startswith(("./", "../", "~")) or beside.exists():
                tree.assign(at, str(beside))


def _paths(top: dict[str, Any]) -> Iterable[KeyPath]:
    """Where a file may be named."""
    yield ("baseline",)
    yield ("data", "file")
    for name, key in (("models", "name"), ("backends", "file")):
        yield from ((name, index, key) for index in range(len(top[name])))


def _lengthen_load(tree: Tree) -> None:
    """`load: single` and `load: {open: {...}}` have the kind as a key."""
    value = tree.get(("load",))
    if isinstance(value, str):
        tree.move(("load",), ("load", "kind"))
    elif isinstance(value, dict):
        kinds = [kind for kind in get_args(LoadKind) if kind in value]
        if len(kinds) > 1 or (kinds and "kind" in value):
            raise ExperimentError(f"{tree.place(('load',))}: one load is measured, found {', '.join(value)}")
        if kinds:
            (kind,) = kinds
            inner = value[kind]
            if inner is not None and not isinstance(inner, dict):
                raise ExperimentError(f"{tree.place(('load', kind))}: expected keys and values, found {found(inner)}")
            for key in list(inner or {}):
                if key in value:
                    raise ExperimentError(f"{tree.place(('load', key))}: stands beside {kind} and in it")
                tree.move(("load", kind, key), ("load", key))
            place = tree.place(("load", kind))
            tree.drop(("load", kind))
            tree.put(("load", "kind"), kind, place)


def _check_keys(tree: Tree, kind: Any, path: KeyPath, value: Any) -> None:
    """Refuses keys that the type does not have, and says which one was meant."""
    if isinstance(kind, inspect.UnionType):
        for each in kind.types:
            _check_keys(tree, each, path, value)
    elif isinstance(kind, inspect.ListType) and isinstance(value, list):
        for index, item in enumerate(value):
            _check_keys(tree, kind.item_type, (*path, index), item)
    elif isinstance(kind, inspect.StructType) and isinstance(value, dict):
        types = {field.name: field.type for field in kind.fields}
        for key, item in value.items():
            if key not in types:
                known = [*types, *(("extends", "model", "isolate") if not path else ())]
                check_key(tree.place((*path, key)), key, known)
            _check_keys(tree, types[key], (*path, key), item)


def _told(tree: Tree, types: Any, message: str) -> ExperimentError:
    """The complaint of msgspec with the place, what stands there, and what is accepted."""
    at = re.search(r" - at `\$(.*?)`$", message)
    path: KeyPath = ()
    for key, index in re.findall(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]", at[1] if at else ""):
        path = (*path, key or (int(index) if index.isdigit() else index))
    if missing := re.match(r"Object missing required field `(\w+)`", message):
        return ExperimentError(f"{tree.place(path)}: has no {missing[1]}, and needs one")
    kind = types
    for part in path:
        kind = _inner(kind, part)
    accepted = _accepted(kind) or message.partition(" - at ")[0]
    return ExperimentError(f"{tree.place(path)}: accepted: {accepted}; found {found(tree.get(path))}")


def _inner(kind: Any, part: str | int) -> Any:
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    for each in kinds:
        if isinstance(each, inspect.StructType):
            return next((field.type for field in each.fields if field.name == part), None)
        if isinstance(each, inspect.ListType):
            return each.item_type
        if isinstance(each, inspect.DictType):
            return each.value_type
    return None


def _accepted(kind: Any) -> str:
    if isinstance(kind, inspect.UnionType):
        return " or ".join(filter(None, map(_accepted, kind.types)))
    if isinstance(kind, inspect.LiteralType):
        return ", ".join(map(str, kind.values))
    words: dict[type, str] = {
        inspect.IntType: "a whole number",
        inspect.FloatType: "a number",
        inspect.BoolType: "true or false",
        inspect.StrType: "text",
        inspect.ListType: "a list",
        inspect.DictType: "keys and values",
        inspect.StructType: "keys and values",
        inspect.NoneType: "nothing",
    }
    return words.get(type(kind), "")


def quick(experiment: Experiment) -> Experiment:
    """The same in a trial run: a round, few requests, few texts and points, and still every backend.

    A cold start takes several processes, and is left out.
    """
    sweep = experiment.sweep
    return msgspec.structs.replace(
        experiment,
        rounds=1,
        warmup=min(experiment.warmup, 1),
        iterations=min(experiment.iterations, 5),
        seconds=min(experiment.seconds, 0.5),
        max_seconds=min(experiment.max_seconds, 3.0),
        timeout_s=experiment.timeout_s or QUICK_TIMEOUT,
        measure=[each for each in experiment.measure if each != "cold_start"],
        data=msgspec.structs.replace(
            experiment.data,
            count=min(experiment.data.count, 64),
            vectors=min(experiment.data.vectors, 10_000),
        ),
        sweep=msgspec.structs.replace(
            sweep,
            batch_size=_ends(sweep.batch_size),
            concurrency=_ends(sweep.concurrency),
            zip=sweep.zip and {name: _ends(values) for name, values in sweep.zip.items()},
            points=sweep.points and _ends(sweep.points),
        ),
        quality=msgspec.structs.replace(experiment.quality, texts=min(experiment.quality.texts, 50)),
    )


def _ends(values: list[Any]) -> list[Any]:
    """The first, the middle and the last."""
    return values if len(values) <= 3 else [values[0], values[len(values) // 2], values[-1]]

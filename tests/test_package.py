"""What an installed votive carries, and what importing it costs."""

import dataclasses
import importlib.metadata
import importlib.resources
import inspect
import json
import subprocess
import sys

import pytest
import votive


def test_import_loads_nothing_heavy():
    code = "import json, sys, votive; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = {name.partition(".")[0] for name in json.loads(run.stdout)}
    assert "votive" in modules
    assert not modules & {"numpy", "tqdm", "pandas", "pyarrow", "torch"}


@pytest.mark.parametrize("name", ["py.typed", "_core.pyi"])
def test_types_are_installed(name):
    assert importlib.resources.files("votive").joinpath(name).is_file()


def test_version_is_the_distributions():
    assert votive.__version__ == importlib.metadata.version("votive")


def public_objects():
    """Everything that ``votive.__all__`` names, and the public members of the classes among it, with their docs.

    An attribute of an error, None on the class, is documented where the class's docstring names it; so is a field of a
    dataclass, in a line of its own.
    """
    for name in votive.__all__:
        value = getattr(votive, name)
        doc = inspect.getdoc(value) or ""
        yield name, doc
        if inspect.isclass(value):
            fields = {field.name for field in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()
            yield from ((f"{name}.{field}", f"\n    {field}: " in doc) for field in fields)
            for member in vars(value):
                if not member.startswith("_") and member not in fields:
                    attribute = getattr(value, member)
                    is_named = f"`{member}`" in doc
                    yield f"{name}.{member}", is_named if attribute is None else inspect.getdoc(attribute)


def test_all_that_is_public_is_documented():
    documented = {name: bool(doc) for name, doc in public_objects()}
    assert documented
    assert [name for name, has_doc in documented.items() if not has_doc] == []

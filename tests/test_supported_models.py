"""The families of models: in Python, on the command line, and in the documentation."""

import json
import shutil
from pathlib import Path

import pytest
import votive
import votive.cli
from conftest import FIXTURES
from json_files import change
from votive import Embedder, ModelError, supported_models

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "models.md"
BERT = FIXTURES / "bert_plain"
CODE = {"AutoModel": "odd.OddModel"}


def test_the_documentation_has_the_same_families() -> None:
    def cell(names: tuple[str, ...] | str) -> str:
        text = names if isinstance(names, str) else ", ".join(names)
        return f" {text} " if text else " "

    def title(family: votive.ModelFamily) -> str:
        types = ", ".join(f"`{name}`" for name in family.model_types)
        return f"{family.name} ({types})" if types else family.name

    rows = [
        f"| {title(family)} |{cell(family.embedders)}|{cell(family.rerankers)}|{cell(family.limits)}|"
        for family in supported_models()
    ]
    table = PAGE.read_text(encoding="utf-8").split("| Family (`model_type`)")[1].split("\n\n")[0].splitlines()[2:]
    assert table == rows


def test_the_readme_names_all_of_them() -> None:
    readme = (PAGE.parents[2] / "README.md").read_text(encoding="utf-8")
    names = ", ".join(family.name for family in supported_models())
    assert f"| know whether your model runs | [Models](docs/reference/models.md): {names} |\n" in readme


def test_a_family_is_complete() -> None:
    families = supported_models()
    types = [name for family in families for name in family.model_types]
    assert len(types) == len(set(types))
    assert {"bert", "qwen3", "model2vec"} <= set(types)
    assert all(family.embedders or family.rerankers for family in families)


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert votive.cli.main(["models"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("BERT: bert\n  embedders: all-MiniLM, ")
    assert votive.cli.main(["models", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [family["name"] for family in found] == [family.name for family in supported_models()]
    assert set(found[0]) == {"name", "model_types", "embedders", "rerankers", "limits"}


def test_another_family_is_refused_with_the_list(tmp_path: Path) -> None:
    model = Path(shutil.copytree(BERT, tmp_path / "model"))
    change(model / "config.json", model_type="odd", auto_map=CODE)
    with pytest.raises(ModelError, match=r"\(code of a model's own, .* is not run\); supported: bert, .*votive models"):
        Embedder(str(model), device="cpu", trust_remote_code=True)


def test_code_of_a_models_own_is_named_where_tensors_do_not_fit(tmp_path: Path) -> None:
    model = Path(shutil.copytree(BERT, tmp_path / "model"))
    change(model / "config.json", num_hidden_layers=7)
    with pytest.raises(ModelError, match="has no tensor") as plain:
        Embedder(str(model), device="cpu")
    assert "auto_map" not in str(plain.value)
    change(model / "config.json", auto_map=CODE)
    expected = r'has no tensor .*\("auto_map"\), which is not run: .* another network than "bert"; supported: bert, '
    with pytest.raises(ModelError, match=expected) as own:
        Embedder(str(model), device="cpu", trust_remote_code=True)
    assert own.value.tensor == plain.value.tensor

"""The table "Replacing sentence-transformers calls" of docs/migrate/drop-in.md, made of calls.

    PYTHONPATH=tests python tests/dropin_table.py

writes it anew. A row holds where each of its calls gives what sentence-transformers gives, by `test_dropin.py`; what
votive refuses is called, and what it says stands in the table.
"""

import re
from collections.abc import Callable
from typing import Any

import votive.sentence_transformers
from dropin_calls import CALLS, FIXTURES, embedder, ranker
from votive.sentence_transformers import Unsupported

PAGE = FIXTURES.parents[1] / "docs" / "migrate" / "drop-in.md"
BEGIN, END = "<!-- table of calls -->\n", "<!-- end of the table of calls -->\n"

# What a program writes, and the names of the calls that show it, as regular expressions.
ROWS: dict[str, str] = {
    "`SentenceTransformer(name)`, `device=`": "state$",
    "`encode(str)`, `encode(list)`, tuples and arrays": "encode (one|many|tuple|array of str|array of objects)",
    "`encode(sentences=...)`, arguments by position": "encode (sentences=|positions)",
    "`encode(..., convert_to_tensor=True)`": "encode .* tensor=True",
    "`encode(..., convert_to_numpy=False)`": "encode .* numpy=False",
    "`encode(..., precision=...)`": "encode .* (int8|uint8|binary|ubinary)",
    '`encode(..., output_value="token_embeddings")`, `None`': "encode .* (token_embeddings|None)|dict",
    "`encode` of pairs of texts": "encode .*pairs",
    "`batch_size`, `normalize_embeddings`, `truncate_dim`": "encode .*with (batch|norm|trunc|no bar)",
    "`prompts`, `prompt_name`, `prompt`, `default_prompt_name`": ".*prompt",
    "`encode_query`, `encode_document`": "encode_(query|document)",
    "`processing_kwargs`": "encode .*processing_kwargs",
    "`similarity`, `similarity_pairwise`, `similarity_fn_name`": "similarity|set similarity",
    "`truncate_embeddings`": "truncate_embeddings",
    "`get_sentence_embedding_dimension()`, `get_max_seq_length()`": "get_",
    "`max_seq_length` read and set": "set max_seq_length",
    "`model_kwargs`, `processor_kwargs`, `config_kwargs`": "(made|state) with (dtype|torch|attention|length|empty)",
    "`trust_remote_code`, `revision`, `token`, `local_files_only`": "(made|state) with (trust|rev|local|two)",
    "`tokenizer`": "tokenizer",
    "`tokenize`, `preprocess`": "tokenize$|preprocess",
    "`model[0]`, `_first_module()`, iteration": "names of mod|number of|first mod|last mod|hidden|length of|width",
    "`to`, `cpu`, `eval`, `train(False)`, `float`": ".* gives the model",
    "`save`, `save_pretrained`": "save|encode what was saved|.* save$",
    "`copy.deepcopy`, `pickle`": ".*(deepcopy|pickle)",
    "`CrossEncoder(name, max_length=...)`": "max_length|older arguments|predict within",
    "`CrossEncoder.predict`": "predict",
    "`CrossEncoder.rank`": "rank",
    "`CrossEncoder.config`, `num_labels`": "num_labels|names of labels",
}

# What votive refuses, by what a program writes.
REFUSALS: dict[str, Callable[[Any], Any]] = {
    "`losses.CosineSimilarityLoss(model)`": lambda package: package.losses.CosineSimilarityLoss(None),
    "`SentenceTransformerTrainer(...)`": lambda package: package.SentenceTransformerTrainer(),
    "`model.fit(...)`": lambda package: embedder(package).fit([]),
    "`model.train()`": lambda package: embedder(package).train(),
    "`models.Transformer(...)`, `models.Pooling(...)`": lambda package: package.models.Transformer("bert-base-uncased"),
    "`SentenceTransformer(modules=[...])`": lambda package: package.SentenceTransformer(modules=[None]),
    "`SparseEncoder(...)`": lambda package: package.SparseEncoder("name"),
    "`MultiVectorEncoder(...)`": lambda package: package.MultiVectorEncoder("name"),
    "`mine_hard_negatives(...)`": lambda package: package.util.mine_hard_negatives(None, None),
    "`export_optimized_onnx_model(...)`": lambda package: package.export_optimized_onnx_model(),
    "`model.half()`": lambda package: embedder(package).half(),
    '`model.to("cuda")`, of a model on the CPU': lambda package: embedder(package).to("cuda"),
    "`model.tokenizer = ...`": lambda package: setattr(embedder(package), "tokenizer", None),
    "`model.parameters()`": lambda package: embedder(package).parameters(),
    "`model[0].auto_model.embeddings`": lambda package: embedder(package)[0].auto_model.embeddings,
    "`model.push_to_hub(...)`": lambda package: embedder(package).push_to_hub("name"),
    "`model.add_adapter(...)`": lambda package: embedder(package).add_adapter({}),
    '`model_kwargs={"quantization_config": ...}`': lambda package: embedder(
        package, model_kwargs={"quantization_config": {}}
    ),
    '`processor_kwargs={"chat_template": ...}`': lambda package: ranker(
        package, processor_kwargs={"chat_template": ""}
    ),
    "`save(..., safe_serialization=False)`": lambda package: embedder(package).save("x", safe_serialization=False),
}


def calls_of(row: str) -> list[str]:
    """The names of the calls that show a row."""
    return [name for name in CALLS if re.match(ROWS[row], name)]


def refusal(row: str) -> str:
    """What votive says to a call that it refuses."""
    try:
        REFUSALS[row](votive.sentence_transformers)
    except Unsupported as error:
        return str(error)
    raise AssertionError(f"{row}: not refused")


def table() -> str:
    """The table in Markdown."""
    lines = ["| a program writes | with votive |", "| --- | --- |"]
    lines += [f"| {row} | the same ({len(calls_of(row))}) |" for row in ROWS]
    lines += [f"| {row} | refused: {refusal(row)} |" for row in REFUSALS]
    return "\n".join(lines) + "\n"


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + table() + "\n" + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()

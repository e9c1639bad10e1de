"""`votive check`: whether a device computes what the CPU does, and how fast."""

from __future__ import annotations

import argparse
import warnings
from itertools import islice
from typing import TYPE_CHECKING, Any

import votive
from votive import _core
from votive.cli.arguments import DEFAULT_MODEL
from votive.cli.failure import CommandFailed
from votive.cli.hits import print_json
from votive.cli.model import load_model
from votive.demo_corpus import passages

if TYPE_CHECKING:
    import numpy as np

TEXTS = 200
# Of each text's vector with that of the CPU in float32, by how weights are held.
MIN_COSINE = {"float32": 0.99999, "float16": 0.9995, "bfloat16": 0.9995, "int8": 0.99, "int4": 0.95}


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive check` say."""
    texts = [passage.text for passage in islice(passages(), TEXTS)]
    on_cpu = argparse.Namespace(**vars(arguments) | {"device": "cpu", "dtype": "float32"})
    models = [load_model(votive.Embedder, asked) for asked in (arguments, on_cpu)]
    found, expected = (encoded(model, texts) for model in models)
    cosines = cosine(found, expected)
    worst = int(cosines.argmin())
    limit = MIN_COSINE[models[0].dtype]
    # In this form also where it is NaN.
    passed = bool(cosines[worst] >= limit)
    figures = {
        "model": arguments.model or DEFAULT_MODEL,
        "texts": len(texts),
        "tokens": models[0].last_report.tokens,
        "devices": [
            {"device": model.device, "dtype": model.dtype, "texts_per_second": model.last_report.texts_per_second}
            for model in models
        ],
        "cosine": {"mean": cosines.mean(), "least": cosines[worst], "least_at": worst, "limit": limit},
        "products_flops": _core.product_rate(models[0].device),
        "passed": passed,
    }
    if arguments.json:
        print_json(figures)
    else:
        _print_figures(figures)
    device = f"{models[0].device} in {models[0].dtype}"
    if not passed:
        raise CommandFailed(f"{device} is not right: the least cosine must be {limit} and is {cosines[worst]:.7f}")
    if not arguments.json:
        print(f"passed: in {models[0].dtype} the least cosine must be {limit}")


def _print_figures(figures: dict[str, Any]) -> None:
    print(f"{figures['model']}: {figures['texts']} texts, {figures['tokens']:,} tokens")
    for model in figures["devices"]:
        print(f"{model['device']:<8}{model['dtype']:<10}{model['texts_per_second']:>10,.1f} texts/s")
    if figures["products_flops"] is not None:
        print(f"products: {figures['products_flops'] / 1e12:.3g} TFLOP/s")
    cosine = figures["cosine"]
    print(f"cosine: mean {cosine['mean']:.7f}, least {cosine['least']:.7f} (text {cosine['least_at']})")


def encoded(model: votive.Embedder, texts: list[str]) -> np.ndarray:
    """The vectors of `texts`. They are computed twice, and the report is of the second time: the first one compiles."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", votive.TruncationWarning)  # both models cut alike
        model.encode(texts, show_progress_bar=False)
        return model.encode(texts, show_progress_bar=False)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """That of each row of `a [n, dimension]` and the same row of `b`, `[n]`, in float64."""
    import numpy as np

    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))

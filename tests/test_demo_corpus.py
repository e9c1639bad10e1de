"""The corpus of the demo and the benchmarks: reproducible, and read without running what it reads."""

import json
import subprocess
import sys

from votive.demo_corpus import documents, passages


def test_corpus_is_the_same_each_time_and_without_repetition():
    corpus = list(documents())
    assert corpus == list(documents())
    assert len(corpus) > 2000
    assert len({document.text for document in corpus}) == len(corpus)
    assert {"topic assert", "str.split", "json.dumps", "argparse.ArgumentParser"} <= {
        document.source for document in corpus
    }


def test_reading_the_corpus_imports_nothing_of_it():
    code = (
        "import sys; from votive.demo_corpus import documents; before = set(sys.modules); list(documents())\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", f"import json; {code}"], capture_output=True, text=True, check=True)
    imported = set(json.loads(run.stdout))
    assert not imported & {"antigravity", "this", "tkinter", "turtle", "idlelib", "lib2to3"}
    assert len(imported) < 40


def test_passages_are_cut_between_paragraphs():
    whole = next(document for document in documents() if document.source == "topic assert")
    parts = list(passages([whole]))
    assert all(part.text.startswith("topic assert: ") and len(part.text) < 1100 for part in parts)
    words = " ".join(part.text.removeprefix("topic assert: ") for part in parts).split()
    assert words == whole.text.split()

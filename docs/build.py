"""Builds the site: executes the notebooks into pages beside those of docs/, then has Zensical render all, strictly.

    pip install '.[docs]' && python docs/build.py

A cell that fails, a link that leads nowhere, and a name that the reference cannot find end it with an error.
The site is in site/.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from nbconvert import MarkdownExporter
from nbconvert.preprocessors import ExecutePreprocessor
from nbconvert.writers import FilesWriter

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "target" / "docs"

CELL_SECONDS = 120


def page_of(notebook: Path) -> None:
    """Executes a notebook in an empty folder, and puts its page with the pictures where the notebook was."""
    work = ROOT / "target" / "notebooks" / notebook.stem
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    exporter = MarkdownExporter()
    exporter.register_preprocessor(
        ExecutePreprocessor(timeout=CELL_SECONDS), enabled=True
    )
    files = {
        "metadata": {"path": str(work)},
        "output_files_dir": f"{notebook.stem}-files",
    }
    body, resources = exporter.from_filename(str(notebook), resources=files)
    # In Jupyter and on a forge a notebook links to another; here its page does to a page.
    FilesWriter(build_directory=str(notebook.parent)).write(
        body.replace(".ipynb)", ".md)"), resources, notebook_name=notebook.stem
    )


def main() -> int:
    """Builds, and gives the exit status of Zensical."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(
        ROOT / "docs", SOURCE, ignore=shutil.ignore_patterns("*.py", "ruff.toml")
    )
    for notebook in sorted(SOURCE.glob("notebooks/*.ipynb")):
        print(f"executing {notebook.name}", flush=True)
        page_of(notebook)
    return subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean"], cwd=ROOT
    ).returncode


if __name__ == "__main__":
    sys.exit(main())

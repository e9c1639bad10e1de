"""text-embeddings-inference."""

from __future__ import annotations

import shutil

from votive.bench.backends.http import Http
from votive.bench.backends.unavailable import Unavailable

PROGRAM = "text-embeddings-router"


class Tei(Http):
    """Its program, or a server at `url`; it speaks a dialect of its own."""

    dialect = "tei"

    def command(self, port: int) -> list[str]:
        if shutil.which(PROGRAM) is None:
            raise Unavailable(f"{PROGRAM} is not on the path: cargo install it, or give the url of its container")
        command = [PROGRAM, "--model-id", str(self.setup.model), "--hostname", "127.0.0.1", "--port", str(port)]
        return [*command, "--auto-truncate"]

"""votive beside its peers: `python -m benches --help`.

`data` makes what is computed, `peers` compute it, `measure` takes the times, and `report` prints them. `targets` holds
the ratios that votive is held to, `options` the command line.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository's folder, in which the processes of peers start: it is where they find this package."""

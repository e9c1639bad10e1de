"""`python -m votive`: the command line without its console script."""

import sys

from votive.cli import main

sys.exit(main())

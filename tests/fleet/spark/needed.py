"""Whether Spark can run here: a file of tests that imports this is skipped where it cannot."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

import pytest

__all__ = ["GUESTS", "SMALL", "pytestmark"]

if not os.environ.get("CI"):
    if shutil.which("java") is None:
        pytest.skip("no Java (tools/debian/install.sh installs it)", allow_module_level=True)
    if find_spec("pyspark") is None:
        pytest.skip("no pyspark (make setup installs it)", allow_module_level=True)

#: How many guests a fleet has that both engines audit: ten million in make fleet-check.
GUESTS = int(os.environ.get("ARCHCAPS_FLEET_ROWS", "2000"))
#: Java then need not make much of its code: to compile it well takes longer than to run it.
SMALL = GUESTS < 1_000_000
#: For every file of tests.
pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")

"""libvirt's own tools, for tests that ask them."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

INSTALL = "tools/debian/install.sh installs it"


def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run one of libvirt's tools; a test that needs it is left out where it is missing."""
    if shutil.which(words[0]) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{words[0]} is missing; {INSTALL}")
        pytest.skip(f"{words[0]} is missing; {INSTALL}")
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(words, input=stdin, capture_output=True, text=True, check=False, env=environment)

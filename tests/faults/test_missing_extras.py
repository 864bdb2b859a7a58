"""Commands where the packages of an extra are not installed: one line that names what to install; help needs none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Every package that some extra brings and none of the others.
PACKAGES = ("duckdb", "jinja2", "numpy", "oxidd", "pyspark")

#: Runs archcaps as if the packages in its first argument (with commas) were not installed.
WITHOUT = """
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in missing else self.finder.find_spec(name, path, target)
missing = set(sys.argv.pop(1).split(","))
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""
COMMAND = WITHOUT + "from archcaps.cli.main import main\nmain()"
EVERY_HELP = (
    WITHOUT
    + """
from archcaps.cli.main import cli
for name in cli.list_commands(None):
    cli.main([name, "--help"], "archcaps", standalone_mode=False)
print("loaded:", sorted(each for each in sys.argv[1].split(",") if each in sys.modules))
"""
)


def run(program: str, missing: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", program, ",".join(missing), *arguments]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


FLEET = ("--quiet", "examples/fleet")
PROOF = ("--about", "mmio_stale_data")


@pytest.mark.parametrize(
    ("missing", "extra", "arguments"),
    [
        (PACKAGES, "fleet", ("audit", *FLEET)),
        (PACKAGES, "spark", ("audit", *FLEET, "--engine", "spark")),
        (PACKAGES, "fleet", ("roll-out", *FLEET, "--change", "host-kernel=6.18.35")),
        (PACKAGES, "spark", ("roll-out", *FLEET, "--engine", "spark", "--change", "host-kernel=6.18.35")),
        (PACKAGES, "fleet", ("rules",)),
        (PACKAGES, "fleet", ("rules", "--sql", "duckdb", "mds_truth")),
        (PACKAGES, "fleet", ("rules", "--sql", "spark", "--lookups", "x", "--hosts", "none", "--guests", "no")),
        (PACKAGES, "fleet", ("pool", "examples/thread/host.toml")),
        (PACKAGES, "fleet", ("sample-fleet", "10", "--out", "no-folder")),
        (PACKAGES, "prove", ("prove", "host-entry-protected", *PROOF)),
        (PACKAGES, "prove", ("diff", "6.18.35", "6.19.9", *PROOF)),
        (PACKAGES, "prove", ("check", "--exact", "--host", "examples/thread/host.toml", "--guest", "default")),
        # one extra is there, and another is needed
        (("duckdb", "oxidd"), "fleet", ("audit", *FLEET)),
        (("oxidd", "pyspark"), "spark", ("audit", *FLEET, "--engine", "spark")),
        (("numpy",), "fleet", ("audit", *FLEET)),
        (("jinja2",), "fleet", ("audit", *FLEET, "--html", "no-file.html")),
    ],
)
def test_what_to_install_is_said_in_one_line(missing: tuple[str, ...], extra: str, arguments: tuple[str, ...]) -> None:
    done = run(COMMAND, missing, *arguments)
    assert (done.returncode, done.stdout) == (65, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("archcaps: ")
    assert done.stderr.endswith(f"not installed: pip install 'archcaps[{extra}]'\n")
    assert any(name in done.stderr for name in missing)


def test_no_command_s_help_loads_an_extra() -> None:
    assert run(EVERY_HELP, PACKAGES, "-").returncode == 0
    loaded = run(EVERY_HELP, ("none",), ",".join(PACKAGES))
    assert (loaded.returncode, loaded.stderr) == (0, "")
    assert loaded.stdout.splitlines()[-1] == "loaded: []"


def test_what_needs_no_extra_works_without() -> None:
    done = run(
        COMMAND, PACKAGES, "check", "--host", "examples/thread/host.toml", "--guest", "examples/thread/guest.toml"
    )
    assert done.returncode == 1
    assert done.stdout.startswith("NOT TOLD THE TRUTH")
    assert done.stderr == ""


@pytest.mark.parametrize(("name", "package", "extra"), [("prove", "oxidd", "prove"), ("diff", "oxidd", "prove")])
def test_python_says_what_to_install(name: str, package: str, extra: str) -> None:
    program = (
        f"{WITHOUT}\nimport archcaps\ntry:\n    archcaps.{name}\nexcept ModuleNotFoundError as error:\n    print(error)"
    )
    said = run(program, (package,)).stdout
    assert said == f"archcaps.{name} needs {package}, which is not installed: pip install 'archcaps[{extra}]'\n"

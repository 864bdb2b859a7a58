"""Write the generated documents again; with --check only name those that are out of date, and exit with 1.

* schemas/*.json from the types of the answer and of the snapshot;
* the list of kernel options in the probe's script;
* the machines of examples/ for `archcaps sample-fleet`;
* docs/reference/*.md from the command line's own help and from the tables;
* the output in ```console blocks of README.md, docs/ and examples/README.md whose first line is `$ archcaps ...` or
  `$ python ...`: the command runs from the repository root. A ` | head -n N` at its end keeps the first lines; the exit
  code is the command's.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import click

from archcaps.cli.main import cli
from archcaps.machine.cmdline import OPTIONS
from archcaps.machine.read import snapshot_schema
from archcaps.report.audit import audit_schema
from archcaps.report.decode import decode_schema
from archcaps.report.diff import diff_schema
from archcaps.report.explain import explain_schema
from archcaps.report.fix import fix_schema
from archcaps.report.json import check_schema
from archcaps.report.kernel import kernel_schema
from archcaps.report.migrate import migrate_schema
from archcaps.report.pool import pool_schema
from archcaps.report.predict import predict_kvm_schema, predict_linux_schema
from archcaps.report.prove import prove_schema
from archcaps.report.roll_out import roll_out_schema
from archcaps.report.rules import rules_schema
from archcaps.report.shown import shown_schema
from archcaps.report.trace import trace_schema
from archcaps.report.upgrade import upgrade_schema
from tools.bits_page import bits_page
from tools.fleet_documents import fleet_machines, inventory_page
from tools.kernels_page import kernels_page
from tools.knowledge_pages import axioms_page, rules_page, unverified_page, words_page
from tools.pages import WRITTEN_BY

ROOT = Path(__file__).resolve().parent.parent
PROBE = ROOT / "src" / "archcaps" / "machine" / "probe_script.py"
CONSOLE = re.compile(r"^```console\n(?P<command>\$ (?:archcaps|python) (?:.*\\\n)*.*\n)(?P<rest>(?:.*\n)*?)```$", re.M)
HEAD = re.compile(r" \| head -n (?P<lines>\d+)\Z")
EXIT_CODE = re.compile(r"^# exit code \d+$", re.M)


# --- console blocks ------------------------------------------------------------------------


@cache
def run(command: str) -> tuple[str, int]:
    """Return what a command prints, and its exit code."""
    program, *arguments = shlex.split(command.replace("\\\n", " "))
    binaries = Path(sys.executable).parent
    programs: dict[str, Path] = {"archcaps": binaries / "archcaps", "python": Path(sys.executable)}
    environment = {"PATH": os.environ.get("PATH", ""), "NO_COLOR": "1", "COLUMNS": "100", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [programs[program], *arguments],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        encoding="utf-8", check=False,
    )  # fmt: skip
    if str(ROOT) in done.stdout or "Traceback" in done.stdout:
        raise SystemExit(f"generate: {command}: the output names this machine, or is a traceback:\n{done.stdout}")
    return done.stdout.rstrip("\n"), done.returncode


def with_output(match: re.Match[str]) -> str:
    """Return a console block with its command's real output, and the exit code where it is not 0 or was there."""
    command = match["command"].removeprefix("$ ").rstrip("\n")
    head = HEAD.search(command)
    output, code = run(HEAD.sub("", command))
    if head:
        output = "\n".join(output.splitlines()[: int(head["lines"])]).rstrip("\n")
    last = f"# exit code {code}\n" if code or EXIT_CODE.search(match["rest"]) else ""
    return f"```console\n{match['command']}{output}\n{last}```"


def with_console_blocks(text: str) -> str:
    return CONSOLE.sub(with_output, text)


# --- schemas -------------------------------------------------------------------------------


def schema(title: str, body: Mapping[str, object]) -> str:
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **body}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


# --- the probe's list of kernel options ----------------------------------------------------


def probe_script(text: str) -> str:
    """The probe, which runs alone, with the options that rules read."""
    names = textwrap.fill(", ".join(f'"{name}"' for name in sorted(OPTIONS)), 116, break_on_hyphens=False)
    body = textwrap.indent(f"{names},", "    ")
    return re.sub(r"(?s)(\nOPTIONS = \(\n).*?\)(?:  # fmt: skip)?\n", rf"\g<1>{body}\n)  # fmt: skip\n", text, count=1)


# --- the command line -----------------------------------------------------------------------


def cli_page() -> str:
    """The command line, from its own --help."""
    names = cli.list_commands(click.Context(cli))
    commands = ["archcaps", *(f"archcaps {name}" for name in names)]
    lines = [WRITTEN_BY, "# Command line\n", "What `--help` says of every command.\n"]
    for command in commands:
        lines += [f"## {command}\n", f"```console\n$ {command} --help\n{run(f'{command} --help')[0]}\n```\n"]
    return "\n".join(lines)


# --- all of it -----------------------------------------------------------------------------


def documents() -> dict[Path, str]:
    """Every generated file with the text it should have."""
    reference = ROOT / "docs" / "reference"
    found = {
        ROOT / "schemas" / "audit-1.json": schema("archcaps audit --json", audit_schema()),
        ROOT / "schemas" / "roll-out-1.json": schema("archcaps roll-out --json", roll_out_schema()),
        ROOT / "schemas" / "check-1.json": schema("archcaps check --json", check_schema()),
        ROOT / "schemas" / "decode-1.json": schema("archcaps decode --json", decode_schema()),
        ROOT / "schemas" / "diff-1.json": schema("archcaps diff --json", diff_schema()),
        ROOT / "schemas" / "prove-1.json": schema("archcaps prove --json", prove_schema()),
        ROOT / "schemas" / "explain-1.json": schema("archcaps explain --json", explain_schema()),
        ROOT / "schemas" / "fix-1.json": schema("archcaps fix --json", fix_schema()),
        ROOT / "schemas" / "kernel-1.json": schema("archcaps kernel --json", kernel_schema()),
        ROOT / "schemas" / "migrate-1.json": schema("archcaps migrate --json", migrate_schema()),
        ROOT / "schemas" / "predict-linux-1.json": schema("archcaps predict", predict_linux_schema()),
        ROOT / "schemas" / "shown-1.json": schema("archcaps shown --json", shown_schema()),
        ROOT / "schemas" / "rules-1.json": schema("archcaps rules --json", rules_schema()),
        ROOT / "schemas" / "trace-1.json": schema("archcaps trace --json", trace_schema()),
        ROOT / "schemas" / "upgrade-1.json": schema("archcaps upgrade --json", upgrade_schema()),
        ROOT / "schemas" / "pool-1.json": schema("archcaps pool --json", pool_schema()),
        ROOT / "schemas" / "predict-kvm-1.json": schema("archcaps predict --kvm, a line", predict_kvm_schema()),
        ROOT / "schemas" / "snapshot-1.json": schema("archcaps snapshot", snapshot_schema()),
        PROBE: probe_script(PROBE.read_text(encoding="utf-8")),
        ROOT / "src" / "archcaps" / "tables" / "fleet" / "machines.ndjson": fleet_machines(ROOT / "examples"),
        reference / "axioms.md": axioms_page(),
        reference / "cli.md": cli_page(),
        reference / "inventory.md": inventory_page(),
        reference / "bits.md": bits_page(),
        reference / "kernels.md": kernels_page(),
        reference / "unverified.md": unverified_page(),
        reference / "rules.md": rules_page(),
        reference / "words.md": words_page(),
    }
    for path in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "examples" / "README.md"]):
        if path not in found:
            found[path] = with_console_blocks(path.read_text(encoding="utf-8"))
    return found


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        file.write(text)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Write the generated documents again.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a file is out of date")
    check = parser.parse_args(arguments).check
    stale = {
        path: text for path, text in documents().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }  # fmt: skip
    for path, text in stale.items():
        name = path.relative_to(ROOT)
        if check:
            print(f"generate: out of date: {name} (run make docs)", file=sys.stderr)
        else:
            write(path, text)
            print(f"generate: {name}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

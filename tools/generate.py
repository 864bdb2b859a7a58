"""Write the generated documents anew; with --check only name those that are out of date, and exit with 1.

* schemas/*.json from the types of the answer and of the snapshot;
* the machines of examples/ for `archcaps sample-fleet`;
* docs/reference/*.md from the command line's own help and from the tables;
* the output in ```console blocks of README.md, docs/ and examples/README.md whose first line is `$ archcaps ...` or
  `$ python ...`: the command runs from the repository root. A ` | head -n N` at its end keeps the first lines; the exit
  code is the command's.

One file over 400 lines: each function writes one document, and they share only the way a page is begun and written.
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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

import click
import msgspec

from archcaps.cli.main import cli
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.explain_rules import explain_rule, rules
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
from archcaps.tables.axioms import Axiom, axioms
from archcaps.tables.bits import BITS, CONSUMERS, REGISTERS, Bit, Register, bits_of, fields_of
from archcaps.tables.files import read_csv
from archcaps.tables.history import observation_of
from archcaps.tables.kernels import BEHAVIOURS, LONG_TERM, READINGS, Release, readings_of
from archcaps.tables.releases import distributions
from archcaps.tables.words import WORD_KINDS, words
from tools.fleet_documents import fleet_machines, inventory_page

ROOT = Path(__file__).resolve().parent.parent
WRITTEN_BY = "<!-- Written by tools/generate.py (make docs); not edited by hand. -->\n"
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


# --- reference pages -----------------------------------------------------------------------


def cli_page() -> str:
    """The command line, from its own --help."""
    names = cli.list_commands(click.Context(cli))
    commands = ["archcaps", *(f"archcaps {name}" for name in names)]
    lines = [WRITTEN_BY, "# Command line\n", "What `--help` says of every command.\n"]
    for command in commands:
        lines += [f"## {command}\n", f"```console\n$ {command} --help\n{run(f'{command} --help')[0]}\n```\n"]
    return "\n".join(lines)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


class Sources:
    """Sources of one section by number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def cite(self, text: str) -> str:
        """Return the numbers of the sources that `text` names, parted by semicolons."""
        parts = [part.strip() for part in text.split(";")]
        return " ".join(f"[{self.numbers.setdefault(part, len(self.numbers) + 1)}]" for part in parts)

    def __str__(self) -> str:
        return "Sources: " + "; ".join(f"[{number}] {text}" for text, number in self.numbers.items()) + "\n"


BITS_HEAD = """# Registers and bits

Every bit that archcaps knows, from `src/archcaps/tables/registers.csv`, `bits.csv` and `fields.csv`. `archcaps check`
and snapshots call a bit by its name here; `archcaps decode` takes everybody's names and prints whichever are asked for.

* **kind**: *immunity* (the part is not affected), *affected* (it is), *clears* (an instruction clears buffers),
  *control* and *command* (a register or a switch, or that there is one), *feature* (anything else), *reserved* (no
  published meaning).
* **pool**: what a pool of hosts may show a guest that moves among them. *AND*: only what every host has. *OR*: what any
  host has, because leaving it out hides a need. *HOST*: never shown to a guest. Empty: no rule.
* **UNVERIFIED** marks what rests on a single or indirect statement; [unverified.md](unverified.md) lists all of it.
"""


def names_of(bit: Bit) -> str:
    """The names that a bit's users have for it, those who agree together."""
    spelling = {"intel": "Intel", "linux": "Linux", "qemu": "QEMU", "libvirt": "libvirt", "xen": "Xen"}
    users: dict[str, list[str]] = {}
    for consumer in CONSUMERS:
        if consumer in bit.names:
            users.setdefault(bit.names[consumer], []).append(spelling[consumer])
    return "; ".join(f"{', '.join(who)} `{name}`" for name, who in users.items())


def bit_rows(bits: Iterable[Bit], sources: Sources) -> Iterator[list[str]]:
    """Rows of a register's table; reserved bits that follow each other in one."""
    numbered = list(enumerate(bits))
    for (reserved, _), group in groupby(numbered, lambda item: (item[1].status == "reserved", item[0] - item[1].bit)):
        found = [bit for _, bit in group]
        if reserved:
            number = str(found[0].bit) if len(found) == 1 else f"{found[0].bit} to {found[-1].bit}"
            yield [number, "", "reserved", "", "", "No published meaning.", sources.cite(found[0].source)]
            continue
        for bit in found:
            mark = "**UNVERIFIED.** " if bit.status != "documented" else ""
            kind = "" if bit.kind == "unverified" else bit.kind
            yield [
                str(bit.bit), f"`{bit.name}`", kind, bit.pool, names_of(bit), mark + bit.meaning,
                sources.cite(bit.source),
            ]  # fmt: skip


def field_rows(register: Register, sources: Sources) -> list[list[str]]:
    """Rows of the numbers that take several bits of a register."""
    return [
        [f"{field.low} to {field.high}", f"`{field.name}`",
         ", ".join(f"{number:#x} {says}" for number, says in field.values.items()), field.meaning,
         sources.cite(field.source)]
        for field in fields_of(register.id).values()
    ]  # fmt: skip


def register_title(register: Register) -> str:
    if register.kind == "msr":
        return f"{register.title} (MSR {register.address:#x}), `{register.id}`"
    return f"{register.title}, `{register.id}`"


def bits_page() -> str:
    parts = [WRITTEN_BY, BITS_HEAD]
    for register in REGISTERS.values():
        sources = Sources()
        rows = list(bit_rows(bits_of(register.id).values(), sources))
        head = ["bit", "name", "kind", "pool", "called", "meaning", "source"]
        parts.append(f"## {register_title(register)}\n")
        if rows:
            parts.append(table(head, rows))
        numbers = field_rows(register, sources)
        if numbers:
            parts.append(table(["bits", "number", "values", "meaning", "source"], numbers))
        parts.append(str(sources))
    return "\n".join(parts)


KERNELS_HEAD = """# Kernel behaviours

Rules ask a kernel for a behaviour, never for its version. These tables (`behaviours.csv` and `readings/` in
`src/archcaps/tables/kernels`) say what each behaviour means and in which releases it was read. Between two readings
that agree the behaviour is what they say; between two that differ, and beyond the last, it is unknown. A long-term
line stands alone: what it took back is known from its own readings. A point release of any other line is known between
a reading before it and one of its own line, or of the release after the next. How that works and why: [decision
0003](../decisions/0003-readings-not-versions.md). What one release does: `archcaps kernel`.
"""
DISTRIBUTIONS_HEAD = """The first row whose pattern is found in the release counts. *point release*: the version is
upstream's. *hidden*: it is not in the version. *base*: the version is where the kernel was forked, and says nothing of
what it holds.
"""


def readings_by_line(name: str) -> Mapping[str, list[tuple[str, bool]]]:
    """The readings of a behaviour, oldest first, by line; the mainline's under ``mainline``."""
    found: dict[str, list[tuple[str, bool]]] = {}
    rows = [(Release.parse(release), value) for release, (value, _) in readings_of(name).items()]
    for release, value in sorted(rows, key=lambda item: item[0].version):
        line = release.line if release.line in LONG_TERM else "mainline"
        found.setdefault(line, []).append((release.text, value))
    return found


def in_short(line: str, readings: Iterable[tuple[str, bool]]) -> str:
    """Readings in one cell: those that agree as from the first to the last."""
    parts = []
    for value, group in groupby(readings, lambda item: item[1]):
        releases = [text if line == "mainline" else text.removeprefix(line) for text, _ in group]
        span = releases[0] if len(releases) == 1 else f"{releases[0]} to {releases[-1]}"
        parts.append(f"{'yes' if value else 'no'} {span}")
    return "; ".join(parts) or "not read"


def kernels_page() -> str:
    lines = ["mainline", *sorted(LONG_TERM, key=lambda line: [int(part) for part in line.split(".")])]
    meanings = [[f"`{item.name}`", item.meaning, item.source] for item in BEHAVIOURS.values()]
    readings = []
    for name in BEHAVIOURS:
        found = readings_by_line(name)
        readings.append([f"`{name}`", *(in_short(line, found.get(line, [])) for line in lines)])
    releases = [[row["release"], row["source"]] for name in READINGS for row in read_csv(name)]
    observed = [[f"`{item.behaviour}`", item.theme, item.observation, item.source]
                for item in map(observation_of, BEHAVIOURS)]  # fmt: skip
    suffixes = [
        [item.name, f"`{item.pattern.pattern}`", item.version.value, item.meaning, item.observation, item.source]
        for item in distributions()
    ]
    return "\n".join([
        WRITTEN_BY, KERNELS_HEAD,
        "## What they mean\n", table(["behaviour", "meaning", "source"], meanings),
        "## Where they were read\n",
        "First and last reading of each value, by line; `.48` in column 5.15 is 5.15.48.\n",
        table(["behaviour", *lines], readings),
        "## What shows them on a machine\n", table(["behaviour", "theme", "shown by", "source"], observed),
        "## What a distribution's suffix tells\n", DISTRIBUTIONS_HEAD,
        table(["kernel of", "pattern", "its version", "meaning", "where the point release stands", "source"], suffixes),
        "## What was read of each release\n", table(["release", "source"], releases),
    ])  # fmt: skip


UNVERIFIED_HEAD = """# What is unverified

Everything in archcaps' tables that rests on a statement nobody could check. A verdict that a part's row decides carries
a notice; what is unknown stays unknown; the bits enter no rule; of a behaviour only the commit's hash is in doubt, its
readings are not.
"""


def unverified_page() -> str:
    rows = [[f"bit `{bit.name}`", bit.meaning, bit.source] for bit in BITS.values() if bit.status == "unverified"]
    rows += [
        [f"{row['vendor']} {row['family']}/{row['model']}, {row['vulnerability']}", f"affected: {row['affected']}",
         row["source"]]
        for row in read_csv("silicon/parts.csv") if row["status"] == "unverified"
    ]  # fmt: skip
    rows += [[f"`{row['name']}`", row["meaning"] + "; unknown", row["source"]] for row in
             read_csv("silicon/unverified.csv")]  # fmt: skip
    rows += [
        [f"behaviour `{item.name}`", "the commit's hash only", item.source]
        for item in BEHAVIOURS.values() if "UNVERIFIED" in item.source
    ]  # fmt: skip
    rows += [
        [f"kernels of {item.name}", item.meaning, item.source]
        for item in distributions() if "UNVERIFIED" in item.source
    ]  # fmt: skip
    rows += [[f"axiom `{axiom.name}`", axiom.meaning, axiom.source]
             for axiom in axioms() if axiom.status == "unverified"]  # fmt: skip
    return "\n".join([WRITTEN_BY, UNVERIFIED_HEAD, table(["what", "statement", "source"], rows)])


AXIOMS_HEAD = """# Axioms

Which values of bits and of published lists exist together on real, bare-metal hardware with its real microcode, from
`src/archcaps/tables/silicon/axioms.csv`. A sentence about every host leaves out the hosts that break one of these,
because nobody can build or buy them; what no axiom forbids stays possible. `~` is "not".

* **documented**: a vendor's or a kernel's document says so.
* **derived**: it follows from documents, or from every recorded machine (`tests/tables/real_hosts.csv`).
* **UNVERIFIED**: a single or indirect statement; [unverified.md](unverified.md) lists these too.
"""
#: A longer row of literals is shown by its ends.
LONGEST_ROW = 12


def axiom_row(axiom: Axiom) -> list[str]:
    """One row of the page: where `when` holds, `then` does."""
    when = " and ".join(f"`{literal}`" for literal in axiom.when) or "always"
    then = [f"`{literal}`" for literal in axiom.then]
    if len(then) > LONGEST_ROW:
        then = [*then[:3], f"{len(then) - 4} more", then[-1]]
    status = "**UNVERIFIED**" if axiom.status == "unverified" else axiom.status
    return [f"`{axiom.name}`", axiom.meaning, when, ", ".join(then), status, axiom.source]


def axioms_page() -> str:
    head = ["axiom", "meaning", "where", "there holds", "status", "source"]
    return "\n".join([WRITTEN_BY, AXIOMS_HEAD, table(head, map(axiom_row, axioms()))])


WORDS_HEAD = """# Words

What the words mean that archcaps prints, and what to do about them, from `src/archcaps/tables/words.toml`. `archcaps
explain` says the same and more: of each text under which condition and by which kernels it is printed, of each word
which row of the verdict's table gives it.
"""


def words_page() -> str:
    parts = [WRITTEN_BY, WORDS_HEAD]
    for kind, meaning in WORD_KINDS.items():
        rows = [[f"`{word.name}`", word.meaning, word.what_to_do, word.source] for word in words() if word.kind == kind]
        parts += [
            f"## {kind[0].upper()}{kind[1:]}: {meaning}\n",
            table(["word", "meaning", "what to do", "source"], rows),
        ]
    return "\n".join(parts)


RULES_HEAD = """# Rules

Every rule of `src/archcaps/rules` in one line: what it says, its formula as `archcaps explain` reads it off the graph,
and its source. An input without a prefix is the CPU's or kernel's own; `host.`, `guest.`, `vcpu.` and `silicon.` say
whose it is. A bit of IA32_ARCH_CAPABILITIES counts as 0 where CPUID hides the register. `(A if C else B)` is A where C
holds and B where it does not. `BIT`, `NAME` and `VULNERABILITY` stand for the argument.
"""
#: A longer formula is left to `archcaps explain`.
LONGEST_FORMULA = 1000


def formula_lines(name: str) -> tuple[str, str, list[str]]:
    """A rule's meaning, its source, and its formulas with their arguments."""
    meaning, sources, facts = explain_rule(name, "")
    lines = []
    for formula in facts.formulas:
        text = formula.condition.formula
        shown = f"`{text}`" if len(text) < LONGEST_FORMULA else formula.condition.in_words[0][1]
        of = "; ".join(f"`{argument}`" for argument in formula.arguments)
        lines.append(f"{of}: {shown}" if of else shown)
    return meaning, "; ".join(sources), lines


def rules_page() -> str:
    parts = [WRITTEN_BY, RULES_HEAD]
    for room, group in groupby(rules().items(), lambda item: item[1].__module__.rpartition(".")[2]):
        parts.append(f"## {room}\n")
        for name, _ in group:
            meaning, source, lines = formula_lines(name)
            parts += [f"### {name}\n", f"{meaning}\n", *(f"* {line}" for line in lines), "", f"Source: {source}\n"]
    return "\n".join(parts)


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
        ROOT / "schemas" / "prove-1.json": schema("archcaps prove --json", prove_schema()),
        ROOT / "schemas" / "shown-1.json": schema("archcaps shown --json", shown_schema()),
        ROOT / "schemas" / "rules-1.json": schema("archcaps rules --json", rules_schema()),
        ROOT / "schemas" / "trace-1.json": schema("archcaps trace --json", trace_schema()),
        ROOT / "schemas" / "upgrade-1.json": schema("archcaps upgrade --json", upgrade_schema()),
        ROOT / "schemas" / "pool-1.json": schema("archcaps pool --json", pool_schema()),
        ROOT / "schemas" / "predict-kvm-1.json": schema("archcaps predict --kvm, a line", predict_kvm_schema()),
        ROOT / "schemas" / "snapshot-1.json": schema("archcaps snapshot", msgspec.json.schema(Snapshot)),
        ROOT / "src" / "archcaps" / "tables" / "fleet" / "machines.ndjson": fleet_machines(ROOT / "examples"),
        reference / "axioms.md": axioms_page(),
        reference / "cli.md": cli_page(),
        reference / "inventory.md": inventory_page(WRITTEN_BY),
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
    parser = argparse.ArgumentParser(description="Write the generated documents anew.")
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

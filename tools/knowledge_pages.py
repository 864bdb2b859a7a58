"""The pages of axioms, of words, of rules and of what is unverified."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import archcaps
from archcaps.questions.explain_rules import explain_rule, rules
from archcaps.tables.axioms import Axiom, axioms
from archcaps.tables.bits import BITS
from archcaps.tables.files import read_csv
from archcaps.tables.kernels import BEHAVIOURS
from archcaps.tables.releases import distributions
from archcaps.tables.words import WORD_KINDS, words
from tools.pages import WRITTEN_BY, table

__all__ = ["axioms_page", "rules_page", "unverified_page", "words_page"]

LISTS = Path(archcaps.__file__).parent / "tables" / "linux_lists"
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
    rows += [
        [f"`{path.name}` as of {row['release']}", "what its source says", row["source"]]
        for path in sorted(LISTS.glob("*.csv"))
        for row in read_csv(f"linux_lists/{path.name}") if "UNVERIFIED" in row.get("source", "")
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

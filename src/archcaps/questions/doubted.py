"""What files say of a machine against what its own CPU and kernel give: where the two differ neither is known.

A text that this kernel would not write on this CPU shows that something which was written down is wrong: the text, the
CPU or the kernel. Nothing can rest on it, and nothing on the rule that says otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache

from archcaps.logic.graph import Kind, Node, walk
from archcaps.logic.rewriting import spelled_out
from archcaps.logic.ternary import Ternary
from archcaps.machine.datum import Datum
from archcaps.rules import further, verdict
from archcaps.rules.kvm_offer import gds_mitigated
from archcaps.rules.linux_bugs import x86_bug_mmio_stale_data, x86_bug_mmio_unknown
from archcaps.rules.linux_files import TEXTS, conditions_of
from archcaps.rules.linux_mitigations import clear_cpu_buf
from archcaps.rules.shown import model
from archcaps.tables.names import FURTHER, VULNERABILITIES

__all__ = ["doubted", "pure", "shown_by_texts"]


@cache
def shown_by_texts() -> Mapping[str, Node]:
    """Return the rules that the texts of a host's and a guest's files can show, by name."""
    all_of = model()
    guest, host, kernel = all_of.guest, all_of.kvm.host, all_of.kvm.kernel
    found = [clear_cpu_buf(guest.cpu, guest.kernel), clear_cpu_buf(host, kernel), gds_mitigated(all_of.kvm)]
    found.append(further.bhi_is_by_loop(guest))
    found += [verdict.concludes(guest, name, claim.value) for name in VULNERABILITIES for claim in verdict.Claim]
    found += [further.further_concludes(guest, subject, claim.value) for subject in FURTHER for claim in verdict.Claim]
    conditions = [node for texts in TEXTS.values() for node in conditions_of(texts(host, kernel))]
    conditions += [x86_bug_mmio_stale_data(host, kernel), x86_bug_mmio_unknown(host, kernel)]
    bugs = [node for node in walk(conditions) if node.kind is Kind.RULE and node.name.startswith("host.x86_bug_")]
    return {node.name: node for node in (*found, *bugs) if node.kind is Kind.RULE}


@cache
def pure(name: str) -> Node:
    """Return what a rule that texts can show is by facts alone, whatever was read of it and of others below it."""
    rules = shown_by_texts()
    return spelled_out(rules[name], rules)


def doubted(observed: Mapping[str, Datum], facts: Mapping[str, bool]) -> Collection[str]:
    """Return those of the rules observed by texts that are otherwise by the facts."""
    reading = Ternary(facts)
    rules = shown_by_texts()
    return {
        name
        for name, datum in observed.items()
        if name in rules and reading.value(rules[name]) not in (None, datum.value)
    }

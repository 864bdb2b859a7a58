"""Texts of the files under /sys/devices/system/cpu/vulnerabilities explained, and the vulnerabilities themselves.

When a text is printed, which kernels can print it and whether VERW runs then is read off the graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from archcaps.logic.bitplanes import BitPlanes
from archcaps.logic.graph import Kind, Node, any_of, walk
from archcaps.logic.prose import columns, inputs_of, prose, simplest, vector
from archcaps.questions.explain_results import (
    Explanation,
    FileState,
    LineFacts,
    Mention,
    VulnerabilityFacts,
)
from archcaps.questions.explain_rules import CPU, KERNEL, case, condition_of, in_words
from archcaps.questions.explain_tables import kernels_with
from archcaps.questions.explain_verdict import cases_of
from archcaps.rules.linux_mitigations import TEXTS, tsa_verw_on_exit_to_user, verw_selected
from archcaps.rules.verdict import claim_of
from archcaps.tables.bits import BITS
from archcaps.tables.kernels import BEHAVIOURS
from archcaps.tables.words import Word, words

__all__ = ["NO_SUCH_FILE", "explain_text", "explain_vulnerability", "states_of", "texts_of"]

NO_SUCH_FILE = "no such file"
#: Rules that are looked into for the question whether VERW runs.
_INSIDE = frozenset(("verw_selected", "stays_off", "tsa_verw_on_exit_to_user", "clear_cpu_buf"))
_ELSEWHERE = "where another vulnerability of the family asks for it (verw_selected)"


@cache
def _word(kind: str, name: str) -> Word:
    return next(word for word in words() if word.kind == kind and word.name == name)


def texts_of(file: str) -> list[str]:
    """Return every text of a file, in the order in which the kernel decides."""
    return [NO_SUCH_FILE if label is None else label for label in TEXTS[file](CPU, KERNEL).labels]


def states_of(file: str) -> list[str]:
    """Return every text of a file without what follows it on SMT."""
    return list(dict.fromkeys(text.partition("; ")[0] for text in texts_of(file)))


def _condition(file: str, wanted: Iterable[str]) -> Node:
    """Return the node that says the file has one of the texts `wanted`."""
    labels = set(wanted)
    rows = TEXTS[file](CPU, KERNEL).rows
    return any_of(node for node, label in rows if (NO_SUCH_FILE if label is None else label) in labels)


def explain_text(state: str, suffix: str, only: str = "") -> Explanation:
    """Return what a text means: `state` with `suffix` (or "" for any), in every file or `only` in one.

    Raises:
        KeyError: no file has that text.
    """
    whole = f"{state}; {suffix}" if suffix else state
    files = []
    for file in [only] if only else list(TEXTS):
        wanted = [text for text in texts_of(file) if text == whole or (not suffix and text.startswith(f"{state}; "))]
        if wanted:
            files.append(_state(file, _condition(file, wanted)))
    if not files:
        raise KeyError(whole)
    word = _word("text", state)
    ending = _word("suffix", suffix) if suffix else None
    claim = claim_of(None if state == NO_SUCH_FILE else state)
    facts = LineFacts(
        claim.value,
        _word("claim", claim.value).meaning,
        suffix,
        ending.meaning if ending else "",
        ending.what_to_do if ending else "",
        files,
    )
    name = f"{only}: {whole}" if only else whole
    return Explanation(name, "text", word.meaning, [word.source], word.what_to_do, line=facts, truth=cases_of(claim))


def _state(file: str, node: Node) -> FileState:
    needs, never_with = _behaviours(node)
    formula = simplest(node)
    for part in (formula, *(formula.parts if formula.shape == "all" else ())):
        behaviour = part.name.partition(".")[2]
        if part.shape == "not" and behaviour in BEHAVIOURS and behaviour not in never_with:
            never_with.append(behaviour)
    needed, ruled_out = ({name: kernels_with(name) for name in names} for names in (needs, never_with))
    return FileState(file, condition_of(formula), needed, ruled_out, _verw(file, node))


def _behaviours(node: Node) -> tuple[list[str], list[str]]:
    """Return the behaviours that a kernel must have for `node` to hold, and those that it must not have."""
    read = {part.name for part in walk((node,)) if part.kind is Kind.FACT}
    names = [behaviour for behaviour in BEHAVIOURS if f"any_kernel.{behaviour}" in read]
    # Two rows a behaviour, in which it alone is known: first that a kernel has it not, then that it has it.
    without, having = ([1 << 2 * place + value for place in range(len(names))] for value in (0, 1))
    facts = {f"any_kernel.{name}": (having[place], without[place]) for place, name in enumerate(names)}
    _, fails = BitPlanes(2 * len(names), facts).planes(node)
    needs = [name for place, name in enumerate(names) if fails & without[place]]
    never_with = [name for place, name in enumerate(names) if fails & having[place] and name not in needs]
    return needs, never_with


def _verw(file: str, node: Node) -> str:
    """Return in words whether VERW runs on exit to user where `node` holds; by the rules, not by hand.

    Of AMD's vulnerability and those of Intel a part has but one kind.
    """
    runs = tsa_verw_on_exit_to_user(CPU, KERNEL) if file == "tsa" else verw_selected(CPU, KERNEL)
    inside = _INSIDE | {"taa_vulnerable"} if file == "tsx_async_abort" else _INSIDE
    inputs = list(dict.fromkeys((*inputs_of(node, inside), *inputs_of(runs, inside))))
    given, yes = vector(node, inputs, inside), vector(runs, inputs, inside)
    if not given & ~yes:
        return "yes"
    if not given & yes:
        return "no"
    left, enough = given & yes, []
    every = (1 << (1 << len(inputs))) - 1
    for name, column in zip(inputs, columns(len(inputs)), strict=True):
        if ".switched_off[" in name:
            continue  # an option is no reason to run it
        for wanted, literal in ((True, column), (False, every & ~column)):
            if given & literal and not given & literal & ~yes:
                enough.append(in_words(name, wanted))
                left &= ~literal
    if not enough:
        return f"only {_ELSEWHERE}"
    return f"if {' or '.join(enough)}; else " + (f"only {_ELSEWHERE}" if left else "no")


def explain_vulnerability(name: str) -> Explanation:
    """Return what a vulnerability is, how a guest decides on it, and what VERW does about it."""
    word = _word("vulnerability", name)
    texts = texts_of(name)
    states = [
        (state, _state(name, _condition(name, [text for text in texts if text.partition("; ")[0] == state])))
        for state in states_of(name)
    ]
    world = case()
    facts = VulnerabilityFacts(
        list(word.aliases),
        [Mention(bit, BITS[bit].meaning) for bit in _bits(name)],
        texts,
        dict(states),
        condition_of(prose(world.affected[name])),
        condition_of(prose(world.verw_works[name])),
        list(word.links),
    )
    return Explanation(name, "vulnerability", word.meaning, [word.source], word.what_to_do, vulnerability=facts)


def _bits(name: str) -> list[str]:
    """Return the bits that speak of a vulnerability: by their table, and those that its texts read closely."""
    read: dict[str, None] = {bit.name: None for bit in BITS.values() if name in bit.vulnerabilities}
    roots = [node for node, _ in TEXTS[name](CPU, KERNEL).rows]
    near = {part for part in walk(roots) if part.kind is Kind.RULE and any(part.name in inputs_of(x) for x in roots)}
    close = [part for part in near if part.info and part.info.name not in ("stays_off", "sched_smt_active")]
    for node in (*roots, *sorted(close, key=lambda part: part.name)):
        for name_read in inputs_of(node):
            bit = name_read.partition(".")[2]
            if bit in BITS and bit != "hypervisor":
                read[bit] = None
    return list(read)

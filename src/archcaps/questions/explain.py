"""explain: what does this word, bit, rule, kernel behaviour or sysfs line mean?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from archcaps.errors import InputError
from archcaps.questions.explain_results import FORMAT_VERSION, Explained, Explanation
from archcaps.questions.explain_rules import LOOKUPS, arguments_of, explain_rule, rules
from archcaps.questions.explain_tables import (
    explain_behaviour,
    explain_bit,
    explain_field,
    explain_lookup,
    explain_register,
)
from archcaps.questions.explain_texts import explain_text, explain_vulnerability, states_of, texts_of
from archcaps.questions.explain_verdict import cases_of, rows_of
from archcaps.rules.linux_mitigations import TEXTS
from archcaps.rules.verdict import Claim, claim_of
from archcaps.tables.bits import BITS, FIELDS, REGISTERS
from archcaps.tables.kernels import BEHAVIOURS
from archcaps.tables.words import words

__all__ = ["explain", "names"]

_FOLDER: Final = "/sys/devices/system/cpu/vulnerabilities/"
_BRACKET = re.compile(r"(?:\w+\.)?(?P<name>\w+)\[(?P<argument>[^\]]*)\]\Z")
_GAPS = re.compile(r"[\s_:;,-]+")
_PLAIN_WORDS = (
    "truth", "safety", "responsible", "claim", "provenance", "kind of bit", "pool rule", "further vulnerability",
    "predicted vulnerability", "suffix",
)  # fmt: skip


def _folded(text: str) -> str:
    """Return a name as it is compared: no case, and one sign for blanks, hyphens, commas, colons and semicolons."""
    return _GAPS.sub("_", text.casefold().strip().strip("\"'")).strip("_")


def explain(asked: str) -> Explained:
    """Return everything that a name stands for.

    `asked`: a bit (by anybody's name for it), a register, a vulnerability, a rule, a kernel behaviour, a word of the
    verdict, or a text of the files under /sys/devices/system/cpu/vulnerabilities, with or without ``file: `` before it.

    Raises:
        InputError: nothing has that name.
    """
    text = asked.strip().strip("\"'").removeprefix(_FOLDER)
    found = list(_explanations(text))
    if not found:
        raise InputError(f"nothing is called {asked!r}{_nearest(text)}: archcaps explain --list names everything")
    return Explained(FORMAT_VERSION, asked, found)


def _explanations(text: str) -> Iterator[Explanation]:
    rule = _BRACKET.match(text)
    if rule is not None and rule["name"].lower() in rules():
        yield _rule(rule["name"].lower(), rule["argument"].replace(" ", ""))
        return
    before, colon, after = text.partition(":")
    if colon and (file := _vulnerability(before)):
        yield from _text(after, file)
        if not list(_text(after, file)) and (elsewhere := list(_text(after, ""))):
            files = [state.file for item in elsewhere if item.line for state in item.line.files]
            raise InputError(f"the file {file} never says {after.strip()!r} ({', '.join(files)} can)")
        return
    yield from _text(text, "")
    name = _folded(text)
    for kind, key in _index().get(name) or _index().get(name.partition(".")[2]) or []:
        yield _one(kind, key)


def _one(kind: str, key: str) -> Explanation:
    match kind:
        case "bit":
            return explain_bit(key)
        case "register":
            return explain_register(key)
        case "vulnerability":
            return explain_vulnerability(key)
        case "rule":
            return _rule(key, "")
        case "behaviour":
            return explain_behaviour(key)
        case "field":
            return explain_field(key)
        case "look-up":
            return explain_lookup(key)
        case _:
            return _word(kind, key)


def _rule(name: str, argument: str) -> Explanation:
    meaning, sources, facts = explain_rule(name, argument)
    return Explanation(f"{name}[{argument}]" if argument else name, "rule", meaning, sources, rule=facts)


def _word(kind: str, name: str) -> Explanation:
    word = next(word for word in words() if word.kind == kind and word.name == name)
    note = ""
    if kind == "claim":
        states = dict.fromkeys(state for file in TEXTS for state in states_of(file))
        said = [state for state in states if claim_of(None if state == "no such file" else state).value == name]
        note = "Claimed by: " + "; ".join(f'"{state}"' for state in said) + "."
    truth = cases_of(Claim(name)) if kind == "claim" else []
    verdict = rows_of(kind, name)
    return Explanation(name, kind, word.meaning, [word.source], word.what_to_do, note, truth=truth, verdict=verdict)


def _text(text: str, file: str) -> Iterator[Explanation]:
    """Yield what a line of the sysfs files means, if it is one."""
    wanted = _folded(text)
    for state in dict.fromkeys(state for name in ([file] if file else TEXTS) for state in states_of(name)):
        for suffix in ("", *(word.name for word in words() if word.kind == "suffix")):
            if _folded(f"{state}; {suffix}") == wanted:
                try:
                    yield explain_text(state, suffix, file)
                except KeyError as error:
                    raise InputError(f"no file says {error.args[0]!r}") from None
                return


def _vulnerability(text: str) -> str:
    return next((key for kind, key in _index().get(_folded(text), ()) if kind == "vulnerability"), "")


@cache
def _index() -> dict[str, list[tuple[str, str]]]:
    """Return what each folded name stands for: own names first, then those that others have."""
    found: dict[str, list[tuple[str, str]]] = {}

    def add(name: str, kind: str, key: str) -> None:
        entries = found.setdefault(_folded(name), [])
        if (kind, key) not in entries:
            entries.append((kind, key))

    for kind, keys in _own_names():
        for key in keys:
            add(key, kind, key)
    for word in words():
        for alias in word.aliases:
            add(alias, word.kind, word.name)
    for register in REGISTERS.values():
        for alias in (register.title, register.id.removeprefix("ia32_"), *_addresses(register.kind, register.address)):
            add(alias, "register", register.id)
    for bit in BITS.values():
        for alias in bit.names.values():
            add(alias, "bit", bit.name)
    return found


def _addresses(kind: str, address: int) -> tuple[str, ...]:
    return (f"{address:#x}", f"msr {address:#x}") if kind == "msr" else ()


def _own_names() -> Iterator[tuple[str, list[str]]]:
    yield "bit", list(BITS)
    yield "vulnerability", list(TEXTS)
    for kind in _PLAIN_WORDS:
        yield kind, [word.name for word in words() if word.kind == kind]
    yield "behaviour", list(BEHAVIOURS)
    yield "rule", list(rules())
    yield "register", list(REGISTERS)
    yield "field", list(FIELDS)
    yield "look-up", list(LOOKUPS)


def names() -> Explained:
    """Return the name of everything that can be explained, by kind."""
    found = {kind: [key for key in keys if not key.startswith("reserved_")] for kind, keys in _own_names()}
    found["text"] = list(dict.fromkeys(text for file in TEXTS for text in texts_of(file)))
    found["rule"] = [f"{name}[...]" if arguments_of(name) else name for name in found["rule"]]
    return Explained(FORMAT_VERSION, "", [], found)


def _nearest(text: str) -> str:
    """Return the names nearest to what was asked."""
    from difflib import get_close_matches  # noqa: PLC0415  # only when something is wrong

    known = {_folded(text): text for file in TEXTS for text in texts_of(file)}
    known |= {folded: entries[0][1] for folded, entries in _index().items()}
    close = get_close_matches(_folded(text), known, n=3, cutoff=0.6)
    found = list(dict.fromkeys(known[name] for name in close))
    return f" (did you mean {', '.join(found)}?)" if found else ""

"""A kernel's command line, taken apart as the kernel does.

Source: Linux lib/cmdline.c next_arg, kernel/params.c parse_args, kernel/cpu.c mitigations_parse_cmdline.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

__all__ = [
    "HIDING", "KEPT", "LONGEST", "NAMES", "OPTIONS", "OPTION_WORD", "VECTORS", "WORD", "CommandLine", "Mitigations",
    "options_alone", "parse",
]  # fmt: skip

#: Options that make Linux hide what the CPU has. Source: Linux Documentation/admin-guide/kernel-parameters.txt
HIDING: Final = frozenset((
    "clearcpuid", "gather_data_sampling", "mitigations", "nofsgsbase", "nopcid", "nosmap", "nosmep", "nox2apic",
    "noxsave", "noxsaveopt", "noxsaves",
))  # fmt: skip

#: Every option that a rule or a look-up reads, by the name that the kernel's parser sees. `parse` gives no others: what
#: is not here nobody can read, so command lines that differ in nothing of this are one kind to a fleet.
OPTIONS: Final = HIDING | frozenset((
    "clearcpuid", "gather_data_sampling", "indirect_target_selection", "kvm.ignore_msrs", "kvm.nx_huge_pages",
    "kvm_intel.ept", "kvm_intel.vmentry_l1d_flush", "l1tf", "mds", "mitigations", "mmio_stale_data", "nopti",
    "nosmt", "nospec_store_bypass_disable", "nospectre_v1", "nospectre_v2", "pti", "reg_file_data_sampling",
    "retbleed", "setcpuid", "spec_rstack_overflow", "spec_store_bypass_disable", "spectre_bhi", "spectre_v2",
    "spectre_v2_user", "srbds", "tsa", "tsx", "tsx_async_abort", "vmscape",
))  # fmt: skip

#: Attack vectors from 6.17 on, by the token that takes each out of mitigations=.
VECTORS: Final = ("user_kernel", "user_user", "guest_host", "guest_guest", "cross_thread")
#: What ends a word. Source: Linux include/linux/ctype.h, lib/ctype.c (isspace)
_BLANK: Final = "\t-\r \u00a0"
#: A word of the command line: quotes keep blanks together.
_WORD: Final = re.compile(f'(?:[^{_BLANK}"]|"[^"]*"?)+')
_BLANKS: Final = re.compile(f"[{_BLANK}]+")
#: The same in a form that every SQL engine reads alike, without a backslash: only a space ends a word. So such a word
#: may hold several of the words above, and is then kept or left out as a whole.
WORD: Final = '(?:[^ "]+|"[^"]*"?)+'
#: The names of `OPTIONS`, each as it may be written, as a regular expression.
NAMES: Final = "|".join(sorted(name.replace("_", "[-_]").replace(".", "[.]") for name in OPTIONS))
#: What may stand before an option: a blank, or anything that is not ASCII.
_BEFORE: Final = "\t-\r \u0080-\U0010ffff"
#: Where one of `OPTIONS` stands in a text without its quotation marks.
OPTION_WORD: Final = f"(^|[{_BEFORE}])({NAMES})(=|[^!-~]|$)"

#: No kernel of x86 reads more bytes (COMMAND_LINE_SIZE is 2,048); engines' regular expressions have bounds too.
LONGEST: Final = 4096
#: A word that `options_alone` keeps.
KEPT: Final = f"{OPTION_WORD}|(^|[^!-~])--([^!-~]|$)"
_COARSE, _OPTION_WORD, _KEPT = re.compile(WORD), re.compile(OPTION_WORD), re.compile(KEPT)

Kind = Literal["", "off", "auto", "auto,nosmt"]


@dataclass(frozen=True)
class Mitigations:
    """What mitigations= ends as.

    `kind` is nothing where it is not given; `removed` are the vectors it takes out (`VECTORS`), `smt` what it asks for
    SMT: ``off`` (cross-thread attacks are not mitigated), ``auto``, or ``on`` (SMT goes where a mitigation asks).
    """

    kind: Kind = ""
    removed: frozenset[str] = frozenset()
    smt: Literal["off", "auto", "on"] = "auto"

    @property
    def off(self) -> bool:
        """Whether cpu_mitigations_off() holds."""
        return self.kind == "off"


@dataclass(frozen=True)
class CommandLine:
    """A command line: `text` as given, and its `OPTIONS` up to a lone ``--``; in names ``-`` and ``_`` are alike."""

    text: str
    options: tuple[tuple[str, str | None], ...]

    def values(self, option: str) -> list[str]:
        """Return every value given for `option`, in order."""
        return [value for name, value in self.options if name == option and value is not None]

    def last(self, option: str, valid: Iterable[str] | None = None) -> str:
        """Return the last value given for `option` (of those the kernel knows, where `valid` lists them), or ""."""
        known = None if valid is None else frozenset(valid)
        return next((value for value in reversed(self.values(option)) if known is None or value in known), "")

    def has(self, option: str) -> bool:
        """Whether `option` is given, with a value or without."""
        return any(name == option for name, _ in self.options)

    def words(self) -> Sequence[str]:
        """Return all words of `OPTIONS`, also behind ``--``: what cmdline_find_option finds, who knows no quotes."""
        return [word for word in _BLANKS.split(self.text) if word.partition("=")[0] in OPTIONS]

    def mitigations(self, *, attack_vectors: bool) -> Mitigations:
        """Return what mitigations= ends as, in kernels with attack vectors (6.17) or before."""
        return _mitigations(tuple(self.values("mitigations")), attack_vectors)


@cache
def parse(text: str) -> CommandLine:
    """Return the command line taken apart."""
    found: list[tuple[str, str | None]] = []
    for word in _WORD.findall(text):
        if word == "--":
            break
        name, sign, value = word.replace('"', "").partition("=")
        if name.replace("-", "_") in OPTIONS:
            found.append((name.replace("-", "_"), value if sign else None))
    return CommandLine(text, tuple(found))


def options_alone(text: str) -> str:
    """Return a command line that is read as `text` is, without the words that nobody reads.

    ``--`` stays where something is read, since it ends the options for some readers. Nothing else is changed: not the
    order, no repeated option, no quotation mark; and nothing of a text of more than `LONGEST` bytes with such a word.
    What engines do in SQL is the same, with the patterns above (`archcaps.fleet.dialects`).
    """
    if not _OPTION_WORD.search(text.replace('"', "")):
        return ""
    if len(text.encode(errors="surrogatepass")) > LONGEST:
        return text
    return " ".join(word for word in _COARSE.findall(text) if _KEPT.search(word.replace('"', "")))


@cache
def _mitigations(values: tuple[str, ...], attack_vectors: bool) -> Mitigations:
    kinds: tuple[Kind, ...] = ("auto,nosmt", "auto", "off")
    found = Mitigations()
    for value in values:
        if not attack_vectors:
            exact = next((kind for kind in kinds if value == kind), found.kind)
            found = Mitigations(exact, smt="on" if exact == "auto,nosmt" else "auto")
            continue
        kind: Kind = next((kind for kind in kinds if value.startswith(kind)), "")
        found = _with_kind(found, kind or found.kind)
        found = _without_vectors(found, value[len(kind) :])
    return found


def _with_kind(before: Mitigations, kind: Kind) -> Mitigations:
    """What was taken out stays out: only ``off`` and ``auto,nosmt`` change more than the kind."""
    if kind == "off":
        return Mitigations(kind, frozenset(VECTORS), "off")
    return Mitigations(kind, before.removed, "on" if kind == "auto,nosmt" else before.smt)


def _without_vectors(before: Mitigations, rest: str) -> Mitigations:
    """Take out the vectors that follow a comma, up to the first token that names none."""
    removed, smt = set(before.removed), before.smt
    for token in rest.split(",")[1:] if rest.startswith(",") else []:
        vector = token.removeprefix("no_")
        if vector == token or vector not in VECTORS:
            break
        removed.add(vector)
        if vector == "cross_thread":
            smt = "off"
    return Mitigations(before.kind, frozenset(removed), smt)

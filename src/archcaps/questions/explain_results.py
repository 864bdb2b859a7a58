"""The typed answer of `explain`: printed, written as JSON, and returned to Python."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "FORMAT_VERSION", "BehaviourFacts", "BitFacts", "Case", "Condition", "Explained", "Explanation", "FileState",
    "FormulaFacts", "LineFacts", "Mention", "Readings", "RegisterFacts", "RuleFacts", "TruthTable", "VerdictRow",
    "VulnerabilityFacts",
]  # fmt: skip

FORMAT_VERSION = 1


@dataclass(eq=False)
class Condition:
    """A formula to read: in one line with the names of its inputs, and as lines in words, each with its depth."""

    formula: str
    in_words: list[tuple[int, str]]


@dataclass(eq=False)
class TruthTable:
    """A truth table: rows of true, false, or null (whatever it is), one value for each input, the result last."""

    inputs: list[str]
    rows: list[list[bool | None]]


@dataclass(eq=False)
class FormulaFacts:
    """What a rule says, for these of its arguments (none: it has no arguments)."""

    arguments: list[str]
    condition: Condition
    table: TruthTable | None


@dataclass(eq=False)
class Mention:
    """A rule or a bit that has to do with what is explained, and what it says."""

    name: str
    meaning: str


@dataclass(eq=False)
class BitFacts:
    """Where a bit is and who reads it."""

    register: str
    bit: int
    mask: str
    kind: str
    news: str
    vulnerabilities: list[str]
    pool: str
    pool_meaning: str
    names: dict[str, str]
    status: str
    read_by: list[Mention]
    files: list[str]


@dataclass(eq=False)
class RegisterFacts:
    """Where a register is and what its bits are called; reserved bits are left out."""

    address: str
    kind: str
    bits: dict[str, str]


@dataclass(eq=False)
class RuleFacts:
    """What a rule says and who uses it. `arguments`: what may stand in brackets behind its name."""

    arguments: list[str]
    formulas: list[FormulaFacts]
    used_by: list[Mention]


@dataclass(eq=False)
class Readings:
    """What was read in one line of kernels; `unknown` names the releases between two readings that differ."""

    line: str
    readings: str
    unknown: list[str]


@dataclass(eq=False)
class BehaviourFacts:
    """Which kernels have a behaviour, as far as it was read, and who asks for it."""

    kernels: list[Readings]
    read_by: list[Mention]


@dataclass(eq=False)
class Case:
    """What a text or its claim means for the truth in one case."""

    truth: str
    condition: Condition
    what_to_do: str


@dataclass(eq=False)
class FileState:
    """A text in one file: when the kernel prints it, which kernels can, and whether VERW runs on exit to user then."""

    file: str
    condition: Condition
    needs: dict[str, list[Readings]]
    never_with: dict[str, list[Readings]]
    verw: str


@dataclass(eq=False)
class LineFacts:
    """What a text of the files under /sys/devices/system/cpu/vulnerabilities claims, and where it stands."""

    claim: str
    claim_meaning: str
    suffix: str
    suffix_meaning: str
    suffix_what_to_do: str
    files: list[FileState]


@dataclass(eq=False)
class VulnerabilityFacts:
    """What speaks of a vulnerability, how a guest decides, and what VERW does about it."""

    aliases: list[str]
    bits: list[Mention]
    texts: list[str]
    states: dict[str, FileState]
    affected: Condition
    verw_works: Condition
    links: list[str]


@dataclass(eq=False)
class VerdictRow:
    """One way to come to a verdict: what the text claims, and the condition on silicon and VERW."""

    claims: list[str]
    condition: Condition


@dataclass(eq=False)
class Explanation:
    """What one name means. Of the facts below `what_to_do` those are filled in that go with its kind."""

    name: str
    kind: str
    meaning: str
    sources: list[str]
    what_to_do: str = ""
    note: str = ""
    bit: BitFacts | None = None
    register: RegisterFacts | None = None
    rule: RuleFacts | None = None
    behaviour: BehaviourFacts | None = None
    line: LineFacts | None = None
    vulnerability: VulnerabilityFacts | None = None
    truth: list[Case] = field(default_factory=list)
    verdict: list[VerdictRow] = field(default_factory=list)


@dataclass(eq=False)
class Explained:
    """The answer of `explain`: everything that a name stands for, or all names by kind."""

    format_version: int
    asked: str
    explanations: list[Explanation]
    names: dict[str, list[str]] = field(default_factory=dict)

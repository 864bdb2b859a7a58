"""What a Linux kernel concludes on a described CPU: every file's text, its bugs, and where it runs VERW.

Many cases are answered at once: the graph is read as bit planes, a row a case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Final, cast

import msgspec
from msgspec.structs import replace

from archcaps.logic.bitplanes import BitPlanes, Planes
from archcaps.logic.choice import Choice
from archcaps.logic.concatenation import JOINED, Concatenation, Split, joined
from archcaps.logic.graph import Node
from archcaps.questions.predict_case import Case
from archcaps.questions.predict_facts import CPU, KERNEL, parts_of_facts
from archcaps.rules import linux_mitigations as verw
from archcaps.rules.linux_bug_names import BUGS
from archcaps.rules.linux_files import TEXTS, FileTexts
from archcaps.rules.linux_mitigations import Text
from archcaps.rules.views import Cpu, Kernel
from archcaps.tables.kernels import Release, is_newest, newest_of_line
from archcaps.tables.releases import own_texts
from archcaps.tables.suppositions import limits_of, suppositions_of

__all__ = ["ROWS", "Assumed", "LinuxPrediction", "Supposed", "predict_linux"]

#: Cases answered at once: more take memory and save little time.
ROWS: Final = 1024
#: So many texts of a file are listed, several times what a kernel of which little is known was seen to leave possible.
MOST_TEXTS: Final = 50_000


class Supposed(msgspec.Struct, frozen=True):
    """One assumption: its name, and what it supposes."""

    name: str
    supposes: str


class Assumed(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the kernel concludes if all of `assumptions` hold; the other fields as in the answer that has it."""

    assumptions: list[Supposed]
    vuln: dict[str, str | list[str | None]]
    bugs: list[str]
    verw: dict[str, bool | list[bool | None] | None]
    bugs_possible: list[str] = []
    vuln_cut: list[str] = []


class LinuxPrediction(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the kernel concludes. A list holds every value that missing facts leave possible, null in it is no file.

    `vuln`: the text of each file that there is; `vuln_cut`: files of which that is not all: the list was cut, or the
    release is of a line newer than all that was read, so that any text is possible; `bugs`: what /proc/cpuinfo lists
    for sure, in its order; `bugs_possible`: what it may list besides; `verw`: the features that say where VERW runs,
    null: no such feature; `notes`: what of the release keeps values open, or was supposed; `assumed`: the answer under
    the assumptions that the release allows (a list in it lies within the one above).
    """

    vuln: dict[str, str | list[str | None]]
    bugs: list[str]
    verw: dict[str, bool | list[bool | None] | None]
    bugs_possible: list[str] = []
    vuln_cut: list[str] = []
    notes: list[str] = []
    assumed: Assumed | None = None


def predict_linux(cases: Sequence[Case], *, strict: bool = False) -> list[LinuxPrediction]:
    """Return what each case's kernel concludes; if `strict`, nothing of what it would under assumptions.

    Raises:
        InputError: a kernel configuration's name is unknown.
    """
    answers = _predicted(cases, strict=True)
    releases = [None if case.kernel is None else Release.parse(case.kernel) for case in cases]
    suppositions = [() if strict or release is None else suppositions_of(release) for release in releases]
    supposing = [place for place, each in enumerate(suppositions) if each]
    for place, found in zip(supposing, _predicted([cases[place] for place in supposing], strict=False), strict=True):
        assumptions = [Supposed(each.name, each.text) for each in suppositions[place]]
        under = Assumed(
            assumptions=assumptions, vuln=found.vuln, bugs=found.bugs, verw=found.verw,
            bugs_possible=found.bugs_possible, vuln_cut=found.vuln_cut,
        )  # fmt: skip
        answers[place] = replace(answers[place], assumed=under)
    return [
        answer if release is None else _bounded(answer, release)
        for answer, release in zip(answers, releases, strict=True)
    ]


def _bounded(answer: LinuxPrediction, release: Release) -> LinuxPrediction:
    """Return an answer with what there is to say of its release; of a line that nobody read no list is all."""
    answer = _with_own_texts(answer, release)
    note = limits_of(release)
    if not note:
        return answer
    if newest_of_line(release) is None and is_newest(release):
        answer = replace(answer, vuln_cut=list(answer.vuln))
    return replace(answer, notes=[note])


def _with_own_texts(answer: LinuxPrediction, release: Release) -> LinuxPrediction:
    """Return an answer with what a distribution's kernel may say in the place of upstream's words, where it may."""
    vuln = dict(answer.vuln)
    for row in own_texts(release):
        texts = _list(vuln.get(row["file"]))
        start = row["like"]
        own = [row["text"] + text.removeprefix(start) for text in texts if text and _starts(text, start)]
        if own:
            vuln[row["file"]] = [*texts, *own][:MOST_TEXTS]
    return replace(answer, vuln=vuln) if vuln != answer.vuln else answer


def _starts(text: str, start: str) -> bool:
    return text.startswith(start) and text[len(start) : len(start) + 1] in ("", ",", ";")


def _predicted(cases: Sequence[Case], *, strict: bool) -> list[LinuxPrediction]:
    planes = BitPlanes(len(cases), _facts(cases, strict=strict))
    answers = [LinuxPrediction(vuln={}, bugs=[], verw={}) for _ in cases]
    for file, texts in _texts().items():
        line = _lines(texts, planes) if isinstance(texts, Concatenation) else _labels(texts, planes)
        for answer, text in zip(answers, line, strict=True):
            if isinstance(text, list) and len(text) > MOST_TEXTS:
                answer.vuln_cut.append(file)
            if text is not None:
                answer.vuln[file] = text[:MOST_TEXTS] if isinstance(text, list) else text
    for name, bug in _bugs().items():
        there, not_there = planes.planes(bug)
        for row in _rows(there):
            answers[row].bugs.append(name)
        for row in _rows(planes.every & ~there & ~not_there):
            answers[row].bugs_possible.append(name)
    for name, (exists, holds) in _features().items():
        states = _feature(planes.planes(exists), planes.planes(holds), planes.every)
        for answer, state in zip(answers, states, strict=True):
            answer.verw[name] = state
    return answers


def _facts(cases: Sequence[Case], *, strict: bool) -> dict[str, Planes]:
    """Return the planes of all facts. A part of facts that cases share is looked at once, whatever their number."""
    shared: dict[int, tuple[str, Mapping[str, bool | None], list[int]]] = {}
    for row, case in enumerate(cases):
        for scope, part in parts_of_facts(case, strict=strict):
            shared.setdefault(id(part), (scope, part, []))[2].append(row)
    sides: dict[str, dict[str, list[int]]] = {}
    for scope, part, rows in shared.values():
        mask = _mask(rows, len(cases))
        names = sides.setdefault(scope, {})
        for name, value in part.items():
            if value is not None:
                names.setdefault(name, [0, 0])[not value] |= mask
    return {f"{scope}.{name}": (true, false) for scope, names in sides.items() for name, (true, false) in names.items()}


def _mask(rows: Sequence[int], count: int) -> int:
    if len(rows) == 1:
        return 1 << rows[0]
    bits = bytearray(count // 8 + 1)
    for row in rows:
        bits[row >> 3] |= 1 << (row & 7)
    return int.from_bytes(bits, "little")


def _rows(plane: int) -> Iterator[int]:
    """Yield the rows of a plane, lowest first."""
    text = bin(plane)[:1:-1]
    row = text.find("1")
    while row >= 0:
        yield row
        row = text.find("1", row + 1)


def _labels(texts: Choice[Text], planes: BitPlanes) -> list[str | list[str | None] | None]:
    """Return for each row the one label that is left, or all that are (as `Choice.answer` has it)."""
    found: list[str | list[str | None] | None] = [None] * planes.rows
    decided = 0
    for label, (chosen, _) in _questions(texts).items():
        sure = planes.planes(chosen)[0]
        decided |= sure
        if label is not None:
            for row in _rows(sure):
                found[row] = label
    undecided = planes.every & ~decided
    if undecided:
        possible: dict[int, list[str | None]] = {row: [] for row in _rows(undecided)}
        for label, (_, permitted) in _questions(texts).items():
            for row in _rows(undecided & ~planes.planes(permitted)[1]):
                possible[row].append(label)
        for row, labels in possible.items():
            found[row] = labels[0] if len(labels) == 1 else labels
    return found


def _lines(line: Concatenation, planes: BitPlanes) -> list[str | list[str | None] | None]:
    """Return for each row the one text of a line that is left, or all that are (as `Concatenation.answer` has it)."""
    found = _joined(line, planes, planes.every)
    supposed = [_supposed(split, planes) for split in line.splits]
    still_open = 0
    for _, rows in supposed:
        still_open |= rows
    texts: dict[int, dict[str | None, None]] = {row: {} for row in _rows(still_open)}
    for parts in product(*(possible for possible, _ in supposed)):
        rows = still_open
        observing = planes
        for (more, permitted), (_, open_rows) in zip(parts, supposed, strict=True):
            rows &= permitted
            observing = observing.observing(more, permitted & open_rows)
        if rows:
            of_parts = _joined(line, observing, rows)
            for row in _rows(rows):
                if len(texts[row]) <= MOST_TEXTS:
                    texts[row] |= dict.fromkeys(_list(of_parts[row]))
    for row, possible in texts.items():
        found[row] = next(iter(possible)) if len(possible) == 1 else list(possible)
    return found


def _supposed(split: Split, planes: BitPlanes) -> tuple[list[tuple[Mapping[str, bool], int]], int]:
    """Return what each label of a split supposes with the rows in which it is possible, and the rows left open."""
    questions = _questions(cast("Choice[Text]", split.choice))
    open_rows = planes.every
    for chosen, _ in questions.values():
        open_rows &= ~planes.planes(chosen)[0]
    possible = []
    for label, (chosen, permitted) in questions.items():
        rows = planes.planes(chosen)[0] | (open_rows & ~planes.planes(permitted)[1])
        if rows and label is not None:
            possible.append((split.by_label[label], rows))
    return possible, open_rows


def _joined(line: Concatenation, planes: BitPlanes, rows: int) -> list[str | list[str | None] | None]:
    found = _labels(line.whole, planes)
    fields = [_labels(cast("Choice[Text]", choice), planes) for _, choice in line.fields]
    made: dict[tuple[tuple[str | None, ...], ...], list[str | None]] = {}
    for row in _rows(rows):
        possible = _list(found[row])
        if JOINED in possible:
            parts = (tuple(possible), *(tuple(_list(field[row])) for field in fields))
            if parts not in made:
                made[parts] = joined(possible, [[text or "" for text in part] for part in parts[1:]], MOST_TEXTS)
            found[row] = made[parts][0] if len(made[parts]) == 1 else made[parts]
    return found


def _list(label: str | list[str | None] | None) -> list[str | None]:
    return label if isinstance(label, list) else [label]


def _feature(exists: Planes, holds: Planes, every: int) -> list[bool | list[bool | None] | None]:
    """Return for each row whether a feature is set (null: there is none), or what it may be."""
    can = {
        True: ~exists[1] & ~holds[1] & every,
        False: ~exists[1] & ~holds[0] & every,
        None: ~exists[0] & every,
    }
    found: list[list[bool | None]] = [[] for _ in range(every.bit_length())]
    for value, plane in can.items():
        for row in _rows(plane):
            found[row].append(value)
    return [values[0] if len(values) == 1 else values for values in found]


@cache
def _scopes() -> tuple[Cpu, Kernel]:
    return Cpu(CPU), Kernel(KERNEL)


@cache
def _texts() -> dict[str, FileTexts]:
    cpu, kernel = _scopes()
    return {file: texts(cpu, kernel) for file, texts in TEXTS.items()}


@cache
def _bugs() -> dict[str, Node]:
    cpu, kernel = _scopes()
    return {name: bug(cpu, kernel) for name, bug in BUGS.items()}


@cache
def _features() -> dict[str, tuple[Node, Node]]:
    cpu, kernel = _scopes()
    return {
        "CLEAR_CPU_BUF": (kernel.has_clear_cpu_buf, verw.x86_feature_clear_cpu_buf(cpu, kernel)),
        "CLEAR_CPU_BUF_VM": (kernel.has_clear_cpu_buf_vm, verw.x86_feature_clear_cpu_buf_vm(cpu, kernel)),
        "CLEAR_CPU_BUF_VM_MMIO": (
            kernel.has_clear_cpu_buf_vm_mmio,
            verw.x86_feature_clear_cpu_buf_vm_mmio(cpu, kernel),
        ),
    }


def _questions(texts: Choice[Text]) -> dict[Text, tuple[Node, Node]]:
    """Return for each label the nodes that say it is chosen, and that it may be."""
    return {label: (texts.is_in([label]), texts.permits(label)) for label in texts.labels}

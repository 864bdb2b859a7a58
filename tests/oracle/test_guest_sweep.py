"""The guest's kernel, rule by rule: the graph against an oracle of plain steps, in thousands of random worlds.

Every fact is known, so every file has one text. The worlds have options, configurations and old kernels together that
no recorded machine had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from archcaps.logic.bitplanes import BitPlanes
from archcaps.logic.choice import Choice
from archcaps.logic.concatenation import JOINED, Concatenation
from archcaps.rules import linux_mitigations as verw
from archcaps.rules.linux_bug_names import BUGS
from archcaps.rules.linux_files import TEXTS
from archcaps.rules.views import Cpu, Kernel
from tests.oracle.guest_answers import answers
from tests.oracle.guest_worlds import facts, worlds

CPU, KERNEL = Cpu("cpu"), Kernel("kernel")
PLANES = BitPlanes(len(worlds()), facts())


def rows(plane: int) -> Iterator[int]:
    text = bin(plane)[:1:-1]
    row = text.find("1")
    while row >= 0:
        yield row
        row = text.find("1", row + 1)


def column(choice: Choice[str] | Choice[str | None]) -> list[str | None]:
    """Return the label of each world; each has exactly one."""
    found: list[str | None] = [None] * len(worlds())
    covered = 0
    for label in choice.labels:
        true, false = PLANES.planes(choice.is_in([label]))  # type: ignore[list-item]  # a label of this choice
        assert true | false == PLANES.every
        assert not true & covered
        covered |= true
        for row in rows(true):
            found[row] = label
    assert covered == PLANES.every
    return found


def texts_of(file: str) -> list[str | None]:
    texts = TEXTS[file](CPU, KERNEL)
    if not isinstance(texts, Concatenation):
        return column(texts)
    fields = [column(choice) for _, choice in texts.fields]
    parts = zip(*fields, strict=True)
    return [
        "".join(part or "" for part in each) if whole == JOINED else whole
        for whole, each in zip(column(texts.whole), parts, strict=True)
    ]


def differences(found: list[str | None], wanted: list[str | None]) -> list[str]:
    return [
        f"{one!r}, the oracle says {other!r}: {sorted(world.kernel)} on {sorted(world.cpu)}"
        for one, other, world in zip(found, wanted, worlds(), strict=True)
        if one != other
    ]


@pytest.mark.parametrize("file", TEXTS)
def test_every_text(file: str) -> None:
    wanted = [answer.files[file] for answer in answers()]
    assert len(Counter(wanted)) > 1
    wrong = differences(texts_of(file), wanted)
    assert wrong == [], f"{len(wrong)}: {wrong[0]}"


@pytest.mark.parametrize("name", BUGS)
def test_every_bug(name: str) -> None:
    there, not_there = PLANES.planes(BUGS[name](CPU, KERNEL))
    assert there | not_there == PLANES.every
    wanted = [name in answer.bugs for answer in answers()]
    assert True in wanted
    assert [row for row, one in enumerate(wanted) if bool(there >> row & 1) is not one] == []


def test_where_verw_runs() -> None:
    nodes = {
        "CLEAR_CPU_BUF": (KERNEL.has_clear_cpu_buf, verw.x86_feature_clear_cpu_buf(CPU, KERNEL)),
        "CLEAR_CPU_BUF_VM": (KERNEL.has_clear_cpu_buf_vm, verw.x86_feature_clear_cpu_buf_vm(CPU, KERNEL)),
        "CLEAR_CPU_BUF_VM_MMIO": (
            KERNEL.has_clear_cpu_buf_vm_mmio,
            verw.x86_feature_clear_cpu_buf_vm_mmio(CPU, KERNEL),
        ),
    }
    for name, (exists, holds) in nodes.items():
        there, true = PLANES.planes(exists)[0], PLANES.planes(holds)[0]
        for row, answer in enumerate(answers()):
            found = bool(true >> row & 1) if there >> row & 1 else None
            assert found is answer.verw[name], (name, worlds()[row])


def every_one() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield every test of this page by its name, for those who run them without pytest."""
    for file in TEXTS:
        yield f"test_every_text[{file}]", partial(test_every_text, file)
    for name in BUGS:
        yield f"test_every_bug[{name}]", partial(test_every_bug, name)
    yield "test_where_verw_runs", test_where_verw_runs

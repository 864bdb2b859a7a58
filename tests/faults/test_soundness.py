"""Less is known, or what nobody can have: nothing turns from exposed or undecided into safe, in check and audit alike.

Some hundreds of variants by default; ARCHCAPS_SOUNDNESS says how many.
"""

from __future__ import annotations

import os
from random import Random

import pytest

from tests.faults.soundness import Row, by_audit, by_check, less, pairs, spoilt, worse_than_said

VARIANTS = int(os.environ.get("ARCHCAPS_SOUNDNESS", "160"))
AT_ONCE = 500
#: Nothing: what is supposed in place of a fact that was taken away would be an answer to another question.
SUPPOSED = ("strict",)


@pytest.mark.parametrize("kind", ["removed", "replaced"])
def test_no_verdict_gets_better_by_knowing_less_or_what_can_not_be(kind: str) -> None:
    dice = Random(f"soundness {kind}")
    every = pairs()
    basis = {pair.name: by_check(pair.host, pair.guest, SUPPOSED) for pair in every}
    wrong = []
    for start in range(0, VARIANTS // 2, AT_ONCE):
        made: list[tuple[str, str, Row, Row]] = []
        for _ in range(min(AT_ONCE, VARIANTS // 2 - start)):
            pair = dice.choice(every)
            host, guest, what = pair.host, pair.guest, kind
            if kind == "removed":
                host, guest = less(host, dice), less(guest, dice)
            elif dice.random() < 0.5:
                host, what = spoilt(host, "host", dice)
            else:
                guest, what = spoilt(guest, "guest", dice)
            made.append((pair.name, what, host, guest))
        audited = by_audit([(host, guest) for _, _, host, guest in made], SUPPOSED)
        for (name, what, host, guest), by_many in zip(made, audited, strict=True):
            by_one = by_check(host, guest, SUPPOSED)
            if by_one != by_many:
                wrong.append(f"{name}, {what}: check and audit differ")
            for answer in (by_one, by_many):
                wrong += [
                    f"{name}, {what}: {each}"
                    for each in worse_than_said(basis[name], answer, removed=kind == "removed")
                ]
    assert not wrong, "\n".join(dict.fromkeys(wrong[:60]))

"""Every cure of every example: `check` says of it what `fix` said, and there is nothing more to mend."""

from __future__ import annotations

import msgspec
import pytest

import archcaps
from archcaps.questions.fix.results import FixResult
from tests.scenarios.running import EXAMPLES, machine

PAIRS = [
    (folder.name, host.stem, guest.stem)
    for folder in sorted(EXAMPLES.iterdir())
    for host in sorted(folder.glob("host*.toml"))
    for guest in sorted(folder.glob("guest*.toml"))
]


@pytest.fixture(scope="module", params=PAIRS, ids="/".join)
def asked(request: pytest.FixtureRequest) -> FixResult:
    folder, host, guest = request.param
    return archcaps.fix(machine(folder, host), machine(folder, guest))


def test_check_says_of_the_cured_guest_what_fix_said(asked: FixResult) -> None:
    for answer in asked.answers:
        for cure in [*answer.cures[:3], *answer.lesser]:
            # As a user would: from the files that are written.
            files = (msgspec.json.encode(machine) for machine in (cure.host, cure.guest))
            host, guest = (archcaps.parse_snapshot(text, "a cure") for text in files)
            result = archcaps.check(host, guest)
            for short in cure.after:
                full = result[short.vulnerability]
                for name in ("concludes", "truth", "safety", "host_safety"):
                    said, checked = getattr(short, name), getattr(full, name)
                    assert set(said.possible) == set(checked.possible), (short.vulnerability, name)
            if cure.level == 1:
                assert result.exit_code in (0, 1)  # 1: a notice
                assert not any(verdict.wrong or verdict.undecided for verdict in result.vulnerabilities)


def test_a_cured_guest_needs_no_other_cure(asked: FixResult) -> None:
    best = asked.best
    if best is None or not best.cures:
        return
    cure = best.cures[0]
    again = archcaps.fix(cure.host, cure.guest)
    assert again.level == best.level
    if best.level == 1:
        assert (again.answers, again.exit_code) == ([], 0)


def test_the_exit_code_says_how_it_stands_with_the_cure(asked: FixResult) -> None:
    best = asked.best
    last = best.cures[0].after if best is not None and best.cures else asked.now
    if any(each.exposed for each in last):
        assert asked.exit_code == 2
    elif all(each.fine for each in last):
        assert asked.exit_code == 0
    else:
        assert asked.exit_code in (1, 3)


def test_a_cure_is_better_and_cheaper_sets_are_worse(asked: FixResult) -> None:
    for answer in asked.answers:
        costs = {cure.cost for cure in answer.cures}
        assert len(costs) <= 1
        for cure in answer.cures:
            assert cure.cost == sum(step.cost for step in cure.steps)
            assert cure.level == answer.level <= asked.level
        for cure in answer.lesser:
            assert cure.cost < min(costs)
            assert answer.level <= cure.level <= asked.level
        assert 0 <= answer.cheaper <= answer.tried

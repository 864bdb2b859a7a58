"""Changes the rules one place at a time, and looks whether a test notices: `make mutation`.

Goes on where it was stopped (build/mutation.jsonl). Exit code 1: a mutant survived that survivors.toml does not
justify, or one that it justifies is killed or is no more.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tools.mutation.mutant import RULES, Mutant

LIMIT = 300.0
RESULTS = Path("build") / "mutation.jsonl"


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge the mutants that were not judged yet, and say what became of all."""
    given = _parser().parse_args(arguments)
    # pytest's plugins are not wanted, and properties have to be tried with the same examples each time.
    os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "CI": "1"}
    from tools.mutation.make import every_mutant  # noqa: PLC0415  # after the environment
    from tools.mutation.results import Results  # noqa: PLC0415  # likewise
    from tools.mutation.survivors import faults, justified  # noqa: PLC0415  # likewise

    mutants = [mutant for mutant in every_mutant() if mutant.id.startswith(tuple(given.only) or "")]
    given.results.parent.mkdir(exist_ok=True)
    known = Results(given.results).of(mutants)
    waiting = [mutant for mutant in mutants if mutant.id not in known]
    print(f"mutation: {len(mutants)} mutants, {len(waiting)} to judge", flush=True)
    before = Results(given.results).digest
    if waiting:
        _in_workers(waiting, given)
    if Results(given.results).digest != before:
        print("mutation: files changed while it ran; remove what it wrote and run it again")
        return 1
    known = Results(given.results).of(mutants)
    print_summary([judged.by or judged.state for judged in known.values()])
    survived = [judged for judged in known.values() if judged.state == "survived"]
    wrong = list(faults(survived, {mutant.id for mutant in mutants}, justified(), whole=not given.only))
    for line in wrong:
        print(line)
    return 1 if wrong or len(known) < len(mutants) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.mutation.run", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="processes that judge mutants (2)")
    parser.add_argument("--only", action="append", default=[], help="mutants whose id begins so; several times")
    parser.add_argument("--killer", action="append", default=[], help="only this killer, so that no mutant survives")
    parser.add_argument("--results", type=Path, default=RESULTS, help=f"the results file ({RESULTS})")
    return parser


def _in_workers(waiting: list[Mutant], given: argparse.Namespace) -> None:
    """Judge the mutants in so many processes: each takes every so-manieth, so that none gets all of a slow module."""
    from tools.mutation.killers import Known  # noqa: PLC0415  # after the environment

    known = Known(given.killer)
    _check_that_all_is_well(given, known)
    workers = []
    for number in range(given.jobs):
        worker = os.fork()
        if worker == 0:
            try:
                _judge(waiting[number :: given.jobs], given, known)
            finally:
                os._exit(0)
        workers.append(worker)
    for worker in workers:
        os.waitpid(worker, 0)


def _check_that_all_is_well(given: argparse.Namespace, known: object) -> None:
    """Judge a module as it is: what kills that would kill every mutant, and prove nothing."""
    from tools.mutation.child import judge  # noqa: PLC0415  # after the environment
    from tools.mutation.killers import Known, killers_of  # noqa: PLC0415  # likewise

    assert isinstance(known, Known)
    module = "linux_bugs"  # of those for which most killers are tried
    killers = [each for each in killers_of(module, known) if each.name in (given.killer or [each.name])]
    outcome = judge(module, (RULES / f"{module}.py").read_text("utf-8"), killers, LIMIT)
    if outcome.state != "survived":
        sys.exit(f"mutation: without any change {outcome.by} fails: {outcome.what}")


def _judge(waiting: list[Mutant], given: argparse.Namespace, known: object) -> None:
    from tools.mutation.child import judge  # noqa: PLC0415  # after the environment
    from tools.mutation.killers import Known, killers_of  # noqa: PLC0415  # likewise
    from tools.mutation.results import Results  # noqa: PLC0415  # likewise
    from tools.mutation.survivors import justified  # noqa: PLC0415  # likewise

    assert isinstance(known, Known)
    reasons = justified()
    results = Results(given.results)
    texts = {path.stem: path.read_text("utf-8") for path in RULES.glob("*.py")}
    start = time.monotonic()
    for number, mutant in enumerate(waiting, 1):
        killers = [each for each in killers_of(mutant.module, known) if each.name in (given.killer or [each.name])]
        if mutant.id in reasons:
            killers = [each for each in killers if not getattr(each, "slow", False)]
        outcome = judge(mutant.module, mutant.text(texts[mutant.module]), killers, LIMIT)
        if outcome.state != "survived" or not given.killer:
            results.add(mutant, outcome.state, outcome.by, outcome.what)
        if number % 200 == 0:
            print(f"mutation: {number} of {len(waiting)} in {time.monotonic() - start:.0f} s", flush=True)


def print_summary(by: Sequence[str]) -> None:
    for name, count in Counter(by).most_common():
        print(f"  {count:5} {'' if name == 'survived' else 'killed by '}{name}")


if __name__ == "__main__":
    sys.exit(main())

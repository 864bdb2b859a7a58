"""What kills a mutant: tests of this project, the fast and near ones first.

A killer is called in a process of its own in which the rules are the mutant's. It returns what failed, or None where
all was as ever; an exception (a rule that cannot be traced) is a failure too.

Numbers that archcaps itself counts, as the counter-examples to a property, are no killer: what they have to be would
come from the rules too, so that any change kills and no test has said what is right.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import pytest

from tools.mutation.child import Killer, forget_rules

__all__ = ["Known", "PytestSays", "killers_of"]


class Known:
    """What is read once, before the rules are forgotten: the killers that ask from it are fast."""

    def __init__(self, wanted: Sequence[str] = ()) -> None:
        """Read what the wanted killers ask for; without a name for all."""
        self.recorded = _RecordedAnswers()
        for name, worlds, last in (
            ("worlds of guests", "guest", "answers"),
            ("worlds of pairs", "pair", "planes"),
        ):
            if name in wanted or not wanted:
                getattr(import_module(f"tests.oracle.{worlds}_answers"), last)()
                import_module(f"tests.oracle.{worlds}_worlds").facts()
        forget_rules()
        # What stays is not looked at again by the children's garbage collection, which would copy all of it.
        gc.collect()
        gc.freeze()


class _RecordedAnswers:
    """tests/reality/test_predict.py test_every_recorded_answer_to_the_letter, on cases that were read beforehand."""

    name = "recorded answers"

    def __init__(self) -> None:
        from archcaps.questions.predict_case import parse_case  # noqa: PLC0415  # forgotten again before the mutants
        from archcaps.questions.predict_linux import predict_linux  # noqa: PLC0415  # likewise
        from tests.reality.test_predict import case_of, linux_records  # noqa: PLC0415  # likewise

        self._records = linux_records()
        self._cases = [parse_case(case_of(record), "") for record in self._records]
        predict_linux(self._cases)  # the facts of these cases are kept, the answers are not

    def __call__(self) -> str | None:
        from archcaps.questions.predict_linux import predict_linux  # noqa: PLC0415  # the mutant's
        from tests.reality.test_predict import differences_of  # noqa: PLC0415  # likewise

        for record, answer in zip(self._records, predict_linux(self._cases), strict=True):
            told: dict[str, Any] = json.loads(_json(answer))
            if found := differences_of(record, told):
                return f"tests/reality/test_predict.py::test_every_recorded_answer_to_the_letter {found[0]}"
        return None


class _Sweep:
    """A page of tests/oracle that compares with answers of an oracle, which were worked out beforehand."""

    def __init__(self, name: str, page: str, only: str = "") -> None:
        self.name = name
        self._page = page
        self._only = only

    def __call__(self) -> str | None:
        page = import_module(f"tests.oracle.{self._page}")  # the mutant's
        for name, test in page.every_one():
            if name.startswith(self._only) and (failed := _failing(test)):
                return f"tests/oracle/{self._page}.py::{name} {failed}"
        return None


def _failing(test: Callable[[], None]) -> str:
    try:
        test()
    except Exception as error:  # whatever the test raises, it fails
        return f"{type(error).__name__}: {str(error)[:100]}"
    return ""


def _json(answer: object) -> bytes:
    import msgspec  # noqa: PLC0415  # only here

    return msgspec.json.encode(answer)


@dataclass(frozen=True)
class PytestSays:
    """Files of tests, run until the first failure; `slow`: not tried on mutants that survivors.toml justifies."""

    name: str
    arguments: tuple[str, ...]
    slow: bool = False

    def __call__(self) -> str | None:
        first = _First()
        options = ("-x", "-o", "addopts=", "--import-mode=importlib", "--assert=plain", "-W", "ignore")
        without = ("-p", "no:cacheprovider", "-p", "no:terminal")
        code = pytest.main([*options, *without, *self.arguments], plugins=[first])
        return None if code == pytest.ExitCode.OK else first.failed or f"{self.name}: {code!s}"


class _First:
    """Remembers what failed first."""

    failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            self.failed = f"{report.nodeid} (not collected)"


_RULES: Final = "tests/rules/"
_ASKED: Final = "tests/questions/"
#: Which tests are near to a module, by how its name begins.
_NEAR: Final = {
    "later": (f"{_RULES}test_later.py",),
    "properties": (f"{_RULES}test_properties.py",),
    "linux_": (_RULES, f"{_ASKED}test_predict_linux.py"),
    "kvm_msrs": (f"{_ASKED}test_kvm_interface.py", f"{_ASKED}test_kernel.py"),
    "kvm_": ("tests/reality/test_kvm_records.py", _RULES, "tests/reality/test_firecracker_hosts.py"),
    "": (_RULES,),
}
_QUICK: Final = (
    _RULES, "tests/reality/test_kvm_records.py", "tests/reality/test_firecracker_hosts.py",
    "tests/reality/test_published_values.py", f"{_ASKED}test_kvm_interface.py", f"{_ASKED}test_predict_linux.py",
    f"{_ASKED}test_unlanded_patches.py", f"{_ASKED}test_default_guest.py", f"{_ASKED}test_explain_graph.py",
)  # fmt: skip
_REST: Final = (f"{_ASKED}test_kernel.py", f"{_ASKED}test_check.py", f"{_ASKED}test_other_systems.py")
#: What no guest on one kernel shows: `archcaps prove` and `upgrade` alone ask these modules.
_OF_PROPERTIES: Final = ("later", "properties")
_OF_VERDICTS: Final = ("verdict", "silicon", "shown", "host_border")
_SLOW_TESTS: Final = ("test_s07_of_windows_nothing_is_concluded", "test_every_example_follows_the_committed_schema")


def killers_of(module: str, known: Known) -> Iterator[Killer]:
    """Yield the killers for mutants of a module, in the order in which they are tried."""
    if module.startswith("linux_"):
        yield known.recorded
        yield _Sweep("worlds of guests", "test_guest_sweep")
    first = "test_verdicts" if module in _OF_VERDICTS else "test_further" if module == "further" else "test_kvm"
    for test in sorted(("test_kvm", "test_verdicts", "test_further"), key=lambda name: name != first):
        if module not in _OF_PROPERTIES:
            yield _Sweep("worlds of pairs", "test_pair_sweep", test)
    near = next(files for start, files in _NEAR.items() if module.startswith(start))
    yield PytestSays("near tests", near)
    if module in _OF_PROPERTIES:
        yield PytestSays("properties", (f"{_ASKED}test_prove.py", f"{_ASKED}test_upgrade.py"), slow=True)
    yield PytestSays("tests of rules and questions", tuple(each for each in _QUICK if each not in near), slow=True)
    without = ("-k", " and ".join(f"not {name}" for name in _SLOW_TESTS))
    yield PytestSays("scenarios", ("tests/scenarios/", *without), slow=True)
    yield PytestSays("other questions", (*_REST, *without), slow=True)
    yield PytestSays("oracle", ("tests/oracle/test_sweep.py",), slow=True)
    yield PytestSays("published outputs", ("tests/reality/test_predict.py",), slow=True)

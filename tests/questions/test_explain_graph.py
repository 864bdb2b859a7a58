"""explain: its formulas, tables, states and readers are those of the rules themselves."""

from __future__ import annotations

import re
from itertools import product

import pytest

from archcaps.logic.graph import Node
from archcaps.logic.prose import inputs_of, prose
from archcaps.questions.explain_results import RuleFacts
from archcaps.questions.explain_rules import arguments_of, instance, instances, rules
from archcaps.questions.explain_tables import kernels_with
from archcaps.questions.explain_verdict import cases_of
from archcaps.rules.linux_mitigations import TEXTS
from archcaps.rules.verdict import Claim, Truth
from archcaps.tables.files import read_csv
from archcaps.tables.kernels import BEHAVIOURS, READINGS, Release, behaviour
from archcaps.tables.names import VULNERABILITIES
from tests.logic.expressions import evaluate as of_facts
from tests.questions.explaining import one, result


def every(inputs: list[str]) -> list[dict[str, bool]]:
    return [dict(zip(inputs, values, strict=True)) for values in product((True, False), repeat=len(inputs))]


def at_one_level(node: Node, values: dict[str, bool]) -> bool:
    """Plain logic on a rule's body, its rules and facts given by name."""
    if node.name and node.name in values:
        return values[node.name]
    parts = [at_one_level(arg, values) for arg in node.args]
    if not parts:
        return of_facts(node, values)
    if node.kind.value == "not":
        return not parts[0]
    return any(parts) if node.kind.value == "or" else all(parts)


@pytest.mark.parametrize("name", list(rules()))
def test_the_formula_of_every_rule_is_its_body(name: str) -> None:
    for texts in arguments_of(name)[:20] or [()]:
        node = instance(name, texts)
        inputs = inputs_of(node)
        formula = prose(node)
        for values in every(inputs) if len(inputs) <= 8 else []:
            assert formula.evaluate(values) is at_one_level(node.args[0], values)


def test_the_printed_tables_are_the_bodies() -> None:
    for name in ("x86_bug_mds", "x86_bug_rfds", "taa_has_microcode", "vmx_update_fb_clear_dis", "clear_cpu_buf"):
        facts = one(name, "rule").rule
        assert isinstance(facts, RuleFacts)
        table = facts.formulas[0].table
        assert table is not None
        node = instance(name, ())
        for values in every(inputs_of(node)):
            true = [key.partition(".")[2] for key, value in values.items() if value]
            assert result(table, *true) is at_one_level(node.args[0], values)


@pytest.mark.parametrize("file", TEXTS)
def test_of_the_states_of_a_file_always_one_holds(file: str) -> None:
    facts = one(file, "vulnerability").vulnerability
    assert facts is not None
    conditions = [state.condition.formula for state in facts.states.values()]
    inputs = sorted({word for line in conditions for word in re.findall(r"[\w\[\]]+", line)} - {"and", "or", "not"})
    plain = {name: re.sub(r"\W", "_", name) for name in inputs}
    for name, identifier in plain.items():
        conditions = [line.replace(name, identifier) for line in conditions]
    for values in every(list(plain.values())):
        assert sum(bool(eval(line, {"__builtins__": {}}, values)) for line in conditions) == 1


@pytest.mark.parametrize("vulnerability", VULNERABILITIES)
def test_the_cases_of_every_claim_are_the_rows_of_the_verdict(vulnerability: str) -> None:
    for claim in Claim:
        cases = {case.truth: case.condition.formula for case in cases_of(claim)}
        for affected, works, runs in product((True, False), repeat=3):
            told = {"affected": affected, "verw_works": works, "clear_cpu_buf": runs, "always": True}
            expected = {truth for truth, line in cases.items() if eval(line, {"__builtins__": {}}, told)}
            assert expected == {truth.value for truth in Truth if told_by_graph(vulnerability, truth, claim, told)}


def told_by_graph(vulnerability: str, truth: Truth, claim: Claim, told: dict[str, bool]) -> bool:
    node = instance("is_told", (vulnerability, truth.value))
    values = {}
    for name in inputs_of(node):
        rest = name.partition(".")[2]
        base = rest.partition("[")[0]
        if base == "concludes":
            values[name] = rest == f"concludes[{vulnerability},{claim.value}]"
        else:
            values[name] = told["affected" if base.startswith("affected_by") else base]
    return at_one_level(node.args[0], values)


def test_who_uses_a_rule() -> None:
    facts = one("x86_bug_mds", "rule").rule
    assert facts is not None
    users = {mention.name for mention in facts.used_by}
    assert users >= {"verw_selected", "vmx_setup_fb_clear_ctrl", "forced_on[mds_no]", "x86_bug_msbds_only", "mds"}
    for name, node in instances().items():
        reads = any(read.partition(".")[2] == "x86_bug_mds" for read in inputs_of(node))
        assert reads is (name in users)


def test_who_reads_a_bit() -> None:
    facts = one("rfds_clear", "bit").bit
    assert facts is not None
    readers = {mention.name for mention in facts.read_by}
    assert readers >= {"x86_bug_rfds", "verw_selected", "contradicts_rfds", "reg_file_data_sampling"}
    assert "tsa" not in facts.files


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_the_unknown_releases_are_those_that_nobody_read(name: str) -> None:
    read = {row["release"]: row[name] for table in READINGS for row in read_csv(table) if row.get(name)}
    for item in kernels_with(name):
        for text in re.findall(r"(?:yes|no) (\S+?)(?= to|;|$)|(?<= to )(\S+?)(?=;|$)", item.readings):
            release = text[0] or text[1]
            assert behaviour(name, Release.parse(release)).value is (read[release] == "1")
        for zone in item.unknown:
            between = re.fullmatch(r"after (\d+\.\d+)\.(\d+) and before (\d+\.\d+)\.(\d+)", zone)
            if between and between[1] == between[3]:
                for point in range(int(between[2]) + 1, int(between[4])):
                    assert behaviour(name, Release.parse(f"{between[1]}.{point}")).value is None
            last = re.fullmatch(r"after (\d+\.\d+)\.(\d+)", zone)
            if last:
                assert behaviour(name, Release.parse(f"{last[1]}.{int(last[2]) + 1}")).value is None

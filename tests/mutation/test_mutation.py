"""A few mutants of the rules, of every kind, each of which a test has to kill; `make mutation` judges them all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tools.mutation.make import every_mutant, mutants_of
from tools.mutation.mutant import RULES
from tools.mutation.survivors import faults, justified

ROOT = Path(__file__).parents[2]
#: Of ten kinds and seven modules, such as the recorded answers of real kernels kill at once.
SAMPLE = (
    "linux_branch_texts._mode_field: labels: kernel.names_eibrs_modes, 'Mitigation: Retpolines' -> changed with ",
    "linux_branch_texts.spectre_v2_texts: name: 'RSB filling' -> ",
    "linux_bugs.x86_bug_tsa: negation: ~x86_feature_tsa_no(cpu, kernel) -> x86_feature_tsa_no(cpu, kernel)",
    "linux_bugs.x86_feature_rtm: branches: ",
    "linux_bugs_branch.x86_bug_bhi: operand: x86_feature_ibrs_enhanced(cpu, kernel) | cpu.hypervisor -> without x86_",
    "linux_bugs_branch.x86_bug_srso: fact: cpu.listed_srso -> ",
    "linux_errata.x86_bug_amd_e400: operand: cpu.vendor_amd & choose(asked, cpu.osvw_erratum_400, cpu.err",
    "linux_features.x86_feature_ssbd: operator: cpu.ssbd | cpu.amd_ssbd -> cpu.ssbd & cpu.amd_ssbd",
    "linux_memory.srbds_texts: row: cpu.hypervisor, HOST_STATUS -> left out",
    "linux_memory.srbds_texts: rows: srbds_needs_tsx(cpu, kernel), TSX_DISABLED -> changed with ",
    "linux_mitigations.mmio_has_microcode: fact: cpu.mds_no -> ",
    "linux_spectre_v2.RSB_FILLING_MODES: element: (RETPOLINE, LFENCE, IBRS) -> without IBRS",
)


def test_a_sample_is_killed(tmp_path: Path) -> None:
    chosen = [next(each for each in every_mutant() if each.id.startswith(start)) for start in SAMPLE]
    assert len({each.kind for each in chosen}) == 10
    results = tmp_path / "results.jsonl"
    only = [part for each in chosen for part in ("--only", each.id)]
    fast = ["--killer", "recorded answers"]
    run = [sys.executable, "-m", "tools.mutation.run", "--jobs", "1", "--results", str(results), *fast, *only]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    judged = [json.loads(line) for line in results.read_text("utf-8").splitlines()]
    assert {each["id"] for each in judged if each["state"] == "killed"} >= {each.id for each in chosen}, done.stderr


def test_every_mutant_is_another_module_that_can_be_read() -> None:
    texts = {path.stem: path.read_text("utf-8") for path in RULES.glob("*.py")}
    mutants = every_mutant()
    assert len({each.id for each in mutants}) == len(mutants) > 3000
    assert {each.module for each in mutants} == set(texts) - {"__init__"}
    for each in mutants[::25]:
        changed = each.text(texts[each.module])
        assert changed != texts[each.module]
        compile(changed, each.module, "exec", dont_inherit=True)


def test_the_mutants_of_a_rule_by_hand() -> None:
    text = "from archcaps.logic.graph import Node\n\ndef f(cpu: Cpu) -> Node:\n    return ~cpu.mds_no & cpu.taa_no\n"
    found = {(each.kind, each.before, each.after) for each in mutants_of("some", text)}
    whole = "~cpu.mds_no & cpu.taa_no"
    assert found == {
        ("operator", whole, "~cpu.mds_no | cpu.taa_no"),
        ("operand", whole, "without ~cpu.mds_no"),
        ("operand", whole, "without cpu.taa_no"),
        ("negation", "~cpu.mds_no", "cpu.mds_no"),
        ("fact", "cpu.mds_no", "taa_no"),
        ("fact", "cpu.taa_no", "mds_no"),
    }
    (operator,) = (each for each in mutants_of("some", text) if each.kind == "operator")
    assert operator.place == "some.py:4:12"
    assert operator.text(text).splitlines()[-1] == "    return (~cpu.mds_no | cpu.taa_no)"


def test_alike_mutants_are_numbered() -> None:
    text = "def f(cpu):\n    return (cpu.rtm & cpu.avx) | (cpu.rtm & cpu.avx)\n"
    ids = Counter(each.id for each in mutants_of("some", text))
    assert set(ids.values()) == {1}
    assert "some.f: fact: cpu.rtm -> avx #2" in ids


def test_every_justified_survivor_is_a_mutant() -> None:
    made = {each.id for each in every_mutant()}
    reasons = justified()
    assert set(reasons) <= made
    assert all(reason.endswith(".") for reason in reasons.values())


def test_survivors_without_a_reason_and_reasons_without_a_survivor_are_faults() -> None:
    assert list(faults([], {"a"}, {"a": "because."}, whole=True)) == ["survivors.toml: killed, or not judged: a"]
    assert list(faults([], set(), {"a": "because."}, whole=True)) == ["survivors.toml: no such mutant any more: a"]
    assert list(faults([], set(), {"a": "because."}, whole=False)) == []

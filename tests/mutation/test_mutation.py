"""A few mutants of the rules, of every kind, each of which a test has to kill; `make mutation` judges them all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tools.mutation.killers import Counted
from tools.mutation.make import every_mutant, mutants_of
from tools.mutation.mutant import RULES
from tools.mutation.survivors import faults, justified

ROOT = Path(__file__).parents[2]
#: One of each kind, of different modules.
SAMPLE = (
    "kvm_entry.noverw: operand: mds & taa & psdp & fbsdp & sbdr -> without psdp",
    "kvm_entry.FIVE_NO: element: ('mds_no', 'taa_no', 'psdp_no', 'fbsdp_no', 'sbdr_ssdp_no') -> without 'fbsdp_no'",
    "kvm_offer.forced_off: negation: ~rtm -> rtm",
    "kvm_offer.in_mask: fact: kvm.kernel.offers_rfds_bits -> offers_synthesised_tsa_bits",
    "kvm_vmx_entry.can_reach_mmio: branches: ",
    "linux_bugs.x86_bug_taa: operator: cpu.rtm | cpu.tsx_ctrl -> cpu.rtm & cpu.tsx_ctrl",
    "linux_mitigations.tsa_texts: rows: tsa_switched_off(kernel), VULNERABLE -> changed with ",
    "linux_mitigations.reg_file_data_sampling_texts: labels: cpu.rfds_clear, RFDS_CLEAR -> changed with ",
    "linux_srso._by_vectors: row: left_out, VULNERABLE -> left out",
    "silicon.affected_by_mmio: fact: silicon.psdp_no -> ",
    "kvm_offer.forced_on: constant: TRUE -> FALSE",
    "verdict.exposed: operand: ",
    "further.host_prevents: name: 'itlb_multihit' -> ",
)


def test_a_sample_of_every_kind_is_killed(tmp_path: Path) -> None:
    chosen = [next(each for each in every_mutant() if each.id.startswith(start)) for start in SAMPLE]
    assert len({each.kind for each in chosen}) == len({each.kind for each in every_mutant()})
    results = tmp_path / "results.jsonl"
    only = [part for each in chosen for part in ("--only", each.id)]
    fast = ["--killer", "recorded answers", "--killer", "worlds of guests", "--killer", "worlds of pairs"]
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


@pytest.mark.parametrize(("found", "killed"), [({"p": 3}, None), ({"p": 4}, "proofs: p"), ({}, "proofs: p")])
def test_counts_that_have_to_stay(found: dict[str, int], killed: str | None) -> None:
    assert Counted("proofs", lambda: found, {"p": 3})() == killed

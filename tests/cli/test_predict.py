"""`archcaps predict`: lines in, lines out, bad lines answered at their place, and one case from options."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest

from tests.cli.running import COMMAND, ROOT, archcaps, assert_refused

ICE_LAKE = {
    "kernel": "6.12.117", "vendor": "GenuineIntel", "family": 6, "model": 106, "stepping": 6, "hypervisor": True,
    "bits": ["md_clear", "avx", "arch_capabilities"], "arch_caps": "0x6b", "cmdline": "", "config": "debian-cloud",
    "smp": 1,
}  # fmt: skip
ATTEMPTED = "Vulnerable: Clear CPU buffers attempted, no microcode; SMT Host state unknown"


def lines(*cases: dict[str, object] | str) -> bytes:
    return "\n".join(case if isinstance(case, str) else json.dumps(case) for case in cases).encode()


def test_a_case_is_answered_with_texts_bugs_and_verw() -> None:
    result = archcaps("predict", stdin=lines(ICE_LAKE))
    assert (result.returncode, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert answer["vuln"]["mmio_stale_data"] == ATTEMPTED
    assert answer["vuln"]["gather_data_sampling"] == "Unknown: Dependent on hypervisor status"
    assert "old_microcode" not in answer["vuln"]  # no such file in 6.12
    assert answer["bugs"][0] == "spectre_v1"
    assert answer["verw"]["CLEAR_CPU_BUF_VM_MMIO"] is None


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('{"kernel": "6.1', "line 2: not JSON"),
        ("[1]", "line 2: expected `object`, got `array`"),
        ('{"bits": ["avx", "avx"]}', "line 2: bits: avx is given twice, expected each bit once"),
        ('{"family": 6, "family": 7}', "line 2: the key 'family' is given twice (expected once)"),
        ('{"msrs": {"0x8b": 1, "0x8b": 2}}', "line 2: the key '0x8b' is given twice (expected once)"),
        ('{"bits": ["md_claer"]}', "line 2: bits: 'md_claer' is unknown (did you mean md_clear?), expected a CPUID"),
        ('{"bits": ["mds_no"]}', "line 2: bits: 'mds_no' is a bit of an MSR"),
        ('{"kernel": "latest"}', "line 2: kernel: 'latest' is not a kernel release (expected something like 6.12."),
        ('{"family": 1000}', "line 2: family: 1000 is out of range, expected 0 to 0x10e"),
        ('{"stepping": "0x1g"}', "line 2: stepping: '0x1g' is not a number, expected decimal or 0x"),
        ('{"arch_caps": "0x1ffffffffffffffff"}', "line 2: arch_caps: 0x1ffffffffffffffff is out of range"),
        ('{"msrs": {"0x8b": -1}}', "line 2: msrs 0x8b: -1 is out of range"),
        ('{"smp": "many"}', "line 2: smp: 'many', expected a number of CPUs"),
        ('{"hypervisor": 1}', "line 2: hypervisor: expected `bool"),
        ('{"hypervisor": false, "bits": ["hypervisor"]}', "line 2: bits: hypervisor is named and the key"),
        ('{"config": "no-such"}', "line 2: config: unknown kernel configuration 'no-such'"),
    ],
)  # fmt: skip
def test_a_bad_line_is_answered_with_its_error_and_the_others_all_the_same(line: str, error: str) -> None:
    result = archcaps("predict", stdin=lines(ICE_LAKE, line, ICE_LAKE))
    assert result.returncode == 65
    assert result.stderr == "archcaps predict: 1 of 3 lines were no case (their answers say why)\n"
    first, bad, last = map(json.loads, result.stdout.splitlines())
    assert first == last
    assert list(bad) == ["error"]
    assert bad["error"].startswith(error)


def test_blank_lines_are_skipped_and_counted() -> None:
    result = archcaps("predict", stdin=b"\n\n{\n")
    assert json.loads(result.stdout)["error"].startswith("line 3: ")


def test_nothing_is_known_of_an_empty_case() -> None:
    """Every text is possible, and no file too."""
    answer = json.loads(archcaps("predict", stdin=b"{}").stdout)
    assert answer["bugs"] == []
    assert {None, "Not affected", "Mitigation: PTI", "Vulnerable"} <= set(answer["vuln"]["meltdown"])
    assert answer["verw"]["CLEAR_CPU_BUF"] == [True, False, None]
    assert len(answer["vuln"]["spectre_v2"]) > 10_000  # all of them
    assert "vuln_cut" not in answer


def test_unknown_keys_are_let_through() -> None:
    more = ICE_LAKE | {"name": "one", "guest_values": ["0x0"]}
    assert archcaps("predict", stdin=lines(more)).stdout == archcaps("predict", stdin=lines(ICE_LAKE)).stdout


def test_an_answer_comes_before_more_input_is_given() -> None:
    """A program that asks one case after the other through pipes gets each answer at once."""
    with subprocess.Popen(
        [COMMAND, "predict"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=dict(os.environ)
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):
            process.stdin.write(lines(ICE_LAKE) + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["vuln"]["mmio_stale_data"] == ATTEMPTED
        process.stdin.close()
        assert process.wait() == 0


def test_files_and_their_names_in_errors() -> None:
    result = archcaps("predict", "examples/predict/linux.ndjson", "-", stdin=b"{")
    assert result.returncode == 65
    assert json.loads(result.stdout.splitlines()[-1])["error"].startswith("standard input: line 1: not JSON")
    assert_refused(archcaps("predict", "no-such-file"), 65, "no-such-file: cannot be read: No such file")


OPTIONS = ("--kernel", "6.12.117", "--cpu", "6/0x6a/6", "--flags", "md_clear,avx,arch_capabilities",
           "--arch-capabilities", "0x6b")  # fmt: skip


def test_one_case_from_options() -> None:
    result = archcaps("predict", *OPTIONS)
    assert result.returncode == 0
    assert re.search(rf"^mmio_stale_data +{ATTEMPTED}$", result.stdout, re.M)
    assert "CLEAR_CPU_BUF_VM_MMIO: no such feature\n" in result.stdout
    answer = json.loads(archcaps("predict", *OPTIONS, "--config", "debian-cloud", "--json").stdout)
    assert answer["vuln"]["mmio_stale_data"] == ATTEMPTED
    bare = json.loads(archcaps("predict", *OPTIONS, "--bare-metal", "--smt", "--json").stdout)
    assert bare["vuln"]["mmio_stale_data"] == ATTEMPTED.replace("Host state unknown", "vulnerable")


def test_wrong_usage() -> None:
    assert_refused(archcaps("predict", "--cpu", "6/0x6a/6"), 64, "--kernel is missing")
    assert_refused(archcaps("predict", "--kernel", "6.1.192", "file"), 64, "cannot be given together")
    assert_refused(archcaps("predict", "--kernel", "six"), 65, "is not a kernel release")
    wrong = archcaps("predict", "--kernel", "6.1.192", "--cpu", "6/0x6a/6", "--arch-capabilities", "0x1")
    assert_refused(wrong, 65, "needs --flags")

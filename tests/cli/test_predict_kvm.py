"""archcaps predict --kvm: the recorded answers of the real kvm-intel.ko, and lines that are no case."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import jsonschema
import pytest

from tests.cli.running import COMMAND, ROOT, archcaps, assert_refused
from tests.reality.records import records

#: What the recorder did not write down: revision 0, Debian's configuration.
SAID = {
    "msrs": {"0x8b": "0x0", "0x17": "0x0", "0xc0011020": "0x0"},
    "msr_writes_succeed": True,
    "config": "debian-cloud",
}
SCHEMA = json.loads((ROOT / "schemas/predict-kvm-1.json").read_text(encoding="utf-8"))


def predict(*cases: object) -> list[dict[str, Any]]:
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    result = archcaps("predict", "--kvm", "-", stdin=lines.encode())
    assert (result.returncode, result.stderr) == (0, "")
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    for answer in answers:
        jsonschema.validate(answer, SCHEMA)
    return answers


def test_every_recorded_host_and_value() -> None:
    chosen = [record for record in records() if record["engine"] == "kvm-intel-tcg"]
    cases = [
        {**record["input"], **SAID, "guest_values": [guest["set"] for guest in record["output"]["guest"]],
         "guest_cpuid_arch_capabilities": True}
        for record in chosen
    ]  # fmt: skip
    answers = predict(*cases)
    assert len(answers) == len(chosen) == 24
    for record, answer in zip(chosen, answers, strict=True):
        output = record["output"]
        assert answer == {
            "offered": output["feature_0x10a"],
            "vcpu_initial": output["vcpu_initial_0x10a"],
            "values": output["guest"],
        }


ICE_LAKE = {
    "vendor": "GenuineIntel", "family": 6, "model": 106, "stepping": 6, "hypervisor": False, "cmdline": "", "smp": 1,
    "bits": ["vmx", "avx", "md_clear", "flush_l1d", "arch_capabilities"], "arch_caps": "0x6016b", **SAID,
}  # fmt: skip


def test_without_the_cpuid_bit_newer_kernels_ignore_0_and_refuse_the_rest() -> None:
    """Recorded without_cpuid_bit of 7.2.13: set 0 r=1 get 0, set 20 r=0 get 0."""
    case = {**ICE_LAKE, "kernel": "7.2.13", "guest_values": ["0x0", "0x20"], "guest_cpuid_arch_capabilities": False}
    (answer,) = predict(case)
    assert [(one["accepted"], one["get"]) for one in answer["values"]] == [(True, "0x0"), (False, "0x0")]
    older = predict({**case, "kernel": "6.12.117"})[0]
    assert [(one["accepted"], one["get"]) for one in older["values"]] == [(True, "0x0"), (True, "0x20")]


def test_missing_facts_are_unknown() -> None:
    (nothing,) = predict({})
    assert nothing["values"] == []
    assert nothing["offered"] == {"value": "0x40", "known": "0x40"}  # PSCHANGE_MC_NO is set by every kernel
    case = {**ICE_LAKE, "guest_values": ["0x0", "0x20000"]}
    (answer,) = predict(case)  # no kernel, and not said whether CPUID shows the MSR
    assert {one["disable_fb_clear"] for one in answer["values"]} == {None}
    assert answer["values"][1]["accepted"] is None
    (answer,) = predict({**case, "kernel": "6.12.117", "guest_cpuid_arch_capabilities": True})
    assert [one["disable_fb_clear"] for one in answer["values"]] == [True, False]
    # without the command line nobody knows vmentry_l1d_flush (L1TF), nor whether it sets the bug ITS
    skylake = {**ICE_LAKE, "model": 85, "stepping": 4, "arch_caps": "0x0", "kernel": "6.12.117"}
    assert predict(skylake)[0]["offered"] == "0x4000000008000048"
    del skylake["cmdline"]
    offered = predict(skylake)[0]["offered"]
    assert int(offered["known"], 16) == (1 << 64) - 1 & ~(1 << 3) & ~(1 << 62)
    never = {**skylake, "cmdline": "", "kvm_parameters": {"vmentry_l1d_flush": "never"}}
    assert predict(never)[0]["offered"] == "0x4000000008000040"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"kernel": "6.12.117"', "not JSON"),
        (b"[]", "expected `object`, got `array`"),
        (b'{"kernel": "latest"}', "kernel: 'latest' is not a kernel release (expected something like 6.12.117)"),
        (b'{"bits": ["md_claer"]}', "bits: 'md_claer' is unknown (did you mean md_clear?), expected a CPUID bit"),
        (b'{"bits": ["md_clear", "md_clear"]}', "bits: md_clear is given twice, expected each bit once"),
        (b'{"arch_caps": "0x10000000000000000"}', "arch_caps: 0x10000000000000000 is out of range"),
        (b'{"guest_values": ["0x10000000000000000"]}', "guest_values: 0x10000000000000000 is out of range"),
        (b'{"guest_values": ["many"]}', "guest_values: 'many' is not a number"),
        (b'{"guest_values": 3}', "guest_values: expected `array`, got `int`"),
        (b'{"vendor": "Intel"}', "vendor: unknown vendor 'Intel', expected CPUID's, as GenuineIntel"),
        (b'{"config": "nosuch"}', "config: unknown kernel configuration 'nosuch'"),
        (b'{"smp": "many"}', "smp: 'many', expected a number of CPUs"),
        (b'{"hypervisor": "no"}', "hypervisor: expected `bool"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100000, "expected `object`, got `array`"),
    ],
)
def test_a_line_that_is_no_case(line: bytes, says: str) -> None:
    good = json.dumps({**ICE_LAKE, "kernel": "6.12.117"}).encode()
    result = archcaps("predict", "--kvm", stdin=good + b"\n\n" + line + b"\n" + good)
    assert result.returncode == 65
    assert result.stderr == "archcaps predict: 1 of 3 lines were no case (their answers say why)\n"
    first, second, third = (json.loads(answer) for answer in result.stdout.splitlines())
    assert first == third
    assert first["offered"] == "0x802006b"
    assert set(second) == {"error"}
    assert second["error"].startswith("line 3: ")
    assert says in second["error"]
    jsonschema.validate(second, SCHEMA)


def test_an_answer_comes_before_the_next_case() -> None:
    with subprocess.Popen(
        [COMMAND, "predict", "--kvm"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(3):
            process.stdin.write(json.dumps({**ICE_LAKE, "kernel": "6.12.117"}).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["offered"] == "0x802006b"
        process.stdin.close()
        assert process.wait() == 0


def test_wrong_usage() -> None:
    assert_refused(archcaps("predict", "--kvm", "--kernel", "6.1.192"), 64, "--kvm takes cases from files")
    assert_refused(archcaps("predict", "--kvm", "nosuch.ndjson"), 65, "nosuch.ndjson: cannot be read")


def test_the_example_in_the_help_runs() -> None:
    result = archcaps("predict", "--kvm", "examples/predict/kvm.ndjson")
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 3
    assert "archcaps predict --kvm examples/predict/kvm.ndjson" in archcaps("predict", "--help").stdout

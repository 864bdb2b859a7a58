"""`archcaps predict` against what real kernels said: recorded by running them, and published by others.

Recorded: six Debian kernels' own code, run in emulators: every text, bug name and VERW feature must be equal.
Published, and booted on QEMU's models: not every bit is known, so that what was printed must be among what is
answered.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from archcaps.questions.predict_case import Case, parse_case
from archcaps.questions.predict_linux import predict_linux
from archcaps.rules.linux_files import TEXTS
from tests.cli.running import archcaps
from tests.reality.records import Record, records, records_of_fourteen_images

RECORDED = Path(__file__).parent / "recorded"
#: What the records leave unsaid: the emulators' MSRs read 0 and take every write, the kernels were Debian's.
UNSAID = {
    "other_msrs": "0x0",
    "msr_writes_succeed": True,
    "config": "debian-cloud",
}
#: Bugs that the emulated CPU's unnamed bits decide (NULL_SEL_CLR_BASE, MONITOR; TDX is off): never in a record.
UNNAMED = {"null_seg", "monitor", "tdx_pw_mce"}
VENDORS = {"INTEL": "GenuineIntel", "AMD": "AuthenticAMD"}


def linux_records() -> list[Record]:
    return [record for record in records() if record["engine"] != "kvm-intel-tcg"]


def case_of(record: Record) -> bytes:
    return json.dumps({**record["input"], **UNSAID}).encode()


def differences_of(record: Record, answer: dict[str, Any]) -> list[str]:
    output = record["output"]
    found = [
        f"{file}: {answer['vuln'].get(file)!r}, recorded {output['vuln'].get(file)!r}"
        for file in TEXTS
        if answer["vuln"].get(file) != output["vuln"].get(file)
    ]
    if answer["bugs"] != output["bugs"]:
        found.append(f"bugs: {sorted(set(answer['bugs']) ^ set(output['bugs']))} or their order")
    if answer["verw"] != output["verw"]:
        found.append(f"verw: {answer['verw']}, recorded {output['verw']}")
    if set(answer.get("bugs_possible", [])) - UNNAMED:
        found.append(f"possible: {answer['bugs_possible']}")
    return found


def test_every_recorded_answer_to_the_letter() -> None:
    """Through the command, all lines of standard input at once."""
    chosen = linux_records()
    assert len(chosen) > 1200
    result = archcaps("predict", stdin=b"\n".join(map(case_of, chosen)))
    assert result.returncode == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    wrong = {
        f"{record['kernel']} {record['input']}": found
        for record, answer in zip(chosen, answers, strict=True)
        if (found := differences_of(record, answer))
    }
    assert wrong == {}


#: Files whose text depends on whether kvm_intel is loaded where CPUID shows VMX, which no record says.
BY_KVM_INTEL = ("l1tf", "itlb_multihit")


def test_every_answer_of_fourteen_images_to_the_letter() -> None:
    """6.1.190 to 7.3.4 with command lines and SMT: texts, bugs in their order, VERW features; no list of several."""
    chosen = [record for record in records_of_fourteen_images() if "vuln" in record["output"]]
    assert len(chosen) == 1514
    cases = [json.dumps({**record["input"], "other_msrs": "0x0"}).encode() for record in chosen]
    result = archcaps("predict", stdin=b"\n".join(cases))
    assert result.returncode == 0, result.stderr
    wrong = {}
    for record, line in zip(chosen, result.stdout.splitlines(), strict=True):
        answer = json.loads(line)
        if "vmx" in record["input"]["bits"]:
            for file in BY_KVM_INTEL:
                texts, recorded = answer["vuln"][file], record["output"]["vuln"][file]
                if isinstance(texts, list) and recorded in texts:
                    answer["vuln"][file] = recorded
        if found := differences_of(record, answer):
            wrong[f"{record['kernel']} {record['input']}"] = found
    assert wrong == {}


def test_a_record_without_what_it_leaves_unsaid_is_among_the_answers() -> None:
    """Revision, platform and MSRs unknown: the list has the recorded text, and more where they matter."""
    chosen = linux_records()
    cases = [parse_case(json.dumps(record["input"] | {"msrs": None}).encode(), "") for record in chosen]
    open_files: Counter[str] = Counter()
    for record, answer in zip(chosen, predict_linux(cases), strict=True):
        for file in TEXTS:
            text, recorded = answer.vuln.get(file), record["output"]["vuln"].get(file)
            assert recorded in text if isinstance(text, list) else recorded == text, (record["input"], file, text)
            open_files[file] += isinstance(text, list)
        certain, possible = set(answer.bugs), set(answer.bugs_possible)
        assert certain <= set(record["output"]["bugs"]) <= certain | possible
    assert open_files["old_microcode"] > 0
    assert open_files["ghostwrite"] == 0


def rows_of(name: str) -> list[dict[str, str]]:
    with gzip.open(RECORDED / name, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def assert_possible(case: Case, row: dict[str, str], name: str) -> int:
    """Assert that each text in `row` is among the answers, and return how many texts were compared."""
    answer = predict_linux([case])[0]
    compared = 0
    for file in TEXTS:
        recorded = row.get(file)
        if recorded and file not in answer.vuln_cut:
            text = answer.vuln.get(file)
            assert recorded in (text if isinstance(text, list) else [text]), (name, file)
            compared += 1
    if row.get("bugs"):
        certain, listed = set(answer.bugs), set(row["bugs"].split())
        assert certain <= listed <= certain | set(answer.bugs_possible), name
    return compared


def test_published_outputs_are_possible() -> None:
    """47 outputs that people published, of guests of six hypervisors and of bare metal; most bits are not known."""
    compared = 0
    for row in rows_of("published-outputs.csv.gz"):
        flags = row["cpuid_flags_read"].split()
        read = re.search(r"\d+\.\d+\.[1-9]\d*(?=,| \()", row["kernel"])
        # parted by commas: from a kernel older than the one whose tables are asked
        older = ", " in row["spectre_v2"].partition("; ")[0] and not read
        case = Case(
            kernel=read[0] if read else row["checked_with_tables_of"],
            vendor=VENDORS[row["vendor"]],
            family=int(row["family"]),
            model=int(row["model"]),
            stepping=int(row["stepping"]) if row["stepping"] else None,
            core_type=None,
            hypervisor=row["environment"] != "bare metal",
            bits=[bit_of(flag) for flag in flags if flag.startswith("+")],
            hidden=[bit_of(flag) for flag in flags if flag.startswith("-")],
            cmdline=row["cmdline"] or None,
            smp={"yes": "2,threads=2", "no": "1"}.get(row["smt_threads_gt_1"]),
        )
        compared += assert_possible(case, row | ({"spectre_v2": ""} if older else {}), row["id"])
    assert compared > 550


def bit_of(flag: str) -> str:
    """Return archcaps' name of a flag as /proc/cpuinfo has it."""
    return {"ibrs": "spec_ctrl", "stibp": "intel_stibp", "ibpb": "spec_ctrl"}.get(flag[1:], flag[1:])


def debian_guest(**given: Any) -> Case:  # noqa: ANN401  # whatever a case has
    return Case(kernel="6.1.192", hypervisor=True, cmdline="", config="debian-cloud", smp=1, **given)


def test_qemu_s_models_as_a_real_guest_kernel_saw_them() -> None:
    """80 model versions of QEMU 11.1, booted; of their bits only some are known here."""
    rows, compared = rows_of("qemu-11.1-models.csv.gz"), 0
    for row in rows:
        if row["bugs"] == "NO OUTPUT":  # a 32-bit model: the kernel did not boot
            continue
        known = {"md_clear": row["md_clear"], "rtm": row["rtm"], "arch_capabilities": row["arch_capabilities"]}
        case = debian_guest(
            vendor="GenuineIntel",
            family=int(row["family"]),
            model=int(row["model_nr"]),
            stepping=int(row["stepping"]),
            bits=[name for name, value in known.items() if value not in ("", "0")],
            hidden=[name for name, value in known.items() if value in ("", "0")],
            arch_caps=row["arch_capabilities"] or None,
        )
        compared += assert_possible(case, row, row["model"])
    assert compared > 700


def test_configurations_that_users_ask_about_as_a_real_guest_kernel_saw_them() -> None:
    """48 command lines of QEMU; bits that they do not name are unknown."""
    rows, compared = rows_of("qemu-user-configs.csv.gz"), 0
    models = {"qemu64": (15, 107, 1), "kvm64": (15, 6, 1)}  # QEMU target/i386/cpu.c
    for row in rows:
        model, *settings = row["qemu_cpu"].split(",")
        given = dict(setting.split("=") for setting in settings)
        named = {name.replace("-", "_"): value for name, value in given.items() if value in ("on", "off")}
        family, number, stepping = models.get(model, (0, 0, 0))
        shown = {name for name, value in named.items() if value == "on"} - {"x_force_features"}
        hidden = {name for name, value in named.items() if value == "off"} - {"check"}
        case = debian_guest(
            vendor=given["vendor"],
            family=int(given.get("family", family)),
            model=int(given.get("model", number)),
            stepping=int(given.get("stepping", stepping)),
            bits=sorted(shown),
            hidden=sorted(hidden | ({"arch_capabilities"} - shown)),
            arch_caps=row["arch_capabilities"] or None,
        )
        compared += assert_possible(case, row, row["config"])
    assert compared > 450

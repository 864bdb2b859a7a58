"""archcaps decode as a user runs it: its text at every width, its JSON, its exit codes, its errors."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

import jsonschema
import pytest

from archcaps.tables.bits import BITS, REGISTERS
from tests.cli import running
from tests.cli.running import COMMAND, ROOT, assert_refused

SPR = "0x400000000c08e0eb"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def run(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[str]:
    return running.archcaps("decode", *arguments, stdin=stdin, **environment)


def on_terminal(*arguments: str, columns: int = 80, **environment: str) -> str:
    return running.on_terminal("decode", *arguments, columns=columns, **environment)


# --- text ----------------------------------------------------------------------------------


def test_a_value_by_names() -> None:
    result = run(SPR)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "IA32_ARCH_CAPABILITIES (MSR 0x10a) = 0x400000000c08e0eb"
    assert lines[1].startswith("Holds only where CPUID.7.0:EDX[29] is 1, on Intel-compatible CPUs: on Centaur's")
    rows = re.findall(r"^ *(\d+)  (\w+) +(good|bad|clears|neutral|\?) +(AND|OR|HOST|-)", result.stdout, re.M)
    assert [int(row[0]) for row in rows] == [0, 1, 3, 5, 6, 7, 13, 14, 15, 19, 26, 27, 62]
    assert ("19", "rrsba", "bad", "OR") in rows
    assert ("5", "mds_no", "good", "AND") in rows
    assert lines[-1] == "AND: shown to a guest only if every host has it; OR: shown if any host has it."


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 109, 110, 120, 200])
@pytest.mark.parametrize("names", ["archcaps", "linux", "xen"])
def test_no_line_is_wider_than_the_terminal(columns: int, names: str) -> None:
    for arguments in (
        ("0xffffffffffffffff", "0"), ("--all", "0x2b"), ("--register", "7.0:edx", "0xffffffff"),
        ("--register", "1a:eax", "0x40000003"), ("--register", "0x123", "0xffff"), ("--diff", "0xc0aa0eb", SPR),
        ("rdcl-no,mds-no,md-clear,tsa_l1_no,core_type=0x20",),
    ):  # fmt: skip
        result = run(*arguments, "--names", names, COLUMNS=str(columns))
        assert (result.returncode, result.stderr) == (0, "")
        lines = result.stdout.splitlines()
        assert max(map(len, lines)) <= columns
        assert all(line == line.rstrip() for line in lines)


def test_a_wide_terminal_is_used() -> None:
    narrow, wide = run(SPR, COLUMNS="80").stdout.splitlines(), run(SPR, COLUMNS="200").stdout.splitlines()
    assert len(wide) < len(narrow)
    assert max(map(len, wide)) > 150
    assert next(line for line in wide if " mds_no " in line).endswith(
        "The CPU is not affected by microarchitectural data sampling; it says nothing on TAA, MMIO stale data or RFDS."
    )


@pytest.mark.parametrize("columns", [80, 200])
def test_on_a_terminal(columns: int) -> None:
    text = on_terminal(SPR, columns=columns)
    assert "\x1b[31mbad\x1b[0m" in text
    assert "\x1b[32mgood\x1b[0m" in text
    plain = ANSI.sub("", text).splitlines()
    assert plain == run(SPR, COLUMNS=str(columns)).stdout.splitlines()


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_terminals_without_colours(environment: dict[str, str]) -> None:
    assert "\x1b" not in on_terminal(SPR, columns=80, **environment)


def test_colours_are_for_terminals_unless_said() -> None:
    assert "\x1b" not in run(SPR).stdout
    assert "\x1b[32mgood" in run(SPR, "--color").stdout
    assert "\x1b" not in on_terminal(SPR, "--no-color")


def test_names_of_a_consumer() -> None:
    text = run("0x80221", "--names", "qemu").stdout
    assert re.findall(r"^ *\d+  (\S+)", text, re.M) == ["rdctl-no", "mds-no", "(mcu_control)", "(rrsba)"]
    assert "ARCH_CAP_RRSBA" in run("0x80221", "--names", "linux").stdout


def test_all_shows_the_clear_bits() -> None:
    text = run("--all", "0x2b").stdout
    assert re.search(r"^  5   1  mds_no ", text, re.M)
    assert re.search(r"^  8   0  taa_no ", text, re.M)
    assert " 33  to 61: reserved, and clear\n" in text


def test_reserved_unverified_and_unknown_bits_are_shown_as_such() -> None:
    text = run(hex(1 << 40)).stdout
    assert re.search(r"^ 40  reserved_40 +\? +-$", text, re.M)
    flowing = " ".join(text.split())
    assert "No meaning is published for bit 40; a value with this bit set is suspicious." in flowing
    said = " ".join(run("--register", "7.0:ecx", hex(1 << 23)).stdout.split())
    assert "UNVERIFIED. Said to mean that the key locker exists" in said
    unknown = run("--register", "7.0:edx", hex(1 << 12)).stdout
    assert re.search(r"^ 12  unknown_12 +\?", unknown, re.M)
    assert "archcaps' tables have no meaning for this bit." in unknown


def test_fields() -> None:
    text = run("--register", "0x1a:eax", "0x40000001").stdout
    assert "bits 31:24  core_type = 0x40 (Core)\n" in text
    assert "No bit is set" not in text
    assert "No bit is set." in run("0").stdout
    assert "mawau" not in run("--register", "7.0:ecx", "0x4").stdout


def test_names_to_a_value() -> None:
    assert run("rdcl-no,mds-no").stdout == (
        "IA32_ARCH_CAPABILITIES (MSR 0x10a) = 0x21\n  rdcl_no (bit 0), mds_no (bit 5)\n"
    )
    assert run("RDCL_NO", "ARCH_CAP_MDS_NO md-clear").stdout.splitlines()[::2] == [
        "IA32_ARCH_CAPABILITIES (MSR 0x10a) = 0x21", "CPUID.7.0:EDX = 0x400",
    ]  # fmt: skip
    coloured = run("rdcl-no,mds-no", "--color", COLUMNS="45").stdout
    assert ANSI.sub("", coloured) == run("rdcl-no,mds-no", COLUMNS="45").stdout
    assert run("--register", "0x48", "ssbd").stdout.startswith("IA32_SPEC_CTRL (MSR 0x48) = 0x4\n")


def test_a_difference() -> None:
    text = run("--diff", "0xc0aa0eb", SPR, COLUMNS="200").stdout
    head, only_a, only_b, both = text.split("\n\n")
    assert head.startswith("IA32_ARCH_CAPABILITIES (MSR 0x10a): A = 0xc0aa0eb, B = 0x400000000c08e0eb\n")
    assert only_a.startswith("Only in A:\n 17  fb_clear, about mmio_stale_data\n")
    assert "A is better off if that clearing is what it needs; in a pool of both: shown to guests (OR)." in only_a
    assert only_b.count("B is better off; in a pool of both: hidden from guests (AND).") == 2
    assert both.endswith("By these rules a guest that may run on both may be shown 0xc0aa0eb.\n")
    assert "In both: rdctl-no, ibrs-all" in run("--diff", "0xb", "0x3", "--names", "qemu").stdout
    assert not run("--register", "0x48", "--diff", "1", "0").stdout.endswith("\n\n")
    assert "No difference." in run("--diff", "0x2b", "43").stdout
    assert "A is worse off" in run("--diff", "rsba", "0").stdout
    assert "A = 0x400, B = 0x0" in run("--diff", "md-clear", "0").stdout
    cores = run("--register", "1a:eax", "--diff", "0x20000001", "0x40000001").stdout
    assert "core_type (bits 31:24): A = 0x20 (Atom), B = 0x40 (Core)\n" in cores


# --- JSON and streams ----------------------------------------------------------------------


def test_json_follows_its_committed_schema() -> None:
    schema = json.loads((ROOT / "schemas" / "decode-1.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for arguments in (
        [SPR], ["--all", "0"], ["rdcl-no,md-clear"], ["--diff", "0x2b", SPR], ["--register", "0x1a:eax", "0x20000000"],
        ["--register", "7.0:edx", "0xffffffff"],
    ):  # fmt: skip
        answer = json.loads(run("--json", *arguments).stdout)
        jsonschema.validate(answer, schema)
        assert answer["format_version"] == 1
    broken = json.loads(run("--json", SPR).stdout) | {"value": 1}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_json_has_everybody_s_names() -> None:
    answer = json.loads(run("--json", "0x1").stdout)
    (bit,) = answer["bits"]
    assert bit["name"] == "rdcl_no"
    assert bit["names"] == {
        "intel": "RDCL_NO", "linux": "ARCH_CAP_RDCL_NO", "qemu": "rdctl-no", "libvirt": "rdctl-no", "xen": "RDCL_NO",
    }  # fmt: skip
    assert (bit["news"], bit["pool"], bit["vulnerabilities"]) == ("good", "AND", ["meltdown", "l1tf"])
    assert answer["value"] == "0x1"


def test_several_values_are_one_line_each() -> None:
    lines = run("--json", "0x1", "2").stdout.splitlines()
    assert [json.loads(line)["value"] for line in lines] == ["0x1", "0x2"]


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_standard_input(arguments: tuple[str, ...]) -> None:
    lines = b"# a comment\n\n0x2b\n  105 # AMD\nrdcl-no, mds-no\r\n"
    result = run("--json", *arguments, stdin=lines)
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["what"] for answer in answers] == ["value", "value", "names"]
    assert [answer["value"] for answer in answers[:2]] == ["0x2b", "0x69"]
    assert answers[2]["values"][0]["value"] == "0x21"
    text = run(*arguments, stdin=b"\xef\xbb\xbf0x1\n0x2\n").stdout
    assert text.count("IA32_ARCH_CAPABILITIES (MSR 0x10a) = ") == 2
    assert text.count("AND: shown") == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"0x1\n\n0xzz\n", "standard input:3: '0xzz' is not a number"),
        (b"# nothing\n2b\n", "standard input:2: '2b' is not a number (did you mean 0x2b?)"),
        (b"mds_no\nmds_noo\n", "standard input:2: unknown bit 'mds_noo' (did you mean mds_no"),
        (b"0x1 0x2\n", "standard input:1: '0x1 0x2' is not a number"),
        (b"0x1ffffffffffffffff", "standard input:1: 0x1ffffffffffffffff does not fit"),
        (b"\xff\n", "standard input:1: not UTF-8 text (byte 0)"),
        (b"1" * (1 << 17), "standard input:1: the line is too long"),
        (b"", "standard input: no values"),
    ],
)
def test_a_bad_line_is_one_clear_error(lines: bytes, message: str) -> None:
    result = run("-", stdin=lines)
    assert result.returncode == 65
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


def test_a_stream_is_answered_line_by_line() -> None:
    process = subprocess.Popen(
        [COMMAND, "decode", "--json", "-"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for value in (b"0x1", b"0x20"):
        process.stdin.write(value + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["value"] == value.decode()
    process.stdin.close()
    assert process.wait() == 0
    process.stdout.close()


def test_a_closed_standard_input_is_one_clear_line() -> None:
    result = subprocess.run(
        ["bash", "-c", f"'{COMMAND}' decode <&-"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 65
    assert result.stderr == "archcaps: standard input: no values\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"yes 0x2b | head -2000 | '{COMMAND}' decode - | head -1; exit ${{PIPESTATUS[2]}}"
    result = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, check=False)
    assert result.returncode in (1, 141)
    assert result.stderr == b""


# --- errors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("--diff", "0x1"), 64, "'--diff' requires 2 arguments"),
        (("--diff", "0x1", "0x2", "0x3"), 64, "--diff takes its two values alone"),
        (("0x1", "mds_no"), 64, "values, names and - cannot be given together"),
        (("--names", "windows", "0x1"), 64, "'windows' is not one of"),
        (("-1",), 64, "No such option"),
        (("--", "-1"), 65, "'-1' is not a number"),
        (("0x10000000000000000",), 65, "does not fit in ia32_arch_capabilities, which has 64 bits"),
        (("--register", "7.0:edx", "0x100000000"), 65, "does not fit in cpuid_7_0_edx, which has 32 bits"),
        (("--register", "0x999", "0x1"), 65, "--register: unknown register '0x999'"),
        (("mds-noo",), 65, "unknown bit 'mds-noo' (did you mean mds_no"),
        (("l1d_flush",), 65, "'l1d_flush' is bit 0 of ia32_flush_cmd and bit 28 of cpuid_7_0_edx"),
        (("",), 65, "no names"),
        (("--diff", "md-clear", "mds-no"), 65, "--diff: 'mds-no' is not of one register"),
        (("--diff", "0x1", "2b"), 65, "--diff: '2b' is not a number"),
    ],
)
def test_wrong_usage_is_one_clear_line(arguments: tuple[str, ...], code: int, line: str) -> None:
    assert_refused(run(*arguments), code, line)


def test_nothing_to_decode_on_a_terminal() -> None:
    master, slave = pty.openpty()
    result = subprocess.run([COMMAND, "decode"], stdin=slave, capture_output=True, text=True, check=False)
    os.close(slave)
    os.close(master)
    assert result.returncode == 64
    assert "nothing to decode: give values or names of bits, or - for standard input" in result.stderr


def test_the_examples_of_the_help_run() -> None:
    text = run("--help").stdout
    examples = re.findall(r"^  (.*archcaps decode .*)$", text.partition("Examples:")[2], re.M)
    assert len(examples) >= 4
    for example in examples:
        command = example.replace("archcaps decode", f"'{COMMAND}' decode")
        done = subprocess.run(
            ["bash", "-c", command], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b""), example


# --- cost ----------------------------------------------------------------------------------


def test_it_loads_no_rules_and_no_msgspec() -> None:
    script = (
        "import sys; from archcaps.cli.main import main; sys.argv = ['archcaps', 'decode', '0x2b']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*(name for name in sys.modules if name.startswith(('archcaps.', 'msgspec'))), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert not {name for name in loaded if re.match(r"msgspec|archcaps\.(rules|logic|machine|tables\.[^bf])", name)}


def test_every_bit_of_every_register_can_be_shown() -> None:
    for register in REGISTERS.values():
        value = hex((1 << register.width) - 1)
        text = run("--register", register.id, value, COLUMNS="200").stdout
        for bit in BITS.values():
            if bit.register == register.id:
                assert re.search(rf"^ *{bit.bit}  {bit.name} ", text, re.M)

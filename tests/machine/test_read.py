"""Snapshots that cannot be used: one clear line that says what, where and what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from archcaps.errors import InputError
from archcaps.machine.read import MAX_BYTES, parse_snapshot, read_snapshot

HEAD = 'format_version = 1\nrole = "guest"\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("format_version = 1\nrole =\n", "x.toml:2: broken TOML: Invalid value"),
        ('{"format_version": 1,\n "role": }', "x.toml:2: broken JSON: "),
        ("{", "x.toml:1: broken JSON: Input data was truncated"),
        ("", "x.toml: object missing required field `format_version`"),
        ('format_version = "1"\nrole = "guest"\n', "x.toml:1: format_version: expected `int`, got `str`"),
        ('format_version = 2\nrole = "guest"\n', "x.toml: format_version is 2, this archcaps reads 1"),
        ('format_version = 1\nrole = "gest"\n', "x.toml:2: role: invalid enum value 'gest'"),
        (HEAD + "colour = 3\n", "x.toml:3: object contains unknown field `colour`"),
        (HEAD + "[cpu]\nmodel = 1.5\n", "x.toml:4: cpu.model: expected `int | str`, got `float`"),
        (
            HEAD + '[cpu]\nmodel = "6a"\n',
            "x.toml:4: cpu.model: expected a number: decimal, or 0x and hexadecimal digits",
        ),
        (HEAD + "[cpu]\nmodel = -1\n", "x.toml: cpu.model: -1 does not fit in 8 bits"),
        (
            HEAD + '[cpuid]\nshown = ["md_claer"]\n',
            "x.toml: cpuid.shown: unknown bit 'md_claer' (did you mean md_clear?)",
        ),
        (
            HEAD + '[cpuid]\nshown = ["md_clear"]\n[registers.cpuid_7_0_edx]\nvalue = "0x0"\n',
            "x.toml: cpuid: md_clear is shown here and 0 in registers.cpuid_7_0_edx (expected one answer)",
        ),
        (
            HEAD + '[cpuid]\nhidden = ["md_clear"]\n[registers.cpuid_7_0_edx]\nvalue = "0x400"\n',
            "x.toml: cpuid: md_clear is hidden here and 1 in registers.cpuid_7_0_edx (expected one answer)",
        ),
        (HEAD + '[cpuid]\nshown = ["mds_no"]\n', "x.toml: cpuid.shown: 'mds_no' is a bit of an MSR, not of CPUID"),
        (HEAD + '[cpuid]\nshown = ["avx"]\nhidden = ["avx"]\n', "x.toml: cpuid: avx both shown and hidden"),
        (HEAD + '[registers.arch_caps]\nvalue = "0x0"\n', "x.toml: registers: unknown register 'arch_caps'"),
        (
            HEAD + '[registers.ia32_arch_capabilities]\nvalue = "0x10000000000000000"\n',
            "x.toml: registers.ia32_arch_capabilities.value: 0x10000000000000000 does not fit in 64 bits",
        ),
        (
            HEAD + "[registers.cpuid_7_0_edx]\nvalue = 4294967296\n",
            "x.toml: registers.cpuid_7_0_edx.value: 4294967296 does not fit in 32 bits",
        ),
        (
            HEAD + "[registers.ia32_arch_capabilities.bits.md_clear]\nvalue = true\n",
            "x.toml: registers.ia32_arch_capabilities.bits: unknown bit 'md_clear' of ia32_arch_capabilities",
        ),
        (HEAD + '[kernel]\nrelease = "linux"\n', "x.toml: kernel.release: 'linux' is not a kernel release"),
        (HEAD + "[kernel.behaviours]\nflies = true\n", "x.toml: kernel.behaviours: unknown kernel behaviour 'flies'"),
        (
            HEAD + '[vulnerabilities]\nmdss = ""\n',
            "x.toml: vulnerabilities: unknown vulnerability 'mdss' (did you mean mds?)",
        ),
        (HEAD + 'provenance = "heard"\n', "x.toml:3: provenance: invalid enum value 'heard'"),
    ],
)
def test_what_is_wrong_and_where(text: str, line: str) -> None:
    with pytest.raises(InputError) as error:
        parse_snapshot(text.encode(), "x.toml")
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_the_other_role_is_refused() -> None:
    with pytest.raises(InputError, match="x: this is the snapshot of a guest, a host is wanted here"):
        parse_snapshot(HEAD.encode(), "x", "host")


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(InputError, match=r"none\.toml: cannot be read: No such file"):
        read_snapshot(path)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_snapshot(tmp_path)


def test_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    with path.open("wb") as file:
        file.truncate(10 << 30)  # sparse: 10 GB
    with pytest.raises(InputError, match=f"larger than {MAX_BYTES >> 20} MiB"):
        read_snapshot(path)


def test_what_is_not_text() -> None:
    with pytest.raises(InputError, match="x: not UTF-8 text"):
        parse_snapshot(b"\xff\xfe\x00", "x")


def test_deeply_nested_json_is_refused() -> None:
    with pytest.raises(InputError, match="x"):
        parse_snapshot(b'{"a":' * 100_000, "x")


def test_toml_and_json_say_the_same() -> None:
    toml = HEAD + '[cpu]\nvendor = "GenuineIntel"\nmodel = "0x6a"\n[registers.ia32_arch_capabilities]\nvalue = "0x2b"\n'
    json = (
        '{"format_version": 1, "role": "guest", "cpu": {"vendor": "GenuineIntel", "model": "0x6a"},'
        ' "registers": {"ia32_arch_capabilities": {"value": "0x2b"}}}'
    )
    assert parse_snapshot(toml.encode(), "a") == parse_snapshot(json.encode(), "b")


def test_everything_may_be_left_out() -> None:
    snapshot = parse_snapshot(HEAD.encode(), "x")
    assert snapshot.cpuid is None
    assert snapshot.kernel.release is None

"""What a text is that is no snapshot, where that is plain to see, and what to do instead: for the line of an error."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["known_output", "known_text"]

_PROBE: Final = "run archcaps probe --output FILE on that machine and give FILE"
_GUEST: Final = "a guest's configuration goes to --guest"
#: Outputs of other programs: how such a text looks, what it is, what to do.
_OUTPUTS: Final = tuple(
    (re.compile(pattern, re.MULTILINE), what)
    for pattern, what in (
        (r'\A\s*+\{\s*+"lscpu"\s*+:', "the output of lscpu --json"),
        (r"^Architecture:[ \t]++\w|^CPU op-mode\(s\):|^Vulnerability [A-Z][\w ]*+:", "the output of lscpu"),
        (r"^processor[ \t]*+:[ \t]*+[0-9]", "/proc/cpuinfo"),
        (r"\A\s*+CPU(?: [0-9]++)?:[ \t]*+\n[ \t]++(?:0x[0-9a-f]{8} 0x|vendor_id|version)", "the output of cpuid"),
        (r"^(?:<[0-9]++>)?\[ {0,8}[0-9]++\.[0-9]++\] ", "a kernel log (dmesg)"),
        (r"^[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} \S++ kernel: ", "a kernel log (journalctl)"),
        (r"^CONFIG_[A-Z0-9_]++=|^# CONFIG_[A-Z0-9_]++ is not set", "a kernel's configuration"),
        (r"^/sys/devices/system/cpu/vulnerabilities\b", "a listing of /sys/devices/system/cpu/vulnerabilities"),
        (
            r"^(?:l1tf|mds|meltdown|mmio_stale_data|retbleed|spectre_v[12]|srbds|tsx_async_abort):"
            r"(?:Not affected|Vulnerable|Mitigation|Unknown|KVM:)",
            "a listing of /sys/devices/system/cpu/vulnerabilities",
        ),
        (r"\A\s*+(?:<\?xml[^>]*+>\s*+)?<capabilities>", "the output of virsh capabilities"),
        (r"\A\s*+(?:<\?xml[^>]*+>\s*+)?<domainCapabilities>", "the output of virsh domcapabilities"),
        (r"\A\s*+(?:0x)?[0-9a-fA-F]{1,16}\s*+\Z", "a single number (archcaps decode says what it means)"),
    )
)
#: What else is given in the place of a snapshot.
_OTHERS: Final = tuple(
    (re.compile(pattern, re.MULTILINE), what, instead)
    for pattern, what, instead in (
        (r"\A\s*+(?:<\?xml[^>]*+>\s*+)?<domain[\s>]", "a libvirt domain", _GUEST),
        (r"\A\s*+(?:\S*/)?(?:qemu-system-\w++|qemu-kvm|kvm) ", "a QEMU command line", _GUEST),
        (r"\A\s*+(?:---\s*+\n)?apiVersion:|\A\s*+\{\s*+\"apiVersion\"", "a Kubernetes object", _GUEST),
        (r'\A\s*+\{"format_version":[0-9]++,"(?:headline|exit_code)"', "an answer of archcaps", _PROBE),
        (r"\A\s*+<(?:!DOCTYPE html|html)\b", "a web page", _PROBE),
        (r"\A\s*+<", "XML", _PROBE),
    )
)
_SNAPSHOT_LINE: Final = re.compile(r'^\{"format_version"', re.MULTILINE)


def known_output(text: str) -> str:
    """Return what other program's output a text is, and what to do; empty where that is not plain."""
    for pattern, what in _OUTPUTS:
        if pattern.search(text):
            return f"this is {what}, from which no snapshot can be made: {_PROBE}"
    return ""


def known_text(text: str) -> str:
    """Return what a text is that is no snapshot, and what to do; empty where that is not plain."""
    if not text.strip():
        return f"object missing required field `format_version`: the file is empty ({_PROBE})"
    lines = len(_SNAPSHOT_LINE.findall(text))
    if lines > 1:
        return f"holds {lines} snapshots, one a line, expected one (archcaps audit takes a whole fleet)"
    if lines and not text.startswith("{"):
        what = "messages stand before the snapshot's JSON"
        return f"{what}: standard error was mixed in (leave it out: 2>/dev/null, or archcaps probe --output FILE)"
    if found := known_output(text):
        return found
    for pattern, what, instead in _OTHERS:
        if pattern.search(text):
            return f"this is {what}, not a snapshot: {instead}"
    return ""

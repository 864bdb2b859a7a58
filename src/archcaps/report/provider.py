"""What a guest's user has to ask of whoever runs the host, ready to paste."""

from __future__ import annotations

from archcaps.questions.results import CheckResult
from archcaps.report.asking import what_to_ask

__all__ = ["provider_questions"]

#: By the start of a request about the host: the command that answers it there, and what it is.
_COMMANDS = {
    "host: vendor": ("grep -m4 -E 'vendor_id|cpu family|model|stepping' /proc/cpuinfo", "the CPU"),
    "host: microcode": ("grep -m1 microcode /proc/cpuinfo", "its microcode revision"),
    "host: not known whether": ("systemd-detect-virt", "whether it is bare metal"),
    "host: kernel release": ("uname -r", "the host kernel"),
    "host: kernel command line": (
        "cat /proc/cmdline; grep -E 'MITIGATION_|TSX_MODE' /boot/config-$(uname -r)",
        "its mitigation options",
    ),
    "host: CPUID bits": ("cpuid -1 -r", "raw CPUID"),
    "host: MSR 0x10a": ("rdmsr 0x10a", "IA32_ARCH_CAPABILITIES of the hardware"),
    "guest: MSR": (
        "tr '\\0' ' ' < /proc/PID/cmdline",
        "with my VM's PID: its CPU model, or its libvirt XML or template",
    ),
}


def provider_questions(result: CheckResult) -> str:
    """Return a message to the host's operator that asks for what would decide `result`; nothing if nothing is missing.

    Only what this virtual machine cannot see itself is asked for.
    """
    requests = {request for verdict in result.vulnerabilities for request in what_to_ask(verdict.missing)}
    asked = [
        f"  {command}    # {what}"
        for start, (command, what) in _COMMANDS.items()
        if any(request.startswith(start) for request in requests)
    ]
    if not asked:
        return ""
    lines = [
        "To whoever runs the host (ready to paste):",
        "",
        "  I want to know whether my virtual machine is told the truth about its CPU's data-sampling bugs. Please run",
        "  this on the host it runs on, as root, and send me the output:",
        "",
        *asked,
        "",
        "  or all of it at once, read-only: python3 probe.py --role host   (archcaps probe --print-script > probe.py)",
    ]
    return "\n".join(lines) + "\n"

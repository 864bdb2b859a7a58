"""archcaps predict."""

from __future__ import annotations

from functools import partial

import click

from archcaps.cli.assuming import strict_option
from archcaps.cli.input_lines import lines_of
from archcaps.cli.output import flush, say, tell
from archcaps.cli.screen import width
from archcaps.questions.predict_lines import answer_kvm_lines, answer_lines
from archcaps.questions.predict_linux import predict_linux
from archcaps.questions.predict_single import single_case
from archcaps.report.predict import render_lines, render_table

__all__ = ["predict"]

_DATA = 65

_EPILOG = """
\b
A case, of which every key may be missing (unknown) and others may be there:
  kernel            the kernel's release: "6.12.117"
  vendor            CPUID's vendor string: "GenuineIntel"
  family, model, stepping
  hypervisor        CPUID says that the kernel runs in a virtual machine
  bits              the CPUID bits that are shown, by archcaps' names; given,
                    others are 0 (null_sel_clr_base, monitor: unknown)
  arch_caps         MSR 0x10a: a number, or text as "0x2b"; null: no such MSR
  msrs              other MSRs: {"0x8b": microcode revision, "0x17": platform,
                    "0xc0011020": if it can be read, "0x123": ..., ...}; what
                    is null or not named is unknown
  other_msrs        what every MSR reads that msrs does not name, as "0x0"
  msr_writes_succeed  whether writing MSR 0x49 (SBPB) succeeds
  cmdline, config   the kernel's command line, and its configuration by name
                    or items: {"KVM": "m", ...}
  smp               1, or a text as "2,threads=2"; "1,threads=2" has SMT that
                    is not active
  smt_active, smt_supported   whether two threads of a core are online, and
                    whether a core has two; they go before smp
  core_type         native core type of CPUID leaf 0x1a (0 if not given)
  kvm_parameters    of KVM's modules where it runs: {"ept": "Y", ...}
  guest_values      with --kvm: what to set MSR 0x10a of a vCPU to, one after
                    the other
  guest_cpuid_arch_capabilities   with --kvm: whether its CPUID shows that MSR
  xen_pv, ram_above_half   false if not given: a Xen PV guest; RAM above half
                    of the physical address space

\b
Examples:
  archcaps predict --kernel 6.12.117 --cpu 6/0x6a/6 --flags md_clear,avx
  archcaps predict examples/predict/linux.ndjson
  archcaps predict --kvm examples/predict/kvm.ndjson

\b
Exit codes:
  0  every case was answered
  65 a line was no case (its answer is {"error": ...}), or a file cannot be read
  64 and 66 and more: wrong usage, internal error
"""


@click.command(epilog=_EPILOG)
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--kvm", is_flag=True, help="What KVM offers on the host, and does with values for MSR 0x10a.")
@click.option("--kernel", metavar="RELEASE", help="One case from options: the kernel that looks at the CPU.")
@click.option("--cpu", metavar="CPU", help="[VENDOR:]FAMILY/MODEL/STEPPING, as intel:6/0x6a/6 or amd:0x19/1/1.")
@click.option("--arch-capabilities", metavar="VALUE", help="MSR 0x10a, or none if CPUID does not show it.")
@click.option("--flags", metavar="NAMES", help="The CPUID bits that are shown, parted by commas.")
@click.option("--cmdline", metavar="OPTIONS", help="The kernel's command line (empty if not given).")
@click.option("--config", metavar="NAME", help="The kernel's configuration (upstream-defaults if not given).")
@click.option("--microcode", metavar="REVISION", help="The microcode revision.")
@click.option("--smt/--no-smt", default=None, help="Whether a core has two threads.")
@click.option("--guest/--bare-metal", default=True, help="In a virtual machine (the default), or not.")
@strict_option
@click.option("--json", "as_json", is_flag=True, help="The one case's answer as JSON, as for lines.")
def predict(
    files: tuple[str, ...],
    *,
    kvm: bool,
    guest: bool,
    smt: bool | None,
    as_json: bool,
    strict: bool,
    **given: str | None,
) -> int:
    """Say what a Linux kernel concludes on a CPU: one case a line in, one answer a line out, both JSON.

    The answer has the exact text of each file under /sys/devices/system/cpu/vulnerabilities, the bugs of
    /proc/cpuinfo, and the kernel's VERW features (schemas/predict-linux-1.json). Where a missing fact leaves several
    values possible it has the list of them; null in it is a file that is not there. FILE - or none is standard input.

    What a release that was not read does is known only where everything read around it agrees. Beside that stands,
    under assumed, what it says if it behaves as the newest release of its line that was read (newest-reading), or as
    the upstream release that its name has (as-upstream); --strict leaves that out. A release older than all that was
    read is refused.

    With --kvm the case is a host, and the answer what its KVM offers as MSR 0x10a, what a new vCPU holds there, and for
    each of guest_values whether KVM takes it, what is read back, and whether FB_CLEAR_DIS is set while the guest runs
    (schemas/predict-kvm-1.json). Numbers are hexadecimal text; null is unknown; a word that is partly known is
    {"value": ..., "known": mask}.
    """
    if smt is not None or any(value is not None for value in given.values()):
        if files:
            raise click.UsageError("a case from options and cases from files cannot be given together")
        if kvm:
            raise click.UsageError("--kvm takes cases from files: a host has more to say than options can")
        if given["kernel"] is None:
            raise click.UsageError("--kernel is missing: which kernel looks at the CPU?")
        case = single_case(given, smt=smt, guest=guest, strict=strict)
        answers = predict_linux([case], strict=strict)
        text = render_lines(answers).decode() if as_json else render_table(answers[0], width())
        say(text)
        return 0
    answered = failed = 0
    answer = answer_kvm_lines if kvm else partial(answer_lines, strict=strict)
    for batch in answer(lines_of(files or ("-",))):
        say(render_lines(batch.answers).decode())
        flush()
        answered += len(batch.answers)
        failed += batch.failed
    if failed:
        tell(f"archcaps predict: {failed} of {answered} lines were no case (their answers say why)")
    return _DATA if failed else 0

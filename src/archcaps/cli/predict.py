"""archcaps predict."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from archcaps.errors import InputError
from archcaps.questions.predict_input import parse_case
from archcaps.questions.predict_kvm import Failed, KvmPrediction, predict_kvm
from archcaps.report.predict import render_line

__all__ = ["predict"]

_DATA = 65
#: A line longer than this is no case.
_LINE_BYTES = 1 << 24

_EPILOG = """
\b
A case, of which every key may be missing (unknown) and others may be there:
  kernel            the host kernel's release: "6.12.117"
  vendor            CPUID's vendor string: "GenuineIntel"
  family, model, stepping, hypervisor
  bits              all CPUID bits that are shown, by archcaps' names
  arch_caps         MSR 0x10a: a number, or text as "0x2b"; null: no such MSR
  msrs              other MSRs: {"0x8b": "0x0"} is the microcode revision
  cmdline, config   the kernel's command line and configuration
  kvm_parameters    of KVM's modules, in place of those of cmdline and of
                    the defaults, which hold where cmdline is given
  guest_values      what to set MSR 0x10a to, one after the other
  guest_cpuid_arch_capabilities   whether the vCPU's CPUID shows that MSR

\b
Example:
  archcaps predict --kvm examples/predict/kvm.ndjson

\b
Exit codes:
  0  every line was answered
  65 a line was no case (its answer is {"error": ...}), or a file can not be read
  64, 70 wrong usage, internal error
"""


@click.command(epilog=_EPILOG)
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--kvm", is_flag=True, help="What KVM offers on the host, and does with values for MSR 0x10a.")
def predict(files: tuple[str, ...], kvm: bool) -> int:
    """Say what a kernel does on a machine: one case a line in, one answer a line out, both JSON.

    With --kvm the answer is what KVM offers as MSR 0x10a, what a new vCPU holds there, and for each of the case's
    guest_values whether KVM takes it, what is read back, and whether FB_CLEAR_DIS is set while the guest runs
    (schemas/predict-kvm-1.json). Numbers are hexadecimal text; null is unknown. A word that is partly known is
    {"value": ..., "known": mask}. FILE - or none is standard input.
    """
    if not kvm:
        raise click.UsageError("say what to predict: --kvm")
    answered = failed = 0
    for where, line in _lines(files or ("-",)):
        try:
            answer: KvmPrediction | Failed = predict_kvm(parse_case(line, where))
        except InputError as error:
            answer, failed = Failed(str(error)), failed + 1
        answered += 1
        sys.stdout.write(render_line(answer))
        sys.stdout.flush()
    if failed:
        click.echo(f"archcaps predict: {failed} of {answered} lines were no case (their answers say why)", err=True)
    return _DATA if failed else 0


def _lines(files: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Yield each line that is not blank, with where it stands, as it comes."""
    for name in files:
        if name == "-":
            yield from _lines_of(sys.stdin.buffer, "standard input")
            continue
        try:
            with Path(name).open("rb") as file:
                yield from _lines_of(file, name)
        except OSError as error:
            raise InputError(f"can not be read: {error.strerror or error}", name) from error


def _lines_of(file: IO[bytes], name: str) -> Iterator[tuple[str, bytes]]:
    number = 0
    while line := file.readline(_LINE_BYTES):
        number += 1
        if not line.endswith(b"\n") and len(line) == _LINE_BYTES:
            raise InputError(f"the line is longer than {_LINE_BYTES >> 20} MiB", f"{name}:{number}")
        if line.strip():
            yield f"{name}:{number}", line

"""archcaps probe."""

from __future__ import annotations

import json
import os
from pathlib import Path
from pkgutil import get_data

import click

from archcaps.errors import InputError
from archcaps.machine.probe_script import blind
from archcaps.machine.probe_script import probe as look

__all__ = ["probe"]

_EXAMPLES = """
\b
Examples:
  archcaps probe --output this.json
  archcaps check --host this.json --guest guest.toml
  archcaps probe --print-script > probe.py; ssh HOST python3 -I - < probe.py
"""


@click.command(epilog=_EXAMPLES)
@click.option("--role", type=click.Choice(["host", "guest"]), help="Default: guest in a virtual machine, else host.")
@click.option("--no-kvm", is_flag=True, help="Do not open /dev/kvm.")
@click.option("--no-name", is_flag=True, help="Leave this host's name out.")
@click.option("--pretty", is_flag=True, help="Many lines in place of one.")
@click.option("--output", metavar="FILE", help="Write to FILE, whole or not at all, in place of standard output.")
@click.option("--quiet", is_flag=True, help="Do not say on standard error what could not be read.")
@click.option("--print-script", is_flag=True, help="Print the probe as one file that runs alone (Python 3.6 or newer).")
def probe(
    role: str | None,
    no_kvm: bool,
    no_name: bool,
    pretty: bool,
    output: str | None,
    quiet: bool,
    print_script: bool,
) -> int:
    """Read this machine and write its snapshot: one JSON object on one line.

    CPU, CPUID, MSRs, the kernel and its vulnerability files, what KVM offers, and which values of MSR 0x10a a vCPU that
    never runs takes. Without root less can be read; the snapshot says what, why, and what would make it readable.
    Nothing of the machine is changed: files and devices are opened for reading only, no module is loaded.
    """
    if print_script:
        text = (get_data("archcaps.machine", "probe_script.py") or b"").decode("utf-8")
    elif blind():
        click.echo(f"archcaps probe: {blind()}", err=True)
        return 1
    else:
        found = look(role, not no_kvm, not no_name)
        text = json.dumps(found, indent=2 if pretty else None) + "\n"
        if not quiet:
            for what, why in found["unreadable"].items():
                click.echo(f"archcaps probe: {what}: {why}", err=True)
    if output is None or output == "-":
        click.echo(text, nl=False)
    else:
        _write(Path(output), text)
    return 0


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all; what is no file (a terminal, a pipe) is written to as it is."""
    target = path.resolve()
    whole = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        try:
            with whole.open("x", encoding="utf-8") as file:
                file.write(text)
            whole.replace(target)
        finally:
            whole.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"can not be written: {error.strerror or error}", str(path)) from error

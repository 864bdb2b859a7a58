"""archcaps probe."""

from __future__ import annotations

import json
from pkgutil import get_data

import click

from archcaps.cli.output import say, tell
from archcaps.machine.probe_script import blind
from archcaps.machine.probe_script import probe as look
from archcaps.safe_files import replace_file

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
@click.option("--full-cmdline", is_flag=True, help="Keep options of the kernel that no rule reads too.")
@click.option("--pretty", is_flag=True, help="Many lines in place of one.")
@click.option("--output", metavar="FILE", help="Write to FILE, whole or not at all, in place of standard output.")
@click.option("--quiet", is_flag=True, help="Do not say on standard error what could not be read.")
@click.option("--print-script", is_flag=True, help="Print the probe as one file that runs alone (Python 3.6 or newer).")
def probe(  # noqa: PLR0913  # one for each option
    *,
    role: str | None,
    no_kvm: bool,
    no_name: bool,
    full_cmdline: bool,
    pretty: bool,
    output: str | None,
    quiet: bool,
    print_script: bool,
) -> int:
    """Read this machine and write its snapshot: one JSON object on one line.

    CPU, CPUID, MSRs, the kernel and its vulnerability files, what KVM offers, and which values of MSR 0x10a a vCPU that
    never runs takes. Of the kernel's command line only the options are kept that rules read; the rest is counted.
    Without root less can be read; the snapshot says what, why, and what would make it readable.
    Nothing of the machine is changed: files and devices are opened for reading only, no module is loaded.
    """
    if print_script:
        text = (get_data("archcaps.machine", "probe_script.py") or b"").decode("utf-8")
    elif blind():
        tell(f"archcaps probe: {blind()}")
        return 1
    else:
        found = look(role, not no_kvm, not no_name, full_cmdline=full_cmdline)
        text = json.dumps(found, indent=2 if pretty else None) + "\n"
        if not quiet:
            for what, why in found["unreadable"].items():
                tell(f"archcaps probe: {what}: {why}")
    if output is None or output == "-":
        say(text)
    else:
        replace_file(output, text.encode())
    return 0

"""Two real cases and a cure, two questions about every configuration, a fleet, and this machine: the installed command.

Exit 0 if the answers come with the expected exit codes and this machine gets an answer, whichever it is.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
ARCHCAPS = Path(sys.executable).parent / "archcaps"


class Case(NamedTuple):
    title: str
    arguments: tuple[str, ...]
    exit_codes: tuple[int, ...]


def example(title: str, name: str, exit_code: int) -> Case:
    folder = f"examples/{name}"
    return Case(title, ("check", "--host", f"{folder}/host.toml", "--guest", f"{folder}/guest.toml"), (exit_code,))


#: What is asked of every configuration is narrowed to what is answered at once.
MMIO = ("--about", "mmio_stale_data")
FLEET = ("--out", "build/demo-fleet")
CASES = (
    example(
        "1. The kvm mailing list's counter-example (May 2023): VERW is promised, and KVM switches it off", "thread", 1
    ),
    example(
        "2. AMD TSA under KVM 6.18, as published fingerprints show it: immunity that is not there", "tsa-no-always", 2
    ),
    Case(
        "3. The cure of the second: the smallest change by which that guest is told the truth and is safe",
        ("fix", "--host", "examples/tsa-no-always/host.toml", "--guest", "examples/tsa-no-always/guest.toml"),
        (0, 1),
    ),
    Case(
        "4. Every host and guest at once: is the way into a guest protected under KVM 7.3.4?",
        ("prove", "host-entry-protected", *MMIO, "--kvm", "7.3.4", "--guest-kernel", "7.1.5"),
        (1,),
    ),
    Case(
        "5. Since when? KVM 6.18.35 against 6.19.9, on the Atom servers of that counter-example",
        ("diff", "6.18.35", "6.19.9", *MMIO, "--what", "exposes-host", "--host-parts", "6/0x86"),
        (3,),  # nested guests: whether 6.18 notes host MMIO for them is not established
    ),
    Case(
        "6. A fleet of 10,000 guests, made up of real parts and published cases",
        ("sample-fleet", "10000", *FLEET),
        (0,),
    ),
    Case("7. Who of them is lied to, who is exposed?", ("audit", FLEET[1]), (2,)),
    Case(
        "8. This machine: its own side if it is a guest, what its guests get if it is a host", ("check",), (0, 1, 2, 3)
    ),
)


def main() -> int:
    if not ARCHCAPS.exists():
        print(f"demo: {ARCHCAPS.name} is not installed beside this Python: run make demo", file=sys.stderr)
        return 1
    for number, case in enumerate(CASES):
        blank = "\n" if number else ""
        command = shlex.join([ARCHCAPS.name, *case.arguments])
        print(f"{blank}{case.title}\n$ {command}", flush=True)
        code = subprocess.run([ARCHCAPS, *case.arguments], cwd=ROOT, check=False).returncode
        if code not in case.exit_codes:
            expected = " or ".join(map(str, case.exit_codes))
            print(f"demo: {command}: exit code {code}, expected {expected}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # whoever read the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)

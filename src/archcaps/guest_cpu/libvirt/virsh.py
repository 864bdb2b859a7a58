"""A domain of a libvirt that runs, asked through virsh: its XML, the releases, and what a host-model is there.

Nothing is changed: virsh dumpxml, version and domcapabilities, each with a time limit. domcapabilities is asked only
where a domain with mode='host-model' does not run; libvirt may take ten seconds for it.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from typing import Final

from archcaps.errors import InputError
from archcaps.guest_cpu.asked import Asked
from archcaps.guest_cpu.formats import MAX_BYTES
from archcaps.guest_cpu.libvirt.capabilities import read_domain_capabilities
from archcaps.guest_cpu.libvirt.expanding import with_host_model
from archcaps.guest_cpu.libvirt.reading import read

__all__ = ["DEFAULT_URI", "ask"]

DEFAULT_URI: Final = "qemu:///system"
#: Seconds that one answer may take: libvirt probes QEMU again after a restart, which took 12 s on a busy machine.
_TIMEOUT: Final = 60


def ask(name: str, uri: str = DEFAULT_URI) -> Asked:
    """Return what a domain asks for; of a running one what it really got.

    Raises:
        InputError: virsh is missing or does not answer, there is no such domain, or its XML cannot be read.
    """
    where = f"{uri} {name}"
    asked = read(_virsh(uri, "dumpxml", f"--domain={name}"), where)
    asked = replace(asked, release=_release(_virsh(uri, "version", "--daemon")))
    if asked.mode == "host-model" and not asked.live and asked.accelerator is not None:
        words = ["--virttype", "kvm" if asked.accelerator == "kvm" else "qemu"]
        words += ["--machine", asked.machine] if asked.machine is not None else []
        answer = _virsh(uri, "domcapabilities", *words)
        asked = with_host_model(asked, read_domain_capabilities(answer, f"{uri} domcapabilities"))
    return asked


def _release(answer: str) -> str | None:
    """Return the daemon's release, else the library's, with QEMU's."""
    found = [
        re.search(rf"^{what}\s*(\d[\w.+~-]*)\s*$", answer, re.M)
        for what in ("Running against daemon:", "Using library: libvirt", "Running hypervisor: QEMU")
    ]
    daemon, library, qemu = (None if match is None else match[1] for match in found)
    libvirt = daemon or library or ""
    return (f"{libvirt}/{qemu}" if qemu else libvirt) or None


def _virsh(uri: str, *words: str) -> str:
    environment = {**os.environ, "LC_ALL": "C"}
    where = f"virsh -c {uri} {words[0]}"
    try:
        done = subprocess.run(
            ["virsh", "-q", "-c", uri, *words], capture_output=True, stdin=subprocess.DEVNULL, check=False,
            timeout=_TIMEOUT, env=environment,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise InputError("virsh is not installed (Debian: libvirt-clients; Fedora: libvirt-client)", where) from error
    except subprocess.TimeoutExpired as error:
        raise InputError(f"no answer within {_TIMEOUT} seconds", where) from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be run: {error}", where) from error
    if done.returncode != 0:
        said = [line.removeprefix("error: ") for line in done.stderr.decode("utf-8", "replace").splitlines() if line]
        raise InputError("; ".join(said[:3]) or f"ended with {done.returncode}", where)
    if len(done.stdout) > MAX_BYTES:
        raise InputError(f"an answer of more than {MAX_BYTES >> 20} MiB", where)
    return done.stdout.decode("utf-8", "replace")

"""Which texts the files under /sys/devices/system/cpu/vulnerabilities can have, whatever the CPU and the kernel.

lscpu shows them in another form: the colon behind a leading "Mitigation" is a semicolon, and a text that begins so has
no other colon. Source: util-linux sys-utils/lscpu.c (2.38), read_vulnerabilities
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from archcaps.logic.concatenation import JOINED, Concatenation
from archcaps.rules.linux_files import TEXTS
from archcaps.rules.views import Cpu, Kernel

__all__ = ["Said", "said_of"]

_MITIGATION: Final = "Mitigation"


@dataclass(frozen=True, slots=True)
class Said:
    """A text as a kernel writes it; `by_lscpu`: it was given in the form that lscpu makes of it."""

    text: str
    by_lscpu: bool = False


@cache
def said_of(file: str, text: str) -> Said | None:
    """Return the text of a file as a kernel writes it; None where no kernel that was read writes it there.

    A newline at the end is the file's, and is left away.
    """
    text = text.rstrip("\r\n")
    if file not in TEXTS:
        return None
    if _parts_in(file, text, by_lscpu=False) is not None:
        return Said(text)
    parts = _parts_in(file, text, by_lscpu=True) if text.startswith(f"{_MITIGATION};") else None
    return None if parts is None else Said(parts, by_lscpu=True)


def _parts_in(file: str, text: str, *, by_lscpu: bool) -> str | None:
    """Return the kernel's text that `text` stands for: one of the whole texts, or of each field one text in order."""
    whole, fields = _labels(file)
    for label in whole:
        if text == (_in_lscpu(label) if by_lscpu else label):
            return label
    if not fields:
        return None
    named = [{_in_lscpu(label) if by_lscpu else label: label for label in labels} for labels in fields]
    found = re.fullmatch("".join(f"({'|'.join(map(re.escape, labels))})" for labels in named), text)
    if found is None:
        return None
    return "".join(labels[part] for labels, part in zip(named, found.groups(), strict=True))


@cache
def _labels(file: str) -> tuple[tuple[str, ...], tuple[Sequence[str], ...]]:
    """Return the whole texts that the rules have for a file, and the texts of each field where it is put together."""
    texts = TEXTS[file](Cpu("guest"), Kernel("guest_kernel"))
    if not isinstance(texts, Concatenation):
        return tuple(label for label in texts.labels if label is not None), ()
    whole = tuple(label for label in texts.whole.labels if label not in (None, JOINED))
    return tuple(map(str, whole)), tuple(choice.labels for _, choice in texts.fields)


def _in_lscpu(text: str) -> str:
    """Return what lscpu makes of a text, or of a field of one, that begins with "Mitigation"."""
    start, colon, rest = text.partition(f"{_MITIGATION}:")
    if colon and not start:
        return f"{_MITIGATION};{rest.replace(':', '')}"
    return text.replace(":", "")

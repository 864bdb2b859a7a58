"""Every file under /sys/devices/system/cpu/vulnerabilities that is modelled, and the function that gives its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from archcaps.rules import linux_mitigations
from archcaps.rules.linux_memory import MEMORY_TEXTS
from archcaps.rules.linux_mitigations import Texts
from archcaps.rules.views import Cpu, Kernel

__all__ = ["TEXTS"]

#: A file's text as a choice for a CPU and a kernel, by the file's name. None is the text of a file that is not there.
TEXTS: Final[Mapping[str, Callable[[Cpu, Kernel], Texts]]] = MappingProxyType(
    {**linux_mitigations.TEXTS, **MEMORY_TEXTS}
)

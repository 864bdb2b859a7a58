"""Every file under /sys/devices/system/cpu/vulnerabilities that is modelled, and the function that gives its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from archcaps.logic.concatenation import Concatenation
from archcaps.rules import linux_mitigations
from archcaps.rules.linux_branch_texts import BRANCH_TEXTS, spectre_v2_texts
from archcaps.rules.linux_memory import MEMORY_TEXTS
from archcaps.rules.linux_mitigations import Texts
from archcaps.rules.views import Cpu, Kernel

__all__ = ["JOINED_TEXTS", "TEXTS"]

#: A file's text as a choice for a CPU and a kernel, by the file's name. None is the text of a file that is not there.
TEXTS: Final[Mapping[str, Callable[[Cpu, Kernel], Texts]]] = MappingProxyType(
    {**linux_mitigations.TEXTS, **MEMORY_TEXTS, **BRANCH_TEXTS}
)

#: The files whose text is put together of fields.
JOINED_TEXTS: Final[Mapping[str, Callable[[Cpu, Kernel], Concatenation]]] = MappingProxyType(
    {"spectre_v2": spectre_v2_texts}
)

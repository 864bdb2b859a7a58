"""Every file under /sys/devices/system/cpu/vulnerabilities that is modelled, and the function that gives its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from archcaps.logic.concatenation import Concatenation
from archcaps.logic.graph import Node
from archcaps.rules import linux_mitigations
from archcaps.rules.linux_branch_texts import BRANCH_TEXTS, spectre_v2_texts
from archcaps.rules.linux_memory import MEMORY_TEXTS
from archcaps.rules.linux_mitigations import Texts
from archcaps.rules.views import Cpu, Kernel

__all__ = ["TEXTS", "FileTexts", "conditions_of"]

#: The files in the order in which the kernel makes them. Source: Linux 7.1.5 drivers/base/cpu.c
_ORDER: Final = (
    "meltdown", "spectre_v1", "spectre_v2", "spec_store_bypass", "l1tf", "mds", "tsx_async_abort", "itlb_multihit",
    "srbds", "mmio_stale_data", "retbleed", "spec_rstack_overflow", "gather_data_sampling", "reg_file_data_sampling",
    "ghostwrite", "old_microcode", "indirect_target_selection", "tsa", "vmscape",
)  # fmt: skip
FileTexts: TypeAlias = Texts | Concatenation

_ALL: Final[Mapping[str, Callable[[Cpu, Kernel], FileTexts]]] = {
    **linux_mitigations.TEXTS, **MEMORY_TEXTS, **BRANCH_TEXTS, "spectre_v2": spectre_v2_texts,
}  # fmt: skip
#: A file's text as a choice for a CPU and a kernel, by the file's name; that of `spectre_v2` is put together of fields.
#: None is the text of a file that is not there.
TEXTS: Final[Mapping[str, Callable[[Cpu, Kernel], FileTexts]]] = MappingProxyType(
    {file: _ALL[file] for file in _ORDER if file in _ALL}
)


def conditions_of(texts: FileTexts) -> list[Node]:
    """Return the conditions that decide a file's text, of all its fields where it is put together."""
    if not isinstance(texts, Concatenation):
        return [node for node, _ in texts.rows]
    fields = [node for _, choice in texts.fields for node, _ in choice.rows]
    return [*(node for node, _ in texts.whole.rows), *fields]

"""What rules speak of: CPUs, kernels and silicon as bundles of named facts.

Each attribute is one node of the graph. A name that no table knows is an error while the rules are traced, so that a
misspelt bit cannot become a silent unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from archcaps.logic.graph import Node, fact
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS
from archcaps.tables.kernels import BEHAVIOURS
from archcaps.tables.names import ACCESS_LOOKUPS, CPU_LOOKUPS, KERNEL_LOOKUPS, SILICON_LOOKUPS, VM_LOOKUPS

__all__ = ["Access", "Cpu", "Kernel", "Silicon", "Vm"]

_NOTHING: Mapping[str, Node] = MappingProxyType({})


class Cpu:
    """What one CPU shows to the software that runs on it.

    `scope` prefixes the fact names. An IA32_ARCH_CAPABILITIES bit counts as 0 where CPUID.7.0:EDX[29] does not show the
    register (guest.md: "AC.x = 0 for all x when CPUID does not show the MSR"; Linux x86_read_arch_cap_msr).
    `given` replaces facts by expressions, for a CPU that is thought of rather than described.
    """

    def __init__(self, scope: str, given: Mapping[str, Node] = _NOTHING) -> None:
        self.scope = scope
        self._given = given

    def __getattr__(self, name: str) -> Node:
        if name in self._given:
            return self._given[name]
        if name in ARCH_CAPABILITIES:
            return self.stored(name) & fact(f"{self.scope}.arch_capabilities")
        if name in BITS or name in CPU_LOOKUPS:
            return fact(f"{self.scope}.{name}")
        raise AttributeError(f"no table knows a CPU bit or look-up called {name!r}")

    def bit(self, name: str) -> Node:
        """Return the bit or look-up called `name`, as the attribute of that name."""
        found: Node = getattr(self, name)
        return found

    def stored(self, name: str) -> Node:
        """Return bit `name` of IA32_ARCH_CAPABILITIES as the register holds it, whether CPUID shows it or not."""
        if name not in ARCH_CAPABILITIES:
            raise AttributeError(f"IA32_ARCH_CAPABILITIES has no bit {name!r}")
        return self._given[name] if name in self._given else fact(f"{self.scope}.{name}")


class Kernel:
    """One kernel's behaviours (from its release or observed), its boot options and its configuration."""

    def __init__(self, scope: str) -> None:
        self.scope = scope

    def __getattr__(self, name: str) -> Node:
        if name in BEHAVIOURS or name in KERNEL_LOOKUPS:
            return fact(f"{self.scope}.{name}")
        raise AttributeError(f"no table knows a kernel behaviour or option called {name!r}")


class Vm:
    """The virtual machine as KVM sees it, apart from its CPU."""

    def __init__(self, scope: str = "vm") -> None:
        self.scope = scope

    def __getattr__(self, name: str) -> Node:
        if name in VM_LOOKUPS:
            return fact(f"{self.scope}.{name}")
        raise AttributeError(f"no table knows anything of a virtual machine called {name!r}")


class Access:
    """One access to an MSR of a vCPU, by userspace or by the guest: what decides on it beside the host and its KVM."""

    def __init__(self, scope: str) -> None:
        self.scope = scope

    def __getattr__(self, name: str) -> Node:
        if name in ACCESS_LOOKUPS:
            return fact(f"{self.scope}.{name}")
        raise AttributeError(f"no table knows anything called {name!r} of an access to an MSR")


class Silicon(Cpu):
    """The host's bare hardware: its raw registers, and what the vendor's lists say of the part.

    Its facts are the host's own where the host runs on bare metal; a host that is itself a guest cannot know them.
    """

    def __init__(self) -> None:
        super().__init__("silicon")

    def __getattr__(self, name: str) -> Node:
        if name in SILICON_LOOKUPS:
            return fact(f"silicon.{name}")
        return super().__getattr__(name)

"""Facts as functions of a configuration's variables: what nobody knows, bits of the host, and what a guest is shown."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from archcaps.logic.diagram import Diagrams, Function
from archcaps.logic.graph import Node, fact
from archcaps.logic.reading import Reading
from archcaps.rules.kvm_offer import OFFERED_CPUID, kvm_get_arch_capabilities, kvm_get_supported_cpuid
from archcaps.rules.shown import model
from archcaps.space.lookups import Value
from archcaps.space.names import UNKNOWN, is_looked_up, split, variable_of
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS

__all__ = ["BARE_METAL", "BASELINE", "Deviating", "Shows", "baseline", "constant", "default_of", "fact_in"]

#: What a guest is shown by default of bits that neither KVM's offer nor the host decides.
BASELINE = {"hypervisor": True, "rtm_disable": True}
#: The one bit of a host that is no variable: the host is bare metal, and does not show it.
BARE_METAL = "host.hypervisor"


def baseline(name: str) -> Node | None:
    """Return what a guest is shown by default of the bit that is the fact `name`: what KVM offers, else the host's own.

    None for facts that are no bits of a guest, and for those that have a fixed default.
    """
    scope, what = split(name)
    if scope != "guest" or what not in BITS or what in BASELINE:
        return None
    if what in ARCH_CAPABILITIES:
        return kvm_get_arch_capabilities(model().kvm, what)
    return kvm_get_supported_cpuid(model().kvm, what) if what in OFFERED_CPUID else fact(f"host.{what}")


def constant(diagrams: Diagrams, value: bool) -> Function:
    """Return the function that is `value` everywhere."""
    return diagrams.true if value else diagrams.false


def fact_in(diagrams: Diagrams, name: str, value: Value | None = None) -> Function:
    """Return a fact with this value; None: as a variable, of a guest's bit the one that says whether it deviates."""
    if isinstance(value, bool):
        return constant(diagrams, value)
    if value is not None:
        return diagrams.variable(value)
    if is_looked_up(name):
        return diagrams.variable(UNKNOWN + name)
    return diagrams.false if variable_of(name) == BARE_METAL else diagrams.variable(variable_of(name))


def default_of(diagrams: Diagrams, name: str, defaults: Mapping[str, Function]) -> Function:
    """Return what a guest is shown by default of the bit that is the fact `name`, with these `defaults` of its host."""
    return defaults[name] if name in defaults else constant(diagrams, BASELINE[split(name)[1]])


class Shows:
    """What one host shows its guests by default, so that functions are read over what is shown or what deviates.

    A variable of a guest's bit is in the end whether it deviates from the default. But most of what is asked does not
    depend on the default: it is made once for many hosts, over what the guest is *shown*, with the same variables, and
    each is turned later, by putting `deviation ^ default` in its place. Of the bits `at_once` the variable is the
    deviation from the start: those whose default nobody knows. `over_facts` has the functions that are read.
    """

    def __init__(self, read: Diagrams, diagrams: Diagrams, at_once: Mapping[str, Function]) -> None:
        self.over_facts = read
        self._every = diagrams.true
        # Not a method: it would hold this, and this the diagrams, after their last use.
        self._reading = Reading(diagrams, partial(_shown, diagrams, at_once))

    def read(self, function: Function) -> Function:
        """Return a function of facts as one of what the guest is shown.

        Raises:
            NotDecidedError: a limit was reached.
        """
        return self._reading.of_function(function, self.over_facts, self._every)


def _shown(diagrams: Diagrams, at_once: Mapping[str, Function], name: str) -> Function:
    variable = fact_in(diagrams, name)
    return at_once[name] ^ variable if name in at_once else variable


class Deviating:
    """Makes functions over what deviates of those over what a guest is shown: `later` has what a variable becomes."""

    def __init__(self, diagrams: Diagrams, later: Mapping[str, Function]) -> None:
        self._diagrams = diagrams
        self._later = later
        self._known: dict[Function, Function] = {}

    def __call__(self, function: Function) -> Function:
        """Return a function over what a guest is shown as one over what deviates.

        Raises:
            NotDecidedError: a limit was reached.
        """
        if function not in self._known:
            self._known[function] = self._diagrams.replaced(function, self._later)
        return self._known[function]

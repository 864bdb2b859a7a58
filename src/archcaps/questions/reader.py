"""The model read for one host and one guest."""

from __future__ import annotations

from archcaps.logic.ternary import Ternary
from archcaps.machine.facts import Datum, Facts, facts_of
from archcaps.machine.observations import observations_of, texts_of
from archcaps.machine.snapshot import Snapshot
from archcaps.questions.doubted import doubted
from archcaps.questions.results import Possible
from archcaps.rules.shown import Model, model
from archcaps.tables.names import VULNERABILITIES

__all__ = ["Reader"]


class Reader:
    """Facts, observations, and the values that rules get from them, with their reasons."""

    def __init__(self, host: Snapshot, guest: Snapshot, assumptions: frozenset[str] = frozenset()) -> None:
        self.host = host
        self.guest = guest
        self.assumptions = assumptions
        self.model: Model = model()
        self.read(facts_of(host, guest, assumptions), observations_of(host, guest))

    def read(self, facts: Facts, observed: dict[str, Datum]) -> None:
        """Read the model with these facts and observations."""
        self.facts = facts
        #: Rules that texts show otherwise than the machine's own CPU and kernel give them: neither is believed.
        self.doubted = {name: observed[name] for name in doubted(observed, facts.values)}
        self.observed = {name: datum for name, datum in observed.items() if name not in self.doubted}
        opaque = frozenset(self.doubted)
        for name in opaque:
            facts.unknown[name] = "its file says otherwise than its CPU and its kernel give"
        if self.guest.kernel.system != "linux":  # what Linux's rules say of it does not hold
            of_linux = ("guest.clear_cpu_buf", *(f"guest.verw_works[{name}]" for name in VULNERABILITIES))
            opaque |= frozenset(of_linux)
            for name in of_linux:
                facts.unknown[name] = f"the guest runs {self.guest.kernel.system}, whose rules archcaps has not"
        values = {name: datum.value for name, datum in self.observed.items()}
        self._opaque = opaque
        self.ternary = Ternary(facts.values, values, self._cost, opaque)

    def said(self, file: str, modelled: Possible, *, complete: bool = True) -> Possible:
        """Return a file's text in the guest: as it was read; both where its kernel would print another one.

        `modelled` are the texts that it would print, all of them if `complete`.
        """
        seen = texts_of(self.guest).get(file)
        if seen is None:
            return modelled
        if complete and seen not in modelled.possible:
            return Possible(None, [seen, *modelled.possible])
        return Possible(seen, [seen])

    def take(self, rule: str, value: bool | None) -> None:
        """Take `value` (None: unknown) for a rule, by its name, whatever it would give by itself."""
        observed = {name: each for name, each in self.ternary.observed.items() if name != rule}
        if value is not None:
            observed[rule] = value
        self._opaque = self._opaque | {rule} if value is None else self._opaque - {rule}
        self.ternary = Ternary(self.facts.values, observed, self._cost, self._opaque)

    def datum(self, name: str) -> Datum | None:
        """Return how an input is known: an observation or a fact."""
        return self.observed.get(name) or self.facts.known.get(name)

    def _cost(self, name: str) -> int:
        """Prefer what was read to what a table says, and that to what is assumed."""
        datum = self.datum(name)
        table = ".listed_" in name or name.endswith("_published")
        return 1 + table + 2 * (datum is not None and datum.provenance == "assumed")

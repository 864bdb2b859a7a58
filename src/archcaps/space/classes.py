"""The classes of hosts of a space, each with the classes of guests that it tells apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from archcaps.logic.diagram import Diagrams, Function
from archcaps.logic.graph import Kind, Node, walk
from archcaps.logic.reading import Reading
from archcaps.space.cells import GuestClass, Guests, HostClass
from archcaps.space.choices import Choices, first
from archcaps.space.facts import Deviating, Shows, default_of, fact_in
from archcaps.space.lookups import Value
from archcaps.space.names import DEVIATES, UNKNOWN, variable_of
from archcaps.space.settling import Functions, Settling, refined, together

__all__ = ["Classes"]


class Classes:
    """Makes the classes of hosts and guests of one question.

    `read` are the diagrams over facts, `diagrams` those over configurations; `hosts` and `guests` are their choices,
    with the facts that these decide. `at_once`: every default is put in place from the start.
    """

    def __init__(
        self,
        read: Diagrams,
        diagrams: Diagrams,
        hosts: tuple[Choices, Sequence[str]],
        guests: tuple[Choices, Sequence[str]],
        *,
        at_once: bool,
    ) -> None:
        self._read = read
        self._diagrams = diagrams
        self._hosts, self._host_facts = hosts
        self._guests, self._guest_facts = guests
        self._settle_hosts = Settling(read, *hosts).settle
        self._settle_guests = Settling(read, *guests).settle
        self._at_once = at_once
        self._shows: dict[tuple[tuple[str, Function], ...], Shows] = {}
        self._deviating: dict[tuple[tuple[str, Function], ...], Deviating] = {}

    def of(
        self,
        over_facts: Functions,
        defaults: Mapping[str, Function],
        axiom: Node,
        offers: Callable[[Mapping[str, Function]], Function],
    ) -> Iterator[HostClass]:
        """Yield the classes of hosts, in no order.

        `over_facts` are what is given and the root; `defaults` what a guest is shown by default of its bits; `axiom`
        what hardware can be; `offers` makes of a host's defaults where a guest may be shown what deviates.

        Raises:
            NotDecidedError: a limit was reached.
        """
        by_themselves = list(self._by_themselves(defaults, axiom, offers))
        for hosts, left in self._left(over_facts):
            guests = [GuestClass(self._guests, parts, *functions) for functions, parts in left.items()]
            guests.sort(key=lambda guest: first(guest.chosen))
            support = self._support(each for functions in left for each in functions)
            alike: dict[object, tuple[int, Mapping[str, Function], Function]] = {}
            for chosen, shown, possible in by_themselves:
                if here := chosen & hosts:
                    key = (possible, *(function for name, function in shown.items() if name in support))
                    before, first_shown, _ = alike.get(key, (0, shown, possible))
                    alike[key] = (before | here, first_shown, possible)
            for chosen, shown, possible in alike.values():
                yield self._host(chosen, guests, support, shown, possible)

    def _left(self, over_facts: Functions) -> Iterable[tuple[int, Mapping[Functions, Sequence[Guests]]]]:
        """Yield hosts that make the same of every guest, with what is then left of functions, and of which guests.

        The side with more choices of kernels comes first: it is divided once, the other one for each result.
        """
        if len(self._hosts.kernels) > len(self._guests.kernels):
            for left, hosts in self._settle_hosts(over_facts).items():
                settled = self._settle_guests(left).items()
                yield hosts, {functions: [Guests(self._guests, chosen)] for functions, chosen in settled}
            return
        guests: list[Guests] = []
        parts: Mapping[tuple[Functions, ...], int] = {(): self._hosts.every}
        for left, chosen in self._settle_guests(over_facts).items():
            guests.append(Guests(self._guests, chosen))
            parts = refined(parts, self._settle_hosts(left))
        for key, hosts in parts.items():
            alike: dict[Functions, list[Guests]] = {}
            for functions, each in zip(key, guests, strict=True):
                alike.setdefault(functions, []).append(each)
            yield hosts, alike

    def _support(self, functions: Iterable[Function]) -> frozenset[str]:
        return frozenset[str]().union(*map(self._read.support, functions))

    # --- hosts by themselves --------------------------------------------------------------------------------------

    def _by_themselves(
        self, defaults: Mapping[str, Function], axiom: Node, offers: Callable[[Mapping[str, Function]], Function]
    ) -> Iterator[tuple[int, Mapping[str, Function], Function]]:
        """Yield hosts that can be the same and show guests the same, with these defaults and what is possible."""
        reading = Reading(self._diagrams, partial(fact_in, self._diagrams))
        parts: Mapping[tuple[Function, ...], int] = {(): self._hosts.every}
        for default in defaults.values():
            settled = self._settle_hosts((default,)).items()
            transferred = (
                (reading.of_function(each, self._read, self._diagrams.true), hosts) for (each,), hosts in settled
            )
            parts = refined(parts, together(transferred))
        parts = refined(parts, together(self._silicon(axiom)))
        for (*shown, silicon), hosts in sorted(parts.items(), key=lambda each: first(each[1])):
            by_name = dict(zip(defaults, shown, strict=True))
            yield hosts, by_name, self._diagrams.all_of((silicon, offers(by_name)))

    def _silicon(self, axiom: Node) -> Iterator[tuple[Function, int]]:
        """Yield what hardware can be, and of which hosts."""
        read = {node.name for node in walk((axiom,)) if node.kind is Kind.FACT}
        names = [name for name in self._host_facts if name in read]
        for values, hosts in self._hosts.divided(self._hosts.every, names).items():
            known = dict(zip(names, values, strict=True))
            yield Reading(self._diagrams, partial(self._of_hosts, known)).of(axiom), hosts

    def _of_hosts(self, values: Mapping[str, Value], name: str) -> Function:
        return fact_in(self._diagrams, name, values.get(name))

    def _host(
        self,
        chosen: int,
        guests: Sequence[GuestClass],
        support: frozenset[str],
        defaults: Mapping[str, Function],
        possible: Function,
    ) -> HostClass:
        names = sorted(name for name in support if variable_of(name).startswith(DEVIATES))
        shown = {name: default_of(self._diagrams, name, defaults) for name in names}
        at_once = {name: default for name, default in shown.items() if self._at_once or self._is_unknown(default)}
        shows = self._shows.setdefault(tuple(at_once.items()), Shows(self._read, self._diagrams, at_once))
        later = {
            variable_of(name): default ^ self._diagrams.variable(variable_of(name))
            for name, default in shown.items()
            if name not in at_once
        }
        deviating = self._deviating.setdefault(tuple(later.items()), Deviating(self._diagrams, later))
        return HostClass(self._hosts, chosen, guests, possible, defaults, shows, deviating)

    def _is_unknown(self, default: Function) -> bool:
        return any(name.startswith(UNKNOWN) for name in self._diagrams.support(default))

"""Rules explained: each rule traced once on nameless machines, its formula in words, and who uses it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from itertools import product
from typing import Any, Final

from archcaps.errors import InputError, nearest
from archcaps.logic.graph import Kind, Node, fact, walk
from archcaps.logic.prose import Formula, inputs_of, prose, simplest, table
from archcaps.questions.explain_results import Condition, FormulaFacts, Mention, RuleFacts, TruthTable
from archcaps.rules import host_border, later, properties, verdict
from archcaps.rules.kvm_entry import vmx_update_fb_clear_dis
from archcaps.rules.kvm_offer import OFFERED_CPUID, Kvm
from archcaps.rules.kvm_tsx import rtm_executes
from archcaps.rules.linux_files import TEXTS, conditions_of
from archcaps.rules.linux_spectre_v2 import MODES
from archcaps.rules.notices import promised_msrs
from archcaps.rules.shown import Case, Model, model
from archcaps.rules.views import Access, Cpu, Kernel, Silicon, Vm
from archcaps.tables.bits import ARCH_CAPABILITIES, BITS
from archcaps.tables.kernels import BEHAVIOURS
from archcaps.tables.names import (
    ACCESS_LOOKUPS,
    ASSUMPTIONS,
    CPU_LOOKUPS,
    FURTHER,
    KERNEL_LOOKUPS,
    SILICON_LOOKUPS,
    VM_LOOKUPS,
    VULNERABILITIES,
)
from archcaps.tables.words import phrases

__all__ = [
    "CPU",
    "KERNEL",
    "LOOKUPS",
    "arguments_of",
    "case",
    "condition_of",
    "explain_rule",
    "files_reading",
    "in_words",
    "instances",
    "plain",
    "readers_of",
    "rules",
]  # fmt: skip

_MODULES: Final = (
    "silicon", "linux_bugs", "linux_bugs_branch", "linux_errata", "linux_mitigations", "linux_memory", "kvm_offer",
    "kvm_entry", "kvm_vmx_entry", "kvm_msrs", "kvm_tsx", "shown", "verdict", "host_border", "further", "notices",
    "later", "properties",
    "linux_features", "linux_spectre_v2", "linux_retbleed", "linux_srso", "linux_branch_texts",
)  # fmt: skip
#: Whose an input is, by the scope of its name: before the words, and before the name in a formula.
_SCOPES: Final = {
    "any_cpu": ("", ""), "any_kernel": ("", ""), "any_kvm": ("", ""), "any_silicon": ("hardware: ", "silicon."),
    "silicon": ("hardware: ", "silicon."), "any_host": ("host: ", "host."), "any_host_kernel": ("host: ", "host."),
    "any_guest": ("guest: ", "guest."), "any_guest_kernel": ("guest: ", "guest."), "any_vcpu": ("vCPU: ", "vcpu."),
    "guest": ("as shown: ", "guest."), "offered": ("as offered: ", "offered."), "true": ("as true: ", "true."),
    "any_vm": ("virtual machine: ", "vm."), "assume": ("", "assume."), "any_access": ("", ""),
}  # fmt: skip
#: Longer truth tables are left out, unless they have at most so many inputs.
_ROWS, _INPUTS = 12, 5
#: Parameters of rules that may stand for their arguments.
_GENERAL = frozenset(("bit", "vulnerability", "name", "claim", "truth"))
#: A formula that names more inputs than this is replaced by a shorter one that says the same, if there is one.
_READABLE = 12
#: And one with more than this is not shown in words.
_TOO_LONG = 60
LOOKUPS: Final[Mapping[str, str]] = {
    **CPU_LOOKUPS, **SILICON_LOOKUPS, **KERNEL_LOOKUPS, **VM_LOOKUPS, **ACCESS_LOOKUPS,
    **{name: yes for name, (yes, _) in ASSUMPTIONS.items()},
}  # fmt: skip

Rule = Callable[..., Node]


def _shown(scope: str) -> dict[str, Node]:
    """Return the bits of IA32_ARCH_CAPABILITIES as facts: a bit of a hidden register counts as 0."""
    return {name: fact(f"{scope}.{name}") for name in ARCH_CAPABILITIES}


class _Silicon(Silicon):
    """The hardware, with the register's bits as plain facts."""

    def __init__(self) -> None:
        Cpu.__init__(self, "any_silicon", _shown("any_silicon"))


CPU: Final = Cpu("any_cpu", _shown("any_cpu"))
KERNEL: Final = Kernel("any_kernel")
VCPU: Final = Cpu("any_vcpu", _shown("any_vcpu"))


@cache
def case() -> Case:
    """Return a guest on a host of which nothing is given."""
    host, guest = (Cpu(scope, _shown(scope)) for scope in ("any_host", "any_guest"))
    kvm = Kvm(host, Kernel("any_host_kernel"), "any_kvm")
    disable = vmx_update_fb_clear_dis(VCPU, kvm)
    return Case("any_guest", guest, Kernel("any_guest_kernel"), kvm, _Silicon(), disable, Vm("any_vm"))


@cache
def rules() -> Mapping[str, Rule]:
    """Return every rule by its name."""
    found: dict[str, Rule] = {}
    for room in _MODULES:
        module = import_module(f"archcaps.rules.{room}")
        for name, value in vars(module).items():
            inner = getattr(value, "__wrapped__", None)
            if inner is not None and value.__module__ == module.__name__ and inner.__annotations__["return"] == "Node":
                found[name] = value
    return found


@cache
def _parameters(function: Rule) -> list[str]:
    code = function.__wrapped__.__code__  # type: ignore[attr-defined]  # functools.wraps sets it
    return list(code.co_varnames[: code.co_argcount])


@cache
def arguments_of(name: str) -> list[tuple[str, ...]]:
    """Return what may stand in brackets behind a rule's name; nothing for a rule without text arguments."""
    function = rules()[name]
    bits = {"kvm_get_supported_cpuid": OFFERED_CPUID, "unreachable_msr": promised_msrs()}.get(
        name, tuple(bit for bit, row in ARCH_CAPABILITIES.items() if row.status != "reserved")
    )
    values: dict[str, Iterable[str]] = {
        "bit": bits,
        "vulnerability": VULNERABILITIES,
        "name": ("mds", "taa", "mmio", "rfds"),
        "claim": [claim.value for claim in verdict.Claim],
        "truth": [truth.value for truth in verdict.Truth],
        "label": ("offered", "true"),
        "mode": MODES,
        "subject": FURTHER,
    }
    wanted = [values[parameter] for parameter in _parameters(function) if parameter in values]
    return list(product(*wanted)) if wanted else []


@cache
def _views() -> dict[str, Any]:
    """Return what rules speak of, by the names of their parameters."""
    world = case()
    return {
        "cpu": CPU,
        "kernel": KERNEL,
        "guest": world.cpu,
        "kvm": world.kvm,
        "silicon": world.silicon,
        "vcpu": VCPU,
        "access": Access("any_access"),
        "case": world,
        "vm": world.vm,
        "rtm_executes": rtm_executes(world.cpu, world.kernel, world.kvm),
    }


#: What rules about two of a kind are called with.
_PAIRS: Final[Mapping[str, Callable[[], tuple[object, object]]]] = {
    "misled_by_offer": lambda: (model().offered, model().true),
    "newly_exposed": lambda: (later.after_guest_upgrade(), model().guest),
    "later_offer": lambda: (later.after_changes(case().kvm), case().kvm),
}


def instance(name: str, texts: tuple[str, ...]) -> Node:
    """Return the rule `name` with these text arguments, on machines of which nothing is given."""
    function, world = rules()[name], case()
    if name == "is_told":
        choice = verdict.truth(world, texts[0])
        return next(node for node, label in choice.rows if label.value == texts[1])
    if name == "same_verdict":
        cases: Model = model()
        pair = (cases.guest, cases.offered) if texts[1] == "offered" else (cases.offered, cases.true)
        return function(*pair, *texts)
    if name in _PAIRS:
        return function(*_PAIRS[name](), *texts)
    parameters = _parameters(function)
    views = _views()
    if "guest" in parameters:  # whose kernel is then meant
        views = {**views, "kernel": world.kernel}
    left = list(texts)
    return function(*(views[name] if name in views else left.pop(0) for name in parameters))


_VERDICTS: Final = frozenset(module.__name__ for module in (verdict, host_border, later, properties))


def instances(reading: str = "") -> Mapping[str, Node]:
    """Return rules with all of their arguments, by the name in a formula: all, or those that can read a fact.

    What a text claims (`concludes`) is left out, the texts speak for it; so is `same_verdict`, which nobody reads.
    """
    found: dict[str, Node] = {}
    for name, function in rules().items():
        verdicts = function.__module__ in _VERDICTS and name not in (
            "has_to_be_cleared",
            "guest_can_sample",
        )
        if name in ("concludes", "same_verdict") or (reading and verdicts):
            continue
        possible = arguments_of(name) or [()]
        if reading and "bit" in _parameters(function) and reading in ARCH_CAPABILITIES:
            possible = [texts for texts in possible if reading in texts]
        for texts in possible:
            node = instance(name, texts)
            found[_base(node.name)] = node
    return found


# --- inputs in words -------------------------------------------------------------------------------------------------


def plain(name: str) -> str:
    """Return an input's name as a formula shows it: without the scope of a nameless machine."""
    scope, _, rest = name.partition(".")
    return _SCOPES[scope][1] + rest if scope in _SCOPES else name


def in_words(name: str, wanted: bool, *, rule: bool = True) -> str:
    """Return an input in words, as it is `wanted` or ruled out; behind it the name by which it is explained.

    `rule`: whether a name that both a rule and a look-up have is the rule's.
    """
    scope, _, rest = name.partition(".")
    before = _SCOPES.get(scope, ("", ""))[0]
    base, _, bracket = rest.partition("[")
    if base in BITS:
        verb = "set" if "silicon" in scope or "vcpu" in scope else "shown"
        return f"{before}{base.upper()} is {'' if wanted else 'not '}{verb}"
    if base in BEHAVIOURS:
        return f"{before}a kernel with{'' if wanted else 'out'} {base} ({BEHAVIOURS[base].meaning})"
    if base in LOOKUPS and not (rule and base in phrases()):
        return f"{before}{'' if wanted else 'not: '}{LOOKUPS[base]} ({base})"
    texts = bracket.rstrip("]").split(",") if bracket else []
    if base not in phrases():  # a parameter's name
        return f"{before}{base} is {'' if wanted else 'not '}{'shown' if base == 'BIT' else 'given'}"
    said = phrases()[base][0 if wanted else 1].format(*(text.upper() if text in BITS else text for text in texts))
    return f"{before}{said} ({rest})"


def condition_of(formula: Formula, words: Callable[[str, bool], str] = in_words) -> Condition:
    """Return a formula with its inputs named and in words."""
    return Condition(_named(formula).text(), formula.outline(words))


def _named(formula: Formula) -> Formula:
    name = plain(formula.name) if formula.name else ""
    return Formula(formula.shape, name, tuple(_named(part) for part in formula.parts))


# --- a rule ----------------------------------------------------------------------------------------------------------


def explain_rule(name: str, bracket: str) -> tuple[str, list[str], RuleFacts]:
    """Return the meaning, the sources and the facts of a rule; `bracket` is what stands in brackets behind it.

    Raises:
        InputError: the rule has no such argument.
    """
    possible = [",".join(texts) for texts in arguments_of(name)]
    if bracket and bracket not in possible:
        hint = nearest(bracket, possible) or (f" (it has {', '.join(possible[:8])})" if possible else "")
        raise InputError(f"rule {name} has no argument {bracket!r}{hint}")
    chosen = [bracket] if bracket else possible or [""]
    # Arguments whose formulas differ in nothing but the argument's own name stand together.
    groups: dict[Formula, list[tuple[str, Node, Formula]]] = {}
    names = [name.upper() for name in _parameters(rules()[name]) if name in _GENERAL]
    for argument in chosen:
        node = instance(name, tuple(argument.split(",") if argument else ()))
        formula = _formula(node)
        renamed = dict(zip(argument.split(","), names, strict=False)) if argument else {}
        groups.setdefault(_renamed(formula, renamed), []).append((argument, node, formula))
    formulas = []
    for general, group in groups.items():
        _, node, first = group[0]
        alone = all(formula == first for _, _, formula in group)
        arguments = [argument for argument, _, _ in group if argument]
        formulas.append(FormulaFacts(arguments, _condition(node, first if alone else general), _table(node, alone)))
    info = node.info
    assert info is not None
    return info.meaning, info.source.split("; "), RuleFacts(possible, formulas, _users(name, bracket))


def _renamed(formula: Formula, names: Mapping[str, str]) -> Formula:
    """Return a formula with parameters' names in place of the arguments."""
    name = formula.name
    for argument, parameter in names.items():
        name = re.sub(rf"(?<=[.\[,]){re.escape(argument)}(?=[\],]|_off$|_on$|$)", parameter, name)
    return Formula(formula.shape, name, tuple(_renamed(part, names) for part in formula.parts))


def _formula(node: Node) -> Formula:
    formula = prose(node)
    return min(simplest(node), formula, key=_size) if _size(formula) > _READABLE else formula


def _condition(node: Node, formula: Formula) -> Condition:
    def words(name: str, wanted: bool) -> str:
        # A rule reads a look-up of its own name, and never itself.
        own = node.info is not None and _base(name) == node.info.name
        return in_words(name, wanted, rule=not own)

    if _size(formula) <= _TOO_LONG:
        return condition_of(formula, words)
    read = f"a formula of {len(formula.inputs)} inputs, too long to read"
    return Condition(condition_of(formula, lambda name, _: name).formula, [(0, read)])


def _size(formula: Formula) -> int:
    return sum(map(_size, formula.parts)) if formula.parts else 1


def _table(node: Node, alone: bool) -> TruthTable | None:
    if not alone or not 1 < len(inputs_of(node)) <= _ROWS:
        return None
    names, rows = table(node)
    if len(names) > _INPUTS and len(rows) > _ROWS:
        return None
    used = [index for index in range(len(names)) if any(row.values[index] is not None for row in rows)]
    if len(used) < 2:
        return None
    shown = [[*(row.values[index] for index in used), row.result] for row in rows]
    return TruthTable([plain(names[index]) for index in used], shown)


# --- who reads what --------------------------------------------------------------------------------------------------


def _users(name: str, bracket: str) -> list[Mention]:
    """Return the rules that read a rule themselves, and the files whose texts do."""
    whole = f"{name}[{bracket}]" if bracket else ""
    return _readers(
        lambda part: (
            part.kind is Kind.RULE
            and (_base(part.name) == whole if bracket else part.info is not None and part.info.name == name)
        ),
        instances(),
    )


def readers_of(name: str) -> list[Mention]:
    """Return the rules that read a bit, a behaviour or a look-up themselves, and the files whose texts do."""
    return _readers(lambda part: part.kind is Kind.FACT and _base(part.name) == name, instances(name))


def _readers(accept: Callable[[Node], bool], among: Mapping[str, Node]) -> list[Mention]:
    found: dict[str, list[str]] = {}
    meanings: dict[str, str] = {}
    for name, node in among.items():
        assert node.info is not None
        if any(map(accept, _near((node.args[0],)))):
            found.setdefault(node.info.name, []).append(name)
            meanings[node.info.name] = node.info.meaning
    mentions = [Mention(names[0] if len(names) == 1 else rule, meanings[rule]) for rule, names in found.items()]
    for file, texts in TEXTS.items():
        if any(map(accept, _near(conditions_of(texts(CPU, KERNEL))))):
            mentions.append(Mention(file, f"the text of the file {file}"))
    return mentions


def _near(roots: Iterable[Node]) -> set[Node]:
    """Return the nodes under `roots` down to the first rules and facts."""
    seen: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(node.args if node.kind is not Kind.RULE else ())
    return seen


def _base(name: str) -> str:
    return name.partition(".")[2]


def files_reading(name: str) -> list[str]:
    """Return the files whose text depends on a bit or a behaviour, through whatever rules."""
    return [file for file in TEXTS if name in _facts_of(file)]


@cache
def _facts_of(file: str) -> frozenset[str]:
    nodes = walk(conditions_of(TEXTS[file](CPU, KERNEL)))
    return frozenset(_base(node.name) for node in nodes if node.kind is Kind.FACT)

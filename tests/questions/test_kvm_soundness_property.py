"""KVM's interface with less known: what is still answered is what was answered with everything known."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import archcaps
from archcaps.machine.snapshot import Cpu, Cpuid, Kernel, Kvm, Reading, Snapshot
from archcaps.questions.word import ALL

KERNELS = ("5.10.223", "6.1.192", "6.4.4", "6.12.117", "6.13.2", "7.2.13")
hosts = st.builds(
    lambda kernel, cpu, register, shown, ignore: Snapshot(
        format_version=1,
        role="host",
        cpu=cpu,
        cpuid=Cpuid(shown=sorted({"arch_capabilities", *shown})),
        registers={"ia32_arch_capabilities": Reading(value=register)},
        kernel=Kernel(release=kernel, cmdline="", config="debian-cloud"),
        kvm=Kvm(parameters={"vmentry_l1d_flush": "auto", "ept": "Y", "ignore_msrs": ignore}),
    ),
    st.sampled_from(KERNELS),
    st.sampled_from(
        (
            Cpu(vendor="GenuineIntel", family=6, model=0x6A, stepping=6, microcode=0xD000421),
            Cpu(vendor="GenuineIntel", family=6, model=0x55, stepping=4, microcode=0x2007006),
            Cpu(vendor="AuthenticAMD", family=0x19, model=1, stepping=1, microcode=0xA0011DE),
        )
    ),
    st.sampled_from((0, 0x6016B, 0x601EB, 0x6E16B, ALL)),
    st.sets(st.sampled_from(("flush_l1d", "md_clear", "rtm", "avx", "tsa_sq_no"))),
    st.sampled_from(("Y", "N")),
)
#: What may be taken from a host: whole parts of its snapshot.
parts = st.sets(st.sampled_from(("cpu", "cpuid", "registers", "kernel", "kvm", "cmdline")))
values = st.sampled_from((0, 1, 2, 3, 0x80, 0x20000, ALL))
msrs = st.sampled_from((0x10A, 0x10B, 0x122, 0x123))
calls = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.dictionaries(msrs, values, min_size=1, max_size=3)),
        st.tuples(st.just("get"), st.lists(msrs, min_size=1, max_size=3)),
        st.tuples(st.just("cpuid"), st.sets(st.sampled_from(("arch_capabilities", "flush_l1d", "rtm")))),
        st.tuples(st.just("run"), st.none()),
        st.tuples(st.just("rdmsr"), msrs),
        st.tuples(st.just("wrmsr"), st.tuples(msrs, values)),
    ),
    max_size=8,
)


def thinner(host: Snapshot, without: set[str]) -> Snapshot:
    empty = Snapshot(format_version=1, role="host")
    for name in without - {"cmdline"}:
        host = replace(host, **{name: getattr(empty, name)})
    return replace(host, kernel=replace(host.kernel, cmdline=None)) if "cmdline" in without else host


def call(vcpu: archcaps.Vcpu, name: str, argument: object) -> object:
    match name:
        case "set":
            return vcpu.set_msrs(argument)  # type: ignore[arg-type]  # by the strategy
        case "get":
            return vcpu.get_msrs(argument)  # type: ignore[arg-type]  # as above
        case "cpuid":
            return vcpu.set_cpuid2(argument)  # type: ignore[arg-type]  # as above
        case "run":
            return vcpu.run()  # type: ignore[func-returns-value]  # None, as the others may
        case "rdmsr":
            return vcpu.guest_rdmsr(argument)  # type: ignore[arg-type]  # as above
        case _:
            return vcpu.guest_wrmsr(*argument)  # type: ignore[misc]  # as above


def agree(less: object, more: object) -> bool:
    """Whether an answer with less known does not contradict the one with more known."""
    if isinstance(less, archcaps.Word) and isinstance(more, archcaps.Word):
        return not less.known & ~more.known and not (less.value ^ more.value) & less.known
    if isinstance(less, list) and isinstance(more, list):
        return len(less) == len(more) and all(map(agree, less, more))
    return less is None or less == more


@settings(deadline=None, max_examples=60)
@given(hosts, parts, calls)
def test_property_less_known_never_means_another_answer(
    host: Snapshot, without: set[str], made: list[tuple[str, object]]
) -> None:
    full = archcaps.Kvm(host).create_vm().create_vcpu()
    thin = archcaps.Kvm(thinner(host, without)).create_vm().create_vcpu()
    for name, argument in made:
        less, more = call(thin, name, argument), call(full, name, argument)
        assert agree(less, more), (name, argument, less, more)
        assert agree(thin.arch_capabilities, full.arch_capabilities)
        assert agree(thin.disable_fb_clear, full.disable_fb_clear)

"""Random machines: real parts, registers of bits that matter, releases that were read, options."""

from __future__ import annotations

from hypothesis import strategies as st

from archcaps.machine.snapshot import Cpu, Cpuid, Kernel, Kvm, Reading, Snapshot
from archcaps.tables.bits import ARCH_CAPABILITIES

__all__ = ["guests", "hosts"]

INTEL, AMD = "GenuineIntel", "AuthenticAMD"
PARTS = [
    (INTEL, 6, 0x55, 4), (INTEL, 6, 0x55, 7), (INTEL, 6, 0x6A, 6), (INTEL, 6, 0x8F, 8), (INTEL, 6, 0xBE, 0),
    (INTEL, 6, 0x97, 2), (INTEL, 6, 0x5C, 9), (INTEL, 6, 0x3F, 2), (INTEL, 6, 0x5E, 3), (INTEL, 6, 0x37, 8),
    (INTEL, 6, 0x2A, 7), (INTEL, 15, 107, 1), (AMD, 0x19, 0x01, 1), (AMD, 0x1A, 0x02, 1), (AMD, 0x17, 0x31, 0),
    ("HygonGenuine", 0x18, 0, 2),
]  # fmt: skip
FLAGS = [
    "md_clear", "flush_l1d", "rtm", "rtm_always_abort", "arch_capabilities", "verw_clear", "tsa_sq_no", "tsa_l1_no",
    "tsa_fill_no", "avx", "hybrid",
]  # fmt: skip
BITS = [
    "rdcl_no", "mds_no", "taa_no", "tsx_ctrl", "sbdr_ssdp_no", "fbsdp_no", "psdp_no", "fb_clear", "fb_clear_ctrl",
    "rfds_no", "rfds_clear", "gds_no", "skip_l1dfl_vmentry",
]  # fmt: skip
RELEASES = [
    "5.10.223",
    "6.1.152",
    "6.1.192",
    "6.6.150",
    "6.8.0",
    "6.12.117",
    "6.14.0",
    "6.16.1",
    "6.18.9",
    "7.1.5",
    "6.7.2",
]
CMDLINES = [
    "", "mitigations=off", "mds=off", "mds=off tsx_async_abort=off mmio_stale_data=off reg_file_data_sampling=off",
    "tsx=on", "tsx=auto", "mds=full,nosmt", "tsa=user", "tsa=off", "mitigations=auto,nosmt", "mitigations=off mds=full",
]  # fmt: skip

words = st.sets(st.sampled_from(BITS)).map(lambda names: sum(ARCH_CAPABILITIES[name].mask for name in names))
kernels = st.builds(
    Kernel,
    release=st.sampled_from(RELEASES),
    cmdline=st.sampled_from(CMDLINES),
    config=st.sampled_from(["upstream-defaults", "debian-cloud"]),
)
cpus = st.builds(
    lambda part, microcode, smt: Cpu(
        vendor=part[0],
        family=part[1],
        model=part[2],
        stepping=part[3],
        core_type=0,
        microcode=microcode,
        smt_active=smt,
    ),
    st.sampled_from(PARTS),
    st.sampled_from([0, 0x0A0011D6, 0x0A0011D7]),
    st.booleans(),
)


def _machine(role: str, *always: str) -> st.SearchStrategy[Snapshot]:
    return st.builds(
        lambda cpu, shown, word, kernel: Snapshot(
            format_version=1,
            role=role,  # type: ignore[arg-type]  # "host" or "guest"
            cpu=cpu,
            cpuid=Cpuid(shown=sorted({*shown, *always})),
            registers={"ia32_arch_capabilities": Reading(value=word), "ia32_tsx_ctrl": Reading(value=word & 1)},
            kernel=kernel,
            kvm=Kvm(parameters={"vmentry_l1d_flush": "auto", "ept": "Y"} if role == "host" else {}),
        ),
        cpus,
        st.sets(st.sampled_from(FLAGS)),
        words,
        kernels,
    )


hosts = _machine("host")
guests = _machine("guest", "hypervisor")

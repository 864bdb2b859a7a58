"""Values to names and back: published values by hand, every name of everybody, any value at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcaps.errors import InputError
from archcaps.questions.decode import decode, difference, encode, find_register, value_in
from archcaps.tables.bits import BITS, CONSUMERS, FIELDS, REGISTERS, Bit

registers = st.sampled_from(sorted(REGISTERS))
MSR = "ia32_arch_capabilities"


def named(bits: dict[int, str], register: str = MSR) -> int:
    """The value with these bits, each of which has to have this name."""
    value = sum(1 << bit for bit in bits)
    assert {bit.bit: bit.name for bit in decode(value, register).bits} == bits
    return value


def names_of(bit: Bit) -> set[str]:
    return {bit.name, *bit.names.values()}


# --- published values, by hand -------------------------------------------------------------


def test_sapphire_rapids_as_guests_see_it() -> None:
    bits = {
        0: "rdcl_no", 1: "ibrs_all", 3: "skip_l1dfl_vmentry", 5: "mds_no", 6: "pschange_mc_no", 7: "tsx_ctrl",
        13: "sbdr_ssdp_no", 14: "fbsdp_no", 15: "psdp_no", 19: "rrsba", 26: "gds_no", 27: "rfds_no", 62: "its_no",
    }  # fmt: skip
    assert named(bits) == 0x400000000C08E0EB


def test_cascade_lake_template() -> None:
    bits = {
        0: "rdcl_no", 1: "ibrs_all", 3: "skip_l1dfl_vmentry", 5: "mds_no", 6: "pschange_mc_no", 7: "tsx_ctrl",
        13: "sbdr_ssdp_no", 15: "psdp_no", 17: "fb_clear", 19: "rrsba", 26: "gds_no", 27: "rfds_no",
    }  # fmt: skip
    assert named(bits) == 0xC0AA0EB


def test_the_value_of_old_cpu_models() -> None:
    assert named({0: "rdcl_no", 1: "ibrs_all", 3: "skip_l1dfl_vmentry", 5: "mds_no"}) == 0x2B


def test_what_kvm_makes_up_on_amd() -> None:
    assert named({0: "rdcl_no", 3: "skip_l1dfl_vmentry", 5: "mds_no", 6: "pschange_mc_no"}) == 0x69


def test_cpuid_words() -> None:
    bits = {
        10: "md_clear", 26: "spec_ctrl", 27: "intel_stibp", 28: "flush_l1d", 29: "arch_capabilities", 31: "ssbd",
    }  # fmt: skip
    assert named(bits, "cpuid_7_0_edx") == 0xBC000400
    assert named({1: "tsa_sq_no", 2: "tsa_l1_no"}, "cpuid_80000021_ecx") == 0x6
    assert named({2: "xsaveerptr", 12: "amd_ibpb", 14: "amd_ibrs", 15: "amd_stibp", 24: "amd_ssbd", 28: "amd_psfd"},
                 "cpuid_80000008_ebx") == 0x1100D004  # fmt: skip


# --- what a bit says -----------------------------------------------------------------------


def test_bhi_ctrl_is_not_rrsba_ctrl() -> None:
    named({2: "rrsba_ctrl"}, "cpuid_7_2_edx")
    named({4: "bhi_ctrl"}, "cpuid_7_2_edx")


def test_fb_clear_speaks_of_verw_and_the_fill_buffers() -> None:
    meaning = decode(1 << 17)["fb_clear"].meaning
    assert "VERW" in meaning
    assert "fill buffers" in meaning
    assert "idle" not in meaning
    assert "C6" not in meaning


def test_the_register_s_condition_is_told() -> None:
    note = decode(0).note
    assert note is not None
    assert "CPUID.7.0:EDX[29]" in note
    assert "Intel-compatible" in note
    assert "Centaur" in note
    assert decode(0, "cpuid_7_0_edx").note is None


@pytest.mark.parametrize(
    ("name", "news", "pool"),
    [
        ("mds_no", "good", "AND"), ("rsba", "bad", "OR"), ("rrsba", "bad", "OR"), ("fb_clear", "good-if-needed", "OR"),
        ("fb_clear_ctrl", "neutral", "HOST"), ("ibrs_all", "neutral", "AND"), ("reserved_40", "unknown", ""),
        ("pbopt_support", "neutral", "HOST"),
    ],
)  # fmt: skip
def test_good_and_bad_news(name: str, news: str, pool: str) -> None:
    bit = decode(BITS[name].mask)[name]
    assert (bit.news, bit.pool) == (news, pool)
    assert bit.status == BITS[name].status


def test_the_native_core_type_is_a_number() -> None:
    native, core = decode(0x20000002, "cpuid_1a_eax").fields
    assert (native.name, native.value, native.says) == ("native_model_id", 2, None)
    assert (core.name, core.value, core.says) == ("core_type", 0x20, "Atom")
    assert encode("core_type=0x40, native-model-id=1").values[0].value == "0x40000001"


def test_what_no_table_has_is_shown_as_such() -> None:
    assert [(bit.name, bit.status) for bit in decode(1 << 12, "cpuid_7_0_edx").bits] == [("unknown_12", "unknown")]


def test_all_means_the_clear_bits_too() -> None:
    everything = decode(0x2B, everything=True)
    assert len(everything.bits) == 64
    assert [bit.bit for bit in everything.bits if bit.set] == [0, 1, 3, 5]


# --- names ---------------------------------------------------------------------------------


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_every_name_of_a_consumer_decodes_to_its_bit_and_back(consumer: str) -> None:
    for bit in BITS.values():
        if consumer not in bit.names:
            continue
        name = bit.names[consumer]
        for spelled in (name, name.upper(), name.lower().replace("_", "-")):
            (value,) = encode(spelled, bit.register).values
            assert (value.register, int(value)) == (bit.register, bit.mask)
        assert decode(bit.mask, bit.register).bits[0].names[consumer] == name


def test_every_own_name_decodes_to_its_bit_and_back() -> None:
    for bit in BITS.values():
        (value,) = encode([bit.name], bit.register).values
        assert [found.name for found in decode(int(value), value.register).bits] == [bit.name]


@pytest.mark.parametrize("name", sorted(BITS))
def test_without_a_register_a_name_is_never_another_s_silently(name: str) -> None:
    users = {
        bit.register for bit in BITS.values() if name in {each.lower().replace("-", "_") for each in names_of(bit)}
    }
    if len(users) == 1 or MSR in users:
        assert encode(name).values[0].register == (MSR if MSR in users else users.pop())
    else:
        with pytest.raises(InputError, match="say which with --register") as error:
            encode(name)
        assert all(register in str(error.value) for register in users)


@pytest.mark.parametrize(
    ("names", "values"),
    [
        ("rdcl-no,mds-no", {MSR: 0x21}),
        ("rdctl-no mds_no", {MSR: 0x21}),
        ("ARCH_CAP_MDS_NO,MSR_ARCH_CAP_TAA_NO,ARCH_CAPS_PSDP_NO", {MSR: 0x8120}),
        ("X86_FEATURE_MD_CLEAR", {"cpuid_7_0_edx": 0x400}),
        ("X86_FEATURE_SSBD", {"cpuid_7_0_edx": 1 << 31}),
        ("X86_FEATURE_MDS_NO", {MSR: 0x20}),
        ("md-clear,mds-no,tsa_l1_no", {MSR: 0x20, "cpuid_7_0_edx": 0x400, "cpuid_80000021_ecx": 4}),
        ("ssb_no", {MSR: 0x10}),
        ("EIBRS", {MSR: 2}),
    ],
)
def test_names_of_anybody(names: str, values: dict[str, int]) -> None:
    assert {value.register: int(value) for value in encode(names).values} == values


@pytest.mark.parametrize("name", ["L1D_FLUSH", "SSBD", "stibp"])
def test_a_cpuid_bit_and_the_msr_bit_that_share_a_name(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' is bit . of ia32_.* and bit .. of cpuid_7_0_edx: say which"):
        encode(name)
    assert encode(name, "7.0:edx").values[0].register == "cpuid_7_0_edx"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("mds_noo", "unknown bit 'mds_noo' .did you mean mds_no"),
        ("md-claer", "did you mean md_clear"),
        ("c08e0eb", "unknown bit 'c08e0eb' .did you mean 0xc08e0eb"),
        ("zzzzzz", "unknown bit 'zzzzzz'$"),
        (" , ", "no names"),
        ("core_type=big", "expected a number after ="),
        ("core_type=0x100", "does not fit: core_type has 8 bits"),
        ("core_tipe=1", "unknown field 'core_tipe' .did you mean core_type"),
        ("unknown_5", "ia32_arch_capabilities has no unknown bit 5"),
    ],
)
def test_names_that_nobody_has(names: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode(names)


# --- values --------------------------------------------------------------------------------


@given(st.integers(0, (1 << 64) - 1))
def test_any_value_of_64_bits_comes_back_from_its_names(value: int) -> None:
    names = [bit.name for bit in decode(value).bits]
    assert value == (int(encode(names, MSR).values[0]) if names else 0)


@given(registers, st.data(), st.sampled_from(["archcaps", *CONSUMERS]))
def test_any_value_of_any_register_comes_back_in_anybody_s_words(register: str, data: st.DataObject, who: str) -> None:
    value = data.draw(st.integers(0, (1 << REGISTERS[register].width) - 1))
    decoded = decode(value, register)
    names = [bit.names.get(who, bit.name) for bit in decoded.bits]
    names += [f"{field.name}={field.value:#x}" for field in decoded.fields]
    assert value == (int(encode(names, register).values[0]) if names else 0)


@given(registers, st.data())
def test_every_set_bit_is_shown_once(register: str, data: st.DataObject) -> None:
    value = data.draw(st.integers(0, (1 << REGISTERS[register].width) - 1))
    decoded = decode(value, register)
    shown = sum(1 << bit.bit for bit in decoded.bits)
    assert shown + sum(field.value << field.low for field in decoded.fields) == value


@given(st.text(max_size=30), st.none() | registers)
def test_any_text_is_names_or_one_clear_line(text: str, register: str | None) -> None:
    try:
        encode(text, register)
    except InputError as error:
        assert len(str(error).splitlines()) == 1


@given(st.text(max_size=30))
def test_any_text_is_a_value_or_one_clear_line(text: str) -> None:
    try:
        assert 0 <= value_in(text) < 1 << 64
    except InputError as error:
        assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0x10000000000000000", "does not fit in ia32_arch_capabilities, which has 64 bits"),
        ("9" * 5000, "does not fit"),
        ("2b", "'2b' is not a number .did you mean 0x2b"),
        ("0xzz", "expected decimal, or 0x and hexadecimal digits"),
        ("-1", "'-1' is not a number"),
    ],
)
def test_values_that_can_not_be_read(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        value_in(text)


def test_values_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="does not fit in cpuid_7_0_edx, which has 32 bits"):
        decode(1 << 32, "cpuid_7_0_edx")
    with pytest.raises(InputError, match="is not a number"):
        decode(-1)
    assert int(decode("0000000000000000000000043")) == 0x2B


# --- registers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "register"),
    [
        ("ia32_spec_ctrl", "ia32_spec_ctrl"), ("IA32_SPEC_CTRL", "ia32_spec_ctrl"), ("0x48", "ia32_spec_ctrl"),
        ("0x10a", MSR), ("10A", MSR), ("msr:0x10a", MSR), ("MSR 0x10a", MSR), ("0x0000010a", MSR),
        ("cpuid:7.0:edx", "cpuid_7_0_edx"), ("7.0:edx", "cpuid_7_0_edx"), ("7:EDX", "cpuid_7_0_edx"),
        ("CPUID.7.0:EDX", "cpuid_7_0_edx"), ("0x7.0x2:edx", "cpuid_7_2_edx"), ("7.0:ecx", "cpuid_7_0_ecx"),
        ("1a:eax", "cpuid_1a_eax"), ("0x80000021:ecx", "cpuid_80000021_ecx"),
    ],
)  # fmt: skip
def test_registers_by_name_and_address(text: str, register: str) -> None:
    assert find_register(text) == register


@pytest.mark.parametrize("text", ["0x10f", "7.3:edx", "7.0:esp", "ia32_spec", "", "0x", "cpuid"])
def test_registers_that_no_table_has(text: str) -> None:
    with pytest.raises(InputError, match=r"unknown register .*known: ia32_arch_capabilities \(MSR 0x10a\)"):
        find_register(text)


# --- differences ---------------------------------------------------------------------------


def test_two_hosts() -> None:
    found = difference(0xC0AA0EB, 0x400000000C08E0EB)
    only_a = [(change.bit.name, change.effect, change.in_pool) for change in found.only_a]
    only_b = [(change.bit.name, change.effect, change.in_pool) for change in found.only_b]
    assert only_a == [("fb_clear", "better-if-needed", "show")]
    assert only_b == [("fbsdp_no", "better", "hide"), ("its_no", "better", "hide")]
    assert found.pool_value == "0xc0aa0eb"


def test_bad_news_is_shown_in_a_pool() -> None:
    found = difference(BITS["rsba"].mask | BITS["mds_no"].mask, BITS["mds_no"].mask | BITS["fb_clear_ctrl"].mask)
    assert [(change.bit.name, change.effect, change.in_pool) for change in found.only_a] == [("rsba", "worse", "show")]
    assert [(change.bit.name, change.in_pool) for change in found.only_b] == [("fb_clear_ctrl", "never")]
    assert found.pool_value == hex(BITS["rsba"].mask | BITS["mds_no"].mask)


@given(registers, st.data())
def test_a_difference_parts_every_bit(register: str, data: st.DataObject) -> None:
    values = st.integers(0, (1 << REGISTERS[register].width) - 1)
    a, b = data.draw(values), data.draw(values)
    found = difference(a, b, register)
    inside = sum(field.mask for field in FIELDS.values() if field.register == register)
    assert sum(1 << change.bit.bit for change in found.only_a) == a & ~b & ~inside
    assert sum(1 << change.bit.bit for change in found.only_b) == b & ~a & ~inside
    turned = difference(b, a, register)
    assert (turned.only_a, turned.only_b, turned.pool_value) == (found.only_b, found.only_a, found.pool_value)
    same = difference(a, a, register)
    assert (same.only_a, same.only_b) == ([], [])
    if found.pool_value is not None:
        pooled = int(found.pool_value, 16)
        assert pooled & ~(a | b) == 0
        hosts_own = sum(bit.mask for bit in BITS.values() if bit.register == register and bit.pool in ("HOST", ""))
        assert pooled & hosts_own == 0

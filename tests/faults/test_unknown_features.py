"""A name that nobody knows is one clear line, with what may have been meant and in the VMM's own words.

Source: https://bugzilla.redhat.com/show_bug.cgi?id=1867127 (arch-facilities is RHEL 7's name of arch-capabilities).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from archcaps.errors import InputError
from archcaps.guest_cpu.formats import expand, read_configuration, read_file

DATA = Path(__file__).parent / "data" / "guests"
#: As people write them; some are right in one VMM and wrong in another, some are no feature at all.
NAMES = (
    "spec_ctrl", "md_clear", "arch_capabilities", "flush_l1d", "tsx", "ibrs", "retpoline", "vmx-ept", "monitor",
    "pclmuldq", "kvm_pv_eoi", "kvm-hint-dedicated", "hv-passthrough", "lahf_lm", "lahf-lm", "mds_no", "mds",
    "avx512-bf16", "osxsave", "ht", "cmt", "mbm_total", "pmu", "nx", "ssbd", "amd-no-ssb", "amd-ssb-no", "fb-clear",
    "fb_clear", "rfds-clear", "its-no", "verw-clear", "tsa-sq-no", "retbleed", "smt", "frobnicate", "arch-facilities",
)  # fmt: skip
FORMS = {
    "qemu": "qemu-system-x86_64 -accel kvm -cpu Skylake-Server,{}=on",
    "qemu+": "qemu-system-x86_64 -accel kvm -cpu Skylake-Server,+{}",
    "libvirt": "<domain type='kvm'><cpu mode='custom' match='exact' check='{check}'><model>Skylake-Server</model>"
    "<feature policy='require' name='{}'/></cpu></domain>",
    "disable": "<domain type='kvm'><cpu mode='host-passthrough'><feature policy='disable' name='{}'/></cpu></domain>",
    "nova": "[libvirt]\ncpu_mode = custom\ncpu_models = Skylake-Server\ncpu_model_extra_flags = {}\n",
    "kubevirt": "apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstance\nmetadata: {{name: a}}\nspec: {{domain: "
    "{{cpu: {{model: Skylake-Server, features: [{{name: '{}'}}]}}}}}}\n",
    "ovirt": "1:Title:sse2,model_x:Skylake-Server,+{}:x86_64;",
    "proxmox": "cpu: custom-a\nmemory: 1\ncores: 1\n\ncpu-model: a\n    reported-model Skylake-Server\n    flags +{}\n",
    "xen": 'name = "x"\nmemory = 1\nvcpus = 1\ncpuid = "host,{}=1"\n',
    "model": "<domain type='kvm'><cpu mode='custom'><model>{}</model></cpu></domain>",
    "kubevirt model": "apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstance\nmetadata: {{name: a}}\nspec: {{domain:"
    " {{cpu: {{model: '{}'}}}}}}\n",
    "nova model": "[libvirt]\ncpu_mode = custom\ncpu_models = {}\n",
}


@pytest.mark.parametrize("release", [None, "9.0.0/7.2.22", "12.8.0/11.1.3"])
@pytest.mark.parametrize("check", ["none", "partial", "full"])
@pytest.mark.parametrize("form", FORMS)
def test_every_name_is_read_or_refused_in_one_line(form: str, check: str, release: str | None) -> None:
    for name in NAMES:
        text = FORMS[form].replace("{check}", check).format(name)
        try:
            asked = read_configuration(text, "f")
            of_qemu = asked.vmm in ("qemu", "proxmox") and release is not None
            expand(replace(asked, release=release.partition("/")[2] if of_qemu and release else release), None, None)
        except InputError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 400


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("partial-unknown-feature.xml", ":6: no libvirt up to 12.9.0 knows the CPU feature 'frobnicate': it refuses "
         "the domain (unsupported configuration: unknown CPU feature: frobnicate)"),
        ("crash-arch-facilities.xml", ":6: no libvirt up to 12.9.0 knows the CPU feature 'arch-facilities' (RHEL 7 "
         "called arch-capabilities so: write that): it refuses the domain"),
        ("nova-badflag.conf", ":5: no libvirt up to 12.9.0 knows the CPU feature 'md_clear' (did you mean md-clear?): "
         "it refuses the domain (internal error: Unknown CPU feature md_clear)"),
    ],
)  # fmt: skip
def test_what_is_said(file: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        expand(read_file(DATA / file), None, None)
    assert said in str(refused.value)


def test_a_running_domain_may_name_what_a_newer_libvirt_knows() -> None:
    text = (DATA / "partial-unknown-feature.xml").read_text(encoding="utf-8")
    shown = expand(read_configuration(text.replace("'kvm'>", "'kvm' id='1'>"), "f"), None, None)
    assert shown.refused is None
    assert shown.snapshot.cpu.model == 0x55

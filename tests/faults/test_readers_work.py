"""What reading a text costs grows with its length alone: counted in calls, at a length and at twice that.

Calls are those of Python's functions and of C's that they call. What a regular expression does within one call is not
among them: such patterns are bounded by their own counts, and the last test only has to come to an end, which the old
ones would have done in minutes.
"""

from __future__ import annotations

import sys
from types import FrameType

import pytest

from archcaps.errors import InputError
from archcaps.guest_cpu.formats import read_configuration

UNITS = (
    "1", " ", "\n", "[", "{", "(", '"', "'", ".", "-", ",", "a=", "a", "<", ":", "a: b\n", ";", "&", "|", "$", "$(",
    "`", "\\", "#", "\0", "-a ", "kvm -a ", "qemu-system-x86_64 -cpu host\n", "1:a:", "[a]\n", '{"a":', "<a>", "<a/>",
    "x<!---->", "- ", "cpu: a\n", "x=['a'\n", "if ", "a=$a$a\n", " x\n", "+aes;", "^",
)  # fmt: skip
HEADS = {
    "nothing": "",
    "qemu": "qemu-system-x86_64 -cpu host ",
    "cpu": "-cpu host,",
    "proxmox": "cpu: host\nmemory: 2\ncores: 2\nargs: ",
    "model": "cpu: host\nmemory: 2\n\ncpu-model: a\n  flags ",
    "nova": "[libvirt]\ncpu_mode = none\na = 1\n ",
    "xen": "memory = 1\nvcpus = 2\ncpuid = [\n",
    "kubevirt": "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\n",
    "cloud-hypervisor": '{"cpus": {"boot_vcpus": 1}, "payload": ',
    "firecracker": '{"cpuid_modifiers": ',
    "qmp": '{"QMP": {}} ',
    "libvirt": "<domain>",
    "ovirt": "1:a:model_x:",
    "script": "#!/bin/sh\nargs=(",
}


def calls(text: str) -> int:
    """Return how many calls it takes to read a text, or to refuse it in one short line."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        read_configuration(text, "f")
    except InputError as error:
        assert len(str(error)) < 700
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("head", HEADS)
def test_twice_the_text_takes_twice_the_work(head: str) -> None:
    begin = HEADS[head]
    read = calls(begin)  # loads what is loaded once
    for unit in UNITS:
        once, twice = (calls(begin + unit * (length // len(unit))) for length in (1500, 3000))
        assert twice <= 2.3 * once + read + 2000, repr(unit)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cpu: host\nmemory: 1\ncores: 1\nargs: " + "a" * 40_000, "args of more than 32768 characters"),
        ("-cpu host" + ",+aes" * 6_000, "more than 5000 words after -cpu"),
        ('{"cpus": {"boot_vcpus": 1}, "payload": [' + "1," * 70_000, "more than 60000 values"),
        ("qemu-system-x86_64 -cpu host" + " a" * 60_000, "more than 50000 words and signs"),
        ("qemu-system-x86_64\0-cpu\0host" + "\0a" * 60_000, "more than 50000 words"),
    ],
    ids=["args", "words", "values", "pieces", "processes"],
)
def test_what_is_bounded(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_configuration(text, "f")


@pytest.mark.parametrize("unit", ["1", " ", "\n", "a\t", "1:", "[", "=", "a="])
@pytest.mark.parametrize(
    "head", ["", "memory: 1\ncpu: host\n\ncpu-model: a\n x", "kvm", "memory: 1\ncpu: host\ncores: 1\na: x"]
)
def test_long_texts_come_to_an_end(head: str, unit: str) -> None:
    try:
        read_configuration(head + unit * (200_000 // len(unit)) + "!", "f")
    except InputError as error:
        assert len(str(error)) < 700

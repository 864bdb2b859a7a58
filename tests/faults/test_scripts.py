"""Command lines as people keep them: scripts with variables, what stands before the program, several machines.

Expected values follow the shell's own rules (POSIX, Shell Command Language; bash for arrays). Nothing is run.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from archcaps.cli.main import cli
from archcaps.errors import InputError
from archcaps.guest_cpu.changes import ModelChange
from archcaps.guest_cpu.formats import patch, read_configuration, read_file

DATA = Path(__file__).parent / "data" / "guests"


def cpu(text: str) -> tuple[str, str | None, str | None, str | None]:
    """Return VMM, model, machine and accelerator of a text."""
    asked = read_configuration(text, "f")
    return asked.vmm, asked.model, asked.machine, asked.accelerator


@pytest.mark.parametrize(
    "before",
    [
        "sudo ", "sudo -u qemu -- ", "exec ", "exec -a vm1 ", "nice -n 10 ", "ionice -c 3 ", "timeout 5 ",
        "timeout -k 5 10 ", "env X=y ", "LC_ALL=C ", "LC_ALL=C PATH=/usr/bin ", "taskset -c 0-3 ", "taskset 0xf ",
        "numactl --cpunodebind=0 --membind=0 ", "chrt -f 50 ", "setsid ", "nohup ", "systemd-run --user --scope ",
        "systemd-run -p MemoryMax=4G ", "strace -f -o log ", "set -e\n", "#!/bin/sh\nset -eu\ncd /vm || exit 1\n",
        "ip netns exec ns1 ", "ExecStart=", "modprobe kvm; ", "[ -w /dev/kvm ] && ", "! ", "(", "if true; then ",
        "command -v qemu-system-x86_64 >/dev/null || exit 1\n", "qemu-system-x86_64 --version\n",
        "sudo apt install qemu-kvm\n", "cat <<E\nqemu-system-x86_64 -cpu max\nE\n", "# qemu-system-x86_64 -cpu max\n",
        "root  12  0.1  0.2 ? Sl 10:00 0:01 ", "2026-11-30: starting up libvirt version: 9.0.0 (Debian)\nLC_ALL=C \\\n",
    ],
)  # fmt: skip
def test_what_stands_before_the_program(before: str) -> None:
    line = "/usr/bin/qemu-system-x86_64 -machine q35,accel=kvm -cpu EPYC -nographic"
    assert cpu(f"{before}{line}\n") == ("qemu", "EPYC", "q35", "kvm")


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("M=EPYC\nqemu-system-x86_64 -accel kvm -cpu $M\n", "EPYC"),
        ('M="EPYC"; qemu-system-x86_64 -accel kvm -cpu "${M}"\n', "EPYC"),
        ("export M=EPYC\nqemu-system-x86_64 -accel kvm -cpu $M,+md-clear\n", "EPYC"),
        ("Q=/usr/bin/qemu-system-x86_64\n$Q -accel kvm -cpu EPYC\n", "EPYC"),
        ("O='-accel kvm -cpu EPYC'\nqemu-system-x86_64 $O\n", "EPYC"),
        ('a=(-accel kvm)\na+=(-cpu EPYC # the model\n)\nqemu-system-x86_64 "${a[@]}" -m 1G\n', "EPYC"),
        ("qemu-system-x86_64 -accel kvm -cpu ${M:-EPYC}\n", "EPYC"),
        ("M=host\nM=EPYC\nqemu-system-x86_64 -accel kvm -cpu $M\n", "EPYC"),
        ("M=EP\nM+=YC\nqemu-system-x86_64 -accel kvm -cpu $M\n", "EPYC"),
        ("if true; then M=EPYC; qemu-system-x86_64 -accel kvm -cpu $M; fi\n", "EPYC"),
        ('qemu-system-x86_64 -accel kvm -m $MEM -smp $(nproc) -hda "$DISK" -cpu EPYC\n', "EPYC"),
        ("qemu-system-x86_64 -accel kvm \\\n  -cpu EPYC \\\n  -nographic\n", "EPYC"),
        ("qemu-system-x86_64 -accel kvm\n  -cpu EPYC\n  -nographic\n", "EPYC"),
        ("qemu-system-x86_64 -accel kvm ^\r\n -cpu EPYC\r\n", "EPYC"),
        ("sh -c 'qemu-system-x86_64 -accel kvm -cpu EPYC'\n", "EPYC"),
        ("qemu-system-x86_64 -accel kvm -cpu EPYC > log 2>&1 &\n", "EPYC"),
        ("qemu-system-x86_64 -accel kvm -cpu EPYC -hda a.qcow2\ngrep -M foo -cpu bar\n", "EPYC"),
    ],
)
def test_variables(text: str, model: str) -> None:
    assert cpu(text)[:2] == ("qemu", model)
    assert cpu(text)[3] == "kvm"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("qemu-system-x86_64 -accel kvm -cpu $M\n", "what $M in -cpu stands for"),
        ("qemu-system-x86_64 -accel kvm -cpu host,$F\n", "what $F in -cpu stands for"),
        ("qemu-system-x86_64 -accel kvm -machine $T -cpu host\n", "what $T in -machine stands for"),
        ("qemu-system-x86_64 -enable-kvm $EXTRA -cpu host\n", "what $EXTRA (which may hold any options) stands for"),
        ("qemu-system-x86_64 -accel kvm -cpu $(cat model)\n", "what $(cat model) in -cpu stands for"),
        ("if [ $1 ]; then M=host; else M=EPYC; fi\nqemu-system-x86_64 -accel kvm -cpu $M\n", "what $M in -cpu"),
        ("M=EPYC\n[ $1 ] && M=host\nqemu-system-x86_64 -accel kvm -cpu $M\n", "f:3: this text does not say what $M"),
        ("for m in EPYC host; do qemu-system-x86_64 -cpu $m; done\n", "what $m in -cpu stands for"),
        ("qemu-system-x86_64 -accel kvm Skylake-Server,+md-clear\n", "is -cpu missing before it?"),
        ("qemu-system-x86_64 -cpu 'host\n", "f:1: the quote ' is not closed"),
        ("a=(-cpu host\n", "f:1"),
    ],
)  # fmt: skip
def test_what_the_text_does_not_say_is_named(text: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        read_configuration(text, "f", "qemu")
    assert said in str(refused.value)


def test_the_scripts_own_arguments_are_said() -> None:
    asked = read_configuration('exec qemu-system-x86_64 -enable-kvm -cpu EPYC "$@"\n', "f")
    assert asked.model == "EPYC"
    assert asked.lost_in_words == ("what the script's own arguments ($@) add is not known, and not counted",)


@pytest.mark.parametrize(
    ("file", "model", "machine"), [("qvars.sh", "Skylake-Client", "q35"), ("script-after.sh", "EPYC", None)]
)
def test_a_script(file: str, model: str, machine: str | None) -> None:
    asked = read_file(DATA / file)
    assert (asked.model, asked.machine, asked.accelerator) == (model, machine, "kvm")


@pytest.mark.parametrize(("file", "lines"), [("script-two-vms.sh", "2, 3"), ("script-two-archs.sh", "3, 4")])
def test_two_machines_are_refused(file: str, lines: str) -> None:
    with pytest.raises(InputError, match=rf"2 QEMUs are started \(lines {lines}\): give the command line of one"):
        read_file(DATA / file)


def test_variables_that_grow_are_bounded() -> None:
    text = "a=xxxxxxxxxx\n" + "a=$a$a\n" * 60 + "qemu-system-x86_64 -cpu $a\n"
    with pytest.raises(InputError, match="its variables come to more than 1 MiB"):
        read_configuration(text, "f")


def test_a_change_goes_where_the_word_is_written() -> None:
    text = '#!/bin/bash\nargs=(\n  -accel kvm -cpu EPYC # here\n)\nqemu-system-x86_64 "${args[@]}"\n'
    made = patch(read_configuration(text, "f"), [ModelChange("EPYC-Rome")])
    assert made.after == text.replace("EPYC #", "EPYC-Rome #")
    in_one = read_configuration("O='-accel kvm -cpu EPYC'\nqemu-system-x86_64 $O\n", "f")
    with pytest.raises(InputError, match="stands in a variable with other words"):
        patch(in_one, [ModelChange("EPYC-Rome")])


@pytest.mark.parametrize(
    ("words", "vmm"),
    [
        ("sudo -u x qemu-system-x86_64 -accel kvm -cpu EPYC", "QEMU"),
        ("LC_ALL=C taskset -c 1 /usr/libexec/qemu-kvm -cpu EPYC", "QEMU"),
        ("-M q35 -cpu EPYC", "QEMU"),
        ("cloud-hypervisor --cpus boot=2 --kernel vmlinux", "cloud-hypervisor"),
        ("/usr/bin/cloud-hypervisor --api-socket /tmp/s --cpus boot=2", "cloud-hypervisor"),
    ],
)
def test_words_of_an_option(words: str, vmm: str) -> None:
    done = CliRunner().invoke(cli, ["shown", "--guest", words], standalone_mode=False, catch_exceptions=False)
    assert f"asked: {vmm}" in done.stdout.replace("Cloud Hypervisor", "cloud-hypervisor")


def test_args_of_proxmox() -> None:
    asked = read_file(DATA / "args-machine.conf")
    assert (asked.mode, asked.machine) == ("host", "q35")
    assert any("the machine type of args (q35" in each for each in asked.lost_in_words)
    with pytest.raises(InputError, match=r"'Cascadelake-Server,.*' stands alone.*is -cpu missing before it\?"):
        read_file(DATA / "args-forgot-cpu.conf")

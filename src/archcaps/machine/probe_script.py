"""Read this machine and print what is known of its CPU, kernel and KVM: one snapshot of archcaps, as one line of JSON.

One file for Python 3.6 or newer and nothing else, so that it can be copied to any host: `python3 probe_script.py`, or
`ssh HOST python3 -I - < probe_script.py`. It opens everything for reading only, loads no module and writes no register.
The one thing it makes is a virtual machine with no memory that never runs, to see which values KVM takes.
"""

import argparse
import errno
import fcntl
import glob
import json
import mmap
import os
import re
import struct
import sys
from typing import Any, Callable, Dict, List, Optional, Tuple

__all__ = ["blind", "main", "probe"]

USAGE, OUTPUT = 64, 74
X86 = ("x86_64", "i386", "i486", "i586", "i686")
EAX, EBX, ECX, EDX = range(4)
#: The CPUID words of archcaps: name, leaf, subleaf, output register. Not leaf 0x1a, which differs from core to core.
#: Those that only VMMs compare are among them.
WORDS = (
    ("cpuid_1_ecx", 0x1, 0, ECX),
    ("cpuid_1_edx", 0x1, 0, EDX),
    ("cpuid_6_eax", 0x6, 0, EAX),
    ("cpuid_7_0_ebx", 0x7, 0, EBX),
    ("cpuid_7_0_ecx", 0x7, 0, ECX),
    ("cpuid_7_0_edx", 0x7, 0, EDX),
    ("cpuid_7_1_eax", 0x7, 1, EAX),
    ("cpuid_7_1_ecx", 0x7, 1, ECX),
    ("cpuid_7_1_edx", 0x7, 1, EDX),
    ("cpuid_7_2_edx", 0x7, 2, EDX),
    ("cpuid_d_1_eax", 0xD, 1, EAX),
    ("cpuid_14_0_ecx", 0x14, 0, ECX),
    ("cpuid_1e_1_eax", 0x1E, 1, EAX),
    ("cpuid_24_0_ebx", 0x24, 0, EBX),
    ("cpuid_24_1_ecx", 0x24, 1, ECX),
    ("cpuid_29_0_ebx", 0x29, 0, EBX),
    ("cpuid_80000001_ecx", 0x80000001, 0, ECX),
    ("cpuid_80000001_edx", 0x80000001, 0, EDX),
    ("cpuid_80000007_ebx", 0x80000007, 0, EBX),
    ("cpuid_80000007_edx", 0x80000007, 0, EDX),
    ("cpuid_80000008_ebx", 0x80000008, 0, EBX),
    ("cpuid_8000000a_edx", 0x8000000A, 0, EDX),
    ("cpuid_8000001f_eax", 0x8000001F, 0, EAX),
    ("cpuid_8000001f_ebx", 0x8000001F, 0, EBX),
    ("cpuid_80000021_eax", 0x80000021, 0, EAX),
    ("cpuid_80000021_ecx", 0x80000021, 0, ECX),
    ("cpuid_80000022_eax", 0x80000022, 0, EAX),
)
#: A snapshot's kernel release, and the longest text that it takes.
RELEASE, TEXT_LIMIT = re.compile(r"\d+\.\d+(?:\.\d+)?(?:-rc\d+)?(?:[-+~.].+)?\Z"), 10000
HYPERVISOR = 1 << 31  # CPUID.1:ECX
SRBDS_CTRL, RTM_ALWAYS_ABORT, HYBRID, ARCH_CAPABILITIES_BIT = 1 << 9, 1 << 11, 1 << 15, 1 << 29  # CPUID.7.0:EDX
ARCH_CAPABILITIES, TSX_CTRL_MSR, MCU_OPT_CTRL_MSR = 0x10A, 0x122, 0x123
TSX_CTRL, FB_CLEAR_CTRL, GDS_CTRL = 1 << 7, 1 << 18, 1 << 25  # bits of MSR 0x10a
#: Flags of /proc/cpuinfo that no Linux sets of its own accord; archcaps has the same names.
HONEST_FLAGS = ("vmx", "avx", "rdrand", "hypervisor", "avx2", "rdseed", "md_clear", "flush_l1d", "arch_capabilities")
#: The files of /sys/devices/system/cpu/vulnerabilities that a snapshot may hold.
VULNERABILITIES = (
    "gather_data_sampling", "ghostwrite", "indirect_target_selection", "itlb_multihit", "l1tf", "mds", "meltdown",
    "mmio_stale_data", "old_microcode", "reg_file_data_sampling", "retbleed", "spec_rstack_overflow",
    "spec_store_bypass", "spectre_v1", "spectre_v2", "srbds", "tsa", "tsx_async_abort", "vmscape",
)  # fmt: skip
CONFIG_ITEM = re.compile(
    r"^(?:# )?CONFIG_(CPU_MITIGATIONS|MITIGATION_\w+|KVM|KVM_INTEL|KVM_AMD|X86_INTEL_TSX_MODE_\w+)"
    r"(?:=(.*)| is not set)$",
    re.M,
)
#: The options of the kernel's command line that a rule of archcaps reads; others may hold what is nobody's business.
#: Written by `make docs` from archcaps.machine.cmdline.
OPTIONS = (
    "clearcpuid", "gather_data_sampling", "indirect_target_selection", "kvm.ignore_msrs", "kvm.nx_huge_pages",
    "kvm_intel.ept", "kvm_intel.vmentry_l1d_flush", "l1tf", "mds", "mitigations", "mmio_stale_data", "nofsgsbase",
    "nopcid", "nopti", "nosmap", "nosmep", "nosmt", "nospec_store_bypass_disable", "nospectre_v1", "nospectre_v2",
    "nox2apic", "noxsave", "noxsaveopt", "noxsaves", "pti", "reg_file_data_sampling", "retbleed", "setcpuid",
    "spec_rstack_overflow", "spec_store_bypass_disable", "spectre_bhi", "spectre_v2", "spectre_v2_user", "srbds", "tsa",
    "tsx", "tsx_async_abort", "vmscape",
)  # fmt: skip
WORD = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
#: Machine code for x86-64: void cpuid(uint32_t out[4], uint32_t leaf, uint32_t subleaf).
CPUID_CODE = bytes.fromhex("5389f089d10fa28907895f04894f0889570c5bc3")
# ioctl numbers and layouts: Linux include/uapi/linux/kvm.h, arch/x86/include/uapi/asm/kvm.h
KVM_GET_API_VERSION, KVM_CREATE_VM, KVM_CREATE_VCPU = 0xAE00, 0xAE01, 0xAE41
KVM_GET_SUPPORTED_CPUID, KVM_SET_CPUID2 = 0xC008AE05, 0x4008AE90
KVM_GET_MSR_FEATURE_INDEX_LIST, KVM_GET_MSRS, KVM_SET_MSRS = 0xC004AE0A, 0xC008AE88, 0x4008AE89
KVM_API_VERSION, CPUID_ENTRIES, FEATURE_MSRS = 12, 256, 1024
COUNT, CPUID_ENTRY, ONE_MSR = struct.Struct("=II"), struct.Struct("=7I12x"), struct.Struct("=IIIIQ")

CpuidReader = Callable[[int, int], Tuple[int, ...]]


def probe(
    role: Optional[str] = None, kvm: bool = True, name: bool = True, root: str = "/", full_cmdline: bool = False
) -> Dict[str, Any]:
    """Return the snapshot of this machine. `role` None: a guest where CPUID says hypervisor, else a host.

    Of the kernel's command line the options are kept that rules read; with `full_cmdline` all of it.
    `root` stands before /proc, /sys, /dev and /boot; CPUID is read by instruction only where it is "/".
    """
    found = _Probe(root.rstrip("/"), full_cmdline).snapshot(role, kvm, name)
    # names may hold bytes that are no text
    clean: Dict[str, Any] = json.loads(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8"))
    return clean


def blind() -> str:
    """Return why there is nothing to read here at all, in one line; nothing where there is."""
    system = os.uname()
    ours = system.sysname == "Linux" and system.release
    return "" if ours else f"not even a Linux release can be had here ({system.sysname or 'no name'})"


class _UnusableError(Exception):
    """Something answered, but not as it should."""


class _Probe:
    """One look at the machine: what was found, and why the rest was not."""

    def __init__(self, root: str, full_cmdline: bool = False) -> None:
        self.root = root
        self.full_cmdline = full_cmdline
        self.machine = os.uname().machine
        self.unreadable: Dict[str, str] = {}

    def snapshot(self, role: Optional[str], kvm: bool, name: bool) -> Dict[str, Any]:
        cpuinfo = self.cpuinfo()
        flags = cpuinfo["flags"].split() if "flags" in cpuinfo else None
        virtual = None if flags is None else "hypervisor" in flags
        words = self.cpuid(virtual)
        if words:
            virtual = bool(words["cpuid_1_ecx"] & HYPERVISOR)
        found: Dict[str, Any] = {"format_version": 1, "role": role or ("guest" if virtual else "host")}
        if name:
            found["name"] = os.uname().nodename
        found.update(provenance="observed", source="archcaps probe", cpu=self.cpu(cpuinfo, words, virtual))
        if not words and flags is not None:
            shown = [flag for flag in HONEST_FLAGS if flag in flags]
            found["cpuid"] = {"shown": shown, "complete": False, "source": "archcaps probe: /proc/cpuinfo"}
        registers = dict(words)
        registers.update(self.msrs(words, found["cpu"].get("vendor")))
        found["registers"] = {
            register: {"value": hex(value)}
            for register, value in registers.items()
            if not self.is_failed_read(register, value)
        }
        found["kernel"] = self.kernel()
        found["kvm"] = {"parameters": self.kvm_parameters(found["role"])}
        if kvm:
            found["kvm"].update(_Kvm(self).answers())
        else:
            self.unreadable["kvm"] = "/dev/kvm: not opened, as --no-kvm asks; without that option it would be"
        found["vulnerabilities"] = self.vulnerabilities()
        found["unreadable"] = self.unreadable
        return found

    # --- files -----------------------------------------------------------------------------

    def read(self, path: str, limit: int = 1 << 20) -> str:
        """Return a file's text, at most about `limit` bytes of it."""
        return self.read_bytes(path, limit).decode("utf-8", "replace")

    def read_bytes(self, path: str, limit: int) -> bytes:
        fd = os.open(self.root + path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            data = b""
            while len(data) < limit:
                part = os.read(fd, 1 << 16)
                if not part:
                    break
                data += part
            return data
        finally:
            os.close(fd)

    def pread(self, path: str, size: int, offset: int) -> bytes:
        """Return `size` bytes of a device at `offset`."""
        fd = os.open(self.root + path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            data = os.pread(fd, size, offset)
        finally:
            os.close(fd)
        if len(data) != size:
            raise _UnusableError(f"gives {len(data)} bytes in place of {size}")
        return data

    def lost(self, what: str, where: str, error: Exception, remedy: str) -> None:
        """Note what could not be read, why, and what would make it readable."""
        self.unreadable[what] = f"{where}: {_why(error)}; {remedy}"

    def is_failed_read(self, register: str, value: int) -> bool:
        """Whether a register reads as nothing but ones, which no CPU's register is; it is noted."""
        failed = value == (1 << (64 if register.startswith("ia32_") else 32)) - 1
        if failed:
            self.unreadable[register] = (
                "all ones, which is what a failed read leaves; another way to read it would tell"
            )
        return failed

    # --- CPU -------------------------------------------------------------------------------

    def cpuinfo(self) -> Dict[str, str]:
        """Return the first processor's lines of /proc/cpuinfo."""
        try:
            text = self.read("/proc/cpuinfo", 1 << 14)
        except OSError as error:
            self.lost("cpu", "/proc/cpuinfo", error, "a mounted /proc would tell vendor, family, model and stepping")
            return {}
        lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
        return {key.strip(): value[1:] for key, _, value in lines}  # a vendor may start and end with spaces

    def cpu(self, cpuinfo: Dict[str, str], words: Dict[str, int], virtual: Optional[bool]) -> Dict[str, Any]:
        found: Dict[str, Any] = {}
        if len(cpuinfo.get("vendor_id", " " * 13)) <= 12:
            found["vendor"] = cpuinfo["vendor_id"]
        for key, line, most in (
            ("family", "cpu family", 0x1FF),
            ("model", "model", 0xFF),
            ("stepping", "stepping", 0xF),
        ):
            if re.match(r"[0-9]{1,4}\s*\Z", cpuinfo.get(line, "")):
                if int(cpuinfo[line]) <= most:
                    found[key] = int(cpuinfo[line])
                else:
                    self.unreadable[f"cpu.{key}"] = f"/proc/cpuinfo: {cpuinfo[line].strip()}, and no CPU is over {most}"
        if cpuinfo and "vendor_id" not in cpuinfo:
            self.unreadable["cpu"] = f"/proc/cpuinfo: no x86 CPU ({self.machine}); archcaps knows x86 alone"
        self.microcode(found, cpuinfo, virtual)
        try:
            found["smt_active"] = self.read("/sys/devices/system/cpu/smt/active").strip() == "1"
        except OSError as error:
            self.lost("cpu.smt_active", "/sys/devices/system/cpu/smt/active", error, "Linux 4.19 or newer has it")
        if words.get("cpuid_7_0_edx", 0) & HYBRID:
            try:
                found["core_type"] = self.cpuid_device(0x1A, 0)[EAX] >> 24
            except (OSError, _UnusableError) as error:
                remedy = "root with the cpuid module loaded would ask the first CPU, which Linux goes by"
                self.lost("cpu.core_type", "/dev/cpu/0/cpuid", error, remedy)
        return found

    def microcode(self, found: Dict[str, Any], cpuinfo: Dict[str, str], virtual: Optional[bool]) -> None:
        why = "in a virtual machine the revision is what the VMM made of it; the bare-metal host knows the real one"
        if virtual is None:
            why = "not known whether this is bare metal, where alone the revision is real; CPUID would tell"
        elif not virtual:
            why = "neither in /sys/devices/system/cpu/cpu0/microcode nor in /proc/cpuinfo; Linux's loader would show it"
            try:
                text = self.read("/sys/devices/system/cpu/cpu0/microcode/version")
            except OSError:
                text = cpuinfo.get("microcode", "")
            if re.match(r"0x[0-9a-f]{1,8}\s*\Z", text):
                found["microcode"] = text.strip()
                return
        self.unreadable["cpu.microcode"] = why

    def cpuid(self, virtual: Optional[bool]) -> Dict[str, int]:
        """Return archcaps' words of raw CPUID; nothing where neither way to it works.

        Under a hypervisor that does not trap it, the instruction tells a program other things than the kernel;
        `virtual`, what the kernel says, shows that.
        """
        reasons = []
        for where, read in (("/dev/cpu/0/cpuid", self.cpuid_device), ("the CPUID instruction", self.cpuid_instruction)):
            try:
                words = _words(read)
                if virtual is not None and bool(words["cpuid_1_ecx"] & HYPERVISOR) != virtual:
                    raise _UnusableError("not what the kernel sees")
                return words
            except Exception as error:  # ctypes and its library fail in ways of their own
                reasons.append(f"{where}: {_why(error)}")
        why = ", ".join(reasons) if self.machine in X86 else f"{self.machine} is not x86"
        self.unreadable["cpuid"] = f"no raw CPUID: {why}; root with the cpuid module loaded would read it on x86"
        return {}

    def cpuid_device(self, leaf: int, subleaf: int) -> Tuple[int, ...]:
        return struct.unpack("=4I", self.pread("/dev/cpu/0/cpuid", 16, leaf | subleaf << 32))

    def cpuid_instruction(self, leaf: int, subleaf: int) -> Tuple[int, ...]:
        """Execute CPUID, which every program may."""
        if self.root:
            raise _UnusableError("not used below another root")
        if self.machine != "x86_64" or struct.calcsize("P") != 8:
            raise _UnusableError("only used by 64-bit programs on x86-64")
        import ctypes  # noqa: PLC0415  # not every Python has it

        if ctypes.CDLL(None).syscall(158, 0x1011, 0) == 0:  # arch_prctl(ARCH_GET_CPUID)
            raise _UnusableError("switched off for this process")
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(CPUID_CODE)
        out = (ctypes.c_uint32 * 4)()
        call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32)
        call(ctypes.addressof(ctypes.c_char.from_buffer(page)))(out, leaf, subleaf)
        return tuple(out)

    # --- MSRs ------------------------------------------------------------------------------

    def msrs(self, words: Dict[str, int], vendor: Optional[str]) -> Dict[str, int]:
        """Return the MSRs that CPUID and MSR 0x10a say exist, and that reading does not change."""
        if self.machine not in X86 or vendor == "CentaurHauls":  # 0x10a is another register there
            return {}
        edx = words.get("cpuid_7_0_edx")
        found: Dict[str, int] = {}
        capabilities: Optional[int] = 0
        if edx is None or edx & ARCH_CAPABILITIES_BIT:
            capabilities = self.msr(ARCH_CAPABILITIES, "ia32_arch_capabilities", found)
            if edx is not None and capabilities == 0 and not found:
                why = "reading it faults although CPUID announces it; another VMM or KVM may give it"
                self.unreadable["msr 0x10a"] = f"/dev/cpu/0/msr: {why}"
        unknown = capabilities is None or edx is None
        if unknown or (capabilities or 0) & TSX_CTRL:
            self.msr(TSX_CTRL_MSR, "ia32_tsx_ctrl", found)
        if unknown or (capabilities or 0) & (FB_CLEAR_CTRL | GDS_CTRL) or (edx or 0) & (SRBDS_CTRL | RTM_ALWAYS_ABORT):
            self.msr(MCU_OPT_CTRL_MSR, "ia32_mcu_opt_ctrl", found)
        return found

    def msr(self, number: int, register: str, found: Dict[str, int]) -> Optional[int]:
        """Read an MSR through the msr device; an input or output error means that there is no such MSR."""
        try:
            (value,) = struct.unpack("=Q", self.pread("/dev/cpu/0/msr", 8, number))
        except (OSError, _UnusableError) as error:
            if isinstance(error, OSError) and error.errno == errno.EIO:
                return 0
            remedy = "root with the msr module loaded would read it"
            self.lost(f"msr {number:#x}", "/dev/cpu/0/msr", error, remedy)
            return None
        found[register] = value
        return int(value)

    # --- kernel ----------------------------------------------------------------------------

    def kernel(self) -> Dict[str, Any]:
        found: Dict[str, Any] = {}
        release = os.uname().release
        if RELEASE.match(release):
            found["release"] = release
        else:
            self.unreadable["kernel.release"] = f"uname: {release!r} is no release number; nothing else tells it"
        try:
            found["cmdline"] = self.read("/proc/cmdline").strip()
        except OSError as error:
            self.lost("kernel.cmdline", "/proc/cmdline", error, "a mounted /proc would tell")
        if "cmdline" in found and not self.full_cmdline:
            found["cmdline"], found["options_left_out"] = options_alone(found["cmdline"])
            found["options_sought"] = list(OPTIONS)
        if len(found.get("cmdline", "")) > TEXT_LIMIT:
            found = {key: value for key, value in found.items() if key == "release"}
            self.unreadable["kernel.cmdline"] = f"/proc/cmdline: over {TEXT_LIMIT} characters; a shorter one would do"
        config = self.config(release)
        if config is not None:
            found["config"] = config
        return found

    def config(self, release: str) -> Optional[Dict[str, str]]:
        """Return the items of the kernel's configuration that mitigations depend on."""
        reasons = []
        places = ("/proc/config.gz", f"/boot/config-{release}", f"/lib/modules/{release}/config")
        for path in places:
            try:
                data = self.read_bytes(path, 1 << 22)
                if path.endswith(".gz"):
                    import zlib  # noqa: PLC0415  # not every Python has it

                    data = zlib.decompressobj(31).decompress(data, 1 << 24)
            except Exception as error:  # zlib.error has no name until zlib is there
                reasons.append(f"{path}: {_why(error)}")
                continue
            items = CONFIG_ITEM.findall(data.decode("utf-8", "replace"))
            if items:
                return {item: value.strip('"') or "n" for item, value in items}
            reasons.append(path + ": no configuration")
        why = ", ".join(reasons)
        self.unreadable["kernel.config"] = f"{why}; root, or a kernel with CONFIG_IKCONFIG_PROC, could tell"
        return None

    def vulnerabilities(self) -> Dict[str, Optional[str]]:
        folder = "/sys/devices/system/cpu/vulnerabilities"
        found: Dict[str, Optional[str]] = {}
        try:
            names = sorted(os.listdir(self.root + folder))
        except OSError as error:
            self.lost("vulnerabilities", folder, error, "a mounted /sys and Linux 4.15 or newer would tell")
            return {}
        for name in names:
            if name not in VULNERABILITIES:
                self.unreadable["vulnerabilities " + name] = "this probe does not know that file; a newer one may"
                continue
            found[name] = None
            try:
                found[name] = self.read(folder + "/" + name).strip() or None
                if found[name] is None:
                    why = "empty, which no kernel writes; what is mounted there is not the kernel's own /sys"
                    self.unreadable["vulnerabilities " + name] = folder + "/" + name + ": " + why
            except OSError as error:
                self.lost("vulnerabilities " + name, folder + "/" + name, error, "root would read it")
        return found

    def kvm_parameters(self, role: str) -> Dict[str, str]:
        found = {}
        for full in sorted(glob.glob(glob.escape(self.root) + "/sys/module/kvm*/parameters/*")):
            path = full[len(self.root) :]
            try:
                found[os.path.basename(path)] = self.read(path).strip()
            except OSError as error:
                self.lost(f"kvm.parameters {os.path.basename(path)}", path, error, "root may read it")
        if not found and role == "host":
            self.unreadable["kvm.parameters"] = "/sys/module: none of KVM; with KVM loaded they would be there"
        return found


class _Kvm:
    """What /dev/kvm says it offers, and what a vCPU that never runs takes."""

    def __init__(self, owner: _Probe) -> None:
        self.owner = owner
        self.found: Dict[str, Any] = {}

    def answers(self) -> Dict[str, Any]:
        """Return what KVM answered, as far as it did."""
        if self.owner.machine not in X86:
            self.owner.unreadable["kvm"] = f"/dev/kvm: {self.owner.machine} is not x86; an x86 machine's would tell"
            return {}
        try:
            fd = os.open(self.owner.root + "/dev/kvm", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            self.lost("kvm", error, "root, or a member of its group, would open it where KVM is loaded")
            return {}
        try:
            cpuid = self.system(fd)
            if cpuid is not None:
                self.scratch(fd, cpuid)
        finally:
            os.close(fd)
        return self.found

    def lost(self, what: str, error: Exception, remedy: str) -> None:
        self.owner.lost(what, "/dev/kvm", error, remedy)

    def system(self, fd: int) -> Optional[List[Tuple[int, ...]]]:
        """Note what the device says of itself; return the CPUID entries that it supports."""
        try:
            version = fcntl.ioctl(fd, KVM_GET_API_VERSION, 0)
            if version != KVM_API_VERSION:
                raise _UnusableError(f"says that it has API version {version}, not {KVM_API_VERSION}")
            entries = _supported_cpuid(fd)
        except (OSError, _UnusableError) as error:
            self.lost("kvm", error, "KVM for x86 would answer")
            return None
        answers = {entry[:2]: entry[3:] for entry in entries}
        nothing = (0, 0, 0, 0)
        offered = {name: answers.get((leaf, sub), nothing)[output] for name, leaf, sub, output in WORDS}
        self.found["offered"] = {
            name: {"value": hex(value)} for name, value in offered.items() if not self.owner.is_failed_read(name, value)
        }
        try:
            value = _get_msr(fd, ARCH_CAPABILITIES) if ARCH_CAPABILITIES in _feature_msrs(fd) else None
        except OSError as error:
            self.lost("kvm.offered msr 0x10a", error, "Linux 4.17 or newer tells")
        else:
            if value is None:
                self.owner.unreadable["kvm.offered msr 0x10a"] = "/dev/kvm: not offered; a newer KVM may offer it"
            else:
                self.found["offered"]["ia32_arch_capabilities"] = {"value": hex(value)}
        return entries

    def scratch(self, fd: int, entries: List[Tuple[int, ...]]) -> None:
        """Note what MSR 0x10a is in a new vCPU, and which values it takes without and with its CPUID bit."""
        try:
            machine = fcntl.ioctl(fd, KVM_CREATE_VM, 0)
        except OSError as error:
            remedy = "no other user of the hardware's virtualization, and root, would make it possible"
            self.lost("kvm scratch machine", error, remedy)
            return
        try:
            for number, shown in enumerate((None, False, True)):
                self.scratch_vcpu(machine, number, shown, entries)
        except (OSError, _UnusableError) as error:
            self.lost("kvm scratch machine", error, "a KVM that answers to the end would tell")
        finally:
            os.close(machine)

    def scratch_vcpu(self, machine: int, number: int, shown: Optional[bool], entries: List[Tuple[int, ...]]) -> None:
        """Ask one new vCPU: what it starts with (`shown` None), or what it takes with the CPUID bit or without it."""
        vcpu = fcntl.ioctl(machine, KVM_CREATE_VCPU, number)
        try:
            if shown is None:
                initial = _get_msr(vcpu, ARCH_CAPABILITIES)
                if initial is not None:
                    self.found["vcpu_initial"] = hex(initial)
                return
            _set_cpuid(vcpu, entries, shown)
            offer = self.found["offered"].get("ia32_arch_capabilities")
            offered = int(offer["value"], 16) if offer else 0
            for value in sorted({0, offered, offered & (offered - 1), (1 << 64) - 1}):
                one = {"set": hex(value), "cpuid_arch_capabilities": shown, "accepted": _set_msr(vcpu, value)}
                back = _get_msr(vcpu, ARCH_CAPABILITIES)
                if back is not None:
                    one["get"] = hex(back)
                self.found.setdefault("accepts", []).append(one)
        finally:
            os.close(vcpu)


def _supported_cpuid(fd: int) -> List[Tuple[int, ...]]:
    """Return (leaf, subleaf, flags, eax, ebx, ecx, edx) of everything that KVM can show a guest."""
    data = bytearray(COUNT.pack(CPUID_ENTRIES, 0)) + bytearray(CPUID_ENTRY.size * CPUID_ENTRIES)
    fcntl.ioctl(fd, KVM_GET_SUPPORTED_CPUID, data)
    count = COUNT.unpack_from(data)[0]
    return [
        CPUID_ENTRY.unpack_from(data, COUNT.size + CPUID_ENTRY.size * index)
        for index in range(min(count, CPUID_ENTRIES))
    ]


def _set_cpuid(vcpu: int, entries: List[Tuple[int, ...]], shown: bool) -> None:
    """Give a vCPU what KVM supports, with the bit that announces MSR 0x10a or without it."""
    if not any(entry[:2] == (7, 0) for entry in entries):
        raise _UnusableError("does not support CPUID leaf 7")
    data = bytearray(COUNT.pack(len(entries), 0))
    for entry in entries:
        edx = entry[6]
        if entry[:2] == (7, 0):
            edx = edx | ARCH_CAPABILITIES_BIT if shown else edx & ~ARCH_CAPABILITIES_BIT
        data += CPUID_ENTRY.pack(*entry[:6], edx)
    fcntl.ioctl(vcpu, KVM_SET_CPUID2, data)


def _feature_msrs(fd: int) -> Tuple[int, ...]:
    data = bytearray(struct.pack("=I", FEATURE_MSRS)) + bytearray(4 * FEATURE_MSRS)
    fcntl.ioctl(fd, KVM_GET_MSR_FEATURE_INDEX_LIST, data)
    count = struct.unpack_from("=I", data)[0]
    return struct.unpack_from(f"={min(count, FEATURE_MSRS)}I", data, 4)


def _get_msr(fd: int, number: int) -> Optional[int]:
    """Return an MSR of a vCPU, or of KVM's offer; None where it has none."""
    data = bytearray(ONE_MSR.pack(1, 0, number, 0, 0))
    return int(ONE_MSR.unpack(data)[4]) if fcntl.ioctl(fd, KVM_GET_MSRS, data) == 1 else None


def _set_msr(vcpu: int, value: int) -> bool:
    """Whether the scratch vCPU takes this value for MSR 0x10a."""
    data = bytearray(ONE_MSR.pack(1, 0, ARCH_CAPABILITIES, 0, value))
    return bool(fcntl.ioctl(vcpu, KVM_SET_MSRS, data) == 1)


def options_alone(cmdline: str) -> Tuple[str, int]:
    """Return the words of a command line that hold one of `OPTIONS`, as they stand, and how many others there are.

    Some options are looked for inside quotation marks too, and behind ``--``, which stays: it ends the others.
    """
    words = WORD.findall(cmdline)
    kept = [word for word in words if any(map(_is_option, word.replace('"', " ").split())) or _is_option(word)]
    with_end = [word for word in words if word in kept or (kept and word == "--")]
    return " ".join(with_end), len(words) - len(with_end)


def _is_option(word: str) -> bool:
    return word.replace('"', "").partition("=")[0].replace("-", "_") in OPTIONS


def _words(read: CpuidReader) -> Dict[str, int]:
    """Return archcaps' CPUID words; those past the highest leaf are 0 (Intel answers there for another leaf)."""
    highest = {0: read(0, 0)[EAX], 0x80000000: read(0x80000000, 0)[EAX]}
    if not 0 < highest[0] < 0x10000:
        raise _UnusableError("does not answer like a CPU")
    subleaves = read(7, 0)[EAX] if highest[0] >= 7 else 0
    return {
        name: read(leaf, subleaf)[output]
        if leaf <= highest[leaf & 0x80000000] and (leaf != 7 or subleaf <= subleaves)
        else 0
        for name, leaf, subleaf, output in WORDS
    }


def _why(error: Exception) -> str:
    """Return an error as a few plain words on one line."""
    text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    text = " ".join(text.split()) or type(error).__name__
    return text[:1].lower() + text[1:]


class _Arguments(argparse.ArgumentParser):
    """Wrong usage is one line and exit code 64."""

    def error(self, message: str) -> Any:  # noqa: ANN401  # NoReturn is younger than Python 3.6.1
        plain = message.encode("unicode_escape").decode("ascii")  # an argument may hold what a terminal obeys
        self.exit(USAGE, f"probe: {plain} (--help shows the options)\n")


def main(arguments: Optional[List[str]] = None) -> int:
    """Print the snapshot; return 0, or 1 where not even the kernel's release can be had."""
    parser = _Arguments(prog="probe", allow_abbrev=False, description="Print this machine's snapshot for archcaps.")
    parser.add_argument("--role", choices=("host", "guest"), help="default: guest in a virtual machine, else host")
    parser.add_argument("--no-kvm", action="store_true", help="do not open /dev/kvm")
    parser.add_argument("--no-name", action="store_true", help="leave the host's name out")
    parser.add_argument("--full-cmdline", action="store_true", help="keep kernel options that no rule reads too")
    parser.add_argument("--pretty", action="store_true", help="many lines in place of one")
    parser.add_argument("--root", default="/", metavar="DIR", help="where /proc, /sys, /dev and /boot are")
    given = parser.parse_args(arguments)
    if blind():
        sys.stderr.write(f"probe: {blind()}\n")
        return 1
    found = probe(given.role, not given.no_kvm, not given.no_name, given.root, given.full_cmdline)
    text = json.dumps(found, indent=2 if given.pretty else None) + "\n"
    data = text.encode("ascii")
    try:
        while data:
            data = data[os.write(1, data) :]
    except BrokenPipeError:
        return 141
    except OSError as error:
        sys.stderr.write(f"probe: standard output: {_why(error)}\n")
        return OUTPUT
    return 0


if __name__ == "__main__":
    sys.exit(main())

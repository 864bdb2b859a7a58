"""What a stranger wrote (names, sources, texts, option values, file names) is shown escaped by every command.

The classes of characters are those of the Unicode Standard (general categories Cc, Cf, Cs, Co, Zl, Zp); ESC sequences
are ECMA-48, section 5.4, and 0x9b is their introducer in one character (section 8.3.16).
"""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from archcaps.safe_text import LONGEST, encodable, one_line, visible
from tests.cli.running import COMMAND, ROOT, on_terminal
from tests.faults.hostile import HOSTILE, unsafe

EXAMPLE = ROOT / "examples" / "tsa-no-always"
FORGED = ROOT / "tests" / "faults" / "data" / "text_of_strangers" / "forge.json"


def test_every_character_that_is_obeyed_or_hidden_is_shown_escaped() -> None:
    shown = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if character != "\n" and unicodedata.category(character) in shown:
            assert visible(character).startswith("\\u"), hex(code)
    assert visible("\x1b[31m\n") == "\\u001b[31m\n"
    assert one_line("a\nb") == "a\\u000ab"
    assert visible("\U000e0041") == "\\udb40\\udc41"  # two surrogates, as RFC 8259 writes it
    assert visible("\udc80") == "\\udc80"
    assert visible("Größe 漢字 é | ✓ \u00a0") == "Größe 漢字 é | ✓ \u00a0"


def test_an_overlong_text_is_cut_visibly() -> None:
    text = one_line("a" * 5000 + "end")
    assert len(text) < LONGEST + 50
    assert "(4,004 characters left out)" in text
    assert text.endswith("end")


def test_json_keeps_its_values() -> None:
    written = json.dumps(HOSTILE, ensure_ascii=False)
    assert not unsafe(visible(written))
    assert json.loads(visible(written)) == HOSTILE
    assert json.loads(encodable(visible(json.dumps("é漢😀", ensure_ascii=False)), "ascii")) == "é漢😀"


def hostile(value: Any, seen: list[str]) -> Any:  # noqa: ANN401  # any JSON
    """Return the value with the hostile text in each place where any text may stand."""
    free = ("name", "source", "options_source", "cmdline")
    if isinstance(value, dict):
        return {key: HOSTILE if key in free else hostile(item, seen) for key, item in value.items()}
    return [hostile(item, seen) for item in value] if isinstance(value, list) else value


@pytest.fixture
def machines(tmp_path: Path) -> dict[str, str]:
    """A host and a guest whose every free text is hostile, in a folder that has a hostile name too."""
    folder = tmp_path / "h\x1b[2J\n\u202e"
    folder.mkdir()
    guest = hostile(json.loads(FORGED.read_text(encoding="utf-8")), [])
    guest["vm"]["source"] = guest["cpu"]["source"] = HOSTILE
    guest["vulnerabilities"] = {"tsa": HOSTILE}
    guest["unreadable"] = {HOSTILE: HOSTILE}
    guest["kernel"]["cmdline"] = HOSTILE
    host = dict(guest, role="host", vulnerabilities={}, kvm={"parameters": {HOSTILE: HOSTILE}})
    for machine in (guest, host):
        (folder / f"{machine['role']}.json").write_text(json.dumps(machine), encoding="utf-8")
    (folder / "broken\x9b.json").write_text('{"\x1b[2J\u202e": "\u202e"}', encoding="utf-8")
    (folder / "vm.xml").write_text(
        "<domain type='kvm'><name>\u202e\u200b\u009b2J</name><os><type machine='pc-\u202e'>hvm</type></os>"
        "<cpu mode='custom'><model>\u202e\u009bX</model><feature name='\u200b\u202e' policy='require'/></cpu></domain>",
        encoding="utf-8",
    )
    (folder / "vmi.yaml").write_text(
        'apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstance\nmetadata: {name: "v\\e[2J\\u202e"}\n'
        'spec: {domain: {cpu: {model: "M\\e[2J\\u202e", features: [{name: "\\e[2J", policy: "\\u202e"}]}}}\n',
        encoding="utf-8",
    )
    (folder / "line").write_text(
        "qemu-system-x86_64 -accel kvm -name 'v\x1b[2J\u202e' -cpu 'Haswell,\x1b[2J\u202e=on'\n"
    )
    return {path.name: str(path) for path in folder.iterdir()} | {"out": str(folder)}


COMMANDS: dict[str, list[str]] = {
    "check": ["check", "--host", "{host.json}", "--guest", "{guest.json}", "--all"],
    "check --json": ["check", "--host", "{host.json}", "--guest", "{guest.json}", "--json"],
    "fix": ["fix", "--host", "{host.json}", "--guest", "{guest.json}", "--all"],
    "trace": ["trace", "--host", "{host.json}", "--guest", "{guest.json}"],
    "migrate": ["migrate", "--from", "{host.json}", "--to", "{host.json}", "--guest", "{guest.json}", "--all"],
    "upgrade": ["upgrade", "--host", "{host.json}", "--guest", "{guest.json}", "--kernel", "6.18.30"],
    "shown xml": ["shown", "--guest", "{vm.xml}", "--host", "{host.json}"],
    "shown yaml": ["shown", "--guest", "{vmi.yaml}", "--host", "{host.json}"],
    "shown line": ["shown", "--guest", "{line}", "--host", "{host.json}", "--vmm-version", "10.0.0\x1b[2J"],
    "explain": ["explain", HOSTILE.replace("\0", "")],
    "decode": ["decode", HOSTILE.replace("\0", "")],
    "kernel": ["kernel", "6.1.0-\x1b[2J\u202e"],
    "predict": ["predict", "--kernel", "6.1.0-\x1b[2J\u202e", "--cpu", "6/0x6a/6", "--cmdline", "\x1b[2J"],
    "unknown command": [HOSTILE.replace("\0", "")],
    "unknown option": ["check", "--\x1b[2J\u202e"],
    "no such file": ["check", "--host", "{host.json}", "--guest", "/nowhere/\x1b[2J\n\u202e"],
    "not UTF-8": ["check", "--host", "{host.json}", "--guest", "/nowhere/\udcff\udc9b"],
    "broken": ["check", "--host", "{host.json}", "--guest", "{broken\x9b.json}"],
    "html": ["audit", "{out}", "--format", "html"],
    "probe": ["probe", "--no-kvm", "--quiet", "--output", "/nowhere/\x1b[2J\u202e"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_raw_character_leaves_a_command(name: str, machines: dict[str, str]) -> None:
    arguments = [machines.get(word[1:-1], word) if word.startswith("{") else word for word in COMMANDS[name]]
    done = subprocess.run([COMMAND, *arguments], cwd=ROOT, capture_output=True, check=False)
    for stream in (done.stdout, done.stderr):
        assert unsafe(stream.decode()) == set(), name
    assert b"internal error" not in done.stderr
    if done.returncode >= 64:
        assert len(done.stderr.splitlines()) == 1


def test_a_forged_name_does_not_replace_the_headline() -> None:
    screen = on_terminal("decode", "--color", "1")
    assert "\x1b[1m" in screen  # our own styles still reach a terminal
    done = subprocess.run(
        [COMMAND, "check", "--host", next(EXAMPLE.glob("host*")), "--guest", FORGED, "--color"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("\x1b[1mEXPOSED: data can leak in this guest (tsa).\x1b[0m\n")
    assert "guest: vm\\u001b[5A\\u001b[1G\\u001b[0JTOLD THE TRUTH, AND SAFE.\\u001b[8m, Linux 6.18.9" in " ".join(
        done.stdout.split()
    )


def test_nothing_writes_past_the_one_place() -> None:
    """Commands write through `archcaps.cli.output` alone; progress.py draws on a terminal with words of its own."""
    for path in sorted((ROOT / "src" / "archcaps" / "cli").glob("*.py")):
        if path.name in ("output.py", "progress.py"):
            continue
        text = path.read_text(encoding="utf-8")
        for raw in ("click.echo", "click.secho", " print(", "stdout.write", "stderr.write", "click.style"):
            assert raw not in text, f"{path.name}: {raw}"

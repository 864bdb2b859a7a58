"""The documents say what is so: generated files are fresh, snippets run, nothing unverified is hidden."""

from __future__ import annotations

import doctest
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import jsonschema
import pytest

import archcaps
from archcaps.cli.main import cli
from archcaps.report.json import render
from archcaps.tables.files import read_csv
from tools import generate

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")]
)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.S | re.M)


def test_generated_documents_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.generate", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.returncode) == ("", 0)


def test_a_console_block_gets_the_real_output_and_exit_code() -> None:
    text = "before\n```console\n$ archcaps check \\\n    --flags nosuch\nstale\n# exit code 0\n```\nafter\n"
    line = "archcaps: --flags: unknown bit 'nosuch'"
    filled = generate.with_console_blocks(text)
    assert filled.startswith(f"before\n```console\n$ archcaps check \\\n    --flags nosuch\n{line}")
    assert filled.endswith("\n# exit code 65\n```\nafter\n")
    assert "stale" not in filled


def test_a_console_block_can_be_cut_and_keeps_the_exit_code_of_the_command() -> None:
    command = "archcaps check --host examples/thread/host.toml --guest examples/thread/guest.toml"
    filled = generate.with_console_blocks(f"```console\n$ {command} | head -n 1\n```\n")
    first = "NOT TOLD THE TRUTH, but nothing leaks (mds, mmio_stale_data)."
    assert filled == f"```console\n$ {command} | head -n 1\n{first}\n# exit code 1\n```\n"


def test_other_blocks_are_left_alone() -> None:
    text = "```console\n$ make demo\nanything\n```\n```sh\n$ archcaps check\n```\n"
    assert generate.with_console_blocks(text) == text


def test_documents_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "page.md"
    generate.write(path, "new\n")
    assert path.read_text(encoding="utf-8") == "new\n"
    assert [found.name for found in path.parent.iterdir()] == ["page.md"]


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if blocks(path, "pycon")], ids=name)
def test_python_snippets_give_what_the_text_says(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks(path, "pycon")), {}, name(path), str(path), 0)
    report: list[str] = []
    results = doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert results.attempted > 0
    assert "".join(report) == ""


def test_the_readme_shows_the_two_small_questions() -> None:
    snippets = "".join(blocks(ROOT / "README.md", "pycon"))
    assert "supported_arch_cap" in snippets
    assert "vcpu(0).disable_fb_clear" in snippets


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if blocks(path, "toml")], ids=name)
def test_snapshots_in_documents_can_be_read(path: Path) -> None:
    schema = json.loads((ROOT / "schemas" / "snapshot-1.json").read_text(encoding="utf-8"))
    for block in blocks(path, "toml"):
        archcaps.parse_snapshot(block.encode(), name(path))
        jsonschema.validate(tomllib.loads(block), schema)


def test_an_answer_fits_its_schema() -> None:
    host = archcaps.read_snapshot(ROOT / "examples/thread/host.toml")
    guest = archcaps.read_snapshot(ROOT / "examples/thread/guest.toml")
    schema = json.loads((ROOT / "schemas" / "check-1.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(render(archcaps.check(host, guest))), schema)


def test_every_sub_command_is_documented() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    for command in cli.list_commands(click.Context(cli)):
        assert f"## archcaps {command}\n" in page
        assert f"$ archcaps {command} --help\n" in page


def test_every_example_has_its_line() -> None:
    page = (ROOT / "examples/README.md").read_text(encoding="utf-8")
    for folder in sorted(path.parent.name for path in (ROOT / "examples").glob("*/host*.toml")):
        assert page.count(f"| [{folder}]({folder}) |") == 1


def test_no_unverified_datum_is_hidden() -> None:
    page = (ROOT / "docs/reference/unverified.md").read_text(encoding="utf-8")
    bits = (ROOT / "docs/reference/bits.md").read_text(encoding="utf-8")
    for row in read_csv("bits.csv"):
        if row["status"] == "unverified":
            assert f"| bit `{row['name']}` |" in page
            assert re.search(rf"^\| {row['bit']} \| `{row['name']}` \|.*\*\*UNVERIFIED\.\*\* ", bits, re.M)
    for row in read_csv("silicon/parts.csv"):
        if row["status"] == "unverified":
            assert row["source"] in page
    for row in read_csv("silicon/unverified.csv"):
        assert f"| `{row['name']}` |" in page


@pytest.mark.parametrize("path", sorted((ROOT / "src/archcaps/tables").rglob("*.csv")), ids=lambda path: path.name)
def test_the_word_unverified_in_a_table_is_in_the_documents(path: Path) -> None:
    page = (ROOT / "docs/reference/unverified.md").read_text(encoding="utf-8")
    for row in read_csv(str(path.relative_to(ROOT / "src/archcaps/tables"))):
        for cell in row.values():
            assert "UNVERIFIED" not in cell or cell in page


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (path.parent / target).exists(), target

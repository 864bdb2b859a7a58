"""The HTML report in a real browser: no error, no network, and the numbers of the Parquet files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import duckdb
import msgspec
import pytest

from archcaps.errors import InputError
from archcaps.fleet.audit import audit
from archcaps.fleet.inventory import find
from archcaps.fleet.results import AuditResult
from archcaps.fleet.sample import sample_fleet
from archcaps.report.html import render_html, write_html

CHROMIUM = shutil.which("chromium")
#: Every name is looked up in vain: the page must do without a network.
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr", "--log-level=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[AuditResult, Path]:
    folder = tmp_path_factory.mktemp("report")
    sample_fleet(folder, 5_000, hosts=100)
    result = audit(find(str(folder)), folder / "out").result
    write_html(result, folder / "report.html")
    return result, folder


def browse(page: Path, profile: Path) -> tuple[str, list[str]]:
    """Return the page as the browser made it, and what its console said."""
    if CHROMIUM is None:
        pytest.skip("no Chromium (Debian package chromium: make debian)")
    done = subprocess.run(
        [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "HOME": str(profile)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_the_browser_shows_the_numbers_and_complains_of_nothing(
    report: tuple[AuditResult, Path], tmp_path: Path
) -> None:
    _, folder = report
    document, console = browse(folder / "report.html", tmp_path)
    assert console == []
    shown = dict(re.findall(r'data-verdict="(\w+)">([\d,]+)<', document))
    rows = duckdb.execute(f"SELECT verdict, count(*) FROM '{folder}/out/verdicts.parquet' GROUP BY ALL").fetchall()
    assert {name: int(text.replace(",", "")) for name, text in shown.items() if text != "0"} == dict(rows)
    heat = re.search(r'<table class="heat">.*?</table>', document, re.S)
    assert heat is not None
    cells = [int(text.replace(",", "")) for text in re.findall(r"<small>([\d,]+)</small>", heat[0])]
    assert sum(cells) == sum(count for _, count in rows)


def test_what_a_console_says_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<script>console.error("told")</script><img src="https://example.org/x.png">')
    _, console = browse(page, tmp_path / "profile")
    assert any("told" in line for line in console)


def test_the_document_stands_alone(report: tuple[AuditResult, Path]) -> None:
    _, folder = report
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe)\b|url\(|https?://", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    for table in re.findall(r"<table.*?</table>", text, re.S):
        assert "<th scope=" in table
    assert unescape(re.findall(r"<title>(.*?)</title>", text)[0]).startswith("archcaps audit: ")


def test_hostile_names_are_only_text(report: tuple[AuditResult, Path]) -> None:
    result, _ = report
    group = msgspec.structs.replace(result.by_host[0], name="<script>alert(1)</script>")
    text = render_html(msgspec.structs.replace(result, by_host=[group]))
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_a_report_that_can_not_be_written_is_one_line(report: tuple[AuditResult, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere/report\.html: can not be written"):
        write_html(report[0], tmp_path / "nowhere" / "report.html")

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
from archcaps.tables.names import VULNERABILITIES

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
    result = audit(find(str(folder)), folder / "out", cures=True).result
    write_html(result, folder / "report.html")
    return result, folder


def browse(page: Path, profile: Path, *options: str) -> tuple[str, list[str]]:
    """Return the page as the browser made it, and what its console said."""
    if CHROMIUM is None:
        pytest.skip("no Chromium (Debian package chromium: make debian)")
    done = subprocess.run(
        [CHROMIUM, *OPTIONS, *options, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, check=False, env={**os.environ, "HOME": str(profile)},
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


def test_the_browser_shows_what_mends_the_worst_and_what_to_collect(
    report: tuple[AuditResult, Path], tmp_path: Path
) -> None:
    result, folder = report
    document, _ = browse(folder / "report.html", tmp_path)
    shown = [re.findall(r"<p>(.*?)</p>", block) for block in re.findall(r'<div class="cure .*?</div>', document, re.S)]
    assert len(shown) == len(result.worst) == 6
    for one, sentences in zip(result.worst, shown, strict=True):
        assert one.cure is not None
        said = unescape(" ".join(sentences))
        assert all(step.what in said and step.owner in said for step in one.cure.changes)
        assert all(name in said for name in one.cure.remains) or not one.cure.changes
        assert ("No cure" in said) is (not one.cure.changes)
    (covered,) = re.findall(r'<p id="coverage">Of ([\d,]+) guests in ([\d,]+) classes', document)
    still_open = " OR ".join(f"{name}_{question} = 'undecided'" for name in VULNERABILITIES
                             for question in ("truth", "safety", "host_safety"))  # fmt: skip
    rows = duckdb.execute(f"SELECT sum(guests), count(*) FROM '{folder}/out/classes.parquet' WHERE {still_open}")
    assert tuple(int(number.replace(",", "")) for number in covered) == rows.fetchone()
    table = re.search(r'aria-labelledby="collect".*?</table>', document, re.S)
    assert table is not None
    assert len(re.findall(r"<tr><th scope=.row.>", table[0])) == len(result.collect)


#: Notes in the title how wide the page is, and the least contrast of a text to what is behind it (WCAG 2's formula).
MEASURE = """<script>
const numbers = text => { const found = text.match(/[0-9.]+/g).map(Number);
  return text.startsWith("color(") ? found.slice(0, 3) : found.slice(0, 3).map(each => each / 255); };
const light = colour => numbers(colour).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = element => { const own = getComputedStyle(element).backgroundColor;
  return own === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : own; };
let least = 99;
for (const element of document.querySelectorAll("td, th, small, p, dt, dd, strong, .tag, .soft, caption span")) {
  const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
  least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
}
document.title = [document.documentElement.scrollWidth, innerWidth, least.toFixed(2)].join(" ");
</script></body>"""


@pytest.mark.parametrize("scheme", ["0", "1"], ids=["dark", "light"])
@pytest.mark.parametrize("width", [500, 1280])
def test_the_page_fits_and_can_be_read(
    report: tuple[AuditResult, Path], tmp_path: Path, width: int, scheme: str
) -> None:
    _, folder = report
    page = tmp_path / "measured.html"
    page.write_text((folder / "report.html").read_text().replace("</body>", MEASURE))
    options = (f"--window-size={width},1000", f"--blink-settings=preferredColorScheme={scheme}", "--hide-scrollbars")
    document, console = browse(page, tmp_path / "profile", *options)
    assert console == []
    (title,) = re.findall("<title>(.*?)</title>", document)
    wide, inner, contrast = title.split()
    assert int(wide) <= int(inner) == width
    assert float(contrast) >= 4.5


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
    with pytest.raises(InputError, match=r"nowhere/report\.html: cannot be written"):
        write_html(report[0], tmp_path / "nowhere" / "report.html")

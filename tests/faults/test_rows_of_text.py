"""CSV (RFC 4180) and NDJSON inventories: every row is judged, or set aside with its line."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from archcaps.errors import InputError
from archcaps.fleet.audit import audit
from archcaps.fleet.inventory import find
from archcaps.fleet.results import AuditResult

HOSTS = "host_id,vendor,family,model,stepping,kernel\nh,GenuineIntel,6,106,6,6.12.117\n"
HEADER = "guest_id,host_id,vendor,family,model,stepping,kernel,cmdline\n"
CPU = "GenuineIntel,6,106,6,6.12.117"
ROW = {"host_id": "h", "vendor": "GenuineIntel", "family": 6, "model": 106, "stepping": 6, "kernel": "6.12.117"}


def asked(folder: Path, guests: str | bytes, kind: str = "csv", hosts: str = HOSTS) -> AuditResult:
    (folder / "hosts.csv").write_text(hosts)
    data = guests.encode() if isinstance(guests, str) else guests
    (folder / f"guests.{kind}").write_bytes(data)
    return audit(find(None, str(folder / "hosts.csv"), str(folder / f"guests.{kind}")), folder / "out").result


def aside(result: AuditResult) -> dict[str, str]:
    """Each reason with the line of its example."""
    return {one.reason: one.example.rpartition(":")[2] for one in result.rejected}


def judged(folder: Path) -> set[str]:
    rows = duckdb.execute(f"SELECT guest_id FROM '{folder}/out/verdicts.parquet'").fetchall()
    return {name for (name,) in rows}


def test_rows_that_are_none_are_set_aside_and_the_others_judged(tmp_path: Path) -> None:
    guests = (
        (HEADER + f"a,h,{CPU},\n"
         "short,h\n"
         f"long,h,{CPU},,,\n"
         f'late,h,{CPU},"x ""y"", z"\n'
         f'lines,h,{CPU},"one\ntwo"\n'
         f'inside,h,{CPU},x"y\n'
         f'open,h,{CPU},"never\n'
         f"after,h,{CPU},\n"
         "\n").encode()
        + b"latin,h,GenuineIntel,6,106,6,6.12.117,\xe9\n" + f"# no comment,h,{CPU},\n#id,h,{CPU},\n".encode()
    )  # fmt: skip
    result = asked(tmp_path, guests)
    assert judged(tmp_path) == {"a", "late", "lines", "after", "# no comment", "#id"}
    assert aside(result) == {
        "2 fields (expected 8, as the header has)": "3",
        "10 fields (expected 8, as the header has)": "4",
        "a quotation mark inside a field (expected the field in such marks, each in it doubled)": "8",
        "a quotation mark that is never closed": "9",
        "not UTF-8 (byte 39 of the line)": "12",
    }


def test_two_exports_put_together(tmp_path: Path) -> None:
    """The second header is a row like any other, and names no host."""
    result = asked(tmp_path, HEADER + f"a,h,{CPU},\n" + HEADER + f"b,h,{CPU},\n")
    assert judged(tmp_path) == {"a", "b"}
    assert [one.rows for one in result.rejected] == [1]


def test_two_quotation_marks_are_the_empty_text_and_nothing_is_null(tmp_path: Path) -> None:
    """A command line that is known to be empty is another class than one that nobody knows."""
    result = asked(tmp_path, HEADER + f'empty,h,{CPU},""\nnull,h,{CPU},\n')
    assert result.classes == 2


def test_a_byte_order_mark_and_carriage_returns(tmp_path: Path) -> None:
    text = HEADER + f"a,h,{CPU},\nb,h,{CPU},\n"
    result = asked(tmp_path, b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert (result.guests, result.rejected) == (2, [])


@pytest.mark.parametrize(
    ("header", "said"),
    [("guest_id,host_id,kernel,kernel\n", "two columns are called 'kernel'"), ("", "empty"),
     ("guest,host_id,kernel\n", "no column guest_id")],
)  # fmt: skip
def test_a_header_that_is_none(tmp_path: Path, header: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        asked(tmp_path, header)


def test_a_column_that_may_be_misspelt_is_told(tmp_path: Path) -> None:
    result = asked(tmp_path, HEADER.replace("cmdline", "cmdlin").replace("stepping", "colour") + f"a,h,{CPU},\n")
    assert [(one.column, one.nearest) for one in result.passed_over] == [("cmdlin", "cmdline"), ("colour", "")]


def test_lines_of_json_that_are_none_are_set_aside(tmp_path: Path) -> None:
    good = [json.dumps({"guest_id": name, **ROW}) for name in ("a", "b")]
    lines = [
        b"\xef\xbb\xbf{broken", good[0].encode(), b'{"guest_id": "\xff"}', b"[" * 5_000,
        b'{"guest_id": ' + b"1" * 5_000 + b"}", b'{"guest_id": "c", "guest_id": "d"}', b'"text"', b'{"guest_id": NaN}',
        b'{"guest_id": "\\ud800"}', good[1].encode(),
    ]  # fmt: skip
    result = asked(tmp_path, b"\n".join(lines), "ndjson")
    assert judged(tmp_path) == {"a", "b"}
    assert sum(one.rows for one in result.rejected) == len(lines) - 2
    assert {"the key 'guest_id' is there twice", "broken JSON: nested too deeply"} <= aside(result).keys()


def test_an_id_may_be_nought(tmp_path: Path) -> None:
    guest = {"format_version": 1, "role": "guest", "name": "g", "provenance": "published", "source": "s", "host": "h"}
    lines = [json.dumps({**guest, "id": 0}), json.dumps({**guest, "id": True}), json.dumps(guest)]
    result = asked(tmp_path, "\n".join(lines), "ndjson")
    assert judged(tmp_path) == {"0", "g"}
    assert aside(result) == {"id: expected a text": "2"}


def test_what_kubectl_prints_is_told_from_an_inventory(tmp_path: Path) -> None:
    listed = json.dumps({"apiVersion": "v1", "items": [], "kind": "List"}, indent=1)
    with pytest.raises(InputError, match="what kubectl prints is no inventory"):
        asked(tmp_path, listed, "json")


def test_hosts_without_ids_are_the_hosts_fault(tmp_path: Path) -> None:
    (tmp_path / "hosts.json").write_text('{"kernel": "6.12.117"}\n')
    (tmp_path / "guests.csv").write_text(HEADER + f"a,h,{CPU},\n")
    with pytest.raises(InputError, match=r"hosts\.json: no column host_id"):
        audit(find(None, str(tmp_path / "hosts.json"), str(tmp_path / "guests.csv")), None)

"""Inventories that somebody else made, paths and sizes with quotation marks, folders that anybody may write to.

Nothing in them reaches a file but the inventory's own, becomes SQL, or is believed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import duckdb
import pytest

from archcaps.errors import InputError
from archcaps.fleet.audit import audit
from archcaps.fleet.engine import Settings
from archcaps.fleet.inventory import find
from archcaps.fleet.sample import sample_fleet


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    sample_fleet(folder, 200, hosts=20)
    return folder


def database(fleet: Path, path: Path, guests: str) -> Path:
    """Write a DuckDB database with the fleet's hosts, and what `guests` makes."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"CREATE TABLE hosts AS FROM '{fleet}/hosts.parquet'")
        connection.execute(f"CREATE TABLE guests_ AS FROM '{fleet}/guests.parquet'")
        connection.execute(guests)
    return path


def test_a_view_is_refused_unless_it_is_asked_for(fleet: Path, tmp_path: Path) -> None:
    path = database(fleet, tmp_path / "views.duckdb", "CREATE VIEW guests AS FROM guests_")
    with pytest.raises(InputError, match="guests is a view"):
        audit(find(str(path)), None)
    assert audit(find(str(path), views=True), None).result.guests == 200


def test_a_view_that_is_asked_for_reads_no_other_file(fleet: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("a secret")
    leak = f"SELECT content AS guest_id, 'host-0' AS host_id FROM read_text('{tmp_path}/secret.txt')"
    path = database(fleet, tmp_path / "leak.duckdb", f"CREATE VIEW guests AS {leak} UNION ALL BY NAME FROM guests_")
    for views in (False, True):
        with pytest.raises(InputError) as refused:
            audit(find(str(path), views=views), tmp_path / "out")
        assert "a secret" not in str(refused.value)


def test_columns_that_are_worked_out_are_refused(fleet: Path, tmp_path: Path) -> None:
    made = (
        "CREATE TABLE guests (guest_id VARCHAR, host_id VARCHAR, kernel VARCHAR GENERATED ALWAYS AS (guest_id || '1'))"
    )
    with pytest.raises(InputError, match="columns that are worked out"):
        audit(find(str(database(fleet, tmp_path / "made.duckdb", made))), None)


def test_a_size_is_no_sql(fleet: Path, tmp_path: Path) -> None:
    memory = f"1GB'; COPY (SELECT 1) TO '{tmp_path}/written"
    with pytest.raises(InputError, match="--memory"):
        audit(find(str(fleet)), None, settings=Settings(memory=memory))
    assert list(tmp_path.iterdir()) == []


def test_names_with_quotation_marks_and_signs_of_patterns(
    fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / 'it\'s [1]*? "x"'
    shutil.copytree(fleet, odd)
    monkeypatch.setattr("tempfile.tempdir", str(odd))
    assert audit(find(str(odd)), odd / "o'ut").result.guests == 200
    assert audit(find(None, str(odd / "hosts.parquet"), str(odd / "guests.parquet")), None).result.guests == 200
    split = tmp_path / "parts [1]"
    (split / "hosts").mkdir(parents=True)
    (split / "guests").mkdir()
    for role in ("hosts", "guests"):
        shutil.copy(fleet / f"{role}.parquet", split / role / "a.parquet")
    assert audit(find(str(split)), None).result.guests == 200


def test_a_folders_name_is_no_column(fleet: Path, tmp_path: Path) -> None:
    """Another kernel in a folder's name changes no verdict."""
    named = tmp_path / "kernel=6.18.35"
    shutil.copytree(fleet, named)
    assert audit(find(str(named)), None).result.verdicts == audit(find(str(fleet)), None).result.verdicts


def folder_of(fleet: Path, out: Path) -> Path:
    """Return the folder that a run on the fleet works in below `out`."""
    found: list[Path] = []

    def look(_phase: str, _done: float) -> None:
        found.extend(path for path in out.glob(".audit-*") if path not in found)

    audit(find(str(fleet)), out, progress=look)
    return found[0]


def test_a_work_folder_of_others_is_not_believed(fleet: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    work = folder_of(fleet, out)
    work.mkdir(mode=0o700)
    work.chmod(0o777)
    with pytest.raises(InputError, match="not a folder of this user alone"):
        audit(find(str(fleet)), out)
    work.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    work.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="not a folder of this user alone"):
        audit(find(str(fleet)), out)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_work_folder_is_this_users_alone(fleet: Path, tmp_path: Path) -> None:
    modes: set[int] = set()

    def look(_phase: str, _done: float) -> None:
        modes.update(path.stat().st_mode & 0o777 for path in tmp_path.glob(".audit-*"))

    before = os.umask(0)
    try:
        audit(find(str(fleet)), tmp_path, progress=look)
    finally:
        os.umask(before)
    assert modes == {0o700}


@pytest.mark.parametrize("when", ["judging", "writing classes"])
def test_an_inventory_that_changes_meanwhile_is_an_error(fleet: Path, tmp_path: Path, when: str) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    shutil.copytree(fleet, own)
    sample_fleet(other, 100, hosts=20)

    def replace(phase: str, _done: float) -> None:
        if phase == when and (other / "guests.parquet").exists():
            (other / "guests.parquet").replace(own / "guests.parquet")

    with pytest.raises(InputError):
        audit(find(str(own)), tmp_path / "out", progress=replace)
    assert not (tmp_path / "out" / "verdicts.parquet").exists()


def test_tables_that_only_spark_reads_are_told(tmp_path: Path) -> None:
    (tmp_path / "guests.parquet" / "_delta_log").mkdir(parents=True)
    with pytest.raises(InputError, match=r"Delta Lake.*--engine spark"):
        find(None, str(tmp_path / "guests.parquet"), str(tmp_path / "guests.parquet"))
    for url in ("s3://bucket/fleet", "s3://bucket/hosts.parquet"):
        with pytest.raises(InputError, match="--engine spark"):
            audit(find(None, url, url), None)

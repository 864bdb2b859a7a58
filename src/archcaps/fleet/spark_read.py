"""An inventory's tables as Spark reads them: each column as a row has it, and which values cannot be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.types import StringType, StructField, StructType

from archcaps.errors import InputError
from archcaps.fleet.columns import bad_values, check, normal, passed_over
from archcaps.fleet.dialects import SPARK
from archcaps.fleet.inventory import IDS, Source
from archcaps.fleet.results import PassedOver
from archcaps.fleet.text_rows import TextFile, text_rows
from archcaps.machine.row import COLUMNS

__all__ = ["rows_of_source"]

#: Spark's types in DuckDB's words; Parquet's UINT_64 is a DECIMAL(20,0) to Spark.
_TYPES: Final = {
    "string": "VARCHAR", "boolean": "BOOLEAN", "tinyint": "TINYINT", "smallint": "SMALLINT", "int": "INTEGER",
    "bigint": "BIGINT", "float": "FLOAT", "double": "DOUBLE", "decimal(20,0)": "UBIGINT", "void": "NULL",
}  # fmt: skip
_TEXT: Final = re.compile(r"(var)?char\([0-9]+\)")
#: A field with a line break is read whole, and a broken line ends the matter, as with DuckDB.
_CSV: Final = {"header": True, "inferSchema": False, "escape": '"', "multiLine": True, "mode": "FAILFAST"}
#: What Spark reads as null; were it the empty text, "" would be null too. Two noncharacters, as no text has them.
_NOTHING: Final = "\ufffe\uffff"

Rejected = tuple[str, str, str]


def rows_of_source(
    session: SparkSession, source: Source, work: Path
) -> tuple[DataFrame, list[str], list[Rejected], list[PassedOver]]:
    """Return a source's rows (ids, the columns found, and `bad`, which cannot be read), its columns, and bad lines.

    And the columns that are passed over.

    A bad line is told as role, place and reason. The rows are persisted where texts had to be read as numbers.

    Raises:
        InputError: a column that must be there is not, or one has a type that cannot be read.
    """
    rejected: list[Rejected] = []
    raw, names = _relation(session, source, work, rejected)
    types = {field.name: _type(field.dataType.simpleString()) for field in raw.schema.fields}
    if names is not None:
        types = {name: types.get(name, "VARCHAR") for name in names}
    others = passed_over(source, types)
    columns = check(source, types)
    texts = [name for name in columns if types[name] == "VARCHAR" and COLUMNS[source.role][name] == "BIGINT"]
    raw = _numbers(raw, texts)
    types |= dict.fromkeys(texts, "UBIGINT")
    ids = [f"{SPARK.text(SPARK.quoted(name))} AS {name}" for name in IDS[source.role]]
    values = [f"{normal(source, name, types[name], SPARK)} AS {name}" for name in columns]
    bad = f"{bad_values(source, columns, types, SPARK)} AS bad"
    rows = raw.selectExpr(*ids, *values, bad)
    # Kept, texts are read once; and Spark does not put the reading into every condition on what was read.
    return rows.persist() if texts else rows, columns, rejected, others


def _numbers(frame: DataFrame, names: list[str]) -> DataFrame:
    """Turn texts into numbers, in steps: Spark computes an expression once for every time that it is mentioned."""
    if not names:
        return frame
    stripped = frame.withColumns({name: f.expr(SPARK.stripped(SPARK.quoted(name))) for name in names})
    return stripped.withColumns({name: f.expr(SPARK.number(SPARK.quoted(name))) for name in names})


def _type(name: str) -> str:
    return "VARCHAR" if _TEXT.fullmatch(name) else _TYPES.get(name, name.upper())


def _relation(
    session: SparkSession, source: Source, work: Path, rejected: list[Rejected]
) -> tuple[DataFrame, list[str] | None]:
    """Return the rows, and the columns that occur where a file of text says so."""
    paths = [address(path) for path in source.paths]
    if source.format == "spark":
        return session.table(source.table), None
    if source.format == "parquet":
        # Folders that are called column=value are folders: a column of the file is what the file says.
        return session.read.option("mergeSchema", True).option("recursiveFileLookup", True).parquet(*paths), None
    if source.format == "duckdb":
        raise InputError(
            "a DuckDB database is read by DuckDB only (--engine duckdb, or export it as Parquet)", source.where
        )
    if "://" in source.paths[0]:
        if source.format == "csv":
            return _by_name(session, paths), None
        return session.read.schema(_schema(source.columns)).json(paths, mode="FAILFAST"), None
    found = text_rows(source, work)
    rejected += [(line.role, line.where, line.reason) for line in found.bad]
    names = list(dict.fromkeys(name for file in found.files for name in file.columns))
    if source.format == "csv":
        frames = [_clean_csv(session, source, file) for file in found.files]
        return reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), frames), names
    return session.read.schema(_schema(source.columns)).json(address(found.files[0].path), mode="FAILFAST"), names


def _clean_csv(session: SparkSession, source: Source, file: TextFile) -> DataFrame:
    """Return the rows of a file without a header, of which every row is one, with the columns that are read."""
    names = [name if name in source.columns else f"other {number}" for number, name in enumerate(file.columns)]
    schema = StructType([StructField(name, StringType()) for name in names])
    options = {"header": False, "escape": '"', "quote": '"', "multiLine": True, "emptyValue": "", "nullValue": _NOTHING}
    found = session.read.schema(schema).csv(address(file.path), mode="FAILFAST", **options)  # type: ignore[arg-type]  # options of several types
    return found.select(*(name for name in names if name in source.columns))


def address(path: str) -> str:
    """Return a file's address; a name of this machine is no pattern, whatever characters it has."""
    if "://" in path:
        return path
    return "file://" + re.sub(r"([\\*?\[\]{}])", r"\\\1", str(Path(path).absolute()))


def _schema(names: Sequence[str]) -> str:
    return ", ".join(f"{name} STRING" for name in names)


def _by_name(session: SparkSession, paths: list[str]) -> DataFrame:
    """Return the rows of CSV files with their columns put together by name: Spark itself goes by their places."""
    by_header: dict[tuple[str, ...], list[str]] = {}
    for path in paths:
        by_header.setdefault(tuple(session.read.csv(path, **_CSV).columns), []).append(path)  # type: ignore[arg-type]  # options of several types
    frames = [session.read.csv(files, **_CSV) for files in by_header.values()]  # type: ignore[arg-type]  # options of several types
    return reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), frames)

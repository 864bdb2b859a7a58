"""The SQL in which each engine turns a column of another type into a row's; null where a value cannot be read."""

from __future__ import annotations

from typing import Final, Protocol

from archcaps.machine.cmdline import KEPT, LONGEST, NAMES, OPTION_WORD, WORD

__all__ = ["DUCKDB", "SPARK", "Dialect"]

_MAX: Final = (1 << 63) - 1
_ALL: Final = 1 << 64
#: A number in a text: decimal, or 0x and hexadecimal digits.
_NUMBER: Final = r"\s*(-?[0-9]{1,20}|0[xX][0-9a-fA-F]{1,16})\s*"


class Dialect(Protocol):
    """Expressions over a column that is named by `column`, as SQL writes it."""

    #: Whether a column of unsigned 64-bit integers may hold a number that is none.
    unsigned_may_fail: bool

    def quoted(self, name: str) -> str:
        """Return a column's name as SQL writes it."""

    def text(self, column: str) -> str:
        """Return a number or JSON as text."""

    def unsigned(self, column: str) -> str:
        """Return an unsigned 64-bit number in two's complement."""

    def of_real(self, column: str, *, decimal: bool) -> str:
        """Return a whole number that a real or decimal one is."""

    def of_text(self, column: str) -> str:
        """Return the number that a text says, in decimal or 0x and hexadecimal digits, in two's complement."""

    def truth(self, column: str, *, text: bool) -> str:
        """Return the boolean that a text or a whole number says."""

    def null(self, wanted: str) -> str:
        """Return null as the type `wanted`."""

    def options_alone(self, column: str) -> str:
        """Return a command line without what no rule reads: `archcaps.machine.cmdline.options_alone`."""


class _DuckDb:
    unsigned_may_fail = False

    def quoted(self, name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    def text(self, column: str) -> str:
        return f"CAST({column} AS VARCHAR)"

    def unsigned(self, column: str) -> str:
        return (
            f"CASE WHEN {column} <= {_MAX} THEN CAST({column} AS BIGINT) "
            f"ELSE CAST(CAST({column} AS HUGEINT) - {_ALL} AS BIGINT) END"
        )

    def of_real(self, column: str, *, decimal: bool) -> str:
        del decimal
        return f"CASE WHEN {column} = floor({column}) THEN TRY_CAST({column} AS BIGINT) END"

    def of_text(self, column: str) -> str:
        number = f"coalesce({self.unsigned(f'TRY_CAST({column} AS UBIGINT)')}, TRY_CAST({column} AS BIGINT))"
        # A cast alone would round 6.5, and read 1e3.
        return f"CASE WHEN regexp_full_match({column}, '{_NUMBER}') THEN {number} END"

    def truth(self, column: str, *, text: bool) -> str:
        del text
        return f"TRY_CAST({column} AS BOOLEAN)"

    def null(self, wanted: str) -> str:
        return f"CAST(NULL AS {wanted})"

    def options_alone(self, column: str) -> str:
        kept = f"regexp_matches(replace(word, '\"', ''), '{KEPT}')"
        words = f"list_filter(regexp_extract_all({column}, '{WORD}'), lambda word: {kept})"
        # A pattern that begins with one character is looked for five times as fast as `OPTION_WORD`.
        odd = " OR ".join(f"contains({column}, chr({code}))" for code in (ord('"'), *range(ord("\t"), ord("\r") + 1)))
        first = f"NOT starts_with({column}, 'BOOT_IMAGE=') AND regexp_matches({column}, '^({NAMES})')"
        maybe = f"{odd} OR strlen({column}) <> length({column}) OR regexp_matches({column}, ' ({NAMES})') OR ({first})"
        some = f"regexp_matches(replace({column}, '\"', ''), '{OPTION_WORD}')"
        return _options_alone(maybe, some, f"strlen({column}) > {LONGEST}", column, f"array_to_string({words}, ' ')")


class _Spark:
    """Spark's SQL, reading what DuckDB reads.

    Spark has no unsigned integers: Parquet's UINT_64 is read as DECIMAL(20,0), which may also be a decimal.
    """

    unsigned_may_fail = True

    def quoted(self, name: str) -> str:
        return "`" + name.replace("`", "``") + "`"

    def text(self, column: str) -> str:
        return f"CAST({column} AS STRING)"

    def unsigned(self, column: str) -> str:
        return (
            f"CASE WHEN {column} BETWEEN -{_MAX + 1}BD AND {_MAX}BD THEN CAST({column} AS BIGINT) "
            f"WHEN {column} BETWEEN {_MAX + 1}BD AND {_ALL - 1}BD "
            f"THEN CAST(CAST({column} AS DECIMAL(38,0)) - {_ALL}BD AS BIGINT) END"
        )

    def of_real(self, column: str, *, decimal: bool) -> str:
        whole = f"floor({column})" if decimal else f"rint({column})"
        end = "BD" if decimal else "D"
        # To Spark NaN equals itself and is above every number, so the upper bound refuses it too.
        return (
            f"CASE WHEN {column} = {whole} AND {column} >= -{_MAX + 1}{end} AND {column} < {_MAX + 1}{end} "
            f"THEN CAST({column} AS BIGINT) END"
        )

    def of_text(self, column: str) -> str:
        return self.unsigned(f"({self.number(self.stripped(column))})")

    def stripped(self, column: str) -> str:
        """Return a text without the blanks around it; empty: null."""
        return f"trim(BOTH {_SPACE} FROM nullif({column}, ''))"

    def number(self, stripped: str) -> str:
        """Return the DECIMAL(38,0) that a text says once it is stripped; one that fits no word where it says none."""
        return (
            f"CASE WHEN {stripped} IS NULL THEN NULL "
            f"WHEN {stripped} RLIKE '^-?[0-9]{{1,20}}$' "
            f"THEN coalesce(TRY_CAST({stripped} AS DECIMAL(38,0)), {_NONE}) "
            f"WHEN {stripped} RLIKE '^0[xX][0-9a-fA-F]{{1,16}}$' THEN {_hexadecimal(stripped)} ELSE {_NONE} END"
        )

    def truth(self, column: str, *, text: bool) -> str:
        if not text:
            return f"({column} <> 0)"
        return (
            f"CASE WHEN lower({column}) IN ('true', 't', 'yes', 'y', '1') THEN true "
            f"WHEN lower({column}) IN ('false', 'f', 'no', 'n', '0') THEN false END"
        )

    def null(self, wanted: str) -> str:
        return f"CAST(NULL AS {'STRING' if wanted == 'VARCHAR' else wanted})"

    def options_alone(self, column: str) -> str:
        words = f"filter(regexp_extract_all({column}, '{WORD}', 0), word -> replace(word, '\"', '') RLIKE '{KEPT}')"
        maybe = f"{column} RLIKE '\"|{OPTION_WORD}'"
        some = f"replace({column}, '\"', '') RLIKE '{OPTION_WORD}'"
        return _options_alone(maybe, some, f"octet_length({column}) > {LONGEST}", column, f"array_join({words}, ' ')")


def _options_alone(maybe: str, some: str, long: str, column: str, words: str) -> str:
    """Most command lines have no option that is read: what is cheap to look at comes first."""
    return (
        f"CASE WHEN NOT ({maybe}) THEN '' WHEN {column} IS NULL THEN NULL WHEN NOT ({some}) THEN '' "
        f"WHEN {long} THEN {column} ELSE {words} END"
    )


def _hexadecimal(stripped: str) -> str:
    return f"CAST(conv(substring({stripped}, 3), 16, 10) AS DECIMAL(38,0))"


#: A number of 38 digits: no word, so that a text that says no number is one that cannot be read.
_NONE: Final = "9" * 38 + "BD"
#: Blanks as DuckDB strips them from numbers.
_SPACE: Final = "' \t\n\x0b\f\r'"

DUCKDB: Final[Dialect] = _DuckDb()
SPARK: Final = _Spark()

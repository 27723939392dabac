"""Reading of CSV and Parquet: what is typed, and what is refused with its line."""

from __future__ import annotations

import csv
import io
import os
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops import csvtext
from gitops.errors import EvidenceError
from gitops.rows import NULL_MARKERS
from gitops.scaffold.table import Table, kind, read


def write(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def column(folder: Path, values: list[str]) -> tuple[pl.Series, Table]:
    """The column `v` of a table with these (quoted) cells."""
    rows = "".join(f'{n},"{value}"\n' for n, value in enumerate(values))
    table = read(write(folder, f"k,v\n{rows}"))
    return table.frame["v"], table


def refused(path: Path) -> EvidenceError:
    with pytest.raises(EvidenceError) as caught:
        read(path)
    assert caught.value.where is not None and caught.value.where.file == path
    assert caught.value.fix
    return caught.value


def at(error: EvidenceError) -> int | None:
    assert error.where is not None
    return error.where.line


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separator_is_found(tmp_path: Path, separator: str, end: str) -> None:
    lines = [separator.join(cells) for cells in (["a", "b", "c"], ["1", "x y", "2.5"])]
    table = read(write(tmp_path, end.join(lines) + end))
    assert (table.format, table.separator, table.encoding) == ("csv", separator, "utf-8")
    assert table.frame.rows() == [(1, "x y", 2.5)]


def test_line_ends_of_other_systems(tmp_path: Path) -> None:
    assert read(write(tmp_path, "a,b\r1,2\r3,4\r")).frame.rows() == [(1, 2), (3, 4)]
    assert read(write(tmp_path, "a,b\n1,2\r3,4\r\n5,6")).frame.rows() == [(1, 2), (3, 4), (5, 6)]


def test_a_decimal_comma_does_not_win_over_the_semicolon(tmp_path: Path) -> None:
    table = read(write(tmp_path, "price;size;day\n3,14;1,5;a\n2,71;2,5;b\n"))
    assert table.separator == ";"
    assert table.frame.rows() == [("3,14", "1,5", "a"), ("2,71", "2,5", "b")]


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8-sig"), ("utf-16", "utf-16")],
)
def test_encodings(tmp_path: Path, encoding: str, expected: str) -> None:
    table = read(write(tmp_path, "größe,b\n1,é\n".encode(encoding)))
    assert table.encoding == expected
    assert table.frame.columns == ["größe", "b"]
    assert table.frame["b"].to_list() == ["é"]


def test_latin_1_is_refused_with_its_place(tmp_path: Path) -> None:
    error = refused(write(tmp_path, "a,b\n1,ok\n2,caf\xe9\n".encode("latin-1")))
    assert "byte 14 (0xe9)" in error.message and at(error) == 3
    assert "iconv" in error.fix


def test_broken_utf_16(tmp_path: Path) -> None:
    assert "UTF-16" in refused(write(tmp_path, b"\xff\xfea\x00,\x00b\x00\x00")).message


@pytest.mark.parametrize("marker", NULL_MARKERS)
def test_null_markers(tmp_path: Path, marker: str) -> None:
    values, _ = column(tmp_path, ["1.5", marker])
    assert values.to_list() == [1.5, None]


@pytest.mark.parametrize("word", ["None", "-", "?", " ", "NAN", "na", "<NA>"])
def test_other_words_are_not_null(tmp_path: Path, word: str) -> None:
    assert column(tmp_path, ["1", word])[0].to_list() == ["1", word]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "-2", ""], [1, -2, None]),
        (["1", "2.5"], [1.0, 2.5]),
        (["1e3", ".5", "3."], [1000.0, 0.5, 3.0]),
        ([" 1", "2 "], [1, 2]),
        (["TRUE", "false", "NA"], [True, False, None]),
        (["yes", "no"], ["yes", "no"]),
        (["0", "1"], [0, 1]),
        (["02134", "10001"], ["02134", "10001"]),
        (["0", "0"], [0, 0]),
        (["12345678901234567890", "1"], ["12345678901234567890", "1"]),
        (["1,5", "2,5"], ["1,5", "2,5"]),
        (["06:00", "07:30"], ["06:00", "07:30"]),
        (["1", "true"], ["1", "true"]),
        (["1_000", "5"], ["1_000", "5"]),
    ],
)
def test_types(tmp_path: Path, values: list[str], expected: list[object]) -> None:
    assert column(tmp_path, values)[0].to_list() == expected


def test_infinity_is_a_number(tmp_path: Path) -> None:
    assert column(tmp_path, ["inf", "-Infinity", "1e999"])[0].is_infinite().all()


def test_a_late_text_makes_the_column_text(tmp_path: Path) -> None:
    values, _ = column(tmp_path, ["12"] * 50_000 + ["abc"])
    assert values.dtype == pl.String and values.null_count() == 0
    assert values[-1] == "abc" and values[0] == "12"


def test_a_late_word_or_date_makes_the_column_text(tmp_path: Path) -> None:
    assert column(tmp_path, ["true"] * 600 + ["maybe"])[0].dtype == pl.String
    assert column(tmp_path, ["2013-01-05"] * 600 + ["soon"])[0].dtype == pl.String


def test_iso_dates_in_all_forms(tmp_path: Path) -> None:
    values, table = column(
        tmp_path,
        [
            "2013-01-05",
            "2013-01-05 06:00",
            "2013-01-05T06:00:01",
            "2013-01-05 06:00:01.25",
            "2013-01-05T06:00:00Z",
            "2013-01-05T06:00:00+02:00",
            "2013-01-05 06:00-0330",
            "NA",
        ],
    )
    day = datetime(2013, 1, 5, tzinfo=UTC)
    assert values.to_list() == [
        day,
        day.replace(hour=6),
        day.replace(hour=6, second=1),
        day.replace(hour=6, second=1, microsecond=250_000),
        day.replace(hour=6),
        day.replace(hour=4),
        day.replace(hour=9, minute=30),
        None,
    ]
    assert table.formats == {}


@pytest.mark.parametrize("wrong", ["2013-02-30", "2013-01-05 24:00:00", "2013-01-05 23:59:60"])
def test_impossible_dates_stay_text(tmp_path: Path, wrong: str) -> None:
    assert column(tmp_path, ["2013-01-05", wrong])[0].to_list() == ["2013-01-05", wrong]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["13/01/2013", "5/1/2013"], "%d/%m/%Y"),
        (["01/13/2013 5:06", "1/1/2013 12:00"], "%m/%d/%Y %H:%M"),
        (["31.12.2013 10:00:01", "01.01.2013 10:00:00"], "%d.%m.%Y %H:%M:%S"),
    ],
)
def test_other_dates_are_read_in_the_only_order_that_fits(
    tmp_path: Path, values: list[str], expected: str
) -> None:
    found, table = column(tmp_path, values)
    assert kind(found.dtype) == "datetime"
    assert table.formats == {"v": expected}


@pytest.mark.parametrize("values", [["05/01/2013", "06/01/2013"], ["13/01/2013", "01/13/2013"]])
def test_unclear_dates_stay_text(tmp_path: Path, values: list[str]) -> None:
    found, table = column(tmp_path, values)
    assert found.to_list() == values and table.formats == {}


def test_quoted_newlines_and_blank_lines_keep_line_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b\n"x\ny","say ""hi"""\n\n2,3\n')
    table = read(path)
    assert table.frame.rows() == [("x\ny", 'say "hi"'), ("2", "3")]
    assert [table.where(row).line for row in (0, 1)] == [2, 5]
    assert table.where().line is None


def test_stray_quotes_are_text(tmp_path: Path) -> None:
    table = read(write(tmp_path, 'a,b\n5" pipe,1\n3" x 2",2\n'))
    assert table.frame.rows() == [('5" pipe', 1), ('3" x 2"', 2)]


@pytest.mark.parametrize(
    ("row", "cells"), [("3", "1 cells"), ("3,4,5", "3 cells"), ('"3\n4"', "1 cells")]
)
def test_ragged_rows_name_their_line(tmp_path: Path, row: str, cells: str) -> None:
    error = refused(write(tmp_path, f'a,b\n"1\n1",2\n{row}\n5,6\n'))
    assert at(error) == 4 and cells in error.message


@pytest.mark.parametrize("tail", ['"3,4\n5,6\n', '3,"4\n', '3,"4', '3,4"x"5"\n"6,7'])
def test_an_unclosed_quote_names_its_line(tmp_path: Path, tail: str) -> None:
    error = refused(write(tmp_path, f"a,b\n1,2\n{tail}"))
    assert at(error) == (4 if "x" in tail else 3) and "cannot be read" in error.message


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (",b", "column 1 has no name"),
        ("a, ", "column 2 has no name"),
        ("a,b,a", "columns 1 and 3 have the same name 'a'"),
        ("a,__id__", "column 2 has the name __id__"),
        ('a,"b\nc"', "control character"),
    ],
)
def test_unusable_names(tmp_path: Path, header: str, said: str) -> None:
    row = ",".join("1" * (header.count(",") + 1))
    assert said in refused(write(tmp_path, f"{header}\n{row}\n")).message


def test_unusual_names_are_kept(tmp_path: Path) -> None:
    table = read(write(tmp_path, '" a","b,c","naïve ""x""",slice_1\n1,2,3,4\n'))
    assert table.frame.columns == [" a", "b,c", 'naïve "x"', "slice_1"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"a,b\n", "no row"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"\x1f\x8brest", "gzip"),
        (b"BZhrest", "bzip2"),
        (b"\x28\xb5\x2f\xfdrest", "zstandard"),
        (b"\xd0\xcf\x11\xe0rest", "Excel"),
        (b"a,b\n1,\x002\n", "byte 6 is zero"),
    ],
)
def test_not_a_table(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in refused(write(tmp_path, content)).message


def test_missing_file_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "a,b\n1,2\n", "flights.csv")
    assert "flights.csv" in refused(tmp_path / "flihgts.csv").fix
    assert "no such file" in refused(tmp_path / "gone" / "x.csv").message


def test_a_folder(tmp_path: Path) -> None:
    assert "folder" in refused(tmp_path).message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n1,2\n")
    path.chmod(0)
    assert "cannot be read" in refused(path).message


def test_a_file_below_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n1,2\n") / "below.csv"
    assert "cannot be read" in refused(path).message


def test_parquet_becomes_the_five_types(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame(
        {
            "small": pl.Series([1, None], dtype=pl.UInt8),
            "huge": pl.Series([2**64 - 1, 1], dtype=pl.UInt64),
            "half": pl.Series([0.5, float("nan")], dtype=pl.Float32),
            "flag": [True, None],
            "word": pl.Series(["a", "NA"], dtype=pl.Categorical),
            "day": [date(2013, 1, 5), None],
            "zoned": pl.Series([datetime(2013, 1, 5, 6), None]).dt.replace_time_zone("Asia/Tokyo"),
            "clock": [time(6, 30), None],
            "nothing": [None, None],
        }
    ).write_parquet(path)
    table = read(path)
    frame = table.frame
    assert table.format == "parquet" and table.where(1).line is None
    assert frame["small"].to_list() == [1, None]
    assert frame["huge"].dtype == pl.Float64
    assert frame["half"].to_list() == [0.5, None]
    assert frame["flag"].to_list() == [True, None]
    assert frame["word"].to_list() == ["a", "NA"]
    assert frame["day"].to_list() == [datetime(2013, 1, 5, tzinfo=UTC), None]
    assert frame["zoned"][0] == datetime(2013, 1, 4, 21, tzinfo=UTC)
    assert frame["clock"].to_list() == ["06:30:00", None]
    assert [kind(dtype) for dtype in frame.dtypes] == [
        *("number", "number", "number", "boolean", "text", "datetime", "datetime", "text", "text")
    ]


def test_parquet_is_known_by_its_bytes(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1], "b": [2]}).write_parquet(tmp_path / "t.csv")
    assert read(tmp_path / "t.csv").format == "parquet"
    error = refused(write(tmp_path, "a,b\n1,2\n", "t.parquet"))
    assert "not a Parquet file" in error.message


@pytest.mark.parametrize(
    "values", [[[1, 2]], [{"x": 1}], [b"raw"], [timedelta(seconds=3)]], ids=str
)
def test_nested_parquet_is_refused_by_name(tmp_path: Path, values: list[object]) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"fine": [1], "bad": values}).write_parquet(path)
    message = refused(path).message
    assert "bad (" in message and "fine" not in message


def test_damaged_and_empty_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"a": list(range(1000))}).write_parquet(path)
    write(tmp_path, path.read_bytes()[:-20], "cut.parquet")
    assert "cannot be read" in refused(tmp_path / "cut.parquet").message
    pl.DataFrame({"a": []}).write_parquet(path)
    assert "no row" in refused(path).message


CELLS = st.sampled_from(
    ["", "1", "é", '"x"', '"a,b"', '"q\nr"', '"q\r\n"', '""', '"a""b"', '""""', '","', 'x"y', "NA"]
)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=6),
    end=st.sampled_from(["\n", "\r\n"]),
    tail=st.sampled_from(["", "\n", "\n\n"]),
    chunk=st.sampled_from([8, 64, 1 << 20]),
)
def test_cells_are_those_of_the_csv_module(
    rows: list[list[str]], end: str, tail: str, chunk: int
) -> None:
    text = end.join(["a,b,c", *(",".join(row) for row in rows)]) + tail
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        expected = [tuple(row) for row in reader if row][1:]
    except csv.Error:
        expected = []
    whole = expected and all(len(row) == 3 for row in expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csvtext, "_CHUNK", chunk)  # so that small files have several pieces
        if whole:
            assert csvtext.read_text(Path("t.csv"), text.encode()).frame.rows() == expected
        else:
            with pytest.raises(EvidenceError):
                csvtext.read_text(Path("t.csv"), text.encode())


def test_pandas_reads_the_same_numbers(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    values = ["1", "-2.5", "1e5", " 7", ".5", "inf", "NA", "9007199254740993", "+3", "1e-320"]
    found, table = column(tmp_path, values)
    other = pandas.read_csv(
        table.path, dtype={"v": "float64"}, keep_default_na=False, na_values=list(NULL_MARKERS)
    )["v"]
    assert found.dtype == pl.Float64
    assert found.to_list() == [None if value != value else value for value in other]

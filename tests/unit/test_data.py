"""What params.yaml says of a table's file, held against a new one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops.scaffold import table
from gitops.scaffold.data import reading_breaks

PARAMS = """\
data:
  file: data/customers.csv
  separator: ","
  encoding: utf-8
  id: customer
  time: since
  group: null
"""
ROWS = "customer,since,fee\nC1,2024-01-01,3\nC2,2024-01-02,4\n"


def breaks(folder: Path, text: str, params: str = PARAMS, encoding: str = "utf-8") -> str:
    (folder / "params.yaml").write_text(params)
    (folder / "new.csv").write_text(text, encoding)
    found = reading_breaks(folder, Path("data/customers.csv"), table.read(folder / "new.csv"))
    return "; ".join(found)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (",", ";", "its cells are separated by ';', params.yaml says ','"),
        ("customer", "client", "the id customer is gone"),
        ("C2", "C1", "id: 'customer' is not unique, for example C1 come more than once"),
        ("since", "from", "the time since is gone"),
        ("2024-01-02", "soon", "the time since: its values are not written as ISO 8601 dates"),
    ],
)
def test_a_file_that_would_be_read_in_another_way(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert breaks(tmp_path, ROWS.replace(old, new)).startswith(said)


def test_another_encoding(tmp_path: Path) -> None:
    assert breaks(tmp_path, ROWS, encoding="utf-16").startswith("it is written in utf-16, params")
    assert breaks(tmp_path, ROWS, encoding="utf-8-sig") == ""  # a mark changes nothing


def test_params_that_are_not_of_this_file_say_nothing(tmp_path: Path) -> None:
    assert breaks(tmp_path, ROWS) == ""
    assert breaks(tmp_path, ROWS.replace(",", ";"), PARAMS.replace("customers", "others")) == ""
    assert breaks(tmp_path, ROWS.replace(",", ";"), "data: table.csv\n") == ""

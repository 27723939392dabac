from __future__ import annotations

import pytest

from gitops import jsontext


@pytest.mark.parametrize("raw", [b"", b"{", "\u00e4", b"\xff", b"[" * 100_000, '{"a":' * 100_000])
def test_whatever_is_wrong_with_it_is_one_error(raw: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        jsontext.loads(raw)


def test_the_rest_is_read() -> None:
    assert jsontext.loads('{"a": [1, null]}') == {"a": [1, None]}

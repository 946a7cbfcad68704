"""Fingerprints: equal for equal values, whatever the order of keys and however a file is read."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karat.fingerprint import fingerprint, fingerprint_bytes, fingerprint_file

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_the_order_of_keys_does_not_count(value):
    assert fingerprint(value) == fingerprint(dict(reversed(value.items())))


@given(JSON, JSON)
def test_other_values_have_other_fingerprints(one, other):
    same = (type(one), one) == (type(other), other) or repr(one) == repr(other)
    if not same and one != other:
        assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize("size", [4, 8, 16])
def test_the_size_is_that_of_the_digest(size):
    assert len(fingerprint({"a": 1}, size=size)) == 2 * size
    assert fingerprint_bytes(b"karat", size=size) == hashlib.blake2b(b"karat", digest_size=size).hexdigest()


def test_a_file_is_read_to_its_end(tmp_path):
    data = b"0123456789" * 300_000
    (tmp_path / "large").write_bytes(data)
    assert fingerprint_file(tmp_path / "large") == fingerprint_bytes(data)

import pytest

pytestmark = pytest.mark.relink("own.c")


def test_crc32(lib):
    assert lib.crc32(b"123456789", 9) == 0xCBF43926

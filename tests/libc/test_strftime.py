"""strftime's flags, widths and modifiers: the expected texts are glibc's."""

from __future__ import annotations

import pytest

from emu.libc.strftime import Place, strftime_text

TM = [5, 6, 7, 8, 9, 101, 3, 280, 0]  # 2001-10-08 07:06:05, a Wednesday for this structure


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("%-d %_H %0e %-M", "8  7 08 6"),
        ("%^a %#B %#p %^P %#Z", "WED OCTOBER am am utc"),
        ("%5d|%-5d|%_5d|%010Y", "00008|    8|    8|0000002001"),
        ("%10b|%012F|%3n|%5%", "       Oct|002001-10-08|  \n|    %"),
        ("%Ey %Od %E% %Ed %Oc", "01 08 % %Ed %Oc"),
        ("%Q %5Q %^q %", "%Q   %5Q %^Q %"),
        ("%z %_7z %-z %s %08s", "+0000       +      0 +0 -7 -0000007"),
    ],
)
def test_glibcs_flags_and_widths(template: str, expected: str) -> None:
    assert strftime_text(template, TM, Place(lambda: "UTC", lambda: 0, lambda: -7)) == expected

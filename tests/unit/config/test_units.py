import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.config import units

NUMBERS = st.one_of(
    st.integers(1, 10**5).map(str),
    st.decimals("0.001", "99999", places=3, allow_nan=False).map(lambda number: f"{number:f}"),
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("0s", 0.0),
        ("30s", 30.0),
        ("1.5s", 1.5),
        ("15m", 900.0),
        ("1h", 3600.0),
        ("14d", 1209600.0),
    ],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64KiB", 65536),
        ("1MiB", 1 << 20),
        ("10GiB", 10 << 30),
        ("5kB", 5000),
        ("1.5MB", 1_500_000),
        ("2GB", 2 * 10**9),
    ],
)
def test_sizes_are_bytes(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "rate"),
    [("50/s", 50.0), ("3000/min", 50.0), ("90/h", 0.025), ("0.5/s", 0.5), ("unlimited", math.inf)],
)
def test_rates_are_per_second(text: str, rate: float) -> None:
    assert units.parse_rate(text) == rate


@pytest.mark.parametrize(
    ("parse", "text", "mend"),
    [
        (units.parse_rate, "50", '"50" has no unit: write 50/s'),
        (units.parse_duration, "30", '"30" has no unit: write 30s'),
        (units.parse_size, "1024", '"1024" has no unit: write 1024KiB'),
        (units.parse_percent, "20", '"20" has no unit: write 20%'),
        (units.parse_rate, "50/m", "write 50/min"),
        (units.parse_rate, "50rps", "write 50/s"),
        (units.parse_duration, "5 min", "write 5m"),
        (units.parse_size, "1kb", "write 1kB"),
        (units.parse_size, "1M", "write 1MiB"),
        (units.parse_rate, "0/s", '"0/s" would never send anything: a rate is more than 0'),
        (units.parse_percent, "101%", '"101%" is more than 100%'),
        (units.parse_size, "0.0001kB", '"0.0001kB" is not a whole number of bytes'),
    ],
)
def test_what_is_wrong_says_what_to_write(parse, text: str, mend: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r".") as caught:
        parse(text)
    assert str(caught.value).endswith(mend)


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "1,5s", "1e3s", "٣s", "1s\n", "1h30m", "nan", "inf", "0x10s", "9" * 400 + "s"]
)
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration|is longer than"):
        units.parse_duration(text)


@given(NUMBERS, st.sampled_from(["ms", "s", "m", "h"]))
def test_durations_survive_being_shown(number: str, unit: str) -> None:
    value = units.parse_duration(number + unit)
    assert units.parse_duration(units.format_duration(value)) == value


@given(st.integers(0, units.LARGEST))
def test_sizes_survive_being_shown(size: int) -> None:
    assert units.parse_size(units.format_size(size)) == size


@given(NUMBERS, st.sampled_from(sorted(units.RATES)))
def test_rates_survive_being_shown(number: str, unit: str) -> None:
    rate = units.parse_rate(number + unit)
    assert units.parse_rate(units.format_rate(rate)) == rate


@given(st.decimals(0, 100, places=4, allow_nan=False))
def test_percentages_survive_being_shown(number: object) -> None:
    share = units.parse_percent(f"{number:f}%")
    assert units.parse_percent(units.format_percent(share)) == share


@given(st.text())
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    for parse in (units.parse_duration, units.parse_size, units.parse_rate, units.parse_percent):
        try:
            value = parse(text)
        except ValueError as wrong:
            message, value = str(wrong), 0
        else:
            message = ""
        assert value >= 0
        assert len(message) < 160


@pytest.mark.parametrize(
    ("shown", "given"),
    [
        (units.format_duration(900.0), "15m"),
        (units.format_duration(90.0), "90s"),
        (units.format_duration(0.0), "0s"),
        (units.format_duration(1.5), "1500ms"),
        (units.format_size(10 << 30), "10GiB"),
        (units.format_size(1001), "1.001kB"),
        (units.format_rate(50.0), "50/s"),
        (units.format_rate(1 / 60), "1/min"),
        (units.format_rate(math.inf), "unlimited"),
        (units.format_percent(0.2), "20%"),
        (units.format_percent(0.333), "33.3%"),
    ],
)
def test_values_are_shown_in_the_largest_unit_that_fits(shown: str, given: str) -> None:
    assert shown == given

import numpy as np
import pytest

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photom.table import read_photom
from soss_photcal_steps.photom.time_tables import (
    ExponentialTrend,
    LinearTrend,
    PowerLawTrend,
    make_time_tables,
)

KEY = ("CLEAR", "GR700XD", 2)


def test_trends_at_marked_days():
    """The trends give what their parameters mean at t0, a year later and in the end."""
    t0 = 59800.0
    linear = LinearTrend(t0, 0.03).throughput(np.array([t0, t0 + 365]))
    np.testing.assert_allclose(linear, [1, 0.97])
    exponential = ExponentialTrend(t0, 0.1, 100.0, 0.9).throughput(np.array([t0, t0 + 1e5]))
    np.testing.assert_allclose(exponential, [1, 0.9])
    power = PowerLawTrend(t0, 0.95, 10.0, -0.1).throughput(np.array([t0 + 365, t0]))
    np.testing.assert_allclose(power, [0.95, 0.95 * (10 / 375) ** -0.1])


def test_each_table_has_all_rows(old_path):
    """Each kind has a table with the rows of the photom table; rows without a trend give 1."""
    rows = read_photom(old_path).rows
    tables = make_time_tables(
        rows,
        {
            KEY: PowerLawTrend(59800.0, 0.95, 10.0, -0.1),
            ("clear", "gr700xd", 1): ExponentialTrend(59750.0, 0.1, 100.0, 0.9),
        },
    )
    assert set(tables) == {"timecoeff_powerlaw", "timecoeff_exponential"}
    for table in tables.values():
        assert [name.decode() for name in table["filter"]] == [row.filter for row in rows]
        assert list(table["order"]) == [row.order for row in rows]
    power, exponential = tables["timecoeff_powerlaw"], tables["timecoeff_exponential"]
    assert power[1].tolist()[3:] == (59800.0, pytest.approx(0.95), 10.0, pytest.approx(-0.1))
    assert exponential[0].tolist()[3:] == (59750.0, pytest.approx(0.1), 100, pytest.approx(0.9))
    days = np.array([59000.0, 59800.0, 62000.0])
    for i in (0, 2, 3):
        np.testing.assert_array_equal(PowerLawTrend(*power[i].tolist()[3:]).throughput(days[1:]), 1)
    for i in (1, 2, 3):
        neutral = ExponentialTrend(*exponential[i].tolist()[3:])
        np.testing.assert_array_equal(neutral.throughput(days), 1)


@pytest.mark.parametrize(
    ("key", "trend", "message"),
    [
        (("CLEAR", "GR700XD", 4), LinearTrend(59800, 0.01), "no photom row for CLEAR"),
        (KEY, LinearTrend(2459800.5, 0.01), "not a day in MJD"),
        (KEY, LinearTrend(59800, np.nan), "not finite"),
        (KEY, ExponentialTrend(59800, 0.1, 0.0, 0.9), "positive tau"),
        (KEY, PowerLawTrend(59800, 0.9, 0.0, -0.1), "positive tsoft"),
    ],
)
def test_bad_trend_is_refused(old_path, key, trend, message):
    """A trend without a row, or with numbers that cannot be, is refused with a sentence."""
    with pytest.raises(SossInputError, match=message):
        make_time_tables(read_photom(old_path).rows, {key: trend})

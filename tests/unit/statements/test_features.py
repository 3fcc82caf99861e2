import math
import struct

import pytest

from statements.errors import FeatureError
from statements.features import COLUMN, FEATURES, MISSING, WIDTH, pack_rows, unpack_rows


def test_feature_set_1_never_changes() -> None:
    names = "\n".join(feature.name for feature in FEATURES)
    assert WIDTH == len(set(names.split("\n"))) == 31
    assert names.startswith("power_mean\npower_max\npower_deviation\ntemperature_mean")
    assert COLUMN["hmma_active_mean"] == 8
    assert COLUMN["sm_clock_tensor_mean"] == 20
    assert COLUMN["processes_max"] == 30


def test_a_matrix_is_little_endian_float32_a_row_a_chip() -> None:
    rows = [[float(chip * 100 + column) for column in range(WIDTH)] for chip in range(3)]
    data = pack_rows(rows)
    assert struct.unpack_from("<f", data, 4 * (2 * WIDTH + 5))[0] == 205.0
    assert unpack_rows(data, 3) == rows


def test_what_the_hardware_does_not_say_is_nan() -> None:
    assert all(math.isnan(value) for value in unpack_rows(pack_rows([[MISSING] * WIDTH]), 1)[0])


def test_a_matrix_of_another_shape_is_refused() -> None:
    with pytest.raises(FeatureError):
        pack_rows([[0.0]])
    with pytest.raises(FeatureError):
        unpack_rows(bytes(4 * WIDTH + 1), 1)

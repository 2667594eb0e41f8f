"""A template of the sky in a real frame, beside the published one."""

import numpy as np
import pytest
import real_frame

from soss_photcal_steps.background.reference import trace_positions
from soss_photcal_steps.background.result import CombinedExposure
from soss_photcal_steps.template.star import StarExposure, build_with_stars

FRAME = real_frame.DATA / "soss_frames" / "wasp39b_medframe.npy"
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not FRAME.exists(), reason="the real frames are not here"),
]


def test_sky_of_wasp39_is_like_the_published_template():
    """Far from the traces, WASP-39's sky is within 2 and 4 per cent of the published template."""
    # The published template is the first guess that the star's wings are separated with.
    image = np.load(FRAME).astype(np.float32)
    image[image == 0] = np.nan
    image[-4:], image[:, :4], image[:, -4:] = np.nan, np.nan, np.nan
    step = np.abs(np.diff(image, axis=1))
    noise = np.nanmedian(step) / 0.6745 / np.sqrt(2)
    error = np.sqrt(noise**2 + 0.001 * np.clip(np.nan_to_num(image), 0, None)).astype(np.float32)
    exposure = StarExposure(
        CombinedExposure(image, error, error, 10), trace_positions(245.76, "CLEAR"), "WASP-39"
    )
    published = real_frame.real_library().data[0].astype(float)
    built = build_with_stars([exposure], np.arange(256), start=published)
    assert built.edge.found
    assert 697 < built.edge.column.mean() < 707
    ratio = built.image[185:250] / published[185:250]
    # The wings are bright right of the break, and what they leave is in the template.
    for part, most in ((ratio[:, 8:640], 0.02), (ratio[:, 830:2030], 0.04)):
        assert 0.003 < np.std(part) / np.mean(part) < most

"""Contaminants: found in frames, mapped to wavelengths, predicted, and left out of the fit."""

import dataclasses
import http.server
import os
import threading
import urllib.parse
from pathlib import Path

import numpy as np
import pytest
from campaign_files import write_observation
from hypothesis import given, settings
from hypothesis import strategies as st

from soss_photcal_steps.background.combine import combine_integrations
from soss_photcal_steps.cli import main
from soss_photcal_steps.contamination.find import find_contamination
from soss_photcal_steps.contamination.gaia import query_gaia
from soss_photcal_steps.contamination.mapping import affected_intervals, source_image
from soss_photcal_steps.contamination.predict import (
    CatalogueStar,
    expected_zero_orders,
    fit_shift,
    sky_to_pixels,
)
from soss_photcal_steps.contamination.spoiled import spoiled_intervals
from soss_photcal_steps.contamination.table import read_table
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.ratio.intervals import read_intervals
from soss_photcal_steps.ratio.order import Mask
from soss_photcal_steps.ratio.ratio_step import SossRatioStep
from soss_photcal_steps.simulate import SceneParams, make_exposure, make_library
from soss_photcal_steps.simulate.campaign import report_campaign
from soss_photcal_steps.simulate.write import write_rateints
from soss_photcal_steps.trace import trace_positions, wavelengths

PWCPOS = 245.79
LINES = np.arange(256)
DATA = Path(os.environ.get("SOSS_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
FRAMES = DATA / "soss_frames"

# Zero orders that one sees by eye in the F277W frame of the WASP-39 field, displayed from 0 to 2
# DN/s: column and row, to some 5 pixels; what one is sure of, and what is faint or doubtful.
SEEN = [
    (843, 43), (850, 145), (966, 222), (1004, 205), (1014, 59), (1002, 9), (1052, 40), (1079, 78),
    (1114, 119), (1165, 104), (1326, 207), (1458, 152), (1657, 209), (1678, 3), (1702, 186),
    (1830, 211), (1856, 69), (1899, 34), (1914, 10), (1946, 184),
]  # fmt: skip
FAINT = [
    (728, 206), (1047, 238), (1269, 155), (1564, 70), (1839, 10), (2008, 243), (740, 126),
    (897, 36), (1090, 126), (962, 4), (1470, 126), (2041, 12),
]  # fmt: skip


@pytest.fixture(scope="module")
def scene():
    """Give a simulated exposure of a middling star with contaminants."""
    params = SceneParams(seed=1, star="mid", nints=5, pwcpos=PWCPOS)
    return make_exposure(params, make_library(3, seed=1))


@pytest.fixture(scope="module")
def found(scene):
    """Give what is found in its mean, less the true background, and where zero orders are."""
    parts = list(scene.integrations())
    mean = combine_integrations(
        np.array([one.sci for one in parts]), np.array([(one.dq & 1) > 0 for one in parts])
    )
    image = mean.image - scene.truth.background
    good = np.isfinite(image)
    result = find_contamination(np.where(good, image, 0.0), good, LINES, PWCPOS)
    return result, scene.truth.sources.zero_orders


def near(places, column, row):
    """Tell which places are a zero order's length and width away at most."""
    places = np.asarray(places, float).reshape(-1, 2)
    return (np.abs(places[:, 0] - column) < 12) & (np.abs(places[:, 1] - row) < 22)


def test_bright_zero_orders_of_a_simulated_field_are_found(found):
    """Off the traces nine in ten above 3 DN/s are found, and at most one source is none of them."""
    result, true = found
    places = [(one.column, one.row) for one in result.detection.sources]
    inside = (true[:, 0] > 6) & (true[:, 0] < 2041) & (true[:, 1] > 0) & (true[:, 1] < 255)
    off = np.ones(len(true), bool)
    for order in (1, 2):
        off &= np.abs(true[:, 1] - trace_positions(order, PWCPOS, true[:, 0])) > 22
    bright = true[inside & off & (true[:, 2] > 3)]
    hit = [near(places, column, row).any() for column, row, _ in bright]
    assert len(bright) >= 3
    assert np.mean(hit) >= 0.9
    false = [place for place in places if not near(true[:, :2], *place).any()]
    assert len(false) <= 1


def test_position_and_brightness_are_the_true_ones(found):
    """Isolated zero orders above 5 DN/s are placed to 2 pixels; the peak is half the true one."""
    result, true = found
    compared = 0
    for column, row, peak in true[true[:, 2] > 5]:
        if not 20 < column < 2028 or not 20 < row < 235 or near(true[:, :2], column, row).sum() > 1:
            continue
        if any(abs(row - trace_positions(o, PWCPOS, np.array([column]))[0]) < 35 for o in (1, 2)):
            continue
        matches = [s for s in result.detection.sources if near([(s.column, s.row)], column, row)[0]]
        if matches:
            compared += 1
            assert abs(matches[0].column - column) < 2
            assert abs(matches[0].row - row) < 4
            assert 0.5 * peak < matches[0].peak < 1.2 * peak
            assert matches[0].significance > 10
    assert compared >= 1


@pytest.mark.parametrize(
    ("column", "row", "order", "wavelength"),
    [
        (729, 77, 1, 2.115), (729, 77, 2, 1.068), (1303, 34, 1, 1.55),
        (700, 71, 1, 2.1404), (1019, 115, 2, 0.9285),
    ],
)  # fmt: skip
def test_zero_orders_of_the_report_are_where_it_says(column, row, order, wavelength):
    """Zero orders of section 6 of the report spoil the wavelengths that it gives, to 0.01 um."""
    light = source_image(column, row, 5.0, LINES, 2048)
    intervals = affected_intervals(light, LINES, PWCPOS)
    one = next(one for one in intervals if one.order == order)
    assert one.centre == pytest.approx(wavelength, abs=0.01)
    assert one.low < wavelength < one.high
    assert one.high - one.low < 0.05


def test_the_peak_at_1300_of_the_second_star_is_in_both_orders():
    """The zero order that crosses both orders near column 1300 spoils 1.55 and 0.785 um."""
    light = source_image(1303, 34, 50.0, LINES, 2048) + source_image(1330, 128, 50.0, LINES, 2048)
    intervals = affected_intervals(light, LINES, PWCPOS)
    assert any(one.order == 1 and one.low < 1.55 < one.high for one in intervals)
    assert any(one.order == 2 and one.low < 0.785 < one.high for one in intervals)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(20, 2020), st.floats(0, 255), st.floats(0.5, 100), st.floats(245.6, 245.95),
    st.sampled_from([1, 2]),
)  # fmt: skip
def test_what_is_mapped_lies_at_the_source(column, row, peak, pwcpos, order):
    """An interval holds the wavelength of its source's column, and the whole of it is near it."""
    light = source_image(column, row, peak, LINES, 2048)
    for one in affected_intervals(light, LINES, pwcpos, orders=(order,)):
        assert one.low < one.high
        assert one.first_column <= column + 1
        assert one.last_column >= column - 1
        assert one.last_column - one.first_column < 40
        assert one.light > 0
        middle = float(wavelengths(order, np.array([column]), pwcpos)[0])
        assert one.low - 0.002 < middle < one.high + 0.002


@pytest.fixture(scope="module")
def frame(scene, tmp_path_factory):
    """Write the exposure as a file."""
    path = tmp_path_factory.mktemp("frame") / "jw01512001001_03102_00001_nis_rateints.fits"
    write_rateints(scene, path)
    return path


def test_the_table_is_what_the_ratio_step_takes(frame, tmp_path, capsys):
    """The command writes the table in two forms, and a picture; soss_ratio reads all intervals."""
    for name in ("c.ecsv", "c.csv"):
        picture = ["--plot", str(tmp_path / "c.png")] if name == "c.csv" else []
        arguments = ["contamination", str(frame), "--output", str(tmp_path / name), *picture]
        assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "does not say that a background was subtracted" in told
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    rows = read_table(tmp_path / "c.ecsv")
    intervals = read_intervals(str(tmp_path / "c.csv"))
    assert len(rows) == len(intervals) > 0
    spoiled, notes = spoiled_intervals(frame, PWCPOS)
    assert [(one.order, one.low, one.high) for one in spoiled] == [
        (one.order, one.low, one.high) for _, one in intervals
    ]
    assert {kind for kind, _ in intervals} == {"contamination"}
    assert len(notes) == 1 + len(spoiled)


def test_the_ratio_step_leaves_out_what_the_image_shows(tmp_path, scene):
    """With contamination_image the intervals are masked as contamination, and it is recorded."""
    plan = dataclasses.replace(report_campaign(0, max_nints=2).observations[0], pwcpos=PWCPOS)
    image = tmp_path / "jw01512001001_03102_00001_nis_rateints.fits"
    write_rateints(scene, image)
    spectra, model = write_observation(plan, tmp_path, "photom.fits")
    spoiled, _ = spoiled_intervals(image)
    with SossRatioStep.call(spectra, model=str(model), contamination_image=str(image)) as product:
        options = product.meta.soss_photcal.instance["soss_ratio"]["options"]
        assert options["contamination_image"] == str(image)
        for one in spoiled:
            order = product.order_ratios()[one.order]
            inside = (order.wavelength >= one.low) & (order.wavelength <= one.high)
            assert (order.mask[inside] & int(Mask.CONTAMINATION) > 0).all()


def test_an_image_of_another_angle_is_refused(frame):
    """An image whose pupil wheel stood elsewhere is not of this observation."""
    with pytest.raises(SossInputError, match="not of this observation"):
        spoiled_intervals(frame, PWCPOS + 0.3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere_rate.fits"], "nowhere_rate.fits"),
        (["{frame}", "--sigma", "0"], "--sigma is a number above 0"),
        (["{frame}", "--output", "t.txt"], "t.txt"),
        (["{frame}", "--output", "there.csv"], "exists and is not replaced"),
        (["{frame}", "--catalogue", "a.csv", "--gaia"], "not both"),
        (["{frame}", "--catalogue", "gone.csv"], "gone.csv"),
    ],
)
def test_unusable_input_is_one_sentence(frame, tmp_path, monkeypatch, capsys, arguments, said):
    """What cannot be used is said with exit status 1, and what is there stays."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("mine")
    given_ = [text.format(frame=frame) for text in arguments]
    assert main(["contamination", *given_]) == 1
    assert said in capsys.readouterr().err
    assert (tmp_path / "there.csv").read_text() == "mine"


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 360), st.floats(-80, 80), st.floats(0, 360), st.floats(1, 200))
def test_distances_on_the_detector_are_those_on_the_sky(ra, dec, roll, distance):
    """A star some arcsec away is as many pixels away, whatever the roll; north turns with it."""
    north = sky_to_pixels(np.array([ra]), np.array([dec + distance / 3600]), (ra, dec), roll)
    assert np.hypot(*north)[0] == pytest.approx(distance / 0.0656, rel=2e-3)
    turned = sky_to_pixels(np.array([ra]), np.array([dec + distance / 3600]), (ra, dec), roll + 90)
    # A quarter turn of the roll turns the field by a quarter.
    assert np.dot(np.ravel(north), np.ravel(turned)) == pytest.approx(
        0, abs=1e-3 * (distance / 0.0656) ** 2
    )


def test_a_common_shift_between_prediction_and_frame_is_found():
    """Stars whose zero orders are all off by the same vector give that vector."""
    rng = np.random.default_rng(3)
    stars = [
        CatalogueStar(str(k), 10 + x, 5 + y, 15.0)
        for k, (x, y) in enumerate(rng.uniform(-0.06, 0.06, (400, 2)))
    ]
    expected = expected_zero_orders(
        stars, (10.0, 5.0), 30.0, columns=(-100, 2148), rows=(-100, 356)
    )
    assert len(expected) > 5
    places = [(one.column + 17.0, one.row - 9.0) for one in expected]
    column, row, pairs = fit_shift(expected, places)
    assert (column, row) == (pytest.approx(17, abs=1), pytest.approx(-9, abs=1))
    assert pairs >= len(expected) - 2


@pytest.fixture
def archive():
    """Serve a table of stars on the loopback; give its address and what it was asked."""
    asked = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked.append(urllib.parse.parse_qs(text)["QUERY"][0])
            body = (
                b"source_id,ra,dec,phot_g_mean_mag,pmra,pmdec,ref_epoch\n"
                b"42,10.0,-5.0,14.5,3.0,,2016.0\n"
            )
            if self.path == "/empty":
                body = b"<html>down</html>\n"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_gaia_is_asked_for_the_neighbours(archive):
    """The query names position, radius and magnitude; stars come back with their motion."""
    address, asked = archive
    stars = query_gaia(10.0, -5.0, 4.0, 19.0, url=address)
    assert [(one.name, one.ra, one.dec, one.magnitude) for one in stars] == [("42", 10, -5, 14.5)]
    assert (stars[0].pm_ra, stars[0].pm_dec, stars[0].epoch) == (3.0, 0.0, 2016.0)
    assert "CIRCLE('ICRS', 10.00000000, -5.00000000, 0.066667)" in asked[0]
    assert "phot_g_mean_mag < 19.000" in asked[0]


def test_an_archive_that_is_down_is_one_sentence(archive):
    """No answer, or one that is no table, says so and names the way round."""
    address, _ = archive
    with pytest.raises(SossInputError, match="without a table of stars"):
        query_gaia(10.0, -5.0, url=address + "/empty")
    with pytest.raises(SossInputError, match="--catalogue"):
        query_gaia(10.0, -5.0, url="http://127.0.0.1:9", timeout=1.0)


def real(name, filter_name, subtracted):
    """Give what is found in a real frame."""
    image = np.load(FRAMES / name).astype(float)
    good = np.isfinite(image) & (image != 0)
    good[:, :4] = good[:, -4:] = False
    return find_contamination(
        np.where(good, image, 0.0), good, LINES, 245.76, filter_name=filter_name,
        subtracted=subtracted,
    )  # fmt: skip


realdata = [
    pytest.mark.realdata,
    pytest.mark.skipif(not FRAMES.exists(), reason=f"no {FRAMES}"),
]


@pytest.mark.parametrize(
    "frame_name",
    [pytest.param("exotedrf_F277W.npy", marks=realdata)],
)
def test_zero_orders_seen_by_eye_are_found(frame_name):
    """All 20 zero orders that one sees in the F277W frame are found, with one false at most."""
    result = real(frame_name, "F277W", True)
    places = [(s.column, s.row) for s in result.detection.sources if s.kind == "zero order"]
    hit = [near(places, *place).any() for place in SEEN]
    assert sum(hit) == 20
    false = [place for place in places if not near([*SEEN, *FAINT], *place).any()]
    assert len(false) <= 1


@pytest.mark.parametrize("frame_name", [pytest.param("wasp39b_medframe.npy", marks=realdata)])
def test_zero_orders_are_found_beside_the_star(frame_name):
    """In the CLEAR frame nine of ten off the traces are found, 17 of 20 in all, 5 false at most."""
    result = real(frame_name, "CLEAR", False)
    places = [(s.column, s.row) for s in result.detection.sources if s.kind == "zero order"]
    off = [
        place
        for place in SEEN
        if all(
            abs(place[1] - trace_positions(o, 245.76, np.array([float(place[0])]))[0]) > 25
            for o in (1, 2)
        )
    ]
    hit = [near(places, *place).any() for place in off]
    assert len(off) == 10
    assert sum(hit) >= 9
    assert sum(near(places, *place).any() for place in SEEN) >= 17
    false = [place for place in places if not near([*SEEN, *FAINT], *place).any()]
    assert len(false) <= 5

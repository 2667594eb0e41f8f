"""Who gets the page, and what it says of a bad file."""

import re
import socket
import urllib.error
import urllib.request
from dataclasses import replace
from urllib.parse import urlparse

import psutil
import pytest
from bokeh.document import Document

from soss_photcal_steps.cli import main
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.explore.page import ExplorerPage
from soss_photcal_steps.explore.server import ExplorerServer
from soss_photcal_steps.explore.setting import Setting
from soss_photcal_steps.explore.state import ExplorerState


def ask(url, **headers):
    """Give the status of a request."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def knock(base, origin, token):
    """Ask for the connection that drives the page, as a browser does; give the status."""
    place = urlparse(base)
    with socket.create_connection((place.hostname, place.port), timeout=10) as line:
        line.sendall(
            (
                f"GET /ws HTTP/1.1\r\nHost: {place.netloc}\r\nOrigin: {origin}\r\n"
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                f"Sec-WebSocket-Protocol: bokeh, {token}\r\n\r\n"
            ).encode()
        )
        return int(line.recv(200).split()[1])


def test_page_needs_the_token(served):
    """Without the token of this start, or with another, there is no page."""
    url = served.url
    status, text = ask(url)
    assert status == 200
    assert "SOSS background explorer" in text
    plain = url.split("?")[0]
    assert ask(plain)[0] == 403
    assert ask(url[:-3] + "abc")[0] == 403
    assert ask(plain + "autoload.js?bokeh-autoload-element=x")[0] == 403
    token = re.search(r'"token":"([^"]+)"', text)[1]
    assert ask(f"{plain}?bokeh-token={token[:-6]}AAAAAA")[0] == 403


def test_other_origins_do_not_drive_the_page(served):
    """The connection is refused to a page from elsewhere, even with the token."""
    _, text = ask(served.url)
    token = re.search(r'"token":"([^"]+)"', text)[1]
    base = served.url.split("?")[0]
    for origin in ("http://evil.example", "http://127.0.0.1:1", "http://localhost:1", "null"):
        assert knock(base, origin, token) == 403, origin
    assert knock(base, base.rstrip("/"), token) == 101


def test_only_this_machine_is_listened_to(served):
    """The server's socket is bound to the loopback address."""
    listening = [
        one.laddr.ip
        for one in psutil.Process(served.pid).net_connections(kind="inet")
        if one.status == psutil.CONN_LISTEN and one.laddr.port == served.port
    ]
    assert listening == ["127.0.0.1"]


def page_of(files, opener, saver=None):
    """Make a page without a browser."""
    return ExplorerPage(Document(), [(one,) for one in files], opener, saver)


def test_no_ping_meets_a_page_that_is_being_closed(exposure):
    """The server sends no keep-alive pings, on which Bokeh fails while a page is closed."""
    server = ExplorerServer([("one",)], lambda path: ExplorerState(exposure), lambda state: None)
    try:
        assert server._server._tornado._ping_job is None
    finally:
        server.stop()


def test_bad_file_is_a_message_and_the_page_stays(exposure):
    """Of two files the bad one gives its sentence, escaped; the other stays, and stays chosen."""
    state = ExplorerState(exposure)

    def opener(path):
        if path == ("good",):
            return state
        raise SossInputError("<b>bad</b> cannot be read.")

    page = page_of(["good", "bad"], opener)
    state.set_scales(1.0, 1.0)
    page.controls.file.value = "1"
    page._show_file(1)
    assert page.state is state
    assert page.controls.file.value == "0"
    assert page.controls.message.text == "&lt;b&gt;bad&lt;/b&gt; cannot be read."
    first_bad = page_of(["bad", "good"], opener)
    assert "cannot be read" in first_bad.controls.message.text
    first_bad._show_file(1)
    assert first_bad.state is state


def test_headers_and_names_are_escaped(exposure):
    """Markup in file name, target and template names comes out as text."""
    evil = "<script>alert(1)</script>"
    one = replace(exposure, name=evil, title=evil, source=evil, names=(evil,) * 3)
    page = page_of(["x"], lambda path: ExplorerState(one))
    texts = [page.controls.heading.text, page.controls.numbers.text]
    assert all("<script" not in text for text in texts)
    assert texts[0].count("&lt;script&gt;") == 3


def test_widgets_drive_the_state(exposure):
    """Slider, box, template, buttons and keys do to the state what they say."""
    state = ExplorerState(exposure)
    page = page_of(["x"], lambda path: state)
    controls = page.controls
    start = state.scales
    controls.sliders["left"].value = 0.8
    assert state.scales == (0.8, start[1])
    controls.boxes["right"].value = 0.9
    assert state.scales == (0.8, 0.9)
    assert controls.sliders["right"].value == 0.9
    controls.boxes["right"].value = 1e9
    assert "A scale is a number" in controls.message.text
    assert state.scales == (0.8, 0.9)
    controls.template.value = "2"
    assert state.template == 2
    controls.key.value = "u 1"
    assert state.scales == (0.8, 0.9)
    controls.key.value = "ArrowLeft 2"
    assert state.scales == pytest.approx((0.8 - 0.002 * 0.8, 0.9))
    controls.key.value = "Shift+ArrowUp 3"
    assert state.scales[1] == pytest.approx(0.9 * 1.02)
    controls.key.value = "f 4"
    assert state.scales == start
    controls.key.value = "] 5"
    assert state.setting.template == state.ranking()[1].template
    while state.undo():
        pass
    assert state.setting == Setting()


def test_row_of_the_list_masks_a_candidate(exposure):
    """A click on a row of the list masks its source, a second one gives it back."""
    state = ExplorerState(exposure)
    page = page_of(["x"], lambda path: state)
    page._find_now()
    count = len(state.contamination.sources)
    assert page.controls.message.text.startswith(f"{count} sources")
    assert len(page.figures.candidates.data["number"]) == count
    number = next(k for k in range(1, count + 1) if state.rows_of(k))
    for masked in (True, False):
        page.controls.table.source.selected.indices = [number - 1]
        assert bool(state.setting.intervals) == masked
        assert page.controls.table.source.selected.indices == []
        assert (page.figures.candidates.data["masked"][number - 1] > 0) == masked


def test_image_that_is_sent_is_that_of_the_state(exposure):
    """After each change, the data of the figures are the state's numbers."""
    state = ExplorerState(exposure)
    page = page_of(["x"], lambda path: state)
    page.controls.boxes["left"].value = 0.5
    sent = page.figures.images["after"].data["image"][0]
    assert ((sent == state.after()) | (sent != sent)).all()
    light = page.figures.spectra[1].data
    expected = state.parts_before().spectra[1] - state.parts_background().spectra[1]
    assert (light["after"] == expected).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.fits"], "The file nothing.fits does not exist"),
        (["{file}", "--override_bkg", "nothing.fits"], "nothing.fits given as override_bkg"),
        (["{file}", "--half-width", "nan"], "--half-width is a number from 1 to 1000"),
        (["{file}", "--output-dir", "nowhere"], "nowhere given as --output-dir does not exist"),
        (["{file}", "--port", "70000"], "--port is a number from 0 to 65535"),
        (["{broken}", "--override_bkg", "{lib}"], "broken"),
    ],
)
def test_command_refuses_in_one_sentence(arguments, message, rateints, store, tmp_path, capsys):
    """What cannot be used ends the command with one sentence and exit status 1."""
    broken = tmp_path / "broken.fits"
    broken.write_bytes(rateints.read_bytes()[:40_000])
    names = {"file": rateints, "broken": broken, "lib": store / "lib.fits"}
    status = main(["explore", "--no-browser", *(one.format(**names) for one in arguments)])
    assert status == 1
    said = capsys.readouterr().err.strip()
    assert message in said
    assert said.count("\n") == 0

"""The explorer's page in a real browser."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import asdf
import numpy as np
import pytest
from astropy.io import fits

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _BROWSERS)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
STRUN = Path(sys.executable).with_name("strun")

# Where a point of a figure is on the page.
_PLACE = """([name, x, y]) => {
    const view = Bokeh.index.find_one(Bokeh.documents[0].get_model_by_name(name));
    const box = view.canvas_view.el.getBoundingClientRect();
    return [box.left + view.frame.x_scale.compute(x), box.top + view.frame.y_scale.compute(y)];
}"""
_MODEL = "name => Bokeh.documents[0].get_model_by_name(name)"


@pytest.fixture(scope="module")
def browser():
    """Start Chromium without a window."""
    with sync_api.sync_playwright() as play:
        one = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture
def page(browser, served):
    """Open the explorer's page; errors of its scripts fail the test."""
    context = browser.new_context(viewport={"width": 1400, "height": 1150})
    one = context.new_page()
    errors = []
    one.on("pageerror", lambda error: errors.append(str(error)))
    one.goto(served.url)
    one.wait_for_function(
        "() => window.Bokeh && Bokeh.documents.length == 1 && Bokeh.documents[0].is_idle",
        timeout=40_000,
    )
    yield one
    shots = os.environ.get("SOSS_PHOTCAL_SCREENSHOTS")
    if shots:
        name = os.environ["PYTEST_CURRENT_TEST"].split("::")[1].split(" ")[0]
        one.screenshot(path=f"{shots}/{name}.png", full_page=True)
    context.close()
    assert errors == []


def value_of(page, name, what="value"):
    """Give a property of a widget."""
    return page.evaluate(f"name => ({_MODEL})(name).{what}", name)


def wait_for(page, name, test, what="value"):
    """Wait until a property of a widget passes a test, a function in JavaScript."""
    page.wait_for_function(f"name => ({test})(({_MODEL})(name).{what})", arg=name, timeout=20_000)


def place(page, figure, x, y):
    """Give the pixel of the page where a point of a figure is."""
    return page.evaluate(_PLACE, [figure, x, y])


def press(page, name):
    """Click a button by its name."""
    label = value_of(page, name, "label")
    page.get_by_role("button", name=label, exact=True).click()


def choose(page, name, value):
    """Choose from a list by the value that the server knows."""
    options = value_of(page, name, "options")
    place = [one[0] for one in options].index(value)
    page.locator(f"select[name={name}]").select_option(index=place)


def message(page):
    """Give what the page says."""
    return value_of(page, "message", "text")


def undo_all(page):
    """Go back to the fit, whatever an earlier test did; the server keeps it."""
    for _ in range(12):
        automatic = value_of(page, "template") == "auto"
        if automatic and "By hand" not in value_of(page, "numbers", "text"):
            return
        before = value_of(page, "numbers", "text")
        press(page, "undo")
        wait_for(page, "numbers", f"text => text != {json.dumps(before)}", "text")
    raise AssertionError("the page does not go back to the fit")


def test_drag_choose_save_and_repeat(page, served, rateints, tmp_path):
    """What is dragged and chosen in the browser is saved, and strun repeats it to 1e-6."""
    undo_all(page)
    start = value_of(page, "slider_left")
    choose(page, "template", "2")
    wait_for(page, "template", "value => value == '2'")
    handle = page.locator(".noUi-handle").first
    box = handle.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    for step in range(1, 6):
        page.mouse.move(box["x"] + box["width"] / 2 + 4 * step, box["y"] + box["height"] / 2)
    page.mouse.up()
    wait_for(page, "box_left", f"value => value > {start} + 0.05")
    right = page.locator("input[type=text]").nth(1)
    right.fill("0.8123456789")
    right.press("Enter")
    wait_for(page, "box_right", "value => value == 0.8123456789")
    press(page, "save")
    wait_for(page, "message", "text => text.startsWith('Saved')", "text")
    scales = [value_of(page, f"box_{side}") for side in ("left", "right")]
    assert "By hand: template 2" in value_of(page, "numbers", "text")
    saved = max(served.output.glob("*.asdf"), key=os.path.getmtime)
    with asdf.open(saved) as content:
        assert content["parameters"]["scales"] == scales
        assert content["parameters"]["template"] == 2
    done = subprocess.run(
        [STRUN, saved, str(rateints), f"--output_dir={tmp_path}", "--save_background=true"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    header = fits.getheader(tmp_path / rateints.name.replace("rateints", "bsubints"))
    assert header["BKGTMPL"] == 2
    assert header["BKGSCLL"] == pytest.approx(scales[0], rel=1e-6)
    assert header["BKGSCLR"] == pytest.approx(scales[1], rel=1e-6)
    shown = page.evaluate(
        "() => Array.from(Bokeh.documents[0].get_model_by_name('background').renderers"
        ".find(one => one.data_source.data.image).data_source.data.image[0])"
    )
    written = fits.getdata(tmp_path / rateints.name.replace("rateints", "sossbkg"))
    assert np.allclose(np.reshape(shown, written.shape), written, rtol=1e-6)


def test_keys_move_and_undo(page):
    """An arrow key moves the left scale by 0.2 per cent, u takes it back, y does it again."""
    undo_all(page)
    start = value_of(page, "box_left")
    page.mouse.click(700, 20)
    page.keyboard.press("ArrowRight")
    wait_for(page, "box_left", f"value => Math.abs(value / {start} - 1.002) < 1e-9")
    page.keyboard.press("u")
    wait_for(page, "box_left", f"value => value == {start}")
    page.keyboard.press("y")
    wait_for(page, "box_left", f"value => value > {start}")
    page.keyboard.press("b")
    wait_for(page, "view", "value => value == 4", "active")
    page.wait_for_function(
        "() => { const title = Bokeh.documents[0].get_model_by_name('before').title.text;"
        " window.seen = (window.seen || new Set()).add(title); return window.seen.has('before')"
        " && window.seen.has('after'); }",
        timeout=5000,
    )
    page.keyboard.press("b")
    wait_for(page, "view", "value => value == 0", "active")


def test_mask_is_painted_with_the_mouse(page):
    """A box drawn on the image is left out of the fit, and the scales change."""
    undo_all(page)
    before = value_of(page, "box_right")
    page.evaluate(f"() => {{ ({_MODEL})('box before').active = true; }}")
    first, last = place(page, "before", 900, 180), place(page, "before", 1300, 245)
    page.mouse.move(*first)
    page.mouse.down()
    page.mouse.move((first[0] + last[0]) / 2, (first[1] + last[1]) / 2)
    page.mouse.move(*last)
    page.mouse.up()
    wait_for(page, "box_right", f"value => value != {before}")
    wait_for(page, "overlay", "value => value", "active")
    press(page, "clear")
    wait_for(page, "box_right", f"value => value == {before}")


def test_contaminants_are_clicked(page, served):
    """A click on a candidate masks its wavelengths, which are then saved as a table."""
    undo_all(page)
    press(page, "find")
    wait_for(page, "message", "text => text.includes('sources; a click')", "text")
    found = page.evaluate(
        f"() => {{ const data = ({_MODEL})('candidates').source.data;"
        " return [...data.spoils].map((text, k) => [text, data.column[k], data.row[k]]); }"
    )
    _, column, row = next(one for one in found if one[0] != "nothing")
    page.mouse.click(*place(page, "before", column, row))
    page.wait_for_function(
        f"() => Array.from(({_MODEL})('candidates').source.data.masked).some(value => value > 0)",
        timeout=10_000,
    )
    press(page, "save")
    wait_for(page, "message", "text => text.includes('mask_table')", "text")
    tables = list(served.output.glob("*_intervals.ecsv"))
    assert len(tables) >= 1


def test_damaged_file_gives_a_message(page):
    """Choosing a damaged file says what is wrong; the page goes on with the one that it shows."""
    undo_all(page)
    choose(page, "file", "1")
    wait_for(page, "message", "text => text.includes('broken')", "text")
    wait_for(page, "file", "value => value == '0'")
    assert "<b>" not in message(page)
    assert "&lt;b&gt;" in message(page)
    start = value_of(page, "box_left")
    page.mouse.click(700, 20)
    page.keyboard.press("Shift+ArrowRight")
    wait_for(page, "box_left", f"value => value > {start}")


def test_page_loaded_again_shows_what_was_chosen(page):
    """After a reload of the page, scales set by hand are still there."""
    undo_all(page)
    box = page.locator("input[type=text]").nth(0)
    box.fill("0.7654321")
    box.press("Enter")
    wait_for(page, "box_left", "value => value == 0.7654321")
    page.reload()
    page.wait_for_function(
        "() => window.Bokeh && Bokeh.documents.length == 1 && Bokeh.documents[0].is_idle"
    )
    wait_for(page, "box_left", "value => value == 0.7654321")

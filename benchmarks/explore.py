"""How long the explorer takes from a slider's movement to the picture.

Run ``python benchmarks/explore.py``; it needs Chromium and playwright.  A full SUBSTRIP256 is
shown, three images, averages and spectra.  The slider of the left scale is moved in the browser,
and the time is taken until the images are painted, and until the averages and spectra, which
the server makes, are.  The time that the browser takes to paint an image without new data is
given beside it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

_MOVE = """async (value) => {
    const doc = Bokeh.documents[0];
    const slider = doc.get_model_by_name("slider_left");
    const spectrum = doc.get_model_by_name("order1").renderers.at(-1).data_source;
    const frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
    const start = performance.now();
    const arrived = new Promise(done => {
        const slot = () => { spectrum.properties.data.change.disconnect(slot); done(); };
        spectrum.properties.data.change.connect(slot);
    });
    slider.value = value;
    await frame();
    const painted = performance.now();
    await arrived;
    await frame();
    return [painted - start, performance.now() - start];
}"""
_REPAINT = """async () => {
    const doc = Bokeh.documents[0];
    const source = doc.get_model_by_name("after").renderers[0].data_source;
    const start = performance.now();
    source.change.emit();
    await new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
    return performance.now() - start;
}"""


def _serve(folder: Path) -> tuple[subprocess.Popen[str], str]:
    from soss_photcal_steps.simulate import SceneParams, make_library, simulate
    from soss_photcal_steps.simulate.write import write_library, write_rateints

    library = make_library(18, 3)
    write_library(library, folder / "lib.fits")
    scene = simulate(SceneParams(seed=5, nints=2, star="mid", template_index=7), library)
    name = folder / "jw01512001001_03102_00001-seg001_nis_rateints.fits"
    write_rateints(scene, name)
    program = Path(sys.executable).with_name("soss-photcal")
    process = subprocess.Popen(
        [program, "explore", name, "--override_bkg", folder / "lib.fits", "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().split()[-1]


def main() -> None:
    """Measure, and print a table."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40, help="movements (default: %(default)s)")
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        process, url = _serve(Path(folder))
        try:
            browser = play.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": 1400, "height": 1150})
            page.goto(url)
            page.wait_for_function(
                "() => window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle"
            )
            times = []
            for step in range(count):
                times.append(page.evaluate(_MOVE, 1.0 + 0.001 * (step + 1)))
                page.wait_for_timeout(150)
            repaint = [page.evaluate(_REPAINT) for _ in range(count)]
            browser.close()
        finally:
            process.terminate()
    painted, plotted = np.array(times[3:]).T
    print("| from slider to | median, ms | 90 per cent, ms |\n|---|---|---|")
    for name, values in (
        ("images painted", painted),
        ("averages and spectra painted", plotted),
        ("painting alone, without new data", np.array(repaint)),
    ):
        print(f"| {name} | {np.median(values):.0f} | {np.quantile(values, 0.9):.0f} |")


if __name__ == "__main__":
    main()

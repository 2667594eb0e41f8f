"""The sub-command ``soss-photcal explore``.

Only the parser is made at import; what reads files and serves is loaded when the command runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from soss_photcal_steps.errors import SossInputError

__all__ = ["add_command", "run_command"]


def add_command(commands: Any) -> None:
    """Add the sub-command to a parser.

    Parameters
    ----------
    commands : argparse._SubParsersAction
        What ``add_subparsers`` gave.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "explore",
        help="look at the background in a web browser, and choose template and scales by hand",
        description="Open a page in the web browser that shows a rate or rateints file before and "
        "after the subtraction of its background, and the spectra.  Template and scales begin "
        "with the fit of soss_template_bkg and can be changed; the mask can be painted.  Saving "
        "writes a parameter file with which strun repeats what is shown.  The page is served on "
        "this machine only; Ctrl-C ends it.",
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE",
        help="rate or rateints file of SOSS; segments of one exposure are fitted together",
    )  # fmt: skip
    parser.add_argument(
        "--override_bkg", metavar="LIB", help="library of templates; that of CRDS by default"
    )
    parser.add_argument(
        "--override_pastasoss", metavar="FILE",
        help="trace reference; that of CRDS, or the package's own table, by default",
    )  # fmt: skip
    parser.add_argument(
        "--output-dir", default=".", metavar="DIR",
        help="where to save, must exist (default: the current folder)",
    )  # fmt: skip
    parser.add_argument(
        "--half-width", type=float, default=20.0, metavar="PIXELS",
        help="half width of the box of the spectra (default: %(default)s, the pipeline's)",
    )  # fmt: skip
    parser.add_argument(
        "--trace_half_width", type=float, metavar="PIXELS", help="as for soss_template_bkg"
    )
    parser.add_argument("--source_sigma", type=float, metavar="N", help="as for soss_template_bkg")
    parser.add_argument(
        "--combine", choices=("auto", "never", "always"), help="as for soss_template_bkg"
    )
    parser.add_argument(
        "--force", action="store_true", help="take files whose background was subtracted already"
    )
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="port of the page (default: a free one)"
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="only print the address, do not open a browser"
    )


def _check(options: argparse.Namespace) -> None:
    for name, low in (("half-width", 1.0), ("trace_half_width", 5.0), ("source_sigma", 2.0)):
        value = getattr(options, name.replace("-", "_"))
        if value is not None and not low <= value <= 1000:
            raise SossInputError(f"--{name} is a number from {low:g} to 1000, not {value:g}.")
    if not 0 <= options.port <= 65535:
        raise SossInputError(f"--port is a number from 0 to 65535, not {options.port}.")
    if not os.path.isdir(options.output_dir):
        raise SossInputError(
            f"The folder {options.output_dir} given as --output-dir does not exist."
        )
    for path in options.files:
        if not os.path.isfile(path):
            raise SossInputError(f"The file {path} does not exist.")


def run_command(options: argparse.Namespace) -> tuple[int, str]:
    """Run the sub-command, until it is interrupted.

    Parameters
    ----------
    options : argparse.Namespace
        What the command line says.

    Returns
    -------
    status : int
        0.
    text : str
        What is to be printed at the end.

    Raises
    ------
    SossInputError
        If a file or a number cannot be used.
    """
    _check(options)
    import webbrowser

    from soss_photcal_steps.background.options import FitOptions
    from soss_photcal_steps.background.progress import Progress
    from soss_photcal_steps.explore.load import group_segments, load_exposure
    from soss_photcal_steps.explore.save import Saved, save
    from soss_photcal_steps.explore.server import ExplorerServer
    from soss_photcal_steps.explore.state import ExplorerState

    references = {
        "override_bkg": options.override_bkg,
        "override_pastasoss": options.override_pastasoss,
    }
    named = {name: getattr(options, name) for name in
             ("trace_half_width", "source_sigma", "combine")}  # fmt: skip
    settings = FitOptions(**{name: value for name, value in named.items() if value is not None})

    def opener(segments: tuple[str, ...]) -> ExplorerState:
        with Progress(f"reading {os.path.basename(segments[0])}", 1) as progress:
            exposure = load_exposure(segments, **references, force=options.force, progress=progress)
        return ExplorerState(exposure, settings, options.half_width)

    def saver(state: ExplorerState) -> Saved:
        return save(state, options.output_dir, references, force=options.force)

    exposures = group_segments(options.files)
    server = ExplorerServer(exposures, opener, saver, options.port)
    if len(exposures) == 1:
        # With nothing else to look at, a bad file ends the command.
        server.state(exposures[0]).fit  # noqa: B018 (it is made and kept)
    sys.stdout.write(f"Explorer at {server.url}\nCtrl-C ends it.\n")
    sys.stdout.flush()
    if not options.no_browser:
        webbrowser.open(server.url)
    server.run()
    return 0, "The explorer has ended."

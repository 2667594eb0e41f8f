"""The explorer's page: what the widgets do to the state, and the state to the figures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from typing import Any

from bokeh.document import Document
from bokeh.events import SelectionGeometry, Tap
from bokeh.palettes import all_palettes

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.explore.controls import Controls
from soss_photcal_steps.explore.figures import Figures
from soss_photcal_steps.explore.numbers import BREAK_WAVELENGTH
from soss_photcal_steps.explore.save import Saved
from soss_photcal_steps.explore.setting import Region
from soss_photcal_steps.explore.state import ExplorerState

__all__ = ["ExplorerPage"]

log = logging.getLogger(__name__)

# A click this near to a candidate is meant for it, pixels along the columns and along the rows.
_NEAR = (25.0, 14.0)
_AUTOMATIC = "auto"
_COLOURS = {"info": "#e8f1fa", "error": "#fbe3e0", "done": "#e4f3e6"}


class ExplorerPage:
    """One page for one browser.

    Parameters
    ----------
    document : Document
        The document that is filled.
    exposures : sequence of tuple of str
        Exposures to choose from, each a file or its segments.
    opener : callable
        Makes the state of an exposure, or gives the one that it has made before;
        SossInputError where a file cannot be used.
    saver : callable
        Writes what was chosen.
    first : int, optional
        Which exposure is shown first.
    """

    def __init__(
        self,
        document: Document,
        exposures: Sequence[tuple[str, ...]],
        opener: Callable[[tuple[str, ...]], ExplorerState],
        saver: Callable[[ExplorerState], Saved],
        first: int = 0,
    ) -> None:
        self.document, self.exposures = document, list(exposures)
        self.opener, self.saver = opener, saver
        self.state: ExplorerState | None = None
        self._number = first
        self._quiet = False
        self._pending = False
        document.title = "SOSS background explorer"
        self._show_file(first)

    # Building.

    def _show_file(self, number: int) -> None:
        """Open an exposure; where that fails, say so and keep what there is."""
        files = self.exposures[number]
        try:
            state = self.opener(files)
            failure = ""
        except SossInputError as error:
            failure = str(error)
        except OSError as error:
            failure = f"{error.filename or files[0]}: {error.strerror or error}"
        if failure:
            log.error("%s", failure)
            if self.state is None:
                self._build_empty(number)
            else:
                # The list names what is shown.
                self._quiet = True
                self.controls.file.value = str(self._number)
                self._quiet = False
            self._say(failure, "error")
            return
        self.state, self._number = state, number
        self._build(number)

    def _build_empty(self, number: int) -> None:
        """Make a page without an exposure, for the message why there is none."""
        self.controls = Controls(self.exposures)
        self.controls.file.value = str(number)
        self.controls.file.on_change("value", self._on_file)
        self.document.clear()
        for part in (self.controls.heading, self.controls.message, self.controls.file):
            self.document.add_root(part)

    def _build(self, number: int) -> None:
        state = self._known_state
        self.document.clear()
        self.controls = Controls(self.exposures)
        self.figures = Figures(state)
        controls, figures = self.controls, self.figures
        controls.file.value = str(number)
        one = state.exposure
        segments = f" in {len(one.paths)} segments" if len(one.paths) > 1 else ""
        controls.heading.text = (
            f"<b>{escape(one.name)}</b>{segments} &nbsp; {escape(one.title)}, "
            f"{one.combined.n_integrations} integrations; templates: {escape(one.source)}; "
            f"traces: {escape(one.trace_source)}, PWCPOS {one.pwcpos:.4f}"
        )
        low, high = figures.limits
        controls.range.update(
            start=round(3 * low, 3), end=round(4 * high, 3), step=round((high - low) / 200, 4),
            value=(round(low, 3), round(high, 3)),
        )  # fmt: skip
        self._wire()
        self._show_choices()
        self.figures.show_fixed(state)
        self.figures.show_intervals(state)
        self._show_numbers()
        self.document.add_root(controls.layout(figures))
        controls.wire_browser(self.document, figures)
        controls.table.source.selected.on_change("indices", self._on_candidate)
        if state.fit.failure:
            self._say(
                f"There is no fit: {state.fit.failure}. Template and scales can be set by hand.",
                "error",
            )

    @property
    def _known_state(self) -> ExplorerState:
        if self.state is None:
            raise SossInputError("No file is open.")
        return self.state

    def _wire(self) -> None:
        controls = self.controls
        controls.file.on_change("value", self._on_file)
        controls.template.on_change("value", self._on_template)
        for side in ("left", "right"):
            controls.sliders[side].on_change("value", partial(self._on_slider, side))
            controls.sliders[side].on_change("value_throttled", self._on_release)
            controls.boxes[side].on_change("value", partial(self._on_box, side))
        for button, action in (
            (controls.use_fit, lambda: self._known_state.use_fit()),
            (controls.undo, lambda: self._known_state.undo()),
            (controls.redo, lambda: self._known_state.redo()),
            (controls.clear, lambda: self._known_state.clear_mask()),
        ):
            button.on_click(partial(self._act, action))
        controls.find.on_click(self._find)
        controls.save.on_click(self._save)
        controls.palette.on_change("value", self._on_palette)
        controls.key.on_change("value", self._on_key)
        for name in ("before", "after"):
            self.figures.panels[name].on_event(SelectionGeometry, self._on_painted)
            self.figures.panels[name].on_event(Tap, self._on_tap)

    # From the browser.

    def _act(self, action: Callable[[], object]) -> None:
        """Do something to the state and show what follows; a mistake becomes a message."""
        before = self._known_state.fit.result
        try:
            action()
            self._say("")
        except SossInputError as error:
            self._say(str(error), "error")
        self._show_all(fit_changed=self._known_state.fit.result is not before)

    def _on_file(self, _attribute: str, _old: str, new: str) -> None:
        if self._quiet:
            return
        self._say(f"Reading {', '.join(self.exposures[int(new)])} ...")
        self.document.add_next_tick_callback(lambda: self._show_file(int(new)))

    def _on_template(self, _attribute: str, _old: str, new: str) -> None:
        if not self._quiet:
            number = None if new == _AUTOMATIC else int(new)
            self._act(lambda: self._known_state.choose(number))

    def _set_one(self, side: str, value: float, *, dragging: bool) -> None:
        left, right = self._known_state.scales
        scales = (value, right) if side == "left" else (left, value)
        self._known_state.set_scales(*scales, dragging=dragging)

    def _on_slider(self, side: str, _attribute: str, _old: float, new: float) -> None:
        if self._quiet:
            return
        self._set_one(side, float(new), dragging=True)
        # Movements that come in while one is drawn are drawn together.
        if not self._pending:
            self._pending = True
            self.document.add_next_tick_callback(self._draw_drag)

    def _draw_drag(self) -> None:
        self._pending = False
        self._say("")
        self._show_numbers(moving=True)

    def _on_release(self, _attribute: str, _old: float, _new: float) -> None:
        if not self._quiet:
            self._known_state.history.end_drag()
            self._show_numbers()

    def _on_box(self, side: str, _attribute: str, _old: float | None, new: float | None) -> None:
        if self._quiet:
            return
        if new is None:
            self._say("A scale is a number.", "error")
            self._show_numbers()
            return
        self._act(lambda: self._set_one(side, float(new), dragging=False))

    def _on_palette(self, _attribute: str, _old: str, new: str) -> None:
        self.figures.mapper.palette = all_palettes[new.removesuffix("256")][256]

    def _on_key(self, _attribute: str, _old: str, new: str) -> None:
        key = new.split(" ")[0]
        name = key.removeprefix("Shift+")
        state = self._known_state
        scales = self.controls.nudged(key, state.scales)
        if scales is not None:
            self._act(lambda: state.set_scales(*scales))
        elif name in ("[", "]"):
            self._step_template(-1 if name == "[" else 1)
        elif name in ("u", "y", "f"):
            action = {"u": state.undo, "y": state.redo, "f": state.use_fit}[name]
            self._act(action)
        elif name == "c":
            self._find()
        elif name == "s":
            self._save()

    def _step_template(self, way: int) -> None:
        """Choose the next better or worse template."""
        order = [one.template for one in self._known_state.ranking()]
        place = order.index(self._known_state.template) + way
        if 0 <= place < len(order):
            self._act(lambda: self._known_state.choose(order[place]))

    def _on_painted(self, event: SelectionGeometry) -> None:
        geometry: Any = event.geometry
        if not event.final or geometry is None:
            return
        wipe = self.controls.brush.active == 1
        if geometry["type"] == "rect":
            columns, rows = (geometry["x0"], geometry["x1"]), (geometry["y0"], geometry["y1"])
            make = partial(Region.box, columns, rows, wipe=wipe)
        elif geometry["type"] == "poly":
            corners = tuple(map(float, geometry["x"])), tuple(map(float, geometry["y"]))
            make = partial(Region, *corners, wipe)
        else:
            return
        self._act(lambda: self._known_state.paint(make()))
        self.controls.overlay.active = True

    def _on_tap(self, event: Tap) -> None:
        found = self._known_state.contamination
        if found is None or event.x is None or event.y is None:
            return
        distance = [
            ((one.column - event.x) / _NEAR[0]) ** 2 + ((one.row - event.y) / _NEAR[1]) ** 2
            for one in found.sources
        ]
        if distance and min(distance) < 1:
            self._toggle(distance.index(min(distance)) + 1)

    def _on_candidate(self, _attribute: str, _old: Sequence[int], new: Sequence[int]) -> None:
        if not new:
            return
        self.figures.listed.selected.indices = []
        self._toggle(new[0] + 1)

    def _toggle(self, number: int) -> None:
        self._act(lambda: self._known_state.toggle_source(number))

    def _find(self) -> None:
        self._say("Looking for zero orders and traces of other stars ...")
        self.document.add_next_tick_callback(self._find_now)

    def _find_now(self) -> None:
        self._act(lambda: self._known_state.find_contaminants())
        found = self._known_state.contamination
        count = 0 if found is None else len(found.sources)
        self._say(f"{count} sources; a click on one masks the wavelengths that it spoils.")

    def _save(self) -> None:
        try:
            saved = self.saver(self._known_state)
        except (SossInputError, OSError) as error:
            self._say(str(error), "error")
            return
        names = [name for name in (saved.parameters, saved.mask, saved.intervals) if name]
        text = "Saved " + ", ".join(escape(name) for name in names) + ".<br>"
        text += "<br>".join(f"<code>{escape(line)}</code>" for line in saved.command.splitlines())
        if saved.intervals:
            text += f"<br><code>strun soss_ratio ... --mask_table={escape(saved.intervals)}</code>"
        self._say(text, "done", is_html=True)
        log.info("Saved %s", ", ".join(names))

    # To the browser.

    def _say(self, text: str, kind: str = "info", *, is_html: bool = False) -> None:
        message = self.controls.message
        message.text = text if is_html else escape(text)
        colour, padding = (_COLOURS[kind], "6px 10px") if text else ("transparent", "0")
        message.styles = {"background": colour, "padding": padding, "border-radius": "4px"}

    def _show_choices(self) -> None:
        """List the templates, the best first."""
        automatic = (_AUTOMATIC, "automatic: what fits best")
        names: list[Any] = [
            (
                str(one.template),
                f"{one.template}: {one.name}" + (f" (-{one.worse:.1f})" if one.worse > 0 else ""),
            )
            for one in self._known_state.ranking()
        ]
        self._quiet = True
        self.controls.template.options = [automatic, *names]
        self._quiet = False

    def _show_all(self, *, fit_changed: bool) -> None:
        if fit_changed:
            self._show_choices()
            self.figures.show_fixed(self._known_state)
        self.figures.show_intervals(self._known_state)
        self._show_numbers()

    def _show_numbers(self, *, moving: bool = False) -> None:
        """Show scales, what follows from them, and the images."""
        state, controls = self._known_state, self.controls
        fitted = state.fitted_scales[0]
        self._quiet = True
        try:
            chosen = state.setting.template
            controls.template.value = _AUTOMATIC if chosen is None else str(chosen)
            for k, side in enumerate(("left", "right")):
                value = float(state.scales[k])
                slider = controls.sliders[side]
                if not moving:
                    middle = fitted[k] if fitted[k] > 0 else 1.0
                    slider.update(
                        start=min(0.0, value), end=max(2 * middle, 1.2 * value), value=value
                    )
                controls.boxes[side].value = value
        finally:
            self._quiet = False
        controls.numbers.text = self._number_table()
        self.figures.show(state, moving=moving)

    def _number_table(self) -> str:
        """Say in a small table what the scales are and what the fit says."""
        state = self._known_state
        fitted, errors = state.fitted_scales
        head = "<tr><th></th><th>left</th><th>right</th></tr>"
        lines = [
            ("scale", [f"{scale:.5f}" for scale in state.scales]),
            ("fit", [f"{one:.4f} &plusmn; {error:.4f}" for one, error in
                     zip(fitted, errors, strict=True)]),
            ("level, DN/s", [f"{level:.3f}" for level in state.levels]),
        ]  # fmt: skip
        body = "".join(
            f"<tr><td>{name}</td><td>{one}</td><td>{other}</td></tr>"
            for name, (one, other) in lines
        )
        name = escape(state.exposure.names[state.template])
        if state.by_hand:
            mode = f"By hand: template {state.template} ({name})."
        elif state.combined:
            mode = f"Fit: a combination; the main template is {state.template} ({name})."
        else:
            mode = f"Fit: template {state.template} ({name})."
        step = state.step()
        jump = (
            f"Order 1 jumps by {100 * step.step:+.2f} &plusmn; {100 * step.error:.2f} per cent at "
            f"the break ({BREAK_WAVELENGTH} um)."
            if step
            else "The jump of order 1 at the break cannot be measured."
        )
        style = "font-size: 12px; border-spacing: 10px 1px"
        return f"<table style='{style}'>{head}{body}</table>{mode}<br>{jump}"

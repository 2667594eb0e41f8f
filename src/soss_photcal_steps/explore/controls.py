"""The widgets of the explorer's page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, CustomJS
from bokeh.models.widgets import (
    Button,
    DataTable,
    Div,
    NumberFormatter,
    NumericInput,
    RadioButtonGroup,
    RangeSlider,
    Select,
    Slider,
    TableColumn,
    TextInput,
    Toggle,
)

from soss_photcal_steps.explore.figures import PALETTES, Figures

__all__ = ["VIEWS", "Controls"]

#: Ways to look at the images.
VIEWS = ("stacked", "before", "after", "background", "blink")
_WIDTH = 330
# Half a period of blinking, ms.
_BLINK = 700
# Relative change of a scale by one press of an arrow key, and with Shift.
_NUDGE, _LARGE_NUDGE = 0.002, 0.02

_SHOW_VIEW = """
    const names = ["before", "after", "background"];
    const view = views[group.active];
    clearInterval(window.soss_blinking);
    const show = (one) => { for (const name of names) layers[name].visible = (name == one);
                            panels.before.title.text = one; };
    panels.after.visible = panels.background.visible = (view == "stacked");
    panels.before.height = (view == "stacked") ? 185 : 420;
    if (view == "blink") {
        let on = false;
        show("before");
        const turn = () => { on = !on; show(on ? "after" : "before"); };
        window.soss_blinking = setInterval(turn, pause);
    } else show(view == "stacked" ? "before" : view);
"""

# While a slider moves, the two images that change are made here: sending them takes longer.
_DRAW = """
    const left = sliders.left.value, right = sliders.right.value;
    const one = halves.data.left[0], other = halves.data.right[0];
    const first = before.data.image[0], sky = background.data.image[0], rest = after.data.image[0];
    if (!one || one.length != rest.length) return;
    for (let i = 0; i < rest.length; i++) {
        sky[i] = left * one[i] + right * other[i];
        rest[i] = first[i] - sky[i];
    }
    background.change.emit();
    after.change.emit();
"""

# Keys go to the server as text with a running number, so that the same key counts each time.
_KEYS = """
    if (window.soss_keys) document.removeEventListener("keydown", window.soss_keys);
    let number = 0;
    window.soss_keys = (event) => {
        const target = event.composedPath()[0];
        const tag = (target.tagName || "").toLowerCase();
        const typing = ["input", "textarea", "select"].includes(tag);
        if (typing || (target.getAttribute && target.getAttribute("role") == "slider")) return;
        let name = event.key.length == 1 ? event.key.toLowerCase() : event.key;
        if (event.ctrlKey || event.metaKey) {
            if (name == "z") name = event.shiftKey ? "y" : "u";
            else if (name != "y") return;
        } else if (event.altKey) return;
        if (name == "b" || name == "v") {
            const last = views.length - 1;
            if (name == "b") group.active = (group.active == last) ? 0 : last;
            else group.active = (group.active + 1) % views.length;
            event.preventDefault();
            return;
        }
        if (name == "m") { overlay.active = !overlay.active; return; }
        if (!known.includes(name)) return;
        event.preventDefault();
        number += 1;
        key.value = (event.shiftKey ? "Shift+" : "") + name + " " + number;
    };
    document.addEventListener("keydown", window.soss_keys);
"""
#: Keys that the server acts on.
KEYS = (
    "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "u", "y", "f", "s", "c", "[", "]",
)  # fmt: skip
_HELP = (
    "<b>Keys</b>: &larr; &rarr; left scale, &darr; &uarr; right scale (Shift: ten times as much); "
    "[ ] template; f the fit's scales; u undo; y redo; b blink; v next view; m mask; "
    "c find contaminants; s save"
)


class Controls:
    """Widgets, without what they do.

    Parameters
    ----------
    exposures : sequence of tuple of str
        Exposures to choose from, each a file or its segments.
    """

    def __init__(self, exposures: Sequence[tuple[str, ...]]) -> None:
        self.heading = Div(text="", disable_math=True, sizing_mode="stretch_width", name="heading")
        self.message = Div(text="", disable_math=True, sizing_mode="stretch_width", name="message")
        # Two files of the same name are told apart by their folders.
        files = [segments[0] for segments in exposures]
        short = [os.path.basename(name) for name in files]
        names = short if len(set(short)) == len(short) else files
        options: Any = [
            (str(number), name + (f" and {len(segments) - 1} more" if len(segments) > 1 else ""))
            for number, (name, segments) in enumerate(zip(names, exposures, strict=True))
        ]
        self.file = Select(title="File", options=options, value="0", width=_WIDTH, name="file")
        self.template = Select(title="Template, best first", width=_WIDTH, name="template")
        self.sliders: dict[str, Any] = {}
        self.boxes: dict[str, Any] = {}
        for side in ("left", "right"):
            self.sliders[side] = Slider(
                start=0, end=2, value=1, step=0.0005, width=_WIDTH - 150,
                title=f"Scale {side} of the break", name=f"slider_{side}",
            )  # fmt: skip
            self.boxes[side] = NumericInput(
                value=1, mode="float", width=130, title=" ", name=f"box_{side}"
            )
        self.numbers = Div(text="", disable_math=True, width=_WIDTH, name="numbers")
        self.use_fit = Button(label="The fit's scales", width=105, name="use_fit")
        self.undo = Button(label="Undo", width=105, name="undo")
        self.redo = Button(label="Redo", width=105, name="redo")
        self.save = Button(label="Save", button_type="primary", width=_WIDTH, name="save")
        self.view = RadioButtonGroup(
            labels=["stacked", "before", "after", "sky", "blink"],
            active=0,
            width=_WIDTH,
            name="view",
        )
        self.range = RangeSlider(
            start=-1, end=1, value=(-1, 1), step=0.01, title="Display (DN/s)", width=_WIDTH,
            name="range",
        )  # fmt: skip
        palettes: Any = [(name, name.removesuffix("256")) for name in PALETTES]
        self.palette = Select(
            options=palettes,
            value="Viridis256",
            width=150,
            title="Colours",
            name="palette",
        )
        self.overlay = Toggle(label="Show the mask", width=150, align="end", name="overlay")
        self.brush = RadioButtonGroup(
            labels=["paint", "wipe"], active=0, width=150, align="end", name="brush"
        )
        self.clear = Button(label="Clear what was painted", width=165, name="clear")
        self.find = Button(label="Find contaminants", width=_WIDTH, name="find")
        self.key = TextInput(value="", visible=False, name="key")
        self.table: Any = None

    def candidate_table(self, source: ColumnDataSource) -> DataTable:
        """Make the list of contaminants.

        Parameters
        ----------
        source : ColumnDataSource
            The candidates.

        Returns
        -------
        DataTable
            A row for each; a click selects it.
        """
        number = NumberFormatter(format="0")
        columns = [
            TableColumn(field="number", title="no", width=28, formatter=number),
            TableColumn(field="column", title="column", width=48, formatter=number),
            TableColumn(field="row", title="row", width=34, formatter=number),
            TableColumn(field="spoils", title="order: wavelengths (um)", width=220),
        ]
        self.table = DataTable(
            source=source, columns=columns, width=_WIDTH, height=170, index_position=None,
            sortable=False, autosize_mode="none", name="candidates", editable=False,
        )  # fmt: skip
        return self.table

    def layout(self, figures: Figures) -> Any:
        """Put the widgets and the figures together.

        Parameters
        ----------
        figures : Figures
            The figures.

        Returns
        -------
        bokeh.models.LayoutDOM
            The page.
        """
        parts: list[Any] = [self.file] if len(self.file.options) > 1 else []
        parts += [
            self.template,
            *(row(self.sliders[side], self.boxes[side]) for side in ("left", "right")),
            self.numbers,
            row(self.use_fit, self.undo, self.redo),
            self.save,
            self.view,
            self.range,
            row(self.palette, self.overlay),
            Div(text="Mask: draw with the box or the lasso of the upper images", width=_WIDTH),
            row(self.brush, self.clear),
            self.find,
            self.candidate_table(figures.listed),
            Div(text=_HELP, width=_WIDTH, styles={"font-size": "11px"}),
            self.key,
        ]
        side = column(*parts, width=_WIDTH + 10)
        body = row(side, figures.layout(), sizing_mode="stretch_width")
        return column(self.heading, self.message, body, sizing_mode="stretch_width", name="page")

    def wire_browser(self, document: Any, figures: Figures) -> None:
        """Connect what needs no server: views, blinking, colours, keys.

        Parameters
        ----------
        document : bokeh.document.Document
            The document.
        figures : Figures
            The figures.
        """
        self.view.js_on_change(
            "active",
            CustomJS(
                args={
                    "group": self.view, "layers": figures.layers, "panels": figures.panels,
                    "views": list(VIEWS), "pause": _BLINK,
                },
                code=_SHOW_VIEW,
            ),
        )  # fmt: skip
        for slider in self.sliders.values():
            slider.js_on_change(
                "value",
                CustomJS(
                    args={"sliders": self.sliders, "halves": figures.halves, **figures.images},
                    code=_DRAW,
                ),
            )
        self.range.js_on_change(
            "value",
            CustomJS(
                args={"mapper": figures.mapper, "range": self.range},
                code="mapper.low = range.value[0]; mapper.high = range.value[1];",
            ),
        )
        for overlay in figures.overlays:
            self.overlay.js_link("active", overlay, "visible")
        document.js_on_event(
            "document_ready",
            CustomJS(
                args={
                    "key": self.key, "group": self.view, "views": list(VIEWS),
                    "overlay": self.overlay, "known": list(KEYS),
                },
                code=_KEYS,
            ),
        )  # fmt: skip

    @staticmethod
    def nudged(key: str, scales: tuple[float, float]) -> tuple[float, float] | None:
        """Move a scale by a key.

        Parameters
        ----------
        key : str
            Name of the key, with ``Shift+`` before it if that is pressed.
        scales : tuple of float
            Scales before.

        Returns
        -------
        tuple of float or None
            Scales after; None if the key does not move any.
        """
        name = key.removeprefix("Shift+")
        moves = {
            "ArrowLeft": (-1, 0),
            "ArrowRight": (1, 0),
            "ArrowDown": (0, -1),
            "ArrowUp": (0, 1),
        }
        if name not in moves:
            return None
        size = _LARGE_NUDGE if key.startswith("Shift+") else _NUDGE
        # A scale near zero moves too.
        left, right = (
            value + way * size * max(abs(value), 0.1)
            for value, way in zip(scales, moves[name], strict=True)
        )
        return left, right

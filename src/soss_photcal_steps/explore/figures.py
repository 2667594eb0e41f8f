"""The figures of the explorer's page and the data behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import (
    BoxSelectTool,
    ColumnDataSource,
    HoverTool,
    LassoSelectTool,
    LinearColorMapper,
    Range1d,
)
from bokeh.models.annotations import Span
from bokeh.plotting import figure

from soss_photcal_steps.background.result import MASK_MEANINGS
from soss_photcal_steps.explore.numbers import BREAK_WAVELENGTH, Parts
from soss_photcal_steps.explore.state import ExplorerState
from soss_photcal_steps.explore.views import COLUMN_GROUP

__all__ = ["PALETTES", "Figures"]

#: Palettes for the images.
PALETTES = ("Greys256", "Viridis256", "Inferno256", "Cividis256")
_BEFORE, _AFTER, _SKY, _MODEL, _MARK = "#8a8a8a", "#0072b2", "#d55e00", "#00795a", "#a63a86"
# Colours of the mask over the image, by `MASK_MEANINGS`: transparent where the fit used it.
_MASK_COLOURS = {
    0: (0, 0, 0, 0),
    1: (0, 0, 0, 110),
    2: (230, 159, 0, 60),
    3: (213, 94, 0, 120),
    4: (90, 90, 90, 60),
}
_CANDIDATE_COLUMNS = ("number", "column", "row", "kind", "significance", "spoils", "masked")
# Range of wavelengths of the plot of the break, um.
_NEAR_BREAK = (1.95, 2.35)
_PAINTED = (204, 20, 140, 150)


def _rgba(mask: np.ndarray, painted: np.ndarray | None) -> np.ndarray:
    """Colour the mask, shape (ny, nx), uint32."""
    table = np.array([_MASK_COLOURS[value] for value in sorted(MASK_MEANINGS)], np.uint8)
    colours = table[mask]
    if painted is not None:
        colours[painted] = _PAINTED
    return colours.view(np.uint32).reshape(mask.shape)


class Figures:
    """Figures and data sources of one exposure.

    Parameters
    ----------
    state : ExplorerState
        What is shown.
    """

    def __init__(self, state: ExplorerState) -> None:
        ny, nx = state.before.shape
        first = float(state.lines[0])
        self.place = {"x": -0.5, "y": first - 0.5, "dw": nx, "dh": ny}
        level = float(np.nanmax(np.abs(state.levels))) or 1.0
        #: Sensible limits of the grey scale, DN/s.
        self.limits = (-0.6 * level, 2.0 * level)
        self.mapper = LinearColorMapper(
            palette="Viridis256", low=self.limits[0], high=self.limits[1], nan_color="#ffffff"
        )
        self.images = {
            name: ColumnDataSource({"image": [state.before]})
            for name in ("before", "after", "background")
        }
        #: The two parts of the template, from which the browser draws while a slider moves.
        self.halves = ColumnDataSource({"left": [], "right": []})
        self.mask = ColumnDataSource({"image": []})
        # Not one for both: a click on a mark selects it, and must not count as one in the list.
        self.candidates, self.listed = (
            ColumnDataSource({key: [] for key in _CANDIDATE_COLUMNS}) for _ in range(2)
        )
        x_range = Range1d(start=-0.5, end=nx - 0.5, bounds=(-200, nx + 200))
        y_range = Range1d(
            start=first - 0.5, end=first + ny - 0.5, bounds=(first - 60, first + ny + 60)
        )
        self.panels = {
            name: self._panel(name, x_range, y_range) for name in ("before", "after", "background")
        }
        #: In the first panel: what is shown where only one panel is.
        self.layers = {name: self._image(self.panels["before"], name) for name in self.images}
        for name in ("after", "background"):
            self.layers[name].visible = False
            self._image(self.panels[name], name)
        self.overlays = [self._overlay(self.panels[name]) for name in ("before", "after")]
        self._make_averages(state)
        self._make_spectra(state)

    def _panel(self, name: str, x_range: Range1d, y_range: Range1d) -> Any:
        panel: Any = figure(
            name=name, title=name, x_range=x_range, y_range=y_range, height=185,
            sizing_mode="stretch_width", tools="pan,box_zoom,wheel_zoom,reset,tap",
            active_drag=None, output_backend="canvas", x_axis_label="column",
            y_axis_label="row",
        )  # fmt: skip
        panel.add_tools(
            BoxSelectTool(description="Paint a box on the mask", name=f"box {name}"),
            LassoSelectTool(
                description="Paint a freehand area on the mask", continuous=False,
                name=f"lasso {name}",
            ),
        )  # fmt: skip
        panel.title.text_font_size = "12px"
        panel.min_border_left = 60
        panel.grid.visible = False
        return panel

    def _image(self, panel: Any, name: str) -> Any:
        layer = panel.image(
            image="image", source=self.images[name], color_mapper=self.mapper, **self.place
        )
        panel.add_tools(
            HoverTool(
                renderers=[layer],
                tooltips=[("column, row", "$x{0}, $y{0}"), (name, "@image{0.000} DN/s")],
                visible=False,
            )
        )
        return layer

    def _overlay(self, panel: Any) -> Any:
        overlay = panel.image_rgba(image="image", source=self.mask, **self.place)
        overlay.visible = False
        marks = panel.scatter(
            "column", "row", size=16, line_color=_MARK, fill_color=_MARK, line_width=2,
            fill_alpha="masked", source=self.candidates,
            nonselection_fill_alpha="masked", nonselection_line_alpha=1.0,
        )  # fmt: skip
        panel.add_tools(
            HoverTool(
                renderers=[marks],
                tooltips=[
                    ("source", "@number, @kind"),
                    ("significance", "@significance{0.0}"),
                    ("spoils", "@spoils"),
                    ("", "click to mask, or not"),
                ],
                visible=False,
            )
        )
        return overlay

    def _small(self, title: str, x: str, y: str, **more: Any) -> Any:
        plot: Any = figure(
            title=title, x_axis_label=x, y_axis_label=y, height=230, sizing_mode="stretch_width",
            tools="pan,box_zoom,wheel_zoom,reset", min_border_left=60, **more,
        )  # fmt: skip
        plot.title.text_font_size = "12px"
        return plot

    @staticmethod
    def _legend(plot: Any, location: str = "top_right") -> None:
        legend = plot.legend[0]
        legend.location = location
        legend.label_text_font_size = "10px"
        legend.padding, legend.spacing, legend.background_fill_alpha = 2, 0, 0.6
        legend.glyph_height = legend.label_height = 13
        legend.click_policy = "hide"

    def _make_averages(self, state: ExplorerState) -> None:
        nx = state.before.shape[1]
        edges = np.arange(0, nx, COLUMN_GROUP)
        centre = np.minimum(edges + (COLUMN_GROUP - 1) / 2, nx - 1)
        nothing = np.full(centre.size, np.nan)
        self.columns = ColumnDataSource(
            {"x": centre, "before": nothing, "background": nothing, "model": nothing}
        )
        plot = self._small("Average of the sky pixels of each column", "column", "DN/s",
                           x_range=self.panels["before"].x_range)  # fmt: skip
        plot.scatter("x", "before", source=self.columns, size=3, color=_BEFORE, legend_label="data")
        plot.line("x", "model", source=self.columns, color=_MODEL,
                  legend_label="background + star's wings")  # fmt: skip
        plot.line("x", "background", source=self.columns, color=_SKY, line_width=2,
                  legend_label="background")  # fmt: skip
        self._legend(plot, "top_left")
        self.column_plot = plot
        rows = state.lines.astype(float)
        nothing = np.full(rows.size, np.nan)
        self.rows = {
            side: ColumnDataSource({"x": rows, "before": nothing, "model": nothing})
            for side in ("left", "right")
        }
        plot = self._small("Average of the sky pixels of each row", "row", "DN/s")
        for (side, source), colour in zip(self.rows.items(), (_AFTER, _SKY), strict=True):
            plot.scatter("x", "before", source=source, size=3, color=colour, alpha=0.5,
                         legend_label=f"{side}: data")  # fmt: skip
            plot.line("x", "model", source=source, color=colour, line_width=2,
                      legend_label=f"{side}: background + wings")  # fmt: skip
        self._legend(plot)
        self.row_plot = plot

    def _make_spectra(self, state: ExplorerState) -> None:
        self.spectra: dict[int, ColumnDataSource] = {}
        self.intervals: dict[int, ColumnDataSource] = {}
        self.spectrum_plots: list[Any] = []
        self.break_plot: Any = None
        for order in state.orders:
            wave = state.wavelength(order)
            nothing = np.full(wave.size, np.nan)
            source = ColumnDataSource({"x": wave, "before": nothing, "after": nothing})
            self.spectra[order] = source
            self.intervals[order] = ColumnDataSource({"low": [], "high": []})
            plots = [self._small(f"Order {order}, box of {2 * state.strip.half_width:.0f} rows",
                                 "wavelength (um)", "DN/s", name=f"order{order}")]  # fmt: skip
            if order == 1:
                self.break_plot = self._small(
                    "Order 1 at the break", "wavelength (um)", "DN/s", name="break",
                    x_range=Range1d(start=_NEAR_BREAK[0], end=_NEAR_BREAK[1]),
                    y_range=Range1d(start=0, end=1),
                )  # fmt: skip
                plots.append(self.break_plot)
            for plot in plots:
                plot.vstrip("low", "high", source=self.intervals[order], color=_MARK, alpha=0.25,
                            line_width=0)  # fmt: skip
                plot.line("x", "before", source=source, color=_BEFORE, legend_label="before")
                plot.line("x", "after", source=source, color=_AFTER, legend_label="after")
                if order == 1:
                    plot.add_layout(
                        Span(location=BREAK_WAVELENGTH, dimension="height", line_color=_SKY,
                             line_dash="dashed")
                    )  # fmt: skip
                self._legend(plot)
                self.spectrum_plots.append(plot)

    def layout(self) -> Any:
        """Put all figures together.

        Returns
        -------
        bokeh.models.LayoutDOM
            Images, then averages and spectra in two columns.
        """
        cells = [self.column_plot, *self.spectrum_plots, self.row_plot]
        if self.break_plot is not None:
            cells.remove(self.break_plot)
            cells.insert(0, self.break_plot)
        lines = [
            row(*cells[start : start + 2], sizing_mode="stretch_width")
            for start in range(0, len(cells), 2)
        ]
        return column(*self.panels.values(), *lines, sizing_mode="stretch_width")

    # From the state to the page.

    def show_fixed(self, state: ExplorerState) -> None:
        """Send what changes only with the fit: the mask, the data of the averages.

        Parameters
        ----------
        state : ExplorerState
            The state.
        """
        left, right = state.template_halves()
        self.halves.data = {"left": [left], "right": [right]}
        self.mask.data = {"image": [_rgba(state.mask(), state.painted_inside())]}

    def show(self, state: ExplorerState, *, moving: bool = False) -> None:
        """Send the images, averages and spectra.

        Parameters
        ----------
        state : ExplorerState
            The state.
        moving : bool, optional
            Whether a slider is moving: then the browser draws the images itself.
        """
        if not moving:
            background = state.background()
            self.images["background"].data = {"image": [background]}
            self.images["after"].data = {"image": [state.before - background]}
        before, sky, wing = state.parts_before(), state.parts_background(), state.parts_wing()
        self._show_averages(before, sky, wing)
        for order, source in self.spectra.items():
            source.data = {
                **{"x": source.data["x"]},
                "before": before.spectra[order],
                "after": before.spectra[order] - sky.spectra[order],
            }
        if self.break_plot is not None:
            self._fit_break_plot()

    def _fit_break_plot(self) -> None:
        """Let the plot of the break show all that lies in its range of wavelengths."""
        data: dict[str, Any] = dict(self.spectra[1].data)
        near = (data["x"] > _NEAR_BREAK[0]) & (data["x"] < _NEAR_BREAK[1])
        values = np.concatenate([data["before"][near], data["after"][near]])
        if np.isfinite(values).any():
            low, high = np.nanmin(values), np.nanmax(values)
            margin = 0.05 * (high - low) + 1e-9
            self.break_plot.y_range.update(start=low - margin, end=high + margin)

    def _show_averages(self, before: Parts, sky: Parts, wing: Parts) -> None:
        self.columns.data = {
            "x": self.columns.data["x"],
            "before": before.columns,
            "background": sky.columns,
            "model": sky.columns + wing.columns,
        }
        for k, source in enumerate(self.rows.values()):
            source.data = {
                "x": source.data["x"],
                "before": before.rows[k],
                "model": sky.rows[k] + wing.rows[k],
            }

    def show_intervals(self, state: ExplorerState) -> None:
        """Send the candidates and what is masked.

        Parameters
        ----------
        state : ExplorerState
            The state.
        """
        chosen = state.setting.intervals
        for order, source in self.intervals.items():
            part = [row.interval for row in chosen if row.interval.order == order]
            source.data = {"low": [one.low for one in part], "high": [one.high for one in part]}
        found = state.contamination.sources if state.contamination is not None else ()
        masked = [one.found for one in chosen]
        table: dict[str, list[Any]] = {key: [] for key in self.candidates.data}
        for number, one in enumerate(found, 1):
            spoils = [f"{row.interval.order}: {row.interval.low:.3f}-{row.interval.high:.3f} um"
                      for row in state.rows_of(number)]  # fmt: skip
            for key, value in (
                ("number", number), ("column", one.column), ("row", one.row), ("kind", one.kind),
                ("significance", one.significance), ("spoils", "; ".join(spoils) or "nothing"),
                ("masked", 0.6 if one in masked else 0.0),
            ):  # fmt: skip
                table[key].append(value)
        self.candidates.data = table
        self.listed.data = dict(table)

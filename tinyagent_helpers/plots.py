"""The course's figures: one style, colours that colour-blind readers can tell apart, and alt text for every picture."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from textwrap import fill

import matplotlib.pyplot as plt
import networkx as nx
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tinyagent_helpers.agent import StepRun
from tinyagent_helpers.plans import Plan

BLUE, ORANGE, GREEN, GREY, YELLOW = "#0072B2", "#E69F00", "#009E73", "#999999", "#F0E442"
plt.rcParams.update({"figure.dpi": 110, "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
plt.ioff()
pd.set_option("display.max_colwidth", None)


def show(figure: Figure, alt: str) -> HTML:
    """The figure as a picture with alt text, which says what can be seen in it.

    Raises:
        ValueError: the alt text says nothing.
    """
    if len(alt.split()) < 5:
        raise ValueError(f"alt text must say what the figure shows, not only {alt!r}")
    buffer = BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    plt.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    return HTML(
        f'<img alt="{escape(alt)}" style="max-width: 100%; background: white" src="data:image/png;base64,{data}">'
    )


def panels(columns: int = 1, width: float = 8, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side; sizes in inches."""
    figure, axes = plt.subplots(1, columns, figsize=(width, height), squeeze=False, layout="constrained")
    return figure, list(axes[0])


def draw_plan(plan: Plan) -> Figure:
    """The plan's DAG, left to right: every step stands to the right of those whose results it uses."""
    graph = plan.graph()
    for layer, nodes in enumerate(nx.topological_generations(graph)):
        for node in nodes:
            graph.nodes[node]["layer"] = layer
    layout = nx.multipartite_layout(graph, subset_key="layer")
    places = {
        n: (x, -y - 0.15 * (graph.nodes[n]["layer"] % 2)) for n, (x, y) in layout.items()
    }  # arrows pass beside boxes
    layers = Counter(layer for _, layer in graph.nodes(data="layer"))
    figure, (axes,) = panels(width=2.9 * max(len(layers), 1), height=0.75 * max(layers.values(), default=1) + 0.3)
    margins = {"min_source_margin": 38, "min_target_margin": 48}
    nx.draw_networkx_edges(graph, places, ax=axes, edge_color=GREY, arrowsize=16, **margins)
    labels = {n: fill(f"{n}. {tool.replace('_', ' ')}", 18) for n, tool in graph.nodes(data="tool")}
    box = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": BLUE}
    nx.draw_networkx_labels(graph, places, labels, ax=axes, font_size=9, bbox=box, clip_on=False)
    axes.margins(0.2, 0.25)
    axes.set_axis_off()
    return figure


def draw_timeline(rows: Mapping[str, Sequence[StepRun]], planned: Mapping[str, float] | None = None) -> Figure:
    """When each step ran, a panel for each run; a dashed line where its plan was fully written. Times in seconds."""
    figure, axes = panels(len(rows), width=4.6 * len(rows), height=0.42 * max(map(len, rows.values())) + 1.3)
    planned = planned or {}
    longest = max([s.ended or 0 for steps in rows.values() for s in steps] + list(planned.values()))
    for panel, (title, steps) in zip(axes, rows.items()):
        ran = [s for s in steps if s.started is not None]
        widths = [max(s.ended - s.started, longest / 100) for s in ran]
        colors = [ORANGE if s.error else BLUE for s in ran]
        panel.barh([f"{s.id}. {s.tool}" for s in ran], widths, left=[s.started for s in ran], color=colors)
        if title in planned:
            panel.axvline(planned[title], color=GREY, linestyle="--")
        panel.invert_yaxis()
        panel.set(title=title, xlabel="seconds since the request", xlim=(0, longest * 1.05))
    return figure

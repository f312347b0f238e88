"""How Sphinx renders the course, see `tinyagent site` and `tinyagent slides`. Nothing is executed here, and nothing is fetched."""

from docutils.nodes import Element, SkipNode
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

project = "The TinyAgent course"
author = copyright = "The authors of the TinyAgent course"
extensions = ["myst_nb", "sphinx_revealjs"]
nb_execution_mode = "off"
nb_merge_streams = True
_KINDS = ("image/svg+xml", "image/png", "text/html", "text/markdown", "text/plain")
nb_mime_priority_overrides = [("revealjs", kind, 10 * place) for place, kind in enumerate(_KINDS, 1)]
myst_enable_extensions = ["dollarmath"]
myst_dmath_allow_digits = myst_dmath_allow_space = False  # $5 is money
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]
html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"top_of_page_buttons": []}
revealjs_static_path = ["_static"]
revealjs_css_files = ["slides.css"]
revealjs_style_theme = "white"
revealjs_script_conf = {"slideNumber": True, "hash": True, "transition": "none", "width": 1280, "height": 720}
revealjs_script_plugins = [{"name": "RevealNotes", "src": "revealjs/plugin/notes/notes.js"}]


def setup(app: Sphinx) -> None:
    """Formulas as MathML, which browsers draw by themselves."""
    app.add_html_math_renderer("mathml", (_write_math, None), (_write_math, None))


def _write_math(writer: HTML5Translator, node: Element) -> None:
    writer.body.append(tex2mathml(node.astext(), as_block=node.tagname == "math_block"))
    raise SkipNode

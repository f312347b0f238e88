"""How Sphinx renders the course, see `tinyagent site`. Nothing is executed here, and nothing is fetched."""

project = "The TinyAgent course"
author = copyright = "The authors of the TinyAgent course"
extensions = ["myst_nb"]
nb_execution_mode = "off"
nb_merge_streams = True
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]
html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"top_of_page_buttons": []}

"""How the documentation is built: ``sphinx-build -n -W -b html docs docs/_build``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the promises that are kept beside the tests
sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from claims_table import claims_table
from flow_diagram import flow_diagram
from metric_table import client_metric_table, relay_metric_table
from option_table import option_table
from outage_timeline import outage_timeline
from reliability import reliability_tables
from retry_table import retry_table
from state_diagram import fact_table, state_diagram, transition_table

from realtime_client import __version__

project = "realtime_client"
copyright = "The realtime_client developers"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "plain_properties",
    "public_names",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "substitution"]
smartquotes = False
myst_heading_anchors = 3
myst_substitutions = {
    "option_table": option_table(),
    "client_metric_table": client_metric_table(),
    "relay_metric_table": relay_metric_table(),
    "retry_table": retry_table(),
    "state_diagram": state_diagram(),
    "flow_diagram": flow_diagram(),
    "outage_timeline": outage_timeline(),
    "fact_table": fact_table(),
    "transition_table": transition_table(),
    "claims_table": claims_table(),
    **reliability_tables(),
}

default_role = "py:obj"
nitpick_ignore_regex = [
    # The standard library: its inventory is on the network, and the documentation builds without one.
    ("py:.*", r"(collections\.abc|datetime|os|socket|ssl|typing)\..*"),
    # Type variables, and classes that are only handed through. A public name is found before this is asked.
    ("py:class", r"realtime_client\.(client|integrations\.flask\.extension)\.[CE]"),
    ("py:.*", r"realtime_client\.(_core|_runtime|transports|testing|demo|web)\..*"),
    ("py:.*", r"Demand|Match|Guard|realtime_client\.integrations\.gunicorn\.Worker"),
    # Other libraries: see the first.
    ("py:.*", r"(django|flask|prometheus_client|opentelemetry)\..*|Flask|ImproperlyConfigured"),
]
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# The prompts are for the eye; only what follows them is copied.
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"realtime_client {release}"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_favicon = "../realtime_client/web/static/icon.svg"
html_show_sphinx = False

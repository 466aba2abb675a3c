"""How the site is made: pip install ".[docs]" && sphinx-build -W docs build/site."""

import sys
from importlib.util import find_spec
from pathlib import Path

import fusedlstm

sys.path.insert(0, str(Path(__file__).parent))  # made.py and picture.py

project = "fusedlstm"
author = "The fusedlstm developers"
copyright = f"{author}. MIT licence"
version = release = fusedlstm.__version__

extensions = [
    "made",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
root_doc = "index"
exclude_patterns = ["_build", "README.md"]
nitpicky = False  # docstrings name types of NumPy and of frameworks; what pages link to is checked by MyST

myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_heading_anchors = 4

default_role = "py:obj"  # what docstrings have in single backticks, where there is such an object
autodoc_mock_imports = [name for name in ("torch", "keras", "ray") if find_spec(name) is None]
autodoc_member_order = "groupwise"
autodoc_typehints = "none"  # the NumPy style says them, with shapes and units
autodoc_default_options = {
    "members": True,
    "inherited-members": "Exception,Warning",
    "special-members": "__call__",
    # What has no underscore, as others of our modules need it, and is not for users.
    "exclude-members": "ARRAYS, NEEDED, RENAMED, build, kind, one, planned, start_over, title, "
    "add_note, args, with_traceback, count, index",
}
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_google_docstring = False
napoleon_use_param = False  # types are words: they would be looked up one by one
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style")]

html_theme = "furo"
html_title = f"fusedlstm {release}"
html_favicon = "_static/icon.svg"
html_logo = "_static/icon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    # Blue and vermilion of Okabe and Ito, as in the pictures; darker or lighter until they can be read.
    "light_css_variables": {"color-brand-primary": "#005a8c", "color-brand-content": "#005a8c"},
    "dark_css_variables": {"color-brand-primary": "#7cc4f0", "color-brand-content": "#7cc4f0"},
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

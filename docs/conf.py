"""Sphinx: the site and the man pages.  ./dev docs runs Doxygen before it, and shows both ways out."""
import glob
import os
import re
import shutil

DOCS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(DOCS)


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


project = "proactor"
author = "the proactor authors"
copyright = re.search(r"Copyright \(c\) (.*)", read("LICENSE"))[1]
release = re.search(r"project\(proactor VERSION ([0-9.]+)", read("CMakeLists.txt"))[1]

extensions = ["breathe", "myst_parser"]
breathe_projects = {"proactor": os.path.join(ROOT, "build/docs/xml")}
breathe_default_project = "proactor"
breathe_domain_by_extension = {"h": "c"}
breathe_default_members = ("members",)
primary_domain = "c"
highlight_language = "none"
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"proactor {release}"
html_copy_source = False

# ---- what is there -----------------------------------------------------------------------------

HEADERS = sorted(os.path.basename(path)[:-2]
                 for path in glob.glob(os.path.join(ROOT, "include/proactor/*.h")))
PAGES = sorted(os.path.basename(path)[:-3]
               for path in glob.glob(os.path.join(DOCS, "reference/*.md")))
for header in set(HEADERS) - set(PAGES):
    raise FileNotFoundError(f"docs/reference/{header}.md is missing: a page for proactor/{header}.h")

# ---- man pages ---------------------------------------------------------------------------------


def title(page):
    """What a page of the reference calls itself."""
    return read(f"docs/reference/{page}.md").split("\n", 1)[0].lstrip("# ")


man_make_section_directory = True
man_pages = [(f"reference/{page}", f"proactor_{page}", title(page), author, 3)
             for page in PAGES if page in HEADERS]
man_pages.append(("guide/start", "proactor", "completion-based asynchronous I/O", author, 7))


def link_functions(app, exception):
    """A man page for each function: it is the page of its header."""
    if exception or app.builder.name != "man":
        return
    for header in HEADERS:
        for name in re.findall(r"^PRO_API [^;{]*?\b(pro_\w+)\(", read(f"include/proactor/{header}.h"),
                               re.MULTILINE):
            with open(os.path.join(app.outdir, f"man3/{name}.3"), "w", encoding="ascii") as file:
                file.write(f".so man3/proactor_{header}.3\n")
    os.makedirs(os.path.join(app.outdir, "man1"), exist_ok=True)
    for page in glob.glob(os.path.join(ROOT, "packaging/*.1")):
        shutil.copy(page, os.path.join(app.outdir, "man1"))


# ---- links -------------------------------------------------------------------------------------


def in_the_tree(app, env, node, contnode):
    """A link to what is in the tree and not on the site leads nowhere here, but is not wrong."""
    target = os.path.join(DOCS, os.path.dirname(node["refdoc"]), node["reftarget"])
    return contnode if os.path.exists(target) else None


def chapters_that_exist(app, docname, source):
    """The table of contents has the chapters in their order: leave out those that are not written,
    and add, in place of guide/*, those that it does not name."""
    if docname != "index":
        return
    there = sorted(path[len(DOCS) + 1:-3] for path in glob.glob(f"{DOCS}/guide/*.md"))
    named = re.findall(r"^guide/.*$", source[0], re.MULTILINE)
    order = [name for name in named if name in there] + [name for name in there if name not in named]
    source[0] = source[0].replace("\n".join(named), "\n".join(order))


def setup(app):
    app.connect("source-read", chapters_that_exist)
    app.connect("missing-reference", in_the_tree)
    app.connect("build-finished", link_functions)

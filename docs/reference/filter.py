#!/usr/bin/env python3
"""An input filter for Doxygen: docs/reference/filter.py HEADER prints the header, marked up.

The headers of proactor are written for people: their comments have no markup.  This adds it, and so
knows the few forms that the comments have:

    the first comment of a file         is about the file
    /* ---- Title ---- */               begins a section
    a comment on lines of its own       is about the declaration on the next line
    a comment behind code               is about what stands before it
    a line indented by four or more     is code
    a word, two spaces or more, text    is an entry of a list
    X(name, ..., "text")                is an enumerator, where an enumeration is made of such a list
    Internal ..., and all that is pri_  is left out
"""
import os
import re
import sys

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
SECTION = re.compile(r"/\* ---- (.*?) -+ \*/")
ENTRY = re.compile(r"( *)(\S(?:.{0,30}?[^\s.:;,])?) {2,}(\S.*)$")
# Words that begin a paragraph of a contract.
BEGINS = re.compile(r"(Ours until|Thread:|Errors:|Error:|Returns|Any thread|On Windows:)")
FUNCTION = re.compile(r"^PRO_API [^;{]*?\b(pro_\w+)\(", re.MULTILINE)
DECLARATION = re.compile(r"PRO_API\b.*?\b(pro_\w+)\(")


def functions(path):
    """All functions of the library, to recognise their names in a text."""
    names = set()
    top = path
    while os.path.basename(top) != "include":
        top = os.path.dirname(top)
    for folder, _, files in os.walk(top):
        for name in files:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                names.update(FUNCTION.findall(file.read()))
    return names


def escaped(text, known):
    """Plain text for Doxygen, with the names of functions as links."""
    text = re.sub(r"([\\@<>&#$]|%(?=[A-Za-z_]))", r"\\\1", text)
    return re.sub(r"\bpro_\w+\b(?!\()", lambda m: "#" + m[0] if m[0] in known else m[0], text)


def body(comment):
    """The lines of a comment without its frame."""
    lines = comment[2:-2].split("\n")
    lines = [lines[0].lstrip()] + [re.sub(r"^\s*\* ?", "", line) for line in lines[1:]]
    return [line.rstrip() for line in lines]


def marked_up(lines, known):
    """The lines of a comment with Doxygen's commands."""
    out, code, entry = [], 0, None  # code: its indentation
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if code and line and indent < 4:
            out.append("@endverbatim\n")
            code = 0
        found = None if code else ENTRY.match(line)
        if found and (indent < 4 or entry is not None and indent == entry[0]):
            entry = indent, found.start(3)
            out.append(f"- <b>{escaped(found[2], known)}</b>: {escaped(found[3], known)}")
        elif entry and line and indent >= min(entry[1], entry[0] + 4):
            out.append("  " + escaped(line.strip(), known))
        elif line and indent >= 4 and not code:
            out.append("@verbatim\n" + line[indent:])
            code, entry = indent, None
        elif code:
            out.append(line[min(code, indent):])
        else:
            if entry and line:
                out.append("")
            entry = None
            if BEGINS.match(line) and out and out[-1]:
                out.append("")
            out.append(escaped(line, known))
    if code:
        out.append("@endverbatim")
    return out


def without_internals(text):
    """Without declarations and members that are internal."""
    # Types: from the comment to the end of the declaration.
    text = re.sub(r"^/\* Internal\b(?:(?!\*/).)*\*/\n.*?^\}[^;]*;\n", "", text,
                  flags=re.DOTALL | re.MULTILINE)
    # Members, with the comments behind them.
    text = re.sub(r"^[ ]+[\w ]+[ *]\(?\*?pri_\w+[^;\n]*;[ ]*(/\*(?:(?!\*/).)*\*/)?\n", "", text,
                  flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^[ ]+/\* Internal\.? \*/\n", "", text, flags=re.MULTILINE)


def listed(text):
    """With the enumerations that are made of a list of X(...) written out; its last column is what
    each of them means."""
    for name, entries in re.findall(r"^#define (\w+)\(X\)((?:.*\\\n)+.*)", text, re.MULTILINE):
        found = re.search(rf"^#define (\w+)\((.*?)\) (.*),\n *{name}\(\1\)\n#undef \1\n", text,
                          re.MULTILINE)
        if not found:
            continue
        parameters = found[2].split(", ")
        lines = ""
        for entry in re.findall(r"\bX\((.*)\)", entries):
            values = dict(zip(parameters, re.split(r", *(?![^\"]*\"$)", entry)))
            values = {key: value.strip('"') for key, value in values.items()}
            what = values[parameters[-1]]
            code = re.sub(r"(?:##)?\b(\w+)\b", lambda m: values.get(m[1], m[0]), found[3])
            lines += f"    {code}, /* {what} */\n"
        text = text.replace(found[0], lines)
    return text


def convert(text, known):
    text = listed(without_internals(text))
    # A number between a comment and its function.
    text = re.sub(r"^(/\*(?:(?!\*/).)*\*/\n)(#define [^\n]*\n)(?=PRO_API)", r"\2\1", text,
                  flags=re.DOTALL | re.MULTILINE)
    # An attribute, for some compilers only.
    text = re.sub(r"^#if .*\n__attribute__.*\n#endif\n", "", text, flags=re.MULTILINE)
    out, position, section, first = [], 0, False, True
    for match in COMMENT.finditer(text):
        out.append(text[position:match.start()])
        position = match.end()
        comment = match[0]
        behind = text[text.rfind("\n", 0, match.start()) + 1:match.start()].strip() != ""
        attached = re.match(r"\n(?!#(if|el|end))[^\n]*\S", text[position:]) is not None
        title = SECTION.fullmatch(comment)
        if first:
            out.append("/** @file\n" + "\n".join(marked_up(body(comment), known)) + "\n*/")
        elif title:
            out.append(("/**@}*/\n" if section else "") + f"/** @name {title[1]} */\n/**@{{*/")
            section = True
        elif behind:
            out.append("/**< " + " ".join(escaped(line.strip(), known) for line in body(comment)) +
                       " */")
        elif attached:
            out.append("/** " + "\n".join(marked_up(body(comment), known)) + "\n*/")
        else:
            out.append(comment)
        first = False
    out.append(text[position:])
    text = "".join(out)
    if section:
        text = re.sub(r"(?=PRO_END_DECLS\b(?!.*PRO_END_DECLS\b))", "/**@}*/\n", text, count=1,
                      flags=re.DOTALL)
    return "\n".join(followers(text.split("\n"))) + "\n"


def followers(lines):
    """Declarations right behind another one share its comment; say so in one of their own."""
    leader, before, depth = None, "", 0
    for line in lines:
        found = DECLARATION.match(line)
        if found and depth == 0:
            if before.rstrip().endswith("*/") or not before.strip():
                leader = found[1]
            if found[1].endswith("_at"):
                if not before.rstrip().endswith("*/"):
                    yield f"/** As #{found[1][:-3]}, with the call site given. */"
            elif leader and before.strip() and not before.rstrip().endswith("*/"):
                yield f"/** See #{leader}. */"
        depth += line.count("{") - line.count("}") if not line.startswith("/**@") else 0
        yield line
        before = line


def main():
    path = os.path.abspath(sys.argv[1])
    with open(path, encoding="utf-8") as file:
        sys.stdout.write(convert(file.read(), functions(path)))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Writes a man page of section 3 for each public function and structure, from
what doxygen read out of the headers (its XML).

A function that belongs to a group (@defgroup) also gets what is said there
about all of them, and the group's @return in front of its own.

usage: manpages.py XML_DIRECTORY OUTPUT_DIRECTORY VERSION
"""

import re
import sys
import textwrap
import xml.etree.ElementTree as ElementTree
from pathlib import Path

# The headers a program does not include itself, and the one that it does.
INCLUDED_BY = {"fuse_common.h": "fuse_lowlevel.h", "libfuse_config.h": "fuse_lowlevel.h"}
NEEDS_USE_VERSION = {"fuse_lowlevel.h", "fuse.h"}
USE_VERSION = "#define FUSE_USE_VERSION 318"


def escape(text):
    """Plain text as roff takes it literally."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return re.sub(r"^\.", r"\\&.", text, flags=re.MULTILINE)


def plain(node):
    """The text of an element, on one line."""
    return " ".join("".join(node.itertext()).split()) if node is not None else ""


def code_of(node):
    """The text of a code block, as it is."""
    if node.tag == "verbatim":
        return node.text
    lines = []
    for line in node.iter("codeline"):
        text = ""
        for part in line.iter():
            if part.tag == "sp":
                text += " "
            text += part.text or ""
            if part is not line:
                text += part.tail or ""
        lines.append(text.rstrip())
    return "\n".join(lines)


class Body:
    """Turns a description into roff, and keeps its special parts apart."""

    def __init__(self):
        self.parts = []
        self.parameters = []
        self.returns = ""
        self.mentions = set()

    def inline(self, node):
        """The text directly below `node`, with fonts; blocks are left to `block`."""
        text = escape(node.text or "")
        for child in node:
            if child.tag in ("computeroutput", "bold"):
                text += "\\fB" + self.inline(child).strip() + "\\fR"
            elif child.tag == "emphasis":
                text += "\\fI" + self.inline(child) + "\\fR"
            elif child.tag == "ref":
                name = plain(child)
                if name.endswith("()"):
                    self.mentions.add(name[:-2])
                    name = "\\fB" + escape(name[:-2]) + "\\fR()"
                else:
                    name = escape(name)
                text += name
            elif child.tag == "linebreak":
                text += "\n.br\n"
            elif child.tag in ("ndash", "mdash"):
                text += "\\-"
            else:
                text += self.inline(child)
            text += escape(child.tail or "")
        return re.sub(r"[ \t]*\n[ \t]*", "\n", text)

    BLOCKS = {"itemizedlist", "orderedlist", "programlisting", "verbatim", "simplesect",
              "parameterlist", "table", "preformatted"}

    def paragraph(self, node, out):
        """A <para>: runs of text, and the blocks between them."""
        run = ElementTree.Element("run")
        run.text = node.text

        def flush():
            text = self.inline(run).strip()
            if text:
                out.append(".PP\n" + text)

        for child in node:
            if child.tag in self.BLOCKS:
                flush()
                run = ElementTree.Element("run")
                run.text = child.tail
                self.block(child, out)
            else:
                run.append(child)
        flush()

    def block(self, node, out):
        if node.tag in ("itemizedlist", "orderedlist"):
            for item in node.findall("listitem"):
                inner = []
                for paragraph in item.findall("para"):
                    self.paragraph(paragraph, inner)
                text = "\n".join(inner).replace(".PP\n", "", 1)
                out.append(".IP \\(bu 2\n" + text)
        elif node.tag in ("programlisting", "verbatim", "preformatted"):
            out.append(".PP\n.RS 4\n.nf\n" + escape(code_of(node)).strip("\n") + "\n.fi\n.RE")
        elif node.tag == "parameterlist":
            for item in node.findall("parameteritem"):
                name = plain(item.find("parameternamelist/parametername"))
                text = []
                for paragraph in item.findall("parameterdescription/para"):
                    self.paragraph(paragraph, text)
                self.parameters.append((name, "\n".join(text).replace(".PP\n", "", 1)))
        elif node.tag == "simplesect" and node.get("kind") == "return":
            text = []
            for paragraph in node.findall("para"):
                self.paragraph(paragraph, text)
            self.returns = "\n".join(text)
        else:
            for paragraph in node.iter("para"):
                self.paragraph(paragraph, out)

    def take(self, node):
        """Adds a description."""
        for child in node if node is not None else []:
            if child.tag == "para":
                self.paragraph(child, self.parts)
            elif child.tag in ("sect1", "sect2"):
                self.parts.append(".SS " + escape(plain(child.find("title"))))
                self.take(child)
        return self

    def text(self):
        return "\n".join(self.parts)


def prototype(member):
    """A function's declaration, with line breaks where it is long."""
    if member.get("kind") == "define":
        # A macro that stands for a function has its declaration as a block of code.
        for node in member.find("detaileddescription").iter():
            if node.tag in ("verbatim", "programlisting"):
                return textwrap.dedent(code_of(node)).strip("\n").splitlines()
        names = ", ".join(plain(p.find("defname")) for p in member.findall("param"))
        return [f"{member.findtext('name')}({names});"]
    kind = re.sub(r"^(static )?(inline )?", "", plain(member.find("type")))
    arguments = []
    for parameter in member.findall("param"):
        text = plain(parameter.find("type"))
        name = plain(parameter.find("declname"))
        arguments.append(text + ("" if text.endswith("*") or not name else " ") + name
                         + plain(parameter.find("array")))
    if member.findtext("argsstring", "").endswith("...)") and "..." not in arguments:
        arguments.append("...")
    head = kind + ("" if kind.endswith("*") else " ") + member.findtext("name") + "("
    if len(head) + len(", ".join(arguments)) < 76:
        return [head + ", ".join(arguments) + ");"]
    lines = [argument + "," for argument in arguments]
    lines[-1] = lines[-1][:-1] + ");"
    return [head] + ["    " + line for line in lines]


def synopsis(header, lines):
    include = INCLUDED_BY.get(header, header)
    out = [".nf"]
    if include in NEEDS_USE_VERSION:
        out.append("\\fB" + USE_VERSION + "\\fR")
    out += ["\\fB#include <" + include + ">\\fR", ""]
    out += ["\\fB" + escape(line) + "\\fR" for line in lines]
    return "\n".join(out + [".fi"])


class Pages:
    def __init__(self, xml, out, version):
        self.out, self.version = out, version
        compounds = []
        for file in sorted(xml.glob("*.xml")):
            if file.name not in ("index.xml", "Doxyfile.xml"):
                compounds += ElementTree.parse(file).getroot().findall("compounddef")
        self.groups = {c.get("id"): c for c in compounds if c.get("kind") == "group"}
        self.structures = [c for c in compounds if c.get("kind") == "struct"]
        self.functions = {}
        for compound in compounds:
            if compound.get("kind") not in ("file", "group"):
                continue
            for member in compound.iter("memberdef"):
                name = member.findtext("name")
                is_function = member.get("kind") == "function" or (
                    member.get("kind") == "define" and name.islower())
                if is_function:
                    group = compound if compound.get("kind") == "group" else None
                    self.functions[name] = (member, group)
        self.names = set(self.functions) | {c.findtext("compoundname") for c in self.structures}

    def write(self, name, brief, sections):
        lines = ['.\\" Made from the headers by scripts/manpages.py.',
                 f'.TH "{name}" 3 "" "ringfuse {self.version}" "FUSE library functions"',
                 ".SH NAME",
                 f"{escape(name)} \\- {escape(brief.rstrip('.:'))}"]
        for title, text in sections:
            if text:
                lines += [".SH " + title, re.sub(r"^\.PP\n", "", text)]
        (self.out / f"{name}.3").write_text("\n".join(lines) + "\n")

    def see_also(self, body, own):
        names = sorted((body.mentions & self.names) - {own})
        references = [f".BR {escape(n)} (3)" for n in names] + [".BR ringfuse (7)"]
        return " ,\n".join(references)

    def function(self, name, member, group):
        body = Body()
        header = Path(member.find("location").get("file")).name
        body.take(member.find("briefdescription")).take(member.find("detaileddescription"))
        if member.get("kind") == "define":  # its declaration is the synopsis
            body.parts = [part for part in body.parts if not part.startswith(".PP\n.RS")]
        about = Body()
        if group is not None:
            about.take(group.find("briefdescription")).take(group.find("detaileddescription"))
            body.mentions |= about.mentions
        parameters = "\n".join(f".TP\n.I {escape(n)}\n{text}" for n, text in body.parameters)
        self.write(name, plain(member.find("briefdescription")), [
            ("SYNOPSIS", synopsis(header, prototype(member))),
            ("DESCRIPTION", body.text()),
            ("ARGUMENTS", parameters),
            ("RETURN VALUE", "\n".join(filter(None, [about.returns, body.returns]))),
            ("NOTES", about.text()),
            ("SEE ALSO", self.see_also(body, name)),
        ])

    def structure(self, compound):
        name = compound.findtext("compoundname")
        header = Path(compound.find("location").get("file")).name
        body = Body()
        body.take(compound.find("briefdescription")).take(compound.find("detaileddescription"))
        fields = []
        if compound.find("sectiondef") is None:
            body.parts.append(".PP\nIts contents are the library\\(aqs.")
        for member in compound.iter("memberdef"):
            field = Body()
            field.take(member.find("briefdescription")).take(member.find("detaileddescription"))
            body.mentions |= field.mentions
            kind, arguments = plain(member.find("type")), member.findtext("argsstring") or ""
            bits = member.findtext("bitfield")
            declaration = (kind + ("" if kind.endswith("*") else " ") + member.findtext("name")
                           + arguments + (f" : {bits}" if bits else ""))
            declaration = re.sub(r"\s*\(\*\s*", " (*", declaration, count=1)
            text = re.sub(r"^\.PP\n", "", field.text()).replace("\n.PP\n", "\n.IP\n")
            for parameter, about in field.parameters:
                text += f"\n.RS\n.TP\n.I {escape(parameter)}\n{about}\n.RE"
            fields.append(f".TP\n.B {escape(declaration)}\n{text}")
        self.write(name, plain(compound.find("briefdescription")), [
            ("SYNOPSIS", synopsis(header, [f"struct {name};"])),
            ("DESCRIPTION", body.text()),
            ("FIELDS", "\n".join(fields)),
            ("SEE ALSO", self.see_also(body, name)),
        ])

    def all(self):
        for name, (member, group) in self.functions.items():
            self.function(name, member, group)
        for compound in self.structures:
            self.structure(compound)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    out = Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.3"):
        old.unlink()
    Pages(Path(sys.argv[1]), out, sys.argv[3]).all()


main()

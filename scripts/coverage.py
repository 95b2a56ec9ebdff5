#!/usr/bin/env python3
"""Which test calls what: every public function, operation, answer,
notification and option of the headers, beside the tests that use it.

usage: coverage.py [--check] [--calls DIR]

What a test calls is found in two ways. In the sources: a test in Rust that
calls a function of `src/ffi`, a C filesystem that calls it and a test that
starts this filesystem, or a form that is looked up by name and version; never
in comments or texts. And at run time: `RINGFUSE_TEST_CALLS=DIR` has the tests
write down what the filesystems on their mounts called (tests/support/record.rs),
with the transport; `--calls DIR` reads that.

--check prints only what is empty, and fails if anything is. With --calls it
also fails for what a filesystem was never seen to call, and for what was seen
on one transport only, unless ONE_TRANSPORT says why.
"""
import argparse
import collections
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent

HEADERS = [name for name in ("fuse_lowlevel.h", "fuse.h", "fuse_common.h", "fuse_opt.h", "fuse_log.h",
                             "fuse_daemonize.h", "cuse_lowlevel.h", "ringfuse.h")
           if (TOP / "include" / name).exists()]
TABLES = {"fuse_lowlevel.h": "fuse_lowlevel_ops", "fuse.h": "fuse_operations",
          "cuse_lowlevel.h": "cuse_lowlevel_ops"}

# What only one transport can have; the rest is seen on both.
ONE_TRANSPORT = {
    "fuse_session_receive_buf": "a loop of the program's own asks /dev/fuse",
    "fuse_session_process_buf": "a loop of the program's own asks /dev/fuse",
    "fuse_session_custom_io": "the program's functions are the transport",
    "fuse_session_custom_io_30": "the program's functions are the transport",
    "fuse_session_custom_io_317": "the program's functions are the transport",
    "fuse_req_get_payload": "only rings have payloads",
    "max_idle_threads": "is about the threads that read /dev/fuse",
    "no_io_uring": "forbids rings",
    "io_uring": "asks for rings",
    "io_uring_q_depth": "is about rings",
    "io_uring_max_parked": "is about rings",
}
# Options after which a program does not mount.
NO_MOUNT = {"-h", "--help", "-V", "--version"}
# Inline functions behind a macro that programs call.
MACROS = {"fuse_session_new_fn": "fuse_session_new", "fuse_main_fn": "fuse_main",
          "fuse_new_fn": "fuse_new"}
# Called in guests, in other processes or under other environments, which leave
# no record of a mount: the sources have to do.
NO_RECORD = re.compile(r"cuse_|ringfuse_|fuse_daemonize_early|fuse_passthrough_|"
                       r"fuse_log|fuse_set_log_func|"
                       # daemonize.rs, high_main.rs and old_forms.rs start their programs
                       # by themselves, on both transports.
                       r"fuse_session_set_sync_init|fuse_session_start_teardown_watchdog|"
                       r"fuse_session_stop_teardown_watchdog|"
                       r"_?fuse_(main|new|loop_mt|open_channel|lib_help)|"
                       r"(from_code|to_code|subdir|(no)?rellinks|parallel_direct_write)\b")


def read(path):
    return path.read_text(encoding="utf-8", errors="replace")


def code(text, strings=False):
    """`text` (C or Rust) without comments, and without what is in strings
    unless `strings`."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|c?b?"(?:\\.|[^"\\])*"|'
                       r"'(?:\\.[^']*|[^'\\])'", re.S)

    def replace(match):
        found = match.group(0)
        if found.startswith("/"):
            return " "
        return found if strings else '""'
    return token.sub(replace, text)


def declared(header):
    """The functions that a header declares, with their inline ones."""
    text = code(read(TOP / "include" / header))
    text = re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", "", text, flags=re.M)
    text = re.sub(r'extern\s*""\s*\{', ";", text)
    while True:  # bodies and members are no declarations
        shorter = re.sub(r"\{[^{}]*\}", ";", text)
        if shorter == text:
            break
        text = shorter
    names = set()
    for statement in re.split(r";", text):
        match = re.search(r"(?<!\(\*)(?<![\w(])((?:fuse|cuse|ringfuse)_\w+)\s*\(", statement)
        if match and not re.match(r"\s*typedef\b", statement):
            names.add(match.group(1))
    return names


def exported():
    """{name: {version node: whether it is the default somewhere}} of both
    libraries."""
    forms = collections.defaultdict(dict)
    for table in ("so3.txt", "so4.txt"):
        for line in read(TOP / "tests/symbols" / table).splitlines():
            match = re.match(r"(\w+)@(@?)([^@\s]+)$", line)
            if match:
                nodes = forms[match.group(1)]
                nodes[match.group(3)] = nodes.get(match.group(3), False) or bool(match.group(2))
    return forms


def operations(header):
    text = code(read(TOP / "include" / header))
    table = re.search(r"struct %s\s*\{(.*?)\n\}" % TABLES[header], text, re.S)
    return re.findall(r"\(\*(\w+)\)", table.group(1))


def options():
    """Every option of the command line, the session, the connection and the
    mount, from the tables that the library parses them with."""
    found = {}
    for source in ("src/cmdline.rs", "src/session/options.rs", "src/conn.rs",
                   "src/high/options.rs", "src/high/modules/subdir.rs",
                   "src/high/modules/iconv.rs"):
        for name in re.findall(r'template\(c"([^"]+)"', read(TOP / source)):
            found.setdefault(re.sub(r"=%.*|=$", "", name), source)
    mount = read(TOP / "src/mount/options.rs")
    flags = re.search(r"const FLAGS.*?\n\];", mount, re.S).group(0)
    take = re.search(r"pub fn take.*?Ok\(false\)", mount, re.S).group(0)
    for name in re.findall(r'\("([^"]+)", MS_', flags) + re.findall(r'b"([^"]+)"', take):
        found.setdefault(name, "src/mount/options.rs")
    return found


def called(text):
    """What is called in `text`, or named as a function of `src/ffi`."""
    return set(re.findall(r"(\w+)\s*\(", text)) | set(re.findall(r"ffi::(?:\w+::)+(\w+)", text))


def title(test):
    """tests/a.rs: a; tests/a/b.rs: a"""
    path = pathlib.Path(test)
    return path.stem if path.parent.name == "tests" else path.parent.name


class Sources:
    """What the sources of the tests say."""

    def __init__(self):
        tests = sorted((TOP / "tests").rglob("*.rs")) + [TOP / "src/mount/tests.rs"]
        self.rust = {str(p.relative_to(TOP)): read(p) for p in tests}
        # What is only compiled (tests/headers) calls nothing.
        programs = [p for p in (TOP / "tests").rglob("*.[ch]") if p.parent.name != "headers"]
        programs = sorted(programs) + sorted((TOP / "examples-c").glob("*.[ch]"))
        self.c = {str(p.relative_to(TOP)): read(p) for p in programs}
        self.rust_code = {n: code(t) for n, t in self.rust.items()}
        self.rust_text = {n: code(t, strings=True) for n, t in self.rust.items()}
        self.c_code = {n: code(t) for n, t in self.c.items()}
        self.c_text = {n: code(t, strings=True) for n, t in self.c.items()}
        self.rust_calls = {n: called(t) for n, t in self.rust_code.items()}
        self.c_calls = {n: called(t) for n, t in self.c_code.items()}
        self.rust_strings = {n: re.findall(r'"(?:\\.|[^"\\])*"', t)
                             for n, t in self.rust_text.items()}
        self.programs = self.built_from()

    def built_from(self):
        """{C source: [tests that start a program built from it]}"""
        members = collections.defaultdict(set)
        for build in ("tests/fs", "examples-c"):
            text = read(TOP / build / "meson.build")
            for call in re.findall(r"(?:executable|shared_library|shared_module)\((.*?)\)\n", text, re.S):
                words = re.findall(r"'([\w.]+)'", call)
                for word in words:
                    if word.endswith(".c"):
                        members[f"{build}/{word}"].add(words[0])
            for names in re.findall(r"foreach \w+ : \[(.*?)\]", text, re.S):
                for name in re.findall(r"'(\w+)'", names):
                    members[f"{build}/{name}.c"].add(name)
        started = collections.defaultdict(set)
        for source in self.c:
            stem = pathlib.Path(source).stem
            for program in members.get(source, {stem}):
                for test, text in self.rust_text.items():
                    if re.search(r'"(?:[^"]*/)?%s(?:\.c)?"' % re.escape(program), text):
                        started[source].add(test)
        # A header is part of whatever includes it.
        for source, text in self.c.items():
            for header in re.findall(r'#include "(\w+\.h)"', text):
                for other in self.c:
                    if other.endswith("/" + header):
                        started[other] |= started[source]
        return started

    def callers(self, function):
        # Found by name and version: "NAME@NODE", or in C "NAME", "NODE".
        lookup = re.compile(r'"%s(?:@|",\s*"[A-Z])' % function)
        tests = {t for t, names in self.rust_calls.items() if function in names}
        tests |= {t for t, text in self.rust_text.items() if f'"{function}@' in text}
        for source, names in self.c_calls.items():
            if function in names or \
                    (function in self.c_text[source] and lookup.search(self.c_text[source])):
                tests |= self.programs[source]
        return tests

    def form(self, name, node):
        versioned = f'"{name}@{node}"'
        pair = re.compile(r'"%s",\s*"%s"' % (name, re.escape(node)))
        tests = {t for t, text in self.rust_text.items() if versioned in text}
        for source, text in self.c_text.items():
            if versioned in text or (name in text and pair.search(text)):
                tests |= self.programs[source]
        return tests

    def implementers(self, operation, struct):
        tests = set()
        assigned = re.compile(r"[.>]\s*%s\s*=(?!=)" % operation)
        for source, text in self.c_code.items():
            if assigned.search(text) and f"struct {struct}" in text:
                tests |= self.programs[source]
        for test, text in self.rust_code.items():
            if struct.startswith("fuse") and re.search(r"\b%s:\s*Some\(" % operation, text):
                tests.add(test)
        return tests

    def users(self, option):
        """Tests that name the option where options stand: as a text of its own,
        or with a value."""
        tail = r"\w+" if option.endswith("-") else ""  # x-...
        word = re.compile(r'["\', ]%s%s(?:=[^"]*)?["\',]' % (re.escape(option), tail))
        return {t for t, strings in self.rust_strings.items()
                if any(option in s and word.search(s) for s in strings)}


def behaviours():
    """What docs/behaviours.md names and nobody has."""
    page = read(TOP / "docs/behaviours.md")
    compatibility = read(TOP / "docs/compatibility.md")
    for line in page.splitlines():
        if not line.startswith("| ") or line.startswith(("| behaviour", "|--")):
            continue
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        names = re.findall(r"`((?:\w+::)+\w+)`", cells[-1])
        lines = re.findall(r"compatibility: ([^;|]+)", cells[-1])
        if not names and not lines:
            yield f"docs/behaviours.md: nothing for: {cells[0]}"
        for name in names:
            *suite, test = name.split("::")
            # A unit test is named by its file: src::high::tree::posix::NAME.
            directory = "" if suite[0] == "src" else "tests/"
            source = TOP / ("src/mount/tests.rs" if suite == ["mount", "tests"]
                            else f"{directory}{'/'.join(suite)}.rs")
            if not source.exists() or not re.search(r"fn %s\b" % test, read(source)):
                yield f"docs/behaviours.md: there is no test {name}"
        for topic in lines:
            if topic.strip() not in compatibility:
                yield f"docs/behaviours.md: docs/compatibility.md has no '{topic.strip()}'"


class Records:
    """What was seen at run time: {thing: {transport: tests}}"""

    def __init__(self, directory):
        self.calls = collections.defaultdict(lambda: collections.defaultdict(set))
        self.ops = collections.defaultdict(lambda: collections.defaultdict(set))
        self.opts = collections.defaultdict(lambda: collections.defaultdict(set))
        self.transports = set()
        for path in sorted(pathlib.Path(directory).iterdir()):
            test = transport = None
            before = ""
            for line in read(path).splitlines():
                kind, _, value = line.partition(" ")
                if kind == "test":
                    test = value
                elif kind == "transport":
                    transport = value
                    self.transports.add(value)
                elif kind == "call" or (kind == "op" and "@" in value):
                    self.calls[value][transport].add(test)
                    self.calls[value.split("@")[0]][transport].add(test)
                elif kind == "op":
                    self.ops[value][transport].add(test)
                elif kind == "arg":
                    words = value.split(",") if before == "-o" else [value]
                    for word in words:
                        for name in {word, word.split("=")[0], re.sub(r"^x-.*", "x-", word)}:
                            self.opts[name][transport].add(test)
                    before = value


class Table:
    def __init__(self, arguments, records):
        self.check = arguments.check
        self.records = records
        self.lines = 0
        self.problems = []

    def title(self, text):
        if not self.check:
            print(f"\n## {text}\n\n| | tests | seen on |\n|---|---|---|")

    def line(self, name, tests, seen, recorded):
        self.lines += 1
        seen = {t: tests_ for t, tests_ in (seen or {}).items() if t}
        bare = name.split("@")[0]
        if not tests and not seen:
            self.problems.append(f"{name}: no test")
        elif self.records and recorded and not NO_RECORD.match(name):
            if not seen:
                self.problems.append(f"{name}: the sources say yes, no mount was seen to use it")
            elif "ring" in self.records.transports and len(seen) < 2 \
                    and bare not in ONE_TRANSPORT:
                self.problems.append(f"{name}: seen on {', '.join(seen)} only")
        if not self.check:
            names = sorted({title(t) for t in tests}
                           | {t.split("::")[0] for s in seen.values() for t in s})
            where = "; ".join(f"{t}: {len(s)} tests, {sorted(s)[0]}" for t, s in sorted(seen.items()))
            print(f"| `{name}` | {', '.join(names) or '**none**'} | {where} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if a line is empty")
    parser.add_argument("--calls", metavar="DIR", help="what the tests wrote down")
    arguments = parser.parse_args()
    sources = Sources()
    records = Records(arguments.calls) if arguments.calls else None
    table = Table(arguments, records)
    forms = exported()
    functions = set()

    for header in HEADERS:
        table.title(f"Functions of {header}")
        for name in sorted(declared(header) - functions):
            functions.add(name)
            tests = sources.callers(MACROS.get(name, name))
            # What only filesystems on mounts call must leave a record there.
            in_process = any(name in names for names in sources.rust_calls.values())
            table.line(name, tests, records and records.calls.get(name),
                       name in forms and not in_process)
    table.title("Forms of exported names")
    for name in sorted(forms):
        # Programs of today call the default form of what a header declares.
        for node, default in sorted(forms[name].items()):
            if default and name in functions and len(forms[name]) == 1:
                continue
            versioned = f"{name}@{node}"
            tests = sources.form(name, node)
            if default and name not in functions:  # no header of ours has it
                tests |= sources.callers(name)
            table.line(versioned, tests, records and records.calls.get(versioned), True)
    for header, struct in TABLES.items():
        table.title(f"Operations of struct {struct}")
        prefix = {"fuse_lowlevel_ops": "", "fuse_operations": "path: "}.get(struct, "cuse: ")
        for name in operations(header):
            seen = records.ops.get(name) if records and not prefix else None
            table.line(prefix + name, sources.implementers(name, struct), seen, not prefix)
    table.problems += behaviours()
    table.title("Options")
    for name in sorted(options()):
        table.line(name, sources.users(name), records and records.opts.get(name),
                   name not in NO_MOUNT)

    for problem in table.problems:
        print(f"coverage: {problem}", file=sys.stderr)
    if arguments.check:
        print(f"coverage: {table.lines} lines, {len(table.problems)} without a test")
        return 1 if table.problems else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())

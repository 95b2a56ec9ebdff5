//! The reference: every public name has a description, an entry in the HTML and,
//! where it is a function or structure, a man page; and the guides' code compiles
//! and works.
//!
//! The names to look for come from the lists in `headers/*.inc`, which are written
//! from libfuse's ABI, and from the text of the headers; what doxygen found is
//! compared with those.

mod support;

#[path = "examples/example.rs"]
mod example;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use example::{built, Example, On};
use support::{skip, Transport};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// An empty directory of `test`'s own.
fn scratch(test: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("reference-{test}"));
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

const NO_DOXYGEN: &str = "doxygen or python3 is not installed (scripts/deps.sh test does)";

/// The reference, built once; None if there is no doxygen.
fn reference() -> Option<&'static Path> {
    static REFERENCE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        if !there("doxygen") || !there("python3") {
            return None;
        }
        let out = scratch("build");
        let output = build_docs(project(), &out);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(out)
    };
    REFERENCE.get_or_init(build).as_deref()
}

fn build_docs(top: &Path, out: &Path) -> Output {
    Command::new(top.join("scripts/docs.sh")).arg(out).output().expect("scripts/docs.sh")
}

/// The text between `open` and the next `close`.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(open)?;
    Some(rest.split_once(close)?.0)
}

/// What is left of a piece of XML without its tags.
fn text_of(xml: &str) -> String {
    let pieces = xml.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text));
    pieces.collect::<String>().trim().to_string()
}

/// A thing that has an entry.
struct Entry {
    /// Where in the HTML: the file and the anchor in it.
    page: String,
    anchor: Option<String>,
    /// Number of characters said about it.
    said: usize,
}

fn entry(id: &str, xml: &str) -> Entry {
    let said = |tag: &str| {
        let inner = between(xml, &format!("<{tag}>"), &format!("</{tag}>")).unwrap_or("");
        text_of(inner).len()
    };
    let said = said("briefdescription") + said("detaileddescription");
    // Members have the id of their page, "_1", and the anchor.
    match id.rsplit_once("_1") {
        Some((page, anchor)) => {
            Entry { page: format!("{page}.html"), anchor: Some(anchor.into()), said }
        }
        None => Entry { page: format!("{id}.html"), anchor: None, said },
    }
}

/// What doxygen found: "name", or "structure.field".
fn entries(reference: &Path) -> BTreeMap<String, Entry> {
    let mut found = BTreeMap::new();
    for file in fs::read_dir(reference.join("xml")).unwrap() {
        let file = file.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap();
        if !name.ends_with(".xml") || name == "index.xml" {
            continue;
        }
        let xml = read(&file);
        let Some(id) = between(&xml, "<compounddef id=\"", "\"") else { continue };
        let mut prefix = String::new();
        if id.starts_with("struct") {
            let name = between(&xml, "<compoundname>", "</compoundname>").unwrap();
            // Its own description comes behind the members'.
            let own = xml.rsplit_once("</sectiondef>").map_or(&xml[..], |(_, rest)| rest);
            found.insert(name.to_string(), entry(id, own));
            prefix = format!("{name}.");
        }
        for member in xml.split("<memberdef ").skip(1) {
            let member = member.split("</memberdef>").next().unwrap();
            let id = between(member, "id=\"", "\"").unwrap();
            for (at, value) in member.split("<enumvalue ").enumerate() {
                let name = between(value, "<name>", "</name>").unwrap_or("");
                let id = if at == 0 { id } else { between(value, "id=\"", "\"").unwrap() };
                let own = match at {
                    // An enumeration's own text comes behind those of its values.
                    0 => member.rsplit_once("</enumvalue>").map_or(member, |(_, rest)| rest),
                    _ => value,
                };
                found.insert(format!("{prefix}{name}"), entry(id, own));
            }
        }
    }
    found
}

/// Public names, from lists that know nothing of doxygen.
fn public_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let lists = project().join("tests/headers");
    let arguments = |line: &str| -> Option<Vec<String>> {
        let inside = between(line, "(", ")")?;
        Some(inside.split(',').map(|word| word.trim().to_string()).collect())
    };
    for list in ["functions.inc", "fields.inc", "constants.inc"] {
        for line in read(lists.join(list)).lines() {
            if !line.starts_with(|c: char| c.is_ascii_uppercase()) {
                continue;
            }
            let Some(words) = arguments(line) else { continue };
            match line.split('(').next().unwrap() {
                "FUNCTION" => names.insert(words[1].clone()),
                "STRUCT" | "CONSTANT" => names.insert(words[0].clone()),
                _ if words.len() >= 2 => names.insert(format!("{}.{}", words[0], words[1])),
                _ => continue,
            };
        }
    }
    for header in fs::read_dir(project().join("include")).unwrap() {
        let text = read(header.unwrap().path());
        for line in text.lines() {
            let name = |text: &str| -> String {
                text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
            };
            if let Some(rest) = line.strip_prefix("#define ") {
                let name = name(rest);
                // Not the guards; cuse_lowlevel.h has a default of what is the program's.
                if !name.ends_with("_H_") && name != "FUSE_USE_VERSION" {
                    names.insert(name);
                }
            } else if let Some(rest) = line.strip_prefix("struct ") {
                let name = name(rest);
                // Those of other headers are only mentioned.
                if rest[name.len()..].trim() == "{" {
                    names.insert(name);
                }
            } else if let Some(rest) = line.strip_prefix("enum ") {
                names.insert(name(rest));
            }
        }
    }
    // The lists are libfuse's.
    for name in [
        "ringfuse_version",
        "ringfuse_session_stats",
        "ringfuse_session_queue_stats",
        "ringfuse_session_reason",
    ] {
        names.insert(name.to_string());
    }
    names
}

#[test]
fn every_public_name_has_its_entry() {
    let Some(reference) = reference() else { return skip(NO_DOXYGEN) };
    let names = public_names();
    assert!(names.len() > 350, "only {} public names", names.len());
    let entries = entries(reference);
    let mut pages = BTreeMap::new();
    let mut wrong = Vec::new();
    for name in names {
        let Some(entry) = entries.get(&name) else {
            wrong.push(format!("{name}: no entry"));
            continue;
        };
        // The shortest text there is says that a reserved field is 0.
        let reserved = name.contains(".padding") || name.ends_with(".reserved");
        if entry.said < if reserved { 1 } else { 8 } {
            wrong.push(format!("{name}: {} characters about it", entry.said));
        }
        let page = pages
            .entry(entry.page.clone())
            .or_insert_with(|| read(reference.join("html").join(&entry.page)));
        let anchor = entry.anchor.as_ref();
        if anchor.is_some_and(|anchor| !page.contains(&format!("id=\"{anchor}\""))) {
            wrong.push(format!("{name}: no anchor in {}", entry.page));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_function_and_structure_has_a_man_page() {
    let Some(reference) = reference() else { return skip(NO_DOXYGEN) };
    let functions = read(project().join("tests/headers/functions.inc"));
    let mut pages: BTreeMap<String, bool> = functions
        .lines()
        .filter_map(|line| line.strip_prefix("FUNCTION(")?.split_once(", "))
        .map(|(kind, rest)| (rest.split(',').next().unwrap().to_string(), kind != "void"))
        .collect();
    pages.insert("ringfuse_session_stats".into(), true);
    for line in read(project().join("tests/headers/fields.inc")).lines() {
        if let Some(rest) = line.strip_prefix("STRUCT(") {
            pages.insert(rest.split(',').next().unwrap().into(), false);
        }
    }
    let mut wrong = Vec::new();
    for (name, returns) in &pages {
        let path = reference.join("man3").join(format!("{name}.3"));
        let Ok(page) = fs::read_to_string(&path) else {
            wrong.push(format!("{name}: no page"));
            continue;
        };
        let sections: &[&str] = match returns {
            true => &["NAME", "SYNOPSIS", "DESCRIPTION", "RETURN VALUE", "SEE ALSO"],
            false => &["NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"],
        };
        for section in sections {
            if !page.contains(&format!("\n.SH {section}\n")) {
                wrong.push(format!("{name}: no {section}"));
            }
        }
        if !page.contains(name.as_str()) {
            wrong.push(format!("{name}: a page about something else"));
        }
    }
    assert!(pages.len() > 110, "only {} pages", pages.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn man_pages_are_good_roff() {
    let Some(reference) = reference() else { return skip(NO_DOXYGEN) };
    if !there("groff") {
        return skip("groff is not installed (scripts/deps.sh test does)");
    }
    let pages = fs::read_dir(reference.join("man3")).unwrap().map(|page| page.unwrap().path());
    let output = Command::new("groff")
        .args(["-man", "-Tascii", "-P-cbou", "-ww"])
        .args(pages)
        .arg(project().join("docs/ringfuse.7"))
        .output()
        .expect("groff");
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && warnings.is_empty(), "{warnings}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("RINGFUSE_TRANSPORT") && text.contains("fuse_reply_entry"));
}

/// Names of environment variables that a source file asks for.
fn variables(source: &str, found: &mut BTreeSet<String>) {
    for asks in ["var(\"", "var_os(\"", "get(\"", "getenv(\""] {
        for rest in source.split(asks).skip(1) {
            let name = rest.split('"').next().unwrap();
            if ["RINGFUSE_", "FUSE_"].iter().any(|prefix| name.starts_with(prefix)) {
                found.insert(name.to_string());
            }
        }
    }
}

fn walk(dir: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, visit);
        } else if path.file_name().is_some_and(|name| name != "tests.rs") {
            visit(&path);
        }
    }
}

#[test]
fn every_environment_variable_is_in_the_man_page() {
    let mut found = BTreeSet::new();
    for directory in ["src", "capi"] {
        walk(&project().join(directory), &mut |path| variables(&read(path), &mut found));
    }
    assert!(found.len() >= 9, "only {found:?}");
    let page = read(project().join("docs/ringfuse.7"));
    let missing: Vec<_> = found.iter().filter(|name| !page.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "not in docs/ringfuse.7: {missing:?}");
}

/// A copy of what the reference is made from.
fn copied_tree(test: &str) -> PathBuf {
    let copy = scratch(test);
    let output = Command::new("cp")
        .arg("-r")
        .args(["include", "docs", "scripts", "meson.build"].map(|name| project().join(name)))
        .arg(&copy)
        .output()
        .expect("cp");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    copy
}

#[test]
fn a_name_without_a_description_is_refused() {
    if reference().is_none() {
        return skip(NO_DOXYGEN);
    }
    let copy = copied_tree("undocumented");
    for (header, added, name) in [
        ("fuse_lowlevel.h", "int fuse_new_thing(void);", "fuse_new_thing"),
        ("fuse_common.h", "#define FUSE_CAP_NEW_THING (1UL << 40)", "FUSE_CAP_NEW_THING"),
        ("fuse_opt.h", "/** A structure. */\nstruct fuse_new_thing {\n\tint field;\n};", "field"),
        ("fuse_log.h", "/** A function. @nonsense */\nvoid fuse_new_thing(void);", "nonsense"),
    ] {
        let path = copy.join("include").join(header);
        let text = read(&path);
        let (before, end) = text.rsplit_once("#ifdef __cplusplus").unwrap();
        fs::write(&path, format!("{before}{added}\n\n#ifdef __cplusplus{end}")).unwrap();
        let output = build_docs(&copy, &copy.join("out"));
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{added} is accepted");
        assert!(messages.contains(header) && messages.contains(name), "{messages}");
        fs::write(&path, text).unwrap();
    }
    let output = build_docs(&copy, &copy.join("out"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The blocks of C in a guide.
fn blocks(guide: &str) -> Vec<String> {
    let text = read(project().join("docs/guides").join(guide));
    let blocks = text.split("\n```c\n").skip(1);
    blocks.map(|block| block.split("\n```\n").next().unwrap().to_string() + "\n").collect()
}

fn compiler() -> Command {
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-D_FILE_OFFSET_BITS=64", "-I"])
        .arg(project().join("include"));
    cc
}

fn compile(command: &mut Command) {
    let output = command.output().expect("cc");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
}

/// Everything but the introduction has functions by themselves.
#[test]
fn code_in_the_guides_compiles() {
    let dir = scratch("guides");
    let mut count = 0;
    for guide in fs::read_dir(project().join("docs/guides")).unwrap() {
        let guide = guide.unwrap().file_name().into_string().unwrap();
        if guide == "writing-a-filesystem.md" {
            continue;
        }
        for (at, block) in blocks(&guide).iter().enumerate() {
            let versions: &[u32] = if guide == "porting.md" { &[30, 32, 312, 318] } else { &[318] };
            for version in versions {
                let file = dir.join(format!("{guide}-{at}.c"));
                fs::write(
                    &file,
                    format!(
                        "#define FUSE_USE_VERSION {version}\n\
                         #include <fuse_lowlevel.h>\n#include <errno.h>\n{block}"
                    ),
                )
                .unwrap();
                compile(
                    compiler().args(["-fsyntax-only", "-Wno-error=unused-function"]).arg(&file),
                );
                count += 1;
            }
        }
    }
    assert!(count >= 6, "only {count} blocks");
}

/// The program that "Writing a filesystem" builds up, on a mount.
fn the_first_filesystem(on: On) {
    let dir = scratch(&format!("notes-{on:?}").replace(['(', ')'], "-"));
    let source = dir.join("notes.c");
    fs::write(&source, blocks("writing-a-filesystem.md").concat()).unwrap();
    let libraries = built();
    compile(
        compiler().arg("-o").arg(dir.join("notes")).arg(&source).arg("-L").arg(&libraries).args([
            &format!("-Wl,-rpath,{}", libraries.display()),
            "-lfuse3",
            "-lpthread",
        ]),
    );
    let fs = Example::run(Command::new(dir.join("notes")), on);
    assert_eq!(fs::read_dir(fs.root()).unwrap().count(), 0);
    let text = "A line of text.\n".repeat(10_000);
    fs::write(fs.at("a"), &text).unwrap();
    fs::write(fs.at("b"), "short").unwrap();
    assert_eq!(fs::read_to_string(fs.at("a")).unwrap(), text);
    let mut names: Vec<_> =
        fs::read_dir(fs.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a", "b"]);
    fs::write(fs.at("a"), "shorter").unwrap();
    assert_eq!(fs::read_to_string(fs.at("a")).unwrap(), "shorter");
    // A file that is open lives on without its name.
    let open = fs::File::open(fs.at("b")).unwrap();
    fs::remove_file(fs.at("b")).unwrap();
    assert!(!fs.at("b").exists());
    assert_eq!(std::io::read_to_string(open).unwrap(), "short");
    let error = fs::create_dir(fs.at("dir")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSYS));
}

#[test]
fn the_first_filesystem_works_on_dev() {
    example::on(On::Ours(Transport::Dev), the_first_filesystem);
}

#[test]
fn the_first_filesystem_works_on_rings() {
    example::on(On::Ours(Transport::Ring), the_first_filesystem);
}

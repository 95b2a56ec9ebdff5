//! What a set of libfuse's headers declares, in lines that can be compared: found
//! by gcc, without a list of names. Structures, enumerations and their layouts are in
//! the debug information, functions in what `-aux-info` writes, macros in what `-dM`
//! does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::process::Command;

use gimli::constants as dw;
use gimli::{AttributeValue, DwTag, EndianSlice, LittleEndian};
use object::{Object, ObjectSection};

use super::run;

/// From what the line is about ("field fuse_buf.mem") to the rest of it.
pub type Lines = BTreeMap<String, String>;

const SOURCE: &str = "#include <cuse_lowlevel.h>\n#include <fuse.h>\n#include <fuse_log.h>\n\
                      #include <fuse_lowlevel.h>\n#include <fuse_opt.h>\n";

/// Debug information of everything, and nothing in it that a linker has yet to fill in.
const DEBUG: [&str; 4] = ["-g", "-fno-eliminate-unused-debug-types", "-shared", "-nostdlib"];

/// Whether `name` is libfuse's.
fn is_fuse(name: &str) -> bool {
    let name = name.trim_start_matches('_').to_lowercase();
    ["fuse", "cuse", "libfuse"].iter().any(|prefix| name.starts_with(prefix))
}

/// All that the headers in `include` declare for a program of `use_version`.
pub fn headers(include: &Path, use_version: u32, scratch: &Path) -> Lines {
    fs::create_dir_all(scratch).expect("mkdir");
    let (source, object) = (scratch.join("all.c"), scratch.join("all.so"));
    let functions = scratch.join("all.functions");
    fs::write(&source, SOURCE).expect("write");
    let gcc = || {
        let mut gcc = Command::new("gcc");
        gcc.args(["-std=gnu11", "-D_FILE_OFFSET_BITS=64", "-I"])
            .arg(include)
            .arg(format!("-DFUSE_USE_VERSION={use_version}"));
        gcc
    };
    run(gcc().args(DEBUG).arg("-aux-info").args([&functions, &source]).arg("-o").arg(&object));
    let mut lines = types(&fs::read(&object).expect("an object"));
    lines.extend(declared(&fs::read_to_string(&functions).expect("functions"), include));
    let macros = run(gcc().args(["-E", "-dM"]).arg(&source));
    lines.extend(macro_values(&macros, &gcc, scratch));
    lines
}

/// `/* FILE:LINE:NC */ extern int fuse_x (int, char **);`
fn declared(text: &str, include: &Path) -> Lines {
    let begin = format!("/* {}/", include.display());
    text.lines()
        .filter(|line| line.starts_with(&begin))
        .map(|line| {
            let code = line.split_once("*/ ").expect("a declaration").1;
            let (result, parameters) = code.split_once(" (").expect("parameters");
            let (result, name) = result.rsplit_once(' ').expect("a result");
            let stars = name.len() - name.trim_start_matches('*').len();
            let result = result.trim_start_matches("extern ").trim_start_matches("static ");
            // To a program it is the same whether a function is inline.
            let parameters = parameters.split(");").next().expect("the end");
            (
                format!("function {}", &name[stars..]),
                format!("{result} {}({parameters})", &name[..stars]),
            )
        })
        .collect()
}

/// Names of macros, and the values of those that are numbers.
fn macro_values(text: &str, gcc: &impl Fn() -> Command, scratch: &Path) -> Lines {
    let mut lines = Lines::new();
    let mut names = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("#define ") else { continue };
        let end = rest.find([' ', '(']).unwrap_or(rest.len());
        let name = &rest[..end];
        // Guards, and which release this is.
        let is_known = ["_H", "_H_", "_VERSION"].iter().any(|end| name.ends_with(end));
        if !is_fuse(name) || is_known {
            continue;
        }
        match rest[end..].split_once(')') {
            Some((parameters, _)) if parameters.starts_with('(') => {
                let count = parameters.split(',').count();
                lines.insert(format!("macro {name}"), format!("{count} parameters"));
            }
            _ => names.push(name.to_owned()),
        }
    }
    // A line for each; of those that are no numbers the compiler complains.
    let source = scratch.join("macros.c");
    let write = |names: &[String]| {
        let line = |name| format!("enum {{ value_{name} = (long long)({name}) }};\n");
        let code: String = names.iter().map(line).collect();
        fs::write(&source, format!("{SOURCE}{code}")).expect("write");
    };
    write(&names);
    let output = gcc().arg("-fsyntax-only").arg(&source).env("LC_ALL", "C").output().expect("gcc");
    let errors = String::from_utf8_lossy(&output.stderr);
    let place = format!("{}:", source.display());
    let complaints: BTreeSet<usize> = errors
        .lines()
        .filter(|line| line.contains(" error: "))
        .filter_map(|line| line.strip_prefix(&place)?.split(':').next()?.parse().ok())
        .collect();
    let first = SOURCE.lines().count() + 1;
    let mut numbers = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        if complaints.contains(&(first + index)) {
            lines.insert(format!("macro {name}"), "no number".into());
        } else {
            numbers.push(name);
        }
    }
    write(&numbers);
    let object = scratch.join("macros.so");
    run(gcc().args(DEBUG).arg("-o").args([&object, &source]));
    for (subject, value) in types(&fs::read(&object).expect("an object")) {
        if let Some(name) = subject.strip_prefix("constant value_") {
            lines.insert(format!("constant {name}"), value);
        }
    }
    lines
}

/// An entry of the debug information.
#[derive(Default)]
struct Entry {
    name: String,
    /// The type of it, or what it is a pointer to, an array of and so on.
    type_: Option<usize>,
    /// In bytes.
    size: Option<u64>,
    /// Of a bit-field.
    bits: Option<u64>,
    /// From the structure's begin, in bits.
    at: u64,
    /// Of an enumerator.
    value: i64,
    /// Of an array's dimension.
    count: Option<u64>,
    is_declaration: bool,
    tag: Option<DwTag>,
    children: Vec<usize>,
}

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// The entries by their place in the file.
fn entries(object: &[u8]) -> HashMap<usize, Entry> {
    let file = object::File::parse(object).expect("an ELF file");
    let load = |id: gimli::SectionId| -> Result<&[u8], gimli::Error> {
        let section = file.section_by_name(id.name());
        Ok(section.map_or(&[], |section| section.data().expect("its data")))
    };
    let sections = gimli::DwarfSections::load(load).expect("sections");
    let dwarf = sections.borrow(|section| EndianSlice::new(section, LittleEndian));
    let mut all = HashMap::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next().expect("a unit") {
        let unit = dwarf.unit(header).expect("a unit");
        let mut path: Vec<usize> = Vec::new();
        let mut depth = 0;
        let mut cursor = unit.entries();
        while let Some((delta, die)) = cursor.next_dfs().expect("an entry") {
            depth += delta;
            path.truncate(depth.max(0) as usize);
            let place = die.offset().0;
            if let Some(parent) = path.last() {
                let parent: &mut Entry = all.get_mut(parent).expect("a parent");
                parent.children.push(place);
            }
            path.push(place);
            all.insert(place, entry(&dwarf, &unit, die));
        }
    }
    all
}

fn entry(
    dwarf: &gimli::Dwarf<Slice>,
    unit: &gimli::Unit<Slice>,
    die: &gimli::DebuggingInformationEntry<Slice>,
) -> Entry {
    let mut entry = Entry { tag: Some(die.tag()), ..Entry::default() };
    let mut attributes = die.attrs();
    while let Some(attribute) = attributes.next().expect("an attribute") {
        let number = || attribute.udata_value();
        match attribute.name() {
            dw::DW_AT_name => {
                let name = dwarf.attr_string(unit, attribute.value()).expect("a name");
                entry.name = name.to_string_lossy().into_owned();
            }
            dw::DW_AT_type => {
                if let AttributeValue::UnitRef(place) = attribute.value() {
                    entry.type_ = Some(place.0);
                }
            }
            dw::DW_AT_byte_size => entry.size = number(),
            dw::DW_AT_bit_size => entry.bits = number(),
            dw::DW_AT_data_member_location => entry.at = 8 * number().expect("a place"),
            dw::DW_AT_data_bit_offset => entry.at = number().expect("a place"),
            dw::DW_AT_const_value => entry.value = attribute.sdata_value().expect("a value"),
            dw::DW_AT_upper_bound => entry.count = number().map(|last| last + 1),
            dw::DW_AT_declaration => entry.is_declaration = true,
            _ => {}
        }
    }
    entry
}

/// The structures, enumerations and names of types in `object`.
fn types(object: &[u8]) -> Lines {
    let entries = Entries(entries(object));
    let mut lines = Lines::new();
    for entry in entries.0.values().filter(|entry| !entry.is_declaration) {
        match entry.tag {
            Some(dw::DW_TAG_structure_type) if is_fuse(&entry.name) => {
                let size = entry.size.expect("a size");
                lines.insert(format!("struct {}", entry.name), format!("size {size}"));
                for field in entries.children(entry) {
                    let width = field.bits.unwrap_or_else(|| 8 * entries.size(field.type_));
                    lines.insert(
                        format!("field {}.{}", entry.name, field.name),
                        format!(
                            "at {} width {width}: {}",
                            field.at,
                            entries.type_name(field.type_)
                        ),
                    );
                }
            }
            Some(dw::DW_TAG_typedef) if is_fuse(&entry.name) => {
                lines.insert(format!("type {}", entry.name), entries.type_name(entry.type_));
            }
            Some(dw::DW_TAG_enumerator) => {
                lines.insert(format!("constant {}", entry.name), entry.value.to_string());
            }
            _ => {}
        }
    }
    lines
}

struct Entries(HashMap<usize, Entry>);

impl Entries {
    fn children<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = &'a Entry> {
        entry.children.iter().map(|child| &self.0[child])
    }

    fn size(&self, place: Option<usize>) -> u64 {
        let entry = &self.0[&place.expect("a type with a size")];
        let elements: u64 = self.children(entry).filter_map(|child| child.count).product();
        entry.size.unwrap_or_else(|| elements * self.size(entry.type_))
    }

    /// As C writes it, nearly.
    fn type_name(&self, place: Option<usize>) -> String {
        let Some(place) = place else { return "void".into() };
        let entry = &self.0[&place];
        let of = || self.type_name(entry.type_);
        match entry.tag.expect("a tag") {
            dw::DW_TAG_pointer_type => format!("{}*", of()),
            dw::DW_TAG_const_type => format!("const {}", of()),
            dw::DW_TAG_structure_type => format!("struct {}", entry.name),
            dw::DW_TAG_enumeration_type => format!("enum {}", entry.name),
            dw::DW_TAG_array_type => {
                let counts = self.children(entry).map(|child| child.count.unwrap_or(0));
                of() + &counts.map(|count| format!("[{count}]")).collect::<String>()
            }
            dw::DW_TAG_subroutine_type => {
                let parameters = self.children(entry).map(|child| self.type_name(child.type_));
                format!("{}({})", of(), parameters.collect::<Vec<_>>().join(", "))
            }
            // int32_t and int are the same to whoever is called.
            dw::DW_TAG_typedef if !is_fuse(&entry.name) => of(),
            _ => entry.name.clone(),
        }
    }
}

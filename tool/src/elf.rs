//! What the header and the dynamic section of an ELF file say.

use object::elf::{FileHeader32, FileHeader64, DT_NEEDED, PT_INTERP};
use object::read::elf::{Dyn, ElfFile, FileHeader, ProgramHeader};
use object::{Endianness, FileKind, Object, ObjectSymbol};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// An ELF file, as far as this command wants to know it.
#[derive(Debug)]
pub struct Elf {
    /// `e_machine`, word size and byte order.
    pub machine: Machine,
    /// The dynamic linker; None in static programs, and in libraries.
    pub interpreter: Option<PathBuf>,
    /// The libraries it needs.
    pub needed: Vec<String>,
    /// Whether it is ringfuse's library, or has it linked in.
    pub is_ringfuse: bool,
}

/// Files that work together in one process have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    class: u8,
    number: u16,
    little: bool,
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        use object::elf::*;
        match (self.number, self.class) {
            (EM_X86_64, ELFCLASS64) => f.write_str("x86_64"),
            (EM_X86_64, _) => f.write_str("x32"),
            (EM_386, _) => f.write_str("i386"),
            (EM_AARCH64, _) => f.write_str("aarch64"),
            (EM_ARM, _) => f.write_str("arm"),
            (EM_RISCV, ELFCLASS64) => f.write_str("riscv64"),
            (EM_PPC64, _) if self.little => f.write_str("ppc64le"),
            (EM_S390, _) => f.write_str("s390x"),
            (number, _) => write!(f, "ELF machine {number}"),
        }
    }
}

/// A function that every ringfuse has and no libfuse.
const MARK: &[u8] = b"ringfuse_version";

impl Elf {
    /// Reads `path`. None if it is no ELF file.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let data = fs::read(path)?;
        let elf = match FileKind::parse(&*data) {
            Ok(FileKind::Elf32) => Self::parse::<FileHeader32<Endianness>>(&data),
            Ok(FileKind::Elf64) => Self::parse::<FileHeader64<Endianness>>(&data),
            _ => return Ok(None),
        };
        elf.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn parse<H: FileHeader<Endian = Endianness>>(data: &[u8]) -> object::Result<Self> {
        let file = ElfFile::<H>::parse(data)?;
        let header = file.elf_header();
        let endian = header.endian()?;
        let mut interpreter = None;
        let mut needed = Vec::new();
        for segment in header.program_headers(endian, data)? {
            if segment.p_type(endian) == PT_INTERP {
                interpreter =
                    segment.interpreter(endian, data)?.map(OsStr::from_bytes).map(PathBuf::from);
            }
        }
        let sections = header.sections(endian, data)?;
        if let Some((entries, strings)) = sections.dynamic(endian, data)? {
            let strings = sections.strings(endian, data, strings).unwrap_or_default();
            for entry in entries.iter().filter(|entry| entry.tag32(endian) == Some(DT_NEEDED)) {
                needed.push(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned());
            }
        }
        let is_mark = |name: object::Result<&[u8]>| name.is_ok_and(|name| name == MARK);
        let is_ringfuse = file
            .dynamic_symbols()
            .chain(file.symbols())
            .any(|symbol| symbol.is_definition() && is_mark(symbol.name_bytes()));
        let ident = header.e_ident();
        Ok(Self {
            machine: Machine {
                class: ident.class,
                number: header.e_machine(endian),
                little: endian == Endianness::Little,
            },
            interpreter,
            needed,
            is_ringfuse,
        })
    }
}

//! What the loaded objects of this process import from the C library.
//!
//! Used to prove that nothing in the process can start a thread or a process:
//! a function that is not imported by any object, and whose number is not
//! passed to syscall(2) or found by dlsym(3), is not called.

use std::ffi::{c_int, c_void, CStr};

/// Imports by which an object could start a thread or a process, load code that
/// does, or look at the CPUs it may use.
const STARTERS: &[&[u8]] = &[
    b"pthread_create",
    b"thrd_create",
    b"fork",
    b"vfork",
    b"_Fork",
    b"forkpty",
    b"daemon",
    b"clone",
    b"clone3",
    b"posix_spawn",
    b"posix_spawnp",
    b"system",
    b"popen",
    b"wordexp",
    b"syscall",
    b"dlopen",
    b"dlmopen",
    b"timer_create",
    b"mq_notify",
    b"getaddrinfo_a",
    b"aio_read",
    b"aio_write",
    b"aio_read64",
    b"aio_write64",
    b"aio_fsync",
    b"aio_fsync64",
    b"lio_listio",
    b"lio_listio64",
    b"sched_getaffinity",
    b"pthread_getaffinity_np",
    b"sched_setaffinity",
    b"pthread_setaffinity_np",
    b"get_nprocs",
];

/// The C library's own objects, which define the above.
const SYSTEM: &[&str] = &[
    "libc.so",
    "ld-linux",
    "ld-musl",
    "linux-vdso",
    "libpthread.so",
    "librt.so",
    "libm.so",
    "libdl.so",
    "ld64.so",
];

#[cfg(target_pointer_width = "64")]
mod elf {
    pub type Header = libc::Elf64_Phdr;
    pub type Symbol = libc::Elf64_Sym;
    /// Elf64_Rela: offset, info, addend.
    pub const RELOCATION_WORDS: usize = 3;
    pub fn symbol_of(info: usize) -> usize {
        info >> 32
    }
}
#[cfg(target_pointer_width = "32")]
mod elf {
    pub type Header = libc::Elf32_Phdr;
    pub type Symbol = libc::Elf32_Sym;
    /// Elf32_Rel: offset, info.
    pub const RELOCATION_WORDS: usize = 2;
    pub fn symbol_of(info: usize) -> usize {
        info >> 8
    }
}

const DT_NULL: usize = 0;
const DT_PLTRELSZ: usize = 2;
const DT_STRTAB: usize = 5;
const DT_SYMTAB: usize = 6;
const DT_RELA: usize = if elf::RELOCATION_WORDS == 3 { 7 } else { 17 };
const DT_RELASZ: usize = if elf::RELOCATION_WORDS == 3 { 8 } else { 18 };
const DT_JMPREL: usize = 23;

/// Whether any object of the process but this library and the C library imports
/// one of the [`STARTERS`]. True also when this library is linked statically,
/// so that its own imports cannot be told from the program's.
pub fn any_object_can_start_something() -> bool {
    let mut found = false;
    // SAFETY: the callback gets back the pointer to `found`, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(look_at), std::ptr::from_mut(&mut found).cast()) };
    found
}

unsafe extern "C" fn look_at(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    found: *mut c_void,
) -> c_int {
    // SAFETY: dl_iterate_phdr's contract.
    let info = unsafe { &*info };
    let name = match info.dlpi_name.is_null() {
        true => c"",
        // SAFETY: a C string, as the loader keeps it.
        false => unsafe { CStr::from_ptr(info.dlpi_name) },
    };
    let name = name.to_string_lossy();
    let file = name.rsplit('/').next().unwrap_or_default();
    if SYSTEM.iter().any(|system| file.starts_with(system)) {
        return 0;
    }
    // SAFETY: the object's own program headers, of that number.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum as usize) };
    let base = info.dlpi_addr as usize;
    let here = any_object_can_start_something as *const () as usize;
    let is_ours = headers.iter().any(|header| {
        let start = base + header.p_vaddr as usize;
        header.p_type == libc::PT_LOAD && (start..start + header.p_memsz as usize).contains(&here)
    });
    // glibc gives the program no name, musl one that could be a library's.
    // SAFETY: no memory involved.
    let is_program = name.is_empty()
        || info.dlpi_phdr as usize == unsafe { libc::getauxval(libc::AT_PHDR) } as usize;
    if is_ours && !is_program {
        return 0;
    }
    // SAFETY: loaded objects stay as they are during the iteration.
    if is_ours || unsafe { imports_a_starter(base, headers) } {
        // SAFETY: the pointer that `any_object_can_start_something` passed.
        unsafe { *found.cast::<bool>() = true };
        return 1;
    }
    0
}

/// # Safety
/// `headers` are those of an object loaded at `base`.
unsafe fn imports_a_starter(base: usize, headers: &[elf::Header]) -> bool {
    let Some(dynamic) = headers.iter().find(|header| header.p_type == libc::PT_DYNAMIC) else {
        return false;
    };
    let mut entry = (base + dynamic.p_vaddr as usize) as *const [usize; 2];
    let (mut strings, mut symbols) = (0, 0);
    let (mut tables, mut sizes) = ([0; 2], [0; 2]);
    loop {
        // SAFETY: the dynamic section ends with DT_NULL.
        let [tag, value] = unsafe { *entry };
        match tag {
            DT_NULL => break,
            DT_STRTAB => strings = value,
            DT_SYMTAB => symbols = value,
            DT_RELA => tables[0] = value,
            DT_RELASZ => sizes[0] = value,
            DT_JMPREL => tables[1] = value,
            DT_PLTRELSZ => sizes[1] = value,
            _ => {}
        }
        // SAFETY: as above.
        entry = unsafe { entry.add(1) };
    }
    // glibc has added the base already; other loaders have not.
    let absolute = |value: usize| if value < base { value + base } else { value };
    if strings == 0 || symbols == 0 {
        return false;
    }
    let (strings, symbols) = (absolute(strings), absolute(symbols) as *const elf::Symbol);
    tables.into_iter().zip(sizes).filter(|(table, _)| *table != 0).any(|(table, size)| {
        let count = size / (elf::RELOCATION_WORDS * size_of::<usize>());
        let table = absolute(table) as *const [usize; elf::RELOCATION_WORDS];
        (0..count).any(|index| {
            // SAFETY: within the relocation table, which names symbols of the
            // symbol table, whose names are in the string table.
            let name = unsafe {
                let [_, info, ..] = *table.add(index);
                let symbol = &*symbols.add(elf::symbol_of(info));
                CStr::from_ptr((strings + symbol.st_name as usize) as *const _)
            };
            STARTERS.contains(&name.to_bytes())
        })
    })
}

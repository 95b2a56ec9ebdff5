//! The functions of `src/ffi` against the public headers: cbindgen writes the
//! Rust ones as C declarations, and a C compiler that sees both accepts only
//! the same types. What cbindgen cannot see (bit-fields, macros, inlines) the
//! other tests of the headers cover.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `dir`.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.append(&mut sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The rows of the `replies!` table of `src/ffi/reply.rs` as functions, which is
/// what that macro makes of them; cbindgen does not expand macros.
fn replies() -> PathBuf {
    let source = fs::read_to_string(root().join("src/ffi/reply.rs")).expect("src/ffi/reply.rs");
    assert!(
        source.contains("extern \"C\" fn $name($req: Req $(, $arg: $type)*) -> c_int {"),
        "the macro makes other functions now than this test takes it to"
    );
    let mut functions = String::new();
    for text in source.split(" fn ").skip(1) {
        let (head, tail) = text.split_once(')').unwrap_or((text, ""));
        if let (Some((name, parameters)), true) = (head.split_once('('), tail.starts_with(" =")) {
            let parameters = parameters.trim_start().strip_prefix("req").expect("a request");
            functions += &format!(
                "#[no_mangle] pub unsafe extern \"C\" fn {name}(req: Req{parameters}) -> c_int {{ 0 }}\n"
            );
        }
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("replies-{:?}.rs", std::thread::current().id()));
    fs::write(&file, functions).expect("a file for cbindgen");
    file
}

/// The exported functions of `src/ffi`, but for what is the library's own
/// business and in no header.
fn declarations() -> Vec<String> {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml");
    let mut builder = cbindgen::Builder::new().with_config(config);
    for file in sources(&root().join("src/ffi")).into_iter().chain([replies()]) {
        builder = builder.with_src(file);
    }
    let mut text = Vec::new();
    builder.generate().expect("cbindgen understands src/ffi").write(&mut text);
    String::from_utf8(text)
        .expect("C source is text")
        .replace("Option<", "") // around a type of function pointer, which C may have NULL
        .replace('>', "")
        .split(';')
        .map(|declaration| declaration.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|declaration| !declaration.is_empty() && !declaration.contains("ringfuse_set_"))
        .collect()
}

/// The name that `declaration` declares.
fn name(declaration: &str) -> &str {
    let before = declaration.split_once('(').expect("a function").0;
    before.rsplit([' ', '*']).next().expect("a name")
}

/// What the public headers include, and what the declarations need.
const SYSTEM_HEADERS: &str = "
#include <assert.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <utime.h>
";

/// Compiles the headers as `version` shows them, followed by `declarations`.
/// `const` is left out of both: it says nothing about the call, Rust's pointers
/// to what is shared are const, and the C API's mostly are not.
fn compile(version: u32, declarations: &[String]) -> Result<(), String> {
    let (config, config_v1) = match version {
        ..312 => ("struct not_in_these_headers", "struct fuse_loop_config"),
        _ => ("struct fuse_loop_config", "struct fuse_loop_config_v1"),
    };
    let mut source = format!(
        "#define _GNU_SOURCE\n#define FUSE_USE_VERSION {version}\n{SYSTEM_HEADERS}\
         #define const\n\
         #include <fuse_lowlevel.h>\n#include <fuse_daemonize.h>\n#include <cuse_lowlevel.h>\n#include <fuse.h>\n\
         #include <ringfuse.h>\n\
         #define LOOP_CONFIG {config}\n#define LOOP_CONFIG_V1 {config_v1}\n\
         struct not_in_these_headers;\nstruct libfuse_version;\n"
    );
    for declaration in declarations {
        let name = name(declaration);
        // Programs older than 3.5 see this one with an int, in the same register.
        if name == "fuse_fs_ioctl" && version < 35 {
            continue;
        }
        source += &format!("#undef {name}\n{declaration};\n");
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("declarations-{version}-{}.c", declarations.len()));
    fs::write(&file, source).expect("a file to compile");
    let output = Command::new("cc")
        .args([
            "-std=gnu11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Wno-array-parameter",
            "-Wno-enum-int-mismatch",
            "-D_FILE_OFFSET_BITS=64",
            "-fsyntax-only",
        ])
        .arg("-I")
        .arg(root().join("include"))
        .arg(&file)
        .output()
        .expect("a C compiler");
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn headers_and_functions_agree() {
    let declarations = declarations();
    for version in [30, 32, 35, 312, 318] {
        if let Err(messages) = compile(version, &declarations) {
            panic!("FUSE_USE_VERSION {version}: headers and src/ffi differ:\n{messages}");
        }
    }
}

#[test]
fn every_exported_name_is_compared() {
    // Those that are C: capi/log.c includes its header, and compat.c only
    // forwards to names that are compared.
    const IN_C: [&str; 9] = [
        "fuse_log",
        "fuse_set_log_func",
        "fuse_log_enable_syslog",
        "fuse_log_close_syslog",
        "fuse_loop_mt",
        "fuse_new",
        "fuse_parse_cmdline",
        "fuse_session_custom_io",
        "fuse_session_loop_mt",
    ];
    let table = fs::read_to_string(root().join("tests/symbols/so4.txt")).expect("the golden table");
    let exported: BTreeSet<_> = table
        .lines()
        .filter_map(|line| line.split_once('@'))
        .map(|(name, _)| name)
        .filter(|name| !IN_C.contains(name))
        .collect();
    let declarations = declarations();
    let compared: BTreeSet<_> = declarations.iter().map(|declaration| name(declaration)).collect();
    assert_eq!(compared, exported);
}

#[test]
fn a_difference_is_noticed() {
    let mut declarations = declarations();
    declarations.push("int fuse_reply_err(fuse_req_t req, long err)".to_owned());
    let messages = compile(318, &declarations).expect_err("one parameter has another type");
    assert!(messages.contains("conflicting types for"), "{messages}");
}

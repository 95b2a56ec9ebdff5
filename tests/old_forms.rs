//! Each earlier form of a function, called as an old binary calls it: found
//! with `dlvsym`, with the structures of its time, which end where a forbidden
//! page begins (`tests/fs/old_forms_ll.c`). On both libraries and on both
//! transports; where an installed libfuse3 has the form, on that too. The path
//! API's are those of `tests/fs/old_path.c`.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use support::{me, pinned, skip, stock, Mount, Server, Transport};
use tempfile::TempDir;

const STOCK: &str = "/usr/lib/x86_64-linux-gnu/libfuse3.so.3";

/// The libraries that have the form: ours of both sonames, and libfuse's.
struct Libraries {
    so3: bool,
    so4: bool,
    stock: bool,
}

const ALL: Libraries = Libraries { so3: true, so4: true, stock: true };
const OURS: Libraries = Libraries { stock: false, ..ALL };
const ONLY_SO4: Libraries = Libraries { so3: false, so4: true, stock: false };
const ONLY_SO3: Libraries = Libraries { so3: true, so4: false, stock: true };

fn built(soname: u32) -> PathBuf {
    let build = std::env::var_os("RINGFUSE_TEST_BUILD").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("build"),
        |fs| Path::new(&fs).join("../.."),
    );
    build.join(format!("libfuse3.so.{soname}"))
}

/// Where ringfuse is installed in libfuse's place.
fn is_ours(library: &[u8]) -> bool {
    let name = b"ringfuse_version";
    library.windows(name.len()).any(|bytes| bytes == name)
}

impl Libraries {
    /// Those to be tested on `on`; libfuse has no rings.
    fn list(&self, on: Transport) -> Vec<PathBuf> {
        let mut list = Vec::new();
        if self.so3 && !stock() {
            list.push(built(3));
        }
        if self.so4 && !stock() {
            list.push(built(4));
        }
        if self.stock && on == Transport::Dev {
            match fs::read(STOCK) {
                Ok(bytes) if !is_ours(&bytes) => list.push(STOCK.into()),
                _ => skip(&format!("the form in libfuse itself: {STOCK} is not libfuse's")),
            }
        }
        list
    }
}

fn server(library: &Path, forms: &[(&str, &str)]) -> Server {
    let server = Server::new("old_forms_ll").env("OLD_LIBRARY", library.to_str().expect("UTF-8"));
    forms.iter().fold(server, |server, (name, value)| server.env(name, value))
}

/// Mounts with `forms` on every library, proves the transport, reads the file,
/// and runs `check`; the filesystem itself checks its guards when it ends.
fn serves(on: Transport, libraries: &Libraries, forms: &[(&str, &str)], check: fn(&Mount)) {
    for library in libraries.list(on) {
        eprintln!("{} {forms:?}", library.display());
        let fs = server(&library, forms).mount(on);
        assert_eq!(fs::read_to_string(fs.at("file")).expect("read"), "contents\n");
        check(&fs);
    }
}

fn nothing_more(_: &Mount) {}

/// Three reads that wait for each other: at least three threads.
fn three_meet(fs: &Mount) {
    let cpu = support::cpus()[0];
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let path = fs.at("meet");
            pinned(cpu, move || fs::read_to_string(path).expect("read"))
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.join().expect("joined"), "contents\n");
    }
}

fn devices(fs: &Mount) -> usize {
    fs::read_dir(format!("/proc/{}/fd", fs.pid))
        .expect("/proc/PID/fd")
        .flatten()
        .filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == Path::new("/dev/fuse")))
        .count()
}

each_transport! {
    fn serial_loop(on) {
        serves(on, &ALL, &[("OLD_LOOP", "fuse_session_loop@FUSE_3.0")], nothing_more);
    }

    /// Up to 3.1: an int says whether threads have descriptors of their own.
    fn loop_mt_of_3_0(on) {
        for form in ["fuse_session_loop_mt@FUSE_3.0", "fuse_session_loop_mt_31@FUSE_3.2"] {
            let forms = [("OLD_LOOP", form), ("OLD_CONFIG", "0")];
            serves(on, &ALL, &forms, three_meet);
            serves(on, &ALL, &[("OLD_LOOP", form), ("OLD_CONFIG", "1")], |fs| {
                three_meet(fs);
                let own = devices(fs);
                assert!(fs.on == Transport::Ring || own > 1, "{own} descriptors in all");
            });
        }
    }

    /// 3.2 to 3.11: eight bytes. They do not bound the threads.
    fn loop_mt_of_3_2(on) {
        for form in ["fuse_session_loop_mt@FUSE_3.2", "fuse_session_loop_mt_32@FUSE_3.2"] {
            for config in ["0:-1", "0:0", "0:10"] {
                serves(on, &ALL, &[("OLD_LOOP", form), ("OLD_CONFIG", config)], three_meet);
            }
            // As of 3.12; 3.10 and 3.11 took a NULL for an address.
            serves(on, &ALL, &[("OLD_LOOP", form), ("OLD_CONFIG", "null")], three_meet);
        }
    }

    /// Since 3.12 the configuration is made by the library; an old one is converted.
    fn loop_mt_of_3_12(on) {
        for form in ["fuse_session_loop_mt@FUSE_3.12", "fuse_session_loop_mt_312@FUSE_3.12"] {
            for config in ["null", "0:-1", "1:3"] {
                serves(on, &ALL, &[("OLD_LOOP", form), ("OLD_CONFIG", config)], three_meet);
            }
        }
    }

    fn command_lines(on) {
        for form in [
            "fuse_parse_cmdline@FUSE_3.0",
            "fuse_parse_cmdline_30@FUSE_3.12",
            "fuse_parse_cmdline@FUSE_3.12",
            "fuse_parse_cmdline_312@FUSE_3.12",
        ] {
            serves(on, &ALL, &[("OLD_PARSE", form)], nothing_more);
        }
    }

    /// The tables of 3.0, 3.4, 3.8, 3.17, 3.18, and one from the future.
    fn tables_of_every_size(on) {
        for size in ["336", "344", "352", "360", "368", "512"] {
            serves(on, &ALL, &[("OLD_OPS", size)], nothing_more);
        }
    }

    fn versioned_session(on) {
        let form = ("OLD_NEW", "fuse_session_new_versioned@FUSE_3.17");
        for size in ["336", "360", "368", "512"] {
            serves(on, &ONLY_SO4, &[form, ("OLD_OPS", size)], nothing_more);
        }
    }

    /// Programs in other languages only want the mount: as of 3.18.
    fn without_a_table(on) {
        for library in OURS.list(on) {
            let fs = server(&library, &[("OLD_OPS", "0")]).mount(on);
            let error = fs::metadata(fs.at("file")).expect_err("no lookup");
            assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::NOSYS.raw_os_error()));
        }
    }

    /// 3.13 to 3.15 had a fifth argument, later releases four.
    fn expire_entry(on) {
        serves(on, &ALL, &[], |fs| {
            assert_eq!(fs.command("expire5 file"), 0);
            fs::metadata(fs.at("file")).expect("still there");
        });
        serves(on, &OURS, &[], |fs| assert_eq!(fs.command("expire4 file"), 0));
    }

    /// Buffers were 40 bytes apart up to 3.16.
    fn buffer_vectors(on) {
        serves(on, &ONLY_SO3, &[("OLD_DATA", "1"), ("OLD_BUF", "40")], nothing_more);
        serves(on, &ONLY_SO4, &[("OLD_DATA", "1"), ("OLD_BUF", "48")], nothing_more);
    }

    /// The bit of noflush is another one from 3.14.1 to 3.16.
    fn file_information(on) {
        let unflushed = |fs: &Mount| {
            fs.command("ping");
            assert_eq!(fs.command(&format!("flushes {}", me())), 0);
        };
        serves(on, &ALL, &[("OLD_NOFLUSH", "7")], unflushed);
        let newer = [("OLD_NOFLUSH", "8"), ("RINGFUSE_SO3_LAYOUT", "3.16")];
        serves(on, &Libraries { stock: false, ..ONLY_SO3 }, &newer, unflushed);
        serves(on, &ALL, &[], |fs| {
            assert_eq!(fs.command(&format!("flushes {}", me())), 1);
        });
    }
}

/// A program with its own loop is served by `/dev/fuse`: it asks for messages.
#[test]
fn own_loop_with_forty_bytes() {
    support::machine::on(Transport::Dev, |on| {
        serves(on, &ONLY_SO3, &[("OLD_LOOP", "own"), ("OLD_BUF", "40")], nothing_more);
        serves(on, &ONLY_SO4, &[("OLD_LOOP", "own"), ("OLD_BUF", "48")], nothing_more);
    });
}

/// The program's functions carry the messages, so there are no rings.
#[test]
fn custom_io_of_every_size() {
    if !support::machine::is_root() {
        return skip("the test mounts by itself, which needs root");
    }
    support::machine::on(Transport::Dev, |on| {
        let old = [("OLD_IO", "fuse_session_custom_io@FUSE_3.0"), ("OLD_IO_SIZE", "32")];
        serves(on, &ALL, &old, nothing_more);
        let old = [("OLD_IO", "fuse_session_custom_io_30@FUSE_3.17"), ("OLD_IO_SIZE", "32")];
        serves(on, &ONLY_SO4, &old, nothing_more);
        for form in ["fuse_session_custom_io@FUSE_3.17", "fuse_session_custom_io_317@FUSE_3.17"] {
            for size in ["24", "32", "40"] {
                let forms = [("OLD_IO", form), ("OLD_IO_SIZE", size)];
                serves(on, &ONLY_SO4, &forms, nothing_more);
            }
        }
    });
}

/// Mounts `old_path` with `forms` on every library, and reads its file.
fn path_serves(on: Transport, libraries: &Libraries, forms: &[(&str, &str)]) {
    for library in libraries.list(on) {
        eprintln!("{} {forms:?}", library.display());
        let library = library.to_str().expect("UTF-8");
        // libfuse3.so.4 has one layout only.
        let layout = if library.ends_with(".4") { "3.18" } else { "3.14" };
        let null = forms.iter().any(|(name, _)| *name == "OLD_NULLPATH");
        let server = Server::new("old_path").env("OLD_LIBRARY", library).env("OLD_LAYOUT", layout);
        let fs =
            forms.iter().fold(server, |server, (name, value)| server.env(name, value)).mount(on);
        let text = fs::read_to_string(fs.at("file")).expect("read");
        assert_eq!(text, if null { "NULL\n" } else { "/file" });
    }
}

each_transport! {
    fn path_filesystems_are_made(on) {
        for form in ["fuse_new@FUSE_3.0", "fuse_new@FUSE_3.1", "fuse_new_30@FUSE_3.1", "fuse_new_31@FUSE_3.1"] {
            path_serves(on, &ALL, &[("OLD_NEW", form)]);
            path_serves(on, &ALL, &[("OLD_NEW", form), ("OLD_NULLPATH", "1")]);
        }
        for form in ["_fuse_new_30@FUSE_3.17", "_fuse_new_31@FUSE_3.17"] {
            path_serves(on, &ONLY_SO4, &[("OLD_NEW", form), ("OLD_OPS", "344")]);
        }
    }

    fn path_loops(on) {
        for (form, configs) in [
            ("fuse_loop_mt@FUSE_3.0", &["0", "1"][..]),
            ("fuse_loop_mt_31@FUSE_3.2", &["0", "1"]),
            ("fuse_loop_mt@FUSE_3.2", &["0:-1", "1:10", "null"]),
            ("fuse_loop_mt_32@FUSE_3.12", &["0:-1", "1:10", "null"]),
            ("fuse_loop_mt@FUSE_3.12", &["null"]),
            ("fuse_loop_mt_312@FUSE_3.12", &["null"]),
        ] {
            for config in configs {
                // libfuse 3.14 takes NULL for an address in the form of 3.2.
                let old = *config == "null" && (form.ends_with("3.2") || form.contains("_32@"));
                let libraries = if old { &OURS } else { &ALL };
                path_serves(on, libraries, &[("OLD_LOOP", form), ("OLD_CONFIG", config)]);
            }
        }
    }

    fn path_programs(on) {
        path_serves(on, &ALL, &[("OLD_MAIN", "fuse_main_real@FUSE_3.0")]);
        path_serves(on, &ONLY_SO4, &[("OLD_MAIN", "fuse_main_real_versioned@FUSE_3.17")]);
    }

    /// The tables of 3.0, 3.4, 3.8, 3.18 and 3.19.
    fn path_tables_of_every_size(on) {
        for size in ["320", "328", "336", "344", "352", "512"] {
            path_serves(on, &OURS, &[("OLD_OPS", size)]);
        }
    }

    /// The layout is that of the release in whose place the library is, unless the
    /// environment says something else.
    fn in_the_place_of_another_release(on) {
        if stock() {
            return skip("the library under test is libfuse");
        }
        for (file, layout, said) in [
            ("libfuse3.so.3.14.0", "3.14", None),
            ("libfuse3.so.3.10.5", "3.14", None),
            ("libfuse3.so.3.14.1", "3.16", None),
            ("libfuse3.so.3.16.2", "3.16", None),
            ("libfuse3.so.3.16.2", "3.14", Some("3.14")),
            ("libfuse3.so.3.14.0", "3.16", Some("3.16")),
        ] {
            let dir = TempDir::with_prefix("ringfuse-old-").expect("a directory");
            let library = dir.path().join("libfuse3.so.3.99.0");
            fs::copy(built(3), &library).expect("copy");
            fs::write(dir.path().join(file), "").expect("a file");
            symlink(file, dir.path().join("ringfuse-stock.libfuse3.so.3")).expect("a link");
            let link = dir.path().join("libfuse3.so.3");
            symlink("libfuse3.so.3.99.0", &link).expect("a link");
            let mut server = Server::new("old_path")
                .env("OLD_LIBRARY", link.to_str().expect("UTF-8"))
                .env("OLD_LAYOUT", layout);
            if let Some(said) = said {
                server = server.env("RINGFUSE_SO3_LAYOUT", said);
            }
            // Another layout gives it no path.
            let fs = server.env("OLD_NULLPATH", "1").mount(on);
            assert_eq!(fs::read_to_string(fs.at("file")).expect("read"), "NULL\n", "{file}");
        }
    }

    /// struct fuse_config of 3.14.1 to 3.16, where the program says so.
    fn settings_of_3_16(on) {
        let newer = [("OLD_LAYOUT", "3.16"), ("RINGFUSE_SO3_LAYOUT", "3.16")];
        path_serves(on, &Libraries { stock: false, ..ONLY_SO3 }, &newer);
        let null = [newer[0], newer[1], ("OLD_NULLPATH", "1")];
        path_serves(on, &Libraries { stock: false, ..ONLY_SO3 }, &null);
    }
}

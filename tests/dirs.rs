//! Directories: small ones, huge ones, every way to read them.

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use rustix::fs::{fsync, mkdirat, open, seek, Dir, Mode, OFlags, SeekFrom, CWD};
use rustix::io::Errno;
use support::*;

const BIG_ENTRIES: usize = 100_000;
const BIG_BASE: u64 = 1_000_000;

fn mkdir(fs: &Mount, name: &str) {
    mkdirat(CWD, fs.at(name), Mode::from_raw_mode(0o755)).expect("mkdir");
}

fn opened(path: &Path) -> Dir {
    Dir::new(open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("open"))
        .expect("dir")
}

/// Name, inode number and type of every entry.
fn listing(dir: &mut Dir) -> Vec<(String, u64, rustix::fs::FileType)> {
    let mut entries = Vec::new();
    while let Some(entry) = dir.read() {
        let entry = entry.expect("readdir");
        entries.push((
            entry.file_name().to_string_lossy().into_owned(),
            entry.ino(),
            entry.file_type(),
        ));
    }
    entries
}

fn check_big(entries: &[(String, u64, rustix::fs::FileType)]) {
    assert_eq!(entries.len(), BIG_ENTRIES + 2);
    assert_eq!((&*entries[0].0, &*entries[1].0), (".", ".."));
    for (i, (name, ino, kind)) in entries[2..].iter().enumerate() {
        assert_eq!(*name, format!("entry-with-a-longer-name-{i:06}"));
        assert_eq!(*ino, BIG_BASE + i as u64);
        assert_eq!(kind.is_dir(), i % 10 == 0, "{name}");
    }
}

each_transport! {
    fn arguments(on) {
        let fs = Server::new("trace_ll").option("readdirplus=no").mount(on);
        mkdir(&fs, "dir");
        let ino: i128 = fs.command("node dir").into();
        fs.trace.take();
        let mut dir = opened(&fs.at("dir"));
        let line = fs.trace.one("opendir");
        assert_eq!(line.dec("ino"), ino);
        assert_eq!(listing(&mut dir).len(), 2);
        let lines = fs.trace.all("readdir");
        assert_eq!((lines[0].dec("ino"), lines[0].dec("off")), (ino, 0));
        assert!(lines[0].dec("size") >= 4096);
        assert_eq!(lines.last().unwrap().dec("off"), 2, "asked on until nothing came");
        assert!(lines.iter().all(|line| line.hex("fh") >> 48 == 0xfeed));
        drop(dir);
        let line = fs.trace.wait("releasedir");
        assert_eq!((line.dec("ino"), line.hex("fh")), (ino, lines[0].hex("fh")));
    }

    fn small(on) {
        for plus in ["no", "yes", "auto"] {
            let fs = Server::new("trace_ll").option(&format!("readdirplus={plus}")).mount(on);
            let mut wanted = BTreeMap::new();
            for name in ["a", "a-name-of-some-length", "b", &"n".repeat(255)] {
                mkdir(&fs, name);
                wanted.insert(name.to_string(), fs.command(&format!("node {name}")) as u64);
            }
            let mut dir = opened(&fs.path);
            let mut got: BTreeMap<_, _> = listing(&mut dir).into_iter().map(|(n, i, _)| (n, i)).collect();
            assert_eq!(got.remove("."), Some(1));
            assert!(got.remove("..").is_some());
            assert_eq!(got, wanted, "readdirplus={plus}");
            let used = fs.trace.take().iter().any(|line| line.op == "readdirplus");
            assert_eq!(used, plus != "no");
        }
    }

    fn hundred_thousand_entries(on) {
        let fs = Server::new("trace_ll").option("readdirplus=no").mount(on);
        mkdir(&fs, "big");
        let mut dir = opened(&fs.at("big"));
        let first = listing(&mut dir);
        check_big(&first);
        dir.rewind();
        assert!(first == listing(&mut dir), "another listing after rewinding");
    }

    fn hundred_thousand_entries_with_attributes(on) {
        let fs = Server::new("trace_ll").option("readdirplus=yes").mount(on);
        mkdir(&fs, "big");
        fs.trace.take();
        check_big(&listing(&mut opened(&fs.at("big"))));
        assert!(fs.trace.all("readdirplus").len() > 100);
    }

    fn many_readers_of_one_directory(on) {
        let fs = Server::new("trace_ll").option("readdirplus=auto").mount(on);
        mkdir(&fs, "big");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| check_big(&listing(&mut opened(&fs.at("big")))));
            }
        });
    }

    fn seeking(on) {
        let fs = Server::new("trace_ll").option("readdirplus=no").mount(on);
        mkdir(&fs, "big");
        let file = File::open(fs.at("big")).unwrap();
        // The offset of an entry is the one the filesystem gave to it.
        for at in [0u64, 2, 77_777, 100_001, 100_002, 500_000] {
            seek(&file, SeekFrom::Start(at)).unwrap();
            let mut buffer = Vec::with_capacity(4096);
            let mut raw = rustix::fs::RawDir::new(&file, buffer.spare_capacity_mut());
            let next = raw.next().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
            let wanted = match at {
                0 => Some(".".to_string()),
                2..=100_001 => Some(format!("entry-with-a-longer-name-{:06}", at - 2)),
                _ => None,
            };
            assert_eq!(next, wanted, "at {at}");
        }
    }

    fn cached_listings(on) {
        let fs = Server::new("trace_ll").option("readdirplus=no").mount(on);
        for (name, again) in [("list_keep_hold", 0), ("plain", 1)] {
            mkdir(&fs, name);
            assert_eq!(listing(&mut opened(&fs.at(name))).len(), 2);
            fs.trace.take();
            assert_eq!(listing(&mut opened(&fs.at(name))).len(), 2);
            assert_eq!(fs.trace.all("readdir").len().min(1), again, "{name}");
        }
    }

    fn fsyncdir(on) {
        let fs = Server::new("trace_ll").mount(on);
        mkdir(&fs, "dir");
        let dir = File::open(fs.at("dir")).unwrap();
        fs.trace.take();
        dir.sync_all().unwrap();
        dir.sync_data().unwrap();
        let lines = fs.trace.all("fsyncdir");
        assert_eq!(lines.iter().map(|l| l.dec("datasync")).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(fsync(File::open(fs.at("fail_fsyncdir_5")).unwrap()), Err(Errno::IO));
    }

    fn errors_while_reading(on) {
        for (op, plus) in [("readdir", "no"), ("readdirplus", "yes")] {
            let fs = Server::new("trace_ll").option(&format!("readdirplus={plus}")).mount(on);
            let name = match op {
                "readdir" => "fail_readdir_116",
                _ => "fail_readdirplus_116_dir_",
            };
            let error = opened(&fs.at(name)).read().expect("a result").err();
            assert_eq!(error, Some(Errno::STALE), "{op}");
        }
    }
}

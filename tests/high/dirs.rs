//! Directories: the two ways to list them, what is told of entries, handles.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{Dir, FileType, RawDir, SeekFrom};
use rustix::io::Errno;

use crate::shown::{from_me, Show, Shown};
use crate::support::*;

const MANY: usize = 10_000;

/// All entries, in order, with their inode numbers and types.
fn listed(fs: &Shown, dir: &str) -> Result<Vec<(String, u64, FileType)>, Errno> {
    let dir = Dir::new(File::open(fs.at(dir)).expect("open"))?;
    dir.map(|entry| {
        let entry = entry?;
        Ok((entry.file_name().to_str().unwrap().to_owned(), entry.ino(), entry.file_type()))
    })
    .collect()
}

fn names(fs: &Shown, dir: &str) -> Vec<String> {
    let mut names: Vec<_> = listed(fs, dir).unwrap().into_iter().map(|(name, ..)| name).collect();
    names.sort();
    names
}

fn small(list: &str) -> Show {
    Show::new().option(&format!("list={list}")).dir("dir").file("dir/a", "12").dir("dir/b")
}

each_transport! {
    fn both_ways_list_the_same(on) {
        for list in ["all", "attrs", "plus", "offs", "offsplus"] {
            let fs = small(list).mount(on);
            assert_eq!(names(&fs, "dir"), [".", "..", "a", "b"], "{list}");
            let lines = fs.trace.take();
            let opendir = lines.iter().find(|line| line.op == "opendir").expect("opendir");
            from_me(opendir);
            assert_eq!(opendir.text("path"), "/dir");
            let readdirs: Vec<_> = lines.iter().filter(|line| line.op == "readdir").collect();
            from_me(readdirs[0]);
            assert_eq!(readdirs[0].text("path"), "/dir");
            assert_eq!((readdirs[0].dec("off"), readdirs[0].dec("fh")), (0, 1));
            match list.starts_with("offs") {
                // From the last offset on, until there is nothing more.
                true => assert!(readdirs.last().unwrap().dec("off") > 0, "{readdirs:?}"),
                false => assert_eq!(readdirs.len(), 1, "{list}: {readdirs:?}"),
            }
            if !lines.iter().any(|line| line.op == "releasedir") {
                fs.trace.wait("releasedir");
            }
            // What is told agrees with what stat tells.
            assert_eq!(fs::metadata(fs.at("dir/a")).unwrap().size(), 2);
            assert!(fs::metadata(fs.at("dir/b")).unwrap().is_dir());
        }
    }

    /// Complete attributes make entries known: nobody asks for them again.
    fn complete_attributes_are_lookups(on) {
        for list in ["plus", "offsplus", "attrs", "all"] {
            if list == "plus" && stock() {
                skip("without offsets libfuse does so from 3.17 on");
                continue;
            }
            let fs = small(list).option("readdirplus=yes").mount(on);
            assert_eq!(names(&fs, "dir").len(), 4);
            let lines = fs.trace.take();
            let flags = lines.iter().find(|line| line.op == "readdir").unwrap().dec("flags");
            assert_eq!(flags, 1, "{list}: FUSE_READDIR_PLUS");
            assert_eq!(fs::symlink_metadata(fs.at("dir/a")).unwrap().size(), 2);
            let asked: Vec<_> = fs.trace.all("getattr").into_iter().chain(fs.trace.all("statx"))
                .filter(|line| line.text("path") == "/dir/a").collect();
            assert_eq!(asked.is_empty(), list.ends_with("plus"), "{list}: {asked:?}");
            // What was looked up is forgotten as often: the directory can be removed.
            fs::remove_file(fs.at("dir/a")).unwrap();
            fs::remove_dir(fs.at("dir/b")).unwrap();
            fs::remove_dir(fs.at("dir")).unwrap();
        }
    }

    fn without_readdirplus_nobody_asks_for_attributes(on) {
        let fs = small("plus").option("readdirplus=no").mount(on);
        assert_eq!(names(&fs, "dir").len(), 4);
        assert!(fs.trace.all("readdir").iter().all(|line| line.dec("flags") == 0));
        assert_eq!(fs::metadata(fs.at("dir/a")).unwrap().size(), 2);
    }

    fn mixing_both_ways_is_an_error(on) {
        for (list, one, two) in [("mixed", 0, 1), ("mixed0", 0, 1)] {
            if list == "mixed" && stock() {
                skip("libfuse 3.14 forgets the entries with offsets");
                continue;
            }
            let fs = small(list).mount(on);
            assert_eq!(listed(&fs, "dir"), Err(Errno::IO), "{list}");
            let line = fs.trace.wait("mixed");
            assert_eq!((line.dec("one"), line.dec("two")), (one, two), "{list}");
        }
        let fs = small("fails").mount(on);
        assert_eq!(listed(&fs, "dir"), Err(Errno::REMOTE));
        let fs = small("flags").mount(on);
        assert_eq!(listed(&fs, "dir"), Err(Errno::IO));
        assert_eq!(fs.trace.wait("filled").dec("result"), 1);
    }

    fn ten_thousand_entries(on) {
        for list in ["many", "manyoffs"] {
            let fs = small(list).mount(on);
            let found = listed(&fs, "dir").unwrap();
            assert_eq!(found.len(), MANY, "{list}");
            let distinct: BTreeSet<_> = found.iter().map(|(name, ..)| name).collect();
            assert_eq!(distinct.len(), MANY);
            assert_eq!((&*found[0].0, found[0].2), ("entry0", FileType::RegularFile));
            assert_eq!(found[MANY - 1].0, format!("entry{}", MANY - 1));
            let lines = fs.trace.take();
            let readdirs = lines.iter().filter(|line| line.op == "readdir").count();
            let full = lines.iter().filter(|line| line.op == "full").count();
            match list {
                "many" => assert_eq!((readdirs, full), (1, 0)),
                // As often as answers are full, and once for the end.
                _ => assert!(full > 10 && (full + 1..=full + 2).contains(&readdirs), "{readdirs} {full}"),
            }
        }
    }

    /// rewinddir reads anew; two handles have nothing in common.
    fn rewinding_lists_again(on) {
        let fs = small("growing").mount(on);
        let mut dir = Dir::new(File::open(fs.at("dir")).unwrap()).unwrap();
        let mut count = || {
            let mut count = 0;
            while dir.next().map(Result::unwrap).is_some() {
                count += 1;
            }
            dir.rewind();
            count
        };
        assert_eq!((count(), count()), (1, 2));
        assert_eq!(listed(&fs, "dir").unwrap().len(), 3);
        assert_eq!(count(), 4);
    }

    /// Reading on where an entry said finds what came after it.
    fn seeking_finds_the_rest(on) {
        for list in ["many", "manyoffs"] {
            let fs = small(list).mount(on);
            let file = File::open(fs.at("dir")).unwrap();
            let raw = |from: u64| {
                rustix::fs::seek(&file, SeekFrom::Start(from)).unwrap();
                let mut buffer = Vec::with_capacity(4096);
                let mut dir = RawDir::new(&file, buffer.spare_capacity_mut());
                let entry = dir.next().map(Result::unwrap);
                entry.map(|entry| (entry.file_name().to_str().unwrap().to_owned(), entry.next_entry_cookie()))
            };
            let (first, after_first) = raw(0).unwrap();
            let (second, _) = raw(after_first).unwrap();
            assert_eq!((&*first, &*second), ("entry0", "entry1"), "{list}");
            assert_eq!(raw(5000).unwrap().0, "entry5000", "{list}");
            assert_eq!(raw(MANY as u64 - 1).unwrap().0, "entry9999");
            assert_eq!(raw(MANY as u64), None);
            assert_eq!(raw(after_first).unwrap().0, second);
        }
    }

    /// Numbers without use_ino: unknown, or the node's with readdir_ino.
    fn inode_numbers_of_entries(on) {
        let number = |fs: &Shown, name: &str| {
            listed(fs, "dir").unwrap().into_iter().find(|(n, ..)| n == name).unwrap().1
        };
        for list in ["attrs", "offs"] {
            let show = || small(list).option("readdirplus=no");
            let fs = show().mount(on);
            let node = fs::metadata(fs.at("dir/a")).unwrap().ino();
            assert_eq!(number(&fs, "a"), 0xffff_ffff, "{list}");
            let fs = show().option("cfg=readdir_ino=1").mount(on);
            assert_eq!(number(&fs, "b"), 0xffff_ffff, "{list}: not known yet");
            assert_eq!(fs::metadata(fs.at("dir/a")).unwrap().ino(), node);
            assert_eq!(number(&fs, "a"), node);
            if !stock() {
                // libfuse knows no number for these two.
                assert_eq!(number(&fs, "."), fs::metadata(fs.at("dir")).unwrap().ino());
            }
            let fs = show().option("cfg=use_ino=1").mount(on);
            let real = fs::metadata(fs.behind("dir/a")).unwrap().ino();
            assert_eq!(number(&fs, "a"), real);
            assert_eq!(fs::metadata(fs.at("dir/a")).unwrap().ino(), real);
        }
    }

    /// The kernel's cache of a listing, where opendir wants it.
    fn listings_are_cached_where_opendir_says(on) {
        if stock() {
            return skip("libfuse forwards cache_readdir from 3.16 on");
        }
        let fs = Show::new().dir("cached").file("cached/a", "").dir("other").mount(on);
        for (dir, times) in [("cached", 1), ("other", 2)] {
            fs.trace.take();
            for _ in 0..2 {
                names(&fs, dir);
            }
            let read = fs.trace.all("readdir");
            // keep_cache is not set, so a new open reads anew.
            assert!(read.len() == 2 || read.len() == times, "{dir}: {read:?}");
        }
    }

    fn errors_of_directories(on) {
        let fs = Show::new().dir("fail_opendir_24").dir("fail_fsyncdir_5").mount(on);
        let error = fs::read_dir(fs.at("fail_opendir_24")).err().and_then(|e| e.raw_os_error());
        assert_eq!(error, Some(24));
        assert_eq!(rustix::fs::fsync(File::open(fs.at("fail_fsyncdir_5")).unwrap()), Err(Errno::IO));
    }
}

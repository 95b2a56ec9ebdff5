//! Files that are removed while they are open.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;

use crate::shown::{Show, Shown};
use crate::support::*;

fn opened(fs: &Shown, name: &str) -> File {
    OpenOptions::new().read(true).write(true).open(fs.at(name)).expect("open")
}

fn hidden(fs: &Shown) -> Vec<String> {
    fs.names_behind().into_iter().filter(|name| name.starts_with(".fuse_hidden")).collect()
}

fn is_still_whole(mut file: &File) {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "contents");
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(b"contents").unwrap();
}

each_transport! {
    fn an_open_file_is_renamed_and_removed_at_its_last_close(on) {
        let fs = Show::new().file("file", "contents").mount(on);
        let (one, other) = (opened(&fs, "file"), opened(&fs, "file"));
        fs.trace.take();
        fs::remove_file(fs.at("file")).unwrap();
        let lines = fs.trace.take();
        assert!(!lines.iter().any(|line| line.op == "unlink"), "{lines:?}");
        let rename = lines.iter().find(|line| line.op == "rename").expect("rename");
        assert_eq!((rename.text("path"), rename.dec("flags")), ("/file", 0));
        // Looked for, and free: the number of the node, and one more.
        let name = rename.text("to").strip_prefix('/').unwrap();
        assert_eq!(name.len(), ".fuse_hidden".len() + 16);
        assert!(name[12..].chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)));
        assert!(lines.iter().any(|line| line.op == "getattr" && line.text("path")[1..] == *name));
        assert_eq!(fs.names_behind(), [name]);
        is_still_whole(&one);
        assert_eq!(one.metadata().unwrap().nlink(), 0);
        assert_eq!(fs::metadata(fs.at("file")).unwrap_err().raw_os_error(), Some(libc::ENOENT));
        drop(one);
        fs.trace.wait("release");
        assert_eq!(fs.names_behind(), [name]);
        is_still_whole(&other);
        drop(other);
        eventually("the end of the hidden file", || fs.names_behind().is_empty());
        assert_eq!(fs.trace.wait("unlink").text("path")[1..], *name);
    }

    fn a_file_that_is_renamed_over_is_hidden(on) {
        let fs = Show::new().file("old", "contents").file("new", "other").mount(on);
        let file = opened(&fs, "old");
        fs.trace.take();
        fs::rename(fs.at("new"), fs.at("old")).unwrap();
        let renames = fs.trace.all("rename");
        assert_eq!(renames.len(), 2, "{renames:?}");
        assert_eq!(renames[0].text("path"), "/old");
        assert!(renames[0].text("to").starts_with("/.fuse_hidden"));
        assert_eq!((renames[1].text("path"), renames[1].text("to")), ("/new", "/old"));
        assert_eq!(fs::read_to_string(fs.at("old")).unwrap(), "other");
        is_still_whole(&file);
        drop(file);
        eventually("the end of the hidden file", || hidden(&fs).is_empty());
        assert_eq!(fs.names_behind(), ["old"]);
    }

    fn what_is_not_open_is_removed(on) {
        let fs = Show::new().file("file", "").mount(on);
        drop(opened(&fs, "file"));
        fs.trace.wait("release");
        fs::remove_file(fs.at("file")).unwrap();
        assert!(!fs.ops().contains(&"rename".to_string()));
        assert!(fs.names_behind().is_empty());
    }

    /// Then operations by path have none, and those by handle go without.
    fn with_hard_remove_it_is_gone_at_once(on) {
        for config in ["hard_remove=1", "hard_remove=1:nullpath_ok=1"] {
            let fs = Show::config(config).file("file", "contents").mount(on);
            let file = opened(&fs, "file");
            fs.trace.take();
            fs::remove_file(fs.at("file")).unwrap();
            assert!(!fs.ops().contains(&"rename".to_string()));
            assert!(fs.names_behind().is_empty());
            is_still_whole(&file);
            assert_eq!(fs.trace.take().iter().find(|line| line.op == "write_buf").unwrap().text("path"), "NULL");
            file.sync_all().unwrap();
            assert_eq!(fs.trace.one("fsync").text("path"), "NULL");
            file.set_len(3).unwrap();
            let line = fs.trace.take().into_iter().find(|line| line.op == "truncate").unwrap();
            assert_eq!((line.text("path"), line.text("fi")), ("NULL", "1"));
            let error = rustix::fs::fchmod(&file, rustix::fs::Mode::RUSR);
            // By path, of which there is none: ESTALE from 3.11 on, before ENOENT.
            assert!(matches!(error, Err(Errno::STALE | Errno::NOENT)), "{error:?}");
            drop(file);
            assert_eq!(fs.trace.wait("release").text("path"), "NULL");
        }
    }

    /// A file that is still open when everything ends goes as well.
    fn fuse_destroy_removes_what_is_hidden(on) {
        let fs = Show::new().file("file", "contents").mount(on);
        let file = opened(&fs, "file");
        fs::remove_file(fs.at("file")).unwrap();
        assert_eq!(hidden(&fs).len(), 1);
        assert_eq!(fs.command("leave"), 0);
        let (ending, lines, root) = fs.ended();
        assert_eq!(ending.result, Some(0));
        let unlink = lines.iter().find(|line| line.op == "unlink").expect("unlink");
        assert!(unlink.text("path").starts_with("/.fuse_hidden"));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        drop(file);
    }

    /// The new name is in the same directory, and a link is no open file.
    fn hiding_in_a_directory(on) {
        let fs = Show::new().dir("dir").file("dir/file", "contents").mount(on);
        let file = opened(&fs, "dir/file");
        fs.trace.take();
        fs::remove_file(fs.at("dir/file")).unwrap();
        assert!(fs.trace.one("rename").text("to").starts_with("/dir/.fuse_hidden"));
        // Not empty until it is closed.
        assert_eq!(rustix::fs::rmdir(fs.at("dir")), Err(Errno::NOTEMPTY));
        drop(file);
        eventually("the end of the hidden file", || fs::remove_dir(fs.at("dir")).is_ok());
    }

    fn a_rename_that_fails_hides_nothing(on) {
        let fs = Show::new().file("fail_rename_122", "contents").mount(on);
        let file = opened(&fs, "fail_rename_122");
        assert_eq!(rustix::fs::unlink(fs.at("fail_rename_122")), Err(Errno::DQUOT));
        is_still_whole(&file);
        assert_eq!(fs::read_to_string(fs.at("fail_rename_122")).unwrap(), "contents");
    }
}

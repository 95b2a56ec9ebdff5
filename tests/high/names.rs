//! What makes, moves and removes names.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use rustix::fs::{
    linkat, makedev, mknodat, open, renameat_with, AtFlags, FileType, Mode, OFlags, RenameFlags,
    CWD,
};
use rustix::io::Errno;

use crate::shown::{handle_of, Show};
use crate::support::raw;

each_transport! {
    fn directories_are_made_and_removed(on) {
        let fs = Show::new().mount(on);
        rustix::fs::mkdir(fs.at("dir"), Mode::from_raw_mode(0o750)).unwrap();
        let line = fs.mine("mkdir");
        assert_eq!((line.text("path"), line.oct("mode") & 0o7777), ("/dir", 0o750));
        assert!(fs.behind("dir").is_dir());
        // Below another one, and with a name that needs all bytes.
        fs::create_dir(fs.at("dir/a b%\u{e4}")).unwrap();
        assert_eq!(fs.mine("mkdir").text("path"), "/dir/a%20b%25%C3%A4");
        fs::remove_dir(fs.at("dir/a b%\u{e4}")).unwrap();
        assert_eq!(fs.mine("rmdir").text("path"), "/dir/a%20b%25%C3%A4");
        assert_eq!(rustix::fs::mkdir(fs.at("fail_mkdir_122"), Mode::RWXU), Err(Errno::DQUOT));
        assert_eq!(fs.names_behind(), ["dir"]);
    }

    fn nodes_are_made(on) {
        let fs = Show::new().mount(on);
        let (fifo, mode) = (FileType::Fifo, Mode::from_raw_mode(0o640));
        mknodat(CWD, fs.at("fifo"), fifo, mode, 0).unwrap();
        let line = fs.mine("mknod");
        assert_eq!((line.text("path"), line.oct("mode")), ("/fifo", 0o010640));
        assert!(fs::metadata(fs.behind("fifo")).unwrap().file_type().is_fifo());
        let device = makedev(7, 0x12345);
        mknodat(CWD, fs.at("dev"), FileType::CharacterDevice, mode, device).unwrap();
        assert_eq!(fs.mine("mknod").hex("rdev"), device);
        assert_eq!(fs::metadata(fs.at("dev")).unwrap().rdev(), device);
        fs.trace.take();
        // A regular file is made by create, which is then closed.
        mknodat(CWD, fs.at("file"), FileType::RegularFile, mode, 0).unwrap();
        let lines = fs.trace.take();
        let create = lines.iter().find(|line| line.op == "create").expect("create");
        assert_eq!((create.text("path"), create.oct("mode")), ("/file", 0o100640));
        let flags = OFlags::from_bits_retain(create.hex("flags") as u32);
        assert_eq!(flags & !OFlags::LARGEFILE, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY);
        let release = lines.iter().find(|line| line.op == "release").expect("release");
        assert_eq!(release.hex("fh") & 0xffff_0000_0000_0000, 0xfeed_0000_0000_0000);
        assert!(!lines.iter().any(|line| line.op == "mknod"), "{lines:?}");
        // Its errors are final.
        let failing = fs.at("fail_create_122");
        assert_eq!(mknodat(CWD, failing, FileType::RegularFile, mode, 0), Err(Errno::DQUOT));
        assert!(fs.trace.all("mknod").is_empty());
    }

    fn without_create_files_are_made_by_mknod_and_opened(on) {
        let fs = Show::new().option("without=create").mount(on);
        fs::write(fs.at("file"), "data").unwrap();
        let lines = fs.trace.take();
        let at = |op: &str| lines.iter().position(|line| line.op == op).expect(op);
        assert!(at("mknod") < at("open"), "{lines:?}");
        assert_eq!(lines[at("mknod")].oct("mode") & 0o170000, 0o100000);
        assert_eq!(fs::read_to_string(fs.behind("file")).unwrap(), "data");
    }

    fn symbolic_links_have_targets(on) {
        let fs = Show::new().mount(on);
        rustix::fs::symlink("../some where", fs.at("link")).unwrap();
        let line = fs.mine("symlink");
        assert_eq!((line.text("target"), line.text("path")), ("../some%20where", "/link"));
        assert_eq!(fs::read_link(fs.at("link")).unwrap().to_str(), Some("../some where"));
        let line = fs.mine("readlink");
        assert_eq!(line.text("path"), "/link");
        assert!(line.dec("size") > 4096 - 1, "{line:?}");
        // The longest target there can be comes back whole.
        let long = "x".repeat(4095);
        rustix::fs::symlink(&*long, fs.behind("long")).unwrap();
        assert_eq!(fs::read_link(fs.at("long")).unwrap().to_str(), Some(&*long));
    }

    fn hard_links_have_the_attributes_of_their_file(on) {
        let fs = Show::new().file("a", "x").mount(on);
        linkat(CWD, fs.at("a"), CWD, fs.at("b"), AtFlags::empty()).unwrap();
        let line = fs.mine("link");
        assert_eq!((line.text("path"), line.text("to")), ("/a", "/b"));
        assert_eq!(fs::metadata(fs.at("b")).unwrap().nlink(), 2);
        // Without use_ino the two names are two nodes.
        let number = |name: &str| fs::metadata(fs.at(name)).unwrap().ino();
        assert_ne!(number("a"), number("b"));
    }

    fn renames_carry_their_flags(on) {
        let fs = Show::new().file("a", "a").file("b", "b").dir("dir").mount(on);
        fs::rename(fs.at("a"), fs.at("dir/c")).unwrap();
        let line = fs.mine("rename");
        assert_eq!((line.text("path"), line.text("to")), ("/a", "/dir/c"));
        assert_eq!(line.dec("flags"), 0);
        let exchange = RenameFlags::EXCHANGE;
        renameat_with(CWD, fs.at("b"), CWD, fs.at("dir/c"), exchange).unwrap();
        assert_eq!(fs.mine("rename").dec("flags"), i128::from(exchange.bits()));
        assert_eq!(fs::read_to_string(fs.at("b")).unwrap(), "a");
        assert_eq!(fs::read_to_string(fs.at("dir/c")).unwrap(), "b");
        fs.trace.take();
        // What is there is refused by the kernel; what is not, by nobody.
        let free = RenameFlags::NOREPLACE;
        assert_eq!(renameat_with(CWD, fs.at("b"), CWD, fs.at("dir/c"), free), Err(Errno::EXIST));
        renameat_with(CWD, fs.at("b"), CWD, fs.at("free"), free).unwrap();
        assert_eq!(fs.mine("rename").dec("flags"), i128::from(free.bits()));
        // A directory's contents go with it, also for files that are open.
        let file = fs::File::open(fs.at("dir/c")).unwrap();
        fs::rename(fs.at("dir"), fs.at("moved")).unwrap();
        fs.trace.take();
        file.sync_all().unwrap();
        assert_eq!(fs.mine("fsync").text("path"), "/moved/c");
        drop(file);
        fs.trace.wait("release");
    }

    fn files_are_removed(on) {
        let fs = Show::new().file("a", "a").mount(on);
        fs::remove_file(fs.at("a")).unwrap();
        assert_eq!(fs.mine("unlink").text("path"), "/a");
        assert!(fs.names_behind().is_empty());
        assert_eq!(rustix::fs::unlink(fs.at("a")), Err(Errno::NOENT));
    }

    fn created_files_are_open(on) {
        let fs = Show::new().mount(on);
        let before = raw::own_umask(0o027);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        let file = open(fs.at("file"), flags, Mode::from_raw_mode(0o666));
        raw::own_umask(before);
        let file = file.unwrap();
        let lines = fs.trace.take();
        let create = lines.iter().find(|line| line.op == "create").expect("create");
        // The kernel takes the umask away, and tells it as well.
        assert_eq!(create.oct("mode"), 0o100640);
        assert_eq!(create.oct("umask"), 0o027);
        assert_eq!(create.hex("fh"), 0);
        // The attributes of the answer are asked for with the handle.
        let getattr = lines.iter().rfind(|line| line.op == "getattr").expect("getattr");
        let handle = handle_of(getattr);
        assert_eq!(getattr.text("path"), "/file");
        rustix::io::write(&file, b"data").unwrap();
        assert_eq!(handle_of(&fs.trace.one("write_buf")), handle);
        drop(file);
        assert_eq!(handle_of(&fs.trace.wait("release")), handle);
    }
}

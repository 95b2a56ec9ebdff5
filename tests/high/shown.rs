//! A directory shown by `path_trace`.

use std::fs;
use std::ops::Deref;
use std::path::PathBuf;

use super::support::mount::built;
use super::support::{me, Ending, Line, Mount, Server, Transport};
use tempfile::TempDir;

/// How it is to be shown.
pub struct Show {
    server: Server,
    root: TempDir,
}

impl Show {
    pub fn new() -> Show {
        Show::plain().option("default_permissions")
    }

    /// Without an option of the kernel's.
    pub fn plain() -> Show {
        let root = TempDir::with_prefix("ringfuse-root-").expect("a directory");
        let root_option = format!("root={}", root.path().display());
        Show { server: Server::new("path_trace").option(&root_option), root }
    }

    /// With these settings made by `init`, such as `use_ino=1:remember=5`.
    pub fn config(list: &str) -> Show {
        Show::new().option(&format!("cfg={list}"))
    }

    pub fn option(self, option: &str) -> Show {
        Show { server: self.server.option(option), ..self }
    }

    pub fn arg(self, arg: &str) -> Show {
        Show { server: self.server.arg(arg), ..self }
    }

    /// With the module that shows all names in upper case (`path_upper.h`).
    pub fn upper(self) -> Show {
        let modules = built("path_trace").parent().expect("a directory").to_owned();
        let server = self.server.env("LD_LIBRARY_PATH", modules.to_str().expect("UTF-8"));
        Show { server: server.option("modules=loud"), ..self }
    }

    /// A file that is there from the beginning.
    pub fn file(self, name: &str, contents: &str) -> Show {
        fs::write(self.root.path().join(name), contents).expect("write");
        self
    }

    pub fn dir(self, name: &str) -> Show {
        fs::create_dir(self.root.path().join(name)).expect("mkdir");
        self
    }

    pub fn mount(self, on: Transport) -> Shown {
        Shown { mount: self.server.mount(on), root: self.root }
    }
}

/// The mount; it goes before what it shows.
pub struct Shown {
    mount: Mount,
    root: TempDir,
}

impl Deref for Shown {
    type Target = Mount;

    fn deref(&self) -> &Mount {
        &self.mount
    }
}

impl Shown {
    /// A name in the directory that is shown.
    pub fn behind(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The names in that directory.
    pub fn names_behind(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.path()).expect("readdir");
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What this thread asked for since the last look.
    pub fn asked(&self) -> Vec<Line> {
        self.trace.take().into_iter().filter(|line| line.dec("pid") == me()).collect()
    }

    /// The one operation `op` of those.
    pub fn mine(&self, op: &str) -> Line {
        let mut found: Vec<_> = self.asked().into_iter().filter(|line| line.op == op).collect();
        assert_eq!(found.len(), 1, "one {op}: {found:?}");
        from_me(&found[0]);
        found.remove(0)
    }

    /// What the operations were, without the forgetting of nodes.
    pub fn ops(&self) -> Vec<String> {
        self.trace.take().into_iter().map(|line| line.op).collect()
    }

    /// Waits until the filesystem has ended by itself; also tells all that it did.
    pub fn ended(self) -> (Ending, Vec<Line>, TempDir) {
        let Shown { mount, root } = self;
        // The directory of the trace goes with the mount.
        let file = std::fs::File::open(mount.path.with_file_name("trace")).expect("the trace");
        let ending = mount.ended();
        let text = std::io::read_to_string(file).expect("the trace");
        (ending, text.lines().map(Line::parse).collect(), root)
    }

    /// Unmounts, and tells all that the filesystem did.
    pub fn unmounted(self) -> (Ending, Vec<Line>, TempDir) {
        self.mount.unmount();
        self.ended()
    }
}

/// The context is this thread's, and init() has been.
pub fn from_me(line: &Line) {
    assert_eq!(line.dec("pid"), me(), "{line:?}");
    assert_eq!(line.dec("uid"), i128::from(rustix::process::getuid().as_raw()), "{line:?}");
    assert_eq!(line.dec("gid"), i128::from(rustix::process::getgid().as_raw()), "{line:?}");
    assert_eq!(line.text("private"), "after", "{line:?}");
    assert_eq!(line.dec("fuse"), 1, "{line:?}");
}

/// The operations with a file handle have the one that open() set.
pub fn handle_of(line: &Line) -> u64 {
    assert!(line.hex("fh") >= 0xfeed_0000_0000_0000, "{line:?}");
    line.hex("fh")
}

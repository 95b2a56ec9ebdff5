//! What is in a directory: names, kinds, attributes, data, links, extended
//! attributes. Two trees that compare equal cannot be told apart by these.

use super::client::{fixed_time, hash};
use super::sys::{self, Object};
use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Every path below a directory with a description of what is there.
pub type Tree = BTreeMap<PathBuf, String>;

/// Reads the tree below `root`. `times`: whether modification times that an
/// operation set are part of it. Afterwards its owner may read and remove
/// everything there, whatever the modes were.
pub fn read(root: &Path, times: bool) -> Tree {
    let mut tree = Tree::new();
    let mut names = HashMap::new();
    walk(root, Path::new(""), times, &mut tree, &mut names);
    tree
}

/// `names`: the first name of every inode, which tells what is linked to what.
fn walk(
    root: &Path,
    below: &Path,
    times: bool,
    tree: &mut Tree,
    names: &mut HashMap<u64, PathBuf>,
) {
    let path = root.join(below);
    let mut entries: Vec<_> = fs::read_dir(&path)
        .unwrap_or_else(|error| panic!("cannot list {}: {error}", path.display()))
        .map(|entry| entry.expect("a directory entry").file_name())
        .collect();
    entries.sort();
    for name in entries {
        let name = below.join(name);
        let path = root.join(&name);
        let facts = fs::symlink_metadata(&path).expect("what was listed is there");
        if !facts.is_symlink() && facts.mode() & 0o700 != 0o700 {
            let opened = fs::Permissions::from_mode(facts.mode() | 0o700);
            fs::set_permissions(&path, opened).expect("a path of our own");
        }
        let first = names.entry(facts.ino()).or_insert_with(|| name.clone()).clone();
        let content = match facts.mode() & libc::S_IFMT {
            libc::S_IFREG => format!("data {:x}", hash(&fs::read(&path).expect("a readable file"))),
            libc::S_IFLNK => format!("text {:?}", fs::read_link(&path).expect("a readable link")),
            _ => String::new(),
        };
        let time =
            if times { fixed_time(facts.mtime(), facts.mtime_nsec()) } else { String::new() };
        tree.insert(
            name.clone(),
            format!(
                "same as {first:?}, mode {:o} links {} owner {}:{} size {} device {:x} mtime {time} xattrs {:?} {content}",
                facts.mode(),
                facts.nlink(),
                facts.uid(),
                facts.gid(),
                facts.size(),
                facts.rdev(),
                xattrs(&path),
            ),
        );
        if facts.is_dir() {
            walk(root, &name, times, tree, names);
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<String, u64> {
    let path = CString::new(path.as_os_str().as_bytes()).expect("a path has no NUL");
    let object = Object::Link(&path);
    let mut room = vec![0; 65536];
    let len = sys::list_xattr(object, &mut room).unwrap_or(0);
    let names: Vec<CString> = room[..len]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| CString::new(name).expect("split at NULs"))
        .collect();
    names
        .into_iter()
        .map(|name| {
            let len = sys::get_xattr(object, &name, &mut room).expect("a listed attribute");
            (name.to_string_lossy().into_owned(), hash(&room[..len]))
        })
        .collect()
}

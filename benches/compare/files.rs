//! Names, attributes, directories.

use super::data::name as data;
use super::work::Step;
use std::fs::{self, File};
use std::io::Result;
use std::path::Path;

/// A directory that all clients list.
const LISTED: &str = "listed";
const NAMES: usize = 10_000;

fn own(client: usize) -> String {
    format!("names{client}")
}

pub fn prepare(backing: &Path, clients: usize) -> Result<()> {
    for client in 0..clients {
        fs::create_dir_all(backing.join(own(client)))?;
    }
    fs::create_dir(backing.join(LISTED))?;
    (0..NAMES)
        .try_for_each(|name| File::create(backing.join(LISTED).join(format!("{name}"))).map(drop))
}

pub fn stat(mount: &Path, client: usize) -> Result<Step> {
    let path = mount.join(data(client));
    Ok(Box::new(move || fs::metadata(&path).map(|_| 1)))
}

pub fn open_close(mount: &Path, client: usize) -> Result<Step> {
    let path = mount.join(data(client));
    Ok(Box::new(move || File::open(&path).map(|_| 1)))
}

pub fn create_unlink(mount: &Path, client: usize) -> Result<Step> {
    let path = mount.join(own(client)).join("new");
    Ok(Box::new(move || {
        File::create_new(&path)?;
        fs::remove_file(&path).map(|()| 1)
    }))
}

pub fn list(mount: &Path, _: usize) -> Result<Step> {
    let path = mount.join(LISTED);
    Ok(Box::new(move || match fs::read_dir(&path)?.count() {
        NAMES => Ok(1),
        other => Err(std::io::Error::other(format!("{other} names instead of {NAMES}"))),
    }))
}

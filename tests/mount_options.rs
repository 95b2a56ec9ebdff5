//! Which arguments are mount options, and what becomes of them.

use std::ffi::CStr;

use libc::{
    MS_DIRSYNC, MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW,
    MS_RDONLY, MS_SYNCHRONOUS,
};
use ringfuse::errno::Errno;
use ringfuse::mount::MountOptions;

fn options(list: &[&CStr]) -> MountOptions {
    let mut options = MountOptions::default();
    for option in list {
        assert_eq!(options.take(option), Ok(true), "{option:?}");
    }
    options
}

/// What fusermount3 would be told.
fn helper_list(list: &[&CStr]) -> String {
    options(list).helper_list(true, options(list).auto_unmount()).into_string().unwrap()
}

#[test]
fn flags_are_set_and_cleared() {
    const DEFAULT: libc::c_ulong = MS_NOSUID | MS_NODEV;
    let cases: [(&[&CStr], libc::c_ulong); 15] = [
        (&[], DEFAULT),
        (&[c"-r"], DEFAULT | MS_RDONLY),
        (&[c"ro"], DEFAULT | MS_RDONLY),
        (&[c"ro", c"rw"], DEFAULT),
        (&[c"suid"], MS_NODEV),
        (&[c"dev", c"suid", c"nosuid"], MS_NOSUID),
        (&[c"dev", c"nodev"], DEFAULT),
        (&[c"noexec"], DEFAULT | MS_NOEXEC),
        (&[c"noexec", c"exec"], DEFAULT),
        (&[c"sync", c"dirsync"], DEFAULT | MS_SYNCHRONOUS | MS_DIRSYNC),
        (&[c"sync", c"async"], DEFAULT),
        (&[c"noatime", c"nodiratime"], DEFAULT | MS_NOATIME | MS_NODIRATIME),
        (&[c"noatime", c"atime", c"nostrictatime"], DEFAULT),
        (&[c"nosymfollow"], DEFAULT | MS_NOSYMFOLLOW),
        (&[c"nosymfollow", c"symfollow"], DEFAULT),
    ];
    for (list, expected) in cases {
        assert_eq!(options(list).flags(), expected, "{list:?}");
    }
}

#[test]
fn what_is_no_mount_option_is_refused() {
    let others = [
        c"nonempty",
        c"large_read",
        c"use_ino",
        c"fd=3",
        c"rootmode=40000",
        c"user_id=0",
        c"group_id=0",
        c"max_write=4096",
        c"relatime",
        c"norelatime",
        c"diratime",
        c"strictatime",
        c"lazytime",
        c"nolazytime",
        c"-f",
        c"-d",
        c"debug",
        c"allow_root",
        c"",
        c"=",
        c"-",
        c"RO",
        c"ro=1",
        c"allow_other=1",
        c"fsname",
        c"subtype",
        c"max_read",
        c"blksize",
        c"context",
        c"blkdev=1",
        c"auto_unmount=1",
        c"user",
        c"-n1",
        c"x",
        c"X-mount.mkdir",
        c"max_reads=1",
    ];
    for option in others {
        let mut options = MountOptions::default();
        assert_eq!(options.take(option), Ok(false), "{option:?}");
        assert_eq!(options.flags(), MountOptions::default().flags());
        assert_eq!(options.parameters(), []);
    }
}

#[test]
fn notes_for_mtab_are_accepted_and_go_nowhere() {
    assert_eq!(
        helper_list(&[c"-n", c"user=me", c"user=", c"x-systemd.automount", c"x-a=b,c"]),
        "rw,nosuid,nodev"
    );
}

#[test]
fn max_read_is_a_number_and_remembered() {
    assert_eq!(MountOptions::default().max_read(), 0);
    assert_eq!(options(&[c"max_read=4096"]).max_read(), 4096);
    assert_eq!(options(&[c"max_read=1", c"max_read=4294967295"]).max_read(), u32::MAX);
    for bad in [c"max_read=", c"max_read=x", c"max_read=4294967296", c"max_read=-1", c"max_read=6x"]
    {
        assert_eq!(MountOptions::default().take(bad), Err(Errno(libc::EINVAL)), "{bad:?}");
    }
}

#[test]
fn parameters_keep_their_order_and_the_last_of_a_name_counts() {
    let list =
        [c"max_read=1", c"allow_other", c"default_permissions", c"max_read=2", c"blksize=512"];
    let options = options(&list);
    assert_eq!(
        options.parameter_list(),
        b",allow_other,default_permissions,max_read=2,blksize=512"
    );
    let mut twice = options.clone();
    twice.allow_other();
    assert_eq!(twice.parameter_list(), b",default_permissions,max_read=2,blksize=512,allow_other");
}

#[test]
fn commas_of_a_security_context_are_quoted_for_the_kernel_only() {
    for list in [
        [c"context=u:r:t:s0:c1,c2", c"rootcontext=a"],
        [c"context=\"u:r:t:s0:c1,c2\"", c"rootcontext=\"a\""],
    ] {
        let options = options(&list);
        assert_eq!(options.parameter_list(), b",context=\"u:r:t:s0:c1,c2\",rootcontext=a");
        assert_eq!(options.parameters()[0].value.as_deref(), Some(c"u:r:t:s0:c1,c2"));
        assert_eq!(helper_list(&list), "rw,nosuid,nodev,context=u:r:t:s0:c1\\,c2,rootcontext=a");
    }
}

#[test]
fn the_source_is_the_name_then_the_subtype_then_the_device() {
    let device = c"/dev/fuse";
    assert_eq!(options(&[]).source(device), device);
    assert_eq!(options(&[c"fsname=", c"subtype="]).source(device), device);
    assert_eq!(options(&[c"subtype=sub"]).source(device), c"sub");
    assert_eq!(options(&[c"fsname=a", c"subtype=sub", c"fsname=b=c"]).source(device), c"b=c");
    assert_eq!(options(&[c"fsname=\xff\xfe"]).source(device), c"\xff\xfe");
    assert_eq!(options(&[]).fs_type(), c"fuse");
    assert_eq!(options(&[c"blkdev"]).fs_type(), c"fuseblk");
}

#[test]
fn fusermount3_is_told_everything_in_order_and_escaped() {
    let list = [
        c"subtype=s,t",
        c"auto_unmount",
        c"fsname=a,b\\c",
        c"blkdev",
        c"allow_other",
        c"noatime",
        c"-r",
        c"sync",
        c"dev",
    ];
    assert_eq!(
        helper_list(&list),
        "ro,nosuid,sync,noatime,allow_other,fsname=a\\,b\\\\c,blkdev,auto_unmount,subtype=s\\,t"
    );
    assert_eq!(
        options(&list).helper_list(false, false).to_bytes(),
        b"ro,nosuid,sync,noatime,allow_other,fsname=a\\,b\\\\c,blkdev"
    );
}

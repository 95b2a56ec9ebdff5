//! ustat(2): the one system call that asks a filesystem for its statistics by
//! device number, without a path.

/// Asks the filesystem on `device`, and waits for its answer. False if the
/// system does not have the call or the device.
pub fn of_device(device: libc::dev_t) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        // struct ustat: two counts and two names, 32 bytes.
        let mut result = [0u8; 64];
        // The system call takes the 32-bit device number of the kernel's own.
        let (major, minor) = (libc::major(device), libc::minor(device));
        let number = (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12);
        // SAFETY: the buffer is larger than what the call fills.
        unsafe { libc::syscall(libc::SYS_ustat, number, result.as_mut_ptr()) == 0 }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = device;
        false
    }
}

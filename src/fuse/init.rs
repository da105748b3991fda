//! What is asked of the kernel at INIT, and what it granted.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use fuser::{InitFlags, KernelConfig};

/// The largest WRITE request in bytes: what the kernel caps it to (256 pages, `max_pages_limit`).
const MAX_WRITE: u32 = 1 << 20;

/// Readahead and asynchronous requests in flight before the kernel holds back; its default of 12 starves parallel
/// readers of a store that is tens of milliseconds away.
const MAX_BACKGROUND: u16 = 64;

/// What is wanted where the kernel has it. Left out on purpose:
/// - `WRITEBACK_CACHE`: excludes passthrough, and the kernel would own size and mtime that other hosts change.
/// - `CACHE_SYMLINKS`: a target that another host changed would stay for good, for the kernel drops cached targets
///   neither at a changed attribute nor at an attribute invalidation, and our node ids outlive the change.
/// - `HANDLE_KILLPRIV`, `HANDLE_KILLPRIV_V2`: without them the kernel clears set-user-ID itself with a SETATTR; fuser
///   drops the flag that the second one needs.
/// - `POSIX_LOCKS`, `FLOCK_LOCKS`: locks stay in the kernel, so closing needs no request.
/// - `SETXATTR_EXT`, `SECURITY_CTX`, `CREATE_SUPP_GROUP`, `ALLOW_IDMAP`, `OVER_IO_URING`, `REQUEST_TIMEOUT`: fuser
///   0.18 accepts them and does not implement them.
const WANTED: InitFlags = InitFlags::FUSE_PARALLEL_DIROPS
    .union(InitFlags::FUSE_DO_READDIRPLUS)
    .union(InitFlags::FUSE_READDIRPLUS_AUTO)
    .union(InitFlags::FUSE_AUTO_INVAL_DATA)
    .union(InitFlags::FUSE_ATOMIC_O_TRUNC)
    .union(InitFlags::FUSE_ASYNC_DIO)
    .union(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP);

/// What the kernel granted, for `status`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KernelEdge {
    /// FUSE protocol of the kernel, major and minor.
    pub abi: (u32, u32),
    /// Names of the features that this kernel lacks.
    pub missing: Vec<&'static str>,
    /// Whether the kernel reads cache files itself, or why not.
    pub passthrough: Result<(), String>,
}

/// The one [`KernelEdge`] of a mount, shared by those who change it and those who show it.
#[derive(Clone, Debug)]
pub struct Kernel(Arc<Mutex<KernelEdge>>);

impl Default for Kernel {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(KernelEdge {
            abi: (0, 0),
            missing: Vec::new(),
            passthrough: Err("not negotiated yet".to_owned()),
        })))
    }
}

impl Kernel {
    /// As it is now.
    pub fn report(&self) -> KernelEdge {
        self.lock().clone()
    }

    pub(super) fn passthrough(&self) -> bool {
        self.lock().passthrough.is_ok()
    }

    /// Switches passthrough off for the rest of the mount, with one line in the log.
    pub(super) fn refuse_passthrough(&self, cause: &io::Error) {
        let mut edge = self.lock();
        if edge.passthrough.is_ok() {
            log::warn!("passthrough is off: the kernel refused a cache file: {cause}");
            edge.passthrough = Err(format!("the kernel refused a cache file: {cause}"));
        }
    }

    /// Asks for what is wanted and records what is granted. `privileged`: this process may register cache files.
    /// `listed`: a listing has the attributes of all it names.
    pub(super) fn negotiate(&self, config: &mut KernelConfig, privileged: bool, listed: bool) -> io::Result<()> {
        let (offered, wanted) = (config.capabilities(), wanted(listed));
        let passthrough = passthrough(offered, privileged);
        let refused = |what: &'static str| move |_| io::Error::other(format!("fuser refused {what}"));
        config.add_capabilities(wanted & offered).map_err(|_| io::Error::other("fuser refused the capabilities"))?;
        if passthrough.is_ok() {
            config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).map_err(|_| io::Error::other("no passthrough"))?;
            // One level: cache files on ordinary file systems, and an overlay may still be put on top of us.
            config.set_max_stack_depth(1).map_err(refused("the stack depth"))?;
        }
        config.set_max_write(MAX_WRITE).map_err(refused("the write size"))?;
        config.set_max_background(MAX_BACKGROUND).map_err(|_| io::Error::other("fuser refused the background size"))?;
        let abi = config.kernel_abi();
        let missing: Vec<_> = (wanted & !offered).iter_names().map(|(name, _)| name).collect();
        if let Err(reason) = &passthrough {
            log::info!("passthrough is off: {reason}");
        }
        log::debug!("kernel speaks FUSE {}.{}, lacks {missing:?}", abi.0, abi.1);
        *self.lock() = KernelEdge { abi: (abi.0, abi.1), missing, passthrough };
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn grant_passthrough(&self) {
        self.lock().passthrough = Ok(());
    }

    fn lock(&self) -> MutexGuard<'_, KernelEdge> {
        self.0.lock().expect("no panic happens while it is locked")
    }
}

fn wanted(listed: bool) -> InitFlags {
    // Left to itself the kernel stops asking for attributes after the first names (fs/fuse/readdir.c,
    // `fuse_use_readdirplus`), and then asks for every name by itself, though they cost nothing here.
    if listed { WANTED.difference(InitFlags::FUSE_READDIRPLUS_AUTO) } else { WANTED }
}

fn passthrough(offered: InitFlags, privileged: bool) -> Result<(), String> {
    if !offered.contains(InitFlags::FUSE_PASSTHROUGH) {
        return Err("the kernel has none (it came with Linux 6.9)".to_owned());
    }
    if !privileged {
        return Err("only root may register cache files with the kernel".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_traps_stay_off() {
        let traps = InitFlags::FUSE_WRITEBACK_CACHE
            | InitFlags::FUSE_HANDLE_KILLPRIV_V2
            | InitFlags::FUSE_SETXATTR_EXT
            | InitFlags::FUSE_SECURITY_CTX
            | InitFlags::FUSE_CREATE_SUPP_GROUP
            | InitFlags::FUSE_ALLOW_IDMAP
            | InitFlags::FUSE_OVER_IO_URING
            | InitFlags::FUSE_REQUEST_TIMEOUT
            | InitFlags::FUSE_NO_OPEN_SUPPORT
            | InitFlags::FUSE_EXPLICIT_INVAL_DATA;
        assert!((WANTED & traps).is_empty());
    }

    #[test]
    fn attributes_that_are_there_are_always_listed() {
        let auto = InitFlags::FUSE_READDIRPLUS_AUTO;
        assert!(wanted(false).contains(auto) && !wanted(true).contains(auto));
        assert_eq!(wanted(true) | auto, WANTED);
    }

    #[test]
    fn passthrough_needs_the_kernel_and_root() {
        assert!(passthrough(InitFlags::FUSE_PASSTHROUGH, true).is_ok());
        assert!(passthrough(InitFlags::FUSE_PASSTHROUGH, false).is_err());
        assert!(passthrough(InitFlags::empty(), true).is_err());
    }

    #[test]
    fn the_first_refusal_is_kept() {
        let kernel = Kernel::default();
        kernel.grant_passthrough();
        kernel.refuse_passthrough(&io::Error::from_raw_os_error(libc::EPERM));
        kernel.refuse_passthrough(&io::Error::from_raw_os_error(libc::ELOOP));
        assert!(kernel.report().passthrough.unwrap_err().contains("os error 1"));
    }
}

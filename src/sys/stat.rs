//! What a file is: `statx(2)` and `statfs(2)`, the parts that are asked for.

use std::fmt;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Mode, StatxFlags, StatxTimestamp};
use rustix::path::Arg;

use super::errno::{Errno, Result};

/// A point in time as filesystems keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds beyond them.
    pub nanoseconds: u32,
}

impl From<StatxTimestamp> for Time {
    fn from(raw: StatxTimestamp) -> Self {
        Self { seconds: raw.tv_sec, nanoseconds: raw.tv_nsec }
    }
}

/// A device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// Which driver or filesystem type.
    pub major: u32,
    /// Which one of them.
    pub minor: u32,
}

/// What `statx(2)` says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Directory, regular file, link …
    pub file_type: FileType,
    /// Permission bits, with the set-id and sticky bits.
    pub mode: Mode,
    /// Owner; 65534 when it is not mapped in this user namespace.
    pub uid: u32,
    /// Group; as the owner.
    pub gid: u32,
    /// The filesystem's device.
    pub dev: Device,
    /// The device that a device node names.
    pub rdev: Device,
    /// Inode number.
    pub ino: u64,
    /// The mount it was reached through, as in `/proc/self/mountinfo`.
    pub mnt_id: u64,
    /// Hard links.
    pub nlink: u32,
    /// Bytes.
    pub size: u64,
    /// When the content changed last.
    pub mtime: Time,
    /// When the content or the inode changed last; cannot be set by anybody.
    pub ctime: Time,
    /// Whether it is the root of its mount; since Linux 5.8.
    pub mount_root: bool,
}

/// What the descriptor itself names; `O_PATH` will do.
pub fn stat_fd(fd: impl AsFd) -> Result<Stat> {
    statx(fd, "", AtFlags::EMPTY_PATH)
}

/// What `path` names below `dir`; a link at the end is not followed, nothing is automounted.
pub fn stat_at(dir: impl AsFd, path: impl Arg) -> Result<Stat> {
    statx(dir, path, AtFlags::SYMLINK_NOFOLLOW)
}

/// `ENOSYS` before Linux 5.8, which has no mount id.
fn statx(dir: impl AsFd, path: impl Arg, flags: AtFlags) -> Result<Stat> {
    const MOUNT_ROOT: u64 = 0x2000;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let raw = rustix::fs::statx(dir, path, flags | AtFlags::NO_AUTOMOUNT, wanted)?;
    if raw.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
        return Err(Errno::ENOSYS);
    }
    Ok(Stat {
        file_type: FileType::from_raw_mode(raw.stx_mode.into()),
        mode: Mode::from_raw_mode(u32::from(raw.stx_mode) & 0o7777),
        uid: raw.stx_uid,
        gid: raw.stx_gid,
        dev: Device { major: raw.stx_dev_major, minor: raw.stx_dev_minor },
        rdev: Device { major: raw.stx_rdev_major, minor: raw.stx_rdev_minor },
        ino: raw.stx_ino,
        mnt_id: raw.stx_mnt_id,
        nlink: raw.stx_nlink,
        size: raw.stx_size,
        mtime: raw.stx_mtime.into(),
        ctime: raw.stx_ctime.into(),
        mount_root: raw.stx_attributes.bits() & MOUNT_ROOT != 0,
    })
}

/// A filesystem type by its magic number, `statfs(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FsType(u64);

macro_rules! fs_types {
    ($($constant:ident = $magic:literal, $name:literal;)*) => {
        impl FsType {
            $(#[doc = concat!("`", $name, "`")] pub const $constant: Self = Self($magic);)*

            /// Its name as `/proc/filesystems` has it, if we know it.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($magic => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

fs_types! {
    AUTOFS = 0x0187, "autofs";
    BTRFS = 0x9123_683e, "btrfs";
    CGROUP = 0x0027_e0eb, "cgroup";
    CGROUP2 = 0x6367_7270, "cgroup2";
    CIFS = 0xff53_4d42, "cifs";
    DEVPTS = 0x1cd1, "devpts";
    ECRYPTFS = 0xf15f, "ecryptfs";
    EROFS = 0xe0f5_e1e2, "erofs";
    EXT4 = 0xef53, "ext4";
    F2FS = 0xf2f5_2010, "f2fs";
    FUSE = 0x6573_5546, "fuse";
    ISOFS = 0x9660, "iso9660";
    MSDOS = 0x4d44, "vfat";
    NFS = 0x6969, "nfs";
    NSFS = 0x6e73_6673, "nsfs";
    OVERLAYFS = 0x794c_7630, "overlay";
    PROC = 0x9fa0, "proc";
    RAMFS = 0x8584_58f6, "ramfs";
    SMB2 = 0xfe53_4d42, "smb3";
    SQUASHFS = 0x7371_7368, "squashfs";
    SYSFS = 0x6265_6572, "sysfs";
    TMPFS = 0x0102_1994, "tmpfs";
    V9FS = 0x0102_1997, "9p";
    XFS = 0x5846_5342, "xfs";
    ZFS = 0x2fc1_2fc1, "zfs";
}

impl FsType {
    /// The magic number.
    pub const fn magic(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for FsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The type of the filesystem that `fd` is on. ext2 and ext3 have ext4's number.
pub fn fs_type(fd: impl AsFd) -> Result<FsType> {
    let magic = rustix::fs::fstatfs(fd)?.f_type;
    // The field is signed and the numbers are not: where it has 32 bits, CIFS is negative.
    Ok(FsType(magic.cast_unsigned() & 0xffff_ffff))
}

/// How much room a filesystem has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it, bytes.
    pub total: u64,
    /// What an ordinary user can still fill, bytes.
    pub available: u64,
    /// Files that it can hold; 0 where nothing bounds that, as with btrfs.
    pub files: u64,
    /// How many of them an ordinary user can still make.
    pub files_available: u64,
}

/// The room of the filesystem that `fd` is on.
pub fn space(fd: impl AsFd) -> Result<Space> {
    let raw = rustix::fs::fstatvfs(fd)?;
    let bytes = |blocks: u64| blocks.saturating_mul(raw.f_frsize);
    Ok(Space {
        total: bytes(raw.f_blocks),
        available: bytes(raw.f_bavail),
        files: raw.f_files,
        files_available: raw.f_favail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::open::open_host;
    use crate::sys::testing::Scratch;

    #[test]
    fn a_file_is_described_as_it_was_made() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = Scratch::new();
        let file = scratch.0.join("f");
        std::fs::write(&file, "four").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o4750)).unwrap();
        std::os::unix::fs::symlink("nowhere", scratch.0.join("l")).unwrap();
        let dir = open_host(scratch.0.canonicalize().unwrap()).unwrap();
        let stat = stat_at(&dir, "f").unwrap();
        assert_eq!((stat.file_type, stat.size, stat.nlink), (FileType::RegularFile, 4, 1));
        assert_eq!(stat.mode.as_raw_mode(), 0o4750);
        assert_eq!(stat.uid, rustix::process::geteuid().as_raw());
        assert_eq!(stat_at(&dir, "l").unwrap().file_type, FileType::Symlink);
        assert_eq!(stat_fd(&dir).unwrap().file_type, FileType::Directory);
        assert!(stat.ctime.seconds > 1_600_000_000);
        assert_eq!(stat.mnt_id, crate::sys::mount::mount_id(&dir).unwrap());
    }

    #[test]
    fn proc_is_known_by_its_magic_and_as_the_root_of_its_mount() {
        let proc = open_host("/proc").unwrap();
        assert_eq!(fs_type(&proc), Ok(FsType::PROC));
        assert_eq!(FsType::PROC.to_string(), "proc");
        assert!(stat_fd(&proc).unwrap().mount_root);
        assert!(!stat_at(&proc, "self/status").unwrap().mount_root);
    }

    #[test]
    fn free_space_is_part_of_the_whole() {
        let space = space(open_host("/").unwrap()).unwrap();
        assert!(space.total > 0 && space.available <= space.total);
        assert!(space.files_available <= space.files);
    }
}

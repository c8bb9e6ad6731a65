//! NTSTATUS values as this crate meets them: a number, its name, and whether it speaks of the account.
//!
//! Not a full table: what is not listed prints as hexadecimal, and is never an error by itself.

use std::fmt;

/// A 32-bit NT status as carried in the SMB2 header (MS-ERREF 2.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NtStatus(pub u32);

impl NtStatus {
    /// It worked.
    pub const SUCCESS: Self = Self(0);
    /// An interim answer; the real one follows (MS-SMB2 3.2.5.1.5).
    pub const PENDING: Self = Self(0x0000_0103);
    /// SESSION_SETUP wants another round.
    pub const MORE_PROCESSING_REQUIRED: Self = Self(0xC000_0016);
    /// Nothing is wrong, but the server does not do this.
    pub const NOT_SUPPORTED: Self = Self(0xC000_00BB);
    /// Samba's answer to the interface query while Multichannel is off.
    pub const INVALID_DEVICE_REQUEST: Self = Self(0xC000_0010);
    /// Newer Samba's answer to the same.
    pub const FS_DRIVER_REQUIRED: Self = Self(0xC000_019C);
    /// Not allowed.
    pub const ACCESS_DENIED: Self = Self(0xC000_0022);
    /// User name or password wrong.
    pub const LOGON_FAILURE: Self = Self(0xC000_006D);
    /// The session does not exist (the usual answer to a question asked without one).
    pub const USER_SESSION_DELETED: Self = Self(0xC000_0203);

    /// The end of the file lies before what was to be read.
    pub const END_OF_FILE: Self = Self(0xC000_0011);
    /// There is no such file.
    pub const OBJECT_NAME_NOT_FOUND: Self = Self(0xC000_0034);
    /// A file of that name is there.
    pub const OBJECT_NAME_COLLISION: Self = Self(0xC000_0035);
    /// The answer holds as much as there was room for.
    pub const BUFFER_OVERFLOW: Self = Self(0x8000_0005);
    /// The directory has been listed to its end.
    pub const NO_MORE_FILES: Self = Self(0x8000_0006);
    /// There is no such kind of information.
    pub const INVALID_INFO_CLASS: Self = Self(0xC000_0003);
    /// The room for the answer is too small for any of it.
    pub const INFO_LENGTH_MISMATCH: Self = Self(0xC000_0004);
    /// The request contradicts itself or the specification.
    pub const INVALID_PARAMETER: Self = Self(0xC000_000D);
    /// Nothing in the directory matches.
    pub const NO_SUCH_FILE: Self = Self(0xC000_000F);
    /// There is no room for the whole answer, and part of it is of no use.
    pub const BUFFER_TOO_SMALL: Self = Self(0xC000_0023);
    /// No file can have such a name.
    pub const OBJECT_NAME_INVALID: Self = Self(0xC000_0033);
    /// There is no such directory.
    pub const OBJECT_PATH_NOT_FOUND: Self = Self(0xC000_003A);
    /// Somebody else has opened the file and does not share it.
    pub const SHARING_VIOLATION: Self = Self(0xC000_0043);
    /// The file goes with its last handle: it cannot be opened any more.
    pub const DELETE_PENDING: Self = Self(0xC000_0056);
    /// There is no room.
    pub const DISK_FULL: Self = Self(0xC000_007F);
    /// One more of something than the server keeps.
    pub const INSUFFICIENT_RESOURCES: Self = Self(0xC000_009A);
    /// A directory is not what was asked for.
    pub const FILE_IS_A_DIRECTORY: Self = Self(0xC000_00BA);
    /// The session is not attached to such a share.
    pub const NETWORK_NAME_DELETED: Self = Self(0xC000_00C9);
    /// The channel is bound already.
    pub const REQUEST_NOT_ACCEPTED: Self = Self(0xC000_00D0);
    /// A file is not what was asked for.
    pub const NOT_A_DIRECTORY: Self = Self(0xC000_0103);
    /// There is no such handle.
    pub const FILE_CLOSED: Self = Self(0xC000_0128);
    /// Nothing is under way that this would be an answer to.
    pub const INVALID_DEVICE_STATE: Self = Self(0xC000_0184);
    /// No guess is looked at for a while.
    pub const ACCOUNT_LOCKED_OUT: Self = Self(0xC000_0234);
    /// None of the ways to hash the logon is known here.
    pub const NO_PREAUTH_INTEGRITY_HASH_OVERLAP: Self = Self(0xC05D_0000);
    /// There is no such share.
    pub const BAD_NETWORK_NAME: Self = Self(0xC000_00CC);
    /// A request of before a channel was lost is still under way (MS-SMB2 3.3.5.2.10).
    pub const FILE_NOT_AVAILABLE: Self = Self(0xC000_0467);

    /// The name MS-ERREF gives it, where this crate knows it.
    pub fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "STATUS_SUCCESS",
            0x0000_0103 => "STATUS_PENDING",
            0x8000_0005 => "STATUS_BUFFER_OVERFLOW",
            0x8000_0006 => "STATUS_NO_MORE_FILES",
            0xC000_0002 => "STATUS_NOT_IMPLEMENTED",
            0xC000_0003 => "STATUS_INVALID_INFO_CLASS",
            0xC000_0004 => "STATUS_INFO_LENGTH_MISMATCH",
            0xC000_000D => "STATUS_INVALID_PARAMETER",
            0xC000_000F => "STATUS_NO_SUCH_FILE",
            0xC000_0010 => "STATUS_INVALID_DEVICE_REQUEST",
            0xC000_0011 => "STATUS_END_OF_FILE",
            0xC000_0016 => "STATUS_MORE_PROCESSING_REQUIRED",
            0xC000_0022 => "STATUS_ACCESS_DENIED",
            0xC000_0023 => "STATUS_BUFFER_TOO_SMALL",
            0xC000_0033 => "STATUS_OBJECT_NAME_INVALID",
            0xC000_0034 => "STATUS_OBJECT_NAME_NOT_FOUND",
            0xC000_0035 => "STATUS_OBJECT_NAME_COLLISION",
            0xC000_003A => "STATUS_OBJECT_PATH_NOT_FOUND",
            0xC000_0043 => "STATUS_SHARING_VIOLATION",
            0xC000_0044 => "STATUS_QUOTA_EXCEEDED",
            0xC000_0054 => "STATUS_FILE_LOCK_CONFLICT",
            0xC000_0056 => "STATUS_DELETE_PENDING",
            0xC000_0064 => "STATUS_NO_SUCH_USER",
            0xC000_006A => "STATUS_WRONG_PASSWORD",
            0xC000_006D => "STATUS_LOGON_FAILURE",
            0xC000_006E => "STATUS_ACCOUNT_RESTRICTION",
            0xC000_006F => "STATUS_INVALID_LOGON_HOURS",
            0xC000_0070 => "STATUS_INVALID_WORKSTATION",
            0xC000_0071 => "STATUS_PASSWORD_EXPIRED",
            0xC000_0072 => "STATUS_ACCOUNT_DISABLED",
            0xC000_007F => "STATUS_DISK_FULL",
            0xC000_009A => "STATUS_INSUFFICIENT_RESOURCES",
            0xC000_00A2 => "STATUS_MEDIA_WRITE_PROTECTED",
            0xC000_00BA => "STATUS_FILE_IS_A_DIRECTORY",
            0xC000_00BB => "STATUS_NOT_SUPPORTED",
            0xC000_00C9 => "STATUS_NETWORK_NAME_DELETED",
            0xC000_00CC => "STATUS_BAD_NETWORK_NAME",
            0xC000_00D0 => "STATUS_REQUEST_NOT_ACCEPTED",
            0xC000_0103 => "STATUS_NOT_A_DIRECTORY",
            0xC000_0128 => "STATUS_FILE_CLOSED",
            0xC000_015B => "STATUS_LOGON_TYPE_NOT_GRANTED",
            0xC000_0184 => "STATUS_INVALID_DEVICE_STATE",
            0xC000_0193 => "STATUS_ACCOUNT_EXPIRED",
            0xC000_019C => "STATUS_FS_DRIVER_REQUIRED",
            0xC000_0203 => "STATUS_USER_SESSION_DELETED",
            0xC000_0224 => "STATUS_PASSWORD_MUST_CHANGE",
            0xC000_0234 => "STATUS_ACCOUNT_LOCKED_OUT",
            0xC000_0418 => "STATUS_NTLM_BLOCKED",
            0xC000_0467 => "STATUS_FILE_NOT_AVAILABLE",
            0xC05D_0000 => "STATUS_SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP",
            _ => return None,
        })
    }

    /// One sentence about a refused logon, for the statuses that speak of the account.
    pub fn logon_sentence(self) -> Option<&'static str> {
        Some(match self.name()? {
            "STATUS_LOGON_FAILURE" | "STATUS_WRONG_PASSWORD" | "STATUS_NO_SUCH_USER" => {
                "user name or password is wrong"
            }
            "STATUS_ACCOUNT_LOCKED_OUT" => "the account is locked out",
            "STATUS_ACCOUNT_DISABLED" => "the account is disabled",
            "STATUS_ACCOUNT_EXPIRED" => "the account has expired",
            "STATUS_PASSWORD_EXPIRED" | "STATUS_PASSWORD_MUST_CHANGE" => "the password must be changed first",
            "STATUS_ACCOUNT_RESTRICTION"
            | "STATUS_INVALID_LOGON_HOURS"
            | "STATUS_INVALID_WORKSTATION"
            | "STATUS_LOGON_TYPE_NOT_GRANTED" => "the account may not log on from here",
            "STATUS_NTLM_BLOCKED" => "the server does not accept NTLM: log on with --kerberos",
            _ => return None,
        })
    }

    /// What it means for somebody who works with files, with what to do next, where that is known.
    fn sentence(self) -> Option<&'static str> {
        Some(match self.name()? {
            "STATUS_DISK_FULL" => {
                "the disk under the share is full; free some room or ask for a smaller --file-size"
            }
            "STATUS_QUOTA_EXCEEDED" => "the account's quota is used up; ask for a smaller --file-size",
            "STATUS_BAD_NETWORK_NAME" => "there is no such share on the server; check its name",
            "STATUS_OBJECT_PATH_NOT_FOUND" => "there is no such directory on the share; check the path",
            "STATUS_OBJECT_NAME_INVALID" => "the server does not take such a path; check its spelling",
            "STATUS_OBJECT_NAME_NOT_FOUND" => "there is no such directory on the share; check the path",
            "STATUS_ACCESS_DENIED" => {
                "the account may not do that; check its rights on the share and the directory"
            }
            "STATUS_MEDIA_WRITE_PROTECTED" => {
                "the share can only be read; measure on one that can be written"
            }
            "STATUS_FILE_LOCK_CONFLICT" | "STATUS_SHARING_VIOLATION" => {
                "somebody else has locked the file; keep scanners and backups away from the directory"
            }
            "STATUS_USER_SESSION_DELETED" => "the server has forgotten the session",
            "STATUS_NETWORK_NAME_DELETED" => "the server has taken the share away",
            "STATUS_INSUFFICIENT_RESOURCES" => "the server is short of memory or of channels",
            _ => return self.logon_sentence(),
        })
    }

    /// The status, and what it means where that is known.
    pub fn explained(self) -> String {
        match self.sentence() {
            Some(sentence) => format!("{sentence} ({self})"),
            None => self.to_string(),
        }
    }

    /// The server does not offer what was asked, whoever asks.
    pub fn means_not_offered(self) -> bool {
        matches!(self, Self::NOT_SUPPORTED | Self::INVALID_DEVICE_REQUEST | Self::FS_DRIVER_REQUIRED)
    }
}

impl fmt::Display for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} (0x{:08X})", self.0),
            None => write!(f, "status 0x{:08X}", self.0),
        }
    }
}

impl fmt::Debug for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

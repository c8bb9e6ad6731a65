//! Limits for what a path is meant to carry: each profile is a file beside this one, with the source of every figure in it.
//!
//! A profile names what differs from the built-in limits and nothing else. Where nobody publishes a figure, its comment says that it was chosen.

/// A named set of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// As it is typed.
    pub name: &'static str,
    /// Its limits as TOML, with their sources.
    pub text: &'static str,
}

/// All of them.
pub const PROFILES: [Profile; 8] = [
    Profile { name: "smb-tcp", text: include_str!("smb-tcp.toml") },
    Profile { name: "smb-direct", text: include_str!("smb-direct.toml") },
    Profile { name: "hyperv", text: include_str!("hyperv.toml") },
    Profile { name: "azure-local", text: include_str!("azure-local.toml") },
    Profile { name: "ceph", text: include_str!("ceph.toml") },
    Profile { name: "vsan-like", text: include_str!("vsan-like.toml") },
    Profile { name: "migration-only", text: include_str!("migration-only.toml") },
    Profile { name: "lenient-ci", text: include_str!("lenient-ci.toml") },
];

impl Profile {
    /// The profile of this name.
    pub fn named(name: &str) -> Option<Profile> {
        PROFILES.into_iter().find(|profile| profile.name == name)
    }

    /// What it is for: its first comment.
    pub fn purpose(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches("# ")
    }
}

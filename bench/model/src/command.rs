//! The command that a plan was made by.

use std::fmt::{self, Display};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the user asked for. It stands in documents as its word: `check`, `bench` …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(with = "String")]
pub enum CommandName {
    /// Everything about a path, judged.
    Check,
    /// One measurement.
    Bench,
    /// Path MTUs.
    Mtu,
    /// A migration rehearsed.
    Migrate,
    /// Classes of traffic that share a path.
    Contend,
    /// An SMB server asked about itself.
    Smb,
    /// A path soaked for hours.
    Watch,
    /// The NIC pairs that SMB would choose.
    Channels,
    /// The networks that hosts share.
    Networks,
    /// Offloads tried one by one.
    Offloads,
    /// Many hosts measured against each other.
    Mesh,
    /// What somebody else called a plan of theirs; empty where nobody called it anything.
    Other(String),
}

impl CommandName {
    /// As it stands in documents, and is typed.
    pub fn word(&self) -> &str {
        match self {
            CommandName::Check => "check",
            CommandName::Bench => "bench",
            CommandName::Mtu => "mtu",
            CommandName::Migrate => "migrate",
            CommandName::Contend => "contend",
            CommandName::Watch => "watch",
            CommandName::Smb => "smb",
            CommandName::Channels => "channels",
            CommandName::Networks => "networks",
            CommandName::Offloads => "offloads",
            CommandName::Mesh => "mesh",
            CommandName::Other(name) => name,
        }
    }
}

impl Default for CommandName {
    fn default() -> CommandName {
        CommandName::Other(String::new())
    }
}

impl Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl From<String> for CommandName {
    fn from(name: String) -> CommandName {
        use CommandName::{
            Bench, Channels, Check, Contend, Mesh, Migrate, Mtu, Networks, Offloads, Smb, Watch,
        };
        let known = [Check, Bench, Mtu, Migrate, Contend, Smb, Channels, Networks, Offloads, Mesh, Watch];
        let found = known.into_iter().find(|command| command.word() == name);
        found.unwrap_or(CommandName::Other(name))
    }
}

impl From<CommandName> for String {
    fn from(command: CommandName) -> String {
        match command {
            CommandName::Other(name) => name,
            known => known.word().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_read_back_and_other_names_are_kept() {
        for name in [
            "check", "bench", "mtu", "migrate", "contend", "smb", "channels", "networks", "offloads", "mesh",
            "watch",
        ] {
            let command = CommandName::from(name.to_owned());
            assert!(!matches!(command, CommandName::Other(_)), "{name}");
            assert_eq!(String::from(command), name);
        }
        for name in ["", "nightly", "Check"] {
            let command: CommandName = serde_json::from_value(name.into()).unwrap();
            assert_eq!(command, CommandName::Other(name.into()));
            assert_eq!(serde_json::to_value(&command).unwrap(), name);
        }
    }
}

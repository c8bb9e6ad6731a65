//! As whom to log on at an SMB server.

use std::path::PathBuf;

use clap::Args;

/// An account with a password, or a ticket.
#[derive(Clone, Debug, Default, Args)]
pub struct AccountArgs {
    /// Account on the server.
    #[arg(long, requires = "password_file")]
    pub user: Option<String>,
    /// Domain of the account; empty for a local one.
    #[arg(long, default_value = "", requires = "user")]
    pub domain: String,
    /// File with the account's password in its first line.
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// Instead of an account: log on with your Kerberos ticket (kinit), for cifs/SERVER as you name it here.
    #[arg(long, conflicts_with_all = ["user", "password_file"])]
    pub kerberos: bool,
}

impl AccountArgs {
    /// Whether there is any.
    pub fn is_given(&self) -> bool {
        self.user.is_some() || self.kerberos
    }
}

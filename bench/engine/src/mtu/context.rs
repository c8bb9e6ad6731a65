//! What findings about paths are judged by, beside the paths.

use pathproof_model::{Environment, Evidence};

/// What is known beside the paths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// The operator's gate: every path must carry at least this much.
    pub expect_ip_mtu_bytes: Option<u32>,
    /// The client's host, for its offloads.
    pub client: Option<&'a Environment>,
    /// The server's host.
    pub server: Option<&'a Environment>,
    /// What the client's host counted meanwhile.
    pub client_counted: Option<&'a Evidence>,
    /// What the server's host did.
    pub server_counted: Option<&'a Evidence>,
}

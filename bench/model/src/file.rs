//! File data moved to and from a share of an SMB server: what is asked, and what came of it.

use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::node::NodeId;
use crate::{Fabric, LatencySummary};

/// File data moved to and from a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FileSpec {
    /// The server.
    pub node: NodeId,
    /// Its port.
    pub port: u16,
    /// The share.
    pub share: String,
    /// The directory in it, its parts separated by `/`; empty for the share itself.
    pub directory: String,
    /// The account.
    pub user: String,
    /// Its domain; empty for a local account.
    pub domain: String,
    /// File with the account's password in its first line. The password itself stands nowhere.
    pub password_file: PathBuf,
    /// Instead of an account: the Kerberos ticket of whoever runs the client.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub kerberos: bool,
    /// What carries the data.
    pub over: FileOver,
    /// Channels; `None` for one, and with `multi` for one to each address that the server lists, and at least two.
    pub channels: Option<u32>,
    /// Addresses of the server: with `multi` for further channels, empty for those that the server lists; with `smbd` for all of them, empty
    /// for what its name leads to.
    pub addresses: Vec<IpAddr>,
    /// Size of a request in bytes.
    pub size_bytes: u64,
    /// Requests outstanding on each channel.
    pub depth: u32,
    /// Of so many requests this many read …
    pub reads: u32,
    /// … and this many write.
    pub writes: u32,
    /// Where in the file they go.
    pub order: FileOrder,
    /// Size of the file in bytes.
    pub file_bytes: u64,
    /// Measured window in ns.
    pub time_ns: u64,
    /// Before the window, in ns.
    pub warmup_ns: u64,
    /// With `smbd`: pieces of memory that a request names to the server, each by a buffer descriptor of its own.
    #[serde(skip_serializing_if = "is_one")]
    pub descriptors: u32,
    /// With `smbd`: memory is registered for each request and no longer than for that; otherwise once, before the window.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub register_each: bool,
    /// With `smbd`: each request has a key of its own, which the server ends with its answer (SMB2_CHANNEL_RDMA_V1_INVALIDATE).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invalidate: bool,
    /// With `smbd`: the session begins over TCP, and channels of SMB Direct, which carry all data, are bound to it, as Windows does.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tcp_first: bool,
    /// A write is answered only when it is on the disk (write-through), as far as the server keeps its word.
    pub durable: bool,
    /// Compare what is read with what was written, and read everything that was written once more in the end.
    pub verify: bool,
    /// Longest wait for a connection and for each answer, in ns.
    pub wait_ns: u64,
    /// A rung of a ladder: where this host or the server cannot do it, that is told and is no error.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rung: bool,
}

impl Default for FileSpec {
    fn default() -> Self {
        FileSpec {
            node: NodeId::SERVER,
            port: 445,
            share: String::new(),
            directory: String::new(),
            user: String::new(),
            domain: String::new(),
            password_file: PathBuf::new(),
            kerberos: false,
            over: FileOver::Tcp,
            channels: None,
            addresses: vec![],
            size_bytes: 1 << 20,
            depth: 8,
            reads: 0,
            writes: 1,
            order: FileOrder::Sequential,
            file_bytes: 128 << 20,
            time_ns: 5_000_000_000,
            warmup_ns: 200_000_000,
            descriptors: 1,
            register_each: false,
            invalidate: false,
            tcp_first: false,
            durable: false,
            verify: false,
            wait_ns: 10_000_000_000,
            rung: false,
        }
    }
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

impl FileSpec {
    /// The path of a file of this name in the share, as SMB writes paths.
    pub fn path_of(&self, name: &str) -> String {
        let parts = self.directory.split('/').filter(|part| !part.is_empty());
        parts.chain([name]).collect::<Vec<_>>().join("\\")
    }

    /// Requests that the file has room for side by side.
    pub fn blocks(&self) -> u64 {
        self.file_bytes.checked_div(self.size_bytes).unwrap_or(0)
    }
}

/// What carries the data of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileOver {
    /// One TCP connection.
    #[default]
    Tcp,
    /// Several channels of one session: SMB Multichannel.
    Multi,
    /// SMB Direct.
    Smbd,
}

impl FileOver {
    /// All of them.
    pub const ALL: [FileOver; 3] = [FileOver::Tcp, FileOver::Multi, FileOver::Smbd];

    /// As it is typed, and stands in results.
    pub fn name(self) -> &'static str {
        match self {
            FileOver::Tcp => "tcp",
            FileOver::Multi => "multi",
            FileOver::Smbd => "smbd",
        }
    }
}

impl std::str::FromStr for FileOver {
    type Err = String;

    fn from_str(text: &str) -> Result<FileOver, String> {
        let names = || FileOver::ALL.map(FileOver::name).join(", ");
        let known = FileOver::ALL.into_iter().find(|over| over.name() == text);
        known.ok_or_else(|| format!("{text:?} carries no files; write one of {}", names()))
    }
}

/// Where in a file requests go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileOrder {
    /// One after the other, from the beginning again at the end.
    #[default]
    Sequential,
    /// Anywhere, at multiples of their size.
    Random,
}

/// What came of a step with a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FileDetail {
    /// Address and port of the connection that the session began with.
    pub address: String,
    /// Dialect: `3.1.1` …
    pub dialect: String,
    /// How messages were protected: `none`, `signed by AES-GMAC`, `encrypted by AES-128-GCM` …
    pub protection: String,
    /// Largest READ that the server takes, in bytes.
    pub max_read_bytes: u64,
    /// Largest WRITE, in bytes.
    pub max_write_bytes: u64,
    /// The name of the file on the share while it was there.
    pub name: String,
    /// What was read in the window.
    pub read: Option<FileRate>,
    /// What was written.
    pub write: Option<FileRate>,
    /// Bytes that were compared with what had been written there.
    pub compared_bytes: u64,
    /// Pieces of the file in which something else was found.
    pub wrong_blocks: u64,
    /// Of these, the pieces that hold what had been written there before: a late write of a channel that was lost, where one was; otherwise a write that
    /// the server answered and did not carry out.
    pub stale_blocks: u64,
    /// Where the first difference was, in bytes from the beginning of the file.
    pub first_wrong_byte: Option<u64>,
    /// From the last answer of the window until the server had flushed, in ns; `None` where nothing was written.
    pub flush_ns: Option<u64>,
    /// How often a channel ended before the step.
    pub channels_lost: u32,
    /// How often one of those was made again.
    pub channels_returned: u32,
    /// Requests without an answer that went again over another channel.
    pub replayed_requests: u64,
    /// Why nothing was moved, where that is no fault of this step: one of a ladder that these two ends cannot climb.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_possible: Option<String>,
    /// What SMB Direct made of it; `None` over TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direct: Option<FileDirect>,
    /// Whether the file is gone from the share; `None` where that could not be found out.
    pub removed: Option<bool>,
}

/// How SMB Direct carried file data, from the first message of the step to its last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FileDirect {
    /// RDMA device of this end.
    pub device: String,
    /// What carries RDMA there.
    pub fabric: Fabric,
    /// Why data went in messages; `null` where the server was given memory to fetch it from and to put it into.
    pub in_messages: Option<String>,
    /// How requests named memory to the server; `null` where data went in messages.
    pub channel: Option<DirectChannel>,
    /// What became of the keys that the server was to end; `null` on another channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<DirectKeys>,
    /// Most bytes that a request may have the server move by RDMA: the smaller of both ends' MaxReadWriteSize.
    pub one_sided_bytes_max: u64,
    /// Largest message that the server takes, in bytes: its MaxFragmentedSize.
    pub message_bytes_max: u64,
    /// File data that the server says it moved by RDMA, in bytes.
    pub placed_bytes: u64,
    /// Payload of all messages to the server, in bytes.
    pub sent_bytes: u64,
    /// Payload of all messages from the server, in bytes.
    pub received_bytes: u64,
    /// Messages with payload that went and came, as fragments.
    pub fragments: u64,
}

/// How a READ or WRITE names memory to the server (MS-SMB2 2.2.19, 2.2.21).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DirectChannel {
    /// SMB2_CHANNEL_RDMA_V1: keys live on.
    V1,
    /// SMB2_CHANNEL_RDMA_V1_INVALIDATE: the server ends a request's key with its answer.
    V1Invalidate,
    /// One that a later build names and this one does not know.
    #[serde(other)]
    Other,
}

/// Keys that the server was to end with its answers, from the first request of the step to its last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DirectKeys {
    /// What they were of.
    pub of: KeyOf,
    /// Those that the server ended, as this end's adapter reports it; `null` where it reported none at all: it may not tell (soft-iWARP).
    pub ended_by_server: Option<u64>,
    /// Those of which nothing was reported: they were ended here.
    pub not_reported: u64,
}

/// What a key is of that a server may end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyOf {
    /// A memory window of type 2B.
    #[default]
    Window,
    /// A registration made for one request: iWARP without windows.
    Registration,
    /// Something that a later build names and this one does not know.
    #[serde(other)]
    Other,
}

/// What moved one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FileRate {
    /// Requests answered in the window.
    pub operations: u64,
    /// Their data, in bytes.
    pub bytes: u64,
    /// Data of the window over its length, in bit/s.
    pub goodput_bits_per_s: Option<u64>,
    /// Requests a second.
    pub iops: Option<u64>,
    /// From a request's way out to the last byte of its answer.
    pub service_ns: Option<LatencySummary>,
}

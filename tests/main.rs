//! The integration tests: the real binary, from outside. One module for each topic.
//!
//! A test that needs what the machine does not have says `SKIPPED: reason` and passes only where it was
//! optional; with `PATHPROOF_REQUIRE_LAB=1` it fails.

mod answers;
mod bad_input;
mod browser;
mod budget;
mod bulk;
mod cli;
mod compare;
mod contend;
mod contend_known;
mod documents;
mod door;
mod edges;
mod evidence;
mod explained;
mod failing;
mod far;
mod file;
mod file_channels;
mod files;
mod flows;
mod forge;
mod formats;
mod habits;
mod histograms;
mod hostile;
mod idle;
mod kerberos;
mod live;
mod loopback;
mod loss;
mod lossy;
mod mesh;
mod migrate;
mod migrate_links;
mod migrate_oracle;
mod mtu;
mod multi;
mod netns;
mod networks;
mod outside;
mod overstay;
mod packets;
mod promises;
mod pty;
mod shaped;
mod signals;
mod sink;
mod skew;
mod smb;
mod soak;
mod support;
mod trust;
mod watched;

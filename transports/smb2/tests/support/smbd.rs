//! A real smbd, started by scripts/lab/samba.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A running smbd; stopped and its directory removed on drop.
pub struct Samba {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its directory; the share is the folder `share` in it.
    pub dir: PathBuf,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/lab/samba")
}

impl Samba {
    /// `None` when smbd cannot run here; that fails the test where the lab was asked for.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let dir = std::env::temp_dir().join(format!("pathproof-samba-{}", address.port()));
        std::fs::create_dir_all(&dir).unwrap();
        let samba = Self { address, dir };
        let output = Command::new(script())
            .args(["--port", &address.port().to_string()])
            .args(arguments)
            .arg("start")
            .arg(&samba.dir)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => Some(samba),
            Some(77) => {
                assert!(
                    std::env::var("PATHPROOF_REQUIRE_LAB").as_deref() != Ok("1"),
                    "the lab is required: {said}"
                );
                #[expect(clippy::disallowed_methods, reason = "a test says why it could not run")]
                let _ = writeln!(std::io::stderr(), "SKIPPED: {said}");
                None
            }
            code => panic!("scripts/lab/samba ended with {code:?}: {said}"),
        }
    }
}

impl Drop for Samba {
    fn drop(&mut self) {
        let _ = Command::new(script()).arg("stop").arg(&self.dir).output();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

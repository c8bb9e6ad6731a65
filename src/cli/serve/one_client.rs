//! `pathproof serve --one-client`: the far end of somebody's run, which lives as long as its standard input says something.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pathproof_model::Limits;
use pathproof_sys::AsDescriptor;
use pathproof_sys::clock::RealClock;
use pathproof_sys::process;
use pathproof_sys::socket::wait_readable;

use super::place::Sockets;
use super::{KEY_LENGTH_MIN, ServeArgs};
use crate::far::{HELLO, SILENCE};
use crate::secure::{Access, Key};
use crate::serve::Settings;
use crate::{host, terminal};

/// Until the key must be there.
const KEY_PATIENCE: Duration = Duration::from_secs(30);
/// Longest line with a key.
const KEY_MAX: u64 = 256;

/// Serves until standard input ends, or says nothing for a minute.
pub(super) fn run(args: &ServeArgs, limits: Limits, clock: &RealClock) -> Result<u8> {
    // What was lent and runs from nowhere has a name all the same.
    process::be_called("pathproof");
    let access = Access::Key(Key::new(&key(&io::stdin())?));
    let settings = Settings {
        access,
        // Its client and nobody else: who came back over another way is the same one.
        limits: Limits { clients: 1, ..limits },
        device: args.device.clone(),
        observe: Arc::new(host::observe),
        clock: clock.clone(),
        tells: false,
        grace: Default::default(),
    };
    let server = match (args.listen.is_empty(), Sockets::of(&args.listen)?) {
        // Somebody else may serve here already.
        (true, usual) => {
            usual.listen(settings.clone()).or_else(|_| Sockets::Everywhere(0).listen(settings))?
        }
        (false, named) => named.listen(settings)?,
    };
    let port = server.addresses().first().context("the listener has no address")?.port();
    terminal::print_own(format!("{HELLO} {port} {}\n", env!("CARGO_PKG_VERSION")).as_bytes())?;
    server.run_in_background();
    stay(io::stdin());
    Ok(0)
}

/// The key, which is the first line.
fn key(input: &io::Stdin) -> Result<String> {
    if !wait_readable(&[input.descriptor()], Some(KEY_PATIENCE)).is_ok_and(|ready| ready[0]) {
        bail!(
            "no key came on standard input within {} s; this is how another pathproof starts it: by hand, type pathproof serve",
            KEY_PATIENCE.as_secs()
        );
    }
    let mut line = String::new();
    input.lock().take(KEY_MAX).read_line(&mut line).context("cannot read a key from standard input")?;
    let key = line.trim();
    ensure!(
        line.ends_with('\n') && key.chars().count() >= KEY_LENGTH_MIN,
        "--one-client wants a line with a key of at least {KEY_LENGTH_MIN} characters on standard input; for a server that \
         stays, leave --one-client out"
    );
    Ok(key.to_owned())
}

/// Returns when the one who started it is gone.
fn stay(mut input: io::Stdin) {
    let mut heard = [0; 64];
    loop {
        let ready = wait_readable(&[input.descriptor()], Some(SILENCE));
        if !ready.is_ok_and(|ready| ready[0]) || !matches!(input.read(&mut heard), Ok(bytes) if bytes > 0) {
            return;
        }
    }
}

//! Truth: what is measured over a link of known rate is that rate less the headers.
//!
//! A namespace pair with a token bucket between the ends. The expectation is computed from the rate and the MTU
//! (RFC 9293 and RFC 7323 header sizes), and checked against the token bucket's own byte counter, so that a
//! machine too busy to fill the link is told apart from a measurement that is wrong.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::*;

/// Ethernet header, as the kernel's queue counts it (no preamble, no check sequence).
const ETHERNET_BYTES: f64 = 14.0;
/// IPv4 header, TCP header, TCP timestamps option padded to 12 (RFC 7323 appendix A).
const HEADER_BYTES: f64 = 20.0 + 20.0 + 12.0;
const PORT: u16 = 7797;

/// A namespace pair joined by one link, shaped in the direction out of the first. Gone with the test.
struct Link {
    near: String,
    far: String,
}

impl Link {
    /// `None`, after saying why, where namespaces cannot be made.
    fn new(name: &str, ip_mtu: u32) -> Option<Link> {
        let tag = format!("ppt{}{name}", std::process::id() % 100_000);
        let link = Link { near: format!("{tag}a"), far: format!("{tag}b") };
        let (near, far) = (&link.near, &link.far);
        let steps = [
            format!("ip netns add {near}"),
            format!("ip netns add {far}"),
            format!(
                "ip -n {near} link add lan0 mtu {ip_mtu} type veth peer name lan0 mtu {ip_mtu} netns {far}"
            ),
            format!("ip -n {near} addr add 10.76.0.1/24 dev lan0"),
            format!("ip -n {far} addr add 10.76.0.2/24 dev lan0"),
            format!("ip -n {near} link set lan0 up"),
            format!("ip -n {far} link set lan0 up"),
        ];
        for step in &steps {
            if let Err(why) = shell(step) {
                skip(&format!("no namespace pair: {why}"));
                return None;
            }
        }
        Some(link)
    }

    fn shape(&self, rate_bits_per_s: u64, burst_bytes: u64) -> bool {
        // A burst that covers late timers of a virtual machine, and a queue of 20 ms or two bursts.
        let limit = (rate_bits_per_s / 8 / 50).max(2 * burst_bytes);
        let near = &self.near;
        let shaped = shell(&format!(
            "tc -n {near} qdisc replace dev lan0 root tbf rate {rate_bits_per_s}bit burst {burst_bytes} limit {limit}"
        ));
        if let Err(why) = &shaped {
            skip(&format!("no token bucket: {why}"));
        }
        shaped.is_ok()
    }

    /// Bytes that the token bucket has let through.
    fn passed_bytes(&self) -> f64 {
        let out =
            shell(&format!("tc -n {} -s -j qdisc show dev lan0 root", self.near)).expect("tc has counters");
        let doc: Value = serde_json::from_str(&out).expect("tc speaks JSON");
        doc[0]["bytes"].as_f64().expect("a queue counts bytes")
    }

    fn command(&self, namespace: &str, args: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, BINARY]).args(args).stdin(std::process::Stdio::null());
        command.env("PATHPROOF_KEY", "shaped-link").env_remove("PATHPROOF_LOG");
        command
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for namespace in [&self.near, &self.far] {
            let _ = shell(&format!("ip netns del {namespace}"));
        }
    }
}

fn shell(line: &str) -> Result<String, String> {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap_or_default()).args(words).output();
    let output = output.map_err(|e| format!("{line}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Streams over a shaped link and holds the figure against the truth.
fn goodput_is_the_rate_less_headers(name: &str, rate_bits_per_s: u64, burst_bytes: u64, ip_mtu: u32) {
    let Some(link) = Link::new(name, ip_mtu) else { return };
    if !link.shape(rate_bits_per_s, burst_bytes) {
        return;
    }
    let server =
        Server::spawn(link.command(&link.far, &["serve", "--listen", &format!("10.76.0.2:{PORT}"), "-v"]));
    let address = server.address.clone();
    // CUBIC, because BBR leaves a part of such a short queue's rate unused, which would be measured rightly.
    let mut args =
        vec!["bench", "stream", &address, "--time", "4s", "--warmup", "1500ms", "--format", "json"];
    args.extend(["--size", "64KiB", "--option", "congestion=cubic"]);
    let client = link.command(&link.near, &args);
    let payload_share = (f64::from(ip_mtu) - HEADER_BYTES) / (f64::from(ip_mtu) + ETHERNET_BYTES);
    let passed = std::thread::scope(|scope| {
        let counting = scope.spawn(|| {
            // The counter is read well inside the window: once the link is busy, and three seconds later.
            let (begin, idle) = (Instant::now(), link.passed_bytes());
            while link.passed_bytes() < idle + rate_bits_per_s as f64 / 8.0 * 1.0 {
                if begin.elapsed() > Duration::from_secs(20) {
                    return None;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            std::thread::sleep(Duration::from_millis(700));
            let (start, before) = (Instant::now(), link.passed_bytes());
            std::thread::sleep(Duration::from_millis(3000));
            Some((link.passed_bytes() - before) * 8.0 / start.elapsed().as_secs_f64())
        });
        let output = run_within(client, Duration::from_secs(40));
        (output, counting.join().expect("counting does not panic"))
    });
    let (output, counted) = passed;
    let doc = document(&output);
    let step = step(&doc, "stream");
    assert_eq!(step["error"], Value::Null, "{}", stderr(&output));
    let measured = step["summary"]["goodput_bits_per_s"].as_f64().expect("a goodput");
    let expected = rate_bits_per_s as f64 * payload_share;
    let counted = counted.expect("the link was never busy") * payload_share;
    let told = format!(
        "measured {measured:.0}, rate less headers {expected:.0}, token bucket's counter less headers {counted:.0} bit/s"
    );
    assert!(measured <= 1.01 * expected, "more than the link carries: {told}");
    // On a machine too busy to fill the link its counter says so; and then the rate changes all the time, so that the
    // counter's three seconds and the four that are measured need not agree to a hundredth.
    let least = if counted >= 0.99 * expected { 0.99 * expected } else { 0.95 * counted };
    assert!(measured >= least, "less than the link carried: {told}");
    let segment = step["lanes"][0]["send_segment_bytes"].as_f64();
    assert_eq!(segment, Some(f64::from(ip_mtu) - HEADER_BYTES), "the segment size behind the expectation");
}

#[test]
fn a_link_of_100_megabit() {
    goodput_is_the_rate_less_headers("m", 100_000_000, 64 << 10, 1500);
}

#[test]
fn a_link_of_1_gigabit() {
    goodput_is_the_rate_less_headers("g", 1_000_000_000, 1 << 20, 1500);
}

#[test]
fn a_link_of_1_gigabit_with_jumbo_frames() {
    goodput_is_the_rate_less_headers("j", 1_000_000_000, 1 << 20, 9000);
}

#[test]
fn a_link_of_5_gigabit() {
    goodput_is_the_rate_less_headers("t", 5_000_000_000, 4 << 20, 1500);
}

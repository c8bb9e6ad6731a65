//! The page for a browser, in one: headless Chromium, where it is installed (`scripts/browser` installs it and runs this).
//!
//! Nothing installs it for `scripts/test`, for its hundred megabytes: the stage `browser.beside` runs this where it is there. Without it this
//! says SKIPPED, and fails with `PATHPROOF_REQUIRE_BROWSER=1`.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::*;

/// What the page is asked, once it has been laid out. What it finds becomes an attribute, which stands in the DOM that is printed.
const ASK: &str = r#"<script>
addEventListener("load", () => {
  const scrolls = e => { for (; e && e !== document.body; e = e.parentElement) if (getComputedStyle(e).overflowX !== "visible") return true; return false; };
  const wide = [...document.body.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e));
  getSelection().selectAllChildren(document.body);
  const seen = {
    inner: innerWidth, wide: wide.slice(0, 5).map(e => e.outerHTML.slice(0, 120)), page: document.documentElement.scrollWidth,
    selected: String(getSelection()), pictures: document.querySelectorAll("svg").length,
    flat: [...document.querySelectorAll("svg")].filter(e => !e.closest(".legend") && e.getBoundingClientRect().height < 20).length,
    cut: [...document.querySelectorAll("svg text")].filter(e => {
      const own = e.getBoundingClientRect(), all = e.ownerSVGElement.getBoundingClientRect();
      return own.right > all.right + 1 || own.left < all.left - 1;
    }).map(e => e.textContent),
    hidden: [...document.querySelectorAll("pre, .wide")].filter(e => e.scrollWidth > e.clientWidth + 1).length,
    signed: getComputedStyle(document.querySelector(".sign")).display,
    fetched: performance.getEntriesByType("resource").map(one => one.name),
  };
  document.documentElement.setAttribute("data-seen", btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(seen)))));
});
</script>"#;
/// What keeps scripts out of the page, and this one too.
const NO_SCRIPTS: &str = "<meta http-equiv=\"Content-Security-Policy\"";
/// A4 at 96 dots an inch, less the margins that Chromium leaves.
const PAPER: u32 = 718;

fn browser() -> Option<&'static str> {
    let found =
        ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"].into_iter().find(
            |name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()),
        );
    if found.is_none() {
        let reason = "the page in a browser: no Chromium is installed (scripts/browser does it on Debian)";
        skip_unless("PATHPROOF_REQUIRE_BROWSER", reason);
    }
    found
}

/// Opens a page, and does what `args` say.
fn open(browser: &str, home: &Scratch, page: &str, args: &[&str]) -> Output {
    let mut command = Command::new(browser);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--enable-logging=stderr",
    ]);
    command.arg(format!("--user-data-dir={}", home.path("profile"))).args(args);
    command.arg(format!("file://{page}")).env("HOME", home.path(""));
    let output = run_within(command, Duration::from_secs(60));
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

/// What it prints of a page: the DOM, and what it had to complain of.
fn shown(browser: &str, home: &Scratch, page: &str, width: u32, dark: bool) -> (String, String) {
    let size = format!("--window-size={width},2000");
    let mut args = vec![size.as_str(), "--dump-dom"];
    if dark {
        args.push("--blink-settings=preferredColorScheme=0");
    }
    let output = open(browser, home, page, &args);
    (String::from_utf8(output.stdout.clone()).expect("text"), stderr(&output))
}

/// What a page says of itself, laid out in a window of this width.
fn asked(browser: &str, home: &Scratch, page: &str, width: u32, dark: bool) -> Value {
    let (before, policy) = page.split_once(NO_SCRIPTS).expect("the page keeps scripts out");
    let rest = policy.split_once('\n').unwrap().1;
    let file = home.path("asked.html");
    std::fs::write(&file, before.to_owned() + &rest.replace("</body>", &format!("{ASK}</body>"))).unwrap();
    let (dom, _) = shown(browser, home, &file, width, dark);
    let seen =
        dom.split("data-seen=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("it was asked");
    let seen = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, seen).unwrap();
    serde_json::from_slice(&seen).unwrap()
}

/// A run by its name, as a page.
fn page_of(file: &str) -> String {
    let output = run(&["report", file, "--format", "html"]);
    assert!(!output.stdout.is_empty(), "{file}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// All that the page is held to on a screen.
fn fits(browser: &str, home: &Scratch, name: &str, page: &str, windows: &[(u32, bool)]) {
    let answer = page.split("<h1").nth(1).and_then(|rest| rest.split(['>', '<']).nth(1)).unwrap().to_owned();
    // As it is mailed: the browser has nothing to say about it.
    let file = home.path("page.html");
    std::fs::write(&file, page).unwrap();
    let (_, complaints) = shown(browser, home, &file, 1400, false);
    assert!(!complaints.contains("CONSOLE"), "{name}: {complaints}");
    for (width, dark) in windows {
        let seen = asked(browser, home, page, *width, *dark);
        let what = format!("{name}, {width} wide");
        let inner = seen["inner"].as_u64().unwrap();
        assert!(inner.abs_diff(u64::from(*width)) < 120, "{what}: {inner}");
        assert_eq!(seen["wide"], json!([]), "{what}");
        assert!(seen["page"].as_u64() <= Some(inner), "{what}: {} of {inner}", seen["page"]);
        assert_eq!(seen["fetched"], json!([]), "{name}");
        let selected = seen["selected"].as_str().unwrap();
        assert!(selected.contains(&answer) && selected.len() > 200, "{name}: {selected}");
        assert_eq!(seen["cut"], json!([]), "{what}: labels that are cut off");
        assert_eq!(seen["flat"], 0, "{what}: a chart without height");
        assert_eq!(seen["pictures"].as_u64().unwrap() > 0, page.contains("<svg"), "{name}");
        assert_eq!(seen["signed"], "none", "{name}: only paper is signed");
    }
}

#[test]
fn a_page_fits_narrow_and_wide_windows_and_asks_for_nothing() {
    let Some(browser) = browser() else { return };
    let scratch = Scratch::new("browser");
    for file in crate::formats::documents() {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        fits(browser, &scratch, &name, &page_of(&file.display().to_string()), &[(400, false), (1400, true)]);
    }
    let golden = format!("{}/results/golden/v2/check-two-hosts.json", env!("CARGO_MANIFEST_DIR"));
    fits(browser, &scratch, "by day", &page_of(&golden), &[(1400, false)]);
}

/// Pages of what no stored document holds: the ladder of a share, a soak, and the map of a mesh.
#[test]
fn a_ladder_a_soak_and_a_mesh_fit_as_well() {
    let Some(browser) = browser() else { return };
    let scratch = Scratch::new("browser-kinds");
    let golden = format!("{}/results/golden/v2/check-two-hosts.json", env!("CARGO_MANIFEST_DIR"));
    let mut doc: Value = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    let rung = |name: &str, below: Value, bits: u64| {
        json!({
            "rung": name, "branch": "tcp", "direction": "out", "goodput_bits_per_s": bits, "below": below, "share_of_below": 0.9,
            "proof": { "carried_by": "tcp", "evidence": "segments of one connection, and no counter of an adapter moved" },
            "reason": "the file was written through the server's cache, and its disk may be slower than that",
        })
    };
    doc["ladder"] = json!([
        rung("tcp", Value::Null, 9_400_000_000),
        rung("smb-tcp", json!("tcp"), 8_100_000_000),
        rung("smb-multichannel", json!("smb-tcp"), 16_000_000_000),
    ]);
    let ladder = scratch.path("ladder.json");
    std::fs::write(&ladder, doc.to_string()).unwrap();
    let soak = scratch.path("soak.json");
    let soaked = run(&["watch", "--self", "--for", "4s", "--probe-every", "10s", "-o", &soak]);
    assert!(matches!(soaked.status.code(), Some(0 | 1)), "{}", stderr(&soaked));
    let mesh = scratch.path("mesh.json");
    let port = crate::mesh::port();
    let first = crate::mesh::rank(0, 3, port, &["-o", &mesh]);
    let others = [1, 2].map(|number| crate::mesh::rank(number, 3, port, &[]));
    let (code, _, said) = crate::mesh::ended(first);
    assert_ne!(code, Some(2), "{said}");
    drop(others.map(crate::mesh::ended));
    for (name, file, holds) in
        [("ladder", &ladder, "files over Multichannel"), ("soak", &soak, "<h1"), ("mesh", &mesh, "class=\"h")]
    {
        let page = page_of(file);
        assert!(page.contains(holds), "{name}");
        fits(browser, &scratch, name, &page, &[(400, false), (1400, true)]);
        printed(browser, &scratch, name, &page);
    }
}

/// On paper nothing scrolls: all that a page holds has to be within its margins, and there is a line to sign.
fn printed(browser: &str, home: &Scratch, name: &str, page: &str) {
    let paper = page.replace("@media print", "@media all");
    assert_ne!(paper, page, "{name} has rules for paper");
    let seen = asked(browser, home, &paper, PAPER, false);
    assert_eq!((&seen["wide"], &seen["hidden"]), (&json!([]), &json!(0)), "{name}, on paper");
    assert!(seen["page"].as_u64() <= seen["inner"].as_u64(), "{name}, on paper: {}", seen["page"]);
    assert_eq!((&seen["cut"], &seen["signed"]), (&json!([]), &json!("block")), "{name}, on paper");
    let (file, pdf) = (home.path("printed.html"), home.path("printed.pdf"));
    std::fs::write(&file, page).unwrap();
    open(browser, home, &file, &["--no-pdf-header-footer", &format!("--print-to-pdf={pdf}")]);
    let bytes = std::fs::read(&pdf).unwrap_or_else(|e| panic!("{name}: nothing was printed: {e}"));
    assert!(bytes.starts_with(b"%PDF") && bytes.len() > 5000, "{name}: {} bytes", bytes.len());
    let _ = std::fs::remove_file(&pdf);
}

#[test]
fn a_page_is_printed_whole_and_can_be_signed() {
    let Some(browser) = browser() else { return };
    let scratch = Scratch::new("browser-paper");
    for name in ["screens/contend", "screens/jumbo-mismatch", "screens/listed-address", "screens/refused"] {
        let file = format!("{}/bench/report/tests/{name}.json", env!("CARGO_MANIFEST_DIR"));
        printed(browser, &scratch, name, &page_of(&file));
    }
    for name in ["check-two-hosts", "migrate-self", "stream-both-ways"] {
        let file = format!("{}/results/golden/v2/{name}.json", env!("CARGO_MANIFEST_DIR"));
        printed(browser, &scratch, name, &page_of(&file));
    }
}

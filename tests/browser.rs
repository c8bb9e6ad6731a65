//! The page for a browser, in one: headless Chromium, where it is installed (`scripts/browser` installs it and runs this).
//!
//! It is no part of `scripts/test`, for its hundred megabytes: without it this says SKIPPED, and fails with `PATHPROOF_REQUIRE_BROWSER=1`.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

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
    fetched: performance.getEntriesByType("resource").map(one => one.name),
  };
  document.documentElement.setAttribute("data-seen", btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(seen)))));
});
</script>"#;
/// What keeps scripts out of the page, and this one too.
const NO_SCRIPTS: &str = "<meta http-equiv=\"Content-Security-Policy\"";

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

/// What it prints of a page: the DOM, and what it had to complain of.
fn shown(browser: &str, home: &Scratch, page: &str, width: u32, dark: bool) -> (String, String) {
    let mut command = Command::new(browser);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--enable-logging=stderr",
    ]);
    command
        .arg(format!("--user-data-dir={}", home.path("profile")))
        .arg(format!("--window-size={width},2000"));
    if dark {
        command.arg("--blink-settings=preferredColorScheme=0");
    }
    command.args(["--dump-dom", &format!("file://{page}")]).env("HOME", home.path(""));
    let output = run_within(command, Duration::from_secs(60));
    assert!(output.status.success(), "{}", stderr(&output));
    (String::from_utf8(output.stdout.clone()).expect("text"), stderr(&output))
}

#[test]
fn a_page_fits_narrow_and_wide_windows_and_asks_for_nothing() {
    let Some(browser) = browser() else { return };
    let scratch = Scratch::new("browser");
    for name in ["check-two-hosts", "migrate-self", "stream-both-ways", "peer-lost"] {
        let golden = format!("{}/results/golden/v2/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let page = String::from_utf8(run(&["report", &golden, "--format", "html"]).stdout).unwrap();
        let answer =
            page.split("<h1").nth(1).and_then(|rest| rest.split(['>', '<']).nth(1)).unwrap().to_owned();
        // As it is mailed: the browser has nothing to say about it.
        let file = scratch.path("page.html");
        std::fs::write(&file, &page).unwrap();
        let (_, complaints) = shown(browser, &scratch, &file, 1400, false);
        assert!(!complaints.contains("CONSOLE"), "{name}: {complaints}");

        let (before, policy) = page.split_once(NO_SCRIPTS).expect("the page keeps scripts out");
        let rest = policy.split_once('\n').unwrap().1;
        std::fs::write(&file, before.to_owned() + &rest.replace("</body>", &format!("{ASK}</body>")))
            .unwrap();
        for (width, dark) in [(400, false), (1400, false), (1400, true)] {
            let (dom, _) = shown(browser, &scratch, &file, width, dark);
            let seen = dom
                .split("data-seen=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .expect("it was asked");
            let seen = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, seen).unwrap();
            let seen: Value = serde_json::from_slice(&seen).unwrap();
            assert!(
                seen["inner"].as_u64().unwrap().abs_diff(u64::from(width)) < 120,
                "{name}: {}",
                seen["inner"]
            );
            assert_eq!(seen["wide"], serde_json::json!([]), "{name}, {width} wide");
            assert!(
                seen["page"].as_u64() <= seen["inner"].as_u64(),
                "{name}, {width} wide: {} of {}",
                seen["page"],
                seen["inner"]
            );
            assert_eq!(seen["fetched"], serde_json::json!([]), "{name}");
            let selected = seen["selected"].as_str().unwrap();
            assert!(selected.contains(&answer) && selected.len() > 500, "{name}: {selected}");
            assert_eq!(seen["cut"], serde_json::json!([]), "{name}, {width} wide: labels that are cut off");
            assert_eq!(seen["flat"], 0, "{name}, {width} wide: a chart without height");
            assert_eq!(seen["pictures"].as_u64().unwrap() > 0, page.contains("<svg"), "{name}");
        }
    }
}

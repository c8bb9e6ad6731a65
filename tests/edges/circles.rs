//! No circles between files: whoever reads one can stop reading somewhere. A file may use what it is a part of (`super::`), and
//! the parts of a file may be used by it; apart from that what a file uses never leads back to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A file, by its place in the crate: `["steps", "mtu"]`.
type Module = Vec<String>;

#[test]
fn what_a_file_uses_never_leads_back_to_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut crates = vec!["src".to_owned(), "sys/src".to_owned()];
    for folder in ["bench", "transports"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            crates.push(format!("{folder}/{name}/src"));
        }
    }
    let (mut files, mut circles) = (0, vec![]);
    for folder in &crates {
        let sources = modules(&root.join(folder));
        files += sources.len();
        let graph = sources.iter().map(|(module, text)| (module, uses(module, text, &sources))).collect();
        for circle in circles_of(&graph) {
            circles.push(circle.iter().map(|m| format!("{folder}/{}", m.join("/"))).collect::<Vec<_>>());
        }
    }
    assert!(files > 250, "only {files} files were looked at");
    assert!(circles.is_empty(), "files in circles: {circles:#?}");
}

/// Files of tests look at everything.
fn is_of_tests(name: &str) -> bool {
    ["tests", "fuzz", "brute", "story", "hostile", "inflated", "long"].contains(&name)
}

/// The files of a crate, with their tests and comments cut off.
fn modules(source: &Path) -> BTreeMap<Module, String> {
    let (mut found, mut open) = (BTreeMap::new(), vec![source.to_owned()]);
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let inside = path.strip_prefix(source).unwrap().with_extension("");
        let mut module: Module = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        let last = module.last().cloned().unwrap_or_default();
        if ["mod", "lib", "main"].contains(&last.as_str()) {
            module.pop();
        }
        if path.extension().is_some_and(|e| e == "rs") && !is_of_tests(&last) {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = super::without_tests(&text);
            let code: Vec<&str> = code.lines().map(|line| line.split("//").next().unwrap()).collect();
            found.entry(module).or_insert_with(String::new).push_str(&code.join("\n"));
        }
    }
    found
}

/// The other files that a file uses, those that it is a part of left out.
fn uses(module: &Module, text: &str, all: &BTreeMap<Module, String>) -> BTreeSet<Module> {
    let mut paths = Vec::new();
    let mut rest = String::new();
    for (at, statement) in text.split("use ").enumerate() {
        // What stands before a `use` and is no word of its own belongs to a longer word.
        let (tree, after) =
            if at == 0 { ("", statement) } else { statement.split_once(';').unwrap_or(("", statement)) };
        expand("", tree, &mut paths);
        rest.push_str(after);
    }
    for word in rest.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        if ["crate::", "super::", "self::"].iter().any(|start| word.starts_with(start)) {
            paths.push(word.to_owned());
        }
    }
    let resolved = paths.iter().filter_map(|path| resolve(module, path, all));
    resolved.filter(|used| !module.starts_with(used)).collect()
}

/// The paths that a `use` tree names.
fn expand(before: &str, tree: &str, out: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((start, inside)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return out.push(format!("{before}{path}"));
    };
    let before = format!("{before}{}", start.trim());
    let inside = inside.rsplit_once('}').map_or(inside, |(inside, _)| inside);
    let (mut depth, mut from) = (0, 0);
    for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&before, &inside[from..at], out);
                from = at + 1;
            }
            _ => {}
        }
    }
}

/// The file that holds what a path names, seen from `module`; `None` for what is of another crate.
fn resolve(module: &Module, path: &str, all: &BTreeMap<Module, String>) -> Option<Module> {
    let mut parts: Vec<&str> = path.split("::").map(str::trim).filter(|part| !part.is_empty()).collect();
    let mut at = module.clone();
    match *parts.first()? {
        "crate" => {
            at.clear();
            parts.remove(0);
        }
        "self" => drop(parts.remove(0)),
        "super" => {
            while parts.first() == Some(&"super") {
                at.pop();
                parts.remove(0);
            }
        }
        child => {
            let mut there = module.clone();
            there.push(child.to_owned());
            all.get(&there)?;
        }
    }
    for part in parts {
        at.push(part.to_owned());
        if !all.contains_key(&at) {
            at.pop();
            break;
        }
    }
    Some(at)
}

/// Files that lead back to themselves, each with those on the way.
fn circles_of(graph: &BTreeMap<&Module, BTreeSet<Module>>) -> BTreeSet<BTreeSet<Module>> {
    let reach: BTreeMap<&Module, BTreeSet<Module>> = graph
        .keys()
        .map(|from| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![*from]);
            while let Some(module) = open.pop() {
                for next in graph.get(module).into_iter().flatten() {
                    if seen.insert(next.clone()) {
                        open.push(next);
                    }
                }
            }
            (*from, seen)
        })
        .collect();
    let back = |from: &Module, to: &Module| reach.get(to).is_some_and(|there| there.contains(from));
    let of = |from: &Module, there: &BTreeSet<Module>| {
        there.iter().filter(|to| back(from, to)).cloned().collect::<BTreeSet<Module>>()
    };
    reach.iter().filter(|(from, there)| there.contains(**from)).map(|(from, there)| of(from, there)).collect()
}

#[test]
fn a_circle_is_found() {
    let text = |text: &str| text.to_owned();
    let module = |name: &str| -> Module { name.split('/').map(str::to_owned).collect() };
    let all = BTreeMap::from([
        (module("a"), text("use crate::{b::{self, Thing}, c};")),
        (module("b"), text("fn f() { super::c::g() }")),
        (module("c"), text("use crate::a::d::Part;")),
        (module("a/d"), text("use super::Whole;")),
        (module("e"), text("use crate::a;")),
    ]);
    let graph = all.iter().map(|(module, text)| (module, uses(module, text, &all))).collect();
    assert!(circles_of(&graph).is_empty(), "a part that uses the whole is no circle: {graph:?}");
    let mut all = all;
    all.insert(module("c"), text("use crate::a;"));
    let graph = all.iter().map(|(module, text)| (module, uses(module, text, &all))).collect();
    let circle = BTreeSet::from([module("a"), module("b"), module("c")]);
    assert_eq!(circles_of(&graph), BTreeSet::from([circle]), "{graph:?}");
}

//! Whole pages as a reader sees them: the documents that the project keeps, and those that show what these do not.
//!
//! A change of a page is seen as a difference here. Where it is wanted: `INSTA_UPDATE=always cargo nextest run -p
//! pathproof-report pages`.

use std::path::{Path, PathBuf};

use pathproof_report::{Render, Text};

fn here(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

fn page(file: &Path) -> String {
    let text = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let doc = pathproof_model::lift::read(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut page = Vec::new();
    Text::default().render(&doc, &mut page).unwrap();
    String::from_utf8(page).unwrap()
}

/// Compares the pages of all documents in `folder` with those that were stored.
fn compare(folder: &str) {
    let files = std::fs::read_dir(here(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    assert!(!files.is_empty(), "no document in {folder}");
    files.sort();
    for file in files {
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(file.file_stem().unwrap().to_string_lossy().into_owned(), page(&file));
        });
    }
}

#[test]
fn of_the_golden_documents() {
    compare("../../results/golden/v1");
}

#[test]
fn of_what_no_golden_document_holds() {
    compare("tests/documents");
}

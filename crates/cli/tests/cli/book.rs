//! The book says what is true: tests that it names are there.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let book = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let named: Vec<(&str, &str)> = book
        .split('`')
        .filter_map(|word| word.split_once(".rs::"))
        .collect();
    assert!(named.len() > 40);
    for (file, name) in named {
        let path = root().join("crates").join(file).with_extension("rs");
        let code = std::fs::read_to_string(&path).unwrap_or_default();
        let above = code.find(&format!("fn {name}(")).map(|at| &code[..at]);
        // The attribute stands above the function, with others between them at most.
        let mut lines = above
            .into_iter()
            .flat_map(|above| above.lines().rev().take(4));
        let is_test = lines.any(|line| {
            let line = line.trim();
            line.starts_with("#[") && line.ends_with("test]") || line.starts_with("#[tokio::test")
        });
        assert!(is_test, "{file}.rs::{name}");
    }
}

#[test]
fn every_page_that_the_book_links_to_from_here_is_there() {
    // These come with the ledger, the keys and the prices.
    let to_come = ["ledger.md", "keys.md", "prices.md"];
    for page in ["migration.md", "operations.md", "security.md"] {
        let text = std::fs::read_to_string(root().join("docs").join(page)).unwrap();
        for link in text.split("](").skip(1) {
            let link = link.split([')', '#']).next().unwrap();
            let is_there = root().join("docs").join(link).exists();
            assert!(is_there || to_come.contains(&link), "{page}: {link}");
        }
    }
}

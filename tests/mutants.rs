//! The mutants still fit the program: each text to be replaced is in the source exactly once, and each names a test that
//! exists. (`tests/mutants/run` builds them and sees the tests go red.)

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A way to break the program.
struct Mutant {
    path: PathBuf,
    /// Kind and filter.
    test: Option<(String, String)>,
    /// File, old text, new text.
    changes: Vec<(String, String, String)>,
}

impl Mutant {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let (mut test, mut changes, mut file) = (None, Vec::new(), "");
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(name) = line.strip_prefix("file ") {
                file = name;
            } else if let Some(what) = line.strip_prefix("test ") {
                let (kind, filter) = what.split_once(' ').unwrap_or((what, ""));
                test = Some((kind.to_owned(), filter.to_owned()));
            } else if line == "<<<<" {
                let mut part = |end| {
                    let lines = lines.by_ref().take_while(|line| *line != end);
                    lines.map(|line| format!("{line}\n")).collect::<String>()
                };
                let (old, new) = (part("===="), part(">>>>"));
                changes.push((file.to_owned(), old, new));
            }
        }
        let path = path.to_owned();
        Self { path, test, changes }
    }

    /// Makes its changes in `sources`; what is wrong with one.
    fn apply(&self, sources: &mut BTreeMap<String, String>) -> Result<(), String> {
        for (file, old, new) in &self.changes {
            let source = sources
                .entry(file.clone())
                .or_insert_with(|| fs::read_to_string(root().join(file)).unwrap_or_default());
            let count = source.matches(old.as_str()).count();
            if old == new || count != 1 {
                return Err(format!("{file} has this {count} times:\n{old}"));
            }
            *source = source.replacen(old.as_str(), new, 1);
        }
        Ok(())
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut queue = vec![dir.to_owned()];
    while let Some(dir) = queue.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                queue.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn all() -> Vec<Mutant> {
    let files = files(&root().join("tests/mutants"), "mutant");
    files.iter().map(|path| Mutant::read(path)).collect()
}

#[test]
fn every_mutant_can_still_be_made() {
    let stop = Mutant::read(&root().join("tests/mutants/stop-at-the-first-failure"));
    let mut bad = Vec::new();
    for mutant in all() {
        assert!(!mutant.changes.is_empty(), "{:?}", mutant.path);
        let mut sources = BTreeMap::new();
        stop.apply(&mut sources).unwrap();
        if let Err(why) = mutant.apply(&mut sources) {
            bad.push(format!("{:?}: {why}", mutant.path));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn every_mutant_names_a_test_that_exists() {
    let places = [("sim", "tests"), ("unit", "src"), ("disks", "integration")];
    for mutant in all() {
        let (kind, filter) = mutant.test.expect("a line that names the test");
        let (_, place) = places.iter().find(|(k, _)| *k == kind).expect("a kind");
        // The last part of the filter is a module, or the beginning of a test's name.
        let last = filter.trim_end_matches("::").rsplit("::").next().unwrap();
        let names = |path: &PathBuf| {
            let text = fs::read_to_string(path).unwrap();
            let module = path.file_stem().is_some_and(|stem| stem == last)
                || path.parent().is_some_and(|p| p.ends_with(last));
            module || text.contains(&format!("fn {last}"))
        };
        let known = files(&root().join(place), "rs").iter().any(names);
        assert!(known, "{:?}: no test {kind} {filter}", mutant.path);
    }
}

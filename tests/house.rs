//! Checks the layout of src: its rooms, the direction of imports, circles, and where `unsafe` and `unwrap` are.
//!
//! The sources are read as text. Tests are left out: modules under `#[cfg(test)]`, and files named `tests` or `…_tests`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every directory of src, the highest room first: a room imports only from the rooms below it.
const ROOMS: [&str; 13] = [
    "cli", "report", "doctor", "preview", "rescue", "run", "find", "execute", "journal", "plan",
    "fs", "pool", "sys",
];

/// The files of src without the tests: module path, and text without comments.
struct House {
    modules: BTreeMap<String, String>,
}

impl House {
    fn read() -> Self {
        let src = src();
        let (mut modules, mut tests) = (BTreeMap::new(), BTreeSet::new());
        for file in rust_files(&src) {
            let name = module_of(file.strip_prefix(&src).unwrap());
            let text = fs::read_to_string(&file).unwrap();
            let declared = test_modules(&text);
            tests.extend(declared.map(|module| format!("{name}::{module}")));
            modules.insert(name, without_tests_and_comments(&text));
        }
        let is_test = |name: &str| {
            let declared = tests.iter().any(|test| within(name, test));
            declared || name.split("::").any(|part| part.ends_with("tests"))
        };
        modules.retain(|name, _| !is_test(name));
        Self { modules }
    }

    /// Every path in a module that begins with `crate`, `super` or `self`; returned as a path below the crate.
    fn imports(&self, module: &str) -> BTreeSet<String> {
        let mut found = Vec::new();
        let text = &self.modules[module];
        for (at, _) in text.match_indices("::") {
            let head = text[..at].rsplit(not_in_a_word).next().unwrap();
            let inner = text[..at - head.len()].ends_with("::");
            let mut base: Vec<&str> = match head {
                "crate" => Vec::new(),
                "self" | "super" if !inner => module.split("::").collect(),
                _ => continue,
            };
            let mut rest = &text[at + 2..];
            if head == "super" {
                base.pop();
                while let Some(higher) = rest.strip_prefix("super::") {
                    base.pop();
                    rest = higher;
                }
            }
            tree(&base.join("::"), &mut rest, &mut found);
        }
        found.into_iter().collect()
    }

    /// The innermost module on `path`.
    fn module_at<'p>(&self, path: &'p str) -> Option<&'p str> {
        let mut path = path;
        while !self.modules.contains_key(path) {
            path = path.rsplit_once("::")?.0;
        }
        Some(path)
    }

    /// The modules that `module` imports from, except its own ancestors and descendants.
    fn neighbours(&self, module: &str) -> BTreeSet<String> {
        let imports = self.imports(module);
        let modules = imports.iter().filter_map(|path| self.module_at(path));
        let apart = modules.filter(|other| !within(other, module) && !within(module, other));
        apart.map(str::to_owned).collect()
    }

    /// The modules whose code contains one of `words`.
    fn with_one_of(&self, words: &[&str]) -> Vec<&str> {
        let has = |text: &str| words.iter().any(|word| text.contains(word));
        let modules = self.modules.iter().filter(|(_, text)| has(text));
        modules.map(|(name, _)| name.as_str()).collect()
    }
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| match path.is_dir() {
        true => rust_files(&path),
        false => vec![path],
    });
    files.filter(|path| path.extension().is_some_and(|kind| kind == "rs")).collect()
}

/// `fs/sim/mod.rs` and `fs/sim.rs` are both `fs::sim`.
fn module_of(file: &Path) -> String {
    let path = file.with_extension("");
    let path = match path.ends_with("mod") {
        true => path.parent().unwrap(),
        false => &path,
    };
    path.to_str().unwrap().replace('/', "::")
}

/// The names of modules that a file declares for tests only.
fn test_modules(text: &str) -> impl Iterator<Item = &str> {
    text.lines().zip(text.lines().skip(1)).filter_map(|(line, next)| {
        let declared = next.strip_prefix("mod ")?.strip_suffix(';')?;
        (line == "#[cfg(test)]").then_some(declared)
    })
}

fn without_tests_and_comments(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            while lines.peek().is_some_and(|next| next.starts_with(['#', ' ', ')'])) {
                lines.next();
            }
            if lines.peek().is_some_and(|next| next.ends_with('{')) {
                // To the brace that rustfmt puts at the beginning of a line.
                lines.by_ref().find(|line| *line == "}");
            }
        } else if !line.trim_start().starts_with("//") {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn not_in_a_word(c: char) -> bool {
    !(c.is_alphanumeric() || c == '_')
}

/// Reads a path or a tree of paths in braces, which follows `base::`.
fn tree(base: &str, rest: &mut &str, found: &mut Vec<String>) {
    if let Some(inner) = rest.strip_prefix('{') {
        *rest = inner;
        loop {
            *rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if let Some(after) = rest.strip_prefix('}') {
                *rest = after;
                return;
            }
            tree(base, rest, found);
            if let Some(renamed) = rest.strip_prefix(" as ") {
                *rest = renamed.trim_start_matches(|c| !not_in_a_word(c));
            }
        }
    }
    let end = rest.find(not_in_a_word).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end.max(usize::from(rest.starts_with('*'))));
    assert!(!name.is_empty(), "no path after {base}: {:.40}", rest);
    let path = match (base, name) {
        (_, "self" | "*") => base.to_owned(),
        ("", _) => name.to_owned(),
        (_, _) => format!("{base}::{name}"),
    };
    match after.strip_prefix("::") {
        Some(inner) if !inner.starts_with('<') => {
            *rest = inner;
            tree(&path, rest, found);
        }
        _ => {
            *rest = after;
            found.push(path);
        }
    }
}

/// Whether module `inner` is `outer`, or lies in it.
fn within(inner: &str, outer: &str) -> bool {
    let below = inner.strip_prefix(outer);
    below.is_some_and(|below| below.is_empty() || below.starts_with("::"))
}

fn room_of(path: &str) -> &str {
    path.split("::").next().unwrap()
}

/// How high a room lies: 0 is the highest.
fn floor_of(path: &str) -> Option<usize> {
    ROOMS.iter().position(|room| *room == room_of(path))
}

/// Every module that `from` imports directly or through others.
fn reached<'g>(graph: &'g BTreeMap<&str, BTreeSet<String>>, from: &'g str) -> BTreeSet<&'g str> {
    let mut seen = BTreeSet::new();
    let mut queue = vec![from];
    while let Some(module) = queue.pop() {
        for next in graph.get(module).into_iter().flatten() {
            if seen.insert(next.as_str()) {
                queue.push(next);
            }
        }
    }
    seen
}

#[test]
fn src_has_these_rooms_and_nothing_beside_them() {
    let entries = fs::read_dir(src()).unwrap();
    let there: BTreeSet<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    for name in &there {
        let known =
            ROOMS.contains(&name.as_str()) || ["main.rs", "lib.rs"].contains(&name.as_str());
        assert!(known, "src/{name} is no room: ROOMS lists them");
    }
    for room in &ROOMS {
        assert!(there.contains(*room), "src/{room} is missing");
    }
}

#[test]
fn no_room_imports_from_a_higher_one() {
    let house = House::read();
    let mut upwards = BTreeSet::new();
    for module in house.modules.keys().filter(|name| floor_of(name).is_some()) {
        for path in house.imports(module) {
            let floor = floor_of(&path);
            assert!(floor.is_some(), "{module} imports {path}, of no room");
            if floor < floor_of(module) {
                upwards.insert((module.clone(), path));
            }
        }
    }
    assert!(upwards.is_empty(), "upwards: {upwards:#?}");
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let house = House::read();
    let names = house.modules.keys().map(String::as_str);
    let graph: BTreeMap<&str, _> = names.map(|name| (name, house.neighbours(name))).collect();
    let reached: BTreeMap<&str, _> =
        graph.keys().map(|name| (*name, reached(&graph, name))).collect();
    let circle_of = |name: &str| -> BTreeSet<&str> {
        let back = |other: &&str| reached[other].contains(name);
        reached[name].iter().copied().filter(back).collect()
    };
    let mut found: BTreeSet<BTreeSet<&str>> = graph.keys().map(|name| circle_of(name)).collect();
    found.remove(&BTreeSet::new());
    assert!(found.is_empty(), "circles: {found:#?}");
}

#[test]
fn unsafe_code_is_in_sys_only() {
    for module in House::read().with_one_of(&["unsafe ", "unsafe("]) {
        assert_eq!(room_of(module), "sys", "unsafe in {module}");
    }
}

#[test]
fn only_tests_unwrap() {
    let modules = House::read();
    let bad = modules.with_one_of(&[".unwrap()", "::unwrap)"]);
    assert!(bad.is_empty(), "unwrap in {bad:?}");
}

#[test]
fn the_table_of_where_it_happens_is_true() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_to_string(root.join(".github/CONTRIBUTING.md")).unwrap();
    let (_, table) = guide.split_once("Where it happens:").unwrap();
    let rows = table.lines().skip(4).take_while(|line| line.starts_with('|'));
    let mut checked = 0;
    for row in rows {
        let [_, function, _, file, _] = row.split('`').collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let text = fs::read_to_string(root.join(file)).unwrap();
        let there = [format!("fn {function}("), format!("fn {function}<")];
        assert!(there.iter().any(|name| text.contains(name)), "{row}");
        checked += 1;
    }
    assert!(checked >= 5);
}

/// The reasons that `text` decides on: comparisons and patterns decide on nothing.
fn decided_in(text: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("Reason::") {
        let reason = text[at + "Reason::".len()..].split(not_in_a_word).next().unwrap();
        let (before, after) = (&text[..at], &text[at + "Reason::".len() + reason.len()..]);
        let compared = ["==", "!=", "|"].iter().any(|sign| before.trim_end().ends_with(sign));
        let pattern = ["=>", "|"].iter().any(|sign| after.trim_start().starts_with(sign));
        let statement = &before[before.rfind([';', '{']).unwrap_or(0)..];
        if !compared && !pattern && !statement.contains("matches!(") {
            found.insert(reason);
        }
    }
    found
}

#[test]
fn the_doc_of_each_reason_says_where_it_is_decided() {
    let text = fs::read_to_string(src().join("plan/refusal.rs")).unwrap();
    let (_, text) = text.split_once("pub enum Reason {").unwrap();
    let (text, _) = text.split_once("\n}\n").unwrap();
    let mut places = BTreeMap::<&str, BTreeSet<&str>>::new();
    let mut said = BTreeSet::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("/// Decided in ") || (!said.is_empty() && line.starts_with("/// ")) {
            said.extend(line.split('`').skip(1).step_by(2));
        } else if let Some(reason) = line.strip_suffix(',').filter(|_| !line.starts_with('/')) {
            places.insert(reason, std::mem::take(&mut said));
        }
    }
    assert!(places.len() > 30 && places.values().all(|said| !said.is_empty()), "{places:?}");
    let house = House::read();
    let mut unused: BTreeSet<(&str, &str)> = places
        .iter()
        .flat_map(|(reason, said)| said.iter().map(|place| (*reason, *place)))
        .collect();
    let rooms = ["find", "plan", "execute", "rescue"];
    let deciding = house.modules.iter().filter(|(name, _)| rooms.contains(&room_of(name)));
    for (module, text) in deciding.filter(|(name, _)| *name != "plan::refusal") {
        for reason in decided_in(text) {
            let Some(said) = places.get(reason) else { continue };
            let said: Vec<_> = said
                .iter()
                .filter(|place| module == *place || (**place == "execute" && within(module, place)))
                .collect();
            assert!(!said.is_empty(), "the doc of Reason::{reason} does not name {module}");
            for place in said {
                unused.remove(&(reason, place));
            }
        }
    }
    assert!(unused.is_empty(), "decided elsewhere: {unused:?}");
}

#[test]
fn paths_are_read_as_the_compiler_reads_them() {
    let text = "use crate::{a::{self, B, c::D as E}, f::*};\nuse super::super::g;\nfn h() -> self::I<crate::j::K> {}\n\
                // crate::comment\n#[cfg(test)]\n#[allow(\n    x\n)]\nmod tests {\n    use crate::test;\n}\nuse super::l::M;\n";
    let modules = [("x::y".to_owned(), without_tests_and_comments(text))];
    let house = House { modules: modules.into() };
    let found: Vec<String> = house.imports("x::y").into_iter().collect();
    let expected = ["a", "a::B", "a::c::D", "f", "g", "j::K", "x::l::M", "x::y::I"];
    assert_eq!(found, expected);
}

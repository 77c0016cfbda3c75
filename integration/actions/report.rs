//! What the program says of files that are not as they were planned: in its output, and in `status`.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::tracer::Ended;
use crate::harness::tool::Run;

/// Ends of ops that need no attention.
const QUIET: [&str; 4] = ["done", "planned", "recovered", "restored"];

/// Everything said so far in one scenario.
#[derive(Debug, Default)]
pub(super) struct Said {
    lines: Vec<String>,
}

impl Said {
    pub(super) fn by_traced(&mut self, ended: &Ended) {
        self.lines_of(&ended.stdout, &ended.stderr);
    }

    pub(super) fn by(&mut self, run: &Run) {
        self.lines_of(&run.stdout, &run.stderr);
    }

    fn lines_of(&mut self, out: &str, err: &str) {
        let lines = out.lines().filter(|line| names_a_problem(line));
        self.lines.extend(lines.chain(err.lines()).map(str::to_owned));
    }

    /// Whether one of these paths was named.
    fn names(&self, paths: &[&Path]) -> bool {
        self.lines.iter().any(|line| names(line, paths))
    }
}

/// Whether a line of output is about something that is not as planned.
fn names_a_problem(line: &str) -> bool {
    let Ok(line) = serde_json::from_str::<Value>(line) else {
        return true;
    };
    let state = line["state"].as_str().unwrap_or_default();
    match line["type"].as_str() {
        Some("refusal") => true,
        Some("op") => !QUIET.contains(&state),
        _ => false,
    }
}

/// Whether `text` has one of the paths, not only the beginning of a longer one.
fn names(text: &str, paths: &[&Path]) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || "._-/".contains(c);
    paths.iter().any(|path| {
        let path = path.to_str().unwrap();
        let ends = text.match_indices(path).map(|(at, _)| at + path.len());
        let mut next = ends.map(|end| text[end..].chars().next());
        next.any(|c| c.is_none_or(|c| !part_of_name(c)))
    })
}

/// `status`, and what was said before it.
#[derive(Debug)]
pub(super) struct Report<'s> {
    said: &'s Said,
    /// What `status` prints, whole.
    status: Value,
    /// The open ops: run and number.
    open: BTreeSet<(u64, u64)>,
}

impl<'s> Report<'s> {
    pub(super) fn new(said: &'s Said, status: &Run) -> Result<Self, String> {
        let value: Value =
            serde_json::from_str(&status.stdout).map_err(|e| format!("status: {e}\n{status}"))?;
        let list = value["open"].as_array().cloned().unwrap_or_default();
        let open = |op: &Value| Some((op["run"].as_u64()?, op["op"].as_u64()?));
        Ok(Self { said, open: list.iter().filter_map(open).collect(), status: value })
    }

    /// The number of conflicts.
    pub(super) fn conflicts(&self) -> usize {
        self.status["conflicts"].as_array().map_or(0, Vec::len)
    }

    /// Whether output or status names one of these paths.
    pub(super) fn tells(&self, paths: &[&Path]) -> bool {
        self.said.names(paths) || self.status_tells(paths)
    }

    /// Whether conflicts or open ops of the status name one of these paths.
    pub(super) fn status_tells(&self, paths: &[&Path]) -> bool {
        let parts = ["conflicts", "open"].map(|part| self.status[part].to_string());
        parts.iter().any(|part| names(part, paths))
    }

    /// Whether the status says which conflict or open op a hidden name belongs to.
    pub(super) fn explains(&self, hidden: &Path) -> bool {
        self.status_tells(&[hidden]) || begun_of(hidden).is_some_and(|op| self.open.contains(&op))
    }

    /// Whether the status lists a hidden name as one that nothing explains.
    pub(super) fn lists(&self, hidden: &Path) -> bool {
        names(&self.status["unexplained_names"].to_string(), &[hidden])
    }
}

/// The run and the number of the op that a hidden name belongs to.
fn begun_of(hidden: &Path) -> Option<(u64, u64)> {
    let name = hidden.file_name()?.to_str()?;
    let mut parts = name.split('-').skip(2);
    let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
    Some((number()?, number()?))
}

#[test]
fn a_path_is_named_only_as_a_whole() {
    let path = [Path::new("/p/d/b")];
    assert!(names("{\"left\":[\"/p/d/b\"]}", &path));
    assert!(names("at /p/d/b", &path));
    assert!(!names("/p/d/b2 /p/d/b/c /p/d/b.new", &path));
    assert!(names_a_problem("{\"type\":\"op\",\"state\":\"busy\"}"));
    assert!(!names_a_problem("{\"type\":\"op\",\"state\":\"done\"}"));
    assert!(!names_a_problem("{\"type\":\"summary\"}"));
    assert_eq!(
        begun_of(Path::new("/x/.xdedup-00000007-0000000a-00000001-00000000-r")),
        Some((10, 1))
    );
}

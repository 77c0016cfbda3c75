//! Reports the findings of `doctor`, for a person and as JSON lines.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde_json::Value;

use super::json::{line, put_path, put_paths, typed};
use super::{Screen, fit, number, sanitised};
use crate::doctor::{BranchFacts, Facts, Finding, Level};

/// The level as people read it. JSON and the man page have the words of [`Level::as_str`].
fn word(level: Level) -> &'static str {
    match level {
        Level::Prevents => "error",
        Level::Surprises => "warning",
        Level::Note => "note",
    }
}

/// The branches whose files can be made to share blocks.
fn sharing(facts: &Facts) -> impl Iterator<Item = &PathBuf> {
    let reflinks = |branch: &&BranchFacts| branch.disk.as_ref().is_ok_and(|disk| disk.reflinks);
    facts.branches.iter().filter(reflinks).map(|branch| &branch.path)
}

fn count(findings: &[Finding], level: Level) -> usize {
    let of_level = findings.iter().filter(|found| found.topic.level() == level);
    of_level.count()
}

/// Writes the findings for a person, in lines that fit `screen`. Without `-v` a note has no advice.
///
/// # Errors
/// When `out` fails.
pub fn text(
    out: &mut dyn Write,
    facts: &Facts,
    findings: &[Finding],
    (verbose, quiet): (bool, bool),
    screen: Screen,
) -> io::Result<()> {
    let mut text = Vec::new();
    lines(&mut text, facts, findings, (verbose, quiet))?;
    out.write_all(&fit::words(&text, screen, 2))
}

fn lines(
    out: &mut dyn Write,
    facts: &Facts,
    findings: &[Finding],
    (verbose, quiet): (bool, bool),
) -> io::Result<()> {
    let shown = |path: &PathBuf| fit::whole(&sanitised(path.as_os_str().as_bytes()));
    let mount = shown(&facts.pool.mount);
    if !quiet {
        writeln!(
            out,
            "pool {mount}: mergerfs {}, {}, Linux {} (looked at; nothing was changed)",
            sanitised(facts.pool.option("version").as_bytes()),
            number(facts.branches.len(), "branch"),
            sanitised(facts.host.kernel.as_bytes()),
        )?;
        let disks: Vec<_> = sharing(facts).map(shown).collect();
        match disks.is_empty() {
            true => writeln!(out, "files can share blocks (--link reflink) on no disk")?,
            false => {
                writeln!(out, "files can share blocks (--link reflink) on {}", disks.join(", "))?
            }
        }
    }
    for found in findings {
        let level = found.topic.level();
        if quiet && level != Level::Prevents {
            continue;
        }
        let at = found.at.as_ref().map_or(String::new(), |path| format!(" {}:", shown(path)));
        let (topic, what) = (found.topic, sanitised(found.what.as_bytes()));
        writeln!(out, "{}: {}:{at} {what}", word(level), topic.as_str())?;
        if level != Level::Note || verbose {
            writeln!(out, "    {}", topic.advice())?;
        }
    }
    if !quiet {
        let counts = [Level::Prevents, Level::Surprises, Level::Note]
            .map(|level| (count(findings, level), word(level)));
        let found = counts.iter().filter(|(count, _)| *count > 0);
        let found: Vec<String> = found.map(|(count, word)| number(*count, word)).collect();
        match found.is_empty() {
            true => writeln!(out, "No problems found.")?,
            false => writeln!(out, "{}", found.join(", "))?,
        }
    }
    Ok(())
}

/// Writes one object per finding, then one object for the pool. Paths are written as in [`super::json`].
///
/// # Errors
/// When `out` fails.
pub fn json(out: &mut dyn Write, facts: &Facts, findings: &[Finding]) -> io::Result<()> {
    for found in findings {
        let mut object = typed("finding");
        put_path(&mut object, "pool", &facts.pool.mount);
        object.insert("level".into(), found.topic.level().as_str().into());
        object.insert("topic".into(), found.topic.as_str().into());
        match &found.at {
            Some(path) => put_path(&mut object, "at", path),
            None => drop(object.insert("at".into(), Value::Null)),
        }
        object.insert("what".into(), found.what.as_str().into());
        object.insert("advice".into(), found.topic.advice().into());
        line(out, object)?;
    }
    let mut object = typed("pool");
    put_path(&mut object, "pool", &facts.pool.mount);
    object.insert("version".into(), facts.pool.option("version").into());
    object.insert("kernel".into(), facts.host.kernel.as_str().into());
    let branches = facts.branches.iter().map(|branch| branch.path.clone());
    put_paths(&mut object, "branches", branches.collect());
    put_paths(&mut object, "reflinks", sharing(facts).cloned().collect());
    put_path(&mut object, "journal", &facts.journal.dir);
    for (key, level) in
        [("prevents", Level::Prevents), ("surprises", Level::Surprises), ("notes", Level::Note)]
    {
        object.insert(key.into(), count(findings, level).into());
    }
    line(out, object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Host, JournalPlace, Surroundings, Topic};
    use crate::pool::mergerfs::Description;

    fn facts() -> Facts {
        Facts {
            pool: Description {
                mount: "/po\nol".into(),
                branches: Ok(Vec::new()),
                options: [("version", "2.40.2".to_owned())].into(),
            },
            branches: Vec::new(),
            elsewhere: None,
            symlinks: Vec::new(),
            host: Host::default(),
            journal: JournalPlace::default(),
            around: Surroundings::default(),
        }
    }

    fn findings() -> Vec<Finding> {
        let found = |topic, at: Option<&str>| Finding {
            topic,
            at: at.map(Into::into),
            what: "so".to_owned(),
        };
        vec![
            found(Topic::BranchMissing, Some("/mnt/\x1b[2J")),
            found(Topic::NotRoot, None),
            found(Topic::LinkCow, None),
        ]
    }

    fn lines(write: impl Fn(&mut Vec<u8>) -> io::Result<()>) -> Vec<String> {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_person_reads_each_finding_with_what_to_do() {
        let lines =
            lines(|out| text(out, &facts(), &findings(), (false, false), Screen::default()));
        assert!(lines[0].starts_with("pool /po\\nol: mergerfs 2.40.2"));
        assert_eq!(lines[1], "files can share blocks (--link reflink) on no disk");
        assert_eq!(lines[2], "error: branch-missing: /mnt/\\u{1b}[2J: so");
        assert_eq!(lines[3], format!("    {}", Topic::BranchMissing.advice()));
        assert_eq!(lines[6], "note: link-cow: so");
        assert_eq!(lines[7], "1 error, 1 warning, 1 note");
    }

    #[test]
    fn lines_fit_a_terminal_and_paths_stay_whole() {
        let mut findings = findings();
        findings[0].at = Some("/mnt/a disk with a long name/and a directory of it".into());
        findings[0].what = "\"/another path/with blanks\" is no directory".to_owned();
        let screen = Screen { colour: false, width: Some(40) };
        let lines = lines(|out| text(out, &facts(), &findings, (true, false), screen));
        let at = "  /mnt/a disk with a long name/and a directory of it:";
        assert!(lines.iter().any(|line| line == at), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("\"/another path/with blanks\"")));
        let narrow = |line: &&String| line.chars().count() <= 40;
        assert_eq!(lines.iter().filter(|line| !narrow(line)).collect::<Vec<_>>(), [at]);
        let advice = lines.iter().filter(|line| line.starts_with("      ")).count();
        assert!(advice > 5, "{lines:?}");
    }

    #[test]
    fn quiet_says_only_what_prevents_and_verbose_explains_notes() {
        let quiet = lines(|out| text(out, &facts(), &findings(), (false, true), Screen::default()));
        assert_eq!(quiet.len(), 2);
        let verbose =
            lines(|out| text(out, &facts(), &findings(), (true, false), Screen::default()));
        assert!(verbose.contains(&format!("    {}", Topic::LinkCow.advice())));
    }

    #[test]
    fn json_has_one_object_a_finding_and_one_a_pool() {
        let lines = lines(|out| json(out, &facts(), &findings()));
        let parsed: Vec<serde_json::Value> =
            lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(parsed[0]["topic"], "branch-missing");
        assert_eq!(parsed[0]["pool"], "/po\nol");
        assert_eq!(parsed[3]["type"], "pool");
        assert_eq!(parsed[3]["surprises"], 1);
        assert!(parsed[0].get("at_b64").is_none());
        let at = |path: &[u8]| Some(crate::pool::mergerfs::path_of(path));
        let mut odd = findings();
        odd[0].at = at(b"/mnt/\xff");
        let mut out = Vec::new();
        json(&mut out, &facts(), &odd[..1]).unwrap();
        let first = out.split(|byte| *byte == b'\n').next().unwrap();
        let first: serde_json::Value = serde_json::from_slice(first).unwrap();
        assert_eq!(first["at_b64"], "L21udC//");
    }
}

//! The guides are true: the commands of the first hour, and the mail.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::groups;
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{BINARY, Run, Tool};
use crate::harness::{snapshot, tree};

const FIRST_HOUR: &str = include_str!("../contrib/guides/first-hour.md");

/// The commands of a guide, but those that need a system of their own (`sh system`).
fn commands(guide: &str) -> String {
    let mut text = String::new();
    let mut on = false;
    for line in guide.lines() {
        match line.strip_prefix("```") {
            Some(kind) => on = kind == "sh",
            None if on => text.push_str(&format!("{line}\n")),
            None => {}
        }
    }
    text
}

/// Runs `text` with the paths of the guides standing for those of `pool`, and a journal of its own.
fn run_there(text: &str, pool: &Pool, tool: &Tool) -> Output {
    let disks: Vec<String> = pool.branches().iter().map(|b| b.display().to_string()).collect();
    let text = text
        .replace("sudo ", "")
        .replace("/mnt/disk*", &disks.join(" "))
        .replace("/pool", &pool.root().display().to_string());
    let bin = tool.dir().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let wrapper = bin.join("mergerfs.xdedup");
    let line = format!("#!/bin/sh\nexec {BINARY} --journal {} \"$@\"\n", tool.journal().display());
    std::fs::write(&wrapper, line).unwrap();
    tree::set_mode(&wrapper, 0o755);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    Command::new("bash")
        .args(["-ec", &text])
        .env("PATH", path)
        .env("XDG_CACHE_HOME", tool.dir().join("cache"))
        .current_dir(tool.dir())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn the_first_hour_goes_as_the_guide_says() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).option("category.create=mfs").mount();
    for (n, media, downloads) in [(1, 0, 1), (2, 0, 2), (3, 1, 2)] {
        for (disk, name) in [
            (media, format!("media/film{n}.mkv")),
            (downloads, format!("downloads/film{n}.2160p.mkv")),
        ] {
            tree::write(&pool.on(disk, name), &tree::bytes(n, 300_000));
        }
    }
    tree::settle();
    let before = snapshot::view(pool.root());
    let tool = Tool::new();
    let text = commands(FIRST_HOUR);
    let (forward, back) = text.split_at(text.find("sudo mergerfs.xdedup verify").unwrap());
    let done = run_there(forward, &pool, &tool);
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{done:?}");
    let notes = match pool.version().as_str() {
        version if version.starts_with("2.33.") => "1 note\n",
        // That the version is not known.
        "unknown" => "2 notes\n",
        // That a reader keeps new opens of a path on its file, and what happens on a full disk.
        _ => "3 notes\n",
    };
    for line in
        [notes, "3 files can be linked", "state=\"moved\"", "3 files linked, ", "nothing is open"]
    {
        assert!(said.contains(line), "{line}: {said}");
    }
    for n in 1..=3 {
        let names = [format!("media/film{n}.mkv"), format!("downloads/film{n}.2160p.mkv")];
        groups::assert_linked(&pool, &[names.map(Into::into).to_vec()]);
    }
    let undone = run_there(back, &pool, &tool);
    assert!(undone.status.success(), "{undone:?}");
    for (disk, name) in [(1, "film1"), (2, "film2"), (2, "film3")] {
        let copy = pool.on(disk, format!("downloads/{name}.2160p.mkv"));
        assert!(copy.is_file(), "not taken back: {}", copy.display());
    }
    snapshot::assert_same(&before, &snapshot::view(pool.root()));
}

/// What `contrib/mergerfs-xdedup-mail` makes of this.
fn mail(text: &[u8]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/mergerfs-xdedup-mail");
    let mut child = Command::new(script)
        .arg("me@example.org")
        .env("SENDMAIL", "cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn subject(mail: &str) -> &str {
    let line = mail.lines().find_map(|line| line.strip_prefix("Subject: mergerfs.xdedup on "));
    line.unwrap().split_once(": ").unwrap().1
}

fn assert_plain(text: &str) {
    let odd = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(odd, None, "{text:?}");
}

#[test]
fn what_a_timer_prints_is_plain_and_makes_a_short_mail() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    groups::pairs(&pool, 0, 1, 12);
    tree::settle();
    let tool = Tool::new();
    let run = |extra: &[&str]| -> Run {
        let root = pool.root().display().to_string();
        let mut line = vec!["--no-cache", "--any-master", &root, "-e"];
        line.extend(extra);
        tool.run(&line)
    };
    let open = std::fs::OpenOptions::new().write(true).open(pool.path("downloads/7.bin")).unwrap();
    let first = run(&[]).expect(1);
    assert!(first.stderr.is_empty(), "{first}");
    assert_plain(&first.stdout);
    assert!(first.stdout.lines().count() < 25, "{first}");
    let made = mail(first.stdout.as_bytes());
    assert_eq!(subject(&made), "132.0 KiB freed, 11 files linked, 1 not linked", "{made}");
    assert_plain(&made);
    // A name is never broken in two.
    let long = made.lines().find(|line| line.len() > 78 && line.contains(' '));
    assert_eq!(long, None, "{made}");
    drop(open);
    let rest = run(&["-q"]).expect(0);
    assert_eq!((rest.stdout.as_str(), rest.stderr.as_str()), ("", ""));
    assert_eq!(mail(b""), "", "nothing to tell, no mail");
}

#[test]
fn a_mail_has_the_error_for_a_subject_and_no_name_can_forge_a_header() {
    let tool = Tool::new();
    let failed = tool.run(&["-e", "/proc/self"]).expect(3);
    let made = mail(failed.stderr.as_bytes());
    assert!(subject(&made).starts_with("error: "), "{made}");
    let forged = mail(b"error: a\rBcc: you@example.org\x1b[1m \xc3\xa9\nreclaimed\n");
    let (head, _) = forged.split_once("\n\n").unwrap();
    assert_eq!(head.lines().count(), 5, "{head}");
    assert_plain(&forged);
}

/// The picture of the README: a dry run, a run and its undo, as they are printed now.
///
/// After a change: `XDEDUP_UPDATE=1 integration/run guides::the_picture`.
#[test]
fn the_picture_shows_what_is_printed() {
    let pool = PoolPlan::of(&[Ext4, Ext4, Ext4]).option("category.create=mfs").mount();
    let films = [("Coco (2017)", 0, 2, 24), ("Heat (1995)", 1, 0, 16), ("Paprika (2006)", 0, 1, 9)];
    for (n, (film, media, torrents, size)) in (1..).zip(films) {
        let bytes = tree::bytes(n, size << 20);
        tree::write(&pool.on(media, format!("media/films/{film}/{film}.mkv")), &bytes);
        tree::write(&pool.on(torrents, format!("torrents/{film}.mkv")), &bytes);
    }
    tree::settle();
    let tool = Tool::new();
    let root = pool.root().display().to_string();
    let scan = format!("--min-size 1M -p {root}/media {root}/media {root}/torrents");
    let mut lines = Vec::new();
    for line in [scan.clone(), format!("{scan} -e"), "undo -e".to_owned()] {
        let words: Vec<&str> = line.split(' ').collect();
        let said = tool.run(&words).expect(0).stdout;
        // The usual journal needs no option.
        let said = said.replace(&format!("--journal '{}' ", tool.journal().display()), "");
        lines.push(format!("$ mergerfs.xdedup {line}").replace(&root, "/pool"));
        // The figures of the disks depend on the kernel.
        let table = |line: &&str| {
            !line.starts_with("disk ") && !line.starts_with('/') && !line.contains("other disk")
        };
        lines.extend(said.lines().filter(table).skip_while(|line| line.is_empty()).map(steady));
        lines.push(String::new());
    }
    lines.dedup();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/guides/first-run.svg");
    let picture = svg(&lines);
    if std::env::var_os("XDEDUP_UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(&path, &picture).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == picture, "XDEDUP_UPDATE=1 integration/run guides::the_picture\n{picture}");
}

/// A line without the time that it took.
fn steady(line: &str) -> String {
    let Some((before, rest)) = line.split_once(" in ") else {
        return line.to_owned();
    };
    match rest.split_once(" s.") {
        Some((_, after)) => format!("{before} in 0.3 s.{after}"),
        None => line.to_owned(),
    }
}

/// A terminal with these lines.
fn svg(lines: &[String]) -> String {
    use std::fmt::Write as _;
    let widest = lines.iter().map(|line| line.chars().count()).max().unwrap();
    let (width, height) = (widest * 17 / 2 + 32, lines.len() * 19 + 26);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"ui-monospace, \
         Menlo, Consolas, monospace\" font-size=\"14\" fill=\"#d8dee9\">\n<title>A dry run, the run, and its undo</title>\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#1f2430\"/>\n"
    );
    for (n, line) in (1..).zip(lines) {
        let text = line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let style = match () {
            () if line.starts_with('$') => " fill=\"#ffffff\" font-weight=\"bold\"",
            () if line.starts_with("link ") => " fill=\"#a3be8c\"",
            () => "",
        };
        let y = n * 19 + 12;
        if !line.is_empty() {
            writeln!(svg, "<text x=\"16\" y=\"{y}\" xml:space=\"preserve\"{style}>{text}</text>")
                .unwrap();
        }
    }
    svg.push_str("</svg>\n");
    svg
}

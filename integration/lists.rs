//! Lists that are damaged, endless, hostile or very long: a clear error, exit 2, nothing changed; or bounded memory.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::groups;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{Run, Tool};
use crate::harness::{snapshot, tree};

/// A list of every form, as the programs write them.
const LISTS: [(&str, &[u8]); 6] = [
    ("jdupes -j", include_bytes!("../src/find/list/fixtures/jdupes-1.21.3.json")),
    ("jdupes -0", include_bytes!("../src/find/list/fixtures/jdupes-1.21.3.null")),
    ("fclones json", include_bytes!("../src/find/list/fixtures/fclones.json")),
    ("fclones", include_bytes!("../src/find/list/fixtures/fclones.txt")),
    ("rmlint", include_bytes!("../src/find/list/fixtures/rmlint-2.9.0.json")),
    ("rdfind", include_bytes!("../src/find/list/fixtures/rdfind-1.5.0.txt")),
];

fn execute(tool: &Tool, pool: &Pool, list: &Path, extra: &[&str]) -> Run {
    let (list, root) = (list.to_str().unwrap(), pool.root().to_str().unwrap());
    tool.run(&[&["-e", "--format", "json", "-m", list, root], extra].concat())
}

#[test]
fn what_is_no_sound_list_ends_with_2_and_changes_nothing() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 2);
    let tool = Tool::new();
    // A sound list is in front of what is wrong: nothing of it may be done.
    let sound = std::fs::read(groups::list(&tool, &pool, &made)).unwrap();
    let sound = sound.strip_suffix(b"}").unwrap();
    let mut lists: Vec<(String, Vec<u8>)> = Vec::new();
    for (form, list) in LISTS {
        lists.push((format!("{form}, cut off"), list[..list.len() * 2 / 3].to_vec()));
        lists.push((format!("{form}, and another"), [list, LISTS[0].1].concat()));
    }
    let deep = [b"{\"jdupesVersion\":".to_vec(), vec![b'['; 1 << 20]].concat();
    let long = [b"/a\n/b\n\n/".to_vec(), vec![b'x'; 8 << 20], b"\n\n".to_vec()].concat();
    lists.extend([
        ("compressed".to_owned(), [b"\x1f\x8b".as_slice(), sound].concat()),
        ("blank".to_owned(), b"\n\n\n".to_vec()),
        ("not ended".to_owned(), sound.to_vec()),
        ("with a tail".to_owned(), [sound, b"}\0"].concat()),
        ("deep".to_owned(), deep),
        ("a line of 8 MB".to_owned(), long),
        ("a program".to_owned(), std::fs::read("/bin/true").unwrap()),
    ]);
    let before = snapshot::all_entries(&pool);
    for (what, list) in lists {
        std::fs::write(tool.list(), list).unwrap();
        let run = execute(&tool, &pool, &tool.list(), &[]);
        assert_eq!(run.code(), Some(2), "{what}: {run}");
        assert!(run.stderr.starts_with("error: "), "{what}: {run}");
        assert_eq!(snapshot::all_entries(&pool), before, "{what}: {run}");
    }
    for path in ["/dev/zero", "/proc/self/mem", "/", "/no/such/list"] {
        execute(&tool, &pool, Path::new(path), &[]).expect(2);
    }
    assert_eq!(snapshot::all_entries(&pool), before);
}

#[test]
fn an_endless_list_is_an_error() {
    let pool = PoolPlan::of(&[Ext4]).mount();
    let tool = Tool::new();
    let root = pool.root().to_str().unwrap();
    for endless in ["tr '\\0' x < /dev/zero", "tr '\\0' '[' < /dev/zero", "yes /a | tr -d '\\n'"] {
        let script = format!("{endless} | \"$@\"");
        let wrapper = ["sh", "-c", &script, "sh"];
        let run = tool.run_under(&wrapper, &["-m", "-", root]);
        assert_eq!(run.code(), Some(2), "{endless}: {run}");
    }
}

/// The most memory a run took, in KiB.
pub(crate) fn peak_memory<A: AsRef<OsStr>>(tool: &Tool, arguments: &[A]) -> (Run, u64) {
    const MEASURE: &str = "\
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)";
    let file = tool.dir().join("peak");
    let run = tool.run_under(&["python3", "-c", MEASURE, file.to_str().unwrap()], arguments);
    let peak = std::fs::read_to_string(file).unwrap();
    (run, peak.parse().unwrap())
}

/// Writes `count` groups of two paths that do not exist, and one that does.
fn write_long(list: &Path, pool: &Pool, count: usize, real: &[PathBuf]) {
    let mut out = std::io::BufWriter::new(std::fs::File::create(list).unwrap());
    let root = pool.root().display();
    for n in 0..count {
        for copy in ["films", "downloads/finished"] {
            write!(out, "{root}/{copy}/a file of an ordinary length {n}.mkv\0").unwrap();
        }
        out.write_all(b"\0").unwrap();
    }
    for path in real {
        write!(out, "{root}/{}\0", path.display()).unwrap();
    }
    out.write_all(b"\0").unwrap();
}

#[test]
fn a_long_list_takes_little_memory_and_names_all_that_it_could_not_use() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 1);
    for dir in ["films", "downloads/finished"] {
        tree::make_dir(&pool.on(0, dir), 0o755, (0, 0));
    }
    let tool = Tool::new();
    let full = std::env::var_os("XDEDUP_FULL").is_some();
    let count = if full { 500_000 } else { 50_000 };
    write_long(&tool.list(), &pool, count, &made[0]);
    let list = tool.list();
    let arguments = ["--format", "json", "-m", list.to_str().unwrap()];
    let (run, peak) = peak_memory(&tool, &arguments);
    println!("{} paths: {} MiB", 2 * count, peak >> 10);
    let summary = run.expect(1).summary();
    assert_eq!(summary.get("planned"), 1);
    assert_eq!(summary.get("refused"), 2 * count as u64);
    // Less than half a kilobyte a path, and what any run takes.
    assert!(peak < 40_000 + count as u64, "{peak} KiB for {count} groups");
}

/// A program that finds nothing writes nothing.
#[test]
fn a_list_without_duplicates_is_nothing_to_do() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let tool = Tool::new();
    tree::write(&pool.on(0, "media/a"), b"a");
    let (media, list) = (pool.path("media"), tool.list());
    let rmlint = LISTS[4].1;
    let header = &rmlint[..=rmlint.iter().position(|byte| *byte == b'}').unwrap()];
    let footer = b",\n{\"aborted\":false,\"progress\":100}]";
    for (form, bytes) in [("empty", Vec::new()), ("rmlint", [header, footer].concat())] {
        std::fs::write(&list, bytes).unwrap();
        let line = ["-e", "-m", list.to_str().unwrap()];
        let named = [&line[..], &["-p", media.to_str().unwrap()]].concat();
        for line in [&line[..], &named] {
            let run = tool.run(line).expect(0);
            assert_eq!(run.stderr, "", "{form}: {run}");
            let json = tool.run(&[&["--format", "json"], line].concat()).expect(0);
            assert_eq!(json.summary().get("planned"), 0, "{form}: {json}");
        }
        let run = tool.run(&line);
        assert!(run.stdout.starts_with("nothing to do"), "{form}: {run}");
    }
}

/// rmlint's list of two equal directories names no file of them.
#[test]
fn what_a_list_says_nothing_about_is_named() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let tool = Tool::new();
    for (branch, dir) in [(0, "one"), (1, "two")] {
        for (seed, name) in [(1, "a"), (2, "b")] {
            let path = pool.on(branch, format!("{dir}/{name}"));
            tree::write(&path, &tree::bytes(seed, groups::SMALL));
        }
    }
    tree::settle();
    let list = tool.list();
    let out = format!("json:{}", list.display());
    crate::harness::command::run(
        "rmlint",
        &["-D".as_ref(), "-o".as_ref(), OsStr::new(&out), pool.root().as_os_str()],
    );
    assert!(std::fs::read_to_string(&list).unwrap().contains("duplicate_dir"));
    let line = ["-m", list.to_str().unwrap()];
    let text = tool.run(&line).expect(1);
    for dir in ["one", "two"] {
        assert!(text.stderr.contains(pool.path(dir).to_str().unwrap()), "{text}");
    }
    let root = pool.root().to_str().unwrap();
    let json = ["--format", "json", "-m", list.to_str().unwrap()];
    for line in [&json[..], &[&json[..], &[root]].concat()] {
        let run = tool.run(line).expect(1);
        for dir in ["one", "two"] {
            assert_eq!(run.reasons_for(&pool.path(dir)), ["not-read"], "{run}");
        }
    }
    // Files without checksum: names of one file are no loss, others are named.
    std::fs::hard_link(pool.on(0, "one/a"), pool.on(0, "one/link")).unwrap();
    let item = |path: &str, original: bool| {
        let path = pool.path(path);
        format!(
            "{{\"type\":\"duplicate_file\",\"path\":{path:?},\"size\":9001,\"is_original\":{original}}}"
        )
    };
    let write = |items: &[String]| {
        let body = items.join(",\n");
        let text = format!(
            "[{{\"description\":\"rmlint json-dump of lint files\"}},\n{body},\n{{\"aborted\":false}}]"
        );
        std::fs::write(&list, text).unwrap();
    };
    let linked = [item("one/a", true), item("one/link", false)];
    write(&linked);
    let run = tool.run(&[&json[..], &[root]].concat()).expect(0);
    assert_eq!(run.summary().get("already_linked"), 1, "{run}");
    write(&[&linked[..], &[item("one/b", true), item("two/b", false)]].concat());
    let run = tool.run(&[&json[..], &[root]].concat()).expect(1);
    for path in ["one/b", "two/b"] {
        assert_eq!(run.reasons_for(&pool.path(path)), ["not-read"], "{run}");
    }
    assert_eq!(run.summary().get("refused"), 2, "{run}");
}

/// Made in a container, where the pool is at another place.
#[test]
fn a_list_of_another_place_is_said_once_and_can_be_mapped() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 3);
    tree::settle();
    let tool = Tool::new();
    let mut bytes = Vec::new();
    for group in &made {
        for path in group {
            bytes.extend([b"/data/", path.to_str().unwrap().as_bytes(), b"\0"].concat());
        }
        bytes.push(0);
    }
    std::fs::write(tool.list(), bytes).unwrap();
    let run = execute(&tool, &pool, &tool.list(), &[]).expect(1);
    let refusals = run.lines_of("refusal");
    assert_eq!(refusals.len(), 1, "{run}");
    let detail = refusals[0]["detail"].as_str().unwrap();
    assert!(detail.contains("all 6 paths") && detail.contains("--map"), "{run}");
    let list = tool.list();
    let lost = tool.run(&["-m", list.to_str().unwrap()]).expect(3);
    assert!(lost.stderr.contains("--map FROM=TO"), "{lost}");
    let other = "--map=/datas=/nowhere".to_owned();
    let map = format!("--map=/data={}", pool.root().display());
    let line = ["-e", "--format", "json", "-m", list.to_str().unwrap(), &other, &map];
    let run = tool.run(&line).expect(0);
    assert_eq!(run.summary().get("done"), 3, "{run}");
    groups::assert_linked(&pool, &made);
    for wrong in ["/data", "=/pool", "data=/pool"] {
        tool.run(&["-m", list.to_str().unwrap(), "--map", wrong]).expect(2);
    }
}

#[test]
fn the_forms_are_listed_where_one_is_mistyped() {
    let tool = Tool::new();
    let run = tool.run(&["-m", "list", "--manifest-format", "jdups", "/pool"]).expect(2);
    let help = tool.run(&["--help"]).expect(0);
    for form in ["jdupes", "fclones", "rmlint", "czkawka", "fdupes", "rdfind", "jdupes-null"] {
        assert!(run.stderr.contains(form), "{run}");
        assert!(help.stdout.contains(form), "{help}");
    }
}

/// A directory of the pool under another path.
#[test]
fn a_bind_mount_of_a_part_of_the_pool_will_do() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 3);
    tree::write(&pool.on(0, "media/x"), &tree::bytes(77, groups::SMALL));
    tree::write(&pool.on(1, "media/y"), &tree::bytes(77, groups::SMALL));
    tree::settle();
    let tool = Tool::new();
    let shared = tool.dir().join("shared");
    std::fs::create_dir(&shared).unwrap();
    crate::harness::command::run(
        "mount",
        &["--bind".as_ref(), pool.path("media").as_os_str(), shared.as_os_str()],
    );
    let bound = Bound(shared.clone());
    let shared = shared.to_str().unwrap();
    // As the directory to scan.
    let run = tool.run(&["--format", "json", shared]).expect(0);
    assert_eq!(run.summary().get("planned"), 1, "{run}");
    // As a primary.
    let root = pool.root().to_str().unwrap();
    let line = ["--format", "json", "-p", shared, root];
    let run = tool.run(&line).expect(0);
    assert_eq!(run.summary().get("planned"), 4, "{run}");
    let masters =
        run.lines_of("op").into_iter().map(|op| op["master"].as_str().unwrap().to_owned());
    let media = pool.path("media");
    assert!(masters.into_iter().all(|path| Path::new(&path).starts_with(&media)), "{run}");
    // In a list, which finds the pool by it.
    std::fs::write(tool.list(), format!("{shared}/x\0{shared}/y\0\0")).unwrap();
    let list = tool.list();
    let run = tool.run(&["-e", "--format", "json", "-m", list.to_str().unwrap()]).expect(0);
    assert_eq!(run.summary().get("done"), 1, "{run}");
    drop(bound);
    groups::assert_linked(&pool, &[vec!["media/x".into(), "media/y".into()]]);
    drop(made);
}

/// Unmounts.
struct Bound(PathBuf);

impl Drop for Bound {
    fn drop(&mut self) {
        drop(crate::harness::command::try_run("umount", &[&self.0]));
    }
}

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
        ("empty".to_owned(), Vec::new()),
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

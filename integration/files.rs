//! Files with a history: immutable, append-only, setuid, sparse; and names of any bytes and any length through every
//! output.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::groups;
use crate::harness::command::run;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::Tool;
use crate::harness::{snapshot, tree};

fn chattr(flag: &str, path: &Path) {
    run("chattr", &[flag.as_ref(), path.as_os_str()]);
}

#[test]
fn immutable_and_append_only_files_are_left_alone_and_setuid_and_holes_are_kept() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 5);
    chattr("+i", &pool.on(1, &made[0][1]));
    chattr("+a", &pool.on(1, &made[1][1]));
    chattr("+i", &pool.on(0, &made[2][0]));
    for (disk, path) in made[3].iter().enumerate() {
        tree::set_owner(&pool.on(disk, path), (1000, 1000));
        tree::set_mode(&pool.on(disk, path), 0o6755);
    }
    // The master has holes where the duplicate has zeros.
    let size = 4 << 20;
    let mut zeros = vec![0; size];
    zeros[..5].copy_from_slice(b"begin");
    tree::write(&pool.on(1, &made[4][1]), &zeros);
    let sparse = File::create(pool.on(0, &made[4][0])).unwrap();
    sparse.set_len(size as u64).unwrap();
    sparse.write_all_at(b"begin", 0).unwrap();
    drop(sparse);
    tree::age_path(&pool.on(0, &made[4][0]), tree::AGE);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let view = snapshot::view(pool.root());
    let primary = pool.path("media");
    let run = tool.execute(&list, &["-p".as_ref(), primary.as_os_str()]).expect(0);
    for group in &made[..3] {
        assert_eq!(run.reasons_for(&pool.path(&group[1])), ["immutable"], "{run}");
    }
    groups::assert_linked(&pool, &made[3..]);
    let setuid = std::fs::metadata(pool.on(0, &made[3][1])).unwrap();
    assert_eq!((setuid.mode() & 0o7777, setuid.uid()), (0o6755, 1000));
    let holes = std::fs::metadata(pool.on(0, &made[4][1])).unwrap();
    assert!(holes.blocks() * 512 < 1 << 20, "{} blocks", holes.blocks());
    for group in &made[..3] {
        for (disk, path) in group.iter().enumerate() {
            chattr("-ia", &pool.on(disk, path));
        }
    }
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    tool.execute(&list, &["-p".as_ref(), primary.as_os_str()]).expect(0);
    groups::assert_linked(&pool, &made);
}

/// Names that a shell, a terminal, a spreadsheet, JSON or UTF-8 would not take.
fn odd_names() -> Vec<OsString> {
    let names: [&[u8]; 8] = [
        b"new\nline",
        b"-rf *",
        b"quote'\"\\,;$(x)",
        b"\x1b[2J\x07\x7f",
        b"not utf-8 \xff\xe9\x80",
        b" leading and trailing ",
        "\u{202e}gpj.exe \u{1f4a9}".as_bytes(),
        &[b'n'; 255],
    ];
    names.iter().map(|name| OsString::from_vec(name.to_vec())).collect()
}

/// A list that can hold any name.
fn write_nul(tool: &Tool, pool: &Pool, groups: &[groups::Group]) -> PathBuf {
    let mut list = File::create(tool.list()).unwrap();
    for group in groups {
        for path in group {
            list.write_all(pool.path(path).as_os_str().as_bytes()).unwrap();
            list.write_all(b"\0").unwrap();
        }
        list.write_all(b"\0").unwrap();
    }
    tool.list()
}

#[test]
fn names_of_any_bytes_come_through_every_output() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let tool = Tool::new();
    let mut made = Vec::new();
    for (n, name) in odd_names().into_iter().enumerate() {
        let (master, duplicate) = (Path::new("media").join(&name), Path::new("odd").join(&name));
        for (disk, path) in [&master, &duplicate].into_iter().enumerate() {
            tree::write(&pool.on(disk, path), &tree::bytes(n as u64, groups::SMALL));
        }
        made.push(vec![master, duplicate]);
    }
    tree::settle();
    let list = write_nul(&tool, &pool, &made);
    let list = list.to_str().unwrap();
    let view = snapshot::view(pool.root());
    let script = tool.run(&["--format", "script", "-m", list]).expect(0);
    assert!(script.stdout.contains("rm -f"), "{script}");
    let log = tool.dir().join("log.csv");
    let run =
        tool.run(&["-e", "--format", "json", "--log-file", log.to_str().unwrap(), "-m", list]);
    let run = run.expect(0);
    snapshot::assert_same(&view, &snapshot::view(pool.root()));
    groups::assert_linked(&pool, &made);
    // JSON gives each name, exactly where it is no UTF-8.
    let mut told: Vec<Vec<u8>> = Vec::new();
    for op in run.lines_of("op") {
        let exact = op["names_b64"].get(0).and_then(|name| name.as_str());
        told.push(match exact {
            Some(exact) => STANDARD.decode(exact).unwrap(),
            None => op["names"][0].as_str().unwrap().as_bytes().to_vec(),
        });
    }
    told.sort();
    let mut expected: Vec<_> =
        made.iter().map(|group| pool.path(&group[1]).into_os_string().into_vec()).collect();
    expected.sort();
    assert_eq!(told, expected, "{run}");
    // The log too, by quoting; what is not text as it is.
    let log = std::fs::read(log).unwrap();
    for path in &expected {
        let quoted = [b"\"".as_slice(), &path.escape_csv(), b"\""].concat();
        let found = contains(&log, path) || contains(&log, &quoted);
        assert!(found, "{:?} is not in the log", OsString::from_vec(path.clone()));
    }
    // To a person on one line each, with nothing that a terminal obeys.
    let status = tool.run(&["-e", "-v", "-m", list]).expect(0);
    assert!(!status.stdout.contains('\u{1b}'), "{status}");
}

trait EscapeCsv {
    fn escape_csv(&self) -> Vec<u8>;
}

impl EscapeCsv for Vec<u8> {
    fn escape_csv(&self) -> Vec<u8> {
        self.iter()
            .flat_map(|byte| if *byte == b'"' { vec![b'"', b'"'] } else { vec![*byte] })
            .collect()
    }
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

/// Makes `depth` directories of long names below `root`, and a file in the innermost, however long its path is.
fn dig(root: &Path, depth: usize, bytes: &[u8]) {
    const DIG: &str = "\
import os, sys
os.chdir(sys.argv[1])
for n in range(int(sys.argv[2])):
    name = 'd' * 200
    if not os.path.isdir(name): os.mkdir(name)
    os.chdir(name)
data = sys.stdin.buffer.read()
open('file', 'wb').write(data)
os.utime('file', (10**9, 10**9))";
    std::fs::create_dir_all(root).unwrap();
    let mut child = std::process::Command::new("python3")
        .args(["-c", DIG, root.to_str().unwrap(), &depth.to_string()])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn paths_near_the_longest_are_done_and_longer_ones_harm_nobody() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 2);
    let bytes = tree::bytes(0, groups::SMALL);
    // As long as a path through the pool and the branches may be, hidden names included; and twice as long.
    let room = 4095 - pool.on(0, "").as_os_str().len().max(pool.root().as_os_str().len());
    let depth = (room - "deep/".len() - ".xdedup-".len() - 40) / 201;
    dig(&pool.on(1, "deep"), depth, &bytes);
    dig(&pool.on(1, "deeper"), 2 * depth, &bytes);
    let mut deep = PathBuf::from("deep");
    (0..depth).for_each(|_| deep.push("d".repeat(200)));
    deep.push("file");
    let tool = Tool::new();
    let mut listed = made.clone();
    listed[0].push(deep.clone());
    let beyond = Path::new("deeper")
        .join(deep.strip_prefix("deep").unwrap().parent().unwrap())
        .join(deep.strip_prefix("deep").unwrap());
    listed[1].push(beyond);
    tree::settle();
    let list = write_nul(&tool, &pool, &listed);
    let primary = pool.path("media");
    let run = tool.execute(&list, &["-p".as_ref(), primary.as_os_str()]).expect(1);
    assert_eq!(run.summary().get("done"), 3, "{run}");
    assert!(
        snapshot::places(&pool, &deep) == [(0, snapshot::places(&pool, &made[0][0])[0].1)],
        "{run}"
    );
    groups::assert_linked(&pool, &made);
    // The own scan walks beneath descriptors and meets the long ones; the rest goes on.
    let scan = tool.run(&["-e", "--format", "json", pool.root().to_str().unwrap()]);
    assert!(matches!(scan.code(), Some(0 | 1)), "{scan}");
    assert!(!scan.stderr.contains("panicked"), "{scan}");
    groups::assert_linked(&pool, &made);
    let text = tool.run(&[pool.root().to_str().unwrap()]);
    assert!(matches!(text.code(), Some(0 | 1)), "{text}");
}

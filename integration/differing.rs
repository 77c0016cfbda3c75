//! Equal files that owner, mode or attributes keep apart: a scan finds them, and says what differs and what it costs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::groups::SMALL;
use crate::harness::command::run;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::preview::Preview;
use crate::harness::tool::{Run, Tool};
use crate::harness::{snapshot, tree};

/// What a file on disk uses: `SMALL` in whole blocks.
const BYTES: u64 = 12_288;

/// Equal files `media/<name>` on the first disk and `dl/<name>` on the second; returns their branch paths.
fn pair(pool: &Pool, seed: u64, name: &str) -> [PathBuf; 2] {
    let paths = [pool.on(0, Path::new("media").join(name)), pool.on(1, Path::new("dl").join(name))];
    for path in &paths {
        tree::write(path, &tree::bytes(seed, SMALL));
        tree::set_mode(path, 0o664);
        tree::set_owner(path, (1002, 1000));
    }
    paths
}

/// What a scan of the whole pool says, with media as primary.
fn scan(tool: &Tool, pool: &Pool, extra: &[&str]) -> Run {
    let (media, root) = (pool.path("media"), pool.root());
    let fixed = ["--no-cache".as_ref(), "-p".as_ref(), media.as_os_str(), root.as_os_str()];
    let line: Vec<&OsStr> = fixed.into_iter().chain(extra.iter().map(OsStr::new)).collect();
    tool.run(&line)
}

/// Reason, kept copy, detail and bytes of each refusal, by path.
fn refusals(pool: &Pool, run: &Run) -> BTreeMap<String, (String, String, String, u64)> {
    let relative = |line: &Value, key: &str| {
        let path = Path::new(line[key].as_str().unwrap());
        path.strip_prefix(pool.root()).unwrap().to_str().unwrap().to_owned()
    };
    let word = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    let lines = run.lines_of("refusal").into_iter();
    let told = lines.map(|line| {
        let bytes = line["bytes"].as_u64().unwrap();
        let of = (word(&line, "reason"), relative(&line, "master"), word(&line, "detail"), bytes);
        (relative(&line, "path"), of)
    });
    told.collect()
}

/// qBittorrent's 0644 beside Radarr's 0664, another owner, a tag, an ACL.
#[test]
fn each_is_refused_with_both_values_and_its_bytes() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let [_, mode] = pair(&pool, 1, "mode");
    tree::set_mode(&mode, 0o644);
    let [_, owner] = pair(&pool, 2, "owner");
    tree::set_owner(&owner, (1001, 1000));
    let [kept, tag] = pair(&pool, 3, "tag");
    tree::set_xattr(&tag, "user.rating", b"5");
    tree::set_xattr(&kept, "user.genre", b"x");
    let [_, acl] = pair(&pool, 4, "acl");
    tree::set_acl(&acl, "u:1234:r");
    pair(&pool, 5, "equal");
    tree::settle();
    let tool = Tool::new();
    let before = snapshot::all_entries(&pool);
    let run = scan(&tool, &pool, &["--format", "json"]).expect(0);
    let expected = [
        ("mode", "mode-differs", "0644 1002:1000; kept copy: 0664 1002:1000"),
        ("owner", "owner-differs", "0664 1001:1000; kept copy: 0664 1002:1000"),
        (
            "tag",
            "xattr-differs",
            "only here: user.rating=\"5\"; only on the kept copy: user.genre=\"x\"",
        ),
        ("acl", "acl-differs", "ACL u::rw-,u:1234:r--,g::rw-,m::rw-,o::r--; kept copy: no ACL"),
    ]
    .map(|(name, reason, detail)| {
        let of = (reason.to_owned(), format!("media/{name}"), detail.to_owned(), BYTES);
        (format!("dl/{name}"), of)
    });
    assert_eq!(refusals(&pool, &run), BTreeMap::from(expected), "{run}");
    let summary = run.summary();
    let figures = ["planned", "refused", "bytes_refused"].map(|name| summary.get(name));
    assert_eq!(figures, [1, 4, 4 * BYTES], "{run}");

    let report = tool.dir().join("report.html");
    let text = scan(&tool, &pool, &["--report", report.to_str().unwrap()]).expect(0).stdout;
    let page = std::fs::read_to_string(report).unwrap();
    for part in ["0644 1002:1000; kept copy: 0664 1002:1000", "user.rating", "chmod --reference="] {
        assert!(text.contains(part) && page.contains(part), "{part}: {text}");
    }
    assert!(text.contains("1 file of 12.0 KiB, mode-differs"), "{text}");
    let media = pool.path("media");
    let line = ["--no-cache".as_ref(), "-p".as_ref(), media.as_os_str(), pool.root().as_os_str()];
    let preview = Preview::start(&tool, &line);
    let tag = |name| preview.tag("dl/mode", name);
    assert_eq!(tag("reason").as_deref(), Some("mode-differs"));
    assert_eq!(tag("bytes"), Some(BYTES.to_string()));
    assert_eq!(tag("detail").as_deref(), Some("0644 1002:1000; kept copy: 0664 1002:1000"));
    preview.stop();
    assert_eq!(snapshot::all_entries(&pool), before);

    let run = scan(&tool, &pool, &["--format", "json", "-e"]).expect(0);
    assert_eq!((run.summary().get("done"), run.summary().get("refused")), (1, 4), "{run}");
    let ignore = ["--format", "json", "-e", "--ignore-metadata", "owner,mode,acl,xattr"];
    assert_eq!(scan(&tool, &pool, &ignore).expect(0).summary().get("done"), 4);
}

/// The owner is the reason, and all that differs is shown: one pass by hand, and the next run links.
#[test]
fn what_one_refusal_shows_is_all_there_is_to_mend() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let [kept, other] = pair(&pool, 1, "all");
    tree::set_xattr(&other, "user.rating", b"5");
    tree::set_acl(&other, "u:1234:r");
    tree::set_mode(&other, 0o640);
    tree::set_owner(&other, (0, 0));
    tree::settle();
    let tool = Tool::new();
    let text = scan(&tool, &pool, &[]).expect(0).stdout;
    for part in [
        "owner and mode 0640 0:0; kept copy: 0664 1002:1000; ACL u::rw-,u:1234:r--,g::rw-,m::r--,o::---; \
         kept copy: no ACL; only here: user.rating=\"5\"",
        "chown --reference=KEPT FILE",
        "chmod --reference=KEPT FILE",
        "setfacl --set-file",
        "setfattr",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let script = "chown --reference=\"$1\" \"$2\" && chmod --reference=\"$1\" \"$2\" && \
                  getfacl -p \"$1\" | setfacl --set-file=- \"$2\" && setfattr -x user.rating \"$2\"";
    let line = ["-c", script, "sh"].map(OsStr::new);
    run("sh", &[&line[..], &[kept.as_os_str(), other.as_os_str()]].concat());
    tree::settle();
    let run = scan(&tool, &pool, &["--format", "json", "-e"]).expect(0);
    assert_eq!((run.summary().get("done"), run.summary().get("refused")), (1, 0), "{run}");
}

/// What rmlint --xattr, shatag and Samba leave on files of a pool.
#[test]
fn stamps_keep_no_copies_apart_nor_what_a_glob_names() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let stamps = ["user.rmlint.blake2b.cksum", "user.shatag.sha256", "user.DOSATTRIB"];
    for (seed, stamp) in (0..).zip(stamps) {
        let [kept, stamped] = pair(&pool, seed, stamp);
        tree::set_xattr(&stamped, stamp, b"1");
        if seed == 0 {
            tree::set_xattr(&kept, stamp, b"2");
        }
    }
    let [_, tagged] = pair(&pool, 9, "tagged");
    tree::set_xattr(&tagged, "user.tag.colour", b"red");
    tree::settle();
    let tool = Tool::new();
    let other = ["--format", "json", "--ignore-metadata", "xattr=user.tagged.*"];
    let run = scan(&tool, &pool, &other).expect(0);
    assert_eq!(refusals(&pool, &run)["dl/tagged"].2, "only here: user.tag.colour=\"red\"", "{run}");
    assert_eq!(run.summary().get("planned"), 3, "{run}");
    let glob = ["--format", "json", "-e", "--ignore-metadata", "xattr=user.tag.*"];
    let run = scan(&tool, &pool, &glob).expect(0);
    assert_eq!((run.summary().get("done"), run.summary().get("refused")), (4, 0), "{run}");
    for name in stamps.into_iter().chain(["tagged"]) {
        snapshot::assert_one_inode(&pool, &["media", "dl"].map(|dir| Path::new(dir).join(name)));
    }
    // The kept copy's metadata stays; undo restores that of the other copy.
    assert_eq!(xattr::get(pool.path("dl").join(stamps[0]), stamps[0]).unwrap().unwrap(), b"2");
    tool.run(&["undo", "-e"]).expect(0);
    assert_eq!(xattr::get(pool.on(1, "dl/tagged"), "user.tag.colour").unwrap().unwrap(), b"red");
    assert_eq!(xattr::get(pool.on(1, "dl").join(stamps[0]), stamps[0]).unwrap().unwrap(), b"1");
}

//! The system service does its job with what it is left with.

use std::path::PathBuf;
use std::process::Command;

use crate::groups;
use crate::harness::loop_disk::Filesystem::{Btrfs, Ext4, Xfs};
use crate::harness::pool::PoolPlan;
use crate::harness::tool::{BINARY, Tool};
use crate::harness::{command, tree};

fn contrib(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("contrib").join(name)
}

/// The value of a setting of the service.
fn setting(name: &str) -> String {
    let text = std::fs::read_to_string(contrib("systemd/mergerfs-xdedup.service")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {name}")).to_owned()
}

#[test]
fn the_service_needs_no_more_than_it_is_given() {
    let pool = PoolPlan::of(&[Ext4, Xfs, Btrfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 3);
    // Owners, modes and attributes of directories that have to be made on the master's branch.
    for name in ["downloads/deep/x.bin", "media/x.bin"] {
        let disk = usize::from(name.starts_with("downloads"));
        tree::write(&pool.on(disk, name), &tree::bytes(77, groups::SMALL));
        command::run("chown", &["1234:1235".as_ref(), pool.on(disk, name).as_os_str()]);
    }
    let deep = pool.on(1, "downloads/deep");
    command::run("chown", &["1234:1235".as_ref(), deep.as_os_str()]);
    command::run("chmod", &["2770".as_ref(), deep.as_os_str()]);
    command::run("setfattr", &["-n", "trusted.mine", "-v", "1", &deep.display().to_string()]);
    tree::settle();
    let tool = Tool::new();
    let file = tool.dir().join("options");
    let text = format!(
        "dir = {}\nprimary = {}\njournal = {}\ncache = {}\n",
        pool.root().display(),
        pool.path("media").display(),
        tool.journal().display(),
        tool.dir().join("cache").display()
    );
    std::fs::write(&file, text).unwrap();
    let bounds: Vec<String> = setting("CapabilityBoundingSet")
        .split_whitespace()
        .map(|name| name.trim_start_matches("CAP_").to_lowercase())
        .collect();
    let bounds = format!("-all,+{}", bounds.join(",+"));
    let typed =
        setting("ExecStart").replace("/etc/mergerfs-xdedup.conf", &file.display().to_string());
    let output = Command::new("unshare")
        .args([
            "--mount",
            "--propagation",
            "slave",
            "--net",
            "setpriv",
            "--no-new-privs",
            "--bounding-set",
            &bounds,
        ])
        .args(["--inh-caps", "-all", "--", BINARY])
        .args(typed.split_whitespace().skip(1))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    groups::assert_linked(&pool, &made);
    groups::assert_linked(&pool, &[vec!["media/x.bin".into(), "downloads/deep/x.bin".into()]]);
    let there = pool.on(0, "downloads/deep").display().to_string();
    let stat = command::run("stat", &["-c", "%u:%g %a", &there]);
    assert_eq!(String::from_utf8_lossy(&stat.stdout), "1234:1235 2770\n");
    command::run("getfattr", &["-n", "trusted.mine", &there]);
}

#[test]
fn the_example_options_are_options() {
    let text = std::fs::read_to_string(contrib("mergerfs-xdedup.conf")).unwrap();
    let tool = Tool::new();
    let file = tool.dir().join("options");
    // All that is commented out but prose.
    let options: String = text
        .lines()
        .filter_map(|line| Some(format!("{}\n", line.strip_prefix('#')?)))
        .filter(|line| !line.starts_with(' '))
        .collect();
    assert!(options.lines().count() > 5, "{options}");
    std::fs::write(&file, options).unwrap();
    // It gets as far as looking for the pool.
    let run = tool.run(&["--config".as_ref(), file.as_os_str()]);
    assert!(
        !run.stderr.contains("no option") && !run.stderr.contains("unexpected argument"),
        "{run}"
    );
}

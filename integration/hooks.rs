//! The import hooks in `contrib/hooks`, with the variables and arguments that the programs document.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::groups::SMALL;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::{Pool, PoolPlan};
use crate::harness::tool::{BINARY, Tool};
use crate::harness::{snapshot, tree};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/hooks").join(name)
}

/// A pool, and the place of the hook: a search path with the tool, options, a queue.
struct Stage {
    pool: Pool,
    tool: Tool,
}

impl Stage {
    fn new(options: &str) -> Self {
        let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
        for (seed, name, copy) in [
            (1, "media/Films/It's \"new\" & $HOME (2017).mkv", "torrents/new film.mkv"),
            (2, "tv/A Show/e1.mkv", "torrents/s01/e1.mkv"),
            (3, "tv/A Show/e2.mkv", "torrents/s01/e2.mkv"),
        ] {
            tree::write(&pool.on(0, name), &tree::bytes(seed, SMALL));
            tree::write(&pool.on(1, copy), &tree::bytes(seed, SMALL));
        }
        tree::settle();
        let tool = Tool::new();
        let bin = tool.dir().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let wrapper = bin.join("mergerfs.xdedup");
        let line =
            format!("#!/bin/sh\nexec {BINARY} --journal {} \"$@\"\n", tool.journal().display());
        std::fs::write(&wrapper, line).unwrap();
        tree::set_mode(&wrapper, 0o755);
        let root = pool.root().display().to_string();
        let options = options.replace("/pool", &root);
        let options = format!("map = /data={root}\nno-cache\n{options}\n");
        std::fs::write(tool.dir().join("hook.conf"), options).unwrap();
        Self { pool, tool }
    }

    fn queue(&self) -> PathBuf {
        self.tool.dir().join("queue")
    }

    fn queued(&self) -> usize {
        std::fs::read_dir(self.queue()).unwrap().count()
    }

    fn run(&self, name: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        let bin = self.tool.dir().join("bin").display().to_string();
        Command::new(script(name))
            .args(arguments)
            .env_clear()
            .env("PATH", format!("{bin}:/usr/bin:/bin:/usr/sbin:/sbin"))
            .env("XDEDUP_CONFIG", self.tool.dir().join("hook.conf"))
            .env("XDEDUP_QUEUE", self.queue())
            .env("XDEDUP_WAIT", "0")
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn hook(&self, variables: &[(&str, &str)], arguments: &[&str]) -> String {
        let output = self.run("mergerfs-xdedup-hook", variables, arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

const FILM: &str = "media/Films/It's \"new\" & $HOME (2017).mkv";
const FILM_THERE: &str = "/data/media/Films/It's \"new\" & $HOME (2017).mkv";

#[test]
fn radarr_and_sonarr_have_what_they_imported_replaced() {
    let stage = Stage::new("");
    let before = snapshot::view(stage.pool.root());
    for event in ["radarr_eventtype", "sonarr_eventtype", "lidarr_eventtype"] {
        assert!(stage.hook(&[(event, "Test")], &[]).contains("ready"));
    }
    for event in ["Grab", "Rename", "HealthIssue", "MovieFileDelete"] {
        let variables = [("radarr_eventtype", event), ("radarr_moviefile_path", FILM_THERE)];
        assert_eq!(stage.hook(&variables, &[]), "");
    }
    snapshot::assert_same(&before, &snapshot::view(stage.pool.root()));

    let said = stage.hook(
        &[
            ("radarr_eventtype", "Download"),
            ("radarr_isupgrade", "False"),
            ("radarr_moviefile_path", FILM_THERE),
            ("radarr_moviefile_sourcepath", "/data/torrents/new film.mkv"),
        ],
        &[],
    );
    assert!(said.contains("1 file linked"), "{said}");
    let (disk, _) = snapshot::assert_one_inode(&stage.pool, &[FILM, "torrents/new film.mkv"]);
    assert_eq!(disk, 1, "the download, which may be open, stays");

    // A season pack: all its paths come in one variable.
    let paths = "/data/tv/A Show/e1.mkv|/data/tv/A Show/e2.mkv";
    let variables = [("sonarr_eventtype", "Download"), ("sonarr_episodefile_paths", paths)];
    assert!(stage.hook(&variables, &[]).contains("2 files linked"));
    snapshot::assert_complete(&before, &snapshot::view(stage.pool.root()));
    // Imported once more, without a copy: the log says why nothing was done.
    tree::write(&stage.pool.on(0, "tv/A Show/e3.mkv"), &tree::bytes(9, SMALL + 5));
    let path = "/data/tv/A Show/e3.mkv";
    let variables = [("sonarr_eventtype", "Download"), ("sonarr_episodefile_path", path)];
    let said = stage.hook(&variables, &[]);
    assert!(said.contains("no other scanned file has its size"), "{said}");
}

#[test]
fn with_a_primary_the_download_is_replaced() {
    let stage = Stage::new("primary = /pool/media");
    let said = stage.hook(
        &[
            ("radarr_eventtype", "Download"),
            ("radarr_moviefile_path", FILM_THERE),
            ("radarr_moviefile_sourcepath", "/data/torrents/new film.mkv"),
        ],
        &[],
    );
    assert!(said.contains("1 file linked"), "{said}");
    let (disk, _) = snapshot::assert_one_inode(&stage.pool, &[FILM, "torrents/new film.mkv"]);
    assert_eq!(disk, 0);
}

#[test]
fn qbittorrent_names_a_file_or_a_directory() {
    let stage = Stage::new("");
    assert!(stage.hook(&[], &["/data/torrents/new film.mkv"]).contains("1 file linked"));
    assert!(stage.hook(&[], &["/data/torrents/s01"]).contains("2 files linked"));
    snapshot::assert_one_inode(&stage.pool, &["tv/A Show/e2.mkv", "torrents/s01/e2.mkv"]);
    let nothing = stage.run("mergerfs-xdedup-hook", &[], &[]);
    assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
}

#[test]
fn in_a_container_the_hook_queues_and_the_host_does_the_rest() {
    let stage = Stage::new("");
    std::fs::create_dir(stage.queue()).unwrap();
    let before = snapshot::view(stage.pool.root());
    assert!(stage.hook(&[("radarr_eventtype", "Test")], &[]).contains("ready"));
    let variables = [("radarr_eventtype", "Download"), ("radarr_moviefile_path", FILM_THERE)];
    assert!(stage.hook(&variables, &[]).contains("queued"));
    stage.hook(&[], &["/data/torrents/s01"]);
    assert_eq!(stage.queued(), 2);
    snapshot::assert_same(&before, &snapshot::view(stage.pool.root()));
    // Others can write to the queue: no symlink is followed, and what is no list does not stay.
    let secret = stage.tool.dir().join("secret");
    std::fs::write(&secret, "/data/tv/secret\n").unwrap();
    std::os::unix::fs::symlink(&secret, stage.queue().join("link")).unwrap();
    std::fs::create_dir(stage.queue().join("directory")).unwrap();

    let output = stage.run("mergerfs-xdedup-queue", &[], &[]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("3 files linked") && !said.contains("secret"), "{said}");
    assert_eq!(stage.queued(), 0);
    assert!(secret.exists());
    let empty = stage.run("mergerfs-xdedup-queue", &[], &[]);
    assert!(empty.status.success() && empty.stdout.is_empty(), "{empty:?}");
}

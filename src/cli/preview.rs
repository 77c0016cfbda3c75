//! `preview`: plans as a dry run does, and shows the pool as it will be until a signal or an unmount ends it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::args::{Common, OutputFormat, PreviewArgs};
use super::directories;
use super::failure::Failure;
use super::request::request;
use super::run_watch::RunWatch;
use super::shown;
use super::signals::Signals;
use super::stdout::stdout;
use crate::execute::Halt;
use crate::fs::Look;
use crate::pool::{Pool, mergerfs};
use crate::preview::{self, Mounted, Tree, View};
use crate::report::{Scene, dry_run, json, number, sanitised, size};
use crate::run::{self, Planned, Session};

/// How often the preview checks whether it has to end.
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn run(common: &Common, args: &PreviewArgs) -> Result<u8, Failure> {
    planning_only(args)?;
    directories::check(&args.run)?;
    // Before a scan that takes hours, and once more after it.
    preview::check_mount_point(&args.mount_point)?;
    let signals = Signals::listen(None)?;
    let mut watch = RunWatch::of_preview(common, &args.run, &args.mount_point);
    let request = request(common, &args.run)?;
    let Some(mut planned) = run::plan(&request, signals.stop(), &mut watch)? else {
        return Ok(signals.exit_code().unwrap_or(1));
    };
    for unfinished in &planned.unfinished {
        tracing::warn!("{}", dry_run::interrupted(unfinished));
    }
    let would_stop = planned.would_stop();
    let tree = tree(&planned, &would_stop)?;
    if args.run.manifest.is_some() && tree.view().replaced() > 0 {
        tracing::warn!(
            "the list's word is taken for which files are equal; a run compares them first, and leaves those that differ"
        );
    }
    if let Some(code) = signals.exit_code() {
        return Ok(code);
    }
    let at = preview::check_mount_point(&args.mount_point)?;
    let told = mounted_line(common, &planned.site.pool, &tree, &at).map_err(Failure::output)?;
    let end = Ending::listen()
        .map_err(|error| Failure::environment_because("cannot listen for signals", &error))?;
    let everyone = args.allow_other || nix::unistd::geteuid().is_root();
    let mounted = preview::mount(tree, &at, everyone).map_err(|error| refused(&at, &error))?;
    let mut out = stdout();
    let written = out.write_all(&told).and_then(|()| out.flush());
    let ended = wait(&mounted, &end);
    let unmounted = mounted.unmount().map_err(|error| {
        let message = format!("cannot unmount the preview at {at:?}");
        Failure::environment_because(message, &error).hint(format!("fusermount3 -u {at:?}"))
    });
    written.map_err(Failure::output)?;
    unmounted?;
    tracing::info!(by = ended, "the preview is over");
    Ok(0)
}

/// Options that only apply when the plan is carried out.
fn planning_only(args: &PreviewArgs) -> Result<(), Failure> {
    let run = &args.run;
    let given = [
        (run.execute, "--execute"),
        (run.log_file.is_some(), "--log-file"),
        (run.accept_branches, "--accept-branches"),
        (run.no_lease, "--no-lease"),
    ];
    match given.iter().find(|(given, _)| *given) {
        None => Ok(()),
        Some((_, option)) => Err(Failure::usage(format!(
            "a preview changes nothing: {option} cannot stand with it"
        ))
        .hint(
            "leave it out; when the preview looks right, run without preview, and with --execute",
        )),
    }
}

fn tree(planned: &Planned<Session>, would_stop: &HashMap<usize, Halt>) -> Result<Tree, Failure> {
    let session = &planned.site;
    let view =
        View::of(&planned.plan, would_stop, &mut |place| session.fs.stat(place).ok().flatten());
    let open_newest = mergerfs::opens_newest(&session.pool);
    let tree = Tree::new(session.pool.clone(), view, open_newest)?;
    for branch in session.pool.indices() {
        if tree.root_id(branch) != session.fs.root_id(branch) {
            let path = &session.pool.branches[branch.index()].path;
            let message = format!("another disk is behind branch {path:?} than a moment ago");
            return Err(Failure::environment(message).hint("run again when it is settled"));
        }
    }
    Ok(tree)
}

/// The line that is printed when the preview is mounted.
fn mounted_line(common: &Common, pool: &Pool, tree: &Tree, at: &Path) -> io::Result<Vec<u8>> {
    let (files, bytes) = (tree.view().replaced(), tree.view().bytes());
    let mut line = Vec::new();
    match common.format {
        OutputFormat::Json => {
            let by = (at, std::process::id());
            let scene = Scene { dry_run: true, ..shown::scene(pool, common) };
            json::preview(&mut line, &scene, by, (files, bytes))?;
        }
        OutputFormat::Text | OutputFormat::Script if common.quiet => {}
        OutputFormat::Text | OutputFormat::Script => writeln!(
            line,
            "{} shows {} as it will be: {} replaced, {} freed. Ctrl-C or umount ends it.",
            sanitised_path(at),
            sanitised_path(&pool.mount),
            number(files, "file"),
            size(bytes)
        )?,
    }
    Ok(line)
}

fn sanitised_path(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    sanitised(path.as_os_str().as_bytes())
}

fn refused(at: &PathBuf, error: &io::Error) -> Failure {
    let hint = match Path::new("/dev/fuse").metadata() {
        Err(_) => {
            "there is no /dev/fuse: modprobe fuse; a container needs --device /dev/fuse and CAP_SYS_ADMIN"
        }
        Ok(_) if File::options().read(true).write(true).open("/dev/fuse").is_err() => {
            "you may not open /dev/fuse: chmod 666 /dev/fuse, as root"
        }
        Ok(_) if !nix::unistd::geteuid().is_root() => {
            "name an empty directory of your own; fusermount3 is needed, and for --allow-other user_allow_other in /etc/fuse.conf"
        }
        Ok(_) => "look at the kernel log; a container needs CAP_SYS_ADMIN to mount",
    };
    Failure::environment_because(format!("cannot mount the preview at {at:?}"), error).hint(hint)
}

/// The signals that end a preview. SIGHUP is among them because a closing terminal would leave a dead mount behind.
struct Ending(std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Ending {
    fn listen() -> io::Result<Self> {
        let asked = std::sync::Arc::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register(signal, std::sync::Arc::clone(&asked))?;
        }
        Ok(Self(asked))
    }
}

/// Waits until a signal arrives or until another program unmounts the preview; returns the reason.
fn wait(mounted: &Mounted, end: &Ending) -> &'static str {
    loop {
        if end.0.load(std::sync::atomic::Ordering::Relaxed) {
            return "signal";
        }
        if mounted.is_over() {
            return "unmount";
        }
        std::thread::sleep(LOOK);
    }
}

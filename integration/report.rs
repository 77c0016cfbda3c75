//! The report page, in a real browser.

use std::path::Path;
use std::process::Command;

use crate::groups;
use crate::harness::loop_disk::Filesystem::{Ext4, Xfs};
use crate::harness::pool::PoolPlan;
use crate::harness::tool::Tool;
use crate::harness::tree;

/// What the page's script would find out, were the page not without scripts.
const MEASURE: &str = "<script>onload = () => { const page = document.documentElement; \
     document.title = [page.scrollWidth <= innerWidth, getComputedStyle(document.body).backgroundColor, \
     [...document.querySelectorAll('h1, h2')].map(h => h.innerText).join('+')].join('|') }</script>";

/// The title that a browser gives the page at `path` in a window of `width`, by [`MEASURE`].
fn measured(path: &Path, width: u32, dark: bool) -> String {
    let page = std::fs::read_to_string(path).unwrap();
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    assert!(page.contains(policy), "nothing forbids the page to load things");
    let page = page.replace("default-src 'none'", "default-src 'none'; script-src 'unsafe-inline'");
    let copy = path.with_extension("measured.html");
    std::fs::write(&copy, page + MEASURE).unwrap();
    let profile = tempfile::tempdir().unwrap();
    // A wedged browser must not hang the suite.
    let mut browser = Command::new("timeout");
    browser.args([
        "120",
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
    ]);
    if dark {
        browser.arg("--blink-settings=preferredColorScheme=0");
    }
    browser.arg(format!("--window-size={width},1500"));
    browser.arg(format!("--user-data-dir={}", profile.path().display()));
    let output = browser.arg("--dump-dom").arg(&copy).output().unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    let title = dom.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next());
    title.unwrap_or_else(|| panic!("no page: {output:?}")).to_owned()
}

#[test]
fn a_report_fits_a_phone_and_a_desk_by_day_and_night() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let mut made = groups::pairs(&pool, 0, 1, 12);
    // No blank where a line could break, and markup.
    let long = format!("down/<b>{}.mkv", "W".repeat(240));
    for (disk, name) in [(0, "media/long.mkv"), (1, long.as_str())] {
        tree::write(&pool.on(disk, name), &tree::bytes(99, groups::SMALL));
    }
    made.push(vec!["media/long.mkv".into(), long.into()]);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    let (dry, report) = (tool.dir().join("dry.html"), tool.dir().join("run.html"));
    let arguments = |report: &Path, more: &[&str]| {
        let mut all = vec!["--any-master".into(), "-m".into(), list.clone().into_os_string()];
        all.extend(["--report".into(), report.as_os_str().to_owned()]);
        all.extend(more.iter().map(Into::into));
        all
    };
    let run = tool.run(&arguments(&dry, &[])).expect(0);
    assert!(run.stdout.ends_with(&format!("The report is in {dry:?}.\n")), "{run}");
    let busy = std::fs::File::open(pool.path("downloads/3.bin")).unwrap();
    let run = tool.run(&arguments(&report, &["-e"])).expect(1);
    assert!(run.stdout.ends_with(&format!("The report is in {report:?}.\n")), "{run}");
    drop(busy);

    let mut backgrounds = std::collections::BTreeSet::new();
    for (page, width, dark) in [(&dry, 500, false), (&report, 500, true), (&report, 1400, false)] {
        let title = measured(page, width, dark);
        let parts: Vec<&str> = title.split('|').collect();
        assert_eq!(parts[0], "true", "{page:?} is wider than {width}: {title}");
        assert!(parts[2].contains("Disks+Freed by directory"), "{title}");
        assert_eq!(page == &report, parts[2].contains("Not linked"), "{title}");
        backgrounds.insert(parts[1].to_owned());
    }
    assert_eq!(backgrounds.len(), 2, "dark and light look the same");
}

#[test]
fn a_report_that_cannot_be_written_stops_the_run_before_it_begins() {
    let pool = PoolPlan::of(&[Ext4, Xfs]).mount();
    let made = groups::pairs(&pool, 0, 1, 1);
    let tool = Tool::new();
    let list = groups::list(&tool, &pool, &made);
    for place in [tool.dir().join("nowhere/report.html"), tool.dir().to_owned()] {
        let run = tool.run(&[
            "-e".as_ref(),
            "--any-master".as_ref(),
            "-m".as_ref(),
            list.as_os_str(),
            "--report".as_ref(),
            place.as_os_str(),
        ]);
        let said = run.expect(2).stderr;
        assert!(said.contains("--report"), "{said}");
        assert!(pool.on(1, "downloads/0.bin").exists());
        assert!(!tool.journal().exists());
    }
}
